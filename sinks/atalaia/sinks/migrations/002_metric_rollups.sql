-- Windows of a minute, an hour, a day and a month. A row is the whole truth of one opening (shard) of one window of
-- one series; a higher version replaces it, and the shards add up. Read it through metrics_1m, _1h, _1d and _1mo.
CREATE TABLE IF NOT EXISTS metric_rollups
(
    tenant       LowCardinality(String),
    metric_name  LowCardinality(String),
    granularity  LowCardinality(String) COMMENT 'minute, hour, day or month',
    service_name LowCardinality(String),
    -- What else makes a series, in 16 bytes: two series with the same number would replace each other's rows, and of
    -- a thousand million series that has a chance of one in 10^20.
    series_id    UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(
        service_name, region, affiliate_id, unit, frequency, toString(mapSort(dimensions))
    )) CODEC(ZSTD(1)),
    metric_type  LowCardinality(String),
    region       LowCardinality(String) COMMENT 'empty: not said',
    affiliate_id String CODEC(ZSTD(1)) COMMENT 'empty: not said',
    unit         LowCardinality(String),
    frequency    LowCardinality(String),
    dimensions   Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    window_start DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    shard        String CODEC(ZSTD(1)) COMMENT 'partition-offset of the event that opened this state',
    version      UInt64 CODEC(ZSTD(1)) COMMENT 'epoch of the writer * 2^40 + offset of the last event applied',
    count        UInt64 CODEC(T64, ZSTD(1)),
    sum          Float64 CODEC(ZSTD(1)),
    min          Float64 CODEC(ZSTD(1)),
    max          Float64 CODEC(ZSTD(1)),
    first        Float64 CODEC(ZSTD(1)),
    last         Float64 CODEC(ZSTD(1)),
    first_at     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    last_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    sketch       Map(Int32, UInt64) CODEC(ZSTD(1)) COMMENT 'log-bucket counts: quantiles within 1 %',
    completeness Float64 CODEC(ZSTD(1)) COMMENT 'share of the window that the watermark has passed',
    watermark    DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1))
)
-- Of equal versions the row that came last wins: the same numbers, a later watermark.
ENGINE = ReplacingMergeTree(version)
-- A function of the key, so that all versions of a row meet in one partition; as coarse as its TTL allows.
PARTITION BY (
    granularity,
    multiIf(
        granularity = 'minute', toYYYYMMDD(window_start),
        granularity = 'month', toYear(window_start),
        toYYYYMM(window_start)
    )
)
-- Every question names a metric and a granularity; a series' windows lie side by side, shards of one window adjacent.
ORDER BY (tenant, metric_name, granularity, service_name, series_id, window_start, shard)
-- F4, brought to the settings after the migrations.
TTL window_start + toIntervalDay(transform(granularity, ['minute', 'hour', 'day', 'month'], [7, 90, 730, 1826], 7))
SETTINGS ttl_only_drop_parts = 1;
