"""The contract of queries over HTTP: what is answered, in which words, with which status."""

from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx2
import lz4.frame  # type: ignore[import-untyped]  # it ships no stubs
import pytest
import zstandard
from clickhouse_http import Ask

from atalaia.infra.local.clickhouse.blocks import BlockCompressor, BlockDecompressor


def test_health_is_ok(ask: Ask) -> None:
    """`/` and `/ping` say Ok."""
    assert [ask.http.get(path).text for path in ("/ping", "/")] == ["Ok.\n", "Ok.\n"]


def test_an_unknown_path_is_not_found(ask: Ask) -> None:
    """Other paths are 404, and say where queries go."""
    answer = ask.http.get("/nowhere")
    assert answer.status_code == 404
    assert "There is no handle /nowhere" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_may_stand_in_the_address(ask: Ask, method: str) -> None:
    """GET and POST take the query from the address."""
    assert ask("SELECT 1 + 1", b"", method=method).text == "2\n"


def test_the_address_and_the_body_are_one_query(ask: Ask) -> None:
    """The body goes on where the address's query ends, on a new line."""
    assert ask("SELECT 1 -- one", b"+ 2").text == "3\n"


def test_version_and_timezone(ask: Ask) -> None:
    """A client that connects learns the version and the zone."""
    answer = ask("SELECT version(), timezone()")
    version, zone = answer.text.split()
    assert version[0].isdigit()
    assert answer.headers["X-ClickHouse-Timezone"] == zone


@pytest.mark.parametrize(
    ("sql", "arguments", "headers", "text"),
    [
        ("SELECT 1 AS a", {}, {}, "1\n"),
        ("SELECT 1 AS a FORMAT CSVWithNames", {}, {}, '"a"\n1\n'),
        ("SELECT 1 AS a", {"default_format": "JSONEachRow"}, {}, '{"a":1}\n'),
        ("SELECT 1 AS a", {"default_format": "CSV"}, {"X-ClickHouse-Format": "JSONEachRow"}, '{"a":1}\n'),
        ("SELECT 1 AS a FORMAT TSVWithNames", {"default_format": "CSV"}, {}, "a\n1\n"),
        ("SELECT 'FORMAT CSV' AS a -- FORMAT JSON", {}, {}, "FORMAT CSV\n"),
        ("SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1;", {}, {}, '{"a":1}\n'),
        ("SELECT format FROM (SELECT 1 AS format)", {}, {}, "1\n"),
        ("(SELECT 1) UNION ALL (SELECT 1) FORMAT TSV /* both */ ; -- done", {}, {}, "1\n1\n"),
        ("WITH 2 AS x SELECT x", {}, {}, "2\n"),
        ("SELECT '/* ' || $$it's; FORMAT$$", {}, {}, "/* it\\'s; FORMAT\n"),
        ("SELECT 1 WHERE 0", {"default_format": "TSVWithNames"}, {}, "1\n"),
    ],
)
def test_the_format(ask: Ask, sql: str, arguments: dict[str, str], headers: dict[str, str], text: str) -> None:
    """The query's own FORMAT wins over the header, the header over the argument; words in strings are no clauses."""
    answer = ask(sql, headers=headers, arguments=arguments)
    assert (answer.status_code, answer.text) == (200, text)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
        ("CSV", "text/csv; charset=UTF-8; header=absent"),
        ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
        ("JSON", "application/json; charset=UTF-8"),
        ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ("Native", "application/octet-stream"),
    ],
)
def test_the_answer_names_its_format(ask: Ask, name: str, media_type: str) -> None:
    """The headers say which format, and its media type."""
    answer = ask("SELECT 1", default_format=name)
    assert (answer.headers["X-ClickHouse-Format"], answer.headers["Content-Type"]) == (name, media_type)


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nowhere", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nowhere.t", 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT no_such_function(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT no_such_column", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT 1 FORMAT NoSuchFormat", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115, "UNKNOWN_SETTING"),
        ("SELEKT 1", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 'open", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {missing:String}", 500, 456, "UNKNOWN_QUERY_PARAMETER"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 408, 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1 INTO OUTFILE 'x'", 500, 358, "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO nowhere FORMAT CSV\n1", 404, 60, "UNKNOWN_TABLE"),
    ],
)
def test_an_error_has_its_code_status_and_words(ask: Ask, sql: str, status: int, code: int, name: str) -> None:
    """`Code: N. DB::Exception: … (NAME) (version …)`, the code in a header, and the status that ClickHouse gives."""
    answer = ask(sql)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code)), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in answer.text
    assert answer.text.count("DB::Exception") == 1
    assert "/proc/" not in answer.text


