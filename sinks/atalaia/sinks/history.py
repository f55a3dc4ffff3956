"""History for backtests: the minutes of series, as columns, out of ClickHouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from atalaia.alerting.backtest.minutes import GRID_MS, Ints, Minutes
from atalaia.alerting.backtest.needs import Need
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.infra import clickhouse
from atalaia.infra.settings import Settings
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import DAY_MS, MINUTE_MS

AT_ONCE: Final = 128
"""Series whose minutes are fetched in one question: a month of them is some 300 MB of columns."""
_LABELS: Final = frozenset({"tenant", "service_name", "region", "affiliate_id", "unit", "frequency"})
_NUMBERS: Final = ("count", "missing", "sum", "min", "max", "first", "last", "first_at", "last_at")
_SLICE_MS: Final = 5 * DAY_MS
"""Minutes are fetched in slices of time, which is what progress is counted in; a slice takes less than a second."""


_Table: TypeAlias = NDArray[Any]
"""Rows whose columns have names."""


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
        columns = [Minutes.empty(each.series, from_ms=from_ms, to_ms=to_ms) for each in found]
        parts: list[list[tuple[Ints, Ints, Ints]]] = [[] for _ in found]
        start_ms = from_ms - from_ms % GRID_MS
        for slice_ms in range(start_ms, to_ms, _SLICE_MS):
            parameters = {
                "metric": need.metric_name,
                "tenants": sorted({each.series.tenant for each in found}),
                "services": sorted({each.series.service_name for each in found}),
                "numbers": [each.number for each in found],
                "start": start_ms // 1000,
                "from": slice_ms // 1000,
                "to": -(-min(slice_ms + _SLICE_MS, to_ms) // 1000),
            }
            for index, rows in _by_series(self._rows(_MINUTES, _ROW, parameters)):
                _fill(columns[index], rows)
            if need.with_sketch:
                for index, rows in _by_series(self._rows(_SKETCHES, _BUCKET, parameters)):
                    at, buckets, counts = (rows[name].astype(np.int64) for name in ("at", "bucket", "count"))
                    parts[index].append((at, buckets, counts))
        return [_sketched(each, part) for each, part in zip(columns, parts, strict=True)]

    def _rows(self, sql: str, row: np.dtype[Any], parameters: dict[str, Any]) -> _Table:
        """The rows of an answer that is numbers alone, as ClickHouse packs them."""
        with clickhouse.errors(self._settings):
            packed = self._client.raw_query(sql, parameters=parameters, fmt="RowBinary")
        return np.frombuffer(packed, row)


def _by_series(rows: _Table) -> Iterator[tuple[int, _Table]]:
    """The rows of each series, which are numbered from 1."""
    if not len(rows):
        return
    order = np.argsort(rows["series"], kind="stable")
    numbers, begins = np.unique(rows["series"][order], return_index=True)
    for number, chosen in zip(numbers.tolist(), np.split(order, begins[1:]), strict=True):
        yield number - 1, rows[chosen]


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


def _fill(target: Minutes, rows: _Table) -> None:
    """Puts the rows of a series where they belong: of each minute the latest version of each shard, added up."""
    places = rows["at"]
    for name in _NUMBERS:
        getattr(target, name)[places] = rows[name]
    for name in ("first_at", "last_at"):
        getattr(target, name)[places] += target.start_ms + places.astype(np.int64) * MINUTE_MS
    several = np.bincount(places, minlength=len(target))[places] > 1
    if several.any():
        _add_up(target, rows[several])


def _add_up(target: Minutes, rows: _Table) -> None:
    latest: dict[tuple[int, int], Any] = {}
    for row in rows:
        shard = int(row["at"]), int(row["shard"])
        if shard not in latest or row["version"] > latest[shard]["version"]:
            latest[shard] = row
    minutes: dict[int, MinuteStats] = {}
    for (at, _), row in sorted(latest.items(), key=lambda each: each[0]):
        start_ms = target.start_ms + at * MINUTE_MS
        first_at, last_at = start_ms + int(row["first_at"]), start_ms + int(row["last_at"])
        count, missing, total, least, most, first, last = (row[name].item() for name in _NUMBERS[:7])
        minute = MinuteStats(start_ms, count, total, least, most, first, first_at, last, last_at, {}, missing)
        minutes[at] = minute if at not in minutes else minutes[at].add(minute)
    for at, minute in minutes.items():
        for name in _NUMBERS:
            getattr(target, name)[at] = getattr(minute, name)


def _sketched(minutes: Minutes, parts: Iterable[tuple[Ints, Ints, Ints]]) -> Minutes:
    found = list(parts)
    if not found:
        return minutes
    at, buckets, counts = (np.concatenate([part[column] for part in found]) for column in range(3))
    return replace(minutes, sketch=(at, buckets, counts))


# Labels are read of one minute of each series: of all of them it would take as long as the backtest.
_SERIES: Final = """
    SELECT DISTINCT tenant, service_name, region, affiliate_id, unit, frequency, mapSort(dimensions), series_id
    FROM metric_rollups
    WHERE metric_name = {{metric:String}} AND granularity = 'minute' {conditions}
        AND (series_id, window_start) IN
        (
            SELECT series_id, max(window_start) FROM metric_rollups
            WHERE metric_name = {{metric:String}} AND granularity = 'minute'
                AND window_start >= toDateTime({{from:Int64}}, 'UTC') AND window_start < toDateTime({{to:Int64}}, 'UTC')
            GROUP BY tenant, service_name, series_id
        )
    ORDER BY tenant, service_name, region, affiliate_id, unit, frequency, series_id
