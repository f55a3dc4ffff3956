"""The producer that sends to Kafka."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any, Final, Literal

import confluent_kafka

from atalaia.producers.buffer import Bounds, OnFull
from atalaia.producers.config import librdkafka_config
from atalaia.producers.courier import TOPICS, Courier
from atalaia.producers.emitter import Emitter
from atalaia.producers.errors import BufferFull, ConfigError
from atalaia.producers.fields import text
from atalaia.producers.outcomes import OnError, Stats
from atalaia.producers.records import Origin
from atalaia.producers.reporter import Reporter
from atalaia.producers.schema_ids import HttpSchemaIds, SchemaIds
from atalaia.schemas.catalogue import catalogue
from atalaia.schemas.events import DEFAULT_TENANT

_BOOTSTRAP: Final = "ATALAIA_KAFKA__BOOTSTRAP_SERVERS"
_REGISTRY: Final = "ATALAIA_REGISTRY__URL"
_TENANT: Final = "ATALAIA_TENANT"


class Producer(Emitter):
    """Emits to Kafka in the background: idempotent, acknowledged by all in-sync replicas, compressed, in batches.

    `emit` returns once an event is in the bounded buffer; `on_full` says what happens when that is full. What became
    of each event is in `stats`, or told by `on_delivery=` or the future of `deliver()`; `on_error` hears of every
    loss, and of troubles that keep events waiting, from the background thread. Arguments left out come from
    ATALAIA_KAFKA__BOOTSTRAP_SERVERS, ATALAIA_REGISTRY__URL and ATALAIA_TENANT, else are those of `atalaia up`.

    Making one connects to nothing and waits for nothing: a missing broker or registry is told by `stats` and
    `on_error`, while events wait in the buffer. A forked child has its own connection, identity and counts.
    `config` takes librdkafka's own keys. `registry` may be whatever knows the schema ids, instead of a URL.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        service_name: str,
        tenant: str | None = None,
        registry: str | SchemaIds | None = None,
        on_full: Literal["block", "drop_oldest", "raise"] | OnFull = OnFull.BLOCK,
        block_timeout: float = 1.0,
        buffer_events: int = 100_000,
        buffer_bytes: int = 64 * 1024 * 1024,
        on_error: OnError | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        bounds = Bounds(buffer_events, buffer_bytes, _policy(on_full), block_timeout)
        bootstrap = bootstrap or os.environ.get(_BOOTSTRAP) or "127.0.0.1:9092"
        registry = registry or os.environ.get(_REGISTRY) or "http://127.0.0.1:8081"
        tenant = tenant or os.environ.get(_TENANT) or DEFAULT_TENANT
        catalogue()  # read now: not during the first emit, nor by one thread while another forks
        super().__init__(Origin(text("tenant", tenant), text("service_name", service_name)))
        more = dict(config or {})
        self._courier = Courier(
            bounds,
            lambda courier: _connect(bootstrap, bounds, more, courier),
            HttpSchemaIds(registry, TOPICS) if isinstance(registry, str) else registry,
            Reporter(on_error),
        )
        self.put = self._courier.buffer.put  # type: ignore[method-assign]  # one call less for every event
        # A producer that nobody holds any more still sends what it has.
        weakref.finalize(self, self._courier.retire).atexit = False

    @property
    def producer_id(self) -> str:
        """Who counts the sequences: this process, through this producer."""
        return self._courier.buffer.producer_id

    def put(self, *args: Any, **kwargs: Any) -> bool:
        """See `Buffer.put`."""
        return self._courier.buffer.put(*args, **kwargs)

    def refuse(self) -> BufferFull:
        """Count an event that found no room; the error to raise."""
        buffer = self._courier.buffer
        buffer.refuse()
        bounds = buffer.bounds
        trouble = f": {buffer.last_error}" if buffer.last_error else "; emit less, or raise buffer_events"
        return BufferFull(f"{bounds.events} events or {bounds.bytes} bytes are not acknowledged yet{trouble}")

    @property
    def block_timeout(self) -> float:
        """How long `emit` waits for room, in seconds: 0 unless `on_full` is block."""
        return self._courier.buffer.bounds.patience_seconds

    @property
    def stats(self) -> Stats:
        """What became of all events of this process so far."""
        return self._courier.buffer.stats()

    def flush(self, timeout: float = 10.0) -> Stats:
        """Wait until the fate of every event is known, at most `timeout` seconds; `queued` says what is not."""
        return self._courier.buffer.wait_until_settled(timeout)

    def close(self, timeout: float = 10.0) -> Stats:
        """Flush, then end: what is not acknowledged by then is lost, and counted so. Later calls do nothing.

        Takes at most `timeout` and about a second. Done for you when the process ends, within five seconds.
        """
        return self._courier.close(timeout)


def _policy(on_full: str) -> OnFull:
    try:
        return OnFull(on_full)
    except ValueError as exc:
        raise ConfigError(f"on_full={on_full!r}: must be one of {', '.join(OnFull)}") from exc


def _connect(bootstrap: str, bounds: Bounds, more: Mapping[str, Any], courier: Courier) -> Any:
    config = librdkafka_config(bootstrap, bounds, more, on_error=courier.on_client_error)
    try:
        return confluent_kafka.Producer(config | {"on_delivery": courier.on_settled})
    except (confluent_kafka.KafkaException, TypeError, ValueError) as exc:
        said = exc.args[0].str() if isinstance(exc, confluent_kafka.KafkaException) else str(exc)
        raise ConfigError(f"config: {said}; its keys are librdkafka's (CONFIGURATION.md)") from exc
