"""Which events were sent and never came: from the sequences that producers count.

A producer counts the events of each series 0, 1, 2, … A sequence that is not there between two that are is *missing*,
and belongs to the minute of the event that comes next in the count: so what is missing of each minute depends on what
arrived, and not on its order, repetition or batching. What comes late fills its hole.

What a producer had sent before its first event that arrived is not known, with one exception: a series that began with
a sequence of 0 is known from its start (`whole`), and producers that appear in it later begin with 0 as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from atalaia.schemas.windows import DAY_MS, MINUTE_MS

MAX_HOLES: Final = 16
"""Holes remembered of a producer; of the lowest one more is missing for good."""
MAX_PRODUCERS: Final = 256
"""Producers remembered of a series: the longest silent one is forgotten for another."""
FEW_PRODUCERS: Final = 32
"""That many are remembered however long they are silent; of more, those that were heard within LONG_SILENT_MS."""
LONG_SILENT_MS: Final = DAY_MS
LEAP: Final = 100_000_000
"""No loss is as large (an hour at 10,000 events a second is 36 million): beyond it another count has begun."""

NOBODY: Final = 11_160_318_154_034_397_263
"""The hash of an empty producer_id: whoever sends it doesn't count."""

Run = tuple[int, int, int]
"""Producer, first and last of sequences that follow each other."""
Change = tuple[int, int]
"""A minute (its start, event time in ms) and by how much what is missing of it grows."""
Hole = tuple[int, int, int]
"""First and last missing sequence, and the minute they belong to: that of the event after the last."""

_NO_CHANGE: Final[tuple[Change, ...]] = ()


def sequences_sql() -> str:
    """Two columns of a group, for `runs`: its producers, by hash, and its sequences, in the order of the events.

    One producer is said once; and where its sequences follow each other, as they nearly always do, only the first is:
    writing and reading so many numbers would cost more than everything else about them.
    """
    return """
        if(length(arrayCompact(groupArray(cityHash64(producer_id)) AS producers) AS one) = 1, one, producers),
        if(length(one) = 1 AND arrayCompact(arrayDifference(groupArray(sequence) AS sequences)) = [0, 1],
            [sequences[1]], sequences)
    """


def runs(producers: Sequence[int], sequences: Sequence[int], count: int) -> list[Run]:
    """The `count` events of one group as runs, those of each producer in ascending order.

    Given is each event's producer, or the one of all, and each sequence, or the first of one run. Left out are events
    without a producer, and those with a sequence below 0.

    >>> runs([7, 7, 8, 7], [3, 4, 0, 6], 4)
    [(7, 3, 4), (7, 6, 6), (8, 0, 0)]
    >>> runs([7], [3], 5)
    [(7, 3, 7)]
    """
    first = sequences[0]
    if len(sequences) == 1 and first >= 0:
        return [] if producers[0] == NOBODY else [(producers[0], first, first + count - 1)]
    each = producers if len(producers) == count else [producers[0]] * count
    numbers = sequences if len(sequences) == count else range(first, first + count)
    begun: dict[int, int] = {}
    ends: dict[int, int] = {}
    for producer, sequence in zip(each, numbers, strict=True):
        if ends.setdefault(producer, sequence - 1) != sequence - 1 or sequence < 0:
            return _sorted_runs(each, numbers)
        begun.setdefault(producer, sequence)
        ends[producer] = sequence
    return [(producer, begin, ends[producer]) for producer, begin in begun.items() if producer != NOBODY]


def _sorted_runs(producers: Sequence[int], sequences: Sequence[int]) -> list[Run]:
    found: list[Run] = []
    owner, begin, end = -1, 0, -1
    for producer, sequence in sorted(zip(producers, sequences, strict=True)):
        if producer == NOBODY or sequence < 0:
            continue
        if producer == owner and sequence <= end + 1:
            end = sequence
            continue
        if owner >= 0:
            found.append((owner, begin, end))
        owner, begin, end = producer, sequence, sequence
    if owner >= 0:
        found.append((owner, begin, end))
    return found


