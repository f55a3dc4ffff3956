"""A transition as the alerts topic carries it."""

from __future__ import annotations

from typing import Any

from atalaia.alerting import templates
from atalaia.alerting.rules import condition_text, number_text, unit_of, unit_text
from atalaia.alerting.transitions import Transition


def record(transition: Transition) -> dict[str, Any]:
    """The AlertEvent of a transition (AlertEvent.avsc). Its key on the topic is the fingerprint."""
    rule, series = transition.rule, transition.series
    unit = unit_of(rule, series.unit)
    window_start, window_end = transition.window or (None, None)
    return {
        "alert_id": transition.alert_id,
        "fingerprint": transition.fingerprint,
        "episode_id": transition.episode_id,
        "rule_id": rule.rule_id,
        "rule_name": rule.name,
        "rule_version": rule.version,
        "tenant": series.tenant,
        "status": transition.status.value,
        "severity": rule.severity.value,
        "timestamp": transition.at_ms,
        "starts_at": transition.since_ms,
        "metric_name": series.metric_name,
        "service_name": series.service_name,
        "labels": series.labels(),
        "annotations": _annotations(transition, unit),
        "actions": list(rule.actions),
        "channels": [channel.value for channel in rule.channels],
        "recipients": list(rule.recipients),
        "value": transition.value,
        "threshold": rule.threshold,
        "condition": condition_text(rule, unit=unit),
        "unit": unit,
        "window_start": window_start,
        "window_end": window_end,
    }


def _annotations(transition: Transition, unit: str) -> dict[str, str]:
    """The rule's texts, filled; a summary where it has none; and why, where the condition was not the reason."""
    rule, measure = transition.rule, unit_text(unit)
    labels = transition.series.labels()
    value = "no value" if transition.value is None else number_text(transition.value)
    texts = {
        name: templates.fill(text, labels=labels, value=value, threshold=number_text(rule.threshold))
        for name, text in rule.annotations
    }
    plain = f"{rule.name} on {transition.series.service_name}: {value}{measure if transition.value is not None else ''}"
    texts.setdefault("summary", plain)
    return texts | ({"note": transition.note} if transition.note else {})
