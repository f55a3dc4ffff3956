"""Backtests on columns of minutes against the engine that judges live."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from atalaia.alerting import unit_tests
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.backtest.episodes import of_transitions
from atalaia.alerting.backtest.minutes import GRID_MS, Minutes
from atalaia.alerting.backtest.needs import needs
from atalaia.alerting.backtest.trials import Trial, swept, trials
from atalaia.alerting.engine import story
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.rules import Comparison, Rule, RuleError
from atalaia.alerting.transitions import fingerprint
from atalaia.alerting.writing.document import from_document
from atalaia.alerting.writing.loader import load_files
from atalaia.schemas import sketch
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_790_000_000_000 // GRID_MS * GRID_MS
LATE = {AlertStatus.AMENDED, AlertStatus.RETRACTED}
Happened = tuple[int, str, str]


def series(metric_name: str, service_name: str = "api") -> SeriesKey:
    """A series of a metric."""
    return SeriesKey("default", metric_name, service_name, None, None, "1", "real_time")


def minute(index: int, values: list[float], *, missing: int = 0) -> MinuteStats:
    """A minute that holds these values, a second apart."""
    start = START_MS + index * MINUTE_MS
    counts: dict[int, int] = {}
    for value in values:
        sketch.merge(counts, {sketch.bucket_of(value): 1})
    last_at = start + 1_000 * len(values)
    return MinuteStats(
        start,
        len(values),
        sum(values),
        min(values),
        max(values),
        values[0],
        start + 1_000,
        values[-1],
        last_at,
        counts,
        missing,
    )


@st.composite
def stories(draw: st.DrawFn) -> list[MinuteStats]:
    """Minutes of one series, with levels that last, and silences."""
    found = []
    at = draw(st.integers(0, 400))
    spans = st.tuples(
        st.sampled_from([0, 0, 0, 1, 4, 20, 200]),
        st.integers(1, 25),
        st.sampled_from([10.0, 45.0, 55.0, 95.0]),
        st.sampled_from([0, 0, 0, 2]),
    )
    for silence, length, level, missing in draw(st.lists(spans, min_size=1, max_size=12)):
        at += silence
        for _ in range(length):
            found.append(minute(at, [level, level + 7.5] if at % 3 else [level], missing=missing if at % 2 else 0))
            at += 1
    return found


@st.composite
def local_rules(draw: st.DrawFn) -> Rule:
    """Rules on single series, of every kind."""
    window = draw(st.sampled_from([None, 1, 2, 5, 10, 60, 125, 24 * 60]))
    above = draw(st.booleans())
    threshold = draw(st.sampled_from([20.0, 50.0, 60.0, 100.0, 700.0]))
    fields: dict[str, Any] = {
        "rule_id": "r",
        "name": "R",
        "metric_name": draw(st.sampled_from(["cpu_usage", "commission_paid", "api_response_time"])),
        "aggregate": Aggregate.LAST if window is None else draw(st.sampled_from(list(Aggregate))),
        "window": None if window is None else timedelta(minutes=window),
        "comparison": Comparison.ABOVE if above else Comparison.BELOW,
        "threshold": threshold,
        "hold": timedelta(seconds=draw(st.sampled_from([0, 0, 60, 150, 600]))),
        "keep_firing": timedelta(seconds=draw(st.sampled_from([0, 0, 120]))),
        "recovery": draw(st.sampled_from([None, threshold - 10 if above else threshold + 10])),
        "minimum_count": draw(st.sampled_from([0, 0, 4])) if window else 0,
        "minimum_completeness": draw(st.sampled_from([None, None, 0.6])) if window else None,
        "absent_for": draw(st.sampled_from([None, None, timedelta(minutes=3)])),
    }
    fields["needed"], fields["of_last"] = draw(st.sampled_from([(1, 1), (1, 1), (2, 3), (3, 5)]))
    try:
        return Rule(**fields)
    except RuleError:
        assume(False)
        raise


def happened(found: Iterable[Trial]) -> list[Happened]:
    """What was told: minute, alert, status."""
    told = []
    for trial in found:
        mark = fingerprint(trial.condition.identity, dict(trial.course.labels))
        told += [(int(trial.course.ends_ms[each.minute]) // MINUTE_MS, mark, each.status.value) for each in trial.told]
    return sorted(told, key=lambda each: each[:2])


def live(rules: list[Rule], minutes: Iterable[tuple[SeriesKey, MinuteStats]], until_ms: int) -> list[Happened]:
    """The same of the engine; what is told of late data is left out."""
    told = [each for each in story(rules, minutes, until_ms=until_ms) if each.status not in LATE]
    return sorted(
        ((each.at_ms // MINUTE_MS, each.fingerprint, each.status.value) for each in told), key=lambda each: each[:2]
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(local_rules(), stories())
def test_columns_tell_what_the_engine_tells(rule: Rule, minutes: list[MinuteStats]) -> None:
    """Of any local rule on any minutes, every status is entered in the same minute as by the judge of live events."""
    one = series(rule.metric_name)
    until_ms = minutes[-1].start_ms + 300 * MINUTE_MS
    columns = Minutes.of(one, minutes, from_ms=START_MS, to_ms=until_ms)
    assert happened(trials(rule, [columns])) == live([rule], ((one, each) for each in minutes), until_ms - 1)


RATIO = """
sum by (service_name) (increase(http_requests{status_class="5xx"}[5m]))
  / sum by (service_name) (increase(http_requests[5m])) > 0.3
