"""The page on objectives tells the truth."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from atalaia.alerting import durations
from atalaia.alerting.slo.burn import TABLE, TABLE_WINDOW
from atalaia.alerting.slo.document import FIELDS
from atalaia.alerting.slo.doubts import doubts
from atalaia.alerting.slo.importing import import_texts
from atalaia.alerting.slo.loader import load_texts

PAGE = (Path(__file__).parents[3] / "docs" / "slo.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_beyond_doubt(example: str) -> None:
    """What people copy works: ours is read, and others' imported."""
    imported = import_texts([("docs/slo.md", example)])
    loaded = load_texts([("docs/slo.md", example)])
    slos = imported.slos if "version:" in example else loaded.slos
    assert (imported.problems if "version:" in example else list(loaded.problems)) == []
    assert slos
    assert [fault for slo in slos for fault in doubts(slo)] == []


def test_the_table_is_the_one_that_is_used() -> None:
    """Rates, windows, and what is gone by then."""
    for burn in TABLE:
        long, short = (_spelled(window) for window in (burn.long, burn.short))
        gone = f"{burn.rate * (burn.long / TABLE_WINDOW):.0%}".replace("%", " %")
        assert f"| {burn.urgency} | {burn.rate:g}x | {long} | {short} | {gone} |" in PAGE


def test_no_field_is_left_out() -> None:
    """Every one is on the page."""
    for name in FIELDS:
        assert f"`{name}`" in PAGE


def _spelled(window: timedelta) -> str:
    """A window as the table has it: 5 min, 1 h."""
    return re.sub(r"(\d+)m$", r"\1 min", durations.text(window)).replace("h", " h").replace("d", " d")
