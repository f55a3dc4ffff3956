"""Silence told apart: of the service, of a pipeline that is late, of one that loses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from atalaia.alerting.aggregates import Aggregate
from atalaia.alerting.expressions import Absent, Read, Rolling, Selector
from atalaia.alerting.rules import Comparison, Rule
from atalaia.alerting.shared.silence import Silence, about_silence, silence_of, why_silent
from atalaia.alerting.transitions import Evidence, Transition
from atalaia.schemas.events import AlertStatus

HOUR = timedelta(hours=1)
PLAIN: dict[str, Any] = {"rule_id": "r", "name": "R", "metric_name": "order_value", "threshold": 1.0}
SUM = Rule(**PLAIN, comparison=Comparison.ABOVE, aggregate=Aggregate.SUM, window=HOUR)
QUIET = Rule(**PLAIN, comparison=None, absent_for=HOUR)
ABSENT = Rule(
    **PLAIN, comparison=None, expression=Absent(Read(Selector("order_value"), Aggregate.COUNT, Rolling(HOUR)))
)


def _transition(rule: Rule, status: AlertStatus, *, value: float | None, completeness: float | None) -> Transition:
    evidence = None if completeness is None else Evidence(3, completeness=completeness)
    return Transition(
        rule=rule,
        status=status,
        at_ms=0,
        since_ms=0,
        fingerprint="f",
        episode=0,
        value=value,
        evidence=evidence,
    )


@pytest.mark.parametrize(
    ("behind", "missing", "reason"),
    [
        (False, False, Silence.SERVICE_SILENT),
        (True, False, Silence.PIPELINE_LATE),
        (False, True, Silence.PIPELINE_LOSSY),
        (True, True, Silence.PIPELINE_LATE),
    ],
)
def test_a_service_is_silent_only_where_the_pipeline_is_neither_late_nor_lossy(
    *, behind: bool, missing: bool, reason: Silence
) -> None:
    """Nobody is said to be silent while events may be on their way, or were lost."""
    assert why_silent(behind=behind, missing=missing) is reason


@pytest.mark.parametrize(
    ("status", "completeness", "reason"),
    [
        (AlertStatus.AWAITING_DATA, 0.5, Silence.PIPELINE_LOSSY),
        (AlertStatus.AWAITING_DATA, None, Silence.PIPELINE_LATE),
        (AlertStatus.AWAITING_DATA, 1.0, Silence.PIPELINE_LATE),
        (AlertStatus.NO_DATA, None, Silence.SERVICE_SILENT),
        (AlertStatus.FIRING, 0.5, None),
        (AlertStatus.RESOLVED, 1.0, None),
    ],
)
def test_doubts_say_what_they_wait_for(status: AlertStatus, completeness: float | None, reason: Silence | None) -> None:
    """A verdict that awaits data says whether it was lost or is late; one on a value says nothing."""
    assert silence_of(_transition(SUM, status, value=2.0, completeness=completeness)) is reason


@pytest.mark.parametrize(("rule", "value"), [(QUIET, None), (ABSENT, 1.0)])
def test_an_alert_on_absence_says_whose_silence_it_is(rule: Rule, value: float | None) -> None:
    """It is the service's, unless the service's events have been lost of late."""
    firing = _transition(rule, AlertStatus.FIRING, value=value, completeness=None)
    assert about_silence(firing)
    assert silence_of(firing) is Silence.SERVICE_SILENT
    assert silence_of(firing, lossy=True) is Silence.PIPELINE_LOSSY
