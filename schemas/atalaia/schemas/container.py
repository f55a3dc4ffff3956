"""A batch of framed Avro records as one Avro object container file, for ClickHouse's engine to decode in columns.

Each record gets a block of its own, so its length is checked and damage cannot swallow the neighbour; and each is
preceded by its Kafka partition, offset and arrival time, as three more fields of the writer's schema, so that every
row knows where it came from whatever the batch left out.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import fastavro

from atalaia.schemas.codec import HEADER_BYTES

Record = tuple[int, int, bytes]
"""Offset, arrival time (ms), Confluent-framed bytes."""

Batches = Mapping[int, Sequence[Record]]
"""Records by source partition, each partition's in the order of their offsets."""

PARTITION_FIELD: Final = "_partition"
OFFSET_FIELD: Final = "_offset"
ARRIVAL_FIELD: Final = "_arrival_ms"
_FRAME_FIELD: Final = "_frame"
# Doubles: eight bytes each without a varint to compute; exact up to 2^53. The frame is a field, so that a record's
# bytes go in as they are.
_PREFIX_FIELDS: Final = [
    {"name": PARTITION_FIELD, "type": "double"},
    {"name": OFFSET_FIELD, "type": "double"},
    {"name": ARRIVAL_FIELD, "type": "double"},
    {"name": _FRAME_FIELD, "type": {"type": "fixed", "name": "Frame", "size": HEADER_BYTES}},
]
_prefix = struct.Struct("<ddd").pack
_PREFIX_BYTES: Final = 24
_SYNC: Final = bytes(range(16))
"""The container's sync marker: any 16 bytes do, for a reader that never seeks."""


def container_head(writer_schema: str) -> bytes:
    """The file's head for records of one writer schema (its JSON text): made once a schema id."""
    schema: dict[str, Any] = json.loads(writer_schema)
    schema["fields"] = _PREFIX_FIELDS + schema["fields"]
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [], sync_marker=_SYNC)
    return buffer.getvalue()


def container(head: bytes, records: Iterable[Record], *, partition: int = 0) -> bytes:
    """The whole file: `records` are (offset, arrival in ms, Confluent-framed bytes) of one partition.

    Records of another partition with the same schema may follow: append `container(b"", more, partition=…)`.
    """
    blocks = _BLOCK_HEADS
    parts = [
        part
        for offset, arrival_ms, value in records
        for part in (blocks[len(value)], _prefix(partition, offset, arrival_ms), value, _SYNC)
    ]
    return b"".join([head, *parts])


def containers(head: bytes, batches: Batches) -> bytes:
    """The same of several partitions, by their number."""
    return head + b"".join(container(b"", records, partition=partition) for partition, records in batches.items())


def by_header(batches: Batches) -> dict[bytes, dict[int, list[Record]]]:
    r"""The records by the frame's header, that is by writer schema; within it by partition.

    >>> by_header({0: [(5, 0, b"\0\0\0\0\x01x")], 3: [(7, 0, b"\0\0\0\0\x01y")]})
    {b'\x00\x00\x00\x00\x01': {0: [(5, 0, b'\x00\x00\x00\x00\x01x')], 3: [(7, 0, b'\x00\x00\x00\x00\x01y')]}}
    """
    groups: dict[bytes, dict[int, list[Record]]] = {}
    for partition, records in batches.items():
        for record in records:
            header = record[2][:HEADER_BYTES]
            group = groups.get(header)
            if group is None:
                group = groups[header] = {}
            members = group.get(partition)
            if members is None:
                members = group[partition] = []
            members.append(record)
    return groups


class _BlockHeads(dict[int, bytes]):
    """By a record's length: the head of a block that holds it alone (a count of one, and the block's length)."""

    def __missing__(self, record_bytes: int) -> bytes:
        head = b"\x02" + _zigzag(record_bytes + _PREFIX_BYTES)
        if record_bytes < _REMEMBERED_BYTES:
            self[record_bytes] = head
        return head


def _zigzag(number: int) -> bytes:
    """Avro's variable-length long, of a number that is not negative."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte, by Avro's specification
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_REMEMBERED_BYTES: Final = 16_384
_BLOCK_HEADS: Final = _BlockHeads()
