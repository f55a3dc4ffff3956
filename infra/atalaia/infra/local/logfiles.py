"""One log file a component: the last run is kept beside it, and a long run cannot fill the disk."""

from __future__ import annotations

import os
import shutil
from collections import deque
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 32 * 1024 * 1024


def path_of(logs: Path, name: str) -> Path:
    """Where a component's log is."""
    return logs / f"{name}.log"


def begin(path: Path) -> None:
    """Start an empty log; what was there becomes `NAME.log.1`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size:
        path.replace(path.with_name(path.name + ".1"))


def opened(path: Path) -> BinaryIO:
    """The log, for a child to write to: in append mode, so that `shorten` can cut it under a writing process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=0)


def shorten(path: Path, largest_bytes: int = LARGEST_BYTES) -> bool:
    """Move a log over the limit to `NAME.log.1`; lines written during the copy may be lost."""
    try:
        if path.stat().st_size <= largest_bytes:
            return False
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except FileNotFoundError:
        return False
    return True


def tail(path: Path, lines: int) -> list[str]:
    """The last lines; an absent log has none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


class Follower:
    """New whole lines of a log as they come, from its present end on, across truncations and new files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def poll(self) -> list[str]:
        """The lines since the last call; returns at once."""
        try:
            if self._path.stat().st_size < self._position:
                self._position, self._rest = 0, b""
            with self._path.open("rb") as file:
                file.seek(self._position)
                fresh = file.read()
        except FileNotFoundError:
            self._position, self._rest = 0, b""
            return []
        self._position += len(fresh)
        *whole, self._rest = (self._rest + fresh).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]
