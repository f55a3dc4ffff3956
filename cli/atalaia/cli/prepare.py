"""What must exist before workers start: topics, schemas, tables. Each step can be run again at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from atalaia.infra import kafka
from atalaia.infra.errors import Failure
from atalaia.infra.settings import Settings
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import DEAD_LETTERS, INTERNAL, TOPICS
from atalaia.sinks import schema
from atalaia.streams.changelog import CHANGELOG_CONFIG, changelog_topic


def topics(settings: Settings) -> list[str]:
    """Creates the topics that don't exist yet; their names."""
    return kafka.create_topics(settings.kafka, topic_table(settings))


def topic_table(settings: Settings) -> dict[str, Mapping[str, str]]:
    """Every topic by name, with its configuration: the contracts, their dead letters, what workers tell each other."""
    table: dict[str, Mapping[str, str]] = {topic.name: topic.config() for topic in (*TOPICS, *DEAD_LETTERS, *INTERNAL)}
    return table | {changelog_topic(settings): CHANGELOG_CONFIG}


def schemas(settings: Settings) -> dict[str, int]:
    """Registers our version of every schema; ids by subject. Failure where the registry finds one incompatible."""
    with Registry(settings.registry.url) as registry:
        try:
            return registry.register_all()
        except ValueError as exc:
            raise Failure(f"{exc}; `atalaia schemas check` says more") from exc


def tables(settings: Settings) -> list[str]:
    """Creates ClickHouse's tables and views, and brings their TTLs to the settings; what it did."""
    return schema.migrate(settings)


STEPS: Final[Mapping[str, Callable[[Settings], str]]] = {
    "topics": lambda settings: f"{len(topics(settings))} created",
    "schemas": lambda settings: f"{len(schemas(settings))} registered",
    "tables": lambda settings: ", ".join(tables(settings)) or "as they should be",
}
"""All of it in order; each step says what it did. `atalaia up` and `atalaia schemas register` take them."""
