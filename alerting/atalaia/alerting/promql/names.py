"""Names as Prometheus' users know them, and what they are called here."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from atalaia.schemas.catalogue import Kind, Metric, catalogue, metric

_METRICS: Final = {
    "up": "service_up",
    "process_resident_memory_bytes": "memory_resident",
    "node_load1": "load_average",
}
"""The same thing in the same unit."""
_LABELS: Final = {"job": "service_name", "instance": "host", "__name__": "metric_name"}
_LIKELY: Final = {"status": "status_code", "code": "status_code", "handler": "endpoint", "path": "endpoint"}
"""Labels of the usual client libraries; taken for ours where a metric has ours and not theirs."""
_UNITS: Final = {
    "_seconds": "s",
    "_milliseconds": "ms",
    "_bytes": "By",
    "_percent": "%",
}
"""Units that Prometheus' names end in, as the catalogue writes them."""


class Component(NamedTuple):
    """A metric, and which of the series that Prometheus makes of it is meant: `bucket`, `sum`, `count` or none."""

    metric: Metric
    part: str | None


@lru_cache(maxsize=4096)
def component(written: str) -> Component:
    """What a metric's name means.

    >>> component("http_requests_total").metric.name, component("http_request_duration_count")[1]
    ('http_requests', 'count')
    >>> component("our_own_total").metric.name
    'our_own_total'
    """
    if (entry := _known(written)) is not None:
        return Component(entry, None)
    for part in ("bucket", "sum", "count"):
        base = _known(written.removesuffix(f"_{part}")) if written.endswith(f"_{part}") else None
        if base is not None and base.kind in {Kind.DISTRIBUTION, Kind.MONEY}:
            return Component(base, part)
    if written.endswith("_bucket"):
        return Component(metric(written.removesuffix("_bucket")), "bucket")
    return Component(metric(written), None)


def label(written: str, *metrics: str) -> str:
    """What a label's name means for series of these metrics.

    >>> label("job"), label("status", "http_requests"), label("status", "cpu_usage")
    ('service_name', 'status_code', 'status')
    """
    ours = _LABELS.get(written, written)
    likely = _LIKELY.get(ours)
    dimensions = [metric(name).dimensions for name in metrics]
    if likely and dimensions and all(likely in known and ours not in known for known in dimensions):
        return likely
    return ours


def other_unit(written: str) -> Metric | None:
    """The metric that a name means if its unit is left aside: known, but measured in another one.

    >>> other_unit("http_request_duration_seconds").unit
    'ms'
    """
    for suffix in _UNITS:
        base = written.removesuffix(suffix)
        if base != written and base in catalogue() and catalogue()[base].unit != _UNITS[suffix]:
            return catalogue()[base]
    return None


def _known(written: str) -> Metric | None:
    """The catalogue's entry for a name: as it is, without `_total`, or without a unit that is the metric's own."""
    if written in catalogue():
        return catalogue()[written]
    if (alias := _METRICS.get(written)) is not None:
        return catalogue()[alias]
    base = written.removesuffix("_total")
    for suffix, unit in _UNITS.items():
        short = base.removesuffix(suffix)
        if short != base and short in catalogue() and catalogue()[short].unit == unit:
            return catalogue()[short]
    return catalogue().get(base)
