"""`atalaia slo`: check objectives, put their alerts in force, show what is left of their error budgets."""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from atalaia.alerting import publishing
from atalaia.alerting.slo import history
from atalaia.alerting.slo.burn import rules_of
from atalaia.alerting.slo.document import to_document
from atalaia.alerting.slo.doubts import doubts
from atalaia.alerting.slo.importing import import_files
from atalaia.alerting.slo.loader import LoadedSlos, load_files
from atalaia.alerting.slo.objectives import Slo
from atalaia.alerting.slo.watched import Watched, objectives
from atalaia.alerting.store import RuleStore
from atalaia.alerting.writing.loader import Problem
from atalaia.cli import context, slo_view
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra import clickhouse
from atalaia.infra.errors import UsageFailure

EXIT_PROBLEMS: Final = 1
EXIT_DOUBTS: Final = 3

_EPILOG: Final = """\
Examples:

atalaia slo validate slos/*.yaml        what is wrong, with file, line and column

atalaia slo apply slos/shop.yaml        its pages and tickets in force, everywhere, within seconds

atalaia slo list                        the objectives in force

atalaia slo show checkout --plot        what is left of its error budget, and how fast it burns

atalaia slo show checkout -f slos.yaml  the same before anything is applied

atalaia slo import sloth.yml > ours.yaml    Sloth's and OpenSLO's files as ours

atalaia slo delete checkout             take its alerts away; what fires resolves
"""

app = typer.Typer(
    epilog=_EPILOG, no_args_is_help=True, help="Service level objectives: check, put in force, error budgets, import."
)

