"""The quantile sketch: error within its bound, merging in any order, the same in Python and in SQL."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from chdb import session as chdb_session
from hypothesis import given
from hypothesis import strategies as st

from atalaia.schemas.sketch import (
    RELATIVE_ERROR,
    bucket_of,
    bucket_sql,
    count_within,
    count_within_sql,
    merge,
    quantile,
    quantile_sql,
    value_of,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
samples = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=50)
ROUNDING = 1e-9
"""Bucket borders are computed in doubles: a value on one may land on either side."""


def _sketch(values: list[float]) -> dict[int, int]:
    return dict(Counter(bucket_of(value) for value in values))


@given(finite)
def test_a_value_is_read_back_within_the_stated_error(value: float) -> None:
    """Any finite double, even the smallest, comes back within 1 %."""
    smallest = 5e-324  # subnormals have fewer digits than the bound asks for
    assert abs(value_of(bucket_of(value)) - value) <= abs(value) * (RELATIVE_ERROR + ROUNDING) + smallest


@given(samples, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_the_stated_error(values: list[float], share: float) -> None:
    """A quantile of the sketch is within 1 % of the exact one at the same rank."""
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = quantile(_sketch(values), share)
    assert found is not None
    assert abs(found - exact) <= abs(exact) * (RELATIVE_ERROR + ROUNDING)


@given(samples, samples, samples)
def test_merging_is_associative_and_commutative(first: list[float], second: list[float], third: list[float]) -> None:
    """Sketches merged in any order are the sketch of all values."""
    left = _sketch(first)
    merge(left, _sketch(second))
    merge(left, _sketch(third))
    right = _sketch(third)
    merge(right, _sketch(first))
    merge(right, _sketch(second))
    assert left == right == _sketch(first + second + third)


@given(finite, finite)
def test_buckets_are_ordered_as_their_values(one: float, other: float) -> None:
    """A greater value never has a lower bucket."""
    low, high = sorted((one, other))
    assert bucket_of(low) <= bucket_of(high)


@pytest.fixture(scope="module")
def sql() -> Iterator[Any]:
    """Runs a query of one row in ClickHouse's engine."""
    session = chdb_session.Session()
    yield lambda query: json.loads(session.query(query, "JSONCompactEachRow").bytes())
    session.close()


VALUES = [0.0, 1.0, -1.0, 250.0, 0.001, 1e-9, 1e12, -3.7, 99.9, 100.1, 12345.678]


def test_sql_puts_values_into_the_same_buckets(sql: Any) -> None:
    """The SQL expression and the Python function agree."""
    (found,) = sql(f"SELECT arrayMap(v -> {bucket_sql('v')}, {VALUES})")
    assert found == [bucket_of(value) for value in VALUES]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_sql_reads_the_same_quantiles(sql: Any, share: float) -> None:
    """Quantiles by SQL, from a map whose keys come in any order, are those of Python."""
    counts = {bucket_of(value): count for count, value in enumerate(reversed(VALUES), start=1)}
    pairs = ", ".join(f"{bucket}, {count}" for bucket, count in counts.items())
    (found,) = sql(f"WITH map({pairs}) AS m SELECT {quantile_sql('m', share)}")
    assert found == pytest.approx(quantile(counts, share), rel=1e-12)


@given(st.lists(st.floats(-1e9, 1e9), max_size=50), st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_counts_within_bounds_miss_none_and_take_few_from_outside(
    values: list[float], low: float, width: float
) -> None:
    """A count holds every value from low to high, and none that is over 2.1 % outside."""
    high = low + width
    found = count_within(_sketch(values), low, high)
    assert found >= sum(low <= value <= high for value in values)
    assert found <= sum(low - 0.021 * abs(low) <= value <= high + 0.021 * abs(high) for value in values)


@pytest.mark.parametrize("bounds", [(0.0, 99.9), (-math.inf, -1.0), (1.0, math.inf), (-math.inf, math.inf)])
def test_sql_counts_the_same_within_bounds(sql: Any, bounds: tuple[float, float]) -> None:
    """Counts by SQL are those of Python."""
    counts = {bucket_of(value): count for count, value in enumerate(reversed(VALUES), start=1)}
    pairs = ", ".join(f"{bucket}, {count}" for bucket, count in counts.items())
    (found,) = sql(f"WITH map({pairs}) AS m SELECT {count_within_sql('m', *bounds)}")
    assert int(found) == count_within(counts, *bounds)
