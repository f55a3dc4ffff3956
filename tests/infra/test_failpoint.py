"""A failpoint kills where it is set, and only there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from atalaia.infra.failpoint import VARIABLE

SCRIPT = """
from atalaia.infra.failpoint import Failpoint
point = Failpoint("a.point")
for number in range(3):
    print(number, flush=True)
    point.reach()
"""


@pytest.mark.parametrize(
    ("setting", "reached"), [("", 3), ("another.point", 3), ("a.point", 1), ("a.point:2", 2), ("a.point:9", 3)]
)
def test_dies_at_the_time_that_is_set(setting: str, reached: int) -> None:
    """The process is killed, as by `kill -9`, when it reaches the point for the n-th time; unset it goes on."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | {VARIABLE: setting}, capture_output=True, check=False
    )
    assert len(ended.stdout.splitlines()) == reached
    assert ended.returncode == (0 if reached == 3 else -signal.SIGKILL)


def test_stands_still_until_it_may_go_on() -> None:
    """With STOP the process stands still where it is set, and goes on when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=os.environ | {VARIABLE: "a.point:2:STOP"}, stdout=subprocess.PIPE
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        printed, _ = process.communicate()
    assert len(printed.splitlines()) == 3
