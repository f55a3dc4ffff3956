"""What a statement is, and what the engine is told instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.statements import Command, Insert, InsertSelect, Query, split
from atalaia.infra.local.clickhouse.tokens import scan

PATH = "/p"
OUT = "INTO OUTFILE '/p' APPEND"
IN = "FROM INFILE '/p'"


def words(sql: bytes) -> list[bytes]:
    """The tokens: blanks and comments between them don't matter."""
    return [token.text for token in scan(sql)]


@pytest.mark.parametrize(
    ("sql", "told", "named"),
    [
        ("SELECT 1", f"SELECT 1 {OUT}", None),
        ("select 1 format JSON", f"select 1 {OUT} format JSON", "JSON"),
        ("SELECT 1 FORMAT `CSV`", f"SELECT 1 {OUT} FORMAT `CSV`", "CSV"),
        ("SELECT 1 FORMAT CSV SETTINGS a = 'x', b = 1", f"SELECT 1 {OUT} FORMAT CSV SETTINGS a = 'x', b = 1", "CSV"),
        ("SELECT 1 SETTINGS a = 1 FORMAT CSV;", f"SELECT 1 SETTINGS a = 1 {OUT} FORMAT CSV", "CSV"),
        ("SELECT 1 ; ; -- FORMAT CSV", f"SELECT 1 {OUT}", None),
        ("SELECT 1 /* ; */ -- FORMAT CSV\n FORMAT TSV", f"SELECT 1 /* ; */ -- FORMAT CSV\n {OUT} FORMAT TSV", "TSV"),
        ("SELECT 'FORMAT CSV'", f"SELECT 'FORMAT CSV' {OUT}", None),
        ("SELECT 'INSERT INTO t FORMAT'", f"SELECT 'INSERT INTO t FORMAT' {OUT}", None),
        ("SELECT format FROM t", f"SELECT format FROM t {OUT}", None),
        ("SELECT format x FROM t", f"SELECT format x FROM t {OUT}", None),
        ("SELECT t.format x", f"SELECT t.format x {OUT}", None),
        ("SELECT 1 AS format", f"SELECT 1 AS format {OUT}", None),
        ("SELECT 1 AS format FORMAT CSV", f"SELECT 1 AS format {OUT} FORMAT CSV", "CSV"),
        ("SELECT * FORMAT CSV", f"SELECT * {OUT} FORMAT CSV", "CSV"),
        ("SELECT a FROM t ORDER BY a DESC FORMAT CSV", f"SELECT a FROM t ORDER BY a DESC {OUT} FORMAT CSV", "CSV"),
        ("SELECT a FROM t WHERE format = 'x'", f"SELECT a FROM t WHERE format = 'x' {OUT}", None),
        ("SELECT (SELECT 1 FORMAT CSV)", f"SELECT (SELECT 1 FORMAT CSV) {OUT}", None),
        ("(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", f"(SELECT 1) UNION ALL (SELECT 2) {OUT} FORMAT CSV", "CSV"),
        ("((SELECT 1))", f"((SELECT 1)) {OUT}", None),
        ("WITH 1 AS x SELECT x", f"WITH 1 AS x SELECT x {OUT}", None),
        ("FROM t SELECT a", f"FROM t SELECT a {OUT}", None),
        ("SELECT a FROM insert", f"SELECT a FROM insert {OUT}", None),
    ],
)
def test_a_query_is_told_where_to_write(sql: str, told: str, named: str | None) -> None:
    """Between the query and its FORMAT, and nowhere else."""
    found = split(sql.encode())
    assert isinstance(found, Query)
    assert (words(found.into(PATH)), found.format) == (words(told.encode()), named)


