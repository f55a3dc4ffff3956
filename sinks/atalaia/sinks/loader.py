"""A batch into ClickHouse: one insert a topic and writer schema; what no reader can decode is found and named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.summary import QuerySummary

from atalaia.infra import clickhouse, metrics
from atalaia.infra.clickhouse import ClickHouseRefused
from atalaia.infra.settings import ClickHouseSettings
from atalaia.schemas.codec import schema_id_of
from atalaia.schemas.container import Record, by_header, container_head, containers
from atalaia.schemas.events import MAX_RECORD_BYTES
from atalaia.schemas.isolation import isolate
from atalaia.schemas.registry import SchemaMissing
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import METRICS
from atalaia.sinks import dead_letters, statements
from atalaia.sinks.batch import Batch, Message, Partition, range_of
from atalaia.sinks.tables import Table

log = structlog.get_logger(__name__)

Group = dict[int, list[Record]]
"""Records of one topic and one writer schema, by partition."""

DATA_ERRORS: Final = frozenset({
    6, 26, 27, 32, 33, 34, 36, 38, 41, 43, 53, 69, 70, 72, 117, 128, 131, 176, 190, 246, 271, 321, 349, 376, 407, 441,
    636, 675, 691, 748, 1000, 1001,
})  # fmt: skip
"""ClickHouse's codes (ErrorCodes.cpp) for data that it cannot read or convert (748, formerly 1001: Avro's).

Anything else says something of the server, and no record is put aside for it.
"""
TOO_MUCH_AT_ONCE: Final = 241
"""MEMORY_LIMIT_EXCEEDED: half a batch may fit."""


class Writers(Protocol):
    """Where writer schemas come from: a `schemas.registry.Registry`."""

    def writer(self, schema_id: int) -> str:
        """The JSON text of a schema; raises SchemaMissing or RegistryUnavailable."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A record that cannot become a row."""

    topic: str
    partition: int
    offset: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Schema:
    text: str
    head: bytes


@dataclass(slots=True)
class Loader:
    """Stores batches. One thread; after any error the same batch may be stored again, and no row comes twice."""

    settings: ClickHouseSettings
    writers: Writers
    tables: Mapping[str, Table]
    guard: Callable[[], None] = lambda: None
    """Called right before each insert; raises where we may not insert any more."""
    _client: Client | None = None
    _schemas: dict[bytes, _Schema] = field(default_factory=dict)

    def store(self, batch: Batch) -> list[Unusable]:
        """Stores every record that counts, and says which cannot be read.

        Raises ClickHouseUnavailable, ClickHouseRefused, RegistryUnavailable, and what `guard` raises: then part of
        the batch may be there.
        """
        unusable: list[Unusable] = []
        for topic, partitions in batch.records.items():
            for header, group in by_header(partitions).items():
                self._store_group(topic, header, group, unusable)
        if batch.dead_letters:
            self._store_dead_letters(batch.dead_letters)
        return unusable

    def running(self) -> set[Partition]:
        """The partitions that an insert of some sink is writing at this moment."""
        with clickhouse.errors(self.settings):
            rows = self._connected().query(statements.RUNNING, parameters={"owner": statements.OWNER}).result_rows
        return {partition for (comment,) in rows for partition in statements.sources(self.settings.database, comment)}

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()

    def _store_group(self, topic: str, header: bytes, group: Group, unusable: list[Unusable]) -> None:
        schema, reason = self._schema(header)
        if topic == METRICS.name:  # the one topic that strangers write to; the stream worker has the same limit
            group = {
                partition: [record for record in records if len(record[2]) <= MAX_RECORD_BYTES]
                for partition, records in group.items()
            }
        if schema is None:
            unusable += [
                Unusable(topic, partition, offset, reason if value else Reason.EMPTY)
                for partition, records in group.items()
                for offset, _, value in records
            ]
            return
        try:
            self._insert(topic, schema, group)
        except ClickHouseRefused as refusal:
            log.info("batch_refused", topic=topic, code=refusal.code, error=str(refusal))
            for partition, records in group.items():
                unusable += [
                    Unusable(topic, partition, offset, Reason.UNDECODABLE)
                    for offset in self._isolate(topic, schema, partition, records)
                ]

    def _isolate(self, topic: str, schema: _Schema, partition: int, records: list[Record]) -> list[int]:
        """Stores the records that can be read; the offsets of the others."""

        def stored(part: list[Record]) -> bool:
            try:
                self._insert(topic, schema, {partition: part})
            except ClickHouseRefused as refusal:
                halved = refusal.code == TOO_MUCH_AT_ONCE and len(part) > 1
                if not halved and refusal.code not in DATA_ERRORS:
                    raise
                return False
            return True

        _, bad = isolate(records, schema.head, stored)
        return bad

    def _insert(self, topic: str, schema: _Schema, group: Group) -> None:
        group = {partition: records for partition, records in group.items() if records}
        if not group:
            return
        table = self.tables[topic]
        body = containers(schema.head, group)
        ranges = [range_of(partition, records) for partition, records in group.items()]
        comment = statements.comment(self.settings.database, {topic: group})
        self._send(table.name, statements.insert(table, schema.text, ranges, comment=comment), body)

    def _store_dead_letters(self, messages: Collection[Message]) -> None:
        rows = dead_letters.rows(messages)
        sources: dict[str, set[int]] = {}
        for message in messages:
            sources.setdefault(message.topic(), set()).add(message.partition())
        statement = statements.insert_dead_letters(rows, comment=statements.comment(self.settings.database, sources))
        self._send("dead_letters", statement, dead_letters.container(rows))

    def _send(self, table: str, statement: str, body: bytes) -> None:
        self.guard()
        with clickhouse.errors(self.settings):
            # `command`, because `raw_insert` sends a second time by itself when the connection breaks.
            summary = self._connected().command(statement, data=body)
        if isinstance(summary, QuerySummary):
            metrics.ROWS_STORED.labels(table).inc(summary.written_rows)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = clickhouse.connect(self.settings)
        return self._client

    def _schema(self, header: bytes) -> tuple[_Schema | None, Reason]:
        """The writer schema of a frame header, or why there is none."""
        known = self._schemas.get(header)
        if known is not None:
            return known, Reason.UNDECODABLE
        schema_id = schema_id_of(header)
        if schema_id is None:
            return None, Reason.NOT_FRAMED
        try:
            text = self.writers.writer(schema_id)
        except SchemaMissing:
            return None, Reason.UNKNOWN_SCHEMA
        schema = self._schemas[header] = _Schema(text, container_head(text))
        return schema, Reason.UNDECODABLE
