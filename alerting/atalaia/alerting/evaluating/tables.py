"""What one leaf reads, of every series that it selects, kept up to date as minutes come and time goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from atalaia.alerting import durations
from atalaia.alerting.evaluating import spans
from atalaia.alerting.evaluating.holdings import Get, Holding, Run
from atalaia.alerting.evaluating.readings import Reading
from atalaia.alerting.expressions import Labels, Read
from atalaia.alerting.local.buckets import MinuteStats, merged


@dataclass(slots=True, eq=False)
class Member:
    """A series that a leaf selects."""

    holding: Holding
    group: Labels
    get: Get
    run: Run = field(default_factory=Run)
    stats: MinuteStats | None = None


class Table:
    """The readings of one leaf for one tenant. `read` must be asked for the numbers: they follow touches lazily.

    `since_ms` is from when on the buckets that it reads are known to be kept.
    """

    def __init__(self, read: Read, *, step_ms: int, with_sketch: bool) -> None:
        self.leaf = read
        self.step_ms = step_ms
        self.with_sketch = with_sketch
        self.since_ms = 0
        self._offset_ms = durations.milliseconds(read.offset)
        self._members: dict[Holding, Member] = {}
        self._groups: dict[Labels, dict[Holding, Member]] = {}
        self._touched: set[Holding] = set()
        self._bounds = (0, -1)
        self._readings: dict[Labels, Reading] = {}

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether a series of the metric belongs here."""
        return self.leaf.selector.selects(labels)

    def add(self, holding: Holding, get: Get) -> None:
        """Takes a series in."""
        grouping = self.leaf.grouping
        if grouping is None:
            group = tuple(sorted((name, value) for name, value in holding.labels.items() if name != "metric_name"))
        else:
            group = grouping.of(holding.labels)
        member = Member(holding, group, get)
        self._members[holding] = member
        self._groups.setdefault(group, {})[holding] = member
        self._touched.add(holding)

    def remove(self, holding: Holding) -> None:
        """Lets go of a series."""
        member = self._members.pop(holding, None)
        self._touched.discard(holding)
        if member is not None:
            group = self._groups[member.group]
            del group[holding]
            if group:
                self._touched.add(next(iter(group)))
            else:
                del self._groups[member.group]
                self._readings.pop(member.group, None)

    def end(self, holding: Holding) -> None:
        """Takes note that a series has ended."""
        if holding in self._members:
            self._touched.add(holding)

    def touch(self, holding: Holding, minute: int) -> None:
        """Takes note that a minute of a series has changed."""
        start = minute - minute % self.step_ms
        if self._bounds[0] <= start <= self._bounds[1]:
            self._members[holding].run.touch(start)
            self._touched.add(holding)

    def spoke(self) -> dict[Labels, int]:
        """Of every series or group, when its latest event was."""
        return {
            group: max([member.holding.spoke_ms for member in members.values()])
            for group, members in self._groups.items()
        }

    def read(self, at_ms: int) -> Iterable[tuple[Labels, Reading]]:
        """The readings at an instant, one of each series or group."""
        now = spans.bounds(self.leaf.span, self.step_ms, at_ms - self._offset_ms)
        if now != self._bounds:
            self._bounds = now
            self._refresh(self._members.values())
        elif self._touched:
            self._refresh([self._members[holding] for holding in self._touched])
        self._touched.clear()
        return self._readings.items()

    def _refresh(self, members: Iterable[Member]) -> None:
        lo, hi = self._bounds
        step, with_sketch, window = self.step_ms, self.with_sketch, (lo, hi + self.step_ms)
        groups: dict[Labels, None] = {}
        for member in members:
            member.stats = member.run.total(lo, hi, step, member.get, with_sketch)
            groups[member.group] = None
        for group in groups:
            together = self._groups[group].values()
            if len(together) == 1:
                (member,) = together
                holding = member.holding
                self._readings[group] = Reading(member.stats, window, self._since(holding.since_ms), holding.ended)
            else:
                self._readings[group] = self._pooled(together, window)

    def _pooled(self, members: Iterable[Member], window: tuple[int, int]) -> Reading:
        found = [member.stats for member in members if member.stats is not None]
        return Reading(
            found[0] if len(found) == 1 else merged(found, with_sketch=self.with_sketch),
            window,
            self._since(min([member.holding.since_ms for member in members])),
            all([member.holding.ended for member in members]),  # noqa: C419 - twice as fast as a generator
        )

    def _since(self, since_ms: int) -> int:
        since_ms = max(since_ms, self.since_ms)
        return since_ms - since_ms % self.step_ms
