"""The SQL that compares raw with rollups, window by window. Raw is added up anew, from nothing but the events.

A window is taken apart by series and by Kafka partition: what has to agree there agrees in every sum of it.
"""

# ruff: noqa: S608 - SQL is what this file makes, of our own names and of numbers

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atalaia.infra.settings import RetentionSettings
from atalaia.schemas.catalogue import dimension_pairs
from atalaia.schemas.events import Granularity
from atalaia.schemas.versions import offset_sql
from atalaia.sinks.schema import FREQUENCIES, GRANULARITIES, by_tier, tier_days
from atalaia.sinks.verify import SUM_TOLERANCE


def _dimensions() -> str:
    pairs = dimension_pairs()
    metrics = ", ".join(f"'{name}'" for name in sorted({name for name, _ in pairs}))
    of_series = ", ".join(f"('{name}', '{key}')" for name, key in pairs)
    kept = f"mapSort(mapFilter((k, v) -> (metric_name, k) IN ({of_series}), metadata))"
    return f"if(metric_name IN ({metrics}), {kept}, mapFilter((k, v) -> false, metadata))"


DIMENSIONS: Final = _dimensions()
"""The part of an event's metadata that is part of its series, as the catalogue says."""
LABELS: Final = ("tenant", "metric_name", "service_name", "region", "affiliate_id", "unit", "frequency")
EXAMPLES: Final = 50
"""So many differing windows are listed."""

_WINDOW: Final = {
    Granularity.MINUTE: "toStartOfMinute(timestamp)",
    Granularity.HOUR: "toStartOfHour(timestamp)",
    Granularity.DAY: "toDateTime(toStartOfDay(timestamp), 'UTC')",
    Granularity.MONTH: "toDateTime(toStartOfMonth(timestamp), 'UTC')",
}
"""The start of an event's window as ClickHouse computes it: not by the stream worker's arithmetic."""

_SPILL: Final = "SETTINGS max_bytes_before_external_group_by = 400000000"
"""Windows may be many: above this, ClickHouse groups on disk."""


