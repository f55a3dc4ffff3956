"""How far a home may judge: as far as every source partition has come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from atalaia.streams.partials import SourceClock

FORGOTTEN_AFTER_MS: Final = timedelta(minutes=1) // timedelta(milliseconds=1)
"""A consumer group that was deleted counts its generations from 1 again; nobody sleeps with a clock of that age."""
LAGGING_AFTER: Final = timedelta(seconds=10)
"""A source further behind the wall clock than this lags: as long as the group waits for a worker that is silent."""


class SourceClocks:
    """The clocks of all source partitions, as read from each place that is read.

    Judging at the lowest of them is judging with everything in hand that any source had: a worker that is dead,
    paused or behind holds the clock, and no verdict is given on what it hasn't sent.
    """

    def __init__(self, *, sources: int, places: Iterable[int]) -> None:
        self._sources = sources
        self._known: dict[tuple[int, int], SourceClock | None] = {
            (place, source): None for place in places for source in range(sources)
        }

    def take(self, place: int, source: int, clock: SourceClock) -> bool:
        """Whether the clock counts: not where a later owner of the partition has spoken already."""
        known = self._known.get((place, source))
        if (place, source) not in self._known or (known is not None and _outdated(clock, known)):
            return False
        self._known[place, source] = clock
        return True

    def at_ms(self) -> int | None:
        """The last instant of which every source has sent what it had; None where one was never heard of."""
        clocks = self._heard()
        return None if clocks is None else min(clock.at_ms for clock in clocks)

    def newest_ms(self) -> int:
        """The instant of the source that is furthest; 0 where none was heard of."""
        return max((clock.at_ms for clock in self._known.values() if clock is not None), default=0)

    def watermark_ms(self) -> int:
        """Event time up to which every source is complete; 0 where one was never heard of."""
        clocks = self._heard()
        return 0 if clocks is None else min(clock.watermark_ms for clock in clocks)

    def lagging(self, now_ms: int) -> frozenset[int]:
        """The source partitions that are so far behind the wall clock that verdicts have to wait for them."""
        behind = now_ms - LAGGING_AFTER // timedelta(milliseconds=1)
        return frozenset(source for (_, source), clock in self._known.items() if clock is None or clock.at_ms < behind)

    def _heard(self) -> list[SourceClock] | None:
        clocks = [clock for clock in self._known.values() if clock is not None]
        return clocks if clocks and len(clocks) == len(self._known) else None


def _outdated(clock: SourceClock, known: SourceClock) -> bool:
    return clock.generation < known.generation and clock.sent_ms < known.sent_ms + FORGOTTEN_AFTER_MS
