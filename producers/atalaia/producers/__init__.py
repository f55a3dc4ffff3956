"""What a service installs to emit metrics.

    from atalaia.producers import Producer

    with Producer("localhost:9092", service_name="payment-service") as metrics:
        metrics.emit("revenue_hourly", 2500.0, region="BR", metadata={"payment_method": "credit_card"})
        latency = metrics.metric("api_response_time")  # said once, emitted often
        with latency.time():
            ...

Importing this loads nothing of the server, configures no logging and connects to nothing.
"""

from typing import TYPE_CHECKING

from atalaia.producers.aio import AsyncProducer
from atalaia.producers.asgi import GoldenSignals
from atalaia.producers.buffer import OnFull
from atalaia.producers.client import Producer
from atalaia.producers.emitter import Emitter
from atalaia.producers.errors import BufferFull, ConfigError, DeliveryError, MetricError, ProducerClosed
from atalaia.producers.metrics import Counter, Gauge, Metric, Timer
from atalaia.producers.outcomes import Delivery, Outcome, Stats

if TYPE_CHECKING:
    from atalaia.producers.recording import RecordingProducer

__all__ = [
    "AsyncProducer",
    "BufferFull",
    "ConfigError",
    "Counter",
    "Delivery",
    "DeliveryError",
    "Emitter",
    "Gauge",
    "GoldenSignals",
    "Metric",
    "MetricError",
    "OnFull",
    "Outcome",
    "Producer",
    "ProducerClosed",
    "RecordingProducer",
    "Stats",
    "Timer",
]


def __getattr__(name: str) -> object:
    """Load `RecordingProducer` only where it is asked for: tests want an Avro decoder, services do not."""
    if name == "RecordingProducer":
        from atalaia.producers.recording import RecordingProducer  # noqa: PLC0415 - the reason is above

        return RecordingProducer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
