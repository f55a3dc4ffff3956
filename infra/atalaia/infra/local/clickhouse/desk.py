"""Where requests wait for the engine: so many run at once, so many may wait, each has a name of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from atalaia.infra.local.clickhouse.errors import ClickHouseError

TOO_MANY_SIMULTANEOUS_QUERIES: Final = 202
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: Final = 216
WAITING_PER_RUNNING: Final = 16


class Desk:
    """Admits requests in the order they come. For the event loop's thread only."""

    def __init__(self, parallel: int) -> None:
        self._places = asyncio.Semaphore(parallel)
        self._most = parallel * (1 + WAITING_PER_RUNNING)
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The query ids that wait or run."""
        return frozenset(self._names)

    @asynccontextmanager
    async def place(self, query_id: str) -> AsyncIterator[None]:
        """A place among those that run; raises ClickHouseError when too many wait, or the name is taken."""
        if len(self._names) >= self._most:
            message = f"Too many simultaneous queries: {self._most} run or wait; try again"
            raise ClickHouseError(TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
        if query_id in self._names:
            name = "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"
            message = f"Query with id = {query_id} is already running."
            raise ClickHouseError(QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, name, message)
        self._names.add(query_id)
        try:
            async with self._places:
                yield
        finally:
            self._names.discard(query_id)
