"""Files of objectives: every one that can be watched, and everything that is wrong with the others, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atalaia.alerting.rules import RuleError
from atalaia.alerting.slo.burn import rules_of
from atalaia.alerting.slo.document import from_document
from atalaia.alerting.slo.objectives import Slo
from atalaia.alerting.writing.document import identifier
from atalaia.alerting.writing.loader import Problem
from atalaia.alerting.writing.source import MAX_BYTES, Node, SourceError, read

SHAPE: Final = "write a list of objectives under `slos:`"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an objective is written; `node` finds its fields."""

    file: str
    node: Node

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem with what lies at `path` in the objective."""
        line, column = self.node.place(path)
        return Problem(self.file, line, column, message)


@dataclass(frozen=True, slots=True)
class LoadedSlos:
    """What was read: one bad objective keeps no other from being here."""

    slos: tuple[Slo, ...]
    places: dict[str, Place]
    """By the objective's name."""
    problems: tuple[Problem, ...]


def load_files(paths: Iterable[Path]) -> LoadedSlos:
    """The objectives of several files. Names must differ over all of them: of two, the first one stands."""
    texts, problems = texts_of(paths)
    loaded = load_texts(texts)
    return LoadedSlos(loaded.slos, loaded.places, tuple(sorted((*problems, *loaded.problems))))


def load_texts(texts: Iterable[tuple[str, str]]) -> LoadedSlos:
    """The same for texts, each with the name to report it by.

    >>> text = "slos: [{name: api, service: api, objective: 995, sli: {values: up, at_most: 1}}]"
    >>> print(load_texts([("x.yaml", text)]).problems[0])
    x.yaml:1:34: objective is 995; it is the share of good events in per cent, above 0 and below 100, such as 99.5
    """
    slos: dict[str, Slo] = {}
    places: dict[str, Place] = {}
    problems: list[Problem] = []
    for file, text in texts:
        for place in _slos_of(file, text, problems):
            try:
                slo = from_document(place.node.plain())
                rules_of(slo)
            except RuleError as exc:
                problems.extend(place.problem(fault.path, str(fault)) for fault in exc.faults)
                continue
            # Their rules' ids are made from the names, so these must differ there too.
            if (first := places.get(identifier(slo.name))) is not None:
                where = f"{first.file}:{first.node.line}"
                problems.append(place.problem(("name",), f"name {slo.name!r} is already at {where}; give another"))
            else:
                slos[slo.name], places[identifier(slo.name)] = slo, place
    return LoadedSlos(tuple(slos.values()), {name: places[identifier(name)] for name in slos}, tuple(sorted(problems)))


def texts_of(paths: Iterable[Path]) -> tuple[list[tuple[str, str]], list[Problem]]:
    """The texts of files, each with its name, and those that cannot be read."""
    texts, problems = [], []
    for path in paths:
        try:
            texts.append((str(path), _text(path)))
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            problems.append(Problem(str(path), 1, 1, f"cannot be read: {reason}"))
    return texts, problems


def _slos_of(file: str, text: str, problems: list[Problem]) -> Iterator[Place]:
    """The nodes of a text that should be objectives."""
    try:
        documents = read(text)
    except SourceError as exc:
        problems.append(Problem(file, exc.line, exc.column, exc.message))
        return
    for document in documents:
        if not isinstance(document.value, dict):
            problems.append(Problem(file, document.line, document.column, f"is no list of objectives; {SHAPE}"))
            continue
        if foreign := _foreign(document.value):
            problems.append(
                Problem(file, document.line, document.column, f"is {foreign}; see `atalaia slo import {file}`")
            )
            continue
        problems.extend(
            Problem(file, *document.place((name,)), f"{name[:60]} is not understood; {SHAPE}")
            for name in document.value
            if name != "slos"
        )
        listed = document.value.get("slos")
        if listed is None:
            problems.append(Problem(file, document.line, document.column, f"has no objectives; {SHAPE}"))
        elif not isinstance(listed.value, list):
            problems.append(Problem(file, listed.line, listed.column, f"slos is no list; {SHAPE}"))
        else:
            for node in listed.value:
                if isinstance(node.value, dict):
                    yield Place(file, node)
                else:
                    problems.append(Problem(file, node.line, node.column, f"is no objective; {SHAPE}"))


def _foreign(document: dict[str, Node]) -> str | None:
    """Whose form a document has, if it isn't ours."""
    if "apiVersion" in document and "kind" in document:
        return "in another system's form (apiVersion, kind)"
    return "in Sloth's form (version)" if "version" in document else None


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has over {MAX_BYTES // 1024**2} MiB; split it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ValueError(f"byte {exc.start} is not UTF-8") from exc
