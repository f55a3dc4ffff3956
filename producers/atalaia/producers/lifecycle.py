"""Process-wide events that concern every open producer: forks, and the end of the process."""

from __future__ import annotations

import atexit
import os
import sys
from time import monotonic
from typing import Final, Protocol

EXIT_SECONDS: Final = 5.0
"""What all producers together may take to send their last events when the process ends."""


class Member(Protocol):
    """What an open producer does about it."""

    def close(self, timeout_seconds: float) -> object:
        """Send what waits, for at most this long."""
        ...

    def before_fork(self) -> None:
        """Come to a state that may be copied, and stay."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Be a new one, with nothing of the parent's."""
        ...


class _Members:
    def __init__(self) -> None:
        self.open: set[Member] = set()
        self.frozen: list[Member] = []
        self.hooked = False
        self.finalizing_pid = 0


_members = _Members()


def enlist(member: Member) -> None:
    """From now on, until dismissed, it hears of forks and of the end."""
    if not _members.hooked:
        _members.hooked = True
        atexit.register(close_all)
        os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
    _members.open.add(member)


def dismiss(member: Member) -> None:
    """It is closed."""
    _members.open.discard(member)


def close_all() -> None:
    """Close every producer, all within EXIT_SECONDS."""
    deadline = monotonic() + EXIT_SECONDS
    for member in list(_members.open):
        member.close(max(0.0, deadline - monotonic()))


def close_when_process_ends() -> None:
    """`atexit` does, except in multiprocessing's children, which leave by `os._exit` after their own finalizers."""
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and _members.finalizing_pid != os.getpid():
        _members.finalizing_pid = os.getpid()
        multiprocessing.Finalize(None, close_all, exitpriority=0)


def _before_fork() -> None:
    _members.frozen = list(_members.open)
    for member in _members.frozen:
        member.before_fork()


def _in_parent() -> None:
    for member in _members.frozen:
        member.after_fork_in_parent()
    _members.frozen = []


def _in_child() -> None:
    for member in _members.frozen:
        member.after_fork_in_child()
    _members.frozen = []
