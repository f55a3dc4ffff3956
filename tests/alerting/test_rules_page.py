"""The page on rules tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.rules import Channel, condition_text
from atalaia.alerting.writing.document import SEVERITIES, SYNONYMS
from atalaia.alerting.writing.lint import lint
from atalaia.alerting.writing.loader import load_texts

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
EXAMPLES = re.findall(r"```(?:json|yaml)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_rule_beyond_doubt(example: str) -> None:
    """What people copy works, and lints clean."""
    loaded = load_texts([("docs/rules.md", example)])
    assert loaded.problems == ()
    assert loaded.rules
    assert [fault for rule in loaded.rules for fault in lint(rule)] == []


def test_the_installed_rules_are_the_ones_described() -> None:
    """Id, condition and severity of each, in the table."""
    for rule in builtin_rules():
        assert f"| `{rule.rule_id}` | `{condition_text(rule)}` | {rule.severity} |" in PAGE


def test_nothing_is_left_out() -> None:
    """Every aggregate, channel, severity and spelling is on the page."""
    for name in (*Aggregate, *Channel, *SEVERITIES, *SYNONYMS):
        assert f"`{name}`" in PAGE or f"`{name.upper()}`" in PAGE
