"""What is legal and yet doubtful is said; what is fine is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.writing.document import from_document
from atalaia.alerting.writing.lint import lint


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"metric": "cpu_usge"}, "did you mean cpu_usage?"),
        ({"metric": "our_own"}, "it will be judged if events of that name come"),
        ({"where": {"hst": "a"}}, "where.hst is no label of cpu_usage"),
        ({"where": {"metric_name": "x"}}, "but the rule is about 'cpu_usage'"),
        ({"tenant": "a", "where": {"tenant": "b"}}, "but the rule is for tenant 'a'"),
        ({"aggregate": "avg", "window": "5m", "condition": "== 5"}, "compares the avg for equality"),
        ({"aggregate": "count", "window": "5m", "condition": "< 0"}, "a count is not below zero"),
        ({"for": "30s"}, "a single event can hold that long"),
        ({"aggregate": "count", "window": "1m"}, "the running one, which begins empty"),
        ({"summary": "{{ query $value }}"}, "which stays as it is"),
        ({"summary": "{{ $labels.hst }}"}, "names the label 'hst', which no series has"),
    ],
)
def test_doubts(change: dict[str, Any], doubt: str) -> None:
    """Each doubt names the field and says why."""
    rule = from_document({"name": "x", "metric": "cpu_usage", "condition": "> 90"} | change)
    assert doubt in "\n".join(map(str, lint(rule)))


@pytest.mark.parametrize(
    ("expr", "doubt"),
    [
        ("max(cpu_usge) > 5", "reads 'cpu_usge', which the catalogue does not know; did you mean cpu_usage?"),
        (
            "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m])) > 1",
            "http_request_duration is known, in ms: a threshold for it is in that unit",
        ),
        ("max(cpu_usage{hst='a'}) > 5", "expr hst is no label of cpu_usage"),
        ("max by (hst) (cpu_usage) > 5", "groups by hst, which no series of cpu_usage has"),
        ("max(cpu_usage)", "always fires; compare it with a number"),
        ("max(cpu_usage) > bool 5", "which gives 0 or 1 and so always fires"),
        ("avg(avg_over_time(cpu_usage[5m])) > 5", "the average of averages"),
        ("max by (host) (cpu_usage) > max(cpu_usage)", "finds (host) on the left and () on the right"),
        ("sum(increase(revenue_daily[1h])) < 5", "reads 1h of revenue_daily, which is taken daily"),
        ("sum(increase(order_value[1h])) > 5", "of whatever currency; select one, as in {unit='BRL'}"),
        ("service_up == 0", "waits for what a dead service cannot send"),
    ],
)
def test_doubts_about_promql(expr: str, doubt: str) -> None:
    """What is legal PromQL and yet never, or always, true."""
    rule = from_document({"name": "x", "expr": expr})
    if rule.absent_for is not None:
        rule = replace(rule, absent_for=None)
    assert doubt in "\n".join(map(str, lint(rule)))


@pytest.mark.parametrize(
    "expr",
    [
        "absent(up)",
        "up == 0",
        "sum(rate(http_requests[5m])) > 5 and on () max(cpu_usage) > 90",
        "sum(increase(http_requests{status_class='5xx'}[5m])) / sum(increase(http_requests[5m])) > 0.05",
        "cpu_usage > 90 unless on (host) memory_usage < 5",
        "sum by (service_name) (rate(http_requests[5m])) > 2 * sum by (service_name) (rate(http_requests[1h]))",
        "topk(3, cpu_usage) > 90",
        "sum(increase(order_value{unit='BRL'}[1h])) > 5",
        "sum by (unit) (increase(order_value[1h])) > 5",
        "sum without (region) (increase(order_value[1h])) > 5",
        "max by (host) (cpu_usage) > on () group_left () max(cpu_usage)",
    ],
)
def test_usual_promql_raises_none(expr: str) -> None:
    """No noise on expressions as people write them."""
    assert lint(from_document({"name": "x", "expr": expr})) == []


def test_a_hold_shorter_than_the_windows_step() -> None:
    """A window of a day slides by a quarter of an hour: five minutes of it say nothing."""
    written = {"name": "x", "metric": "http_requests", "aggregate": "sum", "window": "1d", "condition": "> 5"}
    (doubt,) = lint(from_document(written | {"for": "5m"}))
    assert str(doubt) == "for is shorter than 15m, by which the window slides: it says nothing"


def test_the_installed_rules_are_beyond_doubt() -> None:
    """What comes with Atalaia passes its own lint."""
    assert [fault for rule in builtin_rules() for fault in lint(rule)] == []


def test_a_usual_rule_raises_none() -> None:
    """No noise on a rule as people write them."""
    written = {
        "name": "x",
        "metric": "http_request_duration",
        "where": {"endpoint": "/pay"},
        "aggregate": "p95",
        "window": "5m",
        "condition": "> 1000",
        "for": "5m",
        "summary": "{{ $labels.endpoint }} is slow",
    }
    assert lint(from_document(written)) == []
