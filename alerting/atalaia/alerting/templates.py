"""Texts of a rule with the alert's own labels and numbers put in: plain substitution, nothing is executed.

`{{ $labels.region }}`, `{{ $value }}` and `{{ $threshold }}` are known; a label that the series lacks becomes nothing.
What is put in is never looked at again, so a label that contains braces stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from atalaia.alerting.promql import names

_PLACE: Final = re.compile(r"\{\{([^{}]{1,200})\}\}")
_LABEL: Final = "$labels."
_NUMBERS: Final = frozenset({"$value", "$threshold"})


def fill(template: str, *, labels: Mapping[str, str], value: str, threshold: str) -> str:
    """The text with its places filled; a place that is not understood stays as it was written.

    >>> fill("{{ $labels.region }} is at {{$value}}", labels={"region": "BR"}, value="7", threshold="5")
    'BR is at 7'
    """

    def substitute(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name.startswith(_LABEL):
            asked = name.removeprefix(_LABEL)
            return labels.get(asked, labels.get(names.label(asked), ""))
        return {"$value": value, "$threshold": threshold}.get(name, found[0])

    return _PLACE.sub(substitute, template)


def unknown_places(template: str) -> Iterator[str]:
    """The places that `fill` would leave as they are.

    >>> list(unknown_places("{{ $value }} {{ humanize $value }}"))
    ['{{ humanize $value }}']
    """
    for found in _PLACE.finditer(template):
        name = found[1].strip()
        if not name.startswith(_LABEL) and name not in _NUMBERS:
            yield found[0]


def labels_named(template: str) -> Iterator[str]:
    """The labels that a template asks for.

    >>> list(labels_named("{{ $labels.region }} {{ $value }}"))
    ['region']
    """
    for found in _PLACE.finditer(template):
        name = found[1].strip()
        if name.startswith(_LABEL):
            yield names.label(name.removeprefix(_LABEL))
