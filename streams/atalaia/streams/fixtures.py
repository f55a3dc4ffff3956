"""A slice of the metrics topic in a directory: events as Avro, the rules, and the alerts that must come out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import fastavro

from atalaia.alerting.backtest.replay import Arrival, outline, replay
from atalaia.alerting.rules import Rule, RuleError
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.infra.errors import Failure
from atalaia.infra.settings import Settings
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry, SchemaMissing
from atalaia.schemas.topics import METRICS
from atalaia.streams import recorded
from atalaia.streams.columns import Engine

EVENTS: Final = "events.avro"
META: Final = "meta.json"
FORMAT: Final = 1
_SCHEMA: Final = METRICS.schema or ""
_PLACE: Final = ("_partition", "_offset", "_arrival_ms")
_ID: Final = 1
"""The number that the current schema has where no registry is asked."""

Outline = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fixture:
    """What is in a directory: rules, the alerts that must come out, and how far time goes."""

    folder: Path
    rules: tuple[Rule, ...]
    expected: list[Outline]
    until_ms: int


class _Current:
    """A registry that knows the current schema alone."""

    def writer(self, schema_id: int) -> str:
        """The schema's text."""
        if schema_id != _ID:
            raise SchemaMissing(f"schema id {schema_id}")
        return codec.schema_text(_SCHEMA)


def cut(settings: Settings, metrics: Collection[str], folder: Path, *, from_ms: int, to_ms: int) -> int:
    """Writes the events of some metrics that arrived between two instants into a directory; how many there are.

    What no reader can decode stays out: it counted for no alert either.
    """
    schema = json.loads(codec.schema_text(_SCHEMA))
    schema["fields"] += [{"name": name, "type": "long"} for name in _PLACE]
    rows = []
    with Registry(settings.registry.url) as registry:
        for partition, batch in recorded.batches(settings, from_ms=from_ms, to_ms=to_ms):
            for offset, arrival_ms, value in batch:
                event = _decoded(registry, value)
                if event is not None and event["metric_name"] in metrics:
                    rows.append(event | dict(zip(_PLACE, (partition, offset, arrival_ms), strict=True)))
    rows.sort(key=itemgetter("_arrival_ms", "_partition", "_offset"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / EVENTS).open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), rows, codec="deflate")
    return len(rows)


def describe(folder: Path, rules: Sequence[Rule], expected: Sequence[Outline], *, span: tuple[int, int]) -> None:
    """Writes what else belongs to the slice: the rules, and what they must tell of it."""
    said = {
        "format": FORMAT,
        "from_ms": span[0],
        "until_ms": span[1],
        "rules": [to_document(rule) for rule in rules],
        "alerts": list(expected),
    }
    (folder / META).write_text(json.dumps(said, ensure_ascii=False, indent=2) + "\n", "utf-8")


def load(folder: Path) -> Fixture:
    """A fixture as it was written; Failure says what is wrong with it."""
    try:
        said = json.loads((folder / META).read_text("utf-8"))
        rules = tuple(from_document(document) for document in said["rules"])
        fixture = Fixture(folder, rules, said["alerts"], said["until_ms"])
    except (OSError, ValueError, KeyError, TypeError, RuleError) as exc:
        raise Failure(f"{folder / META}: {exc}; write one with `atalaia rules record`") from exc
    if said.get("format") != FORMAT:
        raise Failure(f"{folder / META}: format is {said.get('format')!r}; this version reads {FORMAT}")
    return fixture


def arrivals(folder: Path) -> list[Arrival]:
    """The events of a fixture, decoded and screened as the stream workers do, in the order of their arrival."""
    try:
        with (folder / EVENTS).open("rb") as file:
            rows: list[dict[str, Any]] = list(fastavro.reader(file))  # type: ignore[arg-type]
    except (OSError, ValueError) as exc:
        raise Failure(f"{folder / EVENTS}: {exc}") from exc
    records = [(at, int(row["_arrival_ms"]), _framed(row)) for at, row in enumerate(rows)]
    engine = Engine(_Current())
    try:
        groups = engine.aggregate(records, each_event=True).groups
    finally:
        engine.close()
    return [(records[group[21]][1], recorded.series_of(group), recorded.stats_of(group)) for group in groups]


def outcome(fixture: Fixture) -> list[Outline]:
    """What the rules of a fixture tell of its events."""
    told = replay(fixture.rules, arrivals(fixture.folder), until_ms=fixture.until_ms)
    return [outline(each) for each in told]


def differences(expected: Sequence[Outline], came: Sequence[Outline]) -> tuple[list[Outline], list[Outline]]:
    """What must have come and did not, and what came and must not."""
    missing = [each for each in expected if each not in came]
    return missing, [each for each in came if each not in expected]


def _decoded(registry: Registry, value: bytes) -> dict[str, Any] | None:
    schema_id = codec.schema_id_of(value)
    if schema_id is None:
        return None
    try:
        return codec.decode_as(registry.parsed_writer(schema_id), _SCHEMA, value[codec.HEADER_BYTES :])
    except Exception:  # noqa: BLE001 - the dead-letter guard: fastavro fails on damage in a dozen ways
        return None


def _framed(row: dict[str, Any]) -> bytes:
    event = {name: value for name, value in row.items() if name not in _PLACE}
    return codec.frame(_ID, codec.encode(_SCHEMA, event))
