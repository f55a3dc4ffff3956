"""The CDNOW purchases (SOURCE.md) as events of today's calendar: the last day of the data becomes today."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from importlib.resources import files
from typing import Final

LAST_DAY: Final = date(1998, 6, 30)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One line of the data set. Money is whole cents: a sum of cents has no rounding to argue about."""

    customer: str
    day: date
    cds: int
    cents: int

    @property
    def dollars(self) -> float:
        """The amount as an event carries it."""
        return self.cents / 100


@dataclass(frozen=True, slots=True)
class Sale:
    """A purchase with the event time that the demo gives it."""

    at: datetime
    purchase: Purchase


def purchases() -> list[Purchase]:
    """All purchases, oldest first."""
    text = gzip.decompress(files("atalaia.cli.demo").joinpath("cdnow_master.txt.gz").read_bytes()).decode("ascii")
    return sorted(map(_purchase, text.splitlines()[1:]), key=lambda purchase: purchase.day)


def _purchase(line: str) -> Purchase:
    customer, day, cds, dollars = line.split()
    whole, _, fraction = dollars.partition(".")
    return Purchase(
        customer,
        date(int(day[:4]), int(day[4:6]), int(day[6:])),
        int(cds),
        int(whole) * 100 + int(f"{fraction:0<2}"),
    )


def shifted(found: Sequence[Purchase], *, now: datetime) -> Iterator[Sale]:
    """The purchases moved by whole days so that the data's last day is today (UTC).

    The data knows the day and not the hour, so a day's purchases all happen at its noon; today's, before noon, happen
    now. No event time is ever ahead of `now`.
    """
    now = now.astimezone(UTC)
    ahead = now.date() - LAST_DAY
    for purchase in found:
        yield Sale(min(noon(purchase.day + ahead), now), purchase)


def noon(day: date) -> datetime:
    """Noon UTC.

    >>> noon(date(2026, 1, 31)).isoformat()
    '2026-01-31T12:00:00+00:00'
    """
    return datetime.combine(day, time(12), UTC)
