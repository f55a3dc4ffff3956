"""The words of an expression with their places, and what is wrong with their order.

promql-parser tells neither where an error is nor where its nodes came from, and nests without limit. So the text is
scanned first, without recursion: what is too deep or out of order is refused with its place, and `anchors` are the
places of all that becomes a node, in the order in which they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, NoReturn

from atalaia.alerting.promql.places import PromqlError

MAX_CHARACTERS: Final = 16_384
MAX_DEPTH: Final = 32
"""Brackets within brackets: far more than anybody reads, far less than a parser's stack holds."""
MAX_PARTS: Final = 256
"""Selectors, numbers, operators and calls in one expression: a chain of operators is a tree half as deep."""

AGGREGATIONS: Final = frozenset(
    "sum avg min max count group stddev stdvar quantile topk bottomk count_values limitk limit_ratio".split()  # noqa: SIM905 - reads better
)
_WORD_OPERATORS: Final = frozenset({"and", "or", "unless", "atan2"})
_MATCHINGS: Final = frozenset({"on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"})
_GROUPINGS: Final = frozenset({"by", "without"})
RESERVED: Final = AGGREGATIONS | _WORD_OPERATORS | _MATCHINGS | _GROUPINGS | {"bool", "offset", "inf", "nan"}
_OPERATORS: Final = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="})
_COMPARING: Final = frozenset({"=", "!=", "=~", "!~"})
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
      | (?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:ms|[smhdwy]))+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
      | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
      | (?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^<>=@(){}\[\],])""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)


class Kind(Enum):
    """What a token, or the node that begins at one, is."""

    STRING = "a text"
    NUMBER = "a number"
    WORD = "a name"
    SIGN = "a sign"
    SELECTOR = "a selector"
    CALL = "a call"
    UNARY = "a sign before"
    BINARY = "an operator"


class Token(NamedTuple):
    """One word, and where it is."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The first character after it."""
        return self.start + len(self.text)


class Anchor(NamedTuple):
    """Where a node begins that is written with this word."""

    kind: Kind
    text: str
    start: int


@dataclass(slots=True)
class Scan:
    """What was found: anchors in the order of the text, and from where to where each selector and call goes."""

    anchors: list[Anchor] = field(default_factory=list)
    parts: list[tuple[int, int]] = field(default_factory=list)
    """The innermost come first."""
    texts: list[Token] = field(default_factory=list)
    """The values of labels."""


def scan(expression: str) -> Scan:
    """The anchors of an expression; `PromqlError` at the first place where it goes wrong or too far."""
    if len(expression) > MAX_CHARACTERS:
        raise PromqlError(
            f"the expression has {len(expression)} characters; at most {MAX_CHARACTERS} are read: split the rule"
        )
    return _Scanner(expression).run()


def tokens(expression: str) -> Iterator[Token]:
    """The words of a text, without white space and comments."""
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise PromqlError(_stray(expression[at]), expression=expression, offset=at)
        if found.lastgroup != "space":
            yield Token(Kind[(found.lastgroup or "").upper()], found[0], at)
        at = found.end()


def _stray(character: str) -> str:
    if character in {'"', "'", "`"}:
        return f"the text that begins with {character} does not end in its line; close it, or write line ends as \\n"
    return f"{character!r} means nothing here; names other than plain ones go into quotes, as in {{'name'}}"


