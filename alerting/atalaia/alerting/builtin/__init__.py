"""The rules that come installed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from atalaia.alerting.rules import Rule
from atalaia.alerting.writing.loader import load_texts


@cache
def builtin_rules() -> tuple[Rule, ...]:
    """The rules of F3 and A3, in the order of their files.

    >>> [rule.rule_id for rule in builtin_rules()][:2]
    ['low-revenue', 'slow-api']
    """
    found = [entry for entry in files(__name__).iterdir() if entry.name.endswith(".yaml")]
    texts = sorted((entry.name, entry.read_text("utf-8")) for entry in found)
    loaded = load_texts(texts)
    assert not loaded.problems, loaded.problems
    return loaded.rules
