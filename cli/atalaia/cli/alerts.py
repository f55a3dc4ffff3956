"""`atalaia alerts`: what fires and what resolves, as it happens."""

from __future__ import annotations

import json
from itertools import chain
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from atalaia.cli import alerts_explain, context, records
from atalaia.cli.records import Decoded, Decoder, Record, Undecodable
from atalaia.cli.stack import Output, OutputOption
from atalaia.cli.tail import line
from atalaia.infra.errors import UsageFailure
from atalaia.schemas.events import AlertStatus, Severity
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import ALERTS

_EPILOG: Final = """\
Examples:

atalaia alerts tail                        the last ten transitions, and each that comes; Ctrl-C ends it

atalaia alerts tail --severity critical    only the worst

atalaia alerts tail --no-follow -o json    one JSON object a line, for programs

atalaia alerts explain FINGERPRINT         value, window and offsets, and the value again from the raw events
"""

app = typer.Typer(
    epilog=_EPILOG, no_args_is_help=True, help="Alerts: follow what fires and what resolves; explain one."
)
app.command("explain", epilog=alerts_explain.EPILOG)(alerts_explain.explain)


@app.callback()
def alerts() -> None:
    """Alerts: follow what fires and what resolves; explain one."""


@app.command()
def tail(  # noqa: PLR0917 - each is an option of the command line
    severity: Annotated[list[Severity] | None, typer.Option(help="Only this severity; may be repeated.")] = None,
    status: Annotated[list[AlertStatus] | None, typer.Option(help="Only this status; may be repeated.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only the rule with this id or name.")] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last ones first.", min=0)] = 10,
    follow: Annotated[bool, typer.Option(help="Go on as they come; Ctrl-C ends it.")] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show alert transitions: pending, firing, resolved, and what is between and after them."""
    settings = context.start()
    spans = records.spans(settings.kafka, [ALERTS.name])
    if not spans:
        raise UsageFailure(f"there is no topic {ALERTS.name}; run `atalaia schemas register`")
    decoder = Decoder(Registry(settings.registry.url))
    console = Console(highlight=False, soft_wrap=True)
    wanted: dict[str, set[Any]] = {"severity": set(severity or ()), "status": set(status or ())}

    def matches(record: Record) -> bool:
        return selects(decoder.decode(record.topic, record.value), wanted, rule)

    past = records.newest(filter(matches, records.read(settings.kafka, spans)), lines) if lines else []
    coming = (fresh for fresh in (records.follow(settings.kafka, spans) if follow else ()) if fresh is not None)
    try:
        for record in chain(past, filter(matches, coming)):
            _print(console, record, decoder.decode(record.topic, record.value), output)
    except KeyboardInterrupt:
        return


def selects(what: Decoded, wanted: dict[str, set[Any]], rule: str | None) -> bool:
    """Whether an alert is one of those asked for; a record that is no alert is shown when nothing was asked for.

    >>> selects({"severity": "high", "status": "firing"}, {"severity": {Severity.HIGH}, "status": set()}, None)
    True
    """
    if isinstance(what, Undecodable):
        return rule is None and not any(wanted.values())
    if rule is not None and rule not in (what["rule_id"], what["rule_name"]):
        return False
    return all(not values or what[field] in values for field, values in wanted.items())


def _print(console: Console, record: Record, what: Decoded, output: Output) -> None:
    if output is Output.TABLE:
        console.print(line(record, what))
    else:
        shown = {"error": str(what)} if isinstance(what, Undecodable) else records.plain(what)
        typer.echo(json.dumps(shown, ensure_ascii=False))
