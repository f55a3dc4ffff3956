"""The arguments of `emit`, checked: each error names the field, the value and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final, SupportsFloat, SupportsIndex, TypeAlias, TypedDict

from atalaia.producers.errors import MetricError
from atalaia.schemas.events import (
    EARLIEST_MS,
    MAX_AHEAD,
    MAX_METADATA_CHARACTERS,
    MAX_METADATA_KEYS,
    MAX_NAME_CHARACTERS,
)

Number: TypeAlias = SupportsFloat | SupportsIndex
"""int, float, Decimal, Fraction, numpy scalars; not bool, not text."""


class Fields(TypedDict, total=False):
    """What may be said of a metric (F1); what the catalogue knows need not be."""

    unit: str | None
    frequency: str | None
    region: str | None
    affiliate_id: str | None
    metadata: Mapping[str, str] | None
    metric_type: str | None


KNOWN_FIELDS: Final = frozenset(Fields.__annotations__)

_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD_MS: Final = MAX_AHEAD // _MILLISECOND
_BOOLEANS: Final = frozenset({"bool", "bool_"})  # Python's and numpy's


def number(value: Any) -> float:
    """A finite float.

    >>> from decimal import Decimal
    >>> number(Decimal("59.90"))
    59.9
    """
    kind = type(value)
    if kind.__name__ in _BOOLEANS:
        raise MetricError("value", value, "must be a number; write 1 or 0")
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        remedy = "write value.total_seconds()" if isinstance(value, timedelta) else "convert it with float()"
        raise MetricError("value", value, f"must be a number, not {kind.__name__}; {remedy}")
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise MetricError("value", value, f"must be a number that a double can hold ({exc})") from exc
    if not isfinite(converted):
        raise MetricError("value", value, "must be finite; skip the measurement when there is none")
    return converted


def event_time_ms(timestamp: datetime, now_ms: int) -> int:
    """Event time in ms since 1970, UTC; finer digits are cut.

    >>> event_time_ms(datetime(2026, 1, 1, tzinfo=UTC), now_ms=1_767_225_600_000)
    1767225600000
    """
    if not isinstance(timestamp, datetime):
        remedy = "must be an aware datetime; of Unix seconds: datetime.fromtimestamp(seconds, UTC)"
        raise MetricError("timestamp", timestamp, remedy)
    if timestamp.utcoffset() is None:
        raise MetricError("timestamp", timestamp, "must know its time zone; for example datetime.now(UTC)")
    at_ms = (timestamp - _EPOCH) // _MILLISECOND
    if at_ms < EARLIEST_MS:
        raise MetricError("timestamp", timestamp, "must be after 1999; were milliseconds taken for seconds?")
    if at_ms > now_ms + _AHEAD_MS:
        raise MetricError("timestamp", timestamp, "must be at most 10 minutes ahead; check its time zone and the clock")
    return at_ms


def text(field: str, value: Any, *, most: int = MAX_NAME_CHARACTERS, least: int = 1) -> str:
    """Text that UTF-8 can carry, of the right length.

    >>> text("region", "BR-SP")
    'BR-SP'
    """
    if not isinstance(value, str):
        raise MetricError(field, value, f"must be text, not {type(value).__name__}; convert it with str()")
    if not least <= len(value) <= most:
        raise MetricError(field, value, f"must have {least} to {most} characters, has {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        remedy = f"UTF-8 cannot carry the lone surrogate at {exc.start}; decode its bytes with errors='replace'"
        raise MetricError(field, value, remedy) from exc
    return str(value)


def optional_text(field: str, value: Any) -> str | None:
    """The same, or None."""
    return None if value is None else text(field, value)


def symbol(field: str, value: Any, known: tuple[str, ...]) -> int:
    """The place of an enum's symbol among those known.

    >>> symbol("frequency", "daily", ("real_time", "hourly", "daily", "monthly"))
    2
    """
    if not isinstance(value, str) or value not in known:
        raise MetricError(field, value, f"must be one of {', '.join(known)}")
    return known.index(value)


def metadata_of(value: Any) -> dict[str, str]:
    """Metadata within the limits, as a copy.

    >>> metadata_of({"payment_method": "pix"})
    {'payment_method': 'pix'}
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MetricError("metadata", value, f"must be a mapping of text to text, not {type(value).__name__}")
    if len(value) > MAX_METADATA_KEYS:
        raise MetricError("metadata", value, f"may have {MAX_METADATA_KEYS} keys, has {len(value)}")
    return {
        text("metadata key", key, most=MAX_METADATA_CHARACTERS): text(
            f"metadata[{key!r}]", entry, most=MAX_METADATA_CHARACTERS, least=0
        )
        for key, entry in value.items()
    }


def share(field: str, value: Any, *, most: float) -> float:
    """A number from 0 to `most`."""
    try:
        converted = number(value)
    except MetricError as exc:
        raise MetricError(field, value, exc.remedy) from exc
    if not 0 <= converted <= most:
        raise MetricError(field, value, f"must be between 0 and {most:g}")
    return converted
