"""History for backtests: the minutes of series, as columns, out of ClickHouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from clickhouse_connect.driver.client import Client

from atalaia.alerting.backtest.minutes import GRID_MS, Ints, Minutes
from atalaia.alerting.backtest.needs import Need
from atalaia.infra import clickhouse
from atalaia.infra.settings import Settings
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import DAY_MS, MINUTE_MS

AT_ONCE: Final = 128
"""Series whose minutes are fetched in one question: a month of them is some 300 MB of columns."""
_LABELS: Final = frozenset({"tenant", "service_name", "region", "affiliate_id", "unit", "frequency"})
_NUMBERS: Final = ("count", "missing", "sum", "min", "max", "first", "last", "first_at", "last_at")
_SLICE_MS: Final = 4 * DAY_MS
"""Minutes are fetched in slices of time, which is what progress is counted in; a slice takes less than a second."""


@dataclass(frozen=True, slots=True)
class Found:
    """A series that has minutes within a span, and its number in ClickHouse."""

    series: SeriesKey
    number: int


class History:
    """Reads minutes. Raises ClickHouseUnavailable or ClickHouseRefused."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.clickhouse
        self._client: Client = clickhouse.connect(settings.clickhouse)

    def series(self, need: Need, *, from_ms: int, to_ms: int) -> list[Found]:
        """The series that a rule needs and that have minutes within a span; the widest span is looked at."""
        conditions, parameters = _conditions(need)
        span = {"from": (from_ms - need.before_ms) // 1000, "to": -(-to_ms // 1000), "metric": need.metric_name}
        sql = _SERIES.format(conditions=conditions)
        with clickhouse.errors(self._settings):
            rows = self._client.query(sql, parameters=parameters | span).result_rows
        return [_found(need.metric_name, row) for row in rows]

    def minutes(self, need: Need, found: Sequence[Found], *, from_ms: int, to_ms: int) -> Iterator[list[Minutes]]:
        """The minutes of series, up to `AT_ONCE` of them at a time; they begin as long before as the rule needs."""
        for first in range(0, len(found), AT_ONCE):
            yield self._fetch(need, found[first : first + AT_ONCE], from_ms=from_ms - need.before_ms, to_ms=to_ms)

    def _fetch(self, need: Need, found: Sequence[Found], *, from_ms: int, to_ms: int) -> list[Minutes]:
        ordered = sorted(found, key=lambda each: each.number % (1 << 64))
        columns = [Minutes.empty(each.series, from_ms=from_ms, to_ms=to_ms) for each in ordered]
        marks = np.array([each.number % (1 << 64) for each in ordered], np.uint64)
        parts: list[list[tuple[Ints, Ints, Ints]]] = [[] for _ in ordered]
        start_ms = from_ms - from_ms % GRID_MS
        for slice_ms in range(start_ms, to_ms, _SLICE_MS):
            parameters = {
                "metric": need.metric_name,
                "tenants": sorted({each.series.tenant for each in ordered}),
                "services": sorted({each.series.service_name for each in ordered}),
                "numbers": [each.number for each in ordered],
                "start": start_ms // 1000,
                "from": slice_ms // 1000,
                "to": min(slice_ms + _SLICE_MS, to_ms) // 1000,
            }
            with clickhouse.errors(self._settings):
                for mark, at, numbers in self._blocks(_MINUTES, parameters):
                    _fill(columns, np.searchsorted(marks, mark), at, numbers)
                if need.with_sketch:
                    for mark, at, (buckets, counts) in self._blocks(_SKETCHES, parameters):
                        _gather(parts, np.searchsorted(marks, mark), at, buckets, counts)
        return [_sketched(each, part) for each, part in zip(columns, parts, strict=True)]

    def _blocks(self, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, Any, list[Any]]]:
        """Blocks of an answer: the series' marks, the minutes' numbers, and the other columns."""
        with self._client.query_np_stream(sql, parameters=parameters) as stream:
            for block in stream:
                names = block.dtype.names
                yield block[names[0]], block[names[1]].astype(np.int64), [block[name] for name in names[2:]]


def _conditions(need: Need) -> tuple[str, dict[str, str]]:
    """What a series must be like, as SQL with bound parameters; an empty value is what was not said."""
    clauses = []
    parameters = {}
    for index, (label, value) in enumerate(need.equal):
        parameters[f"value{index}"] = value
        if label in _LABELS:
            clauses.append(f"AND {label} = {{value{index}:String}}")
        elif label != "metric_name":
            parameters[f"label{index}"] = label
            clauses.append(f"AND dimensions[{{label{index}:String}}] = {{value{index}:String}}")
    return " ".join(clauses), parameters


