"""The five bytes before each body, asked of the registry in the background, again and again until it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from atalaia.producers.errors import DeliveryError
from atalaia.producers.schema_ids import SchemaIds
from atalaia.schemas.topics import Topic

_FIRST_RETRY_SECONDS: Final = 0.25
_LAST_RETRY_SECONDS: Final = 10.0
_MAGIC: Final = b"\x00"  # Confluent's wire format: this, and the schema id in four bytes, big-endian


class Frames:
    """Known frames by topic. Not for several threads."""

    def __init__(self, ids: SchemaIds, on_trouble: Callable[[DeliveryError], None]) -> None:
        self._ids = ids
        self._on_trouble = on_trouble
        self._known: dict[str, bytes] = {}
        self._retry_at: dict[str, float] = {}
        self._pause_seconds: dict[str, float] = {}

    def known(self, topic: Topic) -> bytes | None:
        """The frame, if the registry has told it."""
        return self._known.get(topic.name)

    def seconds_until_due(self, topic: Topic, now: float) -> float:
        """How long the registry must not be asked again; 0 where it may."""
        return max(0.0, self._retry_at.get(topic.name, now) - now)

    def look_up(self, topic: Topic, now: float) -> bool:
        """Ask the registry, which may take seconds; where it does not know, that is told, and asking again waits."""
        try:
            schema_id = self._ids.id_of(topic)
        except Exception as exc:  # noqa: BLE001 - the user's own client may raise anything; events wait, and are told why
            pause = self._pause_seconds.get(topic.name, _FIRST_RETRY_SECONDS)
            self._pause_seconds[topic.name] = min(pause * 2, _LAST_RETRY_SECONDS)
            self._retry_at[topic.name] = now + pause
            self._on_trouble(DeliveryError("registry", f"events wait in the buffer: {exc}", topic=topic.name))
            return False
        self._known[topic.name] = _MAGIC + schema_id.to_bytes(4, "big")
        return True
