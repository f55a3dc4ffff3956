"""Which rules a command is about: those of files, and those in force by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atalaia.alerting.rules import Rule
from atalaia.alerting.store import RuleStore
from atalaia.alerting.writing.loader import load_files
from atalaia.infra.errors import Failure, UsageFailure
from atalaia.infra.settings import Settings

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def rules_of(settings: Settings, names: Sequence[str]) -> list[Rule]:
    """The rules of the files and with the ids that are named; without any name, every active rule in force.

    Kafka is asked only where a name is no file. Raises Failure where a file has an error, UsageFailure where there is
    no such rule.
    """
    paths = [Path(name) for name in names if Path(name).suffix in _SUFFIXES]
    ids = [name for name in names if Path(name).suffix not in _SUFFIXES]
    loaded = load_files(paths)
    if loaded.problems:
        raise Failure("\n".join(f"{each.file}:{each.line}:{each.column}: {each.message}" for each in loaded.problems))
    rules = list(loaded.rules)
    if ids or not names:
        with RuleStore(settings) as store:
            known = {rule.rule_id: rule for rule in store.rules()}
        rules += (
            [rule for rule in known.values() if rule.is_active] if not names else [_known(known, one) for one in ids]
        )
    return rules


def _known(known: dict[str, Rule], rule_id: str) -> Rule:
    rule = known.get(rule_id) or next((each for each in known.values() if each.name == rule_id), None)
    if rule is None:
        raise UsageFailure(f"there is no rule {rule_id!r} in force, nor a file of that name; see `atalaia rules list`")
    return rule
