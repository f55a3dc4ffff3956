"""The life of an alert: one pure law for the rules of single series and for those that span several.

```
inactive ── holds ──► pending ── held for `for` ──► firing ── recovered ──► resolved
                        └────── ceased ──► inactive   ▲ └─ recovered ─► recovering ── for `keep_firing` ──► resolved
                                                      └───── not recovered any more ──┘
```

Beside the phase there may be a doubt: no data, error or awaiting data. A doubt changes no phase, but for one: a pending
alert without data is inactive again. **While in doubt, time stands still**: what was spent awaiting data or in error
counts neither towards `for` nor towards `keep_firing` (nobody knows whether the condition held then), and neither
starts over; nothing fires and nothing resolves. The doubt of an alert that fires is told, and so is its end.

**N of M.** Each step has the last verdict that was given within it, and that of the step before where none was. The
condition holds where it held in `needed` of the last `of_last` steps. The running step can add to that, but takes
nothing away until it is over. Steps in doubt (but for no data, where the condition did not hold) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.rules import Rule
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS


class Verdict(StrEnum):
    """What is said of the condition at one instant."""

    HOLDS = "holds"
    LINGERS = "lingers"
    """It does not hold, but the number is not beyond the recovery threshold."""
    RECOVERED = "recovered"
    """It does not hold, and is beyond the recovery threshold; without one, it just does not hold."""
    NO_DATA = "no_data"
    """There is no number: no events, or fewer than the rule's minimum."""
    ERROR = "error"
    """The number cannot be computed."""
    AWAITING = "awaiting_data"
    """Data that may change the verdict is still on its way, or lost."""


DOUBTS: Final = {
    Verdict.NO_DATA: AlertStatus.NO_DATA,
    Verdict.ERROR: AlertStatus.ERROR,
    Verdict.AWAITING: AlertStatus.AWAITING_DATA,
}
_STANDING_STILL: Final = frozenset({AlertStatus.ERROR, AlertStatus.AWAITING_DATA})


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a rule decides the life of its alerts; steps are those of its window."""

    hold_ms: int = 0
    keep_firing_ms: int = 0
    needed: int = 1
    of_last: int = 1
    step_ms: int = MINUTE_MS


def terms(rule: Rule, *, step_ms: int = MINUTE_MS) -> Terms:
    """The terms of a rule whose window slides by `step_ms`."""
    return Terms(
        hold_ms=durations.milliseconds(rule.hold),
        keep_firing_ms=durations.milliseconds(rule.keep_firing),
        needed=rule.needed,
        of_last=rule.of_last,
        step_ms=step_ms,
    )


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where one alert stands: small, plain values, to be written down and read back.

    `since_ms` is when the condition first held in this episode, on the stream's clock. `episode` numbers the
    episodes of one alert: it only grows, and comes from event time, so that a replay numbers them alike.
    """

    phase: AlertStatus
    """Inactive, pending, firing, recovering or resolved."""
    since_ms: int = 0
    episode: int = 0
    timer_ms: int = 0
    """Pending: when the condition first held; recovering: when it had recovered. Later by what was spent in doubt."""
    doubt: AlertStatus | None = None
    """No data, error or awaiting data, where there was no verdict at the last judgement."""
    doubt_ms: int = 0
    """When the doubt began."""
    turn: int = 0
    """Tells transitions of one episode apart: 0 for pending, the first firing and the end; counts all others."""
    bits: int = 0
    """N of M: whether the condition held, the running step in the lowest bit."""
    step: int = 0
    """N of M: the number of the running step."""

    @property
    def status(self) -> AlertStatus:
        """The state as people see it: the doubt where there is one, else the phase."""
        return self.doubt or self.phase

    @property
    def open(self) -> bool:
        """Whether there is an alert: pending, firing or recovering, whatever the doubt."""
        return self.phase is AlertStatus.FIRING or self.phase in _OPEN

    @property
    def fires(self) -> bool:
        """Whether somebody has been, or should be, called: firing or recovering, whatever the doubt."""
        return self.phase is AlertStatus.FIRING or self.phase is AlertStatus.RECOVERING


AT_REST: Final = AlertState(AlertStatus.INACTIVE)
_OPEN: Final = frozenset({AlertStatus.PENDING, AlertStatus.FIRING, AlertStatus.RECOVERING})


def advance(
    state: AlertState, verdict: Verdict, *, at_ms: int, terms: Terms, episode: int
) -> tuple[AlertState, AlertStatus | None]:
    """The next state, and the status to tell of where it differs.

    `at_ms` never goes back. `episode` is what a new episode would be numbered by. Within an episode no two of the
    statuses told come with the same `turn` of the new state: that of pending, inactive, resolved and the first firing
    is 0, of all others it counts on.

    >>> hold = Terms(hold_ms=60_000)
    >>> pending, entered = advance(AT_REST, Verdict.HOLDS, at_ms=0, terms=hold, episode=1)
    >>> entered
    <AlertStatus.PENDING: 'pending'>
    >>> advance(pending, Verdict.HOLDS, at_ms=59_999, terms=hold, episode=1)[1] is None
    True
    >>> advance(pending, Verdict.HOLDS, at_ms=60_000, terms=hold, episode=1)[1]
    <AlertStatus.FIRING: 'firing'>
    """
    if terms.of_last > 1:
        state, verdict = _tallied(state, verdict, at_ms=at_ms, terms=terms)
    if (doubt := DOUBTS.get(verdict)) is not None:
        return _doubted(state, doubt, at_ms=at_ms)
    cleared = state if state.doubt is None else _cleared(state, at_ms=at_ms)
    after = _decided(cleared, verdict, at_ms=at_ms, terms=terms, episode=episode)
    if after.phase is not cleared.phase or after.episode != cleared.episode:
        again = after.phase is AlertStatus.RECOVERING or cleared.phase is AlertStatus.RECOVERING
        return _told(after, again=again and after.fires)
    return _told(after, again=True) if state.doubt is not None and state.fires else (after, None)


