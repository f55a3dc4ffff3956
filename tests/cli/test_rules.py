"""`atalaia rules` and `atalaia alerts`, run as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest
from confluent_kafka import Producer

from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.events import record
from atalaia.alerting.local.buckets import minutes_of
from atalaia.alerting.local.judge import Judge
from atalaia.alerting.writing.document import from_document
from atalaia.infra.local.stack import LocalStack
from atalaia.schemas import codec
from atalaia.schemas.registry import Registry
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.topics import ALERTS

GOOD = "rules:\n  - {name: Busy box, metric: cpu_usage, condition: '> 90', severity: P1}\n"


def atalaia(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`atalaia ARGUMENTS`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ATALAIA_")}
    return subprocess.run(
        [sys.executable, "-m", "atalaia.cli", *arguments],
        env=clean | {"COLUMNS": "200", "NO_COLOR": "1"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good rule file."""
    path = tmp_path / "rules.yaml"
    path.write_text(GOOD, "utf-8")
    return path


class TestValidate:
    """Without Kafka."""

    def test_good_rules(self, file: Path) -> None:
        """Nothing on stdout, the count on stderr, exit 0."""
        done = atalaia("rules", "validate", str(file))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "rules that can be judged: 1; errors: 0; doubts: 0\n"

    def test_errors_have_places(self, file: Path) -> None:
        """One line an error, with file, line and column; exit 1."""
        file.write_text(GOOD + "  - {name: B, metric: conversion_rate, aggregate: max, window: 1h}\n", "utf-8")
        done = atalaia("rules", "validate", str(file), str(file.parent / "missing.yaml"))
        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            f"{file.parent}/missing.yaml:1:1: cannot be read: No such file or directory",
            f"{file}:3:5: condition is missing; compare with a number, as in '> 5', or give absent_for",
        ]

    def test_doubts_are_exit_3(self, file: Path) -> None:
        """A metric that nobody knows is doubtful, not wrong."""
        file.write_text(GOOD.replace("cpu_usage", "cpu_usge"), "utf-8")
        done = atalaia("rules", "validate", str(file))
        assert done.returncode == 3
        assert done.stdout == (
            f"{file}:2:22: metric is 'cpu_usge', which the catalogue does not know; did you mean cpu_usage?\n"
        )

    def test_json_for_programs(self, file: Path) -> None:
        """The same as data."""
        file.write_text(GOOD.replace("P1", "P9"), "utf-8")
        done = atalaia("rules", "validate", str(file), "-o", "json")
        found = json.loads(done.stdout)
        assert (found["rules"], found["problems"][0]["line"], found["problems"][0]["level"]) == (0, 2, "error")


def test_apply_refuses_a_file_with_an_error_before_it_looks_for_kafka(file: Path) -> None:
    """Nothing of a file with an error is applied."""
    file.write_text(GOOD + "  - {name: B}\n", "utf-8")
    done = atalaia("rules", "apply", str(file))
    assert (done.returncode, done.stderr) == (1, "Nothing was applied.\n")
    assert "metric is missing" in done.stdout


@pytest.mark.e2e
class TestOnTheStack:
    """With a running Kafka."""

    @pytest.fixture(autouse=True)
    def clean(self, stack: LocalStack) -> Iterator[None]:
        """The rule that these tests apply goes away again."""
        yield
        atalaia("rules", "delete", "busy-box", environment=stack.environment)

    def test_the_life_of_a_rule(self, stack: LocalStack, file: Path) -> None:
        """Planned, applied, listed, applied again, deleted, and then unknown."""

        def rules(*arguments: str) -> subprocess.CompletedProcess[str]:
            return atalaia("rules", *arguments, environment=stack.environment)

        planned = rules("apply", str(file), "--dry-run")
        assert (planned.returncode, planned.stdout) == (0, "created   busy-box v1  cpu_usage > 90 %\n")
        assert "busy-box" not in rules("list").stdout
        assert rules("apply", str(file)).stdout == "created   busy-box v1  cpu_usage > 90 %\n"
        assert rules("apply", str(file)).stdout.startswith("unchanged busy-box v1")
        file.write_text(GOOD.replace("90", "95"), "utf-8")
        assert rules("apply", str(file)).stdout.startswith("updated   busy-box v2")
        listed = {rule["id"]: rule for rule in json.loads(rules("list", "-o", "json").stdout)}
        assert (listed["busy-box"]["threshold"], listed["slow-api"]["source"]) == (95.0, "installed")
        table = rules("list").stdout
        assert all(rule.rule_id in table for rule in builtin_rules())
        assert "busy-box" in rules("delete", "busy-box", "--dry-run").stderr
        assert rules("delete", "busy-box").returncode == 0
        again = rules("delete", "busy-box")
        assert again.returncode == 2
        assert again.stderr.endswith("atalaia: there is no rule 'busy-box'; `atalaia rules list` shows the ids\n")

    def test_alerts_are_followed(self, stack: LocalStack) -> None:
        """The last transitions, those asked for only, as lines and as JSON."""
        rule = from_document({"name": "Followed", "metric": "cpu_usage", "condition": "> 90", "severity": "critical"})
        series = SeriesKey("default", "cpu_usage", "web", None, None, "%", "real_time")
        judge, now_ms = Judge([rule]), int(time() * 1000)
        with Registry(stack.settings.registry.url) as registry:
            schema_id = registry.id_of(ALERTS)
        producer = Producer({"bootstrap.servers": stack.settings.kafka.bootstrap_servers})
        for at_ms, value in ((now_ms, 95.0), (now_ms + 1, 5.0)):
            judge.observe(b"k", series, minutes_of([(at_ms, value)])[0], at_ms)
            for transition in judge.judge(at_ms):
                body = codec.frame(schema_id, codec.encode("AlertEvent", record(transition)))
                producer.produce(ALERTS.name, key=transition.fingerprint, value=body)
        producer.produce(ALERTS.name, key=b"k", value=b"junk")
        assert producer.flush(20) == 0

        def tail(*arguments: str) -> list[str]:
            done = atalaia("alerts", "tail", "--no-follow", *arguments, environment=stack.environment)
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        fired, resolved = tail("--rule", "followed")
        assert "firing" in fired
        assert "95 %, cpu_usage > 90 %" in fired
        assert "resolved" in resolved
        (only,) = tail("--rule", "Followed", "--status", "resolved", "--severity", "critical", "-o", "json")
        assert (json.loads(only)["status"], json.loads(only)["value"]) == ("resolved", 5.0)
        assert any("not_framed" in line for line in tail("-n", "100"))
