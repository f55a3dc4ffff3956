"""Durations are read as they are written, and refused with a remedy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting import durations


@given(st.timedeltas(timedelta(), durations.LONGEST).map(lambda some: some - some % timedelta(milliseconds=1)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    """Every duration in whole milliseconds survives being written."""
    assert durations.parse(durations.text(duration)) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "5m1h", "-5m", "1.5h", "5M", "\u0665m", "1h" * 50, "9" * 5000 + "m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused, and the error says how to write one."""
    with pytest.raises(ValueError, match="write it like"):
        durations.parse(text)


@pytest.mark.parametrize("text", ["367d", "999999999w", "53w"])
def test_what_is_absurdly_long_is_refused(text: str) -> None:
    """A duration longer than a year is a slip of the pen."""
    with pytest.raises(ValueError, match="longer than 366d"):
        durations.parse(text)