def end(state: AlertState) -> tuple[AlertState, AlertStatus | None]:
    """The state after the rule is gone or no longer applies, and the status to tell of where there was an alert.

    >>> end(AlertState(AlertStatus.FIRING, since_ms=5, episode=5))[1]
    <AlertStatus.RESOLVED: 'resolved'>
    """
    if not state.open:
        return state, None
    after = AlertStatus.RESOLVED if state.fires else AlertStatus.INACTIVE
    return replace(state, phase=after, doubt=None, bits=0, turn=0), after


def forget(state: AlertState) -> tuple[AlertState, AlertStatus | None]:
    """The state after its series has been silent for so long that it is taken as gone; that is no recovery."""
    if not state.open:
        return state, None
    return replace(state, phase=AlertStatus.INACTIVE, doubt=None, bits=0, turn=0), AlertStatus.INACTIVE


def due_ms(state: AlertState, terms: Terms) -> int | None:
    """When the state changes next if the verdict stays as it is; None where it doesn't."""
    due = None
    if state.doubt is None and state.phase is AlertStatus.PENDING:
        due = state.timer_ms + terms.hold_ms
    elif state.doubt is None and state.phase is AlertStatus.RECOVERING:
        due = state.timer_ms + terms.keep_firing_ms
    if terms.of_last > 1 and state.doubt not in _STANDING_STILL and state.bits not in (0, (2 << terms.of_last) - 1):
        step_over = (state.step + 1) * terms.step_ms
        due = step_over if due is None else min(due, step_over)
    return due


def _decided(state: AlertState, verdict: Verdict, *, at_ms: int, terms: Terms, episode: int) -> AlertState:
    """The state after a verdict that is one."""
    phase, recovered = state.phase, verdict is Verdict.RECOVERED
    match phase:
        case AlertStatus.FIRING if recovered and terms.keep_firing_ms:
            return replace(state, phase=AlertStatus.RECOVERING, timer_ms=at_ms)
        case AlertStatus.FIRING if recovered:
            phase = AlertStatus.RESOLVED
        case AlertStatus.RECOVERING if not recovered:
            phase = AlertStatus.FIRING
        case AlertStatus.RECOVERING if at_ms - state.timer_ms >= terms.keep_firing_ms:
            phase = AlertStatus.RESOLVED
        case AlertStatus.PENDING if verdict is not Verdict.HOLDS:
            phase = AlertStatus.INACTIVE
        case AlertStatus.PENDING if at_ms - state.timer_ms >= terms.hold_ms:
            phase = AlertStatus.FIRING
        case AlertStatus.INACTIVE | AlertStatus.RESOLVED if verdict is Verdict.HOLDS:
            begun = AlertStatus.PENDING if terms.hold_ms > 0 else AlertStatus.FIRING
            number = max(episode, state.episode + 1)
            return AlertState(begun, at_ms, number, timer_ms=at_ms, bits=state.bits, step=state.step)
        case _:
            return state
    return replace(state, phase=phase, turn=0 if phase is AlertStatus.RESOLVED else state.turn)


def _doubted(state: AlertState, doubt: AlertStatus, *, at_ms: int) -> tuple[AlertState, AlertStatus | None]:
    if state.doubt is doubt:
        return state, None
    if state.phase is AlertStatus.PENDING and doubt is AlertStatus.NO_DATA:
        after = replace(state, phase=AlertStatus.INACTIVE, doubt=doubt, doubt_ms=at_ms)
        return after, AlertStatus.INACTIVE
    after = replace(state, doubt=doubt, doubt_ms=at_ms if state.doubt is None else state.doubt_ms)
    return _told(after, again=True) if after.fires else (after, None)


def _cleared(state: AlertState, *, at_ms: int) -> AlertState:
    """The state as it goes on after a doubt: as if no time had passed in between."""
    return replace(state, doubt=None, timer_ms=state.timer_ms + at_ms - state.doubt_ms)


def _told(state: AlertState, *, again: bool) -> tuple[AlertState, AlertStatus]:
    if again:
        state = replace(state, turn=state.turn + 1)
    return state, state.status


def _tallied(state: AlertState, verdict: Verdict, *, at_ms: int, terms: Terms) -> tuple[AlertState, Verdict]:
    """The state with the verdict in its step, and what the last steps together say."""
    if verdict is Verdict.ERROR or verdict is Verdict.AWAITING:
        return state, verdict
    step = at_ms // terms.step_ms
    bits, passed = state.bits, step - state.step
    if passed > 0:
        if state.doubt not in _STANDING_STILL:
            skipped = min(passed - 1, terms.of_last)
            bits = bits << skipped | (((1 << skipped) - 1) if bits & 1 else 0)
        bits <<= 1
    bits = bits & ~1 | (verdict is Verdict.HOLDS)
    bits &= (2 << terms.of_last) - 1
    within = (1 << terms.of_last) - 1
    state = replace(state, bits=bits, step=max(step, state.step))
    if max((bits & within).bit_count(), (bits >> 1).bit_count()) >= terms.needed:
        return state, Verdict.HOLDS
    return state, Verdict.LINGERS if verdict is Verdict.HOLDS else verdict
