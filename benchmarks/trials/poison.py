"""Records that must not count: what they are, and the reason that each must be given."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.trials.ledger import Line
from confluent_kafka import Producer

from atalaia.infra.settings import Settings, librdkafka
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import METRICS

_LINE: Final = Line("poisoned_metric", "poisoner")
_YEAR_2106_MS: Final = 4_294_967_296_000
_UNKNOWN_ID: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Poison:
    """One bad record: what is wrong with it, its bytes, and the reason that must be given."""

    name: str
    value: bytes | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the broker put one."""

    poison: Poison
    partition: int
    offset: int


def poisons(schema_id: int, *, seed: int) -> list[Poison]:
    """One of each kind. `schema_id` is MetricEvent's."""
    now_ms = time.time_ns() // 1_000_000
    good = _framed(schema_id)
    noise = random.Random(seed).randbytes(60)  # noqa: S311 - repeatable damage
    text = codec.frame(schema_id, codec.encode("MetricEvent", _event(metric_name="TEXT")))
    return [
        Poison("random bytes", b"\x01" + noise, Reason.NOT_FRAMED),
        Poison("random bytes in a frame", codec.frame(schema_id, noise), Reason.UNDECODABLE),
        Poison("truncated Avro", good[:-7], Reason.UNDECODABLE),
        Poison("unknown schema id", codec.frame(_UNKNOWN_ID, good[codec.HEADER_BYTES :]), Reason.UNKNOWN_SCHEMA),
        Poison("NaN", _framed(schema_id, value=math.nan), Reason.NOT_FINITE),
        Poison("infinity", _framed(schema_id, value=math.inf), Reason.NOT_FINITE),
        Poison("invalid UTF-8", text.replace(b"TEXT", b"\xff\xfe\xfd\xfc"), Reason.INVALID_UTF8),
        Poison("an event from 2106", _framed(schema_id, timestamp=_YEAR_2106_MS), Reason.TOO_LATE),
        Poison("seconds for milliseconds", _framed(schema_id, timestamp=now_ms // 1000), Reason.TOO_EARLY),
        Poison("milliseconds for seconds", _framed(schema_id, timestamp=now_ms * 1000), Reason.TOO_LATE),
        Poison("an empty record", b"", Reason.EMPTY),
        Poison("no value at all", None, Reason.EMPTY),
        Poison("an empty name", _framed(schema_id, metric_name=""), Reason.NAME_EMPTY),
        Poison("a name too long", _framed(schema_id, service_name="x" * 201), Reason.NAME_TOO_LONG),
        Poison("too many bytes", _framed(schema_id, metadata={"x": "y" * 70_000}), Reason.TOO_LARGE),
        Poison("metadata too long", _framed(schema_id, metadata={"x": "y" * 257}), Reason.METADATA_TOO_LARGE),
    ]


class Poisoner:
    """Sends poison, each at a moment of its own; `sent` says where each went."""

    def __init__(self, settings: Settings, *, seed: int) -> None:
        self.sent: list[Sent] = []
        with Registry(settings.registry.url) as registry:
            self._left = poisons(registry.id_of(METRICS), seed=seed)
        random.Random(seed).shuffle(self._left)  # noqa: S311 - a repeatable order
        self._producer = Producer(librdkafka(settings.kafka, **{"enable.idempotence": True}))

    def __bool__(self) -> bool:
        """Whether there is more to send."""
        return bool(self._left)

    def send_one(self) -> Poison:
        """Sends the next one and returns when it is acknowledged."""
        poison = self._left.pop()

        def delivered(error: Any, message: Any) -> None:
            assert error is None, error
            self.sent.append(Sent(poison, message.partition(), message.offset()))

        self._producer.produce(METRICS.name, poison.value, key=poison.name.encode(), on_delivery=delivered)
        left = self._producer.flush(60)
        assert not left, f"{poison.name} is not acknowledged"
        return poison


def _framed(schema_id: int, **fields: Any) -> bytes:
    return codec.frame(schema_id, codec.encode("MetricEvent", _event(**fields)))


def _event(**fields: Any) -> dict[str, Any]:
    event_id = "00000000-0000-4000-8000-000000000000"
    return _LINE.event(event_id, time.time_ns() // 1_000_000, 0, 1.0) | fields
