"""`atalaia dlq`: records that could not count: how many and why, what is in them, and sending them again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atalaia.cli import context, records, redelivery
from atalaia.cli.console import results
from atalaia.cli.dead_letters import DeadLetter, explanation, group, hexdump
from atalaia.cli.progress import Reached, counting
from atalaia.cli.records import Decoded, Decoder, Span, Undecodable
from atalaia.cli.redelivery import Marks, Outgoing
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import Settings
from atalaia.schemas.registry import Registry
from atalaia.schemas.screening import EXPLANATIONS, Reason
from atalaia.schemas.topics import DEAD_LETTERS, METRICS

_EPILOG: Final = """\
Examples:

atalaia dlq list                              how many, by topic and reason

atalaia dlq show                              the newest dead letter, in full

atalaia dlq show --offset 2:17                the one at partition 2, offset 17

atalaia dlq replay --reason unknown_schema    send those again, once the cause is mended
"""

app = typer.Typer(epilog=_EPILOG, no_args_is_help=True, help="Dead letters: count, look at, send again.")

_SAY_EVERY: Final = 1_000

TopicOption = Annotated[str | None, typer.Option(help="The topic they failed on (default: all).")]


@app.command("list")
def list_(topic: TopicOption = None, output: OutputOption = Output.TABLE) -> None:
    """Count dead letters by topic and reason.

    Reads the dead letter topics from their beginning.
    """
    settings = context.start()
    spans = records.spans(settings.kafka, _topics(topic))
    with counting(Console(stderr=True), "dead letters read", sum(map(len, spans))) as reached:
        groups = group(_read(settings, spans, reached))
    if output is Output.JSON:
        typer.echo(json.dumps([records.plain(asdict(one)) for one in groups], indent=2))
        return
    if not groups:
        typer.echo("No dead letters.", err=True)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("topic", "reason", "count", "first", "last"):
        shown.add_column(title, justify="right" if title == "count" else "left", no_wrap=True)
    for one in groups:
        shown.add_row(one.topic, f"[red]{escape(one.reason)}[/]", f"{one.count:,}", _when(one.first), _when(one.last))
    results().print(shown)
    for reason in sorted({one.reason for one in groups}):
        typer.echo(f"{reason}: {explanation(reason)}", err=True)


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="1 is the newest, 2 the one before, …", min=1)] = 1,
    offset: Annotated[str | None, typer.Option(help="Instead: PARTITION:OFFSET in the dead letter topic.")] = None,
    topic: TopicOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one dead letter: its headers, why it is one, its bytes, and what can be made of them."""
    settings = context.start()
    letter = _at(settings, topic, offset) if offset else _newest(settings, topic, number)
    with Registry(settings.registry.url) as registry:
        what = Decoder(registry).decode(letter.topic, letter.record.value)
    if output is Output.JSON:
        typer.echo(json.dumps(_as_json(letter, what), ensure_ascii=False, indent=2))
    else:
        _print_letter(Console(highlight=False, soft_wrap=True), letter, what)


@app.command("replay")
def replay_(
    reason: Annotated[str | None, typer.Option(help="Only dead letters of this reason.")] = None,
    topic: TopicOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Those too that were replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be sent, and send nothing.")] = False,
) -> None:
    """Send dead letters again: original bytes, key and headers, to the topic where they failed.

    What was replayed once is left out, unless --all. A record that is still damaged comes back as a new dead letter.
    A replay cut short may send its last records twice when it is repeated.
    """
    if reason is not None and reason not in EXPLANATIONS:
        raise UsageFailure(f"--reason {reason}: no such reason; there are {', '.join(Reason)}")
    settings = context.start()
    spans = records.spans(settings.kafka, _topics(topic))
    marks = redelivery.NOTHING_REPLAYED if everything else redelivery.marks(settings.kafka, spans)
    due = [span.after(marks.below((span.topic, span.partition), reason)) for span in spans]
    with counting(Console(stderr=True), "dead letters read", sum(map(len, due))) as reached:
        chosen = (letter for letter in _read(settings, due, reached) if _is_due(letter, marks, reason))
        if dry_run:
            groups = group(chosen)
        else:
            sent = redelivery.send(settings.kafka, map(_outgoing, chosen), lambda _: None)
    if dry_run:
        for one in groups:
            typer.echo(f"{one.count:,} of {one.reason} would go to {one.topic}")
        typer.echo(f"In all {sum(one.count for one in groups):,}; nothing was sent.", err=True)
        return
    redelivery.mark(settings.kafka, spans, reason)
    typer.echo(f"Sent again: {sent:,}.", err=True)


