"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from atalaia.cli import main
from atalaia.cli.main import COMMANDS, Entry, exit_code
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import SettingsError

HEAVY = ("chdb", "faust", "confluent_kafka", "pydantic", "aiokafka")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`atalaia ARGUMENTS`."""
    command = [sys.executable, "-m", "atalaia.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "200"})


def test_help_names_every_command_with_examples() -> None:
    """Each command is listed with what it does, and there are examples to copy."""
    done = run("--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    for entry in COMMANDS:
        assert entry.name in done.stdout
        assert entry.help in done.stdout


def test_version_says_the_packages() -> None:
    """`--version` prints name and number."""
    assert run("--version").stdout.startswith("atalaia 0.")


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_table_says_what_the_command_says(entry: Entry) -> None:
    """Every line of the table leads to a command, and its words are the command's own first line."""
    command = main.load(entry)
    assert (command.help or "").strip().splitlines()[0] == entry.help


def test_help_loads_nothing_heavy() -> None:
    """`atalaia --help` imports neither Faust nor the engine nor Kafka's client."""
    code = (
        "import sys; from atalaia.cli.main import main; sys.argv = ['atalaia', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_known_errors_have_exit_codes_and_bugs_have_none() -> None:
    """What a person can act on is 1 or 2; anything else stays a traceback."""
    assert exit_code(Failure("no broker")) == 1
    assert exit_code(UsageFailure("no such rule")) == 2
    assert exit_code(SettingsError("ATALAIA_X=1: no")) == 2
    assert exit_code(ZeroDivisionError()) is None
