"""Why nothing is heard, or not enough: the service is silent, the pipeline is late, or the pipeline is lossy."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from atalaia.alerting.expressions import Absent
from atalaia.alerting.transitions import Transition
from atalaia.schemas.events import AlertStatus

ANNOTATION: Final = "silence"
"""The annotation of an alert that says which."""


class Silence(StrEnum):
    """Three reasons that look the same from afar."""

    SERVICE_SILENT = "service silent"
    """Everything that was sent has been read, no count of a producer has a gap, and nothing came."""
    PIPELINE_LATE = "pipeline late"
    """Events wait in Kafka, or the watermark stays behind: what is not here may be on its way."""
    PIPELINE_LOSSY = "pipeline lossy"
    """Producers counted events that never came: what is not here was sent."""


def why_silent(*, behind: bool, missing: bool) -> Silence:
    """The reason that nothing is heard, the least of the service's own first.

    `behind`: the partition lags or its watermark does; `missing`: the sequences of producers have gaps.

    >>> why_silent(behind=True, missing=True)
    <Silence.PIPELINE_LATE: 'pipeline late'>
    """
    if behind:
        return Silence.PIPELINE_LATE
    return Silence.PIPELINE_LOSSY if missing else Silence.SERVICE_SILENT


def about_silence(transition: Transition) -> bool:
    """Whether a transition is about what is not heard, and not about a value."""
    match transition.status:
        case AlertStatus.AWAITING_DATA | AlertStatus.NO_DATA:
            return True
        case AlertStatus.PENDING | AlertStatus.FIRING:
            return _on_absence(transition)
        case _:
            return False


def silence_of(transition: Transition, *, lossy: bool = False) -> Silence | None:
    """Which silence a transition is about; None where it is about a value.

    `lossy` says that other series of the service have gaps of late. A verdict that awaits data lacks events, or else
    waits for the pipeline; alerts on absence, and those without data, are judged on all that Kafka had.
    """
    if not about_silence(transition):
        return None
    missing = transition.evidence is not None and transition.evidence.completeness < 1
    if transition.status is AlertStatus.AWAITING_DATA:
        return why_silent(behind=not missing, missing=missing)
    return why_silent(behind=False, missing=missing or lossy)


def _on_absence(transition: Transition) -> bool:
    rule = transition.rule
    return isinstance(rule.expression, Absent) or (rule.absent_for is not None and transition.value is None)
