"""Unit tests of rules: promtool's files, read and run; what differs is shown."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting import unit_tests
from atalaia.alerting.unit_tests import notation
from atalaia.alerting.unit_tests.notation import Mark, NotationError

RULES = """
groups:
  - name: shop
    rules:
      - alert: Busy
        expr: sum by (job) (rate(requests_total[5m])) > 1
        for: 2m
        labels: {severity: warning, team: shop}
        annotations: {summary: "{{ $labels.service_name }} is busy"}
"""
OURS = "rules: [{name: Hot, metric: cpu_usage, condition: '> 90', severity: P1}]\n"


def write(folder: Path, test: str, *, rules: str = RULES) -> Path:
    """A unit test beside its rules."""
    (folder / "rules.yaml").write_text(rules, "utf-8")
    path = folder / "test.yaml"
    path.write_text(test, "utf-8")
    return path


SERIES = """
rule_files: ["*les.yaml"]
evaluation_interval: 1m
tests:
  - name: the shop opens
    interval: 1m
    input_series:
      - {series: 'requests_total{job="api", instance="a"}', values: '0+90x20'}
      - {series: 'requests_total{job="web"}', values: '0+6x20'}
"""
EXPECTED = """
    alert_rule_test:
      - {eval_time: 2m, alertname: Busy}
      - eval_time: 10m30s
        alertname: Busy
        exp_alerts:
          - exp_labels: {job: api, severity: warning, team: shop}
            exp_annotations: {summary: api is busy}
    promql_expr_test:
      - expr: sum(rate(requests_total[5m]))
        eval_time: 10m
        exp_samples: [{labels: '{}', value: 1.6}]
"""


def test_what_is_expected_passes(tmp_path: Path) -> None:
    """Alerts at the evaluation before the moment, with labels and annotations; and numbers."""
    outcome = unit_tests.run(write(tmp_path, SERIES + EXPECTED))
    assert (outcome.failures, outcome.checked) == ([], 3)


@pytest.mark.parametrize(
    ("wrong", "right", "lines"),
    [
        (
            "team: shop}",
            "team: bar}",
            ['- {service_name="api", severity="warning", team="bar"}', '+ {service_name="api"'],
        ),
        ("api is busy", "api is down", ["is down", "is busy"]),
        ("severity: warning", "severity: critical", ['severity="critical"', 'severity="warning"']),
        ("value: 1.6", "value: 1.7", ["- {} 1.7", "+ {} 1.6"]),
        ("{eval_time: 2m, alertname: Busy}", "{eval_time: 9m, alertname: Busy}", ['+ {service_name="api"']),
        ("10m30s", "30s", ['- {service_name="api"']),
    ],
)
def test_what_differs_is_shown(tmp_path: Path, wrong: str, right: str, lines: list[str]) -> None:
    """What was expected and did not come, and what came instead; with file, line and moment."""
    path = write(tmp_path, SERIES + EXPECTED.replace(wrong, right))
    (failure,) = unit_tests.run(path).failures
    assert failure.startswith(f"{path}:")
    assert "test the shop opens" in failure
    assert all(line in failure for line in lines), failure


def test_silence_is_tested_too(tmp_path: Path) -> None:
    """A rule that fires for series that fell silent does so here, for those alone."""
    test = """
rule_files: [rules.yaml]
tests:
  - input_series:
      - {series: 'service_up{job="a"}', values: '1 1 1'}
      - {series: 'service_up{job="b"}', values: 1x9}
    alert_rule_test:
      - {eval_time: 4m, alertname: Gone}
      - {eval_time: 5m, alertname: Gone, exp_alerts: [{exp_labels: {job: a}}]}
"""
    rules = "rules: [{name: Gone, metric: service_up, absent_for: 3m}]"
    assert unit_tests.run(write(tmp_path, test, rules=rules)).failures == []


def test_severities_are_compared_by_what_they_mean(tmp_path: Path) -> None:
    """P1 and high are the same; a rule of ours has its severity at the top level, and needs none in the test."""
    test = """
