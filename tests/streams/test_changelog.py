"""Reading state back: all of it, the value in force, and nothing for ever."""

from __future__ import annotations

import uuid

import orjson
import pytest

from atalaia.infra import kafka
from atalaia.infra.local.stack import LocalStack
from atalaia.infra.settings import Settings
from atalaia.streams.changelog import CHANGELOG_CONFIG, changelog_topic, restore
from atalaia.streams.publisher import Publisher, Undelivered

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(stack: LocalStack) -> Settings:
    """Settings of an application of its own, with its changelog."""
    streams = stack.settings.streams.model_copy(update={"application": f"test-{uuid.uuid4().hex[:8]}"})
    own = stack.settings.model_copy(update={"streams": streams})
    kafka.create_topics(own.kafka, {changelog_topic(own): CHANGELOG_CONFIG})
    return own


def _value(applied: int) -> bytes:
    return orjson.dumps(["performance", applied])


def _applied(value: bytes) -> int:
    return int(orjson.loads(value)[1])


def _write(settings: Settings, *entries: tuple[bytes, bytes | None], partition: int = 1) -> None:
    publisher = Publisher(settings.kafka, "test")
    for key, value in entries:
        publisher.send(changelog_topic(settings), key=key, value=value, partition=partition)
    publisher.flush(30)


def test_an_empty_changelog_is_read_at_once(settings: Settings) -> None:
    """A partition without history restores to nothing, without waiting for any."""
    assert restore(settings, 0, stamp=_applied).values == {}


def test_the_last_value_of_each_key_is_in_force(settings: Settings) -> None:
    """Later values replace earlier ones, tombstones remove, other partitions stay out of it."""
    _write(settings, (b"a", _value(1)), (b"b", _value(2)), (b"a", _value(3)), (b"b", None))
    _write(settings, (b"c", _value(9)), partition=2)
    restored = restore(settings, 1, stamp=_applied)
    assert restored.values == {b"a": _value(3)}
    assert restored.records == 4


def test_a_woken_worker_cannot_take_state_back(settings: Settings) -> None:
    """A value that has applied less than an earlier one is not in force, though it was written later."""
    _write(settings, (b"a", _value(100)), (b"a", _value(40)))
    assert restore(settings, 1, stamp=_applied).values == {b"a": _value(100)}


def test_progress_ends_at_the_whole(settings: Settings) -> None:
    """The progress of a restore grows to the total."""
    _write(settings, *((str(number).encode(), _value(number)) for number in range(25_000)))
    seen: list[tuple[int, int]] = []
    restored = restore(settings, 1, stamp=_applied, progress=lambda done, total: seen.append((done, total)))
    assert len(restored.values) == 25_000
    assert seen == sorted(seen)
    assert seen[-1] == (25_000, 25_000)


def test_what_is_not_acknowledged_is_said(settings: Settings) -> None:
    """A flush that cannot be completed raises: whatever depends on the records must not be committed."""
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    publisher = Publisher(away, "test")
    publisher.send("anything", key=b"k", value=b"v")
    with pytest.raises(Undelivered, match="not acknowledged"):
        publisher.flush(0.2)


def test_a_record_that_the_broker_refuses_is_said(settings: Settings) -> None:
    """A refused record surfaces at the flush that follows it."""
    publisher = Publisher(settings.kafka, "test")
    publisher.send(changelog_topic(settings), key=b"k", value=b"x" * 900_000, partition=77)
    with pytest.raises(Undelivered, match="refused"):
        publisher.flush(30)
