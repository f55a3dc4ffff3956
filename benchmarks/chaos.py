"""`make chaos`: kill -9 at random under load, round after round, and a proof after each; build/chaos.json.

Each round runs two stream workers and two sinks under a load that keeps a ledger of what was acknowledged, kills or
pauses what the round's seed says, lets everything catch up, and looks: every acknowledged event in raw exactly once,
every rollup window equal to an independent count, `atalaia verify` green.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import lab
from benchmarks.trials.trial import Trial, trial

from atalaia.infra.local.stack import LocalStack

FAULTS_A_ROUND: Final = 6
BROKEN: Final = 1


def main() -> int:
    """The exit code: 0 where every round's proof holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how many; each takes about a minute (default: 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; a round can be run again by its seed")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"), help="where the JSON goes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atalaia-chaos-") as home:
        folder = Path(home)
        with lab.local_stack(folder / "stack", lab.EVERYTHING) as stack:
            rounds = [_round(stack, folder, asked.seed + number) for number in range(asked.rounds)]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"at": datetime.now(UTC).isoformat(), "rounds": rounds}, indent=2) + "\n")
    broken = [each["seed"] for each in rounds if each["wrong"]]
    print(f"{len(rounds) - len(broken)} of {len(rounds)} rounds proved; written to {asked.out}")
    return BROKEN if broken else 0


def _round(stack: LocalStack, folder: Path, seed: int) -> dict[str, object]:
    started = time.monotonic()
    done: list[str] = []
    with trial(stack, folder / str(seed), name=f"chaos-{seed}", seed=seed, streams=2, sinks=2) as run:
        for _ in range(FAULTS_A_ROUND):
            run.go_on()
            done.append(_fault(stack, run))
            print(f"round {seed}: {done[-1]}", file=sys.stderr, flush=True)
        wrong = run.verdict()
        acknowledged = len(run.ledger.entries)
    seconds = round(time.monotonic() - started, 1)
    print(f"round {seed}: {acknowledged} events acknowledged, {len(wrong)} things wrong, {seconds} s")
    return {"seed": seed, "faults": done, "acknowledged": acknowledged, "wrong": wrong, "seconds": seconds}


def _fault(stack: LocalStack, run: Trial) -> str:
    """Does something bad, undoes it while the load goes on, and says what it was."""
    kind = run.random.choice(["kill", "kill", "kill", "pause", "broker", "clickhouse"])
    if kind in {"kill", "pause"}:
        victim = run.random.choice(run.workers)
        begin, end = (victim.kill, victim.start) if kind == "kill" else (victim.pause, victim.resume)
        begin()
        run.go_on(fewest=100, most=8_000)
        end()
        return f"{kind} {victim.stage}"
    component = "kafka" if kind == "broker" else "clickhouse"
    stack.restart(component)
    return f"kill {component}"


if __name__ == "__main__":
    sys.exit(main())
