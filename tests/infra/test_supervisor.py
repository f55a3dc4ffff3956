"""The supervisor, with real processes: small servers that can be told to misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from atalaia.infra.errors import Failure
from atalaia.infra.local import logfiles, probes, record
from atalaia.infra.local.component import Component, State, Status
from atalaia.infra.local.lock import AlreadyHeld, is_held
from atalaia.infra.local.ports import Ports
from atalaia.infra.local.record import Phase, Record
from atalaia.infra.local.supervisor import Plan, Step, Supervisor, clean_up

SERVER = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]
STUBBORN = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: server.accept()
"""
TALKATIVE = """
import os, socket, sys
print("life", os.getpid(), flush=True)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: server.accept()
"""
OUTSIDER = """
import sys
from pathlib import Path
from atalaia.infra.local import probes
from atalaia.infra.local.component import Component
from atalaia.infra.local.ports import Ports
from atalaia.infra.local.supervisor import Plan, Supervisor
home, port = Path(sys.argv[1]), int(sys.argv[2])
server = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
Supervisor(Plan(home, Ports(), [Component("a", server, probes.port(port), port)])).run()
"""


def eventually(condition: Callable[[], bool], within_seconds: float = 30.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def server(name: str, port: int) -> Component:
    """A component that serves at once and ends when asked."""
    return Component(name, (*SERVER, str(port)), probes.port(port), port)


class Run:
    """A supervisor in a thread, and everything it published."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.history: list[Record] = []
        self.failure: BaseException | None = None
        self.supervisor = Supervisor(plan, self.history.append)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except (Failure, AlreadyHeld) as exc:
            self.failure = exc

    def status(self, name: str) -> Status:
        """One component, now."""
        return next(status for status in self.supervisor.record.components if status.name == name)

    def is_ready(self) -> bool:
        """Whether the whole start is done."""
        return self.supervisor.record.phase is Phase.READY

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """Ask, and wait for its end."""
        self.supervisor.stop()
        self.join()


@contextmanager
def running(plan: Plan) -> Iterator[Run]:
    """A run that is stopped at the end."""
    run = Run(plan)
    try:
        yield run
    finally:
        run.stop()


@pytest.fixture
def ports() -> Ports:
    """Free ones."""
    return Ports.free()


def plan(
    home: Path,
    infrastructure: Sequence[Component] = (),
    *,
    steps: Sequence[Step] = (),
    workers: Sequence[Component] = (),
) -> Plan:
    """A plan whose record of ports doesn't matter."""
    return Plan(home, Ports(), infrastructure, steps, workers)


def test_order_is_infrastructure_steps_workers(tmp_path: Path, ports: Ports) -> None:
    """A step sees all infrastructure serving; a worker starts after the last step."""
    seen: list[bool] = []
    infrastructure = [server("a", ports.kafka), server("b", ports.registry)]

    def look() -> str:
        seen.append(all(component.ready() for component in infrastructure))
        return "looked"

    steps = [Step("look", look)]
    with running(plan(tmp_path, infrastructure, steps=steps, workers=[server("w", ports.sink_metrics)])) as run:
        eventually(run.is_ready)
        assert seen == [True]
        assert run.supervisor.record.steps[0].state == "done"
        before = [r for r in run.history if r.phase in {Phase.STARTING, Phase.PREPARING} and r.steps[0].state != "done"]
        assert all(r.components[-1].state is State.WAITING for r in before)


def test_a_killed_component_comes_back_and_is_reported(tmp_path: Path, ports: Ports) -> None:
    """After kill -9 it serves again as another process, counted, and named in the events."""
    with running(plan(tmp_path, [server("a", ports.kafka)])) as run:
        eventually(run.is_ready)
        first = run.status("a").pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: run.status("a").restarts == 1 and run.status("a").state is State.READY)
        assert run.status("a").pid != first
        events = [event.text for event in run.supervisor.record.events]
        assert any("a died (killed by SIGKILL)" in text for text in events)
        assert any("a is ready again (restart 1)" in text for text in events)


def test_stopping_leaves_no_process_and_no_lock(tmp_path: Path, ports: Ports) -> None:
    """Afterwards no child lives, no port is held, the lock is free, and the record says stopped."""
    stack = plan(tmp_path, [server("a", ports.kafka)], workers=[server("w", ports.registry)])
    with running(stack) as run:
        eventually(run.is_ready)
        assert is_held(stack.lock_file)
        children = [(status.pid, status.created) for status in run.supervisor.record.components]
    assert not any(record.is_same_process(*child) for child in children)
    assert not stack.lock_file.exists()
    last = record.read(stack.state_file)
    assert last is not None
    assert (last.phase, {status.state for status in last.components}) == (Phase.STOPPED, {State.STOPPED})


def test_workers_stop_before_infrastructure(tmp_path: Path, ports: Ports) -> None:
    """As long as a worker lives, what it writes to lives."""
    stack = plan(tmp_path, [server("a", ports.kafka)], workers=[server("w", ports.registry)])
    with running(stack) as run:
        eventually(run.is_ready)
    ending = [{s.name: s.state for s in r.components} for r in run.history if r.phase is Phase.STOPPING]
    assert all(states["w"] is State.STOPPED for states in ending if states["a"] is not State.READY)


def test_a_component_that_ignores_sigterm_is_killed(tmp_path: Path, ports: Ports) -> None:
    """Past its deadline it gets SIGKILL."""
    command = (sys.executable, "-c", STUBBORN, str(ports.kafka))
    stubborn = Component("a", command, probes.port(ports.kafka), ports.kafka, stop_within_seconds=0.2)
    with running(plan(tmp_path, [stubborn])) as run:
        eventually(run.is_ready)
        child = (run.status("a").pid, run.status("a").created)
    assert not record.is_same_process(*child)
    assert "a did not stop in time: killed" in [event.text for event in run.supervisor.record.events]


