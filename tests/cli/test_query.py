"""`atalaia query` against the real engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_http import Server
from sink_data import NOW_MS, Schemas, rollup, sent
from typer.testing import CliRunner, Result

from atalaia.cli.plot import plot
from atalaia.cli.query import app
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import ClickHouseSettings, Settings
from atalaia.schemas.topics import ROLLUPS
from atalaia.sinks import schema
from atalaia.sinks.batch import cut
from atalaia.sinks.loader import Loader
from atalaia.sinks.tables import tables


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An engine with ten minutes of one metric."""
    with Server(tmp_path_factory.mktemp("query") / "data") as running:
        settings = Settings(clickhouse=ClickHouseSettings(url=running.url))
        schema.migrate(settings)
        loader = Loader(settings.clickhouse, Schemas(), tables(settings.retention))
        minute = NOW_MS - NOW_MS % 60_000 - 1_200_000
        rows = [
            rollup([float(at), 100.0], metric_name="cpu", window_start=minute + at * 60_000, service_name=service)
            for at in range(10)
            for service in ("a", "b")
        ]
        loader.store(cut(sent(ROLLUPS, *rows)))
        loader.close()
        yield running


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings that find the engine."""
    monkeypatch.setenv("ATALAIA_CLICKHOUSE__URL", server.url)
    monkeypatch.setenv("ATALAIA_HOME", str(tmp_path))


def run(*arguments: str, stdin: str | None = None) -> Result:
    """The outcome of a command; its errors are raised."""
    return CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)


def test_sql_as_a_table() -> None:
    """Rows come as a table on stdout, and how many there were on stderr."""
    result = run("SELECT number AS n, 'x' || toString(number) AS name FROM numbers(2)")
    assert result.stdout.split() == ["n", "name", "0", "x0", "1", "x1"]
    assert result.stderr.strip() == "2 rows"


def test_json_is_an_array_of_objects() -> None:
    """JSON is one array, whatever the number of rows."""
    result = run("SELECT number AS n FROM numbers(3)", "-o", "json")
    assert json.loads(result.stdout) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_csv_has_a_head() -> None:
    """CSV begins with the names of the columns."""
    result = run("-", "-o", "csv", stdin="SELECT 1 AS a, 'b,c' AS b")
    assert result.stdout.splitlines() == ['"a","b"', '1,"b,c"']


def test_a_format_of_ones_own() -> None:
    """SQL that names a FORMAT is answered in it."""
    assert run("SELECT 1 AS a FORMAT JSONCompactEachRow").stdout == "[1]\n"


def test_a_metric_by_its_name() -> None:
    """A metric's name gives its latest windows, all its series together."""
    rows = json.loads(run("cpu", "-o", "json").stdout)
    assert [row["count"] for row in rows] == [4] * 10
    assert rows[-1]["max"] == 100


def test_a_metric_over_a_span() -> None:
    """A longer span is answered with longer windows, of which there may be none."""
    with pytest.raises(Failure, match="no windows of a metric 'cpu' in the last 30d"):
        run("cpu", "--since", "30d")


def test_a_metric_that_is_not_there() -> None:
    """An unknown metric is one line that says how to find the names."""
    with pytest.raises(Failure, match="SELECT DISTINCT metric_name"):
        run("nope")


def test_wrong_sql_is_one_line() -> None:
    """An error of ClickHouse is said in its own words, without what surrounds them."""
    with pytest.raises(Failure) as caught:
        run("SELECT nope FROM metrics")
    assert "nope" in str(caught.value)
    assert "UNKNOWN_IDENTIFIER" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "for url" not in str(caught.value)


@pytest.mark.parametrize("arguments", [["-"], ["SELECT 1", "--since", "3h"], ["cpu", "--since", "soon"]])
def test_usage(arguments: list[str]) -> None:
    """What makes no sense is refused with what would."""
    with pytest.raises(UsageFailure):
        run(*arguments, stdin="")


def test_a_plot_of_a_metric() -> None:
    """--plot draws the numbers over time, with the hours below."""
    drawn = run("cpu", "--plot").stdout
    assert "max" in drawn
    assert re.search(r"\b\d\d:\d\d\b", drawn)


def test_a_plot_of_names() -> None:
    """Names are drawn as bars."""
    drawn = plot(["service", "requests"], [("search", 3), ("checkout", 5)], columns=80).plain
    assert "search" in drawn
    assert "█" in drawn


@pytest.mark.parametrize("rows", [[], [("a", "b")]])
def test_nothing_to_plot(rows: list[tuple[str, str]]) -> None:
    """Without rows, or without numbers, there is nothing to draw, and it says so."""
    with pytest.raises(UsageFailure, match=r"nothing to plot|numeric"):
        plot(["one", "two"], rows, columns=80)
