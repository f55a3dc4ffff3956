"""Metrics bound once, and the sugar over them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine

from atalaia.producers import Emitter, Metric, MetricError, RecordingProducer


@pytest.fixture
def metrics() -> RecordingProducer:
    """Where events go in these tests."""
    return RecordingProducer("shop")


def test_a_bound_metric_says_its_fields_once(metrics: RecordingProducer) -> None:
    """Each event has them all, its own value and its own id."""
    paid = metrics.metric("order_value", unit="USD", region="BR", affiliate_id="a7", metadata={"payment_method": "pix"})
    paid.emit(59.9)
    paid.emit(Decimal("0.10"))
    first, second = metrics.events
    assert (first["value"], second["value"]) == (59.9, 0.1)
    assert (first["sequence"], second["sequence"]) == (0, 1)
    assert first["event_id"] != second["event_id"]
    assert (first["unit"], first["region"], first["affiliate_id"]) == ("USD", "BR", "a7")


def test_a_metric_of_the_same_fields_is_the_same_metric(metrics: RecordingProducer) -> None:
    """`emit` by name is nearly as fast as a bound metric, and different fields never mix."""
    metadata = {"endpoint": "/x"}
    one = metrics.metric("error_rate", metadata=metadata)
    assert metrics.metric("error_rate", metadata={"endpoint": "/x"}) is one
    metadata["endpoint"] = "/y"
    assert metrics.metric("error_rate", metadata=metadata) is not one
    metrics.emit("error_rate", 1, metadata={"endpoint": "/x"})
    assert metrics.events[0]["metadata"] == {"endpoint": "/x"}


def test_remembered_metrics_are_bounded(metrics: RecordingProducer) -> None:
    """An order number in metadata does not fill the memory."""
    for order in range(10_000):
        metrics.metric("order_value", metadata={"order": str(order)})
    assert len(metrics._remembered) <= 4096


@pytest.mark.parametrize("metadata", [{"k": ["v"]}, {"k": {}}, [("k", "v")], 7, {("a",): "b"}])
def test_what_cannot_be_hashed_is_still_refused_by_name(metrics: RecordingProducer, metadata: object) -> None:
    """The fast path's memory never hides the reason."""
    with pytest.raises(MetricError, match="metadata"):
        metrics.emit("cpu_usage", 1, metadata=metadata)  # type: ignore[arg-type]


def test_a_misspelt_field_is_refused_by_name(metrics: RecordingProducer) -> None:
    """With the names that exist."""
    with pytest.raises(MetricError, match=r"units='ms': no such field; there are affiliate_id, frequency"):
        metrics.emit("cpu_usage", 1, units="ms")  # type: ignore[call-arg]


def test_a_wrong_kind_of_value_is_not_taken_for_a_remembered_one(metrics: RecordingProducer) -> None:
    """1 == True == 1.0 in Python, and none of them is text."""
    metrics.emit("cpu_usage", 1, metadata={"core": "1"})
    for wrong in (1, True, 1.0):
        with pytest.raises(MetricError, match="must be text"):
            metrics.emit("cpu_usage", 1, metadata={"core": wrong})  # type: ignore[dict-item]


def test_event_time_is_now_unless_said() -> None:
    """Both in ms."""
    with time_machine.travel(datetime(2026, 11, 23, 12, 0, tzinfo=UTC), tick=False):
        metrics = RecordingProducer()
        metrics.emit("order_value", 1)
        metrics.emit("order_value", 2, timestamp=datetime(2020, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC))
    assert [event["timestamp"] for event in metrics.events] == [
        datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        datetime(2020, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC),
    ]


def test_a_counter_adds(metrics: RecordingProducer) -> None:
    """Each call is an increment; a negative one is refused."""
    orders = metrics.counter("orders")
    orders.add()
    orders.add(3)
    assert metrics.values("orders") == [1, 3]
    with pytest.raises(MetricError, match="amount=-1: a counter only goes up"):
        orders.add(-1)


def test_a_gauge_says_its_level(metrics: RecordingProducer) -> None:
    """Set, or moved within this process."""
    depth = metrics.gauge("queue_depth")
    depth.set(10)
    depth.inc()
    depth.dec(4)
    assert metrics.values("queue_depth") == [10, 11, 7]


def test_the_catalogue_knows_what_a_counter_is(metrics: RecordingProducer) -> None:
    """Counting a level, or setting a sum, is an error with the remedy."""
    with pytest.raises(MetricError, match="catalogue has it as gauge; use gauge"):
        metrics.counter("cpu_usage")
    with pytest.raises(MetricError, match="catalogue has it as additive; use counter"):
        metrics.gauge("http_requests")


@pytest.mark.parametrize(("unit", "seconds"), [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("min", 60)])
def test_time_emits_in_the_metrics_unit(metrics: RecordingProducer, unit: str, seconds: float) -> None:
    """The same duration in another unit is another number."""
    timer = metrics.metric("job_time", unit=unit).time()
    timer._started.append(timer._now() - 120)
    timer.__exit__()
    assert metrics.values("job_time")[0] * seconds == pytest.approx(120, rel=0.01)


def test_time_measures_what_raises_too(metrics: RecordingProducer) -> None:
    """And lets the exception through."""
    latency = metrics.metric("api_response_time")
    with pytest.raises(ZeroDivisionError), latency.time():
        raise ZeroDivisionError
    assert len(metrics.values("api_response_time")) == 1


def test_time_decorates_functions(metrics: RecordingProducer) -> None:
    """Recursion included: each call counts for itself."""

    @metrics.metric("recommendation_time").time()
    def countdown(left: int) -> int:
        """Say how many calls it took."""
        return 1 + countdown(left - 1) if left else 1

    assert countdown(2) == 3
    assert countdown.__name__ == "countdown"
    assert len(metrics.values("recommendation_time")) == 3


async def test_time_decorates_coroutines(metrics: RecordingProducer) -> None:
    """What is measured is the awaited work, not the making of the coroutine; overlapping calls don't mix."""
    gate = asyncio.Event()

    @metrics.metric("recommendation_time").time()
    async def work() -> str:
        await gate.wait()
        return "done"

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    assert metrics.values("recommendation_time") == []
    gate.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3
    assert len(metrics.values("recommendation_time")) == 3


def test_time_needs_a_unit_of_time(metrics: RecordingProducer) -> None:
    """Seconds of BRL mean nothing."""
    with pytest.raises(MetricError, match=r"unit='BRL': time\(\) measures durations"):
        metrics.metric("order_value").time()


def test_anything_that_emits_can_be_asked_for_by_one_type(metrics: RecordingProducer) -> None:
    """A function typed with `Emitter` takes the recording one in tests."""

    def work(emitter: Emitter) -> Metric:
        return emitter.metric("orders")

    assert isinstance(work(metrics), Metric)
