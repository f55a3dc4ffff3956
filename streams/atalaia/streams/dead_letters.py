"""A record that cannot count, on its way to `<topic>.dlq`: the original bytes, and headers that say why."""

from __future__ import annotations

from typing import Any

from atalaia.schemas.screening import EXPLANATIONS, Reason

Headers = list[tuple[str, bytes]]


def dead_letter_headers(
    original: Headers | None, *, topic: str, partition: int, offset: int, reason: Reason
) -> Headers:
    """The original's headers, then Kafka Connect's `__connect.errors.*`, so that its tools can read them.

    >>> dict(dead_letter_headers(None, topic="t", partition=0, offset=7, reason=Reason.EMPTY))[
    ...     "__connect.errors.exception.class.name"]
    b'empty_record'
    """
    errors: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "connector.name": "atalaia-streams",
        "task.id": partition,
        "stage": "VALUE_CONVERTER",
        "class.name": "atalaia.streams.columns.Engine",
        "exception.class.name": reason.value,
        "exception.message": EXPLANATIONS[reason],
    }
    return [*(original or []), *((f"__connect.errors.{key}", str(value).encode()) for key, value in errors.items())]
