"""The producer when things go wrong: no broker, no registry, no room. librdkafka's own mock cluster acknowledges."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from atalaia.producers import (
    BufferFull,
    ConfigError,
    Delivery,
    DeliveryError,
    MetricError,
    Outcome,
    Producer,
    ProducerClosed,
    RecordingProducer,
)
from atalaia.schemas.topics import METRICS, Topic

NOWHERE = "127.0.0.1:1"
MOCK_CLUSTER = {"test.mock.num.brokers": 1}


class Ids:
    """Knows every schema id, once it is told to."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    def id_of(self, topic: Topic) -> int:
        """1."""
        if self.away:
            raise ConnectionError(f"no answer about {topic.subject}")
        return 1


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return as soon as the condition holds; fail where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        threading.Event().wait(0.005)


@pytest.fixture
def make() -> Iterator[Callable[..., Producer]]:
    """Producers that are closed in the end, without waiting."""
    made: list[Producer] = []

    def producer(bootstrap: str | None = NOWHERE, **arguments: Any) -> Producer:
        said: dict[str, Any] = {"service_name": "shop", "registry": Ids()}
        made.append(Producer(bootstrap, **(said | arguments)))
        return made[-1]

    yield producer
    for producer_ in made:
        producer_.close(0)


def test_acknowledged_events_are_counted_one_by_one(make: Callable[..., Producer]) -> None:
    """Every event ends as acknowledged, and nothing is left."""
    metrics = make(config=MOCK_CLUSTER)
    latency = metrics.metric("api_response_time")
    for value in range(5000):
        latency.emit(value)
    metrics.health("healthy")
    stats = metrics.flush(30)
    assert (stats.emitted, stats.acknowledged, stats.lost, stats.queued) == (5001, 5001, 0, 0)
    assert stats.last_error is None


def test_an_outcome_is_told_to_whoever_asks(make: Callable[..., Producer]) -> None:
    """By callback and by future, with partition and offset, after it was counted."""
    metrics = make(config=MOCK_CLUSTER)
    told: Future[Outcome] = Future()
    metrics.emit("order_value", 1, on_delivery=told.set_result)
    by_callback = told.result(30)
    by_future = metrics.deliver("order_value", 2).result(30)
    assert metrics.stats.acknowledged == 2
    assert isinstance(by_callback, Delivery)
    assert by_callback.topic == METRICS.name
    assert (by_future.partition, by_future.offset) == (by_callback.partition, by_callback.offset + 1)
    assert by_future.event_id != by_callback.event_id


def test_making_a_producer_waits_for_nobody(make: Callable[..., Producer]) -> None:
    """Neither broker nor registry is asked, and no thread starts, before the first event."""
    before = set(threading.enumerate())
    metrics = make(registry="http://127.0.0.1:1")
    assert set(threading.enumerate()) == before
    assert metrics.close(0).emitted == 0


def test_without_a_broker_flush_says_what_is_queued_and_why(make: Callable[..., Producer]) -> None:
    """The wait is bounded, the trouble is told."""
    troubles: list[DeliveryError] = []
    metrics = make(on_error=troubles.append)
    metrics.emit("order_value", 1)
    assert metrics.flush(0.05).queued == 1
    until(lambda: bool(troubles))
    assert troubles[0].event_id is None
    assert "Kafka" in str(metrics.stats.last_error)


def test_what_close_cannot_send_is_lost_and_counted_and_told(
    make: Callable[..., Producer], caplog: pytest.LogCaptureFixture
) -> None:
    """In flight or still waiting: each future ends."""
    lost: list[DeliveryError] = []
    metrics = make(on_error=lost.append, buffer_events=100)
    futures = [metrics.deliver("order_value", 1) for _ in range(100)]
    stats = metrics.close(0)
    assert stats.queued == 0
    assert stats.lost == 100
    assert set(stats.failed) | set(stats.dropped) == {"closed"}
    assert all(isinstance(future.exception(0), DeliveryError) for future in futures)
    assert sum(error.event_id is not None for error in lost) == 100
    assert metrics.close(0) == stats, "a second close does nothing"
    assert caplog.text.count("closed: of 100 events 0 are acknowledged; lost: ") == 1
    with pytest.raises(ProducerClosed):
        metrics.emit("order_value", 1)


def test_an_event_that_no_broker_confirms_in_time_has_failed(make: Callable[..., Producer]) -> None:
    """By librdkafka's own word, which is the reason."""
    metrics = make(config={"message.timeout.ms": 50})
    error = metrics.deliver("order_value", 1).exception(30)
    assert isinstance(error, DeliveryError)
    assert error.reason == "msg_timed_out"
    assert metrics.stats.failed == {"msg_timed_out": 1}