"""


@pytest.mark.parametrize(
    "expression",
    ["max by (service_name) (cpu_usage) > 50", "sum(increase(commission_paid[10m])) < 700", "absent(cpu_usage)"],
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(stories(), min_size=2, max_size=2), st.sampled_from(["0s", "2m"]))
def test_expressions_tell_what_the_engine_tells(expression: str, two: list[list[MinuteStats]], hold: str) -> None:
    """Of rules over several series, too, every alert fires and resolves in the same minute as live."""
    rule = from_document({"rule_name": "R", "expr": expression, "for": hold, "severity": "high"})
    name = needs(rule)[0].metric_name
    both = [(series(name, "api"), two[0]), (series(name, "web"), two[1])]
    until_ms = max(minutes[-1].start_ms for _, minutes in both) + 100 * MINUTE_MS
    columns = [Minutes.of(one, minutes, from_ms=START_MS, to_ms=until_ms) for one, minutes in both]
    merged = sorted(((one, each) for one, minutes in both for each in minutes), key=lambda pair: pair[1].start_ms)
    first = merged[0][1].start_ms // MINUTE_MS
    told = [each for each in happened(trials(rule, columns)) if each[0] >= first]
    assert told == live([rule], merged, until_ms - 1)


def test_an_episode_says_when_and_how_bad() -> None:
    """An episode has the minutes in which it fired and resolved, and the value farthest beyond the threshold."""
    rule = Rule(
        rule_id="busy",
        name="Busy",
        metric_name="cpu_usage",
        aggregate=Aggregate.MAX,
        window=timedelta(minutes=2),
        comparison=Comparison.ABOVE,
        threshold=90,
        hold=timedelta(minutes=2),
    )
    values = [10, 95, 95, 99, 95, 95, 10, 10, 10]
    minutes = [minute(at, [float(value)]) for at, value in enumerate(values)]
    columns = Minutes.of(series("cpu_usage"), minutes, from_ms=START_MS, to_ms=START_MS + 9 * MINUTE_MS)
    (trial,) = trials(rule, [columns])
    (episode,) = trial.episodes()
    fired, resolved = (episode.firing_ms - START_MS) // MINUTE_MS, ((episode.resolved_ms or 0) - START_MS) // MINUTE_MS
    assert (fired, resolved, episode.worst) == (3, 7, 99.0)
    assert episode.minutes_within(START_MS, START_MS + 9 * MINUTE_MS) == 4
    told = list(story([rule], ((series("cpu_usage"), each) for each in minutes), until_ms=START_MS + 9 * MINUTE_MS))
    (same,) = of_transitions(told)
    assert (same.firing_ms, same.resolved_ms, same.fingerprint) == (
        episode.firing_ms,
        episode.resolved_ms,
        episode.fingerprint,
    )


@given(stories(), st.lists(st.sampled_from([5.0, 20.0, 50.0, 60.0, 100.0]), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_sweep_is_many_backtests(minutes: list[MinuteStats], thresholds: list[float]) -> None:
    """Sweeping a threshold gives what a rule with that threshold gives."""

    def rule(threshold: float) -> Rule:
        return Rule(
            rule_id="busy",
            name="Busy",
            metric_name="cpu_usage",
            aggregate=Aggregate.AVG,
            window=timedelta(minutes=5),
            comparison=Comparison.ABOVE,
            threshold=threshold,
            hold=timedelta(minutes=1),
        )

    columns = Minutes.of(series("cpu_usage"), minutes, from_ms=START_MS, to_ms=minutes[-1].start_ms + 20 * MINUTE_MS)
    found = list(trials(rule(30), [columns]))
    for threshold in thresholds:
        assert happened(swept(found, threshold)) == happened(trials(rule(threshold), [columns]))


def test_what_a_rule_needs() -> None:
    """A rule needs the history of its window and of what its alerts remember, and sketches for percentiles."""
    rule = from_document(
        {"rule_name": "R", "metric_name": "api_response_time", "aggregate": "p95", "window": "1h", "condition": "> 9"}
        | {"for": "10m", "severity": "high", "where": {"endpoint": "/x"}}
    )
    (need,) = needs(rule)
    assert (need.metric_name, need.with_sketch, need.equal) == ("api_response_time", True, (("endpoint", "/x"),))
    assert 70 * MINUTE_MS <= need.before_ms <= 80 * MINUTE_MS
    (both,) = needs(from_document({"rule_name": "R", "expr": RATIO, "severity": "high"}))
    assert both.equal == ()


def test_backtest_and_unit_test_agree(tmp_path: Path) -> None:
    """A unit test that expects what a backtest of the same values says is met, minute by minute."""
    values = [10, 95, 95, 99, 95, 95, 10, 10, 96, 10, 97, 98, 99, 99, 10, 10]
    rules = tmp_path / "rules.yaml"
    alert = {"alert": "Busy", "expr": "max_over_time(cpu_usage[2m]) > 90", "for": "2m", "labels": {"severity": "high"}}
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [alert]}]}), "utf-8")
    (rule,) = load_files([rules]).rules
    minutes = [minute(at, [float(value)]) for at, value in enumerate(values)]
    until_ms = START_MS + len(values) * MINUTE_MS
    (trial,) = trials(rule, [Minutes.of(series("cpu_usage"), minutes, from_ms=START_MS, to_ms=until_ms)])
    fires = {
        at
        for at in range(len(values))
        for episode in trial.episodes()
        if episode.firing_ms <= START_MS + at * MINUTE_MS + MINUTE_MS - 1 < (episode.resolved_ms or until_ms)
    }
    assert len(trial.episodes()) == 2
    firing = {"exp_labels": {"severity": "high", "service_name": "api"}}
    expected = [
        {"eval_time": f"{at}m", "alertname": "Busy", "exp_alerts": [firing] if at in fires else []}
        for at in range(len(values))
    ]
    given = {"series": 'cpu_usage{service_name="api"}', "values": " ".join(map(str, values))}
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [given], "alert_rule_test": expected}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps(document), "utf-8")
    assert unit_tests.run(file).failures == []
