"""What becomes of each topic's records in ClickHouse: the table, its columns, which rows count. No connection here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atalaia.infra.settings import RetentionSettings
from atalaia.schemas.codec import schema_text
from atalaia.schemas.screening import reason_sql
from atalaia.schemas.topics import ALERTS, METRICS, NOTIFICATIONS, ROLLUPS, SERVICE_HEALTH
from atalaia.sinks.schema import GRANULARITIES, by_tier

_INPUT_TYPES: Final = {
    "string": "String",
    "enum": "String",
    "bytes": "String",
    "double": "Float64",
    "long": "Int64",
    "int": "Int32",
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of our schema as ClickHouse reads it; `default` is the SQL for records of writers that lack it."""

    type: str
    default: str


@dataclass(frozen=True, slots=True)
class Table:
    """One destination. `columns` maps each column to its expression over `fields`; `condition` picks rows that count.

    `stamped` rows carry where they came from, so that an insert can leave out what is already there; the others
    overwrite, and may come twice.
    """

    name: str
    fields: Mapping[str, Field]
    columns: Mapping[str, str]
    condition: str
    stamped: bool


def tables(retention: RetentionSettings) -> dict[str, Table]:
    """The destinations by topic."""
    # Windows of a backfill that are over already: TTL would drop them again, part by part.
    kept = f"window_start > now() - toIntervalDay({by_tier('granularity', GRANULARITIES, retention)})"
    return {
        METRICS.name: _table(
            "metric_events",
            "MetricEvent",
            # An event whose id is no UUID counts in the stream, so it counts here.
            {"event_id": "toUUIDOrZero(event_id)"} | _never_null("region", "affiliate_id"),
            condition=f"{reason_sql()} = ''",
        ),
        ROLLUPS.name: _table(
            "metric_rollups",
            "Rollup",
            {"sketch": "mapFromArrays(sketch_buckets, sketch_counts)"} | _never_null("region", "affiliate_id"),
            without=("sketch_buckets", "sketch_counts"),
            condition=kept,
            stamped=False,
        ),
        ALERTS.name: _table("alert_events", "AlertEvent", _never_null("traceparent")),
        NOTIFICATIONS.name: _table("notifications", "Notification", {}),
        SERVICE_HEALTH.name: _table(
            "service_health", "ServiceHealth", {"health_id": "toUUIDOrZero(health_id)"} | _never_null("version")
        ),
    }


def _table(
    name: str,
    record: str,
    expressions: Mapping[str, str],
    *,
    without: Iterable[str] = (),
    condition: str = "",
    stamped: bool = True,
) -> Table:
    schema = json.loads(schema_text(record))["fields"]
    fields = {entry["name"]: _field(entry) for entry in schema}
    columns = {field: field for field in fields if field not in without} | dict(expressions)
    return Table(name, fields, columns, condition, stamped)


def _never_null(*fields: str) -> dict[str, str]:
    return {field: f"ifNull({field}, '')" for field in fields}


def _field(entry: Mapping[str, Any]) -> Field:
    kind = input_type(entry["type"])
    return Field(kind, f"CAST({_literal(entry.get('default'))}, '{kind.replace(chr(39), chr(92) + chr(39))}')")


def input_type(avro: Any) -> str:
    """The ClickHouse type that an Avro type is read as.

    >>> input_type(["null", {"type": "long", "logicalType": "timestamp-millis"}])
    "Nullable(DateTime64(3, 'UTC'))"
    >>> input_type({"type": "map", "values": "string"})
    'Map(String, String)'
    """
    if isinstance(avro, list):
        (inner,) = (branch for branch in avro if branch != "null")
        return f"Nullable({input_type(inner)})"
    if isinstance(avro, str):
        return _INPUT_TYPES[avro]
    if avro.get("logicalType") == "timestamp-millis":
        return "DateTime64(3, 'UTC')"
    match avro["type"]:
        case "map":
            return f"Map(String, {input_type(avro['values'])})"
        case "array":
            return f"Array({input_type(avro['items'])})"
        case other:
            return _INPUT_TYPES[other]


def _literal(default: Any) -> str:
    match default:
        case None:
            return "NULL"
        case str():
            return "'" + default.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case dict():
            return "map()"
        case _:
            return repr(default)
