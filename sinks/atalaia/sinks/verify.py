"""The proof, as values: what Kafka took is in raw or in the dead letters, once (P8, P2), and rollups equal raw (P3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

SUM_TOLERANCE: Final = 1e-9
"""Of the sum of the values' magnitudes: doubles added in another order differ by some 1e-16 of it an addition."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of the metrics topic, and what became of its offsets from `begin` (Kafka's first) to `checked`."""

    number: int
    begin: int
    checked: int
    end: int
    rows: int
    """In metric_events."""
    offsets: int
    """Different ones among the rows."""
    dead_letters: int
    """Different offsets in dead_letters."""
    gaps: tuple[tuple[int, int], ...] = ()
    """Offsets that are in neither: first and last of the first few runs."""

    @property
    def lag(self) -> int:
        """Records that were in Kafka when we began, and that the sink has not taken."""
        return self.end - self.checked

    @property
    def twice(self) -> int:
        """Rows too many."""
        return self.rows - self.offsets

    @property
    def unaccounted(self) -> int:
        """Records that are in neither place; below zero, records that are in both."""
        return self.checked - self.begin - self.offsets - self.dead_letters


@dataclass(frozen=True, slots=True)
class Totals:
    """What the events of one window of one series come to. `min` and `max` are None of no events."""

    count: int
    sum: float
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A window of a series in one partition where rollups and raw differ. `raw` has the events the rollup knows of."""

    window_start: datetime
    partition: int
    labels: dict[str, str]
    raw: Totals
    rollup: Totals
    missing: int
    """Events that were in Kafka when we began, and that the rollup does not know of."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All windows of one granularity. A window counts once for each series and partition that it has events of."""

    granularity: str
    windows: int
    events: int
    all_events: bool
    """False: only windows so young that none of their events can be past retention were compared."""
    different: int
    examples: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, of what was in Kafka when we began."""

    partitions: tuple[Partition, ...]
    comparisons: tuple[Comparison, ...]
    behind: dict[str, int]
    """Records that a worker has yet to take, by group and topic."""
    repeated_event_ids: int
    """Events under an id that another event has: replayed by hand, or sent again by a restarted service. No fault."""
    seconds: float


def same(raw: Totals, rollup: Totals, *, magnitude: float) -> bool:
    """True where two ways to add up the same events agree; `magnitude` is the sum of their absolute values.

    >>> same(Totals(2, 0.30000000000000004, 0.1, 0.2), Totals(2, 0.3, 0.1, 0.2), magnitude=0.3)
    True
    >>> same(Totals(2, 0.3, 0.1, 0.2), Totals(3, 0.3, 0.1, 0.2), magnitude=0.3)
    False
    """
    return (
        raw.count == rollup.count
        and raw.min == rollup.min
        and raw.max == rollup.max
        and abs(raw.sum - rollup.sum) <= SUM_TOLERANCE * magnitude
    )


def faults(report: Report) -> list[str]:
    """What speaks against it, a sentence each; none where all is proved."""
    found = [fault for partition in report.partitions for fault in _of_partition(partition)]
    found += [
        f"{each.different} of {each.windows} {each.granularity} windows differ between raw and rollups"
        for each in report.comparisons
        if each.different
    ]
    found += [f"{who} has yet to take {records} records" for who, records in sorted(report.behind.items())]
    return found


def _of_partition(partition: Partition) -> Iterable[str]:
    where = f"partition {partition.number}"
    if partition.unaccounted > 0:
        yield f"{where}: {partition.unaccounted} records are neither in raw nor in the dead letters"
    if partition.unaccounted < 0:
        yield f"{where}: {-partition.unaccounted} records are both in raw and in the dead letters"
    if partition.twice:
        yield f"{where}: {partition.twice} rows are in raw twice"
