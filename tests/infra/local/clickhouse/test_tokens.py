"""The lexer's laws."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from atalaia.infra.local.clickhouse.tokens import Kind, scan

PIECES = st.sampled_from(
    [
        *(
            "SELECT",
            "format",
            "x1",
            "é",
            "$a",
            "`a``b`",
            '"c"" d"',
            "'it''s'",
            "'\\\\'",
            "'a\nb'",
            "$$ ' $$",
            "$t$;$$;$t$",
        ),
        *(
            "\N{LEFT SINGLE QUOTATION MARK}typed\N{RIGHT SINGLE QUOTATION MARK}",
            "\N{LEFT DOUBLE QUOTATION MARK}name\N{RIGHT DOUBLE QUOTATION MARK}",
            "1",
            "1.5e-3",
            "0xFF",
            ".5",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            ".",
            "=",
            "*",
            "/",
            "-",
            ";",
        ),
        *("-- ; 'c\n", "/* ' /* ; */ */", "#! x\n", "# y\n", "// z\n", " ", "\n", "\t"),
    ]
)


@given(st.lists(PIECES).map(" ".join))
def test_pieces_stay_whole(text: str) -> None:
    """Strings, names and comments are never cut: what is between tokens is blank or comment, no bracket, no quote."""
    sql = text.encode()
    at = 0
    for token in scan(sql):
        gap = sql[at : token.start]
        assert not gap.strip() or gap.strip().startswith((b"--", b"/*", b"#", b"//"))
        assert sql[token.start : token.end] == token.text
        assert token.kind is not Kind.UNCLOSED
        at = token.end


@given(st.binary(max_size=300))
@example(b"'\xff")
@example(b"/* /* */")
@example(b"$a$ never closed")
def test_any_bytes_are_tokens(data: bytes) -> None:
    """Tokens come in order, never overlap, and end within the text, whatever it is."""
    at = 0
    for token in scan(data):
        assert at <= token.start < token.end <= len(data)
        at = token.end


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=50))
def test_a_quoted_string_is_one_token(text: str) -> None:
    """However odd the text, quoted as ClickHouse quotes it is one string."""
    literal = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert [(token.kind, token.text) for token in scan(f"a {literal} b".encode())][1] == (Kind.STRING, literal.encode())


def test_depth_counts_the_brackets_around() -> None:
    """An opening bracket and its closing one have the depth of what is outside."""
    assert [token.depth for token in scan(b"a ( b [ c ] ) d")] == [0, 0, 1, 1, 2, 1, 0, 0]


def test_too_many_closing_brackets() -> None:
    """They don't make what follows look nested."""
    assert [token.depth for token in scan(b") ) a")] == [0, 0, 0]


def test_scanning_stops_at_what_never_closes() -> None:
    """Nothing behind an open quote can be told apart."""
    for sql in (b"a 'b", b'a "b', b"a `b", b"a /* b"):
        assert [token.kind for token in scan(sql)] == [Kind.WORD, Kind.UNCLOSED]


def test_scanning_is_lazy() -> None:
    """Megabytes of data behind the statement cost nothing to whoever stops in time."""
    tokens = scan(b"INSERT INTO t VALUES " + b"(1)," * 10_000_000)
    assert [next(tokens).text for _ in range(4)] == [b"INSERT", b"INTO", b"t", b"VALUES"]
