"""The small parts: spools, sessions, places, requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from clickhouse_connect.driver.transform import extract_exception_with_tag

from atalaia.infra.local.clickhouse import request
from atalaia.infra.local.clickhouse.body import Body, Disconnected
from atalaia.infra.local.clickhouse.compression import Plain
from atalaia.infra.local.clickhouse.desk import WAITING_PER_RUNNING, Desk
from atalaia.infra.local.clickhouse.engine import Connection
from atalaia.infra.local.clickhouse.errors import ClickHouseError, parsed
from atalaia.infra.local.clickhouse.reply import exception_trailer
from atalaia.infra.local.clickhouse.sessions import MOST, Sessions
from atalaia.infra.local.clickhouse.spool import Spool


@pytest.mark.parametrize("parts", [[b""], [b"ab", b"c"], [b"x" * 40, b"y" * 40, b"z" * 40], [b"x" * 500]])
def test_a_spool_holds_what_was_written(tmp_path: Path, parts: list[bytes]) -> None:
    """Under its path and in its chunks, in memory or on disk; no file of it is ever seen."""
    with Spool(tmp_path, memory_bytes=100) as spool:
        for part in parts:
            spool.write(part)
        whole = b"".join(parts)
        assert Path(spool.path).read_bytes() == whole
        assert (b"".join(spool.chunks()), spool.size) == (whole, len(whole))
        on_disk = Path(spool.path).readlink().is_relative_to(tmp_path)
        assert on_disk == (len(whole) > 100)
        assert list(tmp_path.iterdir()) == []


def open_files() -> set[str]:
    """The files that this process has open."""
    return {file.name for file in Path("/proc/self/fd").iterdir()}


def test_a_closed_spool_is_gone(tmp_path: Path) -> None:
    """Closing twice closes once."""
    before = open_files()
    spool = Spool(tmp_path, memory_bytes=1)
    spool.write(b"abc")
    spool.close()
    spool.close()
    assert open_files() <= before


def sessions() -> tuple[Sessions, list[Mock]]:
    """Sessions on connections that only note their end."""
    made: list[Mock] = []

    def connect() -> Connection:
        made.append(Mock(spec=Connection))
        connection: Connection = made[-1]
        return connection

    return Sessions(connect), made


def test_a_session_lives_as_long_as_it_was_asked_to() -> None:
    """Taken within its time it is the same; after it, another."""
    kept, made = sessions()
    first = kept.take("a", must_exist=False, now=0.0)
    kept.give_back("a", timeout_seconds=60, now=0.0)
    assert kept.take("a", must_exist=True, now=59.9) is first
    kept.give_back("a", timeout_seconds=60, now=60.0)
    assert kept.take("a", must_exist=False, now=120.0) is not first
    made[0].close.assert_called_once()


def test_a_busy_session_is_locked_and_does_not_expire() -> None:
    """While a request runs in it."""
    kept, _ = sessions()
    kept.take("a", must_exist=False, now=0.0)
    with pytest.raises(ClickHouseError, match="locked"):
        kept.take("a", must_exist=False, now=1e9)


def test_idle_sessions_are_bounded() -> None:
    """The one that has been idle longest goes first."""
    kept, made = sessions()
    for number in range(MOST + 2):
        kept.take(str(number), must_exist=False, now=0.0)
        kept.give_back(str(number), timeout_seconds=60, now=0.0)
    kept.take("last", must_exist=False, now=1.0)
    assert [connection.close.called for connection in made[:3]] == [True, True, False]
    with pytest.raises(ClickHouseError, match="not found"):
        kept.take("0", must_exist=True, now=1.0)


async def test_places_are_given_in_order() -> None:
    """One at a time, first come, first served; and no more wait than may."""
    desk = Desk(parallel=1)
    order: list[int] = []

    async def come(number: int) -> None:
        async with desk.place(f"q{number}"):
            order.append(number)
            await asyncio.sleep(0)

    outcomes = await asyncio.gather(
        *(come(number) for number in range(WAITING_PER_RUNNING + 3)), return_exceptions=True
    )
    assert order == list(range(WAITING_PER_RUNNING + 1))
    assert [type(outcome) for outcome in outcomes[-2:]] == [ClickHouseError] * 2
    assert desk.names == frozenset()


def test_the_first_of_equal_arguments_counts() -> None:
    """As ClickHouse has it; what isn't reserved is a setting, `param_` is a parameter."""
    asked = request.read("GET", b"query=a&query=b&param_x=1%0A&max_threads=2&=3&database=d&x=%ff", {})
    assert (asked.query, asked.database, asked.read_only) == (b"a", "d", True)
    assert (dict(asked.parameters), dict(asked.settings)) == ({"x": "1\n"}, {"max_threads": "2", "x": "\udcff"})


@pytest.mark.parametrize("query", [b"session_id=a&session_timeout=x", b"readonly=-1", b"buffer_size=big"])
def test_arguments_that_make_no_sense_are_refused(query: bytes) -> None:
    """In words that name them."""
    with pytest.raises(ClickHouseError):
        request.read("POST", query, {})


async def test_a_body_that_breaks_off_is_no_body() -> None:
    """The client went away: nothing is done."""
    messages: Iterator[dict[str, object]] = iter(
        [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    body = Body(receive, Plain())
    assert await body.at_least(1) == b"ab"
    with pytest.raises(Disconnected):
        await body.at_least(1)


def test_nested_errors_are_one() -> None:
    """However often the engine wraps them; what isn't an error of the engine keeps its words."""
    inner = "Code: 27. DB::Exception: Cannot parse (at row 2): While executing File. (CANNOT_PARSE) (version 26.9)"
    error = parsed(f"Query failed: Code: 27. DB::Exception: {inner}. (CANNOT_PARSE)")
    assert (error.code, error.name, error.message) == (
        27,
        "CANNOT_PARSE",
        "Cannot parse (at row 2): While executing File.",
    )
    assert (parsed("out of luck").message, parsed("out of luck").status) == ("out of luck", 500)


def test_the_trailer_is_found_by_clickhouse_connect() -> None:
    """It reads the message out of the last bytes, by the tag."""
    tail = b"rows\x00\xff" + exception_trailer("Code: 395. DB::Exception: Why (NAME)", "tag0")
    assert extract_exception_with_tag(tail, "tag0") == "Code: 395. DB::Exception: Why (NAME)"
