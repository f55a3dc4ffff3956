"""chDB: the engine, one for a process, and the connections to it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

import chdb
import structlog

from atalaia.infra.errors import Failure
from atalaia.infra.local.clickhouse.errors import ClickHouseError, parsed
from atalaia.infra.local.clickhouse.statements import quoted

log = structlog.get_logger(__name__)

_SETTING_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)
UNKNOWN_SETTING: Final = 115
_ASIDE: Final = "_default"

QUERY_SHARE: Final = 0.75
"""Of the engine's memory, what one query may take."""

# The engine's own defaults for these are those of a database server with the machine to itself.
_CACHES_BYTES: Final = {
    "mark_cache_size": 64 << 20,
    "index_mark_cache_size": 16 << 20,
    "primary_index_cache_size": 64 << 20,
    "uncompressed_cache_size": 0,
    "index_uncompressed_cache_size": 0,
    "compiled_expression_cache_size": 16 << 20,
    "query_condition_cache_size": 8 << 20,
    "vector_similarity_index_cache_size": 0,
}

# What a server does and the engine as a library doesn't: `SELECT` isn't implied. And the rows of a request lie in a
# file that has the name of another request's file of a moment ago: nothing about a file may be remembered.
_LIKE_A_SERVER: Final = {
    "implicit_select": "0",
    "use_cache_for_count_from_files": "0",
    "schema_inference_use_cache_for_file": "0",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a statement gave: its result, where that wasn't written elsewhere, and its counts."""

    body: bytes
    result_rows: int
    read_rows: int
    read_bytes: int
    written_rows: int
    """Into the table and whatever materialized views made of it, as a server counts."""
    written_bytes: int
    elapsed_seconds: float


class Connection:
    """One connection: settings and database are its own. One statement at a time; any thread; calls block."""

    def __init__(self, connection_string: str) -> None:
        self._connection = chdb.connect(connection_string)

    def run(self, sql: bytes, *, format: str, params: Mapping[str, str] | None = None) -> Outcome:  # noqa: A002
        """Run one statement; the FORMAT it names wins over `format`. Raises ClickHouseError."""
        try:
            result = self._connection.query(sql, format, params=dict(params or {}))
        except RuntimeError as exc:  # what chdb raises for every error of the engine
            raise parsed(str(exc)) from exc
        except UnicodeDecodeError as exc:  # unless the error quotes bytes that are no text
            raise parsed(exc.object.decode("utf-8", "replace")) from exc
        return Outcome(
            body=result.bytes() or b"",
            result_rows=result.rows_read(),
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            elapsed_seconds=result.elapsed(),
        )

    def set(self, settings: Mapping[str, str]) -> None:
        """Set them all, or raise ClickHouseError."""
        if settings:
            pairs = (_checked(name) + b" = " + quoted(value) for name, value in settings.items())
            self.run(b"SET " + b", ".join(pairs), format="Null")

    def forget(self, names: list[str]) -> None:
        """Set them to their defaults."""
        if names:
            self.run(b"SET " + b", ".join(_checked(name) + b" = DEFAULT" for name in names), format="Null")

    def use(self, database: str) -> None:
        """Make it the database of names without one."""
        self.run(b"USE `" + database.replace("\\", "\\\\").replace("`", "\\`").encode() + b"`", format="Null")

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Engine:
    """The engine on a directory, which no other process may have open; alive until `close`."""

    def __init__(self, path: Path, *, memory_bytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = str(path.resolve())
        _set_default_database_aside(path)
        limits = {"max_server_memory_usage": memory_bytes, **_CACHES_BYTES}
        try:
            self._keeper = Connection(f"{self._path}?{urlencode(limits)}")
        except RuntimeError as exc:
            raise Failure(_cannot_open(path, exc)) from exc
        self._settings = {"max_memory_usage": str(int(memory_bytes * QUERY_SHARE)), **_LIKE_A_SERVER}
        self._keeper.set(self._settings)
        self._make_default_database_ordinary()
        answer = self._keeper.run(b"SELECT version(), timezone()", format="TSV").body.decode()
        self.version, self.timezone = answer.rstrip("\n").split("\t")

    def _make_default_database_ordinary(self) -> None:
        """Take off `default` what the engine as a library lays over it: the files of the working directory.

        With them `DROP TABLE IF EXISTS` fails and `SELECT` reads files. The database's tables stay where they are.
        """
        self._keeper.set({"check_table_dependencies": "0", "check_referential_table_dependencies": "0"})
        self._keeper.run(b"DETACH DATABASE default", format="Null")
        known = (Path(self._path) / "metadata" / f"{_ASIDE}.sql").exists()
        again = f"RENAME DATABASE {_ASIDE} TO default" if known else "CREATE DATABASE default ENGINE = Atomic"
        self._keeper.run(again.encode(), format="Null")

    @property
    def settings(self) -> Mapping[str, str]:
        """What every connection starts with."""
        return self._settings

    def connect(self) -> Connection:
        """A connection with nothing set; a third of a millisecond."""
        return Connection(self._path)

    def kill(self, mark: str) -> None:
        """Stop the statements whose `log_comment` is `mark`; returns before they have."""
        try:
            self._keeper.run(
                b"KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC", format="Null", params={"mark": mark}
            )
        except ClickHouseError as exc:  # it had just ended
            log.debug("kill_failed", mark=mark, error=exc.message)

    def close(self) -> None:
        """Close the last connection, which stops the engine: parts are whole, the directory is free."""
        self._keeper.close()


def _checked(name: str) -> bytes:
    if not _SETTING_NAME.fullmatch(name):
        raise ClickHouseError(UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    return name.encode()


def _set_default_database_aside(path: Path) -> None:
    """Give the `default` of an earlier run another name until the engine is up.

    The engine as a library does not load a database of that name, and ATTACH refuses one that wasn't loaded. A crash
    before it has its name back leaves it aside, where the next start finds it.
    """
    for place in ("metadata/{}.sql", "metadata/{}", "data/{}"):
        before, after = path / place.format("default"), path / place.format(_ASIDE)
        if os.path.lexists(before) and not os.path.lexists(after):
            before.rename(after)


def _cannot_open(path: Path, exc: RuntimeError) -> str:
    return (
        f"{path}: the engine cannot open it ({parsed(str(exc)).message}); "
        "if another process serves this directory, stop it or name another --path"
    )
