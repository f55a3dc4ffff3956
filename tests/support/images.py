"""Where a Docker engine runs, the contract suites also run against the images that production uses."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def image(name: str, *, of: str) -> Any:
    """A fixture's parameter that stands for an image; skipped, and said so, where no Docker engine runs."""
    missing = pytest.mark.skipif(not docker_runs(), reason=f"no Docker engine here: not checked against {of}")
    return pytest.param(name, marks=[pytest.mark.docker, missing])
