"""The numbers of an expression at one instant: a pure function of the tree and of what a source reads.

Vectors, matching, aggregation and comparisons are PromQL's; what a leaf reads is this project's own (`readings`). Three
things differ from Prometheus, because events are not scrapes:

- The sum, count or rate of a series that is known but silent is 0, as a counter's that stands still; within `absent`
  it is nothing, so that `absent(increase(m[5m]))` means silence.
- Units and frequencies describe a metric more than they tell its series apart: where the two sides of an operator read
  different metrics, series match without them (unless `on` names them).
- A division whose denominator is nearer to zero than its minimum has no value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.evaluating import arithmetic, matching
from atalaia.alerting.evaluating.matching import EvaluationError, Sample
from atalaia.alerting.evaluating.readings import Source, accumulates, number_of
from atalaia.alerting.expressions import (
    COMPARISONS,
    LOOK_BACK,
    SETS,
    Absent,
    Apply,
    Binary,
    Expression,
    Function,
    Labels,
    Number,
    Read,
    Reduce,
    Reduction,
    Rolling,
)

__all__ = ["EvaluationError", "Sample", "evaluate"]


_LATEST: Final = Rolling(LOOK_BACK)


class _Context(NamedTuple):
    source: Source
    at_ms: int
    known: dict[Expression, list[Sample]]
    silence_is_zero: bool = True


def evaluate(expression: Expression, source: Source, at_ms: int) -> list[Sample]:
    """Every label set that the expression has a value for, each once; `EvaluationError` where it cannot be computed.

    A constant is one sample without labels.

    >>> from atalaia.alerting.expressions import Operator
    >>> evaluate(Binary(Operator.ADD, Number(1), Number(2)), source=None, at_ms=0)[0].value  # reads nothing
    3
    """
    scalar = _scalar(expression)
    if scalar is not None:
        return [Sample((), scalar)]
    return _vector(expression, _Context(source, at_ms, {}))


def _vector(expression: Expression, context: _Context) -> list[Sample]:
    """The samples of a part; equal parts of an expression are computed once. Nobody changes the list."""
    found = context.known.get(expression)
    if found is None:
        found = context.known[expression] = _computed(expression, context)
    return found


def _computed(expression: Expression, context: _Context) -> list[Sample]:
    match expression:
        case Read():
            return _read(expression, context)
        case Reduce():
            return _reduce(expression, _vector(expression.of, context))
        case Apply():
            return _apply(expression, _vector(expression.of, context))
        case Binary():
            return _binary(expression, context)
        case Absent():
            return _absent(expression, context)
        case Number():
            return [Sample((), expression.value)]
        case _:
            assert_never(expression)


def _read(read: Read, context: _Context) -> list[Sample]:
    number, found = number_of(read), []
    zero = context.silence_is_zero and accumulates(read)
    latest = read.aggregate is Aggregate.LAST and read.span == _LATEST
    for labels, (stats, window, since_ms, ended) in context.source.read(read, context.at_ms):
        whole = since_ms < window[0]
        if ended and (latest or stats is None):
            continue
        if stats is not None and stats.count:
            value = number(stats)
            if value is not None:
                found.append(Sample(labels, value, stats.count, stats.completeness, window, None, None, whole))
        elif zero and since_ms < window[1]:  # before it was first seen, it was not silent
            completeness = 1.0 if stats is None else stats.completeness
            found.append(Sample(labels, 0.0, 0, completeness, window, None, None, whole))
    return found


def _apply(node: Apply, inner: list[Sample]) -> list[Sample]:
    function, arguments = node.function, node.arguments
    if function is Function.CLAMP and arguments[0] > arguments[1]:
        return []
    return [sample._replace(value=arithmetic.apply(function, sample.value, arguments)) for sample in inner]


def _reduce(node: Reduce, inner: list[Sample]) -> list[Sample]:
    groups: dict[Labels, list[Sample]] = {}
    for sample in inner:
        groups.setdefault(node.grouping.of(dict(sample.labels)), []).append(sample)
    if node.reduction in (Reduction.TOPK, Reduction.BOTTOMK):
        return [sample for group in groups.values() for sample in _chosen(node, group)]
    return [
        _together(group)._replace(
            labels=labels,
            value=float(arithmetic.reduce(node.reduction, [sample.value for sample in group], node.parameter)),
        )
        for labels, group in groups.items()
    ]


def _chosen(node: Reduce, group: Sequence[Sample]) -> list[Sample]:
    """The greatest or least few, NaN after all numbers; of equals, those that come first by label."""
    parameter = node.parameter or 0.0
    few = int(parameter) if math.isfinite(parameter) else 0
    if few < 1:
        return []
    sign = -1 if node.reduction is Reduction.TOPK else 1
    return sorted(
        group,
        key=lambda sample: (
            math.isnan(sample.value),
            0.0 if math.isnan(sample.value) else sign * sample.value,
            sample.labels,
        ),
    )[:few]


def _together(group: Sequence[Sample]) -> Sample:
    """What is said of several samples at once, but for labels and value."""
    if len(group) == 1:
        return group[0]
    return Sample(
        labels=(),
        value=math.nan,
        events=sum([sample.events for sample in group]),
        completeness=min([sample.completeness for sample in group]),
        window=matching.union([sample.window for sample in group]),
        whole=all([sample.whole for sample in group]),  # noqa: C419 - twice as fast as a generator
    )


def _absent(node: Absent, context: _Context) -> list[Sample]:
    if _vector(node.of, context._replace(known={}, silence_is_zero=False)):
        return []
    return [Sample(node.labels, 1.0)]


def _binary(node: Binary, context: _Context) -> list[Sample]:
    left, right = _scalar(node.left), _scalar(node.right)
    if left is not None and right is not None:
        return [Sample((), _of_scalars(node, left, right))]
    if left is None and right is None:
        ours, theirs = _vector(node.left, context), _vector(node.right, context)
        return matching.combine(node, ours, theirs)
    if node.operator in SETS:
        raise EvaluationError(f"{node.operator} needs a vector on both sides")
    if right is not None:
        return _with_scalar(node, _vector(node.left, context), right, swapped=False)
    assert left is not None
    return _with_scalar(node, _vector(node.right, context), left, swapped=True)


def _with_scalar(node: Binary, vector: list[Sample], scalar: float, *, swapped: bool) -> list[Sample]:
    if node.operator in COMPARISONS:
        holds = arithmetic.COMPARING[node.operator]
        if swapped:
            judged = [(sample, holds(scalar, sample.value)) for sample in vector]
        else:
            judged = [(sample, holds(sample.value, scalar)) for sample in vector]
        if node.as_bool:
            return [sample._replace(value=float(held)) for sample, held in judged]
        return [sample for sample, held in judged if held]
    compute = arithmetic.ARITHMETIC[node.operator]
    if not swapped:
        if matching.too_small(node, scalar):
            return []
        return [sample._replace(value=compute(sample.value, scalar)) for sample in vector]
    return [
        sample._replace(value=compute(scalar, sample.value))
        for sample in vector
        if not matching.too_small(node, sample.value)
    ]


def _scalar(expression: Expression) -> float | None:
    """The value of an expression without vectors."""
    match expression:
        case Number(value=value):
            return value
        case Binary(left=left, right=right) if expression.operator not in SETS:
            ours, theirs = _scalar(left), _scalar(right)
            return None if ours is None or theirs is None else _of_scalars(expression, ours, theirs)
        case _:
            return None


def _of_scalars(node: Binary, left: float, right: float) -> float:
    if node.operator in COMPARISONS:
        return float(arithmetic.COMPARING[node.operator](left, right))
    return arithmetic.ARITHMETIC[node.operator](left, right)
