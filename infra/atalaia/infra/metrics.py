"""Every self-metric of every process, declared once: names, help and bounded labels.

`stage` is streams or sinks; `topic` is one of the table of topics; `reason` is a `screening.Reason`.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BATCH_RECORDS: Final = (1, 10, 100, 1_000, 5_000, 20_000, 50_000, 100_000)

# Flow: with these, acknowledged = raw + dead letters + lag (P8) can be checked from outside.
RECORDS_READ: Final = Counter("atalaia_records_read_total", "Records taken from Kafka", ["stage", "topic"])
RECORDS_SKIPPED: Final = Counter(
    "atalaia_records_skipped_total", "Records already applied before a restart, left out", ["stage", "topic"]
)
DEAD_LETTERS: Final = Counter(
    "atalaia_dead_letters_total", "Records found unusable, by reason", ["stage", "topic", "reason"]
)
ROWS_STORED: Final = Counter("atalaia_rows_stored_total", "Rows inserted into ClickHouse", ["table"])
LAG: Final = Gauge(
    "atalaia_consumer_lag_records", "Records in Kafka past the committed offset", ["stage", "topic", "partition"]
)
COMMITTED: Final = Gauge(
    "atalaia_committed_offset", "Next offset to read after a restart", ["stage", "topic", "partition"]
)

# Work.
BATCH_SECONDS: Final = Histogram(
    "atalaia_batch_duration_seconds",
    "From records in hand to batch applied",
    ["stage", "topic"],
    buckets=_BATCH_SECONDS,
)
BATCH_RECORDS: Final = Histogram(
    "atalaia_batch_size_records", "Records in a batch", ["stage", "topic"], buckets=_BATCH_RECORDS
)
RETRIES: Final = Counter(
    "atalaia_retries_total", "Tries of an operation that had to be repeated", ["stage", "operation"]
)

# Windows and rules.
CHECKPOINT_SECONDS: Final = Histogram(
    "atalaia_checkpoint_duration_seconds", "Writing state and rollups before a commit", buckets=_BATCH_SECONDS
)
SERIES: Final = Gauge("atalaia_series", "Series held in memory by this worker")
WINDOWS: Final = Gauge("atalaia_windows", "Windows held in memory by this worker")
WATERMARK_AGE: Final = Gauge(
    "atalaia_watermark_age_seconds", "Wall clock less the watermark of the partition", ["partition"]
)
LATE_EVENTS: Final = Counter("atalaia_late_groups_total", "Groups of events applied behind the watermark")
MISSING_EVENTS: Final = Counter(
    "atalaia_missing_events_total", "Events that producers counted and that had not come when a later one did"
)
RECOVERED_EVENTS: Final = Counter(
    "atalaia_missing_events_recovered_total", "Events counted as missing that came after all"
)
ROLLUPS: Final = Counter("atalaia_rollups_emitted_total", "Rollup rows published", ["granularity"])
RULES: Final = Gauge("atalaia_rules", "Rules in force")
TRANSITIONS: Final = Counter("atalaia_alert_transitions_total", "Alert transitions published", ["status"])
PARTIALS: Final = Counter("atalaia_rule_partials_total", "Records sent to the homes of rules over several series")
JUDGED_BEHIND: Final = Gauge(
    "atalaia_shared_rules_behind_seconds", "Wall clock less the instant that a home has judged", ["partition"]
)
RESTORED: Final = Counter("atalaia_state_restored_records_total", "Changelog records read back")
