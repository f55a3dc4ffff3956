"""The one table of topics: what each carries, how it is keyed, and how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

PARTITIONER: Final = "murmur2_random"
"""librdkafka's name for the Java client's partitioner: every client puts a key on the same partition."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic. `retention` None means compacted; `schema` None means that no contract says what is in it.

    `compacted` with a retention: the last value of each key, for that long.
    """

    name: str
    schema: str | None
    key: str
    retention: timedelta | None
    arrival_time: bool = False
    compacted: bool = False

    @property
    def subject(self) -> str:
        """The registry's subject (TopicNameStrategy)."""
        return f"{self.name}-value"

    @property
    def dead_letters(self) -> str:
        """The topic that takes this topic's poison."""
        return f"{self.name}.dlq"

    def config(self) -> dict[str, str]:
        """Topic settings as Kafka spells them."""
        settings = (
            {"cleanup.policy": "compact"}
            if self.retention is None
            else {
                "cleanup.policy": "compact,delete" if self.compacted else "delete",
                "retention.ms": str(self.retention // timedelta(milliseconds=1)),
            }
        )
        if self.compacted:
            # Small segments and an early cleaner: whoever reads the topic from its beginning reads little twice.
            settings |= {
                "segment.bytes": str(64 * 1024 * 1024),
                "segment.ms": str(timedelta(minutes=10) // timedelta(milliseconds=1)),
                "min.cleanable.dirty.ratio": "0.2",
            }
        if self.arrival_time:
            # The broker's clock, not the sender's: every consumer judges "too far ahead" alike.
            settings["message.timestamp.type"] = "LogAppendTime"
        return settings


METRICS: Final = Topic("atalaia.metrics.v1", "MetricEvent", "series", timedelta(days=3), arrival_time=True)
ROLLUPS: Final = Topic("atalaia.rollups.v1", "Rollup", "series", timedelta(days=3))
ALERTS: Final = Topic("atalaia.alerts.v1", "AlertEvent", "alert fingerprint", timedelta(days=30))
ALERT_RULES: Final = Topic("atalaia.alert-rules.v1", "AlertRule", "rule id", None)
SILENCES: Final = Topic("atalaia.silences.v1", "Silence", "silence id", None)
ALERT_COMMANDS: Final = Topic("atalaia.alert-commands.v1", "AlertCommand", "alert fingerprint", timedelta(days=7))
SERVICE_HEALTH: Final = Topic("atalaia.service-health.v1", "ServiceHealth", "service", timedelta(days=3))
NOTIFICATIONS: Final = Topic("atalaia.notifications.v1", "Notification", "alert fingerprint", timedelta(days=30))

TOPICS: Final[tuple[Topic, ...]] = (
    METRICS,
    ROLLUPS,
    ALERTS,
    ALERT_RULES,
    SILENCES,
    ALERT_COMMANDS,
    SERVICE_HEALTH,
    NOTIFICATIONS,
)

RULE_PARTIALS: Final = Topic(
    "atalaia.rule-partials.v1", None, "series, minute and shard", timedelta(days=33), compacted=True
)
"""What the stream workers tell each other, so that a rule can be judged over series of several partitions: nobody
else's business, so without a schema and without dead letters. Kept for the longest window, 31 days, and some."""

INTERNAL: Final[tuple[Topic, ...]] = (RULE_PARTIALS,)

DEAD_LETTER_RETENTION: Final = timedelta(days=14)
DEAD_LETTERS: Final[tuple[Topic, ...]] = tuple(
    Topic(topic.dead_letters, None, "original key", DEAD_LETTER_RETENTION) for topic in TOPICS
)
