"""Judges rules inline, as events arrive: the state machine between the stream worker and the alerts topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from atalaia.alerting.local import snapshots
from atalaia.alerting.local.buckets import NEVER, MinuteStats
from atalaia.alerting.local.evaluation import LATENESS, Condition, conditions
from atalaia.alerting.local.track import Track
from atalaia.alerting.local.tracker import Tracker
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey

REMOVED: Final = "the rule was removed"
DEACTIVATED: Final = "the rule was deactivated"
CHANGED: Final = "the condition of the rule was changed"
NOT_SELECTED: Final = "the rule no longer selects this series"


class Judge:
    """The rules on the series of one source partition. Not thread-safe; nothing blocks; no clock is read.

    `at_ms` is the stream's clock: the wall clock while the pipeline keeps up, the arrival time of what is being
    processed while it lags; 0 where nothing is known yet. It never goes back: an earlier one counts as the latest
    given. Series are named by the caller's `key`, any bytes that are the same for the same series. `lateness` is how
    long a sum, count or rate that may be too low waits for stragglers after the end of a minute.

    Call `observe` for every group of a micro-batch, then `judge` once; `tick` about once a second; and write what
    `dump` gives for the keys of `dirty`, before the offsets are committed. After a crash, `load` what was written and
    observe again what came after: the same transitions come out with the same ids.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, lateness: timedelta = LATENESS) -> None:
        self._lateness = lateness
        self._rules: dict[str, Rule] = {}
        self._by_metric: dict[str, list[Condition]] = {}
        self._trackers: dict[bytes, Tracker] = {}
        self._unselected: set[bytes] = set()
        self._touched: dict[bytes, Tracker] = {}
        self._dirty: set[bytes] = set()
        self._owed: list[Transition] = []
        self._awaiting: str | None = None
        self._at_ms = 0
        self._adopt(rules)

    def __len__(self) -> int:
        """How many rule-series are under watch."""
        return sum(len(tracker.tracks) for tracker in self._trackers.values())

    def watches(self, metric_name: str) -> bool:
        """Whether any rule in force judges this metric: if not, `observe` need not be called."""
        return metric_name in self._by_metric

    def observe(self, key: bytes, series: SeriesKey, minute: MinuteStats, at_ms: int) -> None:
        """Adds events of one series and minute. What no rule's window reaches is ignored: a backfill never pages.

        Of calls for the same series and minute each brings other events; `minute` is not kept, and not changed.
        """
        conditions = self._by_metric.get(series.metric_name)
        if conditions is None or key in self._unselected:
            return
        clock = self._at_ms or at_ms
        tracker = self._trackers.get(key)
        if tracker is None:
            selecting = _selecting(conditions, series)
            if not selecting:
                self._unselected.add(key)
                return
            tracker = Tracker(series, at_ms=clock)
            tracker.select(selecting)
            tracker.due_ms = NEVER  # nothing is due before its first event
        if tracker.observe(minute, after_ms=clock, at_ms=at_ms):
            self._trackers[key] = self._touched[key] = tracker

    def judge(self, at_ms: int) -> list[Transition]:
        """Judges the series touched since the last call, and returns what changed, in the order of time."""
        self._move(at_ms)
        transitions: list[Transition] = []
        for tracker in self._touched.values():
            transitions += tracker.advance(at_ms)
            tracker.changed = False
        self._dirty.update(self._touched)
        self._touched.clear()
        return _ordered(transitions)

    def tick(self, at_ms: int, *, awaiting: str | None = None) -> list[Transition]:
        """Judges every series whose verdict may have changed, by events or by time alone, and forgets the idle ones.

        With `awaiting`, a reason, data is known to be on its way. What has come is judged as of `at_ms`, as ever; but
        alerts that fire await data, and say so once, until they recover or a tick comes without.
        """
        self._move(at_ms)
        if awaiting is None and self._awaiting is not None:
            for tracker in self._trackers.values():
                tracker.go_on()
        self._awaiting = awaiting
        transitions = self.judge(at_ms)
        transitions += self._owed
        self._owed.clear()
        idle = []
        for key, tracker in self._trackers.items():
            if tracker.due_ms <= at_ms:
                transitions += tracker.advance(at_ms)
                if tracker.changed:
                    tracker.changed = False
                    self._dirty.add(key)
                if tracker.idle(at_ms):
                    transitions += tracker.forget(at_ms)
                    idle.append(key)
        for key in idle:
            del self._trackers[key]
        self._dirty.update(idle)
        if awaiting is not None:
            transitions += self._wait(at_ms, awaiting)
        return _ordered(transitions)

    def replace_rules(self, rules: Sequence[Rule], at_ms: int) -> list[Transition]:
        """Judges by these rules from now on. Each keeps the state of the rule with its id.

        What is open under a rule that is gone, is inactive or selects the series no more ends, with a note that says
        so; a pending alert starts anew where the condition itself changed.
        """
        self._move(at_ms)
        if {rule.rule_id: rule for rule in rules} == self._rules:
            return []
        self._adopt(rules)
        transitions: list[Transition] = []
        for key, tracker in list(self._trackers.items()):
            transitions += self._reselect(tracker, at_ms=at_ms)
            self._dirty.add(key)
            if not tracker.tracks:
                self._drop(key)
        return _ordered(transitions)

    def dump(self, key: bytes) -> list[Any] | None:
        """The state of one series, for orjson; None where nothing is worth keeping."""
        tracker = self._trackers.get(key)
        return None if tracker is None else snapshots.take(tracker)

    def load(self, key: bytes, series: SeriesKey, state: list[Any]) -> None:
        """Takes up a series where `dump` left it; the next tick ends the alerts of rules that are gone since.

        So give this judge all rules first.
        """
        tracker = snapshots.restore(series, state)
        if tracker is None:
            return
        self._move(tracker.judged_ms)
        self._owed += self._reselect(tracker, at_ms=tracker.judged_ms)
        if tracker.tracks:
            self._trackers[key] = tracker
        else:
            self._dirty.add(key)

    def forget(self, key: bytes) -> None:
        """Lets go of a series, without a transition: its partition has moved, and another judge has it."""
        self._drop(key)
        self._dirty.discard(key)

    def dirty(self) -> set[bytes]:
        """The keys whose `dump` may differ from the last time it was asked for here."""
        taken, self._dirty = self._dirty, set()
        return taken

    def _wait(self, at_ms: int, note: str) -> list[Transition]:
        transitions: list[Transition] = []
        for key, tracker in self._trackers.items():
            transitions += tracker.wait(at_ms, note=note)
            if tracker.changed:
                tracker.changed = False
                self._dirty.add(key)
        return transitions

    def _move(self, at_ms: int) -> None:
        self._at_ms = max(self._at_ms, at_ms)

    def _adopt(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.rule_id: rule for rule in rules}
        self._by_metric = {}
        self._unselected.clear()
        for rule in self._rules.values():
            if rule.is_active and rule.expression is None:
                self._by_metric.setdefault(rule.metric_name, []).extend(conditions(rule, lateness=self._lateness))

    def _reselect(self, tracker: Tracker, *, at_ms: int) -> list[Transition]:
        transitions: list[Transition] = []
        conditions = _selecting(self._by_metric.get(tracker.series.metric_name, ()), tracker.series)
        for condition in conditions:
            track = tracker.tracks.get(condition.identity)
            pending = track is not None and track.state.phase is AlertStatus.PENDING
            if track is not None and pending and not condition.decides.same_condition(track.condition.decides):
                transitions += tracker.close(track, at_ms=at_ms, note=CHANGED)
        for track in tracker.select(conditions):
            transitions += tracker.close(track, at_ms=at_ms, note=self._why_gone(track))
        return transitions

    def _why_gone(self, track: Track) -> str:
        rule = self._rules.get(track.condition.rule.rule_id)
        if rule is None:
            return REMOVED
        if not rule.is_active:
            return DEACTIVATED
        named = {condition.identity for condition in self._by_metric.get(rule.metric_name, ())}
        return NOT_SELECTED if track.condition.identity in named else CHANGED

    def _drop(self, key: bytes) -> None:
        self._trackers.pop(key, None)
        self._touched.pop(key, None)
        self._unselected.discard(key)


def _selecting(conditions: Iterable[Condition], series: SeriesKey) -> list[Condition]:
    """The conditions that select a series: the tenant's own or everybody's, and every matcher equal."""
    labels = series.labels()
    return [
        condition
        for condition in conditions
        if condition.rule.tenant in (None, series.tenant)
        and all(labels.get(label, "") == value for label, value in condition.rule.matchers)
    ]


def _ordered(transitions: list[Transition]) -> list[Transition]:
    """By time, then by alert: the same list whatever the order of the series. One alert's own order is kept."""
    return sorted(transitions, key=lambda transition: (transition.at_ms, transition.fingerprint))
