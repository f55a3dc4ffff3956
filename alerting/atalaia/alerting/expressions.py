"""What a rule computes: a tree of frozen values, the same whichever way the rule was spelled.

A leaf reads events, and everything above it computes with the numbers read:

- `Read`: one aggregate of the events of a window, of each series or of each group of series. Grouping pools *events*:
  the p95 of a group is that of all its events, not a mean of percentiles; its average weighs every event alike.
- `Reduce`: one number of several series' numbers (PromQL's aggregation operators).
- `Binary`, `Apply`, `Number`: arithmetic, comparisons as filters, set operators.
- `Absent`: one where nothing is.

Every node but `Number` is a vector: a value for each set of labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeVar

import re2

from atalaia.alerting.aggregates import Aggregate, CountWithin, Quantile

_Node = TypeVar("_Node")


def _hashed_once(node: type[_Node]) -> type[_Node]:
    """Values of a frozen class remember their hash: trees are deep, and looked up at every verdict.

    Pickles leave it out: another process hashes texts differently.
    """
    compute = node.__hash__

    def hashed(self: Any) -> int:
        found: int | None = self.__dict__.get("_hash")
        if found is None:
            found = self.__dict__["_hash"] = compute(self)
        return found

    def state(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    for name, method in (("__hash__", hashed), ("__getstate__", state)):
        setattr(node, name, method)
    return node


Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name; a label that is not there has no entry."""

LOOK_BACK: Final = timedelta(minutes=5)
"""How old the newest event may be where the latest value is asked for: Prometheus' look-back."""


class MatchOperator(StrEnum):
    """How a label is compared with a text. Patterns are RE2's and match the whole label, as in Prometheus."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclass(frozen=True)
class Matcher:
    """A condition on one label; a series without the label has it empty.

    >>> Matcher("status", MatchOperator.MATCHES, "5..").matches({"status": "503"})
    True
    >>> Matcher("region", MatchOperator.NOT_EQUAL, "BR").matches({})
    True
    """

    label: str
    operator: MatchOperator
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the condition."""
        found = labels.get(self.label, "")
        match self.operator:
            case MatchOperator.EQUAL:
                return found == self.value
            case MatchOperator.NOT_EQUAL:
                return found != self.value
            case MatchOperator.MATCHES:
                return self._pattern.fullmatch(found) is not None
            case MatchOperator.NOT_MATCHES:
                return self._pattern.fullmatch(found) is None

    @cached_property
    def _pattern(self) -> re2._Regexp:
        return re2.compile(self.value)


