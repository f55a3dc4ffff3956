"""What one poll brought, sorted by topic and partition. Pure: messages in, records out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from atalaia.schemas.container import Record

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
Partition: TypeAlias = tuple[str, int]
"""Topic and number."""

SUFFIX: Final = ".dlq"
"""Of topics of dead letters."""


class Message(Protocol):
    """What we use of confluent_kafka.Message."""

    def topic(self) -> str: ...  # noqa: D102 - as in confluent_kafka
    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def headers(self) -> Headers | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets `first` to `last` of one partition, and when the first and the last of them to arrive did (ms)."""

    partition: int
    first: int
    last: int
    arrived_from: int
    arrived_to: int


@dataclass(slots=True)
class Batch:
    """Records by topic and partition in the order of their offsets, each offset once; dead letters as they came."""

    records: dict[str, dict[int, list[Record]]] = field(default_factory=dict)
    dead_letters: list[Message] = field(default_factory=list)
    messages: Sequence[Message] = ()
    first: dict[Partition, int] = field(default_factory=dict)
    next: dict[Partition, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.dead_letters) + sum(
            len(records) for partitions in self.records.values() for records in partitions.values()
        )

    def drop(self, lost: Collection[Partition]) -> None:
        """Forgets everything of these partitions: they are another's now."""
        for topic, partition in lost:
            self.records.get(topic, {}).pop(partition, None)
            self.first.pop((topic, partition), None)
            self.next.pop((topic, partition), None)
        self.dead_letters = [each for each in self.dead_letters if (each.topic(), each.partition()) not in lost]

    def message(self, topic: str, partition: int, offset: int) -> Message:
        """The message of a record in this batch."""
        return next(
            each
            for each in self.messages
            if (each.topic(), each.partition(), each.offset()) == (topic, partition, offset)
        )


def cut(messages: Sequence[Message]) -> Batch:
    """The batch of these messages. A rebalance can make a poll return an offset again: it is taken once."""
    batch = Batch(messages=messages)
    following = batch.next
    for message in messages:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        at = (topic, partition)
        expected = following.get(at)
        if expected is None:
            batch.first[at] = offset
        elif offset < expected:
            continue
        following[at] = offset + 1
        if topic.endswith(SUFFIX):
            batch.dead_letters.append(message)
            continue
        partitions = batch.records.get(topic)
        if partitions is None:
            partitions = batch.records[topic] = {}
        records = partitions.get(partition)
        if records is None:
            records = partitions[partition] = []
        records.append((offset, message.timestamp()[1], message.value() or b""))
    return batch


def range_of(partition: int, records: Iterable[Record]) -> Range:
    """The offsets and arrival times that these records span."""
    offsets, arrivals, _ = zip(*records, strict=True)
    return Range(partition, min(offsets), max(offsets), min(arrivals), max(arrivals))
