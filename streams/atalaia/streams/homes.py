"""Shared rules in a worker: its source partitions send partials, and the homes it owns judge them.

Who has partition p of the metrics topic owns home p, in the same generation of the consumer group. A home reads its
places of the partials topic from the beginning, and judges only once it has read them to their end.

What goes out, and what a crash in between does: the transitions of a judgement go to the alerts topic, and to the
partials topic, as owed, together with where the alerts stand now; the checkpoint after that waits until all of it is
acknowledged, and then takes what was owed away. So a successor finds an alert either as it was before, and judges it
again from the same partials, or judged and owed, and sends it again: with the same ids both times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.infra import kafka, metrics
from atalaia.infra.settings import Settings
from atalaia.schemas.topics import METRICS, RULE_PARTIALS
from atalaia.streams.families import families
from atalaia.streams.home import Home
from atalaia.streams.outputs import YIELD_EVERY, Outputs
from atalaia.streams.partials import PartialsRecord, SourceClock
from atalaia.streams.partition import Partition
from atalaia.streams.reading import Reader

TURN: Final = timedelta(milliseconds=20)
"""How often it is looked at what has come and what is due."""
JUDGE_EVERY: Final = timedelta(milliseconds=50)
MOST_ROUNDS: Final = 10
"""Of reading before it is judged what has come so far; until a home has read everything there is no such end."""
NO_END: Final = 1 << 62
JUDGING_SHARE: Final = 0.25
"""When rules and series are many, judging takes at most about this share of the time."""
MARK_EVERY: Final = timedelta(seconds=5)
FORGET_EVERY: Final = timedelta(seconds=30)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Running:
    """A home at work in one generation; times are a monotonic clock's seconds."""

    home: Home
    reader: Reader
    generation: int
    opened_at: float
    begun: bool = False
    judge_at: float = 0.0
    marked_at: float = 0.0
    forgot_at: float = 0.0


