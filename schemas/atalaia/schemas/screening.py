"""What an event must be to count, as one SQL expression, so that the stream worker and the sink judge alike.

Judged against the record's arrival time (the broker's clock), never the judge's own: a replay gives the same verdict.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final

from atalaia.schemas.container import ARRIVAL_FIELD
from atalaia.schemas.events import (
    EARLIEST_MS,
    MAX_AHEAD,
    MAX_METADATA_CHARACTERS,
    MAX_METADATA_KEYS,
    MAX_NAME_CHARACTERS,
)


class Reason(StrEnum):
    """Why a record is a dead letter; the values label metrics and the dead_letters table."""

    EMPTY = "empty_record"
    NOT_FRAMED = "not_framed"
    TOO_LARGE = "too_large"
    UNKNOWN_SCHEMA = "unknown_schema"
    UNDECODABLE = "undecodable"
    NOT_FINITE = "not_finite"
    TOO_EARLY = "timestamp_too_early"
    TOO_LATE = "timestamp_ahead"
    NAME_EMPTY = "name_empty"
    NAME_TOO_LONG = "name_too_long"
    INVALID_UTF8 = "invalid_utf8"
    METADATA_TOO_LARGE = "metadata_too_large"


EXPLANATIONS: Final[dict[Reason, str]] = {
    Reason.EMPTY: "the record has no value; emit through atalaia.producers or the HTTP API",
    Reason.NOT_FRAMED: "no Confluent frame (magic byte 0 and a schema id); was it sent by another serializer?",
    Reason.TOO_LARGE: "the record is over 64 KiB; send fewer or shorter metadata values",
    Reason.UNKNOWN_SCHEMA: "its schema id is not in the registry; was it written for another registry?",
    Reason.UNDECODABLE: "the bytes are not a whole Avro record of their schema",
    Reason.NOT_FINITE: "value is NaN or infinite; a measurement must be finite",
    Reason.TOO_EARLY: "timestamp is before the year 2000; it must be in milliseconds, not seconds",
    Reason.TOO_LATE: "timestamp is more than 10 minutes ahead of arrival; check the unit (ms) and the clock",
    Reason.NAME_EMPTY: "metric_name, service_name and tenant must not be empty",
    Reason.NAME_TOO_LONG: "metric_name, service_name, tenant, unit, region and affiliate_id may have 200 characters",
    Reason.INVALID_UTF8: "a text field is not valid UTF-8",
    Reason.METADATA_TOO_LARGE: "metadata may have 32 keys of up to 256 characters, key and value each",
}

_TEXTS: Final = "[tenant, metric_name, service_name, unit, ifNull(region, ''), ifNull(affiliate_id, '')]"
_METADATA: Final = "arrayConcat(mapKeys(metadata), mapValues(metadata))"
TIMESTAMP_MS: Final = "toUnixTimestamp64Milli(timestamp)"


def reason_sql() -> str:
    """An SQL expression over a decoded MetricEvent: its Reason, or '' for an event that counts."""
    ahead_ms = MAX_AHEAD // timedelta(milliseconds=1)
    return f"""multiIf(
        NOT isFinite(value), '{Reason.NOT_FINITE}',
        {TIMESTAMP_MS} < {EARLIEST_MS}, '{Reason.TOO_EARLY}',
        {TIMESTAMP_MS} > {ARRIVAL_FIELD} + {ahead_ms}, '{Reason.TOO_LATE}',
        empty(metric_name) OR empty(service_name) OR empty(tenant), '{Reason.NAME_EMPTY}',
        NOT isValidUTF8(arrayStringConcat({_TEXTS})), '{Reason.INVALID_UTF8}',
        arrayMax(t -> lengthUTF8(t), {_TEXTS}) > {MAX_NAME_CHARACTERS}, '{Reason.NAME_TOO_LONG}',
        empty(metadata), '',
        NOT isValidUTF8(arrayStringConcat({_METADATA})), '{Reason.INVALID_UTF8}',
        length(metadata) > {MAX_METADATA_KEYS}
            OR arrayMax(t -> lengthUTF8(t), {_METADATA}) > {MAX_METADATA_CHARACTERS}, '{Reason.METADATA_TOO_LARGE}',
        '')"""
