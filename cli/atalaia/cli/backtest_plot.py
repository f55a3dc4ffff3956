"""The number of a rule over time, its threshold, and when it would have fired, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import plotext
from rich.text import Text

from atalaia.alerting.backtest.trials import Trial
from atalaia.alerting.rules import Rule
from atalaia.infra.errors import UsageFailure

LINES: Final = 18
_COLUMNS: Final = 120
_TICKS: Final = 6
_DAY_SECONDS: Final = 86_400


def plot(rule: Rule, found: Sequence[Trial], span: tuple[int, int], *, columns: int) -> Text:
    """The series that fired the longest, or, if none did, the one with the most data; below it when that was."""
    drawable = [trial for trial in found if trial.condition.level is None and not np.isnan(trial.course.value).all()]
    if not drawable:
        raise UsageFailure(f"--plot: {rule.rule_id} read no numbers in that time")
    width = min(columns, _COLUMNS)
    trial = max(drawable, key=lambda each: (_fired(each, span), int((~np.isnan(each.course.value)).sum())))
    course = trial.course
    within = (course.ends_ms >= span[0]) & (course.ends_ms < span[1]) & ~np.isnan(course.value)
    seconds, values = (course.ends_ms[within] / 1000).tolist(), course.value[within].tolist()
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, LINES)
    figure.theme("simple")
    labels = ", ".join(f"{name}={value}" for name, value in course.labels if name not in {"tenant", "metric_name"})
    figure.title(f"{rule.name}: {labels}" if labels else rule.name)
    first, last = span[0] / 1000, span[1] / 1000
    _line(figure, seconds, values, "value")
    if rule.comparison is not None:
        _line(figure, [first, last], [rule.threshold] * 2, "threshold")
    for episode in trial.episodes():
        if episode.overlaps(*span):
            begin = max(episode.firing_ms / 1000, first)
            end = last if episode.resolved_ms is None else min(episode.resolved_ms / 1000, last)
            _line(figure, [begin, end], [min([*values, rule.threshold])] * 2, "firing")
    ticks = [first + (last - first) * step / _TICKS for step in range(_TICKS + 1)]
    form = "%m-%d %H:%M" if last - first > _DAY_SECONDS else "%H:%M"
    figure.ruler(axis=0).ticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(form) for tick in ticks])
    return Text.from_ansi(str(figure.build()))


def _line(figure: Any, across: list[float], up: list[float], label: str) -> None:
    drawn = figure.signal(across, up, marker="braille")
    drawn.lines()
    drawn.label(label)
    figure.draw(drawn)


def _fired(trial: Trial, span: tuple[int, int]) -> float:
    return sum(episode.minutes_within(*span) for episode in trial.episodes())
