"""`atalaia tail`: the records of a topic as people read them, the last ones and those that come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from atalaia.cli import context, records
from atalaia.cli.dead_letters import DeadLetter, explanation
from atalaia.cli.records import Decoded, Decoder, Record, Undecodable
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import UsageFailure
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import (
    ALERT_COMMANDS,
    ALERT_RULES,
    ALERTS,
    DEAD_LETTERS,
    METRICS,
    NOTIFICATIONS,
    ROLLUPS,
    SERVICE_HEALTH,
    SILENCES,
    TOPICS,
)

app = typer.Typer()

SHORT_NAMES: Final = {
    "metrics": [METRICS.name],
    "alerts": [ALERTS.name],
    "rollups": [ROLLUPS.name],
    "dlq": [topic.name for topic in DEAD_LETTERS],
    "health": [SERVICE_HEALTH.name],
    "rules": [ALERT_RULES.name],
    "silences": [SILENCES.name],
    "commands": [ALERT_COMMANDS.name],
    "notifications": [NOTIFICATIONS.name],
}

SEARCHED_RECORDS: Final = 20_000
"""With --metric the last records are looked for among this many of each partition: a search that ends."""

_STATUS_STYLES: Final = {
    "firing": "bold red",
    "recovering": "magenta",
    "pending": "yellow",
    "resolved": "green",
    "inactive": "dim",
    **dict.fromkeys(("no_data", "error", "awaiting_data"), "bold yellow"),
    **dict.fromkeys(("amended", "retracted"), "cyan"),
}

_EPILOG: Final = """\
Examples:

atalaia tail                          the last ten metric events

atalaia tail -f --metric cpu_usage    one metric as it comes; Ctrl-C ends it

atalaia tail alerts --from-beginning  every transition that Kafka still has

atalaia tail rollups -f -o json       one JSON object a line, for programs
"""


@app.command(epilog=_EPILOG)
def tail(  # noqa: PLR0917 - each is an option of the command line
    topic: Annotated[str, typer.Argument(help=f"{', '.join(SHORT_NAMES)}, or a topic's full name.")] = "metrics",
    metric: Annotated[str | None, typer.Option(help="Only records of this metric.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All that Kafka still has.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last records.", min=0)] = 10,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as records come; Ctrl-C ends it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show records as they lie in Kafka, decoded.

    Damaged records are shown as what they are, never left out.
    """
    settings = context.start()
    found = records.spans(settings.kafka, topics_of(topic))
    if not found:
        raise UsageFailure(f"tail {topic}: no such topic in Kafka; `atalaia schemas register` creates ours")
    console = Console(highlight=False, soft_wrap=True)
    with Registry(settings.registry.url) as registry:
        decoder = Decoder(registry)

        def matches(record: Record) -> bool:
            return metric is None or is_of(metric, decoder.decode(record.topic, record.value))

        if from_beginning:
            past: Iterable[Record] = filter(matches, records.read(settings.kafka, found))
        else:
            depth = SEARCHED_RECORDS if metric and lines else lines
            read = records.read(settings.kafka, [span.last(depth) for span in found])
            past = records.newest(filter(matches, read), lines)
        coming = records.follow(settings.kafka, found) if follow else ()
        try:
            for record in itertools.chain(past, (fresh for fresh in coming if fresh is not None and matches(fresh))):
                _print(console, record, decoder.decode(record.topic, record.value), output)
        except KeyboardInterrupt:
            return


def topics_of(name: str) -> list[str]:
    """The Kafka topics that a short name, or a full one, means.

    >>> topics_of("alerts")
    ['atalaia.alerts.v1']
    """
    known = {topic.name for topic in (*TOPICS, *DEAD_LETTERS)}
    found = [name] if name in known else SHORT_NAMES.get(name)
    if found is None:
        raise UsageFailure(f"tail {name}: no such topic; there are {', '.join(SHORT_NAMES)}")
    return found


def is_of(metric: str, what: Decoded) -> bool:
    """Whether a record is of a metric; damaged ones are of none."""
    return not isinstance(what, Undecodable) and what.get("metric_name") == metric


def line(record: Record, what: Decoded) -> Text:
    """One record as one line."""
    parts = Text()
    parts.append(f"{clock(record.at)} ", style="dim")
    if record.topic.endswith(".dlq"):
        letter = DeadLetter(record)
        parts.append(letter.reason, style="bold red")
        parts.append(f" {record.topic} {record.place}", style="dim")
        return parts.append(f"  {explanation(letter.reason)}")
    if isinstance(what, Undecodable):
        parts.append(what.reason.value, style="bold red")
        return parts.append(f" {record.place} {what} {len(record.value)} bytes: {record.value[:24].hex(' ')}")
    shown = records.printable(what)
    match record.topic:
        case METRICS.name:
            _event(parts, shown)
        case ROLLUPS.name:
            _rollup(parts, shown)
        case ALERTS.name:
            _alert(parts, shown)
        case _:
            parts.append(_pairs(records.plain(shown)))
    return parts


def as_json(record: Record, what: Decoded) -> dict[str, Any]:
    """One record with where it lies, for programs."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": records.plain(record.at),
        "key": records.literal(record.key),
        "headers": {name: records.literal(value) for name, value in record.headers},
        **({"error": str(what)} if isinstance(what, Undecodable) else {"value": records.plain(what)}),
    }


def clock(at: datetime) -> str:
    """The time of day where the person sits."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _print(console: Console, record: Record, what: Decoded, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(as_json(record, what), ensure_ascii=False))
    else:
        console.print(line(record, what))


def _event(parts: Text, event: dict[str, Any]) -> None:
    parts.append(event["metric_name"], style="bold cyan")
    parts.append(f" {event['value']:g} {event['unit']}", style="bold")
    parts.append(f"  {event['service_name']}  ")
    fields = {"region": event["region"], "affiliate_id": event["affiliate_id"]} | event["metadata"]
    parts.append(_pairs(fields), style="dim")
    if event["frequency"] != "real_time":
        parts.append(f"  {event['frequency']} of {records.plain(event['timestamp'])}", style="dim")


def _rollup(parts: Text, rollup: dict[str, Any]) -> None:
    parts.append(f"{rollup['granularity']} {records.plain(rollup['window_start'])} ")
    parts.append(rollup["metric_name"], style="bold cyan")
    parts.append(f"  {rollup['service_name']}  ")
    parts.append(f"count {rollup['count']} sum {rollup['sum']:g} min {rollup['min']:g} max {rollup['max']:g}", "bold")
    parts.append(f" {rollup['unit']}  complete {rollup['completeness']:.0%}  ")
    if rollup["missing"]:
        parts.append(f"missing {rollup['missing']}  ", style="yellow")
    parts.append(_pairs({"shard": rollup["shard"]} | rollup["dimensions"]), style="dim")


def _alert(parts: Text, alert: dict[str, Any]) -> None:
    parts.append(f"{alert['status']:<8}", style=_STATUS_STYLES.get(alert["status"], ""))
    parts.append(f" {alert['rule_name']}", style="bold")
    value = "no value" if alert["value"] is None else f"{alert['value']:g} {alert['unit']}"
    parts.append(f" ({alert['severity']})  {value}, {alert['condition']}  ")
    parts.append(_pairs(alert["labels"]), style="dim")


def _pairs(fields: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in fields.items() if value is not None and value != "")
