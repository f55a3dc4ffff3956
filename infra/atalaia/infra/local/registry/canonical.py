"""One text for schemas that are the same but for white space and the order of attributes."""

from __future__ import annotations

import json
from typing import Any

# The order in which Apache Avro for Java writes a schema; attributes it doesn't know come after.
_ORDER = {name: place for place, name in enumerate(("type", "name", "namespace", "doc", "fields"))}
_FIELD_ORDER = {name: place for place, name in enumerate(("name", "type", "doc", "default", "order"))}
_NESTING = {"items", "values"}


def canonical(text: str, *, normalize: bool = False) -> str:
    """The text under which a schema is stored and found again; the meaning, docs included, is untouched.

    `normalize` also writes `{"type": "string"}` as `"string"` and sorts unknown attributes, as Confluent's does.

    >>> canonical('{"name": "A",  "type": "fixed", "size": 4}')
    '{"type":"fixed","name":"A","size":4}'
    """
    return json.dumps(_schema(json.loads(text), normalize=normalize), separators=(",", ":"), ensure_ascii=False)


def _schema(schema: Any, *, normalize: bool) -> Any:
    match schema:
        case list():
            return [_schema(branch, normalize=normalize) for branch in schema]
        case {"type": str(primitive)} if normalize and len(schema) == 1:
            return primitive
        case dict():
            return _ordered(
                {name: _attribute(name, value, normalize=normalize) for name, value in schema.items()},
                _ORDER,
                normalize=normalize,
            )
        case _:
            return schema


def _attribute(name: str, value: Any, *, normalize: bool) -> Any:
    if name == "fields" and isinstance(value, list):
        return [_field(field, normalize=normalize) for field in value]
    if name in _NESTING or (name == "type" and not isinstance(value, str)):
        return _schema(value, normalize=normalize)
    return value


def _field(field: Any, *, normalize: bool) -> Any:
    if not isinstance(field, dict):
        return field
    typed = {name: _schema(value, normalize=normalize) if name == "type" else value for name, value in field.items()}
    return _ordered(typed, _FIELD_ORDER, normalize=normalize)


def _ordered(attributes: dict[str, Any], order: dict[str, int], *, normalize: bool) -> dict[str, Any]:
    last = len(order)
    if normalize:
        return dict(sorted(attributes.items(), key=lambda item: (order.get(item[0], last), item[0])))
    return dict(sorted(attributes.items(), key=lambda item: order.get(item[0], last)))  # stable
