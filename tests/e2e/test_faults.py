"""The whole pipeline among faults: every acknowledged event in raw exactly once, and every rollup equal to raw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import lab
from benchmarks.trials.trial import EAGER, trial

from atalaia.infra.local.stack import LocalStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def full_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka, the registry and ClickHouse, of this module's own: they get killed here."""
    with lab.local_stack(tmp_path_factory.mktemp("faults"), lab.EVERYTHING) as stack:
        yield stack


def test_sink_killed_between_insert_and_commit(full_stack: LocalStack, tmp_path: Path) -> None:
    """A sink that dies after an insert and before its commit stores the batch again, and nothing twice."""
    with trial(full_stack, tmp_path, name="failpoint", seed=11, sinks=1) as run:
        _, sink = run.workers
        run.go_on()
        sink.kill()
        for third in range(1, 4):
            doomed = EAGER | {"ATALAIA_FAILPOINT": f"sink.after_insert:{third}"}
            with lab.Worker("sink", full_stack, tmp_path / "doomed.log", doomed) as dying:
                dying.process.wait(60)
                assert dying.process.returncode == -9
        sink.start()
        assert run.verdict() == []


def test_any_worker_killed_at_any_moment(full_stack: LocalStack, tmp_path: Path) -> None:
    """Stream workers and sinks that are killed at random, two of each, lose nothing and count nothing twice."""
    with trial(full_stack, tmp_path, name="random", seed=12, streams=2, sinks=2) as run:
        for _ in range(5):
            run.go_on()
            victim = run.random.choice(run.workers)
            victim.kill()
            run.go_on(fewest=100, most=4_000)
            victim.start()
        assert run.verdict() == []


def test_infrastructure_killed(full_stack: LocalStack, tmp_path: Path) -> None:
    """The broker, then ClickHouse, killed under load: both come back, and every acknowledged event is there once."""
    with trial(full_stack, tmp_path, name="infrastructure", seed=13, sinks=1) as run:
        for component in ("kafka", "clickhouse"):
            run.go_on()
            full_stack.restart(component)
        run.go_on()
        assert run.verdict() == []
        assert run.ledger.refused == []
