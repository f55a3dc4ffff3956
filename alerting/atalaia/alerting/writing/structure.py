"""An expression as plain values: exact for every tree, where PromQL has words for most of them only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import (
    Absent,
    Apply,
    Binary,
    Calendar,
    Expression,
    Function,
    Grouping,
    Labels,
    Matcher,
    Matching,
    MatchOperator,
    Number,
    Operator,
    Period,
    Read,
    Reduce,
    Reduction,
    Rolling,
    Selector,
)
from atalaia.alerting.writing import fields

MAX_DEPTH: Final = 100
"""Nodes within nodes: far more than anybody writes, far less than Python's stack holds in any walk over them."""
_LISTED: Final = 64
"""Entries that a list of labels, matchers or arguments may have."""
_NOTHING: Final[tuple[object, ...]] = ()
_NO_MATCHERS: Final[tuple[Matcher, ...]] = ()
_T = TypeVar("_T")


def written(expression: Expression) -> Any:
    """The plain form of a tree, which `read` turns back into the same.

    >>> written(Binary(Operator.DIVIDE, Number(1), Number(2), minimum_denominator=5))
    {'operator': '/', 'left': 1, 'right': 2, 'minimum_denominator': 5}
    """
    match expression:
        case Number(value):
            return value
        case Read():
            return _without_defaults(_read_written(expression))
        case Reduce(reduction, of, grouping, parameter):
            form = {"reduce": reduction.value, "of": written(of), "parameter": parameter}
            return _without_defaults(form | _grouping_written(grouping))
        case Apply(function, of, arguments):
            return _without_defaults({"apply": function.value, "of": written(of), "arguments": list(arguments)})
        case Absent(of, labels):
            return _without_defaults({"absent": written(of), "labels": dict(labels)})
        case Binary():
            return _without_defaults(_binary_written(expression))


def read(value: object) -> Expression:
    """The tree that plain values say; `ValueError` says where in them something else should be."""
    return _node(value, "expression", MAX_DEPTH)


def _read_written(leaf: Read) -> dict[str, Any]:
    match leaf.aggregate:
        case Aggregate() as aggregate:
            read_as: dict[str, Any] = {"aggregate": aggregate.value}
        case Quantile(share):
            read_as = {"quantile": share}
        case CountWithin(low, high):
            bounds = {"low": low, "high": high}
            read_as = {"count_within": {name: bound for name, bound in bounds.items() if math.isfinite(bound)}}
    match leaf.span:
        case Rolling(length):
            span = {"window": durations.text(length)}
        case Calendar(period, zone):
            span = {"calendar": period.value, "zone": zone}
    where = [[matcher.label, matcher.operator.value, matcher.value] for matcher in leaf.selector.matchers]
    form = {"read": leaf.selector.metric_name, "where": where, **read_as, **span}
    if leaf.offset:
        form["offset"] = durations.text(leaf.offset)
    return form | (_grouping_written(leaf.grouping) if leaf.grouping is not None else {})


def _grouping_written(grouping: Grouping) -> dict[str, Any]:
    return {"without" if grouping.without else "by": list(grouping.labels)}


def _binary_written(node: Binary) -> dict[str, Any]:
    form: dict[str, Any] = {
        "operator": node.operator.value,
        "left": written(node.left),
        "right": written(node.right),
        "bool": node.as_bool,
        "minimum_denominator": node.minimum_denominator,
    }
    matching = node.matching
    if matching.labels or matching.on:
        form["on" if matching.on else "ignoring"] = list(matching.labels)
    return form | {"group": matching.group, "include": list(matching.include)}


