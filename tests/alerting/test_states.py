"""Laws of an alert's life, over any verdicts at any times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.alerting.states import AT_REST, AlertState, Terms, Verdict, advance, due_ms, end
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.windows import MINUTE_MS

START_MS = 1_700_000_040_000

terms = st.builds(
    Terms,
    hold_ms=st.sampled_from([0, 0, 30_000, 90_000, 300_000]),
    keep_firing_ms=st.sampled_from([0, 0, 60_000, 200_000]),
).flatmap(
    lambda drawn: st.sampled_from([(1, 1), (1, 1), (2, 3), (3, 3), (1, 5)]).map(
        lambda n_of_m: Terms(drawn.hold_ms, drawn.keep_firing_ms, *n_of_m)
    )
)
pauses = st.integers(1_000, 150_000)
steps = st.lists(st.tuples(pauses, st.sampled_from(Verdict)), max_size=30)
known = st.lists(
    st.tuples(pauses, st.sampled_from([Verdict.HOLDS, Verdict.LINGERS, Verdict.RECOVERED])), min_size=1, max_size=12
)
simple = terms.filter(lambda drawn: drawn.of_last == 1)
Step = tuple[int, Verdict]
Told = tuple[int, AlertStatus, AlertState]


def live(
    drawn: Terms, given_steps: list[Step], state: AlertState = AT_REST, *, at_ms: int = START_MS
) -> tuple[AlertState, list[Told]]:
    """The state after some verdicts, each so many ms after the one before, and what was told."""
    told = []
    for after_ms, verdict in given_steps:
        at_ms += after_ms
        state, status = advance(state, verdict, at_ms=at_ms, terms=drawn, episode=at_ms)
        if status is not None:
            told.append((at_ms, status, state))
    return state, told


@given(terms, steps)
def test_it_never_fires_before_for(drawn: Terms, given_steps: list[Step]) -> None:
    """Firing comes `for` after the condition first held, and never sooner."""
    for at_ms, status, state in live(drawn, given_steps)[1]:
        if status is AlertStatus.FIRING:
            assert at_ms - state.since_ms >= drawn.hold_ms


@given(simple, steps)
def test_nothing_but_known_good_resolves(drawn: Terms, given_steps: list[Step]) -> None:
    """An alert resolves at a verdict that the number has recovered, after `keep_firing` of nothing but such."""
    at_ms, state, good_ms = START_MS, AT_REST, 0
    for after_ms, verdict in given_steps:
        at_ms += after_ms
        good_ms = (good_ms or at_ms) if verdict is Verdict.RECOVERED else 0
        before = state
        state, status = advance(state, verdict, at_ms=at_ms, terms=drawn, episode=at_ms)
        if status is AlertStatus.RESOLVED:
            assert before.fires
            assert verdict is Verdict.RECOVERED
            assert not drawn.keep_firing_ms or at_ms - state.timer_ms >= drawn.keep_firing_ms


@given(simple, known, known, st.sampled_from([Verdict.AWAITING, Verdict.ERROR]), st.integers(0, 10**7))
def test_waiting_is_as_if_no_time_had_passed(
    drawn: Terms, before: list[Step], after: list[Step], doubt: Verdict, waited_ms: int
) -> None:
    """After a doubt, however long, an alert goes on as if it had not been: each verdict leads where it would have."""
    state, _ = live(drawn, before)
    at_ms = START_MS + sum(pause for pause, _ in before)
    doubted, told = live(drawn, [(0, doubt), (waited_ms, doubt), (0, before[-1][1])], state, at_ms=at_ms)
    assert {status for _, status, _ in told} <= {AlertStatus(doubt), state.phase}
    for cut in range(len(after) + 1):
        waited, _ = live(drawn, after[:cut], doubted, at_ms=at_ms + waited_ms)
        assert waited.phase is live(drawn, after[:cut], state, at_ms=at_ms)[0].phase


@given(terms, steps)
def test_a_life_has_its_order(drawn: Terms, given_steps: list[Step]) -> None:
    """Every status is followed only by those that can come next, and an episode lasts until it ends."""
    wavering = {AlertStatus.NO_DATA, AlertStatus.ERROR, AlertStatus.AWAITING_DATA, AlertStatus.RECOVERING}
    first = AlertStatus.PENDING if drawn.hold_ms else AlertStatus.FIRING
    follows = {
        AlertStatus.PENDING: {AlertStatus.FIRING, AlertStatus.INACTIVE},
        AlertStatus.FIRING: {AlertStatus.RESOLVED} | wavering,
        AlertStatus.RESOLVED: {first},
        AlertStatus.INACTIVE: {first},
    } | dict.fromkeys(wavering, {AlertStatus.FIRING, AlertStatus.RESOLVED} | wavering)
    told = live(drawn, given_steps)[1]
    assert not told or told[0][1] is first
    for (_, before, old), (_, after, new) in pairwise(told):
        assert after in follows[before]
        assert (old.episode == new.episode) == (before not in {AlertStatus.RESOLVED, AlertStatus.INACTIVE})
        assert new.episode >= old.episode


@given(terms, steps)
def test_no_two_transitions_of_an_episode_are_the_same(drawn: Terms, given_steps: list[Step]) -> None:
    """Episode, status and turn tell any two transitions apart; the first firing and the resolve have turn 0."""
    told = live(drawn, given_steps)[1]
    names = [(state.episode, status, state.turn) for _, status, state in told]
    assert len(set(names)) == len(names)
    firing = {episode: turn for episode, status, turn in reversed(names) if status is AlertStatus.FIRING}
    assert set(firing.values()) <= {0}
    assert all(turn == 0 for _, status, turn in names if status in {AlertStatus.RESOLVED, AlertStatus.INACTIVE})


@given(terms, steps, st.sampled_from(Verdict), st.integers(1, 10**6))
def test_nothing_changes_before_it_is_due(drawn: Terms, given_steps: list[Step], again: Verdict, ms: int) -> None:
    """Given the same verdict once more, the state changes at `due_ms` at the earliest."""
    at_ms = START_MS + sum(after for after, _ in given_steps)
    state, _ = live(drawn, [*given_steps, (0, again)])
    due = due_ms(state, drawn)
    sooner = at_ms + ms if due is None else min(at_ms + ms, due - 1)
    if sooner > at_ms:
        assert advance(state, again, at_ms=sooner, terms=drawn, episode=sooner)[1] is None


@given(terms, steps)
def test_a_rule_that_goes_ends_its_alert(drawn: Terms, given_steps: list[Step]) -> None:
    """Whatever was open is not, afterwards; what was at rest says nothing."""
    state, _ = live(drawn, given_steps)
    ended, told = end(state)
    assert not ended.open
    assert (told is not None) == state.open
    assert (told is AlertStatus.RESOLVED) == state.fires


HELD, BROKEN = Verdict.HOLDS, Verdict.RECOVERED


def _each_minute(drawn: Terms, verdicts: list[Verdict]) -> list[str]:
    """What is told when each minute has one verdict, at its end."""
    state, told = AT_REST, []
    for minute, verdict in enumerate(verdicts, start=START_MS // MINUTE_MS):
        at_ms = minute * MINUTE_MS + MINUTE_MS - 1
        state, status = advance(state, verdict, at_ms=at_ms, terms=drawn, episode=at_ms)
        told.append(status.value if status else "")
    return told


def test_n_of_m_counts_steps() -> None:
    """Two of the last three minutes fire, in any order; it resolves at the end of the step that leaves only one."""
    found = _each_minute(Terms(needed=2, of_last=3), [HELD, BROKEN, HELD, BROKEN, BROKEN, BROKEN, BROKEN])
    assert found == ["", "", "firing", "", "resolved", "", ""]


def test_the_running_step_takes_nothing_away() -> None:
    """A sum that begins anew with each minute doesn't resolve three of three at the start of a minute."""
    drawn = Terms(needed=3, of_last=3)
    at_ms = START_MS
    state = AT_REST
    for _ in range(3):
        state, _ = advance(state, HELD, at_ms=at_ms, terms=drawn, episode=at_ms)
        at_ms += MINUTE_MS
    assert state.phase is AlertStatus.FIRING
    state, told = advance(state, BROKEN, at_ms=at_ms, terms=drawn, episode=at_ms)
    assert told is None
    state, told = advance(state, HELD, at_ms=at_ms + 50_000, terms=drawn, episode=at_ms)
    assert told is None
    state, told = advance(state, BROKEN, at_ms=at_ms + 110_000, terms=drawn, episode=at_ms)
    assert told is None
    assert advance(state, BROKEN, at_ms=at_ms + 120_000, terms=drawn, episode=at_ms)[1] is AlertStatus.RESOLVED


