"""What is legal in a rule and yet, most likely, not meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of
from datetime import timedelta
from difflib import get_close_matches
from typing import Final

from atalaia.alerting import durations, templates
from atalaia.alerting.aggregates import ACCUMULATING, Aggregate
from atalaia.alerting.expressions import Read, Rolling, reads
from atalaia.alerting.faults import Fault
from atalaia.alerting.promql import names
from atalaia.alerting.rules import Comparison, Rule, step, tree
from atalaia.alerting.writing import lint_expressions
from atalaia.schemas.catalogue import Kind, catalogue, metric
from atalaia.schemas.events import Frequency
from atalaia.schemas.series import SeriesKey

_FIELDS: Final = frozenset(field.name for field in fields_of(SeriesKey)) - {"dimensions"}
_EXACT: Final = frozenset({Comparison.EQUAL, Comparison.NOT_EQUAL})
_MINUTE: Final = timedelta(minutes=1)
_ADDING: Final = frozenset({Aggregate.SUM, Aggregate.RATE})
_SIGN_OF_LIFE: Final = "service_up"


def lint(rule: Rule) -> list[Fault]:
    """Doubts about a rule, each with the field that raises it.

    >>> from atalaia.alerting.writing.document import from_document
    >>> print(lint(from_document({"name": "x", "metric": "cpu_usge", "condition": "> 90"}))[0])
    metric is 'cpu_usge', which the catalogue does not know; did you mean cpu_usage?
    """
    leaves = list(dict.fromkeys(reads(tree(rule))))
    found = [fault for leaf in leaves for fault in (*_metric(rule, leaf), *_matchers(rule, leaf), *_window(rule, leaf))]
    if rule.expression is None:
        found += _comparison(rule)
    else:
        found += (Fault(("expr",), doubt) for doubt in lint_expressions.doubts(rule.expression, rule.comparison))
        found += _groupings(rule)
    return list(dict.fromkeys([*found, *_timing(rule, leaves), *_texts(rule)]))


def _metric(rule: Rule, leaf: Read) -> Iterator[Fault]:
    name = leaf.selector.metric_name
    if metric(name).known:
        return
    if (other := names.other_unit(name)) is not None:
        hint = f"; {other.name} is known, in {other.unit}: a threshold for it is in that unit"
    else:
        close = get_close_matches(name, catalogue(), n=1)
        hint = f"; did you mean {close[0]}?" if close else "; it will be judged if events of that name come"
    yield Fault(_path(rule, "metric"), f"{_is(rule, name)}, which the catalogue does not know{hint}")


def _matchers(rule: Rule, leaf: Read) -> Iterator[Fault]:
    name = leaf.selector.metric_name
    for matcher in leaf.selector.matchers:
        label, value = matcher.label, matcher.value
        path = _path(rule, "where", label)
        about = "" if rule.expression is None else f"{label} "
        if label not in _labels(name):
            yield Fault(path, f"{about}is no label of {name[:60]}: no series can have it; {_known(name)}")
        elif label == "metric_name" and value != name:
            yield Fault(path, f"{about}is {value[:60]!r}, but the rule is about {name[:60]!r}")
        elif label == "tenant" and rule.tenant not in (None, value):
            yield Fault(path, f"{about}is {value[:60]!r}, but the rule is for tenant {rule.tenant!r}")


def _window(rule: Rule, leaf: Read) -> Iterator[Fault]:
    """Windows too short for how often a metric is taken, and amounts of several currencies in one."""
    entry = metric(leaf.selector.metric_name)
    periods = {Frequency.HOURLY: timedelta(hours=1), Frequency.DAILY: timedelta(days=1)}
    period = periods.get(entry.frequency, timedelta())
    if entry.kind is Kind.MONEY and leaf.grouping is not None and leaf.aggregate in _ADDING and not _one_unit(leaf):
        said = f"adds up {entry.name} of whatever currency"
        yield Fault(_path(rule, "by"), f"{said}; select one, as in {{unit='{entry.unit}'}}, or group by unit")
    windowed = rule.window is not None or rule.expression is not None
    if windowed and isinstance(leaf.span, Rolling) and leaf.span.length < period:
        said = f"reads {durations.text(leaf.span.length)} of {entry.name}, which is taken {entry.frequency}"
        yield Fault(_path(rule, "window"), f"{said}: most of the time nothing is there; use a longer window")


def _one_unit(leaf: Read) -> bool:
    """Whether all that is pooled is of one unit."""
    grouping = leaf.grouping
    by_unit = grouping is not None and ("unit" in grouping.labels) is not grouping.without
    return by_unit or any(matcher.label == "unit" for matcher in leaf.selector.matchers)


def _comparison(rule: Rule) -> Iterator[Fault]:
    measured = rule.aggregate not in {Aggregate.COUNT, Aggregate.LAST, Aggregate.FIRST}
    if rule.comparison in _EXACT and measured and rule.tolerance is None:
        yield Fault(
            ("condition",),
            f"compares the {rule.aggregate} for equality, which measurements hardly ever meet; give a tolerance",
        )
    never = rule.comparison is Comparison.BELOW and rule.threshold <= 0
    if rule.aggregate is Aggregate.COUNT and never:
        yield Fault(("threshold",), "is never reached: a count is not below zero")
    if rule.metric_name == _SIGN_OF_LIFE and rule.absent_for is None:
        yield Fault(("condition",), "waits for what a dead service cannot send; give absent_for, such as 1m")
    upward = rule.comparison in {Comparison.ABOVE, Comparison.AT_LEAST}
    if rule.window == _MINUTE and rule.aggregate in ACCUMULATING and upward:
        yield Fault(("window",), "is one minute: the running one, which begins empty; 2m or more is steadier")


def _groupings(rule: Rule) -> Iterator[Fault]:
    assert rule.expression is not None
    for grouping, metrics in lint_expressions.groupings(rule.expression):
        for label in grouping.labels:
            if metrics and all(label not in _labels(name) for name in metrics):
                said = f"groups by {label[:60]}, which no series of {', '.join(sorted(metrics))} has"
                yield Fault(("expr",), f"{said}; {_known(min(metrics))}")


def _timing(rule: Rule, leaves: list[Read]) -> Iterator[Fault]:
    lengths = [leaf.span.length for leaf in leaves if isinstance(leaf.span, Rolling)]
    windowed = rule.window is not None or rule.expression is not None
    slide = max((step(length) for length in lengths), default=_MINUTE) if windowed else _MINUTE
    if timedelta() < rule.hold < slide:
        if slide == _MINUTE:
            why = "is under a minute: " + (
                "the window slides by one, so that a single event can hold that long"
                if windowed
                else "without a window a single event can hold that long"
            )
        else:
            why = f"is shorter than {durations.text(slide)}, by which the window slides: it says nothing"
        yield Fault(("for",), why)


def _texts(rule: Rule) -> Iterator[Fault]:
    labels = frozenset[str]().union(*(_labels(leaf.selector.metric_name) for leaf in reads(tree(rule))))
    for name, text in rule.annotations:
        for place in templates.unknown_places(text):
            yield Fault(
                ("annotations", name), f"has {place}, which stays as it is; $value, $threshold and $labels.x are known"
            )
        for label in templates.labels_named(text):
            if label not in labels:
                said = f"names the label {label!r}, which no series has"
                yield Fault(("annotations", name), f"{said}; there are {', '.join(sorted(labels))}")


def _labels(metric_name: str) -> frozenset[str]:
    """The labels that series of a metric may have."""
    return _FIELDS | frozenset(metric(metric_name).dimensions)


def _known(metric_name: str) -> str:
    return f"there are {', '.join(sorted(_labels(metric_name)))}"


def _path(rule: Rule, *path: str) -> tuple[str, ...]:
    return path if rule.expression is None else ("expr",)


def _is(rule: Rule, name: str) -> str:
    return f"is {name[:60]!r}" if rule.expression is None else f"reads {name[:60]!r}"