_LENGTH: Final = {
    Granularity.MINUTE: "toIntervalMinute(1)",
    Granularity.HOUR: "toIntervalHour(1)",
    Granularity.DAY: "toIntervalDay(1)",
    Granularity.MONTH: "toIntervalMonth(1)",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which windows: those that lie in [`start`, `end`), and of which no event can be past retention at `now`.

    `whole`: raw is known to have every event that there ever was; then only the rollups' own retention counts.
    """

    granularity: Granularity
    retention: RetentionSettings
    now: datetime
    whole: bool = False
    start: datetime | None = None
    end: datetime | None = None

    def sql(self, window: str) -> str:
        """The same as a condition on the start of a window; the row's frequency must be at hand."""
        days = dict(zip(GRANULARITIES, tier_days(self.retention), strict=True))[self.granularity]
        kept = str(days) if self.whole else f"least({days}, {by_tier('frequency', FREQUENCIES, self.retention)})"
        parts = [f"{window} > {_instant(self.now)} - toIntervalDay({kept})"]
        parts += [f"{window} >= {_instant(self.start)}"] if self.start else []
        parts += [f"{self.end_of(window)} <= {_instant(self.end)}"] if self.end else []
        return " AND ".join(parts)

    def end_of(self, window: str) -> str:
        """The end of a window, from the SQL of its start."""
        return f"{window} + {_LENGTH[self.granularity]}"


def overview(scope: Scope) -> str:
    """One row: windows, events, windows that don't agree, the start of the first that doesn't, windows without events.

    A rollup that is simply not as far as raw doesn't agree either: `differences` tells.
    """
    return f"""
        SELECT count(), sum(raw_count), countIf(bad), toUnixTimestamp(minIf(start, bad)), countIf(raw_count = 0) FROM
        (
            SELECT any(start) AS start, sumIf(count, raw) AS raw_count,
                raw_count != sumIf(count, NOT raw)
                OR abs(sumIf(sum, raw) - sumIf(sum, NOT raw)) > {SUM_TOLERANCE!r} * sum(magnitude)
                OR minIf(min, raw) != minIf(min, NOT raw) OR maxIf(max, raw) != maxIf(max, NOT raw) AS bad
            FROM
            (
                SELECT id, any(start) AS start, true AS raw, count() AS count, sum(value) AS sum, min(value) AS min,
                    max(value) AS max, sum(abs(value)) AS magnitude
                FROM ({events(scope)}) GROUP BY id
                UNION ALL
                SELECT id, any(start) AS start, false AS raw, sum(r.count) AS count, sum(r.sum) AS sum,
                    min(r.min) AS min, max(r.max) AS max, 0. AS magnitude
                FROM ({rows(scope)}) AS r GROUP BY id
            )
            GROUP BY id
        )
        {_SPILL}
    """


def differences(scope: Scope, first: datetime, ends: Mapping[int, int]) -> str:
    """The windows from `first` on that differ, told exactly. Rows of `differing` and `missing` counts, then COLUMNS.

    Of each window the events up to the last that its rollup knows of are compared with it. Later ones are missing
    where their offset is below `ends` (by partition), that is, where the rollup should know of them by now.
    """
    due = f"_offset < transform(_partition, {list(ends)!r}, {list(ends.values())!r}, 0)"
    known = "rollup.count > 0 AND _offset <= rollup.version"
    return f"""
        SELECT count() OVER () AS differing, * FROM
        (
            SELECT {", ".join(f"any({label})" for label in LABELS)},
                toUnixTimestamp(any(start)), any(_partition),
                countIf({known}) AS n, sumIf(value, {known}) AS s, minIf(value, {known}) AS lo,
                maxIf(value, {known}) AS hi,
                any(rollup.count) AS rn, any(rollup.sum) AS rs, any(rollup.min) AS rlo, any(rollup.max) AS rhi,
                countIf(NOT ({known}) AND {due}) AS missing,
                sumIf(abs(value), {known}) AS magnitude
            FROM ({events(scope, first)}) AS event
            LEFT JOIN
            (
                SELECT id, sum(r.count) AS count, sum(r.sum) AS sum, min(r.min) AS min, max(r.max) AS max,
                    max({offset_sql("r.version")}) AS version
                FROM ({rows(scope, first)}) AS r GROUP BY id
            ) AS rollup USING (id)
            GROUP BY id
        )
        WHERE missing > 0 OR n != rn OR lo != rlo OR hi != rhi OR abs(s - rs) > {SUM_TOLERANCE!r} * magnitude
        ORDER BY 9, 2 LIMIT {EXAMPLES}
        {_SPILL}
    """


def orphans(scope: Scope) -> str:
    """Rollups of windows that have no event at all, in the shape of `differences`."""
    return f"""
        SELECT count() OVER () AS differing, {", ".join(f"any({label})" for label in LABELS)},
            toUnixTimestamp(any(start)), any(_partition), 0, 0., 0., 0.,
            sum(r.count), sum(r.sum), min(r.min), max(r.max), 0, 0.
        FROM ({rows(scope)}) AS r
        WHERE id NOT IN (SELECT id FROM ({events(scope)}))
        GROUP BY id
        ORDER BY 9, 2 LIMIT {EXAMPLES}
        {_SPILL}
    """


def events(scope: Scope, first: datetime | None = None, *, more: str = "") -> str:
    """Events with the identity (`id`) and the start of the window that they are in; `more` columns by their names."""
    window = _WINDOW[scope.granularity]
    since = f" AND timestamp >= {_instant(first)}" if first else ""
    return f"""
        SELECT {_id(f"toString({DIMENSIONS})", window)} AS id, {window} AS start, _partition, _offset, value,
            {", ".join(LABELS)}{more}
        FROM metric_events WHERE {scope.sql(window)}{since}
    """


def rows(scope: Scope, first: datetime | None = None) -> str:
    """Rollup rows with the identity of their window. A shard is partition-offset."""
    since = f" AND window_start >= {_instant(first)}" if first else ""
    return f"""
        SELECT {_id("toString(mapSort(dimensions))", "window_start")} AS id, window_start AS start,
            toUInt16(splitByChar('-', shard)[1]) AS _partition, toUInt64(splitByChar('-', shard)[2]) AS opened,
            count, sum, min, max, version, {", ".join(LABELS)}
        FROM metric_rollups FINAL
        WHERE granularity = '{scope.granularity}' AND {scope.sql("window_start")}{since}
    """


def _id(dimensions: str, window: str) -> str:
    return f"sipHash128({', '.join(LABELS)}, {dimensions}, toUnixTimestamp({window}), _partition)"


def _instant(at: datetime) -> str:
    return f"toDateTime({int(at.timestamp())}, 'UTC')"
