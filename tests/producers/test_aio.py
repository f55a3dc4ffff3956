"""The asyncio facade never blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from atalaia.producers import (
    AsyncProducer,
    BufferFull,
    Delivery,
    DeliveryError,
    MetricError,
    Producer,
    RecordingProducer,
)
from atalaia.schemas.topics import Topic


class Ids:
    """Knows every schema id."""

    def id_of(self, topic: Topic) -> int:
        """1."""
        return len(topic.name[:1])


@pytest.fixture
def nowhere() -> Iterator[Producer]:
    """A producer without a broker, whose buffer is small."""
    producer = Producer("127.0.0.1:1", service_name="shop", registry=Ids(), buffer_events=10, block_timeout=0.1)
    yield producer
    producer.close(0)


async def test_a_delivery_can_be_awaited() -> None:
    """Many at once, each with its own offset."""
    emitter = Producer(service_name="shop", registry=Ids(), config={"test.mock.num.brokers": 1})
    async with AsyncProducer(emitter) as metrics:
        await metrics.emit("order_value", 0)
        deliveries = await asyncio.gather(*(metrics.deliver("order_value", value) for value in range(20)))
        await metrics.health("healthy", cpu_usage=3)
        assert (await metrics.flush()).acknowledged == 22
    assert all(isinstance(delivery, Delivery) for delivery in deliveries)
    assert len({delivery.offset for delivery in deliveries}) == 20


async def test_a_lost_event_raises_where_it_is_awaited(nowhere: Producer) -> None:
    """With its reason."""
    metrics = AsyncProducer(nowhere)
    waiting = asyncio.create_task(metrics.deliver("order_value", 1))
    await asyncio.sleep(0)
    await metrics.close(timeout=0)
    with pytest.raises(DeliveryError) as caught:
        await waiting
    assert caught.value.reason == "closed"


async def test_a_full_buffer_suspends_the_task_not_the_loop(nowhere: Producer) -> None:
    """Others run on meanwhile; then `BufferFull`, counted once however often room was looked for."""
    metrics = AsyncProducer(nowhere)
    for value in range(10):
        await metrics.emit("order_value", value)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    with pytest.raises(BufferFull):
        await metrics.emit("order_value", 11)
    running.cancel()
    assert turns > 10
    assert metrics.stats.refused == 1


async def test_giving_up_waiting_does_not_take_the_event_back() -> None:
    """A cancelled `deliver` only stops waiting: the event is delivered and counted."""
    emitter = Producer(service_name="shop", registry=Ids(), config={"test.mock.num.brokers": 1})
    async with AsyncProducer(emitter) as metrics:
        waiting = asyncio.create_task(metrics.deliver("order_value", 1))
        await asyncio.sleep(0)
        waiting.cancel()
        assert (await metrics.flush()).acknowledged == 1


async def test_it_wraps_whatever_emits() -> None:
    """In tests, the recording producer; with the same errors."""
    recording = RecordingProducer()
    metrics = AsyncProducer(recording)
    delivery = await metrics.deliver("order_value", 59.9, region="BR")
    assert recording.events[delivery.offset]["region"] == "BR"
    with pytest.raises(MetricError):
        await metrics.emit("order_value", "59.9")  # type: ignore[arg-type]
