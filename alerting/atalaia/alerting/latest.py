"""The latest value of a series, for rules without a window (F2.5's bare form)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.buckets import MinuteStats
from atalaia.alerting.evaluation import Condition
from atalaia.schemas.events import Frequency

LOOK_BACK: Final = {
    Frequency.REAL_TIME: timedelta(minutes=5),  # Prometheus' look-back
    Frequency.HOURLY: timedelta(hours=2),
    Frequency.DAILY: timedelta(days=2),
    Frequency.MONTHLY: timedelta(days=62),
}
"""How old an event may be to count as the latest value of its series: two periods of a periodic metric."""
_LOOK_BACK_MS: Final[dict[str, int]] = {name: durations.milliseconds(age) for name, age in LOOK_BACK.items()}


class Latest:
    """The latest value by event time, and the span of the values that came since it was last judged.

    Of values that come between two judgements only the latest is judged; the span says whether all of them held.
    """

    __slots__ = ("at_ms", "high", "look_back_ms", "low", "value")

    def __init__(self, frequency: str) -> None:
        self.look_back_ms = _LOOK_BACK_MS.get(frequency, _LOOK_BACK_MS[Frequency.REAL_TIME])
        self.value: float | None = None
        self.at_ms = 0
        self.low = self.high = 0.0

    def add(self, minute: MinuteStats, *, after_ms: int) -> bool:
        """Takes note of events; False where all of them are too old to count."""
        if minute.last_at + self.look_back_ms <= after_ms:
            return False
        if self.value is None:
            self.low, self.high = minute.min, minute.max
        else:
            self.low, self.high = min(self.low, minute.min), max(self.high, minute.max)
        if self.value is None or minute.last_at >= self.at_ms:
            self.value, self.at_ms = minute.last, minute.last_at
        return True

    def judged(self) -> None:
        """Starts the span anew."""
        if self.value is not None:
            self.low = self.high = self.value

    def all_held(self, condition: Condition) -> bool:
        """Whether no value of the span broke the condition."""
        return condition.holds(self.low) and condition.holds(self.high)

    @property
    def expires_ms(self) -> int:
        """When any event that still counts is newer than this one."""
        return 0 if self.value is None else self.at_ms + self.look_back_ms
