"""Trees as plain values: exact, and refused where they are none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from expression_data import expressions
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.expressions import Expression
from atalaia.alerting.writing import structure

READ: dict[str, Any] = {"read": "cpu_usage", "aggregate": "last", "window": "5m"}


@given(expressions)
def test_every_tree_comes_back(expression: Expression) -> None:
    """Written as JSON and read again, a tree is the same."""
    assert structure.read(json.loads(json.dumps(structure.written(expression)))) == expression


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists), st.data())
def test_any_value_anywhere_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    """Nothing that a parser can produce does more than be refused."""
    whole = {"operator": "/", "left": READ, "right": {"reduce": "sum", "of": READ, "by": []}, "on": []}
    part: dict[str, Any] = data.draw(st.sampled_from([whole, whole["left"], whole["right"]]))
    name = data.draw(st.sampled_from([*part, "where", "offset", "without", "parameter", "quantile", "count_within"]))
    changed = json.loads(json.dumps(whole).replace(json.dumps(part), json.dumps(part | {name: "HERE"})))
    with suppress(ValueError):
        structure.read(_replaced(changed, value))


def _replaced(where: Any, value: Any) -> Any:
    if isinstance(where, dict):
        return {name: _replaced(below, value) for name, below in where.items()}
    return value if where == "HERE" else where


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("up", "has expression, which is 'up'; it must be a mapping"),
        ({}, "has expression with none of read, reduce, apply"),
        (READ | {"aggregate": "median"}, "has expression.aggregate, which is 'median'; choose one of last"),
        (READ | {"window": 5}, "has expression.window, which is 5; it must be a duration"),
        (
            READ | {"where": [["a", "="]]},
            "expression.where, which has a matcher that is not [label, operator",
        ),
        (READ | {"more": 1}, "has expression.more, which is not understood there"),
        ({"read": "cpu_usage", "aggregate": "last"}, "lacks expression.window"),
        ({"operator": "+", "left": 1}, "lacks expression.right"),
        ({"reduce": "sum", "of": {"apply": "abs", "of": 5, "by": []}}, "has expression.of.by, which is not understood"),
        ({"read": "m", "quantile": 2, "window": "5m"}, "has expression.quantile, which is 2; it must be from 0 to 1"),
    ],
)
def test_what_is_refused_and_where(written: Any, said: str) -> None:
    """The path of what is wrong, and what would be right."""
    with pytest.raises(ValueError, match="expression") as caught:
        structure.read(written)
    assert said in str(caught.value)


def test_depth_is_bounded() -> None:
    """A tree that no walk could go down is refused before one tries."""
    deep: Any = READ
    for _ in range(500):
        deep = {"apply": "abs", "of": deep}
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        structure.read(deep)
