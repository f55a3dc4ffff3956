"""`atalaia down`, `status`, `logs`, `doctor`, `reset`: the embedded stack once it runs, or won't."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.cli import view
from atalaia.infra import settings as configuration
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.local import doctor as examination
from atalaia.infra.local import logfiles, record, state
from atalaia.infra.local.doctor import Finding, Verdict
from atalaia.infra.local.record import Record
from atalaia.infra.local.supervisor import clean_up
from atalaia.infra.settings import Settings, SettingsError

app = typer.Typer()

_STOP_SECONDS: Final = 90.0
"""Longer than the supervisor's own deadlines for all components together."""
_POLL_SECONDS: Final = 0.2


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table for people, json for programs.")]


@app.command()
def down() -> None:
    """Stop what `atalaia up` started.

    Workers first, Kafka last; returns when no process is left. Also ends what a killed supervisor left behind.
    """
    home = configuration.load().home
    found = record.read(_state_file(home))
    if found is None or not found.alive:
        left = clean_up(_state_file(home))
        typer.echo(f"Ended {left} processes of an earlier run." if left else "Nothing is running.", err=True)
        return
    supervisor = (found.pid, found.created)
    record.signal_process(*supervisor, signal.SIGTERM)
    with Console(stderr=True).status("stopping"):
        stopped = record.await_end([supervisor], within_seconds=_STOP_SECONDS)
    if stopped:
        typer.echo("Stopped.", err=True)
        return
    record.signal_process(*supervisor, signal.SIGKILL)
    record.await_end([supervisor], within_seconds=_STOP_SECONDS)
    clean_up(_state_file(home))
    typer.echo("The supervisor did not stop in time: killed, and its processes with it.", err=True)


@app.command()
def status(output: OutputOption = Output.TABLE) -> None:
    """Show each component: state, port, uptime, restarts, memory.

    Exit code 0 when the stack runs, 1 when it doesn't.
    """
    settings = configuration.load()
    found = record.read(_state_file(settings.home))
    if found is None or not found.alive:
        _print_not_running(settings.home, found, output)
        raise typer.Exit(1)
    now = time.time()
    if output is Output.JSON:
        typer.echo(json.dumps(_described(found, settings.home, now=now), indent=2))
        return
    console = Console()
    console.print(view.table(found, now=now))
    console.print("\n".join(view.endpoint_lines(found)), highlight=False, soft_wrap=True)
    for event in found.events[-5:]:
        console.print(f"  {view.clock(event.at)} {event.text}", style="dim", highlight=False, markup=False)


@app.command()
def logs(
    component: Annotated[str | None, typer.Argument(help="kafka, registry, clickhouse, a worker, supervisor.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come; Ctrl-C ends it.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last lines.", min=0)] = 50,
) -> None:
    """Print the components' logs.

    Without a component all of them, each line with its component's name. On a terminal JSON lines are shortened;
    a pipe gets them whole.
    """
    folder = configuration.load().home / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if component is not None and component not in known:
        there = f"there are {', '.join(known)}" if known else "nothing has run here yet: `atalaia up`"
        raise UsageFailure(f"logs {component}: no such log; {there}")
    names = known if component is None else [component]
    labels = {name: "" if component else f"{name:<{max(map(len, known))}} | " for name in names}
    followers = {name: logfiles.Follower(logfiles.path_of(folder, name)) for name in names if follow}
    shown = view.log_line if sys.stdout.isatty() else str
    for name in names:
        for line in logfiles.tail(logfiles.path_of(folder, name), lines):
            typer.echo(labels[name] + shown(line))
    try:
        while followers:
            fresh = [labels[name] + shown(line) for name, follower in followers.items() for line in follower.poll()]
            for line in fresh:
                typer.echo(line)
            if not fresh:
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return


@app.command()
def doctor(output: OutputOption = Output.TABLE) -> None:
    """Look for what would keep the stack from running, with the remedy.

    Exit code 1 when there is a problem.
    """
    findings = _findings()
    if output is Output.JSON:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _print_findings(findings)
    if any(finding.verdict is Verdict.PROBLEM for finding in findings):
        raise typer.Exit(1)


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
) -> None:
    """Destroy the stack's state: topics, tables, schemas, logs.

    The downloaded Kafka stays: it is not state.
    """
    home = configuration.load().home
    found = record.read(_state_file(home))
    if found is not None and found.alive:
        raise Failure(f"the stack in {home} is running (pid {found.pid}): `atalaia down` first")
    going = state.present(home)
    if not going:
        typer.echo(f"Nothing to remove in {home}.", err=True)
        return
    for path in going:
        typer.echo(f"{path}  {view.mebibytes(state.size_bytes(path))}")
    if dry_run:
        return
    if not yes:
        typer.confirm("Remove all of it for good?", abort=True, err=True)
    clean_up(_state_file(home))
    state.remove(home)
    typer.echo("Removed.", err=True)


def _state_file(home: Path) -> Path:
    return home / "run" / "state.json"


def _print_not_running(home: Path, found: Record | None, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps({"running": False, "home": str(home.absolute())}, indent=2))
        return
    typer.echo("Not running. `atalaia up` starts the stack.")
    if found is not None and found.failure:
        typer.echo(f"The last start failed: {found.failure}")
    elif found is not None and record.left_behind(found):
        typer.echo("A killed supervisor left processes behind: `atalaia down` ends them.")


def _described(found: Record, home: Path, *, now: float) -> dict[str, object]:
    return {
        "running": True,
        "phase": found.phase,
        "home": str(home.absolute()),
        "endpoints": view.endpoints(found.ports, {status.name for status in found.components}),
        "components": [dataclasses.asdict(row) for row in view.rows(found, now=now)],
        "steps": [dataclasses.asdict(step) for step in found.steps],
        "events": [dataclasses.asdict(event) for event in found.events],
    }


def _findings() -> list[Finding]:
    try:
        settings = configuration.load()
    except SettingsError as exc:
        defaults = Settings.model_construct()
        wrong = "; ".join(str(exc).splitlines())
        remedy = "correct the variable or atalaia.toml"
        return [Finding("settings", Verdict.PROBLEM, wrong, remedy), *examination.examine(defaults)]
    return [Finding("settings", Verdict.OK, "valid"), *examination.examine(settings)]


def _print_findings(findings: list[Finding]) -> None:
    marks = {Verdict.OK: "[green]✓[/]", Verdict.WARNING: "[yellow]![/]", Verdict.PROBLEM: "[red]✗[/]"}
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for finding in findings:
        detail = escape(finding.detail)
        if finding.remedy:
            detail += f"\n[dim]→ {escape(finding.remedy)}[/]"
        shown.add_row(marks[finding.verdict], finding.name, detail)
    Console().print(shown, highlight=False)
