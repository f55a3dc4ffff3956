"""Start the processes of a stack, keep them running, stop them: one loop in one thread.

Order: the infrastructure together; when all of it serves, the preparation steps one by one; then the workers
together. Stopping goes the other way round. Children live in sessions of their own, so a Ctrl-C reaches only the
supervisor, and they die with it however it dies (launch.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import structlog

from atalaia.infra.errors import Failure
from atalaia.infra.local import component as life
from atalaia.infra.local import launch, logfiles, record
from atalaia.infra.local.component import Component, State, Status
from atalaia.infra.local.lock import HomeLock
from atalaia.infra.local.ports import Ports, taken
from atalaia.infra.local.record import Phase, Record, StepRecord

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.1
_LOG_CHECK_SECONDS = 10.0
_GIVE_UP_AFTER_FAILURES = 3
"""How often in a row a component may die before it ever served; then `up` fails instead of trying on."""


@dataclass(frozen=True, slots=True)
class Step:
    """Work between the infrastructure and the workers: create topics, register schemas, apply migrations.

    `run` says what it did in a few words; it may be run again by the next start. A `Failure` stops the start.
    """

    name: str
    run: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and where its state is."""

    home: Path
    ports: Ports
    infrastructure: Sequence[Component] = ()
    steps: Sequence[Step] = ()
    workers: Sequence[Component] = ()

    @property
    def components(self) -> tuple[Component, ...]:
        """All of them, in starting order."""
        return (*self.infrastructure, *self.workers)

    @property
    def logs(self) -> Path:
        """One file a component."""
        return self.home / "logs"

    @property
    def state_file(self) -> Path:
        """The record of the run."""
        return self.home / "run" / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held as long as the stack of this home runs."""
        return self.home / "run" / "lock"


class Supervisor:
    """Runs a plan until `stop()` is called (from any thread or signal handler) or the start fails.

    `run()` blocks and returns only when no child is left. `observe` gets the record after every change, in the
    thread of `run()`. Raises `AlreadyHeld` when the home's stack runs already, `Failure` when it cannot start.
    """

    def __init__(self, plan: Plan, observe: Callable[[Record], None] = lambda _: None) -> None:
        self._plan = plan
        self._observe = observe
        self._components = {component.name: component for component in plan.components}
        self._status = {c.name: Status(c.name, c.port) for c in plan.components}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._asked_to_stop = 0
        self._logs_checked = 0.0
        me = psutil.Process()
        self._record = Record(
            pid=me.pid,
            created=me.create_time(),
            started=time.time(),
            ports=plan.ports,
            components=tuple(self._status.values()),
            steps=tuple(StepRecord(step.name) for step in plan.steps),
        )

    @property
    def record(self) -> Record:
        """The state of the run, now."""
        return self._record

    def stop(self) -> None:
        """Begin to stop; asked a second time, don't wait for anyone any more."""
        self._asked_to_stop += 1  # an int and a poll: safe inside a signal handler, unlike an Event

    def run(self) -> None:
        """Everything: lock, start, watch, stop."""
        with HomeLock(self._plan.lock_file):
            clean_up(self._plan.state_file)
            self._refuse_taken_ports()
            for component in self._plan.components:
                logfiles.begin(logfiles.path_of(self._plan.logs, component.name))
            try:
                self._start()
                while not self._asked_to_stop:
                    self._tick()
            except Failure as failure:
                self._note(f"start failed: {failure}", phase=Phase.FAILED, failure=str(failure))
                raise
            finally:
                self._stop_all()

    def _start(self) -> None:
        self._note("starting")
        self._bring_up(self._plan.infrastructure)
        if self._plan.steps and not self._asked_to_stop:
            self._note("infrastructure is ready", phase=Phase.PREPARING)
            self._prepare()
        self._bring_up(self._plan.workers)
        if not self._asked_to_stop:
            self._note("ready", phase=Phase.READY)

    def _refuse_taken_ports(self) -> None:
        held = taken(component.port for component in self._plan.components if component.port is not None)
        if held:
            raise Failure(
                f"{'; '.join(map(str, held))}: stop it, or move the stack with `atalaia up --port-offset 100`"
            )

    def _bring_up(self, group: Sequence[Component]) -> None:
        for component in group:
            if self._asked_to_stop:
                return
            self._spawn(component)
        while not self._asked_to_stop and any(self._status[c.name].state is not State.READY for c in group):
            self._tick()
            for component in group:
                status = self._status[component.name]
                if status.failures_in_a_row >= _GIVE_UP_AFTER_FAILURES:
                    self._set(replace(status, state=State.FAILED, retry_at=None))
                    raise Failure(self._epitaph(status))

    def _epitaph(self, status: Status) -> str:
        path = logfiles.path_of(self._plan.logs, status.name)
        said = [line for line in logfiles.tail(path, 50) if line.strip()]
        return (
            f"{status.name} does not start ({status.last_exit}): {said[-1].strip() if said else 'it said nothing'} "
            f"(more in {path})"
        )

    def _prepare(self) -> None:
        for index, step in enumerate(self._plan.steps):
            self._set_step(index, StepRecord(step.name, "running"))
            future = _in_background(step.run)
            while not future.done():
                self._tick()  # whatever dies meanwhile comes back while the step retries
                if self._asked_to_stop:
                    return
            self._finish_step(index, step, future)

    def _finish_step(self, index: int, step: Step, future: Future[str]) -> None:
        error = future.exception()
        if error is not None:
            self._set_step(index, StepRecord(step.name, "failed", str(error)))
            raise Failure(f"{step.name}: {error}") from error
        self._set_step(index, StepRecord(step.name, "done", future.result()))

    def _tick(self) -> None:
        """Look at every component once, act on what happened, wait a moment."""
        for component in self._plan.components:
            self._look_at(component)
        if time.monotonic() - self._logs_checked > _LOG_CHECK_SECONDS:
            self._logs_checked = time.monotonic()
            for component in self._plan.components:
                logfiles.shorten(logfiles.path_of(self._plan.logs, component.name))
        time.sleep(_TICK_SECONDS)

    def _look_at(self, component: Component) -> None:
        status = self._status[component.name]
        now = time.time()
        match status.state:
            case State.STARTING | State.READY:
                code = self._processes[component.name].poll()
                if code is not None:
                    self._buried(component, code)
                elif status.state is State.STARTING:
                    self._await(component, status, now=now)
            case State.BACKOFF if status.retry_at is not None and now >= status.retry_at:
                self._spawn(component)
            case _:
                pass

    def _await(self, component: Component, status: Status, *, now: float) -> None:
        if component.ready():
            again = f" again (restart {status.restarts})" if status.restarts else ""
            self._set(life.became_ready(status, now=now))
            self._note(f"{component.name} is ready{again} after {now - status.since:.1f} s")
        elif now - status.since > component.start_within_seconds:
            self._note(f"{component.name} was not ready within {component.start_within_seconds:.0f} s: killed")
            self._processes[component.name].kill()

    def _buried(self, component: Component, code: int) -> None:
        status = life.exited(self._status[component.name], code=code, now=time.time())
        del self._processes[component.name]
        self._set(status)
        wait = life.backoff_seconds(status.failures_in_a_row)
        self._note(f"{component.name} died ({status.last_exit}); starting it again in {wait:.1f} s")
        log.warning("component_died", component=component.name, exit=status.last_exit, restarts=status.restarts)

    def _spawn(self, component: Component) -> None:
        with logfiles.opened(logfiles.path_of(self._plan.logs, component.name)) as output:
            process = subprocess.Popen(  # noqa: S603  (our own command lines)
                [sys.executable, "-I", "-S", str(launch.__file__), str(os.getpid()), *component.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(component.environment),
                start_new_session=True,
            )
        self._processes[component.name] = process
        created = psutil.Process(process.pid).create_time()
        status = self._status[component.name]
        self._set(life.started(status, pid=process.pid, created=created, now=time.time()))
        log.info("component_started", component=component.name, child=process.pid)

    def _stop_all(self) -> None:
        phase = Phase.STOPPED if self._record.failure is None else Phase.FAILED
        if self._record.failure is None:
            self._note("stopping", phase=Phase.STOPPING)
        self._end(self._plan.workers)
        self._end(self._plan.infrastructure)
        self._note("stopped", phase=phase)

    def _end(self, group: Iterable[Component]) -> None:
        """SIGTERM to all of a group, SIGKILL to those that outlive their deadline; returns when none is left."""
        waiting = {c.name: c for c in group if c.name in self._processes}
        for name in waiting:
            self._set(replace(self._status[name], state=State.STOPPING))
            self._processes[name].send_signal(signal.SIGTERM)
        begun = time.monotonic()
        killed: set[str] = set()
        while waiting:
            for name, component in list(waiting.items()):
                process = self._processes[name]
                late = time.monotonic() - begun > component.stop_within_seconds
                if process.poll() is not None:
                    self._set(life.stopped(self._status[name], now=time.time()))
                    del waiting[name], self._processes[name]
                elif name not in killed and (late or self._asked_to_stop > 1):
                    killed.add(name)
                    self._note(f"{name} did not stop in time: killed")
                    process.kill()
            time.sleep(_TICK_SECONDS / 2 if waiting else 0)

    def _set(self, status: Status) -> None:
        self._status[status.name] = status
        self._publish(replace(self._record, components=tuple(self._status.values())))

    def _set_step(self, index: int, step: StepRecord) -> None:
        steps = self._record.steps
        self._publish(replace(self._record, steps=(*steps[:index], step, *steps[index + 1 :])))

    def _note(self, text: str, *, phase: Phase | None = None, failure: str | None = None) -> None:
        changed = replace(self._record, phase=phase or self._record.phase, failure=failure or self._record.failure)
        self._publish(changed.noting(text, now=time.time()))

    def _publish(self, changed: Record) -> None:
        self._record = changed
        record.write(self._plan.state_file, changed)
        self._observe(changed)


def _in_background(work: Callable[[], str]) -> Future[str]:
    """Run it in a daemon thread: a step that hangs must not keep the stopped supervisor alive."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:  # noqa: BLE001  (handed over whole; the supervisor's thread raises it)
            future.set_exception(exc)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    return future


def clean_up(state_file: Path) -> int:
    """End what a supervisor that was killed left running (where the kernel didn't); how many that was."""
    earlier = record.read(state_file)
    if earlier is None or earlier.alive:
        return 0
    left = record.left_behind(earlier)
    record.end(left)
    return len(left)
