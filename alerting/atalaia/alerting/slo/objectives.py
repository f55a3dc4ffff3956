"""What a service level objective is: frozen values, whichever file they were written in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final

from atalaia.alerting import durations, sense
from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import Grouping, Selector
from atalaia.alerting.rules import Channel, Fault, RuleError
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.events import MAX_NAME_CHARACTERS, Severity

SHORTEST_WINDOW: Final = timedelta(days=7)
"""The shortest window of a rule shrinks with it: 5 min of 30 days are 1 min of 7 days, our shortest."""
LONGEST_WINDOW: Final = timedelta(days=90)
"""Windows by the hour are kept so long (docs/sql.md): of older time there is no budget to tell."""

MINIMUM_EVENTS: Final = 20
MINIMUM_BAD: Final = 5
"""Three failures of four requests are no reason to call anybody, nor is a single one of a hundred."""
MOST_EVENTS: Final = 10**9

MAX_NAME: Final = MAX_NAME_CHARACTERS - len("slo--ticket") - 5
"""The names and ids of an objective's rules have its own in them."""
MAX_TEXT: Final = 1_000
"""Characters of a description: the rules' annotations have it in them."""

SUMMED: Final = frozenset({Kind.ADDITIVE})
"""Kinds of metrics whose values count events: an increment of 3 is three of them."""


class SloError(RuleError):
    """An objective that cannot be kept watch of; `faults` says everything that is wrong with it."""


class Urgency(StrEnum):
    """Whom a burn calls: somebody now, or somebody this week."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Events:
    """Which events are counted, and how: by the sum of their values, by their number, or by those within bounds."""

    selector: Selector
    aggregate: Aggregate | CountWithin

    @classmethod
    def of(cls, selector: Selector) -> Events:
        """As the catalogue has it: increments are summed, of everything else each event counts one.

        >>> Events.of(Selector("http_requests")).aggregate, Events.of(Selector("http_request_duration")).aggregate
        (<Aggregate.SUM: 'sum'>, <Aggregate.COUNT: 'count'>)
        """
        entry = metric(selector.metric_name)
        summed = entry.kind in SUMMED or not entry.known
        return cls(selector, Aggregate.SUM if summed else Aggregate.COUNT)


@dataclass(frozen=True, slots=True)
class Sli:
    """A share of events: of all that count (`total`), the bad ones, or the good ones."""

    total: Events
    part: Events
    part_is_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    """How one of an objective's two alerts calls whom; `severity` None is critical for a page, medium for a ticket."""

    is_active: bool = True
    severity: Severity | None = None
    channels: tuple[Channel, ...] = ()
    recipients: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Slo:
    """An objective: so many per cent of the events of every window are to be good.

    Events are pooled by tenant and the labels of `by`; each such group has a budget of its own. Constructing one that
    makes no sense raises `SloError` with every reason.
    """

    name: str
    service: str
    objective: float
    """Per cent: 99.5."""
    sli: Sli
    window: timedelta = timedelta(days=30)
    description: str = ""
    owner: str | None = None
    runbook_url: str | None = None
    tenant: str | None = None
    by: tuple[str, ...] = ("service_name",)
    minimum_events: int = MINIMUM_EVENTS
    """A long window with fewer events than that says nothing."""
    minimum_bad: int = MINIMUM_BAD
    """Nor does one with fewer bad events than that."""
    labels: tuple[tuple[str, str], ...] = ()
    page: Alerting = field(default_factory=Alerting)
    ticket: Alerting = field(default_factory=Alerting)

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise SloError(faults)

    @cached_property
    def budget(self) -> float:
        """The share of events that may be bad.

        >>> total = Events.of(Selector("http_requests"))
        >>> Slo(name="a", service="s", objective=99.5, sli=Sli(total, total, part_is_good=True)).budget
        0.005
        """
        return round((100 - self.objective) / 100, 12)  # no noise of binary fractions: objectives are decimals

    @property
    def budget_time(self) -> timedelta:
        """The budget as if it were all spent at once: how long everything may fail. 0.5 % of 30 days are 3.6 h."""
        return self.window * self.budget

    @property
    def grouping(self) -> Grouping:
        """How events are pooled within a tenant."""
        return Grouping(tuple(sorted(set(self.by) - {"tenant"})))

    def alerting(self, urgency: Urgency) -> Alerting:
        """Whom a page, or a ticket, calls."""
        return self.page if urgency is Urgency.PAGE else self.ticket


def _faults(slo: Slo) -> Iterator[Fault]:
    for name, value in (("name", slo.name), ("service", slo.service)):
        if not value.strip():
            yield Fault((name,), "is empty; give it a name")
        elif len(value) > MAX_NAME:
            yield Fault((name,), f"has {len(value)} characters; at most {MAX_NAME} are allowed")
    if len(slo.description) > MAX_TEXT:
        yield Fault(("description",), f"has {len(slo.description)} characters; at most {MAX_TEXT} are allowed")
    if not (math.isfinite(slo.objective) and 0 < slo.objective < 100 and slo.budget):  # noqa: PLR2004 - per cent
        yield Fault(
            ("objective",),
            f"is {slo.objective:g}; it is the share of good events in per cent, above 0 and below 100, such as 99.5",
        )
    if not SHORTEST_WINDOW <= slo.window <= LONGEST_WINDOW:
        yield Fault(("window",), f"is {durations.text(slo.window)}; it must be from 7d to 90d")
    for name, count in (("minimum_events", slo.minimum_events), ("minimum_bad", slo.minimum_bad)):
        if not 0 <= count <= MOST_EVENTS:
            yield Fault((name,), f"is {count}; it must be from 0 to {MOST_EVENTS}")
    yield from _sli_faults(slo.sli)


def _sli_faults(sli: Sli) -> Iterator[Fault]:
    for name, events in (("total", sli.total), ("good" if sli.part_is_good else "bad", sli.part)):
        if (fault := sense.aggregate_fault(events.aggregate, events.selector.metric_name)) is not None:
            yield Fault(("sli", name), fault)
        if len(events.selector.metric_name) > MAX_NAME_CHARACTERS:
            yield Fault(("sli", name), f"names a metric with more than {MAX_NAME_CHARACTERS} characters")
    if sli.part == sli.total and not sli.part_is_good:
        yield Fault(("sli", "bad"), "is the same as total: every event would be bad; select the bad ones")
