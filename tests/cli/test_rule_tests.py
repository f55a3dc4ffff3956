"""`atalaia rules test`, run as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RULES = "rules: [{name: Hot, metric: cpu_usage, condition: '> 90', severity: P1}]\n"
TEST = """
rule_files: [rules.yaml]
tests:
  - input_series: [{series: 'cpu_usage{job="a"}', values: 95}]
    alert_rule_test: [{eval_time: 0s, alertname: Hot, exp_alerts: [{exp_labels: {job: JOB}}]}]
"""


def rules_test(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`atalaia rules test ARGUMENTS` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "atalaia.cli", "rules", "test", *arguments],
        cwd=folder,
        env={"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rule, a test that it passes and one that it fails."""
    (tmp_path / "rules.yaml").write_text(RULES, "utf-8")
    (tmp_path / "good.yaml").write_text(TEST.replace("JOB", "a"), "utf-8")
    (tmp_path / "bad.yaml").write_text(TEST.replace("JOB", "b"), "utf-8")
    return tmp_path


def test_what_passes(folder: Path) -> None:
    """Nothing on stdout, the count on stderr, exit 0."""
    done = rules_test("good.yaml", folder=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "expectations: 1; failures: 0\n")


def test_what_fails(folder: Path) -> None:
    """What was expected and what came, on stdout; exit 1, whatever else passes."""
    done = rules_test("good.yaml", "bad.yaml", folder=folder)
    assert (done.returncode, done.stderr) == (1, "expectations: 2; failures: 1\n")
    assert done.stdout.splitlines() == [
        "bad.yaml:5: test line 4: alertname: Hot, time: 0s",
        '    - {service_name="b"} annotations {}',
        '    + {service_name="a", severity="high"} annotations {}',
    ]


def test_json(folder: Path) -> None:
    """For programs: each file with its failures."""
    done = rules_test("good.yaml", "bad.yaml", "-o", "json", folder=folder)
    good, bad = json.loads(done.stdout)
    assert (good, bad["file"], len(bad["failures"])) == (
        {"file": "good.yaml", "checked": 1, "failures": []},
        "bad.yaml",
        1,
    )


def test_a_file_that_is_not_there(folder: Path) -> None:
    """Is a failure, not a crash."""
    done = rules_test("none.yaml", folder=folder)
    assert done.returncode == 1
    assert done.stdout.startswith("none.yaml: cannot be read: ")
