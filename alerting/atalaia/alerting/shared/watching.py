"""One shared rule at work: its expression, its conditions, and what they say of every label set at one instant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from atalaia.alerting import durations
from atalaia.alerting.evaluating import spans
from atalaia.alerting.evaluating.evaluate import EvaluationError, Sample, evaluate
from atalaia.alerting.evaluating.readings import Source, accumulates
from atalaia.alerting.expressions import Expression, Labels, interned, reads
from atalaia.alerting.local import evaluation
from atalaia.alerting.local.evaluation import Condition
from atalaia.alerting.rules import Rule, tree
from atalaia.alerting.shared import outlook, standing
from atalaia.alerting.shared.standing import Finding
from atalaia.alerting.states import Verdict


@dataclass(frozen=True)
class Watch:
    """A rule made ready. `settle_ms` is the step that must be over before a verdict is given on it; 0 is none.

    `every`: it is judged here alone, though it may be of single series.
    """

    rule: Rule
    expression: Expression
    conditions: tuple[Condition, ...]
    settle_ms: int
    silence: Condition | None
    every: bool

    @property
    def by_identity(self) -> dict[str, Condition]:
        """Every condition of the rule, by what tells its alerts apart."""
        silent = [] if self.silence is None else [self.silence]
        return {condition.identity: condition for condition in (*self.conditions, *silent)}

    @cached_property
    def observed(self) -> Expression:
        """What has a value wherever there is data."""
        return interned(outlook.observed(self.expression))

    @cached_property
    def only_grows(self) -> bool:
        """Whether no event that is missing could undo the condition where it holds."""
        return outlook.only_grows(self.expression, self.rule.comparison)

    def find(self, source: Source, at_ms: int) -> list[Sample] | EvaluationError:
        """The value of every label set at an instant, or why there is none."""
        try:
            return evaluate(self.expression, source, at_ms)
        except EvaluationError as exc:
            return exc

    def has_data(self, source: Source, at_ms: int) -> frozenset[Labels]:
        """The label sets that there is data to decide by."""
        try:
            return frozenset(sample.labels for sample in evaluate(self.observed, source, at_ms))
        except EvaluationError:
            return frozenset()

    def judge(self, condition: Condition, sample: Sample) -> Finding:
        """What a condition says of a value: a NaN is none, and too few events or too incomplete ones decide nothing."""
        rule = self.rule
        if math.isnan(sample.value) or sample.events < rule.minimum_count:
            return Finding(Verdict.NO_DATA, sample)
        if self.settle_ms and not sample.whole:
            return Finding(Verdict.AWAITING, sample)
        compared = rule.comparison is not None
        verdict = evaluation.judge_value(condition, sample.value).verdict if compared else Verdict.HOLDS
        if (rule.minimum_completeness or 0.0) > sample.completeness:
            final = verdict is Verdict.HOLDS and self.only_grows
            return Finding(verdict if final else Verdict.AWAITING, sample)
        return Finding(verdict, sample)


def watch(rule: Rule, *, settle: bool, every: bool = False) -> Watch:
    """A rule made ready; without `settle` a verdict is given on whatever is there."""
    expression = interned(tree(rule))
    settle_ms = 0
    if settle and outlook.must_settle(expression, rule.comparison):
        settle_ms = max(spans.step_of(leaf) for leaf in reads(expression) if accumulates(leaf))
    compares = rule.expression is not None or (every and rule.comparison is not None)
    thresholds = tuple(standing.thresholds(rule)) if compares else ()
    return Watch(rule, expression, thresholds, settle_ms, standing.silence(rule), every)


def is_shared(rule: Rule) -> bool:
    """Whether a rule looks further than one series: by its expression, or because it expects some that may not be."""
    return rule.expression is not None or bool(rule.expected)


def keep_ms(rule: Rule) -> int:
    """For how long after its last event a series still matters to a rule."""
    return durations.milliseconds(max(rule.hold, rule.keep_firing, rule.absent_for or timedelta()))
