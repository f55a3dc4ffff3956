"""A batch into the real engine: every record that counts, once, whatever else is in the batch."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import fastavro
import pytest
from clickhouse_connect.driver.client import Client
from sink_data import IDS, NOW_MS, Schemas, Sent, alert, event, framed, health, notification, rollup, sent

from atalaia.infra.clickhouse import ClickHouseRefused, ClickHouseUnavailable
from atalaia.infra.settings import ClickHouseSettings
from atalaia.schemas import codec
from atalaia.schemas.registry import RegistryUnavailable
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import ALERTS, METRICS, NOTIFICATIONS, ROLLUPS, SERVICE_HEALTH
from atalaia.sinks import dead_letters
from atalaia.sinks.batch import cut
from atalaia.sinks.loader import Loader, Unusable
from atalaia.sinks.tables import tables
from atalaia.streams.columns import Engine

DAY_MS = 86_400_000
FRAME = codec.frame_header(IDS[METRICS])

POISON: dict[str, bytes | None] = {
    "no value": None,
    "empty": b"",
    "no frame": b"{}",
    "short": b"\0\0",
    "unknown schema": codec.frame(999, b"abc"),
    "nothing after the frame": FRAME,
    "truncated": event()[:-10],
    "negative length": FRAME + b"\x01" * 40,
    "huge length": FRAME + b"\xff\xff\xff\xff\x0fabc",
    "length beyond 64 bits": FRAME + b"\xff" * 12,
    "random": FRAME + random.Random(3).randbytes(80),
    "NaN": event(value=float("nan")),
    "infinite": event(value=float("-inf")),
    "seconds for milliseconds": event(timestamp=NOW_MS // 1000),
    "microseconds for milliseconds": event(timestamp=NOW_MS * 1000),
    "from 2106": event(timestamp=4_294_967_296_000),
    "no name": event(metric_name=""),
    "too large": event(metadata={"k": "x" * 70_000}),
    "too many keys": event(metadata={f"k{index}": "" for index in range(33)}),
    "invalid UTF-8": event(service_name="checkout").replace(b"checkout", b"check\xffut"),
}


def offsets(client: Client, table: str = "metric_events") -> list[int]:
    """The offsets that a table has, with repetitions."""
    return [offset for (offset,) in client.query(f"SELECT _offset FROM {table} ORDER BY _offset").result_rows]


def test_every_field_arrives(loader: Loader, client: Client) -> None:
    """An event's row has its fields, its place in Kafka and its arrival time."""
    value = event(
        value=2.5, region="BR", metadata={"endpoint": "/x"}, sequence=7, event_id="01890a5d-ac96-774b-bcce-b302099a8057"
    )
    loader.store(cut([Sent(METRICS.name, 3, 41, value, arrival_ms=NOW_MS + 5)]))
    row = client.query("SELECT * FROM metric_events").named_results()
    (found,) = list(row)
    assert found["value"] == 2.5
    assert (found["region"], found["affiliate_id"]) == ("BR", "")
    assert found["metadata"] == {"endpoint": "/x"}
    assert str(found["event_id"]) == "01890a5d-ac96-774b-bcce-b302099a8057"
    assert (found["_partition"], found["_offset"], found["sequence"]) == (3, 41, 7)
    assert round(found["timestamp"].timestamp() * 1000) == NOW_MS
    assert round(found["arrived_at"].timestamp() * 1000) == NOW_MS + 5


def test_a_batch_that_comes_again_adds_nothing(loader: Loader, client: Client) -> None:
    """After a crash between insert and commit the batch comes again, and no row of it is there twice."""
    batch = cut(
        [*sent(METRICS, *(event() for _ in range(50))), *sent(ALERTS, alert()), *sent(SERVICE_HEALTH, health())]
    )
    for _ in range(3):
        loader.store(batch)
    assert offsets(client) == list(range(50))
    assert offsets(client, "alert_events") == [0]
    assert offsets(client, "service_health") == [0]


def test_what_a_crash_left_out_is_added(loader: Loader, client: Client) -> None:
    """After a crash in the middle of an insert, the rows that are missing are added, and only they."""
    values = [event() for _ in range(30)]
    for part in (values[5:9], values[20:21]):
        loader.store(cut(sent(METRICS, *part, first=values.index(part[0]))))
    loader.store(cut(sent(METRICS, *values)))
    assert offsets(client) == list(range(30))


def test_the_same_offset_of_another_partition_is_another_record(loader: Loader, client: Client) -> None:
    """Only partition and offset together say that a record is there already."""
    loader.store(cut(sent(METRICS, event(), partition=0)))
    loader.store(cut([*sent(METRICS, event(), partition=0), *sent(METRICS, event(), partition=1)]))
    assert client.query("SELECT _partition, _offset FROM metric_events ORDER BY 1").result_rows == [(0, 0), (1, 0)]


