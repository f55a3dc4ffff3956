"""Sloth's and OpenSLO's files as our objectives, and what of them cannot be had."""

from __future__ import annotations

from datetime import timedelta

import pytest
import yaml

from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.slo.burn import rules_of
from atalaia.alerting.slo.document import to_document
from atalaia.alerting.slo.foreign import Imported
from atalaia.alerting.slo.importing import import_texts
from atalaia.alerting.slo.loader import load_texts
from atalaia.schemas.events import Severity

SLOTH = """\
version: prometheus/v1
service: myservice
labels: {owner: myteam, tier: "2"}
slos:
  - name: requests-availability
    objective: 99.9
    description: Availability of HTTP responses.
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="myservice",code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="myservice"}[{{.window}}]))
    alerting:
      name: MyServiceHighErrorRate
      labels: {category: availability}
      annotations:
        summary: High error rate
        runbook: https://example.com/runbook
      page_alert:
        labels: {severity: P1, routing_key: myteam}
      ticket_alert:
        disable: true
"""
OPENSLO = """\
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout, displayName: Checkout}
spec: {description: Takes the money}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: availability}
spec:
  ratioMetric:
    counter: true
    good:
      metricSource: {type: Prometheus, spec: {query: 'sum(http_requests{status_class!="5xx"})'}}
    total:
      metricSource: {type: Prometheus, spec: {query: sum(http_requests)}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-availability, displayName: Checkout is there}
spec:
  description: People can pay
  service: checkout
  indicatorRef: availability
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: good, target: 0.995}]
"""


def imported(*texts: str) -> Imported:
    """What comes of texts."""
    return import_texts([(f"f{number}.yaml", text) for number, text in enumerate(texts)])


def only_problem(text: str) -> str:
    """The one thing that is wrong with a text."""
    found = imported(text)
    (problem,) = found.problems
    assert found.slos == []
    return str(problem).removeprefix("f0.yaml:")


def sloth(events: str, *, objective: float = 99.9) -> str:
    """A file with an indicator of this text."""
    head = f"version: prometheus/v1\nservice: s\nslos:\n  - name: a\n    objective: {objective}\n    sli:\n"
    return head + "".join(f"      {line}\n" for line in events.splitlines())


@pytest.mark.parametrize("text", [SLOTH, OPENSLO])
def test_what_is_imported_is_ours(text: str) -> None:
    """Written in our form it reads back the same, and has its alerts."""
    (slo,) = imported(text).slos
    written = yaml.safe_dump({"slos": [to_document(slo)]})
    assert load_texts([("ours.yaml", written)]).slos == (slo,)
    assert rules_of(slo)


