"""A threshold sweep: how often a rule would have fired, and for how long, with each of many thresholds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from rich.table import Table

from atalaia.alerting.backtest.trials import Trial
from atalaia.alerting.rules import number_text
from atalaia.infra.errors import UsageFailure

MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What one threshold comes to."""

    threshold: float
    episodes: int
    minutes_firing: float

    @classmethod
    def of(cls, threshold: float, found: Iterable[Trial], span: tuple[int, int]) -> Self:
        """The sum of what was told with it."""
        episodes = [episode for trial in found for episode in trial.episodes() if episode.overlaps(*span)]
        return cls(threshold, len(episodes), sum(episode.minutes_within(*span) for episode in episodes))

    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def parse(text: str) -> list[float]:
    """The thresholds that FIRST..LAST/STEP means, both ends included.

    >>> parse("100..300/100")
    [100.0, 200.0, 300.0]
    """
    number = r"([-+]?\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"{number}\.\.{number}/{number}", text.replace(" ", ""))
    if found is None:
        raise UsageFailure(f"--sweep {text}: write it as FIRST..LAST/STEP, like 100..1000/10")
    first, last, step = (float(part) for part in found.groups())
    if step <= 0 or last < first:
        raise UsageFailure(f"--sweep {text}: LAST must not be below FIRST, and STEP must be above 0")
    count = int((last - first) / step + 1e-9) + 1
    if count > MOST:
        raise UsageFailure(f"--sweep {text} means {count:,} thresholds; take a STEP that makes at most {MOST:,}")
    return [round(first + index * step, 10) for index in range(count)]


def table(found: Sequence[Swept]) -> Table:
    """Thresholds, how often each fires and for how long."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("  threshold", "episodes", "minutes firing"):
        shown.add_column(title, justify="right")
    for each in found:
        shown.add_row(number_text(each.threshold), f"{each.episodes:,}", f"{each.minutes_firing:,.0f}")
    return shown
