"""Avro records to Confluent-framed bytes and back: magic byte, schema id, body."""

from __future__ import annotations

import io
import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

import fastavro

MAGIC: Final = b"\x00"
HEADER_BYTES: Final = 5
"""Magic byte and a schema id of four bytes, big-endian (Confluent's wire format)."""


@cache
def schema_text(name: str) -> str:
    """The `.avsc` of a record, compact, as the registry takes it.

    >>> schema_text("AlertRule")[:38]
    '{"type":"record","name":"AlertRule","n'
    """
    text = files("atalaia.schemas").joinpath("avro", f"{name}.avsc").read_text("utf-8")
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


@cache
def schema(name: str) -> Any:
    """The parsed schema of a record, for fastavro."""
    return fastavro.parse_schema(json.loads(schema_text(name)))


def encode(name: str, record: dict[str, Any]) -> bytes:
    """The Avro body of a record, without its frame."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema(name), record)
    return buffer.getvalue()


def encode_as(writer: str, record: dict[str, Any]) -> bytes:
    """The Avro body of a record under another version of its schema, given as JSON text."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(json.loads(writer)), record)
    return buffer.getvalue()


def decode(name: str, body: bytes) -> dict[str, Any]:
    """A record from its Avro body, written with the current schema."""
    return _record(fastavro.schemaless_reader(io.BytesIO(body), schema(name), None))


def decode_as(writer: Any, name: str, body: bytes) -> dict[str, Any]:
    """A record written with another version of its schema, as the current one sees it."""
    return _record(fastavro.schemaless_reader(io.BytesIO(body), writer, schema(name)))


def frame(schema_id: int, body: bytes) -> bytes:
    r"""Confluent's wire format.

    >>> frame(7, b"x")
    b'\x00\x00\x00\x00\x07x'
    """
    return frame_header(schema_id) + body


def frame_header(schema_id: int) -> bytes:
    """The five bytes before the body."""
    return MAGIC + schema_id.to_bytes(4, "big")


def schema_id_of(header: bytes) -> int | None:
    r"""The schema id in a frame's header; None where the bytes are not Confluent-framed.

    >>> schema_id_of(b"\x00\x00\x00\x01\x00"), schema_id_of(b"{}")
    (256, None)
    """
    if len(header) < HEADER_BYTES or header[:1] != MAGIC:
        return None
    return int.from_bytes(header[1:HEADER_BYTES], "big")


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an Avro record, got {type(value).__name__}")
    return value
