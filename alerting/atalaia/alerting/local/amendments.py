"""What late data does to decisions that were told already.

An event is late for a decision if it comes afterwards, and its minute had been over for the allowed lateness when the
decision was taken: everything should have been there. The decision's own events are kept with it, so that what it would
have been is known exactly, however far its window has moved on since.

Bounded: of each alert the latest firing and the resolve after it, each for an hour (`AMENDABLE`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.local.evaluation import TOLERANCE, Condition, value_of
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS

AMENDABLE: Final = timedelta(hours=1)
"""For how long after a decision late data is compared with it."""
AMENDABLE_MS: Final = durations.milliseconds(AMENDABLE)


@dataclass(slots=True)
class Decision:
    """A firing or a resolve that was told: when, on which window of events, and with which number."""

    status: AlertStatus
    at_ms: int
    since_ms: int
    episode: int
    window: tuple[int, int]
    """First instant and the first after it; of a silence, the time that was silent."""
    value: float | None
    """As last told."""
    stats: MinuteStats | None
    """All events of the window that are known by now."""
    retracted: bool = False
    changed: bool = False

    @property
    def turn(self) -> int:
        """Tells what it says now from everything else that is said of the episode, the same in a replay."""
        known = 0 if self.stats is None else self.stats.count
        said = f"{self.status} {self.window[1]} {known} {self.value!r}"
        return int.from_bytes(blake2b(said.encode(), digest_size=7).digest(), "big")

    def take(self, minute: MinuteStats, condition: Condition) -> bool:
        """Takes note of events; whether they were late for this."""
        start, end = self.window
        if condition.absent_ms:
            late = start < minute.first_at < end or start < minute.last_at < end
        else:
            over_ms = minute.start_ms + MINUTE_MS
            late = start <= minute.start_ms < end and over_ms <= self.at_ms - condition.lateness_ms
        if late:
            with_sketch = condition.needs_sketch
            if self.stats is None:
                self.stats = minute.copy(with_sketch=with_sketch)
            else:
                self.stats.add(minute, with_sketch=with_sketch)
            self.changed = True
        return late

    def amended(self, condition: Condition) -> AlertStatus | None:
        """What late data made of it since the last call: retracted, once, where it would not have fired; or amended."""
        if not self.changed:
            return None
        self.changed = False
        if condition.absent_ms:
            held, same = False, self.retracted
        else:
            before, self.value = self.value, value_of(condition, self.stats)
            held = self.value is not None and condition.holds(self.value)
            same = self.value == before or (
                before is not None and self.value is not None and abs(self.value - before) <= TOLERANCE * abs(before)
            )
        if same:
            return None
        if self.status is AlertStatus.FIRING and not held and not self.retracted:
            self.retracted = True
            return AlertStatus.RETRACTED
        return AlertStatus.AMENDED
