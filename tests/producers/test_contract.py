"""One contract, two producers: the one that records for tests, and the one that sends to the real Kafka."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from tests.producers.conftest import Read

from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Emitter, MetricError, Producer, ProducerClosed, RecordingProducer
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH


@dataclass(frozen=True, slots=True)
class Subject:
    """A producer, and what a consumer sees of it."""

    metrics: Emitter
    events: Callable[[int], list[dict[str, Any]]]
    reports: Callable[[int], list[dict[str, Any]]]


@pytest.fixture(params=["recording", pytest.param("kafka", marks=pytest.mark.e2e)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each of the two."""
    if request.param == "recording":
        recording = RecordingProducer()
        yield Subject(recording, lambda _: recording.events, lambda _: recording.health_reports)
        return
    stack: LocalStack = request.getfixturevalue("stack")
    read_back: Callable[..., list[Read]] = request.getfixturevalue("read_back")
    service = f"contract-{uuid4().hex[:8]}"

    def read(count: int, topic: Any) -> list[dict[str, Any]]:
        records = read_back(service, count, topic)
        return [record.event for record in sorted(records, key=lambda record: record.event["timestamp"])]

    with Producer(
        stack.settings.kafka.bootstrap_servers, service_name=service, registry=stack.settings.registry.url
    ) as producer:
        yield Subject(producer, lambda count: read(count, METRICS), lambda count: read(count, SERVICE_HEALTH))


def test_an_event_arrives_with_every_field(subject: Subject) -> None:
    """What F1 lists, as it was given."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    subject.metrics.emit(
        "revenue_hourly",
        2500,
        unit="USD",
        frequency="daily",
        region="BR",
        affiliate_id="a-7",
        metadata={"payment_method": "pix", "näme": "✓"},
        metric_type="conversion",
        timestamp=at,
    )
    (event,) = subject.events(1)
    assert event["event_id"].version == 7
    assert event["producer_id"]
    expected = {
        "timestamp": at,
        "sequence": 0,
        "value": 2500.0,
        "tenant": "default",
        "metric_name": "revenue_hourly",
        "metric_type": "conversion",
        "unit": "USD",
        "frequency": "daily",
        "region": "BR",
        "affiliate_id": "a-7",
        "metadata": {"payment_method": "pix", "näme": "✓"},
    }
    assert {name: event[name] for name in expected} == expected


def test_every_event_arrives_once_and_is_counted(subject: Subject) -> None:
    """Emitted by name, bound, counted, set, timed and awaited: all the same."""
    metrics = subject.metrics
    metrics.emit("order_value", 1)
    metrics.metric("order_value").emit(2)
    assert metrics.try_emit("order_value", 3)
    metrics.counter("orders").add()
    metrics.gauge("queue_depth").set(4)
    with metrics.metric("recommendation_time").time():
        pass
    delivery = metrics.deliver("order_value", 5).result(30)
    stats = metrics.flush(30)
    assert (stats.emitted, stats.acknowledged, stats.queued, stats.lost) == (7, 7, 0, 0)
    events = subject.events(7)
    assert len({event["event_id"] for event in events}) == 7
    assert sorted(event["value"] for event in events if event["metric_name"] == "order_value") == [1, 2, 3, 5]
    assert delivery.event_id in {str(event["event_id"]) for event in events}
    assert delivery.topic == METRICS.name


def test_sequences_show_that_nothing_is_missing(subject: Subject) -> None:
    """0, 1, 2, … per series."""
    for value, method in itertools.product(range(5), ["pix", "card"]):
        subject.metrics.emit("order_value", value, metadata={"payment_method": method, "order": f"{value}"})
    by_method: dict[str, list[int]] = {}
    for event in subject.events(10):
        by_method.setdefault(event["metadata"]["payment_method"], []).append(event["sequence"])
    assert sorted(by_method) == ["card", "pix"]
    assert all(sorted(numbers) == list(range(5)) for numbers in by_method.values())


def test_a_health_report_arrives(subject: Subject) -> None:
    """What F2.7 lists; what is not known is null."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    subject.metrics.health("degraded", cpu_usage=71.5, version="1.2.3", timestamp=at)
    subject.metrics.flush(30)
    (report,) = subject.reports(1)
    assert report["timestamp"] == at
    assert (report["status"], report["cpu_usage"], report["version"]) == ("degraded", 71.5, "1.2.3")
    assert report["error_rate"] is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"metric_name": "", "value": 1}, "metric_name"),
        ({"metric_name": "x", "value": float("nan")}, "value"),
        ({"metric_name": "x", "value": "1"}, "value"),
        ({"metric_name": "x", "value": 1, "frequency": "weekly"}, "frequency"),
        ({"metric_name": "x", "value": 1, "metric_type": "sales"}, "metric_type"),
        ({"metric_name": "x", "value": 1, "region": ""}, "region"),
        ({"metric_name": "x", "value": 1, "timestamp": datetime(2106, 1, 1, tzinfo=UTC)}, "timestamp"),
        ({"metric_name": "x\ud800", "value": 1}, "metric_name"),
    ],
)
def test_what_cannot_be_is_refused_the_same_way(subject: Subject, arguments: dict[str, Any], field: str) -> None:
    """So that a test with the recording producer proves something."""
    with pytest.raises(MetricError) as caught:
        subject.metrics.emit(**arguments)
    assert caught.value.field == field
    assert subject.metrics.stats.emitted == 0


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ({"status": ""}, "status"),
        ({"status": "ok", "error_rate": 1.5}, "error_rate"),
        ({"status": "ok", "cpu_usage": -1}, "cpu_usage"),
        ({"status": "ok", "version": 3}, "version"),
        ({"status": "ok", "uptime": 3}, "uptime"),
    ],
)
def test_a_health_report_that_cannot_be_is_refused(subject: Subject, report: dict[str, Any], field: str) -> None:
    """By the field's name."""
    with pytest.raises(MetricError) as caught:
        subject.metrics.health(**report)
    assert caught.value.field == field


def test_after_close_nothing_is_accepted(subject: Subject) -> None:
    """And what was, arrived."""
    subject.metrics.emit("order_value", 1)
    assert subject.metrics.close().acknowledged == 1
    with pytest.raises(ProducerClosed):
        subject.metrics.emit("order_value", 2)
    assert len(subject.events(1)) == 1


@pytest.mark.e2e
def test_a_record_is_framed_keyed_and_traced(
    stack: LocalStack, read_back: Callable[..., list[Read]], schema_ids: dict[str, int]
) -> None:
    """The registry's own id, the series as key, one partition a series, a traceparent that leads to the event."""
    service = f"frame-{uuid4().hex[:8]}"
    settings = stack.settings
    with Producer(settings.kafka.bootstrap_servers, service_name=service, registry=settings.registry.url) as metrics:
        for value in range(50):
            metrics.emit("order_value", value, metadata={"payment_method": "pix"})
        metrics.health("healthy")
    records = read_back(service, 50)
    key = SeriesKey(
        "default", "order_value", service, None, None, "BRL", "real_time", (("payment_method", "pix"),)
    ).record_key()
    assert {record.key for record in records} == {key}
    assert len({record.partition for record in records}) == 1
    assert [record.event["sequence"] for record in records] == list(range(50))
    assert {record.schema_id for record in records} == {schema_ids[METRICS.name]}
    for record in records:
        assert record.headers["traceparent"].startswith(b"00-" + record.event["event_id"].hex.encode() + b"-")
    (report,) = read_back(service, 1, SERVICE_HEALTH)
    assert report.schema_id == schema_ids[SERVICE_HEALTH.name]
    assert report.key == service.encode()
