"""Events that never came, from a gap in a producer's count to a number in ClickHouse and a verdict that waits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator

import pytest
from benchmarks import lab
from confluent_kafka import OFFSET_BEGINNING, KafkaException, Producer, TopicPartition

from atalaia.alerting import publishing
from atalaia.alerting.shared.silence import Silence
from atalaia.alerting.subscribe import Alert, subscribe
from atalaia.alerting.writing.document import from_document
from atalaia.infra import clickhouse, kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import Settings, librdkafka
from atalaia.producers import Producer as Metrics
from atalaia.producers.records import Origin, avro_text, metric_template
from atalaia.schemas import codec
from atalaia.schemas.codec import frame_header
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import ALERTS, METRICS, PARTITIONER
from atalaia.schemas.windows import MINUTE_MS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHORT_SESSION = {"ATALAIA_STREAMS__SESSION_TIMEOUT": "PT3S"}
METRIC = "completeness_probe"
RULE = {
    "id": "complete-enough",
    "name": "Complete enough",
    "metric": METRIC,
    "aggregate": "avg",
    "window": "10m",
    "condition": "> 100",
    "min_completeness": 0.8,
    "severity": "high",
}


ALIVE = {
    "id": "sign-of-life",
    "name": "Sign of life",
    "metric": "sign_of_life_probe",
    "absent_for": "1m",
    "severity": "high",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack of this module's own: its broker is stopped for a while, and its alerts are counted."""
    with lab.local_stack(tmp_path_factory.mktemp("completeness"), lab.EVERYTHING) as running:
        yield running


