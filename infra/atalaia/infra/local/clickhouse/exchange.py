"""One request, from its first byte to the last of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from atalaia.infra.local.clickhouse import external, formats, results
from atalaia.infra.local.clickhouse.blocks import BlockDecompressor
from atalaia.infra.local.clickhouse.body import Body, Receive
from atalaia.infra.local.clickhouse.compression import Chain, decompressor
from atalaia.infra.local.clickhouse.engine import Outcome
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.external import ExternalTable
from atalaia.infra.local.clickhouse.pipe import ResultPipe
from atalaia.infra.local.clickhouse.reply import Reply
from atalaia.infra.local.clickhouse.request import Asked
from atalaia.infra.local.clickhouse.service import Service
from atalaia.infra.local.clickhouse.spool import Spool
from atalaia.infra.local.clickhouse.statements import Command, Insert, InsertSelect, Query, Statement, split
from atalaia.infra.local.clickhouse.work import Task

HEAD_BYTES: Final = 256 << 10
"""An INSERT's text ends before this: ClickHouse's `max_query_size`."""
MOST_QUERY_BYTES: Final = 64 << 20
"""A statement without data, or a form, is held in memory."""

SYNTAX_ERROR: Final = 62
READONLY: Final = 164
QUERY_IS_TOO_LARGE: Final = 220

_GIVE_ROWS: Final = frozenset({"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL"})
_READ_ONLY: Final = (_GIVE_ROWS - {"KILL"}) | {"SET", "USE"}
_REMEMBERED: Final = frozenset({"SET", "USE"})
# Formats whose data names its columns; for the others `input()` without a structure means the table's columns.
_SELF_DESCRIBING: Final = ("avro", "parquet", "orc", "arrow", "native", "json", "bson", "withnames")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that has its place: what is to be done, and what for."""

    service: Service
    asked: Asked
    statement: Statement
    tables: Sequence[ExternalTable]

    async def answer(self, body: Body, receive: Receive, reply: Reply) -> Task:
        """Do it; raises ClickHouseError, or Disconnected while the body is read. Returns what was done."""
        match self.statement:
            case Query():
                return await self._query(self.statement, receive, reply)
            case Insert() | InsertSelect():
                return await self._insert(self.statement, body, reply)
            case Command():
                return await self._command(self.statement, reply)

    async def _query(self, query: Query, receive: Receive, reply: Reply) -> Task:
        pipe = ResultPipe()
        task = self._task(query.into(pipe.path), query.format, gives_rows=True)
        await results.send_rows(self.service, task, pipe=pipe, receive=receive, answer=reply)
        return task

    async def _insert(self, insert: Insert | InsertSelect, body: Body, reply: Reply) -> Task:
        """The rows first, all of them: a client that breaks off in the middle has inserted nothing."""
        spool = Spool(self.service.spool_directory)
        try:
            spool.write(memoryview(insert.sql)[insert.data :])
            await body.pour(spool)
        except BaseException:
            spool.close()
            raise
        task = self._task(insert.reading(spool.path), "Null")
        task = replace(task, settings=_structure_settings(insert))
        outcome = await self.service.start(task, finally_=spool.close)
        await self._whole(task, outcome, reply)
        return task

    async def _command(self, command: Command, reply: Reply) -> Task:
        task = self._task(command.sql, command.format, gives_rows=command.verb in _GIVE_ROWS)
        task = replace(task, remembered=command.verb in _REMEMBERED)
        outcome = await self.service.start(task, finally_=lambda: None)
        await self._whole(task, outcome, reply)
        return task

    async def _whole(self, task: Task, outcome: Outcome, reply: Reply) -> None:
        await results.send_whole(self.service, task, reply, outcome=outcome, body=outcome.body)

    def _task(self, sql: bytes, named: str | None, *, gives_rows: bool = False) -> Task:
        result_format = named or self.asked.default_format or formats.DEFAULT
        return Task(self.asked, sql=sql, format=result_format, gives_rows=gives_rows, tables=self.tables)


async def exchange(service: Service, asked: Asked, receive: Receive, reply: Reply) -> Task:
    """Answer one request when its turn comes; raises as `Exchange.answer`, and for what cannot be read."""
    codec = decompressor(asked.content_encoding)
    body = Body(receive, Chain(codec, BlockDecompressor()) if asked.native_body else codec)
    async with service.desk.place(asked.query_id):
        what = await _read(service, asked, body)
        _refuse_writes(what)
        return await what.answer(body, receive, reply)


async def _read(service: Service, asked: Asked, body: Body) -> Exchange:
    """What is asked for: the query of the address, a line break, the body; or the fields of a form."""
    if asked.content_type.lower().startswith("multipart/form-data"):
        form = external.form(asked.content_type, await _all(body, b""))
        fields = {name.removeprefix("param_"): value for name, value in form.fields.items() if name != "query"}
        query = asked.query + form.fields.get("query", "").encode(errors="surrogateescape")
        asked = replace(asked, parameters={**asked.parameters, **fields})
        tables = external.tables(form.files, asked.arguments, service.spool_directory)
        return Exchange(service, asked, _split(query), tables)
    sql = asked.query + b"\n" if asked.query else b""
    sql += await body.at_least(HEAD_BYTES)
    statement = split(sql) if len(sql) >= HEAD_BYTES else _split(sql)
    if not isinstance(statement, Insert | InsertSelect):
        rest = await _all(body, sql)
        statement = _split(rest) if len(rest) > len(sql) else statement
    return Exchange(service, asked, statement, ())


async def _all(body: Body, before: bytes) -> bytes:
    rest = await body.at_least(MOST_QUERY_BYTES)
    if len(rest) >= MOST_QUERY_BYTES:
        message = f"Query is too large: {MOST_QUERY_BYTES} bytes at most, rows of an INSERT apart"
        raise ClickHouseError(QUERY_IS_TOO_LARGE, "QUERY_IS_TOO_LARGE", message)
    return before + rest


def _split(sql: bytes) -> Statement:
    statement = split(sql)
    if isinstance(statement, Command) and not statement.verb and not sql.strip(b" \t\r\n;"):
        raise ClickHouseError(
            SYNTAX_ERROR, "SYNTAX_ERROR", "Syntax error: failed at position 1 (end of query): Empty query"
        )
    return statement


def _refuse_writes(what: Exchange) -> None:
    statement = what.statement
    if not what.asked.read_only or isinstance(statement, Query):
        return
    if isinstance(statement, Command) and (statement.verb in _READ_ONLY or not statement.verb):
        return
    message = (
        "default: Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
        "You should use method POST for modifying queries."
    )
    raise ClickHouseError(READONLY, "READONLY", message)


def _structure_settings(insert: Insert | InsertSelect) -> dict[str, str]:
    if isinstance(insert, Insert) or insert.structure:
        return {}
    if any(word in insert.format.lower() for word in _SELF_DESCRIBING):
        return {}
    return {"use_structure_from_insertion_table_in_table_functions": "1"}
