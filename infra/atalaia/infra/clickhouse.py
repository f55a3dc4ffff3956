"""ClickHouse over its HTTP interface: one way to connect, and its errors sorted by what can be done about them."""

from __future__ import annotations

import logging
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
            raise ClickHouseRefused(f"ClickHouse at {settings.url}: {_first_line(exc)}", code) from exc
        raise ClickHouseUnavailable(
            f"ClickHouse at {settings.url} does not answer ({_first_line(exc)}); start it with `atalaia up` "
            "or set ATALAIA_CLICKHOUSE__URL"
        ) from exc


def _first_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:300]
