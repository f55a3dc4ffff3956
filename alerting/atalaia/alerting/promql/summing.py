"""What may be summed over series, and what is read exactly by pooling the series' events instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from atalaia.alerting.aggregates import PERCENTILES, Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    COMPARISONS,
    Absent,
    Apply,
    Binary,
    Expression,
    Grouping,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
)
from atalaia.schemas.catalogue import Kind, metric

_POOLED: Final = {
    Reduction.SUM: frozenset({Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE}),
    Reduction.MIN: frozenset({Aggregate.MIN}),
    Reduction.MAX: frozenset({Aggregate.MAX}),
}


def pooled(reduction: Reduction, inner: Expression, grouping: Grouping) -> Expression | None:
    """The reading of each group's pooled events that gives the same as reducing the series' numbers; None if none does.

    A sum of sums is the sum of all; so it is of counts, and the least of minima is the least of all.
    """
    match inner:
        case Read(grouping=None, aggregate=aggregate) if _pools(reduction, aggregate):
            return replace(inner, grouping=grouping)
        case Binary(Operator.DIVIDE, Read() as read, Number() as number) if reduction is Reduction.SUM:
            within = pooled(reduction, read, grouping)
            return replace(inner, left=within, right=number) if within is not None else None
    return None


def _pools(reduction: Reduction, aggregate: Aggregate | Quantile | CountWithin) -> bool:
    if isinstance(aggregate, CountWithin):
        return reduction is Reduction.SUM
    return aggregate in _POOLED.get(reduction, frozenset())


def sums_of_nothing(expression: Expression) -> Iterator[str]:
    """Why each sum in an expression means nothing, of those that do."""
    match expression:
        case Reduce(reduction=reduction, of=inner):
            if reduction is Reduction.SUM and (reason := unsummable(inner)) is not None:
                yield reason
            yield from sums_of_nothing(inner)
        case Apply(of=inner) | Absent(of=inner):
            yield from sums_of_nothing(inner)
        case Binary(left=left, right=right):
            yield from sums_of_nothing(left)
            yield from sums_of_nothing(right)
        case _:
            return


def unsummable(expression: Expression) -> str | None:
    """Why numbers like these must not be added up over series; None if they may.

    >>> unsummable(Number(1)) is None
    True
    """
    what = _nature(expression)
    if what is None:
        return None
    return f"a sum of {what} means nothing: {_INSTEAD[what]}"


_INSTEAD: Final = {
    "averages": "each weighs another number of events; add up the sums and divide by the sum of the counts, "
    "or take the avg, min or max",
    "ratios": "each has another denominator; divide the sum of the numerators by the sum of the denominators, "
    "or take the min or max",
    "percentiles": "percentiles don't add up; read that of all events together, as in "
    "histogram_quantile(0.95, sum by (le) (rate(metric_bucket[5m])))",
}


def _nature(expression: Expression) -> str | None:  # noqa: C901, PLR0911 - one way out for each kind of node
    """What the numbers of an expression are, if that keeps them from being added up."""
    match expression:
        case Read(aggregate=Aggregate.AVG):
            return "averages"
        case Read(aggregate=Aggregate.COUNT) | Read(aggregate=Aggregate.RATE) | Read(aggregate=CountWithin()):
            return None
        case Read(aggregate=aggregate) if isinstance(aggregate, Quantile) or aggregate in PERCENTILES:
            return "percentiles"
        case Read(selector=selector):
            entry = metric(selector.metric_name)
            return "ratios" if entry.known and entry.kind is Kind.RATIO else None
        case Reduce(reduction=Reduction.AVG):
            return "averages"
        case Reduce(reduction=Reduction.QUANTILE):
            return "percentiles"
        case Reduce(reduction=Reduction.COUNT | Reduction.GROUP | Reduction.STDDEV | Reduction.STDVAR):
            return None
        case Reduce(of=inner) | Apply(of=inner):
            return _nature(inner)
        case Binary():
            return _nature_of_binary(expression)
        case Absent() | Number():
            return None


def _nature_of_binary(expression: Binary) -> str | None:
    left, right = _nature(expression.left), _nature(expression.right)
    constant = isinstance(expression.left, Number) or isinstance(expression.right, Number)
    match expression.operator:
        case Operator.DIVIDE | Operator.MODULO if not isinstance(expression.right, Number):
            return "ratios"
        case Operator.MULTIPLY | Operator.POWER:
            return (left or right) if constant else None
        case operator if operator in COMPARISONS:
            return None if expression.as_bool else left
        case Operator.AND | Operator.UNLESS:
            return left
        case _:
            return left or right