class _Scanner:
    """Walks over the words once: at each, either an operand is due or an operator."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = list(tokens(expression))
        self.at = 0
        self.open: list[tuple[Token, int | None]] = []
        self.found = Scan()
        self.operand_due = True

    def run(self) -> Scan:
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if self.operand_due:
                self._operand(token)
            else:
                self._operator(token)
            if len(self.found.anchors) > MAX_PARTS:
                self._fail(token, f"the expression has more than {MAX_PARTS} parts up to here; split the rule")
        if self.open:
            opened = self.open[-1][0]
            self._fail(opened, f"this {opened.text} is not closed; a {_CLOSING[opened.text]} is missing")
        if self.operand_due:
            raise PromqlError(
                "the expression is empty" if not self.tokens else "the expression ends where a value should follow",
                expression=self.expression,
                offset=len(self.expression.rstrip()),
            )
        return self.found

    def _operand(self, token: Token) -> None:
        match token.kind:
            case Kind.NUMBER | Kind.STRING:
                self._anchor(token.kind, token)
            case Kind.WORD:
                self._name(token)
            case _ if token.text == "{":
                self._anchor(Kind.SELECTOR, token)
                self.found.parts.append((token.start, self._matchers(token)))
            case _ if token.text == "(":
                self._open(token, None)
            case _ if token.text in {"+", "-"}:
                self._anchor(Kind.UNARY, token)
                self.operand_due = True
            case _ if token.text == ")" and self._ends_empty_call():
                self._close(token)
            case _:
                self._fail(token, f"{token.text} stands where a value should be: a metric, a function or a number")

    def _name(self, token: Token) -> None:
        after = self._peek()
        if token.text.lower() in {"inf", "nan"}:
            self._anchor(Kind.NUMBER, token)
        elif after == "(" or (token.text.lower() in AGGREGATIONS and after.lower() in _GROUPINGS):
            self._anchor(Kind.CALL, token)
            if after != "(":
                self.at += 1
                self._labels(token)
            if self._peek() != "(":
                self._fail(token, f"{token.text} needs an expression in brackets")
            self._open(self._next(), token.start)
        else:
            self._anchor(Kind.SELECTOR, token)
            if after == "{":
                self.found.parts.append((token.start, self._matchers(self._next())))

    def _operator(self, token: Token) -> None:
        word = token.text.lower()
        if token.text in _OPERATORS or word in _WORD_OPERATORS:
            self._anchor(Kind.BINARY, token)
            self.operand_due = True
            self._modifiers()
        elif token.text in {")", "]", "}"}:
            self._close(token)
        elif token.text == "," and self.open and self.open[-1][1] is not None:
            self.operand_due = True
        elif token.text == "[":
            self._skip(token)
        elif word == "offset":
            self._offset(token)
        elif token.text == "@":
            self._fail(token, "@ is not understood: a rule is judged at each instant; leave it out")
        elif word in _GROUPINGS:
            self._labels(token)
        elif token.text == "=":
            self._fail(token, "= compares labels; write == to compare numbers")
        else:
            self._fail(token, f"an operator is missing before {token.text[:40]}")

    def _modifiers(self) -> None:
        """What may stand between an operator and its right side."""
        while (word := self._peek().lower()) == "bool" or word in _MATCHINGS:
            token = self._next()
            if word.startswith("fill"):
                self._fail(token, f"{word} is not understood; write `or vector(0)` after the side that may be missing")
            if word != "bool" and (self._peek() == "(" or not word.startswith("group")):
                self._labels(token)

    def _labels(self, token: Token) -> None:
        """A list of labels in brackets."""
        if self._peek() != "(":
            self._fail(token, f"{token.text} needs its labels in brackets, as in {token.text} (service_name)")
        self._skip(self._next())

    def _offset(self, token: Token) -> None:
        if self._peek() == "-":
            self._fail(token, "a negative offset asks for what has not happened yet; leave out the -")
        if self.at >= len(self.tokens) or self.tokens[self.at].kind is not Kind.NUMBER:
            self._fail(token, "offset needs a duration, such as 1h or 7d")
        self.at += 1

    def _matchers(self, opened: Token) -> int:
        """Goes on after the matchers of a selector; where that is."""
        while self._peek() != "}":
            label = self._within(opened)
            if label.kind not in {Kind.WORD, Kind.STRING}:
                self._fail(label, f"{label.text[:40]} stands where a label should be, as in label='value'")
            if self._peek() in _COMPARING:
                self._next()
                value = self._within(opened)
                if value.kind is not Kind.STRING:
                    self._fail(value, f"a label's value is a text: write {value.text[:40]!r} in quotes")
                self.found.texts.append(value)
            elif label.kind is Kind.WORD or self._peek() not in {",", "}"}:
                self._fail(label, f"{label.text[:40]} needs one of =, !=, =~, !~ and a value in quotes after it")
            if self._peek() not in {",", "}"}:
                self._fail(self._within(opened), f"a comma is missing before {self.tokens[self.at - 1].text[:40]}")
            if self._peek() == ",":
                self._next()
        return self._next().end

    def _within(self, opened: Token) -> Token:
        """The next word, which a bracket is still open for."""
        if self.at >= len(self.tokens):
            self._fail(opened, f"this {opened.text} is not closed; a {_CLOSING[opened.text]} is missing")
        return self._next()

    def _skip(self, opened: Token) -> int:
        """Goes on after what closes a bracket within which there are no nodes; where that is."""
        closing = _CLOSING[opened.text]
        while self.at < len(self.tokens):
            token = self._next()
            if token.text == closing:
                return token.end
            if token.text in _CLOSING:
                self._fail(token, f"{token.text} cannot stand within {opened.text}{closing}")
        return self._fail(opened, f"this {opened.text} is not closed; a {closing} is missing")

    def _open(self, token: Token, call: int | None) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._fail(token, f"brackets are nested deeper than {MAX_DEPTH} levels; split the rule")
        self.open.append((token, call))
        self.operand_due = True

    def _close(self, token: Token) -> None:
        if not self.open or _CLOSING[self.open[-1][0].text] != token.text:
            self._fail(token, f"this {token.text} closes nothing")
        _, call = self.open.pop()
        if call is not None:
            self.found.parts.append((call, token.end))
        self.operand_due = False

    def _ends_empty_call(self) -> bool:
        """Whether the bracket just read follows on the one that opened a call."""
        return bool(self.open) and self.open[-1][1] is not None and self.tokens[self.at - 2] == self.open[-1][0]

    def _anchor(self, kind: Kind, token: Token) -> None:
        self.found.anchors.append(Anchor(kind, token.text, token.start))
        self.operand_due = False

    def _peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def _next(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def _fail(self, token: Token, reason: str) -> NoReturn:
        raise PromqlError(reason, expression=self.expression, offset=token.start)
