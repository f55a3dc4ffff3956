"""History out of ClickHouse, and backtests over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_http import Server
from sink_data import NOW_MS, Schemas, rollup, sent
from typer.testing import CliRunner, Result

from atalaia.alerting.backtest.minutes import Minutes
from atalaia.alerting.backtest.needs import Need
from atalaia.cli.rules import app
from atalaia.infra.errors import UsageFailure
from atalaia.infra.settings import ClickHouseSettings, Settings
from atalaia.schemas.topics import ROLLUPS
from atalaia.schemas.windows import MINUTE_MS
from atalaia.sinks import schema
from atalaia.sinks.batch import cut
from atalaia.sinks.history import History
from atalaia.sinks.loader import Loader
from atalaia.sinks.tables import tables

FIRST_MS = NOW_MS - NOW_MS % MINUTE_MS - 30 * MINUTE_MS
RULE = {"rule_name": "Busy", "metric_name": "cpu", "aggregate": "max", "window": "2m", "condition": "> 90"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An engine with twenty minutes of two series; of one minute there are two versions and two shards."""
    with Server(tmp_path_factory.mktemp("history") / "data") as running:
        settings = Settings(clickhouse=ClickHouseSettings(url=running.url))
        schema.migrate(settings)
        loader = Loader(settings.clickhouse, Schemas(), tables(settings.retention))
        rows = [
            rollup(
                [10.0 if at not in {8, 9, 10} else 95.0 + at],
                metric_name="cpu",
                window_start=FIRST_MS + at * MINUTE_MS,
                service_name=service,
                shard="0-1",
                version=1,
            )
            for at in range(20)
            for service in ("a", "b\n'é")
        ]
        again = {"metric_name": "cpu", "window_start": FIRST_MS, "service_name": "a"}
        rows += [
            rollup([1.0, 2.0, 3.0], shard="0-1", version=2, **again),
            rollup([50.0], shard="0-9", version=9, **again),
        ]
        loader.store(cut(sent(ROLLUPS, *rows)))
        loader.close()
        yield running


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings that find the engine, and a rule file."""
    monkeypatch.setenv("ATALAIA_CLICKHOUSE__URL", server.url)
    monkeypatch.setenv("ATALAIA_HOME", str(tmp_path))
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"rules": [RULE | {"severity": "high"}]}), "utf-8")
    return file


def run(*arguments: str) -> Result:
    """The outcome of a command; its errors are raised."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def _minutes(server: Server, need: Need) -> list[Minutes]:
    history = History(Settings(clickhouse=ClickHouseSettings(url=server.url)))
    span = {"from_ms": FIRST_MS, "to_ms": FIRST_MS + 20 * MINUTE_MS}
    found = history.series(need, **span)
    return [each for several in history.minutes(need, found, **span) for each in several]


def test_the_latest_version_of_each_shard_counts(server: Server) -> None:
    """A minute is the sum of its shards, each as it was last; sketches too."""
    (minutes,) = _minutes(server, Need("cpu", (("service_name", "a"),), 0, with_sketch=True))
    first, *others = minutes.each()
    assert (first.start_ms, first.count, first.sum, first.min, first.max) == (FIRST_MS, 4, 56.0, 1.0, 50.0)
    assert sum(first.sketch.values()) == 4
    assert [each.count for each in others] == [1] * 19


def test_series_are_found_by_any_label(server: Server) -> None:
    """Labels with quotes, newlines and accents are found like others; what nobody has finds nothing."""
    (odd,) = _minutes(server, Need("cpu", (("service_name", "b\n'é"),), 0, with_sketch=False))
    assert odd.series.service_name == "b\n'é"
    assert len(_minutes(server, Need("cpu", (), 0, with_sketch=False))) == 2
    assert _minutes(server, Need("cpu", (("service_name", "x' OR 1"),), 0, with_sketch=False)) == []
    assert _minutes(server, Need("no_such_metric", (), 0, with_sketch=False)) == []


def test_a_backtest_of_a_file(environment: Path) -> None:
    """Each series fires once, for as long as its window holds the high values; Kafka is not needed."""
    result = run("backtest", str(environment), "--from", "1h", "-o", "json")
    (report,) = json.loads(result.stdout)
    assert (report["judged"], len(report["episodes"]), report["minutes_firing"]) == (2, 2, 8.0)
    assert {each["worst"] for each in report["episodes"]} == {105.0}


def test_a_sweep_as_a_table(environment: Path) -> None:
    """A sweep says for each threshold how often, and for how long."""
    lines = run("backtest", str(environment), "--from", "1h", "--sweep", "80..120/20", "--plot").stdout.splitlines()
    rows = [line.split() for line in lines]
    assert ["80", "2", "8"] in rows
    assert ["100", "2", "8"] in rows
    assert ["120", "0", "0"] in rows
    assert any("fired 2 times, 8m in all" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "1h", "--sweep", "9"], "FIRST..LAST/STEP"),
        (["--from", "1h", "--sweep", "1..9000000/1"], "at most 1,000"),
        (["--from", "1m", "--to", "1h"], "is not before"),
    ],
)
def test_what_cannot_be_meant_is_refused(environment: Path, arguments: list[str], said: str) -> None:
    """A span that is none and a sweep that is none are refused with the remedy."""
    with pytest.raises(UsageFailure, match=said):
        run("backtest", str(environment), *arguments)
