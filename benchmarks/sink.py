"""How many rows a second the sink stores: Kafka to ClickHouse's raw table, each row once in effect."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks import lab, load
from benchmarks.narration import say
from benchmarks.report import Figure
from benchmarks.throughput import SAMPLE_SECONDS, Pace, processor_seconds, steady_rate

from atalaia.schemas.topics import METRICS

ROWS_AIM: Final = 50_000
SERIES: Final = 1_000


def measure(events: int, folder: Path) -> list[Figure]:
    """Rows a second over a load that waits in Kafka."""
    with lab.local_stack(folder / "stack", lab.EVERYTHING) as stack:
        say(f"sink: producing {events:,} events")
        load.produce(stack.settings, load.series(SERIES), events)
        say("sink: storing them")
        samples: list[tuple[float, float]] = []
        with lab.Worker("sink", stack, folder / "sink.log") as worker:
            while not samples or samples[-1][1] < events:
                if not worker.running:
                    raise RuntimeError(f"the sink ended: {lab.tail(worker.log)}")
                stored = worker.metrics().get("atalaia_rows_stored_total", 0.0)
                if stored:
                    samples.append((time.monotonic(), stored))
                time.sleep(SAMPLE_SECONDS)
            settings = stack.settings
            lab.await_condition(
                lambda: lab.lag(settings, settings.sinks.group, [METRICS.name]) == 0, "all committed", within_seconds=60
            )
            seconds = time.monotonic() - samples[0][0]
            pace = Pace(steady_rate(samples), events / seconds, events, seconds, processor_seconds(worker.process.pid))
            worker.stop()
    note = f"{events:,} rows stored and committed in {seconds:.1f} s"
    return [Figure("sink, Kafka to raw", pace.steady, "rows/s", target=ROWS_AIM, note=note, detail=asdict(pace))]
