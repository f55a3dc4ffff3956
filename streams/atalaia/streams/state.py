"""The window state of one partition: series, their open windows, and how a batch's groups become part of them.

Each window carries the offset of the last event applied to it. On a replay, an event at or below that offset has been
counted before and is left out, so replaying from an older offset changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from atalaia.schemas.events import Granularity
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import window_end, window_start
from atalaia.streams.columns import Group
from atalaia.streams.sequences import Change, Sequences
from atalaia.streams.window import Window

GRANULARITIES: Final = tuple(Granularity)
IDENTITY_FIELDS: Final = 8
"""The first fields of a group, which identify its series."""
MAX_CACHED_SPANS: Final = 10_000
PAGE_MS: Final = (30_000_000, 1_800_000_000, 43_200_000_000, 1_296_000_000_000)
"""Length of a page by granularity: 500 windows (of months fewer), so that no changelog record outgrows a broker."""

Page = tuple[int, int]
"""Which of GRANULARITIES, and the number of the page: window start // PAGE_MS."""


@dataclass(slots=True)
class Series:
    """One series of one partition: its identity, the last offset applied, its open windows by granularity."""

    key: bytes
    identity: SeriesKey
    metric_type: str
    last_applied: int = -1
    windows: tuple[dict[int, Window], ...] = field(default_factory=lambda: tuple({} for _ in GRANULARITIES))
    pages: set[Page] | None = None
    """While its windows are too many for one changelog record: the pages there are."""
    dirty_pages: set[Page] = field(default_factory=set)
    rollup_head: bytes | None = None
    """The part of its rollup records that never changes, once it has been encoded."""
    sequences: Sequences = field(default_factory=Sequences)
    """How far its producers have counted."""

    def open_windows(self) -> Iterator[tuple[Granularity, Window]]:
        """All windows held, finest first."""
        for granularity, held in zip(GRANULARITIES, self.windows, strict=True):
            for window in held.values():
                yield granularity, window

    def window_count(self) -> int:
        """Windows held."""
        return sum(map(len, self.windows))

    def changed(self, index: int, start_ms: int) -> None:
        """Notes that a window's page is out of date, where the series has pages."""
        if self.pages is not None:
            self.dirty_pages.add((index, start_ms // PAGE_MS[index]))


class Applied(NamedTuple):
    """What of a batch its series had not heard before."""

    groups: list[tuple[Series, Group]]
    missing: list[tuple[Series, Change]]
    """By how much what is missing of a minute has grown, or shrunk; changes of one minute add up."""


class PartitionState:
    """The series of one partition. Not thread-safe; owned by the worker's event loop."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.epoch = 0
        """The higher, the later the owner: see schemas.versions. While state is read back, that of the last owner."""
        self.series: dict[bytes, Series] = {}
        self.dirty: set[bytes] = set()
        """Keys of the series whose changelog entries are out of date."""
        self.replayed_to = -1
        """The highest offset applied before the last restart: batches that begin below it go event by event."""
        self.unpublished: tuple[list[tuple[Series, Window]], ...] = tuple([] for _ in GRANULARITIES)
        """Windows whose rollup row is out of date, by granularity; just those with `dirty` set."""
        self._by_identity: dict[tuple[Any, ...], Series] = {}
        self._spans: dict[int, tuple[tuple[int, int], ...]] = {}

    def apply(self, groups: Sequence[Group], *, last_offset: int, touched: float, replaying: bool = False) -> Applied:
        """Counts the groups of one batch that ends at `last_offset`.

        While replaying, each group must be of a single event, in the order of offsets. `touched` is a monotonic
        clock's seconds.
        """
        applied = Applied([], [])
        touched_series: dict[bytes, Series] = {}
        for group in groups:
            series = self._by_identity.get(tuple(group[:IDENTITY_FIELDS])) or self._open_series(group)
            touched_series[series.key] = series
            self._count(series, group, touched, replaying=replaying)
            if group[20] > series.last_applied:
                applied.groups.append((series, group))
                if changes := series.sequences.take(group[24], group[9]):
                    applied.missing.extend((series, change) for change in changes)
                    self._correct(series, changes, group[21])
        # Only now: a series may have several groups in a batch, whose offsets interleave.
        for key, series in touched_series.items():
            series.last_applied = max(series.last_applied, last_offset)
            self.dirty.add(key)
        return applied

    def _count(self, series: Series, group: Group, touched: float, *, replaying: bool) -> None:
        spans = self._spans.get(group[9]) or self._spans_of(group[9])
        paged = series.pages is not None
        for index, (start_ms, end_ms) in enumerate(spans):
            held = series.windows[index]
            window = held.get(start_ms)
            if window is None:
                window = held[start_ms] = Window(start_ms, end_ms, group, touched)
                self.unpublished[index].append((series, window))
            elif replaying and group[20] <= window.version:
                continue
            else:
                window.add(group, touched)
                if not window.dirty:
                    window.dirty = True
                    self.unpublished[index].append((series, window))
            if paged:
                series.dirty_pages.add((index, start_ms // PAGE_MS[index]))

    def _correct(self, series: Series, changes: Sequence[Change], offset: int) -> None:
        """Corrects what is missing of each window that is held, but for those which that is in already."""
        for minute_ms, change in changes:
            spans = self._spans.get(minute_ms) or self._spans_of(minute_ms)
            for index, (start_ms, _) in enumerate(spans):
                window = series.windows[index].get(start_ms)
                if window is not None and offset > window.missing_to:
                    window.missing += change
                    series.changed(index, start_ms)
                    self.touch(series, index, window)

    def adopt(self, key: bytes, metric_type: str, last_applied: int) -> Series:
        """A series as it was before a restart, still without its windows."""
        series = self._add(key, orjson.loads(key), metric_type)
        series.last_applied = last_applied
        self.replayed_to = max(self.replayed_to, last_applied)
        return series

    def hold(self, series: Series, index: int, window: Window) -> None:
        """Puts a window back that was open before a restart; its row goes out again."""
        series.windows[index][window.start_ms] = window
        self.replayed_to = max(self.replayed_to, window.version, window.missing_to)
        self.unpublished[index].append((series, window))

    def touch(self, series: Series, index: int, window: Window) -> None:
        """Has a window's row published once more, though no event changed it."""
        if not window.dirty:
            window.dirty = True
            self.unpublished[index].append((series, window))

    def drop(self, series: Series, index: int, start_ms: int) -> None:
        """Lets go of a window."""
        del series.windows[index][start_ms]
        series.changed(index, start_ms)
        self.dirty.add(series.key)

    def forget(self, series: Series) -> None:
        """Drops a series that holds no window any more."""
        self.series.pop(series.key, None)
        self._by_identity.pop(tuple(orjson.loads(series.key)), None)
        self.dirty.discard(series.key)

    def window_count(self) -> int:
        """Windows held."""
        return sum(series.window_count() for series in self.series.values())

    def _open_series(self, group: Group) -> Series:
        identity = group[:IDENTITY_FIELDS]
        return self._add(orjson.dumps(identity), identity, group[8])

    def _add(self, key: bytes, identity: list[Any], metric_type: str) -> Series:
        pairs = tuple(sorted(orjson.loads(identity[-1]).items()))
        series = Series(key, SeriesKey(*identity[:-1], dimensions=pairs), metric_type)  # type: ignore[misc]
        self.series[key] = self._by_identity[tuple(identity)] = series
        return series

    def _spans_of(self, minute_ms: int) -> tuple[tuple[int, int], ...]:
        if len(self._spans) > MAX_CACHED_SPANS:
            self._spans.clear()
        starts = ((granularity, window_start(minute_ms, granularity)) for granularity in GRANULARITIES)
        spans = tuple((start_ms, window_end(start_ms, granularity)) for granularity, start_ms in starts)
        self._spans[minute_ms] = spans
        return spans
