"""A producer that keeps a ledger: every event that the broker acknowledged, and where it stands."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from confluent_kafka import Producer

from atalaia.infra.settings import Settings, librdkafka
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import METRICS, PARTITIONER
from atalaia.schemas.windows import DAY_MS, MINUTE_MS

_STEP_SECONDS: Final = 0.02
_LATE_SHARE: Final = 0.10
_OLD_SHARE: Final = 0.02
_LATE_MS: Final = 15 * MINUTE_MS
_OLD_MS: Final = 400 * DAY_MS


@dataclass(frozen=True, slots=True)
class Line:
    """One series of the load. Of its metadata, `dimensions` belong to the series and `others` don't."""

    metric_name: str
    service_name: str
    region: str | None = None
    affiliate_id: str | None = None
    dimensions: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> bytes:
        """The Kafka key of its events."""
        series = SeriesKey(
            "default", self.metric_name, self.service_name, self.region, self.affiliate_id, "1", "real_time"
        )
        return series.record_key()

    def event(self, event_id: str, at_ms: int, sequence: int | None, value: float) -> dict[str, Any]:
        """One event of the series; one without a sequence is of nobody who counts."""
        return {
            "event_id": event_id,
            "timestamp": at_ms,
            "sequence": sequence or 0,
            "value": value,
            "tenant": "default",
            "metric_name": self.metric_name,
            "metric_type": "performance",
            "unit": "1",
            "frequency": "real_time",
            "service_name": self.service_name,
            "region": self.region,
            "affiliate_id": self.affiliate_id,
            "producer_id": "" if sequence is None else "ledger",
            "metadata": dict(self.dimensions + self.others),
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One acknowledged event. Values are multiples of 0.25, so that sums are exact in any order."""

    event_id: str
    line: Line
    at_ms: int
    value: float
    partition: int
    offset: int


def lines(name: str, count: int) -> list[Line]:
    """Series of all sorts: with and without dimensions, regions and affiliates; metrics that the catalogue lacks.

    `name` keeps those of one load apart from those of another.
    """
    made: list[Line] = []
    for index in range(count):
        service = f"{name}-{index}"
        match index % 4:
            case 0:
                made.append(
                    Line("api_response_time", service, dimensions=(("endpoint", "/a"),), others=(("trace", "x"),))
                )
            case 1:
                made.append(Line("revenue_hourly", service, "BR", dimensions=(("payment_method", "pix"),)))
            case 2:
                made.append(Line("commission_paid", service, "BR-SP", f"affiliate-{index}"))
            case _:
                made.append(Line("not_in_the_catalogue", service))
    return made


class Ledger:
    """A load at a steady rate from a thread of its own; `entries` are what was acknowledged so far.

    Most event times are of now, some up to a quarter of an hour late, a few from the year before.
    """

    def __init__(self, settings: Settings, series: Sequence[Line], *, events_per_second: int, seed: int) -> None:
        self.entries: list[Entry] = []
        self.refused: list[str] = []
        self._rate = events_per_second
        self._random = random.Random(seed)  # noqa: S311 - a repeatable load, not a secret
        with Registry(settings.registry.url) as registry:
            self._schema_id = registry.id_of(METRICS)
        self._series = list(series)
        self._taken: set[tuple[int, int]] = set()
        self._emitted = 0
        self._sequences: Counter[tuple[Any, ...]] = Counter()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._producer = Producer(
            librdkafka(
                settings.kafka,
                **{
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 10,
                    "partitioner": PARTITIONER,
                    "message.timeout.ms": 120_000,
                    "reconnect.backoff.max.ms": 500,
                },
            )
        )

    def start(self) -> None:
        """Begins to emit."""
        self._thread.start()

    def stop(self) -> None:
        """Stops emitting; what is under way stays so."""
        self._ending.set()
        self._thread.join()

    def finish(self) -> list[Entry]:
        """Stops emitting and waits until every event has its answer; the ledger."""
        self.stop()
        left = self._producer.flush(120)
        assert not left, f"{left} events are neither acknowledged nor refused"
        return self.entries

    def close(self) -> None:
        """Stops emitting and gives up what has no answer yet."""
        self.stop()
        self._producer.purge()
        self._producer.flush(5)

    def poison(self, value: bytes | None, key: bytes) -> None:
        """Sends bytes that are not an event, in between."""
        self._producer.produce(METRICS.name, value, key=key)

    def _run(self) -> None:
        due = 0.0
        started = time.monotonic()
        while not self._ending.wait(_STEP_SECONDS):
            due = (time.monotonic() - started) * self._rate
            while self._emitted < due and not self._ending.is_set():
                self._emit()
            self._producer.poll(0)

    def _next(self, line: Line) -> int:
        """The next sequence of a line's series."""
        series = (line.key, line.dimensions)
        self._sequences[series] += 1
        return self._sequences[series] - 1

    def _emit(self) -> None:
        index = self._random.randrange(len(self._series))
        line = self._series[index]
        at_ms = self._event_time(index)
        value = self._random.randrange(-400, 40_000) / 4
        event_id = str(uuid.UUID(int=self._random.getrandbits(128)))
        self._emitted += 1
        acknowledged = partial(self._acknowledged, Entry(event_id, line, at_ms, value, -1, -1))
        # A few records go to any partition: the same series on two partitions must add up too. They are not counted,
        # for each partition would miss what the other has.
        key, sequence = (line.key, self._next(line)) if self._random.random() > _OLD_SHARE else (None, None)
        body = codec.encode("MetricEvent", line.event(event_id, at_ms, sequence, value))
        while True:
            try:
                self._producer.produce(
                    METRICS.name, codec.frame(self._schema_id, body), key=key, on_delivery=acknowledged
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _event_time(self, index: int) -> int:
        """An event time that this series has not had yet, so that first and last are never a tie."""
        draw, now_ms = self._random.random(), time.time_ns() // 1_000_000
        back = _OLD_MS if draw < _OLD_SHARE else _LATE_MS if draw < _OLD_SHARE + _LATE_SHARE else 2_000
        at_ms = now_ms - self._random.randrange(back)
        while (index, at_ms) in self._taken:
            at_ms -= 1
        self._taken.add((index, at_ms))
        return at_ms

    def _acknowledged(self, sent: Entry, error: Any, message: Any) -> None:
        if error is not None:
            self.refused.append(str(error))
            return
        self.entries.append(replace(sent, partition=message.partition(), offset=message.offset()))
