"""Whether readers of one schema can read what was written with another, and if not, why, in plain words.

The verdict is Apache Avro's (`avro.compatibility`); the words are ours. Used by the local registry and by
`atalaia schemas check`. Needs the `avro` package, which the `server` extra brings.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import avro.errors
import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityResult, SchemaCompatibilityType
from fastavro.schema import SchemaParseException, UnknownType

_COMPOSITE = {"record", "enum", "fixed", "array", "map"}


class Level(StrEnum):
    """What a new schema owes to the earlier ones (Confluent's compatibility types)."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def transitive(self) -> bool:
        """Whether every earlier version counts, and not the last alone."""
        return self.endswith("_TRANSITIVE")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Who must be able to read whose records."""
        name = self.removesuffix("_TRANSITIVE")
        backward = (Direction.BACKWARD,) if name in {"BACKWARD", "FULL"} else ()
        forward = (Direction.FORWARD,) if name in {"FORWARD", "FULL"} else ()
        return (*backward, *forward)


class Direction(StrEnum):
    """Who reads whose records."""

    BACKWARD = "a consumer with the new schema can't read old records"
    FORWARD = "a consumer with the old schema can't read new records"


class NotASchema(Exception):  # noqa: N818  (it says what the text is)
    """The text is not an Avro schema; the message says why."""


@dataclass(frozen=True, slots=True)
class Break:
    """One reason why a new schema is refused. `version` is the earlier version's, when the caller knows it."""

    path: str
    what: str
    direction: Direction
    remedy: str
    version: int | None = None

    def __str__(self) -> str:
        against = "" if self.version is None else f" (against version {self.version})"
        return f"{self.what}: {self.direction.value}{against}; {self.remedy}"


def parse(text: str) -> avro.schema.Schema:
    """The schema of a JSON text; `NotASchema` says what is wrong, a default of the wrong type included."""
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise NotASchema(f"not JSON: {exc}") from exc
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown logical type is legal: readers fall back to the base type
            schema = avro.schema.make_avsc_object(raw)
            fastavro.parse_schema(raw, _force=True)  # Apache's Python parser doesn't look at defaults
    except (avro.errors.AvroException, SchemaParseException) as exc:
        raise NotASchema(str(exc)) from exc
    except UnknownType as exc:
        raise NotASchema(f"unknown type {exc.name!r}") from exc
    except (TypeError, AttributeError, KeyError, ValueError) as exc:  # how both parsers fail on odd shapes
        raise NotASchema(f"not an Avro schema ({exc})") from exc
    return schema


def check(new: str, earlier: Sequence[tuple[int | None, str]], level: Level) -> list[Break]:
    """Why `new` may not follow `earlier` (version and text, oldest first) at this level; empty when it may.

    >>> old = '{"type": "record", "name": "Sale", "fields": [{"name": "value", "type": "double"}]}'
    >>> new = old.replace('[', '[{"name": "unit", "type": "string"}, ')
    >>> print(*check(new, [(1, old)], Level.BACKWARD_TRANSITIVE))
    field 'unit' was added without a default: a consumer with the new schema can't read old records \
(against version 1); give it a default
    >>> check(new, [(1, old)], Level.FORWARD)
    []
    """
    fresh = parse(new)
    judged = earlier if level.transitive else earlier[-1:]
    return [
        Break(found.path, found.what, found.direction, found.remedy, version)
        for version, text in reversed(judged)
        for direction in level.directions
        for found in _breaks(fresh, parse(text), direction)
    ]


def _breaks(new: avro.schema.Schema, old: avro.schema.Schema, direction: Direction) -> list[Break]:
    reader, writer = (new, old) if direction is Direction.BACKWARD else (old, new)
    if _readable(reader, writer):
        return []
    found = list(_Explanation(direction).of(reader, writer, ""))
    return found or [_unexplained(reader, writer, direction)]


def _apache(reader: avro.schema.Schema, writer: avro.schema.Schema) -> SchemaCompatibilityResult:
    return ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)  # type: ignore[no-untyped-call]


def _readable(reader: avro.schema.Schema, writer: avro.schema.Schema) -> bool:
    result = _apache(reader, writer)
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


def _unexplained(reader: avro.schema.Schema, writer: avro.schema.Schema, direction: Direction) -> Break:
    result = _apache(reader, writer)
    said = "; ".join(sorted(result.messages)) or "the schemas differ"
    return Break("", f"incompatible ({said})", direction, "undo the change")


