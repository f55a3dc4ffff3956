"""What every producer can do, wherever its events go: the type to ask for in a function that emits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from concurrent.futures import Future
from datetime import datetime
from time import time_ns
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

from atalaia.producers.errors import BufferFull, MetricError
from atalaia.producers.fields import KNOWN_FIELDS, Fields, Number, event_time_ms, optional_text, share, text
from atalaia.producers.metrics import Counter, Gauge, Metric
from atalaia.producers.outcomes import Delivery, OnDelivery, Stats
from atalaia.producers.records import Health, Origin, Template, health_template, metric_template
from atalaia.schemas.catalogue import Kind, metric
from atalaia.schemas.topics import SERVICE_HEALTH

_REMEMBERED_METRICS: Final = 4096
"""Bound metrics that `emit` keeps, so that it need not encode their fields again; then it starts over."""
_COUNTED: Final = frozenset({Kind.ADDITIVE, Kind.MONEY})
_UNBOUNDED: Final = float("inf")


class Report(TypedDict, total=False):
    """What a service may say of its health (F2.7)."""

    response_time_ms: Number | None
    error_rate: Number | None
    """Share of failed requests, 0 to 1."""
    cpu_usage: Number | None
    """Percent of the machine, 0 to 100."""
    memory_usage: Number | None
    """Percent of the machine, 0 to 100."""
    version: str | None
    uptime_seconds: Number | None


_MOST: Final[dict[str, float]] = {
    "response_time_ms": _UNBOUNDED,
    "error_rate": 1.0,
    "cpu_usage": 100.0,
    "memory_usage": 100.0,
    "uptime_seconds": _UNBOUNDED,
}


class Emitter(ABC):
    """Emits metric events. Every method is safe from any thread."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._remembered: dict[Hashable, Metric] = {}

    # ── where events go ───────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def put(
        self,
        template: Template,
        value: float,
        at_ms: int,
        on_delivery: OnDelivery | None = None,
        wait_seconds: float | None = None,
    ) -> bool:
        """Accept an event; False where there is no room within `wait_seconds` (None: as the policy says)."""

    @abstractmethod
    def refuse(self) -> BufferFull:
        """Count an event that found no room; the error to raise."""

    @property
    @abstractmethod
    def block_timeout(self) -> float:
        """How long `emit` waits for room, in seconds: 0 unless `on_full` is block."""

    @property
    @abstractmethod
    def stats(self) -> Stats:
        """What became of all events so far."""

    @abstractmethod
    def flush(self, timeout: float = 10.0) -> Stats:
        """Wait until the fate of every event is known, at most `timeout` seconds; `queued` says what is not."""

    @abstractmethod
    def close(self, timeout: float = 10.0) -> Stats:
        """Flush, then end: what is not acknowledged by then is lost, and counted so. Later calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    def on_behalf_of(self, service_name: str, tenant: str | None = None) -> Emitter:
        """The same producer speaking for another service: for gateways, which pass on what others measured.

        Counts, buffer and `close` are shared.
        """
        return _OnBehalf(
            self, Origin(text("tenant", tenant or self._origin.tenant), text("service_name", service_name))
        )

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────

    def emit(
        self,
        metric_name: str,
        value: Number,
        *,
        timestamp: datetime | None = None,
        on_delivery: OnDelivery | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """Emit one value; returns once it is in the buffer. `timestamp` is event time, aware; now by default.

        Raises `MetricError` (which names field, value and remedy), `BufferFull` as the policy says, `ProducerClosed`.
        """
        self.metric(metric_name, **fields).emit(value, timestamp=timestamp, on_delivery=on_delivery)

    def try_emit(self, metric_name: str, value: Number, **fields: Unpack[Fields]) -> bool:
        """Emit without ever waiting: False, counted in `stats.refused`, where there is no room."""
        return self.metric(metric_name, **fields).try_emit(value)

    def deliver(
        self, metric_name: str, value: Number, *, timestamp: datetime | None = None, **fields: Unpack[Fields]
    ) -> Future[Delivery]:
        """Emit, and know: the future gives the `Delivery`, or raises `DeliveryError`. Waits only as `emit` does."""
        return self.metric(metric_name, **fields).deliver(value, timestamp=timestamp)

    def health(self, status: str, *, timestamp: datetime | None = None, **report: Unpack[Report]) -> None:
        """Report the service's own health: `healthy`, `degraded`, `unhealthy`, or its own word, and what it knows."""
        at_ms = time_ns() // 1_000_000
        if timestamp is not None:
            at_ms = event_time_ms(timestamp, at_ms)
        template = health_template(self._origin, _health(status, report), SERVICE_HEALTH)
        if not self.put(template, 0.0, at_ms):
            raise self.refuse()

    # ── metrics ───────────────────────────────────────────────────────────────────────────────────────────

    def metric(self, metric_name: str, **fields: Unpack[Fields]) -> Metric:
        """A metric with its fields said once: the fast path."""
        key: Hashable = None
        known: Metric | None = None
        try:
            key = (metric_name, *[_hashable(entry) for entry in fields.items()])
            known = self._remembered.get(key)
        except (TypeError, AttributeError):  # something that cannot be: the template says what
            pass
        if known is None:
            _check_names(fields)
            known = Metric(metric_template(self._origin, metric_name, fields), self.put, self.refuse)
            if len(self._remembered) >= _REMEMBERED_METRICS:
                self._remembered.clear()
            if key is not None:
                self._remembered[key] = known
        return known

    def counter(self, metric_name: str, **fields: Unpack[Fields]) -> Counter:
        """A metric whose events are increments; `MetricError` where the catalogue has it as something else."""
        _check_kind(metric_name, counted=True)
        return Counter(self.metric(metric_name, **fields))

    def gauge(self, metric_name: str, **fields: Unpack[Fields]) -> Gauge:
        """A metric whose events are levels; `MetricError` where the catalogue has it as something that adds up."""
        _check_kind(metric_name, counted=False)
        return Gauge(self.metric(metric_name, **fields))


