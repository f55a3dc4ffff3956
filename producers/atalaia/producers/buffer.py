"""The bounded buffer between callers and the background thread, and the counts of what became of every event.

Every event is in one place: waiting here, in flight (in librdkafka), or settled. One lock guards it all.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final, TypeAlias

from atalaia.producers.errors import ConfigError, ProducerClosed
from atalaia.producers.outcomes import OnDelivery, Stats
from atalaia.producers.records import Template, avro_text
from atalaia.producers.tracing import active_traceparent


class OnFull(StrEnum):
    """What `emit` does when the buffer is full."""

    BLOCK = "block"
    """Waits, at most `block_timeout`, then raises `BufferFull`."""
    DROP_OLDEST = "drop_oldest"
    """Drops the event that waits longest, counted as dropped{buffer_full}."""
    RAISE = "raise"
    """Raises `BufferFull` at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many events may be unsettled, how many bytes may wait, and what happens beyond."""

    events: int = 100_000
    bytes: int = 64 * 1024 * 1024
    on_full: OnFull = OnFull.BLOCK
    block_timeout_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.events < _LEAST_EVENTS:
            raise ConfigError(f"buffer_events={self.events}: must be at least {_LEAST_EVENTS}")
        if self.bytes < _LEAST_BYTES:
            raise ConfigError(f"buffer_bytes={self.bytes}: must be at least {_LEAST_BYTES}, room for one event")
        if not 0 <= self.block_timeout_seconds < float("inf"):
            raise ConfigError(f"block_timeout={self.block_timeout_seconds}: must be finite seconds, 0 or more")

    @property
    def patience_seconds(self) -> float:
        """How long a caller waits for room."""
        return self.block_timeout_seconds if self.on_full is OnFull.BLOCK else 0.0


Waiting: TypeAlias = tuple[bytes, bytes, bytes | None, OnDelivery | None]
"""Body, key, traceparent, whom to tell. A plain tuple, because one is made for every event."""

_LEAST_EVENTS: Final = 10
_LEAST_BYTES: Final = 64 * 1024
_NOTHING: Final[frozenset[str]] = frozenset()
BUFFER_FULL: Final = "buffer_full"


class Buffer:
    """Accepts events from any thread. `start_courier` is called with a process's first event."""

    def __init__(
        self,
        bounds: Bounds,
        topics: tuple[str, ...],
        *,
        start_courier: Callable[[], None],
        on_dropped: Callable[[Waiting, str], None],
    ) -> None:
        self.bounds = bounds
        self._topics = topics
        self._start_courier = start_courier
        self._on_dropped = on_dropped
        self.reset()

    def reset(self) -> None:
        """Empty, unlocked and counting from zero, as a process of its own: also right after a fork."""
        # Re-entrant: a signal handler or a finalizer may emit while its own thread is in here.
        self.lock = threading.RLock()
        self._work = threading.Condition(self.lock)
        self._progress = threading.Condition(self.lock)
        self._waiting: dict[str, deque[Waiting]] = {topic: deque() for topic in self._topics}
        self._waiting_bytes = 0
        self._sequences: dict[bytes, itertools.count[int]] = {}
        self.producer_id = f"{socket.gethostname()[:100]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._producer_text = avro_text(self.producer_id)
        self._emitted = self._unsettled = self._acknowledged = self._refused = 0
        self._failed: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.last_error: str | None = None
        self.courier_thread: int | None = None
        self._wake_for = frozenset(self._topics)
        self._closed = False

    def put(
        self,
        template: Template,
        value: float,
        at_ms: int,
        on_delivery: OnDelivery | None = None,
        wait_seconds: float | None = None,
    ) -> bool:
        """Accept an event; False where there is no room. `wait_seconds` None means as long as the policy says."""
        trace = active_traceparent()
        evicted: list[Waiting] = []
        try:
            with self.lock:
                if self._closed:
                    raise ProducerClosed("emit after close(); make a new Producer")
                if self._full():
                    if self.bounds.on_full is OnFull.DROP_OLDEST:
                        evicted = self._evict(template.topic.name)
                    if not self._wait_for_room(wait_seconds):
                        return False
                self._accept(template, value, at_ms, trace, on_delivery)
        finally:  # outside the lock: these are other people's callbacks
            for entry in evicted:
                self._on_dropped(entry, BUFFER_FULL)
        return True

    def refuse(self) -> None:
        """Count an event that found no room."""
        with self.lock:
            self._refused += 1

    def has_waiting(self, topic: str) -> bool:
        """Whether events wait for this topic."""
        return bool(self._waiting[topic])

    def take(self, topic: str, most: int) -> list[Waiting]:
        """The events that have waited longest for a topic, in order; the caller settles them."""
        with self.lock:
            waiting = self._waiting[topic]
            taken = [waiting.popleft() for _ in range(min(most, len(waiting)))]
            self._waiting_bytes -= sum([len(entry[0]) for entry in taken])
        return taken

    def settle(self, acknowledged: int, failed: Counter[str]) -> None:
        """Count what became of events that were taken, and wake whoever waits for room or for the end."""
        with self.lock:
            if acknowledged:
                self.last_error = None
            self._acknowledged += acknowledged
            self._failed.update(failed)
            self._unsettled -= acknowledged + failed.total()
            self._progress.notify_all()

    def drop_waiting(self, reason: str) -> None:
        """Drop all that waits, counted and told under this reason."""
        with self.lock:
            dropped = [entry for waiting in self._waiting.values() for entry in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            self._waiting_bytes = 0
            self._count_dropped(reason, len(dropped))
        for entry in dropped:
            self._on_dropped(entry, reason)

    def sleep_until_work(self, topics: list[str], seconds: float) -> None:
        """For the courier: return once an event waits for one of these topics, at close, or after `seconds`."""
        with self.lock:
            if self._closed or any(self._waiting[topic] for topic in topics):
                return
            self._wake_for = frozenset(topics)
            self._work.wait(seconds)
            self._wake_for = _NOTHING

    def wait_until_settled(self, seconds: float) -> Stats:
        """Return once the fate of every event is known, or after `seconds`; then the counts say what is queued."""
        deadline = monotonic() + seconds
        with self.lock:
            if threading.get_ident() == self.courier_thread:
                raise RuntimeError(
                    "flush() and close() wait for the thread that this callback runs in; call them elsewhere"
                )
            while self._unsettled and (left := deadline - monotonic()) > 0:
                self._progress.wait(left)
            return self.stats()

    def close(self) -> None:
        """Accept nothing more, and wake everybody."""
        with self.lock:
            self._closed = True
            self._work.notify_all()
            self._progress.notify_all()

    @property
    def closed(self) -> bool:
        """Whether it accepts nothing more."""
        return self._closed

    def stats(self) -> Stats:
        """The counts, consistent with each other."""
        with self.lock:
            return Stats(
                emitted=self._emitted,
                acknowledged=self._acknowledged,
                failed=dict(self._failed),
                dropped=dict(self._dropped),
                refused=self._refused,
                last_error=self.last_error,
            )

    def _accept(
        self, template: Template, value: float, at_ms: int, trace: bytes | None, on_delivery: OnDelivery | None
    ) -> None:
        key = template.key
        sequence = self._sequences.get(key) or self._sequences.setdefault(key, itertools.count())
        body = template.body(self._producer_text, at_ms, next(sequence), value)
        topic = template.topic.name
        self._waiting[topic].append((body, key, trace, on_delivery))
        self._waiting_bytes += len(body)
        self._emitted += 1
        self._unsettled += 1
        if topic in self._wake_for:
            self._wake_courier()

    def _full(self) -> bool:
        return self._unsettled >= self.bounds.events or self._waiting_bytes >= self.bounds.bytes

    def _wait_for_room(self, wait_seconds: float | None) -> bool:
        if wait_seconds is None:
            wait_seconds = self.bounds.patience_seconds
        if threading.get_ident() == self.courier_thread:
            wait_seconds = 0.0  # a callback that emits would wait for itself
        deadline = monotonic() + wait_seconds
        while self._full():
            left = deadline - monotonic()
            if left <= 0:
                return False
            self._progress.wait(left)
            if self._closed:
                raise ProducerClosed("closed while emit waited for room")
        return True

    def _evict(self, topic: str) -> list[Waiting]:
        """Drop the oldest, of this topic first, until there is room (or nothing is left to drop)."""
        evicted: list[Waiting] = []
        for waiting in (self._waiting[topic], *self._waiting.values()):
            while waiting and self._full():
                entry = waiting.popleft()
                self._waiting_bytes -= len(entry[0])
                self._count_dropped(BUFFER_FULL, 1)
                evicted.append(entry)
        return evicted

    def _count_dropped(self, reason: str, count: int) -> None:
        if count:
            self._dropped[reason] += count
            self._unsettled -= count
            self._progress.notify_all()

    def _wake_courier(self) -> None:
        self._wake_for = _NOTHING
        self._start_courier()
        self._work.notify_all()