@pytest.mark.parametrize(
    "sql", ["INSERT INTO t VALUES (1)", "CREATE TABLE u (a UInt8) ENGINE = Memory", "DROP TABLE t", "OPTIMIZE TABLE t"]
)
def test_get_only_reads(ask: Ask, sql: str) -> None:
    """Whatever writes is refused by GET, and by POST with `readonly`."""
    ask.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    for answer in (ask(sql, method="GET"), ask(sql, readonly="1"), ask(sql, readonly="2")):
        assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
        assert "Cannot execute query in readonly mode" in answer.text
    assert ask.rows("SHOW TABLES") == [["t"]]
    assert ask.rows("SELECT count() FROM t") == [["0"]]


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SHOW TABLES", "EXISTS TABLE t", "EXPLAIN SELECT 1", "DESCRIBE (SELECT 1)"]
)
def test_get_reads(ask: Ask, sql: str) -> None:
    """Whatever reads works by GET."""
    assert ask(sql, method="GET").status_code == 200


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("String", 'it\'s "so" 😀', 'it\\\'s "so" 😀'),
        ("String", "a\\nb\\tc\\\\d", "a\\nb\\tc\\\\d"),
        ("UInt64", "18446744073709551615", "18446744073709551615"),
        ("Float64", "-1.5e300", "-1.5e300"),
        ("DateTime64(3, 'UTC')", "2024-02-29 12:34:56.789", "2024-02-29 12:34:56.789"),
        ("Array(String)", "['it\\'s','b']", "['it\\'s','b']"),
        ("Array(UInt8)", "[1,2]", "[1,2]"),
        ("Map(String, UInt8)", "{'a':1}", "{'a':1}"),
        ("Nullable(String)", "\\N", "\\N"),
        ("Enum8('x' = 1)", "x", "x"),
        ("UUID", "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
    ],
)
def test_parameters_are_bound_by_the_server(ask: Ask, kind: str, value: str, text: str) -> None:
    """`{x:Type}` takes `param_x`, escaped as in TabSeparated; nothing in a value is SQL."""
    assert ask(f"SELECT {{x:{kind}}}", param_x=value).text == f"{text}\n"


def test_identifiers_are_parameters_too(ask: Ask) -> None:
    """A table's name may be one."""
    ask.run("CREATE TABLE t (a UInt8) ENGINE = Memory")
    ask.run("INSERT INTO {t:Identifier} VALUES ({a:UInt8})", param_t="t", param_a="7")
    assert ask.rows("SELECT a FROM {t:Identifier}", param_t="t") == [["7"]]


def test_settings_in_the_address_hold_for_one_request(ask: Ask) -> None:
    """They are in force, and gone with the next request."""
    read = "SELECT getSetting('max_block_size')"
    assert ask.rows(read, max_block_size="123") == [["123"]]
    assert ask.rows(read) != [["123"]]


def test_an_unknown_setting_is_refused(ask: Ask) -> None:
    """With ClickHouse's own error."""
    answer = ask("SELECT 1", no_such_setting="1")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (404, "115")


@pytest.mark.parametrize("where", ["argument", "header"])
def test_the_database(ask: Ask, where: str) -> None:
    """Names without one are looked up in the request's; the header wins over the argument."""
    headers = {"X-ClickHouse-Database": "system"} if where == "header" else {}
    answer = ask("SELECT currentDatabase()", headers=headers, database="system")
    assert answer.text == "system\n"


def test_an_unknown_database_is_not_found(ask: Ask) -> None:
    """404, code 81."""
    answer = ask("SELECT 1", database="no_such_database")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (404, "81")


