"""What `reset` may remove."""

from __future__ import annotations

from pathlib import Path

from atalaia.infra.local import state


def test_only_the_stacks_own_files_go(tmp_path: Path) -> None:
    """A home that holds a user's files keeps them."""
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "registry.sqlite").write_bytes(b"x" * 5000)
    (tmp_path / "notes.txt").write_text("mine")
    assert {path.name for path in state.present(tmp_path)} == {"kafka", "registry.sqlite"}
    assert state.size_bytes(tmp_path / "registry.sqlite") >= 5000
    state.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_home_goes_too(tmp_path: Path) -> None:
    """Nothing stays of a home that held nothing else; removing again is harmless."""
    home = tmp_path / ".atalaia"
    (home / "logs").mkdir(parents=True)
    state.remove(home)
    state.remove(home)
    assert not home.exists()


def test_a_link_is_removed_not_followed(tmp_path: Path) -> None:
    """A state folder that is a link to elsewhere loses the link only."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_text("kept")
    home = tmp_path / ".atalaia"
    home.mkdir()
    (home / "kafka").symlink_to(elsewhere)
    state.remove(home)
    assert (elsewhere / "data").read_text() == "kept"
