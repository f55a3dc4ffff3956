"""Golden signals of real Starlette applications and of bare ASGI ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from atalaia.producers import GoldenSignals, RecordingProducer
from atalaia.producers.asgi import Application, Receive, Scope, Send


async def _user(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _fail(_: Request) -> Response:
    raise RuntimeError("broken")


async def _stream(_: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            yield "part"

    return StreamingResponse(parts())


async def _stream_and_fail(_: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "part"
        raise RuntimeError("broken")

    return StreamingResponse(parts())


async def _later(_: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(_broken))


def _broken() -> None:
    raise RuntimeError("after the answer")


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


class Files:
    """A mounted application that is not Starlette's."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve anything."""
        await PlainTextResponse("file")(scope, receive, send)


ROUTES = [
    Route("/users/{id:int}", _user, methods=["GET", "POST"]),
    Route("/fail", _fail),
    Route("/stream", _stream),
    Route("/stream-and-fail", _stream_and_fail),
    Route("/later", _later),
    Route("/one", _stream, name="one"),
    Mount("/tenants/{tenant}", routes=[Route("/orders/{order}", _user)]),
    Mount("/sub", Starlette(routes=[Route("/items/{item}", _later, name="items")])),
    Mount("/static", Files()),
    WebSocketRoute("/socket", _socket),
]


@pytest.fixture
def metrics() -> RecordingProducer:
    """Where the signals go."""
    return RecordingProducer("web")


@pytest.fixture
def client(metrics: RecordingProducer) -> TestClient:
    """A client of the application, which sees a 500 as a browser does."""
    application = Starlette(routes=ROUTES, middleware=[Middleware(GoldenSignals, metrics=metrics)])
    return TestClient(application, raise_server_exceptions=False)


def labels(metrics: RecordingProducer) -> dict[str, str]:
    """What the one request was counted as."""
    (event,) = [event for event in metrics.events if event["metric_name"] == "http_requests"]
    assert event["value"] == 1
    metadata: dict[str, str] = event["metadata"]
    return metadata


def test_a_request_emits_all_four_signals(client: TestClient, metrics: RecordingProducer) -> None:
    """Latency in ms, traffic and errors by status, saturation up and down again."""
    client.get("/users/42")
    labelled = {"endpoint": "/users/{id:int}", "method": "GET", "status_class": "2xx"}
    assert labels(metrics) == labelled | {"status_code": "200"}
    (latency,) = [event for event in metrics.events if event["metric_name"] == "http_request_duration"]
    assert latency["metadata"] == labelled
    assert latency["unit"] == "ms"
    assert latency["value"] > 0
    assert metrics.values("http_requests_in_flight") == [1, 0]


@pytest.mark.parametrize(
    ("path", "endpoint", "status"),
    [
        ("/users/1", "/users/{id:int}", "200"),
        ("/users/2?page=7", "/users/{id:int}", "200"),
        ("/users/x", "unmatched", "404"),
        ("/wp-login.php", "unmatched", "404"),
        ("/stream", "/stream", "200"),
        ("/one", "/one", "200"),
        ("/tenants/acme/orders/77", "/tenants/{tenant}/orders/{order}", "200"),
        ("/static/a/b/c.png", "/static/{path}", "200"),
        ("/fail", "/fail", "500"),
    ],
)
def test_an_endpoint_is_a_routes_template(
    client: TestClient, metrics: RecordingProducer, path: str, endpoint: str, status: str
) -> None:
    """Never the raw path: endpoints stay as few as routes."""
    client.get(path)
    assert (labels(metrics)["endpoint"], labels(metrics)["status_code"]) == (endpoint, status)


def test_a_mounted_application_keeps_its_prefix(client: TestClient, metrics: RecordingProducer) -> None:
    """And one function behind several paths is told apart by the path."""
    client.get("/later")
    assert labels(metrics)["endpoint"] == "/later"
    metrics.clear()
    client.get("/sub/items/9")
    assert labels(metrics)["endpoint"] == "/sub/items/{item}"


def test_a_method_nobody_knows_is_other(client: TestClient, metrics: RecordingProducer) -> None:
    """A scanner cannot invent labels."""
    client.request("BREW", "/users/1")
    assert labels(metrics)["method"] == "other"
    assert labels(metrics)["status_code"] == "405"


