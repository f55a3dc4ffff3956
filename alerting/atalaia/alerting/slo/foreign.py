"""Files in other systems' forms: fields that know where they are written, and refusals with that place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from atalaia.alerting.slo.objectives import Slo, SloError
from atalaia.alerting.writing import fields
from atalaia.alerting.writing.loader import Problem
from atalaia.alerting.writing.source import Node


class RefusedError(Exception):
    """Something that cannot be had here; `problem` says where it stands and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class Imported:
    """What was understood, what was not, and what was left out of the former."""

    slos: list[Slo] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a file, under its name there."""

    file: str
    source: str
    """The whole text of the file."""
    node: Node
    name: str = ""

    def get(self, name: str) -> Field | None:
        """The field of that name in this mapping; None where it is absent or null."""
        node = self._mapping().get(name)
        return None if node is None or node.value is None else Field(self.file, self.source, node, name)

    def need(self, name: str) -> Field:
        """The same, refused where it is absent."""
        found = self.get(name)
        return found if found is not None else self.refuse(f"{name} is missing")

    def names(self) -> list[str]:
        """The names of this mapping's fields."""
        return list(self._mapping())

    def items(self) -> Iterator[Field]:
        """The entries of this list."""
        if not isinstance(self.node.value, list):
            self.refuse(f"{self.name} must be a list")
        for number, node in enumerate(self.node.value):
            yield Field(self.file, self.source, node, f"{self.name}[{number}]")

    def text(self) -> str:
        """The text that this is; a number is what it looks like."""
        value = self.node.value
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.refuse(f"{self.name} must be text")
        return str(value)

    def number(self) -> float:
        """The number that this is."""
        try:
            return fields.number(self.node.value)
        except ValueError as exc:
            self.refuse(f"{self.name} {exc}")

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.node.value, bool):
            self.refuse(f"{self.name} must be true or false")
        return self.node.value

    def texts(self) -> dict[str, str]:
        """This mapping of names to texts."""
        named = {name: self.get(name) for name in self.names()}
        return {name: found.text() for name, found in named.items() if found is not None}

    def option(self, name: str) -> str | None:
        """The text of a field, None where it is absent."""
        found = self.get(name)
        return found.text() if found is not None else None

    def problem(self, message: str) -> Problem:
        """A problem with this, at its name."""
        line, column = self.node.key or (self.node.line, self.node.column)
        return Problem(self.file, line, column, message)

    def refuse(self, message: str) -> NoReturn:
        """Raises `RefusedError` at this place."""
        raise RefusedError(self.problem(message))

    def refuse_within(self, message: str, line: int, column: int) -> NoReturn:
        """The same at a line and column, from 1, within this text."""
        raise RefusedError(Problem(self.file, *self._place_within(line, column), message))

    def faults(self, error: SloError) -> list[Problem]:
        """The faults of the objective that was made of this."""
        return [self.problem(str(fault)) for fault in error.faults]

    def _place_within(self, line: int, column: int) -> tuple[int, int]:
        """A place in the file: exact but for escapes in quoted texts and the lines of folded ones."""
        lines = self.source.splitlines()
        begins = lines[self.node.line - 1][self.node.column - 1 :][:1] if self.node.line <= len(lines) else ""
        if begins == "|":
            first = next((text for text in lines[self.node.line :] if text.strip()), "")  # its indentation is left out
            return self.node.line + line, len(first) - len(first.lstrip()) + column
        if begins == ">":
            return self.node.line + 1, 1
        if line > 1:
            return self.node.line, self.node.column
        return self.node.line, self.node.column + (begins in {'"', "'"}) + column - 1

    def _mapping(self) -> dict[str, Node]:
        if not isinstance(self.node.value, dict):
            self.refuse(f"{self.name or 'this'} must be a mapping of fields")
        return self.node.value
