"""The rules of an objective: how fast its budget may burn before somebody is called.

Multiwindow, multi-burn-rate alerts as in *The Site Reliability Workbook* (Beyer, Murphy, Rensin, Kawahara, Thorne:
O'Reilly 2018), chapter 5, "Alerting on SLOs", section 6. A burn rate of 1 spends exactly the budget over the window of
the objective. A long window makes sure that enough of the budget is gone to matter, and a short one, a twelfth of it,
that it is still going: both must be above the rate.

The page and the ticket of an objective are one rule each, true where one of its burns is. The ticket is silent where
the page is not (`unless`): who is called now needs no reminder for this week.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import Binary, Expression, Number, Operator, Read, Rolling
from atalaia.alerting.rules import Rule, step
from atalaia.alerting.slo.document import sli_document
from atalaia.alerting.slo.objectives import Events, Sli, Slo, Urgency
from atalaia.alerting.writing.document import identifier
from atalaia.schemas import sketch
from atalaia.schemas.events import Severity

TABLE_WINDOW: Final = timedelta(days=30)
"""What the table is for; the windows of another objective are longer or shorter in proportion, so that the same share
of its budget is gone when it fires."""


@dataclass(frozen=True, slots=True)
class Burn:
    """A rate, over a long and a short window, and whom it calls."""

    urgency: Urgency
    rate: float
    long: timedelta
    short: timedelta


TABLE: Final = (
    Burn(Urgency.PAGE, 14.4, timedelta(hours=1), timedelta(minutes=5)),  # 2 % of the budget gone
    Burn(Urgency.PAGE, 6.0, timedelta(hours=6), timedelta(minutes=30)),  # 5 %
    Burn(Urgency.TICKET, 3.0, timedelta(days=1), timedelta(hours=2)),  # 10 %
    Burn(Urgency.TICKET, 1.0, timedelta(days=3), timedelta(hours=6)),  # 10 %
)

MARK: Final = "slo"
"""The annotation that names the objective which a rule was made for; the others that begin so say more of it."""

SEVERITIES: Final = {Urgency.PAGE: Severity.CRITICAL, Urgency.TICKET: Severity.MEDIUM}


def burns_of(slo: Slo) -> list[Burn]:
    """The burns that an objective is watched for, fastest first.

    Left out are rates that cannot be: with an objective of 90 % nothing burns faster than ten times.
    """
    scaled = (
        Burn(burn.urgency, burn.rate, _scaled(burn.long, slo.window), _scaled(burn.short, slo.window)) for burn in TABLE
    )
    return [burn for burn in scaled if threshold(slo, burn) < 1]


def threshold(slo: Slo, burn: Burn) -> float:
    """The share of bad events that is this burn."""
    return round(slo.budget * burn.rate, 12)


def rules_of(slo: Slo) -> list[Rule]:
    """The rules of an objective: its page and its ticket, as far as there are burns for them."""
    return [rule for urgency in Urgency if (rule := _rule(slo, urgency)) is not None]


def rule_id(slo_name: str, urgency: Urgency) -> str:
    """The id of an objective's rule.

    >>> rule_id("Checkout availability", Urgency.PAGE)
    'slo-checkout-availability-page'
    """
    return f"slo-{identifier(slo_name)}-{urgency}"


def ratio(slo: Slo, window: timedelta, *, minimum_events: int = 1) -> Expression:
    """The share of bad events in a window, group by group; no value where there are fewer events than the minimum."""
    sli = _simplest(slo.sli)
    total = _count(slo, sli.total, window)
    share = Binary(Operator.DIVIDE, _part(slo, sli, window), total, minimum_denominator=float(minimum_events))
    return Binary(Operator.SUBTRACT, Number(1.0), share) if sli.part_is_good else share


def _rule(slo: Slo, urgency: Urgency) -> Rule | None:
    burns, pages = ([burn for burn in burns_of(slo) if burn.urgency is wanted] for wanted in (urgency, Urgency.PAGE))
    if not burns:
        return None
    condition = _any_of(slo, burns)
    if urgency is Urgency.TICKET and pages and slo.page.is_active:
        condition = Binary(Operator.UNLESS, condition, _any_of(slo, pages))
    alerting = slo.alerting(urgency)
    return Rule(
        rule_id=rule_id(slo.name, urgency),
        name=f"SLO {slo.name}: {urgency}",
        metric_name=slo.sli.total.selector.metric_name,
        comparison=None,
        threshold=min(threshold(slo, burn) for burn in burns),
        expression=condition,
        tenant=slo.tenant,
        severity=alerting.severity or SEVERITIES[urgency],
        owner=slo.owner,
        annotations=tuple(sorted(_texts(slo, urgency, burns).items())),
        actions=alerting.actions,
        channels=alerting.channels,
        recipients=alerting.recipients,
        is_active=alerting.is_active,
    )


def _any_of(slo: Slo, burns: list[Burn]) -> Expression:
    """Where one of the burns is, and there are events in the shortest of their windows.

    Without events nothing is decided: a service that died while it failed has not recovered.
    """
    conditions = [_burning(slo, burn) for burn in burns]
    burning = reduce(lambda left, right: Binary(Operator.OR, left, right), conditions)
    total = _count(slo, slo.sli.total, min(burn.short for burn in burns))
    return Binary(Operator.AND, burning, Binary(Operator.DIVIDE, total, total, minimum_denominator=1.0))


def _burning(slo: Slo, burn: Burn) -> Expression:
    """Where both windows are above the rate; its value is the share of bad events in the long one."""
    limit = Number(threshold(slo, burn))
    long = ratio(slo, burn.long, minimum_events=max(slo.minimum_events, 1))
    both = Binary(
        Operator.AND,
        Binary(Operator.ABOVE, long, limit),
        Binary(Operator.ABOVE, ratio(slo, burn.short), limit),
    )
    return Binary(Operator.AND, both, _enough_bad(slo, burn.long)) if slo.minimum_bad > 1 else both


def _enough_bad(slo: Slo, window: timedelta) -> Expression:
    """Where there are as many bad events as the minimum.

    Said as a share, (bad - minimum + 0.5) / total > 0, because a share may be judged while a step is still running: of
    a count alone it would not be known whether it is too low (`outlook.must_settle`).
    """
    sli = _simplest(slo.sli)
    total, part = _count(slo, sli.total, window), _part(slo, sli, window)
    bad = Binary(Operator.SUBTRACT, total, part) if sli.part_is_good else part
    beyond = Binary(Operator.SUBTRACT, bad, Number(slo.minimum_bad - 0.5))
    return Binary(Operator.ABOVE, Binary(Operator.DIVIDE, beyond, total, minimum_denominator=1.0), Number(0.0))


def _simplest(sli: Sli) -> Sli:
    """The same indicator; one of the values from a bound upwards is that of those below it, the other way round."""
    match sli.part.aggregate:
        case CountWithin(low=low, high=math.inf) if sli.total == Events(sli.part.selector, Aggregate.COUNT):
            others = Events(sli.part.selector, CountWithin(high=sketch.below(low)))
            return Sli(sli.total, others, part_is_good=not sli.part_is_good)
    return sli


def _count(slo: Slo, events: Events, window: timedelta) -> Expression:
    """How many events there are; those from a bound upwards are all, less those below it, as PromQL would have it."""

    def read(aggregate: Aggregate | CountWithin) -> Read:
        return Read(events.selector, aggregate, Rolling(window), grouping=slo.grouping)

    match events.aggregate:
        case CountWithin(low=low) if math.isfinite(low):
            return Binary(Operator.SUBTRACT, read(Aggregate.COUNT), read(CountWithin(high=sketch.below(low))))
        case aggregate:
            return read(aggregate)


def _part(slo: Slo, sli: Sli, window: timedelta) -> Expression:
    """The bad events, or the good ones, and zero where there are events but none of these.

    The first error makes the series of errors: until then there is none.
    """
    part, total = _count(slo, sli.part, window), _count(slo, sli.total, window)
    if sli.part.selector == sli.total.selector:
        return part
    return Binary(Operator.OR, part, Binary(Operator.MULTIPLY, total, Number(0.0)))


def _texts(slo: Slo, urgency: Urgency, burns: list[Burn]) -> dict[str, str]:
    """What the alert says: the objective's own labels and annotations, but those by which it is told from others."""
    rates = " or ".join(
        f"{burn.rate:g}x over {durations.text(burn.long)} and {durations.text(burn.short)}" for burn in burns
    )
    said = {
        "summary": f"{slo.name}: {{{{ $value }}}} of the events are bad; {slo.budget:g} may be. "
        f"The error budget of {slo.service} burns too fast",
        "description": f"{slo.description} Objective {slo.objective:g} % over {durations.text(slo.window)}. "
        f"This {urgency} is for burns of {rates}.".strip(),
    }
    marks = {
        MARK: slo.name,
        "slo_service": slo.service,
        "slo_objective": f"{slo.objective:.12g}",
        "slo_window": durations.text(slo.window),
        "slo_sli": json.dumps(sli_document(slo.sli), ensure_ascii=False),
    }
    runbook = {"runbook_url": slo.runbook_url} if slo.runbook_url else {}
    return dict(slo.labels) | said | runbook | dict(slo.alerting(urgency).annotations) | marks


def _scaled(window: timedelta, slo_window: timedelta) -> timedelta:
    """A window of the table for an objective of another window, to the nearest that a rule may have."""
    exact = window * (slo_window / TABLE_WINDOW)
    slide = step(exact)
    return max(timedelta(minutes=1), round(exact / slide) * slide)
