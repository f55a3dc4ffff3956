"""Laws of the judge, over any events, rules and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atalaia.alerting import states
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.local.amendments import AMENDABLE_MS
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.alerting.local.evaluation import evaluate, prepare
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.rules import Comparison, Rule
from atalaia.alerting.states import Verdict
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
SPAN_MS = 20 * MINUTE_MS
KEY = b"series"
SERIES = SeriesKey("default", "test_metric", "shop", None, None, "BRL", "real_time")

# Eighths add up exactly in binary, so that a law can ask for equality.
values = st.integers(-80, 400).map(lambda eighths: eighths / 8)
instants = st.integers(START_MS, START_MS + SPAN_MS)
events = st.lists(st.tuples(instants, values), max_size=25, unique_by=lambda event: event[0])


@dataclass(frozen=True)
class Batch:
    """What one judgement sees: events, in any order of time, and the stream's clock after them."""

    at_ms: int
    events: tuple[tuple[int, float], ...]


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Some judgements in the order of the clock, with events that may be early, late or far too late."""
    clocks = sorted(draw(st.lists(instants, min_size=1, max_size=8, unique=True)))
    return [Batch(at_ms, tuple(draw(events))) for at_ms in clocks]


@st.composite
def rules(draw: st.DrawFn, /, **fixed: Any) -> Rule:
    """Any rule with a window of a few minutes, or one that slides by five."""
    comparison, threshold = fixed.get("comparison") or draw(st.sampled_from(Comparison)), draw(values)
    upward, downward = {Comparison.ABOVE, Comparison.AT_LEAST}, {Comparison.BELOW, Comparison.AT_MOST}
    gap = draw(st.sampled_from([None, None, 0.0, 5.0])) if comparison in upward | downward else None
    needed, of_last = draw(st.sampled_from([(1, 1), (1, 1), (2, 3), (1, 2)]))
    drawn: dict[str, Any] = {
        "aggregate": draw(st.sampled_from(Aggregate)),
        "comparison": comparison,
        "threshold": threshold,
        "recovery": None if gap is None else threshold - gap if comparison in upward else threshold + gap,
        "keep_firing": timedelta(seconds=draw(st.sampled_from([0, 0, 60, 150]))),
        "needed": needed,
        "of_last": of_last,
        "window": timedelta(minutes=draw(st.sampled_from([1, 2, 3, 4, 5, 6, 180]))),
        "hold": timedelta(seconds=draw(st.sampled_from([0, 0, 30, 60, 200]))),
        "minimum_count": draw(st.sampled_from([0, 0, 2])),
    }
    return Rule(rule_id="r", name="R", metric_name="test_metric", **(drawn | fixed))


def bare(rule: Rule) -> Rule:
    """The same rule on the latest value."""
    return replace(rule, aggregate=Aggregate.LAST, window=None, minimum_count=0)


AMENDING = {AlertStatus.AMENDED, AlertStatus.RETRACTED}
any_rule = st.one_of(rules(), rules().map(bare))


def run(judge: Judge, given_batches: Sequence[Batch]) -> list[Transition]:
    """Every transition of some batches."""
    transitions = []
    for batch in given_batches:
        for minute in minutes_of(batch.events):
            judge.observe(KEY, SERIES, minute, batch.at_ms)
        transitions += judge.tick(batch.at_ms)
    return transitions


def by_definition(rule: Rule, given_batches: Sequence[Batch]) -> list[tuple[AlertStatus, int]]:
    """The transitions that follow from the definition: judge at every step's end and at every call."""
    seen: list[MinuteStats] = []
    state, clock, found, decided_ms = states.AT_REST, given_batches[0].at_ms, [], -AMENDABLE_MS
    condition = prepare(rule)
    step_ms, terms = condition.step_ms, condition.terms

    def gone(minute: MinuteStats) -> bool:
        start = minute.start_ms - minute.start_ms % step_ms
        return start + max(condition.lag_ms, step_ms) + condition.window_ms <= clock

    def over() -> bool:
        remembered = state.bits and clock < (state.step + terms.of_last + 1) * step_ms
        return not state.open and not remembered and decided_ms + AMENDABLE_MS <= clock

    for batch in given_batches:
        seen += [minute for minute in minutes_of(batch.events) if not gone(minute)]
        since = min((minute.start_ms for minute in seen), default=batch.at_ms)
        first = since - since % step_ms
        ends = range(clock - clock % MINUTE_MS + MINUTE_MS - 1, batch.at_ms, MINUTE_MS)
        steps = [end for end in ends if (end + 1) % step_ms == 0]
        for at_ms in [at_ms for at_ms in [*steps, batch.at_ms] if at_ms >= first]:
            verdict = evaluate(rule, seen, at_ms=at_ms, watched_since_ms=since).verdict if seen else Verdict.NO_DATA
            state, entered = states.advance(state, verdict, at_ms=at_ms, terms=terms, episode=state.episode)
            found += [(entered, at_ms)] if entered else []
            if entered in {AlertStatus.FIRING, AlertStatus.RESOLVED} and not state.turn:
                decided_ms = at_ms
        clock = batch.at_ms
        if over() and all(gone(minute) for minute in seen):
            seen.clear()  # idle: when the series comes back it is new
            state = states.AT_REST
    return found


