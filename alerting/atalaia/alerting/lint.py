"""What is legal in a rule and yet, most likely, not meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of
from datetime import timedelta
from difflib import get_close_matches
from typing import Final

from atalaia.alerting import templates
from atalaia.alerting.aggregates import ACCUMULATING, Aggregate
from atalaia.alerting.rules import Comparison, Fault, Rule
from atalaia.schemas.catalogue import catalogue, metric
from atalaia.schemas.series import SeriesKey

_FIELDS: Final = frozenset(field.name for field in fields_of(SeriesKey)) - {"dimensions"}
_EXACT: Final = frozenset({Comparison.EQUAL, Comparison.NOT_EQUAL})
_OFTEN: Final = timedelta(minutes=1)


def lint(rule: Rule) -> list[Fault]:
    """Doubts about a rule, each with the field that raises it.

    >>> from atalaia.alerting.document import from_document
    >>> print(lint(from_document({"name": "x", "metric": "cpu_usge", "condition": "> 90"}))[0])
    metric is 'cpu_usge', which the catalogue does not know; did you mean cpu_usage?
    """
    return [*_metric(rule), *_matchers(rule), *_comparison(rule), *_texts(rule)]


def _metric(rule: Rule) -> Iterator[Fault]:
    if not metric(rule.metric_name).known:
        close = get_close_matches(rule.metric_name, catalogue(), n=1)
        hint = f"; did you mean {close[0]}?" if close else "; it will be judged if events of that name come"
        yield Fault(("metric",), f"is {rule.metric_name[:60]!r}, which the catalogue does not know{hint}")


def _matchers(rule: Rule) -> Iterator[Fault]:
    for label, value in rule.matchers:
        if label not in _labels(rule):
            yield Fault(
                ("where", label), f"is no label of {rule.metric_name[:60]}: no series can have it; {_known(rule)}"
            )
        elif label == "metric_name" and value != rule.metric_name:
            yield Fault(("where", label), f"is {value[:60]!r}, but the rule is about {rule.metric_name[:60]!r}")
        elif label == "tenant" and rule.tenant not in (None, value):
            yield Fault(("where", label), f"is {value[:60]!r}, but the rule is for tenant {rule.tenant!r}")


def _comparison(rule: Rule) -> Iterator[Fault]:
    measured = rule.aggregate not in {Aggregate.COUNT, Aggregate.LAST, Aggregate.FIRST}
    if rule.comparison in _EXACT and measured:
        yield Fault(("condition",), f"compares the {rule.aggregate} for equality, which measurements hardly ever meet")
    never = rule.comparison is Comparison.BELOW and rule.threshold <= 0
    if rule.aggregate is Aggregate.COUNT and never:
        yield Fault(("threshold",), "is never reached: a count is not below zero")
    if rule.window is None and timedelta() < rule.hold < _OFTEN:
        yield Fault(("for",), "is under a minute: without a window a single event can hold that long")
    if (
        rule.window == _OFTEN
        and rule.aggregate in ACCUMULATING
        and rule.comparison in {Comparison.ABOVE, Comparison.AT_LEAST}
    ):
        yield Fault(("window",), "is one minute: the running one, which begins empty; 2m or more is steadier")


def _texts(rule: Rule) -> Iterator[Fault]:
    for name, text in rule.annotations:
        for place in templates.unknown_places(text):
            yield Fault(
                ("annotations", name), f"has {place}, which stays as it is; $value, $threshold and $labels.x are known"
            )
        for label in templates.labels_named(text):
            if label not in _labels(rule):
                yield Fault(("annotations", name), f"names the label {label!r}, which no series has; {_known(rule)}")


def _labels(rule: Rule) -> frozenset[str]:
    """The labels that series of the rule's metric may have."""
    return _FIELDS | frozenset(metric(rule.metric_name).dimensions)


def _known(rule: Rule) -> str:
    return f"there are {', '.join(sorted(_labels(rule)))}"
