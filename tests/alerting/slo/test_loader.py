"""Files of objectives: what is read, and where what is not."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.rules import Channel
from atalaia.alerting.slo.burn import rules_of
from atalaia.alerting.slo.document import FIELDS, from_document, to_document
from atalaia.alerting.slo.doubts import doubts
from atalaia.alerting.slo.loader import load_files, load_texts
from atalaia.alerting.slo.objectives import Slo, SloError
from atalaia.alerting.slo.watched import objectives
from atalaia.alerting.writing.document import from_document as rule_from
from atalaia.alerting.writing.document import to_document as rule_document
from atalaia.schemas.events import Severity

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "slos.yaml"
GOOD = """\
slos:
  - name: errors
    service: api
    objective: 99.5
    sli:
      bad: http_requests{status_class="5xx"}
      total: http_requests
"""


def problems(text: str) -> list[str]:
    """What is wrong with a text, without the file's name."""
    return [str(problem).removeprefix("x.yaml:") for problem in load_texts([("x.yaml", text)]).problems]


def only(text: str) -> Slo:
    """The one objective of a good text."""
    loaded = load_texts([("x.yaml", text)])
    assert loaded.problems == ()
    return loaded.slos[0]


class TestExample:
    """The objectives of A7."""

    def test_they_are_beyond_doubt(self) -> None:
        """Uptime 99.5 %, P95 under 500 ms, error rate under 0.5 %."""
        loaded = load_files([EXAMPLE])
        assert loaded.problems == ()
        assert [fault for slo in loaded.slos for fault in doubts(slo)] == []
        assert [(slo.name, slo.objective) for slo in loaded.slos] == [
            ("api-uptime", 99.5),
            ("api-latency", 95),
            ("api-errors", 99.5),
        ]
        assert loaded.slos[0].budget_time == timedelta(hours=3.6)

    def test_what_they_count(self) -> None:
        """Looks by their value, requests by their latency, and by the sum of increments."""
        uptime, latency, errors = load_files([EXAMPLE]).slos
        assert (uptime.sli.total.aggregate, uptime.sli.part.aggregate) == (Aggregate.COUNT, CountWithin(low=1.0))
        assert latency.sli.part.aggregate == CountWithin(high=500.0)
        assert (errors.sli.part.aggregate, errors.sli.part_is_good) == (Aggregate.SUM, False)

    def test_they_can_be_read_back_from_their_rules(self) -> None:
        """What is counted and how much may fail; not whom they call."""
        for slo in load_files([EXAMPLE]).slos:
            (found,) = objectives(rules_of(slo))
            assert (found.slo.name, found.slo.sli, found.slo.by) == (slo.name, slo.sli, slo.by)
            assert (found.slo.objective, found.slo.window, found.slo.owner) == (slo.objective, slo.window, slo.owner)


class TestProblems:
    """One line for each, at its place."""

    def test_every_fault_of_every_objective(self) -> None:
        """One bad objective keeps no other from being read."""
        text = GOOD + "  - name: b\n    objective: 99\n    window: 1y\n  - {name: c, service: s}\n"
        assert problems(text) == [
            "8:5: service is missing",
            "8:5: sli is missing",
            "10:5: window is '1y' is not a duration; write it like 30s, 5m, 1h30m or 7d",
            "11:5: objective is missing",
            "11:5: sli is missing",
        ]
        assert len(load_texts([("x.yaml", text)]).slos) == 1

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (("99.5", "100"), "4:5: objective is 100; it is the share of good events in per cent, above 0"),
            (("99.5", "99.99999999999"), "4:5: objective is 100; it is the share"),
            (("99.5", "fast"), "4:5: objective is 'fast'; it must be a number"),
            (("objective", "objectiv"), "4:5: objectiv is not understood; did you mean objective?"),
            (("bad:", "bed:"), "6:7: sli.bed is not understood; did you mean bad?"),
            (("    sli", "    window: 1d\n    sli"), "5:5: window is 1d; it must be from 7d to 90d"),
            (("total: http_requests", "total: http_requests[5m]"), "7:7: sli.total is 'http_requests[5m]', more"),
            (("total: http_requests", "total: http_requests{"), "7:7: sli.total is no selector: this { is not"),
            (("total: http_requests", "total: 5"), "7:7: sli.total"),
            (('bad: http_requests{status_class="5xx"}', "bad: http_requests"), "6:7: sli.bad is the same as total"),
            (("      total: http_requests\n", ""), "5:5: sli must have bad and total, or good and total, or values"),
            (
                ("total: http_requests", "total: {of: conversion_rate, count: sum}"),
                "7:7: sli.total is sum, and the sum of conversion_rate means nothing",
            ),
            (("slos:", "objectives:"), "1:1: objectives is not understood; write a list of objectives under `slos:`"),
        ],
    )
    def test_of_a_field(self, change: tuple[str, str], expected: str) -> None:
        """Field, value and remedy."""
        found = problems(GOOD.replace(*change, 1))
        assert any(problem.startswith(expected) for problem in found), found

    def test_two_of_a_name(self) -> None:
        """Also where they differ in what an id leaves out."""
        text = GOOD + GOOD.removeprefix("slos:\n").replace("errors", "Errors!")
        assert problems(text) == ["8:5: name 'Errors!' is already at x.yaml:2; give another"]

    def test_no_yaml(self) -> None:
        """The parser's own words, with their place."""
        assert problems("slos: [")[0].startswith("2:1: is not YAML")

    def test_others_forms_are_known(self) -> None:
        """They are imported, not read."""
        assert "atalaia slo import x.yaml" in problems("version: prometheus/v1\nservice: a\nslos: []\n")[0]
        assert "atalaia slo import x.yaml" in problems("apiVersion: openslo/v1\nkind: SLO\n")[0]

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """Reported, like any other problem."""
        (problem,) = load_files([tmp_path / "missing.yaml"]).problems
        assert problem.message == "cannot be read: No such file or directory"


