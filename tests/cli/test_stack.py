"""The stack's commands, run as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from offsets import free_offset


class Shell:
    """Runs `atalaia` in a folder of its own, on an offset of its own."""

    def __init__(self, folder: Path, offset: int) -> None:
        self.folder = folder
        self.offset = offset
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ATALAIA_")}
        self.environment = clean | {"ATALAIA_LOCAL__PORT_OFFSET": str(offset), "COLUMNS": "200"}

    def __call__(self, *arguments: str, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """The finished command."""
        return subprocess.run(
            [sys.executable, "-m", "atalaia.cli", *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The running command."""
        return subprocess.Popen(
            [sys.executable, "-m", "atalaia.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def status(self) -> dict[str, Any]:
        """`atalaia status -o json`."""
        answer: dict[str, Any] = json.loads(self("status", "-o", "json").stdout)
        return answer

    def pids(self) -> dict[str, int]:
        """Each component's process."""
        return {component["component"]: component["pid"] for component in self.status()["components"]}


def eventually(condition: Callable[[], bool], within_seconds: float = 60.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture
def atalaia(tmp_path: Path) -> Iterator[Shell]:
    """A shell whose stack is taken down at the end."""
    shell = Shell(tmp_path, free_offset())
    yield shell
    if (tmp_path / ".atalaia" / "run" / "state.json").exists():
        shell("down")


INFRA = ("--only", "kafka", "--only", "registry")


@pytest.mark.e2e
def test_up_status_logs_down(atalaia: Shell) -> None:
    """A detached stack is there when `up -d` returns, is told of by `status`, and gone after `down`."""
    up = atalaia("up", "-d", *INFRA)
    assert up.returncode == 0, up.stderr
    assert f"127.0.0.1:{9092 + atalaia.offset}" in up.stdout
    found = atalaia.status()
    assert found["running"] is True
    assert found["endpoints"]["registry"] == f"http://127.0.0.1:{8081 + atalaia.offset}"
    assert {c["component"]: c["state"] for c in found["components"]} == {
        "kafka": "ready",
        "registry": "ready",
        "supervisor": "ready",
    }
    assert all(component["memory_bytes"] > 0 for component in found["components"])
    assert "Kafka Server started" in atalaia("logs", "kafka").stdout
    down = atalaia("down")
    assert (down.returncode, down.stderr.strip()) == (0, "Stopped.")
    assert not any(_exists(component["pid"]) for component in found["components"])
    assert atalaia("status").returncode == 1
    assert not (atalaia.folder / ".atalaia" / "run" / "lock").exists()


@pytest.mark.e2e
def test_a_second_up_says_that_it_runs(atalaia: Shell) -> None:
    """It names the endpoints, exits 0 and changes nothing."""
    assert atalaia("up", "-d", "--only", "registry").returncode == 0
    before = atalaia.pids()
    for again in (("up",), ("up", "-d")):
        second = atalaia(*again)
        assert second.returncode == 0
        assert "already running" in second.stdout
        assert f"http://127.0.0.1:{8081 + atalaia.offset}" in second.stdout
    assert atalaia.pids() == before
    refused = atalaia("reset", "--yes")
    assert refused.returncode == 1
    assert "`atalaia down` first" in refused.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(atalaia: Shell, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end the foreground stack with exit code 0, and nothing stays."""
    with atalaia.start("up", "--only", "registry") as up:
        eventually(lambda: atalaia.status().get("phase") == "ready")
        pids = atalaia.pids()
        up.send_signal(number)
        assert up.wait(30) == 0
    assert not any(_exists(pid) for pid in pids.values())


@pytest.mark.e2e
def test_a_killed_component_is_restarted_and_shown(atalaia: Shell) -> None:
    """`status` counts the restart and says how the process died."""
    assert atalaia("up", "-d", "--only", "registry").returncode == 0
    os.kill(atalaia.pids()["registry"], signal.SIGKILL)

    def registry() -> dict[str, Any]:
        component: dict[str, Any] = atalaia.status()["components"][0]
        return component

    eventually(lambda: registry()["restarts"] == 1 and registry()["state"] == "ready")
    assert registry()["last_exit"] == "killed by SIGKILL"
    assert "registry died (killed by SIGKILL)" in atalaia("logs", "supervisor").stdout


@pytest.mark.e2e
def test_up_works_after_kill_9_of_the_supervisor(atalaia: Shell) -> None:
    """Its children die with it, and the next `up` starts as if nothing had been."""
    assert atalaia("up", "-d", "--only", "registry").returncode == 0
    pids = atalaia.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    eventually(lambda: not any(_exists(pid) for pid in pids.values()))
    assert atalaia("status").returncode == 1
    assert atalaia("up", "-d", "--only", "registry").returncode == 0


def test_a_taken_port_is_named_with_its_holder(atalaia: Shell) -> None:
    """One line with port, pid, command and remedy; exit code 1."""
    with socket.create_server(("127.0.0.1", 8081 + atalaia.offset)):
        up = atalaia("up", *INFRA)
    assert (up.returncode, up.stdout) == (1, "")
    (line,) = up.stderr.splitlines()
    assert f"port {8081 + atalaia.offset} is taken by pid {os.getpid()} (" in line
    assert "--port-offset" in line


def test_bad_settings_are_one_line_each(atalaia: Shell) -> None:
    """Every wrong setting is named with its value; exit code 2, no traceback."""
    up = atalaia("up", ATALAIA_KAFKA__PARTITIONS="0", ATALAIA_LOCAL__KAFKA_HEAP="lots")
    assert up.returncode == 2
    first, second = up.stderr.splitlines()
    assert "ATALAIA_KAFKA__PARTITIONS='0'" in first
    assert "ATALAIA_LOCAL__KAFKA_HEAP='lots'" in second


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--only", "kafak"), "no such component; there are"),
        (("logs", "kafka"), "nothing has run here yet"),
        (("dwn",), "Did you mean 'down'?"),
        (("status", "-o", "xml"), "xml"),
    ],
)
def test_a_wrong_request_exits_2(atalaia: Shell, arguments: tuple[str, ...], words: str) -> None:
    """What was asked is named, and what there is; exit code 2."""
    done = atalaia(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_without_a_stack(atalaia: Shell) -> None:
    """`status` says so with exit code 1; `down` and `reset` have nothing to do."""
    status = atalaia("status")
    assert (status.returncode, status.stdout.startswith("Not running.")) == (1, True)
    assert atalaia.status()["running"] is False
    assert (atalaia("down").returncode, atalaia("reset").returncode) == (0, 0)


def test_reset_asks_and_says_what_goes(atalaia: Shell) -> None:
    """`--dry-run` and a "no" leave everything; "yes" leaves nothing."""
    kafka = atalaia.folder / ".atalaia" / "kafka"
    kafka.mkdir(parents=True)
    dry = atalaia("reset", "--dry-run")
    assert "kafka" in dry.stdout
    assert atalaia("reset", typed="n\n").returncode == 1
    assert kafka.exists()
    assert atalaia("reset", typed="y\n").returncode == 0
    assert not kafka.parent.exists()


def test_doctor_examines_everything(atalaia: Shell) -> None:
    """Each finding has a verdict; a problem has a remedy and makes the exit code 1."""
    findings = {f["name"]: f for f in json.loads(atalaia("doctor", "-o", "json").stdout)}
    assert {"settings", "python", "packages", "memory", "disk", "shared memory", "ports", "clock", "docker"} <= set(
        findings
    )
    with socket.create_server(("127.0.0.1", 9092 + atalaia.offset)):
        done = atalaia("doctor", "-o", "json", ATALAIA_KAFKA__PARTITIONS="0")
    sick = {f["name"]: f for f in json.loads(done.stdout)}
    assert done.returncode == 1
    assert "ATALAIA_KAFKA__PARTITIONS='0'" in sick["settings"]["detail"]
    assert all(f["remedy"] for f in sick.values() if f["verdict"] == "problem")


def test_doctor_names_what_holds_a_port(atalaia: Shell) -> None:
    """A port of the stack that someone else holds is a problem."""
    with socket.create_server(("127.0.0.1", 9092 + atalaia.offset)):
        done = atalaia("doctor")
    assert done.returncode == 1
    assert f"port {9092 + atalaia.offset} is taken by pid {os.getpid()}" in done.stdout


def _exists(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
