"""What a partition owes to Kafka: rows, changelog entries, tombstones; and what it may let go of."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_rules import shared
from stream_data import NOW_MS, group

from atalaia.alerting.local.judge import Judge
from atalaia.alerting.writing.document import from_document
from atalaia.infra.settings import StreamSettings
from atalaia.schemas import codec
from atalaia.schemas.events import AlertStatus, Granularity
from atalaia.schemas.versions import offset_of
from atalaia.streams import partials
from atalaia.streams.columns import Columns, Group
from atalaia.streams.families import families
from atalaia.streams.partition import Partition
from atalaia.streams.state import PartitionState

SETTINGS = StreamSettings()
LONG_AGO = -1.0
"""Before every `touched` of these tests, which are at 0."""
LATER = 1.0


def _partition() -> Partition:
    return Partition(generation=1, state=PartitionState(3), judge=Judge())


def _apply(partition: Partition, *groups: Group, arrival_ms: int = NOW_MS) -> None:
    offsets = (min(each[20] for each in groups), max(each[21] for each in groups))
    partition.apply(Columns(groups=list(groups)), offsets=offsets, arrival_ms=arrival_ms, now_ms=NOW_MS, touched=0.0)


def _rows(partition: Partition, granularity: Granularity, watermark_ms: int = NOW_MS) -> list[dict[str, Any]]:
    """The rows that are due; their versions without the epoch, which every owner has of its own."""
    rows = [codec.decode("Rollup", body) for _, body in partition.rows(granularity, watermark_ms)]
    return [row | {"version": offset_of(row["version"])} for row in rows]


def test_a_row_is_a_whole_rollup_record() -> None:
    """The two halves of a row, encoded apart, are one record of the schema, with the window's numbers."""
    partition = _partition()
    _apply(partition, group(7, NOW_MS + 5, 2.0), group(8, NOW_MS + 9, 4.0))
    (row,) = _rows(partition, Granularity.MINUTE)
    assert row["shard"] == "3-7"
    assert (row["version"], row["count"], row["sum"], row["first"], row["last"]) == (8, 2, 6.0, 2.0, 4.0)
    assert row["service_name"] == "checkout"
    assert sum(row["sketch_counts"]) == 2


def test_a_row_says_what_is_missing() -> None:
    """An event whose producer had counted on without us tells of a gap, and the row of its window says so."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0, counted=(7, 0)))
    _apply(partition, group(2, NOW_MS, 1.0, counted=(7, 4)))
    for granularity in Granularity:
        assert [(row["count"], row["missing"]) for row in _rows(partition, granularity)] == [(2, 3)]
    _apply(partition, group(3, NOW_MS, 1.0, counted=(7, 2)))
    assert [(row["count"], row["missing"]) for row in _rows(partition, Granularity.MINUTE)] == [(3, 2)]


def test_a_row_goes_out_once_a_change() -> None:
    """A row that is out of date goes out, once; an unchanged one doesn't."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    assert len(_rows(partition, Granularity.HOUR)) == 1
    assert _rows(partition, Granularity.HOUR) == []
    _apply(partition, group(2, NOW_MS, 1.0))
    assert [row["count"] for row in _rows(partition, Granularity.HOUR)] == [2]


