"""The recent events of one series, as its source partitions tell them: whole states of minutes, which overwrite."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count
from typing import Final

from atalaia.alerting.local.buckets import NEVER, MinuteStats, merged
from atalaia.schemas.series import SeriesKey

Get = Callable[[int], MinuteStats | None]
_FEW: Final = 8
"""So many buckets are merged as fast as suffixes are kept."""


class Run:
    """The merged events of the buckets from `lo` to `hi`, kept up to date as both move on.

    Three parts: [lo, mid) has a merged suffix for every place where it may begin next; [mid, closed) is merged as a
    whole; the last two buckets, which still change, are added when asked for. So a step costs a few merges, and all of
    it is merged anew only when `lo` has passed `mid`: not at the same time for each run, which begin at different
    places.
    """

    __slots__ = ("_back", "_closed", "_lo", "_mid", "_place", "_rest", "_suffixes", "_valid")
    _places = count()

    def __init__(self) -> None:
        self._lo = self._mid = self._closed = 0
        self._back: MinuteStats | None = None
        self._rest: MinuteStats | None = None
        self._suffixes: dict[int, MinuteStats | None] = {}
        self._place = next(self._places)
        self._valid = False

    def touch(self, start: int) -> None:
        """Takes note that a bucket has changed."""
        if self._lo <= start < self._closed:
            self._valid = False

    def total(  # noqa: PLR0917 - the hottest call there is: ten thousand a tick
        self,
        lo: int,
        hi: int,
        step: int,
        get: Get,
        with_sketch: bool,  # noqa: FBT001 - the same
        base: MinuteStats | None = None,
    ) -> MinuteStats | None:
        """The events of the buckets that start from `lo` to `hi`, with those of `base`; not to be changed."""
        closed = hi - step if hi - step > lo else lo  # noqa: FURB136 - twice as fast as max()
        if not self._valid or lo != self._lo or closed != self._closed:
            if self._valid and self._lo <= lo <= self._mid and closed >= self._closed and lo - self._lo <= step:
                self._move(lo, closed, step, get, with_sketch)
            else:
                self._renew(lo, closed, step, get, with_sketch, base)
            self._rest = _both(self._suffixes.get(lo), self._back, with_sketch)
        rest = self._rest if closed == hi else _both(self._rest, get(closed), with_sketch)
        return _both(rest, get(hi), with_sketch)

    def _move(self, lo: int, closed: int, step: int, get: Get, with_sketch: bool) -> None:  # noqa: FBT001 - the same
        for start in range(self._closed, closed, step):
            self._back = _both(self._back, get(start), with_sketch)
        if lo != self._lo:
            self._suffixes.pop(self._lo, None)
        self._lo, self._closed = lo, closed

    def _renew(  # noqa: PLR0917 - the same
        self,
        lo: int,
        closed: int,
        step: int,
        get: Get,
        with_sketch: bool,  # noqa: FBT001 - the same
        base: MinuteStats | None,
    ) -> None:
        buckets = (closed - lo) // step
        if with_sketch or base is not None or buckets < _FEW:  # suffixes with sketches would take too much memory
            mid = lo
        elif not self._suffixes:
            mid = lo + self._place % buckets * step
        else:
            mid = self._mid if lo < self._mid <= closed else closed
        parts = [part for start in range(mid, closed, step) if (part := get(start)) is not None]
        if base is not None:
            parts.append(base)
        self._back = parts[0] if len(parts) == 1 else merged(parts, with_sketch=with_sketch)
        self._suffixes = {}
        suffix: MinuteStats | None = None
        for start in range(mid - step, lo - step, -step):
            suffix = self._suffixes[start] = _both(get(start), suffix, with_sketch)
        self._lo, self._mid, self._closed, self._valid = lo, mid, closed, True


class Tier:
    """One series in buckets of a longer step, made of its minutes when asked for, and of those that are forgotten."""

    __slots__ = (
        "_changed",
        "_forgotten",
        "_known",
        "_newest",
        "_run",
        "_running",
        "grain_ms",
        "minutes",
        "step_ms",
        "with_sketch",
    )

    def __init__(self, step_ms: int, minutes: dict[int, MinuteStats], *, grain_ms: int, with_sketch: bool) -> None:
        self.step_ms = step_ms
        self.grain_ms = grain_ms
        self.minutes = minutes
        self.with_sketch = with_sketch
        self._known: dict[int, MinuteStats] = {}
        self._forgotten: dict[int, MinuteStats] = {}
        self._changed: set[int] = set()
        self._running = self._newest = -1
        self._run = Run()
        for start in minutes:
            self.touch(start)

    def touch(self, minute: int) -> None:
        """Takes note that a minute has changed."""
        start = minute - minute % self.step_ms
        self._changed.add(start)
        if start > self._running:
            self._running, self._newest, self._run = start, minute, Run()
        elif start == self._running:
            self._run.touch(minute)
            self._newest = max(self._newest, minute)

    def get(self, start: int) -> MinuteStats | None:
        """The events of a bucket; not to be changed."""
        if start in self._changed:
            self._changed.discard(start)
            found = self._merged(start)
            if found is not None:
                self._known[start] = found
        return self._known.get(start)

    def forget(self, minute: MinuteStats) -> None:
        """Keeps the events of a minute that will not change any more."""
        start = minute.start_ms - minute.start_ms % self.step_ms
        before = self._forgotten.get(start)
        self._forgotten[start] = minute if before is None else _all([before, minute])
        if start == self._running:
            self._run = Run()

    def prune(self, before_ms: int) -> None:
        """Lets go of buckets that start earlier."""
        for kept in (self._known, self._forgotten):
            for start in [start for start in kept if start < before_ms]:
                del kept[start]
        self._changed = {start for start in self._changed if start >= before_ms}

    def _merged(self, start: int) -> MinuteStats | None:
        forgotten, get = self._forgotten.get(start), self.minutes.get
        if start == self._running:
            return self._run.total(start, self._newest, self.grain_ms, get, self.with_sketch, forgotten)
        within = range(start, start + self.step_ms, self.grain_ms)
        parts = [part for minute in within if (part := get(minute)) is not None]
        return merged([*parts, *([forgotten] if forgotten else [])], with_sketch=self.with_sketch)


class Holding:
    """One series: its minutes, each merged over the shards that tell of it, and longer buckets where they are wanted.

    `since_ms` is the first minute that was ever seen of it, `newest_ms` the last. One that has `ended` is gone until a
    further minute comes: it has no latest value, and its silence is no zero. `spoke_ms` is when its latest event was.
    """

    __slots__ = (
        "_before_ms",
        "_several",
        "_sole",
        "ended",
        "key",
        "labels",
        "minutes",
        "newest_ms",
        "series",
        "since_ms",
        "spoke_ms",
        "tiers",
    )

    def __init__(self, key: bytes, series: SeriesKey) -> None:
        self.key = key
        self.series = series
        self.labels = series.labels()
        self.since_ms = NEVER
        self.newest_ms = 0
        self.ended = False
        self.spoke_ms = 0
        self.minutes: dict[int, MinuteStats] = {}
        self.tiers: dict[int, Tier] = {}
        self._sole: dict[int, Hashable] = {}
        self._several: dict[int, dict[Hashable, MinuteStats]] = {}
        self._before_ms = 0

    def put(self, minute: MinuteStats, shard: Hashable) -> bool:
        """Takes the whole state of a minute on a shard, which replaces what was known of it.

        False where the minute is forgotten already: its events are counted as they were.
        """
        start = minute.start_ms
        if start < self._before_ms:
            return False
        if (several := self._several.get(start)) is not None:
            several[shard] = minute
            self.minutes[start] = _all(list(several.values()))
        elif (sole := self._sole.get(start, shard)) == shard:
            self._sole[start] = shard
            self.minutes[start] = minute
        else:
            several = self._several[start] = {sole: self.minutes[start], shard: minute}
            self.minutes[start] = _all(list(several.values()))
        for tier in self.tiers.values():
            tier.touch(start)
        self.since_ms = min(self.since_ms, start)
        if minute.count and minute.last_at > self.spoke_ms:
            self.spoke_ms = minute.last_at
        if start > self.newest_ms:
            self.newest_ms, self.ended = start, False
        return True

    def forget(self, before_ms: int) -> None:
        """Lets go of minutes that start earlier; longer buckets keep their events."""
        self._before_ms = max(self._before_ms, before_ms)
        for start in [start for start in self.minutes if start < before_ms]:
            minute = self.minutes.pop(start)
            self._sole.pop(start, None)
            self._several.pop(start, None)
            for tier in self.tiers.values():
                tier.forget(minute)


def _all(parts: list[MinuteStats]) -> MinuteStats:
    found = merged(parts, with_sketch=True)
    assert found is not None
    return found


def _both(one: MinuteStats | None, other: MinuteStats | None, with_sketch: bool) -> MinuteStats | None:  # noqa: FBT001 - hot
    if one is None:
        return other
    if other is None:
        return one
    if with_sketch:
        return one.copy().add(other)
    first = one if one.first_at <= other.first_at else other
    last = other if other.last_at >= one.last_at else one
    return MinuteStats(
        one.start_ms,
        one.count + other.count,
        one.sum + other.sum,
        one.min if one.min < other.min else other.min,  # noqa: FURB136 - twice as fast as min(), in the hottest lines
        one.max if one.max > other.max else other.max,  # noqa: FURB136 - the same
        first.first,
        first.first_at,
        last.last,
        last.last_at,
        {},
        one.missing + other.missing,
    )
