"""What can go wrong for a caller, each as one type that carries its data."""

from __future__ import annotations

from typing import Any

_SHOWN_CHARACTERS = 80


class MetricError(ValueError):
    """An argument that cannot be emitted: which field, its value, and what would be right."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={_short(value)}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.value, self.remedy)


class ConfigError(ValueError):
    """The producer cannot be built from these arguments; the message names the argument and the remedy."""


class BufferFull(Exception):  # noqa: N818 - a state of the world, as queue.Full
    """The event was not accepted: as many as the buffer holds are unacknowledged. Nothing was sent."""


class ProducerClosed(Exception):  # noqa: N818 - a state of the world
    """The event was not accepted: the producer is closed."""


class DeliveryError(Exception):
    """An accepted event that was lost, or (with no `event_id`) a trouble that keeps events waiting.

    `reason` is one word, for counting; the message is for people.
    """

    def __init__(self, reason: str, message: str, *, topic: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.topic = topic
        self.event_id = event_id

    def __reduce__(self) -> tuple[Any, ...]:
        return _delivery_error, (self.reason, str(self), self.topic, self.event_id)


def _delivery_error(reason: str, message: str, topic: str | None, event_id: str | None) -> DeliveryError:
    return DeliveryError(reason, message, topic=topic, event_id=event_id)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001 - a value whose repr raises must not hide the error about the value
        return f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
