"""The tables and views in ClickHouse: numbered migrations, then each table's TTL brought to the settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_migrations.connection import ClickhouseConnectConnection
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import MigrationStorage
from clickhouse_migrations.migrator import Migrator

from atalaia.infra import clickhouse
from atalaia.infra.errors import Failure
from atalaia.infra.settings import RetentionSettings, Settings
from atalaia.schemas.sketch import quantile_sql

log = structlog.get_logger(__name__)

FREQUENCIES: Final = ("real_time", "hourly", "daily", "monthly")
GRANULARITIES: Final = ("minute", "hour", "day", "month")
"""The tiers of events and of rollups: the same four lengths of time (F4)."""

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def migrate(settings: Settings) -> list[str]:
    """Creates what doesn't exist yet and brings TTLs to the settings; says what it did. Safe to run at any time.

    Raises ClickHouseUnavailable, ClickHouseRefused, or Failure where the database was migrated by something else.
    """
    with clickhouse.errors(settings.clickhouse):
        database = settings.clickhouse.database
        clickhouse.connect(settings.clickhouse, database="").command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        client = clickhouse.connect(settings.clickhouse)
        done = [f"migration {version}" for version in _apply(client)]
        for table, ttl in ttls(settings.retention).items():
            if _align(client, table, ttl):
                done.append(f"TTL of {table}")
        for change in done:
            log.info("schema_changed", change=change)
        return done


def require(settings: Settings) -> None:
    """Returns where the tables are there; else raises Failure with what to do."""
    with clickhouse.errors(settings.clickhouse):
        client = clickhouse.connect(settings.clickhouse, database="")
        found = client.query(
            "SELECT name FROM system.tables WHERE database = {database:String}",
            parameters={"database": settings.clickhouse.database},
        ).result_rows
    missing = sorted(set(ttls(settings.retention)) - {name for (name,) in found})
    if missing:
        raise Failure(
            f"ClickHouse at {settings.clickhouse.url} has no table {settings.clickhouse.database}.{missing[0]}; "
            "run `atalaia schemas register`"
        )


def ttls(retention: RetentionSettings) -> dict[str, str]:
    """The TTL that each table should have, by F4's tiers.

    >>> ttls(RetentionSettings(health_days=3))["service_health"]
    'toDateTime(timestamp) + toIntervalDay(3)'
    """
    by_frequency = by_tier("frequency", FREQUENCIES, retention)
    by_granularity = by_tier("granularity", GRANULARITIES, retention)
    alerts = f"toDateTime(timestamp) + toIntervalDay({retention.alert_days})"
    return {
        "metric_events": f"toDateTime(greatest(timestamp, arrived_at)) + toIntervalDay({by_frequency})",
        "metric_rollups": f"window_start + toIntervalDay({by_granularity})",
        "alert_events": alerts,
        "notifications": alerts,
        "audit_log": alerts,
        "service_health": f"toDateTime(timestamp) + toIntervalDay({retention.health_days})",
        "dead_letters": f"toDateTime(timestamp) + toIntervalDay({retention.dead_letter_days})",
    }


def by_tier(column: str, tiers: tuple[str, ...], retention: RetentionSettings) -> str:
    """An SQL expression: the days that a row is kept, by its tier; one of no known tier as the shortest-lived."""
    days = tier_days(retention)
    return f"transform({column}, {list(tiers)!r}, {days!r}, {days[0]})"


def tier_days(retention: RetentionSettings) -> list[int]:
    """The days that events of each frequency, and rollups of each granularity, are kept."""
    return [retention.real_time_days, retention.hourly_days, retention.daily_days, retention.monthly_days]


def variables() -> Mapping[str, str]:
    """What the migrations take from Python: the sketch has one definition."""
    return {name: quantile_sql("sketch", share) for name, share in _QUANTILES.items()}


def _apply(client: Client) -> list[int]:
    # The migrator logs each statement to the root logger.
    root = logging.getLogger()
    level, root.level = root.level, max(root.level, logging.WARNING)
    try:
        with as_file(files("atalaia.sinks").joinpath("migrations")) as folder:
            migrator = Migrator(ClickhouseConnectConnection(client))
            migrator.init_schema()
            applied = migrator.apply_migration(
                MigrationStorage(folder).migrations(), multi_statement=True, variables=variables()
            )
    except MigrationException as exc:
        raise Failure(f"{exc} The database is ahead of this version, or was changed by hand.") from exc
    finally:
        root.level = level
    return [migration.version for migration in applied]


def _align(client: Client, table: str, ttl: str) -> bool:
    """Changes the table's TTL where it differs, compared in ClickHouse's own spelling; True where it did."""
    ((wanted, actual),) = client.query(
        "SELECT formatQuerySingleLine({ddl:String}), engine_full FROM system.tables "
        "WHERE database = currentDatabase() AND name = {table:String}",
        parameters={
            "ddl": f"CREATE TABLE t (x Int8) ENGINE = MergeTree ORDER BY x TTL {ttl} SETTINGS x = 1",
            "table": table,
        },
    ).result_rows
    if _ttl_of(actual) == _ttl_of(wanted):
        return False
    client.command(f"ALTER TABLE {table} MODIFY TTL {ttl}")
    return True


def _ttl_of(ddl: str) -> str:
    """The TTL in a table's definition as ClickHouse prints it.

    >>> _ttl_of("MergeTree ORDER BY x TTL d + toIntervalDay(7) SETTINGS index_granularity = 8192")
    'd + toIntervalDay(7)'
    """
    return ddl.partition(" TTL ")[2].partition(" SETTINGS ")[0]
