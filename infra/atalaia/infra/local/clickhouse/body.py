"""A request's body, as it arrives: looked at from the front, then poured where it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from atalaia.infra.local.clickhouse.compression import Codec
from atalaia.infra.local.clickhouse.spool import Spool

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):  # noqa: N818  (what happened, not a fault)
    """The client went away."""


class Body:
    """The decoded bytes in order, each given once. Nothing is read before it is asked for: that is backpressure."""

    def __init__(self, receive: Receive, codec: Codec) -> None:
        self._receive = receive
        self._codec = codec
        self._ended = False

    async def at_least(self, size: int) -> bytes:
        """So many bytes, or a few more, or all that is left."""
        parts: list[bytes] = []
        have = 0
        while have < size and not self._ended:
            part = await self._next()
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    async def pour(self, spool: Spool) -> None:
        """Everything that is left, into the spool."""
        while not self._ended:
            spool.write(await self._next())

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        data = self._codec.write(message.get("body", b""))
        if not message.get("more_body", False):
            self._ended = True
            data += self._codec.finish()
        return data
