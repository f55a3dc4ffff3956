"""One home at work: the partial aggregates of its families, how far their sources have come, and its rules' alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from atalaia.alerting.evaluating.panel import KNOWN_MS
from atalaia.alerting.faults import RuleError
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared.judge import AlertKey, SharedJudge
from atalaia.alerting.transitions import Transition
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS
from atalaia.streams import partials
from atalaia.streams.clocks import LAGGING_AFTER, SourceClocks
from atalaia.streams.families import Families, anchor, place
from atalaia.streams.partials import ClockKey, MarkKey, Memo, MemoKey, OwedKey, PartialKey, PartialsRecord

STRIDE_MS: Final = 5 * MINUTE_MS
"""Judged at a time where more has passed, so that nobody waits long for a home that catches up."""
LOOKING_BACK_MS: Final = HOUR_MS
"""After a longer stop the time in between is not judged any more: nobody wants to be called about last night."""
Version = tuple[int, int]
"""Of a partial: its writer's epoch, and the last offset applied."""
_LAGGING_MS: Final = LAGGING_AFTER // timedelta(milliseconds=1)


class Home:
    """The rules of all families whose home is one partition. Not thread-safe; nothing blocks; no clock is read.

    First `take` everything that the places hold, then `begin`; from then on `take` what comes, and `advance`. A home
    that is dropped at any moment loses nothing: what it hasn't written, its successor computes again from the same
    partials, with the same ids.
    """

    def __init__(self, number: int, families: Families, *, sources: int) -> None:
        self.number = number
        self._families = families
        self.metrics = frozenset(name for family in families.at(number) for name in family.reach_ms)
        """What is read here. For rules on others there must be another home: these have not been taken in."""
        self.clocks = SourceClocks(sources=sources, places=self.places)
        self.owed: dict[OwedKey, bytes] = {}
        """Transitions that a predecessor may not have delivered, as they go to the alerts topic."""
        self._reach_ms: dict[str, int] = {}
        self._anchors: dict[str, str] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._judge = SharedJudge()
        self._rules: tuple[Rule, ...] = ()
        self._judged_ms = 0
        self._begun_ms: int | None = None
        self._awaiting = False
        self._touched = True
        self._series: dict[bytes, SeriesKey | None] = {}
        self._newest: dict[bytes, int] = {}
        self._versions: dict[str, dict[int, dict[bytes, Version]]] = {name: {} for name in self.metrics}
        """By metric, minute and record key: the partial in force."""
        self._memos: dict[MemoKey, Memo] = {}
        self._written: dict[AlertKey, MemoKey] = {}
        self._over: dict[MemoKey, int] = {}
        self.adopt(families)

    @property
    def places(self) -> frozenset[int]:
        """The partitions of the partials topic to read: those of its metrics, and its own, for what was left behind."""
        return frozenset({self.number, *(self._at(name) for name in self.metrics)})

    @property
    def judged_ms(self) -> int:
        """The instant of the last verdicts, event time; 0 before the first."""
        return self._judged_ms

    def adopt(self, families: Families) -> list[Transition]:
        """Judges by the rules of these families from now on; the transitions of what ended with a rule."""
        self._families = families
        found = families.at(self.number)
        self._reach_ms = {name: ms for family in found for name, ms in family.reach_ms.items()}
        rules = (*(rule for family in found for rule in family.rules), *families.inactive)
        self._anchors |= {rule.rule_id: anchor(rule) for rule in rules}
        self._documents |= {rule.rule_id: to_document(rule) for rule in rules}
        self._touched = True
        self._rules = rules
        return self._judge.replace_rules(rules, self._judged_ms)

    def release(self, families: Families) -> list[Transition]:
        """Gets ready to be dropped for another home: what is open under rules that are gone altogether ends here."""
        judged = {rule.rule_id: rule for family in families.families for rule in family.rules}
        kept = [rule for rule_id, rule in judged.items() if rule_id in self._anchors]
        return self._judge.replace_rules([*kept, *families.inactive], self._judged_ms)

    # ── what comes in ─────────────────────────────────────────────────────────────────────────────────────

    def take(self, at: int, key: bytes, value: bytes | None) -> None:
        """Takes in a record that was read at this place; those of other homes' metrics are passed over."""
        found = partials.parse_key(key)
        match found:
            case PartialKey():
                self._partial(found, key, value)
            case ClockKey() if value is not None:
                self.clocks.take(at, found.partition, partials.clock_of(value))
            case MarkKey() | MemoKey() | OwedKey() if self._begun_ms is None:
                if found.metric_name in self.metrics or at == self.number:
                    self._remember(found, value)
            case _:
                pass

    def _remember(self, found: MarkKey | MemoKey | OwedKey, value: bytes | None) -> None:
        """Takes in what a predecessor wrote down."""
        match found:
            case MarkKey() if value is not None and found.metric_name in self.metrics:
                self._judged_ms = max(self._judged_ms, int(value))
            case OwedKey() if value is None:
                self.owed.pop(found, None)
            case OwedKey() if self._families.home(found.metric_name) in (None, self.number):
                self.owed[found] = value or b""
            case MemoKey() if value is None:
                self._memos.pop(found, None)
            case MemoKey():
                # A predecessor that was paused may have written after its successor: the later judgement is in force.
                memo = partials.memo_of(value or b"")
                if found not in self._memos or memo.judged_ms >= self._memos[found].judged_ms:
                    self._memos[found] = memo
            case _:
                pass

    def _partial(self, found: PartialKey, key: bytes, value: bytes | None) -> None:
        series = self._series_of(found.series)
        if series is None:
            return
        minute_ms = found.shard.minute_ms
        versions = self._versions[series.metric_name].setdefault(minute_ms, {})
        if value is None:
            versions.pop(key, None)
            return
        epoch, window = partials.partial_of(value)
        version = (epoch, window.version)
        if version < versions.get(key, version):
            return
        versions[key] = version
        self._newest[found.series] = max(minute_ms, self._newest.get(found.series, 0))
        shard = (found.shard.partition, found.shard.opened)
        self._touched = (
            self._judge.observe(found.series, series, partials.minute_stats(window), shard=shard) or self._touched
        )

    def _series_of(self, key: bytes) -> SeriesKey | None:
        """The series of a key; None where no rule here reads its metric."""
        if key not in self._series:
            series = partials.series_of(key)
            self._series[key] = series if series.metric_name in self.metrics else None
        return self._series[key]

    # ── judging ───────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now_ms: int) -> list[Transition]:
        """Takes up the alerts where predecessors left them; once, when all that the places held has been taken in.

        What is open under a rule that was removed or deactivated meanwhile ends: the transitions.
        """
        self._begun_ms = now_ms
        standing = {rule.rule_id: anchor(rule) for family in self._families.families for rule in family.rules}
        memos, self._memos = {key: memo for key, memo in self._memos.items() if memo.state is not None}, {}
        kept = {key: memo for key, memo in memos.items() if standing.get(key.rule_id) == key.metric_name}
        ours = {key: memo for key, memo in kept.items() if key.metric_name in self.metrics}
        left = {
            key: memo for key, memo in memos.items() if key not in kept and self._at(key.metric_name) == self.number
        }
        self._judged_ms = max([self._judged_ms, *(memo.judged_ms for memo in ours.values())])
        at_ms = self.clocks.at_ms()
        if self._judged_ms and at_ms is not None:
            self._judged_ms = max(self._judged_ms, at_ms - LOOKING_BACK_MS)
        for key, memo in ours.items():
            self._written[AlertKey(key.rule_id, key.alert)] = key
            self._judge.load(memo.state, at_ms=self._judged_ms)
        return [transition for key, memo in left.items() for transition in self._end(key, memo)]

    def _end(self, key: MemoKey, memo: Memo) -> list[Transition]:
        """Ends an alert that a rule left behind."""
        self._anchors.setdefault(key.rule_id, key.metric_name)
        self._over[key] = memo.judged_ms
        try:
            rule = from_document(memo.rule or {})
        except RuleError:  # of a version that knew more than this one
            return []
        judge = SharedJudge([rule])
        judge.load(memo.state, at_ms=memo.judged_ms)
        return judge.replace_rules([other for other in self._families.inactive if other.rule_id == key.rule_id], 0)

    def due(self, now_ms: int) -> bool:
        """Whether there is something to judge, or more time to judge at, or a source has begun or ceased to lag."""
        at_ms = self.clocks.at_ms()
        passed = self._touched or (at_ms is not None and at_ms > self._judged_ms)
        return passed or self._awaiting or bool(self.clocks.lagging(now_ms))

    def advance(self, now_ms: int) -> list[Transition]:
        """The verdicts up to where the slowest source is, on everything that any source had up to there.

        While a source is behind the wall clock, no time is judged, and alerts await data; once it has caught up, all
        that passed is judged, in order and on whole data.
        """
        assert self._begun_ms is not None, "begin comes first"
        behind = self.clocks.lagging(now_ms)
        if behind:
            if self._awaiting or now_ms - self._begun_ms < _LAGGING_MS:
                return []
            self._awaiting = True
            return self._judge.advance(self._judged_ms, awaiting=_why(behind))
        at_ms = self.clocks.at_ms()
        if at_ms is None:
            return []
        target = max(at_ms, self._judged_ms)
        if self._judged_ms:
            if self._judged_ms < at_ms - LOOKING_BACK_MS:
                self._judged_ms = at_ms - LOOKING_BACK_MS
                self._judge.replace_rules(self._rules, self._judged_ms)  # the same ones, from then on
            target = min(target, self._judged_ms + STRIDE_MS)
        self._touched = self._awaiting = False
        self._judged_ms = target
        return self._judge.advance(target)

    # ── what goes out ─────────────────────────────────────────────────────────────────────────────────────

    def memos(self) -> Iterator[PartialsRecord]:
        """Where alerts stand that have changed since the last call.

        Of an alert that is over, that is written, too, and not just deleted: else a paused predecessor's memo, which
        may come later, would bring it back.
        """
        over, self._over = self._over, {}
        for gone, judged_ms in over.items():
            yield self._at(gone.metric_name), partials.memo_key(gone), partials.memo_value(Memo(judged_ms, None, None))
        for alert in self._judge.dirty():
            state, before = self._judge.dump(alert), self._written.pop(alert, None)
            metric_name = self._anchors.get(alert.rule_id)
            key = None if metric_name is None else MemoKey(metric_name, *alert)
            if before is not None and before != key:
                yield self._written_down(before, None)
            if key is not None and (state is not None or before is not None):
                yield self._written_down(key, state)
            if key is not None and state is not None:
                self._written[alert] = key

    def _written_down(self, key: MemoKey, state: Any) -> PartialsRecord:
        rule = None if state is None else self._documents.get(key.rule_id)
        memo = Memo(self._judged_ms, state, rule)
        return self._at(key.metric_name), partials.memo_key(key), partials.memo_value(memo)

    def owing(self, transitions: Sequence[Transition], records: Sequence[bytes]) -> Iterator[PartialsRecord]:
        """Transitions as they went to the alerts topic, to be kept until it is known that they arrived."""
        for transition, record in zip(transitions, records, strict=True):
            metric_name = self._anchors[transition.rule.rule_id]
            key = partials.owed_key(OwedKey(metric_name, transition.fingerprint, transition.alert_id))
            yield self._at(metric_name), key, record

    def inherited(self) -> Iterator[tuple[str, PartialsRecord]]:
        """What predecessors may not have delivered: the alert's key, and the record as it was kept; once."""
        owed, self.owed = self.owed, {}
        for key, record in owed.items():
            yield key.fingerprint, (self._at(key.metric_name), partials.owed_key(key), record)

    def marks(self) -> Iterator[PartialsRecord]:
        """How far everything here has been judged."""
        for metric_name in sorted(set(self._anchors.values()) & self.metrics):
            yield self._at(metric_name), partials.mark_key(metric_name), b"%d" % self._judged_ms

    def forget(self) -> Iterator[PartialsRecord]:
        """Lets go of the minutes that no rule reaches any more, but for each series' newest: it is still known."""
        for metric_name, minutes in self._versions.items():
            oldest_ms = self._judged_ms - self._reach_ms.get(metric_name, 0)
            for minute_ms in [minute_ms for minute_ms in minutes if minute_ms < oldest_ms]:
                known = minute_ms >= oldest_ms - KNOWN_MS
                held = minutes[minute_ms]
                for key in list(held):
                    series = key.rpartition(b"@")[0]
                    if known and self._newest.get(series) == minute_ms:
                        continue
                    del held[key]
                    if self._newest.get(series) == minute_ms:
                        del self._newest[series]
                        self._series.pop(series, None)
                    yield self._at(metric_name), key, None
                if not held:
                    del minutes[minute_ms]

    def _at(self, metric_name: str) -> int:
        return place(metric_name, self._families.partitions)


def _why(behind: frozenset[int]) -> str:
    listed = ", ".join(map(str, sorted(behind)))
    return (
        f"partition{'s' if len(behind) > 1 else ''} {listed} of the metrics topic lag{'' if len(behind) > 1 else 's'}"
    )