def test_a_window_that_the_watermark_has_passed_goes_out_complete() -> None:
    """At close every window's row goes out once more, and says that it is complete."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    half = _rows(partition, Granularity.MINUTE, watermark_ms=NOW_MS + 30_000)
    partition.close_windows(NOW_MS + 60_000)
    whole = _rows(partition, Granularity.MINUTE, watermark_ms=NOW_MS + 60_000)
    assert [row["completeness"] for row in half + whole] == [0.5, 1.0]
    partition.close_windows(NOW_MS + 90_000)
    assert _rows(partition, Granularity.MINUTE) == []


def test_a_late_event_takes_no_completeness_away() -> None:
    """An idle partition is complete up to now; an old event changes its window, which stays complete."""
    partition = _partition()
    partition.caught_up = True
    _apply(partition, group(1, NOW_MS - 180_000, 1.0), arrival_ms=NOW_MS - 60_000)
    watermark_ms = partition.watermark(NOW_MS, SETTINGS)
    partition.close_windows(watermark_ms)
    assert [row["completeness"] for row in _rows(partition, Granularity.MINUTE, watermark_ms)] == [1.0]
    _apply(partition, group(2, NOW_MS - 180_000, 1.0), arrival_ms=NOW_MS)
    assert partition.watermark(NOW_MS, SETTINGS) == watermark_ms
    (row,) = _rows(partition, Granularity.MINUTE, partition.watermark(NOW_MS, SETTINGS))
    assert (row["count"], row["completeness"]) == (2, 1.0)


def test_minutes_are_shared_with_homes_when_they_change() -> None:
    """A minute of a metric that a shared rule reads goes out when it gets events, or events are found missing."""
    partition = _partition()
    found = families([shared("r", "api_response_time")], partitions=4)
    partition.sharing.adopt(found, partition.state, NOW_MS)
    _apply(partition, group(1, NOW_MS, 1.0, counted=(7, 0)))
    _apply(partition, group(2, NOW_MS + 60_000, 1.0, counted=(7, 1)))
    assert len(list(partition.sharing.owed(partition.state))) == 2
    assert list(partition.sharing.owed(partition.state)) == []
    _apply(partition, group(3, NOW_MS + 120_000, 1.0, counted=(7, 4)))
    assert len(list(partition.sharing.owed(partition.state))) == 1
    _apply(partition, group(4, NOW_MS + 60_000, 1.0, counted=(7, 2)))
    (_, _, first), (_, _, second) = partition.sharing.owed(partition.state)
    missing = [partials.partial_of(value)[1].missing for value in (first, second) if value is not None]
    assert missing == [0, 1]


def _publish(partition: Partition) -> None:
    for granularity in Granularity:
        _rows(partition, granularity)


def _unpublished(_: Partition) -> int:
    return 100


def _uncommitted(partition: Partition) -> int:
    _publish(partition)
    return 1


@pytest.mark.parametrize("committed", [_unpublished, _uncommitted])
def test_a_window_that_a_crash_could_bring_back_is_kept(committed: Callable[[Partition], int]) -> None:
    """A window is let go of neither before its row is out nor before its last event is committed."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    for _, window in next(iter(partition.state.series.values())).open_windows():
        window.closed = True
    partition.evict(committed=committed(partition), idle_since=LATER, excess=100)
    assert partition.state.window_count() == 4


def test_a_closed_idle_window_is_let_go_and_leaves_a_tombstone() -> None:
    """When the last window of a series goes, its changelog entry is deleted."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    _publish(partition)
    partition.close_windows(NOW_MS + 40 * 86_400_000)
    _publish(partition)
    ((key, value),) = partition.changes()
    assert value is not None
    partition.evict(committed=2, idle_since=LATER, excess=0)
    assert list(partition.changes()) == [(key, None)]
    assert partition.state.series == {}


def test_a_busy_series_lets_its_old_windows_go() -> None:
    """What keeps a window is its own last event: that its series has later ones, not yet committed, doesn't."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    _apply(partition, group(9, NOW_MS + 60_000, 1.0))
    _publish(partition)
    partition.close_windows(NOW_MS + 60_000)
    _publish(partition)
    partition.evict(committed=5, idle_since=LATER, excess=0)
    (series,) = partition.state.series.values()
    assert [window.opened for window in series.windows[0].values()] == [9]


def test_a_checkpoint_ends_while_events_go_on() -> None:
    """Series that change while their entries are taken are for the next checkpoint; none is forgotten."""
    partition = _partition()
    services = [f"service-{number}" for number in range(5)]
    _apply(partition, *(group(number, NOW_MS, 1.0, service=service) for number, service in enumerate(services)))
    taken = 0
    for taken, _ in enumerate(partition.changes(), start=1):
        _apply(partition, *(group(taken * 10 + n, NOW_MS, 1.0, service=service) for n, service in enumerate(services)))
    assert taken == 5
    assert len(list(partition.changes())) == 5


