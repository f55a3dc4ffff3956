"""What is legal in an expression and yet, most likely, not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import (
    COMPARISONS,
    SETS,
    Absent,
    Apply,
    Binary,
    Expression,
    Grouping,
    Matching,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
    reads,
)

_CHOOSING: Final = frozenset({Reduction.TOPK, Reduction.BOTTOMK})


def doubts(expression: Expression, comparison: Comparison | None) -> Iterator[str]:
    """Doubts about an expression, as phrases about it."""
    if comparison is None and not _filters(expression):
        yield "has a value whenever there are events, so that it always fires; compare it with a number"
    if isinstance(expression, Binary) and expression.as_bool and comparison is None:
        yield "compares with bool, which gives 0 or 1 and so always fires; leave out bool"
    for node in _nodes(expression):
        if isinstance(node, Reduce) and node.reduction is Reduction.AVG and _averages(node.of):
            yield "takes the average of averages, which weighs each series alike however few its events"
        if isinstance(node, Binary) and (why := _unmatched(node)) is not None:
            yield why


def groupings(expression: Expression) -> Iterator[tuple[Grouping, frozenset[str]]]:
    """Every grouping, with the metrics that it groups."""
    for node in _nodes(expression):
        if isinstance(node, Reduce | Read) and node.grouping is not None:
            yield node.grouping, frozenset(leaf.selector.metric_name for leaf in reads(node))


def _filters(expression: Expression) -> bool:
    """Whether an expression may be without a value though there are events."""
    match expression:
        case Absent():
            return True
        case Binary(operator=operator) if operator in COMPARISONS:
            return not expression.as_bool
        case Binary(Operator.AND | Operator.UNLESS):
            return True
        case Binary(left=left, right=right):
            return _filters(left) or _filters(right)
        case Reduce(of=inner) | Apply(of=inner):
            return _filters(inner)
        case _:
            return False


def _averages(expression: Expression) -> bool:
    return isinstance(expression, Read) and expression.aggregate is Aggregate.AVG


def _unmatched(node: Binary) -> str | None:
    """Why the two sides of an operator never meet: each has labels that the other lacks."""
    if node.operator is Operator.OR or node.matching != Matching():
        return None
    left, right = _labels(node.left), _labels(node.right)
    if left is None or right is None or left == right:
        return None
    said = f"never has a value: {node.operator} finds ({', '.join(left)}) on the left and ({', '.join(right)})"
    return f"{said} on the right, which are never equal; group both alike, or use on and group_left"


def _labels(expression: Expression) -> tuple[str, ...] | None:
    """The labels of an expression's values, where it groups by them; None where nobody knows."""
    match expression:
        case Read(grouping=Grouping(labels, without=False)):
            return tuple(sorted(labels))
        case Reduce(reduction=reduction, grouping=Grouping(labels, without=False)) if reduction not in _CHOOSING:
            return tuple(sorted(labels))
        case Reduce(of=inner) | Apply(of=inner):
            return _labels(inner) if not isinstance(expression, Reduce) else None
        case Binary(left=left, right=right) if expression.matching == Matching():
            return _labels(right if isinstance(left, Number) else left) if expression.operator not in SETS else None
        case _:
            return None


def _nodes(expression: Expression) -> Iterator[Expression]:
    yield expression
    match expression:
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            yield from _nodes(inner)
        case Binary(left=left, right=right):
            yield from _nodes(left)
            yield from _nodes(right)
        case _:
            return
