"""`make bench`: every figure beside its peers, in one run on one machine; build/bench.json and a table.

Ratios are what counts: absolute figures move from machine to machine, and with what else runs there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import backtest, emit, lab, machine, report, rules, sink, throughput, whole
from benchmarks.narration import say
from benchmarks.report import Figure
from benchmarks.throughput import Scale
from rich.console import Console

from atalaia.infra.local.kafka import jars

EMIT_AIM: Final = 60_000
CALLER_AIM_US: Final = 50


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    emits: int
    scales: Sequence[Scale]
    rows: int
    seconds: float
    days: int
    ticks: int


FULL: Final = Size(
    emits=300_000,
    scales=(
        Scale(1_000, 3_000_000, targets={"plain Faust": 60, "Quix Streams": 12, "Quix Streams, sum only": 12}),
        Scale(10_000, 2_000_000),
        Scale(50_000, 1_500_000, targets={"plain Faust": 15}),
    ),
    rows=1_500_000,
    seconds=30,
    days=30,
    ticks=130,
)
QUICK: Final = Size(
    emits=20_000,
    scales=(
        Scale(
            1_000,
            300_000,
            targets={"plain Faust": 60, "Quix Streams": 12, "Quix Streams, sum only": 12},
            peer_seconds=8,
        ),
        Scale(50_000, 300_000, targets={"plain Faust": 15}, peer_seconds=8),
    ),
    rows=200_000,
    seconds=8,
    days=2,
    ticks=35,
)


def _emit(size: Size, folder: Path) -> list[Figure]:
    say("emit")
    with lab.local_stack(folder / "stack") as stack:
        settings = stack.settings
        found = emit.run(settings.kafka.bootstrap_servers, settings.registry.url, events=size.emits)
    figures = [
        Figure(f"{rate['way']}, one core", rate["events_per_second"], "events/s", detail=rate)
        for rate in (*found["emit"], *found["peers"])
    ]
    first, *others = figures
    paced = found["caller"][-1]
    caller = Figure(
        "pre-bound emit, p99 in the caller",
        paced["p99_us"],
        "µs",
        CALLER_AIM_US,
        at_least=False,
        note=f"at {paced['load']}; p50 {paced['p50_us']} µs",
        detail={"all": found["caller"]},
    )
    return [Figure(first.name, first.value, first.unit, EMIT_AIM, detail=first.detail), caller, *others]


def _worker(size: Size, folder: Path) -> list[Figure]:
    return [figure for scale in size.scales for figure in throughput.measure(scale, folder / f"series-{scale.series}")]


def _sink(size: Size, folder: Path) -> list[Figure]:
    return sink.measure(size.rows, folder)


def _whole(size: Size, folder: Path) -> list[Figure]:
    return whole.measure(size.seconds, folder)


def _rules(size: Size, folder: Path) -> list[Figure]:
    return rules.measure(size.ticks, folder)


def _backtest(size: Size, folder: Path) -> list[Figure]:
    return backtest.measure(size.days, folder)


SECTIONS: Final[dict[str, Callable[[Size, Path], list[Figure]]]] = {
    "emit": _emit,
    "rules": _rules,
    "backtest": _backtest,
    "worker": _worker,
    "sink": _sink,
    "stack": _whole,
}


def main() -> None:
    """Measures, writes and shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small loads: whether all of it runs, not how fast")
    parser.add_argument("--only", action="append", choices=[*SECTIONS], help="these sections; repeat it for more")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where the JSON goes")
    said = parser.parse_args()
    head: dict[str, Any] = {
        "date": machine.now(),
        "command": machine.command(),
        "quick": said.quick,
        "machine": machine.machine(),
        "versions": machine.versions(jars.default_cache()),
    }
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="atalaia-bench-") as folder:
        for name in said.only or SECTIONS:
            figures += SECTIONS[name](QUICK if said.quick else FULL, Path(folder) / name)
            report.write(said.out, head, figures)
    report.show(Console(), head, figures)
    say(f"written to {said.out}")


if __name__ == "__main__":
    main()
