"""Topics and offsets of the Kafka cluster, asked of the broker itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from atalaia.infra.errors import Failure
from atalaia.infra.settings import KafkaSettings, librdkafka

TIMEOUT_SECONDS: Final = 15.0
ELECTED_WITHIN_SECONDS: Final = 45.0
"""How long a broker may be away, or between leaders: three requests."""
_LEADER_MOVES: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,  # a broker that stood still is its own successor
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._NOENT,  # noqa: SLF001 - librdkafka's own name: "No leaders found"
    }
)

_COORDINATOR_MOVES: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


class KafkaUnavailable(Failure):
    """The brokers gave no answer, or a refusal; the message says which and what to look at."""


def admin(settings: KafkaSettings) -> AdminClient:
    """A client for topics, groups and offsets. It connects when it is used."""
    return AdminClient(librdkafka(settings, **{"client.id": "atalaia-admin", "log_level": 0}))


def require(settings: KafkaSettings, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Returns when a broker answers; else raises KafkaUnavailable with one line that says what to do."""
    try:
        admin(settings).list_topics(timeout=timeout_seconds)
    except KafkaException as exc:
        raise KafkaUnavailable(
            f"Kafka at {settings.bootstrap_servers} does not answer ({exc.args[0].str()}); start it with `atalaia up` "
            "or set ATALAIA_KAFKA__BOOTSTRAP_SERVERS"
        ) from exc


def create_topics(settings: KafkaSettings, topics: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Creates the topics (name to configuration) that don't exist yet; the names of those it made, ready for use.

    Existing topics are left as they are. Every topic gets `settings.partitions`, so that stages line up.
    """
    client = admin(settings)
    require(settings)
    wanted = [
        NewTopic(
            name,
            num_partitions=settings.partitions,
            replication_factor=settings.replication_factor,
            config=dict(config),
        )
        for name, config in topics.items()
    ]
    made: list[str] = []
    for name, future in client.create_topics(wanted, operation_timeout=TIMEOUT_SECONDS).items():
        try:
            future.result(TIMEOUT_SECONDS)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise KafkaUnavailable(f"topic {name}: {exc.args[0].str()}") from exc
        else:
            made.append(name)
    _await_leaders(client, made)
    return made


def _await_leaders(client: AdminClient, topics: list[str]) -> None:
    """Creating a topic returns before its partitions have leaders; a client that is quicker is told there is none."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    waiting = set(topics)
    while waiting:
        known = client.list_topics(timeout=TIMEOUT_SECONDS).topics
        waiting = {name for name in waiting if not _has_leaders(known.get(name))}
        if waiting and time.monotonic() > deadline:
            raise KafkaUnavailable(f"topics without leaders after {TIMEOUT_SECONDS:g} s: {', '.join(sorted(waiting))}")
        time.sleep(0.02 if waiting else 0)


def _has_leaders(topic: Any) -> bool:
    return topic is not None and bool(topic.partitions) and all(p.leader >= 0 for p in topic.partitions.values())


def partitions_of(settings: KafkaSettings, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of those of the topics that exist."""
    known = admin(settings).list_topics(timeout=TIMEOUT_SECONDS).topics
    return [
        TopicPartition(name, number) for name in topics if name in known for number in sorted(known[name].partitions)
    ]


def end_offsets(
    settings: KafkaSettings, partitions: Iterable[TopicPartition]
) -> dict[tuple[str, int], tuple[int, int]]:
    """First and next offset of each partition, by (topic, partition). Waits for leaders that are just being elected."""
    wanted = list(partitions)
    client = admin(settings)
    deadline = time.monotonic() + ELECTED_WITHIN_SECONDS
    while True:
        try:
            first, after = (
                _offsets(client, wanted, OffsetSpec.earliest()),
                _offsets(client, wanted, OffsetSpec.latest()),
            )
        except KafkaException as exc:
            if exc.args[0].code() not in _LEADER_MOVES or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return {place: (first[place], after[place]) for place in first}


def _offsets(client: AdminClient, wanted: list[TopicPartition], spec: Any) -> dict[tuple[str, int], int]:
    answer = client.list_offsets(dict.fromkeys(wanted, spec), request_timeout=TIMEOUT_SECONDS)
    return {(tp.topic, tp.partition): answer[tp].result(TIMEOUT_SECONDS).offset for tp in wanted}


def committed_offsets(
    settings: KafkaSettings, group: str, partitions: Iterable[TopicPartition]
) -> dict[tuple[str, int], int | None]:
    """The next offset a consumer group would read of each partition; None where it has committed nothing.

    Asked by a consumer that doesn't join the group: it waits for the group's coordinator, which a broker that has just
    started still loads. The admin client's `list_consumer_group_offsets` ends the process there: librdkafka 2.16
    reaches for the consumer group that an admin client doesn't have (SIGSEGV in rd_kafka_cgrp_op).
    """
    wanted, deadline = list(partitions), time.monotonic() + TIMEOUT_SECONDS
    consumer = reader(settings, group)
    try:
        while True:
            try:
                found = consumer.committed(wanted, timeout=TIMEOUT_SECONDS)
            except KafkaException as exc:
                if exc.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
    finally:
        consumer.close()
    return {(tp.topic, tp.partition): (tp.offset if tp.offset >= 0 else None) for tp in found}


def members(settings: KafkaSettings, group: str) -> int:
    """How many members a consumer group has at this moment; none of a group that doesn't exist."""
    client = admin(settings)  # has to live until the answer is there
    answer = client.describe_consumer_groups([group], request_timeout=TIMEOUT_SECONDS)
    try:
        return len(answer[group].result(TIMEOUT_SECONDS).members)
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise


def reader(settings: KafkaSettings, group: str, **more: object) -> Consumer:
    """A consumer that commits nothing and starts at the beginning: for tools that look at a topic."""
    return Consumer(
        librdkafka(
            settings,
            **{"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", **more},
        )
    )
