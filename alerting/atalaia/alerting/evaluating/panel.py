"""The recent events of many series in memory, read by many expressions: the live source of shared rules.

Minutes come as whole states, which overwrite by series, minute and shard. What is kept is bounded by how far back the
expressions look. Reading is incremental: between two steps only the series that were touched are looked at again.

Windows up to 2 h (`rules.step`) are made of minutes, and exact however late an event comes. Of longer ones the minutes
are kept for `REVISABLE`, and then only the longer buckets that they slide by; a state of such an old minute that comes
later is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.aggregates import Aggregate, Quantile
from atalaia.alerting.evaluating import spans
from atalaia.alerting.evaluating.holdings import Get, Holding, Tier
from atalaia.alerting.evaluating.readings import Reading, needs_sketch
from atalaia.alerting.evaluating.tables import Table
from atalaia.alerting.expressions import Labels, Read
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import DAY_MS, HOUR_MS, MINUTE_MS

REVISABLE_MS: Final = 6 * HOUR_MS
KNOWN_MS: Final = DAY_MS
"""How long after its last event has left every window a series is still known: silent, not gone."""
_EXACT_BUCKETS: Final = 3_000
_SLACK_STEPS: Final = 3
"""Kept beyond the windows: verdicts that wait for stragglers look at a window of up to two steps before."""


@dataclass(frozen=True, slots=True)
class View:
    """The series of one tenant, as a source."""

    table: Callable[[Read], Table]

    def read(self, read: Read, at_ms: int) -> Iterable[tuple[Labels, Reading]]:
        """What a leaf reads at an instant."""
        return self.table(read).read(at_ms)

    def spoke(self, read: Read) -> dict[Labels, int]:
        """Of every series or group that a leaf reads, when its latest event was."""
        return self.table(read).spoke()


@dataclass(slots=True)
class _Demand:
    """What the expressions ask of one metric: how far back, in which steps."""

    reach_ms: dict[int, int]
    with_sketch: bool = False
    keep_ms: int = 0


class Panel:
    """The series that some expressions read. Not thread-safe; nothing blocks; no clock is read.

    Say with `want` what will be read, before the events come; reading anything else gives what happens to be kept.
    `grain_ms` is the shortest bucket: `observe` takes states of such spans. With `exact`, long windows slide by it too,
    as far as they are not too many; it is for tests, whose instants need not be a live worker's.
    """

    def __init__(self, *, grain_ms: int = MINUTE_MS, exact: bool = False) -> None:
        self._grain_ms = grain_ms
        self._exact = exact
        self._demands: dict[str, _Demand] = {}
        self._holdings: dict[str, dict[bytes, Holding]] = {}
        self._tables: dict[tuple[str, Read], Table] = {}
        self._by_metric: dict[tuple[str, str], list[Table]] = {}
        self._touching: dict[bytes, list[Table]] = {}
        self._tenants: Counter[str] = Counter()
        self._at_ms = 0

    def __len__(self) -> int:
        """How many series are held."""
        return sum(len(held) for held in self._holdings.values())

    def want(self, reads: Iterable[tuple[Read, int]], *, at_ms: int = 0, lateness_ms: int = 0) -> None:
        """Keeps from now on what these leaves read, and series that fell silent for as long (ms) as stands beside each.

        With `lateness_ms` they may be read as of so long ago. Series of metrics that none of them reads are let go.
        """
        before, self._demands = self._demands, {}
        for read, keep_ms in reads:
            demand = self._demands.setdefault(read.selector.metric_name, _Demand({}))
            step_ms = self._step_of(read)
            reach_ms = durations.milliseconds(read.offset) + spans.longest_ms(read.span) + _SLACK_STEPS * step_ms
            reach_ms += lateness_ms
            demand.reach_ms[step_ms] = max(reach_ms, demand.reach_ms.get(step_ms, 0))
            demand.with_sketch = demand.with_sketch or needs_sketch(read)
            demand.keep_ms = max(demand.keep_ms, keep_ms)
        self._tables.clear()
        self._by_metric.clear()
        self._touching.clear()
        for metric_name in [name for name in self._holdings if name not in self._demands]:
            for holding in self._holdings.pop(metric_name).values():
                self._leave(holding)
        for metric_name, demand in self._demands.items():
            known = before.get(metric_name)
            for holding in self._holdings.get(metric_name, {}).values():
                self._fit(holding, demand, known, at_ms=max(at_ms, self._at_ms))

    def wants(self, metric_name: str) -> bool:
        """Whether any leaf reads this metric."""
        return metric_name in self._demands

    def observe(self, key: bytes, series: SeriesKey, minute: MinuteStats, *, shard: Hashable = 0) -> bool:
        """Takes the whole state of a minute on a shard; it is kept, and must not be changed afterwards.

        Shards of one minute hold different events. False where it changes nothing that could be read.
        """
        demand = self._demands.get(series.metric_name)
        if demand is None:
            return False
        held = self._holdings.setdefault(series.metric_name, {})
        holding = held.get(key)
        if holding is None:
            holding = held[key] = Holding(key, series)
            self._tenants[series.tenant] += 1
            self._fit(holding, demand, demand, at_ms=self._at_ms)
            self._touching[key] = []
            for table in self._by_metric.get((series.tenant, series.metric_name), ()):
                self._join(table, holding)
        if minute.sketch and not demand.with_sketch:
            minute = minute.copy(with_sketch=False)
        if not holding.put(minute, shard):
            return False
        for table in self._touching.get(key, ()):
            table.touch(holding, minute.start_ms)
        return True

    def tenants(self) -> list[str]:
        """Whose series there are, sorted."""
        return sorted(self._tenants)

    def of(self, tenant: str) -> View:
        """The series of one tenant."""
        return View(lambda read: self._table(tenant, read))

    def prune(self, at_ms: int) -> None:
        """Forgets what no window that ends at `at_ms` or later holds, and series that have long been silent."""
        self._at_ms = max(self._at_ms, at_ms)
        for metric_name, demand in self._demands.items():
            minutes_ms = self._minutes_kept_ms(demand)
            longest_ms = max(demand.reach_ms.values())
            gone = []
            for holding in self._holdings.get(metric_name, {}).values():
                holding.forget(at_ms - minutes_ms)
                for step_ms, tier in holding.tiers.items():
                    tier.prune(at_ms - demand.reach_ms[step_ms] - step_ms)
                if holding.newest_ms + longest_ms + demand.keep_ms + KNOWN_MS < at_ms:
                    gone.append(holding)
            for holding in gone:
                self._let_go(holding)

    def end(self, key: bytes, metric_name: str) -> None:
        """Takes note that a series is no more, until something comes of it again; its past still counts."""
        holding = self._holdings.get(metric_name, {}).get(key)
        if holding is not None:
            holding.ended = True
            for table in self._touching.get(key, ()):
                table.end(holding)

    def forget(self, key: bytes, metric_name: str) -> None:
        """Lets go of a series, as if it had never been."""
        holding = self._holdings.get(metric_name, {}).get(key)
        if holding is not None:
            self._let_go(holding)

    def _let_go(self, holding: Holding) -> None:
        del self._holdings[holding.series.metric_name][holding.key]
        self._leave(holding)
        for table in self._touching.pop(holding.key, ()):
            table.remove(holding)

    def _leave(self, holding: Holding) -> None:
        self._tenants[holding.series.tenant] -= 1
        self._tenants += Counter()  # lets go of those without a series

    def _table(self, tenant: str, read: Read) -> Table:
        table = self._tables.get((tenant, read))
        if table is None:
            shared = replace(read, aggregate=Quantile(0.5) if needs_sketch(read) else Aggregate.LAST)
            table = self._tables.get((tenant, shared))
            if table is None:
                table = self._tables[tenant, shared] = self._new_table(tenant, shared)
            self._tables[tenant, read] = table
        return table

    def _new_table(self, tenant: str, read: Read) -> Table:
        table = Table(read, step_ms=self._step_of(read), with_sketch=needs_sketch(read))
        self._by_metric.setdefault((tenant, read.selector.metric_name), []).append(table)
        for holding in self._holdings.get(read.selector.metric_name, {}).values():
            if holding.series.tenant == tenant:
                self._join(table, holding)
        return table

    def _join(self, table: Table, holding: Holding) -> None:
        if table.selects(holding.labels):
            table.add(holding, self._getter(holding, table.step_ms))
            self._touching.setdefault(holding.key, []).append(table)

    def _getter(self, holding: Holding, step_ms: int) -> Get:
        if step_ms == self._grain_ms:
            return holding.minutes.get
        if step_ms not in holding.tiers:
            self._add_tier(holding, step_ms)
        return holding.tiers[step_ms].get

    def _fit(self, holding: Holding, demand: _Demand, before: _Demand | None, *, at_ms: int) -> None:
        """Makes a series keep what is asked for; what was not kept until now counts as not watched."""
        known_ms = 0 if before is None else max(before.reach_ms.values())
        if max(demand.reach_ms.values()) > known_ms and holding.minutes:
            holding.since_ms = max(holding.since_ms, at_ms - known_ms)
        for step_ms in list(holding.tiers):
            if step_ms not in demand.reach_ms:
                del holding.tiers[step_ms]
        for step_ms in demand.reach_ms:
            if step_ms != self._grain_ms and step_ms not in holding.tiers:
                self._add_tier(holding, step_ms)
                if holding.minutes:
                    holding.since_ms = max(holding.since_ms, min(holding.minutes))

    def _add_tier(self, holding: Holding, step_ms: int) -> None:
        holding.tiers[step_ms] = Tier(step_ms, holding.minutes, grain_ms=self._grain_ms, with_sketch=True)

    def _minutes_kept_ms(self, demand: _Demand) -> int:
        longest_ms = max(demand.reach_ms.values())
        return max(demand.reach_ms.get(self._grain_ms, 0), min(longest_ms, REVISABLE_MS))

    def _step_of(self, read: Read) -> int:
        step_ms = spans.step_of(read)
        if step_ms == MINUTE_MS or (self._exact and spans.longest_ms(read.span) <= _EXACT_BUCKETS * self._grain_ms):
            return self._grain_ms
        return step_ms
