"""What all requests share: the engine, the places at it, the sessions, the threads that wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from atalaia.infra.local.clickhouse.desk import Desk
from atalaia.infra.local.clickhouse.engine import Engine, Outcome
from atalaia.infra.local.clickhouse.request import Asked, SessionAsked
from atalaia.infra.local.clickhouse.sessions import Session, Sessions
from atalaia.infra.local.clickhouse.work import Task, perform

STAND_IN: Final = "chDB behind ClickHouse's HTTP interface: a stand-in for one laptop, not a ClickHouse server"
_ASK_AGAIN_SECONDS: Final = 0.2


class Service:
    """Belongs to one event loop; `close` when no request is left."""

    def __init__(self, engine: Engine, *, parallel: int, spool_directory: Path) -> None:
        self.engine = engine
        self.desk = Desk(parallel)
        self.sessions = Sessions(engine.connect)
        self.spool_directory = spool_directory
        spool_directory.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="query")

    def start(self, task: Task, *, finally_: Callable[[], None]) -> asyncio.Future[Outcome]:
        """Run it on a thread of its own, in its session. `finally_` is called once, when the engine is done with it.

        Whoever awaits the result finds the session free again: the client's next request may be on its way.
        """
        wanted = task.asked.session
        try:
            session = None if wanted is None else self._take(wanted)
        except BaseException:
            finally_()
            raise

        def work() -> Outcome:
            try:
                return perform(task, self.engine, session)
            finally:
                finally_()

        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        if wanted is not None:
            running.add_done_callback(lambda _: self._give_back(wanted))
        return running

    def _take(self, asked: SessionAsked) -> Session:
        return self.sessions.take(asked.name, must_exist=asked.must_exist, now=time.monotonic())

    def _give_back(self, asked: SessionAsked) -> None:
        self.sessions.give_back(asked.name, timeout_seconds=asked.timeout_seconds, now=time.monotonic())
        if asked.ends:
            self.sessions.end(asked.name)

    async def stop(self, task: Task, running: asyncio.Future[Outcome]) -> None:
        """Kill it and wait until it has ended; it may not have reached the engine yet, so ask until it has."""
        while not running.done():
            await asyncio.to_thread(self.engine.kill, task.mark)
            await asyncio.wait({running}, timeout=_ASK_AGAIN_SECONDS)

    async def stop_all(self) -> None:
        """Kill whatever runs."""
        for mark in self.desk.names:
            await asyncio.to_thread(self.engine.kill, mark)

    def headers(self, asked: Asked | None = None) -> dict[str, str]:
        """What every answer says."""
        named = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Server-Display-Name": "atalaia",
            "X-ClickHouse-Timezone": self.engine.timezone,
            "X-Atalaia-Stand-In": STAND_IN,
        }
        if asked is not None:
            named["X-ClickHouse-Query-Id"] = asked.query_id
        return named

    def close(self) -> None:
        """Sessions, threads, engine, in this order."""
        self.sessions.close()
        self._threads.shutdown()
        self.engine.close()
