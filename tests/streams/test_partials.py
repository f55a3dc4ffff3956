"""The records by which source partitions and homes talk."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from stream_data import NOW_MS, group

from atalaia.streams import partials
from atalaia.streams.partials import ClockKey, MarkKey, MemoKey, OwedKey, PartialKey, Shard
from atalaia.streams.state import PartitionState
from atalaia.streams.window import Window

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def window(*found: float) -> Window:
    """A minute with these values, at offsets from 7 on."""
    state = PartitionState(3)
    for offset, value in enumerate(found, start=7):
        state.apply([group(offset, NOW_MS + offset, value)], last_offset=offset, touched=0.0)
    (series,) = state.series.values()
    return series.windows[0][NOW_MS - NOW_MS % 60_000]


def test_a_partial_is_read_as_it_was_written() -> None:
    """Key and value give series, minute, shard and every number of the window back."""
    state = PartitionState(3)
    state.apply([group(7, NOW_MS, 2.5)], last_offset=7, touched=0.0)
    (series,) = state.series.values()
    (held,) = series.windows[0].values()
    found = partials.parse_key(partials.partial_key(series.key, held, partition=3))
    assert found == PartialKey(series.key, Shard(held.start_ms, 3, 7))
    assert partials.series_of(series.key) == series.identity
    assert partials.partial_of(partials.partial_value(held, epoch=2))[1].dump() == held.dump()


def test_a_sum_past_the_largest_number_stays_past_it() -> None:
    """JSON has no infinity: a sum that overflowed is read back as one that did."""
    held = window(1.0)
    held.sum = math.inf
    assert partials.partial_of(partials.partial_value(held, epoch=2))[1].sum == math.inf


def test_a_minute_is_read_by_rules_as_it_is() -> None:
    """Every number of a window, and what is missing of it, reaches the rules."""
    held = window(2.0, 5.0, 3.0)
    held.missing = 4
    minute = partials.minute_stats(partials.partial_of(partials.partial_value(held, epoch=2))[1])
    assert (minute.count, minute.sum, minute.min, minute.max, minute.missing) == (3, 10.0, 2.0, 5.0, 4)
    assert (minute.first, minute.first_at, minute.last, minute.last_at) == (2.0, NOW_MS + 7, 3.0, NOW_MS + 9)
    assert minute.sketch == held.sketch


@given(texts, texts, texts)
def test_keys_are_told_apart_whatever_is_in_them(metric: str, rule: str, alert: str) -> None:
    """Names with quotes, colons, at signs and newlines come back whole, and never as another kind."""
    memo, owed = MemoKey(metric, rule, alert), OwedKey(metric, rule, alert)
    assert partials.parse_key(partials.memo_key(memo)) == memo
    assert partials.parse_key(partials.owed_key(owed)) == owed
    assert partials.parse_key(partials.mark_key(metric)) == MarkKey(metric)
    assert partials.parse_key(partials.clock_key(3)) == ClockKey(3)


def test_a_kind_of_a_later_version_is_nothing() -> None:
    """A record that this version doesn't know is passed over."""
    assert partials.parse_key(b"novelty:1") is None
