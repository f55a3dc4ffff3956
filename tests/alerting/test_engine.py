"""One story, whoever judges it: local and shared rules, at once or late, in one go or after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.engine import story
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.promql import parse
from atalaia.alerting.rules import Comparison, Rule, tree
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
MINUTES = 20
LATE_MS = 5_000
SERIES = [SeriesKey("default", "test_metric", name, None, None, "BRL", "real_time") for name in ("a", "b")]

# Eighths add up exactly in binary, so that a law can ask for equality.
values = st.integers(-80, 400).map(lambda eighths: eighths / 8)
events = st.lists(
    st.tuples(st.integers(START_MS, START_MS + MINUTES * MINUTE_MS - 1), values, st.sampled_from(SERIES)),
    max_size=30,
    unique_by=lambda event: event[0],
)
Event = tuple[int, float, SeriesKey]
KEEPER = Rule(
    rule_id="keeper",
    name="K",
    metric_name="test_metric",
    aggregate=Aggregate.SUM,
    window=timedelta(hours=2),
    comparison=Comparison.ABOVE,
    threshold=1e9,
)
"""Keeps a series known while it is silent, which a local judge forgets after its windows, and a shared one doesn't."""


@st.composite
def rules(draw: st.DrawFn, /, **fixed: Any) -> Rule:
    """Any rule on single series with a window of a few minutes."""
    needed, of_last = draw(st.sampled_from([(1, 1), (1, 1), (2, 3)]))
    drawn: dict[str, Any] = {
        "aggregate": draw(st.sampled_from(Aggregate)),
        "comparison": draw(st.sampled_from(Comparison)),
        "threshold": draw(values),
        "window": timedelta(minutes=draw(st.sampled_from([1, 2, 3, 5]))),
        "hold": timedelta(seconds=draw(st.sampled_from([0, 0, 60, 180]))),
        "keep_firing": timedelta(seconds=draw(st.sampled_from([0, 0, 120]))),
        "minimum_count": draw(st.sampled_from([0, 0, 2])),
        "needed": needed,
        "of_last": of_last,
    }
    return Rule(rule_id="r", name="R", metric_name="test_metric", **(drawn | fixed))


def as_tree(rule: Rule) -> Rule:
    """The same rule, spelled as an expression."""
    return replace(rule, expression=tree(rule), window=None, aggregate=Aggregate.LAST)


def ratio(**more: Any) -> Rule:
    """A rule on several series at once."""
    expression = parse("sum(sum_over_time(test_metric[3m])) / sum(count_over_time(test_metric[3m]))")
    fields: dict[str, Any] = {"comparison": Comparison.ABOVE, "threshold": 20.0, "expression": expression}
    return Rule(rule_id="r", name="R", metric_name="test_metric", **(fields | more))


shared_rules = st.one_of(
    rules().map(as_tree),
    st.builds(
        ratio,
        hold=st.sampled_from([timedelta(), timedelta(minutes=2)]),
        keep_firing=st.sampled_from([timedelta(), timedelta(minutes=2)]),
        threshold=values,
        comparison=st.sampled_from([Comparison.ABOVE, Comparison.BELOW]),
    ),
)


def instants() -> list[int]:
    """When a punctual worker judges: once a minute is over, and when its stragglers have come."""
    ends = range(START_MS, START_MS + (MINUTES + 8) * MINUTE_MS, MINUTE_MS)
    return [instant for end in ends for instant in (end + LATE_MS, end + MINUTE_MS - 1)]


def told(transitions: Iterable[Transition]) -> list[tuple[str, int, str]]:
    """What was told of whom, and when; what late data changed is left to the judge of single series."""
    amending = {AlertStatus.AMENDED, AlertStatus.RETRACTED}
    found = [(each.labels["service_name"], each) for each in transitions if each.status not in amending]
    return sorted((name, each.at_ms, each.status.value) for name, each in found)


def told_by(judge: SharedJudge, given_events: Sequence[Event], at: Sequence[int]) -> list[Transition]:
    """What a shared judge tells at some instants, each time knowing all events until then."""
    transitions: list[Transition] = []
    for before, now in zip([0, *at], at, strict=False):
        feed(judge, given_events, before, now)
        transitions += judge.advance(now)
    return transitions


