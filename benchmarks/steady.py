"""A service at work: `python -m benchmarks.steady EVENTS_PER_SECOND SECONDS`, through the producer library.

A thousand series in random order. Kafka and registry come from the settings. Prints how much was acknowledged.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Final

from atalaia.infra.settings import load
from atalaia.producers import Producer

SERIES: Final = 1_000
_STEP_SECONDS: Final = 0.005


def main() -> None:
    """Emits at that rate for that long."""
    rate, seconds = int(sys.argv[1]), float(sys.argv[2])
    settings = load()
    draw = random.Random(1)  # noqa: S311 - a repeatable load, not a secret
    with Producer(settings.kafka.bootstrap_servers, service_name="steady", registry=settings.registry.url) as metrics:
        bound = [
            metrics.metric("http_request_duration", affiliate_id=f"affiliate-{index}", metadata={"endpoint": "/orders"})
            for index in range(SERIES)
        ]
        started = time.monotonic()
        emitted = 0
        while (elapsed := time.monotonic() - started) < seconds:
            while emitted < elapsed * rate:
                bound[draw.randrange(SERIES)].emit(5 + draw.random() * 240)
                emitted += 1
            time.sleep(_STEP_SECONDS)
        said = metrics.flush(30)
    print(said.acknowledged, flush=True)


if __name__ == "__main__":
    main()
