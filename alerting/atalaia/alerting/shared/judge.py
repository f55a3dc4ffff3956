"""Judges the rules that look beyond single series: expressions over a panel, one alert for each label set."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from atalaia.alerting import durations
from atalaia.alerting.evaluating.evaluate import EvaluationError
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import Labels, reads
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.local.evaluation import LATENESS, Condition
from atalaia.alerting.local.judge import CHANGED, DEACTIVATED, REMOVED
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared import absentees, standing, watching
from atalaia.alerting.shared.standing import AlertKey, Finding, Standing
from atalaia.alerting.shared.watching import Watch
from atalaia.alerting.states import Verdict
from atalaia.alerting.transitions import Transition
from atalaia.alerting.writing.document import to_document
from atalaia.schemas.events import DEFAULT_TENANT, AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

__all__ = ["AlertKey", "SharedJudge"]

Known = dict[tuple[str, Labels], Standing]
"""The alerts of one rule and tenant, by condition and labels."""

LEVEL_GONE: Final = "the threshold was removed"


class SharedJudge:
    """Rules over many series. Not thread-safe; nothing blocks; no clock is read.

    `at_ms` is the stream's clock, as for `Judge`; it never goes back. Verdicts are given at the end of every minute
    that passes and at the instant of the call, so that a late call tells what punctual ones would have told, to the
    minute. Where a sum, count or rate may be too low, they are given once a step is over for `lateness`, and on whole
    steps; with `lateness` None there is no waiting: verdicts are given at the instants of the calls alone, on what is
    there.

    **Absence.** A label set that is in no result any more has ceased to hold only if there is still data to decide by
    (`outlook.observed`): a firing alert resolves then. If there is none, it has no data, and goes on firing: nothing is
    resolved by vanishing. A pending one ends either way, as in Prometheus. `absent(…)` always has something to decide
    by. The sum, count or rate of a known series that is silent is 0, which is data.

    Rules on single series are left to `Judge`, but for the series that they expect and that were never heard, of which
    no source partition can know; with `every` they are judged here altogether, by their trees.

    Call `observe` for what has changed, `advance` about once a second, and write what `dump` gives for the keys of
    `dirty`. After a crash, `load` what was written, `observe` what is known again, then `advance`: the same transitions
    come out with the same ids.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        lateness: timedelta | None = LATENESS,
        panel: Panel | None = None,
        every: bool = False,
    ) -> None:
        self.panel = Panel() if panel is None else panel
        self.errors: dict[str, str] = {}
        """Of each rule that could not be computed at the last verdict, why."""
        self._every = every
        self._lateness_ms = None if lateness is None else durations.milliseconds(lateness)
        self._rules: dict[str, Rule] = {}
        self._watches: dict[str, Watch] = {}
        self._alerts: dict[str, dict[AlertKey, Standing]] = {}
        self._dirty: set[AlertKey] = set()
        self._owed: list[Transition] = []
        self._since_ms: dict[str, int] = {}
        self._documents: dict[str, tuple[Rule | None, dict[str, Any]]] = {}
        self._at_ms = 0
        self._adopt(rules)

    def __len__(self) -> int:
        """How many alerts are pending, firing, or not yet forgotten."""
        return sum(len(alerts) for alerts in self._alerts.values())

    def watches(self, metric_name: str) -> bool:
        """Whether any rule in force reads this metric: if not, `observe` need not be called."""
        return self.panel.wants(metric_name)

    def observe(self, key: bytes, series: SeriesKey, minute: MinuteStats, *, shard: Hashable = 0) -> bool:
        """Takes the whole state of a minute of a series on a shard, which overwrites what was known of it.

        `key` is any bytes that are the same for the same series. The shards of a minute hold different events. `minute`
        is kept, and must not be changed afterwards. False where no rule can see a difference.
        """
        return self.panel.observe(key, series, minute, shard=shard)

    def advance(self, at_ms: int, *, awaiting: str | None = None) -> list[Transition]:
        """Judges every rule at the instants that have passed, and returns what changed, in the order of time.

        With `awaiting`, a reason, data is known to be on its way: every verdict awaits it, so that nothing fires,
        resolves or counts towards `for` meanwhile.
        """
        transitions, self._owed = self._owed, []
        now_ms = max(at_ms, self._at_ms)
        for instant in self._instants(now_ms):
            if instant // MINUTE_MS != self._at_ms // MINUTE_MS:
                self.panel.prune(instant - MINUTE_MS)
            self._at_ms = instant
            within_a_minute = instant < now_ms and (instant + 1) % MINUTE_MS
            for watch in self._watches.values():
                if watch.settle_ms or not within_a_minute:
                    self._judge(watch, instant, transitions, awaiting=awaiting)
        return _ordered(transitions)

    def standing(self) -> Iterator[Standing]:
        """Where every alert stands that is not at rest."""
        for alerts in self._alerts.values():
            yield from alerts.values()

    def replace_rules(self, rules: Sequence[Rule], at_ms: int) -> list[Transition]:
        """Judges by these rules from now on. Each keeps the alerts of the rule with its id.

        What is open under a rule that is gone or inactive ends, with a note that says so; under another expression or
        condition a firing alert is judged by the new one, and a pending one starts anew.
        """
        self._at_ms = max(self._at_ms, at_ms)
        if {rule.rule_id: rule for rule in rules if self._every or watching.is_shared(rule)} == self._rules:
            return []
        self._adopt(rules)
        transitions: list[Transition] = []
        for alerts in list(self._alerts.values()):
            for alert in list(alerts.values()):
                self._fit(alert, transitions)
        return _ordered(transitions)

    def dirty(self) -> set[AlertKey]:
        """The alerts whose `dump` may differ from the last time it was asked for here."""
        taken, self._dirty = self._dirty, set()
        return taken

    def dump(self, key: AlertKey) -> list[Any] | None:
        """Where an alert stands, for orjson; None where nothing is worth keeping."""
        alert = self._alerts.get(key.rule_id, {}).get(key)
        if alert is None:
            return None
        rule, (of, document) = alert.condition.rule, self._documents.get(key.rule_id, (None, {}))
        if of is not rule:
            document = to_document(rule)
            self._documents[key.rule_id] = (rule, document)
        return alert.dump(document)

    def load(self, dump: list[Any], *, at_ms: int = 0) -> None:
        """Takes up an alert where `dump` left it; `at_ms` is the clock of that time.

        If its rule has changed since, `advance` tells first what follows from that.
        """
        self._at_ms = max(self._at_ms, at_ms)
        alert = standing.restored(dump)
        if alert is not None:
            self._alerts.setdefault(alert.key.rule_id, {})[alert.key] = alert
            self._fit(alert, self._owed)

    def _fit(self, alert: Standing, into: list[Transition]) -> None:
        """Puts an alert under the rule of its id as it is now."""
        watch = self._watches.get(alert.key.rule_id)
        conditions = {} if watch is None else watch.by_identity
        condition, before = conditions.get(alert.condition.identity), alert.condition
        entered = None
        if condition is None:
            entered = alert.end(at_ms=self._at_ms, note=self._why_gone(alert.key.rule_id))
            self._forget(alert)
        elif condition.rule != before.rule:
            same = condition.rule.same_condition(before.rule)
            if not same and alert.state.phase is AlertStatus.PENDING:
                entered = alert.end(at_ms=self._at_ms, note=CHANGED)
            alert.condition = condition
            self._dirty.add(alert.key)
        if entered is not None:
            into.append(entered)

    def _adopt(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.rule_id: rule for rule in rules if self._every or watching.is_shared(rule)}
        self._watches = {
            rule.rule_id: watching.watch(rule, settle=self._lateness_ms is not None, every=self._every)
            for rule in self._rules.values()
            if rule.is_active
        }
        self._since_ms = {rule_id: ms for rule_id, ms in self._since_ms.items() if rule_id in self._watches}
        self._documents.clear()
        self.errors = {rule_id: why for rule_id, why in self.errors.items() if rule_id in self._watches}
        self.panel.want(
            (
                (leaf, watching.keep_ms(watch.rule))
                for watch in self._watches.values()
                for leaf in reads(watch.expression)
            ),
            at_ms=self._at_ms,
            lateness_ms=self._lateness_ms or 0,
        )

    def _instants(self, at_ms: int) -> Iterator[int]:
        """The instants at which verdicts are given, after the last one and up to now."""
        if self._lateness_ms is not None and self._at_ms:
            minute = self._at_ms - self._at_ms % MINUTE_MS
            late = self._lateness_ms % MINUTE_MS
            for start in range(minute, at_ms + 1, MINUTE_MS):
                yield from (
                    instant for instant in (start + late, start + MINUTE_MS - 1) if self._at_ms < instant < at_ms
                )
        yield at_ms

    def _judge(self, watch: Watch, at_ms: int, into: list[Transition], *, awaiting: str | None) -> None:
        """Gives the verdicts of one rule at one instant."""
        seen_ms = at_ms
        if watch.settle_ms and self._lateness_ms is not None:
            settled = at_ms - self._lateness_ms
            seen_ms = settled - settled % watch.settle_ms - 1
        alerts = self._alerts.get(watch.rule.rule_id, {})
        tenants = {
            *self.panel.tenants(),
            *(alert.tenant for alert in alerts.values()),
            *absentees.expected(watch.rule),
        }
        for tenant in sorted(tenants) or [watch.rule.tenant or DEFAULT_TENANT]:
            if watch.rule.tenant in (None, tenant):
                known = {
                    (alert.condition.identity, alert.labels): alert
                    for alert in alerts.values()
                    if alert.tenant == tenant
                }
                if watch.silence is not None and awaiting is None:
                    for alert, finding, since_ms in self._silences(watch, watch.silence, tenant, known, at_ms):
                        self._enter(alert, finding, at_ms=at_ms, seen_ms=since_ms, into=into)
                for alert, finding in self._findings(watch, tenant, known, seen_ms, awaiting):
                    self._enter(alert, finding, at_ms=at_ms, seen_ms=seen_ms, into=into)

    def _silences(
        self, watch: Watch, condition: Condition, tenant: str, known: Known, at_ms: int
    ) -> Iterator[tuple[Standing, Finding, int]]:
        """What a rule says of the silence of every group; takes those alerts out of the known ones."""
        alerts = {
            labels: known.pop((identity, labels)) for identity, labels in [*known] if identity == condition.identity
        }
        since_ms = self._since_ms.setdefault(watch.rule.rule_id, at_ms)
        heard, leaves = self.panel.of(tenant), list(reads(watch.expression))
        found = absentees.find(
            watch.rule,
            leaves,
            heard,
            tenant=tenant,
            known=alerts,
            at_ms=at_ms,
            since_ms=since_ms,
            heard_too=watch.every,
        )
        for labels, verdict, silent_ms in list(found):
            alert = alerts.get(labels)
            if alert is not None or verdict is Verdict.HOLDS:
                alert = alert or standing.standing(condition, tenant, labels)
                yield alert, Finding(verdict, note=None), silent_ms

    def _findings(
        self, watch: Watch, tenant: str, known: Known, seen_ms: int, awaiting: str | None
    ) -> Iterator[tuple[Standing, Finding]]:
        """What a rule says of every alert that there is, and of every label set that it holds for."""
        source, rule_id = self.panel.of(tenant), watch.rule.rule_id
        if awaiting is not None:
            yield from ((alert, Finding(Verdict.AWAITING, note=awaiting)) for alert in known.values())
            return
        if not watch.conditions:
            return
        found = watch.find(source, seen_ms)
        if isinstance(found, EvaluationError):
            self.errors[rule_id] = str(found)
            yield from ((alert, Finding(Verdict.ERROR, note=str(found))) for alert in known.values())
            return
        self.errors.pop(rule_id, None)
        for condition in watch.conditions:
            for sample in found:
                alert = known.pop((condition.identity, sample.labels), None)
                finding = watch.judge(condition, sample)
                if alert is not None:
                    yield alert, finding
                elif finding.verdict is Verdict.HOLDS:
                    yield standing.standing(condition, tenant, sample.labels), finding
        if known:
            data = watch.has_data(source, seen_ms)
            for alert in known.values():
                yield alert, Finding(Verdict.RECOVERED if alert.labels in data else Verdict.NO_DATA)

    def _enter(self, alert: Standing, finding: Finding, *, at_ms: int, seen_ms: int, into: list[Transition]) -> None:
        before = alert.state
        entered = alert.enter(finding, at_ms=at_ms, seen_ms=seen_ms)
        if entered is not None:
            into.append(entered)
        if alert.over(at_ms):
            self._forget(alert)
        elif alert.state is not before:
            self._alerts.setdefault(alert.key.rule_id, {})[alert.key] = alert
            self._dirty.add(alert.key)

    def _forget(self, alert: Standing) -> None:
        alerts = self._alerts.get(alert.key.rule_id, {})
        if alerts.pop(alert.key, None) is not None:
            self._dirty.add(alert.key)
            if not alerts:
                del self._alerts[alert.key.rule_id]

    def _why_gone(self, rule_id: str) -> str:
        rule = self._rules.get(rule_id)
        if rule is None:
            return REMOVED
        return LEVEL_GONE if rule.is_active else DEACTIVATED


def _ordered(transitions: list[Transition]) -> list[Transition]:
    """By time, then by alert; one alert's own order is kept."""
    return sorted(transitions, key=lambda transition: (transition.at_ms, transition.fingerprint))
