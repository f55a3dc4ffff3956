"""The engine's view of a batch: what counts, what doesn't, and what it comes to."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from stream_data import NOW_MS, OneSchema, event, framed, records

from atalaia.schemas import codec
from atalaia.schemas.screening import Reason
from atalaia.schemas.sketch import bucket_of
from atalaia.streams.columns import Columns, Engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """ClickHouse's engine, in this process."""
    engine = Engine(OneSchema())
    yield engine
    engine.close()


def test_a_group_is_the_sum_of_its_events(engine: Engine) -> None:
    """Count, sum, extremes, first, last, offsets and sketch of a group are those of its events."""
    values = [3.0, 1.0, 2.0]
    columns = engine.aggregate(records(*(framed(value=value, timestamp=NOW_MS + i) for i, value in enumerate(values))))
    (group,) = columns.groups
    assert group[10:22] == [3, 6.0, 1.0, 3.0, 3.0, NOW_MS, 0, 2.0, NOW_MS + 2, 2, 0, 2]
    assert dict(zip(group[22], group[23], strict=True)) == Counter(bucket_of(value) for value in values)
    assert columns.rejected == []


def test_the_series_are_told_apart_by_every_field_and_catalogued_dimension(engine: Engine) -> None:
    """Service, region, affiliate, unit, frequency and catalogued metadata make a series; other metadata does not."""
    columns = engine.aggregate(
        records(
            framed(),
            framed(metadata={"trace": "1"}),
            framed(metadata={"endpoint": "/a", "trace": "2"}),
            framed(metadata={"trace": "3", "endpoint": "/a"}),
            framed(region="BR"),
            framed(affiliate_id="BR"),
            framed(unit="s"),
            framed(frequency="hourly"),
            framed(service_name="other"),
            framed(tenant="other"),
        )
    )
    assert sorted(group[10] for group in columns.groups) == [1, 1, 1, 1, 1, 1, 2, 2]
    assert {group[7] for group in columns.groups} == {"{}", '{"endpoint":"\\/a"}'}


def test_minutes_are_cut_by_event_time(engine: Engine) -> None:
    """An event belongs to the minute of its own timestamp, however late it is."""
    columns = engine.aggregate(records(framed(timestamp=NOW_MS - 86_400_000), framed(timestamp=NOW_MS)))
    assert [group[9] for group in columns.groups] == [NOW_MS - 86_400_000, NOW_MS]


