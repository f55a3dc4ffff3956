"""An objective's page, from emitted events to the alerts topic."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from benchmarks import lab
from benchmarks.trials.trial import EAGER
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from atalaia.alerting import publishing
from atalaia.alerting.slo.burn import rules_of
from atalaia.alerting.slo.document import from_document
from atalaia.infra import kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Producer
from atalaia.schemas import codec
from atalaia.schemas.topics import ALERTS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _statuses(stack: LocalStack) -> list[tuple[str, str, str]]:
    """Rule, service and status of every transition on the topic."""
    consumer = kafka.reader(stack.settings.kafka, "test-slo", log_level=0)
    places = kafka.partitions_of(stack.settings.kafka, [ALERTS.name])
    consumer.assign([TopicPartition(each.topic, each.partition, OFFSET_BEGINNING) for each in places])
    found = []
    while messages := consumer.consume(100, timeout=1.0):
        for message in messages:
            alert = codec.decode("AlertEvent", (message.value() or b"")[codec.HEADER_BYTES :])
            found.append((alert["rule_id"], alert["service_name"], alert["status"]))
    consumer.close()
    return found


def _requests(metrics: Producer, *, good: float, bad: float) -> None:
    """So many requests at once; returns when they are acknowledged."""
    for status, amount in (("2xx", good), ("5xx", bad)):
        if amount:
            metrics.emit("http_requests", amount, metadata={"status_class": status})
    metrics.flush(10)


def test_a_burst_of_errors_pages_and_resolves(tmp_path: Path) -> None:
    """The service that fails pages, the other doesn't; once its share is low again the page resolves.

    There is no ticket meanwhile: the page silences it.
    """
    errors = {"bad": 'http_requests{status_class="5xx"}', "total": "http_requests"}
    slo = from_document({"name": "errors", "service": "shop", "objective": 99.5, "sli": errors})
    with lab.local_stack(tmp_path / "stack") as stack:
        publishing.publish(stack.settings, rules_of(slo), by="test", at_ms=time.time_ns() // 1_000_000)
        worker = lab.Worker("stream", stack, tmp_path / "stream.log", EAGER)
        with lab.workers([worker]):
            lab.await_condition(lambda: len(worker.partitions()) > 0, lambda: lab.tail(worker.log), within_seconds=60)
            servers, registry = stack.settings.kafka.bootstrap_servers, stack.settings.registry.url
            with (
                Producer(servers, service_name="sick", registry=registry) as sick,
                Producer(servers, service_name="well", registry=registry) as well,
            ):
                _requests(well, good=100, bad=0)
                _requests(sick, good=60, bad=40)
                _await(stack, worker, ("slo-errors-page", "sick", "firing"))
                _requests(sick, good=100_000, bad=0)
                _await(stack, worker, ("slo-errors-page", "sick", "resolved"))
        ours = {(rule, service) for rule, service, _ in _statuses(stack) if rule.startswith("slo-")}
        assert ours == {("slo-errors-page", "sick")}


def _await(stack: LocalStack, worker: lab.Worker, transition: tuple[str, str, str]) -> None:
    lab.await_condition(
        lambda: transition in _statuses(stack),
        lambda: f"{transition} among {_statuses(stack)}; the worker's log ends: {lab.tail(worker.log, 12)}",
        within_seconds=60,
    )
