"""The verdict: green only where nothing speaks against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from atalaia.sinks.verify import Comparison, Partition, Report, Totals, faults, same

GOOD = Report(
    partitions=(Partition(0, begin=10, checked=110, end=110, rows=97, offsets=97, dead_letters=3),),
    comparisons=(Comparison("minute", windows=5, events=97, all_events=True, different=0),),
    behind={},
    repeated_event_ids=0,
    seconds=1.0,
)


def with_partition(**changes: Any) -> Report:
    """The good report with another partition."""
    return replace(GOOD, partitions=(replace(GOOD.partitions[0], **changes),))


def test_nothing_speaks_against_a_balanced_account() -> None:
    """Kafka = raw + dead letters, rollups = raw, nobody behind: proved."""
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (with_partition(rows=96, offsets=96), "1 records are neither in raw nor in the dead letters"),
        (with_partition(dead_letters=5), "2 records are both in raw and in the dead letters"),
        (with_partition(rows=99), "2 rows are in raw twice"),
        (replace(GOOD, behind={"sink": 4}), "sink has yet to take 4 records"),
        (
            replace(GOOD, comparisons=(replace(GOOD.comparisons[0], different=2),)),
            "2 of 5 minute windows differ between raw and rollups",
        ),
    ],
)
def test_each_fault_is_said(report: Report, words: str) -> None:
    """Each way to be wrong is one sentence with its numbers."""
    (fault,) = faults(report)
    assert words in fault


def test_repeated_ids_are_no_fault() -> None:
    """An event that a person replayed has its id twice, and is two events."""
    assert faults(replace(GOOD, repeated_event_ids=7)) == []


def test_sums_may_differ_by_rounding_only() -> None:
    """A sum may differ by 1e-9 of the magnitudes that went into it, whatever is left of them after subtraction."""
    raw = Totals(2, 0.0, -1e6, 1e6)
    assert same(raw, replace(raw, sum=1e-4), magnitude=2e6)
    assert not same(raw, replace(raw, sum=1e-2), magnitude=2e6)