def test_minutes_without_a_judgement_are_like_the_one_before() -> None:
    """Where nothing changed nothing was judged; the steps in between have the verdict that stood."""
    drawn = Terms(needed=3, of_last=3)
    state, _ = advance(AT_REST, HELD, at_ms=START_MS, terms=drawn, episode=1)
    later = START_MS + 2 * MINUTE_MS
    assert advance(state, HELD, at_ms=later, terms=drawn, episode=1)[1] is AlertStatus.FIRING


def test_steps_that_wait_for_data_are_left_out() -> None:
    """Minutes of which nothing is known count neither for nor against."""
    drawn = Terms(needed=2, of_last=2)
    found = _each_minute(drawn, [HELD, Verdict.AWAITING, Verdict.AWAITING, HELD, Verdict.AWAITING, BROKEN, BROKEN])
    assert found == ["", "", "", "firing", "awaiting_data", "firing", "resolved"]


def test_between_threshold_and_recovery_it_goes_on() -> None:
    """A firing alert resolves past the recovery threshold alone; a pending one ends at the threshold."""
    state, _ = live(Terms(), [(0, HELD)])
    state, told = live(Terms(), [(1, Verdict.LINGERS), (1, Verdict.LINGERS)], state)
    assert (told, state.phase) == ([], AlertStatus.FIRING)
    assert [status for _, status, _ in live(Terms(), [(1, BROKEN)], state)[1]] == [AlertStatus.RESOLVED]
    pending, _ = live(Terms(hold_ms=10), [(0, HELD)])
    assert live(Terms(hold_ms=10), [(1, Verdict.LINGERS)], pending)[0].phase is AlertStatus.INACTIVE


