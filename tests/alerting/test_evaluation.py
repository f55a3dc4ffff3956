"""Which events a window holds, and what is read from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.evaluation import evaluate, prepare, window_at
from atalaia.alerting.rules import Rule
from atalaia.alerting.writing.document import from_document
from atalaia.schemas.windows import MINUTE_MS

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1000
LONG_AGO_MS = 0


def rule(aggregate: str = "sum", window: str = "1h", condition: str = "> 500", **more: object) -> Rule:
    """A rule on a metric that the catalogue does not know, so that every aggregate is legal."""
    written = {"name": "x", "metric": "test_metric", "aggregate": aggregate, "window": window, "condition": condition}
    return from_document(written | more)


def clock(ms: int) -> str:
    """The time of day."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")


@pytest.mark.parametrize(
    ("condition", "at", "window"),
    [
        ("> 500", "12:00:00", "11:01:00-12:01:00"),
        ("> 500", "12:00:30", "11:01:00-12:01:00"),
        ("> 500", "12:00:59", "11:01:00-12:01:00"),
        ("> 500", "12:01:00", "11:02:00-12:02:00"),
        (">= 500", "12:00:30", "11:01:00-12:01:00"),
        ("< 500", "12:00:04", "10:59:00-11:59:00"),
        ("< 500", "12:00:05", "11:00:00-12:00:00"),
        ("< 500", "12:00:59", "11:00:00-12:00:00"),
        ("== 500", "12:00:30", "11:00:00-12:00:00"),
        ("!= 500", "12:01:05", "11:01:00-12:01:00"),
    ],
)
def test_which_minutes_an_hour_covers(condition: str, at: str, window: str) -> None:
    """Over a threshold: the running minute and the 59 before it. Below one: 60 whole ones, 5 s after."""
    at_ms = NOON_MS + (datetime.strptime(at, "%H:%M:%S") - datetime(1900, 1, 1, 12)) // timedelta(milliseconds=1)  # noqa: DTZ001, DTZ007 - times of one day
    start, end = window_at(prepare(rule(condition=condition)), at_ms)
    assert f"{clock(start)}-{clock(end)}" == window


@pytest.mark.parametrize(
    ("aggregate", "at", "window"),
    [("avg", "< 5", "11:56:00-12:01:00"), ("last", "< 5", "11:56:00-12:01:00"), ("count", "< 5", "11:55:00-12:00:00")],
)
def test_only_what_adds_up_waits_for_whole_minutes(aggregate: str, at: str, window: str) -> None:
    """An average of half a minute is an average; a count of half a minute is half a count."""
    start, end = window_at(prepare(rule(aggregate, "5m", at)), NOON_MS + 30_000)
    assert f"{clock(start)}-{clock(end)}" == window


@pytest.mark.parametrize(("window", "covered"), [("3h", "09:05:00-12:05:00"), ("1d", "12:15:00-12:15:00")])
def test_long_windows_slide_by_more(window: str, covered: str) -> None:
    """Three hours slide by five minutes, a day by a quarter of an hour."""
    start, end = window_at(prepare(rule(window=window)), NOON_MS + 30_000)
    assert f"{clock(start)}-{clock(end)}" == covered


@given(st.integers(1, 31 * 24 * 60), st.integers(NOON_MS, NOON_MS + 40 * 24 * 3_600_000))
def test_a_window_has_its_length_and_holds_the_present(minutes: int, at_ms: int) -> None:
    """Whatever its length, a window of at most 168 steps ends with the step that is running."""
    try:
        condition = prepare(rule(window=f"{minutes}m"))
    except ValueError:
        return
    start, end = window_at(condition, at_ms)
    assert end - start == minutes * MINUTE_MS
    assert (end - start) // condition.step_ms <= 168
    assert end - condition.step_ms <= at_ms < end


EVENTS = [(NOON_MS - 2 * MINUTE_MS, 4.0), (NOON_MS - MINUTE_MS, 1.0), (NOON_MS + 1, 7.0), (NOON_MS + 2, 4.0)]


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("sum", 16.0),
        ("count", 4.0),
        ("avg", 4.0),
        ("min", 1.0),
        ("max", 7.0),
        ("first", 4.0),
        ("last", 4.0),
        ("rate", 16 / 300),
        ("p50", pytest.approx(4.0, rel=0.01)),
        ("p99", 7.0),
    ],
)
def test_what_each_aggregate_reads(aggregate: str, value: float) -> None:
    """Percentiles are within 1 % and never outside of what was seen; a rate is a sum a second."""
    found = evaluate(rule(aggregate, "5m", "> 0"), minutes_of(EVENTS), at_ms=NOON_MS + 5, watched_since_ms=LONG_AGO_MS)
    assert (found.value, found.holds) == (value, True)


def test_the_rate_of_what_does_not_add_up_is_of_events() -> None:
    """A rate of latencies is requests a second: their sum would mean nothing."""
    requests = rule("rate", "5m", metric="api_response_time")
    found = evaluate(requests, minutes_of(EVENTS), at_ms=NOON_MS + 5, watched_since_ms=LONG_AGO_MS)
    assert found.value == 4 / 300


@pytest.mark.parametrize("aggregate", Aggregate)
def test_no_events(aggregate: Aggregate) -> None:
    """A sum, count or rate of nothing is 0; of anything else there is no verdict."""
    found = evaluate(rule(aggregate, "5m", "> 5"), [], at_ms=NOON_MS, watched_since_ms=LONG_AGO_MS)
    zero = aggregate in {Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE}
    assert (found.holds, found.value) == ((False, 0.0) if zero else (None, None))


def test_too_few_events_are_no_verdict() -> None:
    """Below the minimum count nothing is said, not even of a sum."""
    for condition in ("> 1", "< 1"):
        strict = rule("sum", "5m", condition, minimum_count=5)
        assert evaluate(strict, minutes_of(EVENTS), at_ms=NOON_MS + 5, watched_since_ms=LONG_AGO_MS).holds is None
        assert evaluate(strict, [], at_ms=NOON_MS + 5, watched_since_ms=LONG_AGO_MS).holds is None


@pytest.mark.parametrize(("since", "holds"), [(-7, True), (-6, True), (-5, None), (0, None)])
def test_what_has_just_begun_has_not_sold_too_little(since: int, holds: bool | None) -> None:  # noqa: FBT001 - a verdict
    """A sum below its threshold is one only after a whole window under watch."""
    low = rule("sum", "5m", "< 100")
    found = evaluate(
        low, minutes_of(EVENTS[:2]), at_ms=NOON_MS + 30_000, watched_since_ms=NOON_MS + since * MINUTE_MS + 5
    )
    assert found.holds is holds


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("> 0.3", False), ("< 0.3", False), (">= 0.3", True), ("<= 0.3", True), ("== 0.3", True), ("!= 0.3", False)],
)
def test_decimals_are_compared_as_people_mean_them(condition: str, holds: bool) -> None:  # noqa: FBT001 - a verdict
    """0.1 + 0.2 is 0.3, though not in binary."""
    events = [(NOON_MS - 2 * MINUTE_MS, 0.1), (NOON_MS - MINUTE_MS, 0.2)]
    found = evaluate(
        rule("sum", "5m", condition), minutes_of(events), at_ms=NOON_MS + 9_000, watched_since_ms=LONG_AGO_MS
    )
    assert found.holds is holds