"""
# Every version of every row: the latest of each is picked here, for few minutes have several, and FINAL would look for
# them in all. What is fetched are numbers alone.
_ROWS: Final = """
    FROM metric_rollups AS r
    PREWHERE r.tenant IN {tenants:Array(String)} AND r.metric_name = {metric:String} AND r.granularity = 'minute'
        AND r.service_name IN {services:Array(String)}
        AND r.window_start >= toDateTime({from:Int64}, 'UTC') AND r.window_start < toDateTime({to:Int64}, 'UTC')
    WHERE r.series_id IN {numbers:Array(UInt128)}
"""
_MINUTES: Final = f"""
    SELECT toUInt8(indexOf({{numbers:Array(UInt128)}}, r.series_id)),
        toUInt32(intDiv(toUnixTimestamp(r.window_start) - {{start:Int64}}, {MINUTE_MS // 1000})),
        toUInt32(cityHash64(r.shard)), r.version, toUInt32(r.count), toInt32(r.missing), r.sum, r.min, r.max, r.first,
        r.last, toUInt16(dateDiff('millisecond', r.window_start, r.first_at)),
        toUInt16(dateDiff('millisecond', r.window_start, r.last_at))
    {_ROWS}
"""
_ROW: Final = np.dtype(
    [
        ("series", "u1"),
        ("at", "<u4"),
        ("shard", "<u4"),
        ("version", "<u8"),
        ("count", "<u4"),
        ("missing", "<i4"),
        *((name, "<f8") for name in ("sum", "min", "max", "first", "last")),
        ("first_at", "<u2"),
        ("last_at", "<u2"),
    ]
)
_SKETCHES: Final = f"""
    SELECT series, at, bucket, toUInt32(sum(seen)) FROM
    (
        SELECT toUInt8(indexOf({{numbers:Array(UInt128)}}, r.series_id)) AS series,
            toUInt32(intDiv(toUnixTimestamp(r.window_start) - {{start:Int64}}, {MINUTE_MS // 1000})) AS at,
            r.sketch AS sketch
        {_ROWS}
        ORDER BY r.version DESC
        LIMIT 1 BY r.series_id, r.window_start, r.shard
    )
    ARRAY JOIN mapKeys(sketch) AS bucket, mapValues(sketch) AS seen
    GROUP BY series, at, bucket
"""  # noqa: S608 - of constants
_BUCKET: Final = np.dtype([("series", "u1"), ("at", "<u4"), ("bucket", "<i4"), ("count", "<u4")])
