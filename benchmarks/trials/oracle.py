"""What the rollups of a ledger must be, computed the plain way: no batches, no state, no SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from benchmarks.trials.ledger import Entry, Line

from atalaia.schemas.events import Granularity
from atalaia.schemas.windows import window_start

WindowKey: TypeAlias = tuple[Line, Granularity, int]
"""A series (its other metadata left out), a granularity, the window's start in ms."""

QUANTILES: Final = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Totals:
    """What is said of one window, whatever the number of its shards. `quantiles` are those of QUANTILES."""

    count: int
    sum: float
    min: float
    max: float
    first: float
    last: float
    quantiles: tuple[float, ...]


Windows: TypeAlias = dict[WindowKey, Totals]


def expected(entries: Iterable[Entry]) -> Windows:
    """The exact totals of every window at every granularity."""
    held: dict[WindowKey, list[tuple[int, float]]] = defaultdict(list)
    for entry in entries:
        for granularity in Granularity:
            held[series_of(entry.line), granularity, window_start(entry.at_ms, granularity)].append(
                (entry.at_ms, entry.value)
            )
    return {key: _totals(sorted(events)) for key, events in held.items()}


def series_of(line: Line) -> Line:
    """The line without what doesn't make its series."""
    return Line(line.metric_name, line.service_name, line.region, line.affiliate_id, line.dimensions)


def _totals(events: list[tuple[int, float]]) -> Totals:
    values = sorted(value for _, value in events)
    return Totals(
        count=len(values),
        sum=sum(values),
        min=values[0],
        max=values[-1],
        first=events[0][1],
        last=events[-1][1],
        # The rank is ceil(share * count), as `schemas.sketch.quantile` promises.
        quantiles=tuple(values[max(1, -(-int(share * 100) * len(values) // 100)) - 1] for share in QUANTILES),
    )


def differences(wanted: Windows, found: Windows, *, error: float) -> list[str]:
    """One line a window that is not as it must be; quantiles may be off by the relative `error`."""
    lines = [f"{_name(key)}: is missing, must be {wanted[key]}" for key in wanted.keys() - found.keys()]
    lines += [f"{_name(key)}: must not be, is {found[key]}" for key in found.keys() - wanted.keys()]
    for key in wanted.keys() & found.keys():
        want, have = wanted[key], found[key]
        if _exact(want) != _exact(have):
            lines.append(f"{_name(key)}: must be {_exact(want)}, is {_exact(have)}")
        elif any(abs(a - b) > error * abs(a) for a, b in zip(want.quantiles, have.quantiles, strict=True)):
            lines.append(f"{_name(key)}: quantiles must be near {want.quantiles}, are {have.quantiles}")
    return sorted(lines)


def _exact(totals: Totals) -> tuple[float, ...]:
    return (totals.count, totals.sum, totals.min, totals.max, totals.first, totals.last)


def _name(key: WindowKey) -> str:
    line, granularity, start_ms = key
    return f"{line.metric_name} of {line.service_name}, {granularity} from {start_ms}"
