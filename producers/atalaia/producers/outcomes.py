"""What became of events: one by one, or counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from atalaia.producers.errors import DeliveryError


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that all in-sync replicas have."""

    topic: str
    partition: int
    offset: int
    event_id: str


Outcome: TypeAlias = Delivery | DeliveryError
OnDelivery: TypeAlias = Callable[[Outcome], object]
"""Called once per event, from the producer's background thread: it must not block."""
OnError: TypeAlias = Callable[[DeliveryError], object]
"""Called for every lost event and for every trouble that keeps events waiting; it must not block."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the producer was made; `emitted == acknowledged + lost + queued`, always.

    `refused` counts calls that raised `BufferFull` (or got False): those events were never `emitted`.
    """

    emitted: int = 0
    acknowledged: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """By reason: the broker refused them, or did not confirm them in time."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason: left the buffer unsent."""
    refused: int = 0
    last_error: str | None = None
    """The trouble that keeps events waiting now, if there is one."""

    @property
    def lost(self) -> int:
        """Failed and dropped events together."""
        return sum(self.failed.values()) + sum(self.dropped.values())

    @property
    def queued(self) -> int:
        """Events whose fate is not known yet."""
        return self.emitted - self.acknowledged - self.lost
