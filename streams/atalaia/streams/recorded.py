"""The events of the past as Kafka has them: read between two instants, decoded as the stream workers do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

from atalaia.alerting.backtest.minutes import Minutes
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas.container import Record
from atalaia.schemas.registry import Registry
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import METRICS
from atalaia.streams.columns import Engine, Group

_BATCH: Final = 20_000
_WAIT_SECONDS: Final = 0.5
_LOOK_ASIDE_MS: Final = 60_000
"""Events arrive a little after they happened: so much longer than asked for is read."""


@dataclass(frozen=True, slots=True)
class Event:
    """Events of one series within a minute (or one of them), which arrived at `arrival_ms` at the latest."""

    arrival_ms: int
    partition: int
    series: SeriesKey
    stats: MinuteStats


def events(
    settings: Settings, metrics: Collection[str], *, from_ms: int, to_ms: int, each: bool = False
) -> Iterator[Event]:
    """The events of some metrics that arrived between two instants, by partition in the order of their offsets.

    By minute of a batch, or, with `each`, one by one. Raises KafkaUnavailable or RegistryUnavailable.
    """
    with Registry(settings.registry.url) as registry:
        engine = Engine(registry)
        try:
            for partition, batch in batches(settings, from_ms=from_ms, to_ms=to_ms + _LOOK_ASIDE_MS):
                arrivals = {offset: arrival_ms for offset, arrival_ms, _ in batch}
                for group in engine.aggregate(batch, each_event=each).groups:
                    if group[1] in metrics:
                        yield Event(arrivals[group[21]], partition, series_of(group), stats_of(group))
        finally:
            engine.close()


def minutes(settings: Settings, metrics: Collection[str], *, from_ms: int, to_ms: int) -> list[Minutes]:
    """The minutes of every series of some metrics, from the events in Kafka."""
    found: dict[SeriesKey, dict[int, MinuteStats]] = {}
    for event in events(settings, metrics, from_ms=from_ms, to_ms=to_ms):
        if from_ms <= event.stats.start_ms < to_ms:
            of_series = found.setdefault(event.series, {})
            known = of_series.get(event.stats.start_ms)
            of_series[event.stats.start_ms] = event.stats if known is None else known.add(event.stats)
    return [
        Minutes.of(series, of_series.values(), from_ms=from_ms, to_ms=to_ms)
        for series, of_series in sorted(found.items(), key=lambda pair: pair[0].record_key())
    ]


def series_of(group: Group) -> SeriesKey:
    """The series of a decoded group."""
    tenant, metric_name, service_name, region, affiliate_id, unit, frequency, dimensions = group[:8]
    pairs = tuple(sorted(orjson.loads(dimensions).items()))
    return SeriesKey(tenant, metric_name, service_name, region, affiliate_id, unit, frequency, pairs)


def stats_of(group: Group) -> MinuteStats:
    """The events of a decoded group."""
    return MinuteStats(
        group[9],
        group[10],
        float(group[11]),
        float(group[12]),
        float(group[13]),
        float(group[14]),
        group[15],
        float(group[17]),
        group[18],
        dict(zip(group[22], group[23], strict=True)),
    )


def batches(settings: Settings, *, from_ms: int, to_ms: int) -> Iterator[tuple[int, list[Record]]]:
    """Records that arrived between two instants, a partition after the other."""
    kafka.require(settings.kafka)
    places = kafka.partitions_of(settings.kafka, [METRICS.name])
    ends = kafka.end_offsets(settings.kafka, places)
    consumer: Consumer = kafka.reader(
        settings.kafka, "atalaia-history", **{"enable.partition.eof": True, "fetch.wait.max.ms": 50, "log_level": 0}
    )
    try:
        asked = [TopicPartition(place.topic, place.partition, from_ms) for place in places]
        for start in consumer.offsets_for_times(asked, kafka.TIMEOUT_SECONDS):
            first, end = ends[start.topic, start.partition]
            begin = start.offset if start.offset >= 0 else end
            if max(begin, first) < end:
                consumer.assign([TopicPartition(start.topic, start.partition, max(begin, first))])
                yield from ((start.partition, batch) for batch in _partition(consumer, end, to_ms))
    finally:
        consumer.close()


def _partition(consumer: Consumer, end: int, to_ms: int) -> Iterator[list[Record]]:
    over = False
    while not over:
        batch: list[Record] = []
        for message in consumer.consume(_BATCH, timeout=_WAIT_SECONDS):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name for it
                    raise kafka.KafkaUnavailable(f"reading {METRICS.name}: {error.str()}")
                over = True
                break
            arrival_ms = message.timestamp()[1]
            if message.offset() >= end or arrival_ms > to_ms:
                over = True
                break
            batch.append((message.offset(), arrival_ms, message.value() or b""))
            over = message.offset() + 1 >= end
        if batch:
            yield batch
