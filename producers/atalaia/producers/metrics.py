"""Metrics bound once and emitted often: the fast path, and sugar over it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ContextDecorator
from datetime import datetime
from functools import wraps
from math import isfinite
from time import perf_counter, time_ns
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

from atalaia.producers.errors import DeliveryError, MetricError
from atalaia.producers.fields import Number, event_time_ms, number
from atalaia.producers.outcomes import Delivery, OnDelivery, Outcome
from atalaia.producers.records import MetricTemplate, Template

_PER_SECOND: Final = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, "min": 1 / 60, "h": 1 / 3600}
"""UCUM's units of time."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Put(Protocol):
    """Accepts an event, or answers False where there is no room; see `Buffer.put`."""

    def __call__(
        self,
        template: Template,
        value: float,
        at_ms: int,
        on_delivery: OnDelivery | None = None,
        wait_seconds: float | None = None,
    ) -> bool:
        """Accept an event."""
        ...


Refuse: TypeAlias = Callable[[], Exception]
"""Counts an event that found no room, and makes the error to raise."""


class Metric:
    """One metric with its fields said once. Safe to use from any thread, and in a forked child."""

    __slots__ = ("_put", "_refuse", "_template")

    def __init__(self, template: MetricTemplate, put: Put, refuse: Refuse) -> None:
        self._template = template
        self._put = put
        self._refuse = refuse

    def emit(self, value: Number, *, timestamp: datetime | None = None, on_delivery: OnDelivery | None = None) -> None:
        """Emit one value; returns once it is in the buffer. `timestamp` is event time, aware; now by default.

        Raises `MetricError` for a value that cannot be, `BufferFull` as the policy says, `ProducerClosed`.
        """
        if type(value) is not float or not isfinite(value):
            value = number(value)
        at_ms = time_ns() // 1_000_000
        if timestamp is not None:
            at_ms = event_time_ms(timestamp, at_ms)
        if not self._put(self._template, value, at_ms, on_delivery):
            raise self._refuse()

    def try_emit(self, value: Number, *, timestamp: datetime | None = None) -> bool:
        """Emit without ever waiting: False, counted in `stats.refused`, where there is no room."""
        accepted = self.offer(value, timestamp=timestamp)
        if not accepted:
            self._refuse()
        return accepted

    def offer(self, value: Number, *, timestamp: datetime | None = None, on_delivery: OnDelivery | None = None) -> bool:
        """The same, for one who asks again later: a refusal is not counted."""
        now_ms = time_ns() // 1_000_000
        at_ms = now_ms if timestamp is None else event_time_ms(timestamp, now_ms)
        return self._put(self._template, number(value), at_ms, on_delivery, 0.0)

    def deliver(self, value: Number, *, timestamp: datetime | None = None) -> Future[Delivery]:
        """Emit, and know: the future gives the `Delivery`, or raises `DeliveryError`. Waits only as `emit` does."""
        future, tell = promise()
        self.emit(value, timestamp=timestamp, on_delivery=tell)
        return future

    def time(self) -> Timer:
        """A context manager, or a decorator of functions and coroutines, that emits how long it took, in the unit."""
        unit = self._template.unit
        if unit not in _PER_SECOND:
            remedy = f"time() measures durations; give the metric one of the units {', '.join(_PER_SECOND)}"
            raise MetricError("unit", unit, remedy)
        return Timer(self, _PER_SECOND[unit])


class Timer(ContextDecorator):
    """Emits the duration of what it encloses, also when that raises. Each entry counts for itself."""

    def __init__(self, metric: Metric, per_second: float) -> None:
        self._metric = metric
        self._per_second = per_second
        self._started: list[float] = []
        self._now = perf_counter

    def __enter__(self) -> Self:
        self._started.append(self._now())
        return self

    def __exit__(self, *_: object) -> None:
        self._metric.emit((self._now() - self._started.pop()) * self._per_second)

    def __call__(self, function: _Function) -> _Function:
        """The same function, timed."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def timed(*args: Any, **kwargs: Any) -> Any:
                with self._recreate_cm():
                    return await function(*args, **kwargs)

            return timed  # type: ignore[return-value]  # `wraps` keeps the signature
        return super().__call__(function)

    def _recreate_cm(self) -> Timer:
        # One timer decorates calls that overlap: each gets its own start.
        return Timer(self._metric, self._per_second)


class Counter:
    """Counts: each `add` is an event whose value is the increment."""

    __slots__ = ("metric",)

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def add(self, amount: Number = 1, *, timestamp: datetime | None = None) -> None:
        """Count `amount` more, 0 or above."""
        increment = number(amount)
        if increment < 0:
            raise MetricError("amount", amount, "a counter only goes up; emit a correction with metric().emit()")
        self.metric.emit(increment, timestamp=timestamp)


class Gauge:
    """A level: each change is an event whose value is the new level. `inc` and `dec` know this process's alone."""

    __slots__ = ("_level", "_lock", "metric")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._level = 0.0
        self._lock = threading.Lock()

    def set(self, value: Number, *, timestamp: datetime | None = None) -> None:
        """The level is `value`."""
        level = number(value)
        with self._lock:
            self._level = level
        self.metric.emit(level, timestamp=timestamp)

    def inc(self, amount: Number = 1) -> None:
        """The level rises."""
        self._move(number(amount))

    def dec(self, amount: Number = 1) -> None:
        """The level falls."""
        self._move(-number(amount))

    def _move(self, amount: float) -> None:
        with self._lock:
            self._level += amount
            level = self._level
        self.metric.emit(level)


def promise() -> tuple[Future[Delivery], OnDelivery]:
    """A future, and the callback that fulfils it. It cannot be cancelled: the event is on its way."""
    future: Future[Delivery] = Future()
    future.set_running_or_notify_cancel()

    def tell(outcome: Outcome) -> None:
        if isinstance(outcome, DeliveryError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    return future, tell
