"""The laws of window state: order, replay, restarts and eviction never change a number."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import patch

import orjson
from hypothesis import given
from hypothesis import strategies as st
from stream_data import NOW_MS, group

from atalaia.schemas.events import Granularity
from atalaia.schemas.sketch import bucket_of
from atalaia.streams import entries
from atalaia.streams.state import GRANULARITIES, PartitionState

MINUTE = 60_000

event_times = st.integers(NOW_MS - 40 * 86_400_000, NOW_MS)
values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
counts = st.tuples(st.sampled_from([7, 8]), st.integers(0, 20))
"""Producer and sequence: any subset of what two producers may have sent, in any order."""
events = st.lists(
    st.tuples(event_times, values, st.sampled_from(["a", "b"]), counts),
    min_size=1,
    max_size=30,
    unique_by=lambda event: event[2:],
)


def _numbers(state: PartitionState) -> dict[tuple[Any, ...], Any]:
    return {
        (series.identity.service_name, granularity, window.start_ms): (
            window.count,
            round(window.sum, 6),
            window.min,
            window.max,
            window.first,
            window.last,
            dict(sorted(window.sketch.items())),
            window.missing,
        )
        for series in state.series.values()
        for granularity, window in series.open_windows()
    }


def _apply(state: PartitionState, offsets: list[int], drawn: list[Any], *, replaying: bool = False) -> None:
    """Events as a batch; but for a replay, those of a series and minute come together, as the engine groups them."""
    groups = [
        group(offset, drawn[offset][0], drawn[offset][1], service=drawn[offset][2], counted=drawn[offset][3])
        for offset in offsets
    ]
    if not replaying:
        begun: dict[tuple[Any, ...], int] = {}
        groups.sort(key=lambda each: begun.setdefault((each[2], each[9]), each[20]))
    state.apply(groups, last_offset=max(offsets), touched=0.0, replaying=replaying)


def _changelog(state: PartitionState, log: dict[bytes, bytes]) -> None:
    """Brings a compacted changelog up to date."""
    for series in state.series.values():
        for key, value in entries.entries(series, ["alert"]):
            if value is None:
                log.pop(key, None)
            else:
                log[key] = value


def _restored(log: dict[bytes, bytes]) -> PartitionState:
    state = PartitionState(0)
    for _ in entries.load(state, log, touched=0.0):
        pass
    return state


@given(events)
def test_windows_hold_what_their_events_say(drawn: list[Any]) -> None:
    """Each window's count, sum, extremes and sketch are those of the events in it, at every granularity."""
    state = PartitionState(0)
    _apply(state, list(range(len(drawn))), drawn)
    for (service, _, start_ms), numbers in _numbers(state).items():
        window = next(
            w
            for s in state.series.values()
            if s.identity.service_name == service
            for _, w in s.open_windows()
            if w.start_ms == start_ms and (w.count, round(w.sum, 6)) == numbers[:2]
        )
        inside = [v for at, v, name, _ in drawn if name == service and window.start_ms <= at < window.end_ms]
        assert numbers[0] == len(inside)
        assert math.isclose(window.sum, math.fsum(inside), rel_tol=1e-9, abs_tol=1e-6)
        assert numbers[2:4] == (min(inside), max(inside))
        assert sum(window.sketch.values()) == len(inside)
        assert set(window.sketch) == {bucket_of(value) for value in inside}


@given(events, st.data())
def test_batch_boundaries_change_nothing(drawn: list[Any], data: st.DataObject) -> None:
    """The same events in one batch or in many give the same windows."""
    whole, parts = PartitionState(0), PartitionState(0)
    _apply(whole, list(range(len(drawn))), drawn)
    cut = data.draw(st.integers(0, len(drawn)))
    for offsets in (list(range(cut)), list(range(cut, len(drawn)))):
        if offsets:
            _apply(parts, offsets, drawn)
    assert _numbers(whole) == _numbers(parts)


