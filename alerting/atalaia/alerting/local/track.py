"""Where one alert stands on one series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from atalaia.alerting import states
from atalaia.alerting.local.amendments import AMENDABLE_MS, Decision
from atalaia.alerting.local.buckets import NEVER, Buckets, MinuteStats, Window
from atalaia.alerting.local.evaluation import NO_DATA, NOT_WATCHED_YET, Condition, Judgement, judge
from atalaia.alerting.states import AT_REST, AlertState, Verdict
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS

ABSENT: Final = Judgement(Verdict.HOLDS, None)
PRESENT: Final = Judgement(Verdict.RECOVERED, None)


@dataclass(slots=True)
class Track:
    """One condition on one series. Without a window it judges the latest value, or silence."""

    condition: Condition
    window: Window | None
    buckets: Buckets | None
    state: AlertState = AT_REST
    verdict: Verdict | None = None
    """The last one; None where the condition is another by now."""
    turns_ms: int = NEVER
    """When the state changes even if the verdict stays."""
    decisions: list[Decision] = field(default_factory=list)
    """The latest firing, and the resolve after it, while late data may amend them."""

    @property
    def bare(self) -> bool:
        """Whether it judges the latest value."""
        return self.window is None and not self.condition.absent_ms

    def judge(self, at_ms: int, *, spoke_ms: int) -> Judgement:
        """The verdict on the window at `at_ms`, which is moved there; or on the silence since `spoke_ms`."""
        window, buckets = self.window, self.buckets
        if window is None or buckets is None:
            if absent_ms := self.condition.absent_ms:
                silent = at_ms - spoke_ms >= absent_ms
                return NO_DATA if not spoke_ms else ABSENT if silent else PRESENT
            return NO_DATA
        if at_ms >= window.changes_ms:
            window.slide(at_ms, buckets.by_start)
        return NOT_WATCHED_YET if at_ms < self.ready_ms else judge(self.condition, window.stats)

    @property
    def ready_ms(self) -> int:
        """When all that the verdict needs will have been watched for the whole window; never before its first event."""
        window, buckets = self.window, self.buckets
        if window is None or buckets is None:
            return 0
        ready = buckets.since_ms + (window.length_ms + window.lag_ms if window.lag_ms else 0)
        if self.condition.needs_ends and buckets.whole_since_ms:
            ready = max(ready, buckets.whole_since_ms + window.length_ms)
        return ready

    def due_ms(self, at_ms: int, *, spoke_ms: int) -> int:
        """The next instant at which the verdict, or what follows from it, may change without another event."""
        due = max(self.turns_ms, at_ms + 1)
        if self.decisions:
            due = min(due, max(self.decisions[-1].at_ms + AMENDABLE_MS, at_ms + 1))
        if self.window is not None:
            due = min(due, self.window.changes_ms)
            if at_ms < self.ready_ms:
                due = min(due, self.ready_ms)
        elif (absent_ms := self.condition.absent_ms) and spoke_ms and self.verdict is not Verdict.HOLDS:
            due = min(due, max(spoke_ms + absent_ms, at_ms + 1))
        return due

    def enter(self, state: AlertState, verdict: Verdict | None) -> None:
        """Takes over a state that a verdict has led to."""
        self.state, self.verdict = state, verdict
        due = states.due_ms(state, self.condition.terms)
        self.turns_ms = NEVER if due is None else due

    def awaits(self, verdict: Verdict) -> bool:
        """Whether this verdict leaves an alert that awaits data in doubt: what recovers has recovered all the same."""
        state = self.state
        waiting = state.fires and state.doubt is AlertStatus.AWAITING_DATA
        return waiting and (state.phase is AlertStatus.RECOVERING or verdict is not Verdict.RECOVERED)

    def take(self, minute: MinuteStats, at_ms: int) -> bool:
        """Takes note of events that may be late for what was told; whether they are."""
        late = [
            decision.take(minute, self.condition)
            for decision in self.decisions
            if at_ms < decision.at_ms + AMENDABLE_MS
        ]
        return any(late)

    def expires_ms(self, spoke_ms: int) -> int:
        """When nothing kept here can matter any more, if no event comes and there is no alert."""
        expires = self.state.episode + MINUTE_MS
        if self.state.bits:
            expires = max(expires, (self.state.step + self.condition.terms.of_last + 1) * self.condition.terms.step_ms)
        if self.decisions:
            expires = max(expires, self.decisions[-1].at_ms + AMENDABLE_MS)
        if self.condition.absent_ms and spoke_ms and self.verdict is not Verdict.HOLDS:
            expires = max(expires, spoke_ms + self.condition.absent_ms + 1)
        return expires
