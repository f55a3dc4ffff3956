"""The rules that come installed, from an emitted event to a transition on the alerts topic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from benchmarks import lab

from atalaia.alerting.subscribe import Alert, subscribe
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Producer
from atalaia.schemas.events import AlertStatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

# Rule, metric, a value that breaches it, one that doesn't.
BARE_RULES = [
    ("low-revenue", "revenue_hourly", 900.0, 1_600.0),
    ("slow-api", "api_response_time", 400.0, 20.0),
    ("low-conversion", "conversion_rate", 2.5, 3.5),
    ("few-active-users", "active_users", 50.0, 90.0),
]


@pytest.fixture(scope="module")
def worker(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Worker]:
    """A stream worker that has its partitions."""
    log = tmp_path_factory.mktemp("alerts") / "worker.log"
    with lab.Worker("stream", stack, log) as running:
        lab.await_condition(lambda: len(running.partitions()) == 4, lambda: lab.tail(log), within_seconds=60)
        yield running


def _producer(stack: LocalStack, service: str) -> Producer:
    return Producer(stack.settings.kafka.bootstrap_servers, service_name=service, registry=stack.settings.registry.url)


def _alerts(stack: LocalStack, service: str) -> Iterator[Alert]:
    """The transitions of one service, as they come."""
    settings = stack.settings
    alerts = subscribe(
        settings.kafka.bootstrap_servers, group=f"test-{service}", registry=settings.registry.url, from_beginning=True
    )
    return (alert for alert in alerts if alert.service_name == service)


@pytest.mark.parametrize(("rule_id", "metric", "breach", "fine"), BARE_RULES)
def test_an_installed_rule_fires_and_resolves(
    stack: LocalStack, worker: lab.Worker, rule_id: str, metric: str, breach: float, fine: float
) -> None:
    """A value past the threshold fires the rule, the next one within it resolves the same episode."""
    assert worker.running
    service = f"e2e-{rule_id}"
    with _producer(stack, service) as metrics:
        metrics.emit(metric, breach)
        metrics.flush(10)
        alerts = _alerts(stack, service)
        firing = next(alerts)
        metrics.emit(metric, fine)
        metrics.flush(10)
        resolved = next(alerts)
    assert [firing.status, resolved.status] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert firing.rule_id == resolved.rule_id == rule_id
    assert (firing.value, resolved.value) == (breach, fine)
    assert firing.episode_id == resolved.episode_id
    assert firing.alert_id != resolved.alert_id


def test_commissions_are_summed_over_an_hour(stack: LocalStack, worker: lab.Worker) -> None:
    """Two payments below the threshold fire the rule together, and it resolves when the hour has passed them.

    They are of almost an hour ago, so that the window leaves them behind within a minute.
    """
    assert worker.running
    service = "e2e-high-commissions"
    almost_an_hour_ago = datetime.now(UTC) - timedelta(minutes=59)
    with _producer(stack, service) as metrics:
        metrics.emit("commission_paid", 300.0, timestamp=almost_an_hour_ago)
        metrics.emit("commission_paid", 250.0, timestamp=almost_an_hour_ago)
        metrics.flush(10)
    alerts = _alerts(stack, service)
    firing, resolved = next(alerts), next(alerts)
    assert [firing.status, resolved.status] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert (firing.rule_id, firing.value, firing.threshold) == ("high-commissions", 550.0, 500.0)