def test_an_open_window_stays_while_memory_lasts() -> None:
    """Idle alone is no reason: a month that is not over stays, unless memory runs out."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    _publish(partition)
    partition.evict(committed=2, idle_since=LATER, excess=0)
    assert partition.state.window_count() == 4
    partition.evict(committed=2, idle_since=LONG_AGO, excess=3)
    assert partition.state.window_count() == 1


def test_an_event_after_eviction_opens_another_shard() -> None:
    """Rows of the shards of one window add up to all of its events."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    before = _rows(partition, Granularity.DAY)
    _publish(partition)
    partition.evict(committed=2, idle_since=LONG_AGO, excess=4)
    _apply(partition, group(9, NOW_MS, 5.0))
    after = _rows(partition, Granularity.DAY)
    assert [row["shard"] for row in before + after] == ["3-1", "3-9"]
    assert sum(row["sum"] for row in before + after) == 6.0


@given(st.lists(st.tuples(st.integers(NOW_MS - 10**9, NOW_MS), st.booleans()), min_size=1, max_size=30))
def test_eviction_at_any_moment_changes_no_sum(drawn: list[tuple[int, bool]]) -> None:
    """Whenever windows are let go of, the highest versions of all shards add up to the events."""
    partition = _partition()
    latest: dict[tuple[int, str], dict[str, Any]] = {}
    for offset, (at_ms, evict) in enumerate(drawn):
        _apply(partition, group(offset, at_ms, 1.0))
        if evict:
            latest |= {(row["window_start"], row["shard"]): row for row in _rows(partition, Granularity.DAY)}
            _publish(partition)
            partition.evict(committed=offset + 1, idle_since=LATER, excess=10_000)
            list(partition.changes())
    latest |= {(row["window_start"], row["shard"]): row for row in _rows(partition, Granularity.DAY)}
    assert sum(row["count"] for row in latest.values()) == len(drawn)


def test_the_changelog_brings_a_partition_back() -> None:
    """A partition loaded from its changelog has the same state, and publishes every window again."""
    partition, successor = _partition(), _partition()
    _apply(partition, group(1, NOW_MS, 1.0), group(2, NOW_MS, 2.0, service="other"))
    values = {key: value for key, value in partition.changes() if value is not None}
    assert len(list(successor.load(values, touched=0.0))) == 2
    assert successor.state.replayed_to == 2
    assert _sorted(_rows(successor, Granularity.MONTH)) == _sorted(_rows(partition, Granularity.MONTH))


def test_an_owner_that_wakes_up_again_counts_nothing_twice() -> None:
    """What a former owner still writes loses to what its successor wrote, however far the former one had read.

    The successor lets the window go and opens it anew, so that the former owner's row of the first opening knows of
    an event that the second opening counts.
    """
    former, successor = _partition(), _partition()
    _apply(former, group(1, NOW_MS, 1.0))
    values = {key: value for key, value in former.changes() if value is not None}
    list(successor.load(values, touched=0.0))
    _apply(former, group(2, NOW_MS, 1.0))  # it was stopped with this in its hands

    written = [codec.decode("Rollup", body) for _, body in successor.rows(Granularity.MINUTE, NOW_MS)]
    for granularity in Granularity:
        _rows(successor, granularity)
    successor.evict(committed=2, idle_since=LONG_AGO, excess=100)
    assert successor.state.window_count() == 0
    _apply(successor, group(2, NOW_MS, 1.0))
    written += [codec.decode("Rollup", body) for _, body in successor.rows(Granularity.MINUTE, NOW_MS)]
    written += [codec.decode("Rollup", body) for _, body in former.rows(Granularity.MINUTE, NOW_MS)]

    in_force: dict[str, dict[str, Any]] = {}
    for row in written:
        if row["shard"] not in in_force or row["version"] >= in_force[row["shard"]]["version"]:
            in_force[row["shard"]] = row
    assert sum(row["count"] for row in in_force.values()) == 2


def _sorted(rows: list[dict[str, Any]]) -> list[bytes]:
    return sorted(orjson.dumps(row, default=str) for row in rows)


