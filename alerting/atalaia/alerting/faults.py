"""What is wrong with a rule: everything at once, each with the field and the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from atalaia.alerting import durations, sense
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import Calendar, Expression, MatchOperator, Read, Rolling, reads
from atalaia.alerting.promql.summing import sums_of_nothing
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.events import MAX_NAME_CHARACTERS

if TYPE_CHECKING:  # a rule checks itself with what is here
    from atalaia.alerting.rules import Rule

LONGEST_HOLD: Final = timedelta(days=31)
MAX_MINIMUM_COUNT: Final = 10**9
MAX_STEPS: Final = 60
"""Steps that N of M looks back on."""
MAX_LEVELS: Final = 8
MAX_EXPECTED: Final = 10_000


_EXACT: Final = frozenset({Comparison.EQUAL, Comparison.NOT_EQUAL})
_UPWARD: Final = frozenset({Comparison.ABOVE, Comparison.AT_LEAST})
_PATTERNS: Final = frozenset({MatchOperator.MATCHES, MatchOperator.NOT_MATCHES})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a rule: where in it, and a phrase with the value and the remedy.

    `at` is the line and the column within the text at `path`, where the fault is of a part of it.
    """

    path: tuple[str | int, ...]
    message: str
    at: tuple[int, int] | None = None

    def __str__(self) -> str:
        within = f" at {self.at[0]}:{self.at[1]}:" if self.at is not None else ""
        return self._said(within)

    @property
    def in_place(self) -> str:
        """The same for readers who see the place anyway."""
        return self._said(":" if self.at is not None else "")

    def _said(self, after_path: str) -> str:
        return " ".join([".".join(map(str, self.path)) + after_path, self.message]).strip()