@pytest.mark.parametrize(
    ("sql", "told", "data"),
    [
        ("INSERT INTO t FORMAT CSV\n1", f"INSERT INTO t {IN} FORMAT CSV", "1"),
        ("INSERT INTO t FORMAT CSV 1", f"INSERT INTO t {IN} FORMAT CSV", "1"),
        ("INSERT INTO t FORMAT CSV  \r\n\n1", f"INSERT INTO t {IN} FORMAT CSV", "\n1"),
        ("insert t format CSV\n", f"insert t {IN} FORMAT CSV", ""),
        ("INSERT INTO t FORMAT CSV", f"INSERT INTO t {IN} FORMAT CSV", ""),
        ("INSERT INTO format FORMAT CSV\n1", f"INSERT INTO format {IN} FORMAT CSV", "1"),
        ("INSERT INTO values VALUES (1)", f"INSERT INTO values {IN} FORMAT Values", " (1)"),
        (
            "INSERT INTO a.`format` (`select`, b) FORMAT `CSV`\n1",
            f"INSERT INTO a.`format` (`select`, b) {IN} FORMAT CSV",
            "1",
        ),
        ("INSERT INTO t(a)VALUES(1);", f"INSERT INTO t(a) {IN} FORMAT Values", "(1);"),
        ("INSERT INTO t VALUES ('FORMAT CSV', '", f"INSERT INTO t {IN} FORMAT Values", " ('FORMAT CSV', '"),
        ("INSERT INTO t (* EXCEPT (a)) FORMAT CSV\n1", f"INSERT INTO t (* EXCEPT (a)) {IN} FORMAT CSV", "1"),
        ("INSERT INTO {t:Identifier} FORMAT CSV\n1", f"INSERT INTO {{t:Identifier}} {IN} FORMAT CSV", "1"),
        (
            "INSERT INTO {d:Identifier}.{t:Identifier} (a) VALUES",
            f"INSERT INTO {{d:Identifier}}.{{t:Identifier}} (a) {IN} FORMAT Values",
            "",
        ),
        ("INSERT INTO TABLE t FORMAT CSV\n1", f"INSERT INTO TABLE t {IN} FORMAT CSV", "1"),
        (
            "INSERT INTO t (a) SETTINGS x = 'FORMAT', y = 1 FORMAT CSV\n1",
            f"INSERT INTO t (a) {IN} SETTINGS x = 'FORMAT', y = 1 FORMAT CSV",
            "1",
        ),
        (
            "INSERT INTO t FORMAT CSV SETTINGS x = -1, y = [1]\n1",
            f"INSERT INTO t {IN} SETTINGS x = -1, y = [1] FORMAT CSV",
            "1",
        ),
        (
            "/* INSERT INTO u */ INSERT INTO t -- VALUES\n VALUES (1)",
            f"/* INSERT INTO u */ INSERT INTO t {IN} FORMAT Values",
            " (1)",
        ),
        (
            "INSERT INTO FUNCTION file('x', 'CSV', 'a Int8') FORMAT CSV\n1",
            f"INSERT INTO FUNCTION file('x', 'CSV', 'a Int8') {IN} FORMAT CSV",
            "1",
        ),
    ],
)
def test_an_insert_is_told_where_to_read(sql: str, told: str, data: str) -> None:
    """Behind the table and its columns; the rest is data, to the byte."""
    found = split(sql.encode())
    assert isinstance(found, Insert)
    assert (words(found.reading(PATH)), found.sql[found.data :].decode()) == (words(told.encode()), data)


@pytest.mark.parametrize(
    ("sql", "told", "data"),
    [
        (
            "INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1",
            "INSERT INTO t SELECT a FROM file('/p', 'CSV', 'a Int8')",
            "1",
        ),
        (
            "INSERT INTO t SELECT a FROM input('a Int8') WHERE format = 'x' ORDER BY a DESC LIMIT 5 FORMAT Avro\nObj",
            "INSERT INTO t SELECT a FROM file('/p', 'Avro', 'a Int8') WHERE format = 'x' ORDER BY a DESC LIMIT 5",
            "Obj",
        ),
        (
            "INSERT INTO t (a) SELECT a FROM input('a Int8') SETTINGS max_threads = 1 FORMAT Avro\nObj",
            "INSERT INTO t (a) SELECT a FROM file('/p', 'Avro', 'a Int8') SETTINGS max_threads = 1",
            "Obj",
        ),
        (
            "INSERT INTO t SELECT * FROM input() FORMAT Avro\nObj",
            "INSERT INTO t SELECT * FROM file('/p', 'Avro')",
            "Obj",
        ),
        (
            "INSERT INTO t SELECT * FROM INPUT ( {s:String} ) FORMAT Avro\nObj",
            "INSERT INTO t SELECT * FROM file('/p', 'Avro', {s:String})",
            "Obj",
        ),
        (
            "INSERT INTO t WITH 1 AS x SELECT x, a FROM (SELECT a FROM input('a Int8')) FORMAT CSV\n1",
            "INSERT INTO t WITH 1 AS x SELECT x, a FROM (SELECT a FROM file('/p', 'CSV', 'a Int8'))",
            "1",
        ),
        (
            "INSERT INTO t (SELECT format FROM input('format Int8')) FORMAT CSV\n1",
            "INSERT INTO t (SELECT format FROM file('/p', 'CSV', 'format Int8'))",
            "1",
        ),
        (
            "INSERT INTO t SELECT input, format AS f FROM input('input Int8, format Int8') FORMAT CSV\n1",
            "INSERT INTO t SELECT input, format AS f FROM file('/p', 'CSV', 'input Int8, format Int8')",
            "1",
        ),
        (
            "INSERT INTO t SELECT a FROM u JOIN input('b Int8') AS i ON a = b FORMAT CSV\n1",
            "INSERT INTO t SELECT a FROM u JOIN file('/p', 'CSV', 'b Int8') AS i ON a = b",
            "1",
        ),
    ],
)
def test_input_becomes_a_file(sql: str, told: str, data: str) -> None:
    """The call, and only it; the FORMAT goes with it."""
    found = split(sql.encode())
    assert isinstance(found, InsertSelect)
    assert (words(found.reading(PATH)), found.sql[found.data :].decode()) == (words(told.encode()), data)


