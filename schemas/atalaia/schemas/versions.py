"""The version of a rollup row: who wrote it, and how far it had read. The higher replaces the lower.

A worker that was taken for dead (a suspended machine) may write once more, after its successor. What it writes then has
read further than the rows that the successor has closed, and yet is not the truth: the successor may have let a window
go and opened it anew, and what came in between would count twice. So the *epoch* comes first: it grows with every
owner of a partition.
"""

from __future__ import annotations

from typing import Final

OFFSET_BITS: Final = 40
"""A million million offsets a partition, and eight million owners, in 63 bits."""


def version(epoch: int, offset: int) -> int:
    """The version of what an owner writes that has applied events up to an offset.

    >>> version(2, 5) > version(1, 99), offset_of(version(2, 5))
    (True, 5)
    """
    return epoch << OFFSET_BITS | offset


def offset_of(stamped: int) -> int:
    """The offset of the last event applied."""
    return stamped & (1 << OFFSET_BITS) - 1


def offset_sql(column: str) -> str:
    """The same in ClickHouse's SQL."""
    return f"bitAnd({column}, {(1 << OFFSET_BITS) - 1})"