@_hashed_once
@dataclass(frozen=True)
class Selector:
    """The series of one metric whose labels meet every matcher."""

    metric_name: str
    matchers: tuple[Matcher, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of the metric with these labels is meant."""
        return all(matcher.matches(labels) for matcher in self.matchers)


@dataclass(frozen=True)
class Grouping:
    """By which labels series are put together: by these, or by all but these. `Grouping(())` is one group of all."""

    labels: tuple[str, ...]
    without: bool = False

    def of(self, labels: Mapping[str, str]) -> Labels:
        """The group of a series.

        >>> Grouping(("region",)).of({"region": "BR", "service_name": "api"})
        (('region', 'BR'),)
        """
        kept = (
            (name for name in labels if name not in self.labels and name != "metric_name")
            if self.without
            else (name for name in self.labels if labels.get(name))
        )
        return tuple(sorted((name, labels[name]) for name in kept))


class Period(StrEnum):
    """A span of the calendar."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Rolling:
    """The last so-and-so much time."""

    length: timedelta


@dataclass(frozen=True)
class Calendar:
    """This hour, day, week (from Monday) or month so far, in a time zone of the IANA database."""

    period: Period
    zone: str = "UTC"


Span = Rolling | Calendar


@_hashed_once
@dataclass(frozen=True)
class Read:
    """One aggregate of the events of a window: of each series (`grouping` None), or of each group's pooled events.

    `offset` reads the window as it was that long ago; a calendar window ends then as far into its period.
    """

    selector: Selector
    aggregate: Aggregate | Quantile | CountWithin
    span: Span
    offset: timedelta = timedelta()
    grouping: Grouping | None = None


class Reduction(StrEnum):
    """PromQL's aggregation operators."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    GROUP = "group"
    STDDEV = "stddev"
    STDVAR = "stdvar"
    QUANTILE = "quantile"
    TOPK = "topk"
    BOTTOMK = "bottomk"


@_hashed_once
@dataclass(frozen=True)
class Reduce:
    """One number of each group of numbers; `topk` and `bottomk` keep that many of each group, labels and all."""

    reduction: Reduction
    of: Expression
    grouping: Grouping = Grouping(())
    parameter: float | None = None


class Function(StrEnum):
    """Functions of single numbers, as PromQL names them."""

    ABS = "abs"
    CEIL = "ceil"
    FLOOR = "floor"
    ROUND = "round"
    SQRT = "sqrt"
    EXP = "exp"
    LN = "ln"
    LOG2 = "log2"
    LOG10 = "log10"
    SGN = "sgn"
    CLAMP = "clamp"
    CLAMP_MIN = "clamp_min"
    CLAMP_MAX = "clamp_max"


@_hashed_once
@dataclass(frozen=True)
class Apply:
    """A function of each number; `arguments` are those after the first."""

    function: Function
    of: Expression
    arguments: tuple[float, ...] = ()


class Operator(StrEnum):
    """Operators between two expressions; comparisons keep the left number where they hold."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    MODULO = "%"
    POWER = "^"
    ABOVE = ">"
    BELOW = "<"
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="
    AND = "and"
    OR = "or"
    UNLESS = "unless"


COMPARISONS: Final = frozenset(
    {Operator.ABOVE, Operator.BELOW, Operator.AT_LEAST, Operator.AT_MOST, Operator.EQUAL, Operator.NOT_EQUAL}
)
SETS: Final = frozenset({Operator.AND, Operator.OR, Operator.UNLESS})


@dataclass(frozen=True)
class Matching:
    """Which labels two sides share: these (`on`), or all but these. `group` is the side with many for one, if any."""

    labels: tuple[str, ...] = ()
    on: bool = False
    group: str | None = None
    """`left`, `right` or None: one to one."""
    include: tuple[str, ...] = ()
    """Labels of the one side that the result takes along."""


@_hashed_once
@dataclass(frozen=True)
class Binary:
    """Two expressions and an operator. `as_bool`: a comparison gives 1 or 0 instead of filtering."""

    operator: Operator
    left: Expression
    right: Expression
    matching: Matching = Matching()
    as_bool: bool = False
    minimum_denominator: float = 0.0
    """Of a division: where the right side is nearer to zero than this, there is no value."""


@_hashed_once
@dataclass(frozen=True)
class Absent:
    """One where the expression has no value at all; `labels` are those that its selector asks for by equality."""

    of: Expression
    labels: Labels = ()


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


Expression = Read | Reduce | Apply | Binary | Absent | Number


def reads(expression: Expression) -> Iterator[Read]:
    """Every leaf that reads events, from left to right.

    >>> leaf = Read(Selector("m"), Aggregate.LAST, Rolling(LOOK_BACK))
    >>> list(reads(Binary(Operator.ABOVE, leaf, Number(5)))) == [leaf]
    True
    """
    match expression:
        case Read():
            yield expression
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            yield from reads(inner)
        case Binary(left=left, right=right):
            yield from reads(left)
            yield from reads(right)
        case Number():
            return


def interned(expression: Expression, known: dict[Expression, Expression] | None = None) -> Expression:
    """The same tree, in which equal parts are one object, so that they are recognised at once.

    >>> leaf = Read(Selector("m"), Aggregate.LAST, Rolling(LOOK_BACK))
    >>> tree = interned(Binary(Operator.DIVIDE, leaf, Read(Selector("m"), Aggregate.LAST, Rolling(LOOK_BACK))))
    >>> isinstance(tree, Binary) and tree.left is tree.right
    True
    """
    known = {} if known is None else known
    match expression:
        case Reduce(of=inner) | Apply(of=inner) | Absent(of=inner):
            expression = replace(expression, of=interned(inner, known))
        case Binary(left=left, right=right):
            expression = replace(expression, left=interned(left, known), right=interned(right, known))
        case _:
            pass
    return known.setdefault(expression, expression)
