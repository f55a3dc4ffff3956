"""One opening of one window: what a rollup row says of values, how it grows, and how it is kept."""

from __future__ import annotations

import math
from typing import Any

from atalaia.schemas.events import Granularity
from atalaia.schemas.windows import window_end
from atalaia.streams.columns import Group


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
        "missing",
        "missing_to",
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
        self.missing = 0
        """Events sent that never came; below zero where this opening has what an earlier one misses: shards add up."""
        self.missing_to = -1
        """After a restart: `missing` is right as of this offset."""
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

    def dump(self, applied: int | None = None) -> list[Any]:
        """The window as a changelog value holds it; `applied` is the offset that the value itself is as of."""
        dump: list[Any] = [
            self.start_ms,
            self.opened,
            self.version,
            [self.count, self.sum, self.min, self.max],
            [self.first, self.first_at, self.first_offset],
            [self.last, self.last_at, self.last_offset],
            list(self.sketch),
            list(self.sketch.values()),
            self.missing,
        ]
        if applied is not None and self.missing_to > applied:
            dump.append(self.missing_to)
        return dump


def restored(dump: list[Any], granularity: Granularity, touched: float, applied: int = -1) -> Window:
    """A window from its dump, which is as of the offset `applied`.

    It is dirty: what the last checkpoint had not yet published goes out again.
    """
    start_ms, opened, version, (count, total, *extremes), first, last, buckets, counts, *missing = dump
    total = math.inf if total is None else total  # JSON has no infinity
    group = [None] * 10 + [count, total, *extremes, *first, *last, opened, version, buckets, counts]
    window = Window(start_ms, window_end(start_ms, granularity), group, touched)
    # What the version before has dumped misses nothing.
    window.missing = missing[0] if missing else 0
    window.missing_to = missing[1] if len(missing) > 1 else applied
    return window
