"""Which buckets a window holds at an instant: rolling ones, and those of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from atalaia.alerting import durations
from atalaia.alerting.expressions import Calendar, Period, Read, Rolling, Span
from atalaia.alerting.rules import LONGEST_WINDOW, step
from atalaia.schemas.windows import DAY_MS, HOUR_MS, MINUTE_MS

_QUARTER_MS: Final = 15 * MINUTE_MS
_STEPS: Final = (MINUTE_MS, 5 * MINUTE_MS, _QUARTER_MS, HOUR_MS, 6 * HOUR_MS)
_MOST_BUCKETS: Final = 2_100
"""Kept of one series for one leaf at most, unless its window is that long itself: a week of 5 minutes."""
_LONGEST: Final = {
    Period.HOUR: HOUR_MS,
    Period.DAY: DAY_MS + HOUR_MS,  # the night on which summer time ends
    Period.WEEK: 7 * DAY_MS + HOUR_MS,
    Period.MONTH: 31 * DAY_MS + HOUR_MS,
}


def bounds(span: Span, step_ms: int, at_ms: int) -> tuple[int, int]:
    """The starts of the first bucket of a window and of its last, the step that is running at `at_ms`.

    >>> bounds(Rolling(timedelta(minutes=5)), 60_000, 43_230_000)  # at 12:00:30: 11:56 to 12:00
    (42960000, 43200000)
    """
    running = at_ms - at_ms % step_ms
    match span:
        case Rolling(length=length):
            before = running - durations.milliseconds(length)
            return before - before % step_ms + step_ms, running
        case Calendar(period=period, zone=zone):
            start = _period_start(period, zone, running)
            return start - start % step_ms, running
        case _:
            assert_never(span)


def longest_ms(span: Span) -> int:
    """How long a window of this span can be."""
    match span:
        case Rolling(length=length):
            return durations.milliseconds(length)
        case Calendar(period=period):
            return _LONGEST[period]
        case _:
            assert_never(span)


def step_of(read: Read) -> int:
    """By how much a leaf's window slides, in ms.

    As for a rule on one series (`rules.step`), and by more where it looks far back, so that what is kept of a series is
    bounded.

    >>> from atalaia.alerting.aggregates import Aggregate
    >>> from atalaia.alerting.expressions import Selector
    >>> hour = Read(Selector("m"), Aggregate.SUM, Rolling(timedelta(hours=1)), offset=timedelta(days=7))
    >>> step_of(hour) // 60_000
    5
    """
    match read.span:
        case Rolling(length=length):
            shortest = durations.milliseconds(step(min(length, LONGEST_WINDOW)))
            whole = [
                step_ms for step_ms in _STEPS if step_ms >= shortest and not durations.milliseconds(length) % step_ms
            ]
        case Calendar(period=Period.HOUR):
            return MINUTE_MS
        case Calendar(period=Period.DAY):
            return _QUARTER_MS
        case Calendar(zone=zone):
            return HOUR_MS if _whole_hours(zone) else _QUARTER_MS
        case _:
            assert_never(read.span)
    reach_ms = durations.milliseconds(read.offset) + longest_ms(read.span)
    few_enough = [step_ms for step_ms in whole if reach_ms <= step_ms * _MOST_BUCKETS]
    return (few_enough or whole[-1:] or [shortest])[0]


@lru_cache(maxsize=1_000)
def _period_start(period: Period, zone: str, at_ms: int) -> int:
    """The first instant of the period of a zone's calendar that holds an instant."""
    local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    if period is Period.HOUR:  # an hour that summer time repeats is two hours
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return at_ms - durations.milliseconds(into)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period is Period.WEEK:
        day -= timedelta(days=day.weekday())
    elif period is Period.MONTH:
        day = day.replace(day=1)
    start = day.astimezone(UTC)
    while start.astimezone(day.tzinfo).date() < day.date():  # midnight is skipped where summer time begins with the day
        start += timedelta(minutes=15)
    return int(start.timestamp()) * 1000


@lru_cache(maxsize=1_000)
def _whole_hours(zone: str) -> bool:
    """Whether the zone's clocks show UTC's minutes, in winter and in summer."""
    tz = ZoneInfo(zone)
    offsets = (datetime(2026, month, 1, tzinfo=tz).utcoffset() or timedelta() for month in (1, 7))
    return all(not offset % timedelta(hours=1) for offset in offsets)