@given(events, st.data(), st.sampled_from([1, 4, 200]))
def test_a_replay_counts_nothing_twice(drawn: list[Any], data: st.DataObject, few: int) -> None:
    """State of any checkpoint, replayed from any earlier offset, ends where one pass would have ended.

    Whether its windows are in one changelog entry or in pages.
    """
    checkpoint = data.draw(st.integers(1, len(drawn)))
    committed = data.draw(st.integers(0, checkpoint))
    once, before, log = PartitionState(0), PartitionState(0), dict[bytes, bytes]()
    _apply(once, list(range(len(drawn))), drawn)
    with patch.object(entries, "FEW_WINDOWS", few):
        if committed:
            _apply(before, list(range(committed)), drawn)
            _changelog(before, log)
        if checkpoint > committed:
            _apply(before, list(range(committed, checkpoint)), drawn)
            _changelog(before, log)
    after = _restored(log)
    for offset in range(committed, len(drawn)):
        _apply(after, [offset], drawn, replaying=offset <= after.replayed_to)
    assert _numbers(once) == _numbers(after)


@given(events, st.data())
def test_a_checkpoint_that_is_cut_short_loses_nothing(drawn: list[Any], data: st.DataObject) -> None:
    """A crash after any entry of a checkpoint, in one entry or in pages or between the two, replays to the truth."""
    committed = data.draw(st.integers(1, len(drawn)))
    once, before, log = PartitionState(0), PartitionState(0), dict[bytes, bytes]()
    _apply(once, list(range(len(drawn))), drawn)
    _apply(before, list(range(committed)), drawn)
    with patch.object(entries, "FEW_WINDOWS", data.draw(st.sampled_from([1, 8, 200]))):
        _changelog(before, log)
    if committed < len(drawn):
        _apply(before, list(range(committed, len(drawn))), drawn)
    with patch.object(entries, "FEW_WINDOWS", data.draw(st.sampled_from([1, 8, 200]))):
        written = [entry for series in before.series.values() for entry in entries.entries(series, None)]
    for key, value in written[: data.draw(st.integers(0, len(written)))]:
        if value is None:
            log.pop(key, None)
        else:
            log[key] = value
    after = _restored(log)
    for offset in range(committed, len(drawn)):
        _apply(after, [offset], drawn, replaying=offset <= after.replayed_to)
    assert _numbers(once) == _numbers(after)


@given(events, st.sampled_from([1, 200]))
def test_the_changelog_brings_everything_back(drawn: list[Any], few: int) -> None:
    """A restored state has the same windows, all of them due for publishing, and the state of the alerts."""
    state, log = PartitionState(3), dict[bytes, bytes]()
    _apply(state, list(range(len(drawn))), drawn)
    with patch.object(entries, "FEW_WINDOWS", few):
        _changelog(state, log)
    loaded = PartitionState(3)
    assert [alerts for _, alerts in entries.load(loaded, log, touched=0.0)] == [["alert"]] * len(state.series)
    assert _numbers(state) == _numbers(loaded)
    assert sum(map(len, loaded.unpublished)) == loaded.window_count()


def test_a_backfill_of_one_series_makes_many_small_entries() -> None:
    """However many windows a series has, no changelog entry grows past a page; and when they go, one entry is left."""
    state, log = PartitionState(0), dict[bytes, bytes]()
    minutes = 20_000
    state.apply(
        [group(offset, NOW_MS - offset * MINUTE, 1.0) for offset in range(minutes)], last_offset=minutes, touched=0.0
    )
    _changelog(state, log)
    assert len(log) > minutes / 500
    assert max(map(len, log.values())) < 200_000
    state.apply([group(minutes + 1, NOW_MS, 1.0)], last_offset=minutes + 1, touched=0.0)
    ((_, series),) = state.series.items()
    assert len(list(entries.entries(series, None))) == 5  # the page of each granularity, and the first entry
    for index, held in enumerate(series.windows):
        for start_ms in list(held)[1:]:
            state.drop(series, index, start_ms)
    _changelog(state, log)
    assert list(log) == [series.key]
    assert _numbers(_restored(log)) == _numbers(state)


def test_groups_of_one_batch_may_interleave() -> None:
    """Two minutes of one series in one batch are both counted, though their offsets interleave."""
    state = PartitionState(0)
    first, second = group(5, NOW_MS, 1.0), group(3, NOW_MS - MINUTE, 2.0)
    assert len(state.apply([first, second], last_offset=5, touched=0.0).groups) == 2


