"""Every record carries a W3C traceparent."""

from __future__ import annotations

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import uuid_utils

from atalaia.producers.tracing import active_traceparent, own_traceparent

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
VALID = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def test_a_traceparent_of_our_own_is_valid_and_unique() -> None:
    """Made of the event's id: its trace, and a span that no other event has."""
    headers = [own_traceparent(str(uuid_utils.uuid7()).encode()) for _ in range(10_000)]
    assert all(VALID.fullmatch(header) for header in headers)
    assert len({header.split(b"-")[2] for header in headers}) == len(headers)


def test_without_opentelemetry_there_is_no_active_span() -> None:
    """And it is not imported to find out."""
    before = "opentelemetry" in sys.modules
    assert active_traceparent() is None
    assert ("opentelemetry" in sys.modules) is before


@pytest.mark.parametrize("valid", [True, False])
def test_the_open_span_is_the_parent(monkeypatch: pytest.MonkeyPatch, *, valid: bool) -> None:
    """Where OpenTelemetry has an open span, the record continues its trace."""
    context = SimpleNamespace(is_valid=valid, trace_id=0xABC, span_id=0xDEF, trace_flags=1)
    trace = ModuleType("opentelemetry.trace")
    trace.get_current_span = lambda: SimpleNamespace(get_span_context=lambda: context)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
    expected = b"00-00000000000000000000000000000abc-0000000000000def-01" if valid else None
    assert active_traceparent() == expected
