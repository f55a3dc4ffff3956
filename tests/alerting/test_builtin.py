"""The rules that come installed fire on what they are for, and resolve when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.engine import story
from atalaia.alerting.local.buckets import MinuteStats, minutes_of
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
BAD, ALL = range(10, 70), 180
"""The minutes in which things are bad, of all."""

Value = Callable[[bool], float | None]
CASES: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Value]] = {
    "low-revenue": {("revenue_hourly", ()): lambda bad: 1000 if bad else 2000},
    "slow-api": {("api_response_time", ()): lambda bad: 900 if bad else 90},
    "low-conversion": {("conversion_rate", ()): lambda bad: 1 if bad else 5},
    "high-commissions": {("commission_paid", ()): lambda bad: 50 if bad else 1},
    "few-active-users": {("active_users", ()): lambda bad: 10 if bad else 100},
    "api-down": {("service_up", ()): lambda bad: None if bad else 1},
    "high-error-rate": {
        ("http_requests", (("status_class", "2xx"),)): lambda _: 80,
        ("http_requests", (("status_class", "5xx"),)): lambda bad: 20 if bad else 0,
    },
    "high-response-time": {("http_request_duration", ()): lambda bad: 3000 if bad else 30},
    "high-memory-usage": {("memory_resident", (("host", "a"),)): lambda bad: 2e9 if bad else 1e9},
    "low-cache-hit-rate": {
        ("cache_hits", ()): lambda bad: 50 if bad else 95,
        ("cache_misses", ()): lambda bad: 50 if bad else 5,
    },
}


def minutes(found: dict[tuple[str, tuple[tuple[str, str], ...]], Value]) -> Iterator[tuple[SeriesKey, MinuteStats]]:
    """One event a minute of each series."""
    for number in range(ALL):
        at_ms = START_MS + number * MINUTE_MS
        for (name, dimensions), value in found.items():
            series = SeriesKey("default", name, "api", "BR", None, metric(name).unit, "real_time", dimensions)
            if (emitted := value(number in BAD)) is not None:
                for minute in minutes_of([(at_ms, emitted)]):
                    yield series, minute


@pytest.mark.parametrize("rule_id", [rule.rule_id for rule in builtin_rules()])
def test_each_installed_rule_fires_once_and_resolves(rule_id: str) -> None:
    """Not before its `for`, not for a healthy hour, and with the service in its labels."""
    (rule,) = [rule for rule in builtin_rules() if rule.rule_id == rule_id]
    told = list(story([rule], minutes(CASES[rule_id]), until_ms=START_MS + ALL * MINUTE_MS))
    fired, resolved = (
        [each for each in told if each.status is status] for status in (AlertStatus.FIRING, AlertStatus.RESOLVED)
    )
    assert (len(fired), len(resolved)) == (1, 1)
    assert fired[0].labels["service_name"] == "api"
    began_ms = START_MS + BAD.start * MINUTE_MS
    assert began_ms + rule.hold.total_seconds() * 1000 <= fired[0].at_ms < resolved[0].at_ms
