"""An expression as promql-parser understands it, every node with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import promql_parser

from atalaia.alerting.expressions import MatchOperator
from atalaia.alerting.promql.places import PromqlError
from atalaia.alerting.promql.scanning import Anchor, Kind, Scan, scan

_ILLEGAL: Final = re.compile(r"illegal regex for (.*)", re.DOTALL)
_QUOTED: Final = 200
_NAMED: Final = re.compile(r"'([A-Za-z_][A-Za-z0-9_]*)'")
_OPERATORS: Final = {
    "Equal": MatchOperator.EQUAL,
    "NotEqual": MatchOperator.NOT_EQUAL,
    "Re": MatchOperator.MATCHES,
    "NotRe": MatchOperator.NOT_MATCHES,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One matcher of a selector, as written."""

    label: str
    operator: MatchOperator
    value: str


@dataclass(frozen=True, slots=True)
class Series:
    """A selector; `length` is its range in brackets, None of an instant one."""

    at: int
    name: str
    conditions: tuple[Condition, ...]
    length: timedelta | None
    offset: timedelta


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments."""

    at: int
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """An aggregation operator; `without` None is neither by nor without."""

    at: int
    operator: str
    of: Node
    parameter: Node | None
    labels: tuple[str, ...]
    without: bool | None


@dataclass(frozen=True, slots=True)
class Operation:
    """Two sides and an operator; `on` None is neither on nor ignoring."""

    at: int
    operator: str
    left: Node
    right: Node
    as_bool: bool
    labels: tuple[str, ...]
    on: bool | None
    group: str | None
    include: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """Minus before a vector."""

    at: int
    of: Node


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a text."""

    at: int
    value: float | str


Node = Series | Call | Aggregation | Operation | Negation | Literal


def read(expression: str) -> Node:
    """The nodes of an expression; `PromqlError` with the place of what is wrong."""
    scanned = scan(expression)
    try:
        parsed = promql_parser.parse(expression)
    except ValueError as exc:
        raise _located(expression, scanned, str(exc)) from exc
    return _Reader(expression, scanned.anchors).node(parsed)


def _located(expression: str, scanned: Scan, message: str) -> PromqlError:
    """The parser's error with a place: the innermost part that fails by itself, or the first that it names."""
    if (found := _ILLEGAL.search(message)) is not None:
        places = (value.start for value in scanned.texts if found[1] in value.text or "\\" in value.text)
        return PromqlError(_plain(message), expression=expression, offset=next(places, 0))
    for start, end in scanned.parts:
        try:
            promql_parser.parse(expression[start:end])
        except ValueError as exc:
            return PromqlError(_plain(str(exc)), expression=expression, offset=start)
    named = set(_NAMED.findall(message))
    places = (anchor.start for anchor in scanned.anchors if anchor.text in named)
    return PromqlError(_plain(message), expression=expression, offset=next(places, 0))


def _plain(message: str) -> str:
    """The parser's words in ours, where they are known; what they quote, in brief."""
    message = message if len(message) <= _QUOTED else f"{message[:_QUOTED]}…"
    for pattern, reason in _MESSAGES:
        if found := pattern.search(message):
            return found.expand(reason)
    return f"PromQL's grammar does not allow this: {message}"


_MESSAGES: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"expected type matrix in call to function '(\w+)', got vector", r"\1 reads a window: write \1(metric[5m])"),
        (
            r"expected type vector in call to function '(\w+)', got matrix",
            r"\1 takes numbers, not a window: leave out the range in brackets",
        ),
        (r"expected type (\w+) in call to function '(\w+)', got (\w+)", r"\2 needs a \1 here, and this is a \3"),
        (
            r"expected type vector in aggregation expression, got matrix",
            r"an aggregation needs numbers: read the window with a function, as in sum(increase(metric[5m]))",
        ),
        (r"unknown function with name '(\w+)'", r"\1 is no function of PromQL"),
        (
            r"expected type vector in aggregation expression, got (\w+)",
            r"an aggregation needs a metric, and this is a \1",
        ),
        (r"expected (\d+ argument\(s\)) in call to '(\w+)', got (\d+)", r"\2 takes \1, and here are \3"),
        (r"^invalid promql query$", r"PromQL does not allow words in this order"),
        (r"illegal regex for (.*)", r"\1 is no regular expression of RE2, or too large a one"),
        (r"comparisons between scalars must use BOOL", r"two numbers are compared with bool only; compare a metric"),
        (r"duration must be greater than 0", r"a duration must be longer than nothing, and not absurdly long"),
    )
)


