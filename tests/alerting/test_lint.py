"""What is legal and yet doubtful is said; what is fine is not."""

from __future__ import annotations

from typing import Any

import pytest

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.document import from_document
from atalaia.alerting.lint import lint


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
        ({"summary": "{{ humanize $value }}"}, "which stays as it is"),
        ({"summary": "{{ $labels.hst }}"}, "names the label 'hst', which no series has"),
    ],
)
def test_doubts(change: dict[str, Any], doubt: str) -> None:
    """Each doubt names the field and says why."""
    rule = from_document({"name": "x", "metric": "cpu_usage", "condition": "> 90"} | change)
    assert doubt in "\n".join(map(str, lint(rule)))


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
