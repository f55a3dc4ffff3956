"""Durations as people and Prometheus write them: `90s`, `5m`, `1h30m`, `31d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PATTERN: Final = re.compile(
    r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII
)
LONGEST: Final = timedelta(days=366)
"""Longer is a slip of the pen; the rules set their own, tighter limits."""


def parse(text: str) -> timedelta:
    """The duration that `text` says; `ValueError` names what is wrong and what would be right.

    >>> parse("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if text == "0":
        return timedelta()
    found = _PATTERN.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text[:40]!r} is not a duration; write it like 30s, 5m, 1h30m or 7d")
    counts = [int(count or 0) for count in found.groups()]
    try:
        duration = sum((count * unit for count, unit in zip(counts, _UNITS.values(), strict=True)), timedelta())
    except OverflowError:
        duration = timedelta.max
    if duration > LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than {LONGEST.days}d")
    return duration


def text(duration: timedelta) -> str:
    """The shortest spelling that `parse` reads back.

    >>> text(timedelta(hours=1)), text(timedelta(minutes=90)), text(timedelta())
    ('1h', '1h30m', '0s')
    """
    written, rest = "", duration
    for name, unit in _UNITS.items():
        if name == "w":  # 7d says more than 1w
            continue
        count, rest = divmod(rest, unit)
        written += f"{count}{name}" if count else ""
    return written or "0s"


def milliseconds(duration: timedelta) -> int:
    """The duration in whole milliseconds.

    >>> milliseconds(timedelta(seconds=1.5))
    1500
    """
    return duration // timedelta(milliseconds=1)
