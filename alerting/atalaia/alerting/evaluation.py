"""What a rule says of a window of events: pure functions, the same live, in tests and in backtests.

**Which events are judged.** Events are kept in buckets of one *step*: one minute for windows up to 2 h, more for longer
ones (`rules.step`). At the instant `at` a window of n steps is the running step, so far, and the n - 1 before it:
the buckets whose start is in (at - window, at]. At 12:00:30 a window of 1 h is 11:01:00 up to now.

A sum, count or rate that is compared from below (`<`, `<=`, `==`, `!=`) is judged over the last n *whole* steps, the
buckets whose start is in [s - window, s) where s is the start of the step that ran at `at` less the allowed lateness:
else every minute would begin with too few, and end without its stragglers. It is judged only when the series has been
watched for all of them: a service that has just started has not sold too little.

**No events.** A sum, count or rate of no events is 0. Of anything else there is no verdict then, nor where there are
fewer than `minimum_count` events: a pending alert ends, a firing one goes on, for silence is not recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from atalaia.alerting import durations
from atalaia.alerting.aggregates import ACCUMULATING, PERCENTILES, Aggregate
from atalaia.alerting.buckets import MinuteStats
from atalaia.alerting.rules import Comparison, Rule, counts_events, step
from atalaia.schemas import sketch

LATENESS: Final = timedelta(seconds=5)
"""The worker's default for how late an event may come."""

TOLERANCE: Final = 1e-9
"""Numbers closer than this share of the threshold are equal: sums of decimals in binary floating point are not exact,
and depend on the order of their terms. The error of summing a million terms of one sign stays below it."""

SUMS: Final = ACCUMULATING | {Aggregate.AVG}
"""Aggregates that count and sum alone suffice for."""

ADDING_UP: Final = frozenset({Comparison.ABOVE, Comparison.AT_LEAST})


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule made ready for judging many series: plain numbers and functions instead of names.

    A bucket that starts at s is judged while `at` is in [s + `lag_ms`, s + `lag_ms` + `window_ms`): at once, or after a
    whole step and the allowed lateness. `needs_ends`: it reads more of a window than count and sum.
    """

    rule: Rule
    holds: Callable[[float], bool]
    read: Callable[[MinuteStats], float | None]
    window_ms: int
    step_ms: int
    lag_ms: int
    zero_when_empty: bool
    minimum_count: int
    hold_ms: int
    needs_sketch: bool
    needs_ends: bool


class Judgement(NamedTuple):
    """What a rule says at one instant: `holds` None is no verdict."""

    holds: bool | None
    value: float | None


NO_VERDICT: Final = Judgement(None, None)


def prepare(rule: Rule, *, lateness: timedelta = LATENESS) -> Condition:
    """The condition of a rule, ready for use."""
    window_ms = durations.milliseconds(rule.window) if rule.window is not None else 0
    step_ms = durations.milliseconds(step(rule.window)) if rule.window is not None else 0
    accumulating = rule.aggregate in ACCUMULATING
    whole_steps = accumulating and rule.comparison not in ADDING_UP
    return Condition(
        rule=rule,
        holds=_comparing(rule.comparison or Comparison.ABOVE, rule.threshold),
        read=_reading(rule, window_ms),
        window_ms=window_ms,
        step_ms=step_ms,
        lag_ms=step_ms + durations.milliseconds(lateness) if whole_steps else 0,
        zero_when_empty=accumulating,
        minimum_count=rule.minimum_count,
        hold_ms=durations.milliseconds(rule.hold),
        needs_sketch=rule.aggregate in PERCENTILES,
        needs_ends=rule.aggregate not in SUMS,
    )


def window_at(condition: Condition, at_ms: int) -> tuple[int, int]:
    """The judged window at `at_ms`: its first instant, and the first after it.

    >>> from datetime import timedelta
    >>> hour = prepare(Rule(rule_id="r", name="R", metric_name="m", aggregate=Aggregate.SUM,
    ...                     window=timedelta(hours=1), comparison=Comparison.ABOVE, threshold=500))
    >>> window_at(hour, 43_230_000) == (39_660_000, 43_260_000)  # at 12:00:30: 11:01 to 12:01
    True
    """
    newest = at_ms - condition.lag_ms
    end = newest - newest % condition.step_ms + condition.step_ms
    return end - condition.window_ms, end


def judge(condition: Condition, stats: MinuteStats | None) -> Judgement:
    """The verdict on the merged events of a window; None is no events."""
    if stats is None:
        value = 0.0 if condition.zero_when_empty and not condition.minimum_count else None
    elif stats.count < condition.minimum_count:
        value = None
    else:
        value = condition.read(stats)
    return NO_VERDICT if value is None else Judgement(condition.holds(value), value)


def evaluate(rule: Rule, minutes: Iterable[MinuteStats], *, at_ms: int, watched_since_ms: int) -> Judgement:
    """The verdict of a rule with a window on one series: the definition that the running judge must agree with."""
    condition = prepare(rule)
    start, end = window_at(condition, at_ms)
    if condition.lag_ms and start <= watched_since_ms - watched_since_ms % condition.step_ms:
        return NO_VERDICT
    merged: MinuteStats | None = None
    for minute in minutes:
        if start <= minute.start_ms < end:
            merged = minute.copy() if merged is None else merged.add(minute)
    return judge(condition, merged)


def _comparing(comparison: Comparison, threshold: float) -> Callable[[float], bool]:
    slack = TOLERANCE * abs(threshold)
    low, high = threshold - slack, threshold + slack
    tests: dict[Comparison, Callable[[float], bool]] = {
        Comparison.ABOVE: lambda value: value > high,
        Comparison.BELOW: lambda value: value < low,
        Comparison.AT_LEAST: lambda value: value >= low,
        Comparison.AT_MOST: lambda value: value <= high,
        Comparison.EQUAL: lambda value: low <= value <= high,
        Comparison.NOT_EQUAL: lambda value: not low <= value <= high,
    }
    return tests[comparison]


def _reading(rule: Rule, window_ms: int) -> Callable[[MinuteStats], float | None]:
    if rule.aggregate in PERCENTILES:
        return _quantile(PERCENTILES[rule.aggregate])
    if rule.aggregate is Aggregate.RATE:
        seconds = window_ms / 1000
        if counts_events(rule):
            return lambda stats: stats.count / seconds
        return lambda stats: stats.sum / seconds
    readers: dict[Aggregate, Callable[[MinuteStats], float | None]] = {
        Aggregate.LAST: lambda stats: stats.last,
        Aggregate.FIRST: lambda stats: stats.first,
        Aggregate.SUM: lambda stats: stats.sum,
        Aggregate.COUNT: lambda stats: float(stats.count),
        Aggregate.AVG: lambda stats: stats.sum / stats.count,
        Aggregate.MIN: lambda stats: stats.min,
        Aggregate.MAX: lambda stats: stats.max,
    }
    return readers[rule.aggregate]


def _quantile(share: float) -> Callable[[MinuteStats], float | None]:
    def read(stats: MinuteStats) -> float | None:
        value = sketch.quantile(stats.sketch, share)
        # The sketch is right within 1 %; no quantile lies outside of what was seen.
        return None if value is None else min(max(value, stats.min), stats.max)

    return read
