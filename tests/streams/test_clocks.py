"""How far a home may judge: as far as every source partition has come."""

from __future__ import annotations

from stream_data import NOW_MS

from atalaia.streams.clocks import FORGOTTEN_AFTER_MS, SourceClocks
from atalaia.streams.partials import SourceClock


def clock(at_ms: int, *, generation: int = 1, sent_ms: int = NOW_MS) -> SourceClock:
    """A clock at this instant."""
    return SourceClock(at_ms, at_ms - 5_000, True, generation, sent_ms)


def clocks(*at_ms: int) -> SourceClocks:
    """Those of sources 0, 1, … at one place."""
    made = SourceClocks(sources=len(at_ms), places=[2])
    for source, instant in enumerate(at_ms):
        made.take(2, source, clock(instant))
    return made


def test_the_slowest_source_holds_the_clock() -> None:
    """No instant is judged that some source has not come to."""
    assert clocks(NOW_MS, NOW_MS - 30_000, NOW_MS).at_ms() == NOW_MS - 30_000


def test_a_source_that_was_never_heard_of_holds_it_altogether() -> None:
    """Until every source has spoken at every place there is no instant to judge."""
    made = SourceClocks(sources=2, places=[0, 1])
    for place, source in [(0, 0), (0, 1), (1, 0)]:
        made.take(place, source, clock(NOW_MS))
        assert made.at_ms() is None
    made.take(1, 1, clock(NOW_MS - 1))
    assert made.at_ms() == NOW_MS - 1


def test_a_place_is_read_as_far_as_its_own_clocks_say() -> None:
    """A clock vouches for the partials before it in its own place, not for those of another."""
    made = SourceClocks(sources=1, places=[0, 1])
    made.take(0, 0, clock(NOW_MS))
    made.take(1, 0, clock(NOW_MS - 10_000))
    assert made.at_ms() == NOW_MS - 10_000


def test_the_clock_of_an_earlier_owner_does_not_count() -> None:
    """A worker that was taken for dead vouches for nothing any more."""
    made = clocks(NOW_MS)
    assert made.take(2, 0, clock(0, generation=2))
    assert not made.take(2, 0, clock(NOW_MS + 60_000, generation=1, sent_ms=NOW_MS + 1_000))
    assert made.at_ms() == 0


def test_generations_that_start_over_are_believed_after_a_while() -> None:
    """A consumer group that was deleted counts from 1 again, and alerts go on."""
    made = clocks(NOW_MS)
    made.take(2, 0, clock(NOW_MS, generation=9))
    later = NOW_MS + FORGOTTEN_AFTER_MS
    assert made.take(2, 0, clock(later, generation=1, sent_ms=later))


def test_a_source_behind_the_wall_clock_lags() -> None:
    """Verdicts wait for a source that is more than ten seconds behind, and for one never heard of."""
    made = clocks(NOW_MS, NOW_MS - 11_000)
    assert made.lagging(NOW_MS) == {1}
    assert SourceClocks(sources=2, places=[0]).lagging(NOW_MS) == {0, 1}


def test_clocks_of_other_places_are_passed_over() -> None:
    """What is said where nothing of ours is kept, or of more partitions than there are, changes nothing."""
    made = clocks(NOW_MS)
    assert not made.take(0, 0, clock(0))
    assert not made.take(2, 7, clock(0))
    assert made.at_ms() == NOW_MS
