"""The contract with clickhouse-connect: its sync and its async client find a ClickHouse server."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import clickhouse_connect
import fastavro
import lz4.frame  # type: ignore[import-untyped]  # it ships no stubs
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_http import Ask

NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 789000)  # noqa: DTZ001  (the client gives naive UTC back)
COLUMNS = ["id", "name", "at", "tags", "numbers", "note"]
ROWS = [
    [1, "it's", NOON, {"k": "v'\n"}, [1, None, 3], None],
    [2**64 - 1, "ação 😀", NOON, {}, [], "x"],
]


@pytest.fixture(params=[True, False], ids=lambda value: f"compress-{value}")
def client(request: pytest.FixtureRequest, ask: Ask) -> Iterator[Client]:
    """A client with and without compression."""
    address = urlsplit(ask.url)
    made = clickhouse_connect.get_client(
        host=str(address.hostname), port=int(address.port or 0), database=ask.database, compress=request.param
    )
    yield made
    made.close()


@pytest.fixture
async def async_client(ask: Ask) -> AsyncIterator[AsyncClient]:
    """The async client."""
    address = urlsplit(ask.url)
    made = await clickhouse_connect.get_async_client(
        host=str(address.hostname), port=int(address.port or 0), database=ask.database
    )
    yield made
    await made.close()


@pytest.fixture
def table(ask: Ask) -> str:
    """A table of many types."""
    ask.run(
        "CREATE TABLE t (id UInt64, name LowCardinality(String), at DateTime64(3, 'UTC'), tags Map(String, String),"
        " numbers Array(Nullable(Int32)), note Nullable(String)) ENGINE = MergeTree ORDER BY id"
    )
    return "t"


def test_it_connects(client: Client) -> None:
    """Version, zone and settings are read when it connects."""
    assert int(str(client.server_version).split(".")[0]) >= 24
    assert client.ping()
    assert client.command("SELECT 1") == 1


def test_rows_come_back_as_they_went(client: Client, table: str) -> None:
    """Native insert and Native query, with every type and character."""
    assert client.insert(table, ROWS, column_names=COLUMNS).written_rows == 2
    assert [list(row) for row in client.query(f"SELECT * FROM {table} ORDER BY id").result_rows] == ROWS


def test_parameters(client: Client) -> None:
    """Values are bound by the server, whatever is in them."""
    values = {"s": 'it\'s\n\t😀 \\ "q"', "a": ["x'y", "z\n"], "d": NOON, "u": 2**64 - 1, "n": None}
    sql = "SELECT {s:String}, {a:Array(String)}, {d:DateTime64(3)}, {u:UInt64}, {n:Nullable(String)}"
    assert client.query(sql, parameters=values).result_rows == [tuple(values.values())]


def test_long_parameters(client: Client) -> None:
    """Longer than an address may be: the client sends a form."""
    assert client.query("SELECT length({x:String})", parameters={"x": "y" * 300_000}).result_rows == [(300_000,)]


def test_raw_inserts(client: Client, table: str) -> None:
    """Bytes, chunks and compressed bytes of any format, with the statement where the client puts it."""
    rows = b"5,q\n6,r\n"
    assert client.raw_insert(table, ["id", "name"], rows, fmt="CSV").written_rows == 2
    assert client.raw_insert(table, ["id", "name"], (part for part in (rows, rows)), fmt="CSV").written_rows == 4
    packed = lz4.frame.compress(rows)
    assert client.raw_insert(table, ["id", "name"], packed, fmt="CSV", compression="lz4").written_rows == 2
    assert client.query(f"SELECT count(), sum(id) FROM {table}").result_rows == [(8, 44)]


def test_raw_insert_of_avro(client: Client, table: str) -> None:
    """An Avro file goes in as it is."""
    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}],
    }
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"id": number, "name": "x"} for number in range(100)])
    assert client.raw_insert(table, ["id", "name"], file.getvalue(), fmt="Avro").written_rows == 100


def test_streams(client: Client) -> None:
    """Blocks arrive while the query runs."""
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(1000000)") as stream:
        assert sum(len(block) for block in stream) == 1_000_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stream_that_fails_says_why(client: Client) -> None:
    """The engine's error reaches whoever reads the blocks."""
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1"
    with (
        pytest.raises(StreamFailureError, match="Code: 395"),
        client.query_row_block_stream(sql) as stream,
    ):
        for _ in stream:
            pass


def test_errors(client: Client) -> None:
    """Code and name are there to be matched."""
    with pytest.raises(DatabaseError) as raised:
        client.query("SELECT * FROM nowhere")
    assert "UNKNOWN_TABLE" in str(raised.value)
    assert raised.value.code == 60


def test_columns_of_an_empty_result(client: Client, table: str) -> None:
    """LIMIT 0 tells the columns; so does a query without rows."""
    assert client.query(f"SELECT id, name FROM {table} LIMIT 0").column_names == ("id", "name")
    assert client.query(f"SELECT id FROM {table}").result_rows == []


def test_commands(client: Client, table: str) -> None:
    """What gives no rows gives a summary, what gives one value gives it."""
    assert client.command(f"EXISTS TABLE {table}") == 1
    client.command(f"INSERT INTO {table} (id) VALUES (1)")
    client.command(f"ALTER TABLE {table} ADD COLUMN extra String")
    assert client.command(f"SELECT count() FROM {table}") == 1
    assert "extra" in str(client.command(f"SHOW CREATE TABLE {table}"))


def test_settings(client: Client) -> None:
    """For one query, and no longer."""
    sql = "SELECT getSetting('max_block_size')"
    assert client.query(sql, settings={"max_block_size": 77}).result_rows == [(77,)]
    assert client.query(sql).result_rows != [(77,)]


def test_external_data(client: Client) -> None:
    """A table that comes with the query."""
    data = ExternalData(file_name="extra.csv", data=b"1,a\n2,b\n", fmt="CSV", structure=["id UInt32", "name String"])
    assert client.query("SELECT * FROM extra ORDER BY id", external_data=data).result_rows == [(1, "a"), (2, "b")]


def test_arrow_and_raw_queries(client: Client) -> None:
    """Any format, as bytes."""
    assert client.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert client.query_arrow("SELECT number FROM numbers(10)").num_rows == 10


async def test_async_queries_run_side_by_side(async_client: AsyncClient) -> None:
    """Eight at once, on one client."""
    answers = await asyncio.gather(*(async_client.query(f"SELECT {number}, sleep(0.1)") for number in range(8)))
    assert [answer.result_rows for answer in answers] == [[(number, 0)] for number in range(8)]


async def test_async_rows_come_back_as_they_went(async_client: AsyncClient, table: str) -> None:
    """Insert, query and errors by the async client."""
    assert (await async_client.insert(table, ROWS, column_names=COLUMNS)).written_rows == 2
    rows = (await async_client.query(f"SELECT * FROM {table} ORDER BY id")).result_rows
    assert [list(row) for row in rows] == ROWS
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await async_client.query("SELECT * FROM nowhere")


async def test_async_streams(async_client: AsyncClient) -> None:
    """Rows of a long result, as they come."""
    seen = 0
    async with await async_client.query_rows_stream("SELECT number FROM numbers(500000)") as stream:
        async for _ in stream:
            seen += 1
    assert seen == 500_000


async def test_async_parameters(async_client: AsyncClient) -> None:
    """Short ones in the address, long ones in a form."""
    for size in (10, 300_000):
        answer = await async_client.query("SELECT length({x:String})", parameters={"x": "y" * size})
        assert answer.result_rows == [(size,)]
