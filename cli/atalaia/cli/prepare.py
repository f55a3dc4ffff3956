"""What must exist before workers start: topics, schemas, tables. Each step can be run again at any time."""

from __future__ import annotations

from collections.abc import Mapping

from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import DEAD_LETTERS, TOPICS
from atalaia.streams.changelog import CHANGELOG_CONFIG, changelog_topic


def topics(settings: Settings) -> list[str]:
    """Creates the topics that don't exist yet; their names."""
    return kafka.create_topics(settings.kafka, topic_table(settings))


def topic_table(settings: Settings) -> dict[str, Mapping[str, str]]:
    """Every topic by name, with its configuration: the contracts, their dead letters, the workers' changelog."""
    table: dict[str, Mapping[str, str]] = {topic.name: topic.config() for topic in (*TOPICS, *DEAD_LETTERS)}
    return table | {changelog_topic(settings): CHANGELOG_CONFIG}


def schemas(settings: Settings) -> dict[str, int]:
    """Registers our version of every schema; ids by subject."""
    with Registry(settings.registry.url) as registry:
        return registry.register_all()
