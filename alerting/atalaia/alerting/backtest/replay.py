"""Recorded events through the engine again: in the order and at the times in which they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from atalaia.alerting.engine import Engine
from atalaia.alerting.local.buckets import MinuteStats
from atalaia.alerting.rules import Rule
from atalaia.alerting.transitions import Transition
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

TICK_MS: Final = 1_000
"""As often as the stream worker looks at what time alone has changed."""
Arrival = tuple[int, SeriesKey, MinuteStats]
"""When an event arrived, of which series it is, and what it says."""


def replay(rules: Sequence[Rule], arrivals: Iterable[Arrival], *, until_ms: int) -> list[Transition]:
    """What an engine tells of events that arrive one by one, in the order of their arrival, up to an instant."""
    engine = Engine(rules)
    told: list[Transition] = []
    clock_ms: int | None = None
    for arrival_ms, series, stats in arrivals:
        second_ms = arrival_ms - arrival_ms % TICK_MS
        if clock_ms is None:
            clock_ms = second_ms
        while clock_ms < second_ms:
            clock_ms += TICK_MS
            told += engine.advance(clock_ms)
        engine.observe(series, stats, at_ms=arrival_ms)
    if clock_ms is not None:
        for at_ms in range(clock_ms + TICK_MS, until_ms + TICK_MS, TICK_MS):
            told += engine.advance(at_ms)
    return told


def outline(transition: Transition) -> dict[str, Any]:
    """What of a transition must be the same in every replay: which alert, what it entered, in which minute."""
    return {
        "rule_id": transition.rule.rule_id,
        "labels": transition.labels,
        "severity": transition.severity.value,
        "status": transition.status.value,
        "minute_ms": transition.at_ms - transition.at_ms % MINUTE_MS,
    }
