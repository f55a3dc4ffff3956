"""Tells of losses and troubles: whoever asked about the event, whoever watches the producer, and the log."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Final

from atalaia.producers.errors import DeliveryError
from atalaia.producers.outcomes import OnDelivery, OnError, Outcome

log = logging.getLogger("atalaia.producers")

QUIET_SECONDS: Final = 60.0
"""A reason is logged once in this time, with how often it came; counts and callbacks miss nothing."""


class Reporter:
    """Never raises: what a user's callback raises is logged, and goes no further."""

    def __init__(self, on_error: OnError | None) -> None:
        self._on_error = on_error
        self.reset()

    def reset(self) -> None:
        """As new: right after a fork another thread of the parent may hold the lock."""
        self._lock = threading.Lock()
        self._unlogged: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def settled(self, outcome: Outcome, on_delivery: OnDelivery | None) -> None:
        """One event's fate is known."""
        if on_delivery is not None:
            _call(on_delivery, outcome)
        if isinstance(outcome, DeliveryError):
            self.trouble(outcome)

    def trouble(self, error: DeliveryError) -> None:
        """A lost event, or a trouble that keeps events waiting."""
        if self._on_error is not None:
            _call(self._on_error, error)
        count = self._due(error.reason, monotonic())
        if count:
            log.warning("%s (%s, %d since last said)", error, error.reason, count)

    def _due(self, reason: str, now: float) -> int:
        with self._lock:
            count = self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
            if now - self._logged_at.get(reason, -QUIET_SECONDS) < QUIET_SECONDS:
                return 0
            self._logged_at[reason], self._unlogged[reason] = now, 0
            return count


def _call(callback: OnDelivery | OnError, argument: Outcome | DeliveryError) -> None:
    try:
        callback(argument)  # type: ignore[arg-type]  # each kind of callback gets its own kind of argument
    except Exception:  # a user's callback must not stop the others' deliveries
        log.exception("%r raised", callback)
