"""A quantile sketch of log-width buckets: mergeable by adding counts, in Python (dict) and in SQL (`sumMap`).

A value v > 0 is in bucket i = ceil(ln v / ln g) with g = (1 + a) / (1 - a) and is read back as 2 g^i / (g + 1), so the
relative error is at most a (Masson, Rim, Lee: "DDSketch", VLDB 2019). Buckets are numbered so that their order is the
order of the values: positive values at OFFSET + i, zero at 0, negative values at -(OFFSET + i of |v|).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Final, TypeAlias

RELATIVE_ERROR: Final = 0.01
GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA: Final = math.log(GAMMA)
OFFSET: Final = 40_000
"""Above the largest |i| of a double: ln(5e-324) / ln g is -37,221."""
_SMALLEST: Final = OFFSET - 36_000
"""Below are the buckets of values that are as good as zero: ln(1e-313) / ln g is -36,033."""
_LARGEST_EXPONENT: Final = math.log(sys.float_info.max)

Sketch: TypeAlias = Mapping[int, int]
"""Bucket number to count of values."""


def bucket_of(value: float) -> int:
    """The bucket of a finite value.

    >>> bucket_of(1.0), bucket_of(0.0), bucket_of(-1.0)
    (40000, 0, -40000)
    """
    if value == 0:
        return 0
    index = OFFSET + math.ceil(math.log(abs(value)) / LOG_GAMMA)
    return index if value > 0 else -index


def value_of(bucket: int) -> float:
    """The value that a bucket stands for: within RELATIVE_ERROR of every value in it.

    >>> abs(value_of(bucket_of(250.0)) / 250.0 - 1) <= RELATIVE_ERROR
    True
    """
    if bucket == 0:
        return 0.0
    # The topmost bucket's upper end is past the largest double, though its values are not.
    magnitude = math.exp(min((abs(bucket) - OFFSET) * LOG_GAMMA, _LARGEST_EXPONENT)) * (2 / (GAMMA + 1))
    return magnitude if bucket > 0 else -magnitude


def quantile(sketch: Sketch, share: float) -> float | None:
    """The value at rank ceil(share * count), within RELATIVE_ERROR; None of no values.

    >>> quantile({}, 0.5) is None
    True
    """
    count = sum(sketch.values())
    if count == 0:
        return None
    rank, seen = max(1, math.ceil(share * count)), 0
    for bucket in sorted(sketch):
        seen += sketch[bucket]
        if seen >= rank:
            return value_of(bucket)
    raise AssertionError("the counts of a sketch add up to its count")


def count_within(sketch: Sketch, low: float = -math.inf, high: float = math.inf) -> int:
    """How many values are from `low` to `high`: none of them is missed, and none outside by over 2 % is counted.

    A bucket counts as a whole, and the widest goes from v to v (1 + a) / (1 - a). So values that are equal to a bound
    are within it, whatever the bound.

    >>> count_within({bucket_of(0.0): 3, bucket_of(1.0): 5, bucket_of(500.0): 7}, low=1.0, high=500.0)
    12
    """
    first, last = edges(low, high)
    return sum(count for bucket, count in sketch.items() if first <= bucket <= last)


def edges(low: float, high: float) -> tuple[int, int]:
    """The first and the last bucket of the values from `low` to `high`; either may be infinite."""
    return _bucket_or_end(low), _bucket_or_end(high)


def below(value: float) -> float:
    """A bound for those that `count_within` counts below `value`: with it they and those from `value` on are all.

    >>> below(1.0) < 1.0 < below(1.1)
    True
    """
    bucket = bucket_of(value) - 1
    if abs(bucket) < _SMALLEST:
        return 0.0 if bucket > 0 else -sys.float_info.min
    return value_of(bucket)


def merge(into: dict[int, int], more: Sketch) -> None:
    """Adds the counts of `more` to `into`, in place."""
    for bucket, count in more.items():
        into[bucket] = into.get(bucket, 0) + count


def bucket_sql(value: str) -> str:
    """The SQL expression of `bucket_of`, an Int32."""
    index = f"{OFFSET} + toInt32(ceil(log(abs({value})) / {LOG_GAMMA!r}))"
    return f"multiIf({value} = 0, 0, {value} > 0, {index}, -({index}))"


def count_within_sql(sketch: str, low: float = -math.inf, high: float = math.inf) -> str:
    """The SQL expression of `count_within` over a Map(Int32, UInt64)."""
    first, last = edges(low, high)
    return f"arraySum(mapValues(mapFilter((bucket, seen) -> bucket BETWEEN {first} AND {last}, {sketch})))"


def quantile_sql(sketch: str, share: float) -> str:
    """The SQL expression of `quantile` over a Map(Int32, UInt64), whose keys need no order; NaN of no values."""
    pairs = f"arraySort(mapKeys({sketch}))"
    running = f"arrayCumSum(bucket -> {sketch}[bucket], {pairs})"
    rank = f"greatest(1, ceil({share!r} * arraySum(mapValues({sketch}))))"
    bucket = f"arrayElement({pairs}, arrayFirstIndex(seen -> seen >= {rank}, {running}))"
    magnitude = f"2 * exp((abs({bucket}) - {OFFSET}) * {LOG_GAMMA!r}) / {GAMMA + 1!r}"
    return f"if(empty({sketch}), nan, if({bucket} = 0, 0, sign({bucket}) * {magnitude}))"


def _bucket_or_end(value: float) -> int:
    """The bucket of a value; of an infinite one, a number beyond them all."""
    return bucket_of(value) if math.isfinite(value) else int(math.copysign(3 * OFFSET, value))
