"""What reads events: selectors, and the functions of windows. Each means what the metric's kind makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from atalaia.alerting import sense
from atalaia.alerting.aggregates import PERCENTILES, Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    LOOK_BACK,
    Absent,
    Apply,
    Binary,
    Expression,
    Function,
    Grouping,
    Matcher,
    MatchOperator,
    Number,
    Operator,
    Read,
    Rolling,
    Selector,
)
from atalaia.alerting.promql import names, syntax
from atalaia.alerting.promql.names import Component
from atalaia.schemas.catalogue import Kind

_QUANTILES: Final = {share: aggregate for aggregate, share in PERCENTILES.items()}
_LEVELS: Final = frozenset({Kind.GAUGE, Kind.RATIO})
_RATES: Final = frozenset({"rate", "increase"})
_SIMPLE: Final = {
    "sum_over_time": Aggregate.SUM,
    "count_over_time": Aggregate.COUNT,
    "avg_over_time": Aggregate.AVG,
    "min_over_time": Aggregate.MIN,
    "max_over_time": Aggregate.MAX,
    "last_over_time": Aggregate.LAST,
    "first_over_time": Aggregate.FIRST,
}
RANGED: Final = frozenset({*_SIMPLE, *_RATES, "present_over_time"})
_INSTEAD: Final = {
    "irate": "write rate: a rate here is exact, over whatever window",
    "delta": "write metric - metric offset 5m for how much a level changed",
    "idelta": "write metric - metric offset 5m for how much a level changed",
    "deriv": "write (metric - metric offset 5m) / 300 for how fast a level changes",
    "predict_linear": "compare metric + (metric - metric offset 1h) with the limit",
    "changes": "emit an event for each change, and count those",
    "resets": "events are increments here, which never reset",
    "scalar": "compare series with `on ()` instead",
    "time": "a rule is judged by event time; for silence use absent_over_time, or absent_for",
    "timestamp": "for silence use absent_over_time, or absent_for",
    "hour": "for times of day give the notification route a time interval",
    "day_of_week": "for days of the week give the notification route a time interval",
    "label_replace": "group by the labels that are there",
    "label_join": "group by the labels that are there",
    "sort": "alerts have no order; leave it out",
    "sort_desc": "alerts have no order; leave it out",
    "count_values": "count the series above a number: count(metric > 5)",
    "stddev_over_time": "compare quantile_over_time(0.95, …) with quantile_over_time(0.5, …)",
    "stdvar_over_time": "compare quantile_over_time(0.95, …) with quantile_over_time(0.5, …)",
    "histogram_avg": "write avg_over_time(metric[5m])",
    "histogram_count": "write count_over_time(metric[5m])",
    "histogram_fraction": "divide increase(metric_bucket{le='…'}[5m]) by increase(metric_count[5m])",
}


class Refusal(Exception):  # noqa: N818 - a verdict on the input, raised deep and told at the edge with its place
    """What at this place of the expression is not understood, and what to write instead."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


def why_not(function: str) -> str:
    """Why a function of PromQL is not understood."""
    hint = _INSTEAD.get(function, "docs/promql.md lists what there is")
    return f"{function} is not understood; {hint}"


def instant(node: syntax.Series) -> Expression:
    """The latest value within the look-back: only levels and ratios have one."""
    found = names.component(node.name)
    entry = found.metric
    if found.part is not None:
        raise Refusal(node.at, f"{node.name} has no value by itself; read a window, as in increase({node.name}[5m])")
    if entry.known and entry.kind not in _LEVELS:
        raise Refusal(node.at, _NO_LEVEL[entry.kind].format(m=entry.name))
    return _read(node, entry.name, Aggregate.LAST, LOOK_BACK)


_NO_LEVEL: Final = {
    Kind.ADDITIVE: "{m} counts increments, and an increment has no level; write increase({m}[5m]) for how much there "
    "was, or rate({m}[5m]) for how much a second",
    Kind.MONEY: "{m} is an amount of money, and an amount has no level; write increase({m}[1h]) for the sum of an "
    "hour, or last_over_time({m}[1h]) for the latest amount",
    Kind.DISTRIBUTION: "{m} is made of single observations, which have no level; write "
    "quantile_over_time(0.95, {m}[5m]), or last_over_time({m}[5m]) for the latest one",
}


