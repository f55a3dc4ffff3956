"""Health that means progress: a process is alive while offsets move or there is nothing to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

STALLED_AFTER = timedelta(seconds=60)
"""Several session timeouts and checkpoints long: a rebalance or a slow insert is not a stall."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What was last seen of a consumer: how far it has committed, what is left, and since when neither moved."""

    committed: int
    lag: int
    moved_at: float


def observe(progress: Progress | None, *, committed: int, lag: int, now: float) -> Progress:
    """The progress after a look at the offsets; `now` is monotonic seconds.

    >>> observe(Progress(5, 10, moved_at=0.0), committed=5, lag=10, now=9.0).moved_at
    0.0
    """
    if progress is None or lag == 0 or committed != progress.committed:
        return Progress(committed, lag, moved_at=now)
    return Progress(committed, lag, moved_at=progress.moved_at)


def stalled(progress: Progress | None, *, now: float, after: timedelta = STALLED_AFTER) -> bool:
    """True where there is lag and no offset has moved for `after`.

    >>> stalled(Progress(5, 10, moved_at=0.0), now=61.0), stalled(Progress(5, 0, moved_at=0.0), now=61.0)
    (True, False)
    """
    return progress is not None and progress.lag > 0 and now - progress.moved_at > after.total_seconds()


@dataclass(frozen=True, slots=True)
class Health:
    """A process's answer to "are you well?": with what it says in words or numbers."""

    alive: bool
    ready: bool
    detail: dict[str, object]


def serve(port: int, look: Callable[[], Health], *, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """A server of /metrics, /livez and /readyz in a thread of its own; `shutdown()` ends it.

    Raises OSError where the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                return self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
            health = look()
            good = {"/livez": health.alive, "/readyz": health.ready}.get(self.path)
            if good is None:
                return self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /livez or /readyz\n")
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            body = json.dumps({"alive": health.alive, "ready": health.ready, **health.detail}, default=str)
            return self._answer(status, "application/json", body.encode())

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes come every few seconds; they are not news."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
