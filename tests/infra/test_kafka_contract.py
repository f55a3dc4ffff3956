"""What every stage asks of a broker, of the embedded one and, where Docker runs, of Apache Kafka's own image."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from benchmarks import lab
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from images import image
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from atalaia.infra import kafka
from atalaia.infra.settings import LOOPBACK, KafkaSettings
from atalaia.schemas.topics import METRICS
from atalaia.streams.changelog import CHANGELOG_CONFIG

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

KAFKA_IMAGE = "apache/kafka:4.1.1"
WITHIN_SECONDS = 30


@pytest.fixture(scope="module", params=["embedded", image("image", of=KAFKA_IMAGE)])
def settings(request: pytest.FixtureRequest) -> Iterator[KafkaSettings]:
    """A broker's settings; every test that uses it is a test of the contract, and holds for each of them."""
    if request.param == "embedded":
        yield request.getfixturevalue("stack").settings.kafka
        return
    port = lab.free_port()
    container = (
        DockerContainer(KAFKA_IMAGE)
        .with_bind_ports(9092, port)
        .with_env("KAFKA_NODE_ID", "1")
        .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
        .with_env("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093")
        .with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://{LOOPBACK}:{port}")
        .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    )
    with container:
        wait_for_logs(container, "Kafka Server started", timeout=120)
        yield KafkaSettings(bootstrap_servers=f"{LOOPBACK}:{port}", replication_factor=1)


@pytest.fixture
def topic(settings: KafkaSettings) -> str:
    """A topic of the test's own, made as the metrics topic is."""
    name = f"contract-{uuid.uuid4().hex}"
    assert kafka.create_topics(settings, {name: METRICS.config()}) == [name]
    return name


def _producer(settings: KafkaSettings, **more: Any) -> Producer:
    return Producer(
        {"bootstrap.servers": settings.bootstrap_servers, "enable.idempotence": True, "acks": "all", **more}
    )


def _sent(settings: KafkaSettings, topic: str, count: int, *, partition: int = 0) -> None:
    producer = _producer(settings)
    for index in range(count):
        producer.produce(topic, str(index).encode(), key=str(index), partition=partition)
    assert producer.flush(WITHIN_SECONDS) == 0


def _read(consumer: Consumer, count: int) -> list[Message]:
    read: list[Message] = []

    def enough() -> bool:
        read.extend(consumer.consume(count, timeout=0.2))
        return len(read) >= count

    lab.await_condition(enough, lambda: f"{count} records (there are {len(read)})", within_seconds=WITHIN_SECONDS)
    assert [message.error() for message in read] == [None] * count
    return read


def test_a_topic_is_made_once(settings: KafkaSettings, topic: str) -> None:
    """Making a topic again makes nothing and fails in nothing, and it has the partitions of the settings."""
    assert kafka.create_topics(settings, {topic: METRICS.config()}) == []
    assert len(kafka.partitions_of(settings, [topic])) == settings.partitions


def test_no_topic_comes_of_a_misspelt_name(settings: KafkaSettings) -> None:
    """Producing to a topic that was never made fails instead of making it."""
    reports: list[KafkaError | None] = []
    producer = _producer(settings, **{"message.timeout.ms": 3_000})
    producer.produce("contract-never-made", b"x", on_delivery=lambda error, _: reports.append(error))
    producer.flush(WITHIN_SECONDS)
    assert len(reports) == 1
    assert reports[0] is not None


def test_records_carry_the_brokers_clock(settings: KafkaSettings, topic: str) -> None:
    """Whatever time a producer claims, a record of the metrics topic carries that of its arrival."""
    before = int(time.time() * 1000)
    producer = _producer(settings)
    producer.produce(topic, b"x", partition=0, timestamp=before - 3_600_000)
    assert producer.flush(WITHIN_SECONDS) == 0
    with closing(kafka.reader(settings, f"contract-{uuid.uuid4().hex}")) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        (message,) = _read(consumer, 1)
    assert abs(message.timestamp()[1] - before) < 60_000


def test_offsets_count_from_the_first_to_the_next(settings: KafkaSettings, topic: str) -> None:
    """End offsets are those of the records that are there, without holes."""
    _sent(settings, topic, 250, partition=1)
    places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    assert kafka.end_offsets(settings, places) == {(topic, 0): (0, 0), (topic, 1): (0, 250)}


def test_a_group_goes_on_where_it_committed(settings: KafkaSettings, topic: str) -> None:
    """What a member commits is where the group's next member begins."""
    _sent(settings, topic, 10)
    group = f"contract-{uuid.uuid4().hex}"
    with closing(kafka.reader(settings, group)) as first:
        first.subscribe([topic])
        _read(first, 10)
        first.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)
    assert kafka.committed_offsets(settings, group, [TopicPartition(topic, 0)]) == {(topic, 0): 4}
    with closing(kafka.reader(settings, group)) as second:
        second.subscribe([topic])
        assert [message.offset() for message in _read(second, 6)] == list(range(4, 10))


def test_too_large_a_record_is_refused(settings: KafkaSettings, topic: str) -> None:
    """A record over the broker's limit is refused with a reason, and its neighbours are not."""
    reports: list[KafkaError | None] = []
    producer = _producer(settings, **{"message.max.bytes": 20_000_000, "compression.type": "none"})
    for size in (10, 5_000_000, 10):
        producer.produce(topic, b"x" * size, partition=0, on_delivery=lambda error, _: reports.append(error))
        producer.flush(WITHIN_SECONDS)
    assert [report and report.code() for report in reports] == [None, KafkaError.MSG_SIZE_TOO_LARGE, None]


def test_a_compacted_topic_takes_pages_of_state(settings: KafkaSettings) -> None:
    """The changelog's settings are understood, and a record of some megabytes fits."""
    name = f"contract-{uuid.uuid4().hex}"
    kafka.create_topics(settings, {name: CHANGELOG_CONFIG})
    producer = _producer(settings, **{"message.max.bytes": 8 * 1024 * 1024, "compression.type": "none"})
    reports: list[KafkaError | None] = []
    producer.produce(name, b"x" * 4_000_000, key=b"k", on_delivery=lambda error, _: reports.append(error))
    assert producer.flush(WITHIN_SECONDS) == 0
    assert reports == [None]


def test_nobody_there_is_said_in_one_line() -> None:
    """A broker that does not answer is one line with the remedy."""
    nobody = KafkaSettings(bootstrap_servers=f"{LOOPBACK}:{lab.free_port()}")
    with pytest.raises(kafka.KafkaUnavailable, match="start it with `atalaia up`"):
        kafka.require(nobody, timeout_seconds=1)
    with pytest.raises(KafkaException):
        kafka.admin(nobody).list_topics(timeout=0.5)