def ranged(node: syntax.Call) -> Expression:
    """A function of a window of one metric."""
    series = _window(node, node.arguments[0])
    found = names.component(series.name)
    if found.part == "bucket":
        return _below(node, series, found)
    if found.part is not None:
        return _of_component(node, series, found)
    name, length = found.metric.name, _length(series)
    if node.function == "present_over_time":
        return Apply(Function.CLAMP, _read(series, name, Aggregate.LAST, length), (1.0, 1.0))
    if node.function in _RATES:
        if found.metric.known and Aggregate.SUM not in found.metric.aggregations:
            raise Refusal(node.at, _no_increase(node.function, found))
        aggregate = Aggregate.RATE if node.function == "rate" else Aggregate.SUM
    else:
        aggregate = _SIMPLE[node.function]
    _check(node, aggregate, name)
    return _read(series, name, aggregate, length)


def _no_increase(function: str, found: Component) -> str:
    name = found.metric.name
    if found.metric.kind is Kind.DISTRIBUTION:
        return f"{name} is made of single observations; write {function}({name}_count[5m]) to count them"
    kind = "a ratio" if found.metric.kind is Kind.RATIO else "a level"
    return f"{name} is {kind}, whose {function} means nothing; write {name} - {name} offset 5m for its change"


def _of_component(node: syntax.Call, series: syntax.Series, found: Component) -> Expression:
    """Of a distribution's `_sum` or `_count` there are an increase and a rate."""
    name, length = found.metric.name, _length(series)
    if node.function not in _RATES:
        raise Refusal(node.at, f"{series.name} grows; write increase({series.name}[5m]) or rate({series.name}[5m])")
    rated = node.function == "rate"
    aggregate = Aggregate.SUM if found.part == "sum" else Aggregate.COUNT
    if rated and (found.part == "count") is sense.rates_count_events(name):
        return _read(series, name, Aggregate.RATE, length)
    read = _read(series, name, aggregate, length)
    return _per_second(read, length) if rated else read


def _below(node: syntax.Call, series: syntax.Series, found: Component) -> Expression:
    """How many events are at most `le`, from the sketch."""
    if node.function not in _RATES:
        raise Refusal(node.at, f"{series.name} grows; write increase({series.name}[5m]) or rate({series.name}[5m])")
    bounds = [condition for condition in series.conditions if condition.label == "le"]
    if len(bounds) != 1 or bounds[0].operator is not MatchOperator.EQUAL:
        raise Refusal(
            series.at,
            f"{series.name} needs one bound, as in {series.name}{{le='500'}}, or histogram_quantile around it",
        )
    try:
        bound = float(bounds[0].value)
    except ValueError:
        raise Refusal(series.at, f"le is {bounds[0].value[:40]!r}; it must be a number, or +Inf") from None
    if bound != bound or bound == float("-inf"):  # noqa: PLR0124 - not a number
        raise Refusal(series.at, f"le is {bounds[0].value[:40]!r}; it must be a number, or +Inf")
    name, length = found.metric.name, _length(series)
    aggregate = Aggregate.COUNT if bound == float("inf") else CountWithin(high=bound)
    _check(node, aggregate, name)
    read = _read(series, name, aggregate, length)
    return _per_second(read, length) if node.function == "rate" else read


def quantile_over_time(node: syntax.Call, share: float) -> Expression:
    """A quantile of the events of a window, from the sketch."""
    series = _window(node, node.arguments[1])
    found = names.component(series.name)
    if found.part is not None:
        raise Refusal(series.at, f"{series.name} is a part of {found.metric.name}; read {found.metric.name} itself")
    return _quantile(node, series, found.metric.name, share, None)


