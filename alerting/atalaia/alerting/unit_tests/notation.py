"""promtool's notation of series: names with labels, and values as `1 2 _ stale`, `0+10x5`, `7x3`, `_x4`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

MAX_SAMPLES: Final = 100_000
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|[iI]nf|[nN]a[nN])"
_ITEM: Final = re.compile(rf"({_NUMBER})(?:([-+])({_NUMBER}))?(?:x(\d{{1,7}}))?")
_REPEATED: Final = re.compile(r"(_|stale)(?:x(\d{1,7}))?")
_METRIC: Final = re.compile(r"\s*([a-zA-Z_:][\w:.]*)?\s*(\{.*\})?\s*", re.DOTALL)
_LABEL: Final = re.compile(r"""\s*([a-zA-Z_]\w*)\s*=\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(,|$)""")


class Mark(Enum):
    """A place in a series without a number."""

    MISSING = "_"
    STALE = "stale"


Value = float | Mark


class NotationError(ValueError):
    """A text that is no series; the message names it and says what would be right."""


def values(text: str) -> list[Value]:
    """The values of a series, one an interval.

    >>> values("1+2x2 _ 7x1")
    [1.0, 3.0, 5.0, <Mark.MISSING: '_'>, 7.0, 7.0]
    >>> values("stale 10-5x1")
    [<Mark.STALE: 'stale'>, 10.0, 5.0]
    """
    found: list[Value] = []
    for item in text.split():
        found += _values_of(item)
        if len(found) > MAX_SAMPLES:
            raise NotationError(f"has over {MAX_SAMPLES} values; use a longer interval")
    return found


def _values_of(item: str) -> Iterator[Value]:
    if (marked := _REPEATED.fullmatch(item)) is not None:
        yield from [Mark(marked[1])] * min(int(marked[2] or 1), MAX_SAMPLES + 1)
        return
    number = _ITEM.fullmatch(item)
    if number is None or (number[2] and not number[4]):
        raise NotationError(f"has {item[:40]!r}; write numbers, _, stale, or runs such as 0+10x5, 7x3 and _x4")
    start = float(number[1])
    step = float(number[3] or 0) * (-1 if number[2] == "-" else 1)
    for index in range(min(int(number[4] or 0), MAX_SAMPLES) + 1):
        yield start + index * step


def series(text: str) -> tuple[str, dict[str, str]]:
    """The metric's name and the labels of a series; either may be left out.

    >>> series('up{job="api", instance="a:1"}')
    ('up', {'job': 'api', 'instance': 'a:1'})
    """
    found = _METRIC.fullmatch(text)
    if found is None:
        raise NotationError(f'is {text[:60]!r}; write it like up{{job="api"}}')
    name, braces = found[1] or "", (found[2] or "{}").strip()
    labels: dict[str, str] = {}
    rest = braces[1:-1]
    while rest.strip():
        pair = _LABEL.match(rest)
        if pair is None:
            raise NotationError(f'has {rest.strip()[:40]!r} among its labels; write them like {{job="api"}}')
        labels[pair[1]] = _unquoted(pair[2])
        rest = rest[pair.end() :]
    return labels.pop("__name__", name), labels


def _unquoted(quoted: str) -> str:
    inner = quoted[1:-1]
    if quoted[0] == "'":
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError as exc:
        raise NotationError(f"has {quoted[:40]} as a label's value; escape backslashes") from exc
