"""ClickHouse's SQL as tokens, lazily: whoever stops reading never looks at the data behind an INSERT."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Kind(Enum):
    """What a token is; blanks and comments are not tokens."""

    WORD = auto()
    QUOTED_NAME = auto()
    STRING = auto()
    NUMBER = auto()
    SIGN = auto()
    OPEN = auto()
    CLOSE = auto()
    END = auto()
    """A semicolon."""
    UNCLOSED = auto()
    """A string, name or comment that never ends: nothing after it can be told apart."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `start` and `end` are byte offsets, `depth` counts the brackets around it."""

    kind: Kind
    text: bytes
    start: int
    end: int
    depth: int

    def says(self, *words: bytes) -> bool:
        """Whether this is one of the keywords (upper case), bare, in any case."""
        return self.kind is Kind.WORD and self.text.upper() in words

    def names(self) -> bool:
        """Whether this can be an identifier."""
        return self.kind in {Kind.WORD, Kind.QUOTED_NAME}


# As ClickHouse's own lexer has it: `''` and a backslash both escape a quote, `$tag$…$tag$` is a string, typographic
# quotes quote, bytes above 0x7F otherwise belong to words. Possessive (`++`): linear in whatever a stranger sends.
_TOKEN: Final = re.compile(
    rb"""
      (?P<blank> (?: [\ \t\n\r\f\v] | \xc2\xa0 )++ | (?: -- | // | \#! | \#\  )[^\n]*+ )
    | (?P<comment> /\* )
    | (?P<STRING> '(?: [^'\\]++ | \\. | '' )*+' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | \xe2\x80\x98.*?\xe2\x80\x99 )
    | (?P<QUOTED_NAME> `(?: [^`\\]++ | \\. | `` )*+` | "(?: [^"\\]++ | \\. | "" )*+" | \xe2\x80\x9c.*?\xe2\x80\x9d )
    | (?P<UNCLOSED> ['`"] )
    | (?P<NUMBER> \.?\d[\w.]*+ )
    | (?P<WORD> [A-Za-z_$\x80-\xff][\w$\x80-\xff]*+ )
    | (?P<OPEN> [(\[{] )
    | (?P<CLOSE> [)\]}] )
    | (?P<END> ; )
    | (?P<SIGN> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")


def scan(sql: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of `sql` in order; ends after an UNCLOSED one.

    >>> [token.text.decode() for token in scan(b"SELECT 'it''s; FORMAT' /* a /* b */ */ -- FORMAT x")]
    ['SELECT', "'it''s; FORMAT'"]
    """
    depth = 0
    position = start
    while (match := _TOKEN.match(sql, position)) is not None:
        position = match.end()
        name = "STRING" if match.lastgroup == "tag" else match.lastgroup
        if name == "blank":
            continue
        if name == "comment":
            closed = _end_of_comment(sql, match.start())
            if closed is not None:
                position = closed
                continue
            name = "UNCLOSED"
        kind = Kind[name or "SIGN"]
        if kind is Kind.CLOSE:
            depth = max(depth - 1, 0)
        yield Token(kind, match.group(), match.start(), position, depth)
        if kind is Kind.UNCLOSED:
            return
        if kind is Kind.OPEN:
            depth += 1


def _end_of_comment(sql: bytes, start: int) -> int | None:
    """Where the comment that opens at `start` ends; comments nest."""
    nested = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        nested += 1 if edge.group() == b"/*" else -1
        if nested == 0:
            return edge.end()
    return None