rule_files: [rules.yaml]
tests:
  - input_series: [{series: 'cpu_usage{job="a"}', values: 95}]
    alert_rule_test:
      - {eval_time: 0s, alertname: Hot, exp_alerts: [{exp_labels: {job: a, severity: high}}]}
      - {eval_time: 0s, alertname: Hot, exp_alerts: [{exp_labels: {job: a, severity: P1}}]}
      - {eval_time: 0s, alertname: Hot, exp_alerts: [{exp_labels: {job: a}}]}
"""
    assert unit_tests.run(write(tmp_path, test, rules=OURS)).failures == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tests: [", "is not YAML"),
        ("- 1", "is no unit test"),
        ("rule_files: [none.yaml]", "none.yaml is no file beside test.yaml"),
        ("evaluation_interval: soon", "'soon' is not a duration"),
        ("evaluation_interval: 0s", "must be longer than 0s"),
        ("tests: {}", "must be a list"),
        ("tests: [{inputs: []}]", "inputs is not understood here"),
        ("tests: [{input_series: [{series: 'a{b}', values: 1}]}]", "among its labels"),
        ("tests: [{input_series: [{series: a, values: 1y}]}]", "has '1y'"),
        ("tests: [{input_series: [{values: 1}]}]", "needs series"),
        ("tests: [{promql_expr_test: [{expr: 'sum(', eval_time: 1m}]}]", "sum("),
        ("tests: [{alert_rule_test: [{alertname: Nope, eval_time: 1m}]}]", "no rule file has an alert of that name"),
        (
            "tests: [{input_series: [{series: 'http_request_duration_bucket{le=\"1\"}', values: 1}]}]",
            "single observations",
        ),
    ],
)
def test_what_cannot_be_read_is_a_failure(tmp_path: Path, text: str, reason: str) -> None:
    """With the place and what would be right; nothing passes by not being understood."""
    failures = unit_tests.run(write(tmp_path, text)).failures
    assert any(reason in failure for failure in failures), failures


def test_rules_with_errors_fail_the_test(tmp_path: Path) -> None:
    """With their own place."""
    outcome = unit_tests.run(write(tmp_path, SERIES + EXPECTED, rules=RULES.replace("rate(", "rat(")))
    assert outcome.checked == 0
    assert "rules.yaml:" in outcome.failures[0]


def test_a_counter_is_read_as_its_increments(tmp_path: Path) -> None:
    """Also one that starts again, and one that is known as a counter only by how it is read."""
    test = """
tests:
  - interval: 1m
    input_series:
      - {series: 'jobs', values: '0+60x3 60+60x3'}
      - {series: 'done_total', values: '5 _ 8 stale'}
    promql_expr_test:
      - {expr: 'rate(jobs[1m])', eval_time: 3m, exp_samples: [{labels: '{}', value: 1}]}
      - {expr: 'rate(jobs[1m])', eval_time: 4m, exp_samples: [{labels: '{}', value: 1}]}
      - {expr: 'increase(done_total[5m])', eval_time: 2m, exp_samples: [{labels: 'done_total', value: 3}]}
      - {expr: 'increase(done_total[5m])', eval_time: 9m}
"""
    assert unit_tests.run(write(tmp_path, test)).failures == []


numbers = st.integers(-1000, 1000)


@given(numbers, st.integers(-50, 50), st.integers(0, 30))
def test_a_run_has_its_values(start: int, step: int, times: int) -> None:
    """`a+bxn` is a and n further values, each b more."""
    sign = "+" if step >= 0 else "-"
    expected = [float(start + step * n) for n in range(times + 1)]
    assert notation.values(f"{start}{sign}{abs(step)}x{times}") == expected


def test_gaps_and_ends() -> None:
    """A missing value, several, and the end of a series."""
    assert notation.values("1 _ _x2 stale NaN")[:5] == [1.0, Mark.MISSING, Mark.MISSING, Mark.MISSING, Mark.STALE]


@given(st.text(max_size=20).filter(lambda text: "\ud800" not in text))
def test_any_text_is_a_series_or_refused(text: str) -> None:
    """Whatever is written, there is a series or a sentence."""
    for parse in (notation.series, notation.values):
        with suppress(NotationError):
            parse(text)


def test_labels_may_have_any_text() -> None:
    """Quotes, commas, braces and emoji."""
    assert notation.series(r"""m{a="x,\"}🔥", b='it\'s'}""") == ("m", {"a": 'x,"}🔥', "b": "it's"})
