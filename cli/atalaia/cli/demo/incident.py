"""A small real incident: ClickHouse is asked over and over, answers slowly for a while, and the shipped rule notices.

Nothing is made up: the times are measured, the slow answers are slow (`SELECT sleep(0.4)`), and what is shown of the
alert is read from its topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from atalaia.alerting.subscribe import Alert, alert_of
from atalaia.cli import records
from atalaia.cli.records import Decoder, Undecodable
from atalaia.infra.settings import KafkaSettings
from atalaia.producers import Emitter
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.topics import ALERTS

SERVICE: Final = "clickhouse"
METRIC: Final = "api_response_time"
GOOD: Final = "SELECT 1"
SLOW: Final = "SELECT sleep(0.4)"
CALM_PROBES: Final = 10
PATIENCE: Final = timedelta(seconds=30)
"""How long to wait for the alert to fire, and then to resolve; it takes well under a second each."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition, and when it stood on the alerts topic."""

    alert: Alert
    published_at: datetime


@dataclass(slots=True)
class Story:
    """What happened, in order; times are event times of the first slow and the first good answer after it."""

    transitions: list[Transition] = field(default_factory=list)
    slow_since: datetime | None = None
    good_since: datetime | None = None
    probes: int = 0

    @property
    def firing(self) -> bool:
        """Whether the latest word is that it fires."""
        return self._statuses[-1:] == [AlertStatus.FIRING]

    @property
    def resolved(self) -> bool:
        """Whether it fired, and the latest word is that it resolved."""
        return AlertStatus.FIRING in self._statuses and self._statuses[-1] is AlertStatus.RESOLVED

    @property
    def _statuses(self) -> list[AlertStatus]:
        return [transition.alert.status for transition in self.transitions]

    def delay(self, transition: Transition) -> timedelta | None:
        """From the answer that caused a transition until it stood on the topic; None where none of ours did."""
        causes = {AlertStatus.FIRING: self.slow_since, AlertStatus.RESOLVED: self.good_since}
        cause = causes.get(transition.alert.status)
        return None if cause is None or transition.published_at < cause else transition.published_at - cause


class AlertWatch:
    """The alerts of the service that is probed, as they come, from now on."""

    def __init__(self, settings: KafkaSettings, decoder: Decoder) -> None:
        self._decoder = decoder
        self._coming = records.follow(settings, records.spans(settings, [ALERTS.name]))

    def poll(self) -> Iterator[Transition]:
        """What has come since the last call; returns when for a moment nothing more does."""
        for record in self._coming:
            if record is None:
                return
            found = self._decoder.decode(record.topic, record.value)
            if (
                not isinstance(found, Undecodable)
                and found["service_name"] == SERVICE
                and found["metric_name"] == METRIC
            ):
                yield Transition(alert_of(found), record.at)

    def close(self) -> None:
        """Frees the connection."""
        self._coming.close()


class Incident:
    """Calm, slow answers until the alert fires, good ones until it resolves."""

    def __init__(self, client: Client, producer: Emitter, watch: AlertWatch, say: Callable[[str, str], None]) -> None:
        self._client = client
        self._latency = producer.metric(METRIC, metadata={"endpoint": "/", "method": "POST"})
        self._watch = watch
        self._say = say
        self.story = Story()

    def run(self) -> Story:
        """The whole of it; gives up on a stage after PATIENCE."""
        self._until(GOOD, "normal", lambda: self.story.probes >= CALM_PROBES and not self.story.firing)
        self.story.slow_since = self._until(SLOW, "slow", lambda: self.story.firing)
        self.story.good_since = self._until(GOOD, "normal again", lambda: self.story.resolved)
        return self.story

    def _until(self, sql: str, mood: str, over: Callable[[], bool]) -> datetime:
        """Probes until it is over; the event time of the first answer."""
        deadline = time.monotonic() + PATIENCE.total_seconds()
        first: datetime | None = None
        while True:
            at, millis = self._probe(sql)
            first = first or at
            self._say(f"{mood}{', the alert is firing' * self.story.firing}", f"ClickHouse answered in {millis:.0f} ms")
            self.story.transitions += self._watch.poll()
            if over() or time.monotonic() > deadline:
                return first

    def _probe(self, sql: str) -> tuple[datetime, float]:
        started = time.perf_counter()
        self._client.query(sql)
        millis = (time.perf_counter() - started) * 1000
        at = datetime.now(UTC)
        self._latency.emit(millis, timestamp=at)
        self.story.probes += 1
        return at.replace(microsecond=at.microsecond // 1000 * 1000), millis
