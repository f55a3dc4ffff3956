"""The contracts hold together: schemas, topics, catalogue, packages."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.schemas import codec
from atalaia.schemas.catalogue import AGGREGATIONS, Kind, catalogue, metric
from atalaia.schemas.events import Frequency, Granularity, MetricType
from atalaia.schemas.topics import TOPICS
from atalaia.schemas.windows import window_end, window_start

ROOT = Path(__file__).parents[2]
F1 = {
    "revenue": "revenue_hourly revenue_daily revenue_monthly average_order_value",
    "commission": "commission_paid commission_pending commission_rate top_affiliates_revenue",
    "user_activity": "active_users new_registrations user_retention_rate session_duration",
    "conversion": "conversion_rate funnel_completion bounce_rate click_through_rate",
    "performance": "api_response_time error_rate throughput database_query_time",
    "gamification": "chests_opened rewards_distributed user_engagement_score achievement_completion",
    "validation": "indication_validations validation_success_rate fraud_detection_rate manual_review_required",
}


def _schemas() -> list[str]:
    return sorted(
        path.name[:-5] for path in files("atalaia.schemas").joinpath("avro").iterdir() if path.name.endswith("avsc")
    )


@pytest.mark.parametrize("name", _schemas())
def test_every_field_says_what_it_is(name: str) -> None:
    """Each record and each of its fields has a doc."""
    schema: dict[str, Any] = json.loads(codec.schema_text(name))
    assert schema["doc"]
    assert [field["name"] for field in schema["fields"] if not field.get("doc")] == []


def test_every_schema_has_a_topic_and_every_topic_a_schema() -> None:
    """The table of topics and the schema files are the same set."""
    assert sorted(topic.schema or "" for topic in TOPICS) == _schemas()


@pytest.mark.parametrize(("family", "names"), F1.items())
def test_the_catalogue_knows_the_metrics_of_each_family(family: str, names: str) -> None:
    """The 28 metrics of F1 are there, each in its family."""
    for name in names.split():
        assert catalogue()[name].metric_type is MetricType(family)


def test_an_unknown_metric_has_defaults_and_every_aggregation() -> None:
    """Metrics that the catalogue doesn't know work."""
    unknown = metric("test_metric")
    assert not unknown.known
    assert unknown.frequency is Frequency.REAL_TIME
    assert {"sum", "p99"} <= unknown.aggregations


def test_ratios_and_levels_are_never_summed() -> None:
    """No sum is legal of a ratio, a gauge or a distribution."""
    for kind in (Kind.RATIO, Kind.GAUGE, Kind.DISTRIBUTION):
        assert "sum" not in AGGREGATIONS[kind]


def test_no_stray_init_hides_the_namespace() -> None:
    """No portion has an `atalaia/__init__.py`, and no stage folder a loose module."""
    stages = ["schemas", "producers", "infra", "alerting", "streams", "sinks", "cli"]
    assert [stage for stage in stages if (ROOT / stage / "atalaia" / "__init__.py").exists()] == []
    assert [str(path) for stage in stages for path in (ROOT / stage).glob("*.py")] == []
    assert all((ROOT / stage / "atalaia" / stage / "py.typed").exists() for stage in stages)


@given(st.integers(0, 4_102_444_800_000), st.sampled_from(list(Granularity)))
def test_windows_tile_time(at_ms: int, granularity: Granularity) -> None:
    """Each instant is in exactly one window of a granularity, and the next one starts where it ends."""
    start = window_start(at_ms, granularity)
    end = window_end(start, granularity)
    assert start <= at_ms < end
    assert window_start(end, granularity) == end
    assert window_start(start, granularity) == start
