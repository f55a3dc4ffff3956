"""The embedded server as a process: how it starts, ends, dies, and what it promises in between."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from clickhouse_http import Ask, Server

from atalaia.infra.local.clickhouse.server import GRACE_SECONDS

RUNNING = "SELECT count() FROM system.processes WHERE query LIKE '%000000000000%' AND query NOT LIKE '%processes%'"
COMMAND = [sys.executable, "-m", "atalaia.infra.local.clickhouse"]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests leave as it is."""
    with Server(tmp_path_factory.mktemp("standing") / "data") as server:
        yield server


@pytest.fixture
def ask(embedded: Server) -> Iterator[Ask]:
    """The default database of a server that the test may end."""
    with Ask(embedded.url, "default") as made:
        yield made


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


def await_rows(ask: Ask, sql: str, rows: list[list[str]]) -> None:
    """Return when the query gives these rows."""
    deadline = time.monotonic() + 30
    while (seen := ask.rows(sql)) != rows:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(embedded: Server, ask: Ask, number: signal.Signals) -> None:
    """A signal ends it with 0; no lock and no file of a request stays, and the next start finds the rows."""
    ask.run("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask.run("CREATE DATABASE other")
    ask.run("CREATE TABLE other.t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask.run("INSERT INTO t VALUES (1)")
    ask.run("INSERT INTO other.t VALUES (2)")
    assert embedded.stop(number) == 0
    assert not (embedded.directory / "status").exists()
    assert list((embedded.directory / "spool").iterdir()) == []
    embedded.start()
    assert ask.rows("SELECT a FROM t UNION ALL SELECT a FROM other.t ORDER BY a") == [["1"], ["2"]]
    assert ask.rows("SELECT engine FROM system.databases WHERE name = 'default'") == [["Atomic"]]


def test_what_runs_may_finish(embedded: Server, ask: Ask) -> None:
    """A query that was under way when the end was asked for gets its answer."""
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, "SELECT sleep(2)")
        await_rows(ask, "SELECT count() FROM system.processes WHERE query LIKE '%sleep(2)%'", [["2"]])
        assert embedded.stop() == 0
        assert slow.result().text == "0\n"


def test_what_runs_too_long_is_stopped(embedded: Server, ask: Ask) -> None:
    """The end does not wait for ever: after the grace the query is told that it was cancelled."""
    with ThreadPoolExecutor() as pool:
        endless = pool.submit(ask, "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)")
        await_rows(ask, "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number%'", [["2"]])
        started = time.monotonic()
        assert embedded.stop() == 0
        assert time.monotonic() - started >= GRACE_SECONDS / 2
        assert endless.result().headers["X-ClickHouse-Exception-Code"] == "394"


def test_acknowledged_rows_survive_a_crash(embedded: Server, ask: Ask) -> None:
    """After kill -9 at any moment every acknowledged insert is there, whole, and no other is there in part."""
    ask.run("CREATE TABLE t (batch UInt32, a UInt64) ENGINE = MergeTree ORDER BY (batch, a)")
    acknowledged: set[int] = set()

    def insert(worker: int) -> None:
        own = Ask(embedded.url, "default")  # a connection of its own
        for number in range(worker, 10_000, 4):
            rows = b"".join(b"%d\t%d\n" % (number, row) for row in range(500))
            try:
                answer = own("INSERT INTO t FORMAT TSV", rows)
            except httpx2.TransportError:
                break
            if answer.status_code == 200:
                acknowledged.add(number)
        own.close()

    for goal in (40, 80, 120):
        with ThreadPoolExecutor(4) as pool:
            deadline = time.monotonic() + 60
            acknowledged.clear()
            workers = [pool.submit(insert, worker) for worker in range(4)]
            while len(acknowledged) < goal:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            embedded.kill()
            for worker in workers:
                worker.result()
        embedded.start()
        batches = dict(ask.rows("SELECT batch, count() FROM t GROUP BY batch"))
        assert set(batches.values()) == {"500"}
        assert {str(number) for number in acknowledged} <= set(batches)
        ask.run("TRUNCATE TABLE t")


def test_one_directory_has_one_server(embedded: Server, ask: Ask) -> None:
    """A second one says so in a line, and leaves the first alone."""
    second = ended("--port", "0", "--path", str(embedded.directory))
    assert second.returncode == 1
    assert str(embedded.directory) in second.stderr.splitlines()[-1]
    assert "name another --path" in second.stderr
    assert "Traceback" not in second.stderr
    assert ask.rows("SELECT 1") == [["1"]]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """With what holds it, and what to do."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = ended("--port", str(port), "--path", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert f"port {port} is taken by" in refused.stderr
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_days_are_utc_wherever_the_laptop_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server: no row changes its day, no table its partitions, when their owner travels."""
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    with Server(tmp_path / "data") as server, Ask(server.url, "default") as ask:
        sql = "SELECT serverTimezone(), toDate(fromUnixTimestamp(1709251200)), toUnixTimestamp('2024-03-01 00:00:00')"
        assert ask.rows(sql) == [["UTC", "2024-03-01", "1709251200"]]


def test_help_says_what_it_is() -> None:
    """A stand-in for one laptop."""
    assert "stand-in for one laptop" in " ".join(ended("--help").stdout.split())


def test_answers_say_what_it_is(standing: Server) -> None:
    """Also on `/`, in a header: the body is ClickHouse's."""
    answer = httpx2.get(f"{standing.url}/")
    assert answer.text == "Ok.\n"
    assert "stand-in for one laptop" in answer.headers["X-Atalaia-Stand-In"]


def test_logs_are_one_structured_line_each(embedded: Server, ask: Ask) -> None:
    """Nothing but JSON is written, queries and failures included."""
    ask("SELECT 1")
    ask("SELECT * FROM nowhere")
    embedded.stop()
    lines = [json.loads(line) for line in embedded.log.read_text("utf-8").splitlines()]
    events = {line["event"] for line in lines}
    assert {"clickhouse_ready", "query_failed", "clickhouse_stopped"} <= events


def test_a_client_that_goes_away_stops_its_query(embedded: Server, ask: Ask) -> None:
    """Nobody pays for an answer that nobody waits for."""
    with httpx2.Client(timeout=1) as impatient, pytest.raises(httpx2.ReadTimeout):
        impatient.post(embedded.url, content="SELECT sum(sipHash64(number)) FROM numbers(1000000000000)")
    await_rows(ask, RUNNING, [["0"]])


def test_a_client_that_has_seen_enough_stops_its_query(embedded: Server, ask: Ask) -> None:
    """Nor for rows that nobody reads."""
    with httpx2.stream("POST", embedded.url, content="SELECT number FROM numbers(1000000000000)") as answer:
        assert next(answer.iter_raw())
        assert ask.rows(RUNNING) == [["1"]]
    await_rows(ask, RUNNING, [["0"]])


def test_a_result_may_be_larger_than_the_memory(tmp_path: Path) -> None:
    """300 MB go through an engine of 200 MB, in a format that has a beginning and an end."""
    sql = "SELECT number, toString(number) FROM numbers(14000000) FORMAT JSONCompact"
    with Server(tmp_path / "data", "--memory-bytes", "200000000") as server, Ask(server.url, "default") as ask:
        before = server.resident_bytes()
        most = size = 0
        end = b""
        with ask.http.stream("POST", "/", content=sql, headers={"Accept-Encoding": "identity"}) as answer:
            for part in answer.iter_raw():
                size += len(part)
                end = (end + part)[-500:]
                most = max(most, server.resident_bytes())
        assert b'"rows": 14000000,' in end
        assert size > 300_000_000
        assert most - before < 250_000_000


def test_a_query_over_the_memory_is_refused(tmp_path: Path) -> None:
    """Code 241, and the server serves on."""
    with Server(tmp_path / "data", "--memory-bytes", "400000000") as server, Ask(server.url, "default") as ask:
        answer = ask("SELECT length(groupArray(number)) FROM numbers(200000000)")
        assert answer.headers["X-ClickHouse-Exception-Code"] == "241"
        assert ask.rows("SELECT 1") == [["1"]]


def test_more_than_can_wait_are_sent_away(tmp_path: Path) -> None:
    """With code 202 and 503, which clients try again; those that wait get their turn."""
    with Server(tmp_path / "data", "--parallel", "1") as server, Ask(server.url, "default") as ask:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: ask("SELECT sleep(0.3)"), range(24)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(answers) - len(refused) >= 17
        assert {(a.status_code, a.headers["X-ClickHouse-Exception-Code"]) for a in refused} <= {(503, "202")}
        assert refused


def test_the_same_query_id_does_not_run_twice(ask: Ask) -> None:
    """Code 216 while the first runs; afterwards it may be used again."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask("SELECT sleep(1)", query_id="one"), range(2)))
    codes = sorted(answer.headers.get("X-ClickHouse-Exception-Code", "") for answer in answers)
    assert codes == ["", "216"]
    assert [ask("SELECT 1", query_id="one").status_code for _ in range(50)] == [200] * 50


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8123"},
        {"Host": "127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_web_pages_are_refused(standing: Server, headers: dict[str, str]) -> None:
    """Neither a form, nor a script, nor a name that points here gets at the rows."""
    answer = httpx2.post(standing.url, content="SELECT 1", headers=headers)
    assert answer.status_code == 403
    assert httpx2.get(standing.url, params={"query": "SELECT 1"}, headers=headers).status_code == 403


def test_our_own_page_is_not_refused(standing: Server) -> None:
    """The page that we serve asks from where it was served, by each of this machine's names."""
    for host in (f"127.0.0.1:{standing.port}", f"localhost:{standing.port}", f"[::1]:{standing.port}"):
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert httpx2.post(standing.url, content="SELECT 1", headers=headers).text == "1\n"


def test_the_page_needs_nothing_else(standing: Server) -> None:
    """/play is one file: nothing is loaded from anywhere, and the policy forbids it."""
    page = httpx2.get(f"{standing.url}/play", headers={"Sec-Fetch-Site": "cross-site"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.text.count("http") == page.text.count("http://www.w3.org/2000/svg")
    assert "<textarea" in page.text
    assert "prefers-color-scheme: dark" in page.text