def test_an_event_that_librdkafka_refuses_has_failed(make: Callable[..., Producer]) -> None:
    """At once, and those around it are delivered."""
    metrics = make(config=MOCK_CLUSTER | {"message.max.bytes": 1000})
    small = metrics.deliver("order_value", 1)
    large = metrics.deliver(
        "order_value", 1, metadata={"note": "x" * 256, "more": "y" * 256, "most": "z" * 256, "a": "b" * 256}
    )
    after = metrics.deliver("order_value", 1)
    error = large.exception(30)
    assert isinstance(error, DeliveryError)
    assert error.reason == "msg_size_too_large"
    assert error.event_id
    assert small.result(30).offset + 1 == after.result(30).offset


def test_events_wait_for_the_registry(make: Callable[..., Producer]) -> None:
    """While it is away the trouble is told; when it comes back they go out in order."""
    ids = Ids(away=True)
    troubles: list[DeliveryError] = []
    metrics = make(registry=ids, config=MOCK_CLUSTER, on_error=troubles.append)
    futures = [metrics.deliver("order_value", value) for value in range(10)]
    until(lambda: bool(troubles))
    assert troubles[0].reason == "registry"
    assert "no answer about atalaia.metrics.v1-value" in str(metrics.stats.last_error)
    assert metrics.flush(0.01).queued == 10
    ids.away = False
    offsets = [future.result(30).offset for future in futures]
    assert offsets == sorted(offsets)
    assert metrics.stats.last_error is None


def test_a_missing_schema_holds_up_no_other_topic(make: Callable[..., Producer]) -> None:
    """Health reports wait for their schema; metrics go on."""

    class OnlyMetrics:
        """Does not know ServiceHealth."""

        def id_of(self, topic: Topic) -> int:
            """1, or nothing."""
            if topic != METRICS:
                raise LookupError(topic.name)
            return 1

    metrics = make(registry=OnlyMetrics(), config=MOCK_CLUSTER)
    metrics.health("healthy")
    metrics.deliver("order_value", 1).result(30)
    assert metrics.stats.queued == 1


@pytest.mark.parametrize("policy", ["raise", "block"])
def test_a_full_buffer_raises_and_says_why(make: Callable[..., Producer], policy: str) -> None:
    """Without a broker the bound holds, the refused are counted, and none of the accepted is lost."""
    metrics = make(on_full=policy, block_timeout=0.01, buffer_events=20)
    for _ in range(20):
        metrics.emit("order_value", 1)
    with pytest.raises(BufferFull, match="20 events or"):
        metrics.emit("order_value", 1)
    assert not metrics.try_emit("order_value", 1)
    stats = metrics.stats
    assert (stats.emitted, stats.queued, stats.refused, stats.lost) == (20, 20, 2, 0)


def test_drop_oldest_never_raises_and_counts(make: Callable[..., Producer]) -> None:
    """Without a broker the newest are kept."""
    lost: list[DeliveryError] = []
    metrics = make(on_full="drop_oldest", buffer_events=20, on_error=lost.append)
    for _ in range(500):
        metrics.emit("order_value", 1)
    stats = metrics.stats
    assert (stats.emitted, stats.queued, stats.refused) == (500, 20, 0)
    assert stats.dropped == {"buffer_full": 480}
    assert sum(error.reason == "buffer_full" for error in lost) == 480


def test_with_a_broker_even_a_tiny_buffer_delivers_everything(make: Callable[..., Producer]) -> None:
    """Blocking is backpressure: slower, and nothing is lost."""
    metrics = make(config=MOCK_CLUSTER, buffer_events=10, block_timeout=30)
    for value in range(300):
        metrics.emit("order_value", value)
    assert metrics.flush(30).acknowledged == 300


def test_many_threads_may_emit(make: Callable[..., Producer]) -> None:
    """Everything each of them emitted is acknowledged."""
    metrics = make(config=MOCK_CLUSTER)

    def work() -> None:
        for value in range(500):
            metrics.emit("order_value", value)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.flush(30).acknowledged == 4000


def test_a_callback_may_emit_but_not_wait(make: Callable[..., Producer]) -> None:
    """It runs on the thread that delivers: flush() there would wait for itself, and says so."""
    metrics = make(config=MOCK_CLUSTER)
    raised: Future[Exception] = Future()

    def told(_: Outcome) -> None:
        metrics.emit("orders", 1)
        try:
            metrics.flush(30)
        except RuntimeError as exc:
            raised.set_result(exc)

    metrics.emit("order_value", 1, on_delivery=told)
    assert "call them elsewhere" in str(raised.result(30))
    until(lambda: metrics.stats.acknowledged == 2)


def test_a_producer_that_nobody_holds_still_sends_what_it_has() -> None:
    """And its thread ends."""
    running = set(threading.enumerate())
    told: Future[Outcome] = Future()
    metrics = Producer(service_name="shop", registry=Ids(), config=MOCK_CLUSTER)
    held = weakref.ref(metrics)
    metrics.emit("order_value", 1, on_delivery=told.set_result)
    del metrics
    gc.collect()
    assert held() is None
    assert isinstance(told.result(30), Delivery)
    until(lambda: set(threading.enumerate()) <= running)


