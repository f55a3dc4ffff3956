"""What an expression said of every label set at the end of every minute: the live evaluation, minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from atalaia.alerting import durations
from atalaia.alerting.backtest.courses import Course, Said
from atalaia.alerting.backtest.minutes import Minutes
from atalaia.alerting.evaluating.evaluate import EvaluationError, Sample
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import Labels, reads
from atalaia.alerting.local.evaluation import LATENESS
from atalaia.alerting.rules import Rule
from atalaia.alerting.shared import watching
from atalaia.alerting.shared.standing import labels_of
from atalaia.alerting.shared.watching import Watch
from atalaia.schemas.windows import MINUTE_MS

Reached = Callable[[int], None]
"""Hears how many minutes are done."""
_PRUNE_EVERY: Final = 60
_NAN: Final = float("nan")


@dataclass(slots=True)
class _Row:
    """One label set: its numbers, and why there is none where there is none."""

    value: list[float]
    events: list[float]
    code: list[int]
    filled: int = 0

    def put(self, at: int, value: float, events: float, code: int) -> None:
        """Notes the number of a minute; between this one and the last one that was noted there was none."""
        self.value[at], self.events[at], self.code[at], self.filled = value, events, code, at + 1


def courses(
    rule: Rule,
    history: Sequence[Minutes],
    *,
    lateness_ms: int = durations.milliseconds(LATENESS),
    reached: Reached = lambda _: None,
) -> tuple[Watch, list[Course]]:
    """The number of every label set that a rule's expression ever had a value for.

    All of `history` covers the same minutes.
    """
    watch = watching.watch(rule, settle=True)
    if not history:
        return watch, []
    panel = Panel()
    panel.want((leaf, watching.keep_ms(rule)) for leaf in reads(watch.expression))
    ends = history[0].ends_ms.tolist()
    story = [(each.series.record_key(), each.series, iter(each.each())) for each in history]
    coming = [(key, series, minutes, next(minutes, None)) for key, series, minutes in story]
    rows: dict[tuple[str, Labels], _Row] = {}
    for at, end_ms in enumerate(ends):
        for index, (key, series, minutes, minute) in enumerate(coming):
            if minute is not None and minute.start_ms <= end_ms:
                panel.observe(key, series, minute)
                coming[index] = (key, series, minutes, next(minutes, None))
        if at % _PRUNE_EVERY == 0:
            panel.prune(end_ms)
            reached(at)
        seen_ms = end_ms
        if watch.settle_ms:
            settled = end_ms - lateness_ms
            seen_ms = settled - settled % watch.settle_ms - 1
        for tenant in panel.tenants():
            if rule.tenant in (None, tenant):
                _look(watch, panel, tenant, (at, seen_ms, len(ends)), rows)
    reached(len(ends))
    return watch, [_course(labels_of(*key), row, history[0]) for key, row in rows.items()]


def _look(
    watch: Watch, panel: Panel, tenant: str, when: tuple[int, int, int], rows: dict[tuple[str, Labels], _Row]
) -> None:
    """Takes down what one tenant's series say at the end of one minute."""
    at, seen_ms, length = when
    source = panel.of(tenant)
    found = watch.find(source, seen_ms)
    if isinstance(found, EvaluationError):
        for (owner, _), row in rows.items():
            if owner == tenant:
                row.put(at, _NAN, 0, Said.ERROR)
        return
    for sample in found:
        known = rows.get((tenant, sample.labels))
        if known is None:
            known = rows[tenant, sample.labels] = _Row([_NAN] * length, [0.0] * length, [Said.NO_DATA] * length)
        known.put(at, *_number(watch, sample))
    silent = [(labels, row) for (owner, labels), row in rows.items() if row.filled <= at and owner == tenant]
    if silent:
        data = watch.has_data(source, seen_ms)
        for labels, row in silent:
            if labels in data:
                row.put(at, _NAN, 0, Said.RECOVERED)


def _number(watch: Watch, sample: Sample) -> tuple[float, float, int]:
    """A sample's number, or NaN and why it decides nothing."""
    rule = watch.rule
    if sample.value != sample.value or sample.events < rule.minimum_count:  # the first is NaN
        return _NAN, sample.events, Said.NO_DATA
    if (rule.minimum_completeness or 0.0) > sample.completeness or (watch.settle_ms and not sample.whole):
        return _NAN, sample.events, Said.AWAITING
    return sample.value, sample.events, Said.HOLDS


def _course(labels: Labels, row: _Row, like: Minutes) -> Course:
    ends_ms = like.ends_ms
    return Course(
        labels=labels,
        series=None,
        ends_ms=ends_ms,
        value=np.array(row.value),
        heard_ms=np.full(len(ends_ms), int(ends_ms[0]) - MINUTE_MS),
        spoke=np.ones(len(ends_ms), np.bool_),
        events=np.array(row.events),
        no_number=np.array(row.code, np.int8),
    )