@given(rules(), batches())
@settings(max_examples=300)
def test_the_judge_agrees_with_the_definition(rule: Rule, given_batches: list[Batch]) -> None:
    """Keeping windows up to date and skipping what cannot have changed gives what judging every step anew gives."""
    transitions = run(Judge([rule]), given_batches)
    found = [(transition.status, transition.at_ms) for transition in transitions if transition.status not in AMENDING]
    assert found == by_definition(rule, given_batches)


@given(any_rule, batches(), st.randoms(use_true_random=False))
def test_order_within_a_judgement_changes_nothing(rule: Rule, given_batches: list[Batch], random: Random) -> None:
    """The same events in another order, and in other groups of calls, give the same transitions."""
    judge, shuffled = Judge([rule]), Judge([rule])
    for batch in given_batches:
        for minute in minutes_of(batch.events):
            judge.observe(KEY, SERIES, minute, batch.at_ms)
        one_by_one = list(batch.events)
        random.shuffle(one_by_one)
        for event in one_by_one:
            shuffled.observe(KEY, SERIES, minutes_of([event])[0], batch.at_ms)
        assert judge.tick(batch.at_ms) == shuffled.tick(batch.at_ms)


# A series that was silent for longer than its windows is new when it comes back: a late judge sees no silence.
@given(rules(window=timedelta(minutes=3)).filter(lambda rule: not prepare(rule).lag_ms), events)
def test_a_late_batch_gives_what_punctual_ones_gave(rule: Rule, given_events: list[tuple[int, float]]) -> None:
    """A worker that lags and sees minutes of events at once tells the same story, to the minute."""
    punctual, late = Judge([rule]), Judge([rule])
    first = START_MS - MINUTE_MS
    assert punctual.tick(first) == late.tick(first) == []
    ends = range(START_MS + MINUTE_MS - 1, START_MS + SPAN_MS + 2 * MINUTE_MS, MINUTE_MS)
    minute_by_minute = [
        Batch(end, tuple(event for event in given_events if end - MINUTE_MS < event[0] <= end)) for end in ends
    ]
    assert run(punctual, minute_by_minute) == run(late, [Batch(ends[-1], tuple(given_events))])


@given(any_rule, batches(), st.integers(0, 8))
def test_dump_and_load_change_nothing(rule: Rule, given_batches: list[Batch], cut: int) -> None:
    """A judge that takes over from a snapshot goes on as the one that took it would have."""
    first = Judge([rule])
    run(first, given_batches[:cut])
    second = Judge([rule])
    if (state := first.dump(KEY)) is not None:
        second.load(KEY, SERIES, orjson.loads(orjson.dumps(state)))
    if cut:  # whatever there is to load, the worker knows how far the stream's clock had come
        assert second.tick(given_batches[:cut][-1].at_ms) == []
    assert run(first, given_batches[cut:]) == run(second, given_batches[cut:])


@given(any_rule, batches())
def test_clean_keys_have_unchanged_dumps(rule: Rule, given_batches: list[Batch]) -> None:
    """Whoever writes the dumps of dirty keys has, after a crash, what the judge knew, as far as it still matters."""
    judge, written = Judge([rule]), None
    for batch in given_batches:
        transitions = run(judge, [batch])
        if KEY in judge.dirty():
            written = judge.dump(KEY)
        told = [transition.status for transition in transitions if transition.status not in AMENDING]
        if told and written is not None and (states_written := [track[1] for track in written[5]]):
            phase, doubt = states_written[0][0], states_written[0][4]
            assert told[-1] in {phase, doubt}


ordered_events = st.lists(st.tuples(instants, values, st.integers(0, 5_000)), max_size=15, unique_by=lambda e: e[0])


@given(
    rules(comparison=Comparison.BELOW, window=timedelta(minutes=2)),
    st.sampled_from([Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE]),
    ordered_events,
)
@settings(max_examples=50)
def test_any_order_within_the_lateness_is_the_same(
    rule: Rule, aggregate: Aggregate, given_events: list[tuple[int, float, int]]
) -> None:
    """Of a verdict that waits for stragglers, the order and the delay of events within the lateness change nothing."""
    told = []
    for delayed in (False, True):
        # Another rule keeps the series under watch: whether it is new after a silence goes by arrival.
        keeper = replace(rule, rule_id="k", window=timedelta(hours=1), threshold=-1e9, recovery=None)
        judge = Judge([replace(rule, aggregate=aggregate), keeper])
        clock = range(START_MS, START_MS + SPAN_MS + 10_000, 1_000)
        arrivals = [(at_ms + delay_ms * delayed, at_ms, value) for at_ms, value, delay_ms in given_events]
        story = [
            Batch(now, tuple((at_ms, value) for arrival, at_ms, value in arrivals if now - 1_000 < arrival <= now))
            for now in clock
        ]
        told.append(run(judge, story))
    assert told[0] == told[1]


