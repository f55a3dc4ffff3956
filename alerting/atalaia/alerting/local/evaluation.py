"""What a rule says of a window of events: pure functions, the same live, in tests and in backtests.

**Which events are judged.** Events are kept in buckets of one *step*: one minute for windows up to 2 h, more for longer
ones (`rules.step`). At the instant `at` a window of n steps is the running step, so far, and the n - 1 before it:
the buckets whose start is in (at - window, at]. At 12:00:30 a window of 1 h is 11:01:00 up to now.

A sum, count or rate that is compared from below (`<`, `<=`, `==`, `!=`) is judged over the last n *whole* steps, the
buckets whose start is in [s - window, s) where s is the start of the step that ran at `at` less the allowed lateness:
else every minute would begin with too few, and end without its stragglers. It is judged only when the series has been
watched for all of them: a service that has just started has not sold too little.

**No events.** A sum, count or rate of no events is 0. Of anything else there is no data then, nor where there are
fewer than `minimum_count` events: a pending alert ends, a firing one goes on, for silence is not recovery.

**Events that are missing.** Where less than `minimum_completeness` of the window's events are there, the verdict awaits
data, unless nothing that may still come can undo it: a count that is over its threshold stays there, and so does the
sum of an additive metric if no value seen in the window was negative. (The kind alone does not tell: a refund is
negative money, so sums of money wait.)

**Silence.** A rule with `absent_for` says of each series that it is absent from the moment on at which its latest event
is that old. Where the rule says something else, too, its `for` and N of M are about that and not about the silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

from atalaia.alerting import durations, states
from atalaia.alerting.aggregates import ACCUMULATING, PERCENTILES, Aggregate
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.rules import Comparison, Level, Rule, counts_events, step
from atalaia.alerting.states import Terms, Verdict
from atalaia.schemas import sketch
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.windows import MINUTE_MS

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
    """One threshold of a rule made ready for judging many series: plain numbers and functions instead of names.

    A bucket that starts at s is judged while `at` is in [s + `lag_ms`, s + `lag_ms` + `window_ms`): at once, or after a
    whole step and the allowed lateness. `needs_ends`: it reads more of a window than count and sum.
    """

    rule: Rule
    level: Level | None
    """The further threshold that this is; None is the rule's own."""
    identity: str
    """Tells the alerts of one rule apart; the rule's id for its own threshold."""
    holds: Callable[[float], bool]
    lingers: Callable[[float], bool] | None
    """Whether the number, where the condition does not hold, is not beyond the recovery threshold yet."""
    read: Callable[[MinuteStats], float | None]
    window_ms: int
    step_ms: int
    lag_ms: int
    lateness_ms: int
    zero_when_empty: bool
    minimum_count: int
    minimum_completeness: float
    terms: Terms
    needs_sketch: bool
    needs_ends: bool
    only_grows: bool
    """Whether more events can't undo it if none of those seen is negative (`may_be_negative`)."""
    may_be_negative: bool
    absent_ms: int = 0
    """Where this is about silence, and nothing else: how long it lasts."""

    @property
    def decides(self) -> Rule:
        """The rule as if this threshold were its only one."""
        if self.level is None:
            return replace(self.rule, levels=())
        return replace(self.rule, threshold=self.level.threshold, recovery=self.level.recovery, levels=())


class Judgement(NamedTuple):
    """What a rule says at one instant."""

    verdict: Verdict
    value: float | None

    @property
    def holds(self) -> bool | None:
        """Whether the condition holds; None where there is no verdict."""
        return None if self.verdict in states.DOUBTS else self.verdict is Verdict.HOLDS


NO_DATA: Final = Judgement(Verdict.NO_DATA, None)
NOT_WATCHED_YET: Final = Judgement(Verdict.AWAITING, None)


def conditions(rule: Rule, *, lateness: timedelta = LATENESS) -> Iterator[Condition]:
    """Every alert that a local rule may raise on one series: its threshold, its further ones, and silence."""
    if rule.comparison is not None:
        yield prepare(rule, lateness=lateness)
        for level in rule.levels:
            yield prepare(rule, lateness=lateness, level=level)
    if rule.absent_for is not None:
        yield _silence(rule, durations.milliseconds(rule.absent_for))


