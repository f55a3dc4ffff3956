"""What `verify` judges, gathered from Kafka and ClickHouse."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from clickhouse_connect.driver.client import Client

from atalaia.infra import clickhouse, kafka
from atalaia.infra.settings import Settings
from atalaia.schemas.events import Granularity
from atalaia.schemas.topics import DEAD_LETTERS, METRICS, ROLLUPS
from atalaia.sinks import comparison
from atalaia.sinks.comparison import EXAMPLES, LABELS, Scope
from atalaia.sinks.verify import Comparison, Difference, Partition, Report, Totals, faults

LOOK_AGAIN_SECONDS: Final = 1.0
_SLICE: Final = 5_000_000
"""Offsets counted in one query: uniqExact keeps every one of them in memory."""
_GAPS: Final = 10

Ends: TypeAlias = dict[tuple[str, int], tuple[int, int]]
"""First and next offset by topic and partition."""


def gather(
    settings: Settings,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    wait: timedelta = timedelta(0),
) -> Report:
    """The report on everything that is in Kafka now; windows that lie in [`start`, `end`) are compared.

    Looks again until nothing speaks against the proof, for as long as `wait`: what is in Kafka needs a few seconds
    to come through. Events that come meanwhile are left out, so it works beside a running load. Raises
    KafkaUnavailable, ClickHouseUnavailable or ClickHouseRefused.
    """
    began = time.monotonic()
    kafka.require(settings.kafka)
    topics = [METRICS.name, ROLLUPS.name, *(topic.name for topic in DEAD_LETTERS)]
    ends = kafka.end_offsets(settings.kafka, kafka.partitions_of(settings.kafka, topics))
    client = clickhouse.connect(settings.clickhouse)
    with clickhouse.errors(settings.clickhouse):
        while _behind(settings, ends) and time.monotonic() - began < wait.total_seconds():
            time.sleep(LOOK_AGAIN_SECONDS)
        while True:
            looked = time.monotonic()
            report = _look(settings, client, ends, start=start, end=end, began=began)
            now = time.monotonic()
            if not faults(report) or now - began > wait.total_seconds():
                return report
            time.sleep(max(LOOK_AGAIN_SECONDS, now - looked))  # not to slow down what we wait for


def _look(
    settings: Settings, client: Client, ends: Ends, *, start: datetime | None, end: datetime | None, began: float
) -> Report:
    partitions = tuple(_partitions(settings, client, ends))
    whole = all(each.begin == 0 and each.unaccounted == 0 for each in partitions)
    due = {each.number: each.end for each in partitions}
    now = datetime.now(UTC)
    comparisons = tuple(
        compare(client, Scope(granularity, settings.retention, now, whole, start, end), due)
        for granularity in Granularity
    )
    return Report(partitions, comparisons, _behind(settings, ends), _repeated_ids(client), time.monotonic() - began)


def _partitions(settings: Settings, client: Client, ends: Ends) -> Iterator[Partition]:
    ours = {place: span for place, span in ends.items() if place[0] == METRICS.name}
    committed = kafka.committed_offsets(
        settings.kafka, settings.sinks.group, kafka.partitions_of(settings.kafka, [METRICS.name])
    )
    for (topic, number), (begin, end) in sorted(ours.items()):
        checked = min(max(committed[topic, number] or 0, begin), end)
        rows = offsets = letters = 0
        for first in range(begin, checked, _SLICE):
            span = {"partition": number, "first": first, "after": min(first + _SLICE, checked), "topic": topic}
            rows_here, offsets_here = _one(client, _ROWS, span)
            (letters_here,) = _one(client, _LETTERS, span)
            rows, offsets, letters = rows + rows_here, offsets + offsets_here, letters + letters_here
        lost = checked - begin - offsets - letters > 0
        span = {"partition": number, "first": begin, "after": checked, "topic": topic}
        gaps = tuple((int(a), int(b)) for a, b in client.query(_MISSING, parameters=span).result_rows) if lost else ()
        yield Partition(number, begin, checked, end, rows, offsets, letters, gaps)


def compare(client: Client, scope: Scope, due: dict[int, int]) -> Comparison:
    """Raw and rollups of these windows; `due` are the offsets below which rollups should know all, by partition."""
    windows, events, disagreeing, first, without_events = _one(client, comparison.overview(scope))
    differing: list[Any] = []
    orphans: list[Any] = []
    if disagreeing > without_events:
        at = datetime.fromtimestamp(first, UTC)
        differing = list(client.query(comparison.differences(scope, at, due)).result_rows)
    if without_events:
        orphans = list(client.query(comparison.orphans(scope)).result_rows)
    return Comparison(
        granularity=scope.granularity.value,
        windows=windows,
        events=events,
        all_events=scope.whole,
        different=sum(rows[0][0] for rows in (differing, orphans) if rows),
        examples=tuple(_difference(row) for row in [*differing, *orphans][:EXAMPLES]),
    )


def _difference(row: Any) -> Difference:
    _, *labels = row[: len(LABELS) + 1]
    start, partition, n, s, lo, hi, rn, rs, rlo, rhi, missing, _ = row[len(LABELS) + 1 :]
    return Difference(
        window_start=datetime.fromtimestamp(start, UTC),
        partition=partition,
        labels={label: value for label, value in zip(LABELS, labels, strict=True) if value},
        raw=_totals(n, s, lo, hi),
        rollup=_totals(rn, rs, rlo, rhi),
        missing=missing,
    )


def _totals(count: int, total: float, least: float, most: float) -> Totals:
    return Totals(count, total, least, most) if count else Totals(0, 0.0, None, None)


def _behind(settings: Settings, ends: Ends) -> dict[str, int]:
    """Records that were there at the start and that a worker has yet to take."""
    reads = {
        settings.streams.application: [METRICS.name],
        settings.sinks.group: [METRICS.name, ROLLUPS.name, *(topic.name for topic in DEAD_LETTERS)],
    }
    found: dict[str, int] = {}
    for group, topics in reads.items():
        committed = kafka.committed_offsets(settings.kafka, group, kafka.partitions_of(settings.kafka, topics))
        for (topic, number), offset in committed.items():
            begin, end = ends.get((topic, number), (0, 0))
            left = max(0, end - max(begin, offset or 0))
            if left:
                name = f"{group} ({topic})"
                found[name] = found.get(name, 0) + left
    return found


def _repeated_ids(client: Client) -> int:
    (rows,) = _one(client, "SELECT count() FROM metric_events")
    passes = max(1, math.ceil(rows / _SLICE))
    return sum(_one(client, _REPEATED_IDS, {"passes": passes, "pass": number})[0] for number in range(passes))


def _one(client: Client, sql: str, parameters: dict[str, Any] | None = None) -> Any:
    (row,) = client.query(sql, parameters=parameters).result_rows
    return row


_IN_SPAN: Final = "{first:UInt64} AND {after:UInt64} - 1"
_ROWS: Final = f"""
    SELECT count(), uniqExact(_offset) FROM metric_events
    WHERE _partition = {{partition:UInt16}} AND _offset BETWEEN {_IN_SPAN}
"""  # noqa: S608 - of constants
_LETTERS: Final = f"""
    SELECT uniqExact(offset) FROM dead_letters
    WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}} AND offset BETWEEN {_IN_SPAN}
"""  # noqa: S608
_MISSING: Final = f"""
    SELECT before + 1, at - 1 FROM
    (
        SELECT at, lagInFrame(at, 1, {{first:UInt64}} - 1) OVER (ORDER BY at) AS before FROM
        (
            SELECT _offset AS at FROM metric_events
            WHERE _partition = {{partition:UInt16}} AND _offset BETWEEN {_IN_SPAN}
            UNION ALL
            SELECT offset FROM dead_letters
            WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}} AND offset BETWEEN {_IN_SPAN}
            UNION ALL
            SELECT {{after:UInt64}}
        )
    )
    WHERE at > before + 1 LIMIT {_GAPS}
"""  # noqa: S608
_REPEATED_IDS: Final = """
    SELECT count() - uniqExact(event_id) FROM metric_events
    WHERE sipHash64(event_id) % {passes:UInt32} = {pass:UInt32}
"""
