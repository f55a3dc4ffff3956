"""`atalaia rules record`: an incident as a fixture, and whether rules still say the same of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atalaia.alerting.backtest.needs import needs
from atalaia.cli import context, rules_chosen
from atalaia.cli.verify import instant
from atalaia.infra.errors import UsageFailure
from atalaia.schemas.windows import MINUTE_MS
from atalaia.streams import fixtures
from atalaia.streams.fixtures import Outline

EXIT_DIFFERENT: Final = 1
EPILOG: Final = """\
Examples:

atalaia rules record slow-api --from 2h --to 1h -o incidents/slow   cut it out of Kafka, with the alerts that came

atalaia rules record --run incidents/slow                           does the engine still say the same? needs no Kafka

atalaia rules record rules/new.yaml --run incidents/slow            and other rules, on the same events?
"""


def record(  # noqa: PLR0917 - each is an option of the command line
    rules: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE-ID|FILE]…", help="Rules in force, or files; without any: all.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="From here on: a date or time (UTC), or 2h.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to here; without it, up to now.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only events of this metric; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The directory to write.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Replay this directory instead of recording.")] = None,
) -> None:
    """Cut a slice out of the metrics topic into a directory, with the alerts that must come out; or replay one.

    A replay is judged by the engine that judges live, event by event, at the times at which they arrived. Exit code 1
    where it tells something else than what was recorded.
    """
    if run is not None:
        _replay(run, rules or [])
        return
    if start is None or out is None:
        raise UsageFailure("give --from and -o to record, or --run to replay; see atalaia rules record --help")
    settings = context.start()
    now = datetime.now(UTC)
    from_ms = int(instant(start, now=now).timestamp() * 1000)
    to_ms = int((now if end is None else instant(end, now=now)).timestamp() * 1000)
    if from_ms >= to_ms:
        raise UsageFailure(f"--from {start} is not before --to {end or 'now'}")
    chosen = rules_chosen.rules_of(settings, rules or [])
    wanted = set(metric or ()) or {need.metric_name for rule in chosen for need in needs(rule)}
    count = fixtures.cut(settings, wanted, out, from_ms=from_ms, to_ms=to_ms)
    fixtures.describe(out, chosen, [], span=(from_ms, to_ms))
    told = fixtures.outcome(fixtures.load(out))
    fixtures.describe(out, chosen, told, span=(from_ms, to_ms))
    for each in told:
        typer.echo(_line(each))
    typer.echo(f"{count:,} events and {len(told):,} alert transitions in {out}", err=True)


def _replay(folder: Path, names: Sequence[str]) -> None:
    fixture = fixtures.load(folder)
    if names:
        fixture = replace(fixture, rules=tuple(rules_chosen.rules_of(context.start(), names)))
    came = fixtures.outcome(fixture)
    missing, extra = fixtures.differences(fixture.expected, came)
    for sign, colour, found in (("-", typer.colors.RED, missing), ("+", typer.colors.GREEN, extra)):
        for each in found:
            typer.secho(f"{sign} {_line(each)}", fg=colour)
    same = len(came) - len(extra)
    typer.echo(f"as recorded: {same:,}; missing: {len(missing):,}; not recorded: {len(extra):,}", err=True)
    if missing or extra:
        raise typer.Exit(EXIT_DIFFERENT)


def _line(each: Outline) -> str:
    at = datetime.fromtimestamp(each["minute_ms"] // MINUTE_MS * 60, UTC)
    told: dict[str, Any] = {name: value for name, value in each["labels"].items() if name not in _DESCRIBING}
    where = ", ".join(f"{name}={value}" for name, value in sorted(told.items()))
    return f"{at:%Y-%m-%d %H:%M} {each['status']:<9} {each['rule_id']} {where}"


_DESCRIBING: Final = frozenset({"tenant", "metric_name", "unit", "frequency"})
