"""Kafka to ClickHouse: poll, cut, insert, commit. Each record's row is there once, whatever crashes in between.

The order is the promise:
1. Take a batch; drop what a rebalance took from us meanwhile.
2. Of partitions that are new to us, wait until no insert of a predecessor is running.
3. Insert. Each insert leaves out the offsets that are already there: after a crash here, part of the batch is stored,
   and the next to read it stores the rest.
4. Put aside what cannot be read, acknowledged by Kafka.
5. Commit. After a crash before this, the batch comes again, and step 3 stores nothing of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from atalaia.infra import metrics
from atalaia.infra.clickhouse import ClickHouseRefused, ClickHouseUnavailable
from atalaia.infra.failpoint import Failpoint
from atalaia.infra.settings import Settings
from atalaia.schemas.registry import Registry, RegistryUnavailable
from atalaia.schemas.topics import DEAD_LETTERS, METRICS
from atalaia.sinks.batch import Batch, Partition, cut
from atalaia.sinks.dead_letter_queue import DeadLetterQueue, Undelivered
from atalaia.sinks.group import Expelled, Membership, Unconfirmed
from atalaia.sinks.loader import Loader, Unusable
from atalaia.sinks.tables import tables

log = structlog.get_logger(__name__)

T = TypeVar("T")

STAGE: Final = "sinks"
FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 10.0
"""Between tries while something is away; doubled each time."""
SLICE_SECONDS: Final = 0.5
"""How long a request to stop may go unnoticed."""
SAY_EVERY_SECONDS: Final = 30.0
REPORT_EVERY_SECONDS: Final = 1.0


class Busy(Exception):  # noqa: N818 - what the partition is
    """A predecessor's insert is still running: what it stores cannot be left out yet."""


class Stopped(Exception):  # noqa: N818 - not an error
    """We were asked to stop while something was away; what was in hand is not committed."""


_RETRIED: Final = (ClickHouseUnavailable, ClickHouseRefused, RegistryUnavailable, Undelivered, Unconfirmed, Busy)


