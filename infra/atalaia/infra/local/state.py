"""The files of a stack: what `atalaia reset` removes, and nothing else of the user's."""

from __future__ import annotations

import shutil
from pathlib import Path

OWNED = (
    "kafka",
    "clickhouse",
    "registry.sqlite",
    "registry.sqlite-wal",
    "registry.sqlite-shm",
    "streams",
    "sinks",
    "logs",
    "run",
)
"""Names under the home that belong to the stack; a home set to a folder of the user's loses nothing else."""


def present(home: Path) -> list[Path]:
    """What there is to remove."""
    return [home / name for name in OWNED if (home / name).exists()]


def size_bytes(path: Path) -> int:
    """What a file, or all files below a folder, take on disk (Kafka's index files are mostly holes)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(_blocks(file) for file in files) * 512


def remove(home: Path) -> None:
    """Remove the stack's files, and the home if that leaves it empty."""
    for path in present(home):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if home.is_dir() and not any(home.iterdir()):
        home.rmdir()


def _blocks(file: Path) -> int:
    try:
        return file.lstat().st_blocks
    except FileNotFoundError:
        return 0
