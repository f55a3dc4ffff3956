"""The same for asyncio: nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Final, Self, Unpack

from atalaia.producers.emitter import Emitter, Report
from atalaia.producers.fields import Fields, Number
from atalaia.producers.metrics import Metric, promise
from atalaia.producers.outcomes import Delivery, OnDelivery, Stats

_PAUSE_SECONDS: Final = 0.005


class AsyncProducer:
    """An emitter whose waits suspend the task instead of the thread.

    Emitting without waiting needs no facade: the emitter's `try_emit` may be called on the loop as it is, and so may
    `Metric.try_emit`, `stats` and `metric()`.
    """

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter

    @property
    def stats(self) -> Stats:
        """What became of all events so far."""
        return self.emitter.stats

    async def emit(
        self,
        metric_name: str,
        value: Number,
        *,
        timestamp: datetime | None = None,
        on_delivery: OnDelivery | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """Emit one value; suspends only where the emitter itself would block, and at most as long."""
        await self._emit(self.emitter.metric(metric_name, **fields), value, timestamp, on_delivery)

    async def deliver(
        self, metric_name: str, value: Number, *, timestamp: datetime | None = None, **fields: Unpack[Fields]
    ) -> Delivery:
        """Emit, and wait until all in-sync replicas have it; raises `DeliveryError` where they never will."""
        future, tell = promise()
        await self._emit(self.emitter.metric(metric_name, **fields), value, timestamp, tell)
        return await asyncio.shield(asyncio.wrap_future(future))

    async def health(self, status: str, **report: Unpack[Report]) -> None:
        """Report the service's own health."""
        await asyncio.to_thread(self.emitter.health, status, **report)

    async def flush(self, timeout: float = 10.0) -> Stats:  # noqa: ASYNC109 - the same promise as Emitter.flush
        """Wait until the fate of every event is known, at most `timeout` seconds; `queued` says what is not."""
        return await asyncio.to_thread(self.emitter.flush, timeout)

    async def close(self, timeout: float = 10.0) -> Stats:  # noqa: ASYNC109 - the same promise as Emitter.close
        """Flush, then end: what is not acknowledged by then is lost, and counted so."""
        return await asyncio.to_thread(self.emitter.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _emit(
        self, metric: Metric, value: Number, timestamp: datetime | None, on_delivery: OnDelivery | None
    ) -> None:
        deadline = monotonic() + self.emitter.block_timeout
        while not metric.offer(value, timestamp=timestamp, on_delivery=on_delivery):
            if monotonic() >= deadline:
                raise self.emitter.refuse()
            await asyncio.sleep(_PAUSE_SECONDS)
