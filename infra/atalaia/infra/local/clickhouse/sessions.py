"""Sessions over HTTP (`session_id`): settings, the database and temporary tables that outlive a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from atalaia.infra.local.clickhouse.engine import Connection
from atalaia.infra.local.clickhouse.errors import ClickHouseError

SESSION_NOT_FOUND: Final = 372
SESSION_IS_LOCKED: Final = 373
INVALID_SESSION_TIMEOUT: Final = 374
DEFAULT_TIMEOUT_SECONDS: Final = 60
LONGEST_TIMEOUT_SECONDS: Final = 3600
MOST: Final = 200
"""Idle sessions kept; beyond them the one that has been idle longest ends early."""


@dataclass(slots=True)
class Session:
    """A connection that requests of one client share, one after the other."""

    connection: Connection
    expires: float
    busy: bool = True
    said: list[bytes] = field(default_factory=list)
    """Its SET and USE statements: what to say again after a request with settings of its own."""


class Sessions:
    """The sessions by id. For the event loop's thread only; `now` is a monotonic clock in seconds."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._sessions: dict[str, Session] = {}

    def take(self, name: str, *, must_exist: bool, now: float) -> Session:
        """The session, for the caller alone until `give_back`; a new one unless it must exist."""
        self._expire(now)
        session = self._sessions.pop(name, None)
        if session is None:
            if must_exist:
                raise ClickHouseError(SESSION_NOT_FOUND, "SESSION_NOT_FOUND", f"Session {name} not found")
            session = Session(self._connect(), expires=now)
        elif session.busy:
            self._sessions[name] = session
            raise ClickHouseError(
                SESSION_IS_LOCKED, "SESSION_IS_LOCKED", f"Session {name} is locked by a concurrent client"
            )
        session.busy = True
        self._sessions[name] = session  # last: idle longest is first
        return session

    def give_back(self, name: str, *, timeout_seconds: float, now: float) -> None:
        """The request is over; the session lives this long without another."""
        session = self._sessions[name]
        session.busy = False
        session.expires = now + timeout_seconds

    def end(self, name: str) -> None:
        """Forget it, with its temporary tables."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.connection.close()

    def close(self) -> None:
        """End them all."""
        for name in list(self._sessions):
            self.end(name)

    def _expire(self, now: float) -> None:
        idle = [name for name, session in self._sessions.items() if not session.busy]
        over = [name for name in idle if self._sessions[name].expires <= now]
        kept = [name for name in idle if name not in over]
        for name in over + kept[: max(0, len(kept) - MOST)]:
            self.end(name)


def timeout_seconds(text: str) -> int:
    """A `session_timeout`; raises as a server does.

    >>> timeout_seconds(""), timeout_seconds("5")
    (60, 5)
    """
    if not text:
        return DEFAULT_TIMEOUT_SECONDS
    if not text.isascii() or not text.isdecimal() or int(text) > LONGEST_TIMEOUT_SECONDS:
        raise ClickHouseError(
            INVALID_SESSION_TIMEOUT,
            "INVALID_SESSION_TIMEOUT",
            f"Invalid session timeout: '{text}'; give seconds, at most {LONGEST_TIMEOUT_SECONDS}",
        )
    return int(text)
