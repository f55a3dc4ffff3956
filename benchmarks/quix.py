"""Quix Streams in an environment of its own: it pins an older confluent-kafka than ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.narration import say

_FOLDER: Final = Path(__file__).parent.parent / "build" / "quix-venv"
_PACKAGES: Final = ("quixstreams==3.28.0", "fastavro>=1.13,<2")


def interpreter() -> tuple[Path | None, str]:
    """Its Python, installed on first use; else None, and why not."""
    python = _FOLDER / "bin" / "python"
    installed = _FOLDER / "installed"
    if installed.exists():
        return python, ""
    say(f"installing {_PACKAGES[0]} in {_FOLDER}")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_FOLDER)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            return None, f"skipped: {_PACKAGES[0]} could not be installed ({said[-1]})"
    installed.touch()
    return python, ""
