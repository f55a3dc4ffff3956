-- One row a transition as it was delivered; a redelivery has the same alert_id (the view `alerts` folds them).
CREATE TABLE IF NOT EXISTS alert_events
(
    timestamp    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when the transition was decided',
    tenant       LowCardinality(String),
    rule_id      LowCardinality(String),
    rule_name    LowCardinality(String),
    rule_version Int64 CODEC(ZSTD(1)),
    fingerprint  String CODEC(ZSTD(1)) COMMENT 'rule and labels',
    episode_id   String CODEC(ZSTD(1)) COMMENT 'one firing, from pending to resolved',
    alert_id     String CODEC(ZSTD(1)) COMMENT 'this transition',
    status       LowCardinality(String) COMMENT 'inactive, pending, firing or resolved',
    severity     LowCardinality(String) COMMENT 'low, medium, high or critical',
    starts_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    metric_name  LowCardinality(String),
    service_name LowCardinality(String),
    labels       Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    annotations  Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    actions      Array(String) CODEC(ZSTD(1)),
    channels     Array(LowCardinality(String)) CODEC(ZSTD(1)),
    recipients   Array(String) CODEC(ZSTD(1)),
    value        Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'NULL: no data',
    threshold    Float64 CODEC(ZSTD(1)),
    condition    String CODEC(ZSTD(1)),
    unit         LowCardinality(String),
    window_start Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    window_end   Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    completeness Nullable(Float64) CODEC(ZSTD(1)),
    watermark    Nullable(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    traceparent  String CODEC(ZSTD(1)),
    arrived_at   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _partition   UInt16 CODEC(ZSTD(1)),
    _offset      UInt64 CODEC(Delta, ZSTD(1)),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- A year in twelve parts that TTL drops whole.
PARTITION BY toYYYYMM(timestamp)
-- Asked for by rule, or for the latest of all: alerts are few.
ORDER BY (tenant, rule_name, timestamp)
-- F4: alert events 1 year; brought to the settings after the migrations.
TTL toDateTime(timestamp) + toIntervalDay(365)
SETTINGS ttl_only_drop_parts = 1;

-- Each attempt to tell someone of a transition, and the answer.
CREATE TABLE IF NOT EXISTS notifications
(
    timestamp       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant          LowCardinality(String),
    notification_id String CODEC(ZSTD(1)) COMMENT 'the same on every retry',
    fingerprint     String CODEC(ZSTD(1)),
    episode_id      String CODEC(ZSTD(1)),
    alert_id        String CODEC(ZSTD(1)),
    receiver        LowCardinality(String),
    channel         LowCardinality(String),
    recipient       String CODEC(ZSTD(1)),
    outcome         LowCardinality(String) COMMENT 'queued, sent, failed or suppressed',
    attempt         UInt32 CODEC(ZSTD(1)),
    answer          String CODEC(ZSTD(1)),
    arrived_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _partition      UInt16 CODEC(ZSTD(1)),
    _offset         UInt64 CODEC(Delta, ZSTD(1)),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
-- Asked for by channel ("what failed on Slack?") and by time.
ORDER BY (tenant, channel, timestamp)
-- As long as the alerts that they are about.
TTL toDateTime(timestamp) + toIntervalDay(365)
SETTINGS ttl_only_drop_parts = 1;

-- Who did what to what: keys, rules, silences, acknowledgements.
CREATE TABLE IF NOT EXISTS audit_log
(
    timestamp  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant     LowCardinality(String),
    actor      String CODEC(ZSTD(1)) COMMENT 'person, key or service account',
    action     LowCardinality(String) COMMENT 'for example rule.apply',
    subject    String CODEC(ZSTD(1)) COMMENT 'what it was done to',
    outcome    LowCardinality(String) COMMENT 'allowed, denied or failed',
    reason     String CODEC(ZSTD(1)),
    request_id String CODEC(ZSTD(1)),
    details    Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
-- Read as a journal.
ORDER BY (tenant, timestamp)
-- As long as the alerts, so that what was done about one can be told.
TTL toDateTime(timestamp) + toIntervalDay(365)
SETTINGS ttl_only_drop_parts = 1;
