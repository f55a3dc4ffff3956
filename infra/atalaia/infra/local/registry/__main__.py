"""`python -m atalaia.infra.local.registry --host HOST --port PORT --path FILE.sqlite`."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from atalaia.infra.local.registry.app import application


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m atalaia.infra.local.registry", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--path", type=Path, required=True, help="SQLite file, made when absent")
    arguments = parser.parse_args()
    uvicorn.run(
        application(arguments.path),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
