"""Schemas, versions and levels in one SQLite file. Every change is on disk when its call returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atalaia.schemas.compatibility import Level

DEFAULT_LEVEL = Level.BACKWARD_TRANSITIVE
_GLOBAL = ""

# AUTOINCREMENT: an id is never given twice, even when its schema was deleted for good; records on Kafka carry it.
_TABLES = """
CREATE TABLE IF NOT EXISTS schemas (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS versions (
    subject TEXT NOT NULL, version INTEGER NOT NULL, id INTEGER NOT NULL REFERENCES schemas (id),
    deleted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (subject, version)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS versions_by_id ON versions (id);
CREATE TABLE IF NOT EXISTS levels (subject TEXT PRIMARY KEY, level TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a subject; `deleted` ones answer by id but aren't offered."""

    subject: str
    version: int
    id: int
    text: str
    deleted: bool


class Store:
    """The registry's memory; one thread only."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def versions(self, subject: str) -> list[Version]:
        """All versions of a subject, soft-deleted ones too, oldest first."""
        return self._select("subject = ? ORDER BY version", subject)

    def uses(self, schema_id: int) -> list[Version]:
        """Where a schema is used, soft-deleted versions too."""
        return self._select("id = ? ORDER BY subject, version", schema_id)

    def all_versions(self) -> list[Version]:
        """Everything, by subject and version."""
        return self._select("1 = 1 ORDER BY subject, version")

    def text(self, schema_id: int) -> str | None:
        """A schema by id, also one that no subject offers any more."""
        row = self._connection.execute("SELECT text FROM schemas WHERE id = ?", (schema_id,)).fetchone()
        return None if row is None else str(row[0])

    def largest_id(self) -> int:
        """The id that was given last."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM schemas").fetchone()[0])

    def add(self, subject: str, text: str) -> Version:
        """The next version of a subject; the same text has the same id everywhere."""
        with self._transaction() as db:
            db.execute("INSERT INTO schemas (text) VALUES (?) ON CONFLICT (text) DO NOTHING", (text,))
            (schema_id,) = db.execute("SELECT id FROM schemas WHERE text = ?", (text,)).fetchone()
            (version,) = db.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM versions WHERE subject = ?", (subject,)
            ).fetchone()
            db.execute("INSERT INTO versions (subject, version, id) VALUES (?, ?, ?)", (subject, version, schema_id))
        return Version(subject, version, schema_id, text, deleted=False)

    def delete(self, version: Version, *, permanent: bool) -> None:
        """Hide a version, or remove it for good; its schema keeps answering by id."""
        key = (version.subject, version.version)
        if permanent:
            self._connection.execute("DELETE FROM versions WHERE subject = ? AND version = ?", key)
        else:
            self._connection.execute("UPDATE versions SET deleted = 1 WHERE subject = ? AND version = ?", key)

    def level(self, subject: str = _GLOBAL) -> Level | None:
        """The level set for a subject, or for all of them."""
        row = self._connection.execute("SELECT level FROM levels WHERE subject = ?", (subject,)).fetchone()
        return None if row is None else Level(row[0])

    def effective_level(self, subject: str = _GLOBAL) -> Level:
        """The level that a subject is held to."""
        return self.level(subject) or self.level() or DEFAULT_LEVEL

    def set_level(self, level: Level | None, subject: str = _GLOBAL) -> None:
        """Set a level, or with None take it back."""
        if level is None:
            self._connection.execute("DELETE FROM levels WHERE subject = ?", (subject,))
        else:
            self._connection.execute(
                "INSERT INTO levels (subject, level) VALUES (?, ?) "
                "ON CONFLICT (subject) DO UPDATE SET level = excluded.level",
                (subject, level.value),
            )

    def _select(self, condition: str, *values: str | int) -> list[Version]:
        rows = self._connection.execute(
            f"SELECT subject, version, id, text, deleted FROM versions JOIN schemas USING (id) WHERE {condition}",  # noqa: S608  (our own constants; values are bound)
            values,
        )
        return [Version(subject, number, id_, text, bool(deleted)) for subject, number, id_, text, deleted in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