def _found(metric_name: str, row: Sequence[Any]) -> Found:
    tenant, service_name, region, affiliate_id, unit, frequency, dimensions, number = row
    key = SeriesKey(
        tenant=tenant,
        metric_name=metric_name,
        service_name=service_name,
        region=region or None,
        affiliate_id=affiliate_id or None,
        unit=unit,
        frequency=frequency,
        dimensions=tuple(sorted(dimensions.items())),
    )
    return Found(key, int(number))


def _fill(columns: Sequence[Minutes], which: Any, at: Ints, numbers: Sequence[Any]) -> None:
    """Puts the rows of a block where they belong."""
    order = np.argsort(which, kind="stable")
    series, begins = np.unique(which[order], return_index=True)
    for index, rows in zip(series.tolist(), np.split(order, begins[1:]), strict=True):
        target = columns[index]
        for name, column in zip(_NUMBERS, numbers, strict=True):
            getattr(target, name)[at[rows]] = column[rows]


def _gather(parts: list[list[tuple[Ints, Ints, Ints]]], which: Any, at: Ints, buckets: Any, counts: Any) -> None:
    order = np.argsort(which, kind="stable")
    series, begins = np.unique(which[order], return_index=True)
    for index, rows in zip(series.tolist(), np.split(order, begins[1:]), strict=True):
        parts[index].append((at[rows], buckets[rows].astype(np.int64), counts[rows].astype(np.int64)))


def _sketched(minutes: Minutes, parts: Iterable[tuple[Ints, Ints, Ints]]) -> Minutes:
    found = list(parts)
    if not found:
        return minutes
    at, buckets, counts = (np.concatenate([part[column] for part in found]) for column in range(3))
    return replace(minutes, sketch=(at, buckets, counts))


_SERIES: Final = """
    SELECT tenant, service_name, region, affiliate_id, unit, frequency, any(dimensions), series_id
    FROM metric_rollups
    WHERE metric_name = {{metric:String}} AND granularity = 'minute'
        AND window_start >= toDateTime({{from:Int64}}, 'UTC') AND window_start < toDateTime({{to:Int64}}, 'UTC')
        {conditions}
    GROUP BY tenant, service_name, region, affiliate_id, unit, frequency, series_id
    ORDER BY tenant, service_name, region, affiliate_id, unit, frequency, series_id
"""
# The latest version of each row, the shards of a minute added up: as the view `metric_windows` has it, by what makes
# the rows cheap to take in: numbers alone.
_ROWS: Final = """
    FROM metric_rollups AS r FINAL
    PREWHERE r.tenant IN {tenants:Array(String)} AND r.metric_name = {metric:String} AND r.granularity = 'minute'
        AND r.service_name IN {services:Array(String)} AND r.series_id IN {numbers:Array(UInt128)}
        AND r.window_start >= toDateTime({from:Int64}, 'UTC') AND r.window_start < toDateTime({to:Int64}, 'UTC')
"""
_MINUTES: Final = f"""
    SELECT toUInt64(r.series_id % 18446744073709551616) AS mark,
        intDiv(toInt64(toUnixTimestamp(r.window_start)) - {{start:Int64}}, {MINUTE_MS // 1000}) AS at,
        toInt64(sum(r.count)), greatest(sum(r.missing), 0), sum(r.sum), min(r.min), max(r.max),
        argMin(r.first, (r.first_at, r.shard)), argMax(r.last, (r.last_at, r.shard)),
        toInt64(toUnixTimestamp64Milli(min(r.first_at))), toInt64(toUnixTimestamp64Milli(max(r.last_at)))
    {_ROWS}
    GROUP BY r.series_id, r.window_start
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""
_SKETCHES: Final = f"""
    SELECT toUInt64(r.series_id % 18446744073709551616) AS mark,
        intDiv(toInt64(toUnixTimestamp(r.window_start)) - {{start:Int64}}, {MINUTE_MS // 1000}) AS at,
        bucket, toInt64(sum(seen))
    {_ROWS.replace("PREWHERE", "ARRAY JOIN mapKeys(r.sketch) AS bucket, mapValues(r.sketch) AS seen PREWHERE")}
    GROUP BY r.series_id, r.window_start, bucket
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""
