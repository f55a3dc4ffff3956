"""Written rules mean what they say, in either vocabulary; what they cannot mean is refused, all of it at once."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from expression_data import expressions
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import reads
from atalaia.alerting.rules import Channel, Comparison, Level, Rule, RuleError
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.schemas.catalogue import catalogue
from atalaia.schemas.events import Severity

PLAIN: dict[str, Any] = {"name": "x", "metric": "test_metric", "condition": "> 5"}

ALIASES = {"job", "instance", "__name__", "status", "code", "handler", "path"}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
names = texts.filter(lambda text: bool(text.strip()))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule that makes sense."""
    metric = draw(st.one_of(st.sampled_from(sorted(catalogue())), st.just("test_metric")))
    legal = sorted(catalogue()[metric].aggregations) if metric in catalogue() else list(Aggregate)
    window = draw(st.none() | st.sampled_from([1, 5, 60, 180, 60 * 24, 60 * 24 * 31]))
    return Rule(
        rule_id=draw(names),
        name=draw(names),
        metric_name=metric,
        version=draw(st.integers(1, 1000)),
        tenant=draw(st.none() | names),
        matchers=tuple(sorted(draw(st.dictionaries(texts, texts, max_size=3)).items())),
        aggregate=Aggregate.LAST if window is None else Aggregate(draw(st.sampled_from(legal))),
        window=None if window is None else timedelta(minutes=window),
        comparison=draw(st.sampled_from(Comparison)),
        threshold=draw(st.floats(allow_nan=False, allow_infinity=False)),
        hold=draw(st.timedeltas(timedelta(), timedelta(days=31)).map(lambda t: t - t % timedelta(milliseconds=1))),
        severity=draw(st.sampled_from(Severity)),
        minimum_count=0 if window is None else draw(st.integers(0, 100)),
        annotations=tuple(sorted(draw(st.dictionaries(texts, texts, max_size=3)).items())),
        actions=tuple(draw(st.lists(texts, max_size=3))),
        channels=tuple(draw(st.lists(st.sampled_from(Channel), max_size=3))),
        recipients=tuple(draw(st.lists(texts, max_size=3))),
        is_active=draw(st.booleans()),
        **draw(lives()),
    )


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """How an alert lives, and what data it needs."""
    absent_for = draw(st.none() | st.sampled_from([1, 90]).map(lambda n: timedelta(minutes=n)))
    labels = st.dictionaries(texts.filter(lambda label: label not in ALIASES), texts, max_size=2)
    of_last = draw(st.integers(1, 9))
    return {
        "keep_firing": timedelta(minutes=draw(st.integers(0, 99))),
        "needed": draw(st.integers(1, of_last)),
        "of_last": of_last,
        "minimum_completeness": draw(st.none() | st.floats(0, 1)),
        "absent_for": absent_for,
        "expected": tuple(
            tuple(sorted(found.items())) for found in (draw(st.lists(labels, max_size=2)) if absent_for else [])
        ),
        "notify_amendments": draw(st.booleans()),
        "owner": draw(st.none() | texts),
    }


@st.composite
def limited(draw: st.DrawFn) -> Rule:
    """Any rule over an expression, compared with a number or not; with levels where it is."""
    expression = draw(expressions)
    comparison = draw(st.none() | st.sampled_from(Comparison))
    exact = comparison in {Comparison.EQUAL, Comparison.NOT_EQUAL}
    severities = draw(st.permutations(list(Severity)))
    upward = comparison in {Comparison.ABOVE, Comparison.AT_LEAST}
    beyond = None if exact or comparison is None else (-1.0 if upward else 1.0)
    levels = [Level(each, draw(st.floats(-9, 9))) for each in severities[1 : draw(st.integers(1, 3))]]
    return Rule(
        rule_id="r",
        name="R",
        metric_name=next(reads(expression)).selector.metric_name,
        expression=expression,
        comparison=comparison,
        threshold=0.0,
        recovery=draw(st.sampled_from([None, beyond])),
        tolerance=draw(st.none() | st.floats(0, 9)) if exact else None,
        levels=() if comparison is None else tuple(levels),
        severity=severities[0],
        **draw(lives()),
    )


@given(rules())
def test_a_rule_survives_being_written(rule: Rule) -> None:
    """To JSON and back changes nothing, whatever labels and texts are made of."""
    assert from_document(json.loads(json.dumps(to_document(rule)))) == rule


@given(st.data())
def test_so_does_a_rule_over_an_expression(data: st.DataObject) -> None:
    """As PromQL where that says the same, else as the tree itself."""
    try:
        rule = data.draw(limited())
    except RuleError:
        return  # an aggregate that means nothing for the metric
    written = json.loads(json.dumps(to_document(rule)))
    assert from_document(written) == rule
    assert ("expr" in written) is not ("expression" in written)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists), st.data())
