"""Indicators that other systems write as PromQL queries: the events that they count."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from atalaia.alerting import promql
from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import Binary, Expression, Grouping, Number, Operator, Read, Reduce, Rolling, Span
from atalaia.alerting.promql.syntax import Aggregation, Series
from atalaia.alerting.promql.syntax import read as nodes
from atalaia.alerting.sense import rates_count_events
from atalaia.alerting.slo.objectives import Events, Sli
from atalaia.alerting.slo.selectors import series_text

WINDOW: Final = re.compile(r"\{\{\s*\.window\s*\}\}|\$\{window\}|\$window\b")
"""What stands for the window: Sloth's templates, and the variable that OpenSLO's users write."""
_ANY: Final = "5m"
_NO_COUNT: Final = "counts no events: write sum(rate(metric{…}[window])), or increase or count_over_time"


class UncountableError(ValueError):
    """A query that counts no events here. Line and column count from 1 within it."""

    def __init__(self, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Indicator:
    """An indicator, and the labels by which its queries group."""

    sli: Sli
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """Events that a query counts: `events`, or, where `without` is set, those of them that are not among these."""

    events: Events
    grouping: Grouping
    window: Span
    per_second: bool
    without: Events | None = None


def of_events(part: str, total: str, *, part_is_good: bool) -> Indicator:
    """The indicator of two queries; for faults of the first alone, or the second, call `check` before.

    >>> found = of_events('sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))',
    ...                   'sum(rate(http_requests_total[{{.window}}]))', part_is_good=False)
    >>> found.sli.total.aggregate
    <Aggregate.SUM: 'sum'>
    """
    return _indicator(_counted(_tree(part)), _counted(_tree(total)), part_is_good=part_is_good)


def of_ratio(query: str, *, part_is_good: bool = False) -> Indicator:
    """The indicator of a query that divides one count by another; `1 - good / total` is one of bad events."""
    match _tree(query):
        case Binary(Operator.SUBTRACT, Number(1.0), Binary(Operator.DIVIDE, part, total)):
            return _indicator(_counted(part), _counted(total), part_is_good=not part_is_good)
        case Binary(Operator.DIVIDE, part, total):
            return _indicator(_counted(part), _counted(total), part_is_good=part_is_good)
    raise UncountableError("is no ratio of two counts: write bad / total, or 1 - good / total")


def check(query: str) -> None:
    """Returns where a query counts events; else `UncountableError`."""
    _counted(_tree(query))


def _indicator(part: _Counted, total: _Counted, *, part_is_good: bool) -> Indicator:
    if total.without is not None:
        raise UncountableError("is a difference; the total must be one count")
    if part.grouping != total.grouping:
        raise UncountableError("groups by other labels than the total does; group both alike")
    if part.window != total.window:
        raise UncountableError("reads another window than the total does; write the same in both")
    if part.per_second != total.per_second:
        raise UncountableError("is a rate and the total is none, or the other way round; write rate in both")
    labels = total.grouping.labels
    if part.without is None:
        return Indicator(Sli(total.events, part.events, part_is_good=part_is_good), labels)
    if part.events != total.events:
        raise UncountableError("is a difference, but not from the total; write total - good, or the bad ones alone")
    return Indicator(Sli(total.events, part.without, part_is_good=not part_is_good), labels)


def _tree(query: str) -> Expression:
    # As long as what it replaces, so that places stay what they are.
    text = WINDOW.sub(lambda found: _ANY.ljust(len(found[0])), query)
    try:
        return promql.parse(_with_window(text))
    except promql.PromqlError as exc:
        raise UncountableError(exc.reason, exc.line, exc.column) from exc


def _with_window(text: str) -> str:
    """A query like `sum(requests{…})`, as OpenSLO's examples have it, with the window that is left to the reader."""
    node = nodes(text)
    if isinstance(node, Aggregation) and node.operator == "sum" and isinstance(node.of, Series):
        series = node.of
        if series.length is None and not series.offset and node.without is not True:
            by = f" by ({', '.join(node.labels)})" if node.labels else ""
            return f"sum{by}(increase({series_text(series)}[{_ANY}]))"
    return text


def _counted(tree: Expression) -> _Counted:
    match tree:
        case Binary(
            Operator.OR, counted, Number(0.0) | Reduce(of=Number(0.0))
        ):  # `or vector(0)`: no events are none of them
            return _counted(counted)
        case Binary(Operator.SUBTRACT, left, right):
            minuend, subtrahend = _counted(left), _counted(right)
            if subtrahend.without is None and replace(minuend, events=subtrahend.events) == subtrahend:
                return replace(minuend, without=subtrahend.events)
            raise UncountableError("is a difference of more than two counts, or of counts grouped differently")
        case Binary(Operator.DIVIDE, Read() as read, Number(value)) if read.span == Rolling(timedelta(seconds=value)):
            return replace(_read(read), per_second=True)
        case Read(span=Rolling(), offset=offset) if not offset:
            return _read(tree)
        case Read():
            raise UncountableError("looks back at an earlier window; leave out the offset")
    raise UncountableError(_NO_COUNT)


def _read(tree: Read) -> _Counted:
    if tree.grouping is None:
        raise UncountableError("is a number for each series; write sum(…) around it")
    if tree.grouping.without:
        raise UncountableError("groups by all labels but some; write by (…) with the labels that count")
    return _Counted(Events(tree.selector, _aggregate(tree)), tree.grouping, tree.span, tree.aggregate is Aggregate.RATE)


def _aggregate(tree: Read) -> Aggregate | CountWithin:
    match tree.aggregate:
        case Aggregate.SUM | Aggregate.COUNT | CountWithin():
            return tree.aggregate
        case Aggregate.RATE:
            return Aggregate.COUNT if rates_count_events(tree.selector.metric_name) else Aggregate.SUM
    raise UncountableError(_NO_COUNT)
