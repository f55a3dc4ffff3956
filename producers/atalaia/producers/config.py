"""librdkafka's configuration: ours, then the user's own keys, except where those would break a promise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from atalaia.producers.buffer import Bounds
from atalaia.producers.errors import ConfigError
from atalaia.schemas.topics import PARTITIONER

_PROMISED: Final[dict[str, tuple[str, ...]]] = {
    "enable.idempotence": ("true",),
    "acks": ("all", "-1"),
    "request.required.acks": ("all", "-1"),
}
"""An acknowledged event is on all in-sync replicas, once: not for sale."""
_OURS: Final = frozenset(
    {"on_delivery", "error_cb", "delivery.report.only.error", "dr_cb", "dr_msg_cb", "transactional.id"}
)


def librdkafka_config(
    bootstrap: str, bounds: Bounds, more: Mapping[str, Any], *, on_error: Callable[[Any], None]
) -> dict[str, Any]:
    """The whole configuration; `ConfigError` names the key that may not be set, and why."""
    for key, value in more.items():
        if key in _OURS:
            raise ConfigError(f"config[{key!r}]: is the producer's own; use on_delivery= and on_error=")
        allowed = _PROMISED.get(key)
        if allowed and str(value).lower() not in allowed:
            remedy = "an acknowledged event must be on all in-sync replicas, once; leave it out"
            raise ConfigError(f"config[{key!r}]={value!r}: {remedy}")
    return {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 5,  # an event is on its way within 10 ms, in batches of thousands under load
        "partitioner": PARTITIONER,
        # At most half of the buffer is in flight: `drop_oldest` always has something to drop.
        "queue.buffering.max.messages": max(1, bounds.events // 2),
        "queue.buffering.max.kbytes": max(1024, bounds.bytes // 1024),
        "log_level": 2,  # what matters comes as an error of the client
        "log.connection.close": False,
        "logger": logging.getLogger("atalaia.producers.librdkafka"),
        **more,
        "error_cb": on_error,
    }
