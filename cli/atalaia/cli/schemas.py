"""`atalaia schemas check|register|list`: the contracts against what is out there, and putting them there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from atalaia.cli import context, prepare
from atalaia.cli.console import results
from atalaia.cli.history import GitHistory, History, RegistryHistory, Version
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra import kafka
from atalaia.infra.errors import UsageFailure
from atalaia.infra.settings import Settings
from atalaia.schemas import compatibility
from atalaia.schemas.codec import schema_text
from atalaia.schemas.compatibility import Level, NotASchema
from atalaia.schemas.registry import Registry, SchemaMissing
from atalaia.schemas.topics import TOPICS, Topic

_EPILOG: Final = """\
Examples:

atalaia schemas check                       may our schemas follow those in the registry?

atalaia schemas check --against git:main    … those of a git revision and its past?

atalaia schemas register                    create topics, schemas and tables

atalaia schemas list                        what is registered, and where it lies
"""

app = typer.Typer(epilog=_EPILOG, no_args_is_help=True, help="The contracts: check, register, list.")

LEVEL: Final = Level.BACKWARD_TRANSITIVE
"""What our subjects promise: the newest reader reads everything ever written."""
_INCOMPATIBLE_EXIT: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One schema judged: `reasons` says why it is refused; none, that it may go."""

    schema: str
    topic: str
    versions: int
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.reasons:
            return "refused"
        return "compatible" if self.versions else "new"


def judge(topic: Topic, text: str, earlier: list[Version]) -> Finding:
    """Whether this text of a topic's schema may follow all its earlier versions."""
    schema = topic.schema or ""
    try:
        reasons = [
            f"{found} (since {version.name})"
            for version in reversed(earlier)
            for found in compatibility.check(text, [(None, version.text)], LEVEL)
        ]
    except NotASchema as exc:
        reasons = [str(exc)]
    return Finding(schema, topic.name, len(earlier), tuple(_first_of_each(reasons)))


def _first_of_each(reasons: list[str]) -> list[str]:
    """A fault shows against every version that lacks it: said once, against the newest."""
    seen: dict[str, str] = {}
    for reason in reasons:
        seen.setdefault(reason.rpartition(" (since ")[0] or reason, reason)
    return list(seen.values())


@app.command()
def check(
    against: Annotated[str, typer.Option(help="registry, or git:REVISION.")] = "registry",
    output: OutputOption = Output.TABLE,
) -> None:
    """Refuse a schema that could not read what was written before.

    Exit code 1, with the reasons, when one is refused.
    """
    with _history(against) as history:
        findings = [judge(topic, schema_text(topic.schema), history.of(topic)) for topic in TOPICS if topic.schema]
        gone = [f"{name} is gone: records written with it could not be read any more" for name in history.gone()]
    if output is Output.JSON:
        typer.echo(json.dumps({"schemas": [asdict(one) for one in findings], "gone": gone}, indent=2))
    else:
        _print_findings(findings, gone, against)
    if gone or any(finding.reasons for finding in findings):
        raise typer.Exit(_INCOMPATIBLE_EXIT)


@app.command()
def register() -> None:
    """Create the topics, schemas and tables that don't exist yet.

    `atalaia up` does it by itself; a cluster needs it once, and again after an upgrade.
    """
    settings = context.start()
    for name, step in prepare.STEPS.items():
        typer.echo(f"{name}: {step(settings)}", err=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One topic, as `list` says it; None where the registry or Kafka doesn't have it."""

    topic: str
    schema: str
    schema_id: int | None
    versions: int
    partitions: int
    key: str
    kept: str


@app.command("list")
def list_(output: OutputOption = Output.TABLE) -> None:
    """Show the topics: which schema, registered under which id, how many partitions, how long kept."""
    settings = context.start()
    found = _rows(settings)
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(row) for row in found], indent=2))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("topic", "schema", "id", "versions", "parts", "key", "kept"):
        shown.add_column(title, justify="right" if title in {"id", "versions", "parts"} else "left", no_wrap=True)
    for row in found:
        there = "[red]missing[/]"
        shown.add_row(
            row.topic,
            row.schema,
            there if row.schema_id is None else str(row.schema_id),
            str(row.versions),
            str(row.partitions) if row.partitions else there,
            row.key,
            row.kept,
        )
    results().print(shown)


def kept(retention: timedelta | None) -> str:
    """A topic's retention in words.

    >>> kept(None), kept(timedelta(days=3))
    ('the last of each key', '3 days')
    """
    return "the last of each key" if retention is None else f"{retention.days} days"


def _rows(settings: Settings) -> list[Row]:
    kafka.require(settings.kafka)
    partitions = kafka.partitions_of(settings.kafka, [topic.name for topic in TOPICS])
    with Registry(settings.registry.url) as registry:
        return [
            Row(
                topic=topic.name,
                schema=topic.schema or "",
                schema_id=_id(registry, topic),
                versions=len(registry.history(topic)),
                partitions=sum(one.topic == topic.name for one in partitions),
                key=topic.key,
                kept=kept(topic.retention),
            )
            for topic in TOPICS
        ]


def _id(registry: Registry, topic: Topic) -> int | None:
    try:
        return registry.id_of(topic)
    except SchemaMissing:
        return None


@contextmanager
def _history(against: str) -> Iterator[History]:
    place, _, revision = against.partition(":")
    if place == "git" and revision:
        yield GitHistory(revision)
    elif against == "registry":
        with Registry(context.start().registry.url) as registry:
            yield RegistryHistory(registry)
    else:
        raise UsageFailure(f"--against {against}: write registry, or git:REVISION, for example git:main")


def _print_findings(findings: list[Finding], gone: list[str], against: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark, colour = ("✗", "red") if finding.reasons else ("✓", "green")
        past = f"{finding.versions} earlier version{'' if finding.versions == 1 else 's'} in {against}"
        console.print(f"[{colour}]{mark}[/] [bold]{finding.schema}[/] {finding.verdict} [dim]({past})[/]")
        for reason in finding.reasons:
            console.print(f"    {reason}", markup=False)
    for reason in gone:
        console.print(f"✗ {reason}", style="red", markup=False)
