"""A rule as people and programs write it: the one form behind F2.5's JSON, the YAML files and the rules topic."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final

from pydantic import ValidationError

from atalaia.alerting import durations, promql
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.comparisons import Comparison
from atalaia.alerting.expressions import Binary, Expression, Operator, reads
from atalaia.alerting.faults import Fault, RuleError
from atalaia.alerting.promql import PromqlError, names
from atalaia.alerting.rules import Level, Rule
from atalaia.alerting.writing import structure
from atalaia.alerting.writing.composing import Computed, compute
from atalaia.alerting.writing.written import SEVERITIES, Document
from atalaia.schemas.events import Severity

__all__ = ["SEVERITIES", "SYNONYMS", "from_document", "identifier", "to_document"]

SYNONYMS: Final = {
    "rule_id": "id",
    "rule_name": "name",
    "alert": "name",
    "metric_name": "metric",
    "matchers": "where",
    "aggregation": "aggregate",
    "threshold_value": "threshold",
    "hold": "for",
    "group_by": "by",
    "recovery_threshold": "recovery",
    "min_completeness": "minimum_completeness",
    "notification_channels": "channels",
    "notification_recipients": "recipients",
    "is_active": "active",
}
"""F2.5's names, and others', to ours."""

LATER: Final = {
    "record": "makes a recording rule, which is not understood: name the expression where it is used, in expr",
}
"""Fields of other systems, and what to do instead."""

_NAME: Final = 60
"""Characters of an unknown field's name that an error repeats."""
_SIGN_OF_LIFE: Final = "service_up"
_SHORTEST_SILENCE: Final = timedelta(minutes=1)
_OWNERS: Final = ("owner", "team")


def from_document(written: Mapping[str, Any]) -> Rule:
    """The rule that a document says; `RuleError` lists every fault under the names that the document uses.

    >>> from_document({"rule_name": "Slow API", "metric_name": "api_response_time", "condition": ">",
    ...                "threshold_value": 250, "severity": "P1"}).severity
    <Severity.HIGH: 'high'>
    """
    if "record" in written:
        raise RuleError([_unknown("record")])
    ours, spelled, faults = _under_our_names(written)
    rule: Rule | None = None
    try:
        document = Document.model_validate(ours)
    except ValidationError as exc:
        faults += [_fault(error["type"], error["loc"], error["msg"]) for error in exc.errors(include_url=False)]
        faults += _missing(ours)
    else:
        faults += _pair_faults(document)
        try:
            rule = _rule(document, compute(document), faults)
        except RuleError as exc:
            faults += exc.faults
    if faults or rule is None:
        raise RuleError([_as_spelled(fault, spelled) for fault in faults])
    return rule


def to_document(rule: Rule) -> dict[str, Any]:
    """The plain form of a rule, under our names: JSON and YAML take it, and `from_document` reads it back."""
    document: dict[str, Any] = {
        "id": rule.rule_id,
        "name": rule.name,
        "version": rule.version,
        **_computed_written(rule),
        "tenant": rule.tenant,
        "levels": [_level_written(level) for level in rule.levels],
        "recovery": rule.recovery,
        "tolerance": rule.tolerance,
        "for": durations.text(rule.hold),
        "keep_firing_for": durations.text(rule.keep_firing) if rule.keep_firing else None,
        "n_of_m": f"{rule.needed} of {rule.of_last}" if (rule.needed, rule.of_last) != (1, 1) else None,
        "severity": rule.severity.value,
        "minimum_count": rule.minimum_count,
        "minimum_completeness": rule.minimum_completeness,
        "absent_for": durations.text(rule.absent_for) if rule.absent_for is not None else None,
        "expected": [dict(labels) for labels in rule.expected],
        "notify_amendments": rule.notify_amendments or None,
        "owner": rule.owner,
        "annotations": dict(rule.annotations),
        "actions": list(rule.actions),
        "channels": [channel.value for channel in rule.channels],
        "recipients": list(rule.recipients),
        "active": rule.is_active,
    }
    return {name: value for name, value in document.items() if value not in (None, {}, [])}


