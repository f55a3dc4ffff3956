"""`atalaia rules`: check rule files, put rules in force, list them, take them away."""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.alerting import publishing
from atalaia.alerting.builtin import builtin_rules
from atalaia.alerting.publishing import Applied, Change
from atalaia.alerting.rules import Rule, condition_text
from atalaia.alerting.store import RuleStore, Stored
from atalaia.alerting.writing.document import to_document
from atalaia.alerting.writing.lint import lint
from atalaia.alerting.writing.loader import Loaded, Problem, load_files
from atalaia.cli import context, rule_tests, rules_backtest, rules_explain, rules_record
from atalaia.cli.stack import Output, OutputOption
from atalaia.schemas.events import Severity

EXIT_PROBLEMS: Final = 1
EXIT_DOUBTS: Final = 3

_EPILOG: Final = """\
Examples:

atalaia rules validate rules/*.yaml    what is wrong, with file, line and column

atalaia rules test tests/*.yaml        what must fire when, from which series; promtool's format

atalaia rules backtest shop.yaml       when they would have fired, on the history that there is

atalaia rules record --run incident    whether the alerts of a recorded incident still come out

atalaia rules explain slow-api         what it means, reads, and says now

atalaia rules apply rules/shop.yaml    put its rules in force, everywhere, within seconds

atalaia rules list                     what is judged now, and where each rule comes from

atalaia rules delete cpu-busy          take a rule away; its alerts resolve
"""

app = typer.Typer(
    epilog=_EPILOG, no_args_is_help=True, help="Alert rules: check, test, try on the past, put in force, explain."
)
app.command("test")(rule_tests.run_tests)
app.command("backtest", epilog=rules_backtest.EPILOG)(rules_backtest.backtest)
app.command("record", epilog=rules_record.EPILOG)(rules_record.record)
app.command("explain", epilog=rules_explain.EPILOG)(rules_explain.explain)

FilesArgument = Annotated[list[Path], typer.Argument(help="Rule files: YAML, or JSON.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

_SEVERITY_STYLES: Final = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
}
_CHANGE_STYLES: Final = {Change.CREATED: "green", Change.UPDATED: "yellow", Change.UNCHANGED: "dim"}


@app.command()
def validate(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Check rule files without putting anything in force; needs no Kafka.

    Exit code 1 where a rule cannot be judged, 3 where all can but one is most likely not meant so.
    """
    loaded = load_files(files)
    doubts = doubts_of(loaded)
    if output is Output.JSON:
        found = [("error", problem) for problem in loaded.problems] + [("doubt", doubt) for doubt in doubts]
        problems = [asdict(problem) | {"level": level} for level, problem in found]
        typer.echo(json.dumps({"rules": len(loaded.rules), "problems": problems}, ensure_ascii=False, indent=2))
    else:
        _print_problems(loaded.problems, doubts)
    good, bad = len(loaded.rules), len(loaded.problems)
    typer.echo(f"rules that can be judged: {good:,}; errors: {bad:,}; doubts: {len(doubts):,}", err=True)
    if bad or doubts:
        raise typer.Exit(EXIT_PROBLEMS if bad else EXIT_DOUBTS)


@app.command()
def apply(files: FilesArgument, dry_run: DryRunOption = False, output: OutputOption = Output.TABLE) -> None:
    """Put the rules of files in force: all of them, or, where one has an error, none.

    A rule that says nothing new is left alone; others count one version on. Rules that no file names stay.
    """
    loaded = load_files(files)
    if loaded.problems:
        _print_problems(loaded.problems, [])
        typer.echo("Nothing was applied.", err=True)
        raise typer.Exit(EXIT_PROBLEMS)
    settings = context.start()
    if dry_run:
        with RuleStore(settings) as store:
            applied = publishing.plan(loaded.rules, store.rules())
    else:
        now_ms = time.time_ns() // 1_000_000
        applied = publishing.publish(settings, loaded.rules, by=getpass.getuser(), at_ms=now_ms)
    _print_applied(applied, output)
    if dry_run:
        typer.echo("Nothing was applied: --dry-run.", err=True)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the rules in force: installed ones, those of configured files, and those on the rules topic."""
    settings = context.start()
    with RuleStore(settings) as store:
        rules, stored = store.rules(), store.stored()
    if output is Output.JSON:
        found = [to_document(rule) | {"source": _source(rule, stored)} for rule in rules]
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "condition", "severity", "calls", "version", "from"):
        justify: Literal["left", "right"] = "right" if title == "version" else "left"
        shown.add_column(title, justify=justify, overflow="fold", no_wrap=title == "id")
    for rule in rules:
        severity = f"[{_SEVERITY_STYLES[rule.severity]}]{rule.severity}[/]" if rule.is_active else "[dim]inactive[/]"
        shown.add_row(
            escape(rule.rule_id),
            escape(condition_text(rule)),
            severity,
            ", ".join(rule.channels) or "-",
            str(rule.version),
            escape(_source(rule, stored)),
            style="" if rule.is_active else "dim",
        )
    Console().print(shown)


@app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(help="Ids, as `rules list` shows them.", show_default=False)],
    dry_run: DryRunOption = False,
) -> None:
    """Take rules off the topic; what they have firing resolves. An installed rule that was replaced is back."""
    settings = context.start()
    if dry_run:
        with RuleStore(settings) as store:
            publishing.require_deletable(store, ids)
        typer.echo(f"{len(ids):,} rules would be deleted: {', '.join(ids)}", err=True)
        return
    publishing.delete(settings, ids)
    typer.echo(f"{len(ids):,} rules deleted: {', '.join(ids)}", err=True)


def doubts_of(loaded: Loaded) -> list[Problem]:
    """What lint says of every rule that was read, with its place."""
    return sorted(
        loaded.places[rule.rule_id].problem(fault.path, str(fault)) for rule in loaded.rules for fault in lint(rule)
    )


def _source(rule: Rule, stored: dict[str, Stored]) -> str:
    if (found := stored.get(rule.rule_id)) is not None:
        when = datetime.fromtimestamp(found.updated_at_ms / 1000, UTC).isoformat(timespec="seconds")
        return f"{found.updated_by or 'somebody'}, {when.removesuffix('+00:00')}Z"
    return "installed" if rule in builtin_rules() else "file"


def _print_problems(problems: Any, doubts: Any) -> None:
    for found, colour in ((problems, typer.colors.RED), (doubts, typer.colors.YELLOW)):
        for problem in found:
            place = typer.style(f"{problem.file}:{problem.line}:{problem.column}:", bold=True)
            typer.echo(f"{place} {typer.style(problem.message, fg=colour)}")


def _print_applied(applied: list[Applied], output: Output) -> None:
    if output is Output.JSON:
        found = [to_document(one.rule) | {"change": one.change.value} for one in applied]
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for one in applied:
        change = f"[{_CHANGE_STYLES[one.change]}]{one.change:<9}[/]"
        console.print(
            f"{change} [bold]{escape(one.rule.rule_id)}[/] v{one.rule.version}  {escape(condition_text(one.rule))}"
        )
