"""The stack as a person sees it: a table that stays up to date on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from atalaia.infra.local.component import State, Status
from atalaia.infra.local.kafka import jars
from atalaia.infra.local.ports import Ports
from atalaia.infra.local.record import Phase, Record
from atalaia.infra.settings import LOOPBACK

_EVENTS_SHOWN = 5
_PLACE = {"logger", "service", "module", "function", "line"}
_COLOURS: dict[str, str] = {
    State.READY: "green",
    State.STARTING: "yellow",
    State.BACKOFF: "red",
    State.FAILED: "red",
    State.STOPPING: "yellow",
    Phase.PREPARING: "yellow",
}
_MARKS = {"done": "[green]✓[/]", "running": "[yellow]…[/]", "failed": "[red]✗[/]", "waiting": " "}


@dataclass(frozen=True, slots=True)
class Row:
    """One component, as `status` says it."""

    component: str
    state: str
    pid: int | None
    port: int | None
    uptime_seconds: int | None
    restarts: int
    memory_bytes: int | None
    last_exit: str | None


def rows(record: Record, *, now: float) -> list[Row]:
    """What is known of the supervisor and each component; memory is asked of the system."""
    supervisor = Row(
        component="supervisor",
        state=record.phase.value,
        pid=record.pid,
        port=None,
        uptime_seconds=round(now - record.started),
        restarts=0,
        memory_bytes=_memory(record.pid),
        last_exit=None,
    )
    return [*(_row(status, now=now) for status in record.components), supervisor]


def _row(status: Status, *, now: float) -> Row:
    serving = status.state is State.READY
    return Row(
        component=status.name,
        state=status.state.value,
        pid=status.pid,
        port=status.port,
        uptime_seconds=round(now - status.since) if serving else None,
        restarts=status.restarts,
        memory_bytes=_memory(status.pid),
        last_exit=status.last_exit,
    )


def table(record: Record, *, now: float) -> Table:
    """The components, one a line, and what they take together."""
    found = rows(record, now=now)
    total = sum(row.memory_bytes or 0 for row in found)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("component", "state", "pid", "port", "uptime", "restarts", "memory"):
        shown.add_column(title, justify="right" if title in {"pid", "port", "restarts", "memory"} else "left")
    for row in found:
        colour = _COLOURS.get(row.state, "dim")
        shown.add_row(
            row.component,
            f"[{colour}]{row.state}[/]",
            _or_dash(row.pid),
            _or_dash(row.port),
            "-" if row.uptime_seconds is None else duration(row.uptime_seconds),
            str(row.restarts) + (f" ({row.last_exit})" if row.last_exit else ""),
            "-" if row.memory_bytes is None else mebibytes(row.memory_bytes),
        )
    shown.add_row("", "", "", "", "", "", mebibytes(total), style="dim")
    return shown


def endpoints(ports: Ports, names: set[str]) -> dict[str, str]:
    """Where the running components are reached."""
    everything = {
        "kafka": f"{LOOPBACK}:{ports.kafka}",
        "registry": f"http://{LOOPBACK}:{ports.registry}",
        "clickhouse": f"http://{LOOPBACK}:{ports.clickhouse}",
    }
    return {name: address for name, address in everything.items() if name in names}


def endpoint_lines(record: Record) -> list[str]:
    """The endpoints in words, and what programs elsewhere need when the ports aren't the usual ones."""
    found = endpoints(record.ports, {status.name for status in record.components})
    lines = [f"  {name:<11} {address}" for name, address in found.items()]
    if record.ports.kafka == Ports().kafka:
        return lines
    variables = {
        "kafka": "ATALAIA_KAFKA__BOOTSTRAP_SERVERS",
        "registry": "ATALAIA_REGISTRY__URL",
        "clickhouse": "ATALAIA_CLICKHOUSE__URL",
    }
    return [*lines, *(f"  export {variables[name]}={address}" for name, address in found.items())]