@pytest.fixture(scope="module")
def workers(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, lab.Worker]]:
    """A stream worker that has its partitions, and a sink."""
    rules = [from_document(RULE), from_document(ALIVE)]
    publishing.publish(stack.settings, rules, by="test", at_ms=time.time_ns() // 1_000_000)
    folder = tmp_path_factory.mktemp("completeness")
    with (
        lab.Worker("stream", stack, folder / "stream.log", SHORT_SESSION) as stream,
        lab.Worker("sink", stack, folder / "sink.log") as sink,
    ):
        lab.await_condition(
            lambda: len(stream.partitions()) == 4 and stream.metrics().get("atalaia_rules", 0) > 1,
            lambda: lab.tail(stream.log),
            within_seconds=60,
        )
        yield {"stream": stream, "sink": sink}


class Counting:
    """A service that counts its events, and sends just those that it is told to."""

    def __init__(self, stack: LocalStack, service: str) -> None:
        self.service = service
        self._template = metric_template(Origin("default", service), METRIC, {})
        with Registry(stack.settings.registry.url) as registry:
            self._header = frame_header(registry.id_of(METRICS))
        self._producer = Producer(
            librdkafka(stack.settings.kafka, **{"enable.idempotence": True, "partitioner": PARTITIONER})
        )

    def send(self, numbers: Iterable[int], *, value: float, at_ms: int) -> None:
        """The events with these sequences; returns when they are acknowledged."""
        for number in numbers:
            body = self._template.body(avro_text("host-1-abcd"), at_ms, number, value)
            self._producer.produce(METRICS.name, self._header + body, self._template.key)
        assert self._producer.flush(30) == 0


def _minute(stack: LocalStack, service: str) -> tuple[int, int, float] | None:
    """What ClickHouse says of the service's one minute: count, missing, completeness."""
    with clickhouse.connect(stack.settings.clickhouse) as client:
        rows = client.query(
            "SELECT count, missing, completeness FROM metric_windows "
            "WHERE granularity = 'minute' AND metric_name = {metric:String} AND service_name = {service:String}",
            parameters={"metric": METRIC, "service": service},
        ).result_rows
    return None if not rows else (int(rows[0][0]), int(rows[0][1]), float(rows[0][2]))


def _await_minute(stack: LocalStack, workers: dict[str, lab.Worker], service: str, row: tuple[int, int, float]) -> None:
    lab.await_condition(
        lambda: _minute(stack, service) == pytest.approx(row),
        lambda: f"{row}, is {_minute(stack, service)} ({lab.tail(workers['stream'].log, 5)})",
        within_seconds=90,
    )


def _alerts(stack: LocalStack, service: str) -> Iterator[Alert]:
    settings = stack.settings
    alerts = subscribe(
        settings.kafka.bootstrap_servers, group=f"test-{service}", registry=settings.registry.url, from_beginning=True
    )
    return (alert for alert in alerts if alert.service_name == service)


def test_events_that_never_came_show_in_clickhouse(stack: LocalStack, workers: dict[str, lab.Worker]) -> None:
    """A gap in the count makes its window incomplete, also across a kill -9; what comes late makes it whole."""
    service = Counting(stack, "e2e-gap")
    at_ms = time.time_ns() // 1_000_000 - 2 * MINUTE_MS
    service.send([0, 1, 2, 3], value=1.0, at_ms=at_ms)
    service.send([7, 8, 9], value=1.0, at_ms=at_ms)
    _await_minute(stack, workers, service.service, (7, 3, 0.7))
    assert workers["stream"].metrics()["atalaia_missing_events_total"] >= 3
    workers["stream"].kill()
    workers["stream"].start()
    service.send([5], value=1.0, at_ms=at_ms)
    _await_minute(stack, workers, service.service, (8, 2, 0.8))
    service.send([6, 4, 5], value=1.0, at_ms=at_ms)
    lab.await_condition(
        lambda: (_minute(stack, service.service) or (0, 1, 0.0))[1:] == (0, 1.0),
        lambda: f"whole, is {_minute(stack, service.service)}",
        within_seconds=60,
    )


def test_a_rule_waits_for_what_is_missing(stack: LocalStack, workers: dict[str, lab.Worker]) -> None:
    """Below its completeness a rule neither fires nor resolves, and says that events were lost; filled, it decides."""
    assert workers["stream"].running
    service = Counting(stack, "e2e-waits")
    at_ms = time.time_ns() // 1_000_000
    service.send([0, 1, 2, 7, 8, 9], value=200.0, at_ms=at_ms)  # 6 of 10: no verdict
    lab.await_condition(
        lambda: (_minute(stack, service.service) or (0, 0))[:2] == (6, 4),
        lambda: f"6 events and 4 missing, is {_minute(stack, service.service)}",
        within_seconds=60,
    )
    service.send([3, 4, 5, 6], value=200.0, at_ms=at_ms)
    alerts = _alerts(stack, service.service)
    fired = next(alerts)
    assert (fired.status, fired.value, fired.completeness is not None) == (AlertStatus.FIRING, 200.0, True)
    service.send([20], value=0.0, at_ms=at_ms)  # 11 of 21
    waiting = next(alerts)
    assert waiting.status is AlertStatus.AWAITING_DATA
    assert waiting.annotations["silence"] == Silence.PIPELINE_LOSSY
    service.send(range(10, 20), value=0.0, at_ms=at_ms)
    decided = next(alert for alert in alerts if alert.status is not AlertStatus.FIRING)  # which it may be on the way
    assert (decided.status, decided.episode_id) == (AlertStatus.RESOLVED, fired.episode_id)
    assert "silence" not in decided.annotations


def test_a_broker_that_does_not_answer_is_no_silent_service(stack: LocalStack, workers: dict[str, lab.Worker]) -> None:
    """A sign of life that waits in the service's buffer while the broker stands still comes in time."""
    assert workers["stream"].running
    settings, broker = stack.settings, stack.status("kafka").pid
    assert broker is not None
    with Metrics(settings.kafka.bootstrap_servers, service_name="e2e-alive", registry=settings.registry.url) as service:
        service.emit(ALIVE["metric"], 1.0)
        assert service.flush(30).acknowledged == 1
        time.sleep(40)  # the silence that is allowed
        os.kill(broker, signal.SIGSTOP)
        try:
            service.emit(ALIVE["metric"], 1.0)
            time.sleep(25)  # and the fault, by which a minute has passed
        finally:
            os.kill(broker, signal.SIGCONT)
        assert service.flush(60).acknowledged == 2
    read = workers["stream"].metrics()["atalaia_records_read_total"]
    lab.await_condition(
        lambda: _all_committed(settings),
        lambda: f"everything read and committed, {read} so far ({lab.tail(workers['stream'].log, 5)})",
        within_seconds=120,
    )
    assert workers["stream"].running
    assert _told(stack, ALIVE["id"]) == []


def _all_committed(settings: Settings) -> bool:
    """Whether nothing waits; a broker that has stood still has no leaders for a while, and then that is not known."""
    try:
        return lab.lag(settings, settings.streams.application, [METRICS.name]) == 0
    except KafkaException:
        return False


def _told(stack: LocalStack, rule_id: str) -> list[str]:
    """The statuses of a rule's alerts that the alerts topic holds now."""
    kafka_settings = stack.settings.kafka
    places = kafka.partitions_of(kafka_settings, [ALERTS.name])
    ends = kafka.end_offsets(kafka_settings, places)
    left = sum(high - low for low, high in ends.values())
    reader = kafka.reader(kafka_settings, "test-told", log_level=0)
    try:
        reader.assign([TopicPartition(each.topic, each.partition, OFFSET_BEGINNING) for each in places])
        found = []
        while left > 0:
            messages = reader.consume(left, timeout=1.0)
            left -= len(messages)
            found += [codec.decode("AlertEvent", (each.value() or b"")[codec.HEADER_BYTES :]) for each in messages]
    finally:
        reader.close()
    return [alert["status"] for alert in found if alert["rule_id"] == rule_id]
