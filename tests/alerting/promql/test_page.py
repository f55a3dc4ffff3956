"""The page on PromQL tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atalaia.alerting.expressions import Function, Operator, Reduction
from atalaia.alerting.promql import PromqlError, parse
from atalaia.alerting.promql.reading import RANGED

PAGE = (Path(__file__).parents[3] / "docs" / "promql.md").read_text("utf-8")
UNDERSTOOD, REFUSED = PAGE.split("## What is not, and why")


@pytest.mark.parametrize(
    "name", [*sorted(RANGED), *Reduction, *Function, "quantile_over_time", "histogram_quantile", "absent"]
)
def test_every_function_is_on_the_page(name: str) -> None:
    """What is understood is listed."""
    assert re.search(rf"[`(]{name}[`(]", UNDERSTOOD)


def test_every_operator_is_on_the_page() -> None:
    """Arithmetic in one go, comparisons as such, the others by name."""
    assert "`+ - * / % ^`" in UNDERSTOOD
    assert all(f"`{name}`" in UNDERSTOOD for name in (Operator.AND, Operator.OR, Operator.UNLESS, "group_left"))


@pytest.mark.parametrize("name", re.findall(r"`([a-z_0-9]+)`", REFUSED.split("Limits:")[0].split("Differences")[0]))
def test_what_the_page_refuses_is_refused(name: str) -> None:
    """Each function that is said not to be understood is not."""
    if name in {"record", "or", "rate", "absent_for", "fill", "atan2"}:  # fields, remedies, operators
        return
    forms = (f"{name}()", f"{name}(up)", f"{name}(up[5m])", f"{name}(up[5m], 5)", f"{name}(5, up)")
    for form in (*forms, f"{name}('x', up)", f"{name}(up, 'a', 'b', 'c', 'd')", f"{name}(up, 'a', 'b')"):
        with pytest.raises(PromqlError):
            parse(form)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("http_requests_total", "http_requests"),
        ("http_response_size_bytes", "http_response_size"),
        ("up", "service_up"),
        ("process_resident_memory_bytes", "memory_resident"),
        ("node_load1", "load_average"),
        ("http_request_duration_seconds", "http_request_duration_seconds"),
        ("our_own_total", "our_own_total"),
    ],
)
def test_names_as_the_page_has_them(written: str, means: str) -> None:
    """Taken for ours where both mean the same, in the same unit."""
    assert parse(f"absent({written}{{job='a'}})") == parse(f"absent({means}{{service_name='a'}})")