def test_poison_leaves_its_neighbours_alone(loader: Loader, client: Client) -> None:
    """A record that cannot count is left out, wherever in the batch it is; its neighbours are stored."""
    for first, (kind, poison) in enumerate(POISON.items()):
        batch = cut(sent(METRICS, event(), poison, event(), poison, event(), first=100 * first))
        loader.store(batch)
        stored = [offset - 100 * first for offset in offsets(client) if offset >= 100 * first]
        assert stored == [0, 2, 4], kind


def test_all_poison_at_once(loader: Loader, client: Client) -> None:
    """A batch may hold nothing but poison, of every kind."""
    loader.store(cut(sent(METRICS, *POISON.values())))
    assert offsets(client) == []


def test_judges_as_the_stream_worker(loader: Loader, client: Client, schemas: Schemas) -> None:
    """Whatever bytes arrive, the sink stores exactly the records that the stream worker counts."""
    dice = random.Random(20)
    values: list[bytes] = []
    for _ in range(600):
        value = bytearray(event(metadata={"endpoint": "/x"}, region="BR"))
        for _ in range(dice.choice([0, 1, 1, 2, 5])):
            value[dice.randrange(5, len(value))] = dice.randrange(256)
        values.append(bytes(value[: dice.choice([len(value), len(value), dice.randrange(5, len(value))])]))
    engine = Engine(schemas)
    records = [(offset, NOW_MS, value) for offset, value in enumerate(values)]
    rejected = {each.offset for each in engine.aggregate(records).rejected}
    engine.close()
    loader.store(cut(sent(METRICS, *values)))
    assert offsets(client) == [offset for offset in range(600) if offset not in rejected]
    assert 50 < len(rejected) < 550


def test_names_what_cannot_be_read(loader: Loader) -> None:
    """Records of our own topics that cannot become rows are named, each with its reason."""
    values = [b"", b"{}", codec.frame(999, b""), codec.frame(IDS[ALERTS], b"\x02"), alert()]
    assert set(loader.store(cut(sent(ALERTS, *values)))) == {
        Unusable(ALERTS.name, 0, 0, Reason.EMPTY),
        Unusable(ALERTS.name, 0, 1, Reason.NOT_FRAMED),
        Unusable(ALERTS.name, 0, 2, Reason.UNKNOWN_SCHEMA),
        Unusable(ALERTS.name, 0, 3, Reason.UNDECODABLE),
    }


def test_finds_what_only_clickhouse_refuses(loader: Loader, client: Client) -> None:
    """A record that decodes and still cannot become a row is found among its neighbours."""
    broken = codec.decode("Rollup", rollup([1.0])[5:]) | {"sketch_counts": [1, 2, 3]}
    values = [rollup([1.0], shard="0-1"), framed(ROLLUPS, broken), rollup([1.0], shard="0-2")]
    assert loader.store(cut(sent(ROLLUPS, *values))) == [Unusable(ROLLUPS.name, 0, 1, Reason.UNDECODABLE)]
    assert client.query("SELECT shard FROM metric_rollups ORDER BY 1").result_rows == [("0-1",), ("0-2",)]


def test_an_older_writer(loader: Loader, client: Client, schemas: Schemas) -> None:
    """An event of a writer that doesn't know a field yet gets our schema's default; beside events of the new one."""
    older = json.loads(schemas.texts[1])
    older["fields"] = [each for each in older["fields"] if each["name"] not in {"tenant", "unit", "metadata", "region"}]
    schemas.texts[17] = json.dumps(older)
    body = {each["name"]: codec.decode("MetricEvent", event()[5:])[each["name"]] for each in older["fields"]}
    value = codec.frame(17, _written(older, body))
    assert loader.store(cut(sent(METRICS, event(tenant="new"), value))) == []
    found = client.query("SELECT tenant, unit, metadata, region FROM metric_events ORDER BY _offset").result_rows
    assert found == [("new", "ms", {}, ""), ("default", "1", {}, "")]


def test_a_newer_writer(loader: Loader, client: Client, schemas: Schemas) -> None:
    """A field that we don't know yet is passed over."""
    newer = json.loads(schemas.texts[1])
    newer["fields"].insert(3, {"name": "colour", "type": "string", "default": "red"})
    schemas.texts[18] = json.dumps(newer)
    value = codec.frame(18, _written(newer, codec.decode("MetricEvent", event(value=4.0)[5:]) | {"colour": "blue"}))
    loader.store(cut(sent(METRICS, value)))
    assert client.query("SELECT value FROM metric_events").result_rows == [(4.0,)]


def test_a_year_in_one_insert(loader: Loader, client: Client) -> None:
    """History of 545 days that arrives at once goes in with one insert, into one partition."""
    values = [event(timestamp=NOW_MS - day * DAY_MS, frequency="daily") for day in range(545)]
    loader.store(cut(sent(METRICS, *values)))
    parts = client.query("SELECT uniqExact(partition) FROM system.parts WHERE active AND table = 'metric_events'")
    assert offsets(client) == list(range(545))
    assert parts.result_rows == [(1,)]


