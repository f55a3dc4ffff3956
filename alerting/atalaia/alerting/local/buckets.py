"""The events of one series, by minute, and the windows that slide over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Self

from atalaia.schemas import sketch
from atalaia.schemas.windows import MINUTE_MS

NEVER: Final = 1 << 62
"""An instant after all others, in ms."""

_first_at = attrgetter("first_at")
_last_at = attrgetter("last_at")


@dataclass(slots=True)
class MinuteStats:
    """Events of one series within a minute (or within a longer step, or within a window).

    Times are event time in ms. Of events at the same instant the one added later is the last. `missing` counts events
    that are known to have been sent and never came. Where `count` is 0 it is a correction of that, up or down, to be
    added to the events of its minute; smallest, greatest, first and last are then those that change nothing.
    """

    start_ms: int
    count: int
    sum: float
    min: float
    max: float
    first: float
    first_at: int
    last: float
    last_at: int
    sketch: dict[int, int]
    missing: int = 0

    @property
    def completeness(self) -> float:
        """The share of the events sent that came, 0 to 1.

        >>> MinuteStats(0, 3, 6.0, 1, 3, 1, 0, 3, 9, {}, missing=1).completeness
        0.75
        """
        return self.count / (self.count + self.missing) if self.missing else 1.0

    def add(self, more: MinuteStats, *, with_sketch: bool = True) -> Self:
        """Adds events, in place. The order of additions changes nothing but ties and the sum's last digits."""
        self.count += more.count
        self.sum += more.sum
        self.missing += more.missing
        if more.min < self.min:  # noqa: PLR1730 - twice as fast as min(), in the hottest line
            self.min = more.min
        if more.max > self.max:  # noqa: PLR1730 - the same
            self.max = more.max
        if more.first_at < self.first_at:
            self.first, self.first_at = more.first, more.first_at
        if more.last_at >= self.last_at:
            self.last, self.last_at = more.last, more.last_at
        if with_sketch:
            sketch.merge(self.sketch, more.sketch)
        return self

    def copy(self, *, start_ms: int | None = None, with_sketch: bool = True) -> MinuteStats:
        """The same events; adding to the copy leaves this alone."""
        return MinuteStats(
            self.start_ms if start_ms is None else start_ms,
            self.count,
            self.sum,
            self.min,
            self.max,
            self.first,
            self.first_at,
            self.last,
            self.last_at,
            dict(self.sketch) if with_sketch else {},
            self.missing,
        )


def minutes_of(events: Iterable[tuple[int, float]]) -> list[MinuteStats]:
    """Events, as (event time in ms, value), by minute: of two at the same instant the later in the list is the last.

    >>> [(minute.start_ms, minute.count, minute.last) for minute in minutes_of([(61_000, 2.0), (60_000, 1.0)])]
    [(60000, 2, 2.0)]
    """
    minutes: dict[int, MinuteStats] = {}
    for at_ms, value in events:
        start = at_ms - at_ms % MINUTE_MS
        event = MinuteStats(start, 1, value, value, value, value, at_ms, value, at_ms, {sketch.bucket_of(value): 1})
        if start in minutes:
            minutes[start].add(event)
        else:
            minutes[start] = event
    return list(minutes.values())


class Window:
    """The merged events of one sliding window of one series, kept up to date.

    A bucket that starts at s is in the window while `at` is in [s + lag, s + lag + length), where `lag` is 0 for a
    window that ends with the running step, and more for one of whole steps.
    """

    __slots__ = ("as_of_ms", "changes_ms", "lag_ms", "length_ms", "stats", "with_sketch")

    def __init__(self, length_ms: int, lag_ms: int) -> None:
        self.length_ms = length_ms
        self.lag_ms = lag_ms
        self.with_sketch = False
        self.as_of_ms = 0
        self.changes_ms = 0
        self.stats: MinuteStats | None = None

    def add(self, start_ms: int, more: MinuteStats) -> int:
        """Takes note of events that came into the bucket at `start_ms`; returns when the window holds them first."""
        enters = start_ms + self.lag_ms
        if enters > self.as_of_ms:
            self.changes_ms = min(self.changes_ms, enters)
        elif self.as_of_ms >= enters + self.length_ms:
            return NEVER
        else:
            self.changes_ms = min(self.changes_ms, enters + self.length_ms)
            if self.stats is not None:
                self.stats.add(more, with_sketch=self.with_sketch)
            elif more.count:
                self.stats = more.copy(with_sketch=self.with_sketch)
        return enters

    def slide(self, at_ms: int, buckets: dict[int, MinuteStats]) -> None:
        """Moves the window to `at_ms`, computing anew what it holds and when that will change by itself."""
        changes = NEVER
        within = []
        for start, bucket in buckets.items():
            enters = start + self.lag_ms
            if at_ms < enters:
                changes = min(changes, enters)
            elif at_ms < enters + self.length_ms:
                within.append(bucket)
                changes = min(changes, enters + self.length_ms)
        self.stats = merged(within, with_sketch=self.with_sketch)
        self.as_of_ms, self.changes_ms = at_ms, changes


