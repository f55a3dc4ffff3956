"""The events of an objective as ClickHouse remembers them, by the minute and by the hour."""

# ruff: noqa: S608 - SQL is what this file makes: of our own names; what users wrote is bound as parameters

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, CountWithin
from atalaia.alerting.expressions import Labels, Matcher, MatchOperator
from atalaia.alerting.slo.budget import Budget, Counts, budget_of, minutes_needed
from atalaia.alerting.slo.objectives import Events, Slo
from atalaia.schemas import sketch
from atalaia.schemas.events import Granularity
from atalaia.schemas.windows import HOUR_MS, MINUTE_MS

COLUMNS: Final = frozenset({"tenant", "service_name", "region", "affiliate_id", "unit", "frequency"})
"""Labels that have a column; the others are dimensions."""
_STEPS: Final = {Granularity.MINUTE: MINUTE_MS, Granularity.HOUR: HOUR_MS}
_MATCH: Final = {
    MatchOperator.EQUAL: "{label} = {value}",
    MatchOperator.NOT_EQUAL: "{label} != {value}",
    MatchOperator.MATCHES: "match({label}, {value})",
    MatchOperator.NOT_MATCHES: "NOT match({label}, {value})",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group of an objective's events stands: its budget, and its counts by the hour."""

    labels: Labels
    budget: Budget
    hours: tuple[Counts, ...]


def standings(client: Client, slo: Slo, *, now_ms: int) -> list[Standing]:
    """The budget of each group that had events in the objective's window; the most spent first."""
    hours = counts(client, slo, Granularity.HOUR, slo.window, now_ms=now_ms)
    minutes = counts(client, slo, Granularity.MINUTE, minutes_needed(slo), now_ms=now_ms)
    found = [
        Standing(labels, budget_of(slo, of_group, minutes.get(labels, ()), now_ms=now_ms), tuple(of_group))
        for labels, of_group in hours.items()
    ]
    return sorted(found, key=lambda standing: (-standing.budget.consumed, standing.labels))


def counts(
    client: Client, slo: Slo, granularity: Granularity, window: timedelta, *, now_ms: int
) -> dict[Labels, list[Counts]]:
    """Total and bad events by group, in order of time, over the window that ends with the running minute or hour."""
    step_ms = _STEPS[granularity]
    end_ms = now_ms - now_ms % step_ms + step_ms
    span = (end_ms - durations.milliseconds(window), end_ms)
    total = dict(_amounts(client, slo, slo.sli.total, granularity, span))
    part = dict(_amounts(client, slo, slo.sli.part, granularity, span))
    found: defaultdict[Labels, list[Counts]] = defaultdict(list)
    for (labels, start_ms), events in sorted(total.items()):
        counted = part.get((labels, start_ms), 0.0)
        found[labels].append(Counts(start_ms, events, events - counted if slo.sli.part_is_good else counted))
    return dict(found)


def _amounts(
    client: Client, slo: Slo, events: Events, granularity: Granularity, span: tuple[int, int]
) -> Iterator[tuple[tuple[Labels, int], float]]:
    sql, parameters = amounts_sql(slo, events, granularity, span)
    names = groups_of(slo)
    for start, amount, *values in client.query(sql, parameters=parameters).result_rows:
        labels = tuple(sorted((name, value) for name, value in zip(names, values, strict=True) if value))
        yield (labels, int(start) * 1000), float(amount)


def groups_of(slo: Slo) -> tuple[str, ...]:
    """The labels by which an objective's budgets are told apart: a rule looks at each tenant by itself anyway."""
    return "tenant", *slo.grouping.labels


def amounts_sql(
    slo: Slo, events: Events, granularity: Granularity, span: tuple[int, int]
) -> tuple[str, dict[str, Any]]:
    """The query for how many events there were, by window and group, and its parameters."""
    parameters: dict[str, Any] = {
        "granularity": granularity.value,
        "metric": events.selector.metric_name,
        "start": span[0] // 1000,
        "end": span[1] // 1000,
    }

    def bound(value: str) -> str:
        name = f"text{len(parameters)}"
        parameters[name] = value
        return f"{{{name}:String}}"

    def column(label: str) -> str:
        return f"w.{label}" if label in COLUMNS else f"w.dimensions[{bound(label)}]"

    def condition(matcher: Matcher) -> str:
        anchored = matcher.operator in {MatchOperator.MATCHES, MatchOperator.NOT_MATCHES}
        value = f"^(?s:{matcher.value})$" if anchored else matcher.value
        return _MATCH[matcher.operator].format(label=column(matcher.label), value=bound(value))

    groups = [f"{column(label)} AS g{number}" for number, label in enumerate(groups_of(slo))]
    conditions = [condition(matcher) for matcher in events.selector.matchers]
    if slo.tenant is not None:
        conditions.append(f"w.tenant = {bound(slo.tenant)}")
    selected = ", ".join(["toUnixTimestamp(w.window_start) AS at", f"sum({_amount(events)}) AS amount", *groups])
    by = ", ".join(["at", *(f"g{number}" for number in range(len(groups)))])
    where = " AND ".join(
        [
            "w.granularity = {granularity:String}",
            "w.metric_name = {metric:String}",
            "w.window_start >= toDateTime({start:UInt32}, 'UTC')",
            "w.window_start < toDateTime({end:UInt32}, 'UTC')",
            *conditions,
        ]
    )
    return f"SELECT {selected} FROM metric_windows AS w WHERE {where} GROUP BY {by}", parameters


def _amount(events: Events) -> str:
    match events.aggregate:
        case CountWithin(low=low, high=high):
            return sketch.count_within_sql("w.sketch", low, high)
        case Aggregate.SUM:
            return "w.sum"
        case _:
            return "w.count"
