"""One series under the rules that select it: its recent events, and where each rule stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from atalaia.alerting import durations, states
from atalaia.alerting.local.amendments import AMENDABLE_MS, Decision
from atalaia.alerting.local.buckets import NEVER, Buckets, MinuteStats, Window
from atalaia.alerting.local.evaluation import NO_DATA, NOT_WATCHED_YET, Condition, Judgement, judge_value, window_at
from atalaia.alerting.local.latest import Latest
from atalaia.alerting.local.track import Track
from atalaia.alerting.states import AlertState, Verdict
from atalaia.alerting.transitions import Evidence, Transition, fingerprint
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

FORGOTTEN_AFTER: Final = timedelta(days=7)
"""A series with an alert that is silent for so long, beyond its windows, is taken as gone for good: the alert ends
inactive, for nobody has seen it recover."""
FORGOTTEN: Final = f"the series has been silent for {durations.text(FORGOTTEN_AFTER)} and is forgotten"
_FORGOTTEN_AFTER_MS: Final = durations.milliseconds(FORGOTTEN_AFTER)
_BROKEN: Final = Judgement(Verdict.RECOVERED, None)


class Tracker:
    """One series. Its time, `judged_ms`, only moves forward; before `due_ms` nothing changes without an event."""

    __slots__ = (
        "absent_ms",
        "awaiting",
        "buckets",
        "changed",
        "due_ms",
        "judged_ms",
        "latest",
        "series",
        "spoke_ms",
        "tracks",
        "windows",
    )

    def __init__(self, series: SeriesKey, *, at_ms: int) -> None:
        self.series = series
        self.judged_ms = at_ms
        self.due_ms = at_ms
        self.spoke_ms = 0
        """The time of the latest event; of one from the future, when it came. 0 where none was young enough to be news
        to the rules on silence."""
        self.absent_ms = NEVER
        """The shortest silence that a rule waits for."""
        self.awaiting = False
        """Whether alerts that fire stay in doubt until they recover, or this ends."""
        self.changed = False
        """Whether any state is another than when this was last set to False."""
        self.latest: Latest | None = None
        self.buckets: dict[int, Buckets] = {}
        self.windows: list[tuple[Window, Buckets]] = []
        self.tracks: dict[str, Track] = {}

    def select(self, conditions: Iterable[Condition]) -> list[Track]:
        """Puts the series under these conditions; returns the tracks of those it was under and is no more.

        State stays with a condition's identity, whatever else of it changes.
        """
        before, self.tracks = self.tracks, {}
        known, self.buckets, self.windows = self.buckets, {}, []
        bare = False
        self.absent_ms = NEVER
        for condition in conditions:
            track = Track(condition, *self._window(condition, known))
            if (kept := before.pop(condition.identity, None)) is not None:
                track.enter(kept.state, None)
                if condition.decides.same_condition(kept.condition.decides):
                    track.decisions = kept.decisions
            self.tracks[condition.identity] = track
            bare = bare or track.bare
            self.absent_ms = min(self.absent_ms, condition.absent_ms or NEVER)
        self.latest = (self.latest or Latest(self.series.frequency)) if bare else None
        self.due_ms = self.judged_ms
        return list(before.values())

    def observe(self, minute: MinuteStats, *, after_ms: int, at_ms: int) -> bool:
        """Adds events that came by `at_ms`, after the judgement of `after_ms`; False where they matter to nothing."""
        if self.due_ms > after_ms > self.judged_ms:
            self.judged_ms = after_ms  # nothing was due in between: what is late changes no verdict of that time
        seen = self.latest is not None and self.latest.add(minute, after_ms=after_ms)
        for buckets in self.buckets.values():
            seen = buckets.add(minute, after_ms=after_ms) or seen
        for track in self.tracks.values():
            if track.decisions:
                seen = track.take(minute, at_ms) or seen
        spoke_ms = min(minute.last_at, at_ms)
        if spoke_ms > self.spoke_ms and (self.spoke_ms or spoke_ms + self.absent_ms > after_ms):
            self.spoke_ms = spoke_ms
            if self.absent_ms < NEVER:
                self.due_ms, seen = min(self.due_ms, max(spoke_ms, self.judged_ms)), True
        if not seen:
            return False
        for window, buckets in self.windows:
            enters = window.add(minute.start_ms - minute.start_ms % buckets.step_ms, minute)
            self.due_ms = min(self.due_ms, max(enters, self.judged_ms))
        return True

    def advance(self, at_ms: int) -> list[Transition]:
        """Judges now, and before at the end of every step since the last judgement where a verdict may have changed.

        So the same events make the same episodes, to the step, however they were batched.
        """
        transitions: list[Transition] = []
        at_ms, before_ms = max(at_ms, self.judged_ms), self.judged_ms
        if self.due_ms <= at_ms:
            while (minute_end := _minute_end(max(self.due_ms, self.judged_ms))) < at_ms:
                self._judge_windows(minute_end, transitions, now=False)
            self._judge_windows(at_ms, transitions, now=True)
        self.judged_ms = at_ms
        if self.latest is not None and self.latest.value is not None:
            self._judge_latest(self.latest, self.latest.value, at_ms, before_ms, transitions)
        for buckets in self.buckets.values():
            buckets.prune(at_ms)
        for track in self.tracks.values():
            if track.decisions:
                self._amend(track, at_ms, transitions)
        if self.due_ms == NEVER:
            self.due_ms = self._expires_ms()
        return transitions

    def wait(self, at_ms: int, *, note: str) -> list[Transition]:
        """Tells of every alert that fires that it awaits data; so it stays, unless it recovers, until `go_on`."""
        transitions: list[Transition] = []
        self.awaiting, at_ms = True, max(at_ms, self.judged_ms)
        for track in self.tracks.values():
            if track.state.fires and track.state.doubt is None:
                state, told = states.advance(
                    track.state, Verdict.AWAITING, at_ms=at_ms, terms=track.condition.terms, episode=0
                )
                self._move(track, state, told, NOT_WATCHED_YET, at_ms, transitions, note)
        return transitions

    def go_on(self) -> None:
        """Has everything judged anew: data is no longer awaited."""
        self.awaiting, self.due_ms = False, self.judged_ms
        for track in self.tracks.values():
            track.verdict = None

    def close(self, track: Track, *, at_ms: int, note: str) -> list[Transition]:
        """Ends what a rule that no longer applies has open."""
        transitions: list[Transition] = []
        self._move(track, *states.end(track.state), None, at_ms, transitions, note)
        return transitions

    def forget(self, at_ms: int) -> list[Transition]:
        """Ends what is open on a series that is taken as gone."""
        transitions: list[Transition] = []
        for track in self.tracks.values():
            self._move(track, *states.forget(track.state), None, at_ms, transitions, FORGOTTEN)
        return transitions

    def idle(self, at_ms: int) -> bool:
        """Whether nothing kept here can matter to a later judgement."""
        return self._expires_ms() <= at_ms

    def _expires_ms(self) -> int:
        """When nothing kept here can matter any more, if no event comes."""
        expires = 0 if self.latest is None else self.latest.expires_ms
        for buckets in self.buckets.values():
            expires = max(expires, buckets.expires_ms)
        for track in self.tracks.values():
            expires = max(expires, track.expires_ms(self.spoke_ms))
        if any(track.state.open for track in self.tracks.values()):
            expires = max(expires, self.spoke_ms) + _FORGOTTEN_AFTER_MS
        return expires

    def _window(self, condition: Condition, known: dict[int, Buckets]) -> tuple[Window | None, Buckets | None]:
        """The window that a condition reads, shared with other conditions that read the same."""
        if not condition.window_ms:
            return None, None
        step_ms, length_ms, lag_ms = condition.step_ms, condition.window_ms, condition.lag_ms
        if step_ms not in self.buckets:
            self.buckets[step_ms] = known.get(step_ms) or Buckets(step_ms)
        buckets = self.buckets[step_ms]
        buckets.reach(length_ms + max(0, lag_ms - step_ms), at_ms=self.judged_ms)
        buckets.with_ends = buckets.with_ends or condition.needs_ends
        buckets.with_sketch = buckets.with_sketch or condition.needs_sketch
        for window, _ in self.windows:
            if window.length_ms == length_ms and window.lag_ms == lag_ms:
                break
        else:
            window = Window(length_ms, lag_ms)
            self.windows.append((window, buckets))
        window.with_sketch = window.with_sketch or condition.needs_sketch
        return window, buckets

    def _judge_windows(self, at_ms: int, into: list[Transition], *, now: bool) -> None:
        """Judges every window that ends with `at_ms`; those whose step is not over then, only if that is now."""
        due, spoke_ms = NEVER, self.spoke_ms
        for track in self.tracks.values():
            step_ms = track.condition.step_ms
            if not now and step_ms > MINUTE_MS and (at_ms + 1) % step_ms:
                due = min(due, at_ms - at_ms % step_ms + step_ms - MINUTE_MS)
                continue
            if not now and track.condition.absent_ms and spoke_ms > at_ms:  # it spoke only later
                due = min(due, spoke_ms)
                continue
            if not track.bare:
                judgement = track.judge(at_ms, spoke_ms=spoke_ms)
                if judgement.verdict is not track.verdict or at_ms >= track.turns_ms:
                    self._enter(track, judgement, at_ms, into)
                due = min(due, track.due_ms(at_ms, spoke_ms=spoke_ms))
        self.due_ms, self.judged_ms = due, at_ms

    def _judge_latest(self, latest: Latest, value: float, at_ms: int, before_ms: int, into: list[Transition]) -> None:
        """Judges the latest value, after what was due while the one before it was the latest."""
        fresh, expired = latest.fresh_ms < NEVER, latest.expires_ms <= at_ms
        fresh_ms = min(latest.fresh_ms, at_ms)  # what is from the future counts as of its arrival
        stood_ms = min(fresh_ms, latest.before_ms + latest.look_back_ms)
        for track in self.tracks.values():
            if not track.bare:
                continue
            if fresh and latest.before is not None:
                self._stood(track, judge_value(track.condition, latest.before), stood_ms, into)
                if stood_ms < fresh_ms:
                    self._enter(track, NO_DATA, max(stood_ms, before_ms), into)
                    self._stood(track, NO_DATA, fresh_ms, into)
            if track.state.phase is AlertStatus.PENDING and fresh and not latest.all_held(track.condition):
                self._enter(track, _BROKEN, at_ms, into)
            judgement = judge_value(track.condition, value)
            if not expired:
                self._enter(track, judgement, at_ms, into)
            else:
                if fresh:
                    self._enter(track, judgement, max(latest.at_ms, before_ms), into)
                if track.verdict is not Verdict.NO_DATA:
                    self._stood(track, judgement, latest.expires_ms, into)
                    self._enter(track, NO_DATA, max(latest.expires_ms, before_ms), into)
                self._stood(track, NO_DATA, at_ms + 1, into)
            self.due_ms = min(self.due_ms, self._due_latest(track, at_ms))
        latest.judged()

    def _stood(self, track: Track, judgement: Judgement, until_ms: int, into: list[Transition]) -> None:
        """Catches up with what was due while a verdict stood."""
        while track.turns_ms < until_ms:
            self._enter(track, judgement, track.turns_ms, into)

    def _due_latest(self, track: Track, at_ms: int) -> int:
        due = max(track.turns_ms, at_ms + 1)
        expires_ms = 0 if self.latest is None else self.latest.expires_ms
        return min(due, expires_ms) if expires_ms > at_ms else due

    def _enter(self, track: Track, judgement: Judgement, at_ms: int, into: list[Transition]) -> None:
        """Moves a track's state by a verdict, and adds the transition if there is one."""
        if self.awaiting and track.awaits(judgement.verdict):
            track.verdict = judgement.verdict
            return
        condition = track.condition
        state, told = states.advance(
            track.state, judgement.verdict, at_ms=at_ms, terms=condition.terms, episode=self._episode(track, at_ms)
        )
        self._move(track, state, told, judgement, at_ms, into)

    def _episode(self, track: Track, at_ms: int) -> int:
        """What an episode that begins now is numbered by: event time, the same in every replay."""
        if track.condition.absent_ms:
            return self.spoke_ms
        if not track.condition.window_ms:
            return 0 if self.latest is None else self.latest.at_ms
        stats = None if track.window is None else track.window.stats
        newest = window_at(track.condition, at_ms)[1] if stats is None else stats.last_at
        return newest - newest % MINUTE_MS

    def _move(  # noqa: PLR0917 - private, and named after what they are at every call
        self,
        track: Track,
        state: AlertState,
        told: AlertStatus | None,
        judgement: Judgement | None,
        at_ms: int,
        into: list[Transition],
        note: str | None = None,
    ) -> None:
        """Takes over a state, and adds the transition where one is told."""
        self.changed = self.changed or state is not track.state
        track.enter(state, None if judgement is None else judgement.verdict)
        if told is None:
            return
        condition, value = track.condition, None if judgement is None else judgement.value
        stats = None if track.window is None else track.window.stats
        window = self._judged(track, at_ms)
        decides = told is AlertStatus.FIRING or (told is AlertStatus.RESOLVED and not condition.absent_ms)
        if judgement is not None and window is not None and decides and not state.turn:
            decision = Decision(told, at_ms, state.since_ms, state.episode, window, value, None)
            decision.stats = None if stats is None else stats.copy(with_sketch=condition.needs_sketch)
            kept = [] if told is AlertStatus.FIRING else track.decisions[:1]
            track.decisions = [*kept, decision]
        into.append(
            Transition(
                rule=condition.rule,
                level=condition.level,
                series=self.series,
                status=told,
                at_ms=at_ms,
                since_ms=state.since_ms,
                fingerprint=fingerprint(condition.identity, self.series.labels()),
                episode=state.episode,
                turn=state.turn,
                value=value,
                window=window,
                note=note,
                evidence=None if stats is None else Evidence(stats.count, completeness=stats.completeness),
            )
        )

    def _judged(self, track: Track, at_ms: int) -> tuple[int, int] | None:
        """The span of time that a verdict is about; None of the latest value."""
        if track.condition.absent_ms:
            return self.spoke_ms, max(at_ms, self.spoke_ms + 1)
        return window_at(track.condition, at_ms) if track.condition.window_ms else None

    def _amend(self, track: Track, at_ms: int, into: list[Transition]) -> None:
        """Tells what late data made of what was told, and lets go of what it can change no more."""
        for decision in track.decisions:
            told = decision.amended(track.condition)
            if told is None:
                continue
            self.changed, stats = True, decision.stats
            into.append(
                Transition(
                    rule=track.condition.rule,
                    level=track.condition.level,
                    series=self.series,
                    status=told,
                    at_ms=at_ms,
                    since_ms=decision.since_ms,
                    fingerprint=fingerprint(track.condition.identity, self.series.labels()),
                    episode=decision.episode,
                    turn=decision.turn,
                    value=decision.value,
                    window=decision.window,
                    note=f"late data changed what had {_SAID[decision.status]}",
                    evidence=None if stats is None else Evidence(stats.count, completeness=stats.completeness),
                )
            )
        if track.decisions and track.decisions[-1].at_ms + AMENDABLE_MS <= at_ms:
            track.decisions = []


_SAID: Final = {AlertStatus.FIRING: "fired", AlertStatus.RESOLVED: "resolved"}


def _minute_end(at_ms: int) -> int:
    return at_ms - at_ms % MINUTE_MS + MINUTE_MS - 1