def histogram_quantile(node: syntax.Call, share: float) -> Expression:
    """A quantile of all events of a group, from the sketch; buckets need their `le`, as in Prometheus."""
    inner, grouping, buckets_kept = node.arguments[1], None, True
    if isinstance(inner, syntax.Aggregation):
        if inner.operator != "sum":
            raise Refusal(inner.at, f"histogram_quantile reads a sum of rates, not {inner.operator}")
        kept = tuple(label for label in inner.labels if label != "le")
        buckets_kept = bool(inner.labels != kept) is not bool(inner.without)
        rated: syntax.Node = inner.of
    else:
        rated, kept = inner, ()
    if not isinstance(rated, syntax.Call) or rated.function not in _RATES:
        raise Refusal(rated.at, "histogram_quantile reads rates: write rate(metric_bucket[5m]) here")
    series = _window(rated, rated.arguments[0])
    found = names.component(series.name)
    if found.part in {"sum", "count"}:
        raise Refusal(series.at, f"{series.name} has no quantiles; read {found.metric.name}_bucket")
    if any(condition.label == "le" for condition in series.conditions):
        raise Refusal(series.at, "le is not selected here: a quantile needs every bucket")
    if isinstance(inner, syntax.Aggregation):
        if found.part == "bucket" and not buckets_kept:
            raise Refusal(inner.at, "this sum drops le, by which buckets are told apart; write sum by (le, …)")
        labels = dict.fromkeys(names.label(label, found.metric.name) for label in kept)
        grouping = Grouping(tuple(labels), without=bool(inner.without))
    return _quantile(node, series, found.metric.name, share, grouping)


def _quantile(
    node: syntax.Call, series: syntax.Series, name: str, share: float, grouping: Grouping | None
) -> Expression:
    if not 0 <= share <= 1:
        raise Refusal(node.arguments[0].at, f"{share:g} is no quantile; it must be from 0 to 1")
    aggregate = _QUANTILES.get(share) or Quantile(share)
    _check(node, aggregate, name)
    return _read(series, name, aggregate, _length(series), grouping)


def absent(series: syntax.Series) -> Expression:
    """One while nothing came within the look-back, whatever the metric's kind."""
    return _absence(series, LOOK_BACK)


def absent_over_time(node: syntax.Call) -> Expression:
    """One while nothing came within a window."""
    series = _window(node, node.arguments[0])
    return _absence(series, _length(series))


def _absence(series: syntax.Series, length: timedelta) -> Expression:
    read = _read(series, names.component(series.name).metric.name, Aggregate.LAST, length)
    matchers = read.selector.matchers
    told = [matcher.label for matcher in matchers]
    labels = (
        (matcher.label, matcher.value)
        for matcher in matchers
        if matcher.operator is MatchOperator.EQUAL and told.count(matcher.label) == 1 and matcher.value
    )
    return Absent(read, tuple(sorted(labels)))


def _read(
    series: syntax.Series,
    name: str,
    aggregate: Aggregate | Quantile | CountWithin,
    length: timedelta,
    grouping: Grouping | None = None,
) -> Read:
    if (fault := sense.offset_fault(series.offset)) is not None:
        raise Refusal(series.at, f"the offset {fault}")
    bounded = names.component(series.name).part == "bucket"
    conditions = (found for found in series.conditions if not (bounded and found.label == "le"))
    matchers = tuple(_matcher(series, condition, name) for condition in conditions)
    return Read(Selector(name, matchers), aggregate, Rolling(length), series.offset, grouping)


def _matcher(series: syntax.Series, condition: syntax.Condition, name: str) -> Matcher:
    pattern = condition.operator in {MatchOperator.MATCHES, MatchOperator.NOT_MATCHES}
    if pattern and (fault := sense.pattern_fault(condition.value)) is not None:
        raise Refusal(series.at, f"the pattern of {condition.label} {fault}")
    return Matcher(names.label(condition.label, name), condition.operator, condition.value)


def _window(node: syntax.Call, argument: syntax.Node) -> syntax.Series:
    if not isinstance(argument, syntax.Series) or argument.length is None:
        raise Refusal(argument.at, f"{node.function} reads a window of one metric, as in metric[5m]")
    return argument


def _length(series: syntax.Series) -> timedelta:
    length = series.length or LOOK_BACK
    if (fault := sense.window_fault(length)) is not None:
        raise Refusal(series.at, f"the window {fault}")
    return length


def _check(node: syntax.Call, aggregate: Aggregate | Quantile | CountWithin, name: str) -> None:
    if (fault := sense.aggregate_fault(aggregate, name)) is not None:
        raise Refusal(node.at, f"{node.function}: this {fault}")


def _per_second(read: Read, length: timedelta) -> Binary:
    return Binary(Operator.DIVIDE, read, Number(length.total_seconds()))
