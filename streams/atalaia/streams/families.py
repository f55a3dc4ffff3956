"""Which rules are judged together, and where.

A *shared* rule reads more than each series by itself, so its series are brought together in one place. Metrics that
some rule reads together are one family, and so are families that share a metric: a family's rules are judged at its
*home*, by whoever has that partition of the metrics topic.

Where a metric's partial aggregates are *kept* doesn't depend on rules: its place is a partition by the metric's name
alone. So a rule that makes two families one moves nothing; the new home reads the places of all its metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from hashlib import blake2b
from typing import Final

from atalaia.alerting import durations
from atalaia.alerting.evaluating import spans
from atalaia.alerting.expressions import reads
from atalaia.alerting.rules import Rule, tree
from atalaia.alerting.shared.watching import is_shared

_SLACK_STEPS: Final = 3
"""Kept beyond a window: verdicts that wait for stragglers look at one of up to two steps before."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rules to be judged together, in the order they came; what they read, and how far back (ms) of each metric."""

    rules: tuple[Rule, ...]
    reach_ms: Mapping[str, int]

    @property
    def name(self) -> str:
        """The first of its metrics: what its home depends on."""
        return min(self.reach_ms)


@dataclass(frozen=True, slots=True)
class Families:
    """All families of a set of rules over this many partitions."""

    partitions: int
    families: tuple[Family, ...] = ()
    inactive: tuple[Rule, ...] = ()
    """Shared rules that are not judged for now."""
    _homes: Mapping[str, int] = field(default_factory=dict)

    def home(self, metric_name: str) -> int | None:
        """The partition whose owner judges the rules on a metric; None where no shared rule reads it."""
        return self._homes.get(metric_name)

    def at(self, home: int) -> tuple[Family, ...]:
        """The families that are judged there."""
        return tuple(family for family in self.families if self._homes[family.name] == home)

    @property
    def homes(self) -> frozenset[int]:
        """Every partition at which something is judged."""
        return frozenset(self._homes.values())

    @property
    def places(self) -> frozenset[int]:
        """Every partition in which partial aggregates are kept."""
        return frozenset(place(metric_name, self.partitions) for metric_name in self._homes)


def families(rules: Iterable[Rule], *, partitions: int) -> Families:
    """The families of the shared rules among these, inactive ones left out.

    A change of rules that read other metrics changes no family of these.
    """
    members: list[Family] = []
    inactive: list[Rule] = []
    for rule in rules:
        if not is_shared(rule):
            continue
        if not rule.is_active:
            inactive.append(rule)
            continue
        found = Family((rule,), _reach(rule))
        apart = [family for family in members if family.reach_ms.keys().isdisjoint(found.reach_ms)]
        together = [family for family in members if not family.reach_ms.keys().isdisjoint(found.reach_ms)]
        members = [*apart, reduce(_joined, [*together, found])]
    homes = {name: place(family.name, partitions) for family in members for name in family.reach_ms}
    return Families(partitions, tuple(sorted(members, key=lambda family: family.name)), tuple(inactive), homes)


def place(metric_name: str, partitions: int) -> int:
    """The partition in which a metric's partial aggregates are kept: the same in every process, whatever the rules.

    >>> place("revenue_hourly", 4) == place("revenue_hourly", 4)
    True
    """
    digest = blake2b(metric_name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def anchor(rule: Rule) -> str:
    """The metric by whose name a shared rule's alerts are kept: the one that it reads first."""
    return next(reads(tree(rule))).selector.metric_name


def _joined(one: Family, other: Family) -> Family:
    reach = dict(one.reach_ms)
    for metric_name, ms in other.reach_ms.items():
        reach[metric_name] = max(ms, reach.get(metric_name, 0))
    return Family((*one.rules, *other.rules), reach)


def _reach(rule: Rule) -> dict[str, int]:
    """How long ago (ms) the oldest event of each metric is that a rule may need."""
    reach: dict[str, int] = {}
    for read in reads(tree(rule)):
        oldest = read.offset + _SLACK_STEPS * timedelta(milliseconds=spans.step_of(read))
        # Silence is judged by what was seen before.
        reach_ms = spans.longest_ms(read.span) + durations.milliseconds(oldest + (rule.absent_for or timedelta()))
        name = read.selector.metric_name
        reach[name] = max(reach_ms, reach.get(name, 0))
    return reach
