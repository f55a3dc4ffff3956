"""`atalaia emit`, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from atalaia.cli.emit import event_of
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import MetricError
from atalaia.schemas import codec
from atalaia.schemas.topics import METRICS

Run = Callable[..., subprocess.CompletedProcess[str]]


def run(environment: dict[str, str], *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """`atalaia emit ARGUMENTS`, with this on standard input."""
    return subprocess.run(
        [sys.executable, "-m", "atalaia.cli", "emit", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("ATALAIA_")} | environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def emit(stack: LocalStack) -> Run:
    """The command, pointed at the stack."""
    return lambda *arguments, typed="": run(stack.environment, *arguments, typed=typed)


@pytest.fixture
def record_at(stack: LocalStack) -> Callable[[int, int], dict[str, Any]]:
    """The event at a partition and offset."""

    def read(partition: int, offset: int) -> dict[str, Any]:
        consumer = Consumer({"bootstrap.servers": stack.settings.kafka.bootstrap_servers, "group.id": "none"})
        consumer.assign([TopicPartition(METRICS.name, partition, offset)])
        message = consumer.poll(30)
        consumer.close()
        assert message is not None
        value = message.value()
        assert value is not None
        return codec.decode("MetricEvent", value[codec.HEADER_BYTES :])

    return read


@pytest.mark.e2e
def test_one_event_is_emitted_and_said_where_it_is(emit: Run, record_at: Callable[[int, int], dict[str, Any]]) -> None:
    """Every option is a field; the answer leads to the record."""
    done = emit(
        *("revenue_daily", "2500.5", "--service", "shop", "--unit", "USD", "--region", "BR", "--affiliate", "a7"),
        *("--type", "conversion", "--frequency", "monthly", "-m", "payment_method=pix", "-m", "note=a=b"),
        *("--at", "2026-01-31T23:00:00-03:00", "-o", "json"),
    )
    assert done.returncode == 0, done.stderr
    delivery = json.loads(done.stdout)
    event = record_at(delivery["partition"], delivery["offset"])
    assert str(event.pop("event_id")) == delivery["event_id"]
    del event["producer_id"]
    assert event == {
        "timestamp": datetime(2026, 2, 1, 2, 0, tzinfo=UTC),
        "sequence": 0,
        "value": 2500.5,
        "tenant": "default",
        "metric_name": "revenue_daily",
        "metric_type": "conversion",
        "unit": "USD",
        "frequency": "monthly",
        "service_name": "shop",
        "region": "BR",
        "affiliate_id": "a7",
        "metadata": {"payment_method": "pix", "note": "a=b"},
    }


@pytest.mark.e2e
def test_good_lines_are_emitted_and_bad_ones_named(emit: Run) -> None:
    """One bad line stops none of the others; the exit code says that there was one."""
    lines = [
        '{"metric_name": "cpu_usage", "value": 71.5, "service_name": "web", "metadata": {"host": "a"}}',
        "",
        '{"metric_name": "cpu_usage", "value": NaN}',
        "not json",
        '{"metric_name": "cpu_usage", "value": 1, "timestamp": "2026-01-31T23:00:00Z", "region": null}',
        '{"metric_name": "cpu_usage", "value": 1, "timestamp": "2026-01-31T23:00:00"}',
        '{"metric_name": "cpu_usage"}',
    ]
    done = emit("-o", "json", typed="\n".join(lines))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["acknowledged"], said["queued"], said["bad_lines"]) == (2, 0, 4)
    for number, fault in [(3, "must be finite"), (4, "not JSON"), (6, "time zone"), (7, "is missing")]:
        assert any(line.startswith(f"line {number}: ") and fault in line for line in done.stderr.splitlines())
    assert "2 events acknowledged; 4 bad lines refused" in done.stderr


@pytest.mark.e2e
def test_many_lines_are_all_acknowledged(emit: Run, tmp_path: Path) -> None:
    """Ten thousand lines, exit code 0, and one line says so."""
    line = json.dumps({"metric_name": "orders", "value": 1})
    done = emit(typed=f"{line}\n" * 10_000)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.strip() == "10,000 events acknowledged"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["order_value"], "METRIC and VALUE"),
        (["order_value", "nan"], "must be finite"),
        (["order_value", "1", "--frequency", "weekly"], "must be one of real_time"),
        (["order_value", "1", "--at", "yesterday"], "ISO 8601"),
        (["order_value", "1", "-m", "pix"], "must be KEY=VALUE"),
        (["order_value", "1", "--service", "x" * 201], "service_name"),
    ],
)
def test_a_request_that_cannot_be_is_one_line_and_exit_code_2(arguments: list[str], fault: str) -> None:
    """Whether or not there is a broker."""
    done = run({}, *arguments)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_says_so_and_ends() -> None:
    """One line with what to look at, exit code 1."""
    nowhere = {"ATALAIA_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "ATALAIA_REGISTRY__URL": "http://127.0.0.1:1"}
    for typed, arguments in (("", ["order_value", "1"]), ('{"metric_name": "orders", "value": 1}', [])):
        done = run(nowhere, *arguments, "--timeout", "0.5", typed=typed)
        assert done.returncode == 1
        assert "not acknowledged" in done.stderr
        assert "127.0.0.1:1" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        [],
        "x",
        {"value": 1},
        {"metric_name": "x", "value": 1, "service_name": ["a"]},
        {"metric_name": "x", "value": 1, "on_delivery": "x"},
        {"metric_name": "x", "value": 1, "timestamp": "soon"},
    ],
)
def test_a_line_that_is_no_event_is_refused_by_field(said: Any) -> None:
    """Only F1's fields, and of the right kind."""
    with pytest.raises(MetricError):
        event_of(said)
