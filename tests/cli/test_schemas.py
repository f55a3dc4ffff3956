"""Contracts judged against what was there before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atalaia.cli import schemas
from atalaia.cli.history import GitHistory, Version
from atalaia.cli.schemas import judge
from atalaia.infra.errors import UsageFailure
from atalaia.infra.local.stack import LocalStack
from atalaia.schemas.codec import schema_text
from atalaia.schemas.topics import METRICS, TOPICS


def text(*fields: str, name: str = "MetricEvent") -> str:
    """A record with these string fields; `field?` has a default."""
    made = [
        {"name": field.rstrip("?"), "type": "string"} | ({"default": ""} if field[-1] == "?" else {})
        for field in fields
    ]
    return json.dumps({"type": "record", "name": name, "fields": made})


def test_the_first_version_is_new() -> None:
    """Where nothing was, everything may go."""
    assert judge(METRICS, text("unit"), []).verdict == "new"


def test_a_field_with_a_default_may_come() -> None:
    """New readers fill it in."""
    assert judge(METRICS, text("unit", "region?"), [Version("version 1", text("unit"))]).verdict == "compatible"


def test_a_field_without_a_default_is_refused_in_words() -> None:
    """The reason says which field, who can't read what, since when, and the remedy; once, however many versions."""
    earlier = [Version("version 1", text("unit")), Version("version 2", text("unit", "note?"))]
    finding = judge(METRICS, text("unit", "region"), earlier)
    assert finding.verdict == "refused"
    (reason,) = finding.reasons
    assert reason.startswith(
        "field 'region' was added without a default: a consumer with the new schema can't read old"
    )
    assert reason.endswith("give it a default (since version 2)")


def test_every_earlier_version_counts() -> None:
    """A change that suits the last version but not the first is refused: records of the first are still there."""
    earlier = [Version("version 1", text("unit")), Version("version 2", text("unit", "region?"))]
    assert judge(METRICS, text("unit", "region"), earlier).verdict == "refused"


def test_what_is_no_schema_is_refused() -> None:
    """A typo is a reason, not a traceback."""
    (reason,) = judge(METRICS, "{", [Version("version 1", text("unit"))]).reasons
    assert "not JSON" in reason


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A git repository in which the schema of the metrics topic has two versions, and another schema one."""
    folder = tmp_path / "deep" / "avro"
    folder.mkdir(parents=True)

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "--initial-branch=main", str(tmp_path))
    for number, content in enumerate([text("unit"), text("unit", "region?")]):
        (folder / "MetricEvent.avsc").write_text(content)
        (folder / "Gone.avsc").write_text(text("x", name="Gone"))
        git("add", ".")
        git("commit", "-m", f"version {number}")
    (folder / "Gone.avsc").unlink()
    return folder


def test_git_knows_every_version(folder: Path) -> None:
    """Each distinct text up to the revision, oldest first, named by its commit."""
    found = GitHistory("main", folder).of(METRICS)
    assert [version.text for version in found] == [text("unit"), text("unit", "region?")]
    assert all(version.name.startswith("commit ") for version in found)
    assert len(GitHistory("main~1", folder).of(METRICS)) == 1


def test_a_schema_that_is_gone_is_noticed(folder: Path) -> None:
    """Its records would be unreadable."""
    assert GitHistory("main", folder).gone() == ["Gone.avsc"]


@pytest.mark.parametrize("revision", ["nope", "--help", "main:x"])
def test_a_revision_that_is_not_there_is_named(folder: Path, revision: str) -> None:
    """The error says what was asked for; nothing that a user types becomes an option of git."""
    with pytest.raises(UsageFailure, match=f"git:{revision}"):
        GitHistory(revision, folder)


@pytest.mark.e2e
def test_a_registered_stack_checks_and_lists(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was registered is compatible with itself, and every topic is there with its id."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    checked = CliRunner().invoke(schemas.app, ["check", "-o", "json"])
    assert checked.exit_code == 0, checked.output
    assert len(json.loads(checked.stdout)["schemas"]) == len(TOPICS)

    listed = json.loads(CliRunner().invoke(schemas.app, ["list", "-o", "json"]).stdout)
    assert all(row["schema_id"] and row["partitions"] == stack.settings.kafka.partitions for row in listed)

    again = CliRunner().invoke(schemas.app, ["register"])
    assert again.exit_code == 0, again.output


@pytest.mark.e2e
def test_an_incompatible_change_ends_in_exit_code_1(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason on standard output."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)

    def changed(name: str) -> str:
        schema = json.loads(schema_text(name))
        schema["fields"].append({"name": "mood", "type": "string"})
        return json.dumps(schema)

    monkeypatch.setattr(schemas, "schema_text", changed)
    done = CliRunner().invoke(schemas.app, ["check"])
    assert done.exit_code == 1
    assert "field 'mood' was added without a default" in done.stdout