class _OnBehalf(Emitter):
    """Another origin, and all else another emitter's."""

    def __init__(self, emitter: Emitter, origin: Origin) -> None:
        super().__init__(origin)
        self._emitter = emitter
        self.put = emitter.put  # type: ignore[method-assign]  # one call less for every event

    def put(self, *args: Any, **kwargs: Any) -> bool:
        """See `Emitter.put`."""
        return self._emitter.put(*args, **kwargs)

    def refuse(self) -> BufferFull:
        """See `Emitter.refuse`."""
        return self._emitter.refuse()

    @property
    def block_timeout(self) -> float:
        """That of the whole producer."""
        return self._emitter.block_timeout

    @property
    def stats(self) -> Stats:
        """Those of the whole producer."""
        return self._emitter.stats

    def flush(self, timeout: float = 10.0) -> Stats:
        """Flush the whole producer."""
        return self._emitter.flush(timeout)

    def close(self, timeout: float = 10.0) -> Stats:
        """Close the whole producer."""
        return self._emitter.close(timeout)


def _hashable(entry: tuple[str, Any]) -> Hashable:
    name, value = entry
    return (name, tuple(value.items())) if name == "metadata" and value is not None else entry


def _check_names(fields: Fields) -> None:
    for name in fields:
        if name not in KNOWN_FIELDS:
            raise MetricError(name, fields.get(name), f"no such field; there are {', '.join(sorted(KNOWN_FIELDS))}")


def _check_kind(metric_name: str, *, counted: bool) -> None:
    known = metric(text("metric_name", metric_name))
    if known.known and (known.kind in _COUNTED) is not counted:
        right = "counter()" if not counted else "gauge() or metric()"
        raise MetricError("metric_name", metric_name, f"the catalogue has it as {known.kind}; use {right}")


def _health(status: str, report: Report) -> Health:
    values: dict[str, Any] = dict(report)
    for name, value in values.items():
        if name not in Report.__annotations__:
            raise MetricError(name, value, f"no such field; there are {', '.join(sorted(Report.__annotations__))}")
    numbers = {
        name: None if values.get(name) is None else share(name, values[name], most=most) for name, most in _MOST.items()
    }
    return Health(text("status", status), version=optional_text("version", values.get("version")), **numbers)
