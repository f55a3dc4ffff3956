"""Rollups of a time range made anew from raw events, for disasters: the stream worker never needs it.

A row's identity is kept: each event goes to the row (shard) whose opening is the last at or before the event's offset,
as when the stream worker made it. So what the worker still holds of such a window, and emits again after a restart,
replaces the repaired row and does not add to it.

Steps, each of which can be the last before a crash; the next repair then finishes what was begun:
1. The new rows go to a table aside.
2. The old rows of the range are deleted.
3. The new rows are copied in, and the table aside is dropped.
"""

# ruff: noqa: S608 - SQL is what this file makes, of our own names and of numbers

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client

from atalaia.infra import clickhouse, kafka
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import Settings
from atalaia.schemas.events import Granularity
from atalaia.schemas.sketch import bucket_sql
from atalaia.schemas.topics import METRICS
from atalaia.sinks import comparison
from atalaia.sinks.comparison import DIMENSIONS, LABELS, Scope

log = structlog.get_logger(__name__)

ASIDE: Final = "metric_rollups_repair"
SETTLED: Final = timedelta(hours=1)
"""A window that ended longer ago is held by no worker (it lets go after `streams.evict_after`, two minutes)."""

_SYNC: Final = "SETTINGS mutations_sync = 2"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done, or would be, at one granularity: rows there were, rows there are now."""

    granularity: str
    before: int
    after: int


def repair(settings: Settings, *, start: datetime, end: datetime, dry_run: bool) -> list[Repaired]:
    """Makes the rollups of all windows that lie in [start, end) anew; with `dry_run` it says what would change.

    Raises UsageFailure for a range that isn't over, Failure while stream workers run.
    """
    now = datetime.now(UTC)
    if not start < end <= now - SETTLED:
        raise UsageFailure(f"--from {start:%F %R} --to {end:%F %R}: the range must end an hour or more before now")
    kafka.require(settings.kafka)
    if not dry_run and kafka.members(settings.kafka, settings.streams.application):
        raise Failure(f"stream workers of {settings.streams.application} are running; stop them, then repair")
    places = kafka.partitions_of(settings.kafka, [METRICS.name])
    known = {
        partition: offset or 0
        for (_, partition), offset in kafka.committed_offsets(
            settings.kafka, settings.streams.application, places
        ).items()
    }
    client = clickhouse.connect(settings.clickhouse)
    with clickhouse.errors(settings.clickhouse):
        if not dry_run:
            _finish(client)
        scopes = [Scope(each, settings.retention, now, start=start, end=end) for each in Granularity]
        return [_repair(client, scope, _rows(scope, known), dry_run=dry_run) for scope in scopes]


def _repair(client: Client, scope: Scope, rows: str, *, dry_run: bool) -> Repaired:
    before = client.command(f"SELECT count() FROM ({comparison.rows(scope)})")
    if dry_run:
        after = client.command(f"SELECT count() FROM ({rows})")
    else:
        client.command(f"CREATE TABLE {ASIDE} AS metric_rollups")
        client.command(f"INSERT INTO {ASIDE} ({', '.join(_COLUMNS)}) {rows}")
        after = client.command(f"SELECT count() FROM {ASIDE}")
        where = f"granularity = '{scope.granularity}' AND {scope.sql('window_start')}"
        client.command(f"ALTER TABLE metric_rollups DELETE WHERE {where} {_SYNC}")
        _finish(client)
        log.info("repaired", granularity=scope.granularity.value, before=before, after=after)
    return Repaired(scope.granularity.value, int(str(before)), int(str(after)))


def _finish(client: Client) -> None:
    """Step 3; also of a repair that a crash ended: rows that were not deleted yet are replaced by the same."""
    if client.command(f"EXISTS TABLE {ASIDE}"):
        columns = ", ".join(_COLUMNS)
        client.command(f"INSERT INTO metric_rollups ({columns}) SELECT {columns} FROM {ASIDE}")
        client.command(f"DROP TABLE {ASIDE}")


_COLUMNS: Final = {
    **{label: f"any(e.{label})" for label in LABELS},
    "metric_type": "any(e.metric_type)",
    "dimensions": "any(e.dimensions)",
    "granularity": "{granularity}",
    "window_start": "any(e.start) AS start",
    "shard": "concat(toString(any(e._partition)), '-', toString(if(known, opened, min(e._offset))))",
    "version": "max(e._offset)",
    "count": "count()",
    "sum": "sum(e.value)",
    "min": "min(e.value)",
    "max": "max(e.value)",
    "first": "argMin(e.value, (e.timestamp, e._offset))",
    "last": "argMax(e.value, (e.timestamp, e._offset))",
    "first_at": "min(e.timestamp)",
    "last_at": "max(e.timestamp)",
    "sketch": f"sumMap(map({bucket_sql('e.value')}, toUInt64(1)))",
    "completeness": "1",
    "watermark": "{end}",
}
"""The columns of metric_rollups, from the events of one opening of a window."""


def _rows(scope: Scope, taken: Mapping[int, int]) -> str:
    """The rows as they should be, of the events that the stream worker has taken (offsets below `taken`)."""
    columns = ", ".join(_COLUMNS.values()).format(granularity=f"'{scope.granularity}'", end=scope.end_of("start"))
    events = comparison.events(scope, more=f", metric_type, timestamp, {DIMENSIONS} AS dimensions")
    below = f"_offset < transform(_partition, {list(taken)!r}, {list(taken.values())!r}, 0)"
    return f"""
        SELECT {columns}
        FROM (SELECT * FROM ({events}) WHERE {below}) AS e
        ASOF LEFT JOIN (SELECT id, opened, true AS found FROM ({comparison.rows(scope)})) AS r
            ON e.id = r.id AND e._offset >= r.opened
        GROUP BY e.id, r.found AS known, r.opened AS opened
    """
