"""What a service loads by `import atalaia.producers`."""

from __future__ import annotations

import json
import subprocess
import sys

SERVER_SIDE = {
    "aiokafka", "atalaia.alerting", "atalaia.cli", "atalaia.infra", "atalaia.sinks", "atalaia.streams",
    "chdb", "clickhouse_connect", "confluent_kafka.schema_registry", "faust", "fastavro", "httpx2", "numpy", "orjson",
    "prometheus_client", "psutil", "pydantic", "rich", "starlette", "structlog", "typer",
}  # fmt: skip

_PROGRAM = """
import json, logging, os, sys, threading
files, handlers = set(os.listdir('.')), list(logging.root.handlers)
import atalaia.producers as producers
lazy = ("Outcome", "RecordingProducer")
names = [getattr(producers, name).__name__ for name in producers.__all__ if name not in lazy]
loaded = sorted(sys.modules)
print(json.dumps({
    "loaded": loaded,
    "threads": threading.active_count(),
    "handlers": len(logging.root.handlers) - len(handlers) + len(logging.getLogger("atalaia.producers").handlers),
    "level": logging.getLogger("atalaia.producers").level,
    "files": sorted(set(os.listdir('.')) - files),
    "names": names,
    "recording": producers.RecordingProducer.__name__,
}))
"""


def test_importing_loads_nothing_of_the_server_and_does_nothing() -> None:
    """No server library, no thread, no logging, no file; every public name is there."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert SERVER_SIDE.isdisjoint(seen["loaded"])
    assert (seen["threads"], seen["handlers"], seen["level"], seen["files"]) == (1, 0, 0, [])
    assert seen["recording"] == "RecordingProducer"
    assert "Producer" in seen["names"]
    assert done.stderr == ""
