"""From PromQL's nodes to our tree: what an expression means depends on the kind of its metrics."""

from __future__ import annotations

import math
from typing import Final

from atalaia.alerting.expressions import (
    COMPARISONS,
    Absent,
    Apply,
    Binary,
    Expression,
    Function,
    Grouping,
    Matching,
    Number,
    Operator,
    Reduce,
    Reduction,
    reads,
)
from atalaia.alerting.promql import names, reading, syntax
from atalaia.alerting.promql.places import PromqlError
from atalaia.alerting.promql.reading import Refusal
from atalaia.alerting.promql.summing import pooled, unsummable

MAX_TREE: Final = 90
"""Nodes within nodes: a walk over them, and what is put around them, stays within Python's stack."""
_FLIPPED: Final = {
    Operator.ABOVE: Operator.BELOW,
    Operator.BELOW: Operator.ABOVE,
    Operator.AT_LEAST: Operator.AT_MOST,
    Operator.AT_MOST: Operator.AT_LEAST,
}
_PARAMETERS: Final = {Reduction.TOPK, Reduction.BOTTOMK, Reduction.QUANTILE}
_ARGUMENTS: Final = {
    Function.ROUND: (0, 1),
    Function.CLAMP: (2, 2),
    Function.CLAMP_MIN: (1, 1),
    Function.CLAMP_MAX: (1, 1),
}
_FUNCTIONS: Final = frozenset(Function)
_CONSTANTS: Final = {"pi": math.pi}


def parse(expression: str) -> Expression:
    """The tree of a PromQL expression; `PromqlError` says where it goes wrong, why, and what to write instead.

    >>> parse("http_requests_total > 5")
    Traceback (most recent call last):
    ...
    atalaia.alerting.promql.places.PromqlError: 1:1: http_requests counts increments, and an increment has no level; \
write increase(http_requests[5m]) for how much there was, or rate(http_requests[5m]) for how much a second
    """
    try:
        compiled = _compile(syntax.read(expression))
    except Refusal as exc:
        raise PromqlError(exc.reason, expression=expression, offset=exc.at) from exc
    if _depth(compiled) > MAX_TREE:
        raise PromqlError(f"this is a chain of more than {MAX_TREE} operators; split the rule")
    return compiled


def _depth(expression: Expression) -> int:
    match expression:
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            return 1 + _depth(inner)
        case Binary(left=left, right=right):
            return 1 + max(_depth(left), _depth(right))
        case _:
            return 1


def _compile(node: syntax.Node) -> Expression:  # noqa: PLR0911 - one way out for each kind of node
    match node:
        case syntax.Literal(value=str()):
            raise Refusal(node.at, "a text is no value; compare numbers")
        case syntax.Literal(value=value):
            return Number(_finite(float(value), node.at))
        case syntax.Series(length=None):
            return reading.instant(node)
        case syntax.Series():
            raise Refusal(node.at, f"a window is no value: read it, as in increase({node.name[:60]}[5m])")
        case syntax.Negation():
            inner = _compile(node.of)
            if isinstance(inner, Number):
                return Number(-inner.value)
            return Binary(Operator.MULTIPLY, inner, Number(-1.0))
        case syntax.Aggregation():
            return _reduction(node)
        case syntax.Operation():
            return _operation(node)
        case syntax.Call():
            return _call(node)


def _call(node: syntax.Call) -> Expression:  # noqa: PLR0911 - one way out for each kind of function
    name = node.function
    if name in _CONSTANTS:
        return Number(_CONSTANTS[name])
    if name == "vector":
        return Reduce(Reduction.SUM, Number(_number(node.arguments[0], "the argument of vector")))
    if name == "histogram_quantile":
        return reading.histogram_quantile(node, _number(node.arguments[0], "the quantile"))
    if name == "quantile_over_time":
        return reading.quantile_over_time(node, _number(node.arguments[0], "the quantile"))
    if name == "absent_over_time":
        return reading.absent_over_time(node)
    if name == "absent":
        argument = node.arguments[0]
        plain = isinstance(argument, syntax.Series) and argument.length is None
        return reading.absent(argument) if plain and isinstance(argument, syntax.Series) else Absent(_compile(argument))
    if name in reading.RANGED:
        return reading.ranged(node)
    if name in _FUNCTIONS:
        return _application(node, Function(name))
    raise Refusal(node.at, reading.why_not(name))


