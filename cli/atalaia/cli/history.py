"""Where earlier versions of the schemas are found: in a registry, or in git."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from atalaia.infra.errors import UsageFailure
from atalaia.schemas.registry import Registry
from atalaia.schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class Version:
    """One earlier text of a schema, and what people call it: `version 3`, `commit 1a2b3c4`."""

    name: str
    text: str


class History(Protocol):
    """What was there before."""

    def of(self, topic: Topic) -> list[Version]:
        """Every earlier version of the topic's schema, oldest first."""

    def gone(self) -> list[str]:
        """Schemas that were there and aren't any more."""


class RegistryHistory:
    """What a registry holds. Subjects of others in it are none of our business: nothing is ever gone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def of(self, topic: Topic) -> list[Version]:
        """The subject's versions."""
        return [Version(f"version {number}", text) for number, text in self._registry.history(topic)]

    def gone(self) -> list[str]:
        """Nothing."""
        return []


class GitHistory:
    """The commits up to a revision of the repository that these schemas lie in."""

    def __init__(self, revision: str, folder: Path | None = None) -> None:
        self._revision = revision
        self._folder = folder or Path(str(files("atalaia.schemas").joinpath("avro")))
        self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def of(self, topic: Topic) -> list[Version]:
        """The distinct texts of the schema's file."""
        name = f"{topic.schema}.avsc"
        commits = self._git("log", "--reverse", "--format=%h", "--diff-filter=AM", self._revision, "--", name).split()
        found: dict[str, Version] = {}
        for commit in commits:
            text = self._git("show", f"{commit}:./{name}")
            found.setdefault(text, Version(f"commit {commit}", text))
        return list(found.values())

    def gone(self) -> list[str]:
        """Files of the revision that the folder has no more."""
        names = self._git("ls-tree", "--name-only", self._revision, "./").split()
        return [name for name in names if name.endswith(".avsc") and not (self._folder / name).exists()]

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own arguments; a revision can't be an option
        except FileNotFoundError as exc:
            raise UsageFailure("--against git: there is no git here; install it, or check against registry") from exc
        except subprocess.CalledProcessError as exc:
            said = (exc.stderr.strip().splitlines() or ["no such revision"])[0]
            raise UsageFailure(f"--against git:{self._revision}: {said} (in {self._folder})") from exc
        return done.stdout