FilesArgument = Annotated[list[Path], typer.Argument(help="Files of objectives: YAML, or JSON.", show_default=False)]
NamesArgument = Annotated[list[str], typer.Argument(help="Names, as `slo list` shows them.", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command()
def validate(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Check files of objectives without putting anything in force; needs no Kafka.

    Exit code 1 where an objective cannot be watched, 3 where all can but one is most likely not meant so.
    """
    loaded = load_files(files)
    doubted = _doubts_of(loaded)
    if output is Output.JSON:
        found = [("error", problem) for problem in loaded.problems] + [("doubt", doubt) for doubt in doubted]
        problems = [asdict(problem) | {"level": level} for level, problem in found]
        typer.echo(json.dumps({"slos": len(loaded.slos), "problems": problems}, ensure_ascii=False, indent=2))
    else:
        slo_view.problems(loaded.problems, doubted)
    good, bad = len(loaded.slos), len(loaded.problems)
    typer.echo(f"objectives that can be watched: {good:,}; errors: {bad:,}; doubts: {len(doubted):,}", err=True)
    if bad or doubted:
        raise typer.Exit(EXIT_PROBLEMS if bad else EXIT_DOUBTS)


@app.command()
def apply(files: FilesArgument, dry_run: DryRunOption = False, output: OutputOption = Output.TABLE) -> None:
    """Put the alerts of objectives in force: of all in the files, or, where one has an error, of none.

    An alert that says nothing new is left alone. Objectives that no file names stay; an alert that its objective no
    longer has is deleted.
    """
    loaded = load_files(files)
    if loaded.problems:
        slo_view.problems(loaded.problems, [])
        typer.echo("Nothing was applied.", err=True)
        raise typer.Exit(EXIT_PROBLEMS)
    rules = [rule for slo in loaded.slos for rule in rules_of(slo)]
    settings = context.start()
    with RuleStore(settings) as store:
        planned = publishing.plan(rules, store.rules())
        stale = _stale(loaded.slos, {rule.rule_id for rule in rules}, objectives(store.rules()))
    if not dry_run:
        planned = publishing.publish(settings, rules, by=getpass.getuser(), at_ms=_now_ms())
        if stale:
            publishing.delete(settings, stale)
    slo_view.applied(planned, stale, as_json=output is Output.JSON)
    if dry_run:
        typer.echo("Nothing was applied: --dry-run.", err=True)


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """List the objectives in force: those whose alerts are on the rules topic or in configured rule files."""
    found = _in_force()
    if output is Output.JSON:
        typer.echo(json.dumps([_as_data(one) for one in found], ensure_ascii=False, indent=2))
    else:
        slo_view.listed(found)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An objective's name.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Option("-f", "--file", help="Take it from this file, not from what is in force.")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw what was left, hour by hour.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show an objective's error budget: consumed, remaining, how fast it burns now and how long it lasts.

    One budget a tenant and group, from ClickHouse; by the hour, so it reaches back up to an hour less than its window.
    """
    settings = context.start()
    slo = _from_files(name, files) if files else _named(name, [one.slo for one in _in_force()], "atalaia slo list")
    client = clickhouse.connect(settings.clickhouse)
    now_ms = _now_ms()
    with clickhouse.errors(settings.clickhouse):
        found = history.standings(client, slo, now_ms=now_ms)
    if output is Output.JSON:
        typer.echo(json.dumps(slo_view.as_data(slo, found), ensure_ascii=False, indent=2))
    else:
        slo_view.shown(slo, found, now_ms=now_ms, plot=plot)


@app.command()
def delete(names: NamesArgument, dry_run: DryRunOption = False) -> None:
    """Take the alerts of objectives off the rules topic; what they have firing resolves."""
    settings = context.start()
    with RuleStore(settings) as store:
        in_force = {one.slo.name: one for one in objectives(store.rules())}
        for name in names:
            _named(name, [one.slo for one in in_force.values()], "atalaia slo list")
        ids = [rule.rule_id for name in names for rule in in_force[name].rules]
        publishing.require_deletable(store, ids)
    if not dry_run:
        publishing.delete(settings, ids)
    typer.echo(f"{'Would delete' if dry_run else 'Deleted'}: {', '.join(ids)}", err=True)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Sloth's or OpenSLO's files.", show_default=False)],
    output: Annotated[slo_view.Form, typer.Option("-o", "--output", help="yaml or json.")] = slo_view.Form.YAML,
) -> None:
    """Print the objectives of Sloth's (prometheus/v1) and OpenSLO's (openslo/v1) files in our form.

    What cannot be had is on stderr with file, line and reason: exit code 1 where that is an objective, 3 where it is
    something beside one.
    """
    imported = import_files(files)
    document: dict[str, Any] = {"slos": [to_document(slo) for slo in imported.slos]}
    if imported.slos and output is slo_view.Form.YAML:
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120), nl=False)
    elif imported.slos:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    slo_view.problems(imported.problems, imported.notes, err=True)
    good, bad, notes = len(imported.slos), len(imported.problems), len(imported.notes)
    typer.echo(f"objectives: {good:,}; not understood: {bad:,}; left out: {notes:,}", err=True)
    if bad or notes:
        raise typer.Exit(EXIT_PROBLEMS if bad else EXIT_DOUBTS)


def _doubts_of(loaded: LoadedSlos) -> list[Problem]:
    return sorted(
        loaded.places[slo.name].problem(fault.path, str(fault)) for slo in loaded.slos for fault in doubts(slo)
    )


def _in_force() -> list[Watched]:
    with RuleStore(context.start()) as store:
        return objectives(store.rules())


def _as_data(one: Watched) -> dict[str, Any]:
    return to_document(one.slo) | {"rules": [rule.rule_id for rule in one.rules if rule.is_active]}


def _stale(slos: tuple[Slo, ...], made: set[str], in_force: list[Watched]) -> list[str]:
    """Rules in force of these objectives that they no longer have."""
    names = {slo.name for slo in slos}
    rules = [rule.rule_id for one in in_force if one.slo.name in names for rule in one.rules]
    return [rule_id for rule_id in rules if rule_id not in made]


def _from_files(name: str, files: list[Path]) -> Slo:
    loaded = load_files(files)
    if loaded.problems:
        slo_view.problems(loaded.problems, [], err=True)
        raise typer.Exit(EXIT_PROBLEMS)
    return _named(name, list(loaded.slos), f"there is {', '.join(slo.name for slo in loaded.slos)}")


def _named(name: str, slos: list[Slo], where: str) -> Slo:
    found = next((slo for slo in slos if slo.name == name), None)
    if found is None:
        hint = where if where.startswith("there") else f"`{where}` shows the names"
        raise UsageFailure(f"there is no objective {name!r}; {hint}")
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
