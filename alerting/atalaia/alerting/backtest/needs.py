"""What of history a rule needs: which metrics, which series of them, how much before, and whether sketches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from atalaia.alerting import durations
from atalaia.alerting.evaluating import spans
from atalaia.alerting.evaluating.readings import accumulates, needs_sketch
from atalaia.alerting.expressions import Matcher, MatchOperator, Read, reads
from atalaia.alerting.rules import Rule, tree
from atalaia.alerting.sense import step

_SLACK_STEPS = 4


@dataclass(frozen=True, slots=True)
class Need:
    """Series of one metric whose labels have all of these values, from `before_ms` before the first minute on."""

    metric_name: str
    equal: tuple[tuple[str, str], ...]
    before_ms: int
    with_sketch: bool

    def reaching(self, before_ms: int) -> Need:
        """The same, from longer before."""
        return replace(self, before_ms=max(before_ms, self.before_ms))


def needs(rule: Rule) -> list[Need]:
    """What a rule reads, each metric once."""
    found: dict[str, Need] = {}
    for leaf in reads(tree(rule)):
        need = Need(leaf.selector.metric_name, _equal(leaf), _before_ms(rule, leaf), needs_sketch(leaf))
        known = found.get(need.metric_name)
        found[need.metric_name] = need if known is None else _both(known, need)
    return list(found.values())


def merged(one: Need, other: Need) -> Need:
    """One that is enough for both; they are of the same metric."""
    return _both(one, other)


def _both(one: Need, other: Need) -> Need:
    return Need(
        one.metric_name,
        tuple(pair for pair in one.equal if pair in other.equal),
        max(one.before_ms, other.before_ms),
        one.with_sketch or other.with_sketch,
    )


def _equal(leaf: Read) -> tuple[tuple[str, str], ...]:
    return tuple((each.label, each.value) for each in leaf.selector.matchers if _is_equal(each))


def _is_equal(matcher: Matcher) -> bool:
    return matcher.operator is MatchOperator.EQUAL


def _before_ms(rule: Rule, leaf: Read) -> int:
    """As far as its windows reach, and its alerts remember: then its state is right in the first minute."""
    window_ms = durations.milliseconds(leaf.offset) + spans.longest_ms(leaf.span)
    step_ms = spans.step_of(leaf)
    if rule.expression is None and rule.window is not None:
        step_ms = durations.milliseconds(step(rule.window))
    if accumulates(leaf):  # too little of an amount is judged once its series has been watched for a whole window
        window_ms += spans.longest_ms(leaf.span)
    remembered = rule.hold + rule.keep_firing + (rule.absent_for or timedelta())
    return window_ms + durations.milliseconds(remembered) + (rule.of_last + _SLACK_STEPS) * step_ms
