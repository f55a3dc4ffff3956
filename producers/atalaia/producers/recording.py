"""A producer for tests of code that emits: it keeps what it is given."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Final

from atalaia.producers.emitter import Emitter
from atalaia.producers.errors import BufferFull, ProducerClosed
from atalaia.producers.fields import text
from atalaia.producers.outcomes import Delivery, OnDelivery, Stats
from atalaia.producers.records import Origin, Template, avro_text
from atalaia.schemas.codec import decode
from atalaia.schemas.events import DEFAULT_TENANT
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH

PRODUCER_ID: Final = "recording"


class RecordingProducer(Emitter):
    """Checks and encodes as `Producer` does, and delivers at once, to lists.

    >>> metrics = RecordingProducer()
    >>> metrics.emit("revenue_hourly", 2500, metadata={"payment_method": "pix"})
    >>> metrics.events[0]["metric_name"], metrics.events[0]["value"], metrics.events[0]["unit"]
    ('revenue_hourly', 2500.0, 'BRL')
    """

    def __init__(self, service_name: str = "test", *, tenant: str = DEFAULT_TENANT) -> None:
        super().__init__(Origin(text("tenant", tenant), text("service_name", service_name)))
        self._lock = threading.RLock()
        self._records: dict[str, list[dict[str, Any]]] = {METRICS.name: [], SERVICE_HEALTH.name: []}
        self._sequences: dict[bytes, itertools.count[int]] = {}
        self._emitted = 0
        self._refused = 0
        self._closed = False

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event as a consumer would decode it, in order."""
        return self._records[METRICS.name]

    @property
    def health_reports(self) -> list[dict[str, Any]]:
        """Every health report, the same way."""
        return self._records[SERVICE_HEALTH.name]

    def values(self, metric_name: str) -> list[float]:
        """The values of one metric's events, in order."""
        return [event["value"] for event in self.events if event["metric_name"] == metric_name]

    def clear(self) -> None:
        """Forget the records; sequences and counts go on."""
        with self._lock:
            for records in self._records.values():
                records.clear()

    def put(
        self,
        template: Template,
        value: float,
        at_ms: int,
        on_delivery: OnDelivery | None = None,
        wait_seconds: float | None = None,  # noqa: ARG002 - there is always room
    ) -> bool:
        """Record an event; always True."""
        with self._lock:
            if self._closed:
                raise ProducerClosed("emit after close(); make a new RecordingProducer")
            sequence = next(self._sequences.setdefault(template.key, itertools.count()))
            body = template.body(avro_text(PRODUCER_ID), at_ms, sequence, value)
            topic = template.topic
            record = decode(str(topic.schema), body)
            records = self._records[topic.name]
            records.append(record)
            self._emitted += 1
            delivery = Delivery(topic.name, 0, len(records) - 1, str(next(iter(record.values()))))
        if on_delivery is not None:
            on_delivery(delivery)
        return True

    def refuse(self) -> BufferFull:
        """Count an event that found no room, though there always is."""
        self._refused += 1
        return BufferFull("no room")

    @property
    def block_timeout(self) -> float:
        """Nobody ever waits."""
        return 0.0

    @property
    def stats(self) -> Stats:
        """Everything emitted is acknowledged."""
        return Stats(emitted=self._emitted, acknowledged=self._emitted, refused=self._refused)

    def flush(self, timeout: float = 10.0) -> Stats:  # noqa: ARG002 - nothing is ever queued
        """The counts; nothing is ever queued."""
        return self.stats

    def close(self, timeout: float = 10.0) -> Stats:  # noqa: ARG002 - the same
        """Accept nothing more."""
        self._closed = True
        return self.stats
