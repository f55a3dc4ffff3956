"""The state of one series under its rules as a short list of plain values, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from atalaia.alerting.local.amendments import Decision
from atalaia.alerting.local.buckets import NEVER, Buckets, MinuteStats
from atalaia.alerting.local.evaluation import Condition, conditions
from atalaia.alerting.local.latest import Latest
from atalaia.alerting.local.track import Track
from atalaia.alerting.local.tracker import Tracker
from atalaia.alerting.rules import RuleError
from atalaia.alerting.states import AlertState
from atalaia.alerting.writing.document import from_document, to_document
from atalaia.schemas.events import AlertStatus
from atalaia.schemas.series import SeriesKey
from atalaia.schemas.windows import MINUTE_MS

FORMAT: Final = 2
"""First item of every snapshot: another number is another layout. The layout before, 1, is still read, so that an
upgrade keeps alerts, windows and `for`; it knows nothing of silence, which begins anew."""
_BEFORE: Final = 1


def take(tracker: Tracker) -> list[Any] | None:
    """A snapshot of one series, as short as its rules allow; None where nothing is worth keeping."""
    if tracker.idle(tracker.judged_ms):
        return None
    latest = tracker.latest
    return [
        FORMAT,
        tracker.judged_ms,
        tracker.spoke_ms,
        None if latest is None or latest.value is None else [latest.value, latest.at_ms],
        [_buckets(buckets) for buckets in tracker.buckets.values() if buckets.since_ms < NEVER],
        [_track(track) for track in tracker.tracks.values() if _matters(track, tracker.judged_ms)],
    ]


def restore(series: SeriesKey, snapshot: list[Any]) -> Tracker | None:
    """The series as it was, still under the rules of that time; None where this version cannot read the snapshot."""
    if not snapshot or snapshot[0] not in {FORMAT, _BEFORE}:
        return None
    _, judged_ms, spoke_ms, latest, steps, tracks = snapshot if snapshot[0] == FORMAT else _upgraded(snapshot)
    tracker = Tracker(series, at_ms=judged_ms)
    tracker.spoke_ms = spoke_ms
    if latest is not None:
        tracker.latest = Latest(series.frequency)
        tracker.latest.value, tracker.latest.at_ms = latest
        tracker.latest.judged()
    for step in steps:
        buckets = _restored(step)
        tracker.buckets[buckets.step_ms] = buckets
    for identity, state, document, decisions in tracks:
        condition = _as_it_was(document, identity)
        if condition is not None:
            track = tracker.tracks[identity] = Track(condition, None, None)
            track.enter(_state(state), None)
            track.decisions = [_decision(row) for row in decisions]
    return tracker


def _upgraded(snapshot: list[Any]) -> list[Any]:
    """A snapshot of layout 1 in the present one: what fires was heard of, at the latest, when it was judged last."""
    _, judged_ms, latest, steps, states = snapshot
    tracks = [
        [rule_id, [status, since_ms, episode, since_ms, None, 0, 0, 0, 0], document, []]
        for rule_id, status, since_ms, episode, document in states
    ]
    return [FORMAT, judged_ms, judged_ms if tracks else 0, latest, [[*step, False] for step in steps], tracks]


def _matters(track: Track, judged_ms: int) -> bool:
    state = track.state
    return state.open or bool(state.bits) or bool(track.decisions) or state.episode > judged_ms - MINUTE_MS


def _track(track: Track) -> list[Any]:
    state = track.state
    doubt = None if state.doubt is None else state.doubt.value
    times = [state.phase.value, state.since_ms, state.episode, state.timer_ms, doubt, state.doubt_ms]
    return [
        track.condition.identity,
        [*times, state.turn, state.bits, state.step],
        to_document(track.condition.rule),
        [_row(decision) for decision in track.decisions],
    ]


def _state(written: list[Any]) -> AlertState:
    phase, since_ms, episode, timer_ms, doubt, *rest = written
    doubted = None if doubt is None else AlertStatus(doubt)
    return AlertState(AlertStatus(phase), since_ms, episode, timer_ms, doubted, *rest)


def _row(decision: Decision) -> list[Any]:
    stats = decision.stats
    return [
        decision.status.value,
        decision.at_ms,
        decision.since_ms,
        decision.episode,
        decision.window,
        decision.value,
        None if stats is None else [*_numbers(stats), _flat(stats.sketch)],
        decision.retracted,
    ]


def _decision(row: list[Any]) -> Decision:
    status, at_ms, since_ms, episode, window, value, stats, retracted = row
    events = None
    if stats is not None:
        start_ms, count, total, low, high, first, first_at, last, last_at, missing, counts = stats
        low, high = math.inf if low is None else low, -math.inf if high is None else high
        sketch = _counts(counts)
        events = MinuteStats(start_ms, count, total, low, high, first, first_at, last, last_at, sketch, missing)
    start, end = window
    return Decision(AlertStatus(status), at_ms, since_ms, episode, (start, end), value, events, retracted)


def _numbers(stats: MinuteStats) -> list[Any]:
    """Of a window that kept no ends, the lowest and highest value are infinite, which JSON writes as null."""
    times = stats.first, stats.first_at, stats.last, stats.last_at, stats.missing
    return [stats.start_ms, stats.count, stats.sum, stats.min, stats.max, *times]


def _flat(counts: dict[int, int]) -> list[int]:
    return [number for pair in counts.items() for number in pair]


def _counts(flat: list[int]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


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
            row.append(_flat(bucket.sketch))
    missing = any(bucket.missing for bucket in within)
    if missing:
        for row, bucket in zip(rows, within, strict=True):
            row.append(bucket.missing)
    since = None if buckets.since_ms == NEVER else buckets.since_ms
    return [step_ms, buckets.horizon_ms, since, buckets.whole_since_ms, buckets.with_ends, rows, missing]


def _ends(bucket: MinuteStats) -> tuple[float, ...]:
    return bucket.last, bucket.min, bucket.max, bucket.first, bucket.first_at - bucket.start_ms


def _restored(step: list[Any]) -> Buckets:
    step_ms, horizon_ms, since, whole_since_ms, with_ends, rows, with_missing = step
    buckets = Buckets(step_ms)
    buckets.horizon_ms = horizon_ms
    buckets.since_ms = NEVER if since is None else since
    buckets.whole_since_ms = whole_since_ms
    for index, count, total, last_offset, *more in rows:
        start = index * step_ms
        missing = more.pop() if with_missing else 0
        ends, sketch = (more[:5], more[5:]) if with_ends else ([], more)
        last, low, high, first, first_offset = ends or [0.0, math.inf, -math.inf, 0.0, last_offset]
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
            _counts(sketch[0]) if sketch else {},
            missing,
        )
    buckets.oldest_ms = min(buckets.by_start, default=NEVER)
    if not with_ends and buckets.by_start:
        buckets.whole_since_ms = max(buckets.by_start) + step_ms
    return buckets


def _as_it_was(document: Mapping[str, Any], identity: str) -> Condition | None:
    """The condition that the state belongs to, which may be gone or another by now."""
    try:
        found = conditions(from_document(document))
    except RuleError:  # written by a version that knew more fields
        return None
    return next((condition for condition in found if condition.identity == identity), None)
