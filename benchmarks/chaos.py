"""`make chaos`: everything is killed, at random, under load; then every number has to be right.

Two stream workers and two sinks share the partitions of one embedded stack. A producer keeps a ledger of what the
broker acknowledged, poison comes in between, and faults strike at moments drawn from the seed. Afterwards: every
acknowledged event is in raw exactly once, every bad record is a dead letter with its reason, rollups equal an oracle
computed from the ledger, and `atalaia verify` finds nothing. Exit code 1 otherwise. Writes build/chaos.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from benchmarks import lab, machine
from benchmarks.narration import say
from benchmarks.trials.poison import Poisoner
from benchmarks.trials.tables import Tables
from benchmarks.trials.trial import EAGER, Trial, trial

from atalaia.infra.settings import Settings

EVENTS_PER_SECOND: Final = 2_000
FAULTS: Final = 20
QUICK_FAULTS: Final = 5
_EXAMPLES: Final = 20


class Chaos:
    """The faults that can strike a trial. Each returns what it did, in words, and leaves everything running."""

    def __init__(self, run: Trial, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self.faults: Mapping[str, Callable[[], str]] = {
            "kill a stream worker": lambda: self._kill("stream"),
            "kill a sink": lambda: self._kill("sink"),
            "kill a sink between insert and commit": self._kill_after_insert,
            "stop a stream worker as planned": self._stop,
            "pause a stream worker beyond its session": self._pause,
            "kill the broker": lambda: self._kill_infrastructure("kafka"),
            "kill ClickHouse": lambda: self._kill_infrastructure("clickhouse"),
            "kill the registry": lambda: self._kill_infrastructure("registry"),
        }

    def _kill(self, stage: lab.Stage) -> str:
        victim = self._pick(stage)
        victim.kill()
        self._run.go_on(fewest=10, most=5_000)
        victim.start()
        return victim.log.stem

    def _kill_after_insert(self) -> str:
        victim = self._pick("sink")
        victim.kill()
        doomed = EAGER | {"ATALAIA_FAILPOINT": f"sink.after_insert:{self._run.random.randint(1, 3)}"}
        with lab.Worker("sink", self._run.stack, self._folder / "doomed.log", doomed) as dying:
            lab.await_condition(lambda: not dying.running, "the failpoint reached", within_seconds=120)
        victim.start()
        return f"in the place of {victim.log.stem}"

    def _stop(self) -> str:
        victim = self._pick("stream")
        code = victim.stop(within_seconds=60)
        assert code == 0, f"a planned stop ended with exit code {code}"
        victim.start()
        return victim.log.stem

    def _pause(self) -> str:
        victim = self._pick("stream")
        (other,) = (each for each in self._run.workers if each.stage == "stream" and each is not victim)
        self._run.await_assigned(other)
        victim.pause()
        try:
            self._run.await_assigned(other, partitions=self._run.stack.settings.kafka.partitions)
        finally:
            victim.resume()
        return victim.log.stem

    def _kill_infrastructure(self, component: str) -> str:
        self._run.stack.restart(component)
        return component

    def _pick(self, stage: lab.Stage) -> lab.Worker:
        victim = self._run.random.choice([worker for worker in self._run.workers if worker.stage == stage])
        if not victim.running:  # ended by an earlier fault, as a worker may: a supervisor would start it anew
            victim.start()
        self._run.await_assigned(victim)
        return victim


def run(*, seed: int, faults: int, folder: Path) -> dict[str, Any]:
    """One run; what happened, and what is wrong afterwards."""
    draw = random.Random(seed)  # noqa: S311 - a run that can be repeated
    history: list[dict[str, Any]] = []
    with lab.local_stack(folder / "stack", lab.EVERYTHING) as stack:
        say(f"seed {seed}: two stream workers, two sinks, {EVENTS_PER_SECOND:,} events/s")
        poisoner = Poisoner(stack.settings, seed=seed)
        with trial(
            stack, folder, name="chaos", seed=seed, streams=2, sinks=2, events_per_second=EVENTS_PER_SECOND
        ) as under_load:
            chaos = Chaos(under_load, folder)
            started = time.monotonic()
            for number, kind in enumerate(_drawn([*chaos.faults], faults, draw), start=1):
                under_load.go_on(fewest=200, most=6_000)
                if poisoner:
                    poisoner.send_one()
                what = chaos.faults[kind]()
                seconds = round(time.monotonic() - started, 1)
                acknowledged = len(under_load.ledger.entries)
                history.append({"seconds": seconds, "fault": kind, "what": what, "acknowledged": acknowledged})
                say(f"{number} of {faults}: {kind} ({what}); {acknowledged:,} events acknowledged")
            while poisoner:
                poisoner.send_one()
            for worker in under_load.workers:
                if not worker.running:
                    worker.start()
            say("draining, and comparing every number")
            wrong = under_load.verdict()
            wrong += [f"refused by the broker: {reason}" for reason in under_load.ledger.refused]
            acknowledged = len(under_load.ledger.entries)
        wrong += _poison_faults(stack.settings, poisoner)
    return {
        "seed": seed,
        "faults": history,
        "acknowledged": acknowledged,
        "poison": len(poisoner.sent),
        "wrong": wrong[:_EXAMPLES],
        "wrong_count": len(wrong),
    }


def _drawn(kinds: list[str], count: int, draw: random.Random) -> list[str]:
    """Kinds in random order, each once before any comes again."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += draw.sample(kinds, len(kinds))
    return drawn[:count]


def _poison_faults(settings: Settings, poisoner: Poisoner) -> list[str]:
    with closing(Tables(settings)) as tables:
        letters = tables.dead_letters()
    return [
        f"{sent.poison.name} at {sent.partition}:{sent.offset}: must be {sent.poison.reason} once, is {found}"
        for sent in poisoner.sent
        if (found := letters.get((sent.partition, sent.offset))) != [(sent.poison.reason, sent.poison.value or b"")]
    ]


def main() -> None:
    """Runs, writes and says the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's draws (default: a new seed)")
    parser.add_argument("--faults", type=int, default=FAULTS, help="how many strike")
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK_FAULTS}")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"), help="where the JSON goes")
    said = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if said.seed is None else said.seed
    head = {"date": machine.now(), "command": machine.command("benchmarks.chaos"), "machine": machine.machine()}
    with tempfile.TemporaryDirectory(prefix="atalaia-chaos-") as folder:
        found = run(seed=seed, faults=QUICK_FAULTS if said.quick else said.faults, folder=Path(folder))
    said.out.parent.mkdir(parents=True, exist_ok=True)
    said.out.write_text(json.dumps(head | found, indent=2) + "\n", "utf-8")
    if found["wrong"]:
        for line in found["wrong"]:
            print(line)
        print(f"WRONG: {found['wrong_count']} findings; repeat with --seed {seed}; {said.out}")
        sys.exit(1)
    print(
        f"RIGHT: {found['acknowledged']:,} acknowledged events are each in raw once, rollups equal them, "
        f"{found['poison']} bad records are dead letters, after {len(found['faults'])} faults (seed {seed}); {said.out}"
    )


if __name__ == "__main__":
    main()
