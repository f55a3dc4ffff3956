"""Whether this process has been running all the time of late."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog

STALLED_AFTER: Final = timedelta(seconds=2)
"""Nothing that a worker does takes as long without a look at the clock in between."""
FETCHED_AFTER: Final = timedelta(seconds=2)
"""By then it has fetched anew."""
HEARTBEATS: Final = 3
"""At least so many go out in a session; the coordinator answers one that comes too late with a refusal."""

log = structlog.get_logger(__name__)


class Composure:
    """Tells a worker that was paused, or whose host was, that what it believes to know is of before.

    Such a worker sees that it is later, and nothing that came meanwhile: it must neither judge by the wall clock nor
    vouch for anything until it has looked around.
    """

    def __init__(self, session_timeout: timedelta) -> None:
        self._rest = max(FETCHED_AFTER, session_timeout / HEARTBEATS).total_seconds()
        self._seen: float | None = None
        self._composed_at = 0.0

    def at(self, now: float) -> bool:
        """Whether all is well at this moment (seconds of the wall clock, which goes on while a host sleeps).

        To be asked all the time: it notices a pause by not having been asked.
        """
        if self._seen is not None and now - self._seen > STALLED_AFTER.total_seconds():
            log.warning("stalled", seconds=round(now - self._seen, 1))
            self._composed_at = now + self._rest
        elif now < self._composed_at - self._rest:
            self._composed_at = now  # the clock was set back
        self._seen = now
        return now >= self._composed_at
