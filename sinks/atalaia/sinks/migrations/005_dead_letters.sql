-- Every record that could not count, with its bytes: one row for each original record, however often it came.
CREATE TABLE IF NOT EXISTS dead_letters
(
    timestamp  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'when it was put aside',
    topic      LowCardinality(String) COMMENT 'where the record was',
    partition  UInt16 CODEC(ZSTD(1)),
    offset     UInt64 CODEC(Delta, ZSTD(1)),
    reason     LowCardinality(String),
    message    LowCardinality(String) COMMENT 'the reason in words, with the remedy',
    key        String CODEC(ZSTD(1)),
    value      String CODEC(ZSTD(1)) COMMENT 'the original bytes',
    headers    Map(String, String) CODEC(ZSTD(1)),
    _partition UInt16 CODEC(ZSTD(1)) COMMENT 'where it is in the dead letter topic',
    _offset    UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(timestamp)
-- "Is this record here?" is what the sink and verify ask.
ORDER BY (topic, partition, offset)
-- As long as the dead letter topics; brought to the settings after the migrations.
TTL toDateTime(timestamp) + toIntervalDay(14)
SETTINGS ttl_only_drop_parts = 1;
