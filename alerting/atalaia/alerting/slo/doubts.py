"""What is legal in an objective and yet, most likely, not meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from typing import Final

from atalaia.alerting.promql import names
from atalaia.alerting.rules import Fault
from atalaia.alerting.slo.burn import TABLE, burns_of
from atalaia.alerting.slo.objectives import Events, Slo
from atalaia.schemas.catalogue import catalogue, metric
from atalaia.schemas.series import SeriesKey

_LABELS: Final = frozenset(field.name for field in fields(SeriesKey)) - {"dimensions", "metric_name"}


def doubts(slo: Slo) -> list[Fault]:
    """Doubts about an objective, each with the field that raises it.

    >>> from atalaia.alerting.slo.document import from_document
    >>> slo = from_document({"name": "api", "service": "api", "objective": 90,
    ...                      "sli": {"bad": 'http_requests{status_class="5xx"}', "total": "http_requests"}})
    >>> print(doubts(slo)[0])
    objective leaves 10 % to fail, so nothing burns at 14.4x: that alert is left out
    """
    return [*_metrics(slo), *_grouping(slo), *_rates(slo)]


def _metrics(slo: Slo) -> Iterator[Fault]:
    seen = set()
    for path, events in ((("sli", "bad"), slo.sli.part), (("sli", "total"), slo.sli.total)):
        name = events.selector.metric_name
        if not metric(name).known and name not in seen:
            yield Fault(path, f"counts {name[:60]!r}, which the catalogue does not know; {_meant(name)}")
        elif metric(name).known:
            yield from _matchers(path, events)
        seen.add(name)


def _meant(name: str) -> str:
    if (other := names.other_unit(name)) is not None:
        return f"did you mean {other.name}, in {other.unit}?"
    close = get_close_matches(name, catalogue(), n=1)
    return f"did you mean {close[0]}?" if close else "it will be counted if events of that name come"


def _matchers(path: tuple[str, ...], events: Events) -> Iterator[Fault]:
    name = events.selector.metric_name
    known = _LABELS | frozenset(metric(name).dimensions)
    for matcher in events.selector.matchers:
        if matcher.label not in known:
            yield Fault(
                path, f"asks for the label {matcher.label!r}, which no series of {name} has; {_there_are(known)}"
            )


def _grouping(slo: Slo) -> Iterator[Fault]:
    for number, label in enumerate(slo.by):
        for events in (slo.sli.part, slo.sli.total):
            entry = metric(events.selector.metric_name)
            known = _LABELS | frozenset(entry.dimensions)
            if entry.known and label not in known:
                yield Fault(("by", number), f"is {label!r}, which no series of {entry.name} has; {_there_are(known)}")
                break


def _rates(slo: Slo) -> Iterator[Fault]:
    kept = {burn.rate for burn in burns_of(slo)}
    for burn in TABLE:
        if burn.rate not in kept:
            yield Fault(
                ("objective",),
                f"leaves {slo.budget * 100:g} % to fail, so nothing burns at {burn.rate:g}x: that alert is left out",
            )


def _there_are(labels: frozenset[str]) -> str:
    return f"there are {', '.join(sorted(labels))}"
