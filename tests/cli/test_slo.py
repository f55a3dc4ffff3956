"""`atalaia slo`, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clickhouse_http import Server
from slo_data import fill

from atalaia.infra.local.stack import LocalStack

GOOD = """\
slos:
  - name: errors
    service: api
    objective: 99.5
    sli:
      bad: http_requests{service_name="api", status_class="5xx"}
      total: http_requests{service_name="api"}
"""
SLOTH = """\
version: prometheus/v1
service: shop
slos:
  - name: errors
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(cache_misses[{{.window}}]))
        total_query: sum(rate(cache_hits[{{.window}}]))
"""


def atalaia(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`atalaia slo ARGUMENTS`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ATALAIA_")}
    return subprocess.run(
        [sys.executable, "-m", "atalaia.cli", "slo", *arguments],
        env=clean | {"COLUMNS": "200", "NO_COLOR": "1"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a good objective."""
    path = tmp_path / "slos.yaml"
    path.write_text(GOOD, "utf-8")
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings that find an engine with two days of an API."""
    home = tmp_path_factory.mktemp("slo")
    with Server(home / "data") as running:
        fill(running.url)
        yield {"ATALAIA_CLICKHOUSE__URL": running.url, "ATALAIA_HOME": str(home)}


class TestValidate:
    """Without Kafka."""

    def test_good_objectives(self, file: Path) -> None:
        """Nothing on stdout, the count on stderr, exit 0."""
        done = atalaia("validate", str(file))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "objectives that can be watched: 1; errors: 0; doubts: 0\n"

    def test_errors_have_places(self, file: Path) -> None:
        """One line an error, with file, line and column; exit 1; also as data."""
        file.write_text(GOOD.replace("99.5", "100.5"), "utf-8")
        done = atalaia("validate", str(file))
        assert done.returncode == 1
        assert done.stdout.startswith(f"{file}:4:5: objective is 100.5; it is the share of good events in per cent")
        found = json.loads(atalaia("validate", str(file), "-o", "json").stdout)
        assert (found["slos"], found["problems"][0]["line"], found["problems"][0]["level"]) == (0, 4, "error")

    def test_doubts_are_exit_3(self, file: Path) -> None:
        """A label that no series has is doubtful, not wrong."""
        file.write_text(GOOD.replace("status_class", "status_clas"), "utf-8")
        done = atalaia("validate", str(file))
        assert done.returncode == 3
        assert "'status_clas', which no series of http_requests has" in done.stdout


def test_apply_refuses_a_file_with_an_error_before_it_looks_for_kafka(file: Path) -> None:
    """Nothing of a file with an error is applied."""
    file.write_text(GOOD + "  - name: b\n", "utf-8")
    done = atalaia("apply", str(file))
    assert (done.returncode, done.stderr) == (1, "Nothing was applied.\n")
    assert "objective is missing" in done.stdout


class TestImport:
    """Others' files."""

    def test_what_it_prints_is_valid(self, tmp_path: Path) -> None:
        """As YAML and as JSON."""
        theirs, ours = tmp_path / "sloth.yml", tmp_path / "ours.yaml"
        theirs.write_text(SLOTH, "utf-8")
        for form in ("yaml", "json"):
            done = atalaia("import", str(theirs), "-o", form)
            assert (done.returncode, done.stderr) == (0, "objectives: 1; not understood: 0; left out: 0\n")
            ours.write_text(done.stdout, "utf-8")
            assert atalaia("validate", str(ours)).returncode == 0
        assert yaml.safe_load(ours.read_text("utf-8"))["slos"][0]["sli"] == {
            "bad": "cache_misses",
            "total": "cache_hits",
        }

    def test_what_cannot_be_had_has_its_place(self, tmp_path: Path) -> None:
        """On stderr; what can be had is on stdout all the same; exit 1."""
        theirs = tmp_path / "sloth.yml"
        theirs.write_text(SLOTH + "  - {name: b, objective: 99, sli: {plugin: {id: x}}}\n", "utf-8")
        done = atalaia("import", str(theirs))
        assert done.returncode == 1
        assert f"{theirs}:10:36: plugins run code of Sloth's" in done.stderr
        assert len(yaml.safe_load(done.stdout)["slos"]) == 1