def test_half_a_schema_is_not_read_as_a_whole() -> None:
    """The split of the Rollup schema follows its fields: the head alone is no Rollup."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS, 1.0))
    _rows(partition, Granularity.MINUTE)
    (series,) = partition.state.series.values()
    assert series.rollup_head is not None
    with pytest.raises((EOFError, IndexError)):
        fastavro.schemaless_reader(io.BytesIO(series.rollup_head), codec.schema("Rollup"), None)


def test_a_clock_ahead_of_arrival_makes_nobody_late() -> None:
    """An event that claims to be from the future moves the watermark no further than its arrival."""
    partition = _partition()
    _apply(partition, group(1, NOW_MS + 500_000, 1.0))
    assert partition.clock.seen_ms == NOW_MS
    assert partition.watermark(NOW_MS, SETTINGS) == NOW_MS - 5_000


@pytest.mark.parametrize("caught_up", [True, False])
def test_a_backfill_that_comes_alone_pages_nobody(caught_up: bool) -> None:  # noqa: FBT001 - a case
    """Events of last year, alone on their partition, are old when they come, also where the worker lags."""
    rule = from_document({"name": "Any", "metric": "api_response_time", "condition": "> 0"})
    partition = _partition()
    partition.judge.replace_rules([rule], 0)
    partition.caught_up = caught_up
    last_year = NOW_MS - 365 * 86_400_000
    _apply(partition, group(1, last_year, 5.0), group(2, last_year + 60_000, 5.0))
    assert partition.judge_touched(NOW_MS) == []
    assert partition.tick(NOW_MS + 1_000) == []
    assert len(partition.judge) == 0
    _apply(partition, group(3, NOW_MS, 5.0))
    assert [told.status for told in partition.judge_touched(NOW_MS)] == [AlertStatus.FIRING]


COMPLETE_ENOUGH = from_document(
    {
        "id": "complete-enough",
        "name": "Complete enough",
        "metric": "api_response_time",
        "aggregate": "avg",
        "window": "5m",
        "condition": "> 100",
        "min_completeness": 0.8,
    }
)


def _decided(partition: Partition, *groups: Group) -> list[AlertStatus]:
    _apply(partition, *groups)
    return [transition.status for transition in partition.judge_touched(NOW_MS)]


def test_a_verdict_awaits_events_that_are_missing() -> None:
    """A rule says nothing while too much of its window is missing, and decides when that has come."""
    partition = _partition()
    partition.caught_up = True
    partition.judge.replace_rules([COMPLETE_ENOUGH], NOW_MS)
    minute_before = NOW_MS - NOW_MS % 60_000 - 60_000
    assert _decided(partition, group(0, minute_before, 200.0, counted=(7, 0))) == [AlertStatus.FIRING]
    assert _decided(partition, group(1, NOW_MS, 0.0, counted=(7, 3))) == [AlertStatus.AWAITING_DATA]
    assert _decided(partition, group(2, NOW_MS, 0.0, counted=(7, 2))) == []
    assert _decided(partition, group(3, NOW_MS, 0.0, counted=(7, 1))) == [AlertStatus.RESOLVED]


def test_what_fills_a_gap_from_before_the_rule_is_no_event() -> None:
    """A rule that came after a gap does not hold the minute that lacked events: what fills it is taken for nothing."""
    partition, log = _partition(), dict[bytes, bytes]()
    partition.caught_up = True
    long_before = NOW_MS - 120_000
    _apply(partition, group(0, long_before, 1.0, counted=(7, 0)), group(1, long_before, 1.0, counted=(7, 4)))
    partition.judge.replace_rules([COMPLETE_ENOUGH], NOW_MS)
    _apply(partition, group(2, NOW_MS, 1.0, counted=(7, 1)), group(3, NOW_MS, 1.0, counted=(7, 2)))
    assert partition.judge_touched(NOW_MS) == []
    log.update((key, value) for key, value in partition.changes() if value is not None)
    after = _partition()
    after.judge.replace_rules([COMPLETE_ENOUGH], NOW_MS)
    list(after.load(log, touched=0.0))
    after.caught_up = True
    assert _decided(after, group(4, NOW_MS, 1_000.0, counted=(7, 3))) == [AlertStatus.FIRING]


def test_services_that_lose_events_are_known() -> None:
    """Tenant and service of a series that misses events; filled, it is none any more."""
    partition = _partition()
    _apply(partition, group(0, NOW_MS, 1.0, counted=(7, 0)), group(1, NOW_MS, 1.0, counted=(7, 2)))
    assert partition.lossy_services() == {("default", "checkout")}
    _apply(partition, group(2, NOW_MS, 1.0, counted=(7, 1)))
    assert partition.lossy_services() == set()


def test_a_firing_alert_awaits_data_while_its_partition_lags() -> None:
    """It says so once, stays so whatever old events come, and goes on when everything has been read."""
    partition, now_ms = _firing(), NOW_MS
    told = []
    for _ in range(30):
        now_ms += 500
        told += [transition.status for transition in partition.tick(now_ms)]
    assert told == [AlertStatus.AWAITING_DATA]
    _apply(partition, group(1, NOW_MS + 1_000, 300.0), arrival_ms=NOW_MS + 1_000)
    assert partition.judge_touched(now_ms) == partition.tick(now_ms) == []
    partition.caught_up = True
    (again,) = partition.tick(now_ms)
    assert (again.status, again.turn) == (AlertStatus.FIRING, 2)
    assert partition.tick(now_ms + 60_000) == []


def test_what_recovers_behind_the_time_has_recovered() -> None:
    """Events that waited in Kafka resolve an alert as of when they came, though more of them wait."""
    partition = _firing()
    for now_ms in range(NOW_MS, NOW_MS + 15_000, 500):
        partition.tick(now_ms)
    _apply(partition, group(1, NOW_MS + 1_000, 0.0), arrival_ms=NOW_MS + 1_000)
    (resolved,) = partition.judge_touched(NOW_MS + 15_000)
    assert (resolved.status, resolved.at_ms) == (AlertStatus.RESOLVED, NOW_MS + 1_000)
    assert partition.tick(NOW_MS + 16_000) == []


def test_a_moment_behind_is_no_lag() -> None:
    """Under load something always waits, and after a pause nobody knows for some seconds: alerts don't say so."""
    partition = _firing()
    for now_ms in range(NOW_MS, NOW_MS + 60_000, 500):
        partition.caught_up = now_ms % 9_000 == 0
        assert partition.tick(now_ms) == []
    partition.caught_up = False
    for offset, now_ms in enumerate(range(NOW_MS + 60_000, NOW_MS + 120_000, 500), start=1):
        _apply(partition, group(offset, now_ms, 300.0), arrival_ms=now_ms - 2_000)
        assert partition.judge_touched(now_ms) == partition.tick(now_ms) == []


