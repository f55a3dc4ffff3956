"""How many events a second the stream worker takes in, beside its peers, from the same records in the same broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import psutil
from benchmarks import lab, load, quix
from benchmarks.narration import say
from benchmarks.report import Figure

from atalaia.infra import kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.schemas.topics import METRICS

_HERE: Final = Path(__file__).parent
_SCHEMA: Final = _HERE.parent / "schemas" / "atalaia" / "schemas" / "avro" / "MetricEvent.avsc"
SAMPLE_SECONDS: Final = 0.2
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
    """Processor time over the load: what other work on the machine blurs least."""


class NotMeasured(Exception):  # noqa: N818 - what became of a peer
    """A peer could not be run here; the message says why."""


def _our_python() -> tuple[Path | None, str]:
    return Path(sys.executable), ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program in peers/ that does the work, or less of it, in another tool."""

    name: str
    program: str
    python: Callable[[], tuple[Path | None, str]]
    arguments: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    """Their changelog topics exist before it starts: Faust looks before its broker's metadata does."""


PEERS: Final = (
    Peer(
        "plain Faust",
        "plain_faust",
        _our_python,
        arguments=("worker", "--without-web", "-l", "warn"),
        tables=("minute", "hour", "day", "month"),
    ),
    Peer("Quix Streams", "quix_streams", quix.interpreter, arguments=("all",)),
    Peer("Quix Streams, sum only", "quix_streams", quix.interpreter, arguments=("sum",)),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """One load: how many series, how many events, and which peers take it too."""

    series: int
    events: int
    targets: Mapping[str, float] = field(default_factory=dict)
    """How many times a peer's rate ours must be, by the peer's name."""
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
        peers = [peer for peer in PEERS if scale.targets.get(peer.name) is not None]
        for peer in peers:
            say(f"{scale.series:,} series: {peer.name} for {scale.peer_seconds:g} s")
            figures += _beside(name, ours, peer, scale, stack, folder)
    return figures


def worker_pace(stack: LocalStack, events: int, log: Path, environment: Mapping[str, str] | None = None) -> Pace:
    """The real worker process over a load that waits in Kafka, from its own metrics."""
    samples: list[tuple[float, float]] = []
    spent_before = 0.0
    settings = stack.settings
    with lab.Worker("stream", stack, log, environment) as worker:
        while not samples or samples[-1][1] < events:
            if not worker.running:
                raise RuntimeError(f"the worker ended: {lab.tail(log)}")
            read = worker.metrics().get("atalaia_records_read_total", 0.0)
            if read:
                spent_before = spent_before or processor_seconds(worker.process.pid)
                samples.append((time.monotonic(), read))
            time.sleep(SAMPLE_SECONDS)
        lab.await_condition(
            lambda: lab.lag(settings, settings.streams.application, [METRICS.name]) == 0,
            "everything committed",
            within_seconds=120,
        )
        seconds = time.monotonic() - samples[0][0]
        spent = processor_seconds(worker.process.pid) - spent_before
        worker.stop()
    return Pace(steady_rate(samples), events / seconds, events, seconds, spent)


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


def peer_pace(peer: Peer, stack: LocalStack, folder: Path, *, seconds: float) -> Pace:
    """A peer for some seconds over the same load, from the lines that it prints; NotMeasured where it doesn't run."""
    folder.mkdir(parents=True, exist_ok=True)
    python, reason = peer.python()
    if python is None:
        raise NotMeasured(reason)
    group = f"{peer.program}-{time.time_ns()}"
    changelogs = {f"{group}-{table}-changelog": {"cleanup.policy": "compact"} for table in peer.tables}
    if changelogs:
        kafka.create_topics(stack.settings.kafka, changelogs)
    command = [str(python), str(_HERE / "peers" / f"{peer.program}.py"), *peer.arguments]
    environment = os.environ | {
        "BOOTSTRAP": stack.settings.kafka.bootstrap_servers,
        "TOPIC": METRICS.name,
        "SCHEMA": str(_SCHEMA),
        "PARTITIONS": str(stack.settings.kafka.partitions),
        "DATADIR": str(folder),
        "GROUP": group,
    }
    out = folder / "out.jsonl"
    spent = 0.0
    with out.open("wb") as output, (folder / "err.log").open("wb") as errors:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=errors)
        try:
            lab.await_condition(
                lambda: process.poll() is not None or bool(_lines(out)), f"{peer.name} at work", within_seconds=90
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                spent = processor_seconds(process.pid)
                process.terminate()
        finally:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    lines = _lines(out)
    if not lines:
        raise NotMeasured(f"it ended: {lab.tail(folder / 'err.log', 1)}")
    samples = [(line["seconds"], line["events"]) for line in lines]
    return Pace(steady_rate(samples), samples[-1][1] / samples[-1][0], int(samples[-1][1]), samples[-1][0], spent)


def processor_seconds(pid: int) -> float:
    """What a process has used of the processors so far."""
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.startswith("{")]


def _beside(name: str, ours: Pace, peer: Peer, scale: Scale, stack: LocalStack, folder: Path) -> list[Figure]:  # noqa: PLR0917 - one place
    peer_name = f"{peer.name}, {scale.series:,} series"
    try:
        pace = peer_pace(peer, stack, folder / peer.name.replace(" ", "-"), seconds=scale.peer_seconds)
    except NotMeasured as exc:
        return [Figure(peer_name, None, "events/s", note=str(exc))]
    note = f"{pace.events:,} events in {pace.seconds:.0f} s"
    return [
        Figure(peer_name, pace.steady, "events/s", note=note, detail=asdict(pace)),
        Figure(f"{name}, beside {peer.name}", ours.steady / pace.steady, "times", target=scale.targets[peer.name]),
    ]