@given(any_rule, batches())
def test_it_never_fires_before_for(rule: Rule, given_batches: list[Batch]) -> None:
    """Firing comes `for` after the condition first held, and never sooner."""
    for transition in run(Judge([rule]), given_batches):
        if transition.status is AlertStatus.FIRING:
            assert transition.at_ms - transition.since_ms >= rule.hold // timedelta(milliseconds=1)


@given(any_rule, batches())
def test_a_life_has_its_order(rule: Rule, given_batches: list[Batch]) -> None:
    """Every status is followed only by those that can come next, and an episode lasts until it ends."""
    begins = AlertStatus.PENDING if rule.hold else AlertStatus.FIRING
    wavering = {AlertStatus.RECOVERING, AlertStatus.NO_DATA, AlertStatus.AWAITING_DATA}
    follows = {
        AlertStatus.PENDING: {AlertStatus.FIRING, AlertStatus.INACTIVE},
        AlertStatus.FIRING: {AlertStatus.RESOLVED} | wavering,
        AlertStatus.RESOLVED: {begins},
        AlertStatus.INACTIVE: {begins},
    } | dict.fromkeys(wavering, {AlertStatus.FIRING, AlertStatus.RESOLVED} | wavering)
    transitions = [t for t in run(Judge([rule]), given_batches) if t.status not in AMENDING]
    for before, after in pairwise(transitions):
        assert after.status in follows[before.status]
        ended = before.status in {AlertStatus.RESOLVED, AlertStatus.INACTIVE}
        assert (before.episode_id != after.episode_id) == ended
    assert not transitions or transitions[0].status is begins


@given(any_rule, batches())
def test_every_transition_has_its_own_id(rule: Rule, given_batches: list[Batch]) -> None:
    """Two transitions never share an id, and a replay gives each the id that it had."""
    transitions = run(Judge([rule]), given_batches)
    ids = [transition.alert_id for transition in transitions]
    assert len(set(ids)) == len(ids)
    assert ids == [transition.alert_id for transition in run(Judge([rule]), given_batches)]


@given(
    rules(comparison=Comparison.ABOVE, hold=timedelta(), minimum_count=0),
    st.sampled_from([Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE]),
    st.lists(st.tuples(instants, values.map(abs)), min_size=1, unique_by=lambda event: event[0]),
    st.lists(st.tuples(instants, values.map(abs)), min_size=1),
)
def test_no_event_undoes_a_sum_over_its_threshold(
    rule: Rule, aggregate: Aggregate, before: list[tuple[int, float]], after: list[tuple[int, float]]
) -> None:
    """A sum, count or rate of amounts that is over its threshold stays there, whatever else arrives by then."""
    judge = Judge([replace(rule, aggregate=aggregate)])
    at_ms = START_MS + SPAN_MS
    run(judge, [Batch(at_ms, tuple(before))])
    assert not [t for t in run(judge, [Batch(at_ms, tuple(after))]) if t.status is AlertStatus.RESOLVED]


@given(st.lists(st.tuples(instants, values), min_size=1, unique_by=lambda event: event[0]), st.integers(0, 30))
def test_merging_does_not_depend_on_order(given_events: list[tuple[int, float]], cut: int) -> None:
    """Buckets merge in any order, and in any grouping."""
    parts = [minutes_of([event])[0].copy(start_ms=0) for event in given_events]
    forwards, backwards = parts[0].copy(), parts[-1].copy()
    for part in parts[1:]:
        forwards.add(part)
    for part in parts[-2::-1]:
        backwards.add(part)
    assert forwards == backwards
    halves = [half for half in (parts[:cut], parts[cut:]) if half]
    merged = [half[0].copy() for half in halves]
    for total, half in zip(merged, halves, strict=True):
        for part in half[1:]:
            total.add(part)
    assert forwards == (merged[0] if len(merged) == 1 else merged[1].add(merged[0]))


@pytest.mark.parametrize("hold", [timedelta(), timedelta(minutes=1)])
def test_rules_judge_apart(hold: timedelta) -> None:
    """What one rule says of a series never depends on which others judge it."""
    rule = Rule(
        rule_id="r",
        name="R",
        metric_name="test_metric",
        aggregate=Aggregate.SUM,
        window=timedelta(minutes=3),
        comparison=Comparison.ABOVE,
        threshold=10,
        hold=hold,
    )
    others = [
        replace(rule, rule_id="a", window=timedelta(hours=6)),
        replace(rule, rule_id="b", aggregate=Aggregate.P95),
        bare(replace(rule, rule_id="c", comparison=Comparison.BELOW)),
    ]
    story = [
        Batch(START_MS + n * 20_000, ((START_MS + n * 20_000 - 5, float(n % 7)),) if n < 15 else ()) for n in range(30)
    ]
    alone = run(Judge([rule]), story)
    assert [t for t in run(Judge([*others, rule]), story) if t.rule.rule_id == "r"] == alone
    assert AlertStatus.RESOLVED in {transition.status for transition in alone}
