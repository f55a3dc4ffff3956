"""The contract of inserts over HTTP: rows in any format, by any way, counted, in order."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import fastavro
import httpx2
import lz4.frame  # type: ignore[import-untyped]  # it ships no stubs
import pytest
import zstandard
from clickhouse_http import Ask

SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "value", "type": "double"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "tags", "type": {"type": "map", "values": "string"}},
        ],
    }
)
STRUCTURE = "name String, value Float64, at DateTime64(3), tags Map(String, String)"
START_MS = 1_700_000_000_000


@pytest.fixture
def table(ask: Ask) -> str:
    """A table with a default, and room for where a row came from."""
    ask.run(
        f"CREATE TABLE t ({STRUCTURE.replace('name String', 'name LowCardinality(String)')},"
        " position UInt64 DEFAULT 7) ENGINE = MergeTree ORDER BY (name, at)"
    )
    return "t"


def avro(rows: int, start: int = 0) -> bytes:
    """An Avro object container file."""
    file = io.BytesIO()
    records = (
        {"name": f"m{number % 7}", "value": float(number), "at": START_MS + number, "tags": {"n": str(number)}}
        for number in range(start, start + rows)
    )
    fastavro.writer(file, SCHEMA, records)
    return file.getvalue()


def written(answer: httpx2.Response) -> int:
    """What the server says it has written."""
    assert answer.status_code == 200, answer.text
    return int(json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"])


@pytest.mark.parametrize(
    ("fmt", "rows"),
    [
        ("CSV", b'"a",1\n"b",2\n'),
        ("CSVWithNames", b'"value","name"\n1,"a"\n2,"b"\n'),
        ("TabSeparated", b"a\t1\nb\t2\n"),
        ("TSVWithNames", b"name\tvalue\na\t1\nb\t2\n"),
        ("JSONEachRow", b'{"name":"a","value":1}\n{"name":"b","value":2}'),
        ("JSONCompactEachRow", b'["a",1]\n["b",2]\n'),
        ("Values", b"('a', 1), ('b', 1 + 1)"),
        ("RowBinary", b"\x01a" + b"\0\0\0\0\0\0\xf0\x3f" + b"\x01b" + b"\0\0\0\0\0\0\0\x40"),
    ],
)
@pytest.mark.parametrize("where", ["address", "body"])
def test_rows_in_any_format(ask: Ask, table: str, fmt: str, rows: bytes, where: str) -> None:
    """The INSERT in the address and the rows in the body, or both in the body: the same rows, and counted."""
    sql = f"INSERT INTO {table} (name, value) FORMAT {fmt}"
    answer = ask(sql, rows) if where == "address" else ask(f"{sql}\n".encode() + rows)
    assert written(answer) == 2
    assert ask.rows(f"SELECT name, value, position FROM {table} ORDER BY name") == [["a", "1", "7"], ["b", "2", "7"]]


@pytest.mark.parametrize(
    "fmt", ["Native", "Parquet", "ArrowStream", "Avro", "RowBinaryWithNamesAndTypes", "ORC", "MsgPack"]
)
def test_what_was_selected_can_be_inserted(ask: Ask, fmt: str) -> None:
    """A binary format survives the way out and the way in."""
    ask.run("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    rows = ask(f"SELECT number AS a, toString(number) AS s FROM numbers(1000) FORMAT {fmt}").content
    assert written(ask(f"INSERT INTO t FORMAT {fmt}", rows)) == 1000
    assert ask.rows("SELECT sum(a), sum(toUInt64(s)) FROM t") == [["499500", "499500"]]


def test_values_in_the_statement(ask: Ask, table: str) -> None:
    """VALUES with strings that look like SQL, expressions and parameters."""
    sql = "INSERT INTO t (name, value) VALUES ('; DROP -- FORMAT', 1), ('it''s', 1 + 1), ({x:String}, {y:Float64}); "
    assert written(ask(sql, param_x="p\\nq", param_y="3.5")) == 3
    assert ask.rows(f"SELECT name, value FROM {table} ORDER BY value") == [
        ["; DROP -- FORMAT", "1"],
        ["it\\'s", "2"],
        ["p\\nq", "3.5"],
    ]


def test_an_insert_by_post_with_everything_in_the_address(ask: Ask, table: str) -> None:
    """An empty body is fine when the statement carries its rows."""
    assert written(ask(f"INSERT INTO {table} (name) VALUES ('x')", b"")) == 1


def test_an_insert_of_nothing(ask: Ask, table: str) -> None:
    """No rows are no error."""
    assert written(ask(f"INSERT INTO {table} FORMAT CSV", b"")) == 0


def test_an_insert_from_a_query(ask: Ask, table: str) -> None:
    """INSERT … SELECT counts what it wrote."""
    assert written(ask(f"INSERT INTO {table} (name, value) SELECT 'x', number FROM numbers(50)")) == 50


def test_avro_through_input_keeps_the_order(ask: Ask, table: str) -> None:
    """`SELECT … FROM input('…')` sees the rows in the order of the file, so that a row's number is its offset."""
    sql = (
        f"INSERT INTO {table} (name, value, at, tags, position)"
        " SELECT name, value, at, tags, rowNumberInAllBlocks() + {first:UInt64}"
        f" FROM input('{STRUCTURE}') SETTINGS max_threads = 1 FORMAT Avro"
    )
    for first in (0, 60_000):
        assert written(ask(sql, avro(60_000, first), param_first=str(first))) == 60_000
    checks = "count(), countIf(position = value), uniqExact(position), countIf(tags['n'] = toString(position))"
    assert ask.rows(f"SELECT {checks} FROM {table}") == [["120000"] * 4]


