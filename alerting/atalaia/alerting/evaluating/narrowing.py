"""An expression over fewer series."""

from __future__ import annotations

from dataclasses import replace

from atalaia.alerting.expressions import (
    Absent,
    Apply,
    Binary,
    Expression,
    Matcher,
    Number,
    Read,
    Reduce,
    Selector,
)


def narrowed(expression: Expression, matcher: Matcher) -> Expression:
    """The same of only those series that meet one more condition.

    >>> from atalaia.alerting.expressions import MatchOperator
    >>> from atalaia.alerting.promql import parse, text
    >>> text(narrowed(parse("sum(increase(http_requests[5m])) > 5"), Matcher("region", MatchOperator.EQUAL, "BR")))
    'sum(increase(http_requests{region="BR"}[5m])) > 5'
    """
    match expression:
        case Read(selector=selector):
            if matcher in selector.matchers:
                return expression
            return replace(expression, selector=Selector(selector.metric_name, (*selector.matchers, matcher)))
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            return replace(expression, of=narrowed(inner, matcher))
        case Binary(left=left, right=right):
            return replace(expression, left=narrowed(left, matcher), right=narrowed(right, matcher))
        case Number():
            return expression
