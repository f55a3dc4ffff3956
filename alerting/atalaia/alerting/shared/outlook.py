"""What can be said of an expression without its numbers: what more events do to it, and what data it is about."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.evaluating.readings import accumulates
from atalaia.alerting.expressions import (
    COMPARISONS,
    Absent,
    Apply,
    Binary,
    Expression,
    Function,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
    reads,
)
from atalaia.alerting.sense import rates_count_events


class Wish(IntEnum):
    """Which numbers help a condition to hold."""

    LOW = -1
    EITHER = 0
    HIGH = 1


_WISHES = {
    Operator.ABOVE: Wish.HIGH,
    Operator.AT_LEAST: Wish.HIGH,
    Operator.BELOW: Wish.LOW,
    Operator.AT_MOST: Wish.LOW,
    Operator.EQUAL: Wish.EITHER,
    Operator.NOT_EQUAL: Wish.EITHER,
}
_WAVERING = frozenset({Reduction.STDDEV, Reduction.STDVAR})


def must_settle(expression: Expression, comparison: Comparison | None = None) -> bool:
    """Whether the condition may hold just because a step is not over yet, and is judged over whole steps therefore.

    So it is where a sum, count or rate may be too low. Both sides of a ratio over the same window are equally
    unfinished, which changes nothing.

    >>> from datetime import timedelta
    >>> from atalaia.alerting.aggregates import Aggregate
    >>> from atalaia.alerting.expressions import Rolling, Selector
    >>> sold = Read(Selector("order_value"), Aggregate.SUM, Rolling(timedelta(hours=1)))
    >>> must_settle(sold, Comparison.BELOW), must_settle(sold, Comparison.ABOVE)
    (True, False)
    """
    wish = Wish.HIGH if comparison is None else _WISHES[Operator(comparison.value)]
    return _may_be_low(expression, wish)


def only_grows(expression: Expression, comparison: Comparison | None) -> bool:
    """Whether the condition, once it holds, cannot be undone by further events of its window: a count over its limit.

    A sum is not among them: what is missing of it may be negative.

    >>> from datetime import timedelta
    >>> from atalaia.alerting.aggregates import Aggregate
    >>> from atalaia.alerting.expressions import Rolling, Selector
    >>> seen = Read(Selector("order_value"), Aggregate.COUNT, Rolling(timedelta(hours=1)))
    >>> only_grows(seen, Comparison.ABOVE), only_grows(seen, Comparison.BELOW)
    (True, False)
    """
    return comparison in (Comparison.ABOVE, Comparison.AT_LEAST) and _counts(expression)


def observed(expression: Expression) -> Expression:
    """The same expression with its filters open: it has a value wherever there is data to decide by.

    An alert whose labels it has, but the expression itself has not, has ceased to hold; one whose labels neither has is
    without data. `absent` always has a value.
    """
    match expression:
        case Binary(operator=Operator.UNLESS, left=left):
            return observed(left)
        case Binary(left=left, right=right):
            opened = expression.as_bool or expression.operator in COMPARISONS
            return replace(expression, left=observed(left), right=observed(right), as_bool=opened)
        case Reduce(reduction=Reduction.TOPK | Reduction.BOTTOMK, of=inner):
            return observed(inner)
        case Reduce(of=inner) | Apply(of=inner):
            return replace(expression, of=observed(inner))
        case Absent(of=inner, labels=labels):
            return Absent(Binary(Operator.UNLESS, inner, inner), labels)
        case _:
            return expression


def _may_be_low(expression: Expression, wish: Wish) -> bool:
    """Whether an accumulating leaf that is too low may make the condition hold."""
    match expression:
        case Read():
            return accumulates(expression) and wish is not Wish.HIGH
        case Binary():
            return _pair_may_be_low(expression, wish)
        case Reduce(reduction=reduction, of=inner):
            return _may_be_low(inner, Wish.EITHER if reduction in _WAVERING else wish)
        case Apply(function=function, of=inner):
            return _may_be_low(inner, Wish.EITHER if function is Function.ABS else wish)
        case _:  # absence is of everything, so far; a number is no event
            return False


def _pair_may_be_low(node: Binary, wish: Wish) -> bool:
    if node.operator is Operator.DIVIDE and _same_windows(node.left, node.right):
        return False
    left, right = _wishes(node, wish)
    return _may_be_low(node.left, left) or _may_be_low(node.right, right)


def _wishes(node: Binary, wish: Wish) -> tuple[Wish, Wish]:
    """Which numbers on either side help, where those of the whole are known."""
    operator = node.operator
    if operator in COMPARISONS:
        left = Wish(_WISHES[operator] * wish)
        return left, Wish(-left)
    if operator in (Operator.ADD, Operator.AND, Operator.OR):
        return wish, wish
    if operator in (Operator.SUBTRACT, Operator.UNLESS):
        return wish, Wish(-wish)
    if operator in (Operator.MULTIPLY, Operator.DIVIDE):
        left = Wish(-wish) if _negative(node.right) else wish
        right = Wish(-wish) if _negative(node.left) else wish
        return left, right if operator is Operator.MULTIPLY else Wish(-right)
    return Wish.EITHER, Wish.EITHER


def _counts(expression: Expression) -> bool:
    """Whether further events only add to the number."""
    match expression:
        case Read(aggregate=Aggregate.RATE):
            return rates_count_events(expression.selector.metric_name)
        case Read(aggregate=aggregate):
            return aggregate is Aggregate.COUNT or isinstance(aggregate, CountWithin)
        case Reduce(reduction=Reduction.SUM | Reduction.MAX, of=inner):
            return _counts(inner)
        case Binary(operator=Operator.ADD, left=left, right=right):
            return all(isinstance(side, Number) or _counts(side) for side in (left, right))
        case Binary(operator=Operator.MULTIPLY | Operator.DIVIDE, left=left, right=Number(value=value)):
            return value > 0 and _counts(left)
        case _:
            return False


def _negative(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.value < 0


def _same_windows(left: Expression, right: Expression) -> bool:
    """Whether a division is of amounts of the same time."""
    windows = [{(leaf.span, leaf.offset) for leaf in reads(side) if accumulates(leaf)} for side in (left, right)]
    return bool(windows[0]) and windows[0] == windows[1]
