"""Rule files: every rule that can be judged, and everything that is wrong with the others, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atalaia.alerting.rules import Rule, RuleError
from atalaia.alerting.writing import promfile
from atalaia.alerting.writing.document import SYNONYMS, from_document
from atalaia.alerting.writing.locating import within
from atalaia.alerting.writing.source import MAX_BYTES, Node, SourceError, read


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a rule file. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is written; `node` finds its fields."""

    file: str
    node: Node
    text: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    """Fields that the rule has from where it stands."""

    def problem(self, path: tuple[str | int, ...], message: str, at: tuple[int, int] | None = None) -> Problem:
        """A problem with what lies at `path` in the rule, whichever way its fields are spelled there.

        `at` is the line and column within the text there.
        """
        found = self._as_written(path)
        line, column = self.node.place(found)
        if at is not None:
            line, column = within(self.text, self.node.nearest(found), at)
        return Problem(self.file, line, column, message)

    def _as_written(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        written = self.node.value if isinstance(self.node.value, dict) else {}
        if not path or path[0] in written:
            return path
        if path[0] == "annotations" and path[1:] and path[1] in written:
            return path[1:]
        return (next((name for name in written if SYNONYMS.get(name) == path[0]), path[0]), *path[1:])


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: one bad rule keeps no other from being here."""

    rules: tuple[Rule, ...]
    places: dict[str, Place]
    problems: tuple[Problem, ...]


def load_files(paths: Iterable[Path]) -> Loaded:
    """The rules of several files. Ids must differ over all of them: of two, the first one stands."""
    texts, problems = [], []
    for path in paths:
        try:
            texts.append((str(path), _text(path)))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            problems.append(Problem(str(path), 1, 1, f"cannot be read: {reason}"))
    loaded = load_texts(texts)
    return Loaded(loaded.rules, loaded.places, tuple(sorted((*problems, *loaded.problems))))


def load_texts(texts: Iterable[tuple[str, str]]) -> Loaded:
    """The same for texts, each with the name to report it by.

    >>> loaded = load_texts([("x.yaml", "rules: [{name: Slow, metric: api_response_time, condition: '> fast'}]")])
    >>> print(loaded.problems[0])
    x.yaml:1:49: condition is '> fast'; write one of >, <, >=, <=, ==, != in quotes, or with a number, as in '> 500'
    """
    rules: dict[str, Rule] = {}
    places: dict[str, Place] = {}
    problems: list[Problem] = []
    for file, text in texts:
        for place in _rules_of(file, text, problems):
            try:
                rule = from_document(place.node.plain() | place.more)
            except RuleError as exc:
                said = (place.problem(fault.path, fault.in_place, fault.at) for fault in exc.faults)
                problems.extend(said)
                continue
            if (first := places.get(rule.rule_id)) is not None:
                where = f"{first.file}:{first.node.line}"
                problems.append(place.problem((), f"rule {rule.rule_id!r} is already at {where}; give it another id"))
            else:
                rules[rule.rule_id], places[rule.rule_id] = rule, place
    return Loaded(tuple(rules.values()), places, tuple(sorted(problems)))


_SHAPE: Final = "write a list of rules under `rules:`, groups as Prometheus has them, or a single rule"


def _rules_of(file: str, text: str, problems: list[Problem]) -> Iterator[Place]:
    """The nodes of a text that should be rules: under `rules`, in a list, or a document by itself."""
    try:
        documents = read(text)
    except SourceError as exc:
        problems.append(Problem(file, exc.line, exc.column, exc.message))
        return
    for document in documents:
        listed: Node = document
        if isinstance(document.value, dict) and "rules" in document.value:
            listed = document.value["rules"]
            problems.extend(
                Problem(file, *document.place((name,)), f"{name[:60]} is not understood beside rules")
                for name in document.value
                if name != "rules"
            )
        elif isinstance(document.value, dict) and "groups" in document.value:
            yield from _rules_of_groups(Place(file, document, text), problems)
            continue
        for node in listed.value if isinstance(listed.value, list) else [listed]:
            if isinstance(node.value, dict):
                yield Place(file, node, text)
            elif node.value is not None:
                problems.append(Problem(file, node.line, node.column, f"is not a rule; {_SHAPE}"))


def _rules_of_groups(document: Place, problems: list[Problem]) -> Iterator[Place]:
    """The rules of a file as Prometheus has them."""
    assert isinstance(document.node.value, dict)
    problems.extend(
        document.problem((name,), f"{name[:60]} is not understood beside groups")
        for name in document.node.value
        if name != "groups"
    )
    for found in promfile.rules_of(document.node.value["groups"]):
        place = Place(document.file, found.node, document.text, found.more)
        if found.problem is None:
            yield place
        else:
            problems.append(place.problem(found.path, found.problem))


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has over {MAX_BYTES // 1024**2} MiB; split it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ValueError(f"byte {exc.start} is not UTF-8") from exc
