"""The background thread: takes events from the buffer, hands them to librdkafka, hears what became of them.

It alone touches librdkafka, so no caller ever waits for that, and a fork finds nobody inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message

from atalaia.producers import lifecycle
from atalaia.producers.buffer import Bounds, Buffer, Waiting
from atalaia.producers.errors import DeliveryError
from atalaia.producers.frames import Frames
from atalaia.producers.outcomes import Delivery, OnDelivery, Stats
from atalaia.producers.records import EVENT_ID
from atalaia.producers.reporter import Reporter
from atalaia.producers.schema_ids import SchemaIds
from atalaia.producers.tracing import HEADER, own_traceparent
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH, Topic

log = logging.getLogger("atalaia.producers")

TOPICS: Final = (SERVICE_HEALTH, METRICS)
"""The rare one first: it must not wait behind the other."""
_MOST_AT_ONCE: Final = 256
"""Events between two looks at deliveries: under a millisecond in which callers may wait for the GIL."""
_TICK_SECONDS: Final = 0.005
_IDLE_SECONDS: Final = 1.0
"""librdkafka wants to be polled now and then, for its errors and tokens."""
_STOP_SECONDS: Final = 1.0
_FRAME_BYTES: Final = 5
_EVENT_ID_IN_FRAME: Final = slice(_FRAME_BYTES + EVENT_ID.start, _FRAME_BYTES + EVENT_ID.stop)
CLOSED: Final = "closed"
_FATAL: Final = "fatal"

_REMEDIES: Final = {
    "unknown_topic": "run `atalaia schemas register`, or check the cluster",
    "unknown_topic_or_part": "run `atalaia schemas register`, or check the cluster",
    "msg_timed_out": "no broker confirmed it in time (message.timeout.ms); it may or may not be in the topic",
    "topic_authorization_failed": "the service's Kafka principal may not write to the topic",
    "all_brokers_down": "is Kafka up, and is the bootstrap address right?",
    "resolve": "check the bootstrap address",
    CLOSED: "close() came first; what was in flight may be in the topic all the same",
}


class Courier:
    """One thread a process, started by the buffer's first event.

    `connect` makes a librdkafka client that calls `on_settled` and `on_client_error`.
    """

    def __init__(self, bounds: Bounds, connect: Callable[[Courier], Any], ids: SchemaIds, reporter: Reporter) -> None:
        self._connect = connect
        self._ids = ids
        self._reporter = reporter
        self._most_at_once = max(1, min(_MOST_AT_ONCE, bounds.events // 4))
        self.buffer = Buffer(
            bounds, tuple(topic.name for topic in TOPICS), start_courier=self._start, on_dropped=self._tell_dropped
        )
        self._client: Any = None
        self._forget()
        self._client = connect(self)  # here, so that a wrong configuration is an error of the constructor
        lifecycle.enlist(self)

    def _forget(self) -> None:
        self._client = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._frames = Frames(self._ids, self._trouble)
        self._handing: deque[Waiting] = deque()
        self._handing_topic: Topic = METRICS
        self._purge_reason = CLOSED
        self._acknowledged = 0
        self._failed: Counter[str] = Counter()

    # ── for the producer ──────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout_seconds: float) -> Stats:
        """Send what waits, for at most this long; what is left then is lost, and counted so."""
        already_closed = self.buffer.closed
        self.buffer.close()
        self.buffer.wait_until_settled(timeout_seconds)
        self._stopping = True
        if self._thread is None:
            self._client = None
        else:
            self._thread.join(_STOP_SECONDS)  # it may be asking the registry: then it gives up in its own time
        self.buffer.drop_waiting(CLOSED)
        lifecycle.dismiss(self)
        stats = self.buffer.stats()
        if (stats.lost or stats.queued) and not already_closed:
            lost = ", ".join(f"{count} {reason}" for reason, count in {**stats.failed, **stats.dropped}.items())
            log.warning("closed: of %d events %d are acknowledged; lost: %s", stats.emitted, stats.acknowledged, lost)
        return stats

    def retire(self) -> None:
        """Nobody holds the producer any more: send what waits, then end. Never blocks."""
        self.buffer.close()
        if self._thread is None:
            lifecycle.dismiss(self)

    # ── around a fork ─────────────────────────────────────────────────────────────────────────────────────

    def before_fork(self) -> None:
        """The buffer must be whole when it is copied."""
        self.buffer.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self.buffer.lock.release()

    def after_fork_in_child(self) -> None:
        """Start afresh: the parent sends its own events, over its own connections."""
        if self._client is not None:
            # Its threads did not come along: to destroy it would wait for them for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._client))
        closed = self.buffer.closed
        self._reporter.reset()
        self.buffer.reset()
        self._forget()
        if closed:
            self.buffer.close()

    # ── the thread ────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="atalaia-producer", daemon=True)
            self._thread.start()
            lifecycle.close_when_process_ends()

    def _run(self) -> None:
        self.buffer.courier_thread = threading.get_ident()
        while not self._stopping:
            try:
                if not self._step() and self.buffer.closed and not self.buffer.stats().queued:
                    break
            except KafkaException as exc:  # librdkafka's word that the client is beyond repair
                self._replace_client(exc.args[0])
            except Exception as exc:  # the outermost loop: a courier that died would lose events without a word
                log.exception("the producer's thread stumbled; events wait")
                self._trouble(DeliveryError("bug", f"events wait in the buffer: {exc!r}"))
                time.sleep(_IDLE_SECONDS)
        self._give_up()
        self._client = None
        lifecycle.dismiss(self)

    def _step(self) -> bool:
        """Move what can be moved; False when there was nothing to do."""
        if self._client is None:
            self._client = self._connect(self)
        client = self._client
        now = monotonic()
        for topic in TOPICS:
            if self._wants_frame(topic) and not self._frames.seconds_until_due(topic, now):
                self._frames.look_up(topic, now)
        moved = self._hand_over(client)
        busy = moved or bool(self._handing) or len(client) > 0
        client.poll(0 if moved or not busy else _TICK_SECONDS)
        self._settle()
        if busy:
            return True
        if self.buffer.closed:
            client.poll(_TICK_SECONDS)
        else:
            ready, seconds = self._what_to_wait_for(now)
            self.buffer.sleep_until_work(ready, seconds)
        return False

    def _wants_frame(self, topic: Topic) -> bool:
        return self._frames.known(topic) is None and self.buffer.has_waiting(topic.name)

    def _what_to_wait_for(self, now: float) -> tuple[list[str], float]:
        """An event of any topic but those that lack a frame, or the time to ask for it again."""
        pauses = {topic.name: self._frames.seconds_until_due(topic, now) for topic in TOPICS}
        ready = [name for name, pause in pauses.items() if not pause]
        return ready, min([_IDLE_SECONDS, *(pause for pause in pauses.values() if pause)])

    def _hand_over(self, client: Any) -> bool:
        """Give the next few events to librdkafka; False where there are none, or it has no room."""
        if not self._handing:
            self._take()
        topic = self._handing_topic
        frame = self._frames.known(topic)
        moved = False
        while frame and self._handing:
            body, key, trace, on_delivery = self._handing[0]
            try:
                client.produce(
                    topic.name,
                    frame + body,
                    key=key,
                    headers=[(HEADER, trace or own_traceparent(body[EVENT_ID]))],
                    on_delivery=None if on_delivery is None else partial(self._tell, on_delivery),
                )
            except BufferError:
                break
            except KafkaException as exc:
                if exc.args[0].code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own name, which is public there
                    raise
                self._handing.popleft()
                self._lose(exc.args[0], topic.name, body[EVENT_ID], on_delivery)
                continue
            self._handing.popleft()
            moved = True
        return moved

    def _take(self) -> None:
        for topic in TOPICS:
            if self._frames.known(topic) is not None and self.buffer.has_waiting(topic.name):
                self._handing_topic = topic
                self._handing.extend(self.buffer.take(topic.name, self._most_at_once))
                return

    # ── what became of events ─────────────────────────────────────────────────────────────────────────────

    def on_settled(self, error: KafkaError | None, message: Message) -> None:
        """What became of an event that nobody asked about: the usual case, so it only counts."""
        if error is None:
            self._acknowledged += 1
        else:
            self._lose(error, message.topic(), message.value()[_EVENT_ID_IN_FRAME], None)

    def on_client_error(self, error: KafkaError) -> None:
        """A trouble between librdkafka and the cluster: events wait."""
        reason = _reason(error)
        self._trouble(DeliveryError(reason, _explain(f"Kafka: {error.str()}", reason)))

    def _tell(self, on_delivery: OnDelivery, error: KafkaError | None, message: Message) -> None:
        event_id = message.value()[_EVENT_ID_IN_FRAME]
        if error is not None:
            self._lose(error, message.topic(), event_id, on_delivery)
            return
        self._acknowledged += 1
        self._settle()  # whoever is told finds it counted
        delivery = Delivery(message.topic(), message.partition(), message.offset(), event_id.decode())
        self._reporter.settled(delivery, on_delivery)

    def _lose(self, error: KafkaError, topic: str, event_id: bytes, on_delivery: OnDelivery | None) -> None:
        reason = _reason(error)
        if reason.startswith("purge"):
            reason = self._purge_reason
        self._fail(reason, error.str(), (topic, event_id), on_delivery)

    def _fail(self, reason: str, text: str, event: tuple[str, bytes], on_delivery: OnDelivery | None) -> None:
        self._failed[reason] += 1
        self._settle()
        topic, event_id = event
        message = _explain(f"an event for {topic} was not delivered: {text}", reason)
        self._reporter.settled(DeliveryError(reason, message, topic=topic, event_id=event_id.decode()), on_delivery)

    def _settle(self) -> None:
        if self._acknowledged or self._failed:
            acknowledged, failed = self._acknowledged, self._failed
            self._acknowledged, self._failed = 0, Counter()
            self.buffer.settle(acknowledged, failed)

    def _trouble(self, error: DeliveryError) -> None:
        self.buffer.last_error = str(error)
        self._reporter.trouble(error)

    def _tell_dropped(self, entry: Waiting, reason: str) -> None:
        body, _, _, on_delivery = entry
        message = _explain("an event was dropped unsent", reason)
        self._reporter.settled(DeliveryError(reason, message, event_id=body[EVENT_ID].decode()), on_delivery)

    # ── the end, of the thread or of a client ─────────────────────────────────────────────────────────────

    def _give_up(self) -> None:
        """Every event that is left is lost, and told so."""
        for body, _, _, on_delivery in self._handing:
            self._fail(CLOSED, CLOSED, (self._handing_topic.name, body[EVENT_ID]), on_delivery)
        self._handing.clear()
        if self._client is not None:
            self._purge(CLOSED)

    def _replace_client(self, error: KafkaError) -> None:
        """What was in flight is lost; what waits goes out through a new client."""
        self._trouble(DeliveryError(_FATAL, f"Kafka: {error.str()}; what was in flight is lost, connecting anew"))
        self._purge(_FATAL)
        self._client = None

    def _purge(self, reason: str) -> None:
        self._purge_reason = reason
        self._client.purge()
        deadline = monotonic() + _STOP_SECONDS / 2
        while len(self._client) and monotonic() < deadline:
            with contextlib.suppress(KafkaException):  # it says again that it is beyond repair
                self._client.poll(_TICK_SECONDS)
        self._settle()


def _reason(error: KafkaError) -> str:
    """One word: librdkafka's own name of the error, as `msg_timed_out`."""
    return str(error.name()).strip("_").lower()


def _explain(text: str, reason: str) -> str:
    remedy = _REMEDIES.get(reason)
    return f"{text}; {remedy}" if remedy else text
