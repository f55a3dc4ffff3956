"""The state of one series under its rules as a short list of plain values, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from atalaia.alerting.buckets import NEVER, Buckets, MinuteStats
from atalaia.alerting.document import from_document, to_document
from atalaia.alerting.evaluation import Condition, prepare
from atalaia.alerting.latest import Latest
from atalaia.alerting.rules import RuleError
from atalaia.alerting.states import AlertState
from atalaia.alerting.tracker import Track, Tracker
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

FORMAT: Final = 1
"""First item of every snapshot: another number is another layout."""


def take(tracker: Tracker) -> list[Any] | None:
    """A snapshot of one series, as short as its rules allow; None where nothing is worth keeping."""
    if tracker.idle(tracker.judged_ms):
        return None
    latest = tracker.latest
    return [
        FORMAT,
        tracker.judged_ms,
        None if latest is None or latest.value is None else [latest.value, latest.at_ms],
        [_buckets(buckets) for buckets in tracker.buckets.values() if buckets.by_start],
        [
            [
                rule_id,
                track.state.phase.value,
                track.state.since_ms,
                track.state.episode,
                to_document(track.condition.rule),
            ]
            for rule_id, track in tracker.tracks.items()
            if track.state.open or track.state.episode > tracker.judged_ms - MINUTE_MS
        ],
    ]


def restore(series: SeriesKey, snapshot: list[Any]) -> Tracker | None:
    """The series as it was, still under the rules of that time; None where this version cannot read the snapshot."""
    if not snapshot or snapshot[0] != FORMAT:
        return None
    _, judged_ms, latest, steps, states = snapshot
    tracker = Tracker(series, at_ms=judged_ms)
    if latest is not None:
        tracker.latest = Latest(series.frequency)
        tracker.latest.value, tracker.latest.at_ms = latest
        tracker.latest.judged()
    for step in steps:
        buckets = _restored(step)
        tracker.buckets[buckets.step_ms] = buckets
    for rule_id, status, since_ms, episode, document in states:
        condition = _as_it_was(document)
        if condition is not None:
            tracker.tracks[rule_id] = Track(
                condition, None, None, AlertState(AlertStatus(status), since_ms, episode, since_ms)
            )
    return tracker


def _buckets(buckets: Buckets) -> list[Any]:
    """Times are small: they count from the bucket's start, and starts in steps."""
    step_ms, within = buckets.step_ms, buckets.by_start.values()
    rows: list[list[Any]] = (
        [[b.start_ms // step_ms, b.count, b.sum, b.last_at - b.start_ms, *_ends(b)] for b in within]
        if buckets.with_ends
        else [[b.start_ms // step_ms, b.count, b.sum, b.last_at - b.start_ms] for b in within]
    )
    if buckets.with_sketch:
        for row, bucket in zip(rows, within, strict=True):
            row.append([number for pair in bucket.sketch.items() for number in pair])
    since = None if buckets.since_ms == NEVER else buckets.since_ms
    return [step_ms, buckets.horizon_ms, since, buckets.whole_since_ms, buckets.with_ends, rows]


def _ends(bucket: MinuteStats) -> tuple[float, ...]:
    return bucket.last, bucket.min, bucket.max, bucket.first, bucket.first_at - bucket.start_ms


def _restored(step: list[Any]) -> Buckets:
    step_ms, horizon_ms, since, whole_since_ms, with_ends, rows = step
    buckets = Buckets(step_ms)
    buckets.horizon_ms = horizon_ms
    buckets.since_ms = NEVER if since is None else since
    buckets.whole_since_ms = whole_since_ms
    for index, count, total, last_offset, *more in rows:
        start = index * step_ms
        ends, sketch = (more[:5], more[5:]) if with_ends else ([], more)
        last, low, high, first, first_offset = ends or [0.0, math.inf, -math.inf, 0.0, last_offset]
        numbers = sketch[0] if sketch else []
        buckets.by_start[start] = MinuteStats(
            start,
            count,
            total,
            low,
            high,
            first,
            start + first_offset,
            last,
            start + last_offset,
            dict(zip(numbers[::2], numbers[1::2], strict=True)),
        )
    buckets.oldest_ms = min(buckets.by_start, default=NEVER)
    if not with_ends and buckets.by_start:
        buckets.whole_since_ms = max(buckets.by_start) + step_ms
    return buckets


def _as_it_was(document: Mapping[str, Any]) -> Condition | None:
    """The condition that the state belongs to, which may be gone or another by now."""
    try:
        return prepare(from_document(document))
    except RuleError:  # written by a version that knew more fields
        return None