def _topics(topic: str | None) -> list[str]:
    every = {one.name.removesuffix(".dlq"): one.name for one in DEAD_LETTERS}
    if topic is None:
        return list(every.values())
    short = {name.split(".")[1]: name for name in every}
    name = short.get(topic, topic.removesuffix(".dlq"))
    if name not in every:
        raise UsageFailure(f"--topic {topic}: no such topic; there are {', '.join(short)}")
    return [every[name]]


def _read(settings: Settings, spans: list[Span], reached: Reached) -> Iterator[DeadLetter]:
    done = 0
    for done, record in enumerate(records.read(settings.kafka, spans), start=1):
        yield DeadLetter(record)
        if done % _SAY_EVERY == 0:
            reached(done)
    reached(sum(map(len, spans)))


def _is_due(letter: DeadLetter, marks: Marks, reason: str | None) -> bool:
    record = letter.record
    wanted = reason is None or letter.reason == reason
    return wanted and not marks.replayed((record.topic, record.partition), record.offset, letter.reason)


def _outgoing(letter: DeadLetter) -> Outgoing:
    return Outgoing(letter.topic, letter.record.key, letter.record.value, letter.original_headers)


def _at(settings: Settings, topic: str | None, place: str) -> DeadLetter:
    partition, _, offset = place.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UsageFailure(f"--offset {place}: write PARTITION:OFFSET, for example 2:17")
    for span in records.spans(settings.kafka, _topics(topic or METRICS.name)):
        if span.partition == int(partition) and span.first <= int(offset) < span.end:
            one = replace(span, first=int(offset), end=int(offset) + 1)
            return next(map(DeadLetter, records.read(settings.kafka, [one])))
    raise UsageFailure(f"--offset {place}: no dead letter is there (any more); see `atalaia tail dlq`")


def _newest(settings: Settings, topic: str | None, number: int) -> DeadLetter:
    spans = [span.last(number) for span in records.spans(settings.kafka, _topics(topic))]
    found = records.newest(records.read(settings.kafka, spans), number)
    if len(found) < number:
        raise Failure(f"there are only {len(found)} dead letters" if found else "there are no dead letters")
    return DeadLetter(found[0])


def _as_json(letter: DeadLetter, what: Decoded) -> dict[str, Any]:
    record = letter.record
    return {
        "dead_letter_topic": record.topic,
        "place": record.place,
        "timestamp": records.plain(record.at),
        "topic": letter.topic,
        "reason": letter.reason,
        "explanation": explanation(letter.reason),
        "key": records.literal(record.key),
        "headers": {name: records.literal(value) for name, value in record.headers},
        "value_base64": base64.b64encode(record.value).decode(),
        **({"undecodable": str(what)} if isinstance(what, Undecodable) else {"decoded": records.plain(what)}),
    }


def _print_letter(console: Console, letter: DeadLetter, what: Decoded) -> None:
    record = letter.record
    console.print(f"[bold red]{escape(letter.reason)}[/]  {escape(explanation(letter.reason))}\n")
    facts = {
        "dead since": _when(record.at),
        "lies at": f"{record.topic} {record.place}",
        "failed at": f"{letter.topic} {letter.said('partition')}:{letter.said('offset')}",
        "key": "none" if record.key is None else records.text(record.key),
        **{f"header {name}": records.text(value) for name, value in letter.original_headers},
    }
    for name, fact in facts.items():
        console.print(f"[bold]{escape(name):<12}[/] {escape(fact)}")
    console.print(f"\n[bold]{len(record.value):,} bytes[/]")
    for line in hexdump(record.value):
        console.print(f"  {line}", markup=False)
    console.print("\n[bold]decoded[/]")
    if isinstance(what, Undecodable):
        console.print(f"  {what}", style="red", markup=False)
    else:
        for name, value in records.printable(records.plain(what)).items():
            console.print(f"  {name:<14} {value}", markup=False)


def _when(at: datetime) -> str:
    return at.astimezone().isoformat(sep=" ", timespec="seconds")
