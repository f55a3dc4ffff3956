"""How far one partition's data is complete, in event time.

The watermark says when a verdict is final and what completeness a rollup shows. It never decides whether an event
counts: events behind it are late, and counted all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Clock:
    """One partition's event-time clock. All times are ms since 1970, UTC.

    `seen_ms` is the highest plausible event time: an event that claims to be from after its arrival counts as of its
    arrival, so that one fast clock among the producers doesn't make everybody else late.
    """

    seen_ms: int = 0
    arrived_ms: int = 0

    def advance(self, *, event_ms: int, arrival_ms: int) -> Clock:
        """The clock after a batch: its latest event time, and the latest arrival in it (wall clock of the broker).

        >>> Clock().advance(event_ms=9_000, arrival_ms=5_000).seen_ms
        5000
        """
        return replace(
            self,
            seen_ms=max(self.seen_ms, min(event_ms, arrival_ms)),
            arrived_ms=max(self.arrived_ms, arrival_ms),
        )

    def at(self, *, now_ms: int, caught_up: bool) -> int:
        """The moment to judge rules at: wall clock when nothing is waiting in Kafka, else the arrival of what was read.

        So a lagging pipeline neither fires nor resolves on data it hasn't read yet: it judges what had come by then, as
        a punctual one did. It goes by arrival, not by event time: a backfill of last year is old when it comes, also
        where it comes alone, and pages nobody.

        >>> Clock(arrived_ms=7).at(now_ms=100, caught_up=False), Clock(arrived_ms=7).at(now_ms=100, caught_up=True)
        (7, 100)
        """
        return max(self.arrived_ms, now_ms) if caught_up else self.arrived_ms

    def watermark(self, *, now_ms: int, caught_up: bool, lateness_ms: int, idle_ms: int) -> int:
        """Event time up to which the partition is complete; an idle partition follows the wall clock.

        >>> Clock(seen_ms=60_000, arrived_ms=60_000).watermark(
        ...     now_ms=61_000, caught_up=True, lateness_ms=5_000, idle_ms=10_000)
        55000
        """
        idle = caught_up and now_ms - self.arrived_ms >= idle_ms
        return (max(self.seen_ms, now_ms - idle_ms) if idle else self.seen_ms) - lateness_ms


def completeness(start_ms: int, end_ms: int, watermark_ms: int) -> float:
    """The share of a window that the watermark has passed, 0 to 1.

    >>> completeness(0, 60_000, 15_000), completeness(0, 60_000, 90_000)
    (0.25, 1.0)
    """
    return min(1.0, max(0.0, (watermark_ms - start_ms) / (end_ms - start_ms)))
