"""Our tree as PromQL that people read, and that means the same again where PromQL can say it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.aggregates import PERCENTILES, Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    COMPARISONS,
    LOOK_BACK,
    Absent,
    Apply,
    Binary,
    Calendar,
    Expression,
    Grouping,
    Matching,
    Number,
    Operator,
    Read,
    Reduce,
    Reduction,
    Rolling,
    Selector,
)
from atalaia.alerting.promql.scanning import RESERVED
from atalaia.schemas.catalogue import Kind, metric

_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BINDING: Final = {
    Operator.OR: 1,
    Operator.AND: 2,
    Operator.UNLESS: 2,
    **dict.fromkeys(COMPARISONS, 3),
    Operator.ADD: 4,
    Operator.SUBTRACT: 4,
    Operator.MULTIPLY: 5,
    Operator.DIVIDE: 5,
    Operator.MODULO: 5,
    Operator.POWER: 6,
}
_POOLING: Final = {Aggregate.MIN: "min", Aggregate.MAX: "max"}
"""All else that is pooled is written as a sum; of averages, the average."""


def text(expression: Expression) -> str:  # noqa: PLR0911 - one way out for each kind of node
    """The expression as PromQL. What PromQL has no words for (calendar windows, pooled averages) is written alike.

    >>> from atalaia.alerting.promql.compiling import parse
    >>> text(parse('sum(rate( http_requests_total{status_class="5xx"}[5m]) )by(job)>5'))
    'sum by (service_name) (rate(http_requests{status_class="5xx"}[5m])) > 5'
    """
    match expression:
        case Number(value):
            return number(value)
        case Read():
            return _read(expression)
        case Apply(function, of, arguments):
            return f"{function}({', '.join([text(of), *map(number, arguments)])})"
        case Absent(of):
            return _absent(of)
        case Reduce(Reduction.SUM, Number(value), Grouping((), without=False)):
            return f"vector({number(value)})"
        case Reduce(reduction, of, grouping, parameter):
            first = "" if parameter is None else f"{number(parameter)}, "
            return f"{reduction}{_grouping(grouping)}({first}{text(of)})"
        case Binary():
            return _binary(expression)


def number(value: float) -> str:
    """A number that reads back as the same double.

    >>> number(1500.0), number(0.05), number(1e300)
    ('1500', '0.05', '1e+300')
    """
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))  # noqa: PLR2004 - a double's exact integers


def quoted(value: str) -> str:
    """A text in PromQL's quotes."""
    return json.dumps(value, ensure_ascii=False)


def _read(read: Read) -> str:
    function, argument = _function(read)
    selected = _selector(read, argument)
    if function == "":
        return selected
    called = f"{function}({selected})" if not isinstance(read.aggregate, Quantile) else selected
    if isinstance(read.aggregate, Quantile) or read.aggregate in PERCENTILES:
        return _quantile(read)
    if read.grouping is None:
        return called
    pooling = _POOLING.get(read.aggregate, "sum") if isinstance(read.aggregate, Aggregate) else "sum"
    if read.aggregate in {Aggregate.AVG, Aggregate.LAST, Aggregate.FIRST}:
        pooling = "pooled"
    return f"{pooling}{_grouping(read.grouping)}({called})"


def _function(read: Read) -> tuple[str, str]:
    """The function that reads a window, none of an instant; and the suffix of the part of the metric that it reads."""
    entry = metric(read.selector.metric_name)
    adds_up = Aggregate.SUM in entry.aggregations
    match read.aggregate:
        case CountWithin():
            return "increase", "_bucket"
        case Aggregate.SUM:
            return "increase", "" if adds_up else "_sum"
        case Aggregate.RATE:
            return "rate", "" if adds_up else "_count"
        case Aggregate.LAST:
            levels = not entry.known or entry.kind in {Kind.GAUGE, Kind.RATIO}
            plain = levels and read.grouping is None and read.span == Rolling(LOOK_BACK)
            return "" if plain else "last_over_time", ""
        case aggregate:
            return f"{aggregate}_over_time", ""


