"""Sorting what a poll brought."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sink_data import NOW_MS, Sent, event, sent

from atalaia.schemas.container import by_header
from atalaia.schemas.topics import METRICS, ROLLUPS
from atalaia.sinks.batch import cut, range_of

A_MESSAGE = st.builds(
    Sent, st.sampled_from(["a", "b", "a.dlq"]), st.integers(0, 2), st.integers(0, 20), st.binary(max_size=8)
)


@given(st.lists(A_MESSAGE, max_size=40))
def test_each_offset_once_in_order(messages: list[Sent]) -> None:
    """Whatever order a rebalance delivers, a partition's records are taken in rising order, each offset once."""
    batch = cut(messages)
    for partitions in batch.records.values():
        for records in partitions.values():
            offsets = [offset for offset, _, _ in records]
            assert offsets == sorted(set(offsets))


@given(st.lists(A_MESSAGE, max_size=40))
def test_commits_just_past_the_last(messages: list[Sent]) -> None:
    """What is committed is one past the highest offset taken of each partition, dead letters included."""
    batch = cut(messages)
    for place, following in batch.next.items():
        assert following == 1 + max(m.at for m in messages if (m.topic(), m.partition()) == place)


def test_an_empty_value_is_no_bytes() -> None:
    """A record without a value is kept as one of no bytes, to be judged like any other."""
    assert cut(sent(METRICS, None)).records == {METRICS.name: {0: [(0, NOW_MS, b"")]}}


def test_what_is_lost_is_forgotten() -> None:
    """Of a partition that went to another sink nothing is left in the batch, and nothing of it is committed."""
    batch = cut([*sent(METRICS, b"x", partition=0), *sent(METRICS, b"y", partition=1), Sent("a.dlq", 0, 3, b"z")])
    batch.drop({(METRICS.name, 0), ("a.dlq", 0)})
    assert list(batch.records[METRICS.name]) == [1]
    assert batch.dead_letters == []
    assert batch.next == {(METRICS.name, 1): 1}
    assert batch.first == {(METRICS.name, 1): 0}


def test_groups_by_schema() -> None:
    """Records are grouped by their frame's schema id and, within it, by partition."""
    batch = cut([*sent(METRICS, event(), b"\0\0\0\0\x09x", partition=0), *sent(METRICS, event(), partition=2)])
    groups = by_header(batch.records[METRICS.name])
    assert {header: sorted(group) for header, group in groups.items()} == {
        b"\0\0\0\0\x01": [0, 2],
        b"\0\0\0\0\x09": [0],
    }


def test_a_range_spans_offsets_and_arrivals() -> None:
    """A range holds every offset and every arrival time of its records."""
    span = range_of(3, [(5, 100, b""), (9, 90, b"")])
    assert (span.partition, span.first, span.last, span.arrived_from, span.arrived_to) == (3, 5, 9, 90, 100)


def test_a_message_is_found_again() -> None:
    """The message of a record can be had from the batch, with its key and headers."""
    batch = cut(sent(ROLLUPS, b"a", b"b", first=7))
    assert batch.message(ROLLUPS.name, 0, 8).value() == b"b"