class _Explanation:
    """Finds the innermost differences of two schemas that Apache's checker calls incompatible."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._seen: set[tuple[int, int]] = set()

    def of(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        """The breaks of a pair, the outermost first; nothing for a pair that is readable or was seen."""
        if (id(reader), id(writer)) in self._seen or _readable(reader, writer):
            return
        self._seen.add((id(reader), id(writer)))
        if "union" in {reader.type, writer.type}:
            yield from self._union(reader, writer, path)
        elif reader.type != writer.type:
            yield self._types_differ(reader, writer, path)
        elif reader.type == "array":
            yield from self.of(reader.items, writer.items, f"{path}[]")
        elif reader.type == "map":
            yield from self.of(reader.values, writer.values, f"{path}{{}}")
        else:
            yield from self._named(reader, writer, path)

    def _named(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        if reader.name != writer.name and writer.fullname not in (reader.props.get("aliases") or ()):
            old, new = self._old_new(reader.fullname, writer.fullname)
            yield self._break(
                path, f"{_at(path)}{reader.type} {old!r} was renamed {new!r}", "keep the name, or add an alias"
            )
        if reader.type == "fixed" and reader.size != writer.size:
            old, new = self._old_new(reader.size, writer.size)
            what = f"{_at(path)}fixed {reader.fullname!r} went from {old} to {new} bytes"
            yield self._break(path, what, "keep the size, or add a new field")
        if reader.type == "enum":
            yield from self._enum(reader, writer, path)
        if reader.type == "record":
            yield from self._fields(reader, writer, path)

    def _enum(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        unknown = sorted(set(writer.symbols) - set(reader.symbols))
        if not unknown:
            return
        verb = "lost" if self._direction is Direction.BACKWARD else "gained"
        what = f"{_at(path)}enum {reader.fullname!r} {verb} {', '.join(map(repr, unknown))}"
        keep = "keep the symbols" if verb == "lost" else "leave the symbols out"
        yield self._break(path, what, f"{keep}, or give the enum a default that readers fall back to")

    def _fields(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        for field in reader.fields:
            inner = f"{path}.{field.name}" if path else field.name
            theirs = _written_as(field, writer)
            if theirs is not None:
                yield from self.of(field.type, theirs.type, inner)
            elif not field.has_default and not _enum_default(field.type):
                yield self._missing(inner)

    def _missing(self, path: str) -> Break:
        if self._direction is Direction.BACKWARD:
            return self._break(path, f"field {path!r} was added without a default", "give it a default")
        what = f"field {path!r} was removed, and it had no default"
        return self._break(path, what, "keep it: only a field with a default may go")

    def _union(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        branches = writer.schemas if writer.type == "union" else [writer]
        accepted = reader.schemas if reader.type == "union" else [reader]
        for branch in branches:
            if any(_readable(choice, branch) for choice in accepted):
                continue
            like = [choice for choice in accepted if _name(choice) == _name(branch)]
            if like and branch.type in _COMPOSITE:
                yield from self.of(like[0], branch, path)
            else:
                yield self._branch_gone(branch, reader, writer, path)

    def _branch_gone(self, branch: Any, reader: Any, writer: Any, path: str) -> Break:
        old, new = self._old_new(_name(reader), _name(writer))
        what = f"{_at(path)}type changed from {old} to {new}, and {_name(branch)} is not read any more"
        if self._direction is Direction.FORWARD:
            what = f"{_at(path)}type changed from {old} to {new}, and nobody reads {_name(branch)} yet"
        return self._break(path, what, "keep the old type, or add a new field")

    def _types_differ(self, reader: Any, writer: Any, path: str) -> Break:
        old, new = self._old_new(_name(reader), _name(writer))
        return self._break(
            path, f"{_at(path)}type changed from {old} to {new}", "keep the old type, or add a new field"
        )

    def _old_new(self, reader: Any, writer: Any) -> tuple[Any, Any]:
        return (writer, reader) if self._direction is Direction.BACKWARD else (reader, writer)

    def _break(self, path: str, what: str, remedy: str) -> Break:
        return Break(path, what, self._direction, remedy)


def _at(path: str) -> str:
    return f"field {path!r}: " if path else ""


def _written_as(field: Any, writer: Any) -> Any:
    """The writer's field that Avro resolves to the reader's: by name, else by the reader's aliases."""
    names = [field.name, *(field.props.get("aliases") or ())]
    return next((writer.fields_dict[name] for name in names if name in writer.fields_dict), None)


def _enum_default(schema: Any) -> bool:
    return bool(schema.type == "enum" and schema.props.get("default"))


def _name(schema: Any) -> str:
    """A type as a person writes it."""
    if schema.type == "union":
        return f"[{', '.join(_name(branch) for branch in schema.schemas)}]"
    if schema.type in {"record", "enum", "fixed"}:
        return f"{schema.type} {schema.fullname}"
    return str(schema.type)
