"""ClickHouse over its HTTP interface: one way to connect, and its errors sorted by what can be done about them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as DriverError

from atalaia.infra.errors import Failure
from atalaia.infra.settings import ClickHouseSettings

CONNECT_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 60
"""A statement that takes longer is given up by both ends; well under Kafka's max.poll.interval.ms of five minutes."""
_GIST_CHARACTERS: Final = 300
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ([\w ]+)")


class ClickHouseUnavailable(Failure):
    """No answer, or none that can be relied on: a statement that was sent may or may not have been carried out."""


class ClickHouseRefused(Failure):
    """ClickHouse answered with an error; `code` is its number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def connect(settings: ClickHouseSettings, *, database: str | None = None) -> Client:
    """A client with one statement at a time in mind; raises ClickHouseUnavailable or ClickHouseRefused.

    Made per thread: a client has no lock. Nothing is compressed on the way in: bodies are sent as they are.
    """
    for noisy in ("clickhouse_connect", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)  # they warn of what they raise
    url = urlsplit(settings.url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise Failure(f"ATALAIA_CLICKHOUSE__URL={settings.url}: write it as http://host:8123 or https://host:8443")
    with errors(settings):
        return clickhouse_connect.get_client(
            interface=url.scheme,
            host=url.hostname,
            port=url.port or (8443 if url.scheme == "https" else 8123),
            username=settings.user,
            password=settings.password.get_secret_value(),
            database=database if database is not None else settings.database,
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=STATEMENT_SECONDS,
            autogenerate_session_id=False,
            compress=False,
            query_limit=0,
            client_name="atalaia",
        )


@contextmanager
def errors(settings: ClickHouseSettings) -> Iterator[None]:
    """Turns the driver's errors into ClickHouseRefused, where the server gave a code, or ClickHouseUnavailable."""
    try:
        yield
    except (ClickHouseError, OSError) as exc:
        code = exc.code if isinstance(exc, DriverError) else None
        if code:
            raise ClickHouseRefused(f"ClickHouse at {settings.url}: {gist(str(exc))}", code) from exc
        raise ClickHouseUnavailable(
            f"ClickHouse at {settings.url} does not answer ({gist(str(exc))}); start it with `atalaia up` "
            "or set ATALAIA_CLICKHOUSE__URL"
        ) from exc


def gist(message: str) -> str:
    """What went wrong, without what the driver and the server wrap around it.

    >>> gist("Received ClickHouse exception, code: 62, server response: Code: 62. DB::Exception: Syntax error: failed "
    ...      "at 1. (SYNTAX_ERROR) (version 26.9.2.1 (official build)) (for url http://127.0.0.1:8123)")
    'Syntax error: failed at 1. (SYNTAX_ERROR)'
    >>> gist("HTTPConnectionPool(…): Max retries exceeded (Caused by X('… [Errno 111] Connection refused'))")
    'Connection refused'
    """
    text = " ".join(message.split())
    if failed := _ERRNO.search(text):
        return failed.group(1)
    _, found, rest = text.partition("DB::Exception: ")
    return (rest.partition(" (version ")[0].partition(" (for url ")[0] if found else text)[:_GIST_CHARACTERS]
