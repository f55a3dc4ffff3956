"""The objectives whose rules are in force: read back from what their rules say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atalaia.alerting.expressions import reads
from atalaia.alerting.rules import Rule
from atalaia.alerting.slo.burn import MARK, rule_id
from atalaia.alerting.slo.document import from_document
from atalaia.alerting.slo.objectives import Slo, SloError, Urgency


@dataclass(frozen=True, slots=True)
class Watched:
    """An objective as its rules have it (what it counts, not whom it calls), and these rules."""

    slo: Slo
    rules: tuple[Rule, ...]


def objectives(rules: Iterable[Rule]) -> list[Watched]:
    """The objectives that rules were made for, by name."""
    made: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: rule.rule_id):
        name = dict(rule.annotations).get(MARK)
        if name is not None and rule.rule_id in {rule_id(name, urgency) for urgency in Urgency}:
            made.setdefault(name, []).append(rule)
    found = [(_slo(of_one[0]), of_one) for _, of_one in sorted(made.items())]
    return [Watched(slo, tuple(of_one)) for slo, of_one in found if slo is not None]


def _slo(rule: Rule) -> Slo | None:
    """The objective that a rule says it was made for; None where somebody changed what it says."""
    texts: Mapping[str, str] = dict(rule.annotations)
    grouping = (
        next((read.grouping for read in reads(rule.expression) if read.grouping), None) if rule.expression else None
    )
    try:
        return from_document(
            {
                "name": texts[MARK],
                "service": texts["slo_service"],
                "objective": f"{texts['slo_objective']} %",
                "window": texts["slo_window"],
                "sli": json.loads(texts["slo_sli"]),
                "by": list(grouping.labels) if grouping else [],
                "owner": rule.owner,
                "tenant": rule.tenant,
                "runbook_url": texts.get("runbook_url"),
            }
        )
    except (KeyError, ValueError, SloError):
        return None
