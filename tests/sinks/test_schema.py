"""Tables, views and retention on the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_http import Server
from sink_data import NOW_MS, alert, event, health, rollup, sent

from atalaia.infra import clickhouse
from atalaia.infra.errors import Failure
from atalaia.infra.settings import ClickHouseSettings, RetentionSettings, Settings
from atalaia.schemas.topics import ALERTS, METRICS, ROLLUPS, SERVICE_HEALTH
from atalaia.sinks import schema
from atalaia.sinks.batch import cut
from atalaia.sinks.loader import Loader

DAY_MS: Final = 86_400_000
MINUTE: Final = NOW_MS - NOW_MS % 60_000 - 3_600_000

WINDOWS: Final = """window_start tenant metric_name metric_type service_name region affiliate_id unit frequency
    dimensions count sum min max avg first last p50 p95 p99 completeness watermark"""
COLUMNS: Final = {
    "metrics": """event_id timestamp tenant metric_name metric_type value unit frequency service_name region
        affiliate_id metadata producer_id sequence arrived_at""",
    "metrics_1m": WINDOWS,
    "metrics_1h": WINDOWS,
    "metrics_1d": WINDOWS,
    "metrics_1mo": WINDOWS,
    "alerts": "timestamp rule_name fingerprint episode_id status severity labels value threshold window_start",
    "services": """tenant service_name status response_time_ms error_rate cpu_usage memory_usage version uptime_seconds
        timestamp""",
}


@pytest.fixture
def elsewhere(server: Server) -> Iterator[Settings]:
    """Settings of a database that doesn't exist yet."""
    settings = Settings(clickhouse=ClickHouseSettings(url=server.url, database="elsewhere"))
    yield settings
    clickhouse.connect(settings.clickhouse, database="").command("DROP DATABASE IF EXISTS elsewhere")


def test_migrations_run_once(elsewhere: Settings) -> None:
    """The first run makes everything, a second one finds nothing to do."""
    assert len(schema.migrate(elsewhere)) == 8
    assert schema.migrate(elsewhere) == []


def test_missing_tables_are_named(elsewhere: Settings) -> None:
    """A process that needs the tables says which is missing, and what to do."""
    with pytest.raises(Failure, match=r"no table elsewhere.* run `atalaia schemas register`"):
        schema.require(elsewhere)


def test_retention_follows_the_settings(elsewhere: Settings) -> None:
    """A changed retention changes the TTLs of its tables and no others; changing it back, too."""
    schema.migrate(elsewhere)
    shorter = elsewhere.model_copy(update={"retention": RetentionSettings(real_time_days=3, health_days=5)})
    assert schema.migrate(shorter) == ["TTL of metric_events", "TTL of metric_rollups", "TTL of service_health"]
    assert schema.migrate(shorter) == []
    assert len(schema.migrate(elsewhere)) == 3


@pytest.mark.parametrize("view", COLUMNS)
def test_views_have_the_columns_of_the_contract(client: Client, view: str) -> None:
    """Each view has the contract's columns, in its order."""
    found = [name for (name, *_) in client.query(f"DESCRIBE TABLE {view}").result_rows]
    assert found == COLUMNS[view].split()


def test_retention_drops_what_is_past_it(loader: Loader, client: Client) -> None:
    """Real-time events go after 7 days, hourly after 90, daily after 2 years, counted from event or arrival time."""
    ages = {"real_time": 7, "hourly": 90, "daily": 730, "monthly": 1826}
    for first, (frequency, days) in enumerate(ages.items()):
        for at, age in enumerate((days - 40 if days > 40 else days - 1, days + 40)):
            arrived = NOW_MS - age * DAY_MS
            message = sent(METRICS, event(timestamp=arrived, frequency=frequency), first=10 * first + at)[0]
            loader.store(cut([type(message)(METRICS.name, 0, 10 * first + at, message.content, arrival_ms=arrived)]))
    late = event(timestamp=NOW_MS - 30 * DAY_MS, frequency="real_time")
    loader.store(cut(sent(METRICS, late, first=99)))
    client.command("OPTIMIZE TABLE metric_events FINAL")
    kept = client.query("SELECT _offset FROM metric_events ORDER BY 1").result_rows
    assert kept == [(0,), (10,), (20,), (30,), (99,)]


def test_versions_replace_and_shards_add(loader: Loader, client: Client) -> None:
    """Of one opening of a window the latest version counts; several openings add up."""
    first = [10.0, 20.0, 30.0]
    second = [1.0, 2.0]
    rows = [
        rollup(first[:1], window_start=MINUTE, shard="0-5", version=5),
        rollup(first, window_start=MINUTE, shard="0-5", version=9),
        rollup(first[:2], window_start=MINUTE, shard="0-5", version=7),
        rollup(second, window_start=MINUTE, shard="3-2", version=4, first_at=MINUTE + 100, last_at=MINUTE + 101),
    ]
    loader.store(cut(sent(ROLLUPS, *rows)))
    found = client.query(
        "SELECT count, sum, min, max, avg, first, last FROM metrics_1m WHERE metric_name = 'api_response_time'"
    ).result_rows
    assert found == [(5, 63.0, 1.0, 30.0, 12.6, 10.0, 2.0)]


