"""The replay: every purchase through the producer library, and what ClickHouse has of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from clickhouse_connect.driver.client import Client

from atalaia.cli.demo.cdnow import Sale
from atalaia.cli.demo.verdict import Tally
from atalaia.infra.errors import Failure
from atalaia.producers import Delivery, Emitter, Outcome

METRIC: Final = "revenue_daily"
UNIT: Final = "USD"
STALLED_AFTER: Final = timedelta(seconds=60)
"""Nothing new for so long: it won't come any more."""
FLUSH_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.3
_SAY_EVERY: Final = 1_000

PLACES: Final = {
    "raw events (metrics)": "SELECT count(), toInt64(round(sum(value) * 100)) FROM metrics",
    "per day (metrics_1d)": "SELECT sum(count), toInt64(round(sum(sum) * 100)) FROM metrics_1d",
    "per month (metrics_1mo)": "SELECT sum(count), toInt64(round(sum(sum) * 100)) FROM metrics_1mo",
}
"""Where the purchases can be counted, and how."""

_OF_THIS_RUN: Final = " WHERE metric_name = {metric:String} AND service_name = {service:String}"
_BY_MONTH: Final = (
    "SELECT window_start, sum(sum) FROM metrics_1mo "
    "WHERE metric_name = {metric:String} AND service_name = {service:String} "
    "GROUP BY window_start ORDER BY window_start"
)


def service_of(run: datetime) -> str:
    """The service that a run's purchases belong to.

    Each run has its own, so that a second run on the same state neither adds to the first one's windows nor has to
    delete anything, and either can be checked on its own at any later time.

    >>> service_of(datetime(2026, 1, 31, 9, 30, 5, tzinfo=UTC))
    'cdnow-shop-20260131-093005'
    """
    return f"cdnow-shop-{run.astimezone(UTC):%Y%m%d-%H%M%S}"


class Acknowledged:
    """Counts what the brokers have confirmed, and nothing else. Told from the producer's one background thread."""

    def __init__(self) -> None:
        self.purchases = 0
        self.cents = 0
        self.lost: str | None = None

    def take(self, cents: int, outcome: Outcome) -> None:
        """One event's fate."""
        if isinstance(outcome, Delivery):
            self.purchases += 1
            self.cents += cents
        else:
            self.lost = str(outcome)

    @property
    def tally(self) -> Tally:
        """What is confirmed by now."""
        return Tally(self.purchases, self.cents)


def replay(producer: Emitter, sales: Iterable[Sale], reached: Callable[[int], None]) -> Tally:
    """Emits every sale and returns what was acknowledged; `reached` hears of acknowledged ones."""
    seen = Acknowledged()
    for number, sale in enumerate(sales):
        bought = sale.purchase
        producer.emit(
            METRIC,
            bought.dollars,
            unit=UNIT,
            timestamp=sale.at,
            metadata={"customer": bought.customer, "cds": str(bought.cds)},
            on_delivery=partial(seen.take, bought.cents),
        )
        if number % _SAY_EVERY == 0:
            reached(seen.purchases)
    while producer.flush(_LOOK_SECONDS).queued:
        reached(seen.purchases)
    reached(seen.purchases)
    if seen.lost is not None:
        raise Failure(f"Kafka did not take every purchase: {seen.lost}; `atalaia logs kafka` may say why")
    return seen.tally


def tally(client: Client, place: str, service: str) -> Tally:
    """What ClickHouse has of a run's purchases in one place, now."""
    found = client.query(PLACES[place] + _OF_THIS_RUN, parameters={"metric": METRIC, "service": service})
    purchases, cents = found.result_rows[0]
    return Tally(int(purchases), int(cents))


def await_tally(client: Client, place: str, service: str, expected: Tally, reached: Callable[[int], None]) -> Tally:
    """Returns when all purchases are there, or when for STALLED_AFTER no new one has come."""
    latest, moved_at = Tally(), time.monotonic()
    while True:
        found = tally(client, place, service)
        now = time.monotonic()
        if found != latest:
            latest, moved_at = found, now
        reached(found.purchases)
        if found.purchases >= expected.purchases or now - moved_at > STALLED_AFTER.total_seconds():
            return found
        time.sleep(_LOOK_SECONDS)


def by_month(client: Client, service: str) -> list[tuple[datetime, float]]:
    """Revenue per month, oldest first, from the monthly rollups."""
    found = client.query(_BY_MONTH, parameters={"metric": METRIC, "service": service})
    return [(start, float(revenue)) for start, revenue in found.result_rows]
