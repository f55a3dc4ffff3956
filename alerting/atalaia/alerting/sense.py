"""What may be asked of a metric, over which windows, and why not the rest."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2

from atalaia.alerting import durations
from atalaia.alerting.aggregates import PERCENTILES, Aggregate, CountWithin, Quantile
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.events import Frequency

SHORTEST_WINDOW: Final = timedelta(minutes=1)
LONGEST_WINDOW: Final = timedelta(days=31)
LONGEST_OFFSET: Final = timedelta(days=31)

LATEST_WITHIN: Final = {
    Frequency.REAL_TIME: timedelta(minutes=5),  # Prometheus' look-back
    Frequency.HOURLY: timedelta(hours=2),
    Frequency.DAILY: timedelta(days=2),
    Frequency.MONTHLY: timedelta(days=62),
}
"""How old an event may be to count as the latest value of its series: two periods of a periodic metric."""

_STEPS: Final = (
    (timedelta(hours=2), timedelta(minutes=1)),
    (timedelta(hours=12), timedelta(minutes=5)),
    (timedelta(hours=36), timedelta(minutes=15)),
    (timedelta(days=7), timedelta(hours=1)),
    (LONGEST_WINDOW, timedelta(hours=6)),
)
"""Windows up to the first slide by the second: at most 168 buckets a window, whatever its length, so that state is
bounded and a judgement cheap."""

_KINDS: Final = {
    Kind.RATIO: "is a ratio, already divided",
    Kind.GAUGE: "is a level, not an amount",
    Kind.DISTRIBUTION: "is made of single observations",
    Kind.ADDITIVE: "counts increments",
    Kind.MONEY: "is an amount of money",
}


def step(window: timedelta) -> timedelta:
    """By how much a window of this length slides.

    >>> step(timedelta(hours=1)), step(timedelta(days=1))
    (datetime.timedelta(seconds=60), datetime.timedelta(seconds=900))
    """
    return next(slide for longest, slide in _STEPS if window <= longest)


@lru_cache(maxsize=1024)
def window_fault(window: timedelta) -> str | None:
    """What is wrong with the length of a rolling window, if anything.

    >>> window_fault(timedelta(minutes=181))
    'is 3h1m; a window of that length slides by 5m and must be a multiple of it'
    """
    written = durations.text(window) if window >= timedelta() else str(window)
    if not SHORTEST_WINDOW <= window <= LONGEST_WINDOW:
        return f"is {written}; it must be from 1m to 31d"
    if window % step(window):
        slide = durations.text(step(window))
        return f"is {written}; a window of that length slides by {slide} and must be a multiple of it"
    return None


def offset_fault(offset: timedelta) -> str | None:
    """What is wrong with an offset, if anything."""
    if not timedelta() <= offset <= LONGEST_OFFSET or offset % timedelta(minutes=1):
        written = durations.text(offset) if offset >= timedelta() else str(offset)
        return f"is {written}; it must be whole minutes, up to 31d"
    return None


@lru_cache(maxsize=1024)
def zone_fault(zone: str) -> str | None:
    """What is wrong with the name of a time zone, if anything.

    >>> zone_fault("America/Sao_Paulo"), zone_fault("São Paulo")[:50]
    (None, "is 'São Paulo', which the IANA database does not k")
    """
    try:
        known = bool(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    return None if known else f"is {zone[:60]!r}, which the IANA database does not know; such as America/Sao_Paulo"


@lru_cache(maxsize=4096)
def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a regular expression, if anything.

    >>> pattern_fault("5.."), pattern_fault("(a")
    (None, "is '(a', no regular expression of RE2: missing ): (a")
    """
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as exc:
        said = exc.args[0].decode("utf-8", "replace") if isinstance(exc.args[0], bytes) else str(exc)
        return f"is {pattern[:60]!r}, no regular expression of RE2: {said[:100]}"
    return None


def aggregate_fault(aggregate: Aggregate | Quantile | CountWithin, metric_name: str) -> str | None:
    """Why an aggregate of a metric means nothing, and what there is instead; None if it means something.

    >>> aggregate_fault(Aggregate.SUM, "cpu_usage")[:67]
    'is sum, and the sum of cpu_usage means nothing, for it is a level, '
    """
    entry = metric(metric_name)
    if isinstance(aggregate, CountWithin):
        name, legal_name = "count of a range", "count"
    elif isinstance(aggregate, Quantile) or aggregate in PERCENTILES:
        name = "percentile" if isinstance(aggregate, Quantile) else aggregate.value
        legal_name = Aggregate.P95.value
    else:
        name = legal_name = aggregate.value
    if legal_name in entry.aggregations:
        return None
    legal = ", ".join(each for each in Aggregate if each in entry.aggregations)
    why = f"the {name} of {entry.name} means nothing, for it {_KINDS[entry.kind]}"
    return f"is {name}, and {why}; choose one of {legal}"


def rates_count_events(metric_name: str) -> bool:
    """Whether `rate` of a metric means events a second: so it does where the values themselves don't add up."""
    return Aggregate.SUM not in metric(metric_name).aggregations
