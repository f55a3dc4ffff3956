"""YAML and JSON text as a tree of values that know where they were written.

YAML's traps are left out: only true, false, null and decimal numbers are more than text (so `no`, `1e3x`, `12:30` and
`0x1F` stay what they are), duplicate keys and tags are refused, aliases may not recur nor multiply without bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_NODES: Final = 2_000_000
"""Values of a document after its aliases are expanded; ten thousand rules have some 200,000."""
MAX_DEPTH: Final = 20
_LARGEST_DIGITS: Final = 400
"""Numbers of more digits are no double; Python itself refuses to read the longest."""

_INTEGER: Final = re.compile(r"[-+]?\d+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?", re.ASCII)
_OPERATOR: Final = re.compile(
    r"^([ ]*(?:-[ ]+)?condition:[ ]+)((?:>=|>|!=)[ ]*[-+.\deE]*)(?=[ ]*(?:#.*)?$)", re.MULTILINE
)
"""YAML reads a bare > as a folded text and != as a tag; after `condition:` the writer meant neither."""
_PAIR: Final = re.compile(r"((?<!\\)(?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: ten times as fast


class SourceError(Exception):
    """The text is not what it should be; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(slots=True)
class Node:
    """A value, where it is written, and how many values it is in all. A mapping's keys know their own places."""

    value: bool | float | str | list[Node] | dict[str, Node] | None
    line: int
    column: int
    size: int = 1
    key: tuple[int, int] | None = None
    style: str = ""
    """How a text is written: bare, in single or double quotes, or as a block that `|` or `>` begins."""

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def place(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Line and column where what lies at `path` begins, with its key if it has one; else of what is above it."""
        node = self.nearest(path)
        return node.key or (node.line, node.column)

    def nearest(self, path: tuple[str | int, ...]) -> Node:
        """What lies at `path`, or else the nearest above it."""
        node = self
        for step in path:
            below: Node | None = None
            if isinstance(node.value, dict):
                below = node.value.get(str(step))
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                below = node.value[step]
            if below is None:
                break
            node = below
        return node


def read(text: str) -> list[Node]:
    """The documents in a text; `SourceError` at the first place where it is not YAML or JSON of the kind above."""
    if len(text) > MAX_BYTES:
        raise SourceError(f"has {len(text)} characters; at most {MAX_BYTES} are read", 1, 1)
    text = _json_as_yaml(text) if text.lstrip()[:1] in {"{", "["} else _OPERATOR.sub(r"\1'\2'", text)
    try:
        return list(_documents(yaml.parse(text, Loader=_Loader)))
    except UnicodeEncodeError as exc:
        raise SourceError("contains half of a surrogate pair, which is no character", 1, 1) from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SourceError(f"is not YAML: {exc.problem or exc}", line, column) from exc
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position]
        line, column = before.count("\n") + 1, exc.position - before.rfind("\n")
        raise SourceError(f"is not YAML: a control character ({exc.character!r})", line, column) from exc


def _json_as_yaml(text: str) -> str:
    """JSON in YAML's own spelling, every character in its place or left of it.

    In JSON a tab is white space wherever it may stand, and characters beyond 16 bits may be written as two escapes.
    """
    return _PAIR.sub(lambda found: found[1] + json.loads(f'"{found[2]}"'), text.replace("\t", " "))


class _Builder:
    """Puts one document's nodes together from the parser's events, without recursion."""

    def __init__(self) -> None:
        self.anchors: dict[str, Node | None] = {}
        self.open: list[tuple[Node, str | None]] = []
        self.pending_key: list[tuple[str, tuple[int, int]] | None] = []
        self.root: Node | None = None

    def take(self, event: Any) -> None:
        """Adds what one event says; the events of yaml have no useful types."""
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if getattr(event, "tag", None) and not isinstance(event, yaml.ScalarEvent):
            raise SourceError(f"has a tag, {event.tag}; leave it out", line, column)
        match event:
            case yaml.AliasEvent():
                self._place(self._alias(str(event.anchor), line, column))
            case yaml.ScalarEvent():
                self._place(_scalar(event, line, column), anchor=event.anchor)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(Node({} if isinstance(event, yaml.MappingStartEvent) else [], line, column), event.anchor)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                node, anchor = self.open.pop()
                self.pending_key.pop()
                self._place(node, anchor=anchor)
            case _:
                pass

    def _alias(self, anchor: str, line: int, column: int) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            why = "contains itself" if anchor in self.anchors else "is not defined"
            raise SourceError(f"*{anchor} {why}", line, column)
        return Node(node.value, line, column, node.size)

    def _open(self, node: Node, anchor: str | None) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise SourceError(f"is nested deeper than {MAX_DEPTH} levels", node.line, node.column)
        if self.open and isinstance(self.open[-1][0].value, dict) and self.pending_key[-1] is None:
            raise SourceError("has a mapping or list as a key; write text", node.line, node.column)
        if anchor is not None:
            self.anchors[anchor] = None
        self.open.append((node, anchor))
        self.pending_key.append(None)

    def _place(self, node: Node, *, anchor: str | None = None) -> None:
        """Puts a finished node where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.open:
            self.root = node
            return
        parent = self.open[-1][0]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif isinstance(parent.value, dict):
            key = self.pending_key[-1]
            if key is None:
                self.pending_key[-1] = _key(node, parent.value), (node.line, node.column)
                return
            node.key = key[1]
            parent.value[key[0]] = node
            self.pending_key[-1] = None
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise SourceError(f"expands to more than {MAX_NODES:,} values through its aliases", node.line, node.column)


def _documents(events: Iterator[yaml.Event]) -> Iterator[Node]:
    builder = _Builder()
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder()
        elif isinstance(event, yaml.DocumentEndEvent):
            if builder.root is not None:
                yield builder.root
        else:
            builder.take(event)


def _key(node: Node, mapping: dict[str, Node]) -> str:
    if isinstance(node.value, list | dict):
        raise SourceError("has a mapping or list as a key; write text", node.line, node.column)
    name = str(node.value)
    if name == "<<":
        raise SourceError(
            "merges mappings with <<, which is not understood; write the fields out", node.line, node.column
        )
    if name in mapping:
        first = mapping[name].key or (mapping[name].line, 0)
        raise SourceError(f"{name[:60]!r} is here twice, first in line {first[0]}", node.line, node.column)
    return name


def _scalar(event: yaml.ScalarEvent, line: int, column: int) -> Node:
    if event.tag not in (None, "!"):
        raise SourceError(f"has a tag, {event.tag}; leave it out, and quote what must be text", line, column)
    written = event.value
    plain = event.implicit[0]
    return Node(_resolved(written) if plain else written, line, column, style=event.style or "")


def _resolved(written: str) -> Any:
    """What a scalar without quotes means."""
    if written in _WORDS:
        return _WORDS[written]
    if _INTEGER.fullmatch(written):
        return int(written) if len(written) <= _LARGEST_DIGITS else float(written)
    return float(written) if _FLOAT.fullmatch(written) else written
