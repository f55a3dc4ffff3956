"""A Faust transport that hands an agent whole partition batches.

Faust makes two asyncio tasks for each message (`Consumer._drain_messages`), which ends at a few thousand events a
second. Here one Faust message carries everything that was fetched of one partition: its value is a `Batch` of Kafka
records, its offset that of the last one. Only topics declared as batched go that way.

Faust's own acknowledgements are not used for them: its compiled stream acknowledges a message whatever became of it,
a message of an earlier generation too. The agent says itself how far it has come (`finish`), and only that is
committed, after `before_commit` has made it durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AppT, ConsumerMessage

from atalaia.streams.hearing import Hearing

FRESH_SECONDS = 0.02
"""How long a fetch may take that was sent off just now."""

BeforeCommit = Callable[[], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Fetch:
    """What one fetch brought of batched topics; `shared` is for whoever works on all of it at once."""

    batches: dict[TP, list[Any]]
    shared: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The Kafka records of one partition, and the fetch that they came with."""

    records: list[Any]
    fetch: Fetch


class BatchConsumer(driver.Consumer):
    """A Faust consumer whose batched topics arrive by partition batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._finished: dict[TP, int] = {}
        self._hearing: dict[TP, Hearing] = {}
        super().__init__(*args, **kwargs)

    def finish(self, tp: TP, *, generation: int, next_offset: int) -> bool:
        """Notes that everything before `next_offset` is done; False where the partition has been taken away since."""
        if generation != self.app.consumer_generation_id or tp not in self.assignment():
            return False
        self._finished[tp] = next_offset
        return True

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]  # Faust's own can be None too
        """The partition's end as of the last fetch; None before the first, and where it has been taken away.

        The consumer's own thread can lose the partition between a look at the assignment and this.
        """
        try:
            return super().highwater(tp)
        except AssertionError:  # aiokafka's way of saying "not assigned"
            return None

    def reached_end(self, tp: TP, position: int, *, now: float) -> bool:
        """Whether nothing waits in Kafka from `position` on, by a word of the broker that can be trusted at `now`."""
        end = self.highwater(tp)
        try:
            heard_ms = self._thread._ensure_consumer().last_poll_timestamp(tp)  # noqa: SLF001 - Faust has no public way to ask
        except AssertionError:  # as above
            return False
        if end is None or heard_ms is None:
            return False
        trusted = self._hearing.setdefault(tp, Hearing()).trusts(heard_ms / 1000, now)
        return trusted and position >= end

    def on_buffer_full(self, tp: TP) -> None:
        """Leaves batched partitions among those that are fetched: a full queue holds up the next fetch by itself.

        Faust takes a partition out until its queue is nearly empty, and sleeps for a second when none is left.
        """
        if tp.topic not in self._transport.batched:
            super().on_buffer_full(tp)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Fetched records: one message a partition of batched topics, one a record of others."""
        await asyncio.sleep(self._transport.linger_seconds)
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if records:
            # aiokafka fetched these when the last ones were taken, a whole round ago: take what has come since, too.
            fresh = await self._getmany(active_partitions=active, timeout=FRESH_SECONDS)
            if self.app.consumer_generation_id != generation:  # whose these are cannot be told: read them again
                await self.perform_seek()
                return
            records = {tp: [*records.get(tp, ()), *fresh.get(tp, ())] for tp in {**records, **fresh}}
        if not self.flow_active:
            await self.perform_seek()
            return
        fetch = Fetch({tp: batch for tp, batch in records.items() if batch and tp.topic in self._transport.batched})
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if not batch or (active is not None and tp not in active and tp not in self._buffered_partitions):
                continue
            if tp.topic in self._transport.batched:
                yield tp, self._batch_message(tp, Batch(batch, fetch), generation)
            else:
                for record in batch:
                    yield tp, self._to_message(tp, record)

    def _batch_message(self, tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
        last = batch.records[-1]
        # Before the message goes out: else Faust notes a gap in the offsets, one entry a record.
        self._read_offset[tp] = last.offset
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            last.headers,
            None,
            batch,  # type: ignore[arg-type]  # Faust passes it on untouched to a topic of raw bytes
            None,
            None,
            None,
            tp,
            generation_id=generation,
        )

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in list(self._finished):
            if tp not in self._acked and (topics is None or tp in topics or tp.topic in topics):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self._transport.batched:
            return super()._new_offset(tp)
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._finished.get(tp)

    async def _commit_offsets(self, offsets: Any, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 - Faust's signature
        # The offsets were read before this point, so what is made durable here covers them all.
        before = self._transport.before_commit
        if before is not None:
            await before()
        return bool(await super()._commit_offsets(offsets, start_new_transaction))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits what is finished before the partitions go."""
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Forgets how far the last generation had come: its state is gone, and with it what a late batch finished."""
        self._finished.clear()
        heard = max((each.heard for each in self._hearing.values()), default=0.0)
        self._hearing = {tp: Hearing(heard) for tp in assigned}
        await super().on_partitions_assigned(assigned, generation_id)

    @property
    def _transport(self) -> BatchTransport:
        transport = self.transport
        assert isinstance(transport, BatchTransport)
        return transport


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = BatchConsumer

    def __init__(
        self,
        url: Any,
        app: AppT,
        *,
        batched: Iterable[str] = (),
        linger_seconds: float = 0.0,
        before_commit: BeforeCommit | None = None,
    ) -> None:
        super().__init__(url, app)
        self.batched = frozenset(batched)
        self.linger_seconds = linger_seconds
        self.before_commit = before_commit
