"""What waiting for data does to alerts: they say so, and everything else stays as it would have been."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.rules import Comparison, Rule
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey

SERIES = SeriesKey("default", "order_value", "checkout", None, None, "BRL", "real_time")
BEGUN_MS = 1_800_000_000_000
STEP_MS = 20_000
DOUBTS = {AlertStatus.AWAITING_DATA, AlertStatus.NO_DATA}

values = st.lists(st.none() | st.sampled_from([0.0, 50.0, 200.0]), min_size=1, max_size=40)


def _rule(hold: timedelta, window: timedelta | None) -> Rule:
    return Rule(
        rule_id="r",
        name="R",
        metric_name="order_value",
        aggregate=Aggregate.LAST if window is None else Aggregate.SUM,
        window=window,
        comparison=Comparison.ABOVE,
        threshold=100.0,
        hold=hold,
    )


def _story(rule: Rule, told: list[float | None], waits: list[bool]) -> list[Transition]:
    """One value, or none, every 20 seconds; and whether data is known to be on its way."""
    judge, transitions = Judge([rule]), []
    for number, (value, waiting) in enumerate(zip(told, waits, strict=True)):
        at_ms = BEGUN_MS + number * STEP_MS
        if value is not None:
            for minute in minutes_of([(at_ms, value)]):
                judge.observe(b"s", SERIES, minute, at_ms)
        transitions += judge.judge(at_ms)
        transitions += judge.tick(at_ms, awaiting="the partition lags" if waiting else None)
    return transitions


def _decisions(transitions: list[Transition]) -> list[tuple[AlertStatus, int, str]]:
    """All but the doubts, and the ends of doubts."""
    return [
        (each.status, each.at_ms, each.alert_id)
        for each in transitions
        if each.status not in DOUBTS and not (each.status is AlertStatus.FIRING and each.turn)
    ]


@pytest.mark.parametrize("hold", [timedelta(), timedelta(minutes=1)])
@pytest.mark.parametrize("window", [None, timedelta(minutes=2)])
@given(told=values, data=st.data())
def test_waiting_changes_no_decision(
    hold: timedelta, window: timedelta | None, told: list[float | None], data: st.DataObject
) -> None:
    """Alerts fire and resolve at the same instants with the same ids, however often data is awaited in between."""
    waits = data.draw(st.lists(st.booleans(), min_size=len(told), max_size=len(told)))
    rule = _rule(hold, window)
    assert _decisions(_story(rule, told, waits)) == _decisions(_story(rule, told, [False] * len(told)))


@given(told=values, data=st.data())
def test_every_transition_has_an_id_of_its_own(told: list[float | None], data: st.DataObject) -> None:
    """Doubts and their ends can be told apart, however many there are."""
    waits = data.draw(st.lists(st.booleans(), min_size=len(told), max_size=len(told)))
    ids = [each.alert_id for each in _story(_rule(timedelta(), timedelta(minutes=2)), told, waits)]
    assert len(ids) == len(set(ids))


def test_only_what_fires_awaits_data() -> None:
    """Each alert that fires says once that it awaits data, and once that it goes on; nothing else says anything."""
    told = _story(
        _rule(timedelta(), None), [50.0, 50.0, 200.0, None, None, None], [True, True, False, True, True, False]
    )
    assert [each.status for each in told] == [AlertStatus.FIRING, AlertStatus.AWAITING_DATA, AlertStatus.FIRING]
    assert told[1].note == "the partition lags"
