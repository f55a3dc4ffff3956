"""One stack a home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atalaia.infra.local.lock import AlreadyHeld, HomeLock, is_held

HOLDER = """
import sys, time, pathlib
from atalaia.infra.local.lock import HomeLock
with HomeLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_only_one_holds_it(tmp_path: Path) -> None:
    """A second holder is refused at once; afterwards nothing is left."""
    path = tmp_path / "run" / "lock"
    with HomeLock(path):
        assert is_held(path)
        with pytest.raises(AlreadyHeld), HomeLock(path):
            pass
        assert is_held(path)
    assert not path.exists()
    assert not is_held(path)


def test_a_killed_holder_gives_it_back(tmp_path: Path) -> None:
    """After kill -9 the file remains and the lock is free."""
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_held(path)
        os.kill(holder.pid, signal.SIGKILL)
    assert path.exists()
    with HomeLock(path):
        assert is_held(path)
