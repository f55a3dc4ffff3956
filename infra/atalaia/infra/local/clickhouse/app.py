"""The routes, as an ASGI application: `/` for queries, `/ping`, `/play`."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from importlib import resources
from typing import Any, Final

import structlog

from atalaia.infra.local.clickhouse import guard, request
from atalaia.infra.local.clickhouse.body import Disconnected, Receive
from atalaia.infra.local.clickhouse.errors import ClickHouseError
from atalaia.infra.local.clickhouse.exchange import exchange
from atalaia.infra.local.clickhouse.reply import Reply, Send
from atalaia.infra.local.clickhouse.service import Service

log = structlog.get_logger(__name__)

_OK: Final = b"Ok.\n"
_METHODS: Final = {"GET", "HEAD", "POST"}
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NO_SUCH_PATH: Final = (
    "There is no handle {path}\n\n"
    "Use / or /ping for health checks.\nSend queries to /, by GET or POST; /play is a page for them."
)


class Application:
    """One instance serves one event loop."""

    def __init__(self, service: Service, *, loopback_only: bool) -> None:
        self._service = service
        self._loopback_only = loopback_only
        self._page = resources.files(__package__).joinpath("play.html").read_bytes()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        reply = Reply(send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path, method, arguments = scope["path"], scope["method"], scope["query_string"]
        page = path == "/play" or (not arguments and method in {"GET", "HEAD"})
        refused = guard.refusal(headers, loopback_only=self._loopback_only, page=page)
        if refused is not None:
            await self._say(reply, 403, refused)
        elif path == "/" and method == "OPTIONS":
            await reply.whole(204, self._service.headers())
        elif method not in _METHODS:
            await self._say(reply, 501, f"{method} is not a method for queries: use GET or POST")
        elif path in {"/ping", "/replicas_status"} or (path == "/" and method != "POST" and not arguments):
            await reply.whole(200, self._service.headers(), _OK)
        elif path == "/play":
            named = {"Content-Type": "text/html; charset=UTF-8", "Content-Security-Policy": _PAGE_POLICY}
            await reply.whole(200, self._service.headers() | named, self._page)
        elif path != "/":
            await self._say(reply, 404, _NO_SUCH_PATH.format(path=path))
        else:
            await self._query(scope, headers, receive, reply)

    async def _query(
        self, scope: MutableMapping[str, Any], headers: dict[str, str], receive: Receive, reply: Reply
    ) -> None:
        started = time.monotonic()
        asked: request.Asked | None = None
        try:
            asked = request.read(scope["method"], scope["query_string"], headers)
            await exchange(self._service, asked, receive, reply)
        except (Disconnected, TimeoutError):
            log.info("client_gone", query_id=asked and asked.query_id)
        except ClickHouseError as exc:
            log.info("query_failed", query_id=asked and asked.query_id, code=exc.code, error=exc.name)
            if not reply.started:
                named = self._service.headers(asked) | {"X-ClickHouse-Exception-Code": str(exc.code)}
                await reply.whole(exc.status, named, exc.text(self._service.engine.version).encode() + b"\n")
        else:
            log.debug("query_done", query_id=asked.query_id, seconds=round(time.monotonic() - started, 4))

    async def _say(self, reply: Reply, status: int, text: str) -> None:
        await reply.whole(status, self._service.headers(), f"{text}\n".encode())
