"""Sliding windows over columns: the merged events of a window at the end of every minute, all at once.

They are those of `buckets.Window`: a window of n steps is the running step so far and the n - 1 before it, or, where a
condition waits for whole steps, the last n that were over before the allowed lateness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atalaia.alerting.backtest.minutes import Flags, Floats, Ints, Minutes
from atalaia.alerting.local.evaluation import Condition
from atalaia.schemas import sketch
from atalaia.schemas.windows import MINUTE_MS

_Column = NDArray[Any]
_CHUNK: Final = 4_096
"""Minutes of sketches that are in memory at once: some hundred buckets wide each."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Columns named as the fields of `MinuteStats`, so that what reads the one reads the other."""

    count: Ints
    missing: Ints
    sum: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats


def windows(minutes: Minutes, condition: Condition) -> Windows:
    """What the window of a condition holds at the end of every minute."""
    slide = _Slide(minutes, condition)
    indices = np.arange(len(minutes))
    there = minutes.count > 0
    extremes = condition.needs_ends or condition.needs_sketch
    nothing = np.zeros(len(minutes))
    if extremes:
        latest = slide(np.maximum, np.where(there, indices, -1), -1)
        earliest = slide(np.minimum, np.where(there, indices, len(minutes)), len(minutes))
        last, first = minutes.last[latest], minutes.first[np.minimum(earliest, len(minutes) - 1)]
    return Windows(
        count=slide(np.add, minutes.count, 0),
        missing=slide(np.add, minutes.missing, 0) if minutes.missing.any() else np.zeros(len(minutes), np.int64),
        sum=slide(np.add, np.where(there, minutes.sum, 0.0), 0.0),
        min=slide(np.minimum, np.where(there, minutes.min, np.inf), np.inf) if extremes else nothing,
        max=slide(np.maximum, np.where(there, minutes.max, -np.inf), -np.inf) if extremes else nothing,
        first=first if extremes else nothing,
        last=last if extremes else nothing,
    )


def quantiles(minutes: Minutes, condition: Condition, share: float, held: Windows) -> Floats:
    """The quantile of every window, within what was seen; where there are no events it means nothing."""
    index, bucket, counts = minutes.sketch
    numbers, column = np.unique(bucket, return_inverse=True)
    values = np.array([sketch.value_of(int(number)) for number in numbers])
    slide = _Slide(minutes, condition)
    result = np.zeros(len(minutes))
    if not len(numbers):
        return result
    order = np.argsort(index, kind="stable")
    index, column, counts = index[order], column[order], counts[order]
    reach = slide.reach
    for begin in range(0, len(minutes), _CHUNK):
        end = min(begin + _CHUNK, len(minutes))
        low = max(0, (begin - reach) // slide.per_step * slide.per_step)
        first, after = np.searchsorted(index, [low, end])
        table = np.zeros((end - low, len(numbers)), np.int64)
        np.add.at(table, (index[first:after] - low, column[first:after]), counts[first:after])
        running = np.zeros((end - low + 1, len(numbers)), np.int64)
        np.cumsum(table, axis=0, out=running[1:])
        lo, hi = slide.bounds(begin, end)
        within = running[np.maximum(hi - low, 0)] - running[np.maximum(lo - low, 0)]
        ranks = np.cumsum(within, axis=1)
        rank = np.maximum(1, np.ceil(share * ranks[:, -1]))
        result[begin:end] = values[np.minimum(np.argmax(ranks >= rank[:, None], axis=1), len(values) - 1)]
    return np.minimum(np.maximum(result, held.min), held.max)


def incomplete(condition: Condition, held: Windows) -> Flags | None:
    """Where less than the wanted share of the events sent is there; None where no share is wanted, or all is there."""
    if not condition.minimum_completeness or not held.missing.any():
        return None
    there = held.count / np.maximum(held.count + held.missing, 1)
    lacking: Flags = (held.missing > 0) & (there < condition.minimum_completeness)
    return lacking


class _Slide:
    """The windows of a condition over columns of one length, which begin with a whole step."""

    def __init__(self, minutes: Minutes, condition: Condition) -> None:
        self.length = len(minutes)
        self.per_step = condition.step_ms // MINUTE_MS
        self.steps = condition.window_ms // condition.step_ms
        self.waits = condition.lag_ms > 0
        self._late = condition.lateness_ms // MINUTE_MS if self.waits else 0
        self._blocks = -(-self.length // self.per_step)

    @property
    def reach(self) -> int:
        """How many minutes before its last one a window begins, at most."""
        return (self.steps + 2) * self.per_step + self._late

    def __call__(self, merge: np.ufunc, column: _Column, nothing: float) -> _Column:
        """The windows' merged values of a column; `nothing` merges with anything to itself."""
        padded = np.full(self._blocks * self.per_step, nothing, column.dtype)
        padded[: self.length] = column
        running = merge.accumulate(padded.reshape(self._blocks, self.per_step), axis=1)
        whole = running[:, -1]
        if self.waits:
            over = _slide(merge, whole, self.steps, nothing)
            block = (np.arange(self.length) - self._late) // self.per_step - 1
            return np.where(block >= 0, over[np.maximum(block, 0)], np.array(nothing, column.dtype))
        if self.steps == 1:
            return _flat(running, self.length)
        before = _shifted(_slide(merge, whole, self.steps - 1, nothing), 1, nothing)
        return _flat(merge(before[:, None], running), self.length)

    def bounds(self, begin: int, end: int) -> tuple[Ints, Ints]:
        """The first minute of each window, and the first after it."""
        at = np.arange(begin, end)
        if self.waits:
            after = (at - self._late) // self.per_step * self.per_step
            return np.maximum(after - self.steps * self.per_step, 0), np.maximum(after, 0)
        step = at // self.per_step
        return np.maximum((step - self.steps + 1) * self.per_step, 0), at + 1


def _slide(merge: np.ufunc, column: _Column, length: int, nothing: float) -> _Column:
    """Merges the last `length` elements up to each, in log(length) passes: no sum is ever taken back."""
    result, have = np.full(len(column), nothing, column.dtype), 0
    width, power = 1, column
    while width <= length:
        if length & width:
            result = merge(_shifted(power, have, nothing), result)
            have += width
        power = merge(_shifted(power, width, nothing), power)
        width *= 2
    return result


def _shifted(column: _Column, by: int, nothing: float) -> _Column:
    if not by:
        return column
    moved = np.full(len(column), nothing, column.dtype)
    moved[by:] = column[:-by]
    return moved


def _flat(table: _Column, length: int) -> _Column:
    flat: _Column = table.reshape(-1)[:length]
    return flat
