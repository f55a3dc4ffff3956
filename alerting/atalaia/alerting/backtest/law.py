"""From verdicts to the life of an alert: `states.advance`, called only where something may change."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from atalaia.alerting import durations, states
from atalaia.alerting.backtest.courses import VERDICTS, Codes, Course, Said, gaps, look_back_ms
from atalaia.alerting.local.amendments import AMENDABLE_MS
from atalaia.alerting.local.evaluation import Condition
from atalaia.alerting.local.tracker import FORGOTTEN_AFTER
from atalaia.alerting.states import AT_REST, AlertState, Verdict
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS

_DECISIONS: Final = frozenset({AlertStatus.FIRING, AlertStatus.RESOLVED})
_FORGOTTEN_MS: Final = durations.milliseconds(FORGOTTEN_AFTER)


class Told(NamedTuple):
    """One transition, at the end of the minute with this index."""

    minute: int
    status: AlertStatus
    since_ms: int


@dataclass(slots=True)
class _Life:
    """One alert on its way through the minutes."""

    course: Course
    condition: Condition
    codes: Codes
    told: list[Told]
    state: AlertState = AT_REST
    awaits_until: int = 0
    """Index of the first minute for which enough has been watched."""
    decided_ms: int = -AMENDABLE_MS
    """When it last fired or resolved: so long a judge keeps the series, for late data may amend that."""

    def enter(self, at: int, verdict: Verdict) -> None:
        """Moves by a verdict at the end of a minute."""
        at_ms = int(self.course.ends_ms[at])
        episode = at_ms - at_ms % MINUTE_MS
        self.state, told = states.advance(self.state, verdict, at_ms=at_ms, terms=self.condition.terms, episode=episode)
        if told is not None:
            self.told.append(Told(at, told, self.state.since_ms))
            if told in _DECISIONS and not self.state.turn:
                self.decided_ms = at_ms

    def verdict(self, at: int) -> Verdict:
        """What is said at the end of a minute."""
        return Verdict.AWAITING if at < self.awaits_until else VERDICTS[Said(int(self.codes[at]))]

    def forget(self, at: int) -> None:
        """Ends what is open on a series that is taken as gone."""
        self.state, told = states.forget(self.state)
        if told is not None:
            self.told.append(Told(at, told, self.state.since_ms))

    def due(self, after: int) -> int:
        """The next minute at the end of which the state changes though the verdict does not."""
        due_ms = states.due_ms(self.state, self.condition.terms)
        if due_ms is None:
            return len(self.codes)
        return max(after + 1, -(-(due_ms - int(self.course.ends_ms[0])) // MINUTE_MS))


def live(course: Course, condition: Condition) -> list[Told]:
    """Every transition of one alert, in the order of time."""
    codes = course.codes(condition)
    if not len(codes) or not (codes == Said.HOLDS).any():
        return []
    life = _Life(course, condition, codes, [])
    first = int(np.argmax(course.spoke)) if course.series is not None else 0
    changes = [first, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]
    broken = course.broken(condition).tolist() if condition.terms.hold_ms else []
    silences = list(gaps(course, _kept_ms(course, condition))) if course.series is not None else []
    life.awaits_until = _ready(course, condition, first)
    stops = sorted({*changes, *broken, *(back for _, back in silences)})
    ended = {back: expired_ms for expired_ms, back in silences}
    _run(life, [at for at in stops if at >= first], set(broken), ended)
    if course.series is not None and life.state.open:
        gone = int((_gone_ms(course, condition) - int(course.ends_ms[0])) // MINUTE_MS) + 1
        if gone < len(codes):
            life.forget(gone)
    return life.told


def _run(life: _Life, stops: list[int], broken: set[int], ended: dict[int, int]) -> None:
    """Calls the law at every stop, and in between when the state is due."""
    position, length = 0, len(life.codes)
    at = stops[0]
    while at < length:
        if at in ended:
            _came_back(life, at, ended[at])
        if at in broken and life.state.phase is AlertStatus.PENDING:
            life.enter(at, Verdict.RECOVERED)
        life.enter(at, life.verdict(at))
        position = bisect_right(stops, at, position)
        following = [life.due(at), stops[position] if position < len(stops) else length]
        if life.awaits_until > at:
            following.append(life.awaits_until)
        at = min(following)


def _came_back(life: _Life, at: int, expired_ms: int) -> None:
    """A series that had been silent until this minute."""
    gone_ms = expired_ms + _FORGOTTEN_MS
    before_ms = int(life.course.ends_ms[at]) - MINUTE_MS
    if life.state.open and gone_ms <= before_ms:
        life.forget(int((gone_ms - int(life.course.ends_ms[0])) // MINUTE_MS) + 1)
    if not life.state.open and life.decided_ms + AMENDABLE_MS <= before_ms:
        life.state = AT_REST
        life.awaits_until = _ready(life.course, life.condition, at)


def _ready(course: Course, condition: Condition, since: int) -> int:
    """The first minute at whose end a condition that waits for whole windows has watched one."""
    if not condition.lag_ms or course.series is None:
        return since
    start_ms = int(course.ends_ms[since]) - MINUTE_MS + 1
    ready_ms = start_ms - start_ms % condition.step_ms + condition.window_ms + condition.lag_ms
    return min(len(course.ends_ms), -(-(ready_ms - int(course.ends_ms[0])) // MINUTE_MS))


def _kept_ms(course: Course, condition: Condition) -> int:
    """How long after the start of its last minute a series is let go of."""
    if condition.absent_ms:
        return condition.absent_ms + MINUTE_MS
    if not condition.window_ms:
        return (look_back_ms(course.series) if course.series is not None else 0) + MINUTE_MS
    return condition.window_ms + max(0, condition.lag_ms - condition.step_ms) + condition.step_ms


def _gone_ms(course: Course, condition: Condition) -> int:
    """When a series that has an alert, and of which nothing more comes, is taken as gone."""
    last = int(np.flatnonzero(course.spoke)[-1])
    return int(course.ends_ms[last]) - MINUTE_MS + 1 + _kept_ms(course, condition) + _FORGOTTEN_MS
