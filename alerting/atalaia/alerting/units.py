"""The unit of what an expression computes."""

from __future__ import annotations

from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import (
    COMPARISONS,
    Absent,
    Apply,
    Binary,
    Expression,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
    Selector,
)
from atalaia.alerting.sense import rates_count_events
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import DEFAULT_UNIT

_UNITLESS = frozenset({Reduction.COUNT, Reduction.GROUP, Reduction.STDVAR})
_KEEPING = frozenset({Operator.ADD, Operator.SUBTRACT, Operator.AND, Operator.OR, Operator.UNLESS, Operator.MODULO})


def unit_of_expression(expression: Expression) -> str:  # noqa: PLR0911 - one way out for each kind of node
    """The unit of an expression's value; 1 where it has none, or is scaled by a number that nobody named.

    >>> from atalaia.alerting.promql import parse
    >>> unit_of_expression(parse("max by (region) (cpu_usage)")), unit_of_expression(parse("cpu_usage / memory_usage"))
    ('%', '1')
    """
    match expression:
        case Read(aggregate=Aggregate.COUNT) | Read(aggregate=CountWithin()):
            return DEFAULT_UNIT
        case Read(aggregate=Aggregate.RATE, selector=Selector(name)):
            return "1/s" if rates_count_events(name) else f"{_unit(expression)}/s"
        case Read():
            return _unit(expression)
        case Reduce(reduction=reduction, of=inner):
            return DEFAULT_UNIT if reduction in _UNITLESS else unit_of_expression(inner)
        case Apply(of=inner):
            return unit_of_expression(inner)
        case Binary(operator, left, right) if operator in _KEEPING:
            return unit_of_expression(right if isinstance(left, Number) else left)
        case Binary(operator, left) if operator in COMPARISONS and not expression.as_bool:
            return unit_of_expression(left)
        case Absent() | Number() | Binary():
            return DEFAULT_UNIT


def _unit(read: Read) -> str:
    """The unit that the selector asks for, else the catalogue's."""
    asked = [matcher.value for matcher in read.selector.matchers if matcher.label == "unit" and matcher.value]
    return asked[0] if asked else metric(read.selector.metric_name).unit