def _damaged() -> list[tuple[bytes, Reason]]:
    return [
        (b"", Reason.EMPTY),
        (b"\x01abc", Reason.NOT_FRAMED),
        (b'{"metric_name": "cpu"}', Reason.NOT_FRAMED),
        (codec.frame(9, b"whatever"), Reason.UNKNOWN_SCHEMA),
        (framed()[:-9], Reason.UNDECODABLE),
        (b"\0\0\0\0\1", Reason.UNDECODABLE),
        (b"\0\0\0\0\1" + b"\xff" * 40, Reason.UNDECODABLE),
        (framed(value=math.nan), Reason.NOT_FINITE),
        (framed(value=-math.inf), Reason.NOT_FINITE),
        (framed(timestamp=NOW_MS // 1000), Reason.TOO_EARLY),
        (framed(timestamp=0), Reason.TOO_EARLY),
        (framed(timestamp=-1), Reason.TOO_EARLY),
        (framed(timestamp=NOW_MS * 1000), Reason.TOO_LATE),
        (framed(timestamp=4_300_000_000_000), Reason.TOO_LATE),  # the year 2106
        (framed(timestamp=NOW_MS + 600_001), Reason.TOO_LATE),
        (framed(timestamp=2**62), Reason.TOO_LATE),
        (framed(metric_name=""), Reason.NAME_EMPTY),
        (framed(service_name=""), Reason.NAME_EMPTY),
        (framed(metric_name="x" * 201), Reason.NAME_TOO_LONG),
        (framed(region="r" * 201), Reason.NAME_TOO_LONG),
        (framed(service_name="badutf").replace(b"badutf", b"bad\xff\xfe\xfd"), Reason.INVALID_UTF8),
        (framed(metadata={"k": "badutf"}).replace(b"badutf", b"bad\xff\xfe\xfd"), Reason.INVALID_UTF8),
        (framed(metadata={"k": "v" * 257}), Reason.METADATA_TOO_LARGE),
        (framed(metadata={str(i): "" for i in range(33)}), Reason.METADATA_TOO_LARGE),
        (framed(metadata={"k": "v" * 70_000}), Reason.TOO_LARGE),
    ]


@pytest.mark.parametrize(("value", "reason"), _damaged())
def test_a_bad_record_is_rejected_for_its_own_reason(engine: Engine, value: bytes, reason: Reason) -> None:
    """Alone or among sound neighbours, a bad record is rejected with its reason and the neighbours count."""
    columns = engine.aggregate(records(framed(), value, framed()))
    assert [(rejected.offset, rejected.reason) for rejected in columns.rejected] == [(1, reason)]
    assert sum(group[10] for group in columns.groups) == 2


def test_every_kind_of_damage_in_one_batch(engine: Engine) -> None:
    """In one batch with all kinds of damage each record gets its own reason and no sound one is lost."""
    bad = _damaged()
    batch = [framed(sequence=i) for i in range(200)] + [value for value, _ in bad]
    expected = {200 + index: reason for index, (_, reason) in enumerate(bad)}
    columns = engine.aggregate(records(*batch))
    assert {rejected.offset: rejected.reason for rejected in columns.rejected} == expected
    assert sum(group[10] for group in columns.groups) == 200


def test_limits_are_inclusive(engine: Engine) -> None:
    """What is just within the limits counts."""
    columns = engine.aggregate(
        records(
            framed(metric_name="x" * 200),
            framed(metadata={"k" * 256: "v" * 256}),
            framed(metadata={str(i): "" for i in range(32)}),
            framed(timestamp=NOW_MS + 600_000),
            framed(value=1.7e308),
            framed(value=-0.0),
            framed(metric_name="métrica 🗼"),
        )
    )
    assert columns.rejected == []
    assert sum(group[10] for group in columns.groups) == 7


def test_an_event_at_a_time_gives_the_same_as_a_batch(engine: Engine) -> None:
    """With `each_event` every group is one event, with its own offset, in the order of offsets."""
    batch = records(*(framed(value=float(i), service_name=f"s{i % 3}") for i in range(20)), first_offset=100)
    groups = engine.aggregate(batch, each_event=True).groups
    assert [(group[20], group[21], group[10]) for group in groups] == [(100 + i, 100 + i, 1) for i in range(20)]


def test_random_bytes_never_hide_a_neighbour(engine: Engine) -> None:
    """Whatever bytes stand between sound records, all sound records count and all records are accounted for."""
    rng = random.Random(7)
    for _ in range(10):
        noise = [b"\0\0\0\0\1" + rng.randbytes(rng.randrange(200)) for _ in range(20)]
        sound = [framed(sequence=i, service_name="sound") for i in range(20)]
        batch = [value for pair in zip(sound, noise, strict=True) for value in pair]
        columns = engine.aggregate(records(*batch))
        assert _count(columns, "sound") == 20
        assert sum(group[10] for group in columns.groups) + len(columns.rejected) == 40


def test_an_older_schema_is_read_with_its_own_fields() -> None:
    """Writer schemas of one batch may differ: each record is decoded with the one it was written with."""
    newer = codec.schema_text("MetricEvent").replace(
        '{"name":"producer_id"', '{"name":"zone","type":["null","string"],"default":null},{"name":"producer_id"'
    )

    class Two(OneSchema):
        def writer(self, schema_id: int) -> str:
            return newer if schema_id == 2 else super().writer(schema_id)

    engine = Engine(Two())
    body = codec.encode_as(newer, event(zone="a"))
    columns = engine.aggregate(records(framed(), codec.frame(2, body), framed()))
    assert _count(columns, "checkout") == 3
    assert columns.rejected == []
    engine.close()


def _count(columns: Columns, service: str) -> int:
    return sum(group[10] for group in columns.groups if group[2] == service)


def test_a_group_tells_which_sequences_came_of_which_producer(engine: Engine) -> None:
    """Each group has the runs of its producers, whatever their order, without those who do not count."""
    columns = engine.aggregate(
        records(
            *(framed(sequence=number, producer_id="a") for number in (5, 3, 4, 8)),
            framed(sequence=0, producer_id="b"),
            framed(sequence=9, producer_id=""),
            framed(sequence=-1, producer_id="c"),
            framed(sequence=9, producer_id="a", timestamp=NOW_MS + 60_000),
        )
    )
    this, following = (group[24] for group in columns.groups)
    ((producer, *_),) = following
    assert [run[1:] for run in this if run[0] == producer] == [(3, 5), (8, 8)]
    assert [run[1:] for run in this if run[0] != producer] == [(0, 0)]
    assert following == [(producer, 9, 9)]


def test_every_shape_of_a_count_is_told_right(engine: Engine) -> None:
    """Whatever sequences a group has of one producer or several, in whatever order, its runs hold just those."""
    draw = random.Random(7)
    shapes: list[list[tuple[str, int]]] = [
        [("a", 0)],
        [("a", number) for number in range(4)],
        [("a", number) for number in range(3, -1, -1)],
        [("a", 5), ("a", 5)],
        [("a", 5), ("a", 7)],
        [("a", 2), ("a", 3), ("a", 3), ("a", 4)],
        [("", number) for number in range(3)],
        [("a", number) for number in range(-2, 2)],
        *([(draw.choice("ab"), draw.randrange(8)) for _ in range(6)] for _ in range(20)),
    ]
    batch = [
        framed(sequence=number, producer_id=producer, timestamp=NOW_MS + minute * 60_000, service_name=producer or "-")
        for minute, shape in enumerate(shapes)
        for producer, number in shape
    ]
    found: dict[tuple[str, int], set[int]] = {}
    for group in engine.aggregate(records(*batch, arrival_ms=NOW_MS + len(shapes) * 60_000)).groups:
        numbers = found.setdefault((group[2], group[9]), set())
        for _, first, last in group[24]:
            numbers.update(range(first, last + 1))
    expected = {
        (producer or "-", NOW_MS + minute * 60_000): {
            number for each, number in shape if each == producer and producer and number >= 0
        }
        for minute, shape in enumerate(shapes)
        for producer, _ in shape
    }
    assert found == expected
