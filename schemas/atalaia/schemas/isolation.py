"""Finding the records of a batch that no reader can decode, so that their neighbours are not lost with them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import fastavro

from atalaia.schemas.codec import HEADER_BYTES
from atalaia.schemas.container import Record

DECODE_ERRORS = (EOFError, IndexError, ValueError, TypeError, KeyError, OverflowError, MemoryError)
"""What fastavro raises of damaged bytes: it has no error type of its own for them."""


def isolate(
    records: Sequence[Record], head: bytes, decodable: Callable[[list[Record]], bool]
) -> tuple[list[Record], list[int]]:
    """The records that decode, in order, and the offsets of those that don't.

    `head` is the container's head (it holds the writer schema). fastavro looks at each record alone, in one pass;
    what it lets through and `decodable` (the engine) still refuses is found by halving.
    """
    writer = _writer_of(head)
    good: list[Record] = []
    bad: list[int] = []
    for record in records:
        (good.append(record) if _whole(record[2], writer) else bad.append(record[0]))
    return _halve(good, decodable, bad), sorted(bad)


def _halve(records: list[Record], decodable: Callable[[list[Record]], bool], bad: list[int]) -> list[Record]:
    if not records or decodable(records):
        return records
    if len(records) == 1:
        bad.append(records[0][0])
        return []
    middle = len(records) // 2
    return _halve(records[:middle], decodable, bad) + _halve(records[middle:], decodable, bad)


def _whole(value: bytes, writer: Any) -> bool:
    body = io.BytesIO(value)
    body.seek(HEADER_BYTES)
    try:
        fastavro.schemaless_reader(body, writer, None, handle_unicode_errors="replace")
    except DECODE_ERRORS:
        return False
    return True


def _writer_of(head: bytes) -> Any:
    schema = fastavro.reader(io.BytesIO(head)).writer_schema
    assert isinstance(schema, dict)
    own = [field for field in schema["fields"] if not field["name"].startswith("_")]
    return fastavro.parse_schema(_plain({"type": "record", "name": schema["name"], "fields": own}))


def _plain(schema: Any) -> Any:
    """The schema without logical types: whether a date is plausible is for screening to say, not for decoding."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict):
        return {key: _plain(part) for key, part in schema.items() if key != "logicalType"}
    return schema
