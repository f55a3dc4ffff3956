"""Live alerts, backtests and replays of the same events: they say the same, to the minute."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from benchmarks import lab
from benchmarks.trials.trial import EAGER
from typer.testing import CliRunner, Result

from atalaia.alerting import publishing
from atalaia.alerting.subscribe import Alert, subscribe
from atalaia.alerting.writing.document import from_document
from atalaia.cli import alerts as alerts_command
from atalaia.cli import rules as rules_command
from atalaia.infra import clickhouse
from atalaia.infra.local.stack import LocalStack
from atalaia.producers import Producer
from atalaia.schemas.events import AlertStatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

RULES = [
    {
        "rule_name": "Busy host",
        "metric_name": "cpu_usage",
        "aggregate": "max",
        "window": "1m",
        "condition": "> 90",
        "severity": "high",
    },
    {
        "rule_name": "Busy region",
        "expr": "max by (service_name) (max_over_time(cpu_usage[1m])) > 90",
        "severity": "critical",
    },
]
SERVICE = "backtest-e2e"


@dataclass
class Incident:
    """What happened: the live transitions of both rules, and the stack that it happened on."""

    stack: LocalStack
    ids: list[str]
    began: datetime
    told: list[Alert] = field(default_factory=list)

    def minutes(self, rule_id: str, status: AlertStatus) -> list[str]:
        """The minutes in which alerts of a rule entered a status."""
        return [
            f"{each.timestamp:%Y-%m-%dT%H:%MZ}"
            for each in self.told
            if (each.rule_id, each.status) == (rule_id, status)
        ]


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incident]:
    """A CPU that is busy for one minute and idle in the next, judged live, and stored."""
    folder = tmp_path_factory.mktemp("backtest")
    with lab.local_stack(folder / "stack", lab.EVERYTHING) as stack:
        rules = [from_document(document) for document in RULES]
        publishing.publish(stack.settings, rules, by="test", at_ms=time.time_ns() // 1_000_000)
        made = [lab.Worker(stage, stack, folder / f"{stage}.log", EAGER) for stage in ("stream", "sink")]
        with lab.workers(made) as (stream, _):
            lab.await_condition(lambda: len(stream.partitions()) == 4, lambda: lab.tail(stream.log), within_seconds=60)
            happened = Incident(
                stack, [rule.rule_id for rule in rules], datetime.fromtimestamp(time.time()).astimezone()
            )
            _happen(happened, stream)
            yield happened


def _happen(incident: Incident, worker: lab.Worker) -> None:
    settings = incident.stack.settings
    coming = subscribe(
        settings.kafka.bootstrap_servers, group="test-backtest", registry=settings.registry.url, from_beginning=True
    )
    with Producer(settings.kafka.bootstrap_servers, service_name=SERVICE, registry=settings.registry.url) as metrics:
        metrics.emit("cpu_usage", 95.0)
        metrics.flush(10)
        while sum(each.status is AlertStatus.FIRING for each in incident.told) < len(RULES):
            incident.told.append(next(coming))

        def resolved() -> bool:
            metrics.emit("cpu_usage", 10.0)
            metrics.flush(10)
            return time.time() // 60 > incident.told[0].timestamp.timestamp() // 60

        lab.await_condition(resolved, lambda: lab.tail(worker.log), within_seconds=90)
    while sum(each.status is AlertStatus.RESOLVED for each in incident.told) < len(RULES):
        incident.told.append(next(coming))
    lab.await_condition(lambda: _stored(incident), "alerts and minutes are in ClickHouse", within_seconds=90)


def _stored(incident: Incident) -> bool:
    client = clickhouse.connect(incident.stack.settings.clickhouse)
    (alerts,), (minutes,) = (
        client.query(sql).result_rows[0]
        for sql in (
            "SELECT uniqExact(alert_id) FROM alert_events WHERE rule_id LIKE 'busy%'",
            f"SELECT count() FROM metrics_1m WHERE service_name = '{SERVICE}' AND metric_name = 'cpu_usage'",
        )
    )
    (events,) = client.query(f"SELECT count() FROM metrics WHERE service_name = '{SERVICE}'").result_rows[0]
    (counted,) = client.query(f"SELECT sum(count) FROM metrics_1m WHERE service_name = '{SERVICE}'").result_rows[0]
    return bool(alerts >= 2 * len(RULES) and minutes >= 2 and events == counted)


@pytest.fixture(autouse=True)
def environment(incident: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that find the stack."""
    for name, value in incident.stack.environment.items():
        monkeypatch.setenv(name, value)


