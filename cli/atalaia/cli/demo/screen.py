"""What the demo shows: tables, a plot, and where to look next."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import plotext
from rich.table import Table
from rich.text import Text

from atalaia.cli.demo.incident import Story
from atalaia.cli.demo.verdict import Check
from atalaia.infra.settings import LOOPBACK, Settings
from atalaia.schemas.events import AlertStatus

_PLOT_LINES: Final = 14
_PLOT_COLUMNS: Final = 100
_STYLES: Final = {AlertStatus.FIRING: "bold red", AlertStatus.RESOLVED: "green", AlertStatus.PENDING: "yellow"}


def mark(passed: bool) -> str:
    """A check mark."""
    return "[green]✓[/]" if passed else "[bold red]✗[/]"


def checks(found: list[Check]) -> Table:
    """The verdict, one place a line."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    shown.add_column("", no_wrap=True)
    shown.add_column("purchases", justify="right")
    shown.add_column("USD", justify="right")
    shown.add_column("")
    shown.add_row("", "published for the data set", f"{found[0].expected.purchases:,}", found[0].expected.dollars, "")
    for check in found:
        tally = check.found
        shown.add_row(
            mark(check.passed),
            check.place,
            "-" if tally is None else f"{tally.purchases:,}",
            "-" if tally is None else tally.dollars,
            f"[red]{check.difference}[/]",
        )
    return shown


def revenue(months: list[tuple[datetime, float]], *, columns: int) -> Text:
    """Revenue per month as bars."""
    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(columns, _PLOT_COLUMNS), _PLOT_LINES)
    figure.theme("simple")
    figure.title("Revenue per month, thousand USD (metrics_1mo)")
    figure.draw(figure.bar([f"{start:%b %y}" for start, _ in months], [usd / 1000 for _, usd in months]))
    return Text.from_ansi(str(figure.build()))


def transitions(story: Story) -> Table:
    """What became of the alert, and how soon after its cause."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("published", "alert", "status", "value", "after"):
        shown.add_column(title, justify="right" if title in {"value", "after"} else "left", no_wrap=True)
    for one in story.transitions:
        alert, delay = one.alert, story.delay(one)
        status = f"[{_STYLES[alert.status]}]{alert.status}[/]" if alert.status in _STYLES else alert.status.value
        shown.add_row(
            f"{one.published_at.astimezone():%H:%M:%S.%f}"[:-3],
            f"{alert.rule_name}: {alert.condition}",
            status,
            "-" if alert.value is None else f"{alert.value:.0f} {alert.unit}",
            "" if delay is None else f"{delay.total_seconds():.2f} s",
        )
    return shown


def where_next(settings: Settings, service: str) -> str:
    """URLs, commands and SQL to go on with."""
    metrics = f"http://{LOOPBACK}:"
    places = {
        f"{settings.clickhouse.url}/play": f"SQL in the browser, database {settings.clickhouse.database}",
        f"{settings.registry.url}/subjects": "the schemas",
        f"{metrics}{settings.streams.metrics_port}/metrics": "the stream worker's own metrics",
        f"{metrics}{settings.sinks.metrics_port}/metrics": "the sink's",
        "atalaia tail -f --metric cpu_usage": "this machine, as it comes",
        "atalaia tail alerts": "the transitions above",
        "atalaia lag --watch": "how far the workers are behind",
        "atalaia verify": "Kafka = raw = rollups, window by window",
    }
    width = max(map(len, places))
    lines = [f"  {place:<{width}}  [dim]{what}[/]" for place, what in places.items()]
    return "\n".join(["[bold]Where to look next[/]", *lines, "", *_queries(service)])


def _queries(service: str) -> list[str]:
    return [
        "  SELECT window_start, sum, count FROM metrics_1mo",
        f"  WHERE service_name = '{service}' ORDER BY window_start",
        "",
        "  SELECT window_start, avg, p95, max FROM metrics_1m WHERE metric_name = 'cpu_usage'",
        "  ORDER BY window_start DESC LIMIT 10",
    ]
