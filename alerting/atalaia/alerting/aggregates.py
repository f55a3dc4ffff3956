"""What is read from the events of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Aggregate(StrEnum):
    """What is read from the events of a window."""

    LAST = "last"
    FIRST = "first"
    SUM = "sum"
    COUNT = "count"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    RATE = "rate"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"


@dataclass(frozen=True, slots=True)
class Quantile:
    """The value below which this share (0 to 1) of the events lies, from the window's sketch: within 1 %."""

    share: float


@dataclass(frozen=True, slots=True)
class CountWithin:
    """How many events have a value from `low` to `high`, from the window's sketch.

    None within is missed; one that lies up to 2 % outside may be counted (`sketch.count_within`). No events are zero.
    """

    low: float = -math.inf
    high: float = math.inf


PERCENTILES: Final = {Aggregate.P50: 0.5, Aggregate.P95: 0.95, Aggregate.P99: 0.99}
ACCUMULATING: Final = frozenset({Aggregate.SUM, Aggregate.COUNT, Aggregate.RATE})
"""Aggregates of no events are zero, and more events only add to them."""
