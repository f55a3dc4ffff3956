"""The records by which source partitions and homes talk: `atalaia.rule-partials.v1`.

Five kinds, told apart by the key:

- a *partial*: one opening of one minute of one series, whole. Its key is series, minute and shard, so a later one
  replaces an earlier one, and repeating one changes nothing; its value is the window as the state changelog holds it,
  stamped with the writer's epoch and the last offset applied. Of two values that of the later owner is in force, and
  of one owner's that which has applied more. A home deletes those that no rule reaches any more.
- a *source clock*: how far a source partition has come. It follows every partial of what it vouches for in the same
  partition, so whoever has read the clock has read those.
- a *mark*: how far a home has judged the rules that first read a metric.
- a *memo*: where one alert stands, by the metric that its rule reads first. Homes write it, stamped with the instant
  of the judgement.
- an *owed* alert: a transition as it goes to the alerts topic, until it is known to have arrived there.

JSON, as the state changelog: on a minute of 600 events Avro is half the size and takes 17 times as long to write
(43 µs against 2.5 µs, orjson against fastavro), and no other program reads this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from atalaia.alerting.local.buckets import MinuteStats
from atalaia.schemas.events import Granularity
from atalaia.schemas.series import SeriesKey
from atalaia.streams.window import Window, restored

_MINUTE: Final = b"@"
"""Between a series' key, which is a JSON array, and the minute."""
_CLOCK: Final = b"clock:"
_MARK: Final = b"mark:"
_MEMO: Final = b"memo:"
_OWED: Final = b"owed:"


PartialsRecord = tuple[int, bytes, bytes | None]
"""Partition of the topic, key, value; None deletes."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Which opening of which minute: the source partition, and the offset that opened it."""

    minute_ms: int
    partition: int
    opened: int


@dataclass(frozen=True, slots=True)
class PartialKey:
    """What a partial is of; `series` is the key of the state changelog."""

    series: bytes
    shard: Shard


@dataclass(frozen=True, slots=True)
class ClockKey:
    """Whose clock it is."""

    partition: int


@dataclass(frozen=True, slots=True)
class MarkKey:
    """Whose mark it is: that of the rules which first read this metric."""

    metric_name: str


@dataclass(frozen=True, slots=True)
class MemoKey:
    """Which alert's memo it is: the metric that its rule reads first, the rule, and what tells its alerts apart."""

    metric_name: str
    rule_id: str
    alert: str


@dataclass(frozen=True, slots=True)
class Memo:
    """Where an alert stood at an instant (event time, ms): what the judge dumped, and the rule's document.

    Both are None of an alert that is over.
    """

    judged_ms: int
    state: Any
    rule: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class OwedKey:
    """Which transition is owed: the metric that its rule reads first, the alert's key and its idempotency key."""

    metric_name: str
    fingerprint: str
    alert_id: str


@dataclass(frozen=True, slots=True)
class SourceClock:
    """How far one source partition has come; times in ms, event time but for `sent_ms`.

    Everything up to `at_ms` that the partition will ever judge in time has been sent. `generation` is the consumer
    group's: of a partition that has moved, only the clock of its present owner counts.
    """

    at_ms: int
    watermark_ms: int
    caught_up: bool
    generation: int
    sent_ms: int


def partial_key(series: bytes, window: Window, *, partition: int) -> bytes:
    """The record key of one opening of a minute.

    >>> parse_key(b'["t","m"]@60000:3-17')
    PartialKey(series=b'["t","m"]', shard=Shard(minute_ms=60000, partition=3, opened=17))
    """
    return series + _MINUTE + b"%d:%d-%d" % (window.start_ms, partition, window.opened)


def partial_value(window: Window, *, epoch: int) -> bytes:
    """The whole state of a minute, as its record holds it; `epoch` grows with every owner of a source partition."""
    return orjson.dumps([epoch, window.dump()])


def clock_key(partition: int) -> bytes:
    """The record key of a source partition's clock."""
    return _CLOCK + b"%d" % partition


