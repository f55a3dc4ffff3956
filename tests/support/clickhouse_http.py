"""A ClickHouse server for tests, ours as a process of its own, and a way to ask it by plain HTTP."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx2

from atalaia.infra.local.ports import Ports

WITHIN_SECONDS = 60


class Server:
    """The embedded server on a free port; `stop` or `kill` ends it, `start` begins again on the same directory."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self._arguments = arguments
        self.port = Ports.free().clickhouse
        self.process = self._started()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Again, after its end."""
        self.process = self._started()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WITHIN_SECONDS)

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait(WITHIN_SECONDS)

    def resident_bytes(self) -> int:
        """What it holds in memory."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()
        return int(fields[1]) * 4096

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "atalaia.infra.local.clickhouse", "--port", str(self.port)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--path", str(self.directory), *self._arguments], stdout=log, stderr=log
            )
        await_answer(self.url, process)
        return process


def await_answer(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return when the server says Ok."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not answers(url):
        assert process is None or process.poll() is None, f"the server ended with {process and process.returncode}"
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether the server says Ok."""
    try:
        urllib.request.urlopen(f"{url}/ping", timeout=2).close()
    except OSError:
        return False
    return True


class Ask:
    """One database on one server, by plain HTTP."""

    def __init__(self, url: str, database: str) -> None:
        self.url = url
        self.database = database
        self.http = httpx2.Client(base_url=url, timeout=60)

    def __call__(
        self,
        sql: str | bytes,
        body: bytes | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        arguments: Mapping[str, str] | None = None,
        **more: str,
    ) -> httpx2.Response:
        """Send `sql` as the body or, when there is a body already or nothing may have one, in the address."""
        named = {"database": self.database, **(arguments or {}), **more}
        if body is None and method == "POST":
            return self.http.post("/", content=sql, params=named, headers=headers)
        query = sql if isinstance(sql, str) else sql.decode()
        return self.http.request(method, "/", content=body, params={"query": query, **named}, headers=headers)

    def rows(self, sql: str, **arguments: str) -> list[list[str]]:
        """The rows of a query, as text."""
        answer = self(sql, arguments=arguments)
        assert answer.status_code == 200, answer.text
        return [line.split("\t") for line in answer.text.splitlines()]

    def run(self, sql: str, **arguments: str) -> None:
        """A statement that must succeed."""
        answer = self(sql, arguments=arguments)
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        """Hang up."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
