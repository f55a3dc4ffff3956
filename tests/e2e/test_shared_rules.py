"""Rules over series of several partitions, on several workers, and what faults do to them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from benchmarks import lab
from benchmarks.trials.trial import EAGER
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from atalaia.alerting import publishing
from atalaia.alerting.writing.document import from_document
from atalaia.infra import kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Producer
from atalaia.schemas import codec
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.topics import ALERTS, METRICS
from atalaia.streams.families import place

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

AFFILIATES = [f"affiliate-{number}" for number in range(12)]
"""Each is a series of its own, and twelve of them come to every partition."""
LONG_SESSION = {"ATALAIA_STREAMS__SESSION_TIMEOUT": "PT45S"}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka and the registry, of this module's own: its rules would disturb others."""
    with lab.local_stack(tmp_path_factory.mktemp("shared-rules")) as stack:
        yield stack


def _publish(stack: LocalStack, **document: Any) -> None:
    """Puts a rule on the rules topic."""
    rule = from_document({"severity": "high", **document})
    publishing.publish(stack.settings, [rule], by="test", at_ms=time.time_ns() // 1_000_000)


@contextlib.contextmanager
def _two_workers(stack: LocalStack, folder: Path, **environment: str) -> Iterator[list[lab.Worker]]:
    """Two stream workers that have two partitions each."""
    made = [lab.Worker("stream", stack, folder / f"stream-{number}.log", EAGER | environment) for number in range(2)]
    with lab.workers(made) as running:
        for worker in running:
            lab.await_condition(
                lambda worker=worker: len(worker.partitions()) == 2,  # type: ignore[misc]
                lambda worker=worker: lab.tail(worker.log),  # type: ignore[misc]
                within_seconds=60,
            )
        yield running


def _with_home(workers: list[lab.Worker], metric: str) -> tuple[lab.Worker, lab.Worker]:
    """The worker that judges a metric's rules, and the other."""
    home = place(metric, 4)
    first, second = workers
    return (first, second) if home in first.partitions() else (second, first)


class Transitions:
    """The transitions of one rule, each once however often it was delivered."""

    def __init__(self, stack: LocalStack, rule: str) -> None:
        self.rule = rule
        self._found: dict[str, dict[str, Any]] = {}
        self._consumer = kafka.reader(stack.settings.kafka, f"test-{rule}", log_level=0)
        places = kafka.partitions_of(stack.settings.kafka, [ALERTS.name])
        self._consumer.assign([TopicPartition(each.topic, each.partition, OFFSET_BEGINNING) for each in places])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def all(self) -> list[dict[str, Any]]:
        """Those so far, in the order of their coming."""
        while messages := self._consumer.consume(100, timeout=0.2):
            for message in messages:
                assert message.error() is None
                alert = codec.decode("AlertEvent", (message.value() or b"")[codec.HEADER_BYTES :])
                if alert["rule_id"] == self.rule:
                    self._found.setdefault(alert["alert_id"], alert)
        return list(self._found.values())

    def statuses(self, service: str | None = None) -> list[AlertStatus]:
        """Their statuses, of one service or of all."""
        return [AlertStatus(alert["status"]) for alert in self.all() if service in (None, alert["service_name"])]

    def wait(self, status: AlertStatus, worker: lab.Worker, *, count: int = 1, within_seconds: float) -> dict[str, Any]:
        """The transition that enters a status for the nth time."""
        lab.await_condition(
            lambda: self.statuses().count(status) >= count,
            lambda: f"{self.rule} {status} after {self.statuses()} (a worker's log ends: {lab.tail(worker.log, 12)})",
            within_seconds=within_seconds,
        )
        return [alert for alert in self.all() if alert["status"] == status][count - 1]


@contextlib.contextmanager
def _load(stack: LocalStack, service: str, metric: str, *, per_second: float) -> Iterator[None]:
    """Events of every affiliate, all the time."""
    over = threading.Event()

    def emit() -> None:
        number = 0
        with _producer(stack, service) as metrics:
            while not over.wait(1 / per_second):
                metrics.emit(metric, 1.0, affiliate_id=AFFILIATES[number % len(AFFILIATES)])
                number += 1

    thread = threading.Thread(target=emit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _producer(stack: LocalStack, service: str) -> Producer:
    return Producer(stack.settings.kafka.bootstrap_servers, service_name=service, registry=stack.settings.registry.url)


def _burst(stack: LocalStack, service: str, metric: str, *, each: int = 1, ago: timedelta = timedelta()) -> None:
    """The same number of events for every affiliate, at once; returns when they are acknowledged."""
    at = datetime.now(UTC) - ago
    with _producer(stack, service) as metrics:
        for affiliate in AFFILIATES * each:
            metrics.emit(metric, 1.0, affiliate_id=affiliate, timestamp=at)
        metrics.flush(10)


def _filled(stack: LocalStack) -> set[int]:
    """The partitions of the metrics topic that have events."""
    ends = kafka.end_offsets(stack.settings.kafka, kafka.partitions_of(stack.settings.kafka, [METRICS.name]))
    return {partition for (_, partition), (first, after) in ends.items() if after > first}


def test_sums_and_ratios_over_partitions_and_workers(own_stack: LocalStack, tmp_path: Path) -> None:
    """What single series are too small for fires once for each service, and resolves; and so do ratios of two metrics.

    The rules come while the workers run, and the events when the rules are in force.
    """
    _publish(own_stack, id="many", name="Many", expr="sum by (service_name) (increase(http_requests[1m])) > 20")
    with _two_workers(own_stack, tmp_path) as workers, contextlib.ExitStack() as held:
        _publish(
            own_stack,
            id="misses",
            name="Misses",
            expr="sum by (service_name) (increase(cache_misses[1m])) "
            "/ sum by (service_name) (increase(cache_hits[1m])) > 0.6",
        )
        many, misses = (
            held.enter_context(Transitions(own_stack, "many")),
            held.enter_context(Transitions(own_stack, "misses")),
        )
        lab.await_condition(
            lambda: all(worker.metrics().get("atalaia_rules", 0) >= 7 for worker in workers), "rules", within_seconds=30
        )
        _burst(own_stack, "calm", "http_requests")
        _burst(own_stack, "busy", "http_requests", each=2)
        _burst(own_stack, "cold", "cache_hits", each=2)
        _burst(own_stack, "cold", "cache_misses", each=3)
        firing = many.wait(AlertStatus.FIRING, workers[0], within_seconds=60)
        ratio = misses.wait(AlertStatus.FIRING, workers[0], within_seconds=60)
        assert len(_filled(own_stack)) > 1
        assert (firing["service_name"], ratio["service_name"]) == ("busy", "cold")
        assert 20 < firing["value"] <= 24
        assert 0.6 < ratio["value"] <= 1.5
        resolved = many.wait(AlertStatus.RESOLVED, workers[0], within_seconds=120)
        assert resolved["episode_id"] == firing["episode_id"]
        assert many.statuses("busy") == [AlertStatus.FIRING, AlertStatus.RESOLVED]
        assert many.statuses("calm") == []


def test_for_goes_on_where_a_killed_worker_left_it(own_stack: LocalStack, tmp_path: Path) -> None:
    """Kill -9 of the worker that judges, while an alert is pending: it fires when `for` is over, once.

    And killed again while it fires, it resolves when the window has passed the events: they are of eight minutes ago.
    """
    _publish(
        own_stack,
        id="slow",
        name="Slow",
        expr="sum by (service_name) (increase(whatsapp_clicks[10m])) > 20",
        **{"for": "20s"},
    )
    with _two_workers(own_stack, tmp_path) as workers, Transitions(own_stack, "slow") as slow:
        _burst(own_stack, "killed", "whatsapp_clicks", each=2, ago=timedelta(minutes=8))
        pending = slow.wait(AlertStatus.PENDING, workers[0], within_seconds=60)
        victim, other = _with_home(workers, "whatsapp_clicks")
        victim.kill()
        victim.start()
        firing = slow.wait(AlertStatus.FIRING, other, within_seconds=60)
        assert firing["episode_id"] == pending["episode_id"]
        assert 20.0 <= (firing["timestamp"] - pending["timestamp"]).total_seconds() < 35.0
        for worker in workers:
            worker.kill()
            worker.start()
        resolved = slow.wait(AlertStatus.RESOLVED, workers[0], within_seconds=180)
        assert resolved["episode_id"] == pending["episode_id"]
        assert slow.statuses() == [AlertStatus.PENDING, AlertStatus.FIRING, AlertStatus.RESOLVED]


def test_a_paused_worker_resolves_nothing(own_stack: LocalStack, tmp_path: Path) -> None:
    """A worker that stands still for 20 s, taken for dead or not, lets no firing alert resolve: load goes on."""
    _publish(own_stack, id="steady", name="Steady", expr="sum by (service_name) (increase(dealership_clicks[2m])) > 30")
    with (
        _two_workers(own_stack, tmp_path) as workers,
        _load(own_stack, "steady", "dealership_clicks", per_second=10),
        Transitions(own_stack, "steady") as steady,
    ):
        steady.wait(AlertStatus.FIRING, workers[0], within_seconds=60)
        for worker in _with_home(workers, "dealership_clicks"):
            judged = len(steady.all())
            worker.pause()
            time.sleep(20)  # the fault itself lasts that long
            worker.resume()
            lab.await_condition(
                lambda worker=worker: len(worker.partitions()) == 2,  # type: ignore[misc]
                lambda worker=worker: lab.tail(worker.log),  # type: ignore[misc]
                within_seconds=60,
            )
            assert AlertStatus.RESOLVED not in steady.statuses()[judged:]
        assert steady.statuses()[0] is AlertStatus.FIRING
        assert AlertStatus.RESOLVED not in steady.statuses()


def test_a_firing_alert_awaits_data_of_a_worker_that_stands_still(own_stack: LocalStack, tmp_path: Path) -> None:
    """While partitions are not read, and nobody takes them over yet, the alert awaits data; then it fires on."""
    _publish(own_stack, id="waiting", name="Waiting", expr="sum by (service_name) (increase(chests_opened[10m])) > 20")
    with _two_workers(own_stack, tmp_path, **LONG_SESSION) as workers, Transitions(own_stack, "waiting") as waiting:
        _burst(own_stack, "waiting", "chests_opened", each=2)
        home, other = _with_home(workers, "chests_opened")
        waiting.wait(AlertStatus.FIRING, home, within_seconds=60)
        other.pause()
        doubt = waiting.wait(AlertStatus.AWAITING_DATA, home, within_seconds=30)
        other.resume()
        waiting.wait(AlertStatus.FIRING, home, count=2, within_seconds=30)
        assert "lag" in doubt["annotations"]["note"]
        assert waiting.statuses() == [AlertStatus.FIRING, AlertStatus.AWAITING_DATA, AlertStatus.FIRING]


def test_a_rule_that_ties_others_together_moves_their_alerts(own_stack: LocalStack, tmp_path: Path) -> None:
    """Two firing rules go on at one home when a rule comes that reads both metrics, and end when they are removed."""
    one, other = "manual_review_required", "recommendations"
    assert place(one, 4) != place(other, 4)
    for metric in (one, other):
        _publish(own_stack, id=metric, name=metric, expr=f"sum by (service_name) (increase({metric}[10m])) > 20")
    with (
        _two_workers(own_stack, tmp_path) as workers,
        Transitions(own_stack, one) as of_one,
        Transitions(own_stack, other) as of_other,
        Transitions(own_stack, "tie") as of_both,
    ):
        for metric in (one, other):
            _burst(own_stack, "tied", metric, each=2)
        for transitions in (of_one, of_other):
            transitions.wait(AlertStatus.FIRING, workers[0], within_seconds=60)
        both = f"sum by (service_name) (increase({one}[10m])) + sum by (service_name) (increase({other}[10m])) >= 48"
        _publish(own_stack, id="tie", name="Tie", expr=both)
        of_both.wait(AlertStatus.FIRING, workers[0], within_seconds=60)
        assert of_one.statuses() == of_other.statuses() == [AlertStatus.FIRING]
        publishing.delete(own_stack.settings, [other])
        gone = of_other.wait(AlertStatus.RESOLVED, workers[0], within_seconds=60)
        assert gone["annotations"]["note"] == "the rule was removed"
        for worker in workers:
            worker.kill()
        publishing.delete(own_stack.settings, [one])
        workers[0].start()
        of_one.wait(AlertStatus.RESOLVED, workers[0], within_seconds=60)
        assert of_both.statuses() == [AlertStatus.FIRING]
