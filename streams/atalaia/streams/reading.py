"""Reads places of the partials topic: from their beginning, and then what comes, without ever waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas.topics import RULE_PARTIALS

MOST_RECORDS: Final = 500
"""Taken at a time, so that the event loop gets its turn."""

_FATAL: Final = frozenset({KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001 - librdkafka's own names


class Reader:
    """A consumer without a group's commits. Opening and closing block; `read` doesn't."""

    def __init__(self, settings: Settings, places: Iterable[int]) -> None:
        self._to_come = set(places)
        self._consumer = kafka.reader(
            settings.kafka,
            f"{settings.streams.application}-homes",
            **{
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
                "log_level": 0,
            },
        )
        self._consumer.assign([TopicPartition(RULE_PARTIALS.name, place, OFFSET_BEGINNING) for place in places])

    @property
    def caught_up(self) -> bool:
        """Whether every place has been read to its end at least once."""
        return not self._to_come

    def read(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Place, key and value of what has arrived, at most MOST_RECORDS; in order within a place."""
        for message in self._consumer.consume(MOST_RECORDS, timeout=0):
            error = message.error()
            if error is None:
                yield message.partition(), message.key() or b"", message.value()
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name for it
                self._to_come.discard(message.partition())
            elif error.fatal() or error.code() in _FATAL:
                raise KafkaException(error)

    def close(self) -> None:
        """Frees the consumer."""
        self._consumer.close()
