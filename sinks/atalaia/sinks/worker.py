"""`atalaia worker sink`: one sink as a process, from start to exit code."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from types import FrameType
from typing import Final

import structlog

from atalaia.infra import health, kafka, logs
from atalaia.infra.settings import Settings
from atalaia.sinks import schema
from atalaia.sinks.group import POLL_SECONDS
from atalaia.sinks.sink import Sink

log = structlog.get_logger(__name__)

STALLED_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h: a supervisor starts the sink anew."""
WATCH_EVERY_SECONDS: Final = 2.0


def run(settings: Settings) -> int:
    """Works until SIGTERM or SIGINT, then finishes its batch, commits and leaves the group. The exit code.

    Raises Failure where it cannot start: Kafka or ClickHouse doesn't answer, or the tables are not there.
    """
    logs.configure(settings, service="sinks")
    kafka.require(settings.kafka)
    schema.require(settings)
    stop = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with closing(Sink(settings, stop)) as sink:
        watch = Watch(sink)
        server = health.serve(settings.sinks.metrics_port, watch.health, host=settings.metrics_host)
        threading.Thread(target=watch.run, name="watchdog", daemon=True).start()
        log.info("started", kafka=settings.kafka.bootstrap_servers, clickhouse=settings.clickhouse.url)
        sink.run()
        server.shutdown()
    log.info("stopped")
    return 0


class Watch:
    """Looks from another thread whether offsets move, and ends the process where they don't.

    While ClickHouse or the registry is away, trying again is all that can be done, and a restart would not help.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._progress: health.Progress | None = None

    def health(self) -> health.Health:
        """What /livez and /readyz answer."""
        offsets = self._sink.offsets
        waiting_for = self._sink.waiting_for
        return health.Health(
            alive=not self._stalled(time.monotonic()),
            ready=bool(offsets) and waiting_for is None,
            detail={
                "lag": _lag(offsets),
                "partitions": sorted(f"{topic}-{partition}" for topic, partition in offsets),
                "waiting_for": waiting_for,
            },
        )

    def run(self) -> None:
        """Until the process ends."""
        while True:
            time.sleep(WATCH_EVERY_SECONDS)
            offsets, now = self._sink.offsets, time.monotonic()
            committed = sum(committed for committed, _ in offsets.values())
            before = self._progress if self._sink.waiting_for is None else None
            self._progress = health.observe(before, committed=committed, lag=_lag(offsets), now=now)
            if self._stalled(now):
                log.error("stalled", lag=self._progress.lag, waiting_for=self._sink.waiting_for)
                os._exit(STALLED_EXIT)  # the loop may be what hangs

    def _stalled(self, now: float) -> bool:
        return now - self._sink.stepped_at > POLL_SECONDS or health.stalled(self._progress, now=now)


def _lag(offsets: dict[tuple[str, int], tuple[int, int]]) -> int:
    return sum(max(0, end - committed) for committed, end in offsets.values())
