"""What a rule is: one frozen value, whichever way it was spelled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Expression, Labels
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.events import DEFAULT_UNIT, MAX_NAME_CHARACTERS, Severity


class Comparison(StrEnum):
    """How the aggregate is compared with the threshold (F2.5)."""

    ABOVE = ">"
    BELOW = "<"
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "=="
    NOT_EQUAL = "!="


class Channel(StrEnum):
    """Where a notification goes (F2.5, A5)."""

    EMAIL = "email"
    SLACK = "slack"
    WEBHOOK = "webhook"
    SMS = "sms"
    PAGERDUTY = "pagerduty"


SHORTEST_WINDOW: Final = timedelta(minutes=1)
LONGEST_WINDOW: Final = timedelta(days=31)
LONGEST_HOLD: Final = timedelta(days=31)
MAX_MINIMUM_COUNT: Final = 10**9

_STEPS: Final = (
    (timedelta(hours=2), timedelta(minutes=1)),
    (timedelta(hours=12), timedelta(minutes=5)),
    (timedelta(hours=36), timedelta(minutes=15)),
    (timedelta(days=7), timedelta(hours=1)),
    (LONGEST_WINDOW, timedelta(hours=6)),
)
"""Windows up to the first slide by the second: at most 168 buckets a window, whatever its length, so that state is
bounded and a judgement cheap."""

_MEANINGLESS: Final = {
    Kind.RATIO: "is a ratio, already divided",
    Kind.GAUGE: "is a level, not an amount",
    Kind.DISTRIBUTION: "is made of single observations",
    Kind.ADDITIVE: "counts increments",
    Kind.MONEY: "is an amount of money",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a rule: where in it, and a phrase with the value and the remedy."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return " ".join([".".join(map(str, self.path)), self.message]).strip()


class RuleError(ValueError):
    """A rule that cannot be judged; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Level:
    """A further threshold of a rule, with the severity that it means and where it recovers."""

    severity: Severity
    threshold: float
    recovery: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition on a number that is computed from events.

    Without `expression` the number is the `aggregate` of `window` of each series of `metric_name` that has the given
    labels, each series by itself; `window` None is F2.5's bare form: the latest value of a series, as it arrives. With
    `expression` it is that, and `metric_name` is the metric it reads first; `comparison` None then means that the
    expression itself says where it holds: wherever it has a value. Constructing one that makes no sense raises
    `RuleError` with every reason.
    """

    rule_id: str
    name: str
    metric_name: str
    comparison: Comparison | None
    threshold: float
    expression: Expression | None = None
    version: int = 1
    tenant: str | None = None
    matchers: tuple[tuple[str, str], ...] = ()
    aggregate: Aggregate = Aggregate.LAST
    window: timedelta | None = None
    hold: timedelta = timedelta()
    """`for`: how long the condition must hold without a break before the alert fires."""
    keep_firing: timedelta = timedelta()
    """How long an alert goes on after its condition was last seen to hold."""
    recovery: float | None = None
    """A firing alert resolves only where the number is beyond this one too; None is the threshold itself."""
    needed: int = 1
    """In how many of the last `of_last` steps (minutes, for windows up to 2 h) the condition must hold."""
    of_last: int = 1
    tolerance: float | None = None
    """For `==` and `!=`: numbers this close to the threshold are equal. None: a billionth of it."""
    levels: tuple[Level, ...] = ()
    """Further thresholds, each an alert of its own severity."""
    severity: Severity = Severity.MEDIUM
    minimum_count: int = 0
    minimum_completeness: float | None = None
    """Share of the window's events (0 to 1) that must be there for a verdict; below it the alert awaits data."""
    absent_for: timedelta | None = None
    """Fires for each series that was seen before, and for those of `expected`, once it is silent for so long."""
    expected: tuple[Labels, ...] = ()
    """Series (by the labels that tell them apart) whose absence counts though they were never seen."""
    notify_amendments: bool = False
    """Whether late data that changes a decided window is worth a notification."""
    owner: str | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    actions: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    recipients: tuple[str, ...] = ()
    is_active: bool = True

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise RuleError(faults)

    @property
    def unit(self) -> str:
        """The unit of the threshold, as far as the rule itself says: its matcher's, else the catalogue's."""
        return unit_of(self, dict(self.matchers).get("unit") or metric(self.metric_name).unit)

    def same_condition(self, other: Rule) -> bool:
        """Whether both decide alike: they may differ in name, severity, texts, whom they call, and version."""
        return _condition_of(self) == _condition_of(other)


def step(window: timedelta) -> timedelta:
    """By how much a window of this length slides.

    >>> step(timedelta(hours=1)), step(timedelta(days=1))
    (datetime.timedelta(seconds=60), datetime.timedelta(seconds=900))
    """
    return next(slide for longest, slide in _STEPS if window <= longest)


