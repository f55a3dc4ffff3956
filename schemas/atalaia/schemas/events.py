"""The vocabulary of the contracts: enums whose values are the Avro symbols, and the limits that all stages share."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final


class MetricType(StrEnum):
    """The family of a metric (F1)."""

    REVENUE = "revenue"
    COMMISSION = "commission"
    USER_ACTIVITY = "user_activity"
    CONVERSION = "conversion"
    PERFORMANCE = "performance"
    GAMIFICATION = "gamification"
    VALIDATION = "validation"


class Frequency(StrEnum):
    """How often a metric is taken; decides how long its raw events are kept (F4)."""

    REAL_TIME = "real_time"
    HOURLY = "hourly"
    DAILY = "daily"
    MONTHLY = "monthly"


class Granularity(StrEnum):
    """The length of a rollup window."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Severity(StrEnum):
    """How bad an alert is, in F's vocabulary."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class AlertStatus(StrEnum):
    """What a transition says: the state that the alert enters, or what late data did to an earlier one.

    A firing alert without a verdict has no data, an error, or awaits data; when it has one again it goes on firing, or
    recovering. Amended: the value that fired or resolved it is another by now; retracted: it should not have fired.
    """

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    RECOVERING = "recovering"
    NO_DATA = "no_data"
    ERROR = "error"
    AWAITING_DATA = "awaiting_data"
    AMENDED = "amended"
    RETRACTED = "retracted"


MAX_NAME_CHARACTERS: Final = 200
MAX_METADATA_KEYS: Final = 32
MAX_METADATA_CHARACTERS: Final = 256
MAX_RECORD_BYTES: Final = 64 * 1024
MAX_AHEAD: Final = timedelta(minutes=10)
"""How far event time may run ahead of arrival time: Prometheus' own bound (scrape `maxAheadTime`)."""
EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01T00:00Z. Earlier event times are a unit mistake: seconds taken for ms end in January 1970."""
DEFAULT_TENANT: Final = "default"
DEFAULT_UNIT: Final = "1"