class TestShow:
    """With the real engine: 105 of 48,000 requests failed within 30 days, of 240 that may."""

    def test_the_budget(self, file: Path, environment: dict[str, str]) -> None:
        """Consumed and remaining as a share and as time, how fast it burns, and a bar."""
        done = atalaia("show", "errors", "-f", str(file), environment=environment)
        assert done.returncode == 0, done.stderr
        for said in (
            "99.5 % over 30d: a budget of 0.5 %, or 3.6 h",
            "service_name=api",
            "█" * 22 + "░" * 18 + " 56.2% left",
            "48000, 105 of them bad",
            "43.8% of the budget, or 1.6 h",
            "56.2%, or 2 h",
            "2.00x",
        ):
            assert said in done.stdout

    def test_the_plot(self, file: Path, environment: dict[str, str]) -> None:
        """How the budget was spent, hour by hour."""
        done = atalaia("show", "errors", "-f", str(file), "--plot", environment=environment)
        assert "budget left, %" in done.stdout

    def test_json_for_programs(self, file: Path, environment: dict[str, str]) -> None:
        """Times in seconds."""
        done = atalaia("show", "errors", "-f", str(file), "-o", "json", environment=environment)
        (budget,) = json.loads(done.stdout)["budgets"]
        assert budget["labels"] == {"service_name": "api", "tenant": "default"}
        assert (budget["consumed"], budget["budget_seconds"]) == (pytest.approx(105 / 240), 3.6 * 3600)
        assert [burn["rate"] for burn in budget["burns"]] == [14.4, 6, 3, 1]

    def test_no_events(self, file: Path, environment: dict[str, str]) -> None:
        """Nothing is spent, and that is said."""
        file.write_text(GOOD.replace('"api"', '"other"'), "utf-8")
        done = atalaia("show", "errors", "-f", str(file), environment=environment)
        assert "No events in the last 30d: nothing is spent." in done.stdout

    def test_an_unknown_name(self, file: Path, environment: dict[str, str]) -> None:
        """With those that there are; exit 2."""
        done = atalaia("show", "other", "-f", str(file), environment=environment)
        assert (done.returncode, done.stderr) == (2, "atalaia: there is no objective 'other'; there is errors\n")


@pytest.mark.e2e
def test_the_life_of_an_objective(stack: LocalStack, file: Path) -> None:
    """Planned, applied, applied again, listed, shown, changed, deleted, and then unknown."""

    def slo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return atalaia(*arguments, environment=stack.environment)

    created = "created   slo-errors-page v1  critical\ncreated   slo-errors-ticket v1  medium\n"
    planned = slo("apply", str(file), "--dry-run")
    assert (planned.returncode, planned.stdout) == (0, created)
    assert "errors" not in slo("list").stdout
    assert slo("apply", str(file)).stdout == created
    assert slo("apply", str(file)).stdout == created.replace("created  ", "unchanged")
    assert "99.5 %" in slo("list").stdout
    (listed,) = json.loads(slo("list", "-o", "json").stdout)
    assert (listed["name"], listed["rules"]) == ("errors", ["slo-errors-page", "slo-errors-ticket"])
    assert "nothing is spent" in slo("show", "errors").stdout
    file.write_text(GOOD.replace("99.5", "70"), "utf-8")
    changed = slo("apply", str(file)).stdout
    assert changed == "updated   slo-errors-ticket v2  medium\ndeleted   slo-errors-page\n"
    assert slo("delete", "errors", "--dry-run").stderr == "Would delete: slo-errors-ticket\n"
    assert slo("delete", "errors").returncode == 0
    again = slo("delete", "errors")
    assert (again.returncode, again.stderr) == (
        2,
        "atalaia: there is no objective 'errors'; `atalaia slo list` shows the names\n",
    )
