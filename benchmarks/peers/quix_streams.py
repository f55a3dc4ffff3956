"""Quix Streams, as its documentation would have it: tumbling windows by record key and by arrival time, its default.

`sum`: the sum of a minute, no more. `all`: count, sum, minimum, maximum and a quantile sketch of a minute, an hour, a
day and thirty days (its windows have fixed lengths), which is what our worker keeps.

Prints a JSON line a second: events so far, seconds since the first. Ends when nothing has come for ten seconds.
BOOTSTRAP, TOPIC, SCHEMA (path of the .avsc), DATADIR and GROUP come from the environment.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastavro
from quixstreams import Application  # type: ignore[import-not-found]  # in an environment of its own

SCHEMA = fastavro.parse_schema(json.loads(Path(os.environ["SCHEMA"]).read_text("utf-8")))
FRAME_BYTES = 5
LOG_GAMMA = math.log(1.01 / 0.99)
seen = {"events": 0, "since": 0.0, "said": 0.0}


def decoded(value: bytes) -> Any:
    """The event of Confluent-framed bytes."""
    body = io.BytesIO(value)
    body.seek(FRAME_BYTES)
    return fastavro.schemaless_reader(body, SCHEMA, None)


def count(_: Any) -> None:
    """Says once a second how far it is."""
    now = time.monotonic()
    seen["since"] = seen["since"] or now
    seen["events"] += 1
    if now - seen["said"] >= 1.0:
        seen["said"] = now
        print(json.dumps({"events": seen["events"], "seconds": now - seen["since"]}), flush=True)


def bucket_of(value: float) -> str:
    """The sketch's bucket of a value: as text, for state is kept as JSON."""
    return str(math.ceil(math.log(value) / LOG_GAMMA) if value > 0 else 0)


def begun(value: float) -> dict[str, Any]:
    """The state of a window with its first event."""
    return {"count": 1, "sum": value, "min": value, "max": value, "sketch": {bucket_of(value): 1}}


def added(state: dict[str, Any], value: float) -> dict[str, Any]:
    """The state with one event more."""
    state["count"] += 1
    state["sum"] += value
    state["min"] = min(state["min"], value)
    state["max"] = max(state["max"], value)
    bucket = bucket_of(value)
    state["sketch"][bucket] = state["sketch"].get(bucket, 0) + 1
    return state


app = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    state_dir=os.environ["DATADIR"],
    loglevel="WARNING",
)
topic = app.topic(os.environ["TOPIC"], value_deserializer="bytes", key_deserializer="bytes")
values = app.dataframe(topic).apply(decoded).apply(lambda event: event["value"])
# `current` gives the state after each event: one result an event, counted when its (last) window has it.
if sys.argv[1] == "sum":
    values.tumbling_window(timedelta(minutes=1)).sum().current().update(count)
else:
    results = [
        values.tumbling_window(length).reduce(added, begun).current()
        for length in (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30))
    ]
    results[-1].update(count)

if __name__ == "__main__":
    app.run(timeout=10)
