"""A transition as the alerts topic carries it."""

from __future__ import annotations

from typing import Any

from atalaia.alerting import templates
from atalaia.alerting.rules import condition_text, number_text, unit_of, unit_text
from atalaia.alerting.transitions import Transition


def record(transition: Transition) -> dict[str, Any]:
    """The AlertEvent of a transition (AlertEvent.avsc). Its key on the topic is the fingerprint."""
    rule = transition.rule
    unit = rule.unit if transition.series is None else unit_of(rule, transition.series.unit)
    window_start, window_end = transition.window or (None, None)
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
        "channels": [channel.value for channel in rule.channels],
        "recipients": list(rule.recipients),
        "value": transition.value,
        "threshold": transition.threshold,
        "condition": condition_text(rule, unit=unit),
        "unit": unit,
        "window_start": window_start,
        "window_end": window_end,
        "completeness": None if transition.evidence is None else transition.evidence.completeness,
    }


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
