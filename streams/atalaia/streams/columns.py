"""A batch of framed Avro events to groups in one query: ClickHouse's engine decodes, screens and aggregates."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from chdb import session as chdb_session

from atalaia.schemas.catalogue import dimension_pairs
from atalaia.schemas.codec import schema_id_of
from atalaia.schemas.container import Batches, Record, by_header, container, container_head, containers
from atalaia.schemas.events import MAX_RECORD_BYTES
from atalaia.schemas.isolation import isolate
from atalaia.schemas.registry import SchemaMissing
from atalaia.schemas.screening import TIMESTAMP_MS, Reason, reason_sql
from atalaia.schemas.sketch import bucket_sql
from atalaia.schemas.windows import MINUTE_MS
from atalaia.streams.sequences import runs, sequences_sql

ENGINE_ERRORS: Final = (RuntimeError, UnicodeDecodeError)
"""What chDB raises of a query that fails; the second where the error's own text quotes bytes."""

Group = list[Any]
"""One series and minute of a batch, in the order of GROUP_FIELDS; a plain list, because there are many."""

GROUP_FIELDS: Final = (
    "tenant",
    "metric_name",
    "service_name",
    "region",
    "affiliate_id",
    "unit",
    "frequency",
    "dimensions",
    "metric_type",
    "minute_ms",
    "count",
    "sum",
    "min",
    "max",
    "first",
    "first_at",
    "first_offset",
    "last",
    "last_at",
    "last_offset",
    "opened",
    "version",
    "buckets",
    "counts",
    "runs",
)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot count, and why."""

    offset: int
    reason: Reason


@dataclass(slots=True)
class Columns:
    """What a batch comes to: its groups, and what had to be left out."""

    groups: list[Group] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Writers(Protocol):
    """Where writer schemas come from: a `schemas.registry.Registry`."""

    def writer(self, schema_id: int) -> str:
        """The JSON text of a schema; raises SchemaMissing or RegistryUnavailable."""


class Engine:
    """ClickHouse's engine inside this process. Not thread-safe: one caller at a time."""

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._heads: dict[bytes, bytes] = {}
        memory = Path("/dev/shm")  # noqa: S108 - memory-backed where the system has it
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - lives as long as the engine
            prefix="atalaia-", suffix=".avro", dir=memory if os.access(memory, os.W_OK) else None
        )
        self._session = chdb_session.Session()
        self._by_minute = _groups_sql(self._file.name, each_event=False)
        self._by_event = _groups_sql(self._file.name, each_event=True)
        self._rejects = _rejects_sql(self._file.name)

    def close(self) -> None:
        """Frees the engine and its file."""
        self._session.close()
        self._file.close()

    def aggregate(self, records: Sequence[Record], *, each_event: bool = False) -> Columns:
        """The groups of one partition's batch by series and minute; with `each_event`, one group an event.

        Every record ends in a group or in `rejected`. Raises RegistryUnavailable while a schema cannot be asked for.
        """
        return self.aggregate_all({0: records}, each_event=each_event)[0]

    def aggregate_all(self, batches: Batches, *, each_event: bool = False) -> dict[int, Columns]:
        """The same for the batches of several partitions at once: a query costs some 10 ms, however little it reads."""
        result = {partition: Columns() for partition in batches}
        for header, members in by_header(batches).items():
            head, reason = self._head(header)
            if reason is not None:
                for partition, records in members.items():
                    result[partition].rejected += [Rejected(each[0], _bare_reason(each[2], reason)) for each in records]
                continue
            for partition, records in members.items():
                if large := [offset for offset, _, value in records if len(value) > MAX_RECORD_BYTES]:
                    result[partition].rejected += [Rejected(offset, Reason.TOO_LARGE) for offset in large]
                    members[partition] = [each for each in records if len(each[2]) <= MAX_RECORD_BYTES]
            self._decode(head, members, self._by_event if each_event else self._by_minute, result)
        return result

    def _head(self, header: bytes) -> tuple[bytes, Reason | None]:
        head = self._heads.get(header)
        if head is not None:
            return head, None
        schema_id = schema_id_of(header)
        if schema_id is None:
            return b"", Reason.NOT_FRAMED
        try:
            head = container_head(self._writers.writer(schema_id))
        except SchemaMissing:
            return b"", Reason.UNKNOWN_SCHEMA
        self._heads[header] = head
        return head, None

    def _decode(self, head: bytes, batches: dict[int, list[Record]], sql: str, result: dict[int, Columns]) -> None:
        batches = {partition: records for partition, records in batches.items() if records}
        if not batches:
            return
        try:
            groups = self._query(containers(head, batches), sql)
        except ENGINE_ERRORS:  # the engine refuses a batch whole: find the damaged records
            for partition, records in batches.items():
                batches[partition], damaged = isolate(records, head, self._decodable(head))
                result[partition].rejected += [Rejected(offset, Reason.UNDECODABLE) for offset in damaged]
            groups = self._query(containers(head, batches), sql)
        for group in groups:
            result[group.pop()].groups.append(group)
            group[24:] = [runs(group[24], group[25], group[10])]
        if sum(group[10] for group in groups) < sum(map(len, batches.values())):
            for partition, offset, reason in self._query(None, self._rejects):
                result[partition].rejected.append(Rejected(offset, Reason(reason)))

    def _decodable(self, head: bytes) -> Callable[[list[Record]], bool]:
        def decodable(records: list[Record]) -> bool:
            try:
                self._query(container(head, records), self._by_minute)
            except ENGINE_ERRORS:
                return False
            return True

        return decodable

    def _query(self, data: bytes | None, sql: str) -> list[Group]:
        if data is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(data)
            self._file.flush()
        try:
            lines = self._session.query(sql, "JSONCompactEachRow").bytes()
        except ENGINE_ERRORS:
            # chDB 26.9 hands what a failed query had already written to the next one: let that be this one.
            self._session.query("SELECT 1", "Null")
            raise
        answer: list[Group] = orjson.loads(b"[" + lines.strip().replace(b"\n", b",") + b"]")
        return answer


