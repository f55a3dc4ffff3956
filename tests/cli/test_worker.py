"""Workers as processes: what a person is told when they cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atalaia.infra.local.stack import LocalStack


def run(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`atalaia worker NAME` with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "atalaia.cli", "worker", name],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["stream", "sink"])
def test_without_a_broker_it_is_one_line(name: str, tmp_path: Path) -> None:
    """No traceback: where nobody answers, what to do, exit code 1."""
    done = run(name, ATALAIA_HOME=str(tmp_path), ATALAIA_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:1 does not answer" in done.stderr
    assert "atalaia up" in done.stderr


def test_bad_settings_are_named(tmp_path: Path) -> None:
    """Exit code 2, with the variable and its value."""
    done = run("stream", ATALAIA_HOME=str(tmp_path), ATALAIA_STREAMS__BATCH_RECORDS="many")
    assert done.returncode == 2
    assert "ATALAIA_STREAMS__BATCH_RECORDS='many'" in done.stderr


@pytest.mark.e2e
def test_a_taken_metrics_port_is_named(stack: LocalStack) -> None:
    """Two workers can't share one: the error says which port, and the setting that moves it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        done = run("sink", **stack.environment | {"ATALAIA_SINKS__METRICS_PORT": str(port)})
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "ATALAIA_SINKS__METRICS_PORT" in done.stderr
