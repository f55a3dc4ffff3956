"""One source partition at work: its windows, its clock, its alerts, and what they owe to Kafka."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from atalaia.alerting.local.buckets import NEVER, MinuteStats
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.transitions import Transition
from atalaia.infra import metrics
from atalaia.infra.settings import StreamSettings
from atalaia.schemas.events import Granularity
from atalaia.streams import entries, rollups
from atalaia.streams.clocks import LAGGING_AFTER
from atalaia.streams.columns import Columns, Group
from atalaia.streams.sharing import Sharing
from atalaia.streams.state import GRANULARITIES, PartitionState
from atalaia.streams.watermarks import Clock
from atalaia.streams.window import Window

_MS = timedelta(milliseconds=1)
_LAGS: Final = "partition {} of the metrics topic lags"


@dataclass(slots=True)
class Partition:
    """The state of one partition in one generation of the consumer group."""

    generation: int
    state: PartitionState
    judge: Judge
    sharing: Sharing = field(default_factory=Sharing)
    clock: Clock = field(default_factory=Clock)
    next_offset: int | None = None
    """The offset after the last one applied; None before the first."""
    passed_ms: int = -NEVER
    """The highest watermark so far."""
    behind_since_ms: int | None = None
    """Since when it has not caught up, at any look."""
    caught_up: bool = False
    """Whether nothing was waiting in Kafka at the last look."""

    def replays(self, first_offset: int) -> bool:
        """Whether a batch that begins there may hold events that were counted before the last restart."""
        return first_offset <= self.state.replayed_to

    def apply(
        self, columns: Columns, *, offsets: tuple[int, int], arrival_ms: int, now_ms: int, touched: float
    ) -> None:
        """Counts a batch with these first and last offsets, whose latest record arrived at `arrival_ms`.

        One that `replays` must have been looked at event by event.
        """
        first_offset, last_offset = offsets
        replaying = self.replays(first_offset)
        applied = self.state.apply(columns.groups, last_offset=last_offset, touched=touched, replaying=replaying)
        latest = max((group[18] for group in columns.groups), default=0)
        behind = self.clock.seen_ms
        self.clock = self.clock.advance(event_ms=latest, arrival_ms=arrival_ms)
        self.next_offset = last_offset + 1
        at_ms = self.at(now_ms)
        late = 0
        for series, group in applied.groups:
            late += group[18] < behind
            if self.judge.watches(series.identity.metric_name):
                self.judge.observe(series.key, series.identity, _minute(group), at_ms)
            self.sharing.touched(series, group[9], at_ms)
        for series, (minute_ms, change) in applied.missing:
            if self.judge.watches(series.identity.metric_name):
                self.judge.observe(series.key, series.identity, _missing(minute_ms, change), at_ms)
            self.sharing.touched(series, minute_ms, at_ms)
        if late:
            metrics.LATE_EVENTS.inc(late)
        _count_missing([change for _, (_, change) in applied.missing])

    def at(self, now_ms: int) -> int:
        """The moment to judge rules at, event time in ms."""
        return self.clock.at(now_ms=now_ms, caught_up=self.caught_up)

    def judge_touched(self, now_ms: int) -> list[Transition]:
        """The transitions that the last batch brought about."""
        return self.judge.judge(self.at(now_ms))

    def tick(self, now_ms: int) -> list[Transition]:
        """The transitions that the passing of time brought about: `for` that is over, windows that slid empty."""
        at_ms = self.at(now_ms)
        if self.caught_up:
            self.behind_since_ms = None
        elif self.behind_since_ms is None:
            self.behind_since_ms = now_ms
        # Under load something always waits, for some milliseconds; and after a pause nobody knows, for some seconds.
        since_ms = max(at_ms, self.behind_since_ms or now_ms)
        lags = at_ms > 0 and now_ms - since_ms > LAGGING_AFTER // _MS
        return self.judge.tick(at_ms, awaiting=_LAGS.format(self.state.partition) if lags else None)

    def watermark(self, now_ms: int, settings: StreamSettings) -> int:
        """Event time (ms) up to which this partition is complete. It never goes back, whatever comes late."""
        watermark_ms = self.clock.watermark(
            now_ms=now_ms,
            caught_up=self.caught_up,
            lateness_ms=settings.allowed_lateness // _MS,
            idle_ms=settings.idle_after // _MS,
        )
        self.passed_ms = max(self.passed_ms, watermark_ms)
        return self.passed_ms

    def rows(self, granularity: Granularity, watermark_ms: int) -> Iterator[tuple[bytes, bytes]]:
        """Record key and Avro body of each rollup row of this granularity that is out of date; marks them published."""
        index = GRANULARITIES.index(granularity)
        unpublished = list(self.state.unpublished[index])
        self.state.unpublished[index].clear()
        for series, window in unpublished:
            window.dirty = False
            if series.rollup_head is None:
                series.rollup_head = rollups.head(series)
            tail = rollups.tail(window, granularity, state=self.state, watermark_ms=watermark_ms)
            yield series.identity.record_key(), series.rollup_head + tail

    def changes(self) -> Iterator[entries.Entry]:
        """Changelog key and value of each entry that has changed since the last call; None where nothing is left.

        What changes while the caller takes them is for the next call: under load there would be no end otherwise.
        """
        due = self.state.dirty | self.judge.dirty()
        self.state.dirty = set()
        for key in due:
            self.state.dirty.discard(key)
            series = self.state.series.get(key)
            if series is None:
                continue
            alerts = self.judge.dump(series.key)
            if alerts is None and not any(series.windows):
                self.state.forget(series)
                self.judge.forget(series.key)
                yield from entries.tombstones(series)
            else:
                yield from entries.entries(series, alerts, epoch=self.state.epoch)

    def load(self, values: Mapping[bytes, bytes], *, touched: float) -> Iterator[None]:
        """Takes every series back from the changelog, with its alerts; yields after each, for others to take turns."""
        for series, alerts in entries.load(self.state, values, touched=touched):
            if alerts is not None:
                self.judge.load(series.key, series.identity, alerts)
            yield
        # The group's generation grows with every owner; what is read back, if ever the group begins anew.
        self.state.epoch = max(self.state.epoch + 1, self.generation)

    def lossy_services(self) -> set[tuple[str, str]]:
        """Tenant and service of each series that misses events in an hour which is not over, or was not long ago."""
        hours = GRANULARITIES.index(Granularity.HOUR)
        return {
            (series.identity.tenant, series.identity.service_name)
            for series in self.state.series.values()
            if any(window.missing > 0 for window in series.windows[hours].values())
        }

    def close_windows(self, watermark_ms: int) -> None:
        """Has the row of every window that the watermark has passed go out once more: complete."""
        for series in self.state.series.values():
            for index, held in enumerate(series.windows):
                for window in held.values():
                    if not window.closed and window.end_ms <= watermark_ms:
                        window.closed = True
                        self.state.touch(series, index, window)

    def evict(self, *, committed: int, idle_since: float, excess: int) -> None:
        """Drops windows that are closed and idle, then the longest idle ones until `excess` are gone.

        Only what is published and has no event at or above the committed offset: else a replay would open the window
        again and count twice. An event that comes later opens the window anew, as another shard.
        """
        candidates = sorted(
            (window.touched, series.key, index, window.start_ms)
            for series in self.state.series.values()
            for index, held in enumerate(series.windows)
            for window in held.values()
            if not window.dirty and window.version < committed and (excess > 0 or _idle(window, idle_since))
        )
        for position, (_, key, index, start_ms) in enumerate(candidates):
            series = self.state.series[key]
            if position < excess or _idle(series.windows[index][start_ms], idle_since):
                self.state.drop(series, index, start_ms)


def _idle(window: Window, idle_since: float) -> bool:
    return window.closed and window.touched < idle_since


def _count_missing(changes: Sequence[int]) -> None:
    """A hole that is split by what comes late shrinks and opens in one batch: only what is left of that is told."""
    change = sum(changes)
    if change > 0:
        metrics.MISSING_EVENTS.inc(change)
    elif change < 0:
        metrics.RECOVERED_EVENTS.inc(-change)


def _missing(minute_ms: int, change: int) -> MinuteStats:
    """No events, and a change of what is missing of a minute."""
    return MinuteStats(
        start_ms=minute_ms,
        count=0,
        sum=0.0,
        min=math.inf,
        max=-math.inf,
        first=0.0,
        first_at=NEVER,
        last=0.0,
        last_at=-NEVER,
        sketch={},
        missing=change,
    )


def _minute(group: Group) -> MinuteStats:
    return MinuteStats(
        start_ms=group[9],
        count=group[10],
        sum=float(group[11]),
        min=group[12],
        max=group[13],
        first=group[14],
        first_at=group[15],
        last=group[17],
        last_at=group[18],
        sketch=dict(zip(group[22], group[23], strict=True)),
    )
