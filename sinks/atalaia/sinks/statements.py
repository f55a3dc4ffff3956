"""The SQL of an insert. It asks and writes in one statement, so that no row is stored twice whoever sends it again."""

# ruff: noqa: S608 - SQL is what this file makes: of our own names, of numbers, and of texts that go through _quoted

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from atalaia.infra.clickhouse import STATEMENT_SECONDS
from atalaia.schemas.container import ARRIVAL_FIELD, OFFSET_FIELD, PARTITION_FIELD
from atalaia.sinks import dead_letters
from atalaia.sinks.batch import Partition, Range
from atalaia.sinks.tables import Field, Table

OWNER: Final = "atalaia-sink"
"""First word of the log_comment of our inserts."""

RUNNING: Final = "SELECT Settings['log_comment'] AS said FROM system.processes WHERE startsWith(said, {owner:String})"
"""What the inserts that run at this moment say of themselves."""

_PARTITION: Final = f"toUInt16({PARTITION_FIELD})"
_OFFSET: Final = f"toUInt64({OFFSET_FIELD})"
_ARRIVED_AT: Final = f"fromUnixTimestamp64Milli(toInt64({ARRIVAL_FIELD}), 'UTC')"
_STAMP: Final = {"arrived_at": _ARRIVED_AT, "_partition": _PARTITION, "_offset": _OFFSET}


def insert(table: Table, writer_schema: str, ranges: Sequence[Range], *, comment: str) -> str:
    """One statement that stores a container's records, written with `writer_schema`, as rows of the table.

    Left out: rows that don't count, and rows that are already there. `ranges` bound where the latter can be.
    """
    written = {field["name"] for field in json.loads(writer_schema)["fields"]}
    given = {name: field for name, field in table.fields.items() if name in written}
    lacking = {name: field for name, field in table.fields.items() if name not in written}
    source = f"input({_quoted(_structure(given))})"
    if lacking:
        added = ", ".join(f"{field.default} AS {name}" for name, field in lacking.items())
        source = f"(SELECT *, {added} FROM {source})"
    columns = dict(table.columns) | (_STAMP if table.stamped else {})
    conditions = [table.condition] if table.condition else []
    if table.stamped:
        conditions.append(f"({_PARTITION}, {_OFFSET}) NOT IN ({stored(table.name, ranges)})")
    where = f" WHERE {' AND '.join(f'({each})' for each in conditions)}" if conditions else ""
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) {_settings(comment)} "
        f"SELECT {', '.join(columns.values())} FROM {source}{where} FORMAT Avro"
    )


def insert_dead_letters(rows: Sequence[Mapping[str, Any]], *, comment: str) -> str:
    """The same for dead letters, which are told apart by where the original record was; `rows` has each once."""
    columns = {name: name for name in ("topic", "partition", "offset", "reason", "message", "key", "value", "headers")}
    stamp = {"timestamp": _ARRIVED_AT, "_partition": _PARTITION, "_offset": _OFFSET}
    offsets = [row["offset"] for row in rows]
    topics = ", ".join(sorted({_quoted(row["topic"]) for row in rows}))
    return (
        f"INSERT INTO dead_letters ({', '.join(columns | stamp)}) {_settings(comment)} "
        f"SELECT {', '.join((columns | stamp).values())} FROM input({_quoted(dead_letters.STRUCTURE)}) "
        "WHERE (topic, toUInt16(partition), toUInt64(offset)) NOT IN (SELECT topic, partition, offset "
        f"FROM dead_letters WHERE topic IN ({topics}) AND offset BETWEEN {min(offsets)} AND {max(offsets)}) FORMAT Avro"
    )


def stored(table: str, ranges: Sequence[Range]) -> str:
    """The question which positions of these ranges the table has.

    Bounded by arrival, which is the same each time a record is read: partitions of other days are not looked at.
    """
    arrived_from = min(each.arrived_from for each in ranges)
    arrived_to = max(each.arrived_to for each in ranges)
    among = " OR ".join(
        f"(_partition = {each.partition} AND _offset BETWEEN {each.first} AND {each.last})" for each in ranges
    )
    return (
        f"SELECT _partition, _offset FROM {table} WHERE ({among}) AND arrived_at BETWEEN "
        f"fromUnixTimestamp64Milli({arrived_from}) AND fromUnixTimestamp64Milli({arrived_to})"
    )


def comment(database: str, sources: Mapping[str, Iterable[int]]) -> str:
    """What an insert says of itself in ClickHouse's list of running statements: the topics and partitions it stores.

    >>> comment("atalaia", {"atalaia.metrics.v1": [3, 0]})
    'atalaia-sink atalaia atalaia.metrics.v1:0,3'
    """
    named = (f"{topic}:{','.join(map(str, sorted(partitions)))}" for topic, partitions in sorted(sources.items()))
    return " ".join((OWNER, database, *named))


def sources(database: str, comment: str) -> set[Partition]:
    """The partitions that an insert with this comment stores in the database.

    >>> sorted(sources("atalaia", "atalaia-sink atalaia a:0,3 b:1"))
    [('a', 0), ('a', 3), ('b', 1)]
    >>> sources("atalaia", "atalaia-sink staging a:0"), sources("atalaia", "somebody else's")
    (set(), set())
    """
    owner, place, *named = [*comment.split(" "), ""]
    if (owner, place) != (OWNER, database):
        return set()
    pairs = (each.rpartition(":") for each in named if each)
    return {(topic, int(number)) for topic, _, numbers in pairs for number in numbers.split(",")}


def _settings(comment: str) -> str:
    # A backfill may touch more than 100 partitions at once: ClickHouse's guard is against doing so by mistake.
    return (
        f"SETTINGS log_comment = {_quoted(comment)}, max_partitions_per_insert_block = 0, async_insert = 0, "
        f"max_execution_time = {STATEMENT_SECONDS}"
    )


def _structure(fields: dict[str, Field]) -> str:
    prefix = [f"{name} Float64" for name in (PARTITION_FIELD, OFFSET_FIELD, ARRIVAL_FIELD)]
    return ", ".join([*prefix, *(f"{name} {field.type}" for name, field in fields.items())])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