def unit_of(rule: Rule, series_unit: str) -> str:
    """The unit of what the rule computes from values in `series_unit`."""
    match rule.aggregate:
        case Aggregate.COUNT:
            return DEFAULT_UNIT
        case Aggregate.RATE:
            return "1/s" if counts_events(rule) else f"{series_unit}/s"
        case _:
            return series_unit


def counts_events(rule: Rule) -> bool:
    """Whether `rate` means events a second: so it does where the values themselves don't add up."""
    return Aggregate.SUM not in metric(rule.metric_name).aggregations


def condition_text(rule: Rule, *, unit: str | None = None) -> str:
    """The condition for people.

    >>> condition_text(Rule(rule_id="c", name="C", metric_name="commission_paid", aggregate=Aggregate.SUM,
    ...                     window=timedelta(hours=1), comparison=Comparison.ABOVE, threshold=500))
    'sum of commission_paid over 1h > 500 BRL'
    """
    where = ", ".join(f'{label}="{value}"' for label, value in rule.matchers)
    selected = rule.metric_name + (f"{{{where}}}" if where else "")
    if rule.window is not None:
        selected = f"{rule.aggregate} of {selected} over {durations.text(rule.window)}"
    hold = f" for {durations.text(rule.hold)}" if rule.hold else ""
    measure = unit_text(rule.unit if unit is None else unit)
    return f"{selected} {rule.comparison} {number_text(rule.threshold)}{measure}{hold}"


def number_text(value: float) -> str:
    """A number for people: no noise of binary fractions, no exponent where it can be helped.

    >>> number_text(500.0), number_text(0.1 + 0.2), number_text(2500315.63)
    ('500', '0.3', '2500315.63')
    """
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.10g}"  # noqa: PLR2004 - a double's exact integers


def unit_text(unit: str) -> str:
    """A unit to put after a number: UCUM's braces are dropped, and 1 is nothing.

    >>> unit_text("{user}"), unit_text("1")
    (' user', '')
    """
    return "" if unit == DEFAULT_UNIT else " " + unit.replace("{", "").replace("}", "")


def _condition_of(rule: Rule) -> Rule:
    """The rule with everything that does not decide set alike."""
    return replace(
        rule,
        name="-",
        version=1,
        severity=Severity.MEDIUM,
        annotations=(),
        actions=(),
        channels=(),
        recipients=(),
    )


def _faults(rule: Rule) -> Iterator[Fault]:
    for field, value in (("id", rule.rule_id), ("name", rule.name), ("metric", rule.metric_name)):
        if not value.strip():
            yield Fault((field,), "is empty; give it a name")
        elif len(value) > MAX_NAME_CHARACTERS:
            yield Fault((field,), f"has {len(value)} characters; at most {MAX_NAME_CHARACTERS} are allowed")
    if not math.isfinite(rule.threshold):
        yield Fault(("threshold",), f"is {rule.threshold}; it must be a finite number")
    if rule.version < 1:
        yield Fault(("version",), f"is {rule.version}; versions count from 1")
    if not 0 <= rule.minimum_count <= MAX_MINIMUM_COUNT:
        yield Fault(("minimum_count",), f"is {rule.minimum_count}; it must be from 0 to {MAX_MINIMUM_COUNT}")
    if not timedelta() <= rule.hold <= LONGEST_HOLD:
        yield Fault(("for",), f"is {durations.text(rule.hold)}; it must be from 0s to 31d")
    yield from _window_faults(rule)
    yield from _aggregate_faults(rule)


def _window_faults(rule: Rule) -> Iterator[Fault]:
    if rule.window is None:
        if rule.aggregate is not Aggregate.LAST:
            yield Fault(("window",), f"is missing: {rule.aggregate} needs one, such as 5m; only last can do without")
        if rule.minimum_count > 1:
            yield Fault(("minimum_count",), "needs a window: without one a rule judges one event, the latest")
        return
    written = durations.text(rule.window) if rule.window >= timedelta() else str(rule.window)
    if not SHORTEST_WINDOW <= rule.window <= LONGEST_WINDOW:
        yield Fault(("window",), f"is {written}; it must be from 1m to 31d")
    elif rule.window % step(rule.window):
        slide = durations.text(step(rule.window))
        yield Fault(
            ("window",), f"is {written}; a window of that length slides by {slide} and must be a multiple of it"
        )


def _aggregate_faults(rule: Rule) -> Iterator[Fault]:
    entry = metric(rule.metric_name)
    if rule.aggregate not in entry.aggregations:
        legal = ", ".join(aggregate for aggregate in Aggregate if aggregate in entry.aggregations)
        why = f"the {rule.aggregate} of {entry.name} means nothing, for it {_MEANINGLESS[entry.kind]}"
        yield Fault(("aggregate",), f"is {rule.aggregate}, and {why}; choose one of {legal}")
