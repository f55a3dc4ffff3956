"""Dead letters: counted, shown, and sent again once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from atalaia.cli import dlq, records, redelivery
from atalaia.cli.dead_letters import UNKNOWN_REASON, DeadLetter, explanation, group, hexdump
from atalaia.cli.records import Record
from atalaia.cli.redelivery import Marks
from atalaia.infra.local.stack import LocalStack
from atalaia.schemas.screening import Reason
from atalaia.schemas.topics import NOTIFICATIONS
from atalaia.streams.dead_letters import dead_letter_headers

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
Run = Callable[..., Any]
TOPIC = NOTIFICATIONS  # nothing else in the tests makes dead letters of it


def letter(reason: Reason | None = Reason.NOT_FRAMED, **more: Any) -> DeadLetter:
    """A dead letter as the stream worker writes it."""
    headers: list[tuple[str, bytes]] = [("origin", b"elsewhere")]
    if reason is not None:
        headers = dead_letter_headers(headers, topic=TOPIC.name, partition=3, offset=42, reason=reason)
    fields: dict[str, Any] = {
        "topic": TOPIC.dead_letters,
        "partition": 0,
        "offset": 7,
        "at": AT,
        "key": b"k",
        "value": b"{}",
    } | more
    return DeadLetter(Record(**fields, headers=tuple(headers)))


def test_headers_say_where_and_why() -> None:
    """Topic and reason come from Kafka Connect's headers; the others are the original's."""
    one = letter()
    assert (one.topic, one.reason, one.said("offset")) == (TOPIC.name, "not_framed", "42")
    assert one.original_headers == [("origin", b"elsewhere")]


def test_a_record_without_headers_is_still_a_dead_letter() -> None:
    """What somebody else put there is counted under its topic's name, without a reason."""
    one = letter(reason=None)
    assert (one.topic, one.reason) == (TOPIC.name, UNKNOWN_REASON)
    assert explanation(one.reason)


def test_groups_count_by_topic_and_reason() -> None:
    """The most frequent comes first, with its first and last moment, whatever the order of reading."""
    later = AT + timedelta(minutes=5)
    found = group([letter(at=later), letter(Reason.EMPTY), letter(), letter(at=AT + timedelta(minutes=1))])
    assert [(one.reason, one.count) for one in found] == [("not_framed", 3), ("empty_record", 1)]
    assert (found[0].first, found[0].last) == (AT, later)


@given(st.binary(max_size=512))
def test_a_hexdump_holds_every_byte(value: bytes) -> None:
    """The digits of all lines together are the value."""
    digits = "".join(line[10:59].replace(" ", "") for line in hexdump(value))
    assert bytes.fromhex(digits) == value


def test_a_long_value_is_cut_and_says_so() -> None:
    """The beginning is shown, and how much isn't."""
    assert hexdump(bytes(100), most=16)[-1] == "… 84 more bytes"
    assert len(hexdump(bytes(100), most=16)) == 2


@given(everything=st.integers(0, 20), one=st.integers(0, 20), offset=st.integers(0, 20))
def test_what_either_mark_covers_was_replayed(everything: int, one: int, offset: int) -> None:
    """A replay of all covers every reason; a replay of one reason covers that one alone."""
    place = (TOPIC.dead_letters, 0)
    marks = Marks({place: everything}, {"not_finite": {place: one}})
    assert marks.replayed(place, offset, "not_finite") == (offset < max(everything, one))
    assert marks.replayed(place, offset, "empty_record") == (offset < everything)
    if offset < marks.below(place, "not_finite"):
        assert marks.replayed(place, offset, "not_finite")


def test_nothing_is_replayed_before_the_first_time() -> None:
    """Groups that never committed cover nothing."""
    place = (TOPIC.dead_letters, 0)
    assert not Marks({place: None}, {"not_finite": {place: None}}).replayed(place, 0, "not_finite")


@pytest.fixture(name="run")
def _run(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`atalaia dlq ARGUMENTS` on the stack."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(dlq.app, list(arguments))


@pytest.fixture(name="lost")
def _lost(stack: LocalStack) -> bytes:
    """Two dead letters, of two reasons, that carry this mark."""
    mark = uuid4().hex.encode()
    producer = Producer({"bootstrap.servers": stack.settings.kafka.bootstrap_servers})
    for reason in (Reason.NOT_FRAMED, Reason.NOT_FINITE):
        headers = dead_letter_headers([("mark", mark)], topic=TOPIC.name, partition=0, offset=1, reason=reason)
        producer.produce(TOPIC.dead_letters, value=b"\xff" + mark, key=reason.value.encode(), headers=headers)
    assert producer.flush(30) == 0
    return mark


def replayed(stack: LocalStack, mark: bytes) -> list[Record]:
    """What came back to the topic with this mark."""
    found = records.read(stack.settings.kafka, records.spans(stack.settings.kafka, [TOPIC.name]))
    return [record for record in found if record.value.endswith(mark)]


@pytest.mark.e2e
def test_a_replay_sends_each_once(stack: LocalStack, run: Run, lost: bytes) -> None:
    """One reason, then all: original bytes, key and headers, and never again unless asked."""
    assert run("replay", "--topic", "notifications", "--dry-run").exit_code == 0
    assert replayed(stack, lost) == []

    assert run("replay", "--topic", "notifications", "--reason", "not_framed").exit_code == 0
    (first,) = replayed(stack, lost)
    assert (first.value, first.key, first.headers) == (b"\xff" + lost, b"not_framed", (("mark", lost),))

    assert run("replay", "--topic", "notifications").exit_code == 0
    assert sorted(one.key or b"" for one in replayed(stack, lost)) == [b"not_finite", b"not_framed"]

    assert run("replay", "--topic", "notifications").exit_code == 0
    assert len(replayed(stack, lost)) == 2
    assert run("replay", "--topic", "notifications", "--all").exit_code == 0
    assert len(replayed(stack, lost)) == 4


@pytest.mark.e2e
def test_list_and_show(run: Run, lost: bytes) -> None:
    """`list` counts by reason; `show` gives headers, explanation, bytes and what decoding says."""
    listed = run("list", "--topic", "notifications", "-o", "json")
    assert listed.exit_code == 0, listed.output
    assert {one["reason"] for one in json.loads(listed.stdout)} >= {"not_framed", "not_finite"}

    shown = run("show", "1", "--topic", "notifications")
    assert shown.exit_code == 0, shown.output
    for expected in ("failed at", f"header mark  {lost.decode()}", "00000000  ff", "decoded"):
        assert expected in shown.stdout

    place = json.loads(run("show", "1", "--topic", "notifications", "-o", "json").stdout)["place"]
    same = json.loads(run("show", "--offset", place, "--topic", "notifications", "-o", "json").stdout)
    assert same["place"] == place
    assert lost.decode() in same["headers"]["mark"]


@pytest.mark.e2e
@pytest.mark.parametrize(
    "arguments", [("show", "--offset", "x"), ("show", "--offset", "0:99999999"), ("list", "--topic", "no")]
)
def test_wrong_arguments_are_named(run: Run, arguments: tuple[str, ...]) -> None:
    """A place or topic that isn't there is a usage error with the value in it."""
    done = run(*arguments)
    assert arguments[-1] in str(done.exception)


def test_each_reason_has_a_group_of_its_own() -> None:
    """Kafka remembers replays of one reason apart from replays of all."""
    groups = {redelivery.group_of(None), *(redelivery.group_of(reason) for reason in Reason)}
    assert len(groups) == len(Reason) + 1
