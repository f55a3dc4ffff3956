"""A rule tried on history: every alert that it would have raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from atalaia.alerting import durations
from atalaia.alerting.backtest import expressions
from atalaia.alerting.backtest.courses import Course, course
from atalaia.alerting.backtest.episodes import Episode, episodes
from atalaia.alerting.backtest.expressions import Reached
from atalaia.alerting.backtest.law import Told, live
from atalaia.alerting.backtest.minutes import Minutes
from atalaia.alerting.engine import story
from atalaia.alerting.local import evaluation
from atalaia.alerting.local.evaluation import LATENESS, Condition
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import fingerprint
from atalaia.schemas.windows import MINUTE_MS


@dataclass(frozen=True, slots=True)
class Trial:
    """One condition of a rule on one series or label set: its number over time, and what was told of it."""

    condition: Condition
    course: Course
    told: tuple[Told, ...]

    def episodes(self) -> list[Episode]:
        """Its firings."""
        return list(episodes(self.course, self.condition, self.told))


def selects(rule: Rule, minutes: Minutes) -> bool:
    """Whether a local rule judges a series."""
    labels = minutes.series.labels()
    mine = minutes.series.metric_name == rule.metric_name and rule.tenant in (None, minutes.series.tenant)
    return mine and all(labels.get(label, "") == value for label, value in rule.matchers)


def trials(
    rule: Rule, history: Sequence[Minutes], *, lateness: timedelta = LATENESS, reached: Reached = lambda _: None
) -> Iterator[Trial]:
    """Every condition of a rule on everything that it reads in `history`.

    It fires and resolves in the same minutes in which live judges would have told so at the end of each minute
    (`engine.story`). `reached` hears how many series are done, or minutes, if the rule looks beyond single series.
    """
    if rule.expression is not None:
        lateness_ms = durations.milliseconds(lateness)
        watch, found = expressions.courses(rule, history, lateness_ms=lateness_ms, reached=reached)
        yield from (_trial(each, condition) for condition in watch.conditions for each in found)
        return
    conditions = list(evaluation.conditions(rule, lateness=lateness))
    for done, minutes in enumerate(history, 1):
        if selects(rule, minutes):
            numbers: Course | None = None
            for condition in conditions:
                if numbers is None or condition.absent_ms:
                    numbers = course(minutes, condition)
                if _within_minutes(condition):
                    yield Trial(condition, numbers, tuple(_by_engine(rule, minutes, condition)))
                else:
                    yield _trial(numbers, condition)
        reached(done)


def swept(found: Iterable[Trial], threshold: float) -> list[Trial]:
    """What would have been told with another threshold; a recovery threshold moves along, further ones are left out."""
    result = []
    for trial in found:
        if trial.condition.level is None and not trial.condition.absent_ms:
            rule = trial.condition.rule
            recovery = None if rule.recovery is None else rule.recovery + threshold - rule.threshold
            other = evaluation.prepare(
                replace(rule, threshold=threshold, recovery=recovery, levels=()),
                lateness=timedelta(milliseconds=trial.condition.lateness_ms),
            )
            result.append(_trial(trial.course, other))
    return result


def _trial(numbers: Course, condition: Condition) -> Trial:
    return Trial(condition, numbers, tuple(live(numbers, condition)))


def _within_minutes(condition: Condition) -> bool:
    """Whether what happens between two minutes' ends can matter: then the engine itself judges, which is slower.

    So it can where single values are judged as they come, and what follows from one is due before the next.
    """
    bare = not condition.window_ms and not condition.absent_ms
    terms = condition.terms
    return bare and (terms.of_last > 1 or bool(terms.hold_ms % MINUTE_MS or terms.keep_firing_ms % MINUTE_MS))


def _by_engine(rule: Rule, minutes: Minutes, condition: Condition) -> Iterator[Told]:
    mark = fingerprint(condition.identity, minutes.series.labels())
    start_ms, last_ms = minutes.start_ms, int(minutes.ends_ms[-1])
    for told in story([rule], ((minutes.series, each) for each in minutes.each()), until_ms=last_ms):
        if told.fingerprint == mark:
            yield Told((told.at_ms - start_ms) // MINUTE_MS, told.status, told.since_ms)
