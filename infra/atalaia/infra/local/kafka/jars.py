"""Apache Kafka's jars in a cache shared by every clone on this machine: fetched once, checked, never half there.

To move to another Kafka, resolve its coordinates with jgo, and write `jars.lock` anew from what it downloads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from atalaia.infra.errors import Failure

KAFKA_VERSION = "4.1.1"

Advance = Callable[[str, int, int], None]
"""Called from one thread at a time with (the jar that just arrived, bytes so far, bytes in all)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of `jars.lock`."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the cache.

        >>> Jar("org.lz4", "lz4-java", "1.8.0", 1, "").name
        'lz4-java-1.8.0.jar'
        """
        return f"{self.artifact}-{self.version}.jar"


def parse_lock(text: str) -> tuple[Jar, ...]:
    r"""The jars of a lock file.

    >>> parse_lock("# why\norg.lz4:lz4-java:1.8.0 682804 d74a")
    (Jar(group='org.lz4', artifact='lz4-java', version='1.8.0', size_bytes=682804, sha256='d74a'),)
    """
    return tuple(_jar(line) for line in text.splitlines() if line and not line.startswith("#"))


def _jar(line: str) -> Jar:
    coordinates, size, digest = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, int(size), digest)


LOCK = parse_lock(files(__package__).joinpath("jars.lock").read_text("utf-8"))


def default_cache() -> Path:
    """Where the jars live unless settings say otherwise: outside the state folder, so that clones share them."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "atalaia" / f"kafka-{KAFKA_VERSION}"


def missing(cache: Path, jars: tuple[Jar, ...] = LOCK) -> list[Jar]:
    """The jars that are absent or cut short; a look at sizes only, fast enough for every start."""
    return [jar for jar in jars if _size(cache / jar.name) != jar.size_bytes]


def damaged(cache: Path, jars: tuple[Jar, ...] = LOCK) -> list[Jar]:
    """The jars whose content isn't what the lock says; reads every byte."""
    return [jar for jar in jars if _size(cache / jar.name) is None or _sha256(cache / jar.name) != jar.sha256]


def ensure(cache: Path, advance: Advance, jars: tuple[Jar, ...] = LOCK) -> list[Path]:
    """Every jar's path; downloads what is missing.

    The cache folder appears (or is replaced) in one rename after every jar's SHA-256 was checked: an interrupted
    download leaves nothing that a later start would take for whole. Two processes at once: one downloads, the
    other waits and finds it done.
    """
    if missing(cache, jars):
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(cache):
                if missing(cache, jars):
                    _fetch(cache, advance, jars)
        except OSError as exc:
            # jgo's network errors are OSErrors too (requests.RequestException is one)
            raise Failure(
                f"Apache Kafka {KAFKA_VERSION} could not be downloaded from Maven Central into {cache} "
                f"({exc.strerror or type(exc).__name__}); "
                "check the network and the disk, then run it again"
            ) from exc
    return [cache / jar.name for jar in jars]


def _fetch(cache: Path, advance: Advance, jars: tuple[Jar, ...]) -> None:
    for stale in cache.parent.glob(f".{cache.name}-*.part"):  # left by a kill -9: we hold the lock, nobody uses it
        shutil.rmtree(stale, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(dir=cache.parent, prefix=f".{cache.name}-", suffix=".part"))
    try:
        whole = scratch / "jars"
        whole.mkdir()
        for jar in _download(scratch / "maven", advance, jars):
            got = jar[1].rename(whole / jar[0].name)
            if _sha256(got) != jar[0].sha256:
                raise Failure(
                    f"{jar[0].name} from Maven Central is not the file that jars.lock names (SHA-256 differs); "
                    "run it again, and distrust the network if it stays so"
                )
        if cache.exists():
            cache.rename(scratch / "replaced")
        whole.rename(cache)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(repository: Path, advance: Advance, jars: tuple[Jar, ...]) -> Iterator[tuple[Jar, Path]]:
    resolve = _maven(repository)
    total = sum(jar.size_bytes for jar in jars)
    done = 0
    largest_first = sorted(jars, key=lambda jar: -jar.size_bytes)
    pool = ThreadPoolExecutor(max_workers=8)
    try:
        pending = {pool.submit(resolve, jar): jar for jar in largest_first}
        for future in as_completed(pending):
            jar = pending[future]
            path = future.result()
            done += jar.size_bytes
            advance(jar.name, done, total)
            yield jar, path
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _maven(repository: Path) -> Callable[[Jar], Path]:
    """Downloads one jar by jgo into a Maven repository of its own, never the user's ~/.m2."""
    try:
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415  (half a second, only when downloading)
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415  (the same)
    except ImportError as exc:
        raise Failure("the embedded Kafka needs jgo: pip install 'atalaia[local]'") from exc
    context: Any = MavenContext(
        repo_cache=repository, remote_repos={"central": MAVEN_CENTRAL_URL}, resolver=PythonResolver()
    )

    def resolve(jar: Jar) -> Path:
        try:
            path: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except RuntimeError as exc:  # how jgo says "not in the repository"
            raise OSError(str(exc)) from exc
        return path

    return resolve


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    with (cache.parent / f".{cache.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