@pytest.mark.parametrize(
    ("sql", "verb", "named"),
    [
        ("SHOW TABLES FORMAT JSON;", "SHOW", "JSON"),
        ("DESCRIBE TABLE t FORMAT CSV", "DESCRIBE", "CSV"),
        ("EXPLAIN SELECT 1", "EXPLAIN", None),
        ("set max_threads = 1", "SET", None),
        ("CREATE TABLE t (a Int8) ENGINE = Memory AS SELECT 1", "CREATE", None),
        ("INSERT INTO t SELECT 1", "INSERT", None),
        ("INSERT INTO t", "INSERT", None),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "WITH", None),
        ("OPTIMIZE TABLE t FINAL", "OPTIMIZE", None),
        ("SELECT 'open", "", None),
        ("", "", None),
        (" ; ", "", None),
    ],
)
def test_other_statements_are_told_as_they_are(sql: str, verb: str, named: str | None) -> None:
    """Including those that only the engine can refuse."""
    assert split(sql.encode()) == Command(sql.encode(), verb, named)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT 1; SELECT 2", "SYNTAX_ERROR"),
        ("SELECT 1;; DROP TABLE t", "SYNTAX_ERROR"),
        ("INSERT INTO t FORMAT CSV;", "SYNTAX_ERROR"),
        ("INSERT INTO t FORMAT CSV SETTINGS a = 1;\n1", "SYNTAX_ERROR"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", "INTO_OUTFILE_NOT_ALLOWED"),
        ("SELECT 1 INTO/**/OUTFILE '/tmp/x' FORMAT CSV", "INTO_OUTFILE_NOT_ALLOWED"),
        ("SHOW TABLES INTO OUTFILE '/tmp/x'", "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", "UNKNOWN_TYPE_OF_QUERY"),
        ("INSERT INTO t (a) FROM INFILE '/etc/passwd'", "UNKNOWN_TYPE_OF_QUERY"),
    ],
)
def test_what_a_server_refuses(sql: str, name: str) -> None:
    """Several statements at once; files of the server's machine."""
    with pytest.raises(ClickHouseError) as raised:
        split(sql.encode())
    assert raised.value.name == name


@given(st.binary(max_size=400))
def test_data_is_never_looked_at(data: bytes) -> None:
    """Whatever stands behind the FORMAT, the statement is the same and the data is whole."""
    for head in (b"INSERT INTO t (a) FORMAT RowBinary\n", b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT Avro\n"):
        found = split(head + data)
        assert isinstance(found, Insert | InsertSelect)
        assert found.sql[found.data :] == data
        assert found.reading(PATH) == (split(head).reading(PATH))  # type: ignore[union-attr]  # both are inserts


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_refused(data: bytes) -> None:
    """No text makes it fail in another way, and a query's own text stays as it was."""
    try:
        found = split(data)
    except ClickHouseError:
        return
    if isinstance(found, Query):
        told = found.into(PATH)
        assert told.replace(b"INTO OUTFILE '/p' APPEND", b"", 1).split() == data[: found.end].split()


@given(st.text(max_size=60), st.sampled_from(["JSON", "CSV", None]))
def test_strings_hide_every_word(text: str, name: str | None) -> None:
    """A literal with any text in it leaves the query's FORMAT where it is."""
    literal = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    sql = f"SELECT {literal} AS a" + (f" FORMAT {name}" if name else "")
    found = split(sql.encode(errors="surrogatepass"))
    assert isinstance(found, Query)
    assert found.format == name
