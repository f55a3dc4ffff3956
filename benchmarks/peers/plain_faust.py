"""A plain Faust agent with the windows that our worker keeps: what one writes who follows Faust's documentation.

Count, sum, minimum, maximum and a quantile sketch of every series, by minute, hour, day and month. Windowed tables
for the first three; months have no fixed length, so they are a plain table. In-memory store, changelogs on, batches
as Faust fetches them. Prints a JSON line a second: events so far, seconds since the first.

BOOTSTRAP, TOPIC, SCHEMA (path of the .avsc), PARTITIONS, DATADIR and GROUP come from the environment.
"""

from __future__ import annotations

import io
import json
import math
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import faust
from faust.serializers import codecs

SCHEMA = fastavro.parse_schema(json.loads(Path(os.environ["SCHEMA"]).read_text("utf-8")))
FRAME_BYTES = 5
LOG_GAMMA = math.log(1.01 / 0.99)


class ConfluentAvro(codecs.Codec):
    """Confluent-framed Avro of one known schema."""

    def _dumps(self, _: Any) -> bytes:
        raise NotImplementedError

    def _loads(self, s: bytes) -> Any:
        body = io.BytesIO(s)
        body.seek(FRAME_BYTES)
        return fastavro.schemaless_reader(body, SCHEMA, None)


codecs.register("confluent-avro", ConfluentAvro())

app = faust.App(
    os.environ["GROUP"],
    broker=f"kafka://{os.environ['BOOTSTRAP']}",
    store="memory://",
    datadir=os.environ["DATADIR"],
    topic_partitions=int(os.environ["PARTITIONS"]),
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    web_enabled=False,
)
source = app.topic(os.environ["TOPIC"], value_type=None, value_serializer="confluent-avro", key_serializer="raw")


def event_time(event: Any) -> float:
    """Event time in seconds: Faust's windows take nothing finer."""
    return float(int(event.value["timestamp"].timestamp()))


KEPT = timedelta(days=2)


def windowed(name: str, length: timedelta) -> Any:
    """A table of tumbling windows by event time."""
    table: Any = app.Table(name).tumbling(length, expires=KEPT)
    return table.relative_to(event_time)


minute = windowed("minute", timedelta(minutes=1))
hour = windowed("hour", timedelta(hours=1))
day = windowed("day", timedelta(days=1))
month = app.Table("month")

seen = {"events": 0, "since": 0.0}


def added(state: dict[str, Any] | None, value: float) -> dict[str, Any]:
    """The window's state with one event more."""
    bucket = str(math.ceil(math.log(value) / LOG_GAMMA) if value > 0 else 0)
    if state is None:
        return {"count": 1, "sum": value, "min": value, "max": value, "sketch": {bucket: 1}}
    sketch = dict(state["sketch"])
    sketch[bucket] = sketch.get(bucket, 0) + 1
    return {
        "count": state["count"] + 1,
        "sum": state["sum"] + value,
        "min": min(state["min"], value),
        "max": max(state["max"], value),
        "sketch": sketch,
    }


def found(window: Any) -> dict[str, Any] | None:
    """The state of the window that the present event falls into."""
    try:
        return dict(window.value())
    except KeyError:
        return None


@app.agent(source)
async def aggregate(stream: Any) -> None:
    """One event at a time into four tables."""
    async for event in stream:
        series = "|".join(
            (
                event["metric_name"],
                event["service_name"],
                event["region"] or "",
                event["affiliate_id"] or "",
                event["metadata"].get("endpoint", ""),
            )
        )
        value = event["value"]
        for table in (minute, hour, day):
            table[series] = added(found(table[series]), value)
        at = datetime.fromtimestamp(event["timestamp"].timestamp(), UTC)
        of_month = f"{series}|{at.year}-{at.month}"
        month[of_month] = added(month.get(of_month), value)
        if not seen["since"]:
            seen["since"] = time.monotonic()
        seen["events"] += 1


@app.timer(1.0)  # type: ignore[untyped-decorator]
async def say() -> None:
    """How far it is."""
    if seen["since"]:
        line = json.dumps({"events": seen["events"], "seconds": time.monotonic() - seen["since"]})
        os.write(1, line.encode() + b"\n")  # not print: Faust makes log lines of it


if __name__ == "__main__":
    app.main()
