"""The minutes of one series as columns: what history is judged by, a whole series at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from atalaia.alerting.local.buckets import MinuteStats
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

GRID_MS = 6 * HOUR_MS
"""Columns begin at whole multiples of the longest step of any rolling window (`sense.step`)."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes without a gap from `start_ms` on; where nothing came, `count` is 0 and the other columns mean nothing.

    Instants are event time in ms. `sketch` is three columns: the minute's index, a bucket's number, the values in it.
    """

    series: SeriesKey
    start_ms: int
    count: Ints
    missing: Ints
    sum: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    first_at: Ints
    last_at: Ints
    sketch: tuple[Ints, Ints, Ints]

    def __len__(self) -> int:
        return len(self.count)

    @property
    def ends_ms(self) -> Ints:
        """The last instant of every minute, which is when it is judged."""
        return self.start_ms + MINUTE_MS * np.arange(1, len(self) + 1) - 1

    @classmethod
    def empty(cls, series: SeriesKey, *, from_ms: int, to_ms: int) -> Self:
        """No events from before `from_ms` up to `to_ms`, to be filled in."""
        start = from_ms - from_ms % GRID_MS
        length = max(0, -(-(to_ms - start) // MINUTE_MS))

        def full(value: float) -> Floats:
            return np.full(length, value)

        none = np.zeros(0, np.int64)
        return cls(
            series,
            start,
            np.zeros(length, np.int64),
            np.zeros(length, np.int64),
            full(0.0),
            full(np.inf),
            full(-np.inf),
            full(0.0),
            full(0.0),
            np.zeros(length, np.int64),
            np.zeros(length, np.int64),
            (none, none, none),
        )

    @classmethod
    def of(cls, series: SeriesKey, minutes: Iterable[MinuteStats], *, from_ms: int, to_ms: int) -> Self:
        """The columns of minutes that are there one by one; those outside of the span are left out."""
        columns = cls.empty(series, from_ms=from_ms, to_ms=to_ms)
        index: list[int] = []
        buckets: list[int] = []
        counts: list[int] = []
        for minute in minutes:
            at = (minute.start_ms - columns.start_ms) // MINUTE_MS
            if not 0 <= at < len(columns):
                continue
            columns.count[at], columns.missing[at], columns.sum[at] = minute.count, minute.missing, minute.sum
            columns.min[at], columns.max[at] = minute.min, minute.max
            columns.first[at], columns.first_at[at] = minute.first, minute.first_at
            columns.last[at], columns.last_at[at] = minute.last, minute.last_at
            index += [at] * len(minute.sketch)
            buckets += minute.sketch
            counts += minute.sketch.values()
        return cls(
            series,
            columns.start_ms,
            columns.count,
            columns.missing,
            columns.sum,
            columns.min,
            columns.max,
            columns.first,
            columns.last,
            columns.first_at,
            columns.last_at,
            (np.array(index, np.int64), np.array(buckets, np.int64), np.array(counts, np.int64)),
        )

    def each(self) -> Iterator[MinuteStats]:
        """The minutes one by one, those without events left out."""
        sketches = self._sketches()
        for at in np.flatnonzero(self.count).tolist():
            start = self.start_ms + at * MINUTE_MS
            yield MinuteStats(
                start,
                int(self.count[at]),
                float(self.sum[at]),
                float(self.min[at]),
                float(self.max[at]),
                float(self.first[at]),
                int(self.first_at[at]),
                float(self.last[at]),
                int(self.last_at[at]),
                sketches.get(at, {}),
                int(self.missing[at]),
            )

    def _sketches(self) -> dict[int, dict[int, int]]:
        found: dict[int, dict[int, int]] = {}
        for at, bucket, count in zip(*(column.tolist() for column in self.sketch), strict=True):
            found.setdefault(at, {})[bucket] = count
        return found
