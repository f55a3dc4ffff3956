"""Points in the code where a test makes the process die, to see what a crash right there leaves behind."""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "ATALAIA_FAILPOINT"
"""`sink.after_insert` dies when it first comes there, `sink.after_insert:3` at the third time. Unset: no effect."""


class Failpoint:
    """A named point. What is set is read once, when it is made; `reach` costs nothing where it is another's."""

    def __init__(self, name: str) -> None:
        wanted, _, times = os.environ.get(VARIABLE, "").partition(":")
        self._left = int(times or 1) if wanted == name else 0

    def reach(self) -> None:
        """Kills the process as `kill -9` does, if this is the time; nothing is flushed, closed or left."""
        if self._left:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
