"""Numbers in texts, as Prometheus' templates write them: with prefixes, as shares, as durations, by `printf`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_VERB: Final = re.compile(r"%(?:%|[-+ 0]{0,3}\d{0,2}(?:\.\d{1,2})?[feEgGvsd])")
_PRINTF: Final = re.compile(r'printf\s+"((?:[^"\\%]|%%|' + _VERB.pattern + r')*)"')


def formatter(name: str) -> Callable[[float], str] | None:
    """What a function of templates makes of a number; None if there is no such function.

    >>> formatter("humanizePercentage")(0.0525), formatter('printf "%.1f %%"')(3)
    ('5.25%', '3.0 %')
    """
    found = _PRINTF.fullmatch(name)
    if found is None:
        return _FUNCTIONS.get(name)
    form = found[1]
    if sum(verb != "%%" for verb in _VERB.findall(form)) != 1:
        return None
    return lambda value: _VERB.sub(lambda verb: _printed(verb[0], value), form)


def humanize(value: float) -> str:
    """A number with a prefix of the SI.

    >>> humanize(1_234_567), humanize(0.0005), humanize(0)
    ('1.235M', '500u', '0')
    """
    prefix, size = "", abs(value)
    if size >= 1:
        for each in "kMGTPEZY":
            if abs(value) < 1000:  # noqa: PLR2004 - the step from one prefix to the next
                break
            prefix, value = each, value / 1000
    elif 0 < size < 1:
        for each in "munpfazy":
            if abs(value) >= 1:
                break
            prefix, value = each, value * 1000
    return f"{value:.4g}{prefix}"


def humanize_1024(value: float) -> str:
    """A number with a binary prefix.

    >>> humanize_1024(1_610_612_736)
    '1.5Gi'
    """
    prefix = ""
    for each in ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"):
        if abs(value) < 1024:  # noqa: PLR2004 - the step from one prefix to the next
            break
        prefix, value = each, value / 1024
    return f"{value:.4g}{prefix}"


def humanize_duration(seconds: float) -> str:
    """Seconds as days, hours, minutes and seconds.

    >>> humanize_duration(93_784), humanize_duration(0.25)
    ('1d 2h 3m 4s', '250ms')
    """
    if abs(seconds) < _MINUTE:
        return f"{humanize(seconds)}s" if abs(seconds) < 1 else f"{seconds:.4g}s"
    sign, whole = "-" if seconds < 0 else "", int(abs(seconds))
    days, hours = divmod(whole // _HOUR, 24)
    parts = ((days, "d"), (hours, "h"), (whole // _MINUTE % 60, "m"), (whole % 60, "s"))
    first = next(number for number, (count, _) in enumerate(parts) if count)
    return sign + " ".join(f"{count}{unit}" for count, unit in parts[first:])


def _percentage(value: float) -> str:
    return f"{value * 100:.4g}%"


def _printed(verb: str, value: float) -> str:
    if verb == "%%":
        return "%"
    if verb[-1] in "vs" or (verb[-1] == "d" and not value.is_integer()):
        return f"{value:.10g}"
    return verb % value


_FUNCTIONS: Final[dict[str, Callable[[float], str]]] = {
    "humanize": humanize,
    "humanize1024": humanize_1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": _percentage,
}
