"""Dead letters as the command line sees them: why they are dead, how many of a kind, what their bytes are (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from atalaia.cli import records
from atalaia.cli.records import Record
from atalaia.schemas.screening import EXPLANATIONS, Reason

HEADER: Final = "__connect.errors."
UNKNOWN_REASON: Final = "no reason given"
_BYTES_SHOWN: Final = 512
_BYTES_A_LINE: Final = 16
_PRINTABLE: Final = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of a dead letter topic, and what its headers say of it."""

    record: Record

    def said(self, key: str) -> str | None:
        """What one of Kafka Connect's error headers says."""
        found = dict(self.record.headers).get(HEADER + key)
        return None if found is None else records.text(found)

    @property
    def topic(self) -> str:
        """Where it failed."""
        return self.said("topic") or self.record.topic.removesuffix(".dlq")

    @property
    def reason(self) -> str:
        """Why, in one word."""
        return self.said("exception.class.name") or UNKNOWN_REASON

    @property
    def original_headers(self) -> list[tuple[str, bytes]]:
        """The headers that it came with."""
        return [(name, value) for name, value in self.record.headers if not name.startswith(HEADER)]


@dataclass(frozen=True, slots=True)
class Group:
    """The dead letters of one topic and reason; times are when they became dead letters."""

    topic: str
    reason: str
    count: int
    first: datetime
    last: datetime


def group(letters: Iterable[DeadLetter]) -> list[Group]:
    """Counts by topic and reason, the most frequent first; holds no records in memory."""
    found: dict[tuple[str, str], Group] = {}
    for letter in letters:
        key, at = (letter.topic, letter.reason), letter.record.at
        known = found.get(key, Group(*key, 0, at, at))
        found[key] = replace(known, count=known.count + 1, first=min(known.first, at), last=max(known.last, at))
    return sorted(found.values(), key=lambda one: (-one.count, one.topic, one.reason))


def hexdump(value: bytes, *, most: int = _BYTES_SHOWN) -> list[str]:
    r"""Bytes as `hexdump -C` shows them; of a long value the beginning, and how much is left out.

    >>> print(*hexdump(b"\x00\x00\x00\x00\x07revenue"))
    00000000  00 00 00 00 07 72 65 76  65 6e 75 65              |.....revenue|
    """
    shown = value[:most]
    lines = [_dump_line(at, shown[at : at + _BYTES_A_LINE]) for at in range(0, len(shown), _BYTES_A_LINE)]
    if len(value) > most:
        lines.append(f"… {len(value) - most:,} more bytes")
    return lines


def _dump_line(at: int, part: bytes) -> str:
    half = _BYTES_A_LINE // 2
    digits = f"{part[:half].hex(' '):<{half * 3 - 1}}  {part[half:].hex(' '):<{half * 3 - 1}}"
    letters = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in part)
    return f"{at:08x}  {digits}  |{letters}|"


def explanation(reason: str) -> str:
    """What a reason means and what to do about it.

    >>> explanation("not_finite")
    'value is NaN or infinite; a measurement must be finite'
    """
    return EXPLANATIONS[Reason(reason)] if reason in EXPLANATIONS else "not one of Atalaia's reasons"
