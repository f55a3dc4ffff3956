"""A rule as people and programs write it: the one form behind F2.5's JSON, the YAML files and the rules topic."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from atalaia.alerting import durations, fields
from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.rules import Channel, Comparison, Fault, Rule, RuleError
from atalaia.schemas.events import Severity

SEVERITIES: Final[dict[str, Severity]] = {
    **{severity.value: severity for severity in Severity},
    "warning": Severity.MEDIUM,
    "info": Severity.LOW,
    "p0": Severity.CRITICAL,
    "p1": Severity.HIGH,
    "p2": Severity.MEDIUM,
    "p3": Severity.LOW,
}
"""F's vocabulary; A3's critical, warning, info; and priorities."""

SYNONYMS: Final = {
    "rule_id": "id",
    "rule_name": "name",
    "alert": "name",
    "metric_name": "metric",
    "matchers": "where",
    "aggregation": "aggregate",
    "threshold_value": "threshold",
    "hold": "for",
    "notification_channels": "channels",
    "notification_recipients": "recipients",
    "is_active": "active",
}
"""F2.5's names, and others', to ours."""

_NO_GROUPS: Final = "is not understood yet: a rule judges each series by itself; narrow it with where"
LATER: Final = {
    "expr": "is not understood yet: instead of PromQL write metric, aggregate, window and condition",
    "by": _NO_GROUPS,
    "group_by": _NO_GROUPS,
    "without": _NO_GROUPS,
    "keep_firing_for": "is not understood yet: a rule resolves as soon as its condition ceases; leave it out",
    "labels": "is not understood: select series with where, and write severity at the top level",
}
"""Fields of other systems, and what to do instead."""

_NAME: Final = 60
"""Characters of an unknown field's name that an error repeats."""

_Text = Annotated[str, BeforeValidator(fields.text)]
_OptionalText = Annotated[str | None, BeforeValidator(fields.text)]
_Duration = Annotated[timedelta, BeforeValidator(fields.duration)]
_Whole = Annotated[int, BeforeValidator(fields.whole)]
_Label = Annotated[str, BeforeValidator(fields.label)]
_Texts = Annotated[list[_Text], BeforeValidator(fields.texts)]
_Channel = Annotated[Channel, BeforeValidator(fields.one_of({item.value: item for item in Channel}))]


class _Document(BaseModel):
    """The fields of a rule under our names, each of the right type. An absent field and a null are the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Text
    metric: _Text
    condition: Annotated[tuple[Comparison, float | None], BeforeValidator(fields.condition)]
    threshold: Annotated[float | None, BeforeValidator(fields.number)] = None
    id: _OptionalText = None
    version: _Whole = 1
    tenant: _OptionalText = None
    where: Annotated[dict[str, _Label], BeforeValidator(fields.mapping)] = {}
    aggregate: Annotated[Aggregate | None, BeforeValidator(fields.one_of({item.value: item for item in Aggregate}))] = (
        None
    )
    window: Annotated[timedelta | None, BeforeValidator(fields.duration)] = None
    hold: _Duration = Field(timedelta(), alias="for")
    severity: Annotated[Severity, BeforeValidator(fields.one_of(SEVERITIES))] = Severity.MEDIUM
    minimum_count: _Whole = 0
    annotations: Annotated[dict[str, _Text], BeforeValidator(fields.mapping)] = {}
    summary: _OptionalText = None
    description: _OptionalText = None
    runbook_url: _OptionalText = None
    actions: _Texts = []
    channels: Annotated[list[_Channel], BeforeValidator(fields.texts)] = []
    recipients: _Texts = []
    active: Annotated[bool, BeforeValidator(fields.flag)] = True


def from_document(written: Mapping[str, Any]) -> Rule:
    """The rule that a document says; `RuleError` lists every fault under the names that the document uses.

    >>> from_document({"rule_name": "Slow API", "metric_name": "api_response_time", "condition": ">",
    ...                "threshold_value": 250, "severity": "P1"}).severity
    <Severity.HIGH: 'high'>
    """
    ours, spelled, faults = _under_our_names(written)
    rule: Rule | None = None
    try:
        document = _Document.model_validate(ours)
    except ValidationError as exc:
        faults += [_fault(error["type"], error["loc"], error["msg"]) for error in exc.errors(include_url=False)]
    else:
        faults += _pair_faults(document)
        try:
            rule = _rule(document)
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
        "metric": rule.metric_name,
        "where": dict(rule.matchers),
        "tenant": rule.tenant,
        "condition": rule.comparison.value if rule.comparison else None,
        "threshold": rule.threshold,
        "for": durations.text(rule.hold),
        "severity": rule.severity.value,
        "minimum_count": rule.minimum_count,
        "annotations": dict(rule.annotations),
        "actions": list(rule.actions),
        "channels": [channel.value for channel in rule.channels],
        "recipients": list(rule.recipients),
        "active": rule.is_active,
    }
    if rule.window is not None:
        document |= {"aggregate": rule.aggregate.value, "window": durations.text(rule.window)}
    return {name: value for name, value in document.items() if value not in (None, {}, [])}


def identifier(name: str) -> str:
    """The id of a rule that has only a name.

    >>> identifier("High commissions"), identifier("Comissão alta!"), identifier("🔥")
    ('high-commissions', 'comissao-alta', 'rule-90a7d26b')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain))
    return slug or "rule-" + blake2b(name.encode(), digest_size=4).hexdigest()


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


