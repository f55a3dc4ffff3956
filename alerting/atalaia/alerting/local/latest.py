"""The latest value of a series, for rules without a window (F2.5's bare form)."""

from __future__ import annotations

from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.local.buckets import NEVER, MinuteStats
from atalaia.alerting.local.evaluation import Condition
from atalaia.alerting.sense import LATEST_WITHIN
from atalaia.schemas.events import Frequency

_LOOK_BACK_MS: Final[dict[str, int]] = {name: durations.milliseconds(age) for name, age in LATEST_WITHIN.items()}


class Latest:
    """The latest value by event time, and the span of the values that came since it was last judged.

    Of values that come between two judgements only the latest is judged; the span says whether all of them held.
    """

    __slots__ = ("at_ms", "before", "before_ms", "fresh_ms", "high", "look_back_ms", "low", "value")

    def __init__(self, frequency: str) -> None:
        self.look_back_ms = _LOOK_BACK_MS.get(frequency, _LOOK_BACK_MS[Frequency.REAL_TIME])
        self.value: float | None = None
        self.at_ms = 0
        self.low = self.high = 0.0
        self.before: float | None = None
        """The value that was judged last, and when it was taken."""
        self.before_ms = 0
        self.fresh_ms = NEVER
        """The earliest event since then that is later than it."""

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
        self.fresh_ms = min(self.fresh_ms, max(minute.first_at, self.before_ms))
        return True

    def judged(self) -> None:
        """Starts the span anew."""
        if self.value is not None:
            self.low = self.high = self.value
        self.before, self.before_ms, self.fresh_ms = self.value, self.at_ms, NEVER

    def all_held(self, condition: Condition) -> bool:
        """Whether no value of the span broke the condition."""
        return condition.holds(self.low) and condition.holds(self.high)

    @property
    def expires_ms(self) -> int:
        """When the value is too old to count."""
        return 0 if self.value is None else self.at_ms + self.look_back_ms
