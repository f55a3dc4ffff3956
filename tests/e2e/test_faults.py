"""The whole pipeline among faults: every acknowledged event in raw exactly once, and every rollup equal to raw."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks import lab
from benchmarks.trials.poison import Poisoner
from benchmarks.trials.tables import Tables
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


def test_poison(full_stack: LocalStack, tmp_path: Path) -> None:
    """Each bad record is in the dead letters once, with its reason and its bytes; its neighbours don't notice."""
    poisoner = Poisoner(full_stack.settings, seed=14)
    with trial(full_stack, tmp_path, name="poison", seed=14, sinks=1) as run:
        stream = run.workers[0]
        while poisoner:
            run.go_on(fewest=10, most=200)
            poisoner.send_one()
        stream.kill()  # what it has put aside and not committed, it puts aside once more
        run.go_on()
        stream.start()
        assert run.verdict() == []
    with closing(Tables(full_stack.settings)) as tables:
        letters = tables.dead_letters()
    for sent in poisoner.sent:
        found = letters.get((sent.partition, sent.offset))
        assert found == [(sent.poison.reason, sent.poison.value or b"")], sent.poison.name


def test_replay_of_dead_letters(full_stack: LocalStack, tmp_path: Path) -> None:
    """Dead letters that are sent again are judged again: what is still bad is a dead letter once more, as it was."""
    poisoner = Poisoner(full_stack.settings, seed=15)
    with trial(full_stack, tmp_path, name="replay", seed=15, sinks=1) as run:
        while poisoner:
            poisoner.send_one()
        run.drain()
        subprocess.run(
            [sys.executable, "-m", "atalaia.cli", "dlq", "replay"],
            env=full_stack.environment,
            check=True,
            capture_output=True,
        )
        assert run.verdict() == []
    with closing(Tables(full_stack.settings)) as tables:
        letters = Counter(each for found in tables.dead_letters().values() for each in found)
    for sent in poisoner.sent:
        assert letters[sent.poison.reason, sent.poison.value or b""] >= 2, sent.poison.name
