"""When a broker's word that nothing waits is news."""

from __future__ import annotations

from atalaia.streams.hearing import HEARD_WITHIN, SETTLED_AFTER, Hearing

WITHIN, SETTLED = HEARD_WITHIN.total_seconds(), SETTLED_AFTER.total_seconds()


def test_a_broker_that_answers_all_the_time_is_trusted() -> None:
    """From its first answer on, as long as they keep coming."""
    hearing = Hearing()
    assert all(hearing.trusts(1_000 + second, 1_000.5 + second) for second in range(100))


def test_a_broker_that_does_not_answer_has_said_nothing() -> None:
    """Its last word is news for some seconds, and no longer."""
    hearing = Hearing()
    assert hearing.trusts(1_000, 1_000 + WITHIN)
    assert not hearing.trusts(1_000, 1_000.1 + WITHIN)


def test_a_broker_that_is_back_is_not_believed_at_once() -> None:
    """What waited in the services' buffers must get a chance to come before anybody is called silent."""
    hearing = Hearing()
    hearing.trusts(1_000, 1_000)
    back = 1_060.0
    answers = [back + step for step in range(int(SETTLED) + 2)]
    assert [hearing.trusts(heard, heard) for heard in answers] == [heard >= back + SETTLED for heard in answers]


def test_a_partition_that_is_new_here_is_trusted_where_others_were_heard() -> None:
    """It waits only where nothing has been heard of any: then the broker was away."""
    assert Hearing().trusts(1_000, 1_000)
    assert Hearing(heard=999.0).trusts(1_000, 1_000)
    assert not Hearing(heard=900.0).trusts(1_000, 1_000)
