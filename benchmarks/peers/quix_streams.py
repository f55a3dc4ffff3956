"""Quix Streams: a tumbling sum of a minute by record key, no more.

Less work than ours: no sketch, no hour, day or month, and windows by arrival time, Quix Streams' default.

Prints a JSON line a second: events so far, seconds since the first. Ends when nothing has come for ten seconds.
BOOTSTRAP, TOPIC, SCHEMA (path of the .avsc) DATADIR and GROUP come from the environment.
"""

from __future__ import annotations

import io
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastavro
from quixstreams import Application  # type: ignore[import-not-found]  # in an environment of its own

SCHEMA = fastavro.parse_schema(json.loads(Path(os.environ["SCHEMA"]).read_text("utf-8")))
FRAME_BYTES = 5
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


app = Application(
    broker_address=os.environ["BOOTSTRAP"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    state_dir=os.environ["DATADIR"],
    loglevel="WARNING",
)
topic = app.topic(os.environ["TOPIC"], value_deserializer="bytes", key_deserializer="bytes")
sdf = app.dataframe(topic).apply(decoded).apply(lambda event: event["value"])
# `current` gives the sum after each event: one result an event, counted when its window has it.
sdf = sdf.tumbling_window(timedelta(minutes=1)).sum().current().update(count)

if __name__ == "__main__":
    app.run(timeout=10)
