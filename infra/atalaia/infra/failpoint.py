"""Points in the code where a test makes the process die or stand still, to see what that leaves behind."""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "ATALAIA_FAILPOINT"
"""`NAME[:TIMES[:SIGNAL]]`: `sink.after_insert` kills the process when it first comes there, `sink.after_insert:3` at
the third time, `sink.before_insert:1:STOP` stops it there until somebody sends SIGCONT. Unset: no effect."""


class Failpoint:
    """A named point. What is set is read once, when it is made; `reach` costs nothing where it is another's."""

    def __init__(self, name: str) -> None:
        wanted, times, number = [*os.environ.get(VARIABLE, "").split(":"), "", ""][:3]
        self._left = int(times or 1) if wanted == name else 0
        self._signal = signal.Signals[f"SIG{number or 'KILL'}"]

    def reach(self) -> None:
        """Sends the process the signal, if this is the time; of SIGKILL nothing is flushed, closed or left."""
        if self._left:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), self._signal)
