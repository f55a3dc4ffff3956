"""Prometheus' rule files: which rules there are in their groups, and what is not understood there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from atalaia.alerting.writing.document import identifier
from atalaia.alerting.writing.source import Node

_IGNORED: Final = frozenset({"name", "interval", "rules", "labels"})
"""`interval` says how often to judge: here rules are judged as events arrive."""


class Found(NamedTuple):
    """A rule of a group, or what is wrong in its place. `more` are fields that the group adds."""

    node: Node
    more: dict[str, Any]
    path: tuple[str | int, ...] = ()
    problem: str | None = None


def rules_of(groups: Node) -> Iterator[Found]:
    """Every rule of every group, in order."""
    if not isinstance(groups.value, list):
        yield Found(groups, {}, (), "groups is not a list of groups, each with a name and rules")
        return
    names = Counter(_name(rule) for group in groups.value for rule in _listed(group))
    for group in groups.value:
        if not isinstance(group.value, dict):
            yield Found(group, {}, (), "is not a group; write its name and rules")
            continue
        if "rules" not in group.value:
            yield Found(group, {}, (), "has no rules; a group has a name and rules")
        for name in group.value:
            if name not in _IGNORED:
                yield Found(group, {}, (name,), f"{name[:60]} of a group is not understood; leave it out")
        labels = group.value["labels"].plain() if "labels" in group.value else None
        for rule in _listed(group):
            if isinstance(rule.value, dict):
                yield Found(rule, _more(rule, labels, again=names[_name(rule)] > 1))
            elif rule.value is not None:
                yield Found(rule, {}, (), "is not a rule; write alert and expr")


def _listed(group: Node) -> list[Node]:
    rules = group.value.get("rules") if isinstance(group.value, dict) else None
    return rules.value if rules is not None and isinstance(rules.value, list) else []


def _name(rule: Node) -> str | None:
    """The alert's name, if it has one."""
    alert = rule.value.get("alert") if isinstance(rule.value, dict) else None
    return alert.value if alert is not None and isinstance(alert.value, str) else None


def _more(rule: Node, labels: Any, *, again: bool) -> dict[str, Any]:
    """The group's labels under the rule's own; and an id with the severity, where several alerts share a name."""
    assert isinstance(rule.value, dict)
    more: dict[str, Any] = {}
    own = rule.value["labels"].plain() if "labels" in rule.value else None
    if isinstance(labels, dict) and (own is None or isinstance(own, dict)):
        more["labels"] = labels | (own or {})
    severity = own.get("severity") if isinstance(own, dict) else None
    top = rule.value["severity"].plain() if "severity" in rule.value else None
    if again and isinstance(severity or top, str) and not rule.value.keys() & {"id", "rule_id"}:
        more["id"] = identifier(f"{_name(rule)} {severity or top}")
    return more
