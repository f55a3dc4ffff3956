"""What was asked, read from the address and the headers (pure)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from atalaia.infra.local.clickhouse import sessions
from atalaia.infra.local.clickhouse.errors import ClickHouseError

BAD_ARGUMENTS: Final = 36
LEAST_BUFFER_BYTES: Final = 1 << 20
"""Results up to this size are answered whole, with their length and exact counts: what a server does, too."""
MOST_BUFFER_BYTES: Final = 64 << 20
MOST_FIELDS: Final = 10_000

# Arguments that are not settings. Users, roles and quotas don't exist here: accepted, and of no effect.
_NOT_SETTINGS: Final = frozenset(
    (
        *("query", "query_id", "database", "default_format", "user", "password", "role", "quota_key", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session"),
        *("compress", "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version"),
    )
)
_EXTERNAL_TABLE: Final = ("_format", "_types", "_structure")
_PARAMETER: Final = "param_"
_TRUE: Final = {"1", "true"}


@dataclass(frozen=True, slots=True)
class SessionAsked:
    """The session a request belongs to."""

    name: str
    timeout_seconds: int
    must_exist: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, but for its body."""

    query: bytes
    query_id: str
    read_only: bool
    database: str
    default_format: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session: SessionAsked | None
    wait_end_of_query: bool
    buffer_bytes: int
    accept_encoding: str
    """Empty when the result is to go as it is."""
    content_encoding: str
    content_type: str
    native_result: bool
    """`compress=1`: the result in ClickHouse's own compressed blocks."""
    native_body: bool
    """`decompress=1`: the body is in them."""
    arguments: Mapping[str, str]


def read(method: str, query_string: bytes, headers: Mapping[str, str]) -> Asked:
    """The request; header names are in lower case. Raises ClickHouseError."""
    arguments = _arguments(query_string)
    content_type = headers.get("content-type", "")
    form = content_type.lower().startswith("multipart/form-data")
    settings = dict(_settings(arguments.items(), form=form))
    read_only_setting = settings.pop("readonly", "0")
    compresses = settings.get("enable_http_compression", "1").lower() in _TRUE
    return Asked(
        query=arguments.get("query", "").encode(errors="surrogateescape"),
        query_id=arguments.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4()),
        read_only=method != "POST" or _number("readonly", read_only_setting) > 0,
        database=headers.get("x-clickhouse-database") or arguments.get("database", ""),
        default_format=headers.get("x-clickhouse-format") or arguments.get("default_format", ""),
        settings=settings,
        parameters={
            name.removeprefix(_PARAMETER): value for name, value in arguments.items() if name.startswith(_PARAMETER)
        },
        session=_session(arguments),
        wait_end_of_query=_flag(arguments, "wait_end_of_query"),
        buffer_bytes=_buffer_bytes(arguments),
        accept_encoding=headers.get("accept-encoding", "") if compresses else "",
        content_encoding=headers.get("content-encoding", "").strip().lower(),
        content_type=content_type,
        native_result=_flag(arguments, "compress"),
        native_body=_flag(arguments, "decompress"),
        arguments=arguments,
    )


def _arguments(query_string: bytes) -> dict[str, str]:
    """The first value of each argument; bytes that aren't UTF-8 are kept."""
    try:
        pairs = parse_qsl(
            query_string.decode("latin-1"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="surrogateescape",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as exc:
        raise ClickHouseError(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"The address has too many arguments: {exc}") from exc
    return dict(reversed(pairs))


def _settings(arguments: Iterable[tuple[str, str]], *, form: bool) -> Iterable[tuple[str, str]]:
    for name, value in arguments:
        if not name or name in _NOT_SETTINGS or name.startswith(_PARAMETER):
            continue
        if form and name.endswith(_EXTERNAL_TABLE):
            continue
        yield name, value


def _session(arguments: Mapping[str, str]) -> SessionAsked | None:
    name = arguments.get("session_id")
    if not name:
        return None
    return SessionAsked(
        name=name,
        timeout_seconds=sessions.timeout_seconds(arguments.get("session_timeout", "")),
        must_exist=_flag(arguments, "session_check"),
        ends=_flag(arguments, "close_session"),
    )


def _flag(arguments: Mapping[str, str], name: str) -> bool:
    return arguments.get(name, "").lower() in _TRUE


def _buffer_bytes(arguments: Mapping[str, str]) -> int:
    asked = _number("buffer_size", arguments.get("buffer_size") or "0")
    return min(max(asked, LEAST_BUFFER_BYTES), MOST_BUFFER_BYTES)


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ClickHouseError(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"{name}={text!r} is not a number of zero or more")
    return int(text)
