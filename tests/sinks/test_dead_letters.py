"""Kafka Connect's headers, there and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sink_data import NOW_MS, Sent

from atalaia.schemas.screening import EXPLANATIONS, Reason
from atalaia.sinks import dead_letters


@given(
    value=st.one_of(st.none(), st.binary(max_size=20)),
    key=st.one_of(st.none(), st.binary(max_size=5)),
    said=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3),
    reason=st.sampled_from(Reason),
)
def test_a_dead_letter_says_where_it_was_and_why(
    value: bytes | None, key: bytes | None, said: dict[str, bytes], reason: Reason
) -> None:
    """From its dead letter everything about the original can be told: place, reason, bytes, key and headers."""
    original = Sent("t", 3, 8, value, said=list(said.items()), id=key)
    letter = Sent("t.dlq", 0, 1, value, said=dead_letters.headers(original, reason), id=key)
    (row,) = dead_letters.rows([letter])
    assert (row["topic"], row["partition"], row["offset"]) == ("t", 3, 8)
    assert (row["reason"], row["message"]) == (reason.value, EXPLANATIONS[reason])
    assert (row["value"], row["key"]) == (value or b"", key or b"")
    assert row["headers"] == said


def test_put_aside_twice_is_one_row() -> None:
    """Copies of one original become one row."""
    said = dead_letters.headers(Sent("t", 3, 8, b"x"), Reason.UNDECODABLE)
    copies = [Sent("t.dlq", partition, 5, b"x", arrival_ms=NOW_MS, said=said) for partition in (0, 1)]
    assert len(dead_letters.rows(copies)) == 1
