"""What is known of each metric: type, unit, kind, dimensions, and the aggregations that make sense."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from atalaia.schemas.events import DEFAULT_UNIT, Frequency, MetricType


class Kind(StrEnum):
    """How a metric's values combine."""

    ADDITIVE = "additive"
    GAUGE = "gauge"
    RATIO = "ratio"
    DISTRIBUTION = "distribution"
    MONEY = "money"


AGGREGATIONS: Final[dict[Kind, frozenset[str]]] = {
    Kind.ADDITIVE: frozenset({"sum", "rate", "count", "avg", "min", "max", "last", "first"}),
    Kind.MONEY: frozenset({"sum", "rate", "count", "avg", "min", "max", "last", "first", "p50", "p95", "p99"}),
    Kind.DISTRIBUTION: frozenset({"count", "rate", "avg", "min", "max", "last", "first", "p50", "p95", "p99"}),
    Kind.GAUGE: frozenset({"count", "avg", "min", "max", "last", "first", "p50", "p95", "p99"}),
    Kind.RATIO: frozenset({"count", "min", "max", "last", "first", "avg"}),
}
"""Legal aggregations by kind: the sum of a gauge, of a ratio or of latencies means nothing."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One catalogue entry."""

    name: str
    description: str = ""
    metric_type: MetricType = MetricType.PERFORMANCE
    unit: str = DEFAULT_UNIT
    kind: Kind = Kind.GAUGE
    frequency: Frequency = Frequency.REAL_TIME
    dimensions: tuple[str, ...] = ()
    known: bool = True

    @property
    def aggregations(self) -> frozenset[str]:
        """The aggregations that make sense of this metric; of an unknown one, all."""
        return AGGREGATIONS[self.kind] if self.known else AGGREGATIONS[Kind.MONEY]


@cache
def catalogue() -> dict[str, Metric]:
    """The metrics that come with Atalaia (F1, A1, A2), by name."""
    text = files("atalaia.schemas").joinpath("catalogue.yaml").read_text("utf-8")
    return {name: _metric(name, entry) for name, entry in yaml.safe_load(text)["metrics"].items()}


def metric(name: str) -> Metric:
    """The entry of a metric; one that is not in the catalogue gets defaults.

    >>> metric("revenue_hourly").unit, metric("test_metric").known
    ('BRL', False)
    """
    return catalogue().get(name) or Metric(name, known=False)


def dimension_pairs() -> list[tuple[str, str]]:
    """Every (metric, metadata key) that is part of a series."""
    return [(entry.name, key) for entry in catalogue().values() for key in entry.dimensions]


def _metric(name: str, entry: dict[str, Any]) -> Metric:
    return Metric(
        name=name,
        description=entry["description"],
        metric_type=MetricType(entry["type"]),
        unit=str(entry["unit"]),
        kind=Kind(entry["kind"]),
        frequency=Frequency(entry.get("frequency", Frequency.REAL_TIME)),
        dimensions=tuple(entry.get("dimensions", ())),
    )
