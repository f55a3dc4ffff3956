"""The process: a port, an engine, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvicorn

from atalaia.infra.errors import Failure
from atalaia.infra.local import ports
from atalaia.infra.local.clickhouse import guard
from atalaia.infra.local.clickhouse.app import Application
from atalaia.infra.local.clickhouse.engine import Engine
from atalaia.infra.local.clickhouse.service import Service

log = structlog.get_logger(__name__)

MEMORY_BYTES: Final = 1_200_000_000
PARALLEL: Final = 16
GRACE_SECONDS: Final = 8.0
"""What runs when the end is asked for has this long; then it is stopped, unacknowledged."""
_ADDRESS_BYTES: Final = 2 << 20
"""Addresses carry queries; ClickHouse's `http_max_uri_size` is half of it."""
_KEEP_ALIVE_SECONDS: Final = 60
_SPOOL: Final = "spool"


@dataclass(frozen=True, slots=True)
class Config:
    """Where to listen, what to serve, how much of the machine to take."""

    path: Path
    host: str = "127.0.0.1"
    port: int = 8123
    memory_bytes: int = MEMORY_BYTES
    parallel: int = PARALLEL


class _Server(uvicorn.Server):
    """Signals are ours: uvicorn would raise them again when it has ended, and the process wouldn't exit with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; returns when what ran has ended and the directory is free. Raises Failure."""
    with contextlib.closing(_listen(config.host, config.port)) as listener:
        engine = Engine(config.path, memory_bytes=config.memory_bytes)
        asyncio.run(_serve(config, engine, listener))


async def _serve(config: Config, engine: Engine, listener: socket.socket) -> None:
    service = Service(engine, parallel=config.parallel, spool_directory=config.path / _SPOOL)
    try:
        application = Application(service, loopback_only=guard.is_loopback(config.host))
        server = _Server(_uvicorn(application))
        loop = asyncio.get_running_loop()
        stopping: set[asyncio.Task[None]] = set()

        def stop() -> None:
            server.should_exit = True
            stopping.add(loop.create_task(_stop_after(GRACE_SECONDS, service)))

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        host, port = listener.getsockname()[:2]
        if not guard.is_loopback(config.host):
            log.warning("clickhouse_open_to_the_network", host=host, port=port)  # it asks nobody for a password
        log.info("clickhouse_ready", url=f"http://{host}:{port}", path=str(config.path), engine=engine.version)
        await server.serve(sockets=[listener])
        for task in stopping:
            task.cancel()
    finally:
        await asyncio.to_thread(service.close)
        log.info("clickhouse_stopped", path=str(config.path))


async def _stop_after(seconds: float, service: Service) -> None:
    await asyncio.sleep(seconds)
    while True:
        await service.stop_all()
        await asyncio.sleep(0.2)


def _uvicorn(application: Application) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(_not_broken_off)
    return uvicorn.Config(
        application,
        http="h11",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_ADDRESS_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


def _not_broken_off(record: logging.LogRecord) -> bool:
    """Breaking off is how a client is told that a result is not whole; it is no fault of the application."""
    return "without completing response" not in record.getMessage()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol asyncio doesn't turn Nagle's delay off, and each small answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        holders = ports.taken([port]) if guard.is_loopback(host) else []
        why = str(holders[0]) if holders else exc.strerror
        raise Failure(f"--host {host} --port {port}: {why}; stop it or choose another --port") from exc
    return listener
