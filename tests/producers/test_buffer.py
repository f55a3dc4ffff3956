"""The buffer is bounded, in order, and accounts for every event."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atalaia.producers import ConfigError, OnFull, ProducerClosed
from atalaia.producers.buffer import Bounds, Buffer, Waiting
from atalaia.producers.records import Origin, metric_template
from atalaia.schemas import codec
from atalaia.schemas.topics import METRICS, SERVICE_HEALTH

TEMPLATE = metric_template(Origin("default", "shop"), "order_value", {})
OTHER = metric_template(Origin("default", "shop"), "cpu_usage", {})
AT_MS = 1_800_000_000_000


def make(bounds: Bounds, dropped: Callable[[Waiting, str], None] = lambda *_: None) -> Buffer:
    """A buffer whose courier is the test."""
    return Buffer(bounds, (METRICS.name, SERVICE_HEALTH.name), start_courier=lambda: None, on_dropped=dropped)


def put(buffer: Buffer, value: float = 1.0) -> bool:
    """One event."""
    return buffer.put(TEMPLATE, value, AT_MS)


def values(entries: list[Waiting]) -> list[float]:
    """The values of what was taken."""
    return [codec.decode("MetricEvent", entry[0])["value"] for entry in entries]


def test_events_come_out_in_the_order_they_went_in() -> None:
    """First in, first out, whatever the size of a helping."""
    buffer = make(Bounds())
    for value in range(10):
        put(buffer, value)
    assert values(buffer.take(METRICS.name, 4)) == [0, 1, 2, 3]
    assert values(buffer.take(METRICS.name, 100)) == [4, 5, 6, 7, 8, 9]
    assert buffer.take(METRICS.name, 1) == []


def test_sequences_count_per_series_without_gap() -> None:
    """Each series counts 0, 1, 2, … within its producer."""
    buffer = make(Bounds())
    for template in (TEMPLATE, OTHER, TEMPLATE, TEMPLATE, OTHER):
        buffer.put(template, 0.0, AT_MS)
    events = [codec.decode("MetricEvent", entry[0]) for entry in buffer.take(METRICS.name, 9)]
    assert [(event["metric_name"], event["sequence"]) for event in events] == [
        ("order_value", 0),
        ("cpu_usage", 0),
        ("order_value", 1),
        ("order_value", 2),
        ("cpu_usage", 1),
    ]
    assert {event["producer_id"] for event in events} == {buffer.producer_id}


def test_raise_refuses_at_once_what_finds_no_room() -> None:
    """The event was never accepted: no sequence is spent on it."""
    buffer = make(Bounds(events=10, on_full=OnFull.RAISE))
    assert [put(buffer) for _ in range(12)] == [True] * 10 + [False] * 2
    buffer.take(METRICS.name, 10)
    assert not put(buffer), "in flight still counts"
    buffer.settle(10, Counter())
    assert put(buffer)
    assert codec.decode("MetricEvent", buffer.take(METRICS.name, 1)[0][0])["sequence"] == 10


def test_drop_oldest_makes_room_by_dropping_what_waited_longest() -> None:
    """Each dropped event is counted and told; a gap in the sequence shows the loss."""
    told: list[tuple[Waiting, str]] = []
    buffer = make(Bounds(events=10, on_full=OnFull.DROP_OLDEST), lambda *drop: told.append(drop))
    for value in range(13):
        assert put(buffer, value)
    assert values([entry for entry, _ in told]) == [0, 1, 2]
    assert {reason for _, reason in told} == {"buffer_full"}
    assert buffer.stats().dropped == {"buffer_full": 3}
    assert buffer.stats().queued == 10
    kept = [codec.decode("MetricEvent", entry[0])["sequence"] for entry in buffer.take(METRICS.name, 99)]
    assert kept == list(range(3, 13))


def test_block_waits_for_room_and_no_longer_than_told() -> None:
    """With no room ever, `put` gives up; with room, it goes on."""
    buffer = make(Bounds(events=10, on_full=OnFull.BLOCK, block_timeout_seconds=0.01))
    for _ in range(10):
        put(buffer)
    assert not put(buffer)
    patient = make(Bounds(events=10, on_full=OnFull.BLOCK, block_timeout_seconds=60))
    for _ in range(10):
        put(patient)
    accepted: list[bool] = []
    waiter = threading.Thread(target=lambda: accepted.append(put(patient)))
    waiter.start()
    patient.take(METRICS.name, 1)
    patient.settle(1, Counter())
    waiter.join(60)
    assert accepted == [True]


def test_block_gives_up_when_the_buffer_closes() -> None:
    """Nobody waits for a producer that is gone."""
    buffer = make(Bounds(events=10, block_timeout_seconds=60))
    for _ in range(10):
        put(buffer)
    raised: list[type[Exception]] = []

    def wait() -> None:
        try:
            put(buffer)
        except ProducerClosed:
            raised.append(ProducerClosed)

    waiter = threading.Thread(target=wait)
    waiter.start()
    buffer.close()
    waiter.join(60)
    assert raised == [ProducerClosed]


def test_a_callback_that_emits_never_waits_for_itself() -> None:
    """On the courier's own thread a full buffer refuses at once."""
    buffer = make(Bounds(events=10, block_timeout_seconds=3600))
    for _ in range(10):
        put(buffer)
    buffer.courier_thread = threading.get_ident()
    assert not put(buffer)
    with pytest.raises(RuntimeError, match="call them elsewhere"):
        buffer.wait_until_settled(1)


