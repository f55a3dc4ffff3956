"""All rules on all series in one process: what backtests, recorded slices and tests judge by.

It is the judges of the live workers, side by side: rules on single series by `Judge`, as in a source partition, rules
that look further by `SharedJudge`, as at their home.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count

from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.local.evaluation import LATENESS
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared.judge import SharedJudge
from atalaia.alerting.transitions import Transition
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS


class Engine:
    """Rules on series. Not thread-safe; nothing blocks; no clock is read.

    `at_ms` is the clock of the story that is told; it never goes back.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, lateness: timedelta = LATENESS) -> None:
        self._local = Judge(_local(rules), lateness=lateness)
        self._shared = SharedJudge(rules, lateness=lateness)
        self._part = count()

    def watches(self, metric_name: str) -> bool:
        """Whether any rule reads this metric."""
        return self._local.watches(metric_name) or self._shared.watches(metric_name)

    def observe(self, series: SeriesKey, minute: MinuteStats, *, at_ms: int) -> None:
        """Adds events of one series and minute, which arrive at `at_ms`; each call brings other events."""
        key = series.record_key()
        if self._local.watches(series.metric_name):
            self._local.observe(key, series, minute, at_ms)
        if self._shared.watches(series.metric_name):
            self._shared.observe(key, series, minute.copy(), shard=next(self._part))

    def advance(self, at_ms: int) -> list[Transition]:
        """Judges everything at `at_ms`, and at the end of each minute until then; in the order of time."""
        transitions = [*self._local.tick(at_ms), *self._shared.advance(at_ms)]
        return sorted(transitions, key=lambda transition: (transition.at_ms, transition.fingerprint))

    def replace_rules(self, rules: Sequence[Rule], at_ms: int) -> list[Transition]:
        """Judges by these rules from now on; what did not change keeps its state."""
        return [*self._local.replace_rules(_local(rules), at_ms), *self._shared.replace_rules(rules, at_ms)]


def story(
    rules: Sequence[Rule], minutes: Iterable[tuple[SeriesKey, MinuteStats]], *, until_ms: int | None = None
) -> Iterator[Transition]:
    """What rules would have told of minutes in the order of time, each of them known as soon as it was over."""
    engine = Engine(rules)
    clock_ms: int | None = None
    for series, minute in minutes:
        over_ms = minute.start_ms + MINUTE_MS - 1
        clock_ms = over_ms if clock_ms is None else clock_ms
        while clock_ms < over_ms:
            yield from engine.advance(clock_ms)
            clock_ms += MINUTE_MS
        engine.observe(series, minute, at_ms=over_ms)
    if clock_ms is not None:
        for at_ms in range(clock_ms, max(clock_ms, until_ms or 0) + 1, MINUTE_MS):
            yield from engine.advance(at_ms)


def _local(rules: Sequence[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.expression is None]
