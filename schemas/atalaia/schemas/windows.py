"""Window arithmetic in integer milliseconds of event time, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, assert_never

from atalaia.schemas.events import Granularity

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


def window_start(at_ms: int, granularity: Granularity) -> int:
    """First instant of the window that holds `at_ms`.

    >>> window_start(61_000, Granularity.MINUTE)
    60000
    >>> window_start(40 * DAY_MS, Granularity.MONTH) == 31 * DAY_MS
    True
    """
    match granularity:
        case Granularity.MINUTE:
            return at_ms - at_ms % MINUTE_MS
        case Granularity.HOUR:
            return at_ms - at_ms % HOUR_MS
        case Granularity.DAY:
            return at_ms - at_ms % DAY_MS
        case Granularity.MONTH:
            at = datetime.fromtimestamp(at_ms // 1000, UTC)
            return _ms(at.year, at.month)
        case _:
            assert_never(granularity)


def window_end(start_ms: int, granularity: Granularity) -> int:
    """First instant after the window that starts at `start_ms`.

    >>> window_end(31 * DAY_MS, Granularity.MONTH) == 59 * DAY_MS  # February 1970
    True
    """
    match granularity:
        case Granularity.MINUTE:
            return start_ms + MINUTE_MS
        case Granularity.HOUR:
            return start_ms + HOUR_MS
        case Granularity.DAY:
            return start_ms + DAY_MS
        case Granularity.MONTH:
            at = datetime.fromtimestamp(start_ms // 1000, UTC)
            return _ms(at.year + at.month // 12, at.month % 12 + 1)
        case _:
            assert_never(granularity)


def _ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
