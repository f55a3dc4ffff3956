"""Raw and rollups compared on the real engine: every difference is found, and nothing else is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from sink_data import NOW_MS, event, rollup, sent

from atalaia.infra.settings import RetentionSettings
from atalaia.schemas.events import Granularity
from atalaia.schemas.topics import METRICS, ROLLUPS
from atalaia.schemas.windows import window_start
from atalaia.sinks import comparison
from atalaia.sinks.batch import cut
from atalaia.sinks.comparison import Scope
from atalaia.sinks.evidence import compare
from atalaia.sinks.loader import Loader

NOW: Final = datetime.fromtimestamp(NOW_MS // 1000, UTC)
AT: Final = NOW_MS - 7_200_000
DUE: Final = {0: 10**9, 1: 10**9}


def scope(granularity: Granularity = Granularity.MINUTE, **more: Any) -> Scope:
    """All windows of a granularity."""
    return Scope(granularity, RetentionSettings(), NOW, whole=True, **more)


def row(values: list[float], granularity: Granularity = Granularity.MINUTE, **fields: Any) -> bytes:
    """The rollup of events at AT."""
    return rollup(values, granularity=granularity.value, window_start=window_start(AT, granularity), **fields)


def store_events(loader: Loader, *values: float, **fields: Any) -> None:
    """Events at AT, from offset 0 of partition 0 on."""
    loader.store(cut(sent(METRICS, *(event(timestamp=AT, value=value, **fields) for value in values))))


@pytest.mark.parametrize("granularity", Granularity)
def test_the_same_is_no_difference(loader: Loader, client: Client, granularity: Granularity) -> None:
    """Where a rollup says what its events say, at any granularity, nothing differs."""
    store_events(loader, 0.1, 0.2, 0.3)
    loader.store(cut(sent(ROLLUPS, row([0.3, 0.2, 0.1], granularity))))
    found = compare(client, scope(granularity), DUE)
    assert (found.windows, found.events, found.different, found.examples) == (1, 3, 0, ())


@pytest.mark.parametrize(
    "wrong", [{"count": 4}, {"sum": 6.1}, {"min": 0.5}, {"max": 3.5}], ids=["count", "sum", "min", "max"]
)
def test_each_number_is_compared(loader: Loader, client: Client, wrong: dict[str, Any]) -> None:
    """A rollup with one wrong number is a difference, told with both sides."""
    store_events(loader, 1.0, 2.0, 3.0)
    loader.store(cut(sent(ROLLUPS, row([1.0, 2.0, 3.0], **wrong))))
    found = compare(client, scope(), DUE)
    assert found.different == 1
    (example,) = found.examples
    (name,) = wrong
    assert getattr(example.rollup, name) == wrong[name]
    assert (example.raw.count, example.raw.sum, example.missing) == (3, 6.0, 0)
    assert example.labels["service_name"] == "checkout"


def test_events_that_the_rollup_does_not_know_are_missing(loader: Loader, client: Client) -> None:
    """Events after the last that a rollup knows of are missing where it should know of them, else they are to come."""
    store_events(loader, 1.0, 2.0, 3.0, 4.0)
    loader.store(cut(sent(ROLLUPS, row([1.0, 2.0]))))
    found = compare(client, scope(), {0: 3})
    assert [example.missing for example in found.examples] == [1]
    assert compare(client, scope(), {0: 2}).different == 0


def test_a_window_without_a_rollup(loader: Loader, client: Client) -> None:
    """Events of which there is no rollup at all are missing from it."""
    store_events(loader, 1.0, 2.0)
    found = compare(client, scope(), DUE)
    assert [(each.missing, each.rollup.count) for each in found.examples] == [(2, 0)]
    assert compare(client, scope(), {0: 0}).different == 0


def test_a_rollup_without_events(loader: Loader, client: Client) -> None:
    """A rollup of which there are no events is a difference."""
    loader.store(cut(sent(ROLLUPS, row([1.0, 2.0]))))
    found = compare(client, scope(), DUE)
    assert found.different == 1
    assert [(each.raw.count, each.rollup.count) for each in found.examples] == [(0, 2)]


def test_openings_and_partitions_add_up(loader: Loader, client: Client) -> None:
    """A window that was opened twice, on each of two partitions, is compared as a whole."""
    for partition in (0, 1):
        values = [event(timestamp=AT, value=float(at)) for at in range(4)]
        loader.store(cut(sent(METRICS, *values, partition=partition)))
        shards = [
            row([0.0, 1.0], shard=f"{partition}-0", version=1),
            row([2.0, 3.0], shard=f"{partition}-2", version=3),
        ]
        loader.store(cut(sent(ROLLUPS, *shards)))
    found = compare(client, scope(), DUE)
    assert (found.windows, found.events, found.different) == (2, 8, 0)


def test_dimensions_tell_series_apart(loader: Loader, client: Client) -> None:
    """What the catalogue calls a dimension tells windows apart; other metadata doesn't."""
    for at, (endpoint, trace) in enumerate([("/a", "1"), ("/b", "2"), ("/a", "3")]):
        value = event(timestamp=AT, value=1.0, metadata={"endpoint": endpoint, "trace": trace})
        loader.store(cut(sent(METRICS, value, first=at)))
    rows = [
        row([1.0, 1.0], dimensions={"endpoint": "/a"}, shard="0-0", version=2),
        row([1.0], dimensions={"endpoint": "/b"}, shard="0-1", version=1),
    ]
    loader.store(cut(sent(ROLLUPS, *rows)))
    found = compare(client, scope(), DUE)
    assert (found.windows, found.different) == (2, 0)


def test_only_the_range(loader: Loader, client: Client) -> None:
    """Windows outside the range are not looked at."""
    store_events(loader, 1.0)
    start = datetime.fromtimestamp(window_start(AT, Granularity.MINUTE) // 1000, UTC)
    minute = timedelta(minutes=1)
    assert compare(client, scope(start=start, end=start + minute), DUE).windows == 1
    assert compare(client, scope(start=start + minute), DUE).windows == 0
    assert compare(client, scope(end=start), DUE).windows == 0


def test_nothing_past_retention(loader: Loader, client: Client) -> None:
    """Where raw may have lost events to retention, windows older than it are not compared."""
    long_ago = NOW_MS - 20 * 86_400_000
    value = event(timestamp=long_ago, frequency="real_time")
    loader.store(cut(sent(METRICS, value)))
    day = Granularity.DAY
    assert compare(client, Scope(day, RetentionSettings(), NOW, whole=True), DUE).windows == 1
    assert compare(client, Scope(day, RetentionSettings(), NOW, whole=False), DUE).windows == 0


def test_dimensions_are_the_catalogues() -> None:
    """The SQL knows the catalogue's dimensions."""
    assert "('api_response_time', 'endpoint')" in comparison.DIMENSIONS
