"""What the rollups topic says, read as its contract says: the highest version of each shard, and shards add up."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, TypeAlias

from benchmarks.trials.ledger import Line
from benchmarks.trials.oracle import QUANTILES, Totals, WindowKey, Windows
from confluent_kafka import TopicPartition

from atalaia.infra import kafka
from atalaia.infra.settings import Settings
from atalaia.schemas import sketch
from atalaia.schemas.codec import HEADER_BYTES, decode
from atalaia.schemas.events import Granularity
from atalaia.schemas.topics import ROLLUPS

Row: TypeAlias = dict[str, Any]
_BATCH: Final = 5_000


class RollupReader:
    """The rollups topic so far. Each `catch_up` reads what has come since the last."""

    def __init__(self, settings: Settings) -> None:
        self.records = 0
        self._settings = settings
        self._consumer = kafka.reader(settings.kafka, "rollup-reader", **{"fetch.wait.max.ms": 50})
        self._partitions = kafka.partitions_of(settings.kafka, [ROLLUPS.name])
        self._next = {tp.partition: 0 for tp in self._partitions}
        self._consumer.assign([TopicPartition(tp.topic, tp.partition, 0) for tp in self._partitions])
        self._rows: dict[tuple[WindowKey, str], Row] = {}

    def close(self) -> None:
        """Frees the consumer."""
        self._consumer.close()

    def catch_up(self) -> None:
        """Reads to the end that the topic has now."""
        ends = {key[1]: end for key, (_, end) in kafka.end_offsets(self._settings.kafka, self._partitions).items()}
        while any(self._next[number] < end for number, end in ends.items()):
            for message in self._consumer.consume(_BATCH, timeout=1.0):
                assert message.error() is None, message.error()
                self._take(decode("Rollup", message.value()[HEADER_BYTES:]))
                self._next[message.partition()] = message.offset() + 1

    def totals(self) -> Windows:
        """Every window with its shards added up."""
        shards: dict[WindowKey, list[Row]] = defaultdict(list)
        for (key, _), row in self._rows.items():
            shards[key].append(row)
        return {key: _merged(rows) for key, rows in shards.items()}

    def shards(self) -> int:
        """Openings of windows seen."""
        return len(self._rows)

    def _take(self, row: Row) -> None:
        self.records += 1
        key = (_window(row), row["shard"])
        known = self._rows.get(key)
        if known is None or row["version"] >= known["version"]:
            self._rows[key] = row


def _window(row: Row) -> WindowKey:
    line = Line(
        row["metric_name"],
        row["service_name"],
        row["region"],
        row["affiliate_id"],
        tuple(sorted(row["dimensions"].items())),
    )
    return line, Granularity(row["granularity"]), round(row["window_start"].timestamp() * 1000)


def _merged(rows: list[Row]) -> Totals:
    merged: dict[int, int] = {}
    for row in rows:
        sketch.merge(merged, dict(zip(row["sketch_buckets"], row["sketch_counts"], strict=True)))
    return Totals(
        count=sum(row["count"] for row in rows),
        sum=sum(row["sum"] for row in rows),
        min=min(row["min"] for row in rows),
        max=max(row["max"] for row in rows),
        first=min(rows, key=lambda row: row["first_at"])["first"],
        last=max(rows, key=lambda row: row["last_at"])["last"],
        quantiles=tuple(sketch.quantile(merged, share) or 0.0 for share in QUANTILES),
    )
