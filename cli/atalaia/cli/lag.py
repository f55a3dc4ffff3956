"""`atalaia lag`: how far the workers are behind, how fast they catch up, and when they will have."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, assert_never

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from atalaia.cli import context, view
from atalaia.cli.console import results
from atalaia.cli.stack import Output, OutputOption
from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas.topics import ALERTS, DEAD_LETTERS, METRICS, NOTIFICATIONS, ROLLUPS, SERVICE_HEALTH

app = typer.Typer()

LOOK_EVERY: Final = timedelta(seconds=2)
"""Longer than the workers' commits are apart (a second): a worker that works is seen to move."""
SOON: Final = timedelta(seconds=5)

_SINK_TOPICS: Final = (METRICS, ROLLUPS, ALERTS, SERVICE_HEALTH, NOTIFICATIONS, *DEAD_LETTERS)

_EPILOG: Final = """\
Examples:

atalaia lag            one look: takes two seconds, to tell the speed

atalaia lag --watch    keep looking; Ctrl-C ends it

atalaia lag -o json    for programs: offsets, lag, rate, seconds left
"""


class Pace(StrEnum):
    """How a reader of a partition does."""

    CAUGHT_UP = "caught up"
    CATCHING_UP = "catching up"
    FALLING_BEHIND = "falling behind"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Look:
    """One consumer group's place in one partition at one moment; `at` is monotonic seconds."""

    group: str
    topic: str
    partition: int
    first: int
    end: int
    committed: int | None
    at: float

    @property
    def place(self) -> tuple[str, str, int]:
        """Whose, and where."""
        return (self.group, self.topic, self.partition)

    @property
    def position(self) -> int:
        """The next offset to read: the committed one, else the first that Kafka still has."""
        return self.first if self.committed is None else max(self.committed, self.first)

    @property
    def lag(self) -> int:
        """Records not read yet."""
        return max(0, self.end - self.position)


@dataclass(frozen=True, slots=True)
class Row:
    """What two looks at the same place tell. Rates are records a second."""

    group: str
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int
    rate: float
    seconds_left: float | None
    pace: Pace


def compare(earlier: Look, later: Look) -> Row:
    """How fast the group reads, and when it will have read all, if both go on as between the two looks.

    >>> row = compare(Look("g", "t", 0, 0, 100, 0, at=0.0), Look("g", "t", 0, 0, 100, 50, at=2.0))
    >>> row.rate, row.seconds_left, row.pace.value
    (25.0, 2.0, 'caught up')
    """
    elapsed = max(later.at - earlier.at, 1e-9)
    rate = max(0, later.position - earlier.position) / elapsed
    closing = (earlier.lag - later.lag) / elapsed
    return Row(
        group=later.group,
        topic=later.topic,
        partition=later.partition,
        committed=later.committed,
        end=later.end,
        lag=later.lag,
        rate=rate,
        seconds_left=_seconds_left(later.lag, rate, closing),
        pace=_pace(later.lag, rate, closing),
    )


def _seconds_left(lag: int, rate: float, closing: float) -> float | None:
    """Of what waits now where that is soon read, else of the whole race with what keeps coming."""
    if lag <= rate * SOON.total_seconds():
        return lag / rate if lag else 0.0
    return lag / closing if closing > 0 else None


def _pace(lag: int, rate: float, closing: float) -> Pace:
    """A steady stream always has some lag between two commits: what is read within SOON counts as caught up."""
    if lag <= rate * SOON.total_seconds():
        return Pace.CAUGHT_UP
    if rate == 0:
        return Pace.STUCK
    return Pace.CATCHING_UP if closing > 0 else Pace.FALLING_BEHIND


def rows(earlier: Iterable[Look], later: Iterable[Look]) -> list[Row]:
    """One row a place; a place that is new is compared with itself."""
    before = {look.place: look for look in earlier}
    return [compare(before.get(look.place, look), look) for look in later]


@app.command(epilog=_EPILOG)
def lag(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking; Ctrl-C ends it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how far the stream workers and the sink are behind.

    green: caught up, or will be within 5 s · yellow: catching up, or more comes than is read · red: does not move.
    """
    settings = context.start()
    kafka.require(settings.kafka)
    console = results()
    try:
        if watch and output is Output.TABLE:
            _watch(settings, console)
        else:
            _print_looks(settings, console, output, once=not watch)
    except KeyboardInterrupt:
        return


def look(settings: Settings, *, now: float) -> list[Look]:
    """Where every group is in every partition that it reads."""
    reads = {
        settings.streams.application: [METRICS.name],
        settings.sinks.group: [topic.name for topic in _SINK_TOPICS],
    }
    partitions = kafka.partitions_of(settings.kafka, {name for names in reads.values() for name in names})
    ends = kafka.end_offsets(settings.kafka, partitions)
    return [
        one
        for group, topics in reads.items()
        for one in _looks(group, topics, ends, kafka.committed_offsets(settings.kafka, group, partitions), now=now)
    ]


def _looks(
    group: str,
    topics: list[str],
    ends: Mapping[tuple[str, int], tuple[int, int]],
    committed: Mapping[tuple[str, int], int | None],
    *,
    now: float,
) -> Iterable[Look]:
    for topic, partition in sorted(
        ends, key=lambda place: (topics.index(place[0]) if place[0] in topics else 0, place)
    ):
        first, end = ends[topic, partition]
        if topic in topics and (end > first or committed[topic, partition] is not None):
            yield Look(group, topic, partition, first, end, committed[topic, partition], now)


def _print_looks(settings: Settings, console: Console, output: Output, *, once: bool) -> None:
    earlier = look(settings, now=time.monotonic())
    while True:
        time.sleep(LOOK_EVERY.total_seconds())
        later = look(settings, now=time.monotonic())
        found = rows(earlier, later)
        if output is Output.JSON:
            typer.echo(json.dumps([asdict(row) for row in found]))
        else:
            console.print(table(found))
        if once:
            return
        earlier = later


def _watch(settings: Settings, console: Console) -> None:
    earlier = look(settings, now=time.monotonic())
    with Live(table(rows(earlier, earlier)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(LOOK_EVERY.total_seconds())
            later = look(settings, now=time.monotonic())
            live.update(table(rows(earlier, later)), refresh=True)
            earlier = later


def table(found: list[Row]) -> Table:
    """The rows, each group and topic named once."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("topic", "part", "committed", "end", "lag", "read/s", "left", ""):
        shown.add_column(title, justify="left" if title in {"topic", ""} else "right", no_wrap=True)
    for group, of_group in itertools.groupby(found, lambda row: row.group):
        shown.add_row(f"[bold cyan]{group}[/]")
        named = ""
        for row in of_group:
            shown.add_row(
                f"  {row.topic}" if row.topic != named else "",
                str(row.partition),
                "-" if row.committed is None else f"{row.committed:,}",
                f"{row.end:,}",
                f"{row.lag:,}",
                f"{row.rate:,.0f}",
                _left(row),
                f"[{_colour(row.pace)}]● {row.pace}[/]",
            )
            named = row.topic
    total = sum(row.lag for row in found)
    shown.add_row("in all", "", "", "", f"{total:,}", "", "", "", style="dim")
    return shown


def _left(row: Row) -> str:
    return "never" if row.seconds_left is None else view.duration(row.seconds_left)


def _colour(pace: Pace) -> str:
    match pace:
        case Pace.CAUGHT_UP:
            return "green"
        case Pace.CATCHING_UP | Pace.FALLING_BEHIND:
            return "yellow"
        case Pace.STUCK:
            return "red"
        case _:
            assert_never(pace)
