"""What the worker tells Kafka: rollups, alerts, dead letters, and the changelog of its state."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import structlog
from faust.types import TP

from atalaia.alerting import events as alert_events
from atalaia.alerting.shared.silence import ANNOTATION, silence_of
from atalaia.alerting.transitions import Transition
from atalaia.infra import metrics
from atalaia.infra.settings import Settings
from atalaia.schemas.codec import encode, frame_header
from atalaia.schemas.events import Granularity
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import ALERTS, METRICS, ROLLUPS, RULE_PARTIALS
from atalaia.streams.changelog import changelog_topic
from atalaia.streams.columns import Rejected
from atalaia.streams.dead_letters import dead_letter_headers
from atalaia.streams.partials import PartialsRecord
from atalaia.streams.partition import Partition
from atalaia.streams.publisher import Publisher
from atalaia.streams.watermarks import completeness

STAGE: Final = "streams"
FLUSH_SECONDS: Final = 30.0
YIELD_EVERY: Final = 50
"""Records sent before other tasks of the event loop get their turn: some two milliseconds."""

log = structlog.get_logger(__name__)


class Outputs:
    """Everything goes through one idempotent producer, so `flush` speaks for all of it."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._publisher = Publisher(settings.kafka, f"{settings.streams.application}-{os.getpid()}")
        self._changelog = changelog_topic(settings)
        self._rollup_header = frame_header(registry.id_of(ROLLUPS))
        self._alert_header = frame_header(registry.id_of(ALERTS))

    def dead_letters(self, tp: TP, batch: Sequence[Any], rejected: Sequence[Rejected]) -> None:
        """The rejected records of a batch, as they came, each with its reason."""
        if not rejected:
            return
        by_offset = {record.offset: record for record in batch}
        for each in rejected:
            record = by_offset[each.offset]
            headers = dead_letter_headers(
                list(record.headers or ()),
                topic=tp.topic,
                partition=tp.partition,
                offset=each.offset,
                reason=each.reason,
            )
            self._publisher.send(METRICS.dead_letters, key=record.key, value=record.value, headers=headers)
            metrics.DEAD_LETTERS.labels(STAGE, tp.topic, each.reason.value).inc()
        log.warning("dead_letters", partition=tp.partition, records=len(rejected))

    def alerts(
        self,
        transitions: Sequence[Transition],
        *,
        watermark_ms: int,
        lossy: Collection[tuple[str, str]] = (),
    ) -> list[bytes]:
        """Sends transitions, each with how complete its window was; returns their records.

        `lossy` has tenant and service of whoever misses events of late.
        """
        records: list[bytes] = []
        for transition in transitions:
            parent = _traceparent()
            record = alert_events.record(transition) | {
                "watermark": max(watermark_ms, 0),
                "completeness": _completeness(transition, watermark_ms),
                "traceparent": parent,
            }
            reason = silence_of(transition, lossy=(transition.tenant, transition.service_name) in lossy)
            if reason is not None:
                record["annotations"][ANNOTATION] = reason.value
            records.append(self._alert_header + encode("AlertEvent", record))
            self._publisher.send(
                ALERTS.name,
                key=transition.fingerprint.encode(),
                value=records[-1],
                headers=[("traceparent", parent.encode())],
            )
            metrics.TRANSITIONS.labels(transition.status.value).inc()
            log.info("alert_transition", rule=transition.rule.name, status=transition.status.value)
        if transitions:
            self._publisher.poll()
        return records

    def alert_again(self, fingerprint: str, record: bytes) -> None:
        """Sends the record of a transition once more, of which nobody knows whether it arrived."""
        self._publisher.send(ALERTS.name, key=fingerprint.encode(), value=record)
        self._publisher.poll()

    async def partials(self, records: Iterable[PartialsRecord]) -> float:
        """What source partitions tell the homes of shared rules; returns the seconds that took, as `rollups` does."""
        seconds, started = 0.0, time.perf_counter()
        for sent, (partition, key, value) in enumerate(records, start=1):
            self._publisher.send(RULE_PARTIALS.name, key=key, value=value, partition=partition)
            metrics.PARTIALS.inc()
            if sent % YIELD_EVERY == 0:
                seconds += time.perf_counter() - started
                await asyncio.sleep(0)
                started = time.perf_counter()
        self._publisher.poll()
        return seconds + time.perf_counter() - started

    def home_notes(self, records: Iterable[PartialsRecord]) -> None:
        """What a home of shared rules writes down for its successor."""
        for partition, key, value in records:
            self._publisher.send(RULE_PARTIALS.name, key=key, value=value, partition=partition)
        self._publisher.poll()

    async def rollups(self, partition: Partition, granularity: Granularity, *, watermark_ms: int) -> float:
        """Sends the rows that are out of date; returns the seconds that took, without the turns of other tasks."""
        headers = [("traceparent", _traceparent().encode())]
        rows, seconds, started = 0, 0.0, time.perf_counter()
        for key, body in partition.rows(granularity, watermark_ms):
            self._publisher.send(ROLLUPS.name, key=key, value=self._rollup_header + body, headers=headers)
            rows += 1
            if rows % YIELD_EVERY == 0:
                seconds += time.perf_counter() - started
                await asyncio.sleep(0)
                started = time.perf_counter()
        metrics.ROLLUPS.labels(granularity.value).inc(rows)
        self._publisher.poll()
        return seconds + time.perf_counter() - started

    async def state(self, partition: Partition) -> None:
        """The changelog entry of each series that has changed."""
        number = partition.state.partition
        for written, (key, value) in enumerate(partition.changes(), start=1):
            self._publisher.send(self._changelog, key=key, value=value, partition=number)
            if written % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def flush(self) -> None:
        """Returns when all of it is acknowledged; raises Undelivered where it isn't. Blocks: call it in a thread."""
        self._publisher.flush(FLUSH_SECONDS)


def _completeness(transition: Transition, watermark_ms: int) -> float | None:
    """The share of the window that the watermark has passed, times that of the events sent that came."""
    if transition.window is None:
        return None
    received = 1.0 if transition.evidence is None else transition.evidence.completeness
    return completeness(*transition.window, watermark_ms) * received


def _traceparent() -> str:
    """A new W3C trace context: version, trace id, span id, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
