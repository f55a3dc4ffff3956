"""`atalaia demo`: the stack, live metrics, 18 months of purchases, a verdict, an alert; one after the other."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Self

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console

from atalaia.cli import context, stack, up
from atalaia.cli.console import results
from atalaia.cli.demo import cdnow, host, purchases, screen
from atalaia.cli.demo.incident import SERVICE as PROBED
from atalaia.cli.demo.incident import AlertWatch, Incident, Story
from atalaia.cli.demo.verdict import PUBLISHED, Tally, compare
from atalaia.cli.progress import counting, saying
from atalaia.cli.records import Decoder
from atalaia.infra import clickhouse
from atalaia.infra import settings as configuration
from atalaia.infra.errors import Failure
from atalaia.infra.local import record
from atalaia.infra.local.record import Phase, Record
from atalaia.infra.settings import Settings
from atalaia.producers import Producer
from atalaia.schemas.registry import Registry

app = typer.Typer()

_WRONG_EXIT: Final = 1
_READY_WITHIN_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.2
_BLOCK_SECONDS: Final = 30.0
"""A replay is faster than the brokers: `emit` waits for room in the buffer instead of refusing."""

_EPILOG: Final = """\
Examples:

atalaia demo           everything, then stay up for looking around until Ctrl-C

atalaia demo --exit    leave with the verdict: exit code 0 when all is right
"""


@app.command(epilog=_EPILOG)
def demo(
    leave: Annotated[bool, typer.Option("--exit", help="Leave when the verdict is out: 0 when all is right.")] = False,
    port_offset: up.PortOffset = None,
) -> None:
    """Replay real purchases, prove the numbers, fire an alert.

    Starts the stack if it isn't up, and stops what it started. Streams this machine's own metrics, replays the 69,659
    purchases of the CDNOW data set as events of the last 18 months, compares every sum to the cent, and lets a real
    slow-down fire and resolve an alert. Every run has a service name of its own, so it can be repeated.
    """
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):  # either way, what was started is stopped
        signal.signal(number, signal.default_int_handler)
    said = Said(out=results(), progress=Console(stderr=True, highlight=False))
    with _stack(port_offset, said) as settings, Run.on(settings, said) as run:
        passed = run.everything()
        run.conclude(passed, seconds=time.monotonic() - started)
        if not leave:
            _stay(said)
    raise typer.Exit(0 if passed else _WRONG_EXIT)


@dataclass(frozen=True, slots=True)
class Said:
    """Where things are said: results on stdout, progress on stderr."""

    out: Console
    progress: Console

    def head(self, title: str) -> None:
        """What comes next."""
        self.progress.print(f"\n[bold cyan]▸ {title}[/]")


@dataclass(frozen=True, slots=True)
class Run:
    """One run, on a stack that is up, with this machine's metrics streaming all the while."""

    settings: Settings
    said: Said
    client: Client
    host: Producer
    now: datetime
    restarts_before: int

    @classmethod
    @contextmanager
    def on(cls, settings: Settings, said: Said) -> Iterator[Self]:
        """A run whose connections last as long as the block."""
        said.head("This machine's own metrics, one reading a second, until the end")
        with (
            clickhouse.connect(settings.clickhouse) as client,
            _producer(settings, host.SERVICE) as producer,
            host.HostMetrics(producer),
        ):
            said.progress.print("  cpu, memory, disk, network, load: emitted from now on")
            yield cls(settings, said, client, producer, datetime.now(UTC), _restarts())

    @property
    def service(self) -> str:
        """The service that this run's purchases belong to."""
        return purchases.service_of(self.now)

    def everything(self) -> bool:
        """All parts, one after the other; whether each came out as it must."""
        self.said.head("18 months of real purchases (CDNOW), as events of the last 18 months")
        numbers = compare(PUBLISHED, {"acknowledged by Kafka": self.replay()} | self.arrived())
        self.said.out.print(screen.checks(numbers))
        self.said.out.print(screen.revenue(purchases.by_month(self.client, self.service), columns=self.said.out.width))
        self.said.head("An incident: ClickHouse answers slowly for a moment")
        story = self.incident()
        self.said.out.print(screen.transitions(story))
        steady = [self.streamed(), self.without_restarts()]
        for passed, what in steady:
            self.said.out.print(f"{screen.mark(passed)} {what}")
        return all(check.passed for check in numbers) and story.resolved and all(passed for passed, _ in steady)

    def replay(self) -> Tally:
        """Every purchase into Kafka; what was acknowledged."""
        found = cdnow.purchases()
        with (
            _producer(self.settings, self.service) as producer,
            counting(self.said.progress, "acknowledged by Kafka", len(found)) as reached,
        ):
            return purchases.replay(producer, cdnow.shifted(found, now=self.now), reached)

    def arrived(self) -> dict[str, Tally]:
        """What ClickHouse has of them, once it has them all or no more come."""
        for place in purchases.PLACES:
            with counting(self.said.progress, place, PUBLISHED.purchases) as reached:
                purchases.await_tally(self.client, place, self.service, PUBLISHED, reached)
        return {place: purchases.tally(self.client, place, self.service) for place in purchases.PLACES}

    def incident(self) -> Story:
        """Slow answers until the alert fires, good ones until it resolves."""
        with Registry(self.settings.registry.url) as registry, _producer(self.settings, PROBED) as producer:
            watch = AlertWatch(self.settings.kafka, Decoder(registry))
            try:
                with saying(self.said.progress) as say:
                    return Incident(self.client, producer, watch, say).run()
            finally:
                watch.close()

    def streamed(self) -> tuple[bool, str]:
        """What became of this machine's metrics so far: all acknowledged, and visible in ClickHouse."""
        stats = self.host.flush(purchases.FLUSH_SECONDS)
        seen, newest = host.visible(self.client, since=self.now)
        said = f"this machine: {stats.acknowledged:,} readings acknowledged, {stats.lost} lost, {seen:,} in ClickHouse"
        return stats.lost == 0 and stats.queued == 0 and seen > 0, f"{said}, the newest {newest:.1f} s old"

    def without_restarts(self) -> tuple[bool, str]:
        """Whether every component of the stack came through this run in one life."""
        restarts = _restarts() - self.restarts_before
        return (
            restarts == 0,
            "no component had to be restarted" if restarts == 0 else f"{restarts} restarts: `atalaia status`",
        )

    def conclude(self, passed: bool, *, seconds: float) -> None:
        """The verdict in a line, and where to look next."""
        verdict = "[bold green]✓ All numbers agree to the cent, and the alert fired and resolved"
        if not passed:
            verdict = "[bold red]✗ Something is not as it must be: see the marks above, and `atalaia logs`"
        self.said.out.print(f"\n{verdict}[/] ({seconds:.0f} s)\n")
        self.said.out.print(screen.where_next(self.settings, self.service), soft_wrap=True)


