"""How fast a service emits to the real Kafka, and what its threads feel: `python -m benchmarks.emit`.

Everything runs on one core, librdkafka's own threads included, each figure from its first event to the broker's
acknowledgement of the last. Beside it are the peers: bytes encoded beforehand, and what one would write by hand with
fastavro or with Confluent's serializer. None of these checks, counts, bounds or traces anything.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import confluent_kafka
import fastavro
from benchmarks.lab import local_stack
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from atalaia.producers import Producer
from atalaia.schemas import codec
from atalaia.schemas.topics import METRICS, PARTITIONER

EVENTS: Final = 300_000
PACED_EVENTS_PER_SECOND: Final = 10_000
_METRIC: Final = "api_response_time"
_METADATA: Final = {"endpoint": "/orders/{id}", "method": "GET"}
_FLUSH_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """One way to emit."""

    way: str
    events_per_second: float
    cpu_us_per_event: float


@dataclass(frozen=True, slots=True)
class Latency:
    """What the caller of a pre-bound `emit` feels, in µs."""

    load: str
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


def run(bootstrap: str, registry: str, *, events: int = EVENTS) -> dict[str, Any]:
    """All figures, as one JSON object."""
    with one_core():
        ours = [
            _ours(bootstrap, registry, way, events)
            for way in ("pre-bound emit", "emit by name", "pre-bound, with on_delivery")
        ]
        peers = [_peer(bootstrap, way, encode, events) for way, encode in _peers(registry).items()]
        latencies = [
            _latency(bootstrap, registry, events, per_second=None),
            _latency(bootstrap, registry, events // 6, per_second=PACED_EVENTS_PER_SECOND),
        ]
    return {
        "emit": [asdict(rate) for rate in ours],
        "peers": [asdict(rate) for rate in peers],
        "caller": [asdict(latency) for latency in latencies],
        "import_ms": min(_import_ms() for _ in range(5)),
        "events": events,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, pinned to one",
        "versions": f"Python {platform.python_version()}, confluent-kafka {confluent_kafka.version()}",
    }


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this process, and the threads it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ours(bootstrap: str, registry: str, way: str, events: int) -> Rate:
    delivered = 0

    def count(_: object) -> None:
        nonlocal delivered
        delivered += 1

    with Producer(bootstrap, service_name="bench", registry=registry, block_timeout=_FLUSH_SECONDS) as metrics:
        metrics.deliver(_METRIC, 1).result(_FLUSH_SECONDS)  # connected, and the schema's id known
        bound = metrics.metric(_METRIC, metadata=_METADATA)
        emitters: dict[str, Callable[[float], None]] = {
            "pre-bound emit": bound.emit,
            "emit by name": lambda value: metrics.emit(_METRIC, value, metadata=_METADATA),
            "pre-bound, with on_delivery": lambda value: bound.emit(value, on_delivery=count),
        }
        emit = emitters[way]

        def all_of_them() -> None:
            for _ in range(events):
                emit(12.5)
            stats = metrics.flush(_FLUSH_SECONDS)
            assert stats.acknowledged == stats.emitted == events + 1, stats

        rate = _timed(way, all_of_them, events)
    assert way != "pre-bound, with on_delivery" or delivered == events
    return rate


def _peer(bootstrap: str, way: str, encode: Callable[[], bytes], events: int) -> Rate:
    failed = 0

    def count(error: object, _: object) -> None:
        nonlocal failed
        failed += error is not None

    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "partitioner": PARTITIONER,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    producer.produce(METRICS.name, encode())
    producer.flush(_FLUSH_SECONDS)

    def all_of_them() -> None:
        for index in range(events):
            producer.produce(METRICS.name, encode(), key=b"bench", on_delivery=count)
            if index % 1000 == 0:
                producer.poll(0)
        assert producer.flush(_FLUSH_SECONDS) == 0

    rate = _timed(way, all_of_them, events)
    assert failed == 0
    return rate


def _peers(registry: str) -> dict[str, Callable[[], bytes]]:
    client = SchemaRegistryClient({"url": registry})
    schema = codec.schema("MetricEvent")
    header = codec.frame_header(client.get_latest_version(METRICS.subject).schema_id or 0)
    encoded = header + codec.encode("MetricEvent", _event())
    serializer = AvroSerializer(
        client, codec.schema_text("MetricEvent"), conf={"auto.register.schemas": False, "use.latest.version": True}
    )
    context = SerializationContext(METRICS.name, MessageField.VALUE)

    def by_fastavro() -> bytes:
        buffer = io.BytesIO()
        buffer.write(header)
        fastavro.schemaless_writer(buffer, schema, _event())
        return buffer.getvalue()

    def by_confluent() -> bytes:
        return bytes(serializer(_event(), context) or b"")

    return {
        "confluent-kafka, bytes encoded beforehand": lambda: encoded,
        "confluent-kafka, fastavro by hand": by_fastavro,
        "confluent-kafka, its AvroSerializer": by_confluent,
    }


def _event() -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": time.time_ns() // 1_000_000,
        "sequence": 0,
        "value": 12.5,
        "tenant": "default",
        "metric_name": _METRIC,
        "metric_type": "performance",
        "unit": "ms",
        "frequency": "real_time",
        "service_name": "bench",
        "region": None,
        "affiliate_id": None,
        "producer_id": "host-1-abcd",
        "metadata": _METADATA,
    }


def _timed(way: str, work: Callable[[], None], events: int) -> Rate:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    return Rate(way, round(events / seconds), round(cpu_seconds / events * 1e6, 2))


def _latency(bootstrap: str, registry: str, events: int, *, per_second: int | None) -> Latency:
    clock = time.perf_counter_ns
    taken_ns = [0] * events
    pause_ns = 0 if per_second is None else 1_000_000_000 // per_second
    with Producer(bootstrap, service_name="bench", registry=registry, block_timeout=_FLUSH_SECONDS) as metrics:
        metrics.deliver(_METRIC, 1).result(_FLUSH_SECONDS)
        emit = metrics.metric(_METRIC, metadata=_METADATA).emit
        due = clock()
        for index in range(events):
            due += pause_ns
            early_ns = due - clock() if pause_ns else 0
            if early_ns > 0:
                time.sleep(early_ns / 1e9)
            before = clock()
            emit(12.5)
            taken_ns[index] = clock() - before
    taken_ns.sort()

    def share(of_all: float) -> float:
        return round(taken_ns[min(events - 1, int(events * of_all))] / 1000, 1)

    load = "as fast as it goes" if per_second is None else f"{per_second:,} a second"
    return Latency(load, share(0.5), share(0.99), share(0.999), share(1))


def _import_ms() -> float:
    code = "import time; t = time.perf_counter(); import atalaia.producers; print((time.perf_counter() - t) * 1000)"
    return round(float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout), 1)


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['machine']}; {figures['versions']}; {figures['events']:,} events each")
    for rate in (*figures["emit"], *figures["peers"]):
        print(f"  {rate['way']:<44} {rate['events_per_second']:>9,}/s {rate['cpu_us_per_event']:>7} µs of CPU an event")
    for caller in figures["caller"]:
        print(
            f"  in the caller, {caller['load']:<24} p50 {caller['p50_us']} µs, p99 {caller['p99_us']} µs, "
            f"p99.9 {caller['p999_us']} µs, max {caller['max_us']} µs"
        )
    print(f"  import atalaia.producers: {figures['import_ms']} ms")


def main() -> None:
    """Run on a stack of its own, or on the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="host:port of a Kafka that has our topics; else one is started")
    parser.add_argument("--registry", default="http://127.0.0.1:8081")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    said = parser.parse_args()
    if said.bootstrap:
        figures = run(said.bootstrap, said.registry, events=said.events)
    else:
        with tempfile.TemporaryDirectory() as home, local_stack(Path(home)) as stack:
            figures = run(stack.settings.kafka.bootstrap_servers, stack.settings.registry.url, events=said.events)
    _print(figures)
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        said.json.write_text(json.dumps(figures, indent=2), "utf-8")


if __name__ == "__main__":
    main()
