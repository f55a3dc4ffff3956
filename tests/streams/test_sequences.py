"""What of the producers' counts is missing: the same for every order, repetition and batching of what arrived."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable

import orjson
from hypothesis import given
from hypothesis import strategies as st

from atalaia.schemas.windows import MINUTE_MS
from atalaia.streams import sequences
from atalaia.streams.sequences import Sequences, runs

Event = tuple[int, int, int]
"""Producer, sequence, minute's number."""
A, B = 7, 8

arrived = st.lists(
    st.tuples(st.sampled_from([A, B, 9]), st.integers(0, 30), st.integers(0, 3)),
    unique_by=lambda event: event[:2],
    max_size=40,
)
"""Any subset of what three producers may have sent, in any order."""


def expected(events: Iterable[Event], *, whole: bool) -> Counter[int]:
    """What is missing, by minute: each hole in that of the event after it, as the definition says."""
    missing: Counter[int] = Counter()
    following: dict[int, int] = {}
    for producer, sequence, minute in sorted(events):
        begin = following.get(producer, 0 if whole else sequence)
        missing[minute] += sequence - begin
        following[producer] = sequence + 1
    return +missing


def taken(state: Sequences, batches: Iterable[Iterable[Event]]) -> Counter[int]:
    """What `state` says is missing, by minute, after these batches, each grouped by minute as the engine does."""
    missing: Counter[int] = Counter()
    for batch in batches:
        by_minute: dict[int, list[Event]] = {}
        for event in batch:
            by_minute.setdefault(event[2], []).append(event)
        for minute, events in by_minute.items():
            found = runs([event[0] for event in events], [event[1] for event in events], len(events))
            for minute_ms, change in state.take(found, minute * MINUTE_MS):
                missing[minute_ms // MINUTE_MS] += change
    assert all(count >= 0 for count in missing.values())
    return +missing


def count_up(state: Sequences, first: int, last: int, *, producer: int = A, minute: int = 0) -> int:
    """One run; how much more is missing after it."""
    return sum(change for _, change in state.take([(producer, first, last)], minute * MINUTE_MS))


def test_a_gap_is_missing_in_the_minute_of_the_event_after_it() -> None:
    """What was sent and did not come is counted where the next event of its producer belongs."""
    state = Sequences()
    assert list(state.take([(A, 0, 3)], 0)) == []
    assert list(state.take([(A, 6, 6)], MINUTE_MS)) == [(MINUTE_MS, 2)]


def test_what_comes_late_fills_its_hole() -> None:
    """A late event takes itself away from what is missing, and what stays missing below it belongs to its minute."""
    gap, fill = [(A, 0, 0), (A, 4, 2)], [(A, 2, 1)]
    assert taken(Sequences(), [gap]) == Counter({2: 3})
    assert taken(Sequences(), [gap, fill]) == Counter({1: 1, 2: 1})


@given(events=arrived, data=st.data())
def test_what_is_missing_depends_on_what_arrived_alone(events: list[Event], data: st.DataObject) -> None:
    """Any order, repetition and batching gives exactly what is missing, minute by minute."""
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    order = data.draw(st.permutations(events + repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=5)))
    batches = [order[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    whole = data.draw(st.booleans())
    assert taken(Sequences(whole=whole), batches) == expected(events, whole=whole)


@given(events=arrived, data=st.data())
def test_a_restart_neither_invents_nor_forgets_a_gap(events: list[Event], data: st.DataObject) -> None:
    """The state that was written down goes on as if nothing had happened."""
    cut = data.draw(st.integers(0, len(events)))
    before = Sequences()
    missing = taken(before, [[event] for event in events[:cut]])
    after = Sequences.load(orjson.loads(orjson.dumps(before.dump())))
    assert after.dump() == before.dump()
    for event in events[cut:]:
        changes = list(before.take([(event[0], event[1], event[1])], event[2] * MINUTE_MS))
        assert list(after.take([(event[0], event[1], event[1])], event[2] * MINUTE_MS)) == changes
        for minute_ms, change in changes:
            missing[minute_ms // MINUTE_MS] += change
    assert +missing == expected(events, whole=bool(after.whole))


@given(
    producers=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=40),
)
def test_runs_are_the_events_of_a_group(producers: list[tuple[int, int]]) -> None:
    """Runs hold every event of a group and nothing else, ascending, and no two of them touch."""
    found = runs([producer for producer, _ in producers], [sequence for _, sequence in producers], len(producers))
    held = {(producer, number) for producer, first, last in found for number in range(first, last + 1)}
    assert held == set(producers)
    assert all(a[0] != b[0] or a[2] + 1 < b[1] for a, b in itertools.pairwise(sorted(found)))
    assert [run[1] for run in found if run[0] == 0] == sorted(run[1] for run in found if run[0] == 0)


def test_a_series_known_from_its_start_misses_the_first_events_of_a_producer() -> None:
    """Where a series began with 0, a producer that appears with 3 has lost three events."""
    state = Sequences()
    assert count_up(state, 0, 5) == 0
    assert count_up(state, 3, 3, producer=B) == 3
    assert count_up(state, 0, 2, producer=B) == -3


def test_a_series_met_halfway_misses_nothing_of_before() -> None:
    """After more partitions, or a cut in retention, the past of a producer is not taken for a loss."""
    state = Sequences()
    assert count_up(state, 1_000, 1_005) == 0
    assert count_up(state, 500, 500, producer=B) == 0
    assert count_up(state, 0, 0, producer=9) == 0
    assert count_up(state, 1_007, 1_007) == 1


def test_a_leap_is_another_count() -> None:
    """A count that starts over far above, or a client that counts by the clock, is not a loss of billions."""
    state = Sequences()
    count_up(state, 0, 0)
    assert count_up(state, 10**15, 10**15) == 0
    assert count_up(state, 10**15 + 2, 10**15 + 2) == 1
    assert count_up(state, 10**16, 10**16, producer=B) == 0
    assert count_up(state, 5, 5) == 0


def test_holes_are_bounded() -> None:
    """Of more holes than are remembered the lowest is missing for good, and nothing is counted twice."""
    state = Sequences()
    missing = sum(count_up(state, 2 * number, 2 * number) for number in range(100))
    assert missing == 99
    assert count_up(state, 1, 1) == 0
    assert count_up(state, 197, 197) == -1
    assert len(orjson.dumps(state.dump())) < 400


def test_producers_are_bounded() -> None:
    """A service whose processes come and go for ever doesn't fill the memory, and its past is not made up."""
    state = Sequences()
    for number in range(1_000):
        assert count_up(state, 0, 9, producer=number, minute=number // 10) == 0
    assert len(state) == sequences.MAX_PRODUCERS
    assert count_up(state, 10, 10, producer=0, minute=100) == 0


def test_producers_silent_for_a_day_make_room() -> None:
    """Few producers are remembered for ever, of many only those of the last day."""
    state = Sequences()
    for number in range(sequences.FEW_PRODUCERS + 5):
        count_up(state, 0, 0, producer=number)
    assert len(state) == sequences.FEW_PRODUCERS + 5
    count_up(state, 0, 0, producer=999, minute=2 * 24 * 60)
    assert len(state) == 1