def _quantile(read: Read) -> str:
    share = (
        read.aggregate.share if isinstance(read.aggregate, Quantile) else PERCENTILES[Aggregate(str(read.aggregate))]
    )
    if read.grouping is None:
        return f"quantile_over_time({number(share)}, {_selector(read, '')})"
    grouping = read.grouping
    labels = grouping.labels if grouping.without else ("le", *grouping.labels)
    summed = f"sum{_grouping(Grouping(labels, without=grouping.without))}(rate({_selector(read, '_bucket')}))"
    return f"histogram_quantile({number(share)}, {summed})"


def _absent(of: Expression) -> str:
    if isinstance(of, Read) and of.aggregate is Aggregate.LAST and of.grouping is None and isinstance(of.span, Rolling):
        if of.span.length == LOOK_BACK:
            return f"absent({_matched(of.selector)}{_offset(of.offset)})"
        return f"absent_over_time({_selector(of, '')})"
    return f"absent({text(of)})"


def _selector(read: Read, part: str) -> str:
    """The selector with its range and offset."""
    extra = ""
    if isinstance(read.aggregate, CountWithin):
        extra = f"le={quoted(number(read.aggregate.high))}"
    matched = _matched(read.selector, part, extra)
    match read.span:
        case Calendar(period, zone):
            window = f"[this {period} in {zone}]"
        case Rolling(length):
            plain = _function(read)[0] == ""
            window = "" if plain else f"[{durations.text(length)}]"
    return f"{matched}{window}{_offset(read.offset)}"


def _matched(selector: Selector, part: str = "", extra: str = "") -> str:
    name = selector.metric_name + part
    plain = _NAME.fullmatch(name) is not None and name.lower() not in RESERVED
    conditions = [f"{_label(each.label)}{each.operator.value}{quoted(each.value)}" for each in selector.matchers]
    conditions = [*([] if plain else [quoted(name)]), *conditions, *([extra] if extra else [])]
    return (name if plain else "") + (f"{{{', '.join(conditions)}}}" if conditions else "")


def _label(label: str) -> str:
    return label if _LABEL.fullmatch(label) else quoted(label)


def _offset(offset: timedelta) -> str:
    return f" offset {durations.text(offset)}" if offset else ""


def _labels(labels: tuple[str, ...]) -> str:
    return f"({', '.join(map(_label, labels))})"


def _grouping(grouping: Grouping) -> str:
    if not grouping.labels and not grouping.without:
        return ""
    return f" {'without' if grouping.without else 'by'} {_labels(grouping.labels)} "


def _binary(expression: Binary) -> str:
    operator, right = expression.operator, expression.right
    written = text(right)
    if _needs_brackets(operator, right, on_the_right=True):
        written = f"({written})"
    left = text(expression.left)
    if _needs_brackets(operator, expression.left, on_the_right=False):
        left = f"({left})"
    modifiers = " bool" if expression.as_bool else ""
    return f"{left} {operator.value}{modifiers}{_matching(expression.matching)} {written}"


def _needs_brackets(operator: Operator, side: Expression, *, on_the_right: bool) -> bool:
    if isinstance(side, Number):
        return side.value < 0 and operator is Operator.POWER and not on_the_right
    if not isinstance(side, Binary):
        return False
    if _BINDING[side.operator] != _BINDING[operator]:
        return _BINDING[side.operator] < _BINDING[operator]
    return on_the_right is not (operator is Operator.POWER)


def _matching(matching: Matching) -> str:
    written = ""
    if matching.on or matching.labels:
        written = f" {'on' if matching.on else 'ignoring'} {_labels(matching.labels)}"
    if matching.group:
        written += f" group_{matching.group} {_labels(matching.include)}"
    return written
