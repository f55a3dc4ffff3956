"""The schema ids that frame records, asked of a registry with the standard library alone.

`atalaia.schemas.registry` does the same and more, through a client that takes half a second of CPU and 25 MB to
import: too much for a question that a service asks once.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401 - see HttpSchemaIds
import json
import ssl
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.resources import files
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from atalaia.producers.errors import ConfigError
from atalaia.schemas.topics import Topic

_TIMEOUT_SECONDS: Final = 5.0
_OK: Final = 200
_NOT_FOUND: Final = 404


class RegistryTrouble(Exception):  # noqa: N818 - a state of the world
    """The registry gave no id; the message says why and what to do."""


class SchemaIds(Protocol):
    """Whoever knows the schema ids; `atalaia.schemas.registry.Registry` does, too."""

    def id_of(self, topic: Topic) -> int:
        """The id of our own version of the topic's schema; any exception means: ask again later."""
        ...


class HttpSchemaIds:
    """A registry that speaks the Confluent REST API; `http(s)://user:password@host:port/path` is understood.

    It asks from a background thread, so all that must be imported or read for that is so beforehand: a process that
    forks while another thread imports leaves the child a lock that nobody will release.
    """

    def __init__(self, url: str, topics: Iterable[Topic]) -> None:
        self._questions = {topic.name: schema_question(topic) for topic in topics}
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"registry={url!r}: must be a URL like http://127.0.0.1:8081")
        try:
            self._port = parts.port
        except ValueError as exc:
            raise ConfigError(f"registry={url!r}: {exc}") from exc
        self._host = parts.hostname
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":") + self._path
        self._headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()

    def id_of(self, topic: Topic) -> int:
        """The id; `RegistryTrouble` where there is none. Takes at most a few seconds."""
        status, answer = self._post(f"{self._path}/subjects/{topic.subject}", self._questions[topic.name])
        if status == _NOT_FOUND:
            raise RegistryTrouble(
                f"{topic.subject} is not in the registry at {self._shown}: run `atalaia schemas register`"
            )
        try:
            schema_id = json.loads(answer)["id"]
        except (ValueError, TypeError, KeyError) as exc:
            said = answer[:200].decode(errors="replace")
            raise RegistryTrouble(
                f"registry at {self._shown} answered {status} {said!r}; is it a schema registry?"
            ) from exc
        if status != _OK or not isinstance(schema_id, int):
            raise RegistryTrouble(f"registry at {self._shown} answered {status} without an id")
        return schema_id

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = (
            HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())
            if self._secure
            else HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        )
        try:
            connection.request("POST", path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as exc:
            raise RegistryTrouble(f"registry at {self._shown} does not answer ({exc}); is it up?") from exc
        finally:
            connection.close()


def schema_question(topic: Topic) -> bytes:
    """The body that asks a registry for the id of our own version of a topic's schema."""
    text = files("atalaia.schemas").joinpath("avro", f"{topic.schema}.avsc").read_text("utf-8")
    schema = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    return json.dumps({"schema": schema, "schemaType": "AVRO"}).encode()
