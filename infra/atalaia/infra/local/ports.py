"""The loopback ports of one stack, and who holds those that are taken."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import psutil

from atalaia.infra.settings import LOOPBACK

_LONGEST_COMMAND = 100
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Ports:
    """One port a listener; a second stack on the same machine takes `shifted` ones."""

    kafka: int = 9092
    controller: int = 9093
    registry: int = 8081
    clickhouse: int = 8123
    stream_metrics: int = 9101
    sink_metrics: int = 9102

    def shifted(self, offset: int) -> Self:
        """Every port moved by the same number.

        >>> Ports().shifted(100).kafka
        9192
        """
        return type(self)(**{name: port + offset for name, port in dataclasses.asdict(self).items()})

    @property
    def highest_offset(self) -> int:
        """The largest offset that keeps every port legal."""
        highest: int = max(dataclasses.astuple(self))
        return _HIGHEST_PORT - highest

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody listens on right now, for a stack that lives as long as a test."""
        with ExitStack() as held:
            found = []
            for _ in dataclasses.fields(cls):
                listener = held.enter_context(socket.socket())
                listener.bind((LOOPBACK, 0))
                found.append(listener.getsockname()[1])
        return cls(*found)


@dataclass(frozen=True, slots=True)
class Holder:
    """A taken port; `pid` and `command` are None when another user's process holds it."""

    port: int
    pid: int | None
    command: str | None

    def __str__(self) -> str:
        if self.pid is None:
            return f"port {self.port} is taken by a process of another user"
        return f"port {self.port} is taken by pid {self.pid} ({self.command})"


def taken(ports: Iterable[int]) -> list[Holder]:
    """Those of `ports` that cannot be bound on loopback, with what holds them."""
    return [_holder(port) for port in ports if not _can_bind(port)]


def accepts(port: int, within_seconds: float = 0.25) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=within_seconds):
            return True
    except OSError:
        return False


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # Without it a port that a stopped stack used a moment ago (TIME_WAIT) would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _holder(port: int) -> Holder:
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
    except psutil.AccessDenied:  # macOS without root
        listening = []
    listening.sort(key=lambda connection: connection.status != psutil.CONN_LISTEN)
    for connection in listening:
        try:
            words = psutil.Process(connection.pid).cmdline()
        except psutil.Error:
            continue
        return Holder(port, connection.pid, _shortened(words))
    return Holder(port, None, None)


def _shortened(words: list[str]) -> str:
    """A command line of which the telling ends are kept (Java's class path would fill the screen)."""
    line = " ".join(words)
    if len(line) <= _LONGEST_COMMAND:
        return line
    half = _LONGEST_COMMAND // 2
    return f"{line[:half]}…{line[-half:]}"
