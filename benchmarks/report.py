"""Figures, what they are held against, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `target` with `at_least` False is a ceiling; without one the number is only said."""

    name: str
    value: float | None
    unit: str
    target: float | None = None
    at_least: bool = True
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or a value.

        >>> Figure("memory", 1.5, "GiB", target=2, at_least=False).met
        True
        """
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def write(path: Path, head: dict[str, Any], figures: Sequence[Figure]) -> None:
    """The run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"met": figure.met} for figure in figures]
    path.write_text(json.dumps(head | {"figures": rows}, indent=2) + "\n", "utf-8")


def show(console: Console, head: dict[str, Any], figures: Sequence[Figure]) -> None:
    """The run as a table for people."""
    where = head["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    console.print(f"{where['cpu']}, {where['cores']} cores, {where['memory_gib']} GiB; {head['date']}", highlight=False)
    console.print(versions, highlight=False)
    table = Table("what", "measured", "aim", "", "note", show_edge=False)
    for figure in figures:
        table.add_row(figure.name, _quantity(figure), _aim(figure), _mark(figure), figure.note)
    console.print(table)


def number(value: float) -> str:
    """A number with the digits that matter.

    >>> number(167_432.1), number(63.04), number(1.537)
    ('167,432', '63.0', '1.54')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits matter


def _quantity(figure: Figure) -> str:
    return "not measured" if figure.value is None else f"{number(figure.value)} {figure.unit}"


def _aim(figure: Figure) -> str:
    return "" if figure.target is None else f"{'≥' if figure.at_least else '≤'} {number(figure.target)}"


def _mark(figure: Figure) -> str:
    return {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