def _bare_reason(value: bytes, otherwise: Reason) -> Reason:
    return otherwise if value else Reason.EMPTY


def _groups_sql(path: str, *, each_event: bool) -> str:
    pairs = ", ".join(f"('{name}', '{key}')" for name, key in dimension_pairs())
    dimensions = f"mapFilter((k, v) -> (metric_name, k) IN ({pairs}), metadata)"
    at = TIMESTAMP_MS
    return f"""
        SELECT tenant, metric_name, service_name, region, affiliate_id, unit, frequency,
            toJSONString(mapSort({dimensions})) AS dimensions, any(metric_type),
            intDiv({at}, {MINUTE_MS}) * {MINUTE_MS} AS minute_ms,
            count(), sum(value), min(value), max(value),
            argMin(value, ({at}, _offset)), min({at}), toInt64(argMin(_offset, ({at}, _offset))),
            argMax(value, ({at}, _offset)), max({at}), toInt64(argMax(_offset, ({at}, _offset))),
            toInt64(min(_offset)), toInt64(max(_offset)),
            mapKeys(sumMap(map({bucket_sql("value")}, toUInt32(1))) AS sketch), mapValues(sketch),
            {sequences_sql()},
            toInt32(_partition) AS source
        FROM file('{path}', 'Avro')
        WHERE {reason_sql()} = ''
        GROUP BY tenant, metric_name, service_name, region, affiliate_id, unit, frequency, dimensions, minute_ms,
            source {", _offset" if each_event else ""}
        ORDER BY min(_offset)
        SETTINGS max_threads = 1, output_format_json_quote_denormals = 1, output_format_json_quote_64bit_integers = 0
    """


def _rejects_sql(path: str) -> str:
    return f"""
        SELECT toInt32(_partition), toInt64(_offset), {reason_sql()} AS reason
        FROM file('{path}', 'Avro') WHERE reason != ''
        SETTINGS max_threads = 1, output_format_json_quote_64bit_integers = 0
    """