def _firing() -> Partition:
    """A partition that has read an event that fires a rule, and then hears no more."""
    partition = _partition()
    partition.judge.replace_rules([COMPLETE_ENOUGH], NOW_MS)
    partition.caught_up = True
    assert _decided(partition, group(0, NOW_MS, 200.0)) == [AlertStatus.FIRING]
    partition.caught_up = False
    return partition


def test_a_silence_outlives_windows_and_workers() -> None:
    """A series that was seen is missed by the next worker, too, though nothing of its windows is left."""
    rule = from_document({"name": "Up", "metric": "api_response_time", "absent_for": "1h"})
    partition, successor = _partition(), _partition()
    for each in (partition, successor):
        each.judge.replace_rules([rule], 0)
        each.caught_up = True
    _apply(partition, group(1, NOW_MS, 5.0))
    assert partition.judge_touched(NOW_MS) == []
    _publish(partition)
    partition.close_windows(NOW_MS + 40 * 86_400_000)
    _publish(partition)
    partition.evict(committed=2, idle_since=LATER, excess=0)
    assert partition.state.window_count() == 0
    values = {key: value for key, value in partition.changes() if value is not None}
    assert len(list(successor.load(values, touched=0.0))) == 1
    assert successor.tick(NOW_MS + 3_599_999) == []
    assert [told.status for told in successor.tick(NOW_MS + 3_600_000)] == [AlertStatus.FIRING]
