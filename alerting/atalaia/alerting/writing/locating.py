"""Where in a file a part of a text is: YAML folds lines, strips indentation and has escapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from atalaia.alerting.writing.source import Node

_ESCAPE: Final = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_BLANK_ESCAPES: Final = frozenset({"\\n", "\\t", "\\r", "\\ ", "\\v", "\\f", "\\\n"})


def within(file: str, node: Node, at: tuple[int, int]) -> tuple[int, int]:
    r"""Line and column in a file of what stands at a line and column of a text in it.

    YAML changes no more than the white space of a text, so that the n-th of the other characters stays the n-th.

    >>> from atalaia.alerting.writing.source import read
    >>> file = "expr: |\n  up ==\n    zero"
    >>> within(file, read(file)[0].nearest(("expr",)), (2, 3))
    (3, 5)
    """
    if not isinstance(node.value, str):
        return node.line, node.column
    before = node.value.split("\n")[: at[0]]
    wanted = _dark("".join([*before[:-1], before[-1][: at[1] - 1]]))
    at_end = wanted == _dark(node.value)
    places = list(islice(_characters(file, node), wanted + 1))
    if at_end and wanted <= len(places) and wanted:
        line, column = places[wanted - 1]
        return line, column + 1
    return places[wanted] if wanted < len(places) else (node.line, node.column)


def _dark(text: str) -> int:
    """How many characters of a text are not white space."""
    return sum(not character.isspace() for character in text)


def _characters(file: str, node: Node) -> Iterator[tuple[int, int]]:
    """The places of all characters of a text but white space, from its first line on to the end of the file."""
    line, column, style = node.line, node.column, node.style
    lines = file.split("\n")
    rest = "\n".join(lines[line - 1 :])
    at = column - 1
    if style in {"|", ">"}:
        at = rest.find("\n") + 1
        line, column = line + 1, 1
    elif style in {"'", '"'}:
        at, column = at + 1, column + 1
    while at < len(rest):
        step, blank = _length(rest, at, style)
        if not blank:
            yield line, column
        broken = rest.count("\n", at, at + step)
        line, column = (line + broken, 1) if broken else (line, column + step)
        at += step


def _length(text: str, at: int, style: str) -> tuple[int, bool]:
    """How many characters one character of a text takes in the file, and whether it is white space."""
    if style == '"' and (escape := _ESCAPE.match(text, at)) is not None:
        return len(escape[0]), escape[0] in _BLANK_ESCAPES
    if style == "'" and text.startswith("''", at):
        return 2, False
    return 1, text[at].isspace()
