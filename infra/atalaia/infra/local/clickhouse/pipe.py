"""A result on its way: the engine's thread writes it, the event loop reads it, the kernel holds a little between them.

So a result of any size, in any format, takes a megabyte, and a client that reads slowly slows its query down.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import Final

_BYTES: Final = 1 << 20
"""What Linux gives an ordinary user's pipe at most."""


class ResultPipe:
    """Two ends: the engine opens `path`; `close_writing` when it has finished; `read` until empty."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        with contextlib.suppress(OSError):  # over the user's share of pipe memory: it stays small
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, _BYTES)

    @property
    def path(self) -> str:
        """The name of the end that is written to."""
        return f"/proc/self/fd/{self._writing}"

    async def read(self) -> bytes:
        """The next bytes; empty when the writer has closed."""
        while True:
            try:
                return os.read(self._reading, _BYTES)
            except BlockingIOError:
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._reading, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._reading)

    def close_writing(self) -> None:
        """Idempotent; by the thread that wrote."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1

    def close_reading(self) -> None:
        """Idempotent; what is still written is thrown away."""
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1