def _fault(kind: str, path: tuple[str | int, ...], message: str) -> Fault:
    """A fault from what pydantic found."""
    return Fault(path, "is missing" if kind == "missing" else message.removeprefix("Value error, "))


def _pair_faults(document: _Document) -> list[Fault]:
    """Faults of fields that must agree with each other."""
    faults = []
    inline = document.condition[1]
    if inline is None and document.threshold is None:
        faults.append(Fault(("threshold",), "is missing; give the number to compare with"))
    if inline is not None and document.threshold is not None:
        faults.append(Fault(("threshold",), "is given twice: in condition and by itself; keep one of them"))
    if document.window is not None and document.aggregate is None:
        faults.append(Fault(("window",), f"needs an aggregate; choose one of {', '.join(Aggregate)}"))
    faults.extend(
        Fault((name,), "is given twice: in annotations and by itself; keep one of them")
        for name in sorted(document.annotations.keys() & _shorthand(document).keys())
    )
    return faults


def _shorthand(document: _Document) -> dict[str, str]:
    """Annotations that may stand at the top level."""
    texts = {"summary": document.summary, "description": document.description, "runbook_url": document.runbook_url}
    return {name: written for name, written in texts.items() if written is not None}


def _rule(document: _Document) -> Rule:
    """The rule; one without a threshold gets any, so that its other faults are found too."""
    comparison, inline = document.condition
    threshold = inline if document.threshold is None else document.threshold
    return Rule(
        rule_id=identifier(document.name) if document.id is None else document.id,
        name=document.name,
        version=document.version,
        tenant=document.tenant,
        metric_name=document.metric,
        matchers=tuple(sorted(document.where.items())),
        aggregate=document.aggregate or Aggregate.LAST,
        window=document.window,
        comparison=comparison,
        threshold=0.0 if threshold is None else threshold,
        hold=document.hold,
        severity=document.severity,
        minimum_count=document.minimum_count,
        annotations=tuple(sorted((document.annotations | _shorthand(document)).items())),
        actions=tuple(document.actions),
        channels=tuple(document.channels),
        recipients=tuple(document.recipients),
        is_active=document.active,
    )


def _as_spelled(fault: Fault, spelled: Mapping[str, str]) -> Fault:
    """The fault under the name that the document uses for the field."""
    first, *rest = fault.path
    return Fault((spelled.get(str(first), first), *rest), fault.message)


_KNOWN: Final = tuple(field.alias or name for name, field in _Document.model_fields.items())
