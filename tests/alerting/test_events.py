"""What goes out on the alerts topic says all that a person needs, and is a record of its schema."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.events import record
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.alerting.writing.document import from_document
from atalaia.schemas import codec
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey

NOON_MS = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CPU = SeriesKey("default", "cpu_usage", "web", None, None, "%", "real_time")


def fire(rule: Rule, series: SeriesKey, value: float) -> Transition:
    """The first transition that a value brings about."""
    judge = Judge([rule])
    judge.observe(b"k", series, minutes_of([(NOON_MS, value)])[0], NOON_MS)
    return judge.judge(NOON_MS)[0]


def decoded(transition: Transition) -> dict[str, Any]:
    """What a consumer of the topic reads."""
    return codec.decode("AlertEvent", codec.encode("AlertEvent", record(transition)))


def test_an_installed_alert_in_full() -> None:
    """Rule, series, numbers, window and texts, as a consumer sees them."""
    (rule,) = [rule for rule in builtin_rules() if rule.rule_id == "high-commissions"]
    series = SeriesKey("acme", "commission_paid", "payouts", "BR", "a-7", "BRL", "real_time")
    event = decoded(fire(rule, series, 612.5))
    assert event["condition"] == 'sum of commission_paid{unit="BRL"} over 1h > 500 BRL'
    assert event["annotations"]["summary"] == ("payouts paid 612.5 BRL of commission within an hour, above 500")
    assert event["actions"][0] == "See which affiliates were paid"
    expected = {
        "rule_id": "high-commissions",
        "rule_name": "High commissions",
        "rule_version": 1,
        "tenant": "acme",
        "status": "firing",
        "severity": "low",
        "metric_name": "commission_paid",
        "service_name": "payouts",
        "channels": ["email"],
        "recipients": [],
        "value": 612.5,
        "threshold": 500.0,
        "unit": "BRL",
        "timestamp": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "starts_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "window_start": datetime(2026, 3, 1, 11, 1, tzinfo=UTC),
        "window_end": datetime(2026, 3, 1, 12, 1, tzinfo=UTC),
        "labels": series.labels(),
    }
    assert {name: event[name] for name in expected} == expected


@given(texts, texts, st.dictionaries(texts, texts, max_size=3))
def test_any_labels_and_texts_can_be_sent(text: str, label: str, more: dict[str, str]) -> None:
    """Quotes, emoji, newlines and braces in labels and texts arrive as they are."""
    rule = from_document({"name": "x", "metric": "m", "condition": "> 1", "description": text, "actions": [text]})
    series = SeriesKey("default", "m", label, label, label, label, "real_time", tuple(more.items()))
    event = decoded(fire(rule, series, 2.0))
    assert (event["service_name"], event["actions"], event["labels"]) == (label, [text], series.labels())


def test_labels_are_put_in_once() -> None:
    """A label that looks like a template is not one, and a label that is absent is nothing."""
    summary = "{{ $labels.service_name }}|{{$labels.nope}}|{{ $value }}|{{ $threshold }}|{{ what }}"
    rule = from_document({"name": "x", "metric": "m", "condition": "> 1", "summary": summary})
    series = SeriesKey("default", "m", "{{ $value }}", None, None, "1", "real_time")
    assert decoded(fire(rule, series, 0.1 + 1.2))["annotations"]["summary"] == "{{ $value }}||1.3|1|{{ what }}"


def test_every_alert_has_a_summary() -> None:
    """A rule without texts still says what happened."""
    rule = from_document({"name": "Busy", "metric": "cpu_usage", "condition": "> 90"})
    series = SeriesKey("default", "cpu_usage", "web", None, None, "%", "real_time")
    assert decoded(fire(rule, series, 95.0))["annotations"] == {"summary": "Busy on web: 95 %"}


@pytest.mark.parametrize(
    ("aggregate", "metric", "unit"),
    [("sum", "revenue_hourly", "BRL"), ("count", "revenue_hourly", "1"), ("rate", "revenue_hourly", "BRL/s"),
     ("rate", "api_response_time", "1/s"), ("p95", "api_response_time", "ms")],
)  # fmt: skip
def test_the_unit_is_that_of_the_value(aggregate: str, metric: str, unit: str) -> None:
    """A count has none, a rate is per second."""
    rule = from_document(
        {"name": "x", "metric": metric, "aggregate": aggregate, "window": "1m", "condition": "> 0.001"}
    )
    base = "ms" if metric == "api_response_time" else "BRL"
    series = SeriesKey("default", metric, "web", None, None, base, "real_time")
    event = decoded(fire(rule, series, 10.0))
    assert (event["unit"], unit in event["condition"] or unit == "1") == (unit, True)


@pytest.mark.parametrize("wished", [True, False])
def test_amendments_are_told_to_people_only_where_the_rule_wishes_it(wished: bool) -> None:  # noqa: FBT001 - a wish
    """What late data changed is always recorded; channels and recipients go along only with `notify_amendments`."""
    written = {"name": "x", "metric": "cpu_usage", "condition": "> 90", "channels": ["slack"], "recipients": ["#ops"]}
    fired = fire(from_document(written | {"notify_amendments": wished}), CPU, 95.0)
    assert decoded(fired)["channels"] == ["slack"]
    amended = decoded(replace(fired, status=AlertStatus.AMENDED, turn=7))
    assert (amended["channels"], amended["recipients"]) == ((["slack"], ["#ops"]) if wished else ([], []))
    assert amended["episode_id"] == decoded(fired)["episode_id"]


def test_a_level_says_its_own_condition() -> None:
    """Threshold, severity and condition of an alert are those of the threshold that it is about."""
    rule = from_document({"name": "x", "metric": "cpu_usage", "condition": ">", "thresholds": {"low": 80, "high": 90}})
    fired = replace(fire(rule, CPU, 85.0), level=rule.levels[0])
    told = decoded(fired)
    assert (told["threshold"], told["severity"], told["condition"]) == (90.0, "high", "cpu_usage > 90 %")
