"""A database with the windows of an API: an hour of errors two hours ago, and an error now and then."""

from __future__ import annotations

from typing import Any, Final

from sink_data import NOW_MS, Schemas, rollup, sent

from atalaia.infra.settings import ClickHouseSettings, Settings
from atalaia.schemas.topics import ROLLUPS
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS
from atalaia.sinks import schema
from atalaia.sinks.batch import cut
from atalaia.sinks.loader import Loader
from atalaia.sinks.tables import tables

HOUR_NOW: Final = NOW_MS - NOW_MS % HOUR_MS
MINUTE_NOW: Final = NOW_MS - NOW_MS % MINUTE_MS
HOURS: Final = 48
REQUESTS: Final = 1000
"""Each hour."""
BAD: Final = {2: 100, 30: 5}
"""Failed ones, by how many hours ago."""


def fill(url: str) -> Settings:
    """Tables with two days of hours and an hour of minutes; settings that point at them."""
    settings = Settings(clickhouse=ClickHouseSettings(url=url))
    schema.migrate(settings)
    loader = Loader(settings.clickhouse, Schemas(), tables(settings.retention))
    loader.store(cut(sent(ROLLUPS, *_hours(), *_minutes(), *_latencies())))
    loader.close()
    return settings


def _hours() -> list[bytes]:
    rows = []
    for ago in range(HOURS):
        bad = BAD.get(ago, 0)
        window = {"granularity": "hour", "window_start": HOUR_NOW - ago * HOUR_MS}
        rows.append(_requests("2xx", REQUESTS - bad, **window))
        if bad:
            rows.append(_requests("5xx", bad, **window))
    return rows


def _minutes() -> list[bytes]:
    rows = []
    for ago in range(60):
        window = {"granularity": "minute", "window_start": MINUTE_NOW - ago * MINUTE_MS}
        rows += [_requests("2xx", 99, **window), _requests("5xx", 1, **window)]
    return rows


def _latencies() -> list[bytes]:
    series = {"metric_name": "http_request_duration", "service_name": "api", "dimensions": {"endpoint": "/a"}}
    window = {"granularity": "hour", "window_start": HOUR_NOW}
    return [rollup([100.0] * 90 + [500.0] * 5 + [900.0] * 5, **series, **window)]


def _requests(status: str, amount: float, **fields: Any) -> bytes:
    dimensions = {"status_class": status, "endpoint": "/a"}
    return rollup(
        [amount], metric_name="http_requests", service_name="api", unit="{request}", dimensions=dimensions, **fields
    )