class Watch:
    """Shows a run as it changes. `update` may be called from any thread, with every new record."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._record: Record | None = None
        self._said: set[tuple[float, str]] = set()

    @contextmanager
    def shown(self) -> Iterator[Callable[[Record], None]]:
        """On a terminal a table kept up to date; elsewhere a line for each thing that happens."""
        if not self._console.is_terminal:
            yield self._say
            return
        with Live(get_renderable=self._screen, console=self._console, refresh_per_second=4, transient=True):
            yield self._keep
        self._console.print("stopped", style="dim")

    def _keep(self, record: Record) -> None:
        self._record = record

    def _screen(self) -> RenderableType:
        record, now = self._record, time.time()
        if record is None:
            return Text("")
        parts: list[RenderableType] = [table(record, now=now)]
        parts += [
            Text.from_markup(f"{_MARKS[step.state]} {step.name} [dim]{escape(step.detail)}[/]") for step in record.steps
        ]
        parts += [Text(f"{clock(event.at)} {event.text}", style="dim") for event in record.events[-_EVENTS_SHOWN:]]
        if record.phase is Phase.READY:
            parts += [Text("\n".join(["", *endpoint_lines(record)])), Text("\nCtrl-C stops it.", style="bold")]
        return Group(*parts)

    def _say(self, record: Record) -> None:
        for event in record.events:
            self._line(event.at, event.text)
        for step in record.steps:
            if step.state != "waiting":
                self._line(record.started, f"{step.name}: {step.detail or step.state}")
        if record.phase is Phase.READY:
            for line in endpoint_lines(record):
                self._line(record.started, line.strip())

    def _line(self, at: float, text: str) -> None:
        if (at, text) not in self._said:
            self._said.add((at, text))
            self._console.print(f"{clock(time.time())} {text}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def downloading(console: Console) -> Iterator[jars.Advance]:
    """Progress of a download, a bar on a terminal, a line every tenth elsewhere; silent when there is none."""
    if not console.is_terminal:
        yield _tenths(console)
        return
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"Apache Kafka {jars.KAFKA_VERSION}", total=None, visible=False)
        yield lambda _, done, total: progress.update(task, completed=done, total=total, visible=True)


def _tenths(console: Console) -> jars.Advance:
    said = -1

    def advance(_: str, done: int, total: int) -> None:
        nonlocal said
        if done * 10 // total > said:
            said = done * 10 // total
            console.print(
                f"downloading Apache Kafka {jars.KAFKA_VERSION}: {done / 1e6:.0f} of {total / 1e6:.0f} MB",
                highlight=False,
            )

    return advance


def log_line(line: str) -> str:
    """A line of a log for people: a JSON record in short, anything else as it is.

    >>> log_line('{"timestamp": "2026-01-02T03:04:05Z", "level": "info", "event": "batch_stored", "rows": 3}')
    '2026-01-02T03:04:05Z info    batch_stored rows=3'
    >>> log_line("Kafka Server started")
    'Kafka Server started'
    """
    try:
        record = json.loads(line)
        said = f"{record.pop('timestamp')} {record.pop('level'):<7} {record.pop('event')}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return line
    exception = record.pop("exception", None)
    fields = [f"{name}={value}" for name, value in record.items() if name not in _PLACE]
    return " ".join([said, *fields]) + (f"\n{exception}" if exception else "")


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> duration(42), duration(3_700), duration(200_000)
    ('42s', '1h 1m', '2d 7h')
    """
    whole = int(seconds)
    if whole < 60:  # noqa: PLR2004  (seconds in a minute)
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if not hours:
        return f"{minutes}m {whole % 60}s"
    return f"{days}d {hours % 24}h" if days else f"{hours}h {minutes % 60}m"


def mebibytes(count: int) -> str:
    """A size in MiB.

    >>> mebibytes(200 * 1024 * 1024)
    '200 MiB'
    """
    return f"{count / 1024**2:.0f} MiB"


def clock(at: float) -> str:
    """The wall clock where the person sits."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _memory(pid: int | None) -> int | None:
    try:
        return None if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
