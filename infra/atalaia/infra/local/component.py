"""A supervised process: what it is, what state it is in, and what follows from what happens to it (pure)."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from atalaia.infra.local.probes import Probe

FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 30.0
STEADY_AFTER_SECONDS: Final = 60.0
"""A component that was ready this long has earned a first, short backoff again."""


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the stack; `ready` is asked until it says yes."""

    name: str
    command: tuple[str, ...]
    ready: Probe
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    start_within_seconds: float = 60.0
    stop_within_seconds: float = 15.0


class State(StrEnum):
    """Where a component is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a component at one moment; times are Unix seconds."""

    name: str
    port: int | None = None
    state: State = State.WAITING
    pid: int | None = None
    created: float | None = None
    since: float = 0.0
    restarts: int = 0
    failures_in_a_row: int = 0
    retry_at: float | None = None
    last_exit: str | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.pid is not None


def started(status: Status, *, pid: int, created: float, now: float) -> Status:
    """The process exists but doesn't serve yet."""
    return replace(status, state=State.STARTING, pid=pid, created=created, since=now, retry_at=None)


def became_ready(status: Status, *, now: float) -> Status:
    """The probe said yes."""
    return replace(status, state=State.READY, since=now)


def exited(status: Status, *, code: int, now: float) -> Status:
    """The process ended by itself: when it is to be started again.

    The wait doubles with each death in a row, up to half a minute, and is short again after a minute of service.

    >>> first = exited(Status("kafka", state=State.READY, pid=1, since=0.0), code=-9, now=100.0)
    >>> first.state.value, first.retry_at, first.last_exit
    ('restarting', 100.5, 'killed by SIGKILL')
    >>> exited(started(first, pid=2, created=0.0, now=101.0), code=1, now=102.0).retry_at
    103.0
    """
    steady = status.state is State.READY and now - status.since >= STEADY_AFTER_SECONDS
    failures = 1 if steady else status.failures_in_a_row + 1
    return replace(
        status,
        state=State.BACKOFF,
        pid=None,
        created=None,
        since=now,
        restarts=status.restarts + 1,
        failures_in_a_row=failures,
        retry_at=now + backoff_seconds(failures),
        last_exit=describe_exit(code),
    )


def stopped(status: Status, *, now: float) -> Status:
    """The process ended because it was asked to."""
    return replace(status, state=State.STOPPED, pid=None, created=None, since=now, retry_at=None)


def backoff_seconds(failures_in_a_row: int) -> float:
    """How long to wait after so many deaths in a row.

    >>> [backoff_seconds(n) for n in (1, 2, 3, 7, 100)]
    [0.5, 1.0, 2.0, 30.0, 30.0]
    """
    doublings = min(failures_in_a_row - 1, 16)
    return min(FIRST_BACKOFF_SECONDS * (1 << doublings), LONGEST_BACKOFF_SECONDS)


def describe_exit(code: int) -> str:
    """What an exit code says, in words.

    >>> describe_exit(1), describe_exit(-15)
    ('exit code 1', 'killed by SIGTERM')
    """
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
