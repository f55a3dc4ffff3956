"""The W3C `traceparent` of a record."""

from __future__ import annotations

import sys
from typing import Final

HEADER: Final = "traceparent"
_NOT_SAMPLED: Final = b"00"


def active_traceparent() -> bytes | None:
    """That of the span that OpenTelemetry has open here; None where there is none.

    OpenTelemetry is never imported: a service that traces has done so.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}".encode()


def own_traceparent(event_id: bytes) -> bytes:
    """One made of the event's own id: unique a record, and the event is found by its trace.

    Of a UUIDv7, the last eight bytes begin with the variant (never zero) and are random, as a span id must be.

    >>> own_traceparent(b"019be8f5-9d2c-7c3b-8a1f-0c2d3e4f5a6b")
    b'00-019be8f59d2c7c3b8a1f0c2d3e4f5a6b-8a1f0c2d3e4f5a6b-00'
    """
    digits = event_id.replace(b"-", b"")
    return b"00-%b-%b-%b" % (digits, digits[16:], _NOT_SAMPLED)
