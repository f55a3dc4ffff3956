-- What services say of themselves; the view `services` has the latest of each.
CREATE TABLE IF NOT EXISTS service_health
(
    timestamp        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when it was taken',
    tenant           LowCardinality(String),
    service_name     LowCardinality(String),
    health_id        UUID CODEC(ZSTD(1)),
    status           LowCardinality(String),
    response_time_ms Nullable(Float64) CODEC(ZSTD(1)),
    error_rate       Nullable(Float64) CODEC(ZSTD(1)) COMMENT '0 to 1',
    cpu_usage        Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'percent',
    memory_usage     Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'percent',
    version          LowCardinality(String) COMMENT 'empty: not said',
    uptime_seconds   Nullable(Float64) CODEC(ZSTD(1)),
    arrived_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _partition       UInt16 CODEC(ZSTD(1)),
    _offset          UInt64 CODEC(Delta, ZSTD(1)),
    INDEX by_offset _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
-- Thirty parts that TTL drops whole.
PARTITION BY toYYYYMMDD(timestamp)
-- The latest of a service is the end of its rows.
ORDER BY (tenant, service_name, timestamp)
-- F4: 30 days; brought to the settings after the migrations.
TTL toDateTime(timestamp) + toIntervalDay(30)
SETTINGS ttl_only_drop_parts = 1;
