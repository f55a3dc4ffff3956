"""How many events a second the stream worker takes in, beside its peers, from the same records in the same broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from benchmarks import lab, load, quix
from benchmarks.narration import say
from benchmarks.report import Figure

from atalaia.infra.local.stack import LocalStack
from atalaia.schemas.topics import METRICS

_HERE: Final = Path(__file__).parent
_SCHEMA: Final = _HERE.parent / "schemas" / "atalaia" / "schemas" / "avro" / "MetricEvent.avsc"
_SAMPLE_SECONDS: Final = 0.2
_FIRST_SHARE, _LAST_SHARE = 0.1, 0.9
"""Steady state: between a tenth and nine tenths of the load."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a program went through a load. `steady` leaves out its start and its end."""

    steady: float
    overall: float
    events: int
    seconds: float
    cpu_seconds: float
    """Processor time of the whole process, its start included: what a busy machine doesn't blur."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One load: how many series, how many events, and which peers take it too."""

    series: int
    events: int
    faust_target: float | None = None
    quix_target: float | None = None
    peer_seconds: float = 20.0


def measure(scale: Scale, folder: Path) -> list[Figure]:
    """The worker and its peers at one scale: events a second, and how many times the peer's that is."""
    figures: list[Figure] = []
    with lab.local_stack(folder / "stack") as stack:
        say(f"{scale.series:,} series: producing {scale.events:,} events")
        load.produce(stack.settings, load.series(scale.series), scale.events)
        say(f"{scale.series:,} series: stream worker")
        ours = worker_pace(stack, scale.events, folder / "stream.log")
        name = f"worker, {scale.series:,} series"
        figures.append(
            Figure(
                name,
                ours.steady,
                "events/s",
                target=150_000 if scale.series == 1_000 else None,  # noqa: PLR2004 - issue's aim is for a thousand
                note=f"{ours.events:,} events applied, published and committed in {ours.seconds:.1f} s",
                detail=asdict(ours) | {"series": scale.series},
            )
        )
        if scale.faust_target is not None:
            say(f"{scale.series:,} series: plain Faust for {scale.peer_seconds:g} s")
            faust = peer_pace(
                [sys.executable, str(_HERE / "peers" / "plain_faust.py"), "worker", "--without-web", "-l", "warn"],
                stack,
                folder / "plain-faust",
                seconds=scale.peer_seconds,
            )
            figures += _beside(name, ours, f"plain Faust, {scale.series:,} series", faust, scale.faust_target)
        if scale.quix_target is not None:
            python, reason = quix.interpreter()
            if python is None:
                figures.append(Figure(f"Quix Streams, {scale.series:,} series", None, "events/s", note=reason))
            else:
                say(f"{scale.series:,} series: Quix Streams for {scale.peer_seconds:g} s")
                command = [str(python), str(_HERE / "peers" / "quix_streams.py")]
                pace = peer_pace(command, stack, folder / "quix", seconds=scale.peer_seconds)
                figures += _beside(name, ours, f"Quix Streams, {scale.series:,} series", pace, scale.quix_target)
    return figures


def worker_pace(stack: LocalStack, events: int, log: Path, environment: Mapping[str, str] | None = None) -> Pace:
    """The real worker process over a load that waits in Kafka, from its own metrics."""
    samples: list[tuple[float, float]] = []
    settings = stack.settings
    with lab.Worker("stream", stack, log, environment) as worker:
        while not samples or samples[-1][1] < events:
            if not worker.running:
                raise RuntimeError(f"the worker ended: {lab.tail(log)}")
            read = worker.metrics().get("atalaia_records_read_total", 0.0)
            if read:
                samples.append((time.monotonic(), read))
            time.sleep(_SAMPLE_SECONDS)
        lab.await_condition(
            lambda: lab.lag(settings, settings.streams.application, [METRICS.name]) == 0,
            "everything committed",
            within_seconds=120,
        )
        seconds = time.monotonic() - samples[0][0]
        cpu_seconds = _cpu_seconds(worker.process.pid)
        worker.stop()
    return Pace(steady_rate(samples), events / seconds, events, seconds, cpu_seconds)


def steady_rate(samples: Sequence[tuple[float, float]]) -> float:
    """Events a second between a tenth and nine tenths of a run; `samples` are (seconds, events so far).

    >>> steady_rate([(0.0, 1.0), (1.0, 10.0), (2.0, 50.0), (3.0, 90.0), (9.0, 100.0)])
    40.0
    """
    last = samples[-1][1]
    inner = [each for each in samples if _FIRST_SHARE * last <= each[1] <= _LAST_SHARE * last]
    if len(inner) < 2:  # noqa: PLR2004 - a slope needs two points
        inner = [samples[0], samples[-1]]
    (begun, before), (ended, after) = inner[0], inner[-1]
    return (after - before) / max(ended - begun, 1e-9)


def peer_pace(command: Sequence[str], stack: LocalStack, folder: Path, *, seconds: float) -> Pace:
    """A peer for some seconds over the same load, from the lines that it prints."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "BOOTSTRAP": stack.settings.kafka.bootstrap_servers,
        "TOPIC": METRICS.name,
        "SCHEMA": str(_SCHEMA),
        "PARTITIONS": str(stack.settings.kafka.partitions),
        "DATADIR": str(folder),
    }
    out = folder / "out.jsonl"
    cpu_seconds = 0.0
    with out.open("wb") as output, (folder / "err.log").open("wb") as errors:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=errors)
        try:
            lab.await_condition(
                lambda: process.poll() is not None or bool(_lines(out)),
                lambda: f"{command[1]} at work: {lab.tail(folder / 'err.log')}",
                within_seconds=90,
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                cpu_seconds = _cpu_seconds(process.pid)
                process.terminate()
        finally:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    lines = _lines(out)
    if not lines:
        raise RuntimeError(f"{command[1]} said nothing: {lab.tail(folder / 'err.log')}")
    samples = [(line["seconds"], line["events"]) for line in lines]
    return Pace(steady_rate(samples), samples[-1][1] / samples[-1][0], int(samples[-1][1]), samples[-1][0], cpu_seconds)


def _cpu_seconds(pid: int) -> float:
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.startswith("{")]


def _beside(name: str, ours: Pace, peer_name: str, peer: Pace, target: float) -> list[Figure]:
    return [
        Figure(
            peer_name,
            peer.steady,
            "events/s",
            note=f"{peer.events:,} events in {peer.seconds:.0f} s",
            detail=asdict(peer),
        ),
        Figure(f"{name}, beside {peer_name.partition(',')[0]}", ours.steady / peer.steady, "times", target=target),
    ]
