"""A transition as the alerts topic carries it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from atalaia.alerting import templates
from atalaia.alerting.rules import Level, Rule, condition_text, number_text, unit_of, unit_text
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus

_AMENDING: Final = frozenset({AlertStatus.AMENDED, AlertStatus.RETRACTED})
"""What is recorded, and told to people only where the rule wishes it."""


def record(transition: Transition) -> dict[str, Any]:
    """The AlertEvent of a transition (AlertEvent.avsc). Its key on the topic is the fingerprint."""
    rule = transition.rule
    unit = rule.unit if transition.series is None else unit_of(rule, transition.series.unit)
    window_start, window_end = transition.window or (None, None)
    told = rule.notify_amendments or transition.status not in _AMENDING
    return {
        "alert_id": transition.alert_id,
        "fingerprint": transition.fingerprint,
        "episode_id": transition.episode_id,
        "rule_id": rule.rule_id,
        "rule_name": rule.name,
        "rule_version": rule.version,
        "tenant": transition.tenant,
        "status": transition.status.value,
        "severity": transition.severity.value,
        "timestamp": transition.at_ms,
        "starts_at": transition.since_ms,
        "metric_name": transition.metric_name,
        "service_name": transition.service_name,
        "labels": transition.labels,
        "annotations": _annotations(transition, unit),
        "actions": list(rule.actions),
        "channels": [channel.value for channel in rule.channels] if told else [],
        "recipients": list(rule.recipients) if told else [],
        "value": transition.value,
        "threshold": transition.threshold,
        "condition": condition_text(_judged(rule, transition.level), unit=unit),
        "unit": unit,
        "window_start": window_start,
        "window_end": window_end,
        "completeness": None if transition.evidence is None else transition.evidence.completeness,
    }


def _judged(rule: Rule, level: Level | None) -> Rule:
    """The rule as if the level were its own threshold."""
    if level is None:
        return rule
    return replace(rule, threshold=level.threshold, recovery=level.recovery, levels=())


def _annotations(transition: Transition, unit: str) -> dict[str, str]:
    """The rule's texts, filled; a summary where it has none; and why, where the condition was not the reason."""
    rule, measure = transition.rule, unit_text(unit)
    labels, where = transition.labels, transition.service_name
    value = "no value" if transition.value is None else number_text(transition.value)
    texts = {
        name: templates.fill(text, labels=labels, value=value, threshold=number_text(transition.threshold))
        for name, text in rule.annotations
    }
    named = f"{rule.name} on {where}" if where else rule.name
    plain = f"{named}: {value}{measure if transition.value is not None else ''}"
    texts.setdefault("summary", plain)
    return texts | ({"note": transition.note} if transition.note else {})
