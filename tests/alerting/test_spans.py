"""Windows hold the buckets that people mean, on any calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.evaluating import spans
from atalaia.alerting.expressions import Calendar, Period, Read, Rolling, Selector, Span
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS


def ms(*parts: int, zone: str = "UTC") -> int:
    """An instant on a zone's clock."""
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * 1000  # type: ignore[arg-type, misc]


def read(span: Span, offset: timedelta = timedelta()) -> Read:
    """A leaf."""
    return Read(Selector("m"), Aggregate.SUM, span, offset)


@pytest.mark.parametrize(
    ("period", "zone", "at", "start"),
    [
        (Period.HOUR, "UTC", ms(2026, 3, 5, 12, 34), ms(2026, 3, 5, 12)),
        (Period.HOUR, "Asia/Kolkata", ms(2026, 3, 5, 12, 34), ms(2026, 3, 5, 12, 30)),
        (Period.DAY, "UTC", ms(2026, 3, 5, 12, 34), ms(2026, 3, 5)),
        (Period.DAY, "America/Sao_Paulo", ms(2026, 3, 5, 1), ms(2026, 3, 4, 3)),
        (Period.DAY, "Europe/Lisbon", ms(2026, 3, 29, 12), ms(2026, 3, 29)),  # summer time begins: 23 hours
        (Period.DAY, "Europe/Lisbon", ms(2026, 10, 25, 12), ms(2026, 10, 24, 23)),  # and ends: 25 hours
        (
            Period.DAY,
            "Africa/Cairo",
            ms(2026, 4, 24, 12),
            ms(2026, 4, 23, 22),
        ),  # midnight does not exist: the day is at 1
        (Period.WEEK, "UTC", ms(2026, 3, 5, 12), ms(2026, 3, 2)),
        (Period.WEEK, "Europe/Lisbon", ms(2026, 4, 1, 12), ms(2026, 3, 29, 23)),
        (Period.MONTH, "UTC", ms(2026, 3, 5, 12), ms(2026, 3, 1)),
        (Period.MONTH, "Europe/Lisbon", ms(2026, 4, 5), ms(2026, 3, 31, 23)),
        (Period.MONTH, "Europe/Lisbon", ms(2026, 3, 31, 12), ms(2026, 3, 1)),
    ],
)
def test_a_period_begins_by_its_own_clock(period: Period, zone: str, at: int, start: int) -> None:
    """The hour, day, week or month of a zone, across its changes of time."""
    assert spans.bounds(Calendar(period, zone), MINUTE_MS, at) == (start, at - at % MINUTE_MS)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone stands beside
    st.sampled_from(["UTC", "Europe/Lisbon", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from(Period),
)
def test_a_period_holds_its_instant_and_begins_on_a_bucket(at: datetime, zone: str, period: Period) -> None:
    """Its first bucket is never after the instant, is no longer ago than the period is long, and is whole."""
    at_ms = int(at.timestamp() * 1000)
    span = Calendar(period, zone)
    start, last = spans.bounds(span, spans.step_of(read(span)), at_ms)
    local = datetime.fromtimestamp(start / 1000, ZoneInfo(zone))
    assert start <= last <= at_ms < start + spans.longest_ms(span)
    assert (local.minute, local.second) == (0, 0)
    assert period is Period.HOUR or local.hour == 0


@given(st.integers(1, 120), st.integers(0, 10**12))
def test_a_rolling_window_has_as_many_buckets_as_steps(minutes: int, at_ms: int) -> None:
    """The running step and those before it; the step begins in the window, whatever the instant."""
    start, last = spans.bounds(Rolling(timedelta(minutes=minutes)), MINUTE_MS, at_ms)
    assert (last - start) // MINUTE_MS + 1 == minutes
    assert last <= at_ms < last + MINUTE_MS
    assert start > at_ms - minutes * MINUTE_MS - 1


@pytest.mark.parametrize(
    ("length", "offset", "step_ms"),
    [
        (timedelta(minutes=5), timedelta(), MINUTE_MS),
        (timedelta(hours=2), timedelta(), MINUTE_MS),
        (timedelta(hours=6), timedelta(), 5 * MINUTE_MS),
        (timedelta(days=3), timedelta(), HOUR_MS),
        (timedelta(days=30), timedelta(), 6 * HOUR_MS),
        (timedelta(hours=1), timedelta(days=1), MINUTE_MS),
        (timedelta(hours=1), timedelta(days=7), 5 * MINUTE_MS),
        (timedelta(minutes=7), timedelta(days=7), MINUTE_MS),  # a longer step would not divide it
    ],
)
def test_what_looks_far_back_slides_by_more(length: timedelta, offset: timedelta, step_ms: int) -> None:
    """So that what is kept of a series is bounded."""
    assert spans.step_of(read(Rolling(length), offset)) == step_ms
