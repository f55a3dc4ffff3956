"""The changelog of window state: one compacted topic, partitioned as the source, read back on assignment.

Not a Faust table: writing through librdkafka costs a tenth, and reading back is one bounded loop that says how far it
is, without the recovery service's traps (docs/adr/0003).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from atalaia.infra import kafka
from atalaia.infra.settings import Settings, librdkafka
from atalaia.streams.publisher import LARGEST_RECORD_BYTES

RESTORE_DEADLINE: Final = timedelta(minutes=5)
_BATCH: Final = 10_000
_WAIT_SECONDS: Final = 0.05
"""`consume` waits this long for a batch to fill, though nothing more may come."""

CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    # Small segments and an early cleaner keep the log, and with it a recovery, near the size of the state.
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(timedelta(minutes=10) // timedelta(milliseconds=1)),
    "min.cleanable.dirty.ratio": "0.2",
    "max.message.bytes": str(LARGEST_RECORD_BYTES),
    # A worker that was taken for dead may write once more: `restore` needs both values to choose (see below).
    "min.compaction.lag.ms": str(timedelta(minutes=5) // timedelta(milliseconds=1)),
}


def changelog_topic(settings: Settings) -> str:
    """The changelog's name."""
    return f"{settings.streams.application}-windows-changelog"


class RestoreFailed(Exception):  # noqa: N818 - what happened
    """The changelog could not be read to its end in time."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a partition's changelog holds: the value in force by key, and how many records were read."""

    values: dict[bytes, bytes]
    records: int


def restore(
    settings: Settings,
    partition: int,
    *,
    stamp: Callable[[bytes], Any],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Restored:
    """Reads a partition's changelog to its present end.

    Of several values of one key the one with the highest `stamp(value)` is in force, not simply the last:
    a worker paused for longer than its session and then woken may have written an older value after its successor's.
    Raises RestoreFailed after RESTORE_DEADLINE.
    """
    topic = changelog_topic(settings)
    consumer = Consumer(
        librdkafka(
            settings.kafka,
            **{
                "group.id": f"{topic}-restore",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": False,
                "fetch.wait.max.ms": 50,
            },
        )
    )
    values: dict[bytes, bytes] = {}
    stamps: dict[bytes, Any] = {}
    read = 0
    deadline = time.monotonic() + RESTORE_DEADLINE.total_seconds()
    try:
        place = TopicPartition(topic, partition)
        low, high = kafka.end_offsets(settings.kafka, [place])[topic, partition]
        consumer.assign([TopicPartition(topic, partition, low)])
        position = low
        while position < high:
            if time.monotonic() > deadline:
                raise RestoreFailed(f"{topic}-{partition}: read to {position} of {high} in {RESTORE_DEADLINE}")
            for message in consumer.consume(_BATCH, timeout=_WAIT_SECONDS):
                if message.error() is not None:
                    raise RestoreFailed(f"{topic}-{partition}: {message.error()}")
                _take(values, stamps, message.key() or b"", message.value(), stamp)
                read += 1
            # Not the last record's offset: compaction may have left holes, at the end too.
            position = max(position, consumer.position([TopicPartition(topic, partition)])[0].offset)
            progress(position - low, high - low)
    except KafkaException as exc:
        raise RestoreFailed(f"{topic}-{partition}: {exc}") from exc
    finally:
        consumer.close()
    return Restored(values, read)


def _take(
    values: dict[bytes, bytes],
    stamps: dict[bytes, Any],
    key: bytes,
    value: bytes | None,
    stamp: Callable[[bytes], Any],
) -> None:
    if value is None:
        values.pop(key, None)
        stamps.pop(key, None)
        return
    found = stamp(value)
    if key not in stamps or found >= stamps[key]:
        values[key] = value
        stamps[key] = found
