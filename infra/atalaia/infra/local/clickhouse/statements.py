"""What one request's SQL is, as far as HTTP must know: where a result's FORMAT stands, where an INSERT's data begins.

Pure, and no more of the grammar than that: whether a statement is right is the engine's to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atalaia.infra.local.clickhouse.cursor import Cursor
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.tokens import Kind, Token, scan


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT: its rows are written wherever `into` says, in any format."""

    sql: bytes
    cut: int
    """Where INTO OUTFILE goes: before FORMAT, else behind the last token."""
    end: int
    """Behind the last token that isn't a semicolon."""
    format: str | None

    def into(self, path: str) -> bytes:
        r"""The same query, its result written to `path`, which exists.

        >>> split(b"SELECT 1 FORMAT CSV; -- done").into("/dev/fd/3").decode()
        "SELECT 1\nINTO OUTFILE '/dev/fd/3' APPEND\nFORMAT CSV"
        """
        clause = b"INTO OUTFILE " + quoted(path) + b" APPEND"
        return _joined(self.sql[: self.cut], clause, self.sql[self.cut : self.end])


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT of rows that came with the request: `sql[data:]`, and whatever of the body follows."""

    sql: bytes
    data: int
    format: str
    into_end: int
    """Behind the table and its columns."""
    settings: bytes = b""

    def reading(self, path: str) -> bytes:
        r"""The same INSERT, its rows read from `path`.

        >>> split(b"INSERT INTO t (a) VALUES (1)").reading("/dev/fd/3").decode()
        "INSERT INTO t (a)\nFROM INFILE '/dev/fd/3'\nFORMAT Values"
        """
        source = b"FROM INFILE " + quoted(path)
        return _joined(self.sql[: self.into_end], source, self.settings, b"FORMAT " + self.format.encode())


@dataclass(frozen=True, slots=True)
class InsertSelect:
    """An INSERT … SELECT … FROM input(…) FORMAT …: rows that came with the request, through expressions."""

    sql: bytes
    data: int
    format: str
    format_start: int
    call: tuple[int, int]
    """From the name `input` to behind its closing bracket."""
    structure: bytes
    """The argument as it was written; empty when the data or the table is to tell."""

    def reading(self, path: str) -> bytes:
        r"""The same INSERT, its rows read from `path`.

        >>> split(b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT Avro\nObj").reading("/dev/fd/3").decode()
        "INSERT INTO t SELECT a FROM file('/dev/fd/3', 'Avro', 'a Int8')"
        """
        arguments = [quoted(path), quoted(self.format), self.structure]
        call = b"file(" + b", ".join(part for part in arguments if part) + b")"
        start, end = self.call
        return (self.sql[:start] + call + self.sql[end : self.format_start]).rstrip()


@dataclass(frozen=True, slots=True)
class Command:
    """Any other statement, told to the engine as it is."""

    sql: bytes
    verb: str
    """Its first word, in upper case."""
    format: str | None


Statement = Query | Insert | InsertSelect | Command

SYNTAX_ERROR: Final = 62
UNKNOWN_TYPE_OF_QUERY: Final = 78
INTO_OUTFILE_NOT_ALLOWED: Final = 358

_QUERY: Final = (b"SELECT", b"WITH", b"FROM")
# Words that need something behind them: a FORMAT that follows one is a column's name, not a clause.
_PREFIXES: Final = frozenset(
    b"SELECT DISTINCT WHERE PREWHERE HAVING QUALIFY AND OR NOT XOR BY ON WHEN THEN ELSE CASE IN LIKE ILIKE BETWEEN AS"
    b" FROM JOIN USING LIMIT OFFSET WITH INTERVAL DIV MOD INTO".split()
)
_ENDINGS: Final = {Kind.QUOTED_NAME, Kind.STRING, Kind.NUMBER, Kind.CLOSE}
_BEFORE_DATA: Final = re.compile(rb"[ \t\f]*\r?\n?")


def split(sql: bytes) -> Statement:
    """The statement; raises ClickHouseError for what a server refuses over HTTP: several at once, local files.

    What stands behind the FORMAT or VALUES of an INSERT is data and is not looked at.
    """
    at = Cursor(sql)
    if at.says(b"INSERT"):
        at.advance()
        found = _insert(at)
        if found is not None:
            return found
    return _without_data(sql, list(scan(sql)))


def quoted(text: str) -> bytes:
    r"""A string literal.

    >>> quoted("it's").decode()
    "'it\\'s'"
    """
    return b"'" + text.encode().replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"


def _joined(*parts: bytes) -> bytes:
    """On lines of their own: a part may end in a comment."""
    return b"\n".join(stripped for part in parts if (stripped := part.strip()))


def _without_data(sql: bytes, tokens: list[Token]) -> Query | Command:
    while tokens and tokens[-1].kind is Kind.END:
        tokens.pop()
    if not tokens or tokens[-1].kind is Kind.UNCLOSED:
        return Command(sql, "", None)
    _refuse_several(sql, tokens)
    _refuse_files(tokens)
    clause = _format_clause(tokens)
    name = None if clause is None else _name(tokens[clause + 1])
    if _is_query(tokens):
        end = tokens[-1].end
        return Query(sql, cut=end if clause is None else tokens[clause].start, end=end, format=name)
    return Command(sql, tokens[0].text.decode(errors="replace").upper(), name)


def _is_query(tokens: Sequence[Token]) -> bool:
    opening = next((token for token in tokens if token.text != b"("), tokens[0])
    if opening.says(b"WITH"):
        return not any(token.says(b"INSERT") and token.depth == 0 for token in tokens)
    return opening.says(*_QUERY)


def _refuse_several(sql: bytes, tokens: Sequence[Token]) -> None:
    end = next((token.start for token in tokens if token.kind is Kind.END), None)
    if end is not None:
        rest = sql[end : end + 100].decode(errors="replace")
        message = f"Multi-statements are not allowed: failed at position {end + 1} (end of query): {rest}."
        raise ClickHouseError(SYNTAX_ERROR, "SYNTAX_ERROR", f"Syntax error ({message})")


def _refuse_files(tokens: Sequence[Token]) -> None:
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if after.kind is not Kind.STRING:
            continue
        if before.says(b"INTO") and token.says(b"OUTFILE"):
            raise ClickHouseError(INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
        if before.says(b"FROM") and token.says(b"INFILE"):
            message = "Query has infile and was send directly to server: send the rows in the body instead"
            raise ClickHouseError(UNKNOWN_TYPE_OF_QUERY, "UNKNOWN_TYPE_OF_QUERY", message)


def _format_clause(tokens: Sequence[Token]) -> int | None:
    """Index of the FORMAT that ends the statement: nothing follows its name but SETTINGS."""
    for index in range(len(tokens) - 2, 0, -1):
        following = tokens[index + 2 : index + 3]
        if _is_format(tokens[index - 1], tokens[index], tokens[index + 1]) and (
            not following or following[0].says(b"SETTINGS")
        ):
            return index
    return None


def _is_format(before: Token, token: Token, after: Token) -> bool:
    return token.depth == 0 and token.says(b"FORMAT") and after.names() and _ends_an_expression(before)


def _ends_an_expression(token: Token) -> bool:
    if token.kind is Kind.WORD:
        return token.text.upper() not in _PREFIXES
    return token.kind in _ENDINGS or token.text == b"*"  # as in SELECT *


def _name(token: Token) -> str:
    text = token.text.decode(errors="replace")
    return text[1:-1] if token.kind is Kind.QUOTED_NAME else text


def _insert(at: Cursor) -> Insert | InsertSelect | None:
    """The INSERT whose first word has been read; None when no data comes with it."""
    while at.says(b"INTO", b"TABLE", b"FUNCTION"):
        at.advance()
    at.skip_name()  # whatever it is: a table may be called `format`
    into_end = settings_start = 0
    while at.token is not None:
        before = settings_start or at.token.start
        if at.says(b"VALUES"):
            return Insert(at.sql, at.token.end, "Values", into_end or at.behind, at.sql[before : at.token.start])
        if at.says(b"FORMAT"):
            settings = at.sql[before : at.token.start]
            into_end = into_end or at.behind
            name, data, more = _format_and_data(at)
            return Insert(at.sql, data, name, into_end, settings or more)
        if at.says(b"SETTINGS"):
            into_end, settings_start = at.behind, at.token.start
        if at.says(*_QUERY) or (at.opens() and _query_inside(at)):
            return _insert_select(at)
        at.advance()
    return None


def _query_inside(at: Cursor) -> bool:
    """Whether the bracket holds a query, not columns; reads the bracket."""
    at.advance()
    return at.token is not None and (at.token.says(*_QUERY) or at.token.text == b"(")


def _insert_select(at: Cursor) -> InsertSelect | None:
    call: tuple[int, int] | None = None
    structure = b""
    while at.token is not None:
        from_table = at.last is not None and (at.last.says(b"FROM", b"JOIN"))
        if call is None and from_table and at.token.says(b"INPUT"):
            start = at.token.start
            at.advance()
            if at.opens():
                structure = at.skip_brackets()
                call = (start, at.behind)
            continue
        if call is not None and at.says(b"FORMAT") and at.last is not None and _ends_an_expression(at.last):
            start = at.token.start
            name, data, _ = _format_and_data(at)
            return InsertSelect(at.sql, data, name, start, call, structure)
        at.advance()
    return None


def _format_and_data(at: Cursor) -> tuple[str, int, bytes]:
    """The format's name, where the data begins, and SETTINGS that stand in between."""
    at.advance()
    name = "" if at.token is None else _name(at.token)
    at.advance()
    end, settings = at.behind, b""
    if at.says(b"SETTINGS"):
        start = end
        end = at.skip_settings()
        settings = at.sql[start:end]
    if at.sql[end : end + 1] == b";":
        message = (
            "You have excessive ';' symbol before data for INSERT. There is no ';' after the format's name: "
            "put a line break, then the data"
        )
        raise ClickHouseError(SYNTAX_ERROR, "SYNTAX_ERROR", message)
    gap = _BEFORE_DATA.match(at.sql, end)
    return name, end if gap is None else gap.end(), settings
