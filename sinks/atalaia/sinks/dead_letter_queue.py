"""Records that cannot become rows, put aside in `<topic>.dlq` with their bytes, key and headers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from atalaia.infra.settings import KafkaSettings, librdkafka
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import PARTITIONER
from atalaia.sinks import dead_letters
from atalaia.sinks.batch import SUFFIX, Message

_FLUSH_SECONDS: Final = 30.0


class Undelivered(Exception):  # noqa: N818 - what happened to the records
    """Kafka did not take them all; putting them again is harmless: `dead_letters` has each original once."""


class DeadLetterQueue:
    """An idempotent producer for what is seldom needed: it connects at the first dead letter."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._refused: list[str] = []

    def put(self, letters: Iterable[tuple[Message, Reason]]) -> None:
        """Returns when every one is acknowledged by all in-sync replicas; else raises Undelivered."""
        producer = self._producer = self._producer or Producer(self._configuration())
        self._refused.clear()
        try:
            for message, reason in letters:
                producer.produce(
                    message.topic() + SUFFIX,
                    value=message.value(),
                    key=message.key(),
                    headers=dead_letters.headers(message, reason),
                    on_delivery=self._delivered,
                )
                producer.poll(0)
        except BufferError as exc:
            raise Undelivered("the queue of dead letters is full; is Kafka up?") from exc
        left = producer.flush(_FLUSH_SECONDS)
        if left or self._refused:
            raise Undelivered(self._refused[0] if self._refused else f"{left} dead letters not acknowledged")

    def _delivered(self, error: KafkaError | None, _: Delivered) -> None:
        if error is not None:
            self._refused.append(str(KafkaException(error)))

    def _configuration(self) -> dict[str, object]:
        return librdkafka(
            self._settings,
            **{
                "client.id": "atalaia-sink",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "partitioner": PARTITIONER,
                "message.timeout.ms": int(_FLUSH_SECONDS * 1000),
            },
        ) | {"logger": logging.getLogger("librdkafka")}