def _without_defaults(form: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing; empty lists of labels to group by or match on say something."""
    return {
        name: value
        for name, value in form.items()
        if value is not None and (name in _ALWAYS or value not in ([], {}, 0))  # False is 0, too
    }


_ALWAYS: Final = frozenset(
    {"by", "without", "on", "ignoring", "left", "right", "of", "absent", "quantile", "count_within", "parameter"}
)


class _Form:
    """The values of one node, each taken once; what is left over at the end is a mistake."""

    def __init__(self, value: object, path: str, depth: int) -> None:
        if depth == 0:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
        self.values = _at(path, fields.mapping, value)
        self.path = path
        self.depth = depth

    def node(self, name: str) -> Expression:
        """The node under a name."""
        self._require(name)
        return _node(self.values.pop(name), f"{self.path}.{name}", self.depth - 1)

    def take(self, name: str, kind: Callable[[object], _T]) -> _T:
        """The value under a name, which must be there."""
        self._require(name)
        return _at(f"{self.path}.{name}", kind, self.values.pop(name))

    def maybe(self, name: str, kind: Callable[[object], _T], default: _T) -> _T:
        """The value under a name, or else the default."""
        return self.take(name, kind) if name in self.values else default

    def _require(self, name: str) -> None:
        if name not in self.values:
            raise ValueError(f"lacks {self.path}.{name}")

    def done(self, node: Expression) -> Expression:
        """The node, once nothing is left over."""
        if self.values:
            raise ValueError(f"has {self.path}.{next(iter(self.values))[:60]}, which is not understood there")
        return node


def _node(value: object, path: str, depth: int) -> Expression:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(_at(path, fields.number, value))
    form = _Form(value, path, depth)
    for name, build in _BUILDERS.items():
        if name in form.values:
            return form.done(build(form))
    raise ValueError(f"has {path} with none of {', '.join(_BUILDERS)}")


def _read(form: _Form) -> Expression:
    name = form.take("read", fields.text)
    where = form.maybe("where", _matchers, _NO_MATCHERS)
    if "quantile" in form.values:
        read_as: Aggregate | Quantile | CountWithin = Quantile(form.take("quantile", _share))
    elif "count_within" in form.values:
        bounds = form.take("count_within", fields.mapping)
        read_as = CountWithin(*(fields.number(bounds[end]) if end in bounds else limit for end, limit in _ENDS.items()))
    else:
        read_as = form.take("aggregate", fields.one_of({each.value: each for each in Aggregate}))
    if "calendar" in form.values:
        period = form.take("calendar", fields.one_of({each.value: each for each in Period}))
        span: Rolling | Calendar = Calendar(period, form.maybe("zone", fields.text, "UTC"))
    else:
        span = Rolling(form.take("window", fields.duration))
    offset = form.maybe("offset", fields.duration, timedelta())
    grouping = _grouping(form) if form.values.keys() & {"by", "without"} else None
    return Read(Selector(name, where), read_as, span, offset, grouping)


_ENDS: Final = {"low": -math.inf, "high": math.inf}


def _matchers(entries: object) -> tuple[Matcher, ...]:
    return tuple(map(_matcher, _list(entries)))


def _matcher(entry: object) -> Matcher:
    parts = _list(entry)
    if len(parts) != len(("label", "operator", "value")):
        raise ValueError("has a matcher that is not [label, operator, value]")
    label, operator, value = parts
    return Matcher(fields.text(label), fields.one_of(_MATCHING)(operator), fields.text(value))


_MATCHING: Final = {each.value: each for each in MatchOperator}


def _reduce(form: _Form) -> Expression:
    reduction = form.take("reduce", fields.one_of({each.value: each for each in Reduction}))
    parameter = form.take("parameter", fields.number) if "parameter" in form.values else None
    return Reduce(reduction, form.node("of"), _grouping(form), parameter)


def _apply(form: _Form) -> Expression:
    function = form.take("apply", fields.one_of({each.value: each for each in Function}))
    arguments = tuple(fields.number(argument) for argument in form.maybe("arguments", _list, _NOTHING))
    return Apply(function, form.node("of"), arguments)


def _absent(form: _Form) -> Expression:
    return Absent(form.node("absent"), labels(form.maybe("labels", fields.mapping, {})))


def _binary(form: _Form) -> Expression:
    return Binary(
        form.take("operator", fields.one_of({each.value: each for each in Operator})),
        form.node("left"),
        form.node("right"),
        Matching(
            form.maybe("on" if (on := "on" in form.values) else "ignoring", _texts, ()),
            on=on,
            group=form.maybe("group", fields.one_of({"left": "left", "right": "right"}), None),
            include=form.maybe("include", _texts, ()),
        ),
        as_bool=form.maybe("bool", fields.flag, False),
        minimum_denominator=form.maybe("minimum_denominator", fields.number, 0.0),
    )


_BUILDERS: Final[dict[str, Callable[[_Form], Expression]]] = {
    "read": _read,
    "reduce": _reduce,
    "apply": _apply,
    "absent": _absent,
    "operator": _binary,
}


def labels(values: Mapping[str, object]) -> Labels:
    """Labels and their values, sorted."""
    return tuple(sorted((name, fields.label(value)) for name, value in values.items()))


def _grouping(form: _Form) -> Grouping:
    if "without" in form.values:
        return Grouping(form.take("without", _texts), without=True)
    return Grouping(form.maybe("by", _texts, ()))


def _list(value: object) -> tuple[object, ...]:
    if not isinstance(value, list) or len(value) > _LISTED:
        raise ValueError(f"is {fields.shown(value)}; it must be a list of at most {_LISTED} entries")
    return tuple(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(fields.text(each) for each in _list(value))


def _share(value: object) -> float:
    share = fields.number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"is {share:g}; it must be from 0 to 1")
    return share


def _at(path: str, kind: Callable[[object], _T], value: object) -> _T:
    """The value, or what is wrong with it and where."""
    try:
        return kind(value)
    except ValueError as exc:
        raise ValueError(f"has {path}, which {exc}") from exc
