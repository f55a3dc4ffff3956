"""Error budgets: what is consumed, what remains, and how long it lasts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.slo.budget import Budget, Counts, budget_of, burn_down, burn_rate
from atalaia.alerting.slo.document import from_document
from atalaia.alerting.slo.objectives import Slo
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

NOW_MS = 1_760_054_400_000 + 25 * MINUTE_MS
HOUR_NOW = NOW_MS - NOW_MS % HOUR_MS
MINUTE_NOW = NOW_MS - NOW_MS % MINUTE_MS
MONTH = 30 * 24


def slo(objective: float = 99.5, **fields: object) -> Slo:
    """So many per cent over 30 days."""
    sli = {"bad": 'http_requests{status_class="5xx"}', "total": "http_requests"}
    return from_document({"name": "api", "service": "api", "objective": objective, "sli": sli} | fields)


def by_hour(*bad: float, total: float = 1000) -> list[Counts]:
    """Hours up to the running one, the last of `bad` being that of the running hour."""
    return [Counts(HOUR_NOW - ago * HOUR_MS, total, count) for ago, count in enumerate(reversed(bad))][::-1]


def by_minute(bad: float, *, total: float = 100, minutes: int = 360) -> list[Counts]:
    """Minutes alike, up to the running one."""
    return [Counts(MINUTE_NOW - ago * MINUTE_MS, total, bad) for ago in range(minutes)][::-1]


def budget(hours: list[Counts], minutes: list[Counts] | None = None, objective: float = 99.5) -> Budget:
    """The budget now."""
    return budget_of(slo(objective), hours, minutes or [], now_ms=NOW_MS)


def test_half_a_per_cent_of_a_month_is_3_6_hours() -> None:
    """A7."""
    assert slo(99.5).budget_time == timedelta(hours=3.6)


def test_an_outage_consumes_its_own_time() -> None:
    """With even traffic an hour in which everything fails takes an hour of the 3.6."""
    found = budget(by_hour(*[0] * (MONTH - 2), 1000, 0))
    assert found.consumed == pytest.approx(1 / 3.6)
    assert found.remaining == pytest.approx(2.6 / 3.6)
    assert found.remaining_time / timedelta(hours=1) == pytest.approx(2.6)
    assert found.good_share == pytest.approx(1 - 1 / MONTH)


def test_a_budget_may_be_overspent() -> None:
    """Then there is less than none, and it is gone already."""
    found = budget(by_hour(*[10] * MONTH), by_minute(1))
    assert found.consumed == pytest.approx(2)
    assert found.remaining_time == -slo().budget_time
    assert found.exhausted_in == timedelta()


def test_without_events_nothing_is_spent() -> None:
    """And no rate is known."""
    found = budget([])
    assert (found.consumed, found.remaining, found.burn_now, found.good_share) == (0, 1, None, None)
    assert found.exhausted_in is None
    assert {one.long for one in found.rates} == {None}


def test_what_is_older_than_the_window_is_forgiven() -> None:
    """An hour later the same events are outside."""
    hours = by_hour(*[1000, *[0] * (MONTH - 1)])
    assert budget(hours).bad == 1000
    assert budget_of(slo(), hours, [], now_ms=NOW_MS + HOUR_MS).bad == 0


def test_at_ten_times_the_rate_a_fresh_budget_lasts_three_days() -> None:
    """30 d / 10."""
    found = budget(by_hour(*[0] * MONTH), by_minute(5))
    assert found.burn_now == pytest.approx(10)
    assert found.exhausted_in is not None
    assert found.exhausted_in / timedelta(days=1) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("bad", [0, 0.25, 0.5])
def test_a_sustainable_rate_lasts(bad: float) -> None:
    """Up to a rate of one the budget never goes."""
    assert budget(by_hour(*[0] * MONTH), by_minute(bad)).exhausted_in is None


def test_what_leaves_the_window_counts_for_the_projection() -> None:
    """Nine tenths are spent; if they leave the window first, twice the rate lasts longer than if they stay."""
    spent = 0.9 * 0.005 * MONTH * 1000
    early = budget(by_hour(spent, *[0] * (MONTH - 1)), by_minute(1)).exhausted_in
    late = budget(by_hour(*[0] * (MONTH - 1), spent), by_minute(1)).exhausted_in
    assert early is not None
    assert late is not None
    assert late / timedelta(days=1) == pytest.approx(1.5, abs=0.1)
    assert early / timedelta(days=1) == pytest.approx(15, abs=0.1)


def test_a_new_service_is_not_thought_to_have_been_idle() -> None:
    """With traffic for two days only, the events to come are as many an hour as in those."""
    found = budget(by_hour(*[0] * 48), by_minute(5))
    assert found.exhausted_in is not None
    assert found.exhausted_in < timedelta(days=1)


def test_rates_are_those_of_the_alerts_windows() -> None:
    """Short ones by the minute, long ones by the hour; too few events give none."""
    found = budget(by_hour(*[0] * (MONTH - 24), *[20] * 24), by_minute(10))
    assert [one.long for one in found.rates] == pytest.approx([20, 20, 4, 4 / 3])
    assert [one.short for one in found.rates] == pytest.approx([20, 20, 20, 20])
    assert [one.fires for one in found.rates] == [True, True, True, True]
    few = budget(by_hour(1, total=10), by_minute(0.1, total=0.3, minutes=10))
    assert few.rates[0].long is None
    assert not few.rates[0].fires


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1)), min_size=1, max_size=100))
def test_the_burn_down_ends_at_what_remains(hours: list[tuple[int, float]]) -> None:
    """It begins whole, never rises, and its last point is the budget's."""
    counts = [
        Counts(HOUR_NOW - ago * HOUR_MS, total, round(total * share)) for ago, (total, share) in enumerate(hours)
    ][::-1]
    points = burn_down(slo(), counts, now_ms=NOW_MS)
    left = [share for _, share in points]
    assert left[0] == 1
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(budget(counts).remaining, abs=1e-9)


@given(st.integers(1, 10**6), st.floats(0, 1), st.sampled_from([90, 99, 99.5, 99.9, 99.99]))
def test_a_rate_of_one_is_the_objective(total: int, share: float, objective: float) -> None:
    """Above one there are more bad events than the objective allows, below it fewer."""
    bad = share * total
    rate = burn_rate(slo(objective), total, bad)
    assert rate == pytest.approx(bad / total / (1 - objective / 100), rel=1e-6, abs=1e-6)