def feed(judge: SharedJudge, given_events: Sequence[Event], before: int, now: int) -> None:
    """The minutes that events between two instants changed, each in its whole state, odd values on another shard."""
    touched = {
        (series, start, value % 2)
        for at, value, series in given_events
        if before < at <= now
        for start in [at - at % MINUTE_MS]
    }
    for series, start, shard in sorted(touched, key=str):
        known = [
            (at, value)
            for at, value, of in given_events
            if of == series and at <= now and at - at % MINUTE_MS == start and value % 2 == shard
        ]
        (minute,) = minutes_of(known)
        judge.observe(series.record_key(), series, minute, shard=shard)


@given(rules(), events)
@settings(max_examples=200)
def test_a_local_rule_is_judged_alike_as_a_tree(rule: Rule, given_events: list[Event]) -> None:
    """What the judge of single series tells, the evaluator of trees tells too, at the same instants."""
    local = Judge([rule, KEEPER])
    found: list[Transition] = []
    for before, now in zip([0, *instants()], instants(), strict=False):
        for series in SERIES:
            fresh = [(at, value) for at, value, of in given_events if of == series and before < at <= now]
            for minute in minutes_of(fresh):
                local.observe(series.record_key(), series, minute, now)
        found += local.tick(now)
    assert told(told_by(SharedJudge([as_tree(rule)]), given_events, instants())) == told(found)


@given(shared_rules, events)
def test_a_late_judge_tells_what_a_punctual_one_told(rule: Rule, given_events: list[Event]) -> None:
    """A judge that gets all events at once, and then the time, tells the same story."""
    ends = instants()[1::2]
    punctual = told_by(SharedJudge([rule]), given_events, ends)
    late = SharedJudge([rule])
    late.advance(START_MS - 1)
    feed(late, given_events, 0, START_MS + MINUTES * MINUTE_MS)
    assert late.advance(ends[-1]) == punctual


@given(shared_rules, events, st.integers(0, 2 * MINUTES))
def test_dump_and_load_change_nothing(rule: Rule, given_events: list[Event], cut: int) -> None:
    """A judge that takes over from dumps, and is told the minutes again, goes on as the one before would have."""
    before, after = instants()[:cut], instants()[cut:]
    first, written = SharedJudge([rule]), {}
    told_by(first, given_events, before)
    for key in first.dirty():
        written[key] = first.dump(key)
    second = SharedJudge([rule])
    for dump in written.values():
        if dump is not None:
            second.load(orjson.loads(orjson.dumps(dump)))
    if before:
        feed(second, given_events, 0, before[-1])
        assert second.advance(before[-1]) == []
    rest = [told_by(judge, [e for e in given_events if e], after) for judge in (first, second)]
    assert rest[0] == rest[1]


@given(shared_rules, events)
def test_every_transition_has_its_own_id(rule: Rule, given_events: list[Event]) -> None:
    """Two transitions never share an id, and a replay gives each the id that it had."""
    found = told_by(SharedJudge([rule]), given_events, instants())
    ids = [each.alert_id for each in found]
    assert len(set(ids)) == len(ids)
    assert ids == [each.alert_id for each in told_by(SharedJudge([rule]), given_events, instants())]


@given(shared_rules, events)
def test_it_never_fires_before_for(rule: Rule, given_events: list[Event]) -> None:
    """Firing comes `for` after the condition first held, and never sooner."""
    for each in told_by(SharedJudge([rule]), given_events, instants()):
        if each.status is AlertStatus.FIRING and not each.turn:
            assert each.at_ms - each.since_ms >= rule.hold // timedelta(milliseconds=1)


def test_an_engine_judges_both_kinds() -> None:
    """Local and shared rules of one engine tell one story, in the order of time."""
    local = Rule(
        rule_id="local",
        name="L",
        metric_name="test_metric",
        aggregate=Aggregate.SUM,
        window=timedelta(minutes=5),
        comparison=Comparison.ABOVE,
        threshold=40,
    )
    minutes = [
        (series, minute)
        for minute in minutes_of([(START_MS + n * MINUTE_MS, 15.0 if n > 5 else 1.0) for n in range(12)])
        for series in SERIES
    ]
    found = list(story([local, ratio(threshold=10.0)], minutes, until_ms=START_MS + 30 * MINUTE_MS))
    told = [((each.at_ms + 1 - START_MS) // MINUTE_MS, each.rule.rule_id, each.status.value) for each in found]
    assert [at for at, _, _ in told] == sorted(at for at, _, _ in told)
    assert sorted(told) == [
        (8, "r", "firing"),
        (9, "local", "firing"),
        (9, "local", "firing"),
        (15, "local", "resolved"),
        (15, "local", "resolved"),
        (15, "r", "no_data"),
    ]