@contextmanager
def _stack(port_offset: int | None, said: Said) -> Iterator[Settings]:
    """Settings that point at the stack of this home; one that had to be started is stopped in the end."""
    said.head("The stack: Apache Kafka, a schema registry, ClickHouse's engine, the workers")
    ours = not _running()
    if ours:
        up.up(port_offset=port_offset, detach=True)
    else:
        said.progress.print("  runs already; it will be left running")
    try:
        _await_ready()
        yield context.start()
    finally:
        if ours:
            said.progress.print()
            stack.down()


def _record() -> Record | None:
    return record.read(configuration.load().home / "run" / "state.json")


def _running() -> bool:
    found = _record()
    return found is not None and found.alive


def _restarts() -> int:
    found = _record()
    return 0 if found is None else sum(status.restarts for status in found.components)


def _await_ready() -> None:
    """Returns when a stack that somebody else is starting is ready, with its workers."""
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while True:
        found = _record()
        if found is not None and found.phase is Phase.READY:
            missing = set(up.WORKERS) - {status.name for status in found.components}
            if missing:
                raise Failure(f"the stack runs without {', '.join(sorted(missing))}: `atalaia down`, then again")
            return
        if time.monotonic() > deadline:
            raise Failure("the stack is not ready; `atalaia status` says what it waits for")
        time.sleep(_LOOK_SECONDS)


def _producer(settings: Settings, service: str) -> Producer:
    return Producer(
        settings.kafka.bootstrap_servers,
        service_name=service,
        tenant=settings.tenant,
        registry=settings.registry.url,
        block_timeout=_BLOCK_SECONDS,
        config=settings.kafka.config,
    )


def _stay(said: Said) -> None:
    """Until Ctrl-C."""
    said.progress.print("\n[bold]Everything stays up; Ctrl-C ends it.[/]")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