def test_rollups_of_a_year_ago(loader: Loader, client: Client) -> None:
    """Windows that are past their retention when they come are left out; the coarser ones are kept longer."""
    long_ago = 1_000_000_000_000
    rows = [
        rollup([1.0], window_start=start, granularity=granularity)
        for start in (long_ago, NOW_MS)
        for granularity in ("minute", "day")
    ]
    assert loader.store(cut(sent(ROLLUPS, *rows))) == []
    assert client.query("SELECT granularity FROM metric_rollups ORDER BY 1").result_rows == [("day",), ("minute",)]


def test_other_topics(loader: Loader, client: Client) -> None:
    """Alerts, health and notifications come to their tables with all fields."""
    loader.store(
        cut(
            [
                *sent(ALERTS, alert(actions=["look", "think"], window_start=None, traceparent=None)),
                *sent(SERVICE_HEALTH, health(cpu_usage=12.5)),
                *sent(NOTIFICATIONS, notification(attempt=2)),
            ]
        )
    )
    assert client.query("SELECT actions, window_start, traceparent FROM alert_events").result_rows == [
        (["look", "think"], None, "")
    ]
    assert client.query("SELECT cpu_usage, memory_usage FROM service_health").result_rows == [(12.5, None)]
    assert client.query("SELECT attempt, outcome, recipient FROM notifications").result_rows == [(2, "sent", "#ops")]


def test_dead_letters_once_with_their_bytes(loader: Loader, client: Client) -> None:
    """A dead letter keeps its bytes, key and headers, and is there once, however often it was put aside."""
    original = Sent(METRICS.name, 2, 99, b"\xff\x00bytes", said=[("traceparent", b"\xfe")], id=None)
    said = dead_letters.headers(original, Reason.UNDECODABLE)
    copies = [Sent(METRICS.dead_letters, 1, at, original.value(), said=said, id=None) for at in (5, 6, 7)]
    loader.store(cut(copies[:2]))
    loader.store(cut(copies))
    rows = list(client.query("SELECT topic, partition, offset, reason, _offset FROM dead_letters").result_rows)
    assert [row[:4] for row in rows] == [(METRICS.name, 2, 99, "undecodable")]
    assert client.command("SELECT hex(value) FROM dead_letters") == "FF006279746573"
    assert client.command("SELECT hex(headers['traceparent']) FROM dead_letters") == "FE"


def test_a_dead_letter_of_somebody_else(loader: Loader, client: Client) -> None:
    """A record in a dead letter topic that says nothing of its origin stands for itself."""
    loader.store(cut([Sent(ALERTS.dead_letters, 3, 12, None, said=[("__connect.errors.partition", b"-1")])]))
    assert client.query("SELECT topic, partition, offset, reason, value FROM dead_letters").result_rows == [
        (ALERTS.name, 3, 12, "", "")
    ]


def test_clickhouse_away(schemas: Schemas, migrated: Any) -> None:
    """Without ClickHouse nothing is judged: the batch can be tried again."""
    away = Loader(ClickHouseSettings(url="http://127.0.0.1:9"), schemas, tables(migrated.retention))
    with pytest.raises(ClickHouseUnavailable, match="start it with `atalaia up`"):
        away.store(cut(sent(METRICS, event())))


def test_registry_away(migrated: Any, client: Client) -> None:
    """Without the registry no record is unknown: the batch can be tried again."""

    class Away:
        def writer(self, schema_id: int) -> str:
            raise RegistryUnavailable(f"{schema_id}?")

    with pytest.raises(RegistryUnavailable):
        Loader(migrated.clickhouse, Away(), tables(migrated.retention)).store(cut(sent(METRICS, event())))
    assert offsets(client) == []


def test_the_servers_trouble_is_no_records_fault(loader: Loader, client: Client) -> None:
    """Where a table is missing no record is put aside: the error goes up, to be tried again."""
    client.command("RENAME TABLE service_health TO hidden")
    try:
        with pytest.raises(ClickHouseRefused) as caught:
            loader.store(cut(sent(SERVICE_HEALTH, health())))
    finally:
        client.command("RENAME TABLE hidden TO service_health")
    assert caught.value.code == 60


def test_the_guard_comes_before_each_insert(loader: Loader, client: Client) -> None:
    """Nothing is inserted once the guard says that we may not."""

    def refuse() -> None:
        raise PermissionError("expelled")

    loader.guard = refuse
    with pytest.raises(PermissionError):
        loader.store(cut(sent(METRICS, event())))
    assert offsets(client) == []


def _written(schema: Any, record: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
    return buffer.getvalue()
