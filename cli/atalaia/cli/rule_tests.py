"""`atalaia rules test`: what must fire, when, from which series; in promtool's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from atalaia.alerting import unit_tests
from atalaia.alerting.unit_tests import Outcome
from atalaia.cli.stack import Output, OutputOption

EXIT_FAILED: Final = 1
_COLOURS: Final = {"-": typer.colors.RED, "+": typer.colors.GREEN}

FilesArgument = Annotated[
    list[Path], typer.Argument(help="Unit tests, as promtool reads them; they name the rule files.", show_default=False)
]


def run_tests(files: FilesArgument, output: OutputOption = Output.TABLE) -> None:
    """Run unit tests of rules, in promtool's format; needs no Kafka.

    Of every expectation that is not met it says what was expected (-) and what came instead (+). Exit code 1 then, and
    where a test or a rule cannot be read.
    """
    outcomes = [unit_tests.run(path) for path in files]
    if output is Output.JSON:
        shown = [{"file": str(each.path), "checked": each.checked, "failures": each.failures} for each in outcomes]
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        for outcome in outcomes:
            _print(outcome)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    typer.echo(f"expectations: {sum(outcome.checked for outcome in outcomes):,}; failures: {failed:,}", err=True)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _print(outcome: Outcome) -> None:
    for failure in outcome.failures:
        head, *lines = failure.split("\n")
        typer.secho(head, bold=True)
        for line in lines:
            typer.secho(line, fg=_COLOURS.get(line.strip()[:1]))
