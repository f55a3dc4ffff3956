"""`atalaia worker stream`: one stream worker as a process, from start to exit code."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from typing import Final

import faust
import structlog

from atalaia.infra import health, kafka, logs
from atalaia.infra.settings import Settings
from atalaia.schemas.topics import METRICS
from atalaia.streams.worker import StreamWorker

STALLED_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h: a supervisor starts the worker anew."""
WATCH_EVERY_SECONDS: Final = 2.0

GC_THRESHOLDS: Final = (200_000, 20, 100)
"""State is hundreds of thousands of small objects without cycles, and looking through them for cycles as often as
Python does by default takes longer than filling them (the first batch of 50,000 series: 2.2 s, and 0.9 s so)."""

log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Works until SIGTERM or SIGINT, then commits and leaves the group. The exit code: 0 after a planned stop.

    Raises KafkaUnavailable, RegistryUnavailable or SchemaMissing where it cannot start.
    """
    logs.configure(settings, service="streams")
    # Faust names the loggers of its own classes after the module that subclasses them.
    logging.getLogger("atalaia.streams.transport").setLevel(logging.WARNING)
    gc.set_threshold(*GC_THRESHOLDS)
    kafka.require(settings.kafka)
    worker = StreamWorker(settings)
    watch = Watch(worker)
    server = health.serve(settings.streams.metrics_port, watch.health, host=settings.metrics_host)
    threading.Thread(target=watch.run, name="watchdog", daemon=True).start()
    try:
        _FaustWorker(worker.app, redirect_stdouts=False, quiet=True).execute_from_commandline()
    except SystemExit as exc:
        return int(exc.code or 0)
    finally:
        server.shutdown()
        worker.close()
    return 0


class _FaustWorker(faust.Worker):
    """Faust's process, with its signal handling and without its logging set-up: ours is done."""

    def _setup_logging(self) -> None:
        """Nothing to do."""


class Watch:
    """Looks from outside the event loop whether offsets move, and ends the process where they don't.

    Faust's own supervisor restarts a crashed agent for ever and calls that healthy.
    """

    def __init__(self, worker: StreamWorker) -> None:
        self._worker = worker
        self._progress: health.Progress | None = None

    def health(self) -> health.Health:
        """What /livez and /readyz answer."""
        partitions = self._worker.partition_offsets()
        return health.Health(
            alive=not health.stalled(self._progress, now=time.monotonic()),
            ready=bool(partitions),
            detail={
                "lag": sum(max(0, end - committed) for committed, end in partitions.values()),
                "partitions": sorted(partitions),
            },
        )

    def run(self) -> None:
        """Until the process ends; ends it where nothing has moved for `health.STALLED_AFTER` while there is lag."""
        while True:
            time.sleep(WATCH_EVERY_SECONDS)
            offsets = self._worker.partition_offsets().values()
            now = time.monotonic()
            self._progress = health.observe(
                self._progress,
                committed=sum(committed for committed, _ in offsets),
                lag=sum(max(0, end - committed) for committed, end in offsets),
                now=now,
            )
            if health.stalled(self._progress, now=now):
                log.error("stalled", topic=METRICS.name, lag=self._progress.lag)
                os._exit(STALLED_EXIT)  # the event loop may be what hangs
