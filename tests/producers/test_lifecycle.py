"""What happens to events when a process forks or ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

import pytest
from tests.producers.conftest import Read

from atalaia.infra.local.stack import LocalStack

_NOWHERE = {"ATALAIA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "ATALAIA_REGISTRY__URL": "http://127.0.0.1:1"}

_HEAD = """
import os, sys
from atalaia.producers import Producer
metrics = Producer(service_name=sys.argv[1])
"""

_ENDS = "for value in range(1000): metrics.emit('order_value', value)"

_FORKS = """
metrics.deliver('order_value', 1).result(30)
sequence = metrics.metric('orders')
for _ in range(2000): sequence.emit(1)
child = os.fork()
for _ in range(500): sequence.emit(2)
print(metrics.producer_id, metrics.flush(30).acknowledged, flush=True)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

_FORKS_FIRST = """
child = os.fork()
for _ in range(500): metrics.emit('orders', 2)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

_MULTIPROCESSING = """
import multiprocessing
def work():
    for _ in range(100): metrics.emit('orders', 1)
if __name__ == '__main__':
    metrics.deliver('orders', 1).result(30)
    children = [multiprocessing.get_context('fork').Process(target=work) for _ in range(2)]
    for child in children: child.start()
    for child in children: child.join(30)
    assert [child.exitcode for child in children] == [0, 0]
"""

# librdkafka's mock cluster acknowledges; the registry is one line.
_FORKS_UNDER_LOAD = """
import os, threading
from atalaia.producers import Producer
class Ids:
    def id_of(self, topic): return 1
metrics = Producer(service_name='shop', registry=Ids(), config={'test.mock.num.brokers': 1}, on_full='drop_oldest')
over = threading.Event()
def work():
    while not over.wait(0.001): metrics.emit('order_value', 1)
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        for _ in range(100): metrics.emit('order_value', 2)
        os._exit(0 if metrics.flush(30).acknowledged == 100 else 1)
    assert os.waitpid(child, 0)[1] == 0
over.set()
for thread in threads: thread.join()
stats = metrics.close(30)
assert stats.acknowledged == stats.emitted, stats
"""


def run(program: str, service: str, environment: dict[str, str]) -> str:
    """What a program that ends well prints."""
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + program, service],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(stack: LocalStack) -> dict[str, str]:
    """Where the stack is, as any process is told."""
    settings = stack.settings
    return {
        "ATALAIA_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "ATALAIA_REGISTRY__URL": settings.registry.url,
    }


@pytest.fixture
def service() -> str:
    """A name of its own for each test."""
    return f"lifecycle-{uuid4().hex[:8]}"


@pytest.mark.e2e
def test_a_program_that_just_ends_has_sent_everything(
    environment: dict[str, str], service: str, read_back: Callable[..., list[Read]]
) -> None:
    """No flush, no close, no context: the end of the process sees to it."""
    run(_ENDS, service, environment)
    assert sorted(record.event["value"] for record in read_back(service, 1000)) == list(range(1000))


def test_a_program_without_a_broker_ends_all_the_same(service: str) -> None:
    """Its end waits for the broker some seconds, not for ever."""
    run(_ENDS, service, _NOWHERE)


@pytest.mark.e2e
def test_after_a_fork_each_process_sends_its_own_once(
    environment: dict[str, str], service: str, read_back: Callable[..., list[Read]]
) -> None:
    """What waited or flew at the fork is sent by the parent alone; the child counts under a name of its own."""
    said = dict(line.split() for line in run(_FORKS, service, environment).splitlines())
    records = read_back(service, 3001)
    assert len({record.event["event_id"] for record in records}) == len(records) == 3001
    by_producer = Counter(record.event["producer_id"] for record in records)
    assert sorted(by_producer.values()) == [500, 2501]
    assert {producer_id: str(count) for producer_id, count in by_producer.items()} == said
    for producer_id, count in by_producer.items():
        sequences = [
            record.event["sequence"]
            for record in records
            if record.event["producer_id"] == producer_id and record.event["metric_name"] == "orders"
        ]
        assert sorted(sequences) == list(range(count if count == 500 else 2500))


def test_a_process_may_fork_while_its_threads_emit(service: str) -> None:
    """From the first event on, the child is never stuck on what a thread of the parent held."""
    run(_FORKS_UNDER_LOAD, service, _NOWHERE)


@pytest.mark.e2e
def test_a_producer_made_before_the_fork_works_in_both(
    environment: dict[str, str], service: str, read_back: Callable[..., list[Read]]
) -> None:
    """As with servers that load the application, then fork their workers."""
    run(_FORKS_FIRST, service, environment)
    assert sorted(Counter(record.event["producer_id"] for record in read_back(service, 1000)).values()) == [500, 500]


@pytest.mark.e2e
def test_a_multiprocessing_child_that_just_ends_has_sent_everything(
    environment: dict[str, str], service: str, read_back: Callable[..., list[Read]]
) -> None:
    """Such children leave without the interpreter's own exit handlers."""
    run(_MULTIPROCESSING, service, environment)
    assert sorted(Counter(record.event["producer_id"] for record in read_back(service, 201)).values()) == [1, 100, 100]