@given(events)
def test_every_granularity_misses_what_the_counts_say(drawn: list[Any]) -> None:
    """Windows of each granularity miss, together, exactly the sequences that lie between those that came."""
    state = PartitionState(0)
    _apply(state, list(range(len(drawn))), drawn)
    for series in state.series.values():
        came = [counted for _, _, name, counted in drawn if name == series.identity.service_name]
        whole = came[0][1] == 0
        lacking = 0
        for producer in {producer for producer, _ in came}:
            numbers = [number for each, number in came if each == producer]
            lacking += max(numbers) - (0 if whole else min(numbers)) + 1 - len(numbers)
        assert [sum(window.missing for window in held.values()) for held in series.windows] == [lacking] * 4


def test_a_late_event_fills_the_windows_that_miss_it() -> None:
    """Where an event comes after all, the rows of the windows that missed it go out again without it missing."""
    state = PartitionState(0)
    state.apply([group(0, NOW_MS, 1.0, counted=(7, 0))], last_offset=0, touched=0.0)
    state.apply([group(1, NOW_MS + MINUTE, 1.0, counted=(7, 2))], last_offset=1, touched=0.0)
    ((_, series),) = state.series.items()
    assert [window.missing for window in series.windows[0].values()] == [0, 1]
    for due in state.unpublished:
        for _, window in due:
            window.dirty = False
        due.clear()
    applied = state.apply([group(2, NOW_MS, 1.0, counted=(7, 1))], last_offset=2, touched=0.0)
    assert [window.missing for window in series.windows[0].values()] == [0, 0]
    assert [change for _, change in applied.missing] == [(NOW_MS + MINUTE - NOW_MS % MINUTE, -1)]
    assert {window.start_ms for _, window in state.unpublished[0]} == set(series.windows[0])


def test_an_entry_from_before_there_were_sequences_is_read() -> None:
    """State of the version before goes on: its windows miss nothing, and nobody's past is made up."""
    state, log = PartitionState(0), dict[bytes, bytes]()
    state.apply([group(0, NOW_MS, 1.0)], last_offset=0, touched=0.0)
    _changelog(state, log)
    for key, value in log.items():
        metric_type, applied, windows, alerts, *_ = orjson.loads(value)
        log[key] = orjson.dumps([metric_type, applied, [[dump[:8] for dump in each] for each in windows], alerts])
    after = _restored(log)
    after.apply([group(1, NOW_MS, 1.0, counted=(7, 900))], last_offset=1, touched=0.0)
    after.apply([group(2, NOW_MS, 1.0, counted=(8, 700))], last_offset=2, touched=0.0)
    (series,) = after.series.values()
    assert [window.missing for _, window in series.open_windows()] == [0] * 4


def test_an_infinite_sum_survives_a_dump() -> None:
    """A sum that has overflowed stays infinite through a dump, which JSON cannot say by itself."""
    state, log = PartitionState(0), dict[bytes, bytes]()
    overflow = group(0, NOW_MS, 1e308)
    overflow[11] = "inf"
    state.apply([overflow], last_offset=0, touched=0.0)
    _changelog(state, log)
    (series,) = _restored(log).series.values()
    assert all(math.isinf(window.sum) for _, window in series.open_windows())


def test_a_window_is_published_once_for_many_changes() -> None:
    """A window that changes again before its row has gone out is due once."""
    state = PartitionState(0)
    for offset in range(5):
        state.apply([group(offset, NOW_MS, 1.0)], last_offset=offset, touched=0.0)
    assert [len(due) for due in state.unpublished] == [1] * len(GRANULARITIES)


def test_every_granularity_has_its_window() -> None:
    """One event opens exactly one window of each granularity, and each holds the event's time."""
    state = PartitionState(0)
    state.apply([group(0, NOW_MS, 1.0)], last_offset=0, touched=0.0)
    (series,) = state.series.values()
    windows = dict(series.open_windows())
    assert set(windows) == set(Granularity)
    assert all(window.start_ms <= NOW_MS < window.end_ms for window in windows.values())