class TestSloth:
    """`prometheus/v1`."""

    def test_an_objective(self) -> None:
        """Names, owner, labels, texts, and who is called."""
        (slo,) = imported(SLOTH).slos
        assert (slo.name, slo.service, slo.objective, slo.window) == (
            "requests-availability",
            "myservice",
            99.9,
            timedelta(days=30),
        )
        assert (slo.owner, slo.runbook_url) == ("myteam", "https://example.com/runbook")
        assert dict(slo.labels) == {
            "tier": "2",
            "category": "availability",
            "alertname": "MyServiceHighErrorRate",
        }
        assert (slo.page.severity, dict(slo.page.annotations)) == (
            Severity.HIGH,
            {"summary": "High error rate", "routing_key": "myteam"},
        )
        assert (slo.page.is_active, slo.ticket.is_active) == (True, False)

    def test_queries_become_events(self) -> None:
        """Under our names; all series are one group, as the sums say."""
        (slo,) = imported(SLOTH).slos
        assert (slo.sli.part.aggregate, slo.sli.part_is_good, slo.by) == (Aggregate.SUM, False, ())
        assert [matcher.label for matcher in slo.sli.part.selector.matchers] == ["service_name", "status_code"]

    def test_latency_is_a_difference(self) -> None:
        """All requests less the fast ones: the fast ones are the good ones."""
        text = sloth(
            "events:\n"
            "  error_query: |\n"
            "    sum by (endpoint) (rate(http_request_duration_count[{{ .window }}])) -\n"
            '    sum by (endpoint) (rate(http_request_duration_bucket{le="500"}[{{ .window }}]))\n'
            "  total_query: sum by (endpoint) (rate(http_request_duration_count[{{ .window }}]))"
        )
        (slo,) = imported(text).slos
        assert (slo.sli.part.aggregate, slo.sli.part_is_good, slo.by) == (CountWithin(high=500), True, ("endpoint",))

    @pytest.mark.parametrize(("query", "good"), [("{bad} / {all}", False), ("1 - ({good} / {all})", True)])
    def test_ratios(self, query: str, *, good: bool) -> None:
        """Of bad events, or what is left of good ones."""
        counts = {
            name: f"sum(rate(http_requests{labels}[{{{{.window}}}}]))"
            for name, labels in (
                ("bad", '{status_class="5xx"}'),
                ("good", '{status_class!="5xx"}'),
                ("all", ""),
            )
        }
        (slo,) = imported(sloth(f"raw:\n  error_ratio_query: {query.format(**counts)}")).slos
        assert slo.sli.part_is_good is good

    def test_no_events_are_none(self) -> None:
        """`or vector(0)` goes without saying."""
        bad = 'sum(rate(http_requests{code="500"}[{{.window}}])) or vector(0)'
        text = sloth(f"events:\n  error_query: {bad}\n  total_query: sum(rate(http_requests[{{{{.window}}}}]))")
        assert len(imported(text).slos) == 1

    def test_in_kubernetes(self) -> None:
        """The same under other names."""
        text = (
            "apiVersion: sloth.slok.dev/v1\nkind: PrometheusServiceLevel\nmetadata: {name: x}\nspec:\n"
            "  service: s\n  slos:\n    - name: a\n      objective: 99\n      sli:\n        events:\n"
            "          errorQuery: sum(rate(cache_misses[{{.window}}]))\n"
            "          totalQuery: sum(rate(cache_hits[{{.window}}]))\n"
            "      alerting: {pageAlert: {disable: true}}\n"
        )
        (slo,) = imported(text).slos
        assert (slo.name, slo.page.is_active) == ("a", False)

    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            ("plugin: {id: x}", "7:7: plugins run code of Sloth's"),
            ("events: {total_query: 'sum(rate(up[{{.window}}]))'}", "7:7: error_query is missing"),
            ("raw: {error_ratio_query: 'sum(rate(cache_hits[5m]))'}", "7:13: error_ratio_query has no {{.window}}"),
            (
                "raw: {error_ratio_query: 'sum(rate(cache_hits[{{.window}}]))'}",
                "7:33: error_ratio_query: is no ratio of two counts",
            ),
            (
                (
                    "events:\n  error_query: |\n    sum(rate(cache_hits[{{.window}}])) +\n      nope(x)\n"
                    "  total_query: sum(rate(cache_hits[{{.window}}]))"
                ),
                "10:13: error_query: nope is no function of PromQL",
            ),
            (
                (
                    "events:\n  error_query: rate(cache_misses[{{.window}}])\n"
                    "  total_query: sum(rate(cache_hits[{{.window}}]))"
                ),
                "8:22: error_query: is a number for each series; write sum(…) around it",
            ),
            (
                (
                    "events:\n  error_query: sum by (cache) (rate(cache_misses[{{.window}}]))\n"
                    "  total_query: sum(rate(cache_hits[{{.window}}]))"
                ),
                "8:9: error_query groups by other labels than the total does",
            ),
            (
                (
                    "events:\n  error_query: sum(increase(cache_misses[{{.window}}]))\n"
                    "  total_query: sum(rate(cache_hits[{{.window}}]))"
                ),
                "8:9: error_query is a rate and the total is none, or the other way round",
            ),
        ],
    )
    def test_what_cannot_be_had(self, events: str, expected: str) -> None:
        """With line and column, within the query where it is there."""
        assert only_problem(sloth(events)).startswith(expected)

    def test_one_bad_objective_holds_up_no_other(self) -> None:
        """It is named, and the others are there."""
        text = SLOTH + "  - name: bad\n    objective: 99\n    sli: {plugin: {id: x}}\n"
        found = imported(text)
        assert (len(found.slos), len(found.problems)) == (1, 1)

    def test_our_own_limits_hold(self) -> None:
        """An objective of 100 % has no budget."""
        queries = "events:\n  error_query: sum(rate(cache_misses[{{.window}}]))\n"
        text = sloth(queries + "  total_query: sum(rate(cache_hits[{{.window}}]))", objective=100)
        assert only_problem(text).startswith("4:5: objective is 100")


