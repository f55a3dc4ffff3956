"""Texts of a rule with the alert's own labels and numbers put in: plain substitution, nothing is executed.

`{{ $labels.region }}`, `{{ $value }}` and `{{ $threshold }}` are known, and numbers in Prometheus' formats (`formats`):
`{{ $value | humanizePercentage }}`, `{{ printf "%.2f" $value }}`. A label that the series lacks becomes nothing.
What is put in is never looked at again, so a label that contains braces stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from atalaia.alerting.formats import formatter
from atalaia.alerting.promql import names

_PLACE: Final = re.compile(r"\{\{([^{}]{1,200})\}\}")
_LABEL: Final = "$labels."
_NUMBERS: Final = frozenset({"$value", "$threshold"})


class _Asked(NamedTuple):
    """What a place asks for, and in which format."""

    name: str
    form: Callable[[float], str] | None = None


def fill(template: str, *, labels: Mapping[str, str], value: str, threshold: str) -> str:
    """The text with its places filled; a place that is not understood stays as it was written.

    >>> fill("{{ $labels.region }} is at {{ $value | humanize }}", labels={"region": "BR"}, value="7000", threshold="5")
    'BR is at 7k'
    """
    numbers = {"$value": value, "$threshold": threshold}

    def substitute(found: re.Match[str]) -> str:
        asked = _asked(found[1])
        if asked is None:
            return found[0]
        if asked.name in numbers:
            return _formatted(numbers[asked.name], asked.form)
        label = asked.name.removeprefix(_LABEL)
        return _formatted(labels.get(label, labels.get(names.label(label), "")), asked.form)

    return _PLACE.sub(substitute, template)


def unknown_places(template: str) -> Iterator[str]:
    """The places that `fill` would leave as they are.

    >>> list(unknown_places("{{ $value }} {{ query $value }}"))
    ['{{ query $value }}']
    """
    for found in _PLACE.finditer(template):
        if _asked(found[1]) is None:
            yield found[0]


def labels_named(template: str) -> Iterator[str]:
    """The labels that a template asks for, under our names.

    >>> list(labels_named("{{ $labels.job }} {{ $value }}"))
    ['service_name']
    """
    for found in _PLACE.finditer(template):
        asked = _asked(found[1])
        if asked is not None and asked.name.startswith(_LABEL):
            yield names.label(asked.name.removeprefix(_LABEL))


def _asked(place: str) -> _Asked | None:
    """What a place asks for: a name, a function of it, or a name put through a function."""
    written = place.strip()
    name, _, function = (part.strip() for part in written.partition("|"))
    if not function:
        function, _, name = (part.strip() for part in written.rpartition(" "))
    if name not in _NUMBERS and not (name.startswith(_LABEL) and " " not in name):
        return None
    if not function:
        return _Asked(name)
    form = formatter(function)
    return None if form is None else _Asked(name, form)


def _formatted(text: str, form: Callable[[float], str] | None) -> str:
    """A number in a format; a text that is none stays."""
    if form is None:
        return text
    try:
        return form(float(text))
    except ValueError:
        return text
