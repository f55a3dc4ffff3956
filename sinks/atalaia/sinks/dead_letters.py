"""Dead letters on their way: a record that the sink puts aside, and one from a `.dlq` topic as a row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import fastavro

from atalaia.schemas.container import ARRIVAL_FIELD, OFFSET_FIELD, PARTITION_FIELD
from atalaia.schemas.screening import EXPLANATIONS, Reason
from atalaia.sinks.batch import SUFFIX, Message

PREFIX: Final = "__connect.errors."
"""Kafka Connect's headers, so that its tools can read ours and we can read theirs."""
_MAX_PARTITION: Final = 2**16 - 1
_MAX_OFFSET: Final = 2**63 - 1

_ROW: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "DeadLetter",
        "fields": [
            *({"name": name, "type": "double"} for name in (PARTITION_FIELD, OFFSET_FIELD, ARRIVAL_FIELD)),
            *({"name": name, "type": "string"} for name in ("topic", "reason", "message")),
            *({"name": name, "type": "long"} for name in ("partition", "offset")),
            *({"name": name, "type": "bytes"} for name in ("key", "value")),
            {"name": "headers", "type": {"type": "map", "values": "bytes"}},
        ],
    }
)
STRUCTURE: Final = (
    f"{PARTITION_FIELD} Float64, {OFFSET_FIELD} Float64, {ARRIVAL_FIELD} Float64, topic String, reason String, "
    "message String, partition Int64, offset Int64, key String, value String, headers Map(String, String)"
)
"""The same for ClickHouse."""


def headers(message: Message, reason: Reason) -> list[tuple[str, bytes | None]]:
    """The original's headers, then Kafka Connect's: where the record was, and why it is here."""
    errors: dict[str, Any] = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "connector.name": "atalaia-sink",
        "task.id": message.partition(),
        "stage": "VALUE_CONVERTER",
        "class.name": "atalaia.sinks.loader.Loader",
        "exception.class.name": reason.value,
        "exception.message": EXPLANATIONS[reason],
    }
    return [*(message.headers() or []), *((PREFIX + name, str(value).encode()) for name, value in errors.items())]


def rows(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The records of a batch as rows, each original once: who put it aside may have done so twice."""
    found = {(row["topic"], row["partition"], row["offset"]): row for row in map(_row, messages)}
    return list(found.values())


def _row(message: Message) -> dict[str, Any]:
    """A record of a `.dlq` topic as a row. One without Kafka Connect's headers stands for itself."""
    given = dict(message.headers() or [])
    error = {
        name.removeprefix(PREFIX): (value or b"").decode("utf-8", "replace")
        for name, value in given.items()
        if name.startswith(PREFIX)
    }
    partition = _number(error.get("partition"), _MAX_PARTITION)
    offset = _number(error.get("offset"), _MAX_OFFSET)
    known = partition is not None and offset is not None
    return {
        PARTITION_FIELD: message.partition(),
        OFFSET_FIELD: message.offset(),
        ARRIVAL_FIELD: message.timestamp()[1],
        "topic": error.get("topic") or message.topic().removesuffix(SUFFIX),
        "partition": partition if known else message.partition(),
        "offset": offset if known else message.offset(),
        "reason": error.get("exception.class.name", ""),
        "message": error.get("exception.message", ""),
        "key": message.key() or b"",
        "value": message.value() or b"",
        "headers": {name: value or b"" for name, value in given.items() if not name.startswith(PREFIX)},
    }


def container(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows as an Avro object container file."""
    buffer = io.BytesIO()
    fastavro.writer(buffer, _ROW, rows)
    return buffer.getvalue()


def _number(text: str | None, most: int) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and int(text) <= most else None
