"""Whether a schema may follow another, and the words for why not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from hypothesis import given
from hypothesis import strategies as some

from atalaia.schemas import compatibility
from atalaia.schemas.compatibility import Level, NotASchema


def record(*fields: dict[str, Any], name: str = "Sale") -> str:
    """A record schema's text."""
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    """One field."""
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    """An enum type."""
    return {"type": "enum", "name": "Colour", "symbols": list(symbols), **more}


VALUE = field("value", "double")


def said(new: str, old: str, level: Level) -> str:
    """All reasons, joined."""
    return " / ".join(str(found) for found in compatibility.check(new, [(1, old)], level))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (record(VALUE), record(VALUE, field("x", "string")), "field 'x' was added without a default"),
        (record(VALUE), record(field("value", "string")), "field 'value': type changed from double to string"),
        (record(VALUE), record(field("value", "int")), "field 'value': type changed from double to int"),
        (record(VALUE), record(VALUE, name="Purchase"), "record 'Sale' was renamed 'Purchase'"),
        (record(field("c", enum("red", "blue"))), record(field("c", enum("red"))), "enum 'Colour' lost 'blue'"),
        (
            record(field("a", {"type": "array", "items": "long"})),
            record(field("a", {"type": "array", "items": "int"})),
            "field 'a[]': type changed from long to int",
        ),
        (
            record(field("m", {"type": "map", "values": "long"})),
            record(field("m", {"type": "map", "values": "string"})),
            "field 'm{}': type changed from long to string",
        ),
        (
            record(field("f", {"type": "fixed", "name": "F", "size": 4})),
            record(field("f", {"type": "fixed", "name": "F", "size": 8})),
            "fixed 'F' went from 4 to 8 bytes",
        ),
        (
            record(field("u", ["null", "string", "long"])),
            record(field("u", ["null", "string"])),
            "type changed from [null, string, long] to [null, string], and long is not read any more",
        ),
        (
            record(field("o", json.loads(record(VALUE, name="Inner")))),
            record(field("o", json.loads(record(VALUE, field("y", "int"), name="Inner")))),
            "field 'o.y' was added without a default",
        ),
        (
            record(field("o", ["null", json.loads(record(VALUE, name="Inner"))])),
            record(field("o", ["null", json.loads(record(VALUE, field("y", "int"), name="Inner"))])),
            "field 'o.y' was added without a default",
        ),
    ],
)
def test_a_break_is_said_in_words(old: str, new: str, words: str) -> None:
    """What changed is named with its path, and who is hurt, and what to do."""
    message = said(new, old, Level.BACKWARD)
    assert words in message
    assert "a consumer with the new schema can't read old records (against version 1); " in message
    assert not message.endswith("; ")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (record(VALUE, field("x", "string")), record(VALUE), "field 'x' was removed, and it had no default"),
        (record(field("c", enum("red"))), record(field("c", enum("red", "blue"))), "enum 'Colour' gained 'blue'"),
        (record(field("v", "long")), record(field("v", "double")), "type changed from long to double"),
        (record(field("v", "long")), record(field("v", ["null", "long"])), "nobody reads null yet"),
    ],
)
def test_a_forward_break_is_said_from_the_old_readers_side(old: str, new: str, words: str) -> None:
    """With FORWARD it is old consumers that can't read new records."""
    message = said(new, old, Level.FORWARD)
    assert words in message
    assert "a consumer with the old schema can't read new records" in message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (record(VALUE), record(VALUE, field("x", "string", default=""))),
        (record(VALUE, field("x", "string")), record(VALUE)),
        (record(field("v", "int")), record(field("v", "double"))),
        (record(field("v", "string")), record(field("v", ["null", "string"]))),
        (record(field("old", "int")), record(field("new", "int", aliases=["old"]))),
        (record(field("c", enum("a", "b"))), record(field("c", enum("a", default="a")))),
        (record(field("when", "long")), record(field("when", {"type": "long", "logicalType": "timestamp-millis"}))),
    ],
)
def test_what_avro_can_read_is_allowed(old: str, new: str) -> None:
    """Defaults, dropped fields, promotions, widened unions, aliases and logical types don't break readers."""
    assert compatibility.check(new, [(1, old)], Level.BACKWARD) == []


def test_levels_choose_directions_and_history() -> None:
    """FULL looks both ways, the transitive levels at every version, NONE at nothing."""
    oldest, last = record(VALUE), record(VALUE, field("x", "string", default=""))
    new = record(VALUE, field("x", "string"))
    history = [(1, oldest), (2, last)]
    assert compatibility.check(new, history, Level.BACKWARD) == []
    assert [found.version for found in compatibility.check(new, history, Level.BACKWARD_TRANSITIVE)] == [1]
    assert compatibility.check(new, history, Level.FULL) == []
    assert compatibility.check(record(field("z", "int")), history, Level.NONE) == []
    both = compatibility.check(record(field("z", "int")), [(None, oldest)], Level.FULL)
    assert {found.direction for found in both} == set(compatibility.Direction)
    assert all("version" not in str(found) for found in both)


def test_a_recursive_schema_is_judged() -> None:
    """A type that holds itself ends, and its break is said once."""
    tree = record(field("kids", {"type": "array", "items": "Tree"}), name="Tree")
    grown = record(field("kids", {"type": "array", "items": "Tree"}), field("x", "int"), name="Tree")
    assert compatibility.check(tree, [(1, tree)], Level.FULL) == []
    assert len(compatibility.check(grown, [(1, tree)], Level.BACKWARD)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"type": "nonsense"}', "nonsense"),
        ('{"type": "record", "name": "A"}', "fields"),
        (record(field("a", "string", default=5)), "must match schema type"),
        (record(field("a", "int"), field("a", "int")), "a"),
        ("5", "5"),
        ("[1]", "1"),
        ('{"type": "record", "name": "1a", "fields": []}', "1a"),
    ],
)
def test_what_is_no_schema_is_refused(text: str, words: str) -> None:
    """Broken JSON, unknown types and defaults of the wrong type are told apart from schemas."""
    with pytest.raises(NotASchema, match=words):
        compatibility.parse(text)


_types = some.recursive(
    some.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
    | some.lists(some.sampled_from("abc"), min_size=1, unique=True).map(
        lambda symbols: {"type": "enum", "name": "E", "symbols": symbols}
    ),
    lambda inner: (
        inner.map(lambda items: {"type": "array", "items": items})
        | inner.map(lambda values: {"type": "map", "values": values})
    ),
    max_leaves=3,
)
_records = some.dictionaries(some.sampled_from("xyz"), _types, max_size=1).map(
    lambda fields: record(*(field(name, kind) for name, kind in fields.items()))
)


@given(new=_records, old=_records)
def test_the_verdict_is_apaches(new: str, old: str) -> None:
    """There is a reason exactly when Apache Avro's checker says no, in each direction."""
    for level, reader, writer in ((Level.BACKWARD, new, old), (Level.FORWARD, old, new)):
        apache = ReaderWriterCompatibilityChecker().get_compatibility(  # type: ignore[no-untyped-call]
            compatibility.parse(reader), compatibility.parse(writer)
        )
        readable = apache.compatibility is SchemaCompatibilityType.compatible
        assert (compatibility.check(new, [(1, old)], level) == []) is readable
