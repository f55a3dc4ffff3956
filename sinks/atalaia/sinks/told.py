"""What was told of alerts, as ClickHouse has it, and the events behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.infra import clickhouse
from atalaia.infra.settings import Settings
from atalaia.schemas.catalogue import dimension_pairs
from atalaia.schemas.series import SeriesKey, dimensions_of

MOST_EVENTS: Final = 2_000_000
_FIELDS: Final = frozenset({"tenant", "service_name", "region", "affiliate_id", "unit", "frequency"})


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition, by its columns in `alert_events`."""

    columns: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]


class Told:
    """Asks ClickHouse. Raises ClickHouseUnavailable or ClickHouseRefused."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.clickhouse
        self._client: Client = clickhouse.connect(settings.clickhouse)

    def of(self, mark: str, *, limit: int = 20) -> list[Alert]:
        """The latest transitions of an alert or an episode, the last one first; each once."""
        return self._alerts("WHERE {mark:String} IN (fingerprint, episode_id, alert_id)", mark, limit)

    def of_rule(self, rule_id: str, *, limit: int = 200) -> list[Alert]:
        """The last transition of every alert of a rule."""
        return self._alerts("WHERE rule_id = {mark:String}", rule_id, limit, by="fingerprint")

    def events(
        self, metric_name: str, labels: dict[str, str], start: datetime, end: datetime
    ) -> list[tuple[SeriesKey, MinuteStats]]:
        """The events of a window by series and minute, from what was emitted: those that have these labels."""
        conditions, parameters = _span(metric_name, labels, start, end)
        dimensions = sorted(key for name, key in dimension_pairs() if name == metric_name)
        sql = _EVENTS + conditions + " ORDER BY timestamp, _offset LIMIT {most:UInt64}"
        with clickhouse.errors(self._settings):
            rows: Sequence[Any] = self._client.query(sql, parameters=parameters | {"most": MOST_EVENTS}).result_rows
        found: dict[SeriesKey, list[tuple[int, float]]] = {}
        for at_ms, value, tenant, service, region, affiliate, unit, frequency, metadata in rows:
            pairs = dimensions_of(metadata, dimensions)
            key = SeriesKey(tenant, metric_name, service, region or None, affiliate or None, unit, frequency, pairs)
            found.setdefault(key, []).append((int(at_ms), float(value)))
        return [(key, minute) for key, events in found.items() for minute in minutes_of(events)]

    def offsets(
        self, metric_name: str, labels: dict[str, str], start: datetime, end: datetime
    ) -> list[tuple[int, int, int, int]]:
        """Where the events of a window lie in Kafka: partition, first and last offset, how many."""
        conditions, parameters = _span(metric_name, labels, start, end)
        sql = _OFFSETS + conditions + " GROUP BY _partition ORDER BY _partition"
        with clickhouse.errors(self._settings):
            rows = self._client.query(sql, parameters=parameters).result_rows
        return [(int(number), int(first), int(last), int(count)) for number, first, last, count in rows]

    def _alerts(self, condition: str, mark: str, limit: int, *, by: str = "alert_id") -> list[Alert]:
        sql = _ALERTS.format(condition=condition, by=by)
        with clickhouse.errors(self._settings):
            found = self._client.query(sql, parameters={"mark": mark, "limit": limit})
        return [Alert(dict(zip(found.column_names, row, strict=True))) for row in found.result_rows]


def _span(metric_name: str, labels: dict[str, str], start: datetime, end: datetime) -> tuple[str, dict[str, Any]]:
    """What events must be like, as SQL with bound parameters."""
    parameters: dict[str, Any] = {
        "metric": metric_name,
        "start": int(start.timestamp() * 1000),
        "end": int(end.timestamp() * 1000),
    }
    clauses = [
        "WHERE metric_name = {metric:String} AND timestamp >= fromUnixTimestamp64Milli({start:Int64})",
        "AND timestamp < fromUnixTimestamp64Milli({end:Int64})",
    ]
    for index, (label, value) in enumerate(labels.items()):
        parameters |= {f"l{index}": label, f"v{index}": value}
        if label in _FIELDS:
            clauses.append(f"AND {label} = {{v{index}:String}}")
        elif (metric_name, label) in dimension_pairs():
            clauses.append(f"AND metadata[{{l{index}:String}}] = {{v{index}:String}}")
    return " ".join(clauses), parameters


_ALERTS: Final = """
    SELECT * FROM alert_events {condition}
    ORDER BY timestamp DESC, arrived_at DESC, _offset DESC LIMIT 1 BY {by} LIMIT {{limit:UInt64}}
"""
_EVENTS: Final = """
    SELECT toUnixTimestamp64Milli(timestamp), value, tenant, service_name, region, affiliate_id, unit, frequency,
        metadata
    FROM metric_events
"""
_OFFSETS: Final = "SELECT _partition, min(_offset), max(_offset), count() FROM metric_events "