def test_a_component_that_never_starts_fails_the_start(tmp_path: Path, ports: Ports) -> None:
    """After three deaths in a row `up` fails with the component's last words, and stops the others."""
    command = (sys.executable, "-c", "raise SystemExit('no such option: --frobnicate')")
    broken = Component("b", command, probes.port(ports.registry), ports.registry)
    run = Run(plan(tmp_path, [server("a", ports.kafka), broken]))
    run.join()
    assert isinstance(run.failure, Failure)
    assert "b does not start (exit code 1): no such option: --frobnicate" in str(run.failure)
    assert run.supervisor.record.failure == str(run.failure)
    assert run.supervisor.record.phase is Phase.FAILED
    assert run.status("a").state is State.STOPPED
    assert not probes.port(ports.kafka)()


def test_a_component_that_never_gets_ready_fails_the_start(tmp_path: Path) -> None:
    """One that runs but never serves is killed after its deadline, and counts as dead."""
    command = (sys.executable, "-c", "import time; print('waiting', flush=True); time.sleep(60)")
    mute = Component("m", command, lambda: False, start_within_seconds=0.3)
    run = Run(plan(tmp_path, [mute]))
    run.join()
    assert "m does not start (killed by SIGKILL): waiting" in str(run.failure)


def test_a_failing_step_fails_the_start(tmp_path: Path, ports: Ports) -> None:
    """Its error is the failure, under its name; everything is stopped."""

    def register() -> str:
        raise Failure("field 'x' was added without a default")

    run = Run(plan(tmp_path, [server("a", ports.kafka)], steps=[Step("schemas", register)]))
    run.join()
    assert str(run.failure) == "schemas: field 'x' was added without a default"
    assert run.supervisor.record.steps[0].state == "failed"
    assert not probes.port(ports.kafka)()


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path, ports: Ports) -> None:
    """The holder is named and nothing was started."""
    command = [*SERVER, str(ports.kafka)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as holder:
        eventually(probes.port(ports.kafka))
        run = Run(plan(tmp_path, [server("b", ports.registry), server("a", ports.kafka)]))
        run.join()
        holder.terminate()
    assert f"port {ports.kafka} is taken by pid {holder.pid}" in str(run.failure)
    assert not run.history


def test_a_second_supervisor_of_a_home_is_refused(tmp_path: Path, ports: Ports) -> None:
    """It ends at once and disturbs nothing."""
    with running(plan(tmp_path, [server("a", ports.kafka)])) as run:
        eventually(run.is_ready)
        second = Run(plan(tmp_path, [server("a", ports.kafka)]))
        second.join()
        assert isinstance(second.failure, AlreadyHeld)
        assert run.status("a").state is State.READY


def test_stop_during_a_hanging_step_ends(tmp_path: Path, ports: Ports) -> None:
    """A step that waits for ever doesn't keep Ctrl-C waiting."""
    stuck = threading.Event()
    started = threading.Event()

    def hang() -> str:
        started.set()
        stuck.wait()
        return ""

    with running(plan(tmp_path, [server("a", ports.kafka)], steps=[Step("hang", hang)])):
        assert started.wait(30)
    stuck.set()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_children_die_with_a_killed_supervisor(tmp_path: Path, ports: Ports) -> None:
    """After kill -9 of the supervisor no child lives on, and the next start finds the home usable."""
    command = [sys.executable, "-c", OUTSIDER, str(tmp_path), str(ports.kafka)]
    state_file = plan(tmp_path).state_file
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as outsider:
        eventually(lambda: (found := record.read(state_file)) is not None and found.phase is Phase.READY)
        os.kill(outsider.pid, signal.SIGKILL)
    left = record.read(state_file)
    assert left is not None
    assert not left.alive
    eventually(lambda: not record.left_behind(left))
    with running(plan(tmp_path, [server("a", ports.kafka)])) as run:
        eventually(run.is_ready)


def test_what_was_left_behind_is_ended(tmp_path: Path, ports: Ports) -> None:
    """Where children outlive their supervisor, the record is enough to end them, and nobody else."""
    state_file = plan(tmp_path).state_file
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen([*SERVER, str(ports.kafka)], **quiet) as child,  # type: ignore[call-overload]
        subprocess.Popen([*SERVER, str(ports.registry)], **quiet) as stranger,  # type: ignore[call-overload]
    ):
        born = [psutil.Process(process.pid).create_time() for process in (child, stranger)]
        statuses = (
            Status("a", ports.kafka, State.READY, pid=child.pid, created=born[0]),
            Status("b", ports.registry, State.READY, pid=stranger.pid, created=born[1] - 3600),  # the pid's last owner
        )
        record.write(state_file, Record(pid=child.pid, created=0.0, started=0.0, components=statuses))
        assert clean_up(state_file) == 1
        assert child.wait(30) == -signal.SIGTERM
        assert stranger.poll() is None
        stranger.terminate()


def test_output_is_in_one_log_a_component(tmp_path: Path, ports: Ports) -> None:
    """What a component says is in its log, from every one of its lives."""
    command = (sys.executable, "-c", TALKATIVE, str(ports.kafka))
    with running(plan(tmp_path, [Component("a", command, probes.port(ports.kafka), ports.kafka)])) as run:
        eventually(run.is_ready)
        first = run.status("a").pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: run.status("a").restarts == 1 and run.status("a").state is State.READY)
        lives = [f"life {pid}" for pid in (first, run.status("a").pid)]
        assert logfiles.tail(logfiles.path_of(run.plan.logs, "a"), 10) == lives
