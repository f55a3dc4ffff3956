"""The whole stack as `atalaia up` runs it: how fast it starts, what it weighs, how soon an event is known."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from benchmarks.narration import say
from benchmarks.report import Figure

from atalaia.infra import clickhouse, kafka
from atalaia.infra.local import record, stack
from atalaia.infra.settings import Settings, load
from atalaia.producers import Producer
from atalaia.schemas import codec
from atalaia.schemas.topics import ALERTS

EVENTS_PER_SECOND: Final = 10_000
WARM_START_SECONDS: Final = 30
ALERT_MS, QUERYABLE_MS = 500, 3_000
MEMORY_BYTES: Final = 2_000_000_000
PROBES_PER_SECOND: Final = 20
_PROBE: Final = "latency-probe"
_SLOW_MS: Final = 1_000.0
"""Over the installed rule "Slow API", which judges each series' latest value: a new series fires at once."""
_LOOK_EVERY_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 8.0
"""Under load before the first probe: connections, caches, the first checkpoints."""
_LAST_ARRIVALS_SECONDS: Final = 10.0

_OF_PROBES: Final = f"WHERE metric_name = 'api_response_time' AND service_name = '{_PROBE}'"
_SEEN: Final = {
    "raw": f"SELECT affiliate_id FROM metrics {_OF_PROBES}",
    "minute": f"SELECT affiliate_id FROM metrics_1m {_OF_PROBES}",
}


@dataclass(slots=True)
class Probes:
    """When each probe was emitted and where it was first seen; seconds of one clock."""

    emitted: dict[str, float] = field(default_factory=dict)
    seen: dict[str, dict[str, float]] = field(default_factory=lambda: {"alert": {}, "raw": {}, "minute": {}})

    def delays_ms(self, where: str) -> list[float]:
        """From `emit` to being there, sorted; of probes that arrived."""
        arrived = self.seen[where]
        return sorted((arrived[name] - at) * 1000 for name, at in self.emitted.items() if name in arrived)


def measure(seconds: float, folder: Path) -> list[Figure]:
    """Warm start, latency under load for that long, memory meanwhile."""
    environment = {"ATALAIA_HOME": str(folder / "home"), "ATALAIA_LOCAL__PORT_OFFSET": str(_free_offset())}
    say("whole stack: first start")
    with running(environment):
        pass
    say("whole stack: warm start")
    begun = time.monotonic()
    with running(environment):
        started = time.monotonic() - begun
        settings = stack.running(load(home=folder / "home"))
        figures = [Figure("warm start of `atalaia up`", started, "s", target=WARM_START_SECONDS, at_least=False)]
        say(f"whole stack: {EVENTS_PER_SECOND:,} events/s for {seconds:g} s")
        with _memory(folder / "home") as samples:
            probes, acknowledged = _under_load(settings, environment, seconds)
    figures += _latencies(probes)
    rss, pss = max(sample[0] for sample in samples), max(sample[1] for sample in samples)
    figures.append(
        Figure(
            "memory of the whole stack, resident",
            rss / 1e9,
            "GB",
            target=MEMORY_BYTES / 1e9,
            at_least=False,
            note=f"highest of {len(samples)} looks under that load; {pss / 1e9:.2f} GB with shared pages counted once",
            detail={"processes": samples[-1][2], "acknowledged": acknowledged},
        )
    )
    return figures


@contextlib.contextmanager
def running(environment: Mapping[str, str]) -> Iterator[None]:
    """`atalaia up -d`; down at the end."""
    up = [sys.executable, "-m", "atalaia.cli", "up", "-d"]
    down = [sys.executable, "-m", "atalaia.cli", "down"]
    whole = os.environ | dict(environment)
    subprocess.run(up, env=whole, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(down, env=whole, check=True, capture_output=True)


def _under_load(settings: Settings, environment: Mapping[str, str], seconds: float) -> tuple[Probes, int]:
    """Probes beside a steady load, from watchers in threads; and how much of the load was acknowledged."""
    probes, ending = Probes(), threading.Event()
    watchers = [
        threading.Thread(target=_watch_alerts, args=(settings, probes, ending), daemon=True),
        *(
            threading.Thread(target=_watch_table, args=(settings, where, probes, ending), daemon=True)
            for where in _SEEN
        ),
    ]
    command = [sys.executable, "-m", "benchmarks.steady", str(EVENTS_PER_SECOND), str(seconds + _SETTLE_SECONDS)]
    whole = os.environ | dict(environment) | stack.environment(settings)
    with subprocess.Popen(command, env=whole, stdout=subprocess.PIPE, text=True) as service:
        for watcher in watchers:
            watcher.start()
        time.sleep(_SETTLE_SECONDS)
        _probe(settings, probes, seconds)
        said, _ = service.communicate(timeout=90)
    deadline = time.monotonic() + _LAST_ARRIVALS_SECONDS
    while any(len(arrived) < len(probes.emitted) for arrived in probes.seen.values()) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_SECONDS)
    ending.set()
    for watcher in watchers:
        watcher.join()
    return probes, int(said)


