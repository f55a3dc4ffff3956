"""`atalaia query`: SQL, or just a metric's name, answered as a table, a plot, JSON or CSV."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, BinaryIO, Final, cast

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.cli import context
from atalaia.cli.plot import plot as drawn
from atalaia.infra import clickhouse
from atalaia.infra.errors import Failure, UsageFailure

app = typer.Typer()


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


_FORMATS: Final = {Form.JSON: "JSONEachRow", Form.CSV: "CSVWithNames"}

_WIDEST: Final = 10_000
"""Characters of a line: files and pipes have no width."""

_EPILOG: Final = """\
Examples:

atalaia query revenue_daily --plot                 a metric's latest windows, drawn

atalaia query cpu_usage --since 7d                 how far back; picks windows of fitting length

atalaia query "SELECT * FROM services"             any SQL; the tables are in docs/sql.md

atalaia query "SELECT ..." -o csv > out.csv        csv or json, streamed

echo "SELECT 1" | atalaia query -                  SQL from stdin
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A view, and how far back it is looked at."""

    view: str
    days: float


_LADDER: Final = (
    Span("metrics_1m", 1 / 8),
    Span("metrics_1h", 7),
    Span("metrics_1d", 180),
    Span("metrics_1mo", 5 * 366),
)
"""Tried from the finest on for a metric whose span isn't said: 180 minutes, 168 hours, 180 days, 60 months."""

_OF_A_METRIC: Final = """
    SELECT w.window_start AS window_start, sum(w.count) AS count, sum(w.sum) AS sum, sum(w.sum) / sum(w.count) AS avg,
        min(w.min) AS min, max(w.max) AS max, min(w.completeness) AS completeness
    FROM {view:Identifier} AS w
    WHERE w.metric_name = {metric:String} AND w.window_start > now() - {seconds:UInt64}
    GROUP BY w.window_start ORDER BY w.window_start
"""

_NAMES: Final = "those that there are: atalaia query 'SELECT DISTINCT metric_name FROM metrics_1mo'"


@app.command(epilog=_EPILOG)
def query(
    what: Annotated[str, typer.Argument(metavar="SQL|METRIC", help="SQL, a metric's name, or - for SQL from stdin.")],
    plot: Annotated[bool, typer.Option("--plot", help="Draw it: first column across, numeric columns up.")] = False,
    since: Annotated[str | None, typer.Option(help="For a metric: how far back, like 3h or 30d.")] = None,
    output: Annotated[Form, typer.Option("-o", "--output", help="table, json or csv.")] = Form.TABLE,
) -> None:
    """Ask ClickHouse. Times are UTC."""
    settings = context.start()
    text = sys.stdin.read() if what == "-" else what
    if not text.strip():
        raise UsageFailure("no SQL given; try: atalaia query 'SELECT * FROM services'")
    client = clickhouse.connect(settings.clickhouse)
    with clickhouse.errors(settings.clickhouse):
        sql, parameters = _question(client, text.strip().rstrip(";"), since)
        if plot:
            found = client.query(sql, parameters=parameters)
            columns = shutil.get_terminal_size().columns
            Console().print(drawn(found.column_names, found.result_rows, columns=columns))
        elif output is not Form.TABLE:
            _stream(client, sql, parameters, _FORMATS[output])
        elif re.search(r"\bFORMAT\s+\w+$", sql, re.IGNORECASE):
            _stream(client, sql, parameters, None)
        else:
            found = client.query(sql, parameters=parameters)
            show(found.column_names, found.result_rows, Console())


def _question(client: Client, text: str, since: str | None) -> tuple[str, dict[str, Any]]:
    """The SQL and its parameters; a lone word is a metric."""
    if re.fullmatch(r"[\w.:-]+", text) is None:
        if since is not None:
            raise UsageFailure(
                "--since goes with a metric's name; in SQL say WHERE window_start > now() - INTERVAL 3 HOUR"
            )
        return text, {}
    sparse: dict[str, Any] = {}
    for span in [_span(since)] if since is not None else _LADDER:
        parameters = {"view": span.view, "metric": text, "seconds": int(span.days * 86_400)}
        windows = len(client.query(_OF_A_METRIC, parameters=parameters).result_rows)
        if windows > 1:
            return _OF_A_METRIC, parameters
        if windows and not sparse:
            sparse = parameters
    if not sparse:
        when = f" in the last {since}" if since else ""
        raise Failure(f"no windows of a metric {text!r}{when}; {_NAMES}")
    return _OF_A_METRIC, sparse


def _span(since: str) -> Span:
    """The view whose windows suit a span: some hundred of them at most.

    >>> _span("36h")
    Span(view='metrics_1h', days=1.5)
    """
    found = re.fullmatch(r"(\d+)([mhd])", since)
    if found is None:
        raise UsageFailure(f"--since {since}: write a number and m, h or d, like 90m, 36h or 30d")
    days = int(found[1]) * {"m": 1 / 1440, "h": 1 / 24, "d": 1.0}[found[2]]
    return Span(next((span.view for span in _LADDER if days <= span.days), _LADDER[-1].view), days)


def show(names: Sequence[str], rows: Sequence[Sequence[Any]], console: Console) -> None:
    """The rows as a table, numbers to the right; where it is too wide for the terminal, a block of lines a row."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        numeric = any(isinstance(row[at], int | float) for row in rows)
        shown.add_column(escape(name), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(escape(cell(value)) for value in row))
    wide = Console(width=_WIDEST, force_terminal=console.is_terminal)
    if not console.is_terminal or wide.measure(shown).maximum <= console.width:
        wide.print(shown, crop=False)
    else:
        margin = max(map(len, names))
        for number, row in enumerate(rows, 1):
            console.print(f"row {number}", style="bold", highlight=False)
            for name, value in zip(names, row, strict=True):
                line = f"  {name:<{margin}}  {cell(value)}"
                console.print(line, highlight=False, markup=False, soft_wrap=True)
    typer.echo(f"{len(rows):,} rows" if len(rows) != 1 else "1 row", err=True)


def cell(value: Any) -> str:
    """A value as people read it.

    >>> cell(1234567), cell(2500315.63), cell(None), cell(datetime(2026, 1, 2, 3, 4))
    ('1,234,567', '2,500,315.63', '-', '2026-01-02 03:04:00')
    """
    match value:
        case None:
            text = "-"
        case bool():
            text = str(value).lower()
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:,.10g}"
        case datetime():
            text = value.replace(tzinfo=None).isoformat(" ", "milliseconds" if value.microsecond else "seconds")
        case bytes():
            text = value.hex()
        case dict():
            text = ", ".join(f"{name}={cell(one)}" for name, one in value.items())
        case _:
            text = str(value)
    return text


def _stream(client: Client, sql: str, parameters: dict[str, Any], form: str | None) -> None:
    """ClickHouse's own bytes to stdout, as they come: JSON as one array of objects."""
    settings = {"output_format_json_array_of_rows": 1} if form == _FORMATS[Form.JSON] else {}
    stream = client.raw_stream(sql, parameters=parameters, fmt=form, settings=settings)
    shutil.copyfileobj(cast("BinaryIO", stream), sys.stdout.buffer)
    sys.stdout.buffer.flush()
