"""What the worker writes to Kafka, through librdkafka: idempotent, in order, and known to be there after `flush`."""

from __future__ import annotations

import logging
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from atalaia.infra.settings import KafkaSettings, librdkafka
from atalaia.schemas.topics import PARTITIONER

LARGEST_RECORD_BYTES: Final = 8 * 1024 * 1024
"""A page of state is one record: 500 windows of 130 bytes and their sketches, which seldom reach a megabyte."""


class Undelivered(Exception):  # noqa: N818 - what happened to the records
    """Records could not be written; nothing that depends on them may be committed. The worker restarts."""


class Publisher:
    """An idempotent producer whose failures surface at the next `flush`."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._failed: list[str] = []
        self._producer = Producer(
            librdkafka(
                settings,
                **{
                    "client.id": client_id,
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 5,
                    "partitioner": PARTITIONER,
                    "message.max.bytes": LARGEST_RECORD_BYTES,
                    "queue.buffering.max.messages": 1_000_000,
                    "queue.buffering.max.kbytes": 262_144,
                    "message.timeout.ms": 120_000,
                    "delivery.report.only.error": True,
                },
            )
            | {"logger": logging.getLogger("librdkafka")}
        )

    def send(self, topic: str, *, key: bytes | None, value: bytes | None, partition: int = -1, **more: Any) -> None:
        """Queues a record; waits only while the bounded queue is full (the broker is away or slow)."""
        while True:
            try:
                self._producer.produce(
                    topic, value=value, key=key, partition=partition, on_delivery=self._delivered, **more
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self, timeout_seconds: float) -> None:
        """Returns when every record queued before is acknowledged by all in-sync replicas; else raises Undelivered."""
        left = self._producer.flush(timeout_seconds)
        if self._failed:
            raise Undelivered(f"{len(self._failed)} records were refused, the first: {self._failed[0]}")
        if left:
            raise Undelivered(f"{left} records are not acknowledged after {timeout_seconds:g} s; is Kafka up?")

    def poll(self) -> None:
        """Serves delivery reports without waiting."""
        self._producer.poll(0)

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(str(KafkaException(error)))
