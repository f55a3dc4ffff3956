"""What an expression's leaves read: merged events of windows, and the numbers taken from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, assert_never

from atalaia.alerting import durations
from atalaia.alerting.aggregates import ACCUMULATING, PERCENTILES, Aggregate, CountWithin, Quantile
from atalaia.alerting.expressions import Labels, Read, Rolling
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.schemas import sketch
from atalaia.schemas.catalogue import metric


class Reading(NamedTuple):
    """The events of a window of one series or group; `stats` None is no events.

    `window` is the first instant and the first after it, `since_ms` when the series came under watch. A series that has
    `ended` has no latest value, and its silence is no zero.
    """

    stats: MinuteStats | None
    window: tuple[int, int]
    since_ms: int = 0
    ended: bool = False


class Source(Protocol):
    """Where events are read from."""

    def read(self, read: Read, at_ms: int) -> Iterable[tuple[Labels, Reading]]:
        """What there is at `at_ms`, for every series or group known then, each once; without the metric's name."""


Number = Callable[[MinuteStats], float | None]


def accumulates(read: Read) -> bool:
    """Whether no events are zero: of an amount or a count, not of a level.

    >>> from datetime import timedelta
    >>> from atalaia.alerting.expressions import Selector
    >>> accumulates(Read(Selector("m"), Aggregate.SUM, Rolling(timedelta(minutes=5))))
    True
    """
    return read.aggregate in ACCUMULATING or isinstance(read.aggregate, CountWithin)


def needs_sketch(read: Read) -> bool:
    """Whether the number is taken from the sketch."""
    return read.aggregate in PERCENTILES or isinstance(read.aggregate, Quantile | CountWithin)


@lru_cache(maxsize=50_000)
def number_of(read: Read) -> Number:
    """How the number of a leaf is taken from the events of its window."""
    match read.aggregate:
        case Quantile(share=share):
            return _quantile(share)
        case CountWithin(low=low, high=high):
            return lambda stats: float(sketch.count_within(stats.sketch, low, high)) if _sketched(stats) else None
        case Aggregate.P50 | Aggregate.P95 | Aggregate.P99:
            return _quantile(PERCENTILES[read.aggregate])
        case Aggregate.RATE:
            return _rate(read)
        case Aggregate():
            return _PLAIN[read.aggregate]
        case _:
            assert_never(read.aggregate)


def _rate(read: Read) -> Number:
    """Per second; of metrics whose values don't add up, events per second."""
    if not isinstance(read.span, Rolling):
        raise TypeError("a rate needs a rolling window; the loader refuses any other")
    seconds = durations.milliseconds(read.span.length) / 1000
    if Aggregate.SUM in metric(read.selector.metric_name).aggregations:
        return lambda stats: stats.sum / seconds
    return lambda stats: stats.count / seconds


def _quantile(share: float) -> Number:
    def read(stats: MinuteStats) -> float | None:
        value = sketch.quantile(stats.sketch, share) if _sketched(stats) else None
        # The sketch is right within 1 %; no quantile lies outside of what was seen.
        return None if value is None else min(max(value, stats.min), stats.max)

    return read


def _sketched(stats: MinuteStats) -> bool:
    """Whether every event is in the sketch: events from before a rule asked for one are not."""
    return sum(stats.sketch.values()) == stats.count


_PLAIN: Final[dict[Aggregate, Number]] = {
    Aggregate.LAST: lambda stats: stats.last,
    Aggregate.FIRST: lambda stats: stats.first,
    Aggregate.SUM: lambda stats: stats.sum,
    Aggregate.COUNT: lambda stats: float(stats.count),
    Aggregate.AVG: lambda stats: stats.sum / stats.count,
    Aggregate.MIN: lambda stats: stats.min,
    Aggregate.MAX: lambda stats: stats.max,
}
