"""The sink as a process between a real Kafka and a real ClickHouse engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from benchmarks import lab
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from atalaia.infra import clickhouse
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import Settings
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import ALERTS, METRICS, PARTITIONER, SERVICE_HEALTH, Topic
from atalaia.sinks import evidence
from atalaia.sinks.group import SESSION_SECONDS
from atalaia.sinks.repair import repair
from atalaia.sinks.verify import faults

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WITHIN_SECONDS = 90
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack of this module's own: `verify` looks at everything in it."""
    with lab.local_stack(tmp_path_factory.mktemp("sink"), lab.EVERYTHING) as running:
        yield running


@pytest.fixture
def tables(stack: LocalStack) -> Iterator[Client]:
    """A client of the database."""
    connected = clickhouse.connect(stack.settings.clickhouse)
    yield connected
    connected.close()


class Load:
    """Events under a metric name of their own, so that tests can share a stack."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metric = f"load-{uuid.uuid4()}"
        self.count = 0
        with Registry(settings.registry.url) as registry:
            self.ids = {topic: registry.id_of(topic) for topic in (METRICS, ALERTS, SERVICE_HEALTH)}
        self.producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "partitioner": PARTITIONER})

    def send(self, count: int, *, age_ms: int = 0) -> None:
        """So many events, acknowledged."""
        now = time.time_ns() // 1_000_000
        for index in range(count):
            record = {
                "event_id": str(uuid.uuid4()),
                "timestamp": now - age_ms - index,
                "sequence": self.count,
                "value": float(index),
                "metric_name": self.metric,
                "service_name": f"service-{index % 7}",
            }
            self.put(METRICS, codec.frame(self.ids[METRICS], codec.encode("MetricEvent", record)))
            self.count += 1
        assert self.producer.flush(30) == 0

    def put(self, topic: Topic, value: bytes | None) -> None:
        """One record, as it is."""
        self.producer.produce(topic.name, value, key=str(self.count), headers=[("origin", b"\xff\x00")])
        self.producer.poll(0)

    def stored(self, tables: Client) -> tuple[int, int]:
        """Rows, and different events among them."""
        sql = "SELECT count(), uniqExact(sequence) FROM metrics WHERE metric_name = {metric:String}"
        ((rows, different),) = tables.query(sql, parameters={"metric": self.metric}).result_rows
        return rows, different

    def await_stored(self, tables: Client) -> None:
        """Returns when there are as many different events as were sent."""
        lab.await_condition(
            lambda: self.stored(tables)[1] == self.count,
            lambda: f"{self.count} events stored (there are {self.stored(tables)})",
            within_seconds=WITHIN_SECONDS,
        )


@pytest.fixture
def load(stack: LocalStack) -> Load:
    """A load."""
    return Load(stack.settings)


def test_a_planned_stop_leaves_nothing_behind(stack: LocalStack, tables: Client, load: Load, tmp_path: Path) -> None:
    """SIGTERM ends the sink with exit code 0, and what it has stored is committed."""
    load.send(500)
    with lab.Worker("sink", stack, tmp_path / "sink.log") as sink:
        load.await_stored(tables)
        assert sink.stop() == 0
    assert lab.lag(stack.settings, stack.settings.sinks.group, [METRICS.name]) == 0


def test_a_sink_that_was_taken_for_dead_stores_nothing_twice(
    stack: LocalStack, tables: Client, load: Load, tmp_path: Path
) -> None:
    """A sink that is stopped for longer than its session, and goes on when others have its partitions, adds nothing."""
    with lab.Worker("sink", stack, tmp_path / "first.log") as first:
        load.send(1_000)
        load.await_stored(tables)
        load.send(20_000)
        first.pause()
        with lab.Worker("sink", stack, tmp_path / "second.log") as second:
            load.await_stored(tables)
            load.send(1_000)
            first.resume()
            load.await_stored(tables)
            assert first.stop() == 0
            assert second.stop() == 0
    assert load.stored(tables) == (load.count, load.count)


def test_a_sink_that_stands_still_at_the_worst_moment(
    stack: LocalStack, tables: Client, load: Load, tmp_path: Path
) -> None:
    """A sink that stops between its last look at the group and its insert, which others then make, adds nothing."""
    load.send(5_000)
    stopping = {"ATALAIA_FAILPOINT": "sink.before_insert:1:STOP"}
    with lab.Worker("sink", stack, tmp_path / "first.log", stopping) as first:
        state = psutil.Process(first.process.pid).status
        lab.await_condition(lambda: state() == psutil.STATUS_STOPPED, "stopped", within_seconds=WITHIN_SECONDS)
        with lab.Worker("sink", stack, tmp_path / "second.log") as second:
            load.await_stored(tables)
            load.send(1_000)
            first.resume()
            load.await_stored(tables)
            assert first.stop() == 0
            assert second.stop() == 0
    assert load.stored(tables) == (load.count, load.count)


def test_puts_aside_what_only_it_reads(stack: LocalStack, tables: Client, load: Load, tmp_path: Path) -> None:
    """Poison in the topics that only the sink reads becomes dead letters, once each; its neighbours are stored."""
    service = f"service-{uuid.uuid4()}"
    record = {"health_id": str(uuid.uuid4()), "timestamp": 0, "service_name": service, "status": "healthy"}
    good = codec.frame(load.ids[SERVICE_HEALTH], codec.encode("ServiceHealth", record | {"timestamp": _now_ms()}))
    for value in (None, b"{}", codec.frame(999_999, b"x"), codec.frame(load.ids[SERVICE_HEALTH], b"\x02"), good):
        load.put(SERVICE_HEALTH, value)
    assert load.producer.flush(30) == 0
    sql = f"SELECT reason, hex(headers['origin']) FROM dead_letters WHERE topic = '{SERVICE_HEALTH.name}' ORDER BY 1"
    with lab.Worker("sink", stack, tmp_path / "sink.log") as sink:
        lab.await_condition(
            lambda: len(tables.query(sql).result_rows) >= 4, "four dead letters", within_seconds=WITHIN_SECONDS
        )
        assert sink.stop() == 0
    reasons = sorted([Reason.EMPTY, Reason.NOT_FRAMED, Reason.UNKNOWN_SCHEMA, Reason.UNDECODABLE])
    assert tables.query(sql).result_rows == [(reason.value, "FF00") for reason in reasons]
    status = tables.query("SELECT status FROM services WHERE service_name = {s:String}", parameters={"s": service})
    assert status.result_rows == [("healthy",)]


def test_verify_sees_damage_and_repair_mends_it(stack: LocalStack, tables: Client, load: Load, tmp_path: Path) -> None:
    """`verify` is green of a sound pipeline, red of lost or damaged rollups, and green again after `repair`."""
    settings = stack.settings
    load.send(700, age_ms=4 * HOUR_MS)
    load.put(METRICS, b"poison")
    load.send(300, age_ms=5 * HOUR_MS)
    with lab.workers([lab.Worker(stage, stack, tmp_path / f"{stage}.log") for stage in ("stream", "sink")]) as workers:
        stream, sink = workers
        code, sound = verified(stack, "--wait", str(WITHIN_SECONDS))
        assert (code, sound["faults"]) == (0, [])
        assert sum(each["dead_letters"] for each in sound["partitions"]) >= 1
        start = datetime.now(UTC) - timedelta(hours=6)
        end = datetime.now(UTC) - timedelta(hours=2)
        with pytest.raises(Failure, match="stop them, then repair"):
            repair(settings, start=start, end=end, dry_run=False)
        assert stream.stop() == 0
        assert sink.stop() == 0
    damage = (
        "ALTER TABLE metric_rollups DELETE WHERE granularity = 'minute' AND service_name = 'service-1'",
        "ALTER TABLE metric_rollups UPDATE sum = sum + 1 WHERE granularity = 'hour' AND service_name = 'service-2'",
    )
    for statement in damage:
        tables.command(f"{statement} AND metric_name = '{load.metric}' SETTINGS mutations_sync = 2")
    code, report = verified(stack, "--wait", "0")
    broken = {each["granularity"]: each for each in report["comparisons"]}
    assert code == 1
    assert broken["minute"]["different"]
    assert {each["labels"]["service_name"] for each in broken["hour"]["examples"]} == {"service-2"}

    planned = repair(settings, start=start, end=end, dry_run=True)
    assert evidence.gather(settings).comparisons[0].different == broken["minute"]["different"]
    done = repair(settings, start=start, end=end, dry_run=False)
    assert [each.after for each in done] == [each.after for each in planned]
    assert faults(evidence.gather(settings)) == []


def verified(stack: LocalStack, *options: str) -> tuple[int, dict[str, Any]]:
    """What `atalaia verify` says: exit code and JSON."""
    ended = subprocess.run(
        [sys.executable, "-m", "atalaia.cli", "verify", "-o", "json", *options],
        env=stack.environment,
        capture_output=True,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


def test_repair_refuses_what_is_not_over(stack: LocalStack) -> None:
    """A range that reaches into the last hour may still change, and is refused."""
    now = datetime.now(UTC)
    with pytest.raises(UsageFailure, match="must end an hour or more before now"):
        repair(stack.settings, start=now - timedelta(hours=2), end=now, dry_run=True)


def test_session_is_shorter_than_the_trials() -> None:
    """The trials above wait long enough to see a member expelled."""
    assert SESSION_SECONDS < WITHIN_SECONDS


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
