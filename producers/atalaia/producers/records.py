"""Events as Avro bodies, written by hand because an event must cost microseconds.

`MetricEvent.avsc` puts the fields that change with every event first: a `MetricTemplate` encodes the rest once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final, Protocol

import uuid_utils

from atalaia.producers.errors import MetricError
from atalaia.producers.fields import Fields, metadata_of, optional_text, symbol, text
from atalaia.schemas.catalogue import metric
from atalaia.schemas.events import MAX_RECORD_BYTES, Frequency, MetricType
from atalaia.schemas.series import SeriesKey, dimensions_of
from atalaia.schemas.topics import METRICS, Topic

_uuid7 = uuid_utils.uuid7
_double = Struct("<d").pack

_METRIC_TYPES: Final = tuple(str(entry) for entry in MetricType)
_FREQUENCIES: Final = tuple(str(entry) for entry in Frequency)
_UUID_LENGTH: Final = b"\x48"  # zigzag of 36
EVENT_ID: Final = slice(1, 37)
"""Where a body has its event_id (or health_id)."""
_CHANGING_BYTES: Final = 5 + 37 + 10 + 10 + 8  # frame, id, the two longest varints, double
_NULL: Final = b"\x00"
_PRESENT: Final = b"\x02"


class Template(Protocol):
    """A record that still lacks what only the moment of its emission knows."""

    @property
    def topic(self) -> Topic:
        """Where it goes."""
        ...

    @property
    def key(self) -> bytes:
        """The Kafka key; sequences are counted by it."""
        ...

    def body(self, producer_id: bytes, at_ms: int, sequence: int, value: float) -> bytes:
        """The Avro body. `producer_id` is encoded as by `avro_text`."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Who emits."""

    tenant: str
    service_name: str


@dataclass(frozen=True, slots=True)
class MetricTemplate:
    """All of a MetricEvent that is the same each time."""

    key: bytes
    before_producer: bytes
    after_producer: bytes
    unit: str
    topic: Topic = METRICS

    def body(self, producer_id: bytes, at_ms: int, sequence: int, value: float) -> bytes:
        """A whole MetricEvent with an id of its own."""
        return b"".join(
            (
                _UUID_LENGTH,
                str(_uuid7()).encode(),
                _time(at_ms),
                zigzag(sequence),
                _double(value),
                self.before_producer,
                producer_id,
                self.after_producer,
            )
        )


def metric_template(origin: Origin, metric_name: str, fields: Fields) -> MetricTemplate:
    """The template of a metric's events; `MetricError` names the field that cannot be."""
    known = metric(text("metric_name", metric_name))
    unit = text("unit", _said(fields.get("unit"), known.unit))
    metric_type = symbol("metric_type", _said(fields.get("metric_type"), known.metric_type), _METRIC_TYPES)
    frequency = symbol("frequency", _said(fields.get("frequency"), known.frequency), _FREQUENCIES)
    region = optional_text("region", fields.get("region"))
    affiliate_id = optional_text("affiliate_id", fields.get("affiliate_id"))
    metadata = metadata_of(fields.get("metadata"))
    series = SeriesKey(
        tenant=origin.tenant,
        metric_name=known.name,
        service_name=origin.service_name,
        region=region,
        affiliate_id=affiliate_id,
        unit=unit,
        frequency=_FREQUENCIES[frequency],
        dimensions=dimensions_of(metadata, known.dimensions),
    )
    before = (
        avro_text(origin.tenant),
        avro_text(known.name),
        zigzag(metric_type),
        avro_text(unit),
        zigzag(frequency),
        avro_text(origin.service_name),
        _optional(region),
        _optional(affiliate_id),
    )
    template = MetricTemplate(series.record_key(), b"".join(before), _map(metadata), unit)
    _check_size(template, metadata)
    return template


@dataclass(frozen=True, slots=True)
class Health:
    """A service's report of its own health (F2.7); what it doesn't know stays None."""

    status: str
    response_time_ms: float | None = None
    error_rate: float | None = None
    cpu_usage: float | None = None
    memory_usage: float | None = None
    version: str | None = None
    uptime_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HealthTemplate:
    """A ServiceHealth report."""

    key: bytes
    after_timestamp: bytes
    topic: Topic

    def body(self, producer_id: bytes, at_ms: int, sequence: int, value: float) -> bytes:  # noqa: ARG002 - a report has none of them
        """A whole ServiceHealth with an id of its own."""
        return b"".join((_UUID_LENGTH, str(_uuid7()).encode(), zigzag(at_ms), self.after_timestamp))


def health_template(origin: Origin, health: Health, topic: Topic) -> HealthTemplate:
    """The template of one health report."""
    numbers = (health.response_time_ms, health.error_rate, health.cpu_usage, health.memory_usage)
    fields = (
        avro_text(origin.tenant),
        avro_text(origin.service_name),
        avro_text(health.status),
        *(_optional_double(entry) for entry in numbers),
        _optional(health.version),
        _optional_double(health.uptime_seconds),
    )
    return HealthTemplate(origin.service_name.encode(), b"".join(fields), topic)


def zigzag(number: int) -> bytes:
    r"""Avro's variable-length long, of a number that is not negative.

    >>> zigzag(0), zigzag(1), zigzag(64)
    (b'\x00', b'\x02', b'\x80\x01')
    """
    number <<= 1
    if number < 0x80:  # noqa: PLR2004 - seven bits a byte, by Avro's specification
        return _ONE_BYTE[number]
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - the same
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_time = lru_cache(maxsize=64)(zigzag)  # many events share a millisecond; the loop above is a third of a body's cost
_ONE_BYTE: Final = [bytes([number]) for number in range(0x80)]


def avro_text(value: str) -> bytes:
    r"""An Avro string.

    >>> avro_text("ms")
    b'\x04ms'
    """
    encoded = value.encode()
    return zigzag(len(encoded)) + encoded


def _said(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value


def _optional(value: str | None) -> bytes:
    return _NULL if value is None else _PRESENT + avro_text(value)


def _optional_double(value: float | None) -> bytes:
    return _NULL if value is None else _PRESENT + _double(value)


def _map(metadata: Mapping[str, str]) -> bytes:
    """One block of all pairs, then the empty block that ends a map."""
    if not metadata:
        return _NULL
    pairs = (avro_text(key) + avro_text(value) for key, value in metadata.items())
    return zigzag(len(metadata)) + b"".join(pairs) + _NULL


def _check_size(template: MetricTemplate, metadata: Mapping[str, str]) -> None:
    size = _CHANGING_BYTES + len(template.before_producer) + len(template.after_producer) + _PRODUCER_ID_BYTES
    if size > MAX_RECORD_BYTES:
        remedy = f"makes a record of {size} bytes, at most {MAX_RECORD_BYTES} may be; send fewer or shorter values"
        raise MetricError("metadata", metadata, remedy)


_PRODUCER_ID_BYTES: Final = 2 + 200