class TestForms:
    """What may be written."""

    @pytest.mark.parametrize("written", ["99.5", "99.5 %", "'99.5%'"])
    def test_per_cent(self, written: str) -> None:
        """With the sign or without."""
        assert only(GOOD.replace("99.5", written)).objective == 99.5

    def test_events_are_counted_as_the_catalogue_has_it(self) -> None:
        """Or as it is said."""
        text = GOOD.replace("total: http_requests", "total: {of: http_requests, count: events}")
        assert only(text).sli.total.aggregate is Aggregate.COUNT
        assert only(GOOD).sli.total.aggregate is Aggregate.SUM

    def test_prometheus_names_are_understood(self) -> None:
        """`job` is the service's name, and `_total` belongs to no name of ours."""
        slo = only(GOOD.replace("total: http_requests", 'total: http_requests_total{job="api"}'))
        assert slo.sli.total.selector.metric_name == "http_requests"
        assert slo.sli.total.selector.matchers[0].label == "service_name"


class TestDoubts:
    """What is legal and hardly meant."""

    def doubts(self, before: str, after: str) -> list[str]:
        """Of the good text with a change."""
        return [str(fault) for fault in doubts(only(GOOD.replace(before, after)))]

    def test_none_of_a_good_one(self) -> None:
        """Nothing to say."""
        assert self.doubts("", "") == []

    def test_unknown_metrics_and_labels(self) -> None:
        """With what may have been meant."""
        assert "did you mean http_requests?" in self.doubts("total: http_requests", "total: http_requets")[0]
        assert "which no series of http_requests has" in self.doubts("status_class", "state")[0]
        assert "in ms?" in self.doubts("total: http_requests", "total: http_request_duration_seconds")[0]

    def test_groups_that_no_series_has(self) -> None:
        """They would be one group."""
        assert self.doubts("    sli", "    by: [endpoint, pod]\n    sli")[0].startswith(
            "by.1 is 'pod', which no series"
        )


plain = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), plain))
def test_nothing_but_faults(document: dict[str, object]) -> None:
    """Whatever is written, it is an objective or has faults that can be told."""
    good: dict[str, object] = yaml.safe_load(GOOD)["slos"][0]
    with contextlib.suppress(SloError):
        assert rules_of(from_document(good | document))


text = st.text("ab é\"'{}:#\n\\", min_size=1, max_size=12).filter(lambda value: value.strip() == value and value)
alerting = st.fixed_dictionaries(
    {},
    optional={
        "active": st.booleans(),
        "severity": st.sampled_from([severity.value for severity in Severity]),
        "channels": st.lists(st.sampled_from([channel.value for channel in Channel]), max_size=2),
        "recipients": st.lists(text, max_size=2),
        "annotations": st.dictionaries(text, text, max_size=2),
        "actions": st.lists(text, max_size=2),
    },
)
sli = st.one_of(
    st.fixed_dictionaries({"values": st.just("http_request_duration"), "at_most": st.floats(0, 1e6)}),
    st.fixed_dictionaries({"values": st.just("service_up"), "at_least": st.floats(-5, 5)}),
    st.fixed_dictionaries({"bad": st.just('http_requests{status_class=~"5.."}'), "total": st.just("http_requests")}),
    st.fixed_dictionaries(
        {
            "good": st.fixed_dictionaries({"of": st.just("http_request_duration"), "at_most": st.floats(0, 1e6)}),
            "total": st.fixed_dictionaries({"of": st.just("http_requests"), "count": st.just("events")}),
        }
    ),
)


@given(
    st.fixed_dictionaries(
        {"name": text, "service": text, "objective": st.sampled_from([99, 99.5, 99.99]), "sli": sli},
        optional={
            "window": st.integers(7, 90).map("{}d".format),
            "description": text,
            "owner": text,
            "runbook_url": text,
            "tenant": text,
            "by": st.lists(st.sampled_from(["service_name", "endpoint", "region"]), unique=True),
            "minimum_events": st.integers(0, 1000),
            "minimum_bad": st.integers(0, 1000),
            "labels": st.dictionaries(text, text, max_size=2),
            "page": alerting,
            "ticket": alerting,
        },
    )
)
def test_written_and_read_back(document: dict[str, object]) -> None:
    """Every objective survives its own YAML, and its rules survive what they are stored as."""
    slo = from_document(document)
    written = yaml.safe_dump({"slos": [to_document(slo)]}, allow_unicode=True)
    assert only(written) == slo
    for rule in rules_of(slo):
        assert rule_from(json.loads(json.dumps(rule_document(rule)))) == rule
