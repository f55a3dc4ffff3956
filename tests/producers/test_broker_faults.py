"""P1 on the real Kafka: acknowledged means in the topic, once, whatever happens to the broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from uuid import uuid4

import pytest
from tests.producers.conftest import Read

from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Delivery, Outcome, Producer


@pytest.mark.e2e
def test_acknowledged_events_survive_kill_9_of_the_broker_once(
    stack: LocalStack, read_back: Callable[..., list[Read]]
) -> None:
    """In the middle of a load: no acknowledged event is missing, none is there twice, and the rest goes out later."""
    service = f"kill-{uuid4().hex[:8]}"
    acknowledged: list[str] = []
    lost: list[Outcome] = []

    def told(outcome: Outcome) -> None:
        if isinstance(outcome, Delivery):
            acknowledged.append(outcome.event_id)
        else:
            lost.append(outcome)

    settings = stack.settings
    metrics = Producer(
        settings.kafka.bootstrap_servers,
        service_name=service,
        registry=settings.registry.url,
        buffer_events=1_000_000,
    )
    with metrics:
        back: Future[None] = Future()
        first = metrics.deliver("orders", 0)
        first.result(30)

        def crash() -> None:
            stack.restart("kafka")
            back.set_result(None)

        crashing = threading.Thread(target=crash)
        crashing.start()
        emitted = 0
        while not back.done():
            metrics.emit("orders", emitted, on_delivery=told)
            emitted += 1
            if emitted % 100 == 0:
                back_soon(back)
        crashing.join()
        stats = metrics.flush(120)
    assert stats.queued == 0
    assert lost == []
    assert stats.acknowledged == len(acknowledged) + 1 == emitted + 1
    there = Counter(str(record.event["event_id"]) for record in read_back(service, emitted + 1))
    assert set(there.values()) == {1}
    assert set(acknowledged) <= set(there)
    assert emitted > 1000


def back_soon(back: Future[None]) -> None:
    """Let the others run: about ten thousand events a second are load enough."""
    try:
        back.exception(timeout=0.01)
    except TimeoutError:
        return
