"""One series under the rules that select it: its recent events, and where each rule stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atalaia.alerting.buckets import NEVER, Buckets, MinuteStats, Window
from atalaia.alerting.evaluation import NO_VERDICT, Condition, Judgement, judge, window_at
from atalaia.alerting.latest import Latest
from atalaia.alerting.states import AT_REST, AlertState, Terms, Verdict, advance, end
from atalaia.alerting.transitions import Transition, fingerprint
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

_BROKEN: Final = Judgement(holds=False, value=None)
_VERDICTS: Final = {True: Verdict.HOLDS, False: Verdict.RECOVERED, None: Verdict.NO_DATA}


@dataclass(slots=True)
class Track:
    """Where one rule stands on one series. Without a window it judges the latest value."""

    condition: Condition
    window: Window | None
    buckets: Buckets | None
    state: AlertState = AT_REST

    def judge(self, at_ms: int) -> Judgement:
        """The verdict on the window at `at_ms`, which is moved there."""
        window, buckets = self.window, self.buckets
        if window is None or buckets is None:
            return NO_VERDICT
        if at_ms >= window.changes_ms:
            window.slide(at_ms, buckets.by_start)
        return NO_VERDICT if at_ms < self.ready_ms else judge(self.condition, window.stats)

    @property
    def ready_ms(self) -> int:
        """When all that the verdict needs will have been watched for the whole window."""
        window, buckets = self.window, self.buckets
        if window is None or buckets is None:
            return 0
        ready = buckets.since_ms + window.length_ms + window.lag_ms if window.lag_ms else 0
        if self.condition.needs_ends and buckets.whole_since_ms:
            ready = max(ready, buckets.whole_since_ms + window.length_ms)
        return ready

    def due_ms(self, at_ms: int) -> int:
        """The next instant at which the verdict, or what follows from it, may change without another event."""
        due = NEVER if self.window is None else self.window.changes_ms
        if at_ms < self.ready_ms:
            due = min(due, self.ready_ms)
        if self.state.phase is AlertStatus.PENDING:
            due = min(due, max(self.state.since_ms + self.condition.hold_ms, at_ms + 1))
        return due


class Tracker:
    """One series. Its time, `judged_ms`, only moves forward; before `due_ms` nothing changes without an event."""

    __slots__ = ("buckets", "due_ms", "judged_ms", "latest", "series", "tracks", "windows")

    def __init__(self, series: SeriesKey, *, at_ms: int) -> None:
        self.series = series
        self.judged_ms = at_ms
        self.due_ms = at_ms
        self.latest: Latest | None = None
        self.buckets: dict[int, Buckets] = {}
        self.windows: list[tuple[Window, Buckets]] = []
        self.tracks: dict[str, Track] = {}

    def select(self, conditions: Iterable[Condition]) -> list[Track]:
        """Puts the series under these rules; returns the tracks of those it was under and is no more.

        A rule's state stays with its id, whatever else of it changes.
        """
        before, self.tracks = self.tracks, {}
        known, self.buckets, self.windows = self.buckets, {}, []
        bare = False
        for condition in conditions:
            rule_id = condition.rule.rule_id
            track = Track(condition, *self._window(condition, known))
            if (kept := before.pop(rule_id, None)) is not None:
                track.state = kept.state
            self.tracks[rule_id] = track
            bare = bare or track.window is None
        self.latest = (self.latest or Latest(self.series.frequency)) if bare else None
        self.due_ms = self.judged_ms
        return list(before.values())

    def observe(self, minute: MinuteStats, *, after_ms: int) -> bool:
        """Adds events that come after the judgement of `after_ms`; False where no window that ends later sees them."""
        if self.due_ms > after_ms > self.judged_ms:
            self.judged_ms = after_ms  # nothing was due in between: what is late changes no verdict of that time
        seen = self.latest is not None and self.latest.add(minute, after_ms=after_ms)
        for buckets in self.buckets.values():
            seen = buckets.add(minute, after_ms=after_ms) or seen
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
        at_ms = max(at_ms, self.judged_ms)
        if self.due_ms <= at_ms:
            while (minute_end := _minute_end(max(self.due_ms, self.judged_ms))) < at_ms:
                self._judge_windows(minute_end, transitions, now=False)
            self._judge_windows(at_ms, transitions, now=True)
        self.judged_ms = at_ms
        if self.latest is not None:
            self._judge_latest(self.latest, at_ms, transitions)
        for buckets in self.buckets.values():
            buckets.prune(at_ms)
        if self.due_ms == NEVER:
            self.due_ms = self._expires_ms()
        return transitions

    def close(self, track: Track, *, at_ms: int, note: str) -> list[Transition]:
        """Ends what a rule that no longer applies has open."""
        transitions: list[Transition] = []
        self._enter(track, _BROKEN, at_ms=at_ms, into=transitions, note=note)
        return transitions

    def idle(self, at_ms: int) -> bool:
        """Whether nothing kept here can matter to a later judgement."""
        return self._expires_ms() <= at_ms

    def _expires_ms(self) -> int:
        """When nothing kept here can matter any more, if no event comes."""
        if any(track.state.open for track in self.tracks.values()):
            return NEVER
        expires = 0 if self.latest is None else self.latest.expires_ms
        for buckets in self.buckets.values():
            expires = max(expires, buckets.expires_ms)
        for track in self.tracks.values():
            expires = max(expires, track.state.episode + MINUTE_MS)
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
        due = NEVER
        for track in self.tracks.values():
            step_ms = track.condition.step_ms
            if not now and step_ms > MINUTE_MS and (at_ms + 1) % step_ms:
                due = min(due, at_ms - at_ms % step_ms + step_ms - MINUTE_MS)
                continue
            if track.window is not None:
                judgement = track.judge(at_ms)
                status = track.state.phase
                if status is AlertStatus.PENDING or judgement.holds is (status is not AlertStatus.FIRING):
                    self._enter(track, judgement, at_ms=at_ms, into=into)
            due = min(due, track.due_ms(at_ms))
        self.due_ms, self.judged_ms = due, at_ms

    def _judge_latest(self, latest: Latest, at_ms: int, into: list[Transition]) -> None:
        for track in self.tracks.values():
            if track.window is None and latest.value is not None:
                if track.state.phase is AlertStatus.PENDING and not latest.all_held(track.condition):
                    self._enter(track, _BROKEN, at_ms=at_ms, into=into)
                judgement = Judgement(track.condition.holds(latest.value), latest.value)
                self._enter(track, judgement, at_ms=at_ms, into=into)
                self.due_ms = min(self.due_ms, track.due_ms(at_ms))
        latest.judged()

    def _enter(
        self, track: Track, judgement: Judgement, *, at_ms: int, into: list[Transition], note: str | None = None
    ) -> None:
        """Moves a track's state by a verdict, and adds the transition if there is one."""
        condition, window = track.condition, None
        if condition.window_ms:
            window = window_at(condition, at_ms)
            stats = None if track.window is None else track.window.stats
            newest = window[1] if stats is None else stats.last_at
            episode = newest - newest % MINUTE_MS
        else:
            episode = 0 if self.latest is None else self.latest.at_ms
        verdict = _VERDICTS[judgement.holds]
        terms = Terms(condition.hold_ms)
        track.state, entered = (
            end(track.state)
            if note is not None
            else advance(track.state, verdict, at_ms=at_ms, terms=terms, episode=episode)
        )
        if entered is not None:
            into.append(
                Transition(
                    rule=condition.rule,
                    series=self.series,
                    status=entered,
                    at_ms=at_ms,
                    since_ms=track.state.since_ms,
                    fingerprint=fingerprint(condition.rule.rule_id, self.series.labels()),
                    episode=track.state.episode,
                    turn=track.state.turn,
                    value=judgement.value,
                    window=window,
                    note=note,
                )
            )


def _minute_end(at_ms: int) -> int:
    return at_ms - at_ms % MINUTE_MS + MINUTE_MS - 1