def test_any_value_in_any_field_is_judged_or_refused(value: Any, data: st.DataObject) -> None:
    """Nothing that a parser can produce does more than be refused."""
    field = data.draw(st.sampled_from([*to_document(from_document(PLAIN)), "aggregate", "window", "where", "actions"]))
    with suppress(RuleError):
        from_document(PLAIN | {field: value})


def test_the_api_form() -> None:
    """F2.5's JSON, as it stands, is the latest value against a threshold."""
    written = {
        "rule_name": "Low revenue",
        "metric_name": "revenue_hourly",
        "condition": "<",
        "threshold_value": 1500,
        "severity": "medium",
        "notification_channels": ["email", "slack"],
        "notification_recipients": ["ops@example.com"],
        "is_active": True,
    }
    rule = from_document(written)
    assert (rule.rule_id, rule.aggregate, rule.window) == ("low-revenue", Aggregate.LAST, None)
    assert (rule.comparison, rule.threshold, rule.severity) == (Comparison.BELOW, 1500.0, Severity.MEDIUM)
    assert (rule.channels, rule.recipients) == ((Channel.EMAIL, Channel.SLACK), ("ops@example.com",))


def test_the_full_form() -> None:
    """Aggregate, window, for, where, texts and actions."""
    rule = from_document(
        {
            "alert": "HighResponseTime",
            "metric": "http_request_duration",
            "where": {"endpoint": "/pay", "affiliate_id": 7},
            "aggregate": "P95",
            "window": "5m",
            "condition": "> 1000",
            "for": "5m",
            "severity": "warning",
            "minimum_count": 20,
            "summary": "slow",
            "runbook_url": "https://example.com/slow",
            "annotations": {"team": "payments"},
            "actions": "Look at the database",
        }
    )
    assert rule.matchers == (("affiliate_id", "7"), ("endpoint", "/pay"))
    assert (rule.aggregate, rule.window, rule.hold) == (Aggregate.P95, timedelta(minutes=5), timedelta(minutes=5))
    assert dict(rule.annotations) == {"runbook_url": "https://example.com/slow", "summary": "slow", "team": "payments"}
    assert rule.actions == ("Look at the database",)


