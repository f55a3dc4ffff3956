"""ASGI middleware that emits the golden signals of an HTTP service: latency, traffic, errors, saturation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, Final, TypeAlias

from atalaia.producers.emitter import Emitter
from atalaia.producers.routes import Routes

log = logging.getLogger("atalaia.producers")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_OTHER: Final = "other"
_SERVER_ERROR: Final = 500
_CLIENT_CLOSED: Final = 499
"""nginx's word for a client that left before the answer."""


class GoldenSignals:
    """Wraps an application: `app.add_middleware(GoldenSignals, metrics=producer)`.

    For each HTTP request: http_request_duration (ms) by endpoint, method and status_class; http_requests by these and
    status_code; http_requests_in_flight at its start and end. An endpoint is a route's template, and "unmatched" where
    no route matched; `endpoint` names it for frameworks that don't keep `routes`. An exception counts as 500, a client
    that left as 499. It never waits for room in the buffer, and what goes wrong here never reaches the application.
    """

    def __init__(self, app: Application, metrics: Emitter, *, endpoint: Callable[[Scope], str] | None = None) -> None:
        self.app = app
        self._metrics = metrics
        self._endpoint = endpoint
        self._routes = Routes()
        self._in_flight = 0
        self._said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP requests are measured."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        application = scope.get("app", self.app)  # before routing: a mounted application puts itself here
        self._move(1)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.disconnected = True
            raise
        except Exception:
            exchange.raised = True
            raise
        finally:
            self._move(-1)
            self._record(application, scope, exchange)

    def _move(self, by: int) -> None:
        self._in_flight += by
        try:
            self._metrics.try_emit("http_requests_in_flight", self._in_flight)
        except Exception as exc:  # noqa: BLE001 - measuring must not break what is measured
            self._say(exc)

    def _record(self, application: Any, scope: Scope, exchange: _Exchange) -> None:
        try:
            endpoint = self._endpoint(scope) if self._endpoint else self._routes.template(application, scope)
            status = exchange.status
            labels = {
                "endpoint": endpoint[:256],
                "method": scope["method"] if scope["method"] in _METHODS else _OTHER,
                "status_class": f"{status // 100}xx",
            }
            self._metrics.try_emit("http_request_duration", exchange.seconds * 1000, metadata=labels)
            self._metrics.try_emit("http_requests", 1, metadata=labels | {"status_code": str(status)})
        except Exception as exc:  # noqa: BLE001 - the same
            self._say(exc)

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            log.warning("golden signals cannot be emitted (said once)", exc_info=error)


class _Exchange:
    """One request and its answer, as they pass by."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._started = perf_counter()
        self._ended: float | None = None
        self._status: int | None = None
        self.disconnected = False
        self.raised = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._ended is None:
            self.disconnected = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        try:
            await self._send(message)
        except OSError:  # ASGI's word for: the client is gone
            self.disconnected = True
            raise
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._ended = perf_counter()  # background tasks may follow: the client doesn't wait for them

    @property
    def status(self) -> int:
        """What the client got, or would have got."""
        if self._ended is None and self.disconnected:
            return _CLIENT_CLOSED
        if self._status is None or (self.raised and self._ended is None):
            return _SERVER_ERROR
        return self._status

    @property
    def seconds(self) -> float:
        """From the request's arrival to the answer's last byte."""
        return (self._ended or perf_counter()) - self._started
