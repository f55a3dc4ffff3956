"""Shared rules for the stream tests."""

from __future__ import annotations

from datetime import timedelta

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Binary, Expression, Grouping, Operator, Read, Rolling, Selector
from atalaia.alerting.rules import Comparison, Rule

HOUR = timedelta(hours=1)


def read(metric: str, length: timedelta = HOUR, offset: timedelta = timedelta()) -> Read:
    """The sum of a metric over all its series."""
    return Read(Selector(metric), Aggregate.SUM, Rolling(length), offset, Grouping(()))


def shared(name: str, *metrics: str, active: bool = True, expression: Expression | None = None) -> Rule:
    """A rule on the sum of some metrics."""
    tree = expression or read(metrics[0])
    for metric in metrics[1:]:
        tree = Binary(Operator.ADD, tree, read(metric))
    return Rule(
        rule_id=name,
        name=name,
        metric_name=metrics[0],
        comparison=Comparison.ABOVE,
        threshold=5,
        expression=tree,
        is_active=active,
    )
