"""Events and groups for the stream tests."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from atalaia.schemas import codec, sketch
from atalaia.schemas.container import Record
from atalaia.schemas.registry import SchemaMissing
from atalaia.streams.columns import Group

NOW_MS = 1_800_000_000_000
SCHEMA_ID = 1
_ids = itertools.count(1)


class OneSchema:
    """A registry that knows MetricEvent as schema 1 and nothing else."""

    def writer(self, schema_id: int) -> str:
        """The schema's text."""
        if schema_id != SCHEMA_ID:
            raise SchemaMissing(f"schema id {schema_id}")
        return codec.schema_text("MetricEvent")


def event(**fields: Any) -> dict[str, Any]:
    """A valid event, but for `fields`."""
    return {
        "event_id": str(uuid.UUID(int=next(_ids))),
        "timestamp": NOW_MS,
        "sequence": 0,
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
    } | fields


def framed(**fields: Any) -> bytes:
    """The same as Confluent-framed Avro."""
    return codec.frame(SCHEMA_ID, codec.encode("MetricEvent", event(**fields)))


def records(*values: bytes, first_offset: int = 0, arrival_ms: int = NOW_MS) -> list[Record]:
    """Framed values at consecutive offsets."""
    return [(first_offset + index, arrival_ms, value) for index, value in enumerate(values)]


def group(
    offset: int, at_ms: int, value: float, *, service: str = "checkout", counted: tuple[int, int] | None = None
) -> Group:
    """The group of one event, as the engine would make it; `counted` is its producer and its sequence."""
    return [
        *("default", "api_response_time", service, None, None, "ms", "real_time", "{}", "performance"),
        at_ms - at_ms % 60_000,
        *(1, value, value, value),
        *(value, at_ms, offset),
        *(value, at_ms, offset),
        *(offset, offset),
        [sketch.bucket_of(value)],
        [1],
        [] if counted is None else [(counted[0], counted[1], counted[1])],
    ]
