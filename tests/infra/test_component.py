"""What follows from what happens to a process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from atalaia.infra.local import component as life
from atalaia.infra.local.component import State, Status

READY = life.became_ready(life.started(Status("a", 1), pid=7, created=1.0, now=0.0), now=0.0)


@given(some.integers(min_value=1, max_value=10_000))
def test_backoff_grows_and_is_bounded(failures: int) -> None:
    """The wait never shrinks with another failure, and never exceeds the longest."""
    this, following = life.backoff_seconds(failures), life.backoff_seconds(failures + 1)
    assert life.FIRST_BACKOFF_SECONDS <= this <= following <= life.LONGEST_BACKOFF_SECONDS


def test_a_death_is_counted_and_dated() -> None:
    """A dead component has no pid, one more restart, a reason and a time to try again."""
    dead = life.exited(READY, code=-9, now=10.0)
    assert (dead.state, dead.pid, dead.restarts) == (State.BACKOFF, None, 1)
    assert dead.last_exit == "killed by SIGKILL"
    assert dead.retry_at == 10.0 + life.FIRST_BACKOFF_SECONDS


def test_a_minute_of_service_forgives() -> None:
    """Deaths in a row make the wait longer; a steady component starts from the shortest again."""
    status = READY
    for _ in range(5):
        status = life.became_ready(life.exited(status, code=1, now=10.0), now=10.0)
    assert life.exited(status, code=1, now=11.0).failures_in_a_row == 6
    steady = life.exited(status, code=1, now=10.0 + life.STEADY_AFTER_SECONDS)
    assert (steady.failures_in_a_row, steady.restarts) == (1, 6)


def test_a_stopped_component_is_not_tried_again() -> None:
    """What was asked to stop has no time to try again."""
    stopped = life.stopped(life.exited(READY, code=1, now=10.0), now=11.0)
    assert (stopped.state, stopped.pid, stopped.retry_at) == (State.STOPPED, None, None)
