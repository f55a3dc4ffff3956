"""Whether a component serves, asked the way its users will: each probe returns within about two seconds."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from atalaia.infra.local.ports import accepts
from atalaia.infra.settings import LOOPBACK

Probe = Callable[[], bool]

_TIMEOUT_SECONDS = 1.0


def port(number: int) -> Probe:
    """Something accepts connections."""
    return lambda: accepts(number)


def http(number: int, path: str, expected: bytes = b"") -> Probe:
    """GET answers 200 with a body that begins with `expected`."""
    url = f"http://{LOOPBACK}:{number}{path}"

    def probe() -> bool:
        if not accepts(number):
            return False
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
                return bool(answer.status == 200 and answer.read(len(expected)) == expected)  # noqa: PLR2004
        except OSError:
            return False

    return probe


def kafka(number: int) -> Probe:
    """A broker answers a metadata request and names itself; an open port alone comes seconds earlier."""

    def probe() -> bool:
        if not accepts(number):  # so that librdkafka doesn't wait and doesn't log
            return False
        admin = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{number}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=_TIMEOUT_SECONDS).brokers)
        except KafkaException:
            return False

    return probe