def _application(node: syntax.Call, function: Function) -> Expression:
    fewest, most = _ARGUMENTS.get(function, (0, 0))
    first, *rest = node.arguments
    if not fewest <= len(rest) <= most:
        raise Refusal(node.at, f"{function} takes {fewest + 1} arguments, and here are {len(node.arguments)}")
    arguments = tuple(_number(argument, f"each further argument of {function}") for argument in rest)
    return Apply(function, _vector(first, str(function)), arguments)


def _reduction(node: syntax.Aggregation) -> Expression:
    try:
        reduction = Reduction(node.operator)
    except ValueError:
        raise Refusal(node.at, reading.why_not(node.operator)) from None
    parameter = None
    if reduction in _PARAMETERS and node.parameter is not None:
        parameter = _number(node.parameter, f"the first argument of {reduction}")
        if reduction is not Reduction.QUANTILE and not (parameter >= 1 and parameter.is_integer()):
            raise Refusal(
                node.parameter.at, f"{reduction} keeps {parameter:g} series; it must be a whole number from 1"
            )
        if reduction is Reduction.QUANTILE and not 0 <= parameter <= 1:
            raise Refusal(node.parameter.at, f"{parameter:g} is no quantile; it must be from 0 to 1")
    inner = _vector(node.of, str(reduction))
    grouping = _grouping(node, inner)
    if reduction is Reduction.SUM and (reason := unsummable(inner)) is not None:
        raise Refusal(node.at, reason)
    return pooled(reduction, inner, grouping) or Reduce(reduction, inner, grouping, parameter)


def _grouping(node: syntax.Aggregation, inner: Expression) -> Grouping:
    metrics = {read.selector.metric_name for read in reads(inner)}
    return Grouping(_labels(node.labels, *metrics), without=bool(node.without))


def _labels(labels: tuple[str, ...], *metrics: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names.label(label, *metrics) for label in labels))


def _operation(node: syntax.Operation) -> Expression:
    try:
        operator = Operator(node.operator)
    except ValueError:
        raise Refusal(node.at, f"{node.operator} is not understood") from None
    left = _compile(node.left)
    right = _compile(node.right)
    if isinstance(left, Number) and isinstance(right, Number):
        return Number(_finite(_folded(operator, left.value, right.value), node.at))
    if isinstance(left, Number) and operator in COMPARISONS:
        left, right, operator = right, left, _FLIPPED.get(operator, operator)
    return Binary(operator, left, right, _matching(node, left, right), node.as_bool)


def _matching(node: syntax.Operation, *sides: Expression) -> Matching:
    metrics = {read.selector.metric_name for side in sides for read in reads(side)}
    return Matching(
        _labels(node.labels, *metrics), on=bool(node.on), group=node.group, include=_labels(node.include, *metrics)
    )


def _folded(operator: Operator, left: float, right: float) -> float:  # noqa: PLR0911 - one way out for each operator
    """What two numbers give; not a number where they give none."""
    try:
        match operator:
            case Operator.ADD:
                return left + right
            case Operator.SUBTRACT:
                return left - right
            case Operator.MULTIPLY:
                return left * right
            case Operator.DIVIDE:
                return left / right
            case Operator.MODULO:
                return math.fmod(left, right)
            case Operator.POWER:
                return math.pow(left, right)
            case _:
                return float(_HOLDS[operator](left, right))
    except (ZeroDivisionError, OverflowError, ValueError):
        return math.nan


_HOLDS: Final = {
    Operator.ABOVE: lambda left, right: left > right,
    Operator.BELOW: lambda left, right: left < right,
    Operator.AT_LEAST: lambda left, right: left >= right,
    Operator.AT_MOST: lambda left, right: left <= right,
    Operator.EQUAL: lambda left, right: left == right,
    Operator.NOT_EQUAL: lambda left, right: left != right,
}


def _finite(value: float, at: int) -> float:
    if not math.isfinite(value):
        raise Refusal(at, "this is not a finite number; write one that is")
    return value


def _number(node: syntax.Node, what: str) -> float:
    """The number that a node is, after its arithmetic."""
    compiled = None if isinstance(node, syntax.Literal) and isinstance(node.value, str) else _compile(node)
    if not isinstance(compiled, Number):
        raise Refusal(node.at, f"{what} must be a number, written out")
    return compiled.value


def _vector(node: syntax.Node, what: str) -> Expression:
    """What a node means, which must not be a plain number."""
    compiled = _compile(node)
    if isinstance(compiled, Number):
        raise Refusal(node.at, f"{what} needs a metric here, and this is a number")
    return compiled
