"""Reading back what producers sent to the real Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from atalaia.infra.local.stack import LocalStack
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH, Topic


@dataclass(frozen=True, slots=True)
class Read:
    """One record as a consumer gets it, and what it says."""

    key: bytes
    headers: dict[str, bytes]
    partition: int
    offset: int
    schema_id: int | None
    event: dict[str, Any]


@pytest.fixture
def read_back(stack: LocalStack) -> Callable[..., list[Read]]:
    """All records of a service, in order by partition; waits until there are `count`, and looks for more."""

    def read(service_name: str, count: int, topic: Topic = METRICS) -> list[Read]:
        bootstrap = stack.settings.kafka.bootstrap_servers
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
        try:
            partitions = consumer.list_topics(topic.name, timeout=30).topics[topic.name].partitions
            consumer.assign([TopicPartition(topic.name, partition, 0) for partition in partitions])
            found: list[Read] = []
            deadline, quiet = time.monotonic() + 60, 0
            while quiet < 2 or len(found) < count:
                assert time.monotonic() < deadline, f"{len(found)} of {count} events of {service_name} came"
                messages = consumer.consume(10_000, timeout=0.3)
                quiet = 0 if messages else quiet + 1
                found += [record for record in map(_read, messages) if record.event["service_name"] == service_name]
        finally:
            consumer.close()
        return found

    return read


@pytest.fixture
def schema_ids(stack: LocalStack) -> dict[str, int]:
    """The registry's own word on the ids."""
    with Registry(stack.settings.registry.url) as registry:
        return {topic.name: registry.id_of(topic) for topic in (METRICS, SERVICE_HEALTH)}


def _read(message: Any) -> Read:
    assert message.error() is None
    value = message.value()
    name = METRICS.schema if message.topic() == METRICS.name else SERVICE_HEALTH.schema
    return Read(
        key=message.key(),
        headers=dict(message.headers() or []),
        partition=message.partition(),
        offset=message.offset(),
        schema_id=codec.schema_id_of(value[: codec.HEADER_BYTES]),
        event=codec.decode(str(name), value[codec.HEADER_BYTES :]),
    )
