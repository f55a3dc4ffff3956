"""Schema ids from, and schemas by id in, a registry that speaks the Confluent REST API."""

from __future__ import annotations

import json
import logging
from typing import Any, Self

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from atalaia.schemas.codec import schema_text
from atalaia.schemas.topics import TOPICS, Topic

NOT_FOUND_STATUS = 404


class RegistryUnavailable(Exception):  # noqa: N818 - a state of the world, as in HTTP's 503
    """The registry gave no usable answer; try again later."""


class SchemaMissing(Exception):  # noqa: N818 - names what is missing
    """The registry answered, and does not have it."""


class Registry:
    """A registry. Answers by id are kept for good: an id never changes its meaning."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        # The client logs each retry through httpx; what matters is raised.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self.url = url
        self._client = SchemaRegistryClient({"url": url, "timeout": timeout_seconds, "max.retries": 0})
        self._writers: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees its connections; it cannot be used any more."""
        self._client.close()

    def id_of(self, topic: Topic) -> int:
        """The id of our own version of the topic's schema; `SchemaMissing` where it isn't registered."""
        try:
            return int(self._client.lookup_schema(topic.subject, _avro(topic)).schema_id or 0)
        except SchemaRegistryError as exc:
            raise self._error(exc, f"{topic.subject}: run `atalaia schemas register`") from exc
        except Exception as exc:  # the HTTP client has a dozen errors for "nobody answers"
            raise self._away(exc) from exc

    def register(self, topic: Topic) -> int:
        """Registers our version; the id, the same each time. `ValueError` where it is incompatible."""
        try:
            return int(self._client.register_schema(topic.subject, _avro(topic)))
        except SchemaRegistryError as exc:
            if exc.http_status_code in {409, 422}:
                raise ValueError(f"{topic.subject}: {exc.error_message}") from exc
            raise self._error(exc, topic.subject) from exc
        except Exception as exc:
            raise self._away(exc) from exc

    def register_all(self) -> dict[str, int]:
        """Registers every topic's schema; ids by subject."""
        return {topic.subject: self.register(topic) for topic in TOPICS}

    def history(self, topic: Topic) -> list[tuple[int, str]]:
        """Every version of the topic's schema that is registered, oldest first; none where there is no subject yet."""
        try:
            versions = self._client.get_versions(topic.subject)
            return [(number, _text_of(self._client.get_version(topic.subject, number))) for number in sorted(versions)]
        except SchemaRegistryError as exc:
            if exc.http_status_code == NOT_FOUND_STATUS:
                return []
            raise self._error(exc, topic.subject) from exc
        except Exception as exc:
            raise self._away(exc) from exc

    def writer(self, schema_id: int) -> str:
        """The JSON text of the schema with this id; `SchemaMissing` where the registry has none."""
        known = self._writers.get(schema_id)
        if known is not None:
            return known
        try:
            text = str(self._client.get_schema(schema_id).schema_str)
        except SchemaRegistryError as exc:
            raise self._error(exc, f"schema id {schema_id}") from exc
        except Exception as exc:
            raise self._away(exc) from exc
        self._writers[schema_id] = text
        return text

    def parsed_writer(self, schema_id: int) -> Any:
        """The same, parsed for fastavro."""
        return fastavro.parse_schema(json.loads(self.writer(schema_id)))

    def _error(self, exc: SchemaRegistryError, what: str) -> Exception:
        if exc.http_status_code == NOT_FOUND_STATUS:
            return SchemaMissing(f"{what} is not in the registry at {self.url}")
        return RegistryUnavailable(f"registry at {self.url}: {exc.error_message}")

    def _away(self, exc: Exception) -> RegistryUnavailable:
        return RegistryUnavailable(f"registry at {self.url} does not answer ({exc}); is it up?")


def _text_of(version: Any) -> str:
    return str(version.schema.schema_str)


def _avro(topic: Topic) -> Schema:
    if topic.schema is None:
        raise ValueError(f"{topic.name} carries bytes that are not ours: it has no schema")
    return Schema(schema_text(topic.schema), "AVRO")
