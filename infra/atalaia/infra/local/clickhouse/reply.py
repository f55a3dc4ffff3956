"""An answer on its way to the client: whole, or in parts, or broken off."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

READ_WITHIN_SECONDS: Final = 300
"""A client that takes nothing for so long is gone: ClickHouse's `http_send_timeout`… and it holds a place."""

MARKER: Final = b"__exception__"


class Reply:
    """One response. `started` says whether a status has been sent, which can't be taken back."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def whole(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Status, headers, body, in one piece."""
        await self.start(status, {**headers, "Content-Length": str(len(body))})
        await self.part(body, last=True)

    async def start(self, status: int, headers: dict[str, str]) -> None:
        """Status and headers."""
        self.started = True
        # A line break in a header would be a header of the client's making.
        pairs = [(name.lower().encode(), _header(value)) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def part(self, body: bytes, *, last: bool = False) -> None:
        """More of the body; waits while the client doesn't read. Raises TimeoutError."""
        async with asyncio.timeout(READ_WITHIN_SECONDS):
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})


def exception_tag() -> str:
    """What sets an exception at the end of a result apart from the result: unknown beforehand."""
    return secrets.token_hex(8)


def exception_trailer(text: str, tag: str) -> bytes:
    r"""How a server ends a result that broke off: found by its tag, its length given behind it.

    >>> exception_trailer("Code: 1.", "t")
    b'\r\n__exception__\r\nt\r\nCode: 1.\n9 t\r\n__exception__\r\n'
    """
    message = text.encode() + b"\n"
    name = tag.encode()
    return b"\r\n".join([b"", MARKER, name, message + b"%d %s" % (len(message), name), MARKER, b""])


def _header(value: str) -> bytes:
    return "".join(character if character.isprintable() else " " for character in value).encode("latin-1", "replace")
