"""The sink's place in its consumer group: what it owns, what it polls, how far it has committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from atalaia.infra.settings import Settings, librdkafka
from atalaia.sinks.batch import SUFFIX, Partition

log = structlog.get_logger(__name__)

SESSION_SECONDS: Final = 10
"""How long the group waits for a member that fell silent before its partitions go to others."""
POLL_SECONDS: Final = 300
"""How long a member may be busy with a batch: five times a statement's longest (clickhouse.STATEMENT_SECONDS)."""
BATCH_BYTES: Final = 64 * 1024 * 1024
"""A batch is cut here too, and librdkafka fetches no further ahead: values may be long."""
_CHUNK: Final = 10_000
_ANSWER_SECONDS: Final = 5.0
_EXPELLED: Final = frozenset(
    {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.FENCED_INSTANCE_ID}
)
"""What the group answers to a member that it has given up."""


class Expelled(Exception):  # noqa: N818 - what became of us
    """The group has given our partitions to others: what is in hand is theirs."""


class Unconfirmed(Exception):  # noqa: N818 - what we are
    """The group doesn't say whether we still belong to it; ask again."""


class Membership:
    """One member. Used from one thread; the group's decisions take effect inside `poll` and `idle` only."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self.owned: set[Partition] = set()
        self.fresh: set[Partition] = set()
        """Those of `owned` that a predecessor's insert may still be writing; whoever has looked takes them out."""
        self.committed: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._pending: dict[Partition, int] = {}
        self._in_hand: Mapping[Partition, int] = {}
        self._seen_at = time.monotonic()
        self._unsure = False
        self._consumer = Consumer(_configuration(settings))
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self, *, records: int, wait_seconds: float) -> list[Message]:
        """Messages of owned partitions: up to `records` of them, up to BATCH_BYTES, or what comes in that time."""
        self._look_at_clock()
        deadline = time.monotonic() + wait_seconds
        messages: list[Message] = []
        size = 0
        while len(messages) < records and size < BATCH_BYTES and (left := deadline - time.monotonic()) > 0:
            chunk = self._consumer.consume(min(_CHUNK, records - len(messages)), timeout=left)
            messages += chunk
            size += sum(map(len, chunk))
        return [message for message in messages if not _is_error(message) and _at(message) in self.owned]

    def idle(self, seconds: float) -> None:
        """Waits without taking messages, as a member: owned partitions are paused until `wake`."""
        self._look_at_clock()
        self._paused |= self.owned
        self._consumer.pause(_positions(dict.fromkeys(self.owned, 0)))
        message = self._consumer.poll(seconds)
        if message is not None and not _is_error(message):  # it was on its way when the pause came: take it later
            self._consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))

    def wake(self) -> None:
        """Takes messages again after `idle`.

        Of partitions that were taken away meanwhile too: librdkafka leaves them paused when they come back.
        """
        self._consumer.resume(_positions(dict.fromkeys(self._paused, 0)))
        self._paused.clear()

    def take(self, first: Mapping[Partition, int]) -> None:
        """Notes what is in hand: the first offset of each partition."""
        self._in_hand = first

    def confirm(self) -> None:
        """Returns if what is in hand is ours at this moment. Raises Expelled or Unconfirmed.

        A process that was stopped for longer than the session does not know that it was expelled; so after a gap in
        its own time it asks the group, by committing what is committed already.
        """
        self._look_at_clock()
        if self._unsure and self._in_hand:
            self._commit(self._in_hand)

    def commit(self, following: Mapping[Partition, int]) -> None:
        """Commits these offsets, and those that could not be committed before; what fails is tried with the next.

        Raises Expelled.
        """
        self._pending.update(following)
        if not self._pending:
            return
        try:
            self._commit(self._pending)
        except Unconfirmed as exc:
            log.warning("commit_postponed", error=str(exc))
            return
        self.committed.update(self._pending)
        self._pending.clear()

    def offsets(self) -> dict[Partition, tuple[int, int]]:
        """Committed and end offset of each owned partition, as far as they are known here."""
        known = {}
        for partition in sorted(self.owned):
            first, end = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            if end >= 0:
                known[partition] = (self.committed.get(partition, max(first, 0)), end)
        return known

    def close(self) -> None:
        """Leaves the group: its partitions go to others at once."""
        self._consumer.close()

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if now - self._seen_at > SESSION_SECONDS / 2:
            self._unsure = True
        self._seen_at = now

    def _commit(self, offsets: Mapping[Partition, int]) -> None:
        try:
            answer = self._consumer.commit(offsets=_positions(offsets), asynchronous=False)
        except KafkaException as exc:
            error: KafkaError = exc.args[0]
            if error.code() in _EXPELLED:
                self._unsure = True
                self._pending.clear()
                raise Expelled(error.str()) from exc
            raise Unconfirmed(error.str()) from exc
        failed = [each for each in answer or () if each.error is not None]
        if failed:
            raise Unconfirmed(f"{failed[0].topic}-{failed[0].partition}: {failed[0].error.str()}")
        self._unsure = False
        self._seen_at = time.monotonic()

    def _assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        new = [(each.topic, each.partition) for each in partitions]
        self.owned.update(new)
        self.fresh.update(new)
        try:
            found = consumer.committed(list(partitions), timeout=_ANSWER_SECONDS)
        except KafkaException:  # only the lag that we show depends on it
            found = []
        self.committed.update({(each.topic, each.partition): each.offset for each in found if each.offset >= 0})
        log.info("partitions_assigned", partitions=_named(new))

    def _revoked(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = [(each.topic, each.partition) for each in partitions]
        self.owned.difference_update(gone)
        self.fresh.difference_update(gone)
        for partition in gone:
            self.committed.pop(partition, None)
            self._pending.pop(partition, None)
        log.info("partitions_revoked", partitions=_named(gone))


def _configuration(settings: Settings) -> dict[str, Any]:
    return librdkafka(
        settings.kafka,
        **{
            "group.id": settings.sinks.group,
            "client.id": "atalaia-sink",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # A rebalance moves the partitions that must move, and the others go on.
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_SECONDS * 1000,
            "max.poll.interval.ms": POLL_SECONDS * 1000,
            "queued.max.messages.kbytes": BATCH_BYTES // 1024,
            "fetch.wait.max.ms": 100,
            "allow.auto.create.topics": False,
        },
    ) | {"logger": logging.getLogger("librdkafka")}


def _is_error(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    log.warning("kafka_error", topic=message.topic(), error=error.str())
    return True


def _at(message: Message) -> Partition:
    return message.topic(), message.partition()


def _positions(offsets: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]


def _named(partitions: Iterable[Partition]) -> dict[str, list[int]]:
    """For the log; dead letter topics would make a long line longer, and are assigned like the others."""
    by_topic: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        if not topic.endswith(SUFFIX):
            by_topic.setdefault(topic, []).append(partition)
    return by_topic
