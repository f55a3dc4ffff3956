"""Kafka's jars: whole and checked, or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from atalaia.infra.errors import Failure
from atalaia.infra.local.kafka import jars
from atalaia.infra.local.kafka.jars import Jar

CONTENT = {"a-1.jar": b"first jar", "b-2.jar": b"the second jar"}
LOCK = tuple(
    Jar("group", name[0], name[2], len(content), hashlib.sha256(content).hexdigest())
    for name, content in CONTENT.items()
)


def arriving(content: dict[str, bytes]) -> Callable[[Path], Callable[[Jar], Path]]:
    """A Maven repository that holds this content, downloaded as jgo does: into a folder of its own."""

    def maven(repository: Path) -> Callable[[Jar], Path]:
        def resolve(jar: Jar) -> Path:
            if jar.name not in content:
                raise OSError("connection reset")
            path = repository / jar.group / jar.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content[jar.name])
            return path

        return resolve

    return maven


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is not there yet, with a repository that has everything."""
    monkeypatch.setattr(jars, "_maven", arriving(CONTENT))
    return tmp_path / "cache" / "kafka"


def ignored(_: str, __: int, ___: int) -> None:
    """Progress that nobody looks at."""


def left_in(cache: Path) -> list[str]:
    """What is beside the lock file."""
    return sorted(path.name for path in cache.parent.iterdir() if not path.name.endswith(".lock"))


def test_the_lock_names_every_jar_once() -> None:
    """The committed lock holds Kafka and its 45 companions, each with a full digest."""
    assert len({jar.name for jar in jars.LOCK}) == len(jars.LOCK) == 46
    assert all(len(jar.sha256) == 64 and jar.size_bytes > 0 for jar in jars.LOCK)
    assert {jar.version for jar in jars.LOCK if jar.group == "org.apache.kafka"} == {jars.KAFKA_VERSION}


def test_a_first_start_downloads_everything_and_says_so(cache: Path) -> None:
    """All jars are there afterwards, and progress ends at the whole."""
    seen: list[tuple[int, int]] = []
    paths = jars.ensure(cache, lambda _, done, total: seen.append((done, total)), LOCK)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    total = sum(map(len, CONTENT.values()))
    assert seen[-1] == (total, total)
    assert left_in(cache) == ["kafka"]


def test_a_later_start_downloads_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is used, without the network."""
    jars.ensure(cache, ignored, LOCK)
    monkeypatch.setattr(jars, "_maven", arriving({}))
    assert jars.ensure(cache, ignored, LOCK) == [cache / jar.name for jar in LOCK]


@pytest.mark.parametrize("content", [{"a-1.jar": CONTENT["a-1.jar"]}, CONTENT | {"b-2.jar": b"THE SECOND JAR"}])
def test_a_broken_download_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes]
) -> None:
    """A lost connection or a wrong file is a failure in words, and no part of it stays."""
    monkeypatch.setattr(jars, "_maven", arriving(content))
    with pytest.raises(Failure, match="run it again"):
        jars.ensure(cache, ignored, LOCK)
    assert left_in(cache) == []


def test_remains_of_a_killed_download_are_swept(cache: Path) -> None:
    """What a kill -9 left beside the cache goes with the next download."""
    (cache.parent / ".kafka-old.part" / "jars").mkdir(parents=True)
    jars.ensure(cache, ignored, LOCK)
    assert left_in(cache) == ["kafka"]


def test_a_jar_cut_short_is_fetched_again(cache: Path) -> None:
    """A jar of the wrong size is missing; one of the right size and wrong content is damaged."""
    jars.ensure(cache, ignored, LOCK)
    (cache / "a-1.jar").write_bytes(b"fir")
    assert [jar.name for jar in jars.missing(cache, LOCK)] == ["a-1.jar"]
    jars.ensure(cache, ignored, LOCK)
    (cache / "a-1.jar").write_bytes(b"FIRST JAR")
    assert jars.missing(cache, LOCK) == []
    assert [jar.name for jar in jars.damaged(cache, LOCK)] == ["a-1.jar"]


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clones share one cache, where XDG says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.default_cache() == tmp_path / "atalaia" / f"kafka-{jars.KAFKA_VERSION}"
