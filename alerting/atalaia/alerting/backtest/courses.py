"""What a rule's number was at the end of every minute, and what each of its conditions said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atalaia.alerting import durations
from atalaia.alerting.aggregates import PERCENTILES, Aggregate
from atalaia.alerting.backtest.minutes import Flags, Floats, Ints, Minutes
from atalaia.alerting.backtest.windows import Windows, incomplete, quantiles, windows
from atalaia.alerting.expressions import Labels
from atalaia.alerting.local.evaluation import Condition
from atalaia.alerting.sense import LATEST_WITHIN
from atalaia.alerting.states import Verdict
from atalaia.schemas.events import Frequency
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS


class Said(IntEnum):
    """A verdict as a number, for columns."""

    NO_DATA = 0
    RECOVERED = 1
    LINGERS = 2
    HOLDS = 3
    AWAITING = 4
    ERROR = 5


VERDICTS: Final = {
    Said.NO_DATA: Verdict.NO_DATA,
    Said.RECOVERED: Verdict.RECOVERED,
    Said.LINGERS: Verdict.LINGERS,
    Said.HOLDS: Verdict.HOLDS,
    Said.AWAITING: Verdict.AWAITING,
    Said.ERROR: Verdict.ERROR,
}
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Course:
    """A number over time, judged at `ends_ms`; NaN is no number.

    `low` and `high` are the least and the greatest value of each minute, where values are judged as they come.
    `doubtful` marks numbers of incomplete windows: they decide nothing, unless `safe` says that what is missing could
    not undo it. `heard_ms` is the time of the latest event up to each minute; 0 is none.
    """

    labels: Labels
    series: SeriesKey | None
    ends_ms: Ints
    value: Floats
    heard_ms: Ints
    spoke: Flags
    """The minutes in which something came."""
    events: Floats
    low: Floats | None = None
    high: Floats | None = None
    doubtful: Flags | None = None
    safe: Flags | None = None
    no_number: Codes | None = None
    """Why there is no number, where that is not for lack of data."""

    def codes(self, condition: Condition) -> Codes:
        """The verdict of a condition on every number."""
        if condition.absent_ms:
            silent = self.ends_ms - self.heard_ms >= condition.absent_ms
            return np.where(self.heard_ms == 0, Said.NO_DATA, np.where(silent, Said.HOLDS, Said.RECOVERED)).astype(
                np.int8
            )
        return self._decided(condition)

    def _decided(self, condition: Condition) -> Codes:
        lacking = np.isnan(self.value)
        number = np.where(lacking, 0.0, self.value)
        if condition.rule.comparison is None:
            holds: Flags = np.ones(len(number), np.bool_)
        else:
            holds = _whole(condition.holds)(number)
        codes = np.where(holds, Said.HOLDS, Said.RECOVERED).astype(np.int8)
        if condition.lingers is not None:
            lingers = _whole(condition.lingers)(number)
            codes[~holds & lingers] = Said.LINGERS
        codes[lacking] = Said.NO_DATA
        if self.doubtful is not None:
            stands = np.zeros(len(number), np.bool_) if self.safe is None else holds & self.safe & ~lacking
            codes[self.doubtful & ~stands] = Said.AWAITING
        if self.no_number is not None:
            codes[lacking] = self.no_number[lacking]
        return codes

    def broken(self, condition: Condition) -> Ints:
        """The minutes in which some value broke the condition, though the last one need not have."""
        if self.low is None or self.high is None:
            return np.zeros(0, np.int64)
        holds = _whole(condition.holds)
        held = holds(self.low) & holds(self.high)
        return np.flatnonzero(self.spoke & ~held)


def course(minutes: Minutes, condition: Condition) -> Course:
    """The number that a local rule computes of one series; its conditions share it."""
    spoke = minutes.count > 0
    latest = np.maximum.accumulate(np.where(spoke, np.arange(len(minutes)), -1))
    heard = np.where(latest >= 0, minutes.last_at[np.maximum(latest, 0)], 0)
    bare = Course(
        labels=tuple(sorted(minutes.series.labels().items())),
        series=minutes.series,
        ends_ms=minutes.ends_ms,
        value=np.full(len(minutes), np.nan),
        heard_ms=heard,
        spoke=spoke,
        events=minutes.count.astype(np.float64),
    )
    if condition.absent_ms:
        return bare
    if not condition.window_ms:
        fresh = (latest >= 0) & (bare.ends_ms - heard < look_back_ms(minutes.series))
        value = np.where(fresh, minutes.last[np.maximum(latest, 0)], np.nan)
        return replace(bare, value=value, low=minutes.min, high=minutes.max)
    held = windows(minutes, condition)
    doubtful = incomplete(condition, held)
    least_ok = held.min >= 0 if condition.may_be_negative else np.ones(len(minutes), np.bool_)
    return replace(
        bare,
        value=_values(minutes, condition, held),
        events=held.count.astype(np.float64),
        doubtful=doubtful,
        safe=least_ok if condition.only_grows else None,
    )


def look_back_ms(series: SeriesKey) -> int:
    """How old the latest value of a series may be."""
    known = {str(frequency): age for frequency, age in LATEST_WITHIN.items()}
    return durations.milliseconds(known.get(series.frequency, LATEST_WITHIN[Frequency.REAL_TIME]))


def _values(minutes: Minutes, condition: Condition, held: Windows) -> Floats:
    aggregate = condition.rule.aggregate
    with np.errstate(divide="ignore", invalid="ignore"):
        if aggregate in PERCENTILES:
            number = quantiles(minutes, condition, PERCENTILES[aggregate], held)
        elif aggregate is Aggregate.COUNT:
            number = held.count.astype(np.float64)
        else:
            number = _whole(condition.read)(held)
    empty = 0.0 if condition.zero_when_empty and not condition.minimum_count else np.nan
    few = held.count < max(condition.minimum_count, 1)
    return np.where(held.count == 0, empty, np.where(few, np.nan, number))


def gaps(course: Course, kept_ms: int) -> Iterator[tuple[int, int]]:
    """The silences after which a judge has let go of a series: when it does, in ms, and the minute that ends it."""
    there = np.flatnonzero(course.spoke)
    starts = course.ends_ms[there] - MINUTE_MS + 1
    for at in np.flatnonzero(np.diff(starts) > kept_ms).tolist():
        yield int(starts[at]) + kept_ms, int(there[at + 1])


def _whole(function: Callable[[Any], Any]) -> Callable[[Any], NDArray[Any]]:
    """A function of a number, or of the events of a window, as one of whole columns: numpy's operators are the same."""
    return function
