"""Alerts for services that listen to the alerts topic, typed and decoded."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from atalaia.infra.kafka import KafkaUnavailable
from atalaia.schemas import codec
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.registry import Registry, RegistryUnavailable
from atalaia.schemas.topics import ALERTS

log = logging.getLogger(__name__)

LOCAL_REGISTRY: Final = "http://127.0.0.1:8081"
_POLL_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 15.0
_FATAL: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One transition of one alert (AlertEvent.avsc says what each field is). Times are aware, in UTC."""

    alert_id: str
    fingerprint: str
    episode_id: str
    rule_id: str
    rule_name: str
    rule_version: int
    tenant: str
    status: AlertStatus
    severity: Severity
    timestamp: datetime
    starts_at: datetime
    metric_name: str
    service_name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    actions: tuple[str, ...]
    channels: tuple[str, ...]
    recipients: tuple[str, ...]
    value: float | None
    threshold: float
    condition: str
    unit: str
    window_start: datetime | None
    window_end: datetime | None
    completeness: float | None
    watermark: datetime | None
    traceparent: str | None

    @property
    def firing(self) -> bool:
        """Whether the condition has held for as long as the rule asks."""
        return self.status is AlertStatus.FIRING


_NAMES: Final = tuple(field.name for field in fields(Alert))


def subscribe(
    bootstrap_servers: str,
    *,
    group: str,
    registry: str = LOCAL_REGISTRY,
    from_beginning: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Generator[Alert, None, None]:
    """Every alert transition, as it happens, at least once; those of one alert in order.

    An alert counts as handled when the loop comes back for the next one: one at which the loop is left, by an
    exception, a `break` or a crash, comes again when the group subscribes anew. So handle each by its `alert_id`, which
    is the same each time. Several processes with one `group` share the alerts between them.

    A new group starts with what happens from now on, or `from_beginning` with what Kafka still has (30 days). The
    iterator never ends by itself. `config` takes librdkafka's own keys. What cannot be decoded is logged and skipped.
    Raises KafkaUnavailable where the topic cannot be read at all, RegistryUnavailable where nobody knows its schema.
    """
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest" if from_beginning else "latest",
        **(config or {}),
    }
    consumer = Consumer(settings, logger=logging.getLogger("librdkafka"))
    writers = Registry(registry)
    try:
        _require(consumer, bootstrap_servers)
        consumer.subscribe([ALERTS.name])
        yield from _alerts(consumer, writers)
    finally:
        consumer.close()
        writers.close()


def alert_of(record: Mapping[str, Any]) -> Alert:
    """An alert from a decoded AlertEvent."""
    known = {name: record[name] for name in _NAMES}
    lists = {name: tuple(known[name]) for name in ("actions", "channels", "recipients")}
    times = ("timestamp", "starts_at", "window_start", "window_end", "watermark")
    return Alert(
        **known
        | lists
        | {name: _aware(known[name]) for name in times}
        | {"status": AlertStatus(known["status"]), "severity": Severity(known["severity"])}
    )


def _require(consumer: Consumer, bootstrap_servers: str) -> None:
    """Returns where the topic is there to be read."""
    try:
        found = consumer.list_topics(ALERTS.name, timeout=_ANSWER_SECONDS).topics[ALERTS.name]
    except KafkaException as exc:
        raise KafkaUnavailable(
            f"Kafka at {bootstrap_servers} does not answer ({exc.args[0].str()}); is it up?"
        ) from exc
    if found.error is not None:
        raise KafkaUnavailable(f"{ALERTS.name} at {bootstrap_servers}: {found.error.str()}")


def _alerts(consumer: Consumer, writers: Registry) -> Iterator[Alert]:
    while True:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            continue
        if (error := message.error()) is not None:
            if error.fatal() or error.code() in _FATAL:
                raise KafkaUnavailable(f"{ALERTS.name} cannot be read: {error.str()}")
            log.warning("reading %s: %s", ALERTS.name, error.str())
            continue
        alert = _decoded(message, writers)
        if alert is not None:
            yield alert
        consumer.store_offsets(message)


def _decoded(message: Message, writers: Registry) -> Alert | None:
    """The alert in a record; None where there is none, which is logged. Without its registry nothing can be read."""
    value = message.value() or b""
    try:
        writer = writers.parsed_writer(codec.schema_id_of(value) or 0)
        return alert_of(codec.decode_as(writer, "AlertEvent", value[codec.HEADER_BYTES :]))
    except RegistryUnavailable:
        raise
    except Exception as exc:  # noqa: BLE001 - the dead-letter guard: one damaged record must not end the subscription
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        log.warning("alert record %s skipped: %s: %s", place, type(exc).__name__, exc)
        return None


def _aware(at: Any) -> datetime | None:
    return at.astimezone(UTC) if isinstance(at, datetime) else None
