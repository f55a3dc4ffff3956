"""A sink's membership: what it takes, whatever happens to its partitions meanwhile."""

from __future__ import annotations

import uuid
from contextlib import closing

import pytest
from benchmarks import lab
from confluent_kafka import Producer

from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import Settings
from atalaia.schemas.topics import SERVICE_HEALTH
from atalaia.sinks.group import Membership

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WITHIN_SECONDS = 60


@pytest.fixture
def settings(stack: LocalStack) -> Settings:
    """Settings of a group of its own."""
    sinks = stack.settings.sinks.model_copy(update={"group": f"test-{uuid.uuid4().hex[:8]}"})
    return stack.settings.model_copy(update={"sinks": sinks})


def test_partitions_that_come_back_after_a_wait_are_read(settings: Settings) -> None:
    """A member that loses partitions while it waits, and wakes before it has them back, takes their messages again."""
    everything = set(range(settings.kafka.partitions))
    with closing(Membership(settings, [SERVICE_HEALTH.name])) as member:

        def owned() -> set[int]:
            return {partition for _, partition in member.owned}

        def waits() -> bool:
            member.idle(0.05)
            return owned() == everything

        lab.await_condition(waits, "every partition", within_seconds=WITHIN_SECONDS)
        with closing(Membership(settings, [SERVICE_HEALTH.name])) as other:

            def shares() -> bool:
                member.idle(0.05)
                other.poll(records=1, wait_seconds=0.05)
                return bool(other.owned) and owned() < everything

            lab.await_condition(shares, "partitions of its own", within_seconds=WITHIN_SECONDS)
            member.wake()
        producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
        for partition in everything:
            producer.produce(SERVICE_HEALTH.name, b"x", partition=partition)
        assert producer.flush(30) == 0
        read: set[int] = set()

        def reads() -> bool:
            read.update(each.partition() for each in member.poll(records=100, wait_seconds=0.05))
            return read == everything

        lab.await_condition(
            reads, lambda: f"a message of each partition (there are of {read})", within_seconds=WITHIN_SECONDS
        )
