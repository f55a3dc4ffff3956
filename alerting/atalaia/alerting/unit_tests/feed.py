"""Input series as events: a level is what each sample says, a counter's samples are read as its increments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Read
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.promql import names
from atalaia.alerting.unit_tests.files import Input
from atalaia.alerting.unit_tests.notation import Mark
from atalaia.schemas import sketch
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.series import SeriesKey

_FIELDS: Final = ("tenant", "service_name", "region", "affiliate_id", "unit", "frequency")
_COUNTER_SUFFIXES: Final = ("_total", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Fed:
    """An event of a series, or its end (`minute` None)."""

    at_ms: int
    series: SeriesKey
    minute: MinuteStats | None


def series_of(given: Input) -> SeriesKey:
    """The series that an input means; `ValueError` says why it means none."""
    found = names.component(given.name)
    if found.part is not None:
        raise ValueError(
            f"{given.written}: {found.metric.name} is made of single observations; write them as values of "
            f"{found.metric.name} instead of what Prometheus sums up as {given.name}"
        )
    labels = {names.label(name, found.metric.name): value for name, value in given.labels.items() if value}
    fields = {name: labels.pop(name, None) for name in _FIELDS}
    return SeriesKey(
        tenant=fields["tenant"] or "",
        metric_name=found.metric.name,
        service_name=fields["service_name"] or "",
        region=fields["region"],
        affiliate_id=fields["affiliate_id"],
        unit=fields["unit"] or "",
        frequency=fields["frequency"] or "",
        dimensions=tuple(sorted(labels.items())),
    )


def counters(leaves: Iterable[Read]) -> frozenset[str]:
    """The metrics that some leaf reads as counters, whatever their names."""
    return frozenset(leaf.selector.metric_name for leaf in leaves if leaf.aggregate is Aggregate.RATE)


def events(given: Input, series: SeriesKey, *, interval: timedelta, is_counter: bool) -> Iterator[Fed]:
    """The events of one input, in order.

    A counter's first sample is no increment yet; one that is less than the last is a start from 0. A counter that has
    no further samples is gone, and so is any series that is stale.
    """
    step_ms = durations.milliseconds(interval)
    before: float | None = None
    at_ms = 0
    for index, value in enumerate(given.values):
        at_ms = index * step_ms
        if value is Mark.STALE:
            yield Fed(at_ms, series, None)
        elif isinstance(value, float):
            if not is_counter:
                yield Fed(at_ms, series, _event(at_ms, value))
            elif before is not None:
                yield Fed(at_ms, series, _event(at_ms, value - before if value >= before else value))
            before = value
    if is_counter and given.values:
        yield Fed(at_ms + step_ms, series, None)


def counts(series: SeriesKey, read_as_counters: frozenset[str]) -> bool:
    """Whether the samples of a series add up: as the catalogue says, else by name or by how it is read."""
    entry = metric(series.metric_name)
    if entry.known:
        return entry.kind is Kind.ADDITIVE
    return series.metric_name.endswith(_COUNTER_SUFFIXES) or series.metric_name in read_as_counters


def _event(at_ms: int, value: float) -> MinuteStats:
    counted = {sketch.bucket_of(value): 1} if math.isfinite(value) else {}
    return MinuteStats(at_ms, 1, value, value, value, value, at_ms, value, at_ms, counted)
