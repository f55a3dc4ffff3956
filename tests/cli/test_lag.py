"""How lag is told: positions, speed, and what colour that is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from atalaia.cli import lag
from atalaia.cli.lag import Look, Pace, compare
from atalaia.infra.local.stack import LocalStack


def look(*, end: int, committed: int | None, at: float = 0.0, first: int = 0) -> Look:
    """One partition."""
    return Look("group", "topic", 0, first, end, committed, at)


def test_a_group_that_committed_nothing_lags_by_all_there_is() -> None:
    """Before the first commit everything that Kafka still has is waiting."""
    assert look(first=40, end=100, committed=None).lag == 60


def test_what_retention_took_is_not_lag() -> None:
    """Records that Kafka dropped unread can't be read any more, and aren't waited for."""
    assert look(first=40, end=100, committed=10).lag == 60


@given(end=st.integers(0, 10**9), committed=st.integers(0, 10**9), moved=st.integers(0, 10**6))
def test_lag_rate_and_time_left_are_never_negative(end: int, committed: int, moved: int) -> None:
    """Offsets that are read one after the other, and so may contradict each other, give no nonsense."""
    row = compare(look(end=end, committed=committed), look(end=end, committed=committed + moved, at=1.0))
    assert row.lag >= 0
    assert row.rate >= 0
    assert row.seconds_left is None or row.seconds_left >= 0


@pytest.mark.parametrize(
    ("before", "after", "pace", "seconds_left"),
    [
        ((100, 100), (100, 100), Pace.CAUGHT_UP, 0.0),
        ((1_000, 900), (1_100, 1_000), Pace.CAUGHT_UP, 2.0),
        ((10_000, 0), (10_000, 1_000), Pace.CATCHING_UP, 18.0),
        ((10_000, 0), (20_000, 1_000), Pace.FALLING_BEHIND, None),
        ((10_000, 500), (10_000, 500), Pace.STUCK, None),
    ],
)
def test_paces(before: tuple[int, int], after: tuple[int, int], pace: Pace, seconds_left: float | None) -> None:
    """Steady lag is caught up; moving is catching up or falling behind; not moving is stuck."""
    row = compare(look(end=before[0], committed=before[1]), look(end=after[0], committed=after[1], at=2.0))
    assert (row.pace, row.seconds_left) == (pace, seconds_left)


def test_a_new_partition_is_compared_with_itself() -> None:
    """A place seen for the first time has no speed yet, and is nobody's fault."""
    (row,) = lag.rows([], [look(end=0, committed=None)])
    assert (row.rate, row.pace) == (0.0, Pace.CAUGHT_UP)


def test_the_table_names_each_group_once_and_adds_up() -> None:
    """A reader finds the group, its topic and the lag of all."""
    console = Console(width=120)
    with console.capture() as captured:
        console.print(lag.table(lag.rows([], [look(end=7, committed=0), look(end=5, committed=0)])))
    assert captured.get().count("group") == 1
    assert "12" in captured.get().splitlines()[-1]


@pytest.mark.e2e
def test_lag_of_a_real_stack(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of real brokers, every row is of the workers' groups and consistent in itself."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(lag.app, ["-o", "json"])
    assert done.exit_code == 0, done.output
    for row in json.loads(done.stdout):
        assert row["group"] in {"atalaia-streams", "atalaia-sink"}
        assert row["lag"] <= row["end"]
