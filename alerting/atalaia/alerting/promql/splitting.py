"""An alert's expression as a number and its limit, so that the limit can be shown, recovered from and swept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import COMPARISONS, Binary, Expression, Matching, MatchOperator, Number, Read, Rolling

_PLAIN: Final = Matching()


def split(expression: Expression) -> tuple[Expression, Comparison | None, float | None]:
    """The value, and how it is compared with which number; no comparison: it holds wherever it has a value.

    >>> from atalaia.alerting.promql.compiling import parse
    >>> split(parse("90 < cpu_usage"))[1:]
    (<Comparison.ABOVE: '>'>, 90.0)
    """
    match expression:
        case Binary(operator, left, Number(threshold), matching, as_bool=False) if (
            operator in COMPARISONS and matching == _PLAIN and not isinstance(left, Number)
        ):
            return left, Comparison(operator.value), threshold
    return expression, None, None


@dataclass(frozen=True, slots=True)
class Local:
    """A value that each series has by itself: what a rule says without an expression."""

    metric_name: str
    matchers: tuple[tuple[str, str], ...]
    aggregate: Aggregate
    window: Rolling


def local_read(value: Expression) -> Local | None:
    """The local form of a value; None where it spans series, reads the past, or selects by more than equality."""
    match value:
        case Read(selector=selector, aggregate=Aggregate() as aggregate, span=Rolling() as span, grouping=None) if (
            not value.offset
            and all(matcher.operator is MatchOperator.EQUAL for matcher in selector.matchers)
            and len({matcher.label for matcher in selector.matchers}) == len(selector.matchers)
        ):
            matchers = tuple(sorted((matcher.label, matcher.value) for matcher in selector.matchers))
            return Local(selector.metric_name, matchers, aggregate, span)
    return None
