"""Kafka records as a person sees them: where they are, and what is in them, damaged ones included."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, TopicPartition

from atalaia.infra import kafka
from atalaia.infra.settings import KafkaSettings
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry, SchemaMissing
from atalaia.schemas.screening import EXPLANATIONS, Reason
from atalaia.schemas.topics import TOPICS

_BATCH: Final = 1_000
_POLL_SECONDS: Final = 0.2
_SCHEMAS: Final = {topic.name: topic.schema for topic in TOPICS}


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record as it lies there; `at` is the record's own timestamp (for most topics: arrival time)."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def place(self) -> str:
        """Partition and offset, as `atalaia dlq show --offset` takes it."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Why a value is no record of its topic's schema."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return EXPLANATIONS[self.reason] + (f" ({self.detail})" if self.detail else "")


Decoded: TypeAlias = dict[str, Any] | Undecodable


class Decoder:
    """Decodes values by the schema they were written with, asked of the registry once an id."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writers: dict[int, Any] = {}

    def decode(self, topic: str, value: bytes) -> Decoded:
        """The record, or why there is none; of a dead letter, what it would be on the topic it failed on.

        Raises RegistryUnavailable where nobody can be asked.
        """
        if not value:
            return Undecodable(Reason.EMPTY)
        schema_id = codec.schema_id_of(value)
        schema = _SCHEMAS.get(topic.removesuffix(".dlq"))
        if schema_id is None or schema is None:
            return Undecodable(Reason.NOT_FRAMED)
        try:
            writer = self._writer(schema_id)
        except SchemaMissing:
            return Undecodable(Reason.UNKNOWN_SCHEMA, f"id {schema_id}")
        try:
            return codec.decode_as(writer, schema, value[codec.HEADER_BYTES :])
        except Exception as exc:  # noqa: BLE001 - the dead-letter guard: fastavro fails on damage in a dozen ways
            return Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}".rstrip(": "))

    def _writer(self, schema_id: int) -> Any:
        if schema_id not in self._writers:
            self._writers[schema_id] = self._registry.parsed_writer(schema_id)
        return self._writers[schema_id]


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of one partition from `first` up to, without, `end`."""

    topic: str
    partition: int
    first: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.first)

    def last(self, count: int) -> Span:
        """The end of it, `count` offsets long."""
        return Span(self.topic, self.partition, max(self.first, self.end - count), self.end)

    def after(self, offset: int | None) -> Span:
        """What lies at or past an offset."""
        return Span(self.topic, self.partition, max(self.first, offset or 0), self.end)


def spans(settings: KafkaSettings, topics: list[str]) -> list[Span]:
    """What each partition of the topics holds right now."""
    kafka.require(settings)
    found = kafka.end_offsets(settings, kafka.partitions_of(settings, topics))
    return [Span(topic, partition, first, end) for (topic, partition), (first, end) in sorted(found.items())]


def read(
    settings: KafkaSettings, wanted: list[Span], advance: Callable[[int], None] = lambda _: None
) -> Iterator[Record]:
    """Every record of the spans, by partition in order; `advance` hears how many offsets are done."""
    left = {(span.topic, span.partition): span for span in wanted if len(span)}
    if not left:
        return
    consumer = _consumer(settings, [TopicPartition(span.topic, span.partition, span.first) for span in left.values()])
    try:
        while left:
            for message in consumer.consume(_BATCH, timeout=_POLL_SECONDS):
                place = (message.topic(), message.partition())
                span = left.get(place)
                if span is None:
                    continue
                end = _is_end(message)
                if not end and message.offset() < span.end:
                    yield record_of(message)
                    advance(1)
                if end or message.offset() + 1 >= span.end:
                    del left[place]
    finally:
        consumer.close()


def follow(settings: KafkaSettings, starts: list[Span]) -> Generator[Record | None, None, None]:
    """Every record from each span's end on, as it comes, for ever; None whenever none came for a moment."""
    consumer = _consumer(settings, [TopicPartition(span.topic, span.partition, span.end) for span in starts])
    try:
        while True:
            messages = consumer.consume(_BATCH, timeout=_POLL_SECONDS)
            fresh = [record_of(message) for message in messages if not _is_end(message)]
            yield from fresh
            if not fresh:
                yield None
    finally:
        consumer.close()


def newest(found: Iterable[Record], count: int) -> list[Record]:
    """The `count` youngest records, oldest first; holds no more than those in memory."""
    return sorted(heapq.nlargest(count, found, key=_age), key=_age)


def _age(record: Record) -> tuple[datetime, str, int, int]:
    return (record.at, record.topic, record.partition, record.offset)


def record_of(message: Any) -> Record:
    """A record from confluent-kafka's message."""
    _, at_ms = message.timestamp()
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        at=datetime.fromtimestamp(max(at_ms, 0) / 1000, UTC),
        key=message.key(),
        value=message.value() or b"",
        headers=tuple((name, value or b"") for name, value in message.headers() or ()),
    )


def plain(value: Any) -> Any:
    """A decoded record as JSON can carry it: times in ISO 8601, ids and bytes as text.

    >>> plain({"at": datetime(2026, 1, 1, tzinfo=UTC)})
    {'at': '2026-01-01T00:00:00.000Z'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    return literal(value) if isinstance(value, bytes) else value


def printable(value: Any) -> Any:
    r"""The same value, whose texts can't command the terminal they are printed on.

    >>> printable({"unit": "\x1b[31mms"})
    {'unit': '\\x1b[31mms'}
    """
    if isinstance(value, Mapping):
        return {printable(key): printable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [printable(entry) for entry in value]
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in value)


def literal(value: bytes | None) -> str | None:
    r"""Bytes as JSON carries them: UTF-8 as it is, what isn't escaped.

    >>> literal(b"a\xff")
    'a\\xff'
    """
    return None if value is None else value.decode("utf-8", "backslashreplace")


def text(value: bytes | None) -> str:
    r"""Bytes that are mostly text; what isn't is escaped, the separators of series keys are shown as |.

    >>> text(b"default\x1fcpu\xff")
    'default|cpu\\xff'
    """
    return str(printable((value or b"").decode("utf-8", "backslashreplace").replace("\x1f", "|")))


def _consumer(settings: KafkaSettings, places: list[TopicPartition]) -> Consumer:
    consumer = kafka.reader(
        settings, "atalaia-cli", **{"enable.partition.eof": True, "fetch.wait.max.ms": 50, "log_level": 0}
    )
    consumer.assign(places)
    return consumer


def _is_end(message: Any) -> bool:
    """Whether this is no record but the news that a partition has no more; raises on any other news."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name for it
        return True
    raise kafka.KafkaUnavailable(f"reading {message.topic()}: {error.str()}")
