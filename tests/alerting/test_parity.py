"""The same rules and series give the same firing times as Prometheus' own `promtool test rules`.

parity/README.md says how the cases are written and where Prometheus and we differ on purpose.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from atalaia.alerting import durations, unit_tests
from atalaia.alerting.unit_tests import notation

FOLDER = Path(__file__).parent / "parity"
AT_LEAST = 40


@dataclass(frozen=True, slots=True)
class Case:
    """Rules, series and when alerts fire; `fields` as in the file."""

    theme: str
    fields: dict[str, Any]

    @property
    def evaluation(self) -> timedelta:
        """How often rules are evaluated."""
        return durations.parse(self.fields.get("evaluation", "1m"))

    def instants(self) -> Iterator[timedelta]:
        """Every evaluation."""
        for index in range(durations.parse(self.fields["until"]) // self.evaluation + 1):
            yield index * self.evaluation

    def write(self, folder: Path) -> Path:
        """The case as promtool's files."""
        rules = {"groups": [{"name": "parity", "rules": self.fields["rules"]}]}
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False), "utf-8")
        given = [{"series": name, "values": str(values)} for name, values in self.fields["series"].items()]
        test = {
            "interval": self.fields.get("interval", "1m"),
            "input_series": given,
            "alert_rule_test": [
                {
                    "eval_time": durations.text(at),
                    "alertname": rule["alert"],
                    "exp_alerts": [{"exp_labels": labels} for labels in self._firing(rule["alert"], at)],
                }
                for rule in self.fields["rules"]
                for at in self.instants()
            ],
        }
        found = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": durations.text(self.evaluation),
            "tests": [test],
        }
        path = folder / "test.yaml"
        path.write_text(yaml.safe_dump(found, sort_keys=False), "utf-8")
        return path

    def _firing(self, alert: str, at: timedelta) -> Iterator[dict[str, str]]:
        for series, spans in (self.fields.get("firing", {}).get(alert) or {}).items():
            if any(first <= at <= last for first, last in map(_span, spans.split(", "))):
                yield notation.series(series)[1]


def _span(text: str) -> tuple[timedelta, timedelta]:
    first, _, last = text.partition(" to ")
    return durations.parse(first), durations.parse(last or first)


def cases() -> list[Case]:
    """Every case of every file."""
    return [
        Case(path.stem, fields)
        for path in sorted(FOLDER.glob("*.yaml"))
        for fields in yaml.safe_load(path.read_text("utf-8"))
    ]


def named(case: Case) -> str:
    """How a case is called in the report."""
    return f"{case.theme}: {case.fields['name']}"


every_case = pytest.mark.parametrize("case", cases(), ids=named)


def test_there_are_enough_cases() -> None:
    """The suite is as large as promised, no name comes twice, and most cases fire at some time."""
    names = [named(case) for case in cases()]
    assert len(names) >= AT_LEAST
    assert len(set(names)) == len(names)
    assert sum(1 for case in cases() if case.fields.get("firing")) >= AT_LEAST


@every_case
def test_ours(case: Case, tmp_path: Path) -> None:
    """At every evaluation exactly the alerts of the case fire."""
    outcome = unit_tests.run(case.write(tmp_path))
    assert not outcome.failures, "\n".join(outcome.failures)
    assert outcome.checked == len(case.fields["rules"]) * len(list(case.instants()))


@every_case
def test_prometheus(case: Case, tmp_path: Path) -> None:
    """So says Prometheus."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("PARITY NOT CHECKED: there is no promtool here; apt-get install prometheus")
    path = case.write(tmp_path)
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, json.dumps(case.fields, indent=2) + done.stdout + done.stderr