def test_keep_firing_starts_over_when_the_condition_is_back() -> None:
    """Recovering lasts for `keep_firing` without a break; one relapse and it fires again, in the same episode."""
    drawn = Terms(keep_firing_ms=60_000)
    story = [(0, HELD), (1_000, BROKEN), (59_000, HELD), (1_000, BROKEN), (59_999, BROKEN), (1, BROKEN)]
    told = live(drawn, story)[1]
    assert [status.value for _, status, _ in told] == ["firing", "recovering", "firing", "recovering", "resolved"]
    assert len({state.episode for _, _, state in told}) == 1


@pytest.mark.parametrize("doubt", [Verdict.AWAITING, Verdict.ERROR])
def test_for_neither_restarts_nor_runs_out_while_waiting(doubt: Verdict) -> None:
    """Forty seconds that held, an hour of doubt, and twenty more make one minute of `for`."""
    drawn = Terms(hold_ms=60_000)
    story = [(0, HELD), (40_000, HELD), (0, doubt), (3_600_000, doubt), (0, HELD), (19_999, HELD)]
    state, told = live(drawn, story)
    assert [status for _, status, _ in told] == [AlertStatus.PENDING]
    at_ms = START_MS + 3_660_000
    assert advance(state, HELD, at_ms=at_ms, terms=drawn, episode=1)[1] is AlertStatus.FIRING


def test_vanishing_never_resolves() -> None:
    """No data ends a pending alert, and lets a firing one go on; it says so once."""
    assert live(Terms(hold_ms=10), [(0, HELD), (1, Verdict.NO_DATA)])[0].phase is AlertStatus.INACTIVE
    state, told = live(Terms(keep_firing_ms=10), [(0, HELD), *[(10**6, Verdict.NO_DATA)] * 5])
    assert (state.phase, state.status) == (AlertStatus.FIRING, AlertStatus.NO_DATA)
    assert [status.value for _, status, _ in told] == ["firing", "no_data"]
