"""A partition's clock: it never runs backwards, and a lagging one never runs ahead of its data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atalaia.streams.watermarks import Clock, completeness

times = st.integers(0, 10**13)


@given(st.lists(st.tuples(times, times), max_size=20))
def test_a_clock_never_runs_backwards(batches: list[tuple[int, int]]) -> None:
    """Whatever comes, in whatever order, `seen_ms` only grows and never passes the latest arrival."""
    clock = Clock()
    for event_ms, arrival_ms in batches:
        later = clock.advance(event_ms=event_ms, arrival_ms=arrival_ms)
        assert later.seen_ms >= clock.seen_ms
        assert later.seen_ms <= later.arrived_ms
        clock = later


@given(times, times, times)
def test_a_lagging_pipeline_judges_as_of_its_data(event_ms: int, arrival_ms: int, now_ms: int) -> None:
    """While records wait in Kafka, rules are judged at the last arrival, whatever event times and wall clock say."""
    clock = Clock().advance(event_ms=event_ms, arrival_ms=arrival_ms)
    assert clock.at(now_ms=now_ms, caught_up=False) == arrival_ms


def test_an_idle_partition_follows_the_wall_clock() -> None:
    """A partition that is caught up and silent for long enough is complete up to then, less the lateness."""
    clock = Clock(seen_ms=1_000, arrived_ms=1_000)
    watermark = clock.watermark(now_ms=100_000, caught_up=True, lateness_ms=5_000, idle_ms=10_000)
    assert watermark == 85_000


def test_a_silent_partition_with_records_waiting_is_not_idle() -> None:
    """Silence with lag is no reason to call the data complete."""
    clock = Clock(seen_ms=1_000, arrived_ms=1_000)
    assert clock.watermark(now_ms=100_000, caught_up=False, lateness_ms=5_000, idle_ms=10_000) == -4_000


@given(times, st.integers(1, 10**9), times)
def test_completeness_is_a_share(start_ms: int, length_ms: int, watermark_ms: int) -> None:
    """Completeness is 0 before the window, 1 after it, and never outside of that."""
    share = completeness(start_ms, start_ms + length_ms, watermark_ms)
    assert 0 <= share <= 1
    assert (share == 1) == (watermark_ms >= start_ms + length_ms)
