"""The stream worker: a Faust app whose agent takes partition batches in and sends rollups and alerts out.

The order of a checkpoint, which Faust's commit timer asks for:

1. read how far each partition is finished (the offsets to commit),
2. write the state of every changed series to the changelog,
3. flush: rollups, alerts, dead letters and changelog are acknowledged by the brokers,
4. commit the offsets.

A crash before 4 replays events; the state of 2 says which of them have been counted. A crash before 3 loses nothing
that was committed.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import faust
import mode
import structlog
from faust.types import TP

from atalaia.alerting.local.judge import Judge
from atalaia.alerting.shared.silence import about_silence
from atalaia.alerting.store import RuleStore
from atalaia.alerting.transitions import Transition
from atalaia.infra import metrics
from atalaia.infra.settings import Settings
from atalaia.schemas.container import Record
from atalaia.schemas.events import Granularity
from atalaia.schemas.registry import Registry, RegistryUnavailable
from atalaia.schemas.topics import METRICS
from atalaia.streams import entries
from atalaia.streams.changelog import restore
from atalaia.streams.columns import Columns, Engine
from atalaia.streams.composure import Composure
from atalaia.streams.homes import TURN, Homes
from atalaia.streams.outputs import STAGE, YIELD_EVERY, Outputs
from atalaia.streams.partition import Partition
from atalaia.streams.state import PartitionState
from atalaia.streams.transport import Batch, BatchConsumer, BatchTransport

LINGER_SECONDS: Final = 0.03
"""Wait before each fetch: a query has a fixed cost of about 10 ms, and every series that a fetch touches one of 15 µs,
so small batches would buy little latency dearly."""
COMPOSING_SECONDS: Final = 0.1
"""Wait between looks whether a worker that was paused knows again where it stands."""
BEAT: Final = timedelta(milliseconds=500)
SWEEP_EVERY: Final = timedelta(seconds=5)
CADENCE: Final = {
    Granularity.MINUTE: timedelta(seconds=1),
    Granularity.HOUR: timedelta(seconds=4),
    Granularity.DAY: timedelta(seconds=8),
    Granularity.MONTH: timedelta(seconds=8),
}
"""How often rows that are out of date go out, when series are few."""
PUBLISHING_SHARE: Final = 0.05
"""When series are many: publishing a granularity takes at most about this share of the time, so rows go out less often;
what comes in is more urgent."""

log = structlog.get_logger(__name__)


class StreamWorker:
    """One worker process; several share the partitions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = Registry(settings.registry.url)
        self._engine = Engine(self._registry)
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="columns")
        self._io_threads = ThreadPoolExecutor(2, thread_name_prefix="io")
        self._outputs = Outputs(settings, self._registry)
        self._rules = RuleStore(settings)
        self._homes = Homes(settings, self._outputs, self._rules.rules(), threads=self._io_threads)
        self._composure = Composure(settings.streams.session_timeout)
        self._partitions: dict[int, Partition] = {}
        self._restoring = asyncio.Lock()
        self._checkpointing = asyncio.Lock()
        self._published_at: dict[Granularity, float] = dict.fromkeys(Granularity, 0.0)
        self._publishing_cost: dict[Granularity, float] = dict.fromkeys(Granularity, 0.0)
        self._swept_at = 0.0
        self._stopping = False
        self._offsets: dict[int, tuple[int, int]] = {}
        self.app = self._build_app()

    # ── wiring ────────────────────────────────────────────────────────────────────────────────────────────

    def _build_app(self) -> faust.App:
        kafka, streams = self._settings.kafka, self._settings.streams
        app = faust.App(
            streams.application,
            broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
            store="memory://",
            key_serializer="raw",
            value_serializer="raw",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=streams.fetch_bytes,
            broker_max_poll_records=streams.batch_records,
            broker_commit_interval=streams.checkpoint_every.total_seconds(),
            broker_session_timeout=streams.session_timeout.total_seconds(),
            broker_heartbeat_interval=streams.session_timeout.total_seconds() / 4,
            broker_request_timeout=max(30.0, streams.session_timeout.total_seconds() + 5),
            broker_max_poll_interval=120.0,
            producer_request_timeout=30.0,
            # Two batches wait while one is worked on; the rest waits in Kafka.
            stream_buffer_maxsize=2,
            stream_wait_empty=False,
            # Faust would restart a crashed agent for ever; the process ends, and its supervisor sees it.
            agent_supervisor=mode.CrashingSupervisor,
        )
        app.transport = BatchTransport(
            app.conf.broker_consumer,
            app,
            batched=[METRICS.name],
            linger_seconds=LINGER_SECONDS,
            before_commit=self.checkpoint,
        )
        source = app.topic(METRICS.name, value_type=None, value_serializer="raw", key_serializer="raw")

        @app.agent(source, concurrency=1, name="windows")
        async def windows(stream: Any) -> None:
            async for event in stream.events():
                await self.take(event.message)

        @app.task  # type: ignore[untyped-decorator]
        async def beats() -> None:
            while not app.should_stop:
                await self.beat()
                await app.sleep(BEAT.total_seconds())

        @app.task  # type: ignore[untyped-decorator]
        async def homes() -> None:
            while not app.should_stop:
                await self.share()
                await app.sleep(TURN.total_seconds())

        @app.on_before_shutdown.connect
        async def publish(*_: Any, **__: Any) -> None:
            await self.publish_everything()
            await self._homes.close()

        return app

    @property
    def _consumer(self) -> BatchConsumer:
        consumer = self.app.consumer
        assert isinstance(consumer, BatchConsumer)
        return consumer

    # ── a batch ───────────────────────────────────────────────────────────────────────────────────────────

    async def take(self, message: Any) -> None:
        """Applies one partition batch. Where the partition has been taken away meanwhile, the batch is dropped."""
        tp, generation = message.tp, message.generation_id
        partition = await self._partition(tp.partition, generation)
        if partition is None:
            return
        started = time.perf_counter()
        batch: Batch = message.value
        records = batch.records
        first_offset, last_offset = records[0].offset, records[-1].offset
        columns = await self._columns(tp, batch, generation, each_event=partition.replays(first_offset))
        if columns is None or not await self._still_ours(generation):
            return
        partition.caught_up = self._reached_end(tp, last_offset + 1)
        now_ms = _now_ms()
        partition.apply(
            columns,
            offsets=(first_offset, last_offset),
            arrival_ms=max(record.timestamp for record in records),
            now_ms=now_ms,
            touched=time.monotonic(),
        )
        self._outputs.dead_letters(tp, records, columns.rejected)
        self._send_alerts(partition, partition.judge_touched(now_ms), now_ms)
        self._consumer.finish(tp, generation=generation, next_offset=last_offset + 1)
        metrics.RECORDS_READ.labels(STAGE, METRICS.name).inc(len(records))
        metrics.BATCH_RECORDS.labels(STAGE, METRICS.name).observe(len(records))
        metrics.BATCH_SECONDS.labels(STAGE, METRICS.name).observe(time.perf_counter() - started)

    async def _still_ours(self, generation: int) -> bool:
        """Whether there has been no rebalance since; after a pause, not before that can be known.

        A worker that was taken for dead has a batch or two, and rows, in hand when it wakes up. Counting them would do
        no harm as long as its successor has opened the same windows; one that had let go of them opens others, and so
        would we.
        """
        while not self._composure.at(time.time()):
            if generation != self.app.consumer_generation_id or self.app.should_stop:
                return False
            await asyncio.sleep(COMPOSING_SECONDS)
        return bool(generation == self.app.consumer_generation_id)

    async def _columns(self, tp: TP, batch: Batch, generation: int, *, each_event: bool) -> Columns | None:
        """The batch's columns; None where the partition was taken away meanwhile.

        The first batch of a fetch has those of all its partitions made in one query, and the others find theirs there.
        """
        if each_event:
            found = await self._aggregate({tp.partition: _records(batch.records)}, generation, each_event=True)
        else:
            fetch = batch.fetch
            if fetch.shared is None:
                batches = {each.partition: _records(records) for each, records in fetch.batches.items()}
                fetch.shared = asyncio.ensure_future(self._aggregate(batches, generation, each_event=False))
            found = await asyncio.shield(fetch.shared)
        return None if found is None else found[tp.partition]

    async def _aggregate(
        self, batches: dict[int, list[Record]], generation: int, *, each_event: bool
    ) -> dict[int, Columns] | None:
        """The columns of batches by partition; waits while the registry is away; None after a rebalance meanwhile."""
        pause = 0.1
        loop = asyncio.get_running_loop()
        while generation == self.app.consumer_generation_id and not self.app.should_stop:
            try:
                return await loop.run_in_executor(
                    self._engine_thread, lambda: self._engine.aggregate_all(batches, each_event=each_event)
                )
            except RegistryUnavailable as exc:
                metrics.RETRIES.labels(STAGE, "schema").inc()
                log.warning("registry_away", error=str(exc), retry_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        return None

    def _send_alerts(self, partition: Partition, transitions: list[Transition], now_ms: int) -> None:
        lossy = partition.lossy_services() if any(map(about_silence, transitions)) else set()
        watermark_ms = partition.watermark(now_ms, self._settings.streams)
        self._outputs.alerts(transitions, watermark_ms=watermark_ms, lossy=lossy)

    # ── partitions coming and going ───────────────────────────────────────────────────────────────────────

    async def _partition(self, number: int, generation: int) -> Partition | None:
        """The partition, its state restored; None where it isn't ours in this generation."""
        async with self._restoring:
            if generation != self.app.consumer_generation_id:
                return None
            partition = self._partitions.get(number)
            if partition is None or partition.generation != generation:
                partition = await self._restore(number, generation)
                if generation != self.app.consumer_generation_id:
                    return None
                self._partitions[number] = partition
            return partition

    async def _restore(self, number: int, generation: int) -> Partition:
        started = time.perf_counter()
        restored = await asyncio.get_running_loop().run_in_executor(
            self._io_threads, lambda: restore(self._settings, number, stamp=entries.stamp)
        )
        judge = Judge(self._rules.rules(), lateness=self._settings.streams.allowed_lateness)
        partition = Partition(generation, PartitionState(number), judge)
        touched = time.monotonic()
        for count, _ in enumerate(partition.load(restored.values, touched=touched)):
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        self._homes.join(partition, _now_ms())
        metrics.RESTORED.inc(restored.records)
        log.info(
            "partition_restored",
            partition=number,
            series=len(partition.state.series),
            records=restored.records,
            seconds=round(time.perf_counter() - started, 3),
        )
        return partition

    # ── time passing ──────────────────────────────────────────────────────────────────────────────────────

    async def beat(self) -> None:
        """What is due by the clock: new rules, `for` and resolves, rollup rows, closing and evicting windows."""
        generation = self.app.consumer_generation_id
        assigned = {tp for tp in self._consumer.assignment() if tp.topic == METRICS.name}
        numbers = {tp.partition for tp in assigned}
        for number in [number for number in self._partitions if number not in numbers]:
            del self._partitions[number]
            self._offsets.pop(number, None)
        for number in numbers:
            await self._partition(number, generation)
        rules_changed = await asyncio.get_running_loop().run_in_executor(self._io_threads, self._rules.poll)
        if rules_changed:
            await self._homes.replace_rules(self._rules.rules(), self._partitions)
        now_ms = _now_ms()
        for tp in assigned:
            partition = self._partitions.get(tp.partition)
            if partition is None:
                continue
            self._look_at_lag(tp, partition)
            if rules_changed:
                changed = partition.judge.replace_rules(self._rules.rules(), partition.at(now_ms))
                self._send_alerts(partition, changed, now_ms)
            self._send_alerts(partition, partition.tick(now_ms), now_ms)
        metrics.RULES.set(len(self._rules.rules()))
        if not await self._still_ours(generation):
            return
        if time.monotonic() - self._swept_at >= SWEEP_EVERY.total_seconds() and not self._stopping:
            # What was published must be there before its state may go; and a window that is let go of must be gone
            # for good (the checkpoint below) before the row of its next opening goes out: else a crash in between
            # would leave that row beside one of the old opening which a replay has added the same events to.
            await asyncio.get_running_loop().run_in_executor(self._io_threads, self._outputs.flush)
            if self._stopping:
                return
            self._sweep(assigned, now_ms)
            await self.checkpoint()
        else:
            await self._publish_due(now_ms)

    async def share(self) -> None:
        """A turn of shared rules: what their homes are owed goes out, and the homes that are ours do their work."""
        generation, now_ms = self.app.consumer_generation_id, _now_ms()
        assigned = {tp.partition: tp for tp in self._consumer.assignment() if tp.topic == METRICS.name}
        owned = {
            number: partition
            for number, partition in self._partitions.items()
            if number in assigned and partition.generation == generation
        }
        for number, partition in owned.items():
            if partition.sharing.due(time.monotonic()):
                self._look_at_lag(assigned[number], partition)
                await self._homes.share(partition, now_ms)
        await self._homes.turn(
            owned,
            generation=generation,
            entitled=lambda: self._composure.at(time.time()) and generation == self.app.consumer_generation_id,
        )

    def _look_at_lag(self, tp: TP, partition: Partition) -> None:
        end = self._consumer.highwater(tp)
        committed = self._consumer._committed_offset.get(tp)  # noqa: SLF001 - Faust has no public way to ask
        position = partition.next_offset if partition.next_offset is not None else committed
        partition.caught_up = self._reached_end(tp, position or 0)
        self._offsets[tp.partition] = (committed or 0, end or 0)
        metrics.LAG.labels(STAGE, tp.topic, str(tp.partition)).set(max(0, (end or 0) - (committed or 0)))
        metrics.COMMITTED.labels(STAGE, tp.topic, str(tp.partition)).set(committed or 0)

    def _reached_end(self, tp: TP, position: int) -> bool:
        """Whether everything that there is has been read, and this process is in a state to know."""
        now = time.time()
        return self._composure.at(now) and self._consumer.reached_end(tp, position, now=now)

    async def _publish_due(self, now_ms: int) -> None:
        for granularity, cadence in CADENCE.items():
            started = time.monotonic()
            wait = max(cadence.total_seconds(), self._publishing_cost[granularity] / PUBLISHING_SHARE)
            if started - self._published_at[granularity] < wait:
                continue
            self._publishing_cost[granularity] = await self._publish(granularity, now_ms)
            self._published_at[granularity] = time.monotonic()

    async def _publish(self, granularity: Granularity, now_ms: int) -> float:
        seconds = 0.0
        for partition in list(self._partitions.values()):
            watermark = partition.watermark(now_ms, self._settings.streams)
            metrics.WATERMARK_AGE.labels(str(partition.state.partition)).set((now_ms - watermark) / 1000)
            seconds += await self._outputs.rollups(partition, granularity, watermark_ms=watermark)
        return seconds

    def _sweep(self, assigned: set[TP], now_ms: int) -> None:
        """Closes windows that the watermark has passed, and lets go of those that nothing comes for any more."""
        streams = self._settings.streams
        self._swept_at = time.monotonic()
        held = {tp: self._partitions[tp.partition] for tp in assigned if tp.partition in self._partitions}
        counts = {tp: partition.state.window_count() for tp, partition in held.items()}
        excess = max(0, sum(counts.values()) - streams.max_windows)
        for tp, partition in held.items():
            partition.close_windows(partition.watermark(now_ms, streams))
            partition.evict(
                committed=self._consumer._committed_offset.get(tp) or 0,  # noqa: SLF001 - Faust has no public way to ask
                idle_since=self._swept_at - streams.evict_after.total_seconds(),
                excess=excess * counts[tp] // max(1, sum(counts.values())),
            )
        metrics.WINDOWS.set(sum(counts.values()))
        metrics.SERIES.set(sum(len(partition.state.series) for partition in held.values()))

    # ── making it durable ─────────────────────────────────────────────────────────────────────────────────

    async def checkpoint(self) -> None:
        """Steps 2 and 3 of a checkpoint; raises Undelivered, and so ends the worker, where they can't be done."""
        async with self._checkpointing:
            with metrics.CHECKPOINT_SECONDS.time():
                owed = self._homes.owed()
                for partition in list(self._partitions.values()):
                    await self._homes.owe_nothing(partition)
                    await self._outputs.state(partition)
                await asyncio.get_running_loop().run_in_executor(self._io_threads, self._outputs.flush)
                self._homes.settled(owed)

    def partition_offsets(self) -> dict[int, tuple[int, int]]:
        """Committed and end offset of each partition that this worker has; safe to call from any thread."""
        return dict(self._offsets)

    async def publish_everything(self) -> None:
        """Every row that is out of date goes out, whatever the cadence: before a planned stop.

        Not before what was let go of is gone for good (see `beat`), and nothing more is let go of.
        """
        self._stopping = True
        await self.checkpoint()
        for granularity in Granularity:
            await self._publish(granularity, _now_ms())

    def close(self) -> None:
        """Frees threads and the engine."""
        self._engine_thread.shutdown()
        self._io_threads.shutdown()
        self._engine.close()


def _records(batch: list[Any]) -> list[Record]:
    return [(record.offset, record.timestamp, record.value or b"") for record in batch]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