class TestOpenSlo:
    """`openslo/v1`."""

    def test_an_objective(self) -> None:
        """The target is a share there and per cent here; windows are theirs."""
        (slo,) = imported(OPENSLO).slos
        assert (slo.name, slo.service, slo.objective) == ("checkout-availability", "checkout", 99.5)
        assert (slo.window, slo.description) == (timedelta(weeks=4), "People can pay")
        assert (slo.sli.part_is_good, slo.sli.total.aggregate) == (True, Aggregate.SUM)

    def test_files_may_refer_to_each_other(self) -> None:
        """The indicator in one, the objective in another."""
        service, sli, slo = OPENSLO.split("---\n")
        assert imported(slo, service, sli).slos == imported(OPENSLO).slos

    def test_inline_indicators_and_ratios(self) -> None:
        """`indicator`, `bad`, `raw`, per cent, and rates with a window."""
        query = 'sum(rate(http_requests{status_class="5xx"}[5m])) / sum(rate(http_requests[5m]))'
        bad = f"metricSource: {{spec: {{query: '{query}'}}}}"
        text = OPENSLO.replace(
            "indicatorRef: availability", "indicator: {metadata: {name: x}, spec: {ratioMetric: RATIO}}"
        )
        (slo,) = imported(text.replace("RATIO", f"{{raw: {{{bad}}}, rawType: failure}}")).slos
        assert slo.sli.part_is_good is False
        (slo,) = imported(
            text.replace("RATIO", f"{{raw: {{{bad}}}, rawType: success}}").replace("target: 0.995", "targetPercent: 99")
        ).slos
        assert (slo.sli.part_is_good, slo.objective) == (True, 99)

    def test_several_objectives_are_several(self) -> None:
        """Numbered, for each has its budget."""
        text = OPENSLO.replace("target: 0.995}]", "target: 0.995}, {target: 0.9}]")
        assert [(slo.name, slo.objective) for slo in imported(text).slos] == [
            ("checkout-availability-1", 99.5),
            ("checkout-availability-2", 90),
        ]

    def test_what_calls_people_is_left_out(self) -> None:
        """And said so: who is called when is ours."""
        text = OPENSLO + "  alertPolicies: [{alertPolicyRef: x}]\n"
        policy = "apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: x}\nspec: {}\n"
        found = imported(text, policy)
        assert (len(found.slos), found.problems) == (1, [])
        assert [str(note)[:30] for note in found.notes] == [
            "f0.yaml:27:3: alertPolicies ar",
            "f1.yaml:1:1: AlertPolicy 'x' i",
        ]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (("Occurrences", "Timeslices"), "25:3: budgetingMethod Timeslices counts slices of time"),
            (("isRolling: true", "isRolling: false"), "24:16: timeWindow follows the calendar"),
            (("duration: 4w", "duration: 1M"), "24:17: duration '1M' is not a duration"),
            (
                ("indicatorRef: availability", "indicatorRef: other"),
                "23:3: indicatorRef 'other' is not among the files",
            ),
            (("  indicatorRef: availability\n", ""), "20:1: indicator is missing"),
            (("target: 0.995", "target: 0.995, timeSliceTarget: 0.9"), "26:51: timeSliceTarget is for thresholds"),
            (("type: Prometheus, spec: {query: sum", "type: Datadog, spec: {query: sum"), "15:22: type 'Datadog'"),
            (("sum(http_requests)", "http_requests"), "15:54: query: http_requests counts increments"),
            (
                ("query: sum(http_requests)", "query: 'sum(increase(http_requests[10m]))'"),
                "13:47: query reads another window than the total does",
            ),
            (("kind: SLO\n", "kind: Slo\n"), "18:1: kind 'Slo' is not understood"),
            (("ratioMetric", "thresholdMetric"), "10:3: thresholdMetric compares a level slice by slice"),
        ],
    )
    def test_what_cannot_be_had(self, change: tuple[str, str], expected: str) -> None:
        """With line, column and reason."""
        assert only_problem(OPENSLO.replace(*change)).startswith(expected)

    def test_another_version(self) -> None:
        """Not guessed at."""
        found = imported(OPENSLO.replace("openslo/v1", "openslo/v2alpha"))
        assert {problem.message for problem in found.problems} == {
            "apiVersion is openslo/v2alpha; openslo/v1 is understood"
        }


def test_others_files_are_refused() -> None:
    """What is neither."""
    assert "is neither Sloth's" in only_problem("kind: Deployment\napiVersion: apps/v1\n")
    assert "is neither Sloth's" in only_problem("slos: []\n")
    assert only_problem("- 1\n").startswith("1:1: this must be a mapping")
    assert "is not YAML" in only_problem("a: [")
