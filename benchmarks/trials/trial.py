"""One trial: workers under a load that keeps a ledger, faults in between, and a verdict on every number."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from benchmarks import lab
from benchmarks.trials import oracle, tables
from benchmarks.trials.ledger import Entry, Ledger, lines
from benchmarks.trials.oracle import Windows
from benchmarks.trials.rollup_rows import RollupReader

from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import Settings
from atalaia.schemas.sketch import RELATIVE_ERROR
from atalaia.schemas.topics import METRICS
from atalaia.sinks import evidence, verify

DRAINED_WITHIN_SECONDS: Final = 90.0
PUBLISHED_WITHIN_SECONDS: Final = 60.0

EAGER: Final = {
    "ATALAIA_STREAMS__SESSION_TIMEOUT": "PT3S",
    "ATALAIA_STREAMS__CHECKPOINT_EVERY": "PT0.3S",
    "ATALAIA_STREAMS__EVICT_AFTER": "PT1S",
    "ATALAIA_STREAMS__MAX_WINDOWS": "1000",
}
"""Settings under which all that is rare happens often: sessions end, windows are evicted and opened anew."""


class Trial:
    """A load and its workers; `random` is seeded, so that a trial can be run again."""

    def __init__(self, stack: LocalStack, ledger: Ledger, workers: list[lab.Worker], seed: int) -> None:
        self.stack = stack
        self.ledger = ledger
        self.workers = workers
        self.random = random.Random(seed)  # noqa: S311 - a repeatable trial, not a secret

    def go_on(self, *, fewest: int = 1_000, most: int = 5_000) -> None:
        """Returns when a random number of further events has been acknowledged."""
        target = len(self.ledger.entries) + self.random.randint(fewest, most)
        lab.await_condition(
            lambda: len(self.ledger.entries) >= target, f"{target} events acknowledged", within_seconds=90
        )

    def await_assigned(self, *workers: lab.Worker, partitions: int = 1) -> None:
        """Returns when each of the workers (by default all of the trial) has that many partitions, or more."""
        for worker in workers or self.workers:
            lab.await_condition(
                lambda worker=worker: len(worker.partitions()) >= partitions,  # type: ignore[misc]
                lambda worker=worker: (
                    f"a worker with {partitions} partitions (its log ends: {lab.tail(worker.log, 5)})"
                ),  # type: ignore[misc]
                within_seconds=90,
            )

    def drain(self) -> None:
        """Ends the load; returns when every event is applied and committed."""
        self.ledger.finish()
        settings = self.stack.settings
        lab.await_condition(
            lambda: lab.lag(settings, settings.streams.application, [METRICS.name]) == 0,
            f"all {len(self.ledger.entries)} events committed",
            within_seconds=DRAINED_WITHIN_SECONDS,
        )

    def verdict(self) -> list[str]:
        """Drains, and says what is wrong: first as the workers run, then after their planned stop.

        Rows may come late, never wrong: so the first look waits a while, the second doesn't.
        """
        self.drain()
        wanted = oracle.expected(self.ledger.entries)
        with contextlib.ExitStack() as held:
            places = [held.enter_context(closing(each)) for each in self._evidence()]
            with contextlib.suppress(lab.NotInTime):
                lab.await_condition(
                    lambda: not any(each.faults(self.ledger.entries, wanted) for each in places),
                    "rows",
                    within_seconds=PUBLISHED_WITHIN_SECONDS,
                )
            faults = [fault for each in places for fault in each.faults(self.ledger.entries, wanted)]
            if faults:
                return faults
            codes = [worker.stop() for worker in self.workers if worker.running]
            faults = [f"a planned stop ended with exit code {code}" for code in codes if code != 0]
            return faults + [fault for each in places for fault in each.faults(self.ledger.entries, wanted)]

    def _evidence(self) -> list[Evidence]:
        settings = self.stack.settings
        if any(worker.stage == "sink" for worker in self.workers):
            return [RollupEvidence(settings), TableEvidence(settings)]
        return [RollupEvidence(settings)]


class Evidence(Protocol):
    """One place where a trial's numbers can be looked up."""

    def faults(self, entries: Sequence[Entry], wanted: Windows) -> list[str]:
        """What is wrong with them, a line each."""
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


class RollupEvidence:
    """The rollups topic against the oracle."""

    def __init__(self, settings: Settings) -> None:
        self._reader = RollupReader(settings)

    def faults(self, entries: Sequence[Entry], wanted: Windows) -> list[str]:
        """Windows that are missing, wrong or too many."""
        self._reader.catch_up()
        mine = tables.series(entries)
        found = {key: totals for key, totals in self._reader.totals().items() if key[0] in mine}
        return oracle.differences(wanted, found, error=RELATIVE_ERROR)

    def close(self) -> None:
        """Frees the consumer."""
        self._reader.close()


class TableEvidence:
    """ClickHouse against the oracle, and `atalaia verify`'s own proof."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tables = tables.Tables(settings)

    def faults(self, entries: Sequence[Entry], wanted: Windows) -> list[str]:
        """Events not there exactly once, windows that the views show wrongly, what `verify` finds (P3, P8)."""
        lost = self._tables.raw_faults(entries)
        if lost:
            return lost
        retention, now = self._settings.retention, tables.now()
        due = tables.kept(wanted, retention, now=now)
        found = tables.kept(self._tables.totals(tables.series(entries)), retention, now=now)
        wrong = oracle.differences(due, found, error=RELATIVE_ERROR)
        return wrong or [f"verify: {fault}" for fault in verify.faults(evidence.gather(self._settings))]

    def close(self) -> None:
        """Frees the connection."""
        self._tables.close()


@contextlib.contextmanager
def trial(
    stack: LocalStack,
    folder: Path,
    *,
    name: str,
    seed: int,
    streams: int = 1,
    sinks: int = 0,
    series: int = 40,
    events_per_second: int = 2_000,
    environment: Mapping[str, str] = EAGER,
) -> Iterator[Trial]:
    """Workers and a load with series of its own (`name`), begun when they are at work; neither outlives the block."""
    made = [lab.Worker("stream", stack, folder / f"stream-{index}.log", environment) for index in range(streams)]
    made += [lab.Worker("sink", stack, folder / f"sink-{index}.log", environment) for index in range(sinks)]
    ledger = Ledger(stack.settings, lines(name, series), events_per_second=events_per_second, seed=seed)
    with lab.workers(made) as running:
        begun = Trial(stack, ledger, running, seed)
        try:
            begun.await_assigned()
            ledger.start()
            yield begun
        finally:
            ledger.close()
