"""`atalaia verify`: the proof that Kafka, raw events and rollups agree, with a verdict and an exit code."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from atalaia.cli import context
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import UsageFailure
from atalaia.sinks import evidence
from atalaia.sinks.verify import Comparison, Difference, Partition, Report, Totals, faults

app = typer.Typer()

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MARKS: Final = {True: "[green]✓[/]", False: "[red]✗[/]"}
_SHOWN: Final = 20
"""Differing windows on a terminal; -o json has more."""

_EPILOG: Final = """\
Examples:

atalaia verify                       everything; waits up to 30 s for what is on its way

atalaia verify --wait 0              as it stands at this moment

atalaia verify --from 2026-01-01     windows from then on; also --from 24h

atalaia verify -o json               for programs; the exit code says it too: 0 proved, 1 not
"""


@app.command(epilog=_EPILOG)
def verify(
    start: Annotated[str | None, typer.Option("--from", help="Compare windows from here on: a date, or 24h.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Compare windows that end by then.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for what is in Kafka to come through.", min=0)] = 30,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that every event is stored once, and that rollups equal raw events.

    Kafka = raw + dead letters + lag, per partition; no row twice; count, sum, min and max of every window of every
    series the same in raw and rollups (sums within 1e-9 of the values' magnitudes). It works beside a running load:
    it judges what was in Kafka when it began.
    """
    settings = context.start()
    now = datetime.now(UTC)
    first = None if start is None else instant(start, now=now)
    after = None if end is None else instant(end, now=now)
    with Console(stderr=True).status("comparing Kafka, raw and rollups"):
        report = evidence.gather(settings, start=first, end=after, wait=timedelta(seconds=wait))
    found = faults(report)
    if output is Output.JSON:
        typer.echo(json.dumps({"proved": not found, "faults": found, **asdict(report)}, default=str))
    else:
        show(report, Console())
    raise typer.Exit(1 if found else 0)


def instant(text: str, *, now: datetime) -> datetime:
    """A point in time as people give it: a date or time (UTC unless it says otherwise), or a span before now.

    >>> instant("90m", now=datetime(2026, 1, 1, 12, 0, tzinfo=UTC)).isoformat()
    '2026-01-01T10:30:00+00:00'
    >>> instant("2026-01-02", now=datetime.now(UTC)).isoformat()
    '2026-01-02T00:00:00+00:00'
    """
    if (span := re.fullmatch(r"(\d+)([smhd])", text)) is not None:
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageFailure(f"{text!r} is no time; write 2026-01-31, 2026-01-31T12:00 or, for before now, 24h") from exc
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def show(report: Report, console: Console) -> None:
    """The report for people: what was counted, what differs, and the verdict."""
    console.print(_partitions(report.partitions))
    console.print()
    console.print(_comparisons(report.comparisons))
    examples = [_difference(each.granularity, one) for each in report.comparisons for one in each.examples]
    for line in examples[:_SHOWN]:
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    for partition in report.partitions:
        for first, last in partition.gaps:
            console.print(
                f"partition {partition.number}: offsets {first} to {last} are nowhere", style="red", highlight=False
            )
    if report.repeated_event_ids:
        console.print(f"\n{report.repeated_event_ids:,} events have an id that another has: sent twice, or replayed.")
    console.print()
    found = faults(report)
    for fault in found:
        console.print(f"[red]✗[/] {fault}", highlight=False)
    if not found:
        console.print(
            f"[bold green]✓ proved[/] in {report.seconds:.1f} s: each record is stored once, rollups equal raw"
        )


def _partitions(partitions: tuple[Partition, ...]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "partition", "in Kafka", "raw", "dead letters", "lag", "lost", "twice"):
        shown.add_column(title, justify="left" if title == "" else "right")
    for each in partitions:
        good = each.unaccounted == 0 and each.twice == 0
        counts = (each.end - each.begin, each.offsets, each.dead_letters, each.lag, each.unaccounted, each.twice)
        shown.add_row(_MARKS[good], str(each.number), *(f"{count:,}" for count in counts))
    return shown


def _comparisons(comparisons: tuple[Comparison, ...]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "rollups by", "windows", "events", "different", ""):
        shown.add_column(title, justify="left" if title in {"", "rollups by"} else "right")
    for each in comparisons:
        counts = (each.windows, each.events, each.different)
        scope = "" if each.all_events else "windows whose raw events are within retention"
        shown.add_row(
            _MARKS[not each.different], each.granularity, *(f"{count:,}" for count in counts), f"[dim]{scope}[/]"
        )
    return shown


def _difference(granularity: str, each: Difference) -> str:
    series = " ".join(value for name, value in each.labels.items() if name not in {"tenant", "unit", "frequency"})
    said = [f"raw {_numbers(each.raw)}; rollup {_numbers(each.rollup)}"] if each.raw != each.rollup else []
    said += [f"{each.missing:,} events are not in the rollup"] if each.missing else []
    where = f"{granularity} {each.window_start:%Y-%m-%d %H:%M} {series} (partition {each.partition})"
    return f"{where}: {', '.join(said)}"


def _numbers(totals: Totals) -> str:
    """Count, sum, least and most.

    >>> _numbers(Totals(2, 3.5, 1.0, 2.5)), _numbers(Totals(0, 0.0, None, None))
    ('2 events, sum 3.5, min 1, max 2.5', 'nothing')
    """
    if not totals.count:
        return "nothing"
    return f"{totals.count:,} events, sum {totals.sum:,.12g}, min {totals.min:,.12g}, max {totals.max:,.12g}"
