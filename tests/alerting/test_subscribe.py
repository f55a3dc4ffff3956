"""Services that listen: each alert at least once, typed, and only once while all goes well."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from atalaia.alerting import subscribe as subscribing
from atalaia.alerting.events import record
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.subscribe import Alert, alert_of, subscribe
from atalaia.alerting.writing.document import from_document
from atalaia.infra.kafka import KafkaUnavailable
from atalaia.infra.local.stack import LocalStack
from atalaia.schemas import codec
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.registry import Registry
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import ALERTS

NOW_MS = 1_760_000_000_123
RULE = from_document(
    {"name": "Busy", "metric": "cpu_usage", "condition": "> 90", "severity": "P0", "channels": ["sms"]}
)
_SERVICES = count()


def alert_bodies(service: str) -> list[bytes]:
    """A firing and its resolve, encoded."""
    series = SeriesKey("default", "cpu_usage", service, "BR", None, "%", "real_time")
    judge, bodies = Judge([RULE]), []
    for at_ms, value in ((NOW_MS, 99.0), (NOW_MS + 1_000, 10.0)):
        judge.observe(b"k", series, minutes_of([(at_ms, value)])[0], at_ms)
        bodies += [codec.encode("AlertEvent", record(transition)) for transition in judge.judge(at_ms)]
    return bodies


def test_an_alert_is_typed() -> None:
    """Enums, aware times and tuples, whatever the wire had."""
    alert = alert_of(codec.decode("AlertEvent", alert_bodies("web")[0]))
    assert (alert.status, alert.severity, alert.firing) == (AlertStatus.FIRING, Severity.CRITICAL, True)
    assert alert.timestamp.isoformat() == "2025-10-09T08:53:20.123000+00:00"
    assert (alert.channels, alert.labels["region"], alert.window_start) == (("sms",), "BR", None)


@pytest.mark.e2e
class TestOverKafka:
    """On the embedded stack."""

    @pytest.fixture
    def service(self) -> str:
        """A service whose alerts no other test sees."""
        return f"subscribed-{next(_SERVICES)}-{uuid4().hex[:6]}"

    def publish(self, stack: LocalStack, service: str, *, junk: bytes | None = None) -> None:
        """Puts a firing and its resolve on the topic, of one key, with junk before them."""
        with Registry(stack.settings.registry.url) as registry:
            schema_id = registry.id_of(ALERTS)
        producer = Producer({"bootstrap.servers": stack.settings.kafka.bootstrap_servers})
        values = [codec.frame(schema_id, body) for body in alert_bodies(service)]
        for value in values if junk is None else [junk, *values]:
            producer.produce(ALERTS.name, key=service.encode(), value=value)
        assert producer.flush(20) == 0

    def listen(self, stack: LocalStack, group: str) -> Generator[Alert, None, None]:
        """A subscription of a group that has seen nothing yet."""
        return subscribe(
            stack.settings.kafka.bootstrap_servers,
            group=group,
            registry=stack.settings.registry.url,
            from_beginning=True,
        )

    def of(self, alerts: Iterator[Alert], service: str) -> Alert:
        """The next alert of a service."""
        return next(alert for alert in alerts if alert.service_name == service)

    def test_alerts_come_in_order(self, stack: LocalStack, service: str) -> None:
        """What fired is heard to fire, then to resolve; bytes that are no alert are passed by."""
        self.publish(stack, service, junk=b"junk")
        with closing(self.listen(stack, service)) as alerts:
            fired, resolved = self.of(alerts, service), self.of(alerts, service)
        assert (fired.status, resolved.status) == (AlertStatus.FIRING, AlertStatus.RESOLVED)
        assert fired.episode_id == resolved.episode_id

    def test_an_alert_that_was_not_finished_comes_again(self, stack: LocalStack, service: str) -> None:
        """Whoever leaves the loop at an alert hears it again; what came before it stays done."""
        self.publish(stack, service)
        with closing(self.listen(stack, service)) as alerts:
            self.of(alerts, service)
            left_at = self.of(alerts, service)
        with closing(self.listen(stack, service)) as again:
            assert self.of(again, service) == left_at


def test_no_broker_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address is said, not waited at."""
    monkeypatch.setattr(subscribing, "_ANSWER_SECONDS", 1.0)
    with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        next(subscribe("127.0.0.1:1", group="x"))
