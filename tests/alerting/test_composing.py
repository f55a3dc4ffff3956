"""Ratios, groups, changes and calendars in plain fields are the trees that PromQL would be, where it has words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from atalaia.alerting.aggregates import Aggregate, Quantile
from atalaia.alerting.expressions import Binary, Calendar, Expression, Grouping, Operator, Period, Read, Selector
from atalaia.alerting.promql import parse
from atalaia.alerting.rules import Comparison, Level, Rule, RuleError, condition_text
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.schemas.events import Severity

HOUR = "sum(increase(http_requests[1h]))"
HOUR_BEFORE = "sum(increase(http_requests[1h] offset 1h))"
DAY = Calendar(Period.DAY, "America/Sao_Paulo")
REVENUE = Read(Selector("revenue_hourly"), Aggregate.SUM, DAY, grouping=Grouping(("region",)))
BY_REGION = {"metric": "revenue_hourly", "aggregate": "sum", "by": "region", "calendar": "today"}


def rule(**fields: Any) -> Rule:
    """A rule that compares with five; written down and read again, it is the same."""
    found = from_document({"name": "x", "condition": "> 5"} | fields)
    assert from_document(to_document(found)) == found
    return found


@pytest.mark.parametrize(
    ("fields", "promql"),
    [
        ({"metric": "http_requests", "aggregate": "sum", "window": "5m", "by": ["job"]},
         "sum by (service_name) (increase(http_requests[5m]))"),
        ({"metric": "http_requests", "aggregate": "rate", "window": "5m", "group_by": []},
         "sum(rate(http_requests[5m]))"),
        ({"metric": "cpu_usage", "where": {"host": "a"}, "aggregate": "max", "window": "5m", "without": ["core"]},
         "max without (core) (max_over_time(cpu_usage{host='a'}[5m]))"),
        ({"metric": "http_request_duration", "aggregate": "p95", "window": "5m", "by": ["endpoint"]},
         "histogram_quantile(0.95, sum by (le, endpoint) (rate(http_request_duration_bucket[5m])))"),
        ({"metric": "http_request_duration", "aggregate": "p99.9", "window": "5m"},
         "quantile_over_time(0.999, http_request_duration[5m])"),
        ({"metric": "cpu_usage", "aggregate": "avg", "window": "1h", "change": {"against": "week_before"}},
         "avg_over_time(cpu_usage[1h]) - avg_over_time(cpu_usage[1h] offset 7d)"),
        ({"expr": "sum(increase(http_requests[1h]))", "change": {"against": "previous", "as": "percent"}},
         f"({HOUR} - {HOUR_BEFORE}) / {HOUR_BEFORE} * 100"),
        ({"expr": "max(cpu_usage) > 3"}, "max(cpu_usage) > 3"),
    ],
)  # fmt: skip
def test_fields_and_promql_are_one_tree(fields: dict[str, Any], promql: str) -> None:
    """What is written in fields is the tree of the PromQL that says the same."""
    assert rule(**fields).expression == parse(promql)


def test_a_ratio_has_a_minimum_denominator() -> None:
    """Numerator and denominator take over what they don't say, each of the events of a group, or of all."""
    both = {"aggregate": "sum", "window": "1h"}
    ratio = {
        "numerator": {"metric": "whatsapp_clicks"},
        "denominator": {"metric": "recommendations", "where": {"region": "BR"}, "window": "2h"},
        "minimum_denominator": 100,
    }
    promql = "sum{by} (increase(whatsapp_clicks[1h])) / sum{by} (increase(recommendations{{region='BR'}}[2h]))"
    for fields, by in (({}, ""), ({"by": ["dealership"]}, " by (dealership)")):
        found = rule(ratio=ratio, **both, **fields).expression
        assert found == replace(_division(parse(promql.format(by=by))), minimum_denominator=100.0)
    spelled = rule(ratio={"numerator": "max(up)", "denominator": "min(up)", "minimum_denominator": 0}).expression
    assert spelled == parse("max(up) / min(up)")


def _division(expression: Expression) -> Binary:
    assert isinstance(expression, Binary)
    return expression


def test_promql_takes_a_minimum_denominator_from_beside_it() -> None:
    """PromQL has no words for it; the rule has."""
    found = from_document({"name": "x", "expr": "max(up) / min(up) > 0.5", "minimum_denominator": 20})
    assert found.expression == Binary(Operator.DIVIDE, parse("max(up)"), parse("min(up)"), minimum_denominator=20.0)
    assert (found.comparison, found.threshold) == (Comparison.ABOVE, 0.5)
    assert from_document(to_document(found)) == found
    assert to_document(found)["expr"] == "max(service_up) / min(service_up)"


