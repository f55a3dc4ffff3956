"""What each field of a written rule may be: values of the right type, or a phrase that says what would be right.

Every function takes what a YAML or JSON parser made of a value and raises `ValueError`, which pydantic gathers.
"""
# ruff: noqa: TRY004 - of the errors raised in a validator pydantic gathers ValueError, and lets TypeError through

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeVar

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, Quantile
from atalaia.alerting.comparisons import Comparison

MAX_TEXT: Final = 4_000
MAX_TEXTS: Final = 64
MAX_LISTED: Final = 10_000
_OPERATORS: Final = ", ".join(Comparison)
_CONDITION: Final = re.compile(r"(>=|<=|==|!=|>|<)\s*([-+]?\d[\d.]*(?:[eE][-+]?\d{1,4})?)?")
_SHOWN: Final = 60
_DOUBLE_BITS: Final = 64
"""Larger whole numbers are shown by name: Python refuses to write out the largest ones."""
_T = TypeVar("_T")


def shown(value: object) -> str:
    """A value for an error message: what was written, if it fits a line.

    >>> shown("x"), shown([1])
    ("'x'", 'a list')
    """
    if isinstance(value, int) and value.bit_length() > _DOUBLE_BITS:
        return "a huge number"
    written = repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def text(value: object) -> str:
    """Text that UTF-8 can carry, of a bearable length."""
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}; it must be text, in quotes if it looks like something else")
    if len(value) > MAX_TEXT:
        raise ValueError(f"has {len(value)} characters; at most {MAX_TEXT} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("contains half of a surrogate pair, which is no character; write the whole one") from exc
    return value


def label(value: object) -> str:
    """A label's value: a whole number is what it looks like, as in `affiliate_id: 7`."""
    whole_number = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _DOUBLE_BITS
    return text(str(value) if whole_number else value)


def texts(value: object) -> list[object]:
    """A list of texts, each still to be checked; one text is a list of one."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise ValueError(f"is {shown(value)}; it must be a list of texts")
    if len(listed) > MAX_TEXTS:
        raise ValueError(f"has {len(listed)} entries; at most {MAX_TEXTS} are allowed")
    return listed


def mapping(value: object) -> dict[str, object]:
    """A mapping whose names are texts."""
    if not isinstance(value, dict):
        raise ValueError(f"is {shown(value)}; it must be a mapping of names to values")
    if len(value) > MAX_TEXTS:
        raise ValueError(f"has {len(value)} entries; at most {MAX_TEXTS} are allowed")
    return {text(name): entry for name, entry in value.items()}


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is {shown(value)}; it must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("is not finite or too large; it must be a number that a double can hold")
    return number


def whole(value: object) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"is {shown(value)}; it must be a whole number")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {shown(value)}; it must be true or false")
    return value


def duration(value: object) -> timedelta:
    """A duration with its unit; a bare 0 needs none."""
    if value == 0 and not isinstance(value, bool):
        return timedelta()
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}; it must be a duration with a unit, such as 30s, 5m or 1h")
    try:
        return durations.parse(value)
    except ValueError as exc:
        raise ValueError(f"is {exc}") from exc


def one_of(choices: Mapping[str, _T]) -> Callable[[object], _T]:
    """A reader of one of a few names, in any case."""

    def choose(value: object) -> _T:
        found = choices.get(value.lower()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"is {shown(value)}; choose one of {', '.join(choices)}")
        return found

    return choose


def condition(value: object) -> tuple[Comparison, float | None]:
    """An operator, and the threshold where it stands beside it: `>` or `> 500`."""
    found = _CONDITION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is {shown(value)}; write one of {_OPERATORS} in quotes, or with a number, as in '> 500'")
    try:
        return Comparison(found[1]), None if found[2] is None else number(float(found[2]))
    except ValueError as exc:
        raise ValueError(f"is {shown(value)}: {found[2]} is no finite number") from exc


_STEPS: Final = re.compile(r"(\d{1,4})\s*(?:of|/)\s*(\d{1,4})")
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,6})?)")


def steps(value: object) -> tuple[int, int]:
    """In how many of the last so-and-so many steps: `3 of 5`.

    >>> steps("3 of 5")
    (3, 5)
    """
    found = _STEPS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is {shown(value)}; write it like 3 of 5")
    return int(found[1]), int(found[2])


def aggregate(value: object) -> Aggregate | Quantile:
    """An aggregate's name, or any percentile's: `p99.9`.

    >>> aggregate("p99.9"), aggregate("P95")
    (Quantile(share=0.999), <Aggregate.P95: 'p95'>)
    """
    written = value.lower() if isinstance(value, str) else value
    found = _PERCENTILE.fullmatch(written) if isinstance(written, str) and written not in _AGGREGATES else None
    if found is not None:
        return Quantile(float(Decimal(found[1]) / 100))
    return one_of(_AGGREGATES)(value)


_AGGREGATES: Final = {each.value: each for each in Aggregate}


def amount(value: object) -> object:
    """One side of a ratio: PromQL, or a mapping of a metric and how to read it."""
    return {"expr": value} if isinstance(value, str) else mapping(value)


def listed(value: object) -> list[object]:
    """A list of mappings, each still to be checked."""
    if not isinstance(value, list):
        raise ValueError(f"is {shown(value)}; it must be a list")
    if len(value) > MAX_LISTED:
        raise ValueError(f"has {len(value)} entries; at most {MAX_LISTED} are allowed")
    return value
