"""The embedded stack with the real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from atalaia.infra.errors import Failure
from atalaia.infra.local import record, stack
from atalaia.infra.local.ports import Ports
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import KafkaSettings, Settings, load

TOPIC = "kept"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Apache Kafka alone."""
    with LocalStack(tmp_path_factory.mktemp("stack"), components=("kafka",)) as running:
        yield running


def produced(bootstrap: str, value: bytes) -> None:
    """One acknowledged record."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    producer.produce(TOPIC, value)
    assert producer.flush(60) == 0


def consumed(bootstrap: str, count: int) -> list[bytes]:
    """The topic's first records."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    messages = [consumer.poll(60) for _ in range(count)]
    consumer.close()
    return [message.value() for message in messages]


@pytest.mark.e2e
def test_acknowledged_records_survive_kill_9_of_the_broker(broker: LocalStack) -> None:
    """What was acknowledged before kill -9 is read after the restart, with what came later."""
    bootstrap = broker.settings.kafka.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
    produced(bootstrap, b"before")
    broker.restart("kafka")
    produced(bootstrap, b"after")
    assert consumed(bootstrap, 2) == [b"before", b"after"]
    assert broker.status("kafka").restarts == 1


@pytest.mark.e2e
def test_a_misspelt_topic_is_an_error(broker: LocalStack) -> None:
    """The broker makes no topic that nobody asked for."""
    admin = AdminClient({"bootstrap.servers": broker.settings.kafka.bootstrap_servers, "log_level": 0})
    admin.list_topics("atalaia.metrics.v2", timeout=30)
    assert "atalaia.metrics.v2" not in admin.list_topics(timeout=30).topics


@pytest.mark.e2e
def test_nothing_outlives_the_block(tmp_path: Path) -> None:
    """After the block no process of it lives, and its state can be started again on other ports."""
    for _ in range(2):
        with LocalStack(tmp_path, components=("kafka", "registry")) as running:
            children = [(running.status(name).pid, running.status(name).created) for name in ("kafka", "registry")]
        assert not any(record.is_same_process(*child) for child in children)


def test_children_get_the_settings_of_their_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that loads its settings from a stack's environment points at that stack, whatever was set before."""
    monkeypatch.setenv("ATALAIA_KAFKA__BOOTSTRAP_SERVERS", "elsewhere:9092")
    local = stack.localised(load(home=tmp_path), Ports().shifted(100))
    for name, value in stack.environment(local).items():
        monkeypatch.setenv(name, value)
    loaded = load()
    assert loaded.kafka.bootstrap_servers == "127.0.0.1:9192"
    assert loaded.registry.url == "http://127.0.0.1:8181"
    assert loaded.clickhouse.url == "http://127.0.0.1:8223"
    assert (loaded.streams.metrics_port, loaded.sinks.metrics_port) == (9201, 9202)
    assert loaded.home == tmp_path


def test_an_offset_out_of_range_is_refused() -> None:
    """The largest offset is named."""
    settings = stack.shifted(Settings(), 60_000)
    with pytest.raises(Failure, match="at most 56433"):
        stack.ports_of(settings)


def test_commands_find_the_stack_of_their_home(tmp_path: Path) -> None:
    """A stack on moved ports is found by its record; what the user set himself stays; a dead one is ignored."""
    settings = Settings(home=tmp_path)
    assert stack.running(settings) == settings
    me = record.Record(pid=1, created=0.0, started=0.0, ports=Ports().shifted(7))
    record.write(tmp_path / "run" / "state.json", me)
    assert stack.running(settings) == settings
    alive = record.Record(
        pid=psutil.Process().pid, created=psutil.Process().create_time(), started=0.0, ports=Ports().shifted(7)
    )
    record.write(tmp_path / "run" / "state.json", alive)
    assert stack.running(settings).registry.url == "http://127.0.0.1:8088"
    explicit = Settings(home=tmp_path, kafka=KafkaSettings(bootstrap_servers="prod:9092"))
    assert stack.running(explicit).kafka.bootstrap_servers == "prod:9092"
    assert stack.running(explicit).registry.url == "http://127.0.0.1:8088"