def identifier(name: str) -> str:
    """The id of a rule that has only a name.

    >>> identifier("High commissions"), identifier("Comissão alta!"), identifier("🔥")
    ('high-commissions', 'comissao-alta', 'rule-90a7d26b')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain))
    return slug or "rule-" + blake2b(name.encode(), digest_size=4).hexdigest()


def _computed_written(rule: Rule) -> dict[str, Any]:
    """What a rule computes, and what it compares that with."""
    limit = {"condition": rule.comparison.value if rule.comparison else None, "threshold": rule.threshold}
    if rule.expression is None:
        form: dict[str, Any] = {"metric": rule.metric_name, "where": dict(rule.matchers)}
        if rule.window is not None:
            form |= {"aggregate": rule.aggregate.value, "window": durations.text(rule.window)}
        return form | limit
    first = next(reads(rule.expression)).selector.metric_name
    form = _expression_written(rule.expression, compared=rule.comparison is not None)
    return form | ({"metric": rule.metric_name} if rule.metric_name != first else {}) | limit


def _expression_written(expression: Expression, *, compared: bool) -> dict[str, Any]:
    """PromQL where it says the same again, else the structure."""
    bare, minimum = expression, 0.0
    if isinstance(expression, Binary) and expression.operator is Operator.DIVIDE:
        bare, minimum = replace(expression, minimum_denominator=0.0), expression.minimum_denominator
    text = promql.text(bare)
    try:
        said = promql.parse(text)
    except PromqlError:
        said = None
    would_split = not compared and promql.split(bare)[1] is not None
    if said != bare or would_split or promql.local_read(bare) is not None:
        return {"expression": structure.written(expression)}
    return {"expr": text} | ({"minimum_denominator": minimum} if minimum else {})


def _level_written(level: Level) -> dict[str, Any]:
    written = {"severity": level.severity.value, "threshold": level.threshold, "recovery": level.recovery}
    return {name: value for name, value in written.items() if value is not None}


def _under_our_names(written: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """The document under our names, how it spelled them, and names that are unknown or say the same thing twice."""
    ours: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    faults = []
    for name, value in written.items():
        field = SYNONYMS.get(name, name)
        if field not in _KNOWN:
            faults.append(_unknown(name))
        elif field in ours:
            faults.append(Fault((name,), f"says again what {spelled[field]} says; keep one of them"))
        elif value is not None:
            ours[field], spelled[field] = value, name
    return ours, spelled, faults


def _unknown(name: str) -> Fault:
    close = difflib.get_close_matches(name[:_NAME], [*_KNOWN, *SYNONYMS], n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; the fields are {', '.join(_KNOWN)}"
    return Fault((name[:_NAME],), LATER.get(name, f"is not a field of a rule{hint}"))


def _missing(ours: Mapping[str, Any]) -> list[Fault]:
    """What a document lacks whose fields are not all of the right type: else the rule itself says so."""
    sources = ours.keys() & {"metric", "expr", "expression", "ratio"}
    return [] if sources else [Fault(("metric",), "is missing; give metric, expr or ratio")]


def _fault(kind: str, path: tuple[str | int, ...], message: str) -> Fault:
    """A fault from what pydantic found."""
    said = {"missing": "is missing", "extra_forbidden": "is not understood there"}
    return Fault(path, said.get(kind, message.removeprefix("Value error, ")))


def _pair_faults(document: Document) -> list[Fault]:
    """Faults of fields that must agree with each other."""
    faults = []
    inline = document.condition[1] if document.condition else None
    given = inline is not None or document.threshold is not None or document.thresholds
    if document.condition is not None and not given:
        faults.append(Fault(("threshold",), "is missing; give the number to compare with"))
    if inline is not None and document.threshold is not None:
        faults.append(Fault(("threshold",), "is given twice: in condition and by itself; keep one of them"))
    if document.thresholds and (document.levels or inline is not None or document.threshold is not None):
        faults.append(Fault(("thresholds",), "says what threshold and levels say; keep one of the two forms"))
    texts = _texts(document)
    faults.extend(
        Fault((name,), "is given twice: in annotations and by itself; keep one of them")
        for name in sorted(document.annotations.keys() & texts.keys())
        if document.annotations[name] != texts[name]
    )
    if "severity" in document.labels and "severity" in document.model_fields_set:
        faults.append(Fault(("labels", "severity"), "is given twice: in labels and by itself; keep one of them"))
    faults += [Fault(("thresholds", name), _no_severity(name)) for name in document.thresholds if _unnamed(name)]
    if _unnamed(named := document.labels.get("severity", "low")):
        faults.append(Fault(("labels", "severity"), _no_severity(named)))
    return faults


def _unnamed(severity: str) -> bool:
    return severity.lower() not in SEVERITIES


def _no_severity(name: str) -> str:
    return f"is {name[:_NAME]!r}; choose one of {', '.join(SEVERITIES)}"


def _texts(document: Document) -> dict[str, str]:
    """Annotations that may stand at the top level, and labels, which routes and texts may use."""
    texts = {"summary": document.summary, "description": document.description, "runbook_url": document.runbook_url}
    labels = {name: value for name, value in document.labels.items() if name not in {"severity", *_OWNERS}}
    return labels | {name: written for name, written in texts.items() if written is not None}


def _rule(document: Document, computed: Computed, faults: list[Fault]) -> Rule:
    """The rule; one without a threshold gets any, so that its other faults are found too."""
    comparison, threshold, severity, levels = _limits(document, computed, faults)
    absent_for = document.absent_for
    if absent_for is None and document.expr is not None and _is_sign_of_life(computed, comparison, threshold):
        absent_for = _SHORTEST_SILENCE
    owners = [document.owner, *(document.labels.get(name) for name in _OWNERS)]
    return Rule(
        rule_id=identifier(document.name) if document.id is None else document.id,
        name=document.name,
        version=document.version,
        tenant=document.tenant,
        metric_name=computed.metric_name,
        matchers=computed.matchers,
        aggregate=computed.aggregate,
        window=computed.window,
        expression=computed.value,
        comparison=comparison,
        threshold=threshold,
        hold=document.hold,
        keep_firing=document.keep_firing_for,
        recovery=document.recovery,
        needed=document.n_of_m[0],
        of_last=document.n_of_m[1],
        tolerance=document.tolerance,
        levels=levels,
        severity=severity,
        minimum_count=document.minimum_count,
        minimum_completeness=document.minimum_completeness,
        absent_for=absent_for,
        expected=tuple(
            tuple(sorted((names.label(label, computed.metric_name), value) for label, value in labels.items()))
            for labels in document.expected
        ),
        notify_amendments=document.notify_amendments,
        owner=next((owner for owner in owners if owner is not None), None),
        annotations=tuple(sorted((document.annotations | _texts(document)).items())),
        actions=tuple(document.actions),
        channels=tuple(document.channels),
        recipients=tuple(document.recipients),
        is_active=document.active,
    )


def _limits(
    document: Document, computed: Computed, faults: list[Fault]
) -> tuple[Comparison | None, float, Severity, tuple[Level, ...]]:
    """With what the value is compared, how bad that is, and the further thresholds."""
    comparison, inline = document.condition or (computed.comparison, computed.threshold)
    if computed.threshold is not None:
        again = {"threshold": document.threshold is not None, "thresholds": bool(document.thresholds)}
        faults += [Fault((name,), "is given twice: in expr, too; keep one of them") for name in again if again[name]]
    severity = SEVERITIES.get(document.labels.get("severity", "").lower(), document.severity)
    levels = [Level(level.severity, level.threshold, level.recovery) for level in document.levels]
    if document.thresholds and not faults:
        first, *others = [(SEVERITIES[name.lower()], number) for name, number in document.thresholds.items()]
        return comparison, first[1], first[0], tuple(Level(*other) for other in others)
    given = inline if document.threshold is None else document.threshold
    return comparison, 0.0 if given is None else given, severity, tuple(levels)


def _is_sign_of_life(computed: Computed, comparison: Comparison | None, threshold: float) -> bool:
    """Whether this is `up == 0` in one of its forms: nobody is there to send that zero, so silence says it."""
    alike = {Comparison.EQUAL: 0.0, Comparison.AT_MOST: 0.0, Comparison.BELOW: 1.0, Comparison.NOT_EQUAL: 1.0}
    local = computed.value is None and computed.metric_name == _SIGN_OF_LIFE and computed.aggregate is Aggregate.LAST
    return local and comparison is not None and alike.get(comparison) == threshold


def _as_spelled(fault: Fault, spelled: Mapping[str, str]) -> Fault:
    """The fault under the name that the document uses for the field."""
    if not fault.path:
        return fault
    first, *rest = fault.path
    if first == "expr" and "expr" not in spelled:  # of what other fields put together
        first = next((name for name in ("expression", "ratio", "metric") if name in spelled), first)
    return replace(fault, path=(spelled.get(str(first), first), *rest))


_KNOWN: Final = ("name", *(field.alias or name for name, field in Document.model_fields.items() if name != "name"))
