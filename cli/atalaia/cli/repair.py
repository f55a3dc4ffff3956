"""`atalaia repair`: rollups of a time range made anew from raw events, after a disaster."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from atalaia.cli import context
from atalaia.cli.stack import Output, OutputOption
from atalaia.cli.verify import instant
from atalaia.sinks import repair as rollups

app = typer.Typer()

_EPILOG: Final = """\
Examples:

atalaia repair --from 2026-01-01 --to 2026-01-03 --dry-run    what would change

atalaia repair --from 48h --to 2h --yes                       do it, without asking
"""


@app.command(epilog=_EPILOG)
def repair(
    start: Annotated[str, typer.Option("--from", help="Windows from here on: a date or time (UTC), or 48h.")],
    end: Annotated[str, typer.Option("--to", help="Windows that end by then; an hour ago or earlier.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the rollups of a time range anew from raw events.

    For disasters only: rollups that were deleted or damaged in ClickHouse. Stop the stream workers first. What
    `atalaia verify` says is the reason to do it, and the proof that it worked.
    """
    settings = context.start()
    now = datetime.now(UTC)
    first, after = instant(start, now=now), instant(end, now=now)
    if not dry_run and not yes:
        typer.confirm(f"Replace all rollups from {first:%F %R} to {after:%F %R} UTC?", abort=True, err=True)
    done = rollups.repair(settings, start=first, end=after, dry_run=dry_run)
    if output is Output.JSON:
        typer.echo(json.dumps({"dry_run": dry_run, "granularities": [asdict(each) for each in done]}))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rollups by", "rows before", "rows it would be" if dry_run else "rows now"):
        shown.add_column(title, justify="left" if title == "rollups by" else "right")
    for each in done:
        shown.add_row(each.granularity, f"{each.before:,}", f"{each.after:,}")
    Console().print(shown)
