"""What `emit` takes, and how it says no."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.producers import MetricError
from atalaia.producers.fields import event_time_ms, metadata_of, number, share, symbol, text

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


class Unprintable:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        (Decimal("59.90"), 59.9),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.array(3), 3.0),
        (10**300, 1e300),
    ],
)
def test_whatever_is_a_finite_number_is_its_nearest_double(value: Any, expected: float) -> None:
    """Python's, decimal's and numpy's numbers are taken."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (True, "write 1 or 0"),
        (np.bool_(1), "write 1 or 0"),
        (None, "not NoneType"),
        ("12.5", "convert it with float()"),
        (b"1", "not bytes"),
        (1 + 2j, "not complex"),
        ([1.0], "not list"),
        (timedelta(seconds=1), "total_seconds()"),
        (np.array([1.0, 2.0]), "a double can hold"),
        (10**400, "a double can hold"),
        (Decimal("sNaN"), "a double can hold"),
        (float("nan"), "must be finite"),
        (float("-inf"), "must be finite"),
        (Decimal("Infinity"), "must be finite"),
        (np.float64("nan"), "must be finite"),
        (Unprintable(), "not Unprintable"),
    ],
)
def test_what_is_no_finite_number_is_refused_with_its_remedy(value: Any, remedy: str) -> None:
    """Neither truth values nor text become numbers by accident."""
    with pytest.raises(MetricError, match="value=") as caught:
        number(value)
    assert caught.value.field == "value"
    assert caught.value.value is value
    assert remedy in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_float_is_taken_as_it_is(value: float) -> None:
    """No digit is lost."""
    assert number(value) == value


def test_event_time_is_the_instant_whatever_the_time_zone() -> None:
    """The same instant in São Paulo and in UTC is the same number of ms."""
    there = NOW.astimezone(timezone(timedelta(hours=-3)))
    assert event_time_ms(there, NOW_MS) == event_time_ms(NOW, NOW_MS) == NOW_MS


@pytest.mark.parametrize(
    ("timestamp", "remedy"),
    [
        (datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001 - that is the point
        (1_700_000_000, "datetime.fromtimestamp"),
        ("2026-01-01T00:00:00Z", "aware datetime"),
        (datetime(1970, 1, 20, tzinfo=UTC), "milliseconds taken for seconds"),
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), "after 1999"),
        (NOW + timedelta(minutes=10, milliseconds=1), "10 minutes ahead"),
        (datetime(2106, 2, 7, tzinfo=UTC), "10 minutes ahead"),
    ],
)
def test_an_event_time_that_cannot_be_is_refused(timestamp: Any, remedy: str) -> None:
    """Naive, numeric, too early and too far ahead: each with its remedy."""
    with pytest.raises(MetricError, match="timestamp=") as caught:
        event_time_ms(timestamp, NOW_MS)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("timestamp", [datetime(2000, 1, 1, tzinfo=UTC), NOW + timedelta(minutes=10)])
def test_the_bounds_of_event_time_are_included(timestamp: datetime) -> None:
    """The first instant of 2000, and exactly ten minutes ahead, are taken."""
    assert event_time_ms(timestamp, NOW_MS) == int(timestamp.timestamp()) * 1000


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("", "1 to 200 characters"),
        ("x" * 201, "has 201"),
        ("a\ud800b", "lone surrogate at 1"),
        (7, "convert it with str()"),
        (None, "not NoneType"),
    ],
)
def test_text_that_cannot_be_is_refused(value: Any, remedy: str) -> None:
    """Empty, too long, not UTF-8, not text: each with its remedy."""
    with pytest.raises(MetricError, match="region=") as caught:
        text("region", value)
    assert remedy in str(caught.value)


def test_length_is_counted_in_characters() -> None:
    """200 characters of four bytes each are 200 characters."""
    assert text("unit", "🗼" * 200) == "🗼" * 200


def test_a_symbol_is_one_of_those_known() -> None:
    """The error lists them."""
    with pytest.raises(MetricError, match=r"frequency='weekly': must be one of daily, monthly"):
        symbol("frequency", "weekly", ("daily", "monthly"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({str(index): "" for index in range(33)}, "may have 32 keys, has 33"),
        ({"k" * 257: "v"}, "metadata key=.*has 257"),
        ({"k": "v" * 257}, r"metadata\['k'\]=.*has 257"),
        ({"": "v"}, "metadata key=''"),
        ({"k": 5}, r"metadata\['k'\]=5: must be text"),
        ({5: "v"}, "metadata key=5: must be text"),
        ({"k": "\udfff"}, "lone surrogate"),
        ([("k", "v")], "must be a mapping"),
        ("k=v", "must be a mapping"),
    ],
)
def test_metadata_beyond_the_limits_is_refused(metadata: Any, message: str) -> None:
    """The key at fault is named."""
    with pytest.raises(MetricError, match=message):
        metadata_of(metadata)


def test_metadata_within_the_limits_is_copied() -> None:
    """32 keys of 256 characters are taken, values may be empty, and later changes don't matter."""
    metadata = {f"{index:0256}": "" for index in range(32)}
    taken = metadata_of(metadata)
    metadata.clear()
    assert len(taken) == 32


def test_a_share_has_bounds() -> None:
    """A CPU at 250 percent is a sum over cores, and refused by name."""
    assert share("cpu_usage", 99.5, most=100) == 99.5
    with pytest.raises(MetricError, match=r"cpu_usage=250: must be between 0 and 100"):
        share("cpu_usage", 250, most=100)
    with pytest.raises(MetricError, match=r"cpu_usage='x'"):
        share("cpu_usage", "x", most=100)
