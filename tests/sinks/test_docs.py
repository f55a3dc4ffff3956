"""The SQL page: what it shows runs, and what it lists is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from clickhouse_connect.driver.client import Client
from sink_data import NOW_MS, rollup, sent

from atalaia.schemas.topics import ROLLUPS
from atalaia.sinks.batch import cut
from atalaia.sinks.loader import Loader

PAGE: Final = (Path(__file__).parents[2] / "docs" / "sql.md").read_text("utf-8")
STATEMENTS: Final = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for statement in block.split(";\n")
    if statement.strip()
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_examples_run(client: Client, statement: str) -> None:
    """Every example on the page is valid."""
    client.query(statement.rstrip(";"))


@pytest.mark.parametrize("name", ["metrics", "alerts", "services", "metrics_1m"])
def test_columns_are_those_of_the_view(client: Client, name: str) -> None:
    """Every column of a view is on the page, in the paragraph that lists them."""
    paragraph = next(each for each in PAGE.split("\n\n") if each.startswith(f"`{name}`") and " ha" in each)
    for column, *_ in client.query(f"DESCRIBE TABLE {name}").result_rows:
        assert f"`{column}`" in paragraph


def test_a_percentile_over_several_windows(loader: Loader, client: Client) -> None:
    """The page's percentile over several windows is within 1 % of the exact one."""
    hour = NOW_MS - NOW_MS % 3_600_000
    rows = [
        rollup(
            [float(value) for value in range(start, 1001, 10)],
            granularity="hour",
            window_start=hour - 3_600_000 * (start % 3),
            service_name=f"service-{start}",
        )
        for start in range(1, 11)
    ]
    loader.store(cut(sent(ROLLUPS, *rows)))
    (statement,) = (each for each in STATEMENTS if "quantileExactWeighted" in each)
    ((p95,),) = client.query(statement.rstrip(";")).result_rows
    assert p95 == pytest.approx(950, rel=0.01)
