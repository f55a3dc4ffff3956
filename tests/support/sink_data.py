"""Messages as Kafka would hand them to the sink, and the schemas that they are written with."""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from atalaia.schemas import codec, sketch
from atalaia.schemas.registry import SchemaMissing
from atalaia.schemas.topics import ALERTS, METRICS, NOTIFICATIONS, ROLLUPS, SERVICE_HEALTH, Topic

NOW_MS: Final = time.time_ns() // 1_000_000
"""Arrival of every message that doesn't say otherwise: ClickHouse drops by its own clock what is past retention."""
IDS: Final = {METRICS: 1, ROLLUPS: 2, ALERTS: 3, SERVICE_HEALTH: 4, NOTIFICATIONS: 5}
_serial = itertools.count()


class Schemas:
    """A registry that has our schemas by the ids above, and whatever else a test puts there."""

    def __init__(self) -> None:
        self.texts = {number: codec.schema_text(topic.schema or "") for topic, number in IDS.items()}

    def writer(self, schema_id: int) -> str:
        """The schema's text."""
        try:
            return self.texts[schema_id]
        except KeyError:
            raise SchemaMissing(f"schema id {schema_id}") from None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, with what confluent_kafka.Message has of it."""

    topic_name: str
    number: int
    at: int
    content: bytes | None
    arrival_ms: int = NOW_MS
    said: list[tuple[str, bytes | None]] = field(default_factory=list)
    id: bytes | None = b"key"

    def topic(self) -> str:
        """Where."""
        return self.topic_name

    def partition(self) -> int:
        """In which partition."""
        return self.number

    def offset(self) -> int:
        """At which offset."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """When it arrived: log append time."""
        return (2, self.arrival_ms)

    def key(self) -> bytes | None:
        """Its key."""
        return self.id

    def value(self) -> bytes | None:
        """Its bytes."""
        return self.content

    def headers(self) -> list[tuple[str, bytes | None]]:
        """Its headers."""
        return self.said


def sent(topic: Topic, *values: bytes | None, partition: int = 0, first: int = 0) -> list[Sent]:
    """Values at consecutive offsets."""
    return [Sent(topic.name, partition, first + index, value) for index, value in enumerate(values)]


def framed(topic: Topic, record: dict[str, Any]) -> bytes:
    """A record as Confluent-framed Avro."""
    return codec.frame(IDS[topic], codec.encode(topic.schema or "", record))


def event(**fields: Any) -> bytes:
    """A valid event, but for `fields`."""
    serial = next(_serial)
    return framed(
        METRICS,
        {
            "event_id": str(uuid.UUID(int=serial + 1)),
            "timestamp": NOW_MS,
            "sequence": serial,
            "value": 1.0,
            "tenant": "default",
            "metric_name": "api_response_time",
            "metric_type": "performance",
            "unit": "ms",
            "frequency": "real_time",
            "service_name": "checkout",
            "region": None,
            "affiliate_id": None,
            "producer_id": "host-1-abcd",
            "metadata": {},
        }
        | fields,
    )


def rollup(values: list[float], **fields: Any) -> bytes:
    """The row of a window that holds these values, a millisecond apart."""
    counts: dict[int, int] = {}
    for value in values:
        sketch.merge(counts, {sketch.bucket_of(value): 1})
    start = fields.get("window_start", NOW_MS - NOW_MS % 60_000)
    return framed(
        ROLLUPS,
        {
            "tenant": "default",
            "metric_name": "api_response_time",
            "metric_type": "performance",
            "service_name": "checkout",
            "region": None,
            "affiliate_id": None,
            "unit": "ms",
            "frequency": "real_time",
            "dimensions": {},
            "granularity": "minute",
            "window_start": start,
            "shard": "0-0",
            "version": len(values) - 1,
            "count": len(values),
            "sum": sum(values),
            "min": min(values),
            "max": max(values),
            "first": values[0],
            "last": values[-1],
            "first_at": start,
            "last_at": start + len(values) - 1,
            "sketch_buckets": list(counts),
            "sketch_counts": list(counts.values()),
            "completeness": 1.0,
            "watermark": start + 60_000,
        }
        | fields,
    )


def alert(**fields: Any) -> bytes:
    """A transition."""
    return framed(
        ALERTS,
        {
            "alert_id": "a-1",
            "fingerprint": "f-1",
            "episode_id": "e-1",
            "rule_id": "slow-api",
            "rule_name": "Slow API",
            "rule_version": 1,
            "tenant": "default",
            "status": "firing",
            "severity": "high",
            "timestamp": NOW_MS,
            "starts_at": NOW_MS,
            "metric_name": "api_response_time",
            "service_name": "checkout",
            "labels": {"service_name": "checkout"},
            "annotations": {},
            "value": 300.0,
            "threshold": 250.0,
            "condition": "> 250 ms",
        }
        | fields,
    )


def health(**fields: Any) -> bytes:
    """What a service says of itself."""
    return framed(
        SERVICE_HEALTH,
        {
            "health_id": str(uuid.UUID(int=1)),
            "timestamp": NOW_MS,
            "tenant": "default",
            "service_name": "checkout",
            "status": "healthy",
        }
        | fields,
    )


def notification(**fields: Any) -> bytes:
    """An attempt to tell someone."""
    return framed(
        NOTIFICATIONS,
        {
            "notification_id": "n-1",
            "fingerprint": "f-1",
            "episode_id": "e-1",
            "alert_id": "a-1",
            "receiver": "team",
            "channel": "slack",
            "recipient": "#ops",
            "outcome": "sent",
            "attempt": 1,
            "timestamp": NOW_MS,
        }
        | fields,
    )
