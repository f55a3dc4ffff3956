"""Whether a broker's word that nothing waits can be taken for news."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

HEARD_WITHIN: Final = timedelta(seconds=5)
"""A broker answers a fetch that finds nothing within half a second."""
SETTLED_AFTER: Final = timedelta(seconds=10)
"""By then producers have found a broker that was away: librdkafka tries again every 10 s at the least
(`reconnect.backoff.max.ms`)."""


class Hearing:
    """One partition's broker, as its answers come in. Times are seconds of the wall clock.

    A broker that does not answer has not said that nothing happens; and one that answers again, after it was away, does
    not have yet what waits in the buffers of services. Until it does, silence is not a service's.
    """

    def __init__(self, heard: float = 0.0) -> None:
        self.heard = heard
        """When it last answered; for a partition that is new here, when any did. 0 where none has."""
        self._settled_at = 0.0

    def trusts(self, heard: float, now: float) -> bool:
        """Whether an answer of `heard`, the latest, says what is so at `now`. To be asked all the time.

        >>> hearing = Hearing()
        >>> hearing.trusts(100.0, 100.4), hearing.trusts(100.0, 106.0), hearing.trusts(130.0, 130.1)
        (True, False, False)
        """
        if self.heard and heard - self.heard > HEARD_WITHIN.total_seconds():
            self._settled_at = heard + SETTLED_AFTER.total_seconds()
        self.heard = heard
        return now - heard <= HEARD_WITHIN.total_seconds() and now >= self._settled_at
