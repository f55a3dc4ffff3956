"""`atalaia up`: start the embedded stack, here or in the background."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console

from atalaia.cli import prepare, view
from atalaia.infra import logs as logging_setup
from atalaia.infra import settings as configuration
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.local import logfiles, record, stack
from atalaia.infra.local.component import Component
from atalaia.infra.local.lock import AlreadyHeld, is_held
from atalaia.infra.local.ports import Ports, taken
from atalaia.infra.local.record import Phase, Record
from atalaia.infra.local.supervisor import Plan, Step, Supervisor
from atalaia.infra.settings import Settings

app = typer.Typer()

WORKERS: Final = {"stream": "stream_metrics", "sink": "sink_metrics"}
"""`atalaia worker NAME` for each, and which port says that it serves. A new worker is one more line."""

_POLL_SECONDS: Final = 0.1

PortOffset = Annotated[int | None, typer.Option(help="Add this to every port: a second stack on one machine.", min=0)]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Start these only: infra, workers, or a component's name. Repeat it for more."),
]


def preparation(settings: Settings) -> list[Step]:
    """What must exist before the workers start, in order."""
    return [Step(name, functools.partial(step, settings)) for name, step in prepare.STEPS.items()]


@app.command()
def up(
    port_offset: PortOffset = None,
    only: Only = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return when all is ready.")] = False,
    background: Annotated[bool, typer.Option(hidden=True, help="This is the process that -d leaves.")] = False,
) -> None:
    """Start Kafka, the registry, ClickHouse and the workers on this machine.

    Stays in the foreground and shows what happens until Ctrl-C, which stops everything. State lives in .atalaia
    (ATALAIA_HOME). All ports are on loopback: Kafka 9092, registry 8081, ClickHouse 8123.
    """
    settings = configuration.load()
    if port_offset is not None:
        settings = stack.shifted(settings, port_offset)
    console = Console(stderr=True)
    if _already_runs(settings):
        return
    plan = _plan(settings, only, console)
    if detach:
        _detach(plan, settings, only, console)
    elif background:
        logging_setup.configure(settings, service="supervisor")
        _run(plan, console)
    else:
        log = logfiles.path_of(plan.logs, "supervisor")
        logfiles.begin(log)
        with log.open("a", encoding="utf-8") as stream:
            logging_setup.configure(settings, service="supervisor", stream=stream)
            _run(plan, console)


def _plan(settings: Settings, only: list[str] | None, console: Console) -> Plan:
    chosen = _chosen(only)
    ports = stack.ports_of(settings)
    local = stack.localised(settings, ports)
    _refuse_taken_ports(ports, chosen)
    with view.downloading(console) as advance:
        infrastructure = stack.infrastructure(local, ports, only=tuple(chosen), advance=advance)
    whole = set(stack.INFRASTRUCTURE) <= chosen
    return Plan(
        home=local.home,
        ports=ports,
        infrastructure=infrastructure,
        steps=preparation(local) if whole else (),
        workers=[_worker(name, local, ports) for name in WORKERS if name in chosen],
    )


def _chosen(only: list[str] | None) -> set[str]:
    groups = {"infra": set(stack.INFRASTRUCTURE), "workers": set(WORKERS)}
    everything = groups["infra"] | groups["workers"]
    if not only:
        return everything
    unknown = [name for name in only if name not in everything and name not in groups]
    if unknown:
        known = ", ".join([*groups, *stack.INFRASTRUCTURE, *WORKERS])
        raise UsageFailure(f"--only {unknown[0]}: no such component; there are {known}")
    return set().union(*(groups.get(name, {name}) for name in only))


def _worker(name: str, local: Settings, ports: Ports) -> Component:
    command = (sys.executable, "-m", "atalaia.cli", "worker", name)
    return stack.worker(name, command, getattr(ports, WORKERS[name]), local)


def _refuse_taken_ports(ports: Ports, chosen: set[str]) -> None:
    """Before the download: a taken port is the cheaper thing to learn first."""
    listening = {name: name for name in stack.INFRASTRUCTURE} | WORKERS
    wanted = [getattr(ports, field) for name, field in listening.items() if name in chosen]
    held = taken([*wanted, *([ports.controller] if "kafka" in chosen else [])])
    if held:
        raise Failure(f"{'; '.join(map(str, held))}: stop it, or use other ports with `atalaia up --port-offset 100`")


def _run(plan: Plan, console: Console) -> None:
    """Be the supervisor until a signal says stop."""
    with view.Watch(console).shown() as update:
        supervisor = Supervisor(plan, update)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.stop())
        try:
            supervisor.run()
        except AlreadyHeld:
            raise Failure(f"another `atalaia up` is starting in {plan.home}; see `atalaia status`") from None


def _detach(plan: Plan, settings: Settings, only: list[str] | None, console: Console) -> None:
    """Start the supervisor as a process of its own; return when it says that all is ready."""
    path = logfiles.path_of(plan.logs, "supervisor")
    logfiles.begin(path)
    options = ["--port-offset", str(settings.local.port_offset), *(f"--only={name}" for name in only or ())]
    with logfiles.opened(path) as output:
        child = subprocess.Popen(  # noqa: S603  (our own command line)
            [sys.executable, "-m", "atalaia.cli", "up", "--background", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with view.Watch(console).shown() as update:
            found = _await_ready(plan, child, update)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    if found is None or found.phase is not Phase.READY:
        said = logfiles.tail(path, 1)
        raise Failure((found and found.failure) or f"the supervisor ended: {''.join(said)} (more in {path})")
    _print_running(found)


def _await_ready(plan: Plan, child: subprocess.Popen[bytes], update: Callable[[Record], None]) -> Record | None:
    found: Record | None = None
    while found is None or found.phase is not Phase.READY:
        ended = child.poll() is not None
        latest = record.read(plan.state_file)
        if latest is not None and latest.pid == child.pid:
            found = latest
            update(found)
        if ended:
            return found
        time.sleep(_POLL_SECONDS)
    return found


def _already_runs(settings: Settings) -> bool:
    found = record.read(settings.home / "run" / "state.json")
    if found is None or not found.alive or not is_held(settings.home / "run" / "lock"):
        return False
    _print_running(found, already=True)
    return True


def _print_running(found: Record, *, already: bool = False) -> None:
    said = "already running" if already else "running"
    typer.echo(f"The stack is {said} (pid {found.pid}, {found.phase}); `atalaia down` stops it.")
    for line in view.endpoint_lines(found):
        typer.echo(line)
