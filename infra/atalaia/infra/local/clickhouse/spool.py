"""A file without a name: the rows of a request or a result, in memory first, on disk beyond a size.

The engine reads it as /proc/self/fd/N. Nothing of it is left when the process dies, however it dies.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

MEMORY_BYTES: Final = 64 << 20
_READ_BYTES: Final = 1 << 20


class Spool:
    """Written once from the front, then read by `path` or `chunks`; closed by its owner."""

    def __init__(self, directory: Path, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._in_memory = True
        self._fd = os.memfd_create("atalaia-rows", os.MFD_CLOEXEC)
        self.size = 0

    @property
    def path(self) -> str:
        """Its name for this process, as long as it is open."""
        return f"/proc/self/fd/{self._fd}"

    def write(self, data: bytes | memoryview) -> None:
        """Append; the disk is used from `memory_bytes` on."""
        if self._in_memory and self.size + len(data) > self._memory_bytes:
            self._move_to_disk()
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self.size += len(data)

    def chunks(self) -> Iterator[bytes]:
        """What was written, from the front."""
        offset = 0
        while data := os.pread(self._fd, _READ_BYTES, offset):
            offset += len(data)
            yield data

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _move_to_disk(self) -> None:
        with tempfile.TemporaryFile(dir=self._directory) as file:  # O_TMPFILE: it never has a name
            disk = os.dup(file.fileno())
        sent = 0
        while sent < self.size:
            sent += os.sendfile(disk, self._fd, sent, self.size - sent)
        os.close(self._fd)
        self._fd, self._in_memory = disk, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
