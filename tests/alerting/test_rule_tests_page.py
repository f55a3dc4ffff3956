"""The example of docs/rule-tests.md does what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from atalaia.alerting import unit_tests

PAGE = Path(__file__).parents[2] / "docs" / "rule-tests.md"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The test of the page, with its rules beside it."""
    rules, test = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rules, "utf-8")
    path = tmp_path / "test.yaml"
    path.write_text(test, "utf-8")
    return path


def test_the_example_passes(example: Path) -> None:
    """Every expectation is met."""
    outcome = unit_tests.run(example)
    assert (outcome.failures, outcome.checked) == ([], 3)


def test_the_example_passes_in_prometheus(example: Path) -> None:
    """It is promtool's format, not one that looks like it."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT CHECKED: there is no promtool here; apt-get install prometheus")
    done = subprocess.run([promtool, "test", "rules", example], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_can_fail(example: Path) -> None:
    """It holds because of its numbers."""
    example.write_text(example.read_text("utf-8").replace("0+100x20", "0+1x20"), "utf-8")
    assert len(unit_tests.run(example).failures) == 2
