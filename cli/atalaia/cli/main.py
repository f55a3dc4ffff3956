"""The `atalaia` command: one table of subcommands, and one place where errors become a line and an exit code.

A subcommand's module is imported when the subcommand is used, not before: `atalaia --help` loads neither Faust nor
ClickHouse's engine.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from atalaia.infra.errors import Failure

STACK: Final = "The embedded stack"
PIPELINE: Final = "The pipeline"


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: `atalaia NAME` is `app`'s command of that name in `atalaia.cli.MODULE`.

    With `group=True` it is the whole `app`, whose own commands follow: `atalaia NAME COMMAND`.
    """

    name: str
    module: str
    help: str
    panel: str
    group: bool = False


COMMANDS: Final = (
    Entry("up", "up", "Start Kafka, the registry, ClickHouse and the workers on this machine.", STACK),
    Entry("down", "stack", "Stop what `atalaia up` started.", STACK),
    Entry("status", "stack", "Show each component: state, port, uptime, restarts, memory.", STACK),
    Entry("logs", "stack", "Print the components' logs.", STACK),
    Entry("doctor", "stack", "Look for what would keep the stack from running, with the remedy.", STACK),
    Entry("reset", "stack", "Destroy the stack's state: topics, tables, schemas, logs.", STACK),
    Entry("demo", "demo.command", "Replay real purchases, prove the numbers, fire an alert.", PIPELINE),
    Entry("emit", "emit", "Emit one event, or JSON lines from standard input.", PIPELINE),
    Entry("tail", "tail", "Show records as they lie in Kafka, decoded.", PIPELINE),
    Entry("lag", "lag", "Show how far the stream workers and the sink are behind.", PIPELINE),
    Entry("query", "query", "Ask ClickHouse. Times are UTC.", PIPELINE),
    Entry("verify", "verify", "Prove that every event is stored once, and that rollups equal raw events.", PIPELINE),
    Entry("repair", "repair", "Make the rollups of a time range anew from raw events.", PIPELINE),
    Entry("dlq", "dlq", "Dead letters: count, look at, send again.", PIPELINE, group=True),
    Entry("rules", "rules", "Alert rules: check, test, try on the past, put in force, explain.", PIPELINE, group=True),
    Entry("slo", "slo", "Service level objectives: check, put in force, error budgets, import.", PIPELINE, group=True),
    Entry("alerts", "alerts", "Alerts: follow what fires and what resolves; explain one.", PIPELINE, group=True),
    Entry("schemas", "schemas", "The contracts: check, register, list.", PIPELINE, group=True),
    Entry("worker", "worker", "Run one worker as this process: stream or sink.", PIPELINE, group=True),
)
"""The whole command line; a new subcommand is one more line."""

# Errors that say themselves what is wrong and what to do: (module, class, exit code). By name, so that nothing is
# imported here: what was never imported cannot have been raised.
_KNOWN_ERRORS: Final = (
    ("atalaia.infra.settings", "SettingsError", 2),
    ("atalaia.schemas.registry", "RegistryUnavailable", 1),
    ("atalaia.schemas.registry", "SchemaMissing", 1),
    ("confluent_kafka", "KafkaException", 1),
    ("clickhouse_connect.driver.exceptions", "ClickHouseError", 1),
)

_EPILOG: Final = """\
Examples:

atalaia up                  start everything here and watch it; Ctrl-C stops it

atalaia up -d               the same in the background; then: atalaia status, logs, down

atalaia logs kafka -f       follow one component's log

atalaia doctor              why doesn't it start?
"""


class _Subcommands(TyperGroup):
    """Shows the table's own words in help, and imports a module when its subcommand is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for entry in COMMANDS:
            self.add_command(TyperCommand(entry.name, help=entry.help, rich_help_panel=entry.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in the place of its line in the table."""
        entry = next((entry for entry in COMMANDS if args and entry.name == args[0]), None)
        if entry is not None:
            self.add_command(load(entry), entry.name)
        return super().resolve_command(ctx, args)


def load(entry: Entry) -> Any:
    """The subcommand itself; imports its module."""
    group = get_group(importlib.import_module(f"atalaia.cli.{entry.module}").app)
    return group if entry.group else group.commands[entry.name]


app = typer.Typer(
    name="atalaia",
    cls=_Subcommands,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # they print local variables, secrets included
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atalaia {importlib.metadata.version('atalaia')}")
        raise typer.Exit


@app.callback()
def atalaia(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Metrics and alerting over event streams: alerts that know whether their data was complete."""


def main() -> None:
    """Run the command line. Known errors are one line each on stderr and exit code 1 or 2; a bug is a traceback."""
    try:
        app()
    except Exception as exc:
        code = exit_code(exc)
        if code is None:
            raise
        for line in str(exc).splitlines() or [type(exc).__name__]:
            typer.secho(f"atalaia: {line}", fg=typer.colors.RED, err=True)
        sys.exit(code)


def exit_code(error: Exception) -> int | None:
    """The exit code of an error that a person can act on; None for a bug."""
    if isinstance(error, Failure):
        return error.exit_code
    for module, name, code in _KNOWN_ERRORS:
        known = getattr(sys.modules.get(module), name, None)
        if known is not None and isinstance(error, known):
            return code
    return None
