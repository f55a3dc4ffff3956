"""Where one condition of a shared rule stands on one label set: an alert, or what may become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from atalaia.alerting import durations
from atalaia.alerting.evaluating.evaluate import Sample
from atalaia.alerting.expressions import Labels
from atalaia.alerting.local.evaluation import Condition, conditions, prepare
from atalaia.alerting.rules import Rule, RuleError
from atalaia.alerting.states import AT_REST, AlertState, Terms, Verdict, advance, end
from atalaia.alerting.transitions import Evidence, Transition, fingerprint
from atalaia.alerting.writing.document import from_document
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS

FORMAT: Final = 1
"""First item of every dump: another number is another layout."""
_REMEMBERED_MS: Final = 2 * MINUTE_MS
"""How long an episode's number must be remembered: the next one's comes from event time, and must be greater."""


class AlertKey(NamedTuple):
    """One alert of one rule."""

    rule_id: str
    fingerprint: str


class Finding(NamedTuple):
    """What a condition says of one label set at one instant, and why."""

    verdict: Verdict
    sample: Sample | None = None
    note: str | None = None


@dataclass(slots=True)
class Standing:
    """One condition on one label set of one tenant."""

    condition: Condition
    tenant: str
    labels: Labels
    key: AlertKey
    state: AlertState = AT_REST
    sample: Sample | None = None
    """The last value that there was."""

    def enter(self, finding: Finding, *, at_ms: int, seen_ms: int) -> Transition | None:
        """Moves by a verdict that was given at one instant, on the events up to another."""
        self.sample = finding.sample or self.sample
        self.state, entered = advance(
            self.state,
            finding.verdict,
            at_ms=at_ms,
            terms=self.condition.terms,
            episode=seen_ms - seen_ms % MINUTE_MS,
        )
        return None if entered is None else self._transition(finding, entered, at_ms)

    def end(self, *, at_ms: int, note: str) -> Transition | None:
        """Ends what is open, whatever the condition."""
        self.state, entered = end(self.state)
        return None if entered is None else self._transition(Finding(Verdict.NO_DATA, note=note), entered, at_ms)

    def over(self, at_ms: int) -> bool:
        """Whether nothing of it can matter to a later verdict."""
        return not self.state.open and not self.state.bits and self.state.episode <= at_ms - _REMEMBERED_MS

    def dump(self, document: dict[str, Any]) -> list[Any]:
        """All of it, for orjson, with its rule as a document."""
        state = self.state
        return [
            FORMAT,
            document,
            self.condition.identity,
            self.tenant,
            self.labels,
            [
                state.phase.value,
                state.since_ms,
                state.episode,
                state.timer_ms,
                None if state.doubt is None else state.doubt.value,
                state.doubt_ms,
                state.turn,
                state.bits,
                state.step,
            ],
        ]

    def _transition(self, finding: Finding, entered: AlertStatus, at_ms: int) -> Transition:
        sample = finding.sample
        return Transition(
            rule=self.condition.rule,
            group=labels_of(self.tenant, self.labels),
            status=entered,
            at_ms=at_ms,
            since_ms=self.state.since_ms,
            fingerprint=self.key.fingerprint,
            episode=self.state.episode,
            turn=self.state.turn,
            value=None if sample is None else sample.value,
            window=None if sample is None else sample.window,
            note=finding.note,
            level=self.condition.level,
            evidence=None
            if sample is None
            else Evidence(sample.events, sample.numerator, sample.denominator, sample.completeness),
        )


def standing(condition: Condition, tenant: str, labels: Labels) -> Standing:
    """A condition at rest on a label set."""
    marks = fingerprint(condition.identity, dict(labels_of(tenant, labels)))
    return Standing(condition, tenant, labels, AlertKey(condition.rule.rule_id, marks))


def restored(dump: list[Any]) -> Standing | None:
    """What `dump` wrote, under the rule of that time; None where this version cannot read it."""
    if not dump or dump[0] != FORMAT:
        return None
    _, document, identity, tenant, pairs, numbers = dump
    condition = _condition(document, identity)
    if condition is None:
        return None
    phase, since_ms, episode, timer_ms, doubt, *rest = numbers
    found = standing(condition, tenant, tuple((name, value) for name, value in pairs))
    doubted = None if doubt is None else AlertStatus(doubt)
    found.state = AlertState(AlertStatus(phase), since_ms, episode, timer_ms, doubted, *rest)
    return found


def labels_of(tenant: str, labels: Labels) -> Labels:
    """The labels of an alert: those of its group, and whose it is.

    >>> labels_of("acme", (("region", "BR"),))
    (('region', 'BR'), ('tenant', 'acme'))
    """
    return tuple(sorted((dict(labels) | ({"tenant": tenant} if tenant else {})).items()))


def thresholds(rule: Rule) -> Iterator[Condition]:
    """The condition of a rule on its own threshold, and on each further one."""
    yield prepare(rule)
    for level in rule.levels:
        yield prepare(rule, level=level)


def silence(rule: Rule) -> Condition | None:
    """The condition that a group is silent, beside what else the rule says; `for` and N of M are not about it."""
    if rule.absent_for is None:
        return None
    found = next(each for each in conditions(rule) if each.absent_ms)
    terms = Terms(keep_firing_ms=durations.milliseconds(rule.keep_firing))
    return replace(found, identity=f"{rule.rule_id}\0absent", terms=terms)


def _condition(document: dict[str, Any], identity: str) -> Condition | None:
    """The condition that a state belongs to, which may be gone or another by now."""
    rule = _rule(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    if rule is None:
        return None
    silent = silence(rule)
    every = [*thresholds(rule), *([] if silent is None else [silent])]
    return next((condition for condition in every if condition.identity == identity), None)


@lru_cache(maxsize=10_000)  # the alerts of one rule come one after the other
def _rule(document: bytes) -> Rule | None:
    try:
        return from_document(orjson.loads(document))
    except RuleError:  # written by a version that knew more fields
        return None
