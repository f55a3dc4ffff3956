"""Whether this process has been running all the time of late."""

from __future__ import annotations

from datetime import timedelta

from atalaia.streams.composure import FETCHED_AFTER, STALLED_AFTER, Composure

STALL = STALLED_AFTER.total_seconds() + 1
REST = FETCHED_AFTER.total_seconds()


def _asked(*moments: float, session: timedelta = timedelta(seconds=3)) -> list[bool]:
    composure = Composure(session)
    return [composure.at(moment) for moment in moments]


def test_a_worker_that_is_asked_all_the_time_is_composed() -> None:
    """Short gaps between turns are work, not a pause."""
    assert _asked(100.0, 101.0, 101.1, 103.0) == [True] * 4


def test_after_a_pause_it_takes_some_seconds() -> None:
    """A worker that was stopped vouches for nothing until it has looked around."""
    woken = 100.0 + STALL
    assert _asked(100.0, woken, woken + REST / 2, woken + REST) == [True, False, False, True]


def test_a_second_pause_begins_it_anew() -> None:
    """Pausing again while it looks around prolongs that."""
    woken = 100.0 + STALL
    again = woken + STALL
    assert _asked(100.0, woken, again, again + REST / 2, again + REST) == [True, False, False, False, True]


def test_a_clock_that_is_set_back_holds_nobody_up() -> None:
    """A wall clock that goes back by an hour doesn't stop a worker for an hour."""
    woken = 4_000.0 + STALL
    assert _asked(4_000.0, woken, woken - 3_600.0, woken - 3_599.0) == [True, False, True, True]


def test_it_takes_as_long_as_the_coordinator_needs_to_refuse_it() -> None:
    """With long sessions heartbeats are rare, and so it takes longer to hear that one was taken for dead."""
    woken = 100.0 + STALL
    moments = [woken + second for second in range(21)]
    assert _asked(100.0, *moments, session=timedelta(seconds=60)) == [True, *[False] * 20, True]