def test_leaving_the_context_flushes_and_closes() -> None:
    """Also when the body raises."""
    metrics = Producer(service_name="shop", registry=Ids(), config=MOCK_CLUSTER)
    with contextlib.suppress(ZeroDivisionError), metrics:
        metrics.emit("order_value", 1)
        raise ZeroDivisionError
    assert metrics.stats.acknowledged == 1
    with pytest.raises(ProducerClosed):
        metrics.emit("order_value", 1)


def test_a_client_beyond_repair_is_replaced(make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch) -> None:
    """An idempotent client is dead once its sequence broke: what was in flight fails, the rest goes on."""
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - beside its only use

    metrics = make(config=MOCK_CLUSTER)
    metrics.deliver("order_value", 1).result(30)
    courier = metrics._courier
    broken = courier._client
    error = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "sequence broke", fatal=True)
    steps = itertools.chain([KafkaException(error)], itertools.repeat(None))
    step = courier._step

    def stumble() -> bool:
        failure = next(steps)
        if failure is not None:
            raise failure
        return step()

    monkeypatch.setattr(courier, "_step", stumble)
    metrics.emit("order_value", 1)
    until(lambda: courier._client not in {None, broken})
    assert isinstance(metrics.deliver("order_value", 1).result(30), Delivery)
    stats = metrics.flush(30)
    assert stats.emitted == stats.acknowledged + stats.lost == 3


def test_a_bug_in_the_background_is_told_and_events_wait(
    make: Callable[..., Producer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread goes on: nothing is lost without a word."""
    metrics = make(config=MOCK_CLUSTER)
    courier = metrics._courier
    steps = itertools.chain([ZeroDivisionError("a bug")], itertools.repeat(None))
    step = courier._step

    def stumble() -> bool:
        failure = next(steps)
        if failure is not None:
            raise failure
        return step()

    monkeypatch.setattr(courier, "_step", stumble)
    assert isinstance(metrics.deliver("order_value", 1).result(30), Delivery)
    assert "stumbled" in caplog.text
    assert "a bug" in caplog.text


def test_a_gateway_speaks_for_many_services(make: Callable[..., Producer]) -> None:
    """One connection, one buffer, one account; each event has its own origin."""
    metrics = make(config=MOCK_CLUSTER)
    other = metrics.on_behalf_of("billing", tenant="acme")
    other.emit("order_value", 1)
    metrics.emit("order_value", 1)
    assert other.flush(30).acknowledged == 2
    assert other.stats == metrics.stats
    with pytest.raises(MetricError, match="service_name"):
        metrics.on_behalf_of("")
    recording = RecordingProducer("gateway")
    recording.on_behalf_of("billing", tenant="acme").emit("order_value", 1)
    recording.on_behalf_of("shop").emit("order_value", 1)
    assert [(event["service_name"], event["tenant"]) for event in recording.events] == [
        ("billing", "acme"),
        ("shop", "default"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"linger.mss": 5}}, "linger.mss"),
        ({"config": {"linger.ms": "soon"}}, "queue.buffering.max.ms"),  # its other name
        ({"config": {"acks": 1}}, r"config\['acks'\]=1: .*all in-sync replicas"),
        ({"config": {"enable.idempotence": False}}, "enable.idempotence"),
        ({"config": {"on_delivery": print}}, "use on_delivery="),
        ({"config": {"transactional.id": "x"}}, "transactional.id"),
        ({"on_full": "wait"}, "on_full='wait': must be one of block, drop_oldest, raise"),
        ({"buffer_events": 1}, "buffer_events=1"),
        ({"registry": "localhost"}, "registry='localhost'"),
    ],
)
def test_what_cannot_be_configured_is_an_error_at_once(
    make: Callable[..., Producer], arguments: dict[str, Any], message: str
) -> None:
    """Before the first event, and by its name."""
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


@pytest.mark.parametrize(("field", "value"), [("service_name", ""), ("tenant", "x" * 201)])
def test_who_emits_is_checked_at_once(make: Callable[..., Producer], field: str, value: str) -> None:
    """As every name is."""
    with pytest.raises(MetricError, match=f"{field}="):
        make(**{field: value})


def test_what_is_not_said_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same variables as for every Atalaia process; what is said wins."""
    monkeypatch.setenv("ATALAIA_TENANT", "acme")
    monkeypatch.setenv("ATALAIA_REGISTRY__URL", "nonsense")
    with pytest.raises(ConfigError, match="registry='nonsense'"):
        Producer(service_name="shop")
    producer = Producer(service_name="shop", registry=Ids())
    assert producer._origin.tenant == "acme"
    producer.close(0)
