"""Whether what came out is what went in, to the cent (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Tally:
    """So many purchases of so much money, in whole cents."""

    purchases: int = 0
    cents: int = 0

    @classmethod
    def of(cls, amounts_cents: Iterable[int]) -> Self:
        """The tally of single amounts.

        >>> str(Tally.of([1177, 1200]))
        '2 purchases, USD 23.77'
        """
        amounts = list(amounts_cents)
        return cls(len(amounts), sum(amounts))

    @property
    def dollars(self) -> str:
        """The money as people write it."""
        return f"{self.cents // 100:,}.{self.cents % 100:02}"

    def __str__(self) -> str:
        return f"{self.purchases:,} purchases, USD {self.dollars}"


PUBLISHED: Final = Tally(69_659, 250_031_563)
"""What is known of the data set: the totals that every stage must come to."""


@dataclass(frozen=True, slots=True)
class Check:
    """One place where the purchases must have arrived; `found` None where nothing could be asked."""

    place: str
    expected: Tally
    found: Tally | None

    @property
    def passed(self) -> bool:
        """Equal, purchase by purchase and cent by cent."""
        return self.found == self.expected

    @property
    def difference(self) -> str:
        """What is wrong, in words; empty where nothing is.

        >>> Check("raw", Tally(2, 300), Tally(1, 100)).difference
        '1 purchases missing, USD 2.00 missing'
        """
        if self.found is None:
            return "no answer"
        said = {
            f"{abs(count):,} purchases": count for count in [self.found.purchases - self.expected.purchases] if count
        } | {
            f"USD {Tally(0, abs(cents)).dollars}": cents for cents in [self.found.cents - self.expected.cents] if cents
        }
        return ", ".join(f"{amount} {'missing' if sign < 0 else 'too many'}" for amount, sign in said.items())


def compare(expected: Tally, found: Mapping[str, Tally | None]) -> list[Check]:
    """One check a place, in their order."""
    return [Check(place, expected, tally) for place, tally in found.items()]