def prepare(rule: Rule, *, lateness: timedelta = LATENESS, level: Level | None = None) -> Condition:
    """One threshold of a rule, ready for use."""
    window_ms = durations.milliseconds(rule.window) if rule.window is not None else 0
    step_ms = durations.milliseconds(step(rule.window)) if rule.window is not None else 0
    lateness_ms = durations.milliseconds(lateness)
    accumulating = rule.aggregate in ACCUMULATING
    adding_up = accumulating and rule.comparison in ADDING_UP
    counting = rule.aggregate is Aggregate.COUNT or (rule.aggregate is Aggregate.RATE and counts_events(rule))
    patient = rule.minimum_completeness is not None and rule.window is not None
    comparison = rule.comparison or Comparison.ABOVE
    threshold, recovery = (rule.threshold, rule.recovery) if level is None else (level.threshold, level.recovery)
    return Condition(
        rule=rule,
        level=level,
        identity=identity(rule.rule_id, level),
        holds=_comparing(comparison, threshold, rule.tolerance),
        lingers=None if recovery is None else _comparing(comparison, recovery, rule.tolerance),
        read=_reading(rule, window_ms),
        window_ms=window_ms,
        step_ms=step_ms,
        lag_ms=step_ms + lateness_ms if accumulating and not adding_up else 0,
        lateness_ms=lateness_ms,
        zero_when_empty=accumulating,
        minimum_count=rule.minimum_count,
        minimum_completeness=rule.minimum_completeness or 0.0 if patient else 0.0,
        terms=states.terms(rule, step_ms=step_ms or MINUTE_MS),
        needs_sketch=rule.aggregate in PERCENTILES,
        needs_ends=rule.aggregate not in SUMS or (patient and adding_up and not counting),
        only_grows=adding_up and (counting or metric(rule.metric_name).kind is Kind.ADDITIVE),
        may_be_negative=not counting,
    )


def identity(rule_id: str, level: Level | None = None) -> str:
    """Which alert of a rule: what its fingerprint is made from, beside the labels.

    >>> identity("slow-api")
    'slow-api'
    """
    return rule_id if level is None else f"{rule_id}\0{level.severity}"


def _silence(rule: Rule, absent_ms: int) -> Condition:
    """The condition that a series is silent; of a rule that says nothing else, it is the rule's own."""
    alone = rule.comparison is None
    return Condition(
        rule=rule,
        level=None,
        identity=rule.rule_id if alone else f"{rule.rule_id}\0absent",
        holds=lambda value: value >= absent_ms,
        lingers=None,
        read=lambda _: None,
        window_ms=0,
        step_ms=0,
        lag_ms=0,
        lateness_ms=0,
        zero_when_empty=False,
        minimum_count=0,
        minimum_completeness=0.0,
        terms=states.terms(rule) if alone else Terms(keep_firing_ms=durations.milliseconds(rule.keep_firing)),
        needs_sketch=False,
        needs_ends=False,
        only_grows=False,
        may_be_negative=False,
        absent_ms=absent_ms,
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
    value = value_of(condition, stats)
    if stats is not None and stats.missing and stats.completeness < condition.minimum_completeness:
        holds = value is not None and condition.holds(value)
        safe = condition.only_grows and (not condition.may_be_negative or stats.min >= 0)
        return Judgement(Verdict.HOLDS if holds and safe else Verdict.AWAITING, value)
    return NO_DATA if value is None else judge_value(condition, value)


def value_of(condition: Condition, stats: MinuteStats | None) -> float | None:
    """The number that the events of a window make; None where they are too few to make one."""
    if stats is None or not stats.count:
        return 0.0 if condition.zero_when_empty and not condition.minimum_count else None
    return None if stats.count < condition.minimum_count else condition.read(stats)


def judge_value(condition: Condition, value: float) -> Judgement:
    """The verdict on a number."""
    if condition.holds(value):
        return Judgement(Verdict.HOLDS, value)
    lingers = condition.lingers is not None and condition.lingers(value)
    return Judgement(Verdict.LINGERS if lingers else Verdict.RECOVERED, value)


def evaluate(rule: Rule, minutes: Iterable[MinuteStats], *, at_ms: int, watched_since_ms: int) -> Judgement:
    """The verdict of a rule with a window on one series: the definition that the running judge must agree with."""
    condition = prepare(rule)
    start, end = window_at(condition, at_ms)
    if condition.lag_ms and start <= watched_since_ms - watched_since_ms % condition.step_ms:
        return NOT_WATCHED_YET
    merged: MinuteStats | None = None
    for minute in minutes:
        if start <= minute.start_ms < end:
            merged = minute.copy() if merged is None else merged.add(minute)
    return judge(condition, merged)


def _comparing(comparison: Comparison, threshold: float, tolerance: float | None) -> Callable[[float], bool]:
    slack = TOLERANCE * abs(threshold)
    low, high = threshold - slack, threshold + slack
    near = slack if tolerance is None else tolerance
    tests: dict[Comparison, Callable[[float], bool]] = {
        Comparison.ABOVE: lambda value: value > high,
        Comparison.BELOW: lambda value: value < low,
        Comparison.AT_LEAST: lambda value: value >= low,
        Comparison.AT_MOST: lambda value: value <= high,
        Comparison.EQUAL: lambda value: abs(value - threshold) <= near,
        Comparison.NOT_EQUAL: lambda value: abs(value - threshold) > near,
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
