"""The life of an alert: inactive, pending while the condition holds, firing once it held for `for`, resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atalaia.schemas.events import AlertStatus


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where one rule stands on one series.

    `since_ms` is when the condition first held in this episode, on the stream's clock. `episode` numbers the
    episodes of one alert: it only grows, and comes from event time, so that a replay numbers them alike.
    """

    status: AlertStatus
    since_ms: int
    episode: int

    @property
    def open(self) -> bool:
        """Whether the condition held when last judged, or was not seen to cease."""
        return self.status is AlertStatus.PENDING or self.status is AlertStatus.FIRING


AT_REST: Final = AlertState(AlertStatus.INACTIVE, 0, 0)


def advance(
    state: AlertState, *, holds: bool | None, at_ms: int, hold_ms: int, episode: int
) -> tuple[AlertState, AlertStatus | None]:
    """The next state, and the status entered where it differs; `holds` None is no verdict.

    A pending alert without a verdict ends, for the condition must hold without a break. A firing one goes on: only a
    verdict resolves it. `episode` is what a new episode would be numbered by.

    >>> pending, entered = advance(AT_REST, holds=True, at_ms=0, hold_ms=60_000, episode=1)
    >>> entered
    <AlertStatus.PENDING: 'pending'>
    >>> advance(pending, holds=True, at_ms=59_999, hold_ms=60_000, episode=1)[1] is None
    True
    >>> advance(pending, holds=True, at_ms=60_000, hold_ms=60_000, episode=1)[1]
    <AlertStatus.FIRING: 'firing'>
    """
    match state.status:
        case AlertStatus.FIRING:
            return (state, None) if holds is not False else _enter(AlertStatus.RESOLVED, state)
        case AlertStatus.PENDING:
            if holds is not True:
                return _enter(AlertStatus.INACTIVE, state)
            return (state, None) if at_ms - state.since_ms < hold_ms else _enter(AlertStatus.FIRING, state)
        case AlertStatus.INACTIVE | AlertStatus.RESOLVED:
            if holds is not True:
                return state, None
            begun = AlertState(AlertStatus.INACTIVE, at_ms, max(episode, state.episode + 1))
            return _enter(AlertStatus.PENDING if hold_ms > 0 else AlertStatus.FIRING, begun)


def _enter(status: AlertStatus, state: AlertState) -> tuple[AlertState, AlertStatus]:
    return AlertState(status, state.since_ms, state.episode), status