@dataclass(slots=True)
class Count:
    """How far one producer's count of one series has been seen: from `low` up to before `next`, but for the holes.

    `low_ms` is the minute of the event `low`; None where nothing below it is looked at any more.
    """

    low: int
    low_ms: int | None
    next: int
    seen_ms: int
    """The latest minute of its events."""
    holes: list[Hole] = field(default_factory=list)
    """Ascending."""

    def take(self, first: int, last: int, minute_ms: int) -> list[Change]:
        """Takes note of a run that does not simply go on with the count."""
        changes: list[Change] = []
        self.seen_ms = max(self.seen_ms, minute_ms)
        if first > self.next + LEAP:
            self.low, self.low_ms, self.next, self.holes = first, minute_ms, last + 1, []
        elif first > self.next:
            self._open((self.next, first - 1, minute_ms), changes)
            self.next = last + 1
        else:
            self._extend_down(first, last, minute_ms, changes)
            self._fill(first, last, minute_ms, changes)
            self.next = max(self.next, last + 1)
        while len(self.holes) > MAX_HOLES:
            _, below, _ = self.holes.pop(0)
            self.low, self.low_ms = below + 1, None
        return changes

    def _extend_down(self, first: int, last: int, minute_ms: int, changes: list[Change]) -> None:
        if first >= self.low or self.low_ms is None or last < self.low - LEAP:
            return
        if last < self.low - 1:
            hole = (last + 1, self.low - 1, self.low_ms)
            self.holes.insert(0, hole)
            changes.append((self.low_ms, hole[1] - hole[0] + 1))
        self.low, self.low_ms = first, minute_ms

    def _fill(self, first: int, last: int, minute_ms: int, changes: list[Change]) -> None:
        if not any(begin <= last and first <= end for begin, end, _ in self.holes):
            return
        before, self.holes = self.holes, []
        for begin, end, belongs_ms in before:
            if last < begin or end < first:
                self.holes.append((begin, end, belongs_ms))
                continue
            changes.append((belongs_ms, begin - end - 1))
            if begin < first:
                self._open((begin, first - 1, minute_ms), changes)
            if last < end:
                self._open((last + 1, end, belongs_ms), changes)

    def _open(self, hole: Hole, changes: list[Change]) -> None:
        begin, end, belongs_ms = hole
        self.holes.append(hole)
        changes.append((belongs_ms, end - begin + 1))

    def dump(self) -> list[int | None]:
        """The count as a changelog entry holds it: minutes by number, holes one after another."""
        head: list[int | None] = [self.next, self.seen_ms // MINUTE_MS]
        if self.low or self.holes:
            head += [self.low, None if self.low_ms is None else self.low_ms // MINUTE_MS]
        for begin, end, belongs_ms in self.holes:
            head += [begin, end, belongs_ms // MINUTE_MS]
        return head

    @classmethod
    def load(cls, dump: Sequence[Any]) -> Self:
        """A count from its dump."""
        following, seen, *more = dump
        low, low_minute, *flat = more or (0, None)
        holes = [(flat[at], flat[at + 1], flat[at + 2] * MINUTE_MS) for at in range(0, len(flat), 3)]
        return cls(low, None if low_minute is None else low_minute * MINUTE_MS, following, seen * MINUTE_MS, holes)


class Sequences:
    """The producers of one series, and how far each has counted. Bounded by MAX_PRODUCERS and MAX_HOLES.

    `whole` says whether the series is known from its start; None before its first event.
    """

    __slots__ = ("_counts", "whole")

    def __init__(self, *, whole: bool | None = None) -> None:
        self.whole = whole
        self._counts: dict[int, Count] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, found: Iterable[Run], minute_ms: int) -> Sequence[Change]:
        """Takes note of the runs of one group, each producer's ascending; what that changes of what is missing.

        The changes of a minute add up. Runs that were taken before change nothing.
        """
        changes: Sequence[Change] = _NO_CHANGE
        if self.whole is None:
            found = list(found)
            if not found:
                return changes
            begun = {producer: first for producer, first, _ in reversed(found)}
            self.whole = not any(begun.values())
        for producer, first, last in found:
            count = self._counts.get(producer)
            if count is None:
                changes = [*changes, *self._begin(producer, first, last, minute_ms)]
            elif first == count.next:
                count.next = last + 1
                count.seen_ms = max(count.seen_ms, minute_ms)
            else:
                changes = [*changes, *count.take(first, last, minute_ms)]
        return changes

    def dump(self) -> list[Any] | None:
        """The state as a changelog entry holds it; None where there is none yet."""
        if self.whole is None:
            return None
        return [int(self.whole), [[producer, *count.dump()] for producer, count in self._counts.items()]]

    @classmethod
    def load(cls, dump: Sequence[Any] | None) -> Self:
        """The state from its dump."""
        if dump is None:
            return cls()
        whole, counts = dump
        sequences = cls(whole=bool(whole))
        sequences._counts = {producer: Count.load(count) for producer, *count in counts}
        return sequences

    def _begin(self, producer: int, first: int, last: int, minute_ms: int) -> list[Change]:
        if len(self._counts) >= FEW_PRODUCERS:
            self._forget(minute_ms)
        if not self.whole or first > LEAP:
            self._counts[producer] = Count(first, minute_ms, last + 1, minute_ms)
            return []
        count = self._counts[producer] = Count(0, None, 0, minute_ms)
        if first == 0:
            count.next = last + 1
            return []
        return count.take(first, last, minute_ms)

    def _forget(self, minute_ms: int) -> None:
        """Makes room. What is missing of a forgotten producer is missing for good."""
        before, latest_ms = self._counts, max(minute_ms, *(count.seen_ms for count in self._counts.values()))
        kept = {producer: count for producer, count in before.items() if latest_ms - count.seen_ms < LONG_SILENT_MS}
        if len(kept) >= MAX_PRODUCERS:
            del kept[min(kept, key=lambda producer: kept[producer].seen_ms)]
        if len(kept) < len(before):
            self._counts = kept
            self.whole = False  # a forgotten one may come again, and would not begin with 0
