"""A window as a Rollup record in Avro. Fields that never change for a series are encoded once."""

from __future__ import annotations

import io
import json
from typing import Any, Final

import fastavro

from atalaia.schemas import versions
from atalaia.schemas.codec import schema_text
from atalaia.schemas.events import Granularity
from atalaia.streams.state import PartitionState, Series
from atalaia.streams.watermarks import completeness
from atalaia.streams.window import Window

_FIELDS: Final = json.loads(schema_text("Rollup"))["fields"]
_CONSTANT: Final = [field["name"] for field in _FIELDS].index("granularity")
"""An Avro record is its fields one after another: the bytes of two halves, joined, are those of the whole."""


def _half(name: str, fields: list[Any]) -> Any:
    return fastavro.parse_schema({"type": "record", "name": name, "fields": fields})


_HEAD: Final = _half("RollupHead", _FIELDS[:_CONSTANT])
_TAIL: Final = _half("RollupTail", _FIELDS[_CONSTANT:])


def head(series: Series) -> bytes:
    """The part of a series' rollups that is always the same."""
    key = series.identity
    return _encode(
        _HEAD,
        {
            "tenant": key.tenant,
            "metric_name": key.metric_name,
            "metric_type": series.metric_type,
            "service_name": key.service_name,
            "region": key.region,
            "affiliate_id": key.affiliate_id,
            "unit": key.unit,
            "frequency": key.frequency,
            "dimensions": dict(key.dimensions),
        },
    )


def tail(window: Window, granularity: Granularity, *, state: PartitionState, watermark_ms: int) -> bytes:
    """The rest: one window as it stands."""
    return _encode(
        _TAIL,
        {
            "granularity": granularity.value,
            "window_start": window.start_ms,
            "shard": f"{state.partition}-{window.opened}",
            "version": versions.version(state.epoch, window.version),
            "count": window.count,
            "sum": window.sum,
            "min": window.min,
            "max": window.max,
            "first": window.first,
            "last": window.last,
            "first_at": window.first_at,
            "last_at": window.last_at,
            "sketch_buckets": list(window.sketch),
            "sketch_counts": list(window.sketch.values()),
            "missing": window.missing,
            "completeness": completeness(window.start_ms, window.end_ms, watermark_ms),
            "watermark": max(watermark_ms, 0),
        },
    )


def _encode(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()