def clock_value(clock: SourceClock) -> bytes:
    """A clock as its record holds it."""
    return orjson.dumps([clock.at_ms, clock.watermark_ms, clock.caught_up, clock.generation, clock.sent_ms])


def clock_of(value: bytes) -> SourceClock:
    """The clock of a record.

    >>> clock_of(clock_value(SourceClock(5, 3, True, 1, 7)))
    SourceClock(at_ms=5, watermark_ms=3, caught_up=True, generation=1, sent_ms=7)
    """
    at_ms, watermark_ms, caught_up, generation, sent_ms = orjson.loads(value)[:5]
    return SourceClock(at_ms, watermark_ms, caught_up, generation, sent_ms)


def mark_key(metric_name: str) -> bytes:
    """The record key of a mark, whose value is the instant (event time, ms) in decimal."""
    return _MARK + metric_name.encode("utf-8", "surrogatepass")


def memo_key(memo: MemoKey) -> bytes:
    """The record key of an alert's memo.

    >>> parse_key(memo_key(MemoKey("m", "r", "x")))
    MemoKey(metric_name='m', rule_id='r', alert='x')
    """
    return _MEMO + orjson.dumps([memo.metric_name, memo.rule_id, memo.alert])


def memo_value(memo: Memo) -> bytes:
    """A memo as its record holds it."""
    return orjson.dumps([memo.judged_ms, memo.state, memo.rule])


def memo_of(value: bytes) -> Memo:
    """The memo of a record.

    >>> memo_of(memo_value(Memo(5, [1], {"id": "r"})))
    Memo(judged_ms=5, state=[1], rule={'id': 'r'})
    """
    return Memo(*orjson.loads(value))


def owed_key(owed: OwedKey) -> bytes:
    """The record key of an owed alert, whose value is the alert's own record."""
    return _OWED + orjson.dumps([owed.metric_name, owed.fingerprint, owed.alert_id])


def parse_key(key: bytes) -> PartialKey | ClockKey | MarkKey | MemoKey | OwedKey | None:
    """What a record is; None of a kind that this version doesn't know."""
    if key.startswith(b"["):
        series, _, rest = key.rpartition(_MINUTE)
        minute, _, shard = rest.partition(b":")
        partition, _, opened = shard.partition(b"-")
        return PartialKey(series, Shard(int(minute), int(partition), int(opened)))
    if key.startswith(_CLOCK):
        return ClockKey(int(key[len(_CLOCK) :]))
    if key.startswith(_MARK):
        return MarkKey(key[len(_MARK) :].decode("utf-8", "surrogatepass"))
    if key.startswith(_MEMO):
        return MemoKey(*orjson.loads(key[len(_MEMO) :]))
    if key.startswith(_OWED):
        return OwedKey(*orjson.loads(key[len(_OWED) :]))
    return None


def series_of(key: bytes) -> SeriesKey:
    """The series that a key of the state changelog means."""
    tenant, metric_name, service_name, region, affiliate_id, unit, frequency, dimensions = orjson.loads(key)
    pairs = tuple(sorted(orjson.loads(dimensions).items()))
    return SeriesKey(tenant, metric_name, service_name, region, affiliate_id, unit, frequency, pairs)


def partial_of(value: bytes) -> tuple[int, Window]:
    """The epoch of a partial, and the minute that it holds."""
    epoch, dump = orjson.loads(value)
    return epoch, restored(dump, Granularity.MINUTE, 0.0)


def minute_stats(window: Window) -> MinuteStats:
    """A minute as the rules read it; its sketch is the window's own."""
    return MinuteStats(
        start_ms=window.start_ms,
        count=window.count,
        sum=window.sum,
        min=window.min,
        max=window.max,
        first=window.first,
        first_at=window.first_at,
        last=window.last,
        last_at=window.last_at,
        sketch=window.sketch,
        missing=window.missing,
    )