class _Reader:
    """Turns the parser's nodes into ours; takes the anchors in the order of the text as it goes."""

    def __init__(self, expression: str, anchors: list[Anchor]) -> None:
        self.expression = expression
        self.anchors = anchors
        self.next = 0

    def node(self, parsed: Any) -> Node:  # noqa: C901, PLR0911 - one way out for each kind of node
        match parsed:
            case promql_parser.ParenExpr():
                return self.node(parsed.expr)
            case promql_parser.NumberLiteral():
                return Literal(self._take(Kind.NUMBER), parsed.val)
            case promql_parser.StringLiteral():
                return Literal(self._take(Kind.STRING), parsed.val)
            case promql_parser.UnaryExpr():
                return Negation(self._take(Kind.UNARY), self.node(parsed.expr))
            case promql_parser.VectorSelector():
                return self._series(parsed, None)
            case promql_parser.MatrixSelector():
                return self._series(parsed.vector_selector, parsed.range)
            case promql_parser.Call():
                at = self._take(Kind.CALL)
                return Call(at, parsed.func.name, tuple(self.node(argument) for argument in parsed.args))
            case promql_parser.AggregateExpr():
                return self._aggregation(parsed)
            case promql_parser.BinaryExpr():
                return self._operation(parsed)
            case promql_parser.SubqueryExpr():
                raise self._error(
                    self._peek(), "a range over an expression (a subquery) is not understood; give each metric a range"
                )
        raise self._error(self._peek(), f"{type(parsed).__name__} is not understood")

    def _series(self, parsed: Any, length: timedelta | None) -> Series:
        at = self._take(Kind.SELECTOR)
        if parsed.matchers.or_matchers:
            raise self._error(at, "`or` between matchers is not PromQL; write =~ with alternatives, as in a=~'b|c'")
        conditions = tuple(
            Condition(found.name, _OPERATORS[str(found.op).rpartition(".")[2]], found.value)
            for found in parsed.matchers.matchers
        )
        named = [found for found in conditions if found.label == "__name__"]
        if parsed.name is None and [found.operator for found in named] != [MatchOperator.EQUAL]:
            raise self._error(at, "a selector names one metric: write metric{…}, or {__name__='metric', …}")
        if parsed.name is not None and named:
            raise self._error(at, "the metric is named twice; leave out __name__")
        name = parsed.name if parsed.name is not None else named[0].value
        others = tuple(found for found in conditions if found.label != "__name__")
        return Series(at, name, others, length, parsed.offset or timedelta())

    def _aggregation(self, parsed: Any) -> Aggregation:
        at = self._take(Kind.CALL)
        operator = str(parsed.op)
        parameter = None if parsed.param is None else self.node(parsed.param)
        of = self.node(parsed.expr)
        modifier = parsed.modifier
        without = None if modifier is None else modifier.type == promql_parser.AggModifierType.Without
        return Aggregation(at, operator, of, parameter, tuple(modifier.labels) if modifier else (), without)

    def _operation(self, parsed: Any) -> Operation:
        left = self.node(parsed.lhs)
        at = self._take(Kind.BINARY)
        right = self.node(parsed.rhs)
        modifier = parsed.modifier
        matching = modifier.matching if modifier else None
        cardinality = str(modifier.card).rpartition(".")[2] if modifier else ""
        return Operation(
            at,
            str(parsed.op),
            left,
            right,
            as_bool=bool(modifier and modifier.return_bool),
            labels=tuple(matching.labels) if matching else (),
            on=matching.type == promql_parser.LabelModifierType.Include if matching else None,
            group={"ManyToOne": "left", "OneToMany": "right"}.get(cardinality),
            include=tuple(modifier.group_labels or ()) if modifier else (),
        )

    def _take(self, kind: Kind) -> int:
        """The place of the next node of a kind; signs before numbers are part of the numbers."""
        while self.next < len(self.anchors):
            anchor = self.anchors[self.next]
            self.next += 1
            if anchor.kind is kind:
                return anchor.start
        return 0

    def _peek(self) -> int:
        return self.anchors[self.next].start if self.next < len(self.anchors) else 0

    def _error(self, at: int, reason: str) -> PromqlError:
        return PromqlError(reason, expression=self.expression, offset=at)