def test_calendar_windows() -> None:
    """Today so far, in a zone; and the same a day before."""
    found = rule(**BY_REGION, zone="America/Sao_Paulo")
    assert found.expression == REVENUE
    before = replace(REVENUE, offset=timedelta(days=1))
    changed = rule(**BY_REGION, zone="America/Sao_Paulo", change={"against": "previous"})
    assert changed.expression == Binary(Operator.SUBTRACT, REVENUE, before)
    assert rule(**BY_REGION | {"calendar": "this month"}).expression == replace(REVENUE, span=Calendar(Period.MONTH))
    with pytest.raises(RuleError, match="months differ in length"):
        rule(**BY_REGION | {"calendar": "this month"}, change={"against": "previous"})


@pytest.mark.parametrize(
    ("expr", "metric", "aggregate", "window"),
    [
        ("cpu_usage > 5", "cpu_usage", Aggregate.LAST, 5),
        ("5 < increase(http_requests[1h])", "http_requests", Aggregate.SUM, 60),
        ("quantile_over_time(0.99, http_request_duration[5m]) > 5", "http_request_duration", Aggregate.P99, 5),
    ],
)
def test_what_each_series_says_by_itself_needs_no_tree(
    expr: str, metric: str, aggregate: Aggregate, window: int
) -> None:
    """Such a rule is judged where its events arrive, like one in plain fields."""
    found = from_document({"name": "x", "expr": expr})
    assert (found.expression, found.metric_name, found.aggregate) == (None, metric, aggregate)
    assert (found.window, found.comparison, found.threshold) == (timedelta(minutes=window), Comparison.ABOVE, 5.0)


@pytest.mark.parametrize(
    "expr",
    [
        "max(cpu_usage) > 5",
        "cpu_usage offset 1h > 5",
        "cpu_usage{host=~'a.*'} > 5",
        "cpu_usage{host='a', host='b'} > 5",
        "quantile_over_time(0.9, http_request_duration[5m]) > 5",
        "absent(up)",
        "cpu_usage > 5 and memory_usage > 5",
    ],
)
def test_everything_else_is_a_tree(expr: str) -> None:
    """Several series, the past, patterns, other quantiles, absence of all."""
    found = rule(expr=expr, condition=None)
    assert found.expression is not None
    assert found.expression == parse(expr) or found.comparison is not None


def test_a_tree_written_out_is_understood() -> None:
    """What PromQL has no words for is written as it is, and read again."""
    mean = Read(Selector("cpu_usage"), Aggregate.AVG, Calendar(Period.HOUR), grouping=Grouping(("region",)))
    found = rule(metric="cpu_usage", aggregate="avg", by=["region"], calendar="this hour")
    assert found.expression == mean
    assert to_document(found)["expression"] == {
        "read": "cpu_usage", "aggregate": "avg", "calendar": "hour", "zone": "UTC", "by": ["region"]
    }  # fmt: skip
    assert condition_text(found) == "pooled by (region) (avg_over_time(cpu_usage[this hour in UTC])) > 5 %"


def test_thresholds_have_a_severity_each() -> None:
    """The first is the rule's own; levels say the same in full."""
    short = rule(metric="cpu_usage", condition=">", thresholds={"warning": 80, "P1": 90, "critical": 95})
    assert (short.threshold, short.severity) == (80.0, Severity.MEDIUM)
    assert short.levels == (Level(Severity.HIGH, 90.0), Level(Severity.CRITICAL, 95.0))
    levels = [{"severity": "high", "threshold": 90}, {"severity": "critical", "threshold": 95}]
    assert rule(metric="cpu_usage", condition="> 80", severity="warning", levels=levels) == short


def test_the_life_of_an_alert_in_fields() -> None:
    """Recovery, N of M, keep_firing_for, completeness, absence, owner."""
    found = rule(
        metric="service_up", condition="< 5", recovery=6, n_of_m="3 of 5", keep_firing_for="10m",
        minimum_completeness=0.99, absent_for="2m", expected=[{"job": "pay"}], owner="pay", notify_amendments=True,
    )  # fmt: skip
    assert (found.recovery, found.needed, found.of_last, found.keep_firing) == (6.0, 3, 5, timedelta(minutes=10))
    assert (found.minimum_completeness, found.absent_for) == (0.99, timedelta(minutes=2))
    assert (found.expected, found.owner) == (((("service_name", "pay"),),), "pay")
    alone = from_document({"name": "x", "metric": "service_up", "absent_for": "2m"})
    assert (alone.comparison, condition_text(alone)) == (None, "service_up silent for 2m")
    assert from_document(to_document(alone)) == alone


def test_any_percentile_is_an_aggregate() -> None:
    """The three usual ones are names; others are quantiles."""
    expression = rule(metric="match_score", aggregate="p99.9", window="5m").expression
    assert isinstance(expression, Read)
    assert expression.aggregate == Quantile(0.999)
