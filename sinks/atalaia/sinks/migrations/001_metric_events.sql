-- Every event that counts, as it was emitted. Written by the sink only, each (_partition, _offset) once.
CREATE TABLE IF NOT EXISTS metric_events
(
    tenant       LowCardinality(String),
    metric_name  LowCardinality(String),
    service_name LowCardinality(String),
    timestamp    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'event time',
    value        Float64 CODEC(ZSTD(1)),
    unit         LowCardinality(String),
    metric_type  LowCardinality(String),
    frequency    LowCardinality(String),
    region       LowCardinality(String) COMMENT 'empty: not said',
    affiliate_id String CODEC(ZSTD(1)) COMMENT 'empty: not said',
    metadata     Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    event_id     UUID CODEC(ZSTD(1)) COMMENT 'given by the producer, the same on every retry',
    producer_id  LowCardinality(String),
    sequence     Int64 CODEC(Delta, ZSTD(1)) COMMENT 'counts per producer_id and series: a gap is a loss',
    arrived_at   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when Kafka took it (its clock)',
    _partition   UInt16 CODEC(ZSTD(1)) COMMENT 'Kafka partition',
    _offset      UInt64 CODEC(Delta, ZSTD(1)) COMMENT 'Kafka offset',
    -- Answers "which of these offsets are already here?" (asked by every insert) from a few granules.
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- What is kept alike and dropped together lies together, by the later of event time and arrival: then an insert
-- touches one or two partitions even when years of history arrive at once, and TTL drops whole parts
-- (docs/adr/0011-partitions-by-retention.md).
PARTITION BY (
    frequency,
    if(
        frequency IN ('daily', 'monthly'),
        toYYYYMM(greatest(timestamp, arrived_at)),
        toYYYYMMDD(greatest(timestamp, arrived_at))
    )
)
-- Every question names a metric, mostly a service, mostly a time.
ORDER BY (tenant, metric_name, service_name, timestamp)
-- F4, brought to the settings after the migrations. From the later of event time and arrival, so that history that
-- arrives today is kept as long as today's events, and every event still in Kafka (3 days) is still here: P8.
TTL toDateTime(greatest(timestamp, arrived_at))
    + toIntervalDay(transform(frequency, ['real_time', 'hourly', 'daily', 'monthly'], [7, 90, 730, 1826], 7))
SETTINGS ttl_only_drop_parts = 1;