@pytest.mark.parametrize(
    ("written", "severity"),
    [
        ("low", Severity.LOW),
        ("medium", Severity.MEDIUM),
        ("HIGH", Severity.HIGH),
        ("critical", Severity.CRITICAL),
        ("warning", Severity.MEDIUM),
        ("info", Severity.LOW),
        ("P0", Severity.CRITICAL),
        ("P1", Severity.HIGH),
        ("p2", Severity.MEDIUM),
        ("P3", Severity.LOW),
    ],
)
def test_both_vocabularies_of_severity(written: str, severity: Severity) -> None:
    """F's names, A3's, and priorities."""
    assert from_document(PLAIN | {"severity": written}).severity is severity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name is empty"),
        ({"name": "x" * 201}, "name has 201 characters"),
        ({"metric": None}, "metric is missing"),
        ({"condition": "=> 5"}, "condition is '=> 5'; write one of >"),
        ({"condition": "> 5 BRL"}, "condition is '> 5 BRL'"),
        ({"condition": ">"}, "threshold is missing"),
        ({"threshold": 6}, "threshold is given twice"),
        ({"condition": ">", "threshold": float("nan")}, "threshold is not finite"),
        ({"condition": ">", "threshold": 10**400}, "threshold is not finite or too large"),
        ({"condition": ">", "threshold": True}, "threshold is True; it must be a number"),
        ({"condition": ">", "threshold_value": "5"}, "threshold_value is '5'; it must be a number"),
        ({"severity": "urgent"}, "severity is 'urgent'; choose one of low, medium"),
        ({"for": 5}, "for is 5; it must be a duration with a unit"),
        ({"for": "32d"}, "for is 32d; it must be from 0s to 31d"),
        ({"aggregate": "sum"}, "window is missing: sum needs one"),
        ({"window": "5m"}, "window needs an aggregate"),
        ({"aggregate": "sum", "window": "30s"}, "window is 30s; it must be from 1m to 31d"),
        ({"aggregate": "sum", "window": "32d"}, "window is 32d; it must be from 1m to 31d"),
        ({"aggregate": "sum", "window": "90s"}, "slides by 1m and must be a multiple of it"),
        ({"aggregate": "sum", "window": "3h1m"}, "slides by 5m and must be a multiple of it"),
        ({"aggregate": "median"}, "aggregate is 'median'; choose one of last, first, sum"),
        ({"minimum_count": 5}, "minimum_count needs a window"),
        ({"minimum_count": 1.5}, "minimum_count is 1.5; it must be a whole number"),
        ({"where": {"a": True}}, "where.a is True; it must be text"),
        ({"where": "a=b"}, "where is 'a=b'; it must be a mapping"),
        ({"channels": ["fax"]}, "channels.0 is 'fax'; choose one of email, slack"),
        ({"actions": ["x"] * 65}, "actions has 65 entries"),
        ({"actions": [["x"]]}, "actions.0 is a list; it must be text"),
        ({"summary": "x" * 5000}, "summary has 5000 characters"),
        ({"summary": "\ud83d"}, "summary contains half of a surrogate pair"),
        ({"summary": "x", "annotations": {"summary": "y"}}, "summary is given twice"),
        ({"active": "yes"}, "active is 'yes'; it must be true or false"),
        ({"rule_name": "y"}, "rule_name says again what name says"),
        ({"by": ["region"]}, "aggregate is missing; choose one of last"),
        ({"by": "region", "without": "unit"}, "without is given beside by"),
        ({"metric": None, "expr": "sum("}, "expr at 1:4: this ( is not closed"),
        ({"metric": None, "condition": None, "expr": "up > 4", "threshold": 5}, "threshold is given twice: in expr"),
        ({"metric": None, "condition": None, "expr": "up > 4", "thresholds": {"high": 5}}, "thresholds is given twice"),
        ({"metric": None, "expr": "5 > bool 4"}, "expr at 1:1: is a number"),
        ({"metric": None, "expr": "cpu_usage", "window": "5m"}, "window is part of what expr says"),
        ({"expr": "cpu_usage"}, "which the expression does not read"),
        ({"metric": None, "expr": "cpu_usage", "ratio": {}}, "ratio.numerator is missing"),
        ({"metric": None, "record": "a:b", "expr": "cpu_usage"}, "record makes a recording rule"),
        ({"condition": None}, "condition is missing; compare with a number, as in '> 5', or give absent_for"),
        ({"recovery": 6}, "recovery is 6, above the threshold 5"),
        ({"recovery": 4, "condition": "== 5"}, "recovery is for a threshold with two sides"),
        ({"tolerance": 0.1}, "tolerance is for == and !=; the condition is >"),
        ({"n_of_m": "5 of 3"}, "n_of_m is 5 of 3; the first must be from 1 to the second"),
        ({"n_of_m": "most"}, "n_of_m is 'most'; write it like 3 of 5"),
        ({"minimum_completeness": 99}, "minimum_completeness is 99.0; it is a share"),
        ({"absent_for": "30s"}, "absent_for is 30s; it must be from 1m to 31d"),
        ({"expected": [{"service_name": "api"}]}, "expected needs absent_for"),
        ({"levels": [{"severity": "medium", "threshold": 9}]}, "levels.0.severity is medium again"),
        ({"levels": [{"severity": "high"}]}, "levels.0.threshold is missing"),
        ({"thresholds": {"high": 9}}, "thresholds says what threshold and levels say"),
        ({"condition": ">", "thresholds": {"urgent": 9}}, "thresholds.urgent is 'urgent'; choose one of low"),
        ({"calendar": "today", "zone": "Mars"}, "calendar needs an aggregate"),
        ({"calendar": "today", "zone": "Mars", "aggregate": "sum"}, "the zone is 'Mars', which the IANA database"),
        ({"zone": "UTC"}, "zone is for calendar"),
        ({"change": {"against": "last_year"}}, "change.against is 'last_year'; choose one of previous, week_before"),
        ({"labels": {"severity": "urgent"}}, "labels.severity is 'urgent'; choose one of low"),
        (
            {"minimum_denominator": 5, "aggregate": "sum", "window": "1h", "by": []},
            "minimum_denominator is for a ratio",
        ),
        ({"thresold": 5}, "thresold is not a field of a rule; did you mean threshold?"),
        ({"zzz" * 9999: 5}, "is not a field of a rule; the fields are name, metric"),
        ({"version": 0}, "version is 0; versions count from 1"),
    ],
)
def test_what_is_refused_and_why(change: dict[str, Any], said: str) -> None:
    """Each error names the field as it was spelled, the value, and what would be right."""
    with pytest.raises(RuleError) as caught:
        from_document(PLAIN | change)
    assert said in "\n".join(map(str, caught.value.faults))


@pytest.mark.parametrize(
    ("metric", "aggregate", "reason"),
    [
        ("conversion_rate", "sum", "it is a ratio, already divided"),
        ("conversion_rate", "p95", "it is a ratio, already divided"),
        ("api_response_time", "sum", "it is made of single observations"),
        ("active_users", "sum", "it is a level, not an amount"),
        ("active_users", "rate", "it is a level, not an amount"),
        ("chests_opened", "p99", "it counts increments"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(metric: str, aggregate: str, reason: str) -> None:
    """A sum of ratios, levels or latencies is no number, and the error says why and what else there is."""
    with pytest.raises(RuleError, match=reason) as caught:
        from_document(PLAIN | {"metric": metric, "aggregate": aggregate, "window": "5m"})
    assert "choose one of last" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Faults of fields, of their sense and unknown names come together."""
    with pytest.raises(RuleError) as caught:
        from_document({"name": "x", "metric": "y", "condition": "~", "severity": "z", "for": "q", "by": 5, "what": 1})
    assert len(caught.value.faults) == 5