class Sink:
    """One sink. `run` works until `stop` is set; attributes without underscore may be read from other threads."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self.offsets: dict[Partition, tuple[int, int]] = {}
        """Committed and end offset of each partition that is ours."""
        self.waiting_for: str | None = None
        """What is away, in words; None while batches are stored."""
        self.stepped_at = time.monotonic()
        """When the loop last took a step, were it one more try."""
        self._settings = settings.sinks
        self._stop = stop
        destinations = tables(settings.retention)
        self._group = Membership(settings, [*destinations, *(topic.name for topic in DEAD_LETTERS)])
        self._registry = Registry(settings.registry.url)
        self._loader = Loader(settings.clickhouse, self._registry, destinations, guard=self._before_each)
        self._queue = DeadLetterQueue(settings.kafka)
        self._before_insert = Failpoint("sink.before_insert")
        self._after_insert = Failpoint("sink.after_insert")
        self._reported_at = 0.0

    def run(self) -> None:
        """Stores batches until asked to stop."""
        try:
            while not self._stop.is_set():
                self.step()
        except Stopped:
            log.info("stopped_while_waiting", waiting_for=self.waiting_for)

    def close(self) -> None:
        """Leaves the group, so that others take over at once, and closes all connections."""
        self._group.close()
        self._loader.close()
        self._registry.close()

    def step(self) -> None:
        """One batch, from poll to commit. Raises Stopped."""
        self.stepped_at = time.monotonic()
        wait = self._settings.batch_wait.total_seconds()
        batch = cut(self._group.poll(records=self._settings.batch_records, wait_seconds=wait))
        try:
            if batch.next:
                self._store(batch)
            self._group.commit(batch.next)
        except Expelled as exc:
            log.warning("batch_given_up", reason=str(exc), records=len(batch))
            self._resume()
        self._report()

    def _store(self, batch: Batch) -> None:
        started = time.monotonic()
        for topic, partitions in batch.records.items():
            count = sum(map(len, partitions.values()))
            metrics.RECORDS_READ.labels(STAGE, topic).inc(count)
            metrics.BATCH_RECORDS.labels(STAGE, topic).observe(count)
        unusable = self._patiently("insert", batch, lambda: self._insert(batch))
        self._after_insert.reach()
        self._patiently("dead_letters", batch, lambda: self._put_aside(batch, unusable))
        seconds = time.monotonic() - started
        for topic in batch.records:
            metrics.BATCH_SECONDS.labels(STAGE, topic).observe(seconds)
        log.debug("batch_stored", records=len(batch), seconds=round(seconds, 3))

    def _insert(self, batch: Batch) -> list[Unusable]:
        self._group.take(batch.first)
        self._await_predecessors(batch)
        try:
            return self._loader.store(batch)
        except ClickHouseUnavailable:
            self._group.fresh.update(batch.next)  # our own insert may still be running
            raise

    def _before_each(self) -> None:
        self._group.confirm()
        self._before_insert.reach()

    def _await_predecessors(self, batch: Batch) -> None:
        fresh = self._group.fresh.intersection(batch.next)
        if not fresh:
            return
        if still := fresh & self._loader.running():
            raise Busy(f"an insert that was under way for {sorted(still)}")
        self._group.fresh -= fresh

    def _put_aside(self, batch: Batch, unusable: list[Unusable]) -> None:
        # Dead letters of the metrics topic are the stream worker's: it judges the same records, by the same rules.
        ours = [each for each in unusable if each.topic != METRICS.name and (each.topic, each.partition) in batch.next]
        if not ours:
            return
        self._queue.put((batch.message(each.topic, each.partition, each.offset), each.reason) for each in ours)
        for each in ours:
            metrics.DEAD_LETTERS.labels(STAGE, each.topic, each.reason.value).inc()
        log.warning("dead_letters", records=len(ours), first=str(ours[0]))

    def _patiently(self, operation: str, batch: Batch, action: Callable[[], T]) -> T:
        """What the action returns, however long what it needs is away. Raises Stopped and Expelled.

        Meanwhile we stay in the group, take no more messages, and drop from the batch what goes to others.
        """
        wait, said_at, since = FIRST_WAIT_SECONDS, float("-inf"), time.monotonic()
        while True:
            try:
                result = action()
            except _RETRIED as exc:
                metrics.RETRIES.labels(STAGE, operation).inc()
                self.waiting_for = str(exc)
            else:
                if self.waiting_for is not None:
                    log.info("resumed", operation=operation, seconds=round(time.monotonic() - since, 1))
                    self._resume()
                return result
            if time.monotonic() - said_at > SAY_EVERY_SECONDS:
                said_at = time.monotonic()
                log.warning("waiting", operation=operation, reason=self.waiting_for, records=len(batch))
            self._idle(wait)
            batch.drop(set(batch.next) - self._group.owned)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _idle(self, seconds: float) -> None:
        """Waits as a member of the group. Raises Stopped when asked to stop meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._stop.is_set():
                raise Stopped
            self._group.idle(min(left, SLICE_SECONDS))
            self.stepped_at = time.monotonic()
            self._report()

    def _resume(self) -> None:
        self.waiting_for = None
        self._group.wake()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported_at < REPORT_EVERY_SECONDS:
            return
        self._reported_at = now
        offsets = self._group.offsets()
        for topic, partition in self.offsets.keys() - offsets.keys():
            metrics.LAG.remove(STAGE, topic, str(partition))
            metrics.COMMITTED.remove(STAGE, topic, str(partition))
        for (topic, partition), (committed, end) in offsets.items():
            metrics.LAG.labels(STAGE, topic, partition).set(max(0, end - committed))
            metrics.COMMITTED.labels(STAGE, topic, partition).set(committed)
        self.offsets = offsets
