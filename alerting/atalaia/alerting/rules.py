"""What a rule is: one frozen value, whichever way it was spelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.evaluating.narrowing import narrowed
from atalaia.alerting.expressions import Expression, Labels, Matcher, MatchOperator, Read, Rolling, Selector
from atalaia.alerting.faults import LONGEST_HOLD, MAX_MINIMUM_COUNT, Fault, RuleError, faults_of
from atalaia.alerting.promql import printing
from atalaia.alerting.sense import LATEST_WITHIN, LONGEST_WINDOW, SHORTEST_WINDOW, rates_count_events, step
from atalaia.alerting.units import unit_of_expression
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import DEFAULT_UNIT, Severity

__all__ = [
    "LONGEST_HOLD",
    "LONGEST_WINDOW",
    "MAX_MINIMUM_COUNT",
    "SHORTEST_WINDOW",
    "Channel",
    "Comparison",
    "Fault",
    "Level",
    "Rule",
    "RuleError",
    "condition_text",
    "counts_events",
    "number_text",
    "step",
    "tree",
    "unit_of",
    "unit_text",
]


class Channel(StrEnum):
    """Where a notification goes (F2.5, A5)."""

    EMAIL = "email"
    SLACK = "slack"
    WEBHOOK = "webhook"
    SMS = "sms"
    PAGERDUTY = "pagerduty"


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
        if faults := list(faults_of(self)):
            raise RuleError(faults)

    @property
    def unit(self) -> str:
        """The unit of the threshold, as far as the rule itself says: its matcher's, else the catalogue's."""
        return unit_of(self, dict(self.matchers).get("unit") or metric(self.metric_name).unit)

    def same_condition(self, other: Rule) -> bool:
        """Whether both decide alike: they may differ in name, severity, texts, whom they call, and version."""
        return _condition_of(self) == _condition_of(other)


def unit_of(rule: Rule, series_unit: str) -> str:
    """The unit of what the rule computes from values in `series_unit`; of an expression, as far as it has one."""
    if rule.expression is not None:
        return unit_of_expression(rule.expression)
    match rule.aggregate:
        case Aggregate.COUNT:
            return DEFAULT_UNIT
        case Aggregate.RATE:
            return "1/s" if counts_events(rule) else f"{series_unit}/s"
        case _:
            return series_unit


def counts_events(rule: Rule) -> bool:
    """Whether `rate` means events a second: so it does where the values themselves don't add up."""
    return rates_count_events(rule.metric_name)


def tree(rule: Rule) -> Expression:
    """What a rule computes, as a tree, whichever way it was spelled; of its own tenant's series alone.

    >>> tree(Rule(rule_id="c", name="C", metric_name="cpu_usage", aggregate=Aggregate.MAX, window=timedelta(hours=1),
    ...           comparison=Comparison.ABOVE, threshold=90)).span
    Rolling(length=datetime.timedelta(seconds=3600))
    """
    if rule.expression is None:
        matchers = tuple(Matcher(label, MatchOperator.EQUAL, value) for label, value in rule.matchers)
        window = rule.window or LATEST_WITHIN[metric(rule.metric_name).frequency]
        found: Expression = Read(Selector(rule.metric_name, matchers), rule.aggregate, Rolling(window))
    else:
        found = rule.expression
    return found if rule.tenant is None else narrowed(found, Matcher("tenant", MatchOperator.EQUAL, rule.tenant))


def condition_text(rule: Rule, *, unit: str | None = None) -> str:
    """The condition for people.

    >>> condition_text(Rule(rule_id="c", name="C", metric_name="commission_paid", aggregate=Aggregate.SUM,
    ...                     window=timedelta(hours=1), comparison=Comparison.ABOVE, threshold=500))
    'sum of commission_paid over 1h > 500 BRL'
    """
    measure = unit_text(rule.unit if unit is None else unit)
    limit = "" if rule.comparison is None else f" {rule.comparison} {number_text(rule.threshold)}{measure}"
    steps = f" in {rule.needed} of {rule.of_last} steps" if rule.of_last > 1 else ""
    hold = f" for {durations.text(rule.hold)}" if rule.hold else ""
    silent = f"silent for {durations.text(rule.absent_for)}" if rule.absent_for else ""
    if rule.comparison is None and rule.expression is None:
        return f"{_value_text(rule)} {silent}{hold}"
    return f"{_value_text(rule)}{limit}{steps}{hold}" + (f", or {silent}" if silent else "")


def _value_text(rule: Rule) -> str:
    if rule.expression is not None:
        return printing.text(rule.expression)
    where = ", ".join(f'{label}="{value}"' for label, value in rule.matchers)
    selected = rule.metric_name + (f"{{{where}}}" if where else "")
    if rule.window is None:
        return selected
    return f"{rule.aggregate} of {selected} over {durations.text(rule.window)}"


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
        notify_amendments=False,
        owner=None,
        annotations=(),
        actions=(),
        channels=(),
        recipients=(),
    )
