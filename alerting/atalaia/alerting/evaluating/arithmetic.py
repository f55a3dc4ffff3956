"""Operators and functions on single numbers, as PromQL computes them: IEEE 754, without exceptions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Final

from atalaia.alerting.expressions import Function, Operator, Reduction


def divide(left: float, right: float) -> float:
    """The quotient; by zero it is infinite, or not a number.

    >>> divide(1, 0), divide(-1, 0)
    (inf, -inf)
    """
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def modulo(left: float, right: float) -> float:
    """The remainder, with the sign of the left number.

    >>> modulo(-7, 3)
    -1.0
    """
    try:
        return math.fmod(left, right)
    except ValueError:  # by zero, or of an infinity
        return math.nan


def power(base: float, exponent: float) -> float:
    """The power; what is no real number is NaN, what is too large is infinite.

    >>> power(-8, 0.5), power(10, 400), power(0, -1)
    (nan, inf, inf)
    """
    try:
        return math.pow(base, exponent)
    except ValueError:
        return math.inf if base == 0 else math.nan
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf


ARITHMETIC: Final[dict[Operator, Callable[[float, float], float]]] = {
    Operator.ADD: operator.add,
    Operator.SUBTRACT: operator.sub,
    Operator.MULTIPLY: operator.mul,
    Operator.DIVIDE: divide,
    Operator.MODULO: modulo,
    Operator.POWER: power,
}
COMPARING: Final[dict[Operator, Callable[[float, float], bool]]] = {
    Operator.ABOVE: operator.gt,
    Operator.BELOW: operator.lt,
    Operator.AT_LEAST: operator.ge,
    Operator.AT_MOST: operator.le,
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
}


def apply(function: Function, value: float, arguments: Sequence[float] = ()) -> float:
    """A function of a number.

    >>> apply(Function.ROUND, 7.4, (5,)), apply(Function.LN, 0), apply(Function.CLAMP, 7, (1, 5))
    (5.0, -inf, 5)
    """
    match function:
        case Function.ROUND:
            steps = divide(1.0, arguments[0] if arguments else 1.0)
            return _whole(math.floor, value * steps + 0.5) / steps if math.isfinite(steps) else value
        case Function.CLAMP:
            return value if math.isnan(value) else max(arguments[0], min(arguments[1], value))
        case Function.CLAMP_MIN:
            return value if math.isnan(value) else max(arguments[0], value)
        case Function.CLAMP_MAX:
            return value if math.isnan(value) else min(arguments[0], value)
        case _:
            return _PLAIN[function](value)


def reduce(reduction: Reduction, values: Sequence[float], parameter: float | None) -> float:
    """One number of several; there is at least one. `topk` and `bottomk` choose instead, and are not among them.

    >>> reduce(Reduction.QUANTILE, [1, 2, 3, 4], 0.5), reduce(Reduction.STDDEV, [1, 3], None)
    (2.5, 1.0)
    """
    if reduction is Reduction.QUANTILE:
        return quantile(math.nan if parameter is None else parameter, values)
    return _REDUCING[reduction](values)


def quantile(share: float, values: Sequence[float]) -> float:
    """The value at a share of the way from the least to the greatest, interpolated.

    >>> quantile(0.25, [10, 20]), quantile(2, [1])
    (12.5, inf)
    """
    if not values or math.isnan(share):
        return math.nan
    if not 0 <= share <= 1:
        return -math.inf if share < 0 else math.inf
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value))
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    weight = rank - low
    return ordered[low] * (1 - weight) + ordered[high] * weight


def _whole(rounding: Callable[[float], int], value: float) -> float:
    return float(rounding(value)) if math.isfinite(value) else value


def _logarithm(log: Callable[[float], float]) -> Callable[[float], float]:
    def of(value: float) -> float:
        if value > 0:
            return log(value)
        return -math.inf if value == 0 else math.nan

    return of


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _sign(value: float) -> float:
    return value if value == 0 or math.isnan(value) else math.copysign(1.0, value)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) * (value - mean) for value in values) / len(values)


def _but_nan(choose: Callable[[Sequence[float]], float]) -> Callable[[Sequence[float]], float]:
    def of(values: Sequence[float]) -> float:
        chosen = choose(values)
        if not math.isnan(sum(values)):
            return chosen
        numbers = [value for value in values if not math.isnan(value)]
        return choose(numbers) if numbers else math.nan

    return of


_PLAIN: Final[dict[Function, Callable[[float], float]]] = {
    Function.ABS: abs,
    Function.CEIL: lambda value: _whole(math.ceil, value),
    Function.FLOOR: lambda value: _whole(math.floor, value),
    Function.SQRT: lambda value: math.sqrt(value) if value >= 0 else math.nan,
    Function.EXP: _exp,
    Function.LN: _logarithm(math.log),
    Function.LOG2: _logarithm(math.log2),
    Function.LOG10: _logarithm(math.log10),
    Function.SGN: _sign,
}
_REDUCING: Final[dict[Reduction, Callable[[Sequence[float]], float]]] = {
    Reduction.SUM: sum,
    Reduction.AVG: lambda values: sum(values) / len(values),
    Reduction.MIN: _but_nan(min),
    Reduction.MAX: _but_nan(max),
    Reduction.COUNT: lambda values: float(len(values)),
    Reduction.GROUP: lambda _: 1.0,
    Reduction.STDDEV: lambda values: math.sqrt(_variance(values)) if math.isfinite(_variance(values)) else math.nan,
    Reduction.STDVAR: _variance,
}