def test_a_row_that_comes_again_changes_nothing(loader: Loader, client: Client) -> None:
    """Rollups overwrite: the same row twice, also in two inserts, is one."""
    for _ in range(2):
        loader.store(cut(sent(ROLLUPS, *[rollup([1.0, 2.0], window_start=MINUTE)] * 2)))
    assert client.query("SELECT count, sum FROM metrics_1m").result_rows == [(2, 3.0)]


def test_a_later_watermark_at_the_same_version(loader: Loader, client: Client) -> None:
    """A row that comes again only because its window is complete shows that it is."""
    for completeness in (0.5, 1.0):
        loader.store(cut(sent(ROLLUPS, rollup([1.0], window_start=MINUTE, completeness=completeness))))
    assert client.query("SELECT completeness FROM metrics_1m").result_rows == [(1.0,)]


def test_what_is_missing_lowers_completeness(loader: Loader, client: Client) -> None:
    """Completeness is the share of the time that has passed, times the share of the events that came, over all shards.

    A shard that has what another misses makes up for it.
    """
    rows = [
        rollup([1.0] * 7, window_start=MINUTE, shard="0-0", missing=4, completeness=0.5),
        rollup([1.0] * 2, window_start=MINUTE, shard="0-9", missing=-3, completeness=1.0),
    ]
    loader.store(cut(sent(ROLLUPS, *rows)))
    found = client.query("SELECT count, missing, completeness FROM metric_windows").result_rows
    assert found == [(9, 1, 0.5 * 0.9)]
    assert client.query("SELECT completeness FROM metrics_1m").result_rows == [(0.5 * 0.9,)]


def test_percentiles_within_one_percent(loader: Loader, client: Client) -> None:
    """p50, p95 and p99 of merged shards are within 1 % of the exact values."""
    values = [float(number) for number in range(1, 1001)]
    rows = [rollup(values[part::4], window_start=MINUTE, shard=f"{part}-0") for part in range(4)]
    loader.store(cut(sent(ROLLUPS, *rows)))
    ((p50, p95, p99),) = client.query("SELECT p50, p95, p99 FROM metrics_1m").result_rows
    assert p50 == pytest.approx(500, rel=0.01)
    assert p95 == pytest.approx(950, rel=0.01)
    assert p99 == pytest.approx(990, rel=0.01)


def test_series_stay_apart(loader: Loader, client: Client) -> None:
    """Every field of a series tells it apart, dimensions too; an absent region and an empty one are the same."""
    variants: list[dict[str, Any]] = [
        {},
        {"service_name": "other"},
        {"region": "BR"},
        {"affiliate_id": "a"},
        {"unit": "s"},
        {"frequency": "hourly"},
        {"dimensions": {"endpoint": "/x"}},
        {"dimensions": {"endpoint": "/y"}},
        {"tenant": "other"},
    ]
    rows = [rollup([1.0], window_start=MINUTE, shard=f"0-{at}", **fields) for at, fields in enumerate(variants)]
    rows.append(rollup([1.0], window_start=MINUTE, shard="0-99", region=""))
    loader.store(cut(sent(ROLLUPS, *rows)))
    counts = client.query("SELECT count FROM metrics_1m ORDER BY count").result_rows
    assert counts == [(1,)] * (len(variants) - 1) + [(2,)]


def test_conditions_reach_the_key(loader: Loader, client: Client) -> None:
    """A view that is asked for one metric and one hour reads the granules of that metric and hour only."""
    loader.store(cut(sent(ROLLUPS, rollup([1.0], window_start=MINUTE))))
    plan = str(
        client.query(
            "EXPLAIN indexes = 1 SELECT sum FROM metrics_1m "
            "WHERE tenant = 'default' AND metric_name = 'm' AND service_name = 's' AND window_start >= now() - 3600"
        ).result_rows
    )
    used = plan[plan.index("PrimaryKey") :]
    for column in ("tenant", "metric_name", "granularity", "service_name"):
        assert column in used
    assert "Condition: (window_start in" in plan or "toYYYYMMDD(window_start) in" in plan or "window_start" in used


def test_redelivered_transitions_are_one(loader: Loader, client: Client) -> None:
    """A transition that was delivered twice is one row of `alerts`, and its table has both deliveries."""
    values = [alert(), alert(timestamp=NOW_MS + 9), alert(alert_id="a-2", status="resolved", value=None)]
    loader.store(cut(sent(ALERTS, *values)))
    assert client.query("SELECT status, value FROM alerts ORDER BY status").result_rows == [
        ("firing", 300.0),
        ("resolved", None),
    ]
    assert client.command("SELECT count() FROM alert_events") == 3


def test_services_shows_the_latest(loader: Loader, client: Client) -> None:
    """`services` has one row a service: what it said last, by its own time."""
    values = [
        health(status="degraded", timestamp=NOW_MS),
        health(status="healthy", timestamp=NOW_MS - 1000),
        health(service_name="search", status="healthy"),
    ]
    loader.store(cut(sent(SERVICE_HEALTH, *values)))
    found = client.query("SELECT service_name, status FROM services ORDER BY service_name").result_rows
    assert found == [("checkout", "degraded"), ("search", "healthy")]