class RuleError(ValueError):
    """A rule that cannot be judged; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def faults_of(rule: Rule) -> Iterator[Fault]:
    """Everything that is wrong with a rule, under the names of the written form."""
    yield from _plain_faults(rule)
    if rule.expression is None:
        yield from _window_faults(rule)
        if (fault := sense.aggregate_fault(rule.aggregate, rule.metric_name)) is not None:
            yield Fault(("aggregate",), fault)
    else:
        yield from _expression_faults(rule, rule.expression)
    yield from _limit_faults(rule)
    yield from _level_faults(rule)
    yield from _data_faults(rule)


def _plain_faults(rule: Rule) -> Iterator[Fault]:
    """Faults of single fields."""
    for field, value in (("id", rule.rule_id), ("name", rule.name), ("metric", rule.metric_name)):
        if not value.strip():
            yield Fault((field,), "is empty; give it a name")
        elif len(value) > MAX_NAME_CHARACTERS:
            yield Fault((field,), f"has {len(value)} characters; at most {MAX_NAME_CHARACTERS} are allowed")
    if not math.isfinite(rule.threshold):
        yield Fault(("threshold",), f"is {rule.threshold}; it must be a finite number")
    if rule.version < 1:
        yield Fault(("version",), f"is {rule.version}; versions count from 1")
    if not 0 <= rule.minimum_count <= MAX_MINIMUM_COUNT:
        yield Fault(("minimum_count",), f"is {rule.minimum_count}; it must be from 0 to {MAX_MINIMUM_COUNT}")
    for field, span in (("for", rule.hold), ("keep_firing_for", rule.keep_firing)):
        if not timedelta() <= span <= LONGEST_HOLD:
            yield Fault((field,), f"is {durations.text(span)}; it must be from 0s to 31d")


def _window_faults(rule: Rule) -> Iterator[Fault]:
    if rule.window is None:
        if rule.aggregate is not Aggregate.LAST:
            yield Fault(("window",), f"is missing: {rule.aggregate} needs one, such as 5m; only last can do without")
        if rule.minimum_count > 1:
            yield Fault(("minimum_count",), "needs a window: without one a rule judges one event, the latest")
    elif (fault := sense.window_fault(rule.window)) is not None:
        yield Fault(("window",), fault)


def _expression_faults(rule: Rule, expression: Expression) -> Iterator[Fault]:
    leaves = list(reads(expression))
    if not leaves:
        yield Fault(("expr",), "reads no metric; a rule judges events")
    if leaves and rule.metric_name not in {leaf.selector.metric_name for leaf in leaves}:
        yield Fault(("metric",), f"is {rule.metric_name[:60]!r}, which the expression does not read")
    if rule.matchers or rule.window is not None or rule.aggregate is not Aggregate.LAST:
        yield Fault(("expr",), "says which series, aggregate and window; leave out where, aggregate and window")
    yield from (Fault(("expr",), reason) for reason in sums_of_nothing(expression))
    for leaf in leaves:
        yield from (Fault(("expr",), f"{leaf.selector.metric_name[:60]}: {fault}") for fault in _read_faults(leaf))


def _read_faults(leaf: Read) -> Iterator[str]:
    entry = metric(leaf.selector.metric_name)
    if isinstance(leaf.span, Rolling) and (fault := sense.window_fault(leaf.span.length)) is not None:
        yield f"the window {fault}"
    if isinstance(leaf.span, Calendar) and (fault := sense.zone_fault(leaf.span.zone)) is not None:
        yield f"the zone {fault}"
    if (fault := sense.offset_fault(leaf.offset)) is not None:
        yield f"the offset {fault}"
    of_sketch = leaf.aggregate is Aggregate.SUM and entry.kind is Kind.DISTRIBUTION  # as in `m_sum` / `m_count`
    if not of_sketch and (fault := sense.aggregate_fault(leaf.aggregate, leaf.selector.metric_name)) is not None:
        yield f"the aggregate {fault}"
    for matcher in leaf.selector.matchers:
        if matcher.operator in _PATTERNS and (fault := sense.pattern_fault(matcher.value)) is not None:
            yield f"the pattern of {matcher.label[:60]} {fault}"


def _limit_faults(rule: Rule) -> Iterator[Fault]:
    """Faults of the fields that say where the condition holds, and for how long."""
    if rule.comparison is None:
        if rule.expression is None and rule.absent_for is None:
            yield Fault(("condition",), "is missing; compare with a number, as in '> 5', or give absent_for")
        for field, given in (("recovery", rule.recovery), ("tolerance", rule.tolerance), ("levels", rule.levels)):
            if given not in (None, ()):
                yield Fault((field,), "needs a condition that compares with a number")
        return
    if rule.tolerance is not None:
        if rule.comparison not in _EXACT:
            yield Fault(("tolerance",), f"is for == and !=; the condition is {rule.comparison}")
        elif not 0 <= rule.tolerance < math.inf:
            yield Fault(("tolerance",), f"is {rule.tolerance}; it must be a finite number from 0")
    yield from _recovery_faults(rule, ("recovery",), rule.threshold, rule.recovery)


def _level_faults(rule: Rule) -> Iterator[Fault]:
    """Faults of the further thresholds."""
    if len(rule.levels) > MAX_LEVELS:
        yield Fault(("levels",), f"has {len(rule.levels)} entries; at most {MAX_LEVELS} are allowed")
    told = [rule.severity, *(level.severity for level in rule.levels)]
    for number, level in enumerate(rule.levels):
        if not math.isfinite(level.threshold):
            yield Fault(("levels", number, "threshold"), f"is {level.threshold}; it must be a finite number")
        if told.count(level.severity) > 1:
            yield Fault(("levels", number, "severity"), f"is {level.severity} again; each level has its own severity")
        yield from _recovery_faults(rule, ("levels", number, "recovery"), level.threshold, level.recovery)


def _recovery_faults(
    rule: Rule, path: tuple[str | int, ...], threshold: float, recovery: float | None
) -> Iterator[Fault]:
    if recovery is None:
        return
    if not math.isfinite(recovery):
        yield Fault(path, f"is {recovery}; it must be a finite number")
    elif rule.comparison in _EXACT:
        yield Fault(path, f"is for a threshold with two sides; the condition is {rule.comparison}")
    elif (recovery > threshold) if rule.comparison in _UPWARD else (recovery < threshold):
        side = "above" if rule.comparison in _UPWARD else "below"
        said = f"{_shown(recovery)}, {side} the threshold {_shown(threshold)}"
        yield Fault(path, f"is {said}: the alert would resolve while its condition holds; put it on the other side")


def _data_faults(rule: Rule) -> Iterator[Fault]:
    """Faults of the fields that say how much data a verdict needs."""
    if not 1 <= rule.needed <= rule.of_last <= MAX_STEPS:
        said = f"{rule.needed} of {rule.of_last}"
        yield Fault(("n_of_m",), f"is {said}; the first must be from 1 to the second, and that at most {MAX_STEPS}")
    if rule.minimum_completeness is not None and not 0 <= rule.minimum_completeness <= 1:
        yield Fault(("minimum_completeness",), f"is {rule.minimum_completeness}; it is a share, from 0 to 1")
    if rule.absent_for is not None and not timedelta(minutes=1) <= rule.absent_for <= LONGEST_HOLD:
        yield Fault(("absent_for",), f"is {durations.text(rule.absent_for)}; it must be from 1m to 31d")
    if rule.expected and rule.absent_for is None:
        yield Fault(("expected",), "needs absent_for: after how long a silence is it missed?")
    if len(rule.expected) > MAX_EXPECTED:
        yield Fault(("expected",), f"has {len(rule.expected)} entries; at most {MAX_EXPECTED} are allowed")


def _shown(value: float) -> str:
    return f"{value:.10g}"