def _probe(settings: Settings, probes: Probes, seconds: float) -> None:
    """Emits a series of its own every so often, each of which must become an alert and rows."""
    with Producer(settings.kafka.bootstrap_servers, service_name=_PROBE, registry=settings.registry.url) as metrics:
        for index in range(int(seconds * PROBES_PER_SECOND)):
            name = f"probe-{index}"
            probes.emitted[name] = time.monotonic()
            metrics.emit("api_response_time", _SLOW_MS, affiliate_id=name, metadata={"endpoint": "/probe"})
            time.sleep(1 / PROBES_PER_SECOND)
        metrics.flush(10)


def _watch_alerts(settings: Settings, probes: Probes, ending: threading.Event) -> None:
    consumer = kafka.reader(
        settings.kafka, f"bench-{os.getpid()}", **{"auto.offset.reset": "latest", "fetch.wait.max.ms": 10}
    )
    consumer.subscribe([ALERTS.name])
    seen = probes.seen["alert"]
    while not ending.is_set():
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        at = time.monotonic()
        alert = codec.decode("AlertEvent", (message.value() or b"")[codec.HEADER_BYTES :])
        if alert["service_name"] == _PROBE and alert["status"] == "firing":
            seen.setdefault(alert["labels"]["affiliate_id"], at)
    consumer.close()


def _watch_table(settings: Settings, where: str, probes: Probes, ending: threading.Event) -> None:
    client = clickhouse.connect(settings.clickhouse)
    seen = probes.seen[where]
    while not ending.wait(_LOOK_EVERY_SECONDS):
        rows = client.query(_SEEN[where]).result_rows
        at = time.monotonic()
        for (name,) in rows:
            seen.setdefault(name, at)
    client.close()


@contextlib.contextmanager
def _memory(home: Path) -> Iterator[list[tuple[int, int, dict[str, int]]]]:
    """Looks once a second at what the stack's processes hold: resident, the same with shared pages once, by name."""
    samples: list[tuple[int, int, dict[str, int]]] = []
    ending = threading.Event()

    def look() -> None:
        while not ending.wait(1.0):
            found = record.read(home / "run" / "state.json")
            if found is not None:
                samples.append(_weigh(found))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ending.set()
        thread.join()


def _weigh(found: record.Record) -> tuple[int, int, dict[str, int]]:
    pids = {"supervisor": found.pid} | {each.name: each.pid for each in found.components if each.pid is not None}
    resident: dict[str, int] = {}
    shared_once = 0
    for name, pid in pids.items():
        process = psutil.Process(pid)
        family = [process] if name == "supervisor" else [process, *process.children(recursive=True)]
        weights = [each.memory_full_info() for each in family]
        resident[name] = sum(weight.rss for weight in weights)
        shared_once += sum(weight.pss for weight in weights)
    return sum(resident.values()), shared_once, resident


def _latencies(probes: Probes) -> list[Figure]:
    figures: list[Figure] = []
    for where, name, aim in (
        ("alert", "event to alert", ALERT_MS),
        ("raw", "event to queryable", QUERYABLE_MS),
        ("minute", "event to its minute window", None),
    ):
        delays = probes.delays_ms(where)
        note = f"{len(delays)} of {len(probes.emitted)} probes, at {EVENTS_PER_SECOND:,} events/s"
        detail: dict[str, Any] = {"max_ms": delays[-1] if delays else None}
        for share, target in ((0.5, None), (0.99, aim)):
            value = delays[min(len(delays) - 1, int(len(delays) * share))] if delays else None
            figures.append(
                Figure(f"{name}, p{share * 100:.0f}", value, "ms", target, at_least=False, note=note, detail=detail)
            )
    return figures


def _free_offset() -> int:
    """Ports away from those of a stack that runs here."""
    return 20_000 + os.getpid() % 10_000
