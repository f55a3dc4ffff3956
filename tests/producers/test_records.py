"""Bodies written by hand are what Avro's own writer would write."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.producers.errors import MetricError
from atalaia.producers.fields import Fields
from atalaia.producers.records import (
    EVENT_ID,
    Health,
    Origin,
    avro_text,
    health_template,
    metric_template,
    zigzag,
)
from atalaia.schemas import codec
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import MAX_RECORD_BYTES, Frequency, MetricType
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import SERVICE_HEALTH

ORIGIN = Origin("default", "payment-service")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
OPTIONAL_WORDS = st.none() | WORDS
INSTANTS_MS = st.integers(946_684_800_000, 4_000_000_000_000)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "unit": OPTIONAL_WORDS,
        "frequency": st.none() | st.sampled_from(Frequency),
        "region": OPTIONAL_WORDS,
        "affiliate_id": OPTIONAL_WORDS,
        "metadata": st.none()
        | st.dictionaries(WORDS, st.text(st.characters(exclude_categories=["Cs"]), max_size=256), max_size=8),
        "metric_type": st.none() | st.sampled_from(MetricType),
    },
)


@given(st.integers(0, 2**63 - 1))
def test_zigzag_is_avros_long(number: int) -> None:
    """Every long that is not negative has Avro's own bytes."""
    body = codec.encode("MetricEvent", _record(sequence=number))
    assert body[EVENT_ID.stop :].removeprefix(zigzag(_AT_MS)).startswith(zigzag(number))


@given(
    service=WORDS,
    name=WORDS,
    fields=FIELDS,
    at_ms=INSTANTS_MS,
    sequence=st.integers(0, 2**62),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_an_event_is_read_back_as_it_was_emitted(
    service: str, name: str, fields: Fields, at_ms: int, sequence: int, value: float
) -> None:
    """Apache Avro's rules, by another implementation, give every field back."""
    template = metric_template(Origin("acme", service), name, fields)
    body = template.body(avro_text("host-1-ab"), at_ms, sequence, value)
    event = codec.decode("MetricEvent", body)
    known = metric(name)
    assert event.pop("event_id") == UUID(body[EVENT_ID].decode())
    assert int(event.pop("timestamp").timestamp() * 1000 + 0.5) == at_ms
    assert event == {
        "sequence": sequence,
        "value": value,
        "tenant": "acme",
        "metric_name": name,
        "metric_type": fields.get("metric_type") or known.metric_type,
        "unit": fields.get("unit") or known.unit,
        "frequency": fields.get("frequency") or known.frequency,
        "service_name": service,
        "region": fields.get("region"),
        "affiliate_id": fields.get("affiliate_id"),
        "producer_id": "host-1-ab",
        "metadata": fields.get("metadata") or {},
    }
    assert body == codec.encode("MetricEvent", codec.decode("MetricEvent", body))


def test_what_the_catalogue_knows_need_not_be_said() -> None:
    """Type, unit and frequency come from it; what is said wins."""
    event = _decoded("revenue_hourly", {})
    assert (event["metric_type"], event["unit"], event["frequency"]) == ("revenue", "BRL", "hourly")
    assert _decoded("revenue_hourly", {"unit": "USD"})["unit"] == "USD"


def test_an_unknown_metric_has_defaults() -> None:
    """F's own troubleshooting sends `test_metric`."""
    event = _decoded("test_metric", {})
    assert (event["metric_type"], event["unit"], event["frequency"]) == ("performance", "1", "real_time")


def test_only_dimensions_are_part_of_the_series() -> None:
    """The catalogue decides which metadata make another series."""
    fields: Fields = {"region": "BR", "metadata": {"payment_method": "pix", "order": "77"}}
    key = metric_template(ORIGIN, "revenue_hourly", fields).key
    series = SeriesKey(
        "default", "revenue_hourly", "payment-service", "BR", None, "BRL", "hourly", (("payment_method", "pix"),)
    )
    assert key == series.record_key()


@pytest.mark.parametrize("field", sorted(Fields.__annotations__))
def test_every_field_is_checked(field: str) -> None:
    """A number where text belongs is refused by the field's own name."""
    with pytest.raises(MetricError, match=f"{field}=3"):
        metric_template(ORIGIN, "cpu_usage", {field: 3})  # type: ignore[misc]  # that is the point


def test_a_record_beyond_its_size_is_refused() -> None:
    """Metadata within its own limits may still be too many bytes."""
    metadata = {f"{index:02}" + "🗼" * 254: "🗼" * 256 for index in range(32)}
    with pytest.raises(MetricError, match=f"at most {MAX_RECORD_BYTES}"):
        metric_template(ORIGIN, "cpu_usage", {"metadata": metadata})


@given(numbers=st.tuples(*[st.none() | st.floats(0, 1e9)] * 5), status=WORDS, version=OPTIONAL_WORDS, at_ms=INSTANTS_MS)
def test_a_health_report_is_read_back_as_it_was_given(
    numbers: tuple[float | None, ...], status: str, version: str | None, at_ms: int
) -> None:
    """Every field, present or not."""
    health = Health(status, numbers[0], numbers[1], numbers[2], numbers[3], version, numbers[4])
    template = health_template(ORIGIN, health, SERVICE_HEALTH)
    report = codec.decode("ServiceHealth", template.body(b"", at_ms, 0, 0.0))
    assert template.key == b"payment-service"
    assert int(report.pop("timestamp").timestamp() * 1000 + 0.5) == at_ms
    assert report.pop("health_id").version == 7
    assert report == {
        "tenant": "default",
        "service_name": "payment-service",
        "status": status,
        "response_time_ms": numbers[0],
        "error_rate": numbers[1],
        "cpu_usage": numbers[2],
        "memory_usage": numbers[3],
        "version": version,
        "uptime_seconds": numbers[4],
    }


def test_event_ids_are_distinct_and_sorted_by_time() -> None:
    """They are UUIDv7."""
    template = metric_template(ORIGIN, "cpu_usage", {})
    ids = [template.body(b"\x00", _AT_MS, 0, 0.0)[EVENT_ID] for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)


def test_symbols_are_numbered_as_in_the_schema() -> None:
    """The order of the enums in code is the order in the `.avsc`."""
    fields = {entry["name"]: entry["type"] for entry in codec.schema("MetricEvent")["fields"]}
    assert fields["metric_type"]["symbols"] == list(MetricType)
    assert fields["frequency"]["symbols"] == list(Frequency)


_AT_MS = 1_800_000_000_000


def _decoded(name: str, fields: Fields) -> dict[str, Any]:
    return codec.decode("MetricEvent", metric_template(ORIGIN, name, fields).body(avro_text("p"), _AT_MS, 0, 1.0))


def _record(**fields: Any) -> dict[str, Any]:
    return {
        "event_id": "019be8f5-9d2c-7c3b-8a1f-0c2d3e4f5a6b",
        "timestamp": _AT_MS,
        "sequence": 0,
        "value": 0.0,
        "metric_name": "cpu_usage",
        "service_name": "s",
    } | fields
