"""How long a tick takes that judges ten thousand rule-series, on one core, where everything has changed.

The rules are those of a service catalogue: error budgets over several windows, percentiles, levels, changes, silence;
each on a thousand services. Before every tick each series has had another event; every sixtieth begins a minute, in
which all windows slide.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import process_time
from typing import Final

from benchmarks.narration import say
from benchmarks.report import Figure

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.promql import parse, split
from atalaia.alerting.rules import Comparison, Rule
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS
from atalaia.streams.process import GC_THRESHOLDS

TICK_AIM_S: Final = 1.0
SERVICES: Final = 1_000
START_MS: Final = 1_700_000_000_000 // HOUR_MS * HOUR_MS
_METRICS: Final = ("bench_requests", "bench_errors", "bench_latency", "bench_level")
_BURN: Final = (
    "sum by (job) (rate(bench_errors[{0}])) / sum by (job) (rate(bench_requests[{0}])) > 0.05 "
    "and sum by (job) (rate(bench_errors[{1}])) / sum by (job) (rate(bench_requests[{1}])) > 0.05"
)
EXPRESSIONS: Final = (
    _BURN.format("1h", "5m"),
    _BURN.format("6h", "30m"),
    _BURN.format("1d", "2h"),
    _BURN.format("3d", "6h"),
    "quantile_over_time(0.95, bench_latency[5m]) > 500",
    "avg by (job) (avg_over_time(bench_level[15m])) > 50",
    "sum by (job) (rate(bench_requests[10m])) > 2 * sum by (job) (rate(bench_requests[10m] offset 1h))",
    "max_over_time(bench_level[10m]) - min_over_time(bench_level[10m]) > 50",
    "sum by (job) (increase(bench_requests[5m])) < 100",
    "bench_level > 50 unless on (job) increase(bench_errors[5m]) > 10",
)


def measure(ticks: int, _: Path) -> list[Figure]:
    """How long the longest tick takes of rules that look over many series, and of rules on single ones."""
    gc.set_threshold(*GC_THRESHOLDS)  # as a worker has them
    return [_figure("shared", _shared(ticks)), _figure("local", _local(ticks))]


def _figure(kind: str, seconds: Sequence[float]) -> Figure:
    rule_series = len(EXPRESSIONS) * SERVICES
    note = f"{rule_series:,} rule-series, every series touched; p50 {median(seconds):.2f} s over {len(seconds)} ticks"
    detail = {"seconds": [round(each, 4) for each in seconds], "rule_series": rule_series}
    name = f"a tick of {kind} rules, the longest"
    return Figure(name, max(seconds), "s", TICK_AIM_S, at_least=False, note=note, detail=detail)


def _shared(ticks: int) -> list[float]:
    say("shared rules")
    judge = SharedJudge([_rule(number, text) for number, text in enumerate(EXPRESSIONS)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for minute in range(120):
        for series in range(SERVICES):
            for metric in _METRICS:
                judge.observe(*_minute(metric, series, START_MS + minute * MINUTE_MS, second=30))
    now_ms = START_MS + 120 * MINUTE_MS + 30_000
    judge.advance(now_ms)
    seconds = []
    for _ in range(ticks):
        now_ms += 1_000
        changed = [
            _minute(metric, series, now_ms - now_ms % MINUTE_MS, second=now_ms % MINUTE_MS // 1_000)
            for series in range(SERVICES)
            for metric in _METRICS
        ]
        begun = process_time()
        for each in changed:
            judge.observe(*each)
        judge.advance(now_ms)
        seconds.append(process_time() - begun)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    say(f"{len(EXPRESSIONS) * SERVICES:,} rule-series, {len(judge):,} alerts, {used:,.0f} MiB")
    return seconds


def _local(ticks: int) -> list[float]:
    say("local rules")
    aggregates = (Aggregate.AVG, Aggregate.MAX, Aggregate.MIN, Aggregate.LAST, Aggregate.P95)
    rules = [
        Rule(
            rule_id=f"{aggregate}-{minutes}",
            name="Local",
            metric_name=_METRICS[3],
            aggregate=aggregate,
            window=timedelta(minutes=minutes),
            comparison=Comparison.ABOVE,
            threshold=50,
        )
        for aggregate in aggregates
        for minutes in (5, 60)
    ]
    judge, now_ms = Judge(rules), START_MS
    judge.tick(now_ms)
    seconds = []
    for _ in range(ticks):
        now_ms += 1_000
        begun = process_time()
        for series in range(SERVICES):
            key, identity, _ = _minute(_METRICS[3], series, START_MS, second=0)
            (event,) = minutes_of([(now_ms, float((series * 7 + now_ms // 1_000) % 100))])
            judge.observe(key, identity, event, now_ms)
        judge.tick(now_ms)
        seconds.append(process_time() - begun)
    return seconds


def _rule(number: int, text: str) -> Rule:
    expression, comparison, threshold = split(parse(text))
    first = next(name for name in text.replace("(", " ").replace("[", " ").split() if name.startswith("bench_"))
    return Rule(
        rule_id=f"rule-{number}",
        name=f"Rule {number}",
        metric_name=first,
        comparison=comparison,
        threshold=threshold or 0.0,
        expression=expression,
        hold=timedelta(minutes=2),
    )


_KEYS: dict[tuple[str, int], tuple[bytes, SeriesKey]] = {}


def _minute(metric: str, number: int, start_ms: int, *, second: int) -> tuple[bytes, SeriesKey, MinuteStats]:
    """A minute of a series as far as it has come: half of the services are in trouble."""
    found = _KEYS.get((metric, number))
    if found is None:
        series = SeriesKey("default", metric, f"service-{number}", "BR", None, "1", "real_time")
        found = _KEYS[metric, number] = (series.record_key(), series)
    events, value = second + 1, float((number * 37 + start_ms // MINUTE_MS) % 100)
    if metric == "bench_errors":
        value = 1.0 if number % 2 else 0.01
    elif metric == "bench_requests":
        value = 10.0
    last = start_ms + second * 1_000
    bucket = 40_000 + int(value)
    stats = MinuteStats(start_ms, events, events * value, value, value, value, start_ms, value, last, {bucket: events})
    return (*found, stats)
