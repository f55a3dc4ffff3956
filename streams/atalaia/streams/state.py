"""The window state of one partition: series, their open windows, and how a batch's groups become part of them.

Each series carries the offset of the last event applied to it. An event at or below that offset has been counted
before a restart and is left out, so a replay from an older offset changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from atalaia.schemas.events import Granularity
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import window_end, window_start
from atalaia.streams.columns import Group

GRANULARITIES: Final = tuple(Granularity)
IDENTITY_FIELDS: Final = 8
"""The first fields of a group, which identify its series."""
MAX_CACHED_SPANS: Final = 10_000


class Window:
    """One opening of one window: everything a rollup row says of values. Offsets are the source partition's."""

    __slots__ = (
        "closed",
        "count",
        "dirty",
        "end_ms",
        "first",
        "first_at",
        "first_offset",
        "last",
        "last_at",
        "last_offset",
        "max",
        "min",
        "opened",
        "sketch",
        "start_ms",
        "sum",
        "touched",
        "version",
    )

    def __init__(self, start_ms: int, end_ms: int, group: Group, touched: float) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.count: int = group[10]
        self.sum = float(group[11])
        self.min: float = group[12]
        self.max: float = group[13]
        self.first: float = group[14]
        self.first_at: int = group[15]
        self.first_offset: int = group[16]
        self.last: float = group[17]
        self.last_at: int = group[18]
        self.last_offset: int = group[19]
        self.opened: int = group[20]
        self.version: int = group[21]
        self.sketch: dict[int, int] = dict(zip(group[22], group[23], strict=True))
        self.touched = touched
        self.dirty = True
        self.closed = False

    def add(self, group: Group, touched: float) -> None:
        """Takes a group of events of this window in; their offsets are above `version`."""
        self.count += group[10]
        self.sum += float(group[11])
        self.min = min(self.min, group[12])
        self.max = max(self.max, group[13])
        if group[15] < self.first_at or (group[15] == self.first_at and group[16] < self.first_offset):
            self.first, self.first_at, self.first_offset = group[14], group[15], group[16]
        if group[18] > self.last_at or (group[18] == self.last_at and group[19] > self.last_offset):
            self.last, self.last_at, self.last_offset = group[17], group[18], group[19]
        self.version = max(self.version, group[21])
        sketch = self.sketch
        for bucket, count in zip(group[22], group[23], strict=True):
            sketch[bucket] = sketch.get(bucket, 0) + count
        self.touched = touched

    def dump(self) -> list[Any]:
        """The window as a changelog value holds it."""
        return [
            self.start_ms,
            self.opened,
            self.version,
            [self.count, self.sum, self.min, self.max],
            [self.first, self.first_at, self.first_offset],
            [self.last, self.last_at, self.last_offset],
            list(self.sketch),
            list(self.sketch.values()),
        ]


def restored(dump: list[Any], granularity: Granularity, touched: float) -> Window:
    """A window from its dump. It is dirty: what the last checkpoint had not yet published goes out again."""
    start_ms, opened, version, (count, total, *extremes), first, last, buckets, counts = dump
    total = math.inf if total is None else total  # JSON has no infinity
    group = [None] * 10 + [count, total, *extremes, *first, *last, opened, version, buckets, counts]
    return Window(start_ms, window_end(start_ms, granularity), group, touched)


@dataclass(slots=True)
class Series:
    """One series of one partition: its identity, the last offset applied, its open windows by granularity."""

    key: bytes
    identity: SeriesKey
    metric_type: str
    last_applied: int = -1
    windows: tuple[dict[int, Window], ...] = field(default_factory=lambda: tuple({} for _ in GRANULARITIES))
    rollup_head: bytes | None = None
    """The part of its rollup records that never changes, once it has been encoded."""

    def open_windows(self) -> Iterator[tuple[Granularity, Window]]:
        """All windows held, finest first."""
        for granularity, held in zip(GRANULARITIES, self.windows, strict=True):
            for window in held.values():
                yield granularity, window

    def dump(self, alerts: list[Any] | None) -> bytes:
        """The changelog value: with the state of the series' alerts, so that both are of the same moment."""
        windows = [[window.dump() for window in held.values()] for held in self.windows]
        return orjson.dumps([self.metric_type, self.last_applied, windows, alerts])


class PartitionState:
    """The series of one partition. Not thread-safe; owned by the worker's event loop."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.series: dict[bytes, Series] = {}
        self.dirty: set[bytes] = set()
        """Keys whose changelog value is out of date."""
        self.replayed_to = -1
        """The highest offset applied before the last restart: batches that begin below it go event by event."""
        self.unpublished: tuple[list[tuple[Series, Window]], ...] = tuple([] for _ in GRANULARITIES)
        """Windows whose rollup row is out of date, by granularity; just those with `dirty` set."""
        self._by_identity: dict[tuple[Any, ...], Series] = {}
        self._spans: dict[int, tuple[tuple[int, int], ...]] = {}

    def apply(self, groups: Sequence[Group], *, last_offset: int, touched: float) -> list[tuple[Series, Group]]:
        """Counts the groups of one batch that ends at `last_offset`; those that had not been counted before.

        While replaying, each group must be of a single event. `touched` is a monotonic clock's seconds.
        """
        applied: list[tuple[Series, Group]] = []
        for group in groups:
            series = self._by_identity.get(tuple(group[:IDENTITY_FIELDS])) or self._open_series(group)
            if group[20] <= series.last_applied:
                continue
            spans = self._spans.get(group[9]) or self._spans_of(group[9])
            for held, (start_ms, end_ms), unpublished in zip(series.windows, spans, self.unpublished, strict=True):
                window = held.get(start_ms)
                if window is None:
                    window = held[start_ms] = Window(start_ms, end_ms, group, touched)
                    unpublished.append((series, window))
                    continue
                window.add(group, touched)
                if not window.dirty:
                    window.dirty = True
                    unpublished.append((series, window))
            applied.append((series, group))
        # Only now: a series may have several groups in a batch, whose offsets interleave.
        for series, _ in applied:
            series.last_applied = last_offset
            self.dirty.add(series.key)
        return applied

    def load(self, key: bytes, value: bytes, *, touched: float) -> list[Any] | None:
        """Takes a series back from the changelog; the state of its alerts."""
        metric_type, last_applied, windows, alerts = orjson.loads(value)
        series = self._add(key, orjson.loads(key), metric_type)
        series.last_applied = last_applied
        for index, dumps in enumerate(windows):
            for dump in dumps:
                window = series.windows[index][dump[0]] = restored(dump, GRANULARITIES[index], touched)
                self.unpublished[index].append((series, window))
        self.replayed_to = max(self.replayed_to, last_applied)
        return list(alerts) if alerts is not None else None

    def touch(self, series: Series, index: int, window: Window) -> None:
        """Has a window's row published once more, though no event changed it."""
        if not window.dirty:
            window.dirty = True
            self.unpublished[index].append((series, window))

    def forget(self, series: Series) -> None:
        """Drops a series that holds no window any more."""
        self.series.pop(series.key, None)
        self._by_identity.pop(tuple(orjson.loads(series.key)), None)
        self.dirty.discard(series.key)

    def window_count(self) -> int:
        """Windows held."""
        return sum(len(held) for series in self.series.values() for held in series.windows)

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