def test_bytes_are_bounded_too() -> None:
    """Large events fill the buffer before their number does."""
    large = metric_template(Origin("default", "shop"), "x", {"metadata": {str(key): "v" * 256 for key in range(32)}})
    buffer = make(Bounds(events=1000, bytes=64 * 1024, on_full=OnFull.RAISE))
    accepted = sum(buffer.put(large, 0.0, AT_MS) for _ in range(1000))
    assert 7 <= accepted <= 8
    buffer.take(METRICS.name, 1)
    assert buffer.put(large, 0.0, AT_MS)


def test_only_an_event_that_is_waited_for_wakes_the_courier() -> None:
    """A topic whose schema is unknown may fill up without a wake-up for each event."""
    woken: list[str] = []
    buffer = Buffer(
        Bounds(),
        (METRICS.name, SERVICE_HEALTH.name),
        start_courier=lambda: woken.append("yes"),
        on_dropped=lambda *_: None,
    )
    put(buffer)
    put(buffer)
    assert woken == ["yes"]
    buffer.sleep_until_work([SERVICE_HEALTH.name], seconds=0)
    put(buffer)
    assert woken == ["yes"]


def test_closing_drops_what_waits_only_when_told() -> None:
    """`close` accepts nothing more; the courier still takes what was accepted."""
    buffer = make(Bounds())
    put(buffer)
    put(buffer)
    buffer.close()
    with pytest.raises(ProducerClosed):
        put(buffer)
    assert len(buffer.take(METRICS.name, 1)) == 1
    buffer.drop_waiting("closed")
    assert buffer.stats().dropped == {"closed": 1}
    assert buffer.stats().queued == 1


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"events": 9}, "buffer_events=9"),
        ({"bytes": 1}, "buffer_bytes=1"),
        ({"block_timeout_seconds": -1.0}, "block_timeout=-1.0"),
        ({"block_timeout_seconds": float("inf")}, "block_timeout=inf"),
        ({"block_timeout_seconds": float("nan")}, "block_timeout=nan"),
    ],
)
def test_bounds_that_cannot_be_are_an_error(bounds: dict[str, float], message: str) -> None:
    """An unbounded wait is among them."""
    with pytest.raises(ConfigError, match=message):
        Bounds(**bounds)  # type: ignore[arg-type]


@given(
    policy=st.sampled_from([OnFull.RAISE, OnFull.DROP_OLDEST]),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "take", "acknowledge", "fail", "drop"]), st.integers(1, 15)), max_size=60
    ),
)
def test_every_event_is_accounted_for(policy: OnFull, steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: emitted = acknowledged + lost + queued, and queued is bounded."""
    buffer = make(Bounds(events=10, on_full=policy))
    flying = emitted = acknowledged = failed = 0
    for step, count in steps:
        if step == "put":
            emitted += sum(put(buffer) for _ in range(count))
        elif step == "take":
            flying += len(buffer.take(METRICS.name, count))
        elif step == "acknowledge":
            done, flying = min(count, flying), flying - min(count, flying)
            buffer.settle(done, Counter())
            acknowledged += done
        elif step == "fail":
            done, flying = min(count, flying), flying - min(count, flying)
            buffer.settle(0, Counter({"msg_timed_out": done}))
            failed += done
        else:
            buffer.drop_waiting("closed")
        stats = buffer.stats()
        assert stats.emitted == emitted
        assert stats.acknowledged == acknowledged
        assert sum(stats.failed.values()) == failed
        assert flying <= stats.queued <= 10
    left = len(buffer.take(METRICS.name, 100))
    assert buffer.stats().queued == flying + left


def test_threads_share_a_buffer_without_loss_or_gap() -> None:
    """Eight threads on one series: every sequence number once, in order."""
    buffer = make(Bounds(events=100_000))
    threads = [threading.Thread(target=lambda: [put(buffer) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [codec.decode("MetricEvent", entry[0])["sequence"] for entry in buffer.take(METRICS.name, 9999)]
    assert events == list(range(4000))
