"""A load of events: unique, of many series, encoded before the clock starts."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from confluent_kafka import Producer

from atalaia.infra.settings import Settings, librdkafka
from atalaia.producers.records import MetricTemplate, Origin, avro_text, metric_template
from atalaia.schemas.codec import frame_header
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import METRICS, PARTITIONER

SERVICES: Final = 20
_METRICS: Final = ("api_response_time", "http_request_duration", "order_value", "database_query_time", "match_score")
_SPAN_MS: Final = 120_000
"""Event times run over the two minutes before now, as after a short stop of the workers."""


def series(count: int) -> list[MetricTemplate]:
    """Templates of `count` series over twenty services and five metrics, of which built-in rules watch some."""
    return [
        metric_template(
            Origin("default", f"service-{index % SERVICES}"),
            _METRICS[index % len(_METRICS)],
            {"region": "BR-SP", "affiliate_id": f"affiliate-{index}", "metadata": {"endpoint": "/orders"}},
        )
        for index in range(count)
    ]


def events(templates: Sequence[MetricTemplate], count: int, *, seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """Record key and Avro body of each event: series in random order, times rising to now."""
    draw = random.Random(seed)  # noqa: S311 - a repeatable load, not a secret
    origin = avro_text("bench")
    start_ms = time.time_ns() // 1_000_000 - _SPAN_MS
    chosen = draw.choices(templates, k=count)
    sequences: Counter[bytes] = Counter()
    for index, template in enumerate(chosen):
        at_ms = start_ms + index * _SPAN_MS // count
        body = template.body(origin, at_ms, sequences[template.key], 5 + draw.random() * 240)
        sequences[template.key] += 1
        yield template.key, body


def produce(settings: Settings, templates: Sequence[MetricTemplate], count: int) -> None:
    """Puts that many events on the metrics topic; returns when all are acknowledged."""
    with Registry(settings.registry.url) as registry:
        header = frame_header(registry.id_of(METRICS))
    producer = Producer(
        librdkafka(
            settings.kafka,
            **{
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 50,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 500_000,
                "partitioner": PARTITIONER,
            },
        )
    )
    for key, body in events(templates, count):
        while True:
            try:
                producer.produce(METRICS.name, header + body, key)
            except BufferError:
                producer.poll(0.1)
            else:
                break
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} of {count} events are not acknowledged")
