"""When a rule would have fired, for how long, and how bad it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atalaia.alerting.backtest.courses import Course
from atalaia.alerting.backtest.law import Told
from atalaia.alerting.expressions import Labels
from atalaia.alerting.local.evaluation import Condition
from atalaia.alerting.rules import Comparison
from atalaia.alerting.transitions import Transition, fingerprint
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.windows import MINUTE_MS

_BEGINS = frozenset({AlertStatus.FIRING})
_ENDS = frozenset({AlertStatus.RESOLVED, AlertStatus.INACTIVE})


@dataclass(frozen=True, slots=True)
class Episode:
    """One firing of one alert. Instants are event time in ms, right to the minute; `resolved_ms` None: it went on.

    `since_ms` is when its condition began to hold, `worst` the value that was farthest beyond the threshold.
    """

    rule_id: str
    severity: Severity
    threshold: float
    labels: Labels
    fingerprint: str
    since_ms: int
    firing_ms: int
    resolved_ms: int | None
    worst: float | None

    def minutes_within(self, from_ms: int, to_ms: int) -> float:
        """How long it fired within a span, in minutes."""
        end_ms = to_ms if self.resolved_ms is None else min(self.resolved_ms, to_ms)
        return max(0, end_ms - max(self.firing_ms, from_ms)) / MINUTE_MS

    def overlaps(self, from_ms: int, to_ms: int) -> bool:
        """Whether it fired at any time within a span."""
        return self.firing_ms < to_ms and (self.resolved_ms is None or self.resolved_ms > from_ms)


def episodes(course: Course, condition: Condition, told: Iterable[Told]) -> Iterator[Episode]:
    """The firings of one alert."""
    begun: Told | None = None
    for each in told:
        if begun is None and each.status in _BEGINS:
            begun = each
        elif begun is not None and each.status in _ENDS:
            yield _episode(course, condition, begun, each)
            begun = None
    if begun is not None:
        yield _episode(course, condition, begun, None)


def of_transitions(transitions: Sequence[Transition]) -> list[Episode]:
    """The firings that an engine told of; what came late changes none of them."""
    open_: dict[str, Transition] = {}
    worst: dict[str, float | None] = {}
    found: list[Episode] = []
    for each in transitions:
        begun = open_.get(each.fingerprint)
        if begun is None and each.status in _BEGINS:
            open_[each.fingerprint], worst[each.fingerprint] = each, each.value
        elif begun is not None and each.status in _ENDS:
            found.append(_between(open_.pop(each.fingerprint), each, worst.pop(each.fingerprint)))
    found += [_between(begun, None, worst[mark]) for mark, begun in open_.items()]
    return sorted(found, key=lambda episode: (episode.firing_ms, episode.fingerprint))


def _between(begun: Transition, ended: Transition | None, worst: float | None) -> Episode:
    return Episode(
        rule_id=begun.rule.rule_id,
        severity=begun.severity,
        threshold=begun.threshold,
        labels=tuple(sorted(begun.labels.items())),
        fingerprint=begun.fingerprint,
        since_ms=begun.since_ms,
        firing_ms=begun.at_ms,
        resolved_ms=None if ended is None else ended.at_ms,
        worst=worst,
    )


def _episode(course: Course, condition: Condition, begun: Told, ended: Told | None) -> Episode:
    rule = condition.rule
    level = condition.level
    values = course.value[begun.minute : None if ended is None else ended.minute]
    return Episode(
        rule_id=rule.rule_id,
        severity=rule.severity if level is None else level.severity,
        threshold=condition.decides.threshold,
        labels=course.labels,
        fingerprint=fingerprint(condition.identity, dict(course.labels)),
        since_ms=begun.since_ms,
        firing_ms=int(course.ends_ms[begun.minute]),
        resolved_ms=None if ended is None else int(course.ends_ms[ended.minute]),
        worst=_worst(values[~np.isnan(values)], condition),
    )


def _worst(values: np.ndarray[tuple[int], np.dtype[np.float64]], condition: Condition) -> float | None:
    """The value farthest beyond the threshold, in the direction of the comparison."""
    if not len(values):
        return None
    match condition.rule.comparison:
        case Comparison.BELOW | Comparison.AT_MOST:
            return float(values.min())
        case Comparison.NOT_EQUAL:
            return float(values[np.argmax(np.abs(values - condition.decides.threshold))])
        case _:
            return float(values.max())
