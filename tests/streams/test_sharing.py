"""What a source partition owes to the homes of shared rules."""

from __future__ import annotations

from shared_rules import shared
from stream_data import NOW_MS, group

from atalaia.streams import partials
from atalaia.streams.families import families, place
from atalaia.streams.partials import ClockKey, PartialKey, SourceClock
from atalaia.streams.sharing import CLOCK_EVERY, SHARE_EVERY, SHARING_SHARE, SLACK_MS, Sharing
from atalaia.streams.state import PartitionState

METRIC = "api_response_time"
FAMILIES = families([shared("r", METRIC)], partitions=4)
CLOCK = SourceClock(NOW_MS, NOW_MS, True, 1, NOW_MS)


def _apply(state: PartitionState, sharing: Sharing, offset: int, at_ms: int = NOW_MS, value: float = 1.0) -> None:
    for series, each in state.apply([group(offset, at_ms, value)], last_offset=offset, touched=0.0).groups:
        sharing.touched(series, each[9], NOW_MS)


def _sharing(state: PartitionState) -> Sharing:
    sharing = Sharing()
    sharing.adopt(FAMILIES, state, NOW_MS)
    return sharing


def test_the_clock_comes_after_what_it_vouches_for() -> None:
    """Every changed minute goes to its metric's place, whole, and then the clock."""
    state = PartitionState(1)
    sharing = _sharing(state)
    _apply(state, sharing, 5)
    _apply(state, sharing, 6)
    first, second = sharing.records(CLOCK, state)
    assert isinstance(partials.parse_key(first[1]), PartialKey)
    assert first[2] is not None
    assert partials.partial_of(first[2])[1].count == 2
    assert partials.parse_key(second[1]) == ClockKey(1)
    assert first[0] == second[0] == place(METRIC, 4)


def test_what_changes_all_the_time_goes_out_now_and_then() -> None:
    """A minute goes out at most once every SHARE_EVERY; the clock at least once every CLOCK_EVERY."""
    state = PartitionState(1)
    sharing = _sharing(state)
    assert sharing.due(1.0)
    sharing.shared(1.0, cost_seconds=0.0)
    _apply(state, sharing, 5)
    assert not sharing.due(1.0 + SHARE_EVERY.total_seconds() / 2)
    assert sharing.due(1.0 + SHARE_EVERY.total_seconds())
    assert len(list(sharing.records(CLOCK, state))) == 2
    sharing.shared(2.0, cost_seconds=0.0)
    assert not sharing.due(2.0 + SHARE_EVERY.total_seconds())
    assert sharing.due(2.0 + CLOCK_EVERY.total_seconds())


def test_what_takes_long_is_done_less_often() -> None:
    """Sending takes a bounded share of the time, however many series there are."""
    state = PartitionState(1)
    sharing = _sharing(state)
    sharing.shared(10.0, cost_seconds=0.5)
    _apply(state, sharing, 5)
    assert not sharing.due(10.0 + 0.9 * 0.5 / SHARING_SHARE)
    assert sharing.due(10.0 + 0.5 / SHARING_SHARE)


def test_nothing_is_shared_that_no_shared_rule_reads() -> None:
    """Without shared rules on a metric its source sends nothing, not even a clock."""
    state, sharing = PartitionState(1), Sharing()
    sharing.adopt(families([], partitions=4), state, NOW_MS)
    _apply(state, sharing, 5)
    assert not sharing.due(100.0)
    assert list(sharing.records(CLOCK, state)) == []


def test_what_no_window_reaches_is_not_shared() -> None:
    """A backfill of last year stays where it is."""
    state = PartitionState(1)
    sharing = _sharing(state)
    reach_ms = max(FAMILIES.families[0].reach_ms.values()) + SLACK_MS
    _apply(state, sharing, 5, at_ms=NOW_MS - reach_ms - 60_000)
    _apply(state, sharing, 6, at_ms=NOW_MS - reach_ms + 60_000)
    assert len(list(sharing.owed(state))) == 1


def test_after_a_restart_every_minute_held_goes_out() -> None:
    """What the last owner may have counted and not sent, its successor sends: of all metrics, or of those new to it."""
    state, sharing = PartitionState(1), Sharing()
    _apply(state, sharing, 5)
    assert list(sharing.owed(state)) == []
    sharing.adopt(FAMILIES, state, NOW_MS)
    assert len(list(sharing.owed(state))) == 1
    sharing.adopt(FAMILIES, state, NOW_MS)
    assert list(sharing.owed(state)) == []


def test_two_openings_of_a_minute_both_go_out() -> None:
    """A minute that was evicted before it went out goes out all the same, beside its next opening."""
    state = PartitionState(1)
    sharing = _sharing(state)
    _apply(state, sharing, 5)
    (series,) = state.series.values()
    state.drop(series, 0, NOW_MS - NOW_MS % 60_000)
    _apply(state, sharing, 6)
    keys = [partials.parse_key(key) for _, key, _ in sharing.owed(state)]
    assert [key.shard.opened for key in keys if isinstance(key, PartialKey)] == [5, 6]
