"""The counts of an objective in the real engine are those of its windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_http import Server
from sink_data import NOW_MS
from slo_data import BAD, HOUR_NOW, HOURS, REQUESTS, fill

from atalaia.alerting.slo.document import from_document
from atalaia.alerting.slo.history import counts, standings
from atalaia.alerting.slo.objectives import Slo
from atalaia.infra import clickhouse
from atalaia.schemas.events import Granularity
from atalaia.schemas.windows import HOUR_MS

ERRORS = {"bad": 'http_requests{status_class="5xx"}', "total": "http_requests"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A database with two days of an API."""
    with Server(tmp_path_factory.mktemp("slo") / "data") as running:
        connected = clickhouse.connect(fill(running.url).clickhouse)
        yield connected
        connected.close()


def slo(sli: object, **fields: object) -> Slo:
    """99.5 % over 30 days."""
    return from_document({"name": "api", "service": "api", "objective": 99.5, "sli": sli} | fields)


def hours(client: Client, sli: object, **fields: object) -> dict[int, tuple[float, float]]:
    """Total and bad events by how many hours ago."""
    (found,) = counts(client, slo(sli, **fields), Granularity.HOUR, timedelta(days=30), now_ms=NOW_MS).values()
    return {(HOUR_NOW - count.start_ms) // HOUR_MS: (count.total, count.bad) for count in found}


def test_bad_events_by_the_hour(client: Client) -> None:
    """Every hour is there, also those without a bad event."""
    assert hours(client, ERRORS) == {ago: (REQUESTS, BAD.get(ago, 0)) for ago in range(HOURS)}


@pytest.mark.parametrize(
    "good",
    ['http_requests{status_class!="5xx"}', 'http_requests{status_class=~"2.."}', 'http_requests{status_class!~"5.*"}'],
)
def test_good_events_leave_the_others_bad(client: Client, good: str) -> None:
    """Whichever way they are selected."""
    assert hours(client, {"good": good, "total": "http_requests"}) == hours(client, ERRORS)


def test_patterns_match_whole_labels(client: Client) -> None:
    """As in PromQL: 5 is not 5xx."""
    nothing = hours(client, {"bad": 'http_requests{status_class=~"5"}', "total": "http_requests"})
    assert {bad for _, bad in nothing.values()} == {0}


@pytest.mark.parametrize(("bound", "bad"), [({"at_most": 500}, 5), ({"at_most": 480}, 10), ({"at_least": 500}, 90)])
def test_values_by_the_sketch(client: Client, bound: dict[str, float], bad: int) -> None:
    """Values equal to a bound are within it."""
    assert hours(client, {"values": "http_request_duration"} | bound) == {0: (100, bad)}


def test_groups_and_tenants_have_budgets_of_their_own(client: Client) -> None:
    """Labels that no series has are left out."""
    found = standings(client, slo(ERRORS, by=["service_name", "endpoint", "region"]), now_ms=NOW_MS)
    assert [dict(one.labels) for one in found] == [{"tenant": "default", "service_name": "api", "endpoint": "/a"}]
    assert standings(client, slo(ERRORS, tenant="other"), now_ms=NOW_MS) == []


def test_what_users_write_is_no_sql(client: Client) -> None:
    """Quotes and backslashes are part of a label's value."""
    odd = slo({"bad": 'http_requests{endpoint="\' OR 1=1 --\\\\"}', "total": "http_requests"}, by=["it's {x}"])
    (found,) = standings(client, odd, now_ms=NOW_MS)
    assert found.budget.bad == 0


def test_the_budget_of_two_days(client: Client) -> None:
    """105 of 48,000 are bad, where 240 may be; it burns at twice the sustainable rate now."""
    (found,) = standings(client, slo(ERRORS), now_ms=NOW_MS)
    budget = found.budget
    assert (budget.total, budget.bad) == (HOURS * REQUESTS, sum(BAD.values()))
    assert budget.consumed == pytest.approx(105 / 240)
    assert budget.remaining_time == timedelta(hours=3.6) * (1 - 105 / 240)
    assert budget.burn_now == pytest.approx(2.0)
    assert [budget.rates[0].long, budget.rates[0].short] == pytest.approx([2.0, 2.0])
    assert budget.rates[2].long == pytest.approx(105 / 24_000 / 0.005 - 5 / 24_000 / 0.005)