def test_an_exception_is_a_500_also_after_the_answer_began(client: TestClient, metrics: RecordingProducer) -> None:
    """The client got a broken answer, whatever its first line said."""
    client.get("/stream-and-fail")
    assert labels(metrics)["status_code"] == "500"


def test_what_fails_after_the_answer_changes_nothing(client: TestClient, metrics: RecordingProducer) -> None:
    """The client has had its whole answer before the background task."""
    client.get("/later")
    assert labels(metrics)["status_code"] == "200"


def test_an_exception_reaches_the_server_unchanged(metrics: RecordingProducer) -> None:
    """Measuring hides nothing."""
    with pytest.raises(RuntimeError, match="broken"):
        TestClient(GoldenSignals(Starlette(routes=ROUTES), metrics)).get("/fail")
    assert labels(metrics)["endpoint"] == "/fail"


def test_sockets_and_lifespan_pass_through(metrics: RecordingProducer) -> None:
    """They are served, and not measured."""
    with (
        TestClient(GoldenSignals(Starlette(routes=ROUTES), metrics)) as client,
        client.websocket_connect("/socket") as socket,
    ):
        assert socket.receive_text() == "hello"
    assert metrics.events == []


def test_metrics_that_fail_never_break_the_application(caplog: pytest.LogCaptureFixture) -> None:
    """A closed producer is said once in the log, and requests are answered."""
    metrics = RecordingProducer("web")
    metrics.close()
    client = TestClient(GoldenSignals(Starlette(routes=ROUTES), metrics))
    assert [client.get("/users/1").status_code for _ in range(3)] == [200] * 3
    assert [record.getMessage() for record in caplog.records if "golden" in record.getMessage()] == [
        "golden signals cannot be emitted (said once)"
    ]


def test_an_endpoint_can_be_named_by_the_application(metrics: RecordingProducer) -> None:
    """For frameworks whose routes are kept elsewhere; whatever it returns fits into a label."""
    application = GoldenSignals(Files(), metrics, endpoint=lambda scope: scope["path"] * 300)
    TestClient(application).get("/ab")
    assert len(labels(metrics)["endpoint"]) == 256


async def serve(application: Application, metrics: RecordingProducer, *messages: dict[str, Any]) -> None:
    """One request of a bare ASGI server."""
    left = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        return next(left)

    async def send(_: MutableMapping[str, Any]) -> None:
        pass

    await GoldenSignals(application, metrics)({"type": "http", "method": "GET", "path": "/"}, receive, send)


async def test_a_client_that_left_is_a_499(metrics: RecordingProducer) -> None:
    """Not an error of the service."""

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        while (await receive())["type"] != "http.disconnect":
            pass

    await serve(waits, metrics, {"type": "http.request"}, {"type": "http.disconnect"})
    assert labels(metrics)["status_code"] == "499"
    assert labels(metrics)["status_class"] == "4xx"


async def test_a_client_that_left_while_it_was_sent_to_is_a_499(metrics: RecordingProducer) -> None:
    """ASGI servers say so by an OSError."""

    async def answers(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def gone(_: MutableMapping[str, Any]) -> None:
        raise BrokenPipeError

    async def never() -> MutableMapping[str, Any]:
        raise AssertionError

    with pytest.raises(BrokenPipeError):
        await GoldenSignals(answers, metrics)({"type": "http", "method": "GET", "path": "/"}, never, gone)
    assert labels(metrics)["status_code"] == "499"


async def test_a_request_that_is_cancelled_is_a_499(metrics: RecordingProducer) -> None:
    """Servers cancel the task when the client is gone; in-flight goes down again."""
    started = asyncio.Event()

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(serve(hangs, metrics))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert labels(metrics)["status_code"] == "499"
    assert metrics.values("http_requests_in_flight") == [1, 0]


async def test_no_answer_at_all_is_a_500(metrics: RecordingProducer) -> None:
    """That is what a server answers in its place."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """Return without a word."""

    await serve(silent, metrics)
    assert labels(metrics)["status_code"] == "500"
    assert labels(metrics)["endpoint"] == "unmatched"