def test_input_in_the_body_with_its_rows(ask: Ask, table: str) -> None:
    """The statement and the bytes behind it, in one body, as drivers send them."""
    sql = f"INSERT INTO {table} (name, value) SELECT upper(name), value FROM input('{STRUCTURE}') FORMAT Avro\n"
    assert written(ask(sql.encode() + avro(10))) == 10
    assert ask.rows(f"SELECT min(name), max(value) FROM {table}") == [["M0", "9"]]


def test_input_filters_and_aggregates(ask: Ask, table: str) -> None:
    """What is counted is what was written, not what came."""
    sql = (
        f"INSERT INTO {table} (name, value) SELECT name, sum(value) FROM input('{STRUCTURE}')"
        " WHERE value < 7 GROUP BY name ORDER BY name DESC FORMAT Avro"
    )
    assert written(ask(sql, avro(100))) == 7


def test_the_structure_may_be_a_parameter(ask: Ask, table: str) -> None:
    """And the format's name may stand behind line breaks and comments."""
    sql = f"INSERT INTO {table} (name)\nSELECT name FROM input({{s:String}}) -- rows\n/* in */ FORMAT /* what */ CSV\n"
    assert written(ask(sql.encode() + b"x,1\n", param_s="name String, value Float64")) == 1


@pytest.mark.parametrize("rows", [b"", b"Obj\x01", b"not avro at all", avro(100)[:-50]])
def test_damaged_avro_writes_nothing(ask: Ask, table: str, rows: bytes) -> None:
    """A batch that cannot be read is an error, and none of it is in the table."""
    sql = f"INSERT INTO {table} (name) SELECT name FROM input('{STRUCTURE}') FORMAT Avro"
    answer = ask(sql, rows)
    assert answer.status_code >= 400
    assert ask.rows(f"SELECT count() FROM {table}") == [["0"]]


@pytest.mark.parametrize(
    ("sql", "rows", "name"),
    [
        ("INSERT INTO t (name, value) FORMAT CSV", b"a,1\nb,two\n", "CANNOT_PARSE_NUMBER"),
        ("INSERT INTO t (name, nothing) FORMAT CSV", b"a,1\n", "NO_SUCH_COLUMN_IN_TABLE"),
        ("INSERT INTO t FORMAT NoSuchFormat", b"a", "UNKNOWN_FORMAT"),
        ("INSERT INTO t FORMAT CSV;", b"a,1\n", "SYNTAX_ERROR"),
        ("INSERT INTO t (name) SELECT nothing FROM input('name String') FORMAT CSV", b"a\n", "UNKNOWN_IDENTIFIER"),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", b"", "UNKNOWN_TYPE_OF_QUERY"),
    ],
)
def test_what_is_wrong_with_an_insert(ask: Ask, table: str, sql: str, rows: bytes, name: str) -> None:
    """The error is ClickHouse's, in the words of the client's statement, and nothing is written."""
    answer = ask(sql, rows)
    assert f"({name}) (version" in answer.text
    assert "/proc/" not in answer.text
    assert "INFILE '/proc" not in answer.text
    assert ask.rows(f"SELECT count() FROM {table}") == [["0"]]


@pytest.mark.parametrize("coding", ["gzip", "zstd", "lz4", "deflate"])
def test_rows_may_come_compressed(ask: Ask, table: str, coding: str) -> None:
    """Content-Encoding is heeded, for the body only."""
    pack = {
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "lz4": lz4.frame.compress,
        "deflate": zlib.compress,
    }
    answer = ask(
        f"INSERT INTO {table} (name) FORMAT TSV", pack[coding](b"x\n" * 1000), headers={"Content-Encoding": coding}
    )
    assert written(answer) == 1000


