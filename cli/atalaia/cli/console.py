"""Where results are printed."""

from __future__ import annotations

from typing import Final

from rich.console import Console

_PIPE_COLUMNS: Final = 200
"""A file has no edge: what is read by programs or looked at later is not cut to some terminal's width."""


def results() -> Console:
    """Standard output, as wide as the terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_COLUMNS)