class Buckets:
    """The events of one series in buckets of one step, as far back as its longest window reaches.

    `since_ms` is when the series came under watch. Buckets before `whole_since_ms` may have lost all but count and sum
    (snapshots keep only what the rules of their time needed).
    """

    __slots__ = (
        "by_start",
        "horizon_ms",
        "oldest_ms",
        "since_ms",
        "step_ms",
        "whole_since_ms",
        "with_ends",
        "with_sketch",
    )

    def __init__(self, step_ms: int) -> None:
        self.step_ms = step_ms
        self.oldest_ms = NEVER
        self.since_ms = NEVER
        self.whole_since_ms = 0
        self.horizon_ms = 0
        self.with_ends = False
        self.with_sketch = False
        self.by_start: dict[int, MinuteStats] = {}

    def reach(self, length_ms: int, *, at_ms: int) -> None:
        """Keeps events for a window of this length. What was forgotten before counts as not watched."""
        if length_ms > self.horizon_ms:
            if self.horizon_ms and self.since_ms < NEVER:
                remembered = at_ms - self.horizon_ms
                self.since_ms = max(self.since_ms, remembered - remembered % self.step_ms)
            self.horizon_ms = length_ms

    def add(self, minute: MinuteStats, *, after_ms: int) -> bool:
        """Adds events; False where no window that ends after `after_ms` sees them."""
        start = minute.start_ms - minute.start_ms % self.step_ms
        if start + self.step_ms + self.horizon_ms <= after_ms:
            return False
        bucket = self.by_start.get(start)
        if bucket is None:
            if not minute.count:
                return False  # what is missing of events that are not kept here
            self.by_start[start] = minute.copy(start_ms=start, with_sketch=self.with_sketch)
            self.oldest_ms = min(self.oldest_ms, start)
            self.since_ms = min(self.since_ms, start)
        else:
            bucket.add(minute, with_sketch=self.with_sketch)
        return True

    @property
    def expires_ms(self) -> int:
        """When no window can see the newest event any more."""
        return max(self.by_start, default=-self.horizon_ms - self.step_ms) + self.horizon_ms + self.step_ms

    def prune(self, at_ms: int) -> None:
        """Forgets what no window can see any more."""
        gone = at_ms - self.horizon_ms - self.step_ms
        if self.oldest_ms <= gone:
            self.by_start = {start: bucket for start, bucket in self.by_start.items() if start > gone}
            self.oldest_ms = min(self.by_start, default=NEVER)


def merged(within: list[MinuteStats], *, with_sketch: bool) -> MinuteStats | None:
    """All events of several buckets, in a copy: field by field, which is faster than bucket by bucket."""
    if not within:
        return None
    if len(within) == 1:
        return within[0].copy(with_sketch=with_sketch)
    first = min(within, key=_first_at)
    last = max(within, key=_last_at)
    counts: dict[int, int] = {}
    if with_sketch:
        for bucket in within:
            sketch.merge(counts, bucket.sketch)
    return MinuteStats(
        first.start_ms,
        sum([bucket.count for bucket in within]),
        sum([bucket.sum for bucket in within]),
        min([bucket.min for bucket in within]),
        max([bucket.max for bucket in within]),
        first.first,
        first.first_at,
        last.last,
        last.last_at,
        counts,
        sum([bucket.missing for bucket in within]),
    )
