"""`python -m atalaia.infra.local.clickhouse --path DIRECTORY`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The engine reads the zone when it is imported. A server's is UTC; this laptop's would move the days of its tables.
os.environ["TZ"] = "UTC"


from atalaia.infra import logs, settings
from atalaia.infra.errors import Failure
from atalaia.infra.local.clickhouse.server import MEMORY_BYTES, PARALLEL, Config, serve
from atalaia.infra.local.clickhouse.service import STAND_IN


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    try:
        logs.configure(settings.load(), service="clickhouse")
        serve(_config(arguments))
    except (Failure, settings.SettingsError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201  (for the person who started it)
        return 1
    return 0


def _config(arguments: Sequence[str] | None) -> Config:
    parser = argparse.ArgumentParser(
        prog="python -m atalaia.infra.local.clickhouse",
        description=f"{STAND_IN}. One user, no passwords, no replication; bind it to loopback only.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="default %(default)s")
    parser.add_argument("--path", type=Path, required=True, help="directory of the data, made when absent")
    parser.add_argument(
        "--memory-bytes", type=int, default=MEMORY_BYTES, help="what the engine may take (default %(default)s)"
    )
    parser.add_argument("--parallel", type=int, default=PARALLEL, help="queries at once (default %(default)s)")
    parsed = parser.parse_args(arguments)
    return Config(
        path=parsed.path,
        host=parsed.host,
        port=parsed.port,
        memory_bytes=parsed.memory_bytes,
        parallel=parsed.parallel,
    )


if __name__ == "__main__":
    sys.exit(main())