def test_a_damaged_compressed_body_writes_nothing(ask: Ask, table: str) -> None:
    """Cut off in the middle, it is an error."""
    packed = gzip.compress(bytes(range(256)) * 100)[:-40]
    answer = ask(f"INSERT INTO {table} (name) FORMAT LineAsString", packed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code >= 400
    assert ask.rows(f"SELECT count() FROM {table}") == [["0"]]


def test_rows_may_come_in_chunks(ask: Ask, table: str) -> None:
    """A body of unknown length, with the end of a row anywhere."""

    def chunks() -> Iterator[bytes]:
        yield f"INSERT INTO {table} (name, value) FORM".encode()
        yield b"AT CSV\nfirst,"
        for number in range(1000):
            yield b"%d\nx," % number
        yield b"5\n"

    answer = ask.http.post("/", params={"database": ask.database}, content=chunks())
    assert written(answer) == 1001


def test_a_large_insert(ask: Ask) -> None:
    """More than is held in memory."""
    ask.run("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    row = b"%d\t" + b"x" * 990 + b"\n"
    chunks = (b"".join(row % number for number in range(start, start + 1000)) for start in range(0, 100_000, 1000))
    answer = ask.http.post("/", params={"database": ask.database, "query": "INSERT INTO t FORMAT TSV"}, content=chunks)
    assert written(answer) == 100_000
    assert ask.rows("SELECT count(), sum(a), sum(length(s)) FROM t") == [["100000", "4999950000", "99000000"]]


def test_async_inserts_are_there_when_waited_for(ask: Ask, table: str) -> None:
    """`async_insert=1&wait_for_async_insert=1` acknowledges what can be read."""
    settings = {"async_insert": "1", "wait_for_async_insert": "1"}
    with ThreadPoolExecutor(4) as pool:
        sql = f"INSERT INTO {table} (name) FORMAT CSV"
        answers = list(pool.map(lambda number: ask(sql, b"%d\n" % number, arguments=settings), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert ask.rows(f"SELECT count() FROM {table}") == [["20"]]


def test_too_many_partitions_are_refused(ask: Ask) -> None:
    """`max_partitions_per_insert_block` in the address holds: code 252."""
    ask.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree PARTITION BY a ORDER BY a")
    sql = "INSERT INTO t SELECT number FROM numbers(10)"
    answer = ask(sql, max_partitions_per_insert_block="5")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "252"
    assert written(ask(sql, max_partitions_per_insert_block="10")) == 10


def test_materialized_views_follow(ask: Ask) -> None:
    """A view's table has the rows as soon as the insert is acknowledged."""
    ask.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    ask.run(
        "CREATE MATERIALIZED VIEW v ENGINE = SummingMergeTree ORDER BY k"
        " AS SELECT a % 2 AS k, count() AS n FROM t GROUP BY k"
    )
    ask.run("INSERT INTO t SELECT number FROM numbers(10)")
    assert ask.rows("SELECT k, sum(n) FROM v GROUP BY k ORDER BY k") == [["0", "5"], ["1", "5"]]


def test_replacing_keeps_the_latest_version(ask: Ask) -> None:
    """FINAL shows one row a key, with a Map column merged by hand."""
    ask.run("CREATE TABLE t (k UInt8, v UInt64, m Map(Int32, UInt64)) ENGINE = ReplacingMergeTree(v) ORDER BY k")
    for version in (2, 1, 3):
        ask.run(f"INSERT INTO t VALUES (1, {version}, {{1:{version}, 5:10}})")
    assert ask.rows("SELECT k, v, m FROM t FINAL") == [["1", "3", "{1:3,5:10}"]]
    assert ask.rows("SELECT sumMap(m) FROM t") == [["{1:6,5:30}"]]


def test_rows_past_their_time_go(ask: Ask) -> None:
    """A TTL removes them when the table is merged."""
    ask.run("CREATE TABLE t (a UInt8, day Date) ENGINE = MergeTree ORDER BY a TTL day + INTERVAL 1 DAY")
    ask.run("INSERT INTO t VALUES (1, '2001-01-01'), (2, today())")
    ask.run("OPTIMIZE TABLE t FINAL")
    assert ask.rows("SELECT a FROM t") == [["2"]]


def test_a_file_of_a_moment_ago_is_forgotten(ask: Ask) -> None:
    """Requests one after the other never see each other's rows, nor their types."""
    ask.run("CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s")
    for rows in (b'{"s":"1"}', b'{"s":"two","more":1}', b'{"s":"3"}\n{"s":"4"}'):
        sql = "INSERT INTO t SELECT s FROM input('s String') FORMAT JSONEachRow"
        assert written(ask(sql, rows)) == rows.count(b'"s"')
    counts = "INSERT INTO t SELECT toString(count()) FROM input('s String') FORMAT TSV"
    for size in (3, 5):
        ask.run("TRUNCATE TABLE t")
        assert written(ask(counts, b"x\n" * size)) == 1
        assert ask.rows("SELECT s FROM t") == [[str(size)]]
