"""Records as people read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from atalaia.cli import records, tail
from atalaia.cli.records import Decoder, Record, Span, Undecodable
from atalaia.infra.errors import UsageFailure
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Producer
from atalaia.schemas import codec
from atalaia.schemas.registry import SchemaMissing
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import METRICS

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

EVENT: dict[str, Any] = {
    "event_id": str(uuid4()),
    "timestamp": AT,
    "sequence": 0,
    "value": 12.5,
    "tenant": "default",
    "metric_name": "api_response_time",
    "metric_type": "performance",
    "unit": "ms",
    "frequency": "real_time",
    "service_name": "shop",
    "region": "BR",
    "affiliate_id": None,
    "producer_id": "",
    "metadata": {"endpoint": "/pay"},
}


class OneSchema:
    """A registry that knows id 1, the current MetricEvent."""

    def parsed_writer(self, schema_id: int) -> Any:
        """The schema with this id."""
        if schema_id != 1:
            raise SchemaMissing(f"schema id {schema_id}")
        return codec.schema("MetricEvent")


def record(value: bytes = b"", **more: Any) -> Record:
    """A record of the metrics topic."""
    fields: dict[str, Any] = {"topic": METRICS.name, "partition": 0, "offset": 7, "at": AT, "key": None, "value": value}
    return Record(**fields | more)


@pytest.fixture(name="decoder")
def _decoder() -> Decoder:
    return Decoder(OneSchema())  # type: ignore[arg-type]


def test_an_event_is_one_line_with_what_matters(decoder: Decoder) -> None:
    """Metric, value, unit, service and dimensions are on the line."""
    value = codec.frame(1, codec.encode("MetricEvent", EVENT))
    line = tail.line(record(value), decoder.decode(METRICS.name, value)).plain
    assert "api_response_time 12.5 ms  shop  region=BR endpoint=/pay" in line


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"{}", Reason.NOT_FRAMED),
        (codec.frame(99, b"x"), Reason.UNKNOWN_SCHEMA),
        (codec.frame(1, b"\xff\xff"), Reason.UNDECODABLE),
    ],
)
def test_damage_is_shown_and_named(decoder: Decoder, value: bytes, reason: Reason) -> None:
    """A damaged record is a line with its reason, where it lies and its first bytes; never an exception."""
    what = decoder.decode(METRICS.name, value)
    assert isinstance(what, Undecodable)
    assert what.reason is reason
    assert reason.value in tail.line(record(value), what).plain


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(body: bytes) -> None:
    """Whatever lies on the topic, `tail` goes on."""
    decoder = Decoder(OneSchema())  # type: ignore[arg-type]
    what = decoder.decode(METRICS.name, codec.frame(1, body))
    assert tail.line(record(codec.frame(1, body)), what).plain
    assert json.dumps(tail.as_json(record(body), what))


def test_texts_cannot_command_the_terminal(decoder: Decoder) -> None:
    """Escape sequences in other people's metadata are shown, not obeyed."""
    value = codec.frame(1, codec.encode("MetricEvent", EVENT | {"metadata": {"note": "\x1b[2Jgone"}}))
    assert "\x1b" not in tail.line(record(value), decoder.decode(METRICS.name, value)).plain


def test_an_unknown_topic_is_refused_with_those_there_are() -> None:
    """The error names the value and the choices."""
    with pytest.raises(UsageFailure, match=r"tail metrix: no such topic; there are metrics, alerts"):
        tail.topics_of("metrix")


def test_the_newest_are_the_newest_of_all_partitions() -> None:
    """Ordered by time, whichever partition they came from."""
    found = [record(partition=place % 3, offset=place, at=AT + timedelta(seconds=place)) for place in (4, 1, 3, 0, 2)]
    assert [one.offset for one in records.newest(iter(found), 2)] == [3, 4]


@given(first=st.integers(0, 100), length=st.integers(0, 100), count=st.integers(0, 300))
def test_the_end_of_a_span_lies_within_it(first: int, length: int, count: int) -> None:
    """Never more than there is, never before the first record."""
    whole = Span("t", 0, first, first + length)
    assert len(whole.last(count)) == min(length, count)
    assert whole.last(count).first >= first


@pytest.fixture(name="emitted")
def _emitted(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """A metric of which three events lie in Kafka, 0, 1 and 2."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    metric = f"tailed_{uuid4().hex[:8]}"
    with Producer(service_name="tail-test") as producer:
        for number in range(3):
            producer.emit(metric, float(number))
        assert producer.flush(30).acknowledged == 3
    return metric


@pytest.mark.e2e
def test_the_last_records_of_a_metric(emitted: str) -> None:
    """-n with --metric gives the last ones of that metric, as JSON lines too."""
    done = CliRunner().invoke(tail.app, ["--metric", emitted, "-n", "2", "-o", "json"])
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["value"]["value"] for line in done.stdout.splitlines()] == [1.0, 2.0]


@pytest.mark.e2e
def test_from_the_beginning(emitted: str) -> None:
    """--from-beginning gives all of them."""
    done = CliRunner().invoke(tail.app, ["metrics", "--metric", emitted, "--from-beginning"])
    assert done.exit_code == 0, done.output
    assert done.stdout.count(emitted) == 3
