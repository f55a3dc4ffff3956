"""One statement on the engine, from settings to counts: what a worker thread does for a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from atalaia.infra.local.clickhouse.engine import Connection, Engine, Outcome
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.external import ExternalTable
from atalaia.infra.local.clickhouse.request import Asked
from atalaia.infra.local.clickhouse.sessions import Session

MOST_SAID: Final = 1_000
"""SET and USE statements that a session remembers."""

_FILE = r"'/proc/self/fd/\d+'"
_OURS: Final = (
    (re.compile(rf"\s*\b(?:INTO OUTFILE|FROM INFILE) {_FILE}(?: APPEND)?\s*"), " "),
    (re.compile(rf"\bfile\({_FILE}, '\w+'(?:, )?"), "input("),
    (re.compile(r":? ?\(in file/uri /proc/self/fd/\d+\)"), ""),
    (re.compile(r": data for INSERT was parsed from file"), ""),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A statement, and what it needs around it."""

    asked: Asked
    sql: bytes
    format: str
    gives_rows: bool
    settings: Mapping[str, str] = field(default_factory=dict)
    """On top of what was asked."""
    tables: Sequence[ExternalTable] = ()
    remembered: bool = False
    """In force for as long as the session lives: a SET, a USE."""

    @property
    def mark(self) -> str:
        """What this statement can be stopped by."""
        return self.asked.query_id


def perform(task: Task, engine: Engine, session: Session | None) -> Outcome:
    """Blocks until the statement has ended; raises ClickHouseError in the words of the client's own statement."""
    try:
        if session is None:
            with engine.connect() as connection:
                return _run(task, engine, connection)
        return _run_in_session(task, engine, session)
    except ClickHouseError as exc:
        raise ClickHouseError(exc.code, exc.name, in_client_words(exc.message)) from exc


def in_client_words(message: str) -> str:
    r"""The engine's message without what was done to the statement.

    >>> in_client_words("failed at position 3 (x): x\nINTO OUTFILE '/proc/self/fd/9' APPEND\nFORMAT CSV")
    'failed at position 3 (x): x FORMAT CSV'
    >>> in_client_words("In scope SELECT a FROM file('/proc/self/fd/9', 'Avro', 'a Int8')")
    "In scope SELECT a FROM input('a Int8')"
    """
    for pattern, instead in _OURS:
        message = pattern.sub(instead, message)
    return message


def _run(task: Task, engine: Engine, connection: Connection) -> Outcome:
    connection.set({**engine.settings, **task.asked.settings, **task.settings, "log_comment": task.mark})
    if task.asked.database:
        connection.use(task.asked.database)
    for table in task.tables:
        table.create(connection)
    return connection.run(task.sql, format=task.format, params=task.asked.parameters)


def _run_in_session(task: Task, engine: Engine, session: Session) -> Outcome:
    """As `_run`; afterwards only what the session itself has said is in force."""
    try:
        outcome = _run(task, engine, session.connection)
        if task.remembered:
            session.said = [*session.said[-MOST_SAID:], task.sql]
        return outcome
    finally:
        session.connection.forget([*task.asked.settings, *task.settings, "log_comment"])
        if task.asked.database:
            session.connection.use("default")
        for table in task.tables:
            table.drop(session.connection)
        for statement in session.said:
            session.connection.run(statement, format="Null")


def counted(outcome: Outcome, *, result_bytes: int) -> dict[str, str]:
    """X-ClickHouse-Summary: numbers as strings, as a server writes them."""
    # The rows of a request's body count as read, as on a server; the engine knows them as written only.
    return {
        "read_rows": str(max(outcome.read_rows, outcome.written_rows)),
        "read_bytes": str(max(outcome.read_bytes, outcome.written_bytes)),
        "written_rows": str(outcome.written_rows),
        "written_bytes": str(outcome.written_bytes),
        "total_rows_to_read": "0",
        "result_rows": str(outcome.written_rows or outcome.result_rows),
        "result_bytes": str(outcome.written_bytes or result_bytes),
        "elapsed_ns": str(int(outcome.elapsed_seconds * 1e9)),
    }
