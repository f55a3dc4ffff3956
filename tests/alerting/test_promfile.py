"""Prometheus' rule files: what A3 says loads as it is written, and what is wrong is said where it stands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.rules import Comparison, condition_text
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.alerting.writing.loader import Loaded, load_texts
from atalaia.schemas.events import Severity

A3 = """
groups:
  - name: golden-signals
    interval: 30s
    rules:
      - alert: APIDown
        expr: up{job="api"} == 0
        for: 1m
        severity: critical
        summary: The API is down
        description: "{{ $labels.job }} gives no sign of life"
        actions:
          - Look at the logs
          - Start it again
      - alert: HighErrorRate
        expr: |
          sum by (job) (rate(http_requests_total{status=~"5.."}[5m]))
            / sum by (job) (rate(http_requests_total[5m])) > 0.05
        for: 5m
        severity: critical
      - alert: HighResponseTime
        expr: histogram_quantile(0.95, rate(http_request_duration_bucket[5m])) > 1000
        for: 5m
        severity: warning
      - alert: HighMemoryUsage
        expr: process_resident_memory_bytes > 1.5e9
        for: 10m
        labels:
          severity: warning
          team: platform
          area: memory
        annotations:
          summary: "{{ $value }} bytes"
      - alert: LowCacheHitRate
        expr: >
          rate(cache_hits_total[5m])
            / (rate(cache_hits_total[5m]) + rate(cache_misses_total[5m])) < 0.8
        for: 30m
        keep_firing_for: 5m
        severity: info
"""
FAILED = 'sum by (service_name) (rate(http_requests{status_code=~"5.."}[5m]))'
ALL = "sum by (service_name) (rate(http_requests[5m]))"


def load(text: str) -> Loaded:
    """One file."""
    return load_texts([("a3.yaml", text)])


def test_a3_loads_as_prometheus_has_it() -> None:
    """All five rules of the guide, with severity and actions at the top level or Prometheus' labels."""
    loaded = load(A3)
    assert loaded.problems == ()
    assert [(condition_text(rule), rule.severity) for rule in loaded.rules] == [
        ('last of service_up{service_name="api"} over 5m == 0 for 1m, or silent for 1m', Severity.CRITICAL),
        (f"{FAILED} / {ALL} > 0.05 for 5m", Severity.CRITICAL),
        ("p95 of http_request_duration over 5m > 1000 ms for 5m", Severity.MEDIUM),
        ("last of memory_resident over 5m > 1500000000 By for 10m", Severity.MEDIUM),
        ("rate(cache_hits[5m]) / (rate(cache_hits[5m]) + rate(cache_misses[5m])) < 0.8 for 30m", Severity.LOW),
    ]
    down, errors, slow, memory, cache = loaded.rules
    assert down.actions == ("Look at the logs", "Start it again")
    assert dict(down.annotations)["summary"] == "The API is down"
    assert (errors.comparison, errors.threshold) == (Comparison.ABOVE, 0.05)
    assert (slow.expression, slow.aggregate, slow.window) == (None, Aggregate.P95, timedelta(minutes=5))
    assert (memory.owner, dict(memory.annotations)) == ("platform", {"area": "memory", "summary": "{{ $value }} bytes"})
    assert cache.keep_firing == timedelta(minutes=5)


def test_a3_survives_being_written() -> None:
    """Each rule, written down as we do and read again, is the same."""
    for rule in load(A3).rules:
        assert from_document(to_document(rule)) == rule


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ("cpu_usage > > 5", 4, 27),
        ("'cpu_usage > > 5'", 4, 28),
        ('"cpu_usage{a=\\"\\\\n\\"} > > 5"', 4, 39),
        ('"cpu_usage\\n > \\u003e 5"', 4, 30),
        ("'cpu_usage{a=''x''} > > 5'", 4, 37),
        ("|\n          cpu_usage\n            > > 5", 6, 15),
        ("|2-\n          cpu_usage\n            > > 5", 6, 15),
        (">-\n          cpu_usage\n\n          > > 5", 7, 13),
        ("cpu_usage\n          > >\n          5", 5, 13),
        ("cpu_usage > # no number", 4, 26),
    ],
)
def test_a_fault_of_promql_is_placed_in_the_file(written: str, line: int, column: int) -> None:
    """Line and column point at the very word, whichever way YAML has the text."""
    loaded = load(
        f"groups:\n  - rules:\n      - alert: Bad\n        expr: {written}\n      - {{alert: Good, expr: up < 1}}\n"
    )
    assert [rule.name for rule in loaded.rules] == ["Good"]
    (problem,) = loaded.problems
    assert problem.message.startswith("expr: ")
    assert (problem.line, problem.column) == (line, column)


def test_each_problem_blocks_its_own_rule_alone() -> None:
    """Recording rules, unknown fields, no name: each is one problem, and the others load."""
    loaded = load(
        "groups:\n"
        "  - name: a\n"
        "    limit: 5\n"
        "    rules:\n"
        "      - record: a:b\n"
        "        expr: sum(x)\n"
        "      - expr: up < 1\n"
        "      - {alert: Typo, expr: up < 1, fro: 5m}\n"
        "      - {alert: Urgent, expr: up < 1, labels: {severity: urgent}}\n"
        "      - {alert: Good, expr: up < 1}\n"
        "  - name: b\n"
        "    rules: [{alert: Good as well, expr: up < 1}]\n"
    )
    assert [rule.name for rule in loaded.rules] == ["Good", "Good as well"]
    assert [str(problem).split(";")[0].split(",")[0] for problem in loaded.problems] == [
        "a3.yaml:3:5: limit of a group is not understood",
        "a3.yaml:5:9: record makes a recording rule",
        "a3.yaml:7:9: name is missing",
        "a3.yaml:8:37: fro is not a field of a rule",
        "a3.yaml:9:48: labels.severity is 'urgent'",
    ]


def test_alerts_of_one_name_are_told_apart_by_severity() -> None:
    """Prometheus' files repeat a name for each severity; every rule has an id of its own."""
    loaded = load(
        "groups: [{rules: [{alert: Cpu, expr: cpu_usage > 80, labels: {severity: warning}},"
        "{alert: Cpu, expr: cpu_usage > 95, severity: critical}, {alert: Other, expr: cpu_usage > 1}]}]"
    )
    assert loaded.problems == ()
    assert [rule.rule_id for rule in loaded.rules] == ["cpu-warning", "cpu-critical", "other"]


def test_labels_of_a_group_are_those_of_its_rules() -> None:
    """A rule's own labels win over the group's."""
    loaded = load(
        "groups: [{labels: {severity: info, team: web}, rules: "
        "[{alert: A, expr: up < 1}, {alert: B, expr: up < 1, labels: {severity: P0}}]}]"
    )
    assert [(rule.severity, rule.owner) for rule in loaded.rules] == [(Severity.LOW, "web"), (Severity.CRITICAL, "web")]


def test_ten_thousand_rules_with_a_few_bad_ones() -> None:
    """A large file is loaded whole, but for the rules with problems."""

    def written(n: int) -> str:
        comparison = "> >" if n % 1000 == 7 else ">"
        return f"{{alert: Rule {n}, expr: 'max(cpu_usage) {comparison} {n}'}}"

    loaded = load("groups: [{rules: [" + ",\n".join(map(written, range(10_000))) + "]}]")
    assert (len(loaded.rules), len(loaded.problems)) == (9_990, 10)
    assert (loaded.problems[0].line, loaded.problems[0].message[:13]) == (8, "expr: > stand")
