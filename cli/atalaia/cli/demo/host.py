"""This machine's own metrics, once a second, through the producer library as any service would."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from clickhouse_connect.driver.client import Client

from atalaia.producers import Emitter

SERVICE: Final = "this-machine"
EVERY_SECONDS: Final = 1.0
_MOST_MOUNTS: Final = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one metric."""

    metric: str
    value: float
    dimensions: dict[str, str] = field(default_factory=dict)


def levels(*, percpu: list[float]) -> Iterator[Reading]:
    """How full things are now; CPU as it was measured since the last call."""
    for core, percent in enumerate(percpu):
        yield Reading("cpu_usage", percent, {"core": str(core)})
    yield Reading("memory_usage", psutil.virtual_memory().percent)
    yield Reading("load_average", psutil.getloadavg()[0])
    for mount in mounts():
        with suppress(OSError):  # unmounted since, or not ours to look at
            yield Reading("disk_usage", psutil.disk_usage(mount).percent, {"mount": mount})


def mounts() -> list[str]:
    """Where disks are mounted; the root alone where the system doesn't say (in a container)."""
    found = sorted({part.mountpoint for part in psutil.disk_partitions(all=False) if Path(part.mountpoint).is_dir()})
    return found[:_MOST_MOUNTS] or ["/"]


def counters() -> dict[tuple[str, str], int]:
    """Bytes since the machine started, by metric and direction; of what the system counts."""
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    found: dict[tuple[str, str], int] = {}
    if disk is not None:
        found |= {("disk_io", "read"): disk.read_bytes, ("disk_io", "write"): disk.write_bytes}
    if network is not None:
        found |= {("network_io", "received"): network.bytes_recv, ("network_io", "sent"): network.bytes_sent}
    return found


def increments(earlier: dict[tuple[str, str], int], later: dict[tuple[str, str], int]) -> Iterator[Reading]:
    """What was moved between two looks; a counter that went back has started anew and says nothing.

    >>> list(increments({("disk_io", "read"): 5}, {("disk_io", "read"): 9}))
    [Reading(metric='disk_io', value=4, dimensions={'direction': 'read'})]
    """
    for (metric, direction), count in later.items():
        moved = count - earlier.get((metric, direction), count)
        if moved >= 0:
            yield Reading(metric, moved, {"direction": direction})


class HostMetrics:
    """Emits in a thread of its own while the block lasts. A loss is the producer's to tell."""

    def __init__(self, producer: Emitter, *, host: str | None = None) -> None:
        self._producer = producer
        self._host = host or socket.gethostname()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * EVERY_SECONDS)

    def _run(self) -> None:
        psutil.cpu_percent(percpu=True)  # the first call only starts the measurement
        before = counters()
        due = time.monotonic() + EVERY_SECONDS
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += EVERY_SECONDS
            now = counters()
            for reading in (*levels(percpu=psutil.cpu_percent(percpu=True)), *increments(before, now)):
                self._producer.try_emit(
                    reading.metric, reading.value, metadata={"host": self._host, **reading.dimensions}
                )
            before = now


def visible(client: Client, *, since: datetime) -> tuple[int, float]:
    """How many readings since then can be queried, and how old the newest of them is, in seconds."""
    found = client.query(
        "SELECT count(), (toUnixTimestamp64Milli(now64(3)) - max(toUnixTimestamp64Milli(timestamp))) / 1000 "
        "FROM metrics WHERE service_name = {service:String} AND timestamp >= fromUnixTimestamp64Milli({since:Int64})",
        parameters={"service": SERVICE, "since": int(since.timestamp() * 1000)},
    )
    count, age = found.result_rows[0]
    return int(count), float(age)