def run(app: Any, *arguments: str) -> Result:
    """The outcome of a command; its errors are raised."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize("source", [[], ["--topics"]])
def test_a_backtest_says_what_was_told_live(incident: Incident, source: list[str]) -> None:
    """Over ClickHouse and over the topic, rules fire and resolve in the minutes in which they did live."""
    end = f"{datetime.fromtimestamp((time.time() // 60 + 1) * 60).astimezone().isoformat()}"
    result = run(rules_command.app, "backtest", *incident.ids, "--from", "20m", "--to", end, "-o", "json", *source)
    found = {each["rule_id"]: each["episodes"] for each in json.loads(result.stdout)}
    for rule_id in incident.ids:
        (episode,) = [each for each in found[rule_id] if each["labels"]["service_name"] == SERVICE]
        assert [episode["fired"]] == incident.minutes(rule_id, AlertStatus.FIRING)
        assert [episode["resolved"]] == incident.minutes(rule_id, AlertStatus.RESOLVED)
        assert episode["worst"] == 95.0
        assert episode["fingerprint"] in {each.fingerprint for each in incident.told}


def test_a_recorded_incident_is_told_again(incident: Incident, tmp_path: Path) -> None:
    """A fixture has the alerts that came live; replaying it tells the same, and other rules tell something else."""
    folder = tmp_path / "incident"
    run(rules_command.app, "record", *incident.ids, "--from", "20m", "-o", str(folder))
    alerts = json.loads((folder / "meta.json").read_text("utf-8"))["alerts"]
    for rule_id in incident.ids:
        for status in (AlertStatus.FIRING, AlertStatus.RESOLVED):
            minutes = [each["minute_ms"] for each in alerts if (each["rule_id"], each["status"]) == (rule_id, status)]
            live = [datetime.fromisoformat(each) for each in incident.minutes(rule_id, status)]
            assert minutes == [int(each.timestamp() * 1000) for each in live]
    assert run(rules_command.app, "record", "--run", str(folder)).exit_code == 0
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps({"rules": [RULES[0] | {"condition": "> 99"}]}), "utf-8")
    result = run(rules_command.app, "record", str(other), "--run", str(folder))
    assert (result.exit_code, "- " in result.stdout) == (1, True)


def test_an_alert_is_explained_from_its_events(incident: Incident) -> None:
    """The value of an alert, computed again from raw events, is the same; where they lie in Kafka is said."""
    for rule_id in incident.ids:
        firing = next(each for each in incident.told if (each.rule_id, each.status) == (rule_id, AlertStatus.FIRING))
        said = json.loads(run(alerts_command.app, "explain", firing.fingerprint, "-o", "json").stdout)
        assert "the same" in said["again"]["verdict"]
        assert sum(each["events"] for each in said["offsets"]) >= 1
        shown = run(alerts_command.app, "explain", firing.episode_id).stdout
        assert "firing" in shown
        assert "resolved" in shown


def test_a_rule_is_explained(incident: Incident) -> None:
    """What a rule reads, who changed it, and where its alerts stand."""
    for rule_id in incident.ids:
        shown = run(rules_command.app, "explain", rule_id).stdout
        assert "by test" in shown
        assert "cpu_usage: 1 series" in shown
        assert "resolved since" in shown
