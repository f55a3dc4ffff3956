"""What one source partition owes to the homes of shared rules: the minutes that changed, and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from atalaia.streams import partials
from atalaia.streams.families import Families, place
from atalaia.streams.partials import PartialsRecord, SourceClock
from atalaia.streams.state import PartitionState, Series
from atalaia.streams.window import Window

SHARE_EVERY: Final = timedelta(milliseconds=50)
"""A minute that changes all the time goes out this often."""
CLOCK_EVERY: Final = timedelta(milliseconds=250)
"""And the clock goes out this often where nothing changes."""
SHARING_SHARE: Final = 0.1
"""When series are many: sending takes at most about this share of the time, so it is done less often."""
SLACK_MS: Final = timedelta(hours=1) // timedelta(milliseconds=1)
"""How much older than any rule reaches an event may be and still go out: a home may be judging an earlier time."""


class Sharing:
    """The minutes that homes have not heard of in their present state. Not thread-safe; no clock is read.

    Windows are referred to, not copied: what goes out is their state at that moment, also of one that has been evicted
    meanwhile.
    """

    def __init__(self) -> None:
        self._reach_ms: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._pending: dict[tuple[bytes, int, int], tuple[Series, Window]] = {}
        self._minutes_due = 0.0
        self._clock_due = 0.0

    def adopt(self, families: Families, state: PartitionState, at_ms: int) -> None:
        """Works for these families from now on; of metrics new to them, every minute that is held goes out.

        After a restart all are new to it: so what the last owner may not have sent goes out, too.
        """
        before = self._reach_ms.keys()
        self._reach_ms = {name: ms + SLACK_MS for family in families.families for name, ms in family.reach_ms.items()}
        self._places = {name: place(name, families.partitions) for name in self._reach_ms}
        fresh = self._reach_ms.keys() - before
        if not fresh:
            return
        self._clock_due = 0.0  # a place that has just come into use waits for a clock
        for series in state.series.values():
            if series.identity.metric_name in fresh:
                for minute_ms in series.windows[0]:
                    self.touched(series, minute_ms, at_ms)

    def touched(self, series: Series, minute_ms: int, at_ms: int) -> None:
        """Notes that a minute has changed, where a shared rule reads the series and reaches back to it at `at_ms`."""
        reach_ms = self._reach_ms.get(series.identity.metric_name)
        if reach_ms is None or minute_ms < at_ms - reach_ms:
            return
        window = series.windows[0].get(minute_ms)
        if window is not None:
            self._pending[series.key, minute_ms, window.opened] = (series, window)

    def due(self, now: float) -> bool:
        """Whether something should go out at this moment of a monotonic clock (seconds)."""
        if not self._places:
            return False
        return now >= (self._minutes_due if self._pending else self._clock_due)

    def shared(self, now: float, *, cost_seconds: float) -> None:
        """Notes that everything went out, and what that took."""
        wait = max(SHARE_EVERY.total_seconds(), cost_seconds / SHARING_SHARE)
        self._minutes_due = now + wait
        self._clock_due = now + max(CLOCK_EVERY.total_seconds(), wait)

    def records(self, clock: SourceClock, state: PartitionState) -> Iterator[PartialsRecord]:
        """What homes have not heard of yet, and then, to each place, the clock, which vouches for it.

        The clock must have been read before: what changes while the caller takes these is for the next time.
        """
        yield from self.owed(state)
        key, value = partials.clock_key(state.partition), partials.clock_value(clock)
        for number in sorted(set(self._places.values())):
            yield number, key, value

    def owed(self, state: PartitionState) -> Iterator[PartialsRecord]:
        """The minutes alone: before a checkpoint says that their events are done."""
        pending, self._pending = self._pending, {}
        for series, window in pending.values():
            number = self._places.get(series.identity.metric_name)
            if number is not None:
                key = partials.partial_key(series.key, window, partition=state.partition)
                yield number, key, partials.partial_value(window, epoch=state.epoch)
