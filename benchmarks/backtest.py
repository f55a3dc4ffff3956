"""How long a month of minutes of a hundred series takes to backtest, from ClickHouse to episodes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from benchmarks import lab
from benchmarks.narration import say
from benchmarks.report import Figure

from atalaia.alerting.backtest.needs import needs
from atalaia.alerting.backtest.trials import swept, trials
from atalaia.alerting.writing.document import from_document
from atalaia.infra import clickhouse
from atalaia.infra.settings import RetentionSettings, Settings
from atalaia.schemas.windows import DAY_MS, MINUTE_MS
from atalaia.sinks import schema
from atalaia.sinks.history import History

AIM_SECONDS: Final = 10.0
SERIES: Final = 100
THRESHOLDS: Final = 20
_ROWS: Final = 144_000
"""Rows an insert: a day of minutes."""
RULES: Final = {
    "5 min average, for 5 min": {"aggregate": "avg", "window": "5m", "condition": "> 160", "for": "5m"},
    "1 h maximum": {"aggregate": "max", "window": "1h", "condition": "> 370"},
    "latest value": {"condition": "> 205"},
}


def measure(days: int, folder: Path) -> list[Figure]:
    """The figures of one run, on rows as the sink's inserts leave them."""
    with lab.local_stack(folder / "stack", lab.EVERYTHING) as stack:
        settings = stack.settings.model_copy(update={"retention": RetentionSettings(real_time_days=2 * days + 2)})
        schema.migrate(settings)
        to_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS
        span = (to_ms - days * DAY_MS, to_ms)
        say(f"backtest: {SERIES} series, {days} days of minutes")
        _fill(settings, from_ms=span[0], rows=days * 1_440 * SERIES)
        return [_figure(settings, name, rule, days=days, span=span) for name, rule in RULES.items()]


def _figure(settings: Settings, name: str, document: dict[str, str], *, days: int, span: tuple[int, int]) -> Figure:
    rule = from_document({"rule_name": "Bench", "metric_name": "api_response_time", "severity": "high", **document})
    began, cpu = time.perf_counter(), time.process_time()
    history = History(settings)
    found = [
        trial
        for need in needs(rule)
        for minutes in history.minutes(
            need, history.series(need, from_ms=span[0], to_ms=span[1]), from_ms=span[0], to_ms=span[1]
        )
        for trial in trials(rule, minutes)
    ]
    episodes = sum(len(trial.episodes()) for trial in found)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    for index in range(THRESHOLDS):
        swept(found, rule.threshold + index)
    sweep_seconds = time.perf_counter() - began
    detail: dict[str, Any] = {"episodes": episodes, "cpu_seconds": cpu_seconds, "sweep_seconds": sweep_seconds}
    return Figure(
        f"backtest, {days} days of {len(found)} series: {name}",
        round(seconds, 2),
        "s",
        AIM_SECONDS,
        at_least=False,
        note=f"{cpu_seconds:.1f} s of it in Python; {THRESHOLDS} more thresholds: {sweep_seconds:.1f} s",
        detail=detail,
    )


def _fill(settings: Settings, *, from_ms: int, rows: int) -> None:
    """Latencies that go up and down with the hours, with noise."""
    client = clickhouse.connect(settings.clickhouse)
    for first in range(0, rows, _ROWS):
        parameters = {"start": from_ms // 1000, "first": first, "count": min(_ROWS, rows - first)}
        client.command(_INSERT, parameters=parameters)


_INSERT: Final = f"""
    INSERT INTO metric_rollups
    (
        tenant, metric_name, granularity, service_name, metric_type, unit, frequency, dimensions, window_start, shard,
        version, count, sum, min, max, first, last, first_at, last_at, sketch, completeness, watermark
    )
    SELECT
        'default', 'api_response_time', 'minute', concat('service-', toString(number % 10)), 'performance', 'ms',
        'real_time', map('endpoint', concat('/', toString(intDiv(number, 10) % 10))),
        toDateTime({{start:Int64}} + {MINUTE_MS // 1000} * intDiv(number, {SERIES}), 'UTC') AS at, '0-1', 1,
        20, 20 * level, level / 2, level * 2, level, level * 1.1, at, at + 50,
        map(40000 + toInt32(log(level) * 50), toUInt64(20)), 1, at
    FROM
    (
        SELECT number + {{first:UInt64}} AS number,
            greatest(1, 100 + 50 * sin(number / 7000) + randNormal(0, 10)) AS level
        FROM numbers({{count:UInt64}})
    )
"""
