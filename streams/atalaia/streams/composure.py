"""Whether this process has been running all the time of late."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog

STALLED_AFTER: Final = timedelta(seconds=2)
"""Nothing that a worker does takes as long without a look at the clock in between."""
COMPOSED_AFTER: Final = timedelta(seconds=3)
"""By then it has fetched anew, and has heard from the group's coordinator if it was taken for dead: by default a
heartbeat goes out every 2.5 s."""

log = structlog.get_logger(__name__)


class Composure:
    """Tells a worker that was paused, or whose host was, that what it believes to know is of before.

    Such a worker sees that it is later, and nothing that came meanwhile: it must neither judge by the wall clock nor
    vouch for anything until it has looked around.
    """

    def __init__(self) -> None:
        self._seen: float | None = None
        self._composed_at = 0.0

    def at(self, now: float) -> bool:
        """Whether all is well at this moment (seconds of the wall clock, which goes on while a host sleeps).

        To be asked all the time: it notices a pause by not having been asked.
        """
        if self._seen is not None and now - self._seen > STALLED_AFTER.total_seconds():
            log.warning("stalled", seconds=round(now - self._seen, 1))
            self._composed_at = now + COMPOSED_AFTER.total_seconds()
        elif now < self._composed_at - COMPOSED_AFTER.total_seconds():
            self._composed_at = now  # the clock was set back
        self._seen = now
        return now >= self._composed_at
