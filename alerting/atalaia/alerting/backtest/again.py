"""A number that was told, computed again from single events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atalaia.alerting.evaluating.evaluate import EvaluationError, evaluate
from atalaia.alerting.evaluating.panel import Panel
from atalaia.alerting.expressions import reads
from atalaia.alerting.local import evaluation
from atalaia.alerting.local.buckets import MinuteStats, merged
from atalaia.alerting.rules import Rule, tree
from atalaia.schemas.series import SeriesKey


def of_series(rule: Rule, minutes: Iterable[MinuteStats]) -> float | None:
    """What a local rule makes of the events of a window of one series; without a window, of the latest value."""
    found = merged(list(minutes), with_sketch=True)
    return evaluation.value_of(evaluation.prepare(rule), found)


def of_expression(
    rule: Rule, minutes: Iterable[tuple[SeriesKey, MinuteStats]], labels: Mapping[str, str], *, at_ms: int
) -> float | None:
    """What an expression says of one label set at an instant, by these minutes; None where it says nothing."""
    expression = tree(rule)
    panel = Panel()
    panel.want((leaf, 0) for leaf in reads(expression))
    for series, minute in minutes:
        panel.observe(series.record_key(), series, minute)
    wanted = tuple(sorted((name, value) for name, value in labels.items() if name != "tenant"))
    try:
        found = evaluate(expression, panel.of(labels.get("tenant", "")), at_ms)
    except EvaluationError:
        return None
    by_labels = {tuple(each for each in sample.labels if each[0] != "tenant"): sample.value for sample in found}
    return by_labels.get(wanted)
