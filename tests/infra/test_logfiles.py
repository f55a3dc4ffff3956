"""Logs: bounded, and readable while they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from atalaia.infra.local import logfiles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log that isn't there yet."""
    return logfiles.path_of(tmp_path / "logs", "kafka")


def write(path: Path, text: str) -> None:
    """What a component does."""
    with logfiles.opened(path) as file:
        file.write(text.encode())


def test_the_last_run_is_kept_beside(path: Path) -> None:
    """A new run starts with an empty log and keeps the one before."""
    write(path, "before\n")
    logfiles.begin(path)
    assert not path.exists()
    assert logfiles.tail(path.with_name("kafka.log.1"), 5) == ["before"]


def test_a_log_over_the_limit_is_cut_under_its_writer(path: Path) -> None:
    """The writer goes on at the start of the file; what was written is beside it."""
    with logfiles.opened(path) as writer:
        writer.write(b"x" * 99 + b"\n")
        assert logfiles.shorten(path, largest_bytes=50)
        writer.write(b"after\n")
    assert path.read_bytes() == b"after\n"
    assert path.with_name("kafka.log.1").stat().st_size == 100
    assert not logfiles.shorten(path, largest_bytes=50)


def test_tail_gives_the_last_lines(path: Path) -> None:
    """The last lines come, bytes that aren't UTF-8 replaced; an absent log has none."""
    assert logfiles.tail(path, 2) == []
    with logfiles.opened(path) as file:
        file.write(b"one\ntwo\nthr\xffee\n")
    assert logfiles.tail(path, 2) == ["two", "thr\N{REPLACEMENT CHARACTER}ee"]
    assert logfiles.tail(path, 0) == []


def test_following_gives_whole_lines_once(path: Path) -> None:
    """Each line comes once and whole, also when it was written in parts, also after a truncation."""
    write(path, "old\n")
    follower = logfiles.Follower(path)
    assert follower.poll() == []
    write(path, "new\nhal")
    assert follower.poll() == ["new"]
    write(path, "f\n")
    assert follower.poll() == ["half"]
    path.write_bytes(b"")
    assert follower.poll() == []
    write(path, "again\n")
    assert follower.poll() == ["again"]
    path.unlink()
    assert follower.poll() == []
    write(path, "anew\n")
    assert follower.poll() == ["anew"]
