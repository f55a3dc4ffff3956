"""What ClickHouse says of a trial: raw events by id, windows as the views show them, dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from benchmarks.trials.ledger import Entry, Line
from benchmarks.trials.oracle import Totals, Windows, series_of

from atalaia.infra import clickhouse
from atalaia.infra.settings import RetentionSettings, Settings
from atalaia.schemas.events import Granularity
from atalaia.schemas.topics import METRICS

_VIEWS: Final = {
    Granularity.MINUTE: "metrics_1m",
    Granularity.HOUR: "metrics_1h",
    Granularity.DAY: "metrics_1d",
    Granularity.MONTH: "metrics_1mo",
}
_WINDOWS: Final = """
    SELECT metric_name, service_name, region, affiliate_id, mapSort(dimensions), toUnixTimestamp(window_start),
        count, sum, min, max, first, last, p50, p95
    FROM {view}
"""
_EXAMPLES: Final = 5


class Tables:
    """One connection to the stack's ClickHouse."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = clickhouse.connect(settings.clickhouse)

    def close(self) -> None:
        """Frees the connection."""
        self._client.close()

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        with clickhouse.errors(self._settings.clickhouse):
            return list(self._client.query(query).result_rows)

    def raw_faults(self, entries: Iterable[Entry]) -> list[str]:
        """Acknowledged events that are not in metric_events exactly once."""
        found = Counter(str(event_id) for (event_id,) in self.rows("SELECT event_id FROM metric_events"))
        ids = [entry.event_id for entry in entries]
        lost = [event_id for event_id in ids if not found[event_id]]
        twice = [event_id for event_id in ids if found[event_id] > 1]
        said = [(lost, "acknowledged and not in metric_events"), (twice, "in metric_events more than once")]
        return [f"{len(of)} events {what}: {', '.join(of[:_EXAMPLES])}, …" for of, what in said if of]

    def totals(self, mine: set[Line]) -> Windows:
        """The windows of these series as the views show them."""
        found: Windows = {}
        for granularity, view in _VIEWS.items():
            for metric, service, region, affiliate, dimensions, start, *numbers in self.rows(
                _WINDOWS.format(view=view)
            ):
                line = Line(metric, service, region or None, affiliate or None, tuple(dimensions.items()))
                if line in mine:
                    count, total, low, high, first, last, p50, p95 = numbers
                    found[line, granularity, start * 1000] = Totals(count, total, low, high, first, last, (p50, p95))
        return found

    def dead_letters(self) -> dict[tuple[int, int], list[tuple[str, bytes]]]:
        """Reason and bytes of each row in dead_letters, by the partition and offset of the original metric record."""
        query = f"SELECT partition, offset, reason, hex(value) FROM dead_letters WHERE topic = '{METRICS.name}'"
        found: dict[tuple[int, int], list[tuple[str, bytes]]] = {}
        for partition, offset, reason, value in self.rows(query):
            found.setdefault((partition, offset), []).append((reason, bytes.fromhex(value)))
        return found


def kept(wanted: Windows, retention: RetentionSettings, *, now: datetime) -> Windows:
    """The windows that are younger than their retention by a day: older ones may be gone, rightly."""
    days = {
        Granularity.MINUTE: retention.real_time_days,
        Granularity.HOUR: retention.hourly_days,
        Granularity.DAY: retention.daily_days,
        Granularity.MONTH: retention.monthly_days,
    }
    since = {granularity: (now - timedelta(days=count - 1)).timestamp() * 1000 for granularity, count in days.items()}
    return {key: totals for key, totals in wanted.items() if key[2] >= since[key[1]]}


def series(entries: Iterable[Entry]) -> set[Line]:
    """The series of these events."""
    return {series_of(entry.line) for entry in entries}


def now() -> datetime:
    """The moment, UTC."""
    return datetime.now(UTC)
