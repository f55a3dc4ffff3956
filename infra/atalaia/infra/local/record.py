"""The record of a run, `run/state.json`: what `status`, `down` and the next `up` know of the processes.

Written whole and renamed into place at every change, by the supervisor alone; read by anyone at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from atalaia.infra.local.component import State, Status
from atalaia.infra.local.ports import Ports

_SAME_START_SECONDS = 1.0
_EVENTS_KEPT = 20
_POLL_SECONDS = 0.05


class Phase(StrEnum):
    """How far the whole stack is."""

    STARTING = "starting"
    PREPARING = "preparing"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One preparation step and how it went: waiting, running, done or failed."""

    name: str
    state: str = "waiting"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person should know of: a death, a restart."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One run of the stack; times are Unix seconds."""

    pid: int
    created: float
    started: float
    ports: Ports = field(default_factory=Ports)
    phase: Phase = Phase.STARTING
    components: tuple[Status, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    events: tuple[Event, ...] = ()
    failure: str | None = None

    def noting(self, text: str, *, now: float) -> Record:
        """The record with one more event; the oldest go."""
        return dataclasses.replace(self, events=(*self.events, Event(now, text))[-_EVENTS_KEPT:])

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote it still runs."""
        return is_same_process(self.pid, self.created)


def write(path: Path, record: Record) -> None:
    """Replace the record in one step: a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(dataclasses.asdict(record), indent=1), "utf-8")
    scratch.replace(path)


def read(path: Path) -> Record | None:
    """The record, or None when there is none (or one from another version that cannot be understood)."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return Record(
            **raw
            | {
                "ports": Ports(**raw["ports"]),
                "phase": Phase(raw["phase"]),
                "components": tuple(
                    Status(**status | {"state": State(status["state"])}) for status in raw["components"]
                ),
                "steps": tuple(StepRecord(**step) for step in raw["steps"]),
                "events": tuple(Event(**event) for event in raw["events"]),
            }
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def is_same_process(pid: int | None, created: float | None) -> bool:
    """Whether that pid is still the process that was recorded, and not a later one that got its number."""
    if pid is None or created is None:
        return False
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - created) < _SAME_START_SECONDS
    except psutil.Error:
        return False


def left_behind(record: Record) -> list[Status]:
    """The recorded processes that still run although their supervisor doesn't."""
    return [status for status in record.components if is_same_process(status.pid, status.created)]


def signal_process(pid: int | None, created: float | None, number: signal.Signals) -> None:
    """Signal a recorded process, unless it has ended."""
    if pid is not None and is_same_process(pid, created):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def await_end(processes: Iterable[tuple[int | None, float | None]], *, within_seconds: float) -> bool:
    """Wait until all of them have ended; whether they did before the deadline.

    A zombie has ended: who ought to reap it may be a container's idle init.
    """
    waiting = list(processes)
    deadline = time.monotonic() + within_seconds
    while any(is_same_process(*process) for process in waiting):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def end(statuses: list[Status], *, within_seconds: float = 10.0) -> None:
    """Stop processes: SIGTERM, then SIGKILL to what remains after the deadline."""
    processes = [(status.pid, status.created) for status in statuses]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            signal_process(*process, number)
        if await_end(processes, within_seconds=within_seconds):
            return