class Homes:
    """The homes of one worker, and what its source partitions owe to those of all workers.

    Owned by the event loop. `turn` is called all the time; between `owed` and `settled` everything sent before must
    have been acknowledged.
    """

    def __init__(self, settings: Settings, outputs: Outputs, rules: Sequence[Rule], *, threads: Executor) -> None:
        self._settings = settings
        self._outputs = outputs
        self._threads = threads
        counts = [_partitions(settings, topic) for topic in (METRICS.name, RULE_PARTIALS.name)]
        self._sources = counts[0]
        self._families = families(rules, partitions=min(counts))
        self._running: dict[int, _Running] = {}
        self._owed: list[PartialsRecord] = []
        self._looked_through: set[tuple[int, int]] = set()
        """Number and generation of each home that was opened and had begun."""
        self._closed = False
        self._busy = asyncio.Lock()
        self._sharing = asyncio.Lock()

    # ── source partitions ─────────────────────────────────────────────────────────────────────────────────

    def join(self, partition: Partition, now_ms: int) -> None:
        """Has a partition, whose state has just been restored, share what it holds."""
        partition.sharing.adopt(self._families, partition.state, partition.at(now_ms))

    async def share(self, partition: Partition, now_ms: int) -> None:
        """Sends what homes have not heard of yet, and then the partition's clock."""
        clock = SourceClock(
            at_ms=partition.at(now_ms),
            watermark_ms=max(0, partition.watermark(now_ms, self._settings.streams)),
            caught_up=partition.caught_up,
            generation=partition.generation,
            sent_ms=now_ms,
        )
        async with self._sharing:
            cost_seconds = await self._outputs.partials(partition.sharing.records(clock, partition.state))
            partition.sharing.shared(time.monotonic(), cost_seconds=cost_seconds)

    async def owe_nothing(self, partition: Partition) -> None:
        """Sends every minute of a partition that homes have not heard of yet: before its events count as done."""
        async with self._sharing:
            await self._outputs.partials(partition.sharing.owed(partition.state))

    # ── homes ─────────────────────────────────────────────────────────────────────────────────────────────

    async def turn(self, owned: Mapping[int, Partition], *, generation: int, entitled: Callable[[], bool]) -> None:
        """Reads what has come, judges what is due and sends what follows; opens and closes homes.

        `entitled` says at any moment whether the partitions are still ours; where they may not be, it only reads.
        """
        async with self._busy:
            for number in list(self._running):
                running = self._running[number]
                idle = running.begun and number not in self._families.homes
                if idle or running.generation != generation or number not in owned:
                    await self._close(number)
            for number in sorted(owned.keys() - self._running.keys()):
                # One without rules is opened once all the same, for what rules left behind that are gone.
                needed = number in self._families.homes or (number, generation) not in self._looked_through
                if needed and not self._closed:
                    await self._open(number, generation)
            for running in self._running.values():
                await self._read(running)
                # Whoever has lost the partition stops here: what follows doesn't wait for anything.
                if not entitled():
                    return
                if running.begun:
                    self._work(running, time.monotonic(), _now_ms())
                elif running.reader.caught_up:
                    self._begin(running)

    async def replace_rules(self, rules: Sequence[Rule], partitions: Mapping[int, Partition]) -> None:
        """Works for these rules from now on, everywhere."""
        async with self._busy:
            self._families = families(rules, partitions=self._families.partitions)
            for partition in partitions.values():
                self.join(partition, _now_ms())
            for number, running in list(self._running.items()):
                home = running.home
                wanted = frozenset(name for family in self._families.at(number) for name in family.reach_ms)
                if not running.begun:
                    await self._close(number)
                elif wanted == home.metrics:
                    self._tell(running, home.adopt(self._families))
                else:
                    self._tell(running, home.release(self._families))
                    await self._close(number)

    def owed(self) -> list[PartialsRecord]:
        """What will have arrived once everything sent so far is acknowledged: give it to `settled` then."""
        owed, self._owed = self._owed, []
        return owed

    def settled(self, owed: Sequence[PartialsRecord]) -> None:
        """Takes away what is owed no more."""
        self._outputs.home_notes([(place, key, None) for place, key, _ in owed])

    async def close(self) -> None:
        """Frees every home's consumer; none is opened any more."""
        self._closed = True
        async with self._busy:
            for number in list(self._running):
                await self._close(number)

    async def _open(self, number: int, generation: int) -> None:
        home = Home(number, self._families, sources=self._sources)
        reader = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: Reader(self._settings, home.places)
        )
        self._running[number] = _Running(home, reader, generation, time.monotonic())

    async def _close(self, number: int) -> None:
        running = self._running.pop(number)
        await asyncio.get_running_loop().run_in_executor(self._threads, running.reader.close)

    async def _read(self, running: _Running) -> None:
        home, reader = running.home, running.reader
        rounds = MOST_ROUNDS if running.begun else NO_END
        for _ in range(rounds):
            count = 0
            for count, (place, key, value) in enumerate(reader.read(), start=1):
                home.take(place, key, value)
                if count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            if count == 0:
                break

    def _begin(self, running: _Running) -> None:
        home = running.home
        running.begun = True
        earlier = {each for each in self._looked_through if each[1] == running.generation}
        self._looked_through = earlier | {(home.number, running.generation)}
        self._tell(running, home.begin(_now_ms()))
        log.info(
            "home_opened",
            partition=home.number,
            rules=sum(len(family.rules) for family in self._families.at(home.number)),
            seconds=round(time.monotonic() - running.opened_at, 3),
        )
        for fingerprint, record in home.inherited():
            self._outputs.alert_again(fingerprint, record[2] or b"")
            self._owed.append(record)

    def _work(self, running: _Running, now: float, now_ms: int) -> None:
        home = running.home
        if now >= running.judge_at and home.due(now_ms):
            self._tell(running, home.advance(now_ms))
            cost = time.monotonic() - now
            running.judge_at = now + max(JUDGE_EVERY.total_seconds(), cost / JUDGING_SHARE)
        if now - running.marked_at >= MARK_EVERY.total_seconds():
            running.marked_at = now
            self._outputs.home_notes(home.marks())
            metrics.JUDGED_BEHIND.labels(str(home.number)).set(max(0.0, (now_ms - home.judged_ms) / 1000))
        if now - running.forgot_at >= FORGET_EVERY.total_seconds():
            running.forgot_at = now
            self._outputs.home_notes(home.forget())

    def _tell(self, running: _Running, transitions: Sequence[Transition]) -> None:
        """Sends transitions, and beside them what a successor needs to know."""
        home = running.home
        records = self._outputs.alerts(transitions, watermark_ms=home.clocks.watermark_ms())
        owing = list(home.owing(transitions, records))
        self._owed += owing
        self._outputs.home_notes(owing)
        self._outputs.home_notes(home.memos())


def _partitions(settings: Settings, topic: str) -> int:
    found = kafka.partitions_of(settings.kafka, [topic])
    if not found:
        raise kafka.KafkaUnavailable(f"there is no topic {topic}; run `atalaia schemas register`")
    return len(found)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