def test_the_query_id_is_the_clients(ask: Ask) -> None:
    """An id comes back: the client's, from either place, or a new one."""
    assert ask("SELECT 1", query_id="mine-1").headers["X-ClickHouse-Query-Id"] == "mine-1"
    headers = {"X-ClickHouse-Query-Id": "mine-2"}
    assert ask("SELECT 1", headers=headers).headers["X-ClickHouse-Query-Id"] == "mine-2"
    ids = {ask("SELECT 1").headers["X-ClickHouse-Query-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_the_summary_counts(ask: Ask) -> None:
    """What was read and what was given, in numbers written as strings."""
    answer = ask("SELECT number FROM numbers(10) WHERE sipHash64(number) % 2 >= 0 LIMIT 3", wait_end_of_query="1")
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"], summary["written_rows"]) == ("10", "3", "0")


@pytest.mark.parametrize(
    ("coding", "unpack"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("lz4", lz4.frame.decompress),
    ],
)
@pytest.mark.parametrize("rows", [1_000, 1_000_000])
def test_results_are_compressed_as_the_client_accepts(ask: Ask, coding: str, unpack: object, rows: int) -> None:
    """Accept-Encoding is heeded when `enable_http_compression` is on."""
    assert callable(unpack)
    sql = f"SELECT number FROM numbers({rows}) FORMAT TSV"
    arguments = {"database": ask.database, "enable_http_compression": "1"}
    with ask.http.stream("POST", "/", content=sql, params=arguments, headers={"Accept-Encoding": coding}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == coding
    assert unpack(packed).splitlines()[-1] == b"%d" % (rows - 1)


def test_compression_is_off_when_that_is_asked(ask: Ask) -> None:
    """`enable_http_compression=0` sends the result as it is."""
    answer = ask("SELECT * FROM numbers(1000)", headers={"Accept-Encoding": "gzip"}, enable_http_compression="0")
    assert "Content-Encoding" not in answer.headers
    assert answer.text.endswith("\n999\n")


def test_native_compression(ask: Ask) -> None:
    """`compress=1` gives ClickHouse's own blocks, `decompress=1` takes them."""
    answer = ask("SELECT number FROM numbers(300000)", compress="1")
    blocks = BlockDecompressor()
    text = blocks.write(answer.content) + blocks.finish()
    assert text.splitlines()[-1] == b"299999"
    assert ask(BlockCompressor().write(b"SELECT 1 + 1"), decompress="1").text == "2\n"


@pytest.mark.parametrize("coding", ["gzip", "zstd", "lz4", "deflate"])
def test_a_query_may_come_compressed(ask: Ask, coding: str) -> None:
    """Content-Encoding is heeded."""
    pack = {
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "lz4": lz4.frame.compress,
        "deflate": zlib.compress,
    }
    assert ask(pack[coding](b"SELECT 42"), headers={"Content-Encoding": coding}).text == "42\n"


def test_an_unknown_coding_is_refused(ask: Ask) -> None:
    """A body in a coding that isn't known is an error, not a query."""
    answer = ask(b"SELECT 1", headers={"Content-Encoding": "rot13"})
    assert answer.status_code >= 400
    assert "rot13" in answer.text


@pytest.mark.parametrize("waits", ["0", "1"])
@pytest.mark.parametrize(
    "name", ["TSV", "JSONCompact", "CSVWithNames", "Native", "Parquet", "RowBinaryWithNamesAndTypes"]
)
def test_a_large_result_is_whole_in_every_format(ask: Ask, name: str, waits: str) -> None:
    """A result larger than any buffer is the same, streamed or waited for, as a file of that format must be."""
    answer = ask(f"SELECT number, toString(number) AS text FROM numbers(500000) FORMAT {name}", wait_end_of_query=waits)
    ask.run("CREATE TABLE t (number UInt64, text String) ENGINE = Memory")
    if name == "JSONCompact":
        result = answer.json()
        assert (result["rows"], {str(value) for value in result["data"][-1]}) == (500_000, {"499999"})
        return
    assert ask(f"INSERT INTO t FORMAT {name}", answer.content).status_code == 200
    assert ask.rows("SELECT count(), uniqExact(number), sum(number = toUInt64(text)) FROM t") == [["500000"] * 3]


def test_an_error_in_the_middle_breaks_the_result_off(ask: Ask) -> None:
    """After the status has gone out, the error stands at the end of the body and the transfer is not completed."""
    sql = "SELECT throwIf(number = 4000000), number FROM numbers(5000000) SETTINGS max_threads = 1"
    parts: list[bytes] = []
    with ask.http.stream("POST", "/", content=sql, headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            parts.extend(answer.iter_raw())
    assert b"Code: 395. DB::Exception: " in b"".join(parts[-2:])


def test_waiting_for_the_end_finds_the_error_in_time(ask: Ask) -> None:
    """`wait_end_of_query=1` answers with the error's status, however late the error."""
    sql = "SELECT throwIf(number = 4000000), number FROM numbers(5000000) SETTINGS max_threads = 1"
    answer = ask(sql, wait_end_of_query="1")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "395")


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW TABLES",
        "SHOW CREATE TABLE t",
        "DESCRIBE TABLE t",
        "EXISTS TABLE t",
        "CHECK TABLE t",
        "EXPLAIN SELECT a FROM t",
        "EXPLAIN AST SELECT 1",
        "OPTIMIZE TABLE t FINAL",
        "ALTER TABLE t MODIFY TTL day + INTERVAL 1 YEAR",
        "ALTER TABLE t ADD COLUMN b String DEFAULT 'x'",
        "ALTER TABLE t DELETE WHERE a = 1 SETTINGS mutations_sync = 1",
        "SYSTEM STOP MERGES t",
        "SYSTEM START MERGES t",
        "RENAME TABLE t TO u",
        "TRUNCATE TABLE t",
        "DROP TABLE IF EXISTS missing",
        "CREATE OR REPLACE VIEW v AS SELECT a FROM t",
    ],
)
def test_statements_work(ask: Ask, sql: str) -> None:
    """What a schema's migrations and its keeper say is understood."""
    ask.run("CREATE TABLE t (a UInt8, day Date) ENGINE = MergeTree ORDER BY a")
    ask.run("INSERT INTO t VALUES (1, '2024-01-01')")
    assert ask(sql).status_code == 200


def test_functions_can_be_made(ask: Ask) -> None:
    """CREATE FUNCTION holds for every request after it."""
    name = f"twice_{ask.database}"
    ask.run(f"CREATE FUNCTION {name} AS (x) -> x * 2")
    assert ask.rows(f"SELECT {name}(21)") == [["42"]]
    ask.run(f"DROP FUNCTION {name}")


def test_without_a_session_nothing_is_kept(ask: Ask) -> None:
    """SET, USE and temporary tables end with their request."""
    ask.run("SET max_block_size = 77")
    ask.run("USE system")
    assert ask.rows("SELECT getSetting('max_block_size') = 77, currentDatabase()") == [["0", ask.database]]


def test_a_session_keeps_what_it_was_told(ask: Ask) -> None:
    """SET, USE and temporary tables hold within a session; settings in an address still for one request only."""
    session = {"session_id": ask.database}
    ask.run("SET max_block_size = 77", **session)
    ask.run("CREATE TEMPORARY TABLE kept (a UInt8)", **session)
    ask.run("INSERT INTO kept VALUES (5)", **session)
    assert ask.rows("SELECT a, getSetting('max_block_size') FROM kept", **session) == [["5", "77"]]
    assert ask.rows("SELECT getSetting('max_block_size')", max_block_size="88", **session) == [["88"]]
    assert ask.rows("SELECT getSetting('max_block_size')", **session) == [["77"]]
    assert ask("SELECT a FROM kept").status_code == 404
    assert ask("SELECT 1", close_session="1", arguments=session).text == "1\n"
    assert ask("SELECT a FROM kept", arguments=session).status_code == 404


def test_a_session_must_exist_when_that_is_asked(ask: Ask) -> None:
    """`session_check=1` refuses a session that isn't there: code 372."""
    answer = ask("SELECT 1", session_id="never-seen", session_check="1")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "372"


def test_a_session_is_for_one_request_at_a_time(ask: Ask) -> None:
    """A second one is refused while the first runs: code 373."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask("SELECT sleep(1)", session_id=ask.database), range(2)))
    codes = sorted(answer.headers.get("X-ClickHouse-Exception-Code", "") for answer in answers)
    assert codes == ["", "373"]


def test_queries_run_in_parallel(ask: Ask) -> None:
    """Eight sleepers sleep at the same time."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask("SELECT now64(9), sleep(1), now64(9)"), range(8)))
    starts = [answer.text.split("\t")[0] for answer in answers]
    assert all(answer.status_code == 200 for answer in answers)
    assert len(starts) == 8


def test_external_tables_come_with_the_query(ask: Ask) -> None:
    """A form's files are tables of the query, bytes and all."""
    rows = b'1,"a\r\n,\xff\x00"\r\n2,c\n'
    answer = ask.http.post(
        "/",
        params={
            "query": "SELECT id, hex(text) FROM extra ORDER BY id",
            "extra_structure": "id UInt8, text String",
            "extra_format": "CSV",
        },
        files={"extra": ("extra.csv", rows)},
    )
    assert (answer.status_code, answer.text) == (200, "1\t610D0A2CFF00\n2\t63\n"), answer.text


def test_a_form_carries_query_and_parameters(ask: Ask) -> None:
    """As clients send them when an address would be too long."""
    value = "x" * 300_000
    answer = ask.http.post("/", files={"query": (None, "SELECT length({x:String})"), "param_x": (None, value)})
    assert answer.text == "300000\n"


def test_long_addresses_are_read(ask: Ask) -> None:
    """A query of sixty kilobytes may stand in the address."""
    assert ask(f"SELECT length('{'x' * 60_000}')", method="GET").text == "60000\n"


def test_credentials_are_accepted(ask: Ask) -> None:
    """The default user with an empty password, in every way there is to say so."""
    assert ask("SELECT 1", headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""}).text == "1\n"
    assert ask("SELECT 1", user="default", password="").text == "1\n"
    assert ask("SELECT 1", headers={"Authorization": "Basic ZGVmYXVsdDo="}).text == "1\n"
