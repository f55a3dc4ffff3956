"""Dead letters on their way back to the topic where they failed: each is sent once, unless one asks for more.

What was replayed is remembered in Kafka, as the committed offsets of consumer groups: REPLAYED for replays of
everything, REPLAYED-<reason> for those of one reason alone. A dead letter below either of its two marks has been sent
again. The order is: send, wait until all is acknowledged, then mark. A crash in between sends some of them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from confluent_kafka import KafkaException, TopicPartition

from atalaia.cli.records import Span
from atalaia.infra import kafka
from atalaia.infra.errors import Failure
from atalaia.infra.settings import KafkaSettings
from atalaia.schemas.screening import Reason
from atalaia.streams.publisher import Publisher, Undelivered

REPLAYED: Final = "atalaia-dlq-replay"
FLUSH_SECONDS: Final = 60.0
_FLUSH_EVERY: Final = 10_000

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Up to where dead letters have been replayed: all of them, and those of one reason."""

    everything: Mapping[Place, int | None]
    by_reason: Mapping[str, Mapping[Place, int | None]]

    def below(self, place: Place, reason: str | None) -> int:
        """The first offset that a replay of this reason (None: of all) has to look at."""
        return max(self.everything.get(place) or 0, self._of(reason, place) if reason else 0)

    def replayed(self, place: Place, offset: int, reason: str) -> bool:
        """Whether a dead letter was sent again before.

        >>> marks = Marks({("t.dlq", 0): 5}, {"undecodable": {("t.dlq", 0): 9}})
        >>> marks.replayed(("t.dlq", 0), 7, "undecodable"), marks.replayed(("t.dlq", 0), 7, "not_finite")
        (True, False)
        """
        return offset < max(self.everything.get(place) or 0, self._of(reason, place))

    def _of(self, reason: str, place: Place) -> int:
        return self.by_reason.get(reason, {}).get(place) or 0


NOTHING_REPLAYED: Final = Marks({}, {})


def group_of(reason: str | None) -> str:
    """The consumer group that remembers.

    >>> group_of(None), group_of("not_finite")
    ('atalaia-dlq-replay', 'atalaia-dlq-replay-not_finite')
    """
    return REPLAYED if reason is None else f"{REPLAYED}-{reason}"


def marks(settings: KafkaSettings, spans: Iterable[Span]) -> Marks:
    """What Kafka remembers of earlier replays."""
    partitions = [TopicPartition(span.topic, span.partition) for span in spans]
    return Marks(
        kafka.committed_offsets(settings, group_of(None), partitions),
        {reason.value: kafka.committed_offsets(settings, group_of(reason), partitions) for reason in Reason},
    )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record as it came the first time."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


def send(settings: KafkaSettings, outgoing: Iterable[Outgoing], reached: Callable[[int], None]) -> int:
    """Sends records in order and returns how many, all of them acknowledged; `reached` hears of acknowledged ones."""
    publisher = Publisher(settings, "atalaia-dlq-replay")
    sent = 0
    try:
        for sent, record in enumerate(outgoing, start=1):
            publisher.send(record.topic, key=record.key, value=record.value, headers=record.headers)
            if sent % _FLUSH_EVERY == 0:
                publisher.flush(FLUSH_SECONDS)
                reached(sent)
        publisher.flush(FLUSH_SECONDS)
    except (Undelivered, KafkaException) as exc:
        raise Failure(f"the replay stopped: {exc}; nothing is marked as replayed, so it can be repeated") from exc
    reached(sent)
    return sent


def mark(settings: KafkaSettings, spans: Iterable[Span], reason: str | None) -> None:
    """Remembers that all dead letters of the spans (of one reason) were sent again."""
    consumer = kafka.reader(settings, group_of(reason))
    try:
        ends = [TopicPartition(span.topic, span.partition, span.end) for span in spans]
        if ends:
            consumer.commit(offsets=ends, asynchronous=False)
    except KafkaException as exc:
        raise Failure(f"sent, but not marked as replayed ({exc}): a repeated replay sends them once more") from exc
    finally:
        consumer.close()
