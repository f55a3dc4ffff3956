"""The stack of one home as a plan for the supervisor, and as a context manager for tests."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from atalaia.infra.errors import Failure
from atalaia.infra.local import probes, record
from atalaia.infra.local.component import Component, State, Status
from atalaia.infra.local.kafka import broker, jars
from atalaia.infra.local.ports import Ports
from atalaia.infra.local.supervisor import Plan, Step, Supervisor
from atalaia.infra.settings import LOOPBACK, Settings
from atalaia.infra.settings import load as load_settings

INFRASTRUCTURE = ("kafka", "registry", "clickhouse")


def ports_of(settings: Settings) -> Ports:
    """The ports that these settings give a stack; `Failure` when the offset pushes one out of range."""
    base = Ports(stream_metrics=settings.streams.metrics_port, sink_metrics=settings.sinks.metrics_port)
    offset = settings.local.port_offset
    if offset > base.highest_offset:
        raise Failure(f"port offset {offset} is too large: the highest port is 65535; at most {base.highest_offset}")
    return base.shifted(offset)


def localised(settings: Settings, ports: Ports) -> Settings:
    """The same settings, pointing at a stack on these ports."""
    return settings.model_copy(
        update={
            "home": settings.home.absolute(),
            "kafka": settings.kafka.model_copy(
                update={"bootstrap_servers": f"{LOOPBACK}:{ports.kafka}", "replication_factor": 1}
            ),
            "registry": settings.registry.model_copy(
                update={"url": f"http://{LOOPBACK}:{ports.registry}", "auto_register": True}
            ),
            "clickhouse": settings.clickhouse.model_copy(update={"url": f"http://{LOOPBACK}:{ports.clickhouse}"}),
            "streams": settings.streams.model_copy(update={"metrics_port": ports.stream_metrics}),
            "sinks": settings.sinks.model_copy(update={"metrics_port": ports.sink_metrics}),
        }
    )


def environment(local: Settings) -> dict[str, str]:
    """What a child of the stack needs in its environment to get `localised` settings from `settings.load()`."""
    return {
        "ATALAIA_HOME": str(local.home),
        "ATALAIA_KAFKA__BOOTSTRAP_SERVERS": local.kafka.bootstrap_servers,
        "ATALAIA_KAFKA__REPLICATION_FACTOR": str(local.kafka.replication_factor),
        "ATALAIA_REGISTRY__URL": local.registry.url,
        "ATALAIA_REGISTRY__AUTO_REGISTER": "true",
        "ATALAIA_CLICKHOUSE__URL": local.clickhouse.url,
        "ATALAIA_STREAMS__METRICS_PORT": str(local.streams.metrics_port),
        "ATALAIA_SINKS__METRICS_PORT": str(local.sinks.metrics_port),
    }


def running(settings: Settings) -> Settings:
    """Settings that point at the stack of this home if one runs on other ports; otherwise they are as they were.

    What the user set in so many words (environment or file) is never replaced.
    """
    found = record.read(settings.home / "run" / "state.json")
    if found is None or not found.alive:
        return settings
    local = localised(settings, found.ports)
    explicit = {name for name in ("kafka", "registry", "clickhouse") if _is_explicit(settings, name)}
    kept = {name: getattr(settings, name) for name in explicit}
    return local.model_copy(update=kept)


def _is_explicit(settings: Settings, section: str) -> bool:
    address = "bootstrap_servers" if section == "kafka" else "url"
    return address in getattr(settings, section).model_fields_set


def infrastructure(
    settings: Settings,
    ports: Ports,
    *,
    only: Sequence[str] = INFRASTRUCTURE,
    advance: jars.Advance = lambda *_: None,
) -> list[Component]:
    """Kafka, the registry and ClickHouse as components; downloads and formats what Kafka needs for its start."""
    build: Mapping[str, Callable[[], Component]] = {
        "kafka": lambda: _kafka(settings, ports, advance),
        "registry": lambda: _registry(settings, ports),
        "clickhouse": lambda: _clickhouse(settings, ports),
    }
    return [build[name]() for name in INFRASTRUCTURE if name in only]


def worker(name: str, command: Sequence[str], port: int, local: Settings) -> Component:
    """A worker of the stack: ready when its metrics port answers."""
    return Component(
        name=name,
        command=tuple(command),
        ready=probes.port(port),
        port=port,
        environment=environment(local),
        stop_within_seconds=20.0,
    )


def _kafka(settings: Settings, ports: Ports, advance: jars.Advance) -> Component:
    one = broker.Broker(
        home=settings.home.absolute() / "kafka",
        port=ports.kafka,
        controller_port=ports.controller,
        partitions=settings.kafka.partitions,
        heap=settings.local.kafka_heap,
    )
    broker.java()  # before the download: a missing JRE is the cheaper thing to learn first
    files = jars.ensure(settings.local.jars or jars.default_cache(), advance)
    broker.prepare(one, files)
    return Component(
        name="kafka",
        command=tuple(broker.command(one, files)),
        ready=probes.kafka(ports.kafka),
        port=ports.kafka,
        environment={"MALLOC_ARENA_MAX": "2"},  # glibc's arenas cost a JVM tens of MiB
    )


def _registry(settings: Settings, ports: Ports) -> Component:
    return Component(
        name="registry",
        command=(
            *(sys.executable, "-m", "atalaia.infra.local.registry"),
            *("--host", LOOPBACK, "--port", str(ports.registry)),
            *("--path", str(settings.home.absolute() / "registry.sqlite")),
        ),
        ready=probes.http(ports.registry, "/subjects", b"["),
        port=ports.registry,
    )


def _clickhouse(settings: Settings, ports: Ports) -> Component:
    return Component(
        name="clickhouse",
        command=(
            *(sys.executable, "-m", "atalaia.infra.local.clickhouse"),
            *("--host", LOOPBACK, "--port", str(ports.clickhouse)),
            *("--path", str(settings.home.absolute() / "clickhouse")),
            *("--memory-bytes", str(settings.local.clickhouse_memory_bytes)),
        ),
        ready=probes.http(ports.clickhouse, "/ping", b"Ok."),
        port=ports.clickhouse,
    )


class LocalStack:
    """A stack of its own for a test: `with LocalStack(tmp_path) as stack:` returns when all of it serves.

    Runs on free ports, in a thread of this process; nothing of it outlives the block, nor this process.
    `stack.settings` points at it.
    """

    def __init__(
        self,
        home: Path,
        *,
        components: Sequence[str] = INFRASTRUCTURE,
        ports: Ports | None = None,
        workers: Callable[[Settings, Ports], Sequence[Component]] = lambda *_: (),
        steps: Callable[[Settings], Sequence[Step]] = lambda _: (),
    ) -> None:
        self._ports = ports or Ports.free()
        self.settings = localised(load_settings(home=home), self._ports)
        self._only = components
        self._workers = workers
        self._steps = steps
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        plan = Plan(
            home=self.settings.home,
            ports=self._ports,
            infrastructure=infrastructure(self.settings, self._ports, only=self._only),
            steps=self._steps(self.settings),
            workers=self._workers(self.settings, self._ports),
        )
        self._supervisor = Supervisor(plan)
        self._thread = threading.Thread(target=self._run, name="local-stack", daemon=True)
        self._thread.start()
        try:
            self._await(lambda: self._supervisor.record.phase is record.Phase.READY, within_seconds=120.0)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point any other process at this stack."""
        return os.environ | environment(self.settings)

    def status(self, name: str) -> Status:
        """One component, now."""
        return next(status for status in self._supervisor.record.components if status.name == name)

    def log(self, name: str) -> Path:
        """A component's log file."""
        return self.settings.home / "logs" / f"{name}.log"

    def kill(self, name: str) -> int:
        """End a component with SIGKILL; returns its pid. The supervisor will start it again: see `await_restart`."""
        status = self.status(name)
        if status.pid is None:
            raise Failure(f"{name} has no process to kill: it is {status.state}")
        psutil.Process(status.pid).kill()
        return status.pid

    def await_restart(self, name: str, *, killed_pid: int, within_seconds: float = 60.0) -> None:
        """Return when the component serves again as another process than the one that was killed."""
        self._await(
            lambda: self.status(name).state is State.READY and self.status(name).pid != killed_pid,
            within_seconds=within_seconds,
        )

    def restart(self, name: str) -> None:
        """End a component with SIGKILL and return when it serves again."""
        self.await_restart(name, killed_pid=self.kill(name))

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except BaseException as exc:  # noqa: BLE001  (handed to the thread that waits for it)
            self._failure = exc

    def _await(self, condition: Callable[[], bool], *, within_seconds: float) -> None:
        deadline = time.monotonic() + within_seconds
        while not condition():
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                states = ", ".join(f"{s.name} {s.state}" for s in self._supervisor.record.components)
                raise Failure(f"the local stack took longer than {within_seconds:.0f} s: {states}")
            time.sleep(0.05)

    def _stop(self) -> None:
        self._supervisor.stop()
        self._thread.join(timeout=60.0)


def shifted(settings: Settings, offset: int) -> Settings:
    """The settings with another port offset."""
    return settings.model_copy(update={"local": settings.local.model_copy(update={"port_offset": offset})})
