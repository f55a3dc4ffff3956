"""The stream worker among faults: whatever dies whenever, the rollups are those of the acknowledged events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import lab
from benchmarks.trials.trial import EAGER, trial

from atalaia.infra.local.stack import LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ONE_BUG = """
from atalaia.cli.main import main
from atalaia.streams.columns import Engine

batches = iter(range(1_000_000))
aggregate = Engine.aggregate_all

def aggregate_but_the_fourth(self, records, **options):
    if next(batches) == 3:
        raise LookupError("a bug")
    return aggregate(self, records, **options)

Engine.aggregate_all = aggregate_but_the_fourth
main()
"""
"""A worker that fails at its fourth batch."""


@pytest.fixture(scope="module")
def kafka_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka and the registry, of this module's own: brokers get killed here."""
    with lab.local_stack(tmp_path_factory.mktemp("faults")) as stack:
        yield stack


def test_killed_again_and_again(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """A worker that is killed at any moment leaves no event uncounted and none counted twice."""
    with trial(kafka_stack, tmp_path, name="alone", seed=1) as run:
        (worker,) = run.workers
        for _ in range(4):
            run.go_on()
            worker.kill()
            run.go_on(fewest=100, most=2_000)
            worker.start()
        assert run.verdict() == []


def test_two_workers_of_which_one_dies(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """Partitions of a killed worker go on where it was, at another, and so do those it gets back."""
    with trial(kafka_stack, tmp_path, name="shared", seed=2, streams=2) as run:
        for _ in range(3):
            run.go_on()
            victim = run.random.choice(run.workers)
            victim.kill()
            run.go_on(fewest=1_000, most=6_000)
            victim.start()
        assert run.verdict() == []


def test_rolling_restart(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """Workers that are stopped as planned, one after the other, lose nothing, and say that they ended well."""
    with trial(kafka_stack, tmp_path, name="rolling", seed=3, streams=2) as run:
        for worker in run.workers:
            run.go_on()
            assert worker.stop() == 0
            run.go_on(fewest=500, most=2_000)
            worker.start()
            run.await_assigned()
        assert run.verdict() == []


def test_paused_longer_than_its_session(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """A worker that was taken for dead and wakes up again spoils nothing of what its successor did."""
    with trial(kafka_stack, tmp_path, name="paused", seed=4, streams=2) as run:
        paused, other = run.workers
        run.go_on()
        paused.pause()
        before = other.metrics().get("atalaia_records_read_total", 0.0)  # it may have read nothing yet
        run.await_assigned(other, partitions=kafka_stack.settings.kafka.partitions)
        run.go_on()
        paused.resume()
        run.go_on(fewest=5_000, most=8_000)
        assert other.metrics()["atalaia_records_read_total"] > before
        assert run.verdict() == []


def test_broker_killed(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """A broker that is killed under load costs time: every acknowledged event is counted once."""
    with trial(kafka_stack, tmp_path, name="broker", seed=5) as run:
        run.go_on()
        kafka_stack.restart("kafka")
        run.go_on()
        assert run.verdict() == []
        assert run.ledger.refused == []


def test_a_bug_ends_the_worker(kafka_stack: LocalStack, tmp_path: Path) -> None:
    """A batch that raises what nobody expected ends the process: it is never passed over by the batches after it."""
    program = tmp_path / "one_bug.py"
    program.write_text(ONE_BUG)
    with trial(kafka_stack, tmp_path, name="bug", seed=6) as run:
        (worker,) = run.workers
        worker.stop()
        run.go_on()
        buggy = lab.Worker("stream", kafka_stack, tmp_path / "buggy.log", EAGER, launcher=[str(program)])
        with buggy:
            code = buggy.process.wait(60)
        worker.start()
        assert run.verdict() == []
        assert code != 0
