-- What people read. None of these needs FINAL, or knowledge of versions and shards.

-- The events.
CREATE OR REPLACE VIEW metrics AS
SELECT
    event_id, timestamp, tenant, metric_name, metric_type, value, unit, frequency, service_name, region, affiliate_id,
    metadata, producer_id, sequence, arrived_at
FROM metric_events;

-- All windows: the latest version of each row, the shards of a window added up. FINAL beat argMax over the versions
-- (docs/adr/0012-views-merge-with-final.md); the setting is sound because all versions of a row are in one partition.
-- Conditions on the columns of GROUP BY reach the primary key. `sketch` is for percentiles over several windows.
CREATE OR REPLACE VIEW metric_windows AS
SELECT
    granularity, window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency,
    dimensions, count, sum, min, max, sum / count AS avg, first, last,
    ${p50} AS p50,
    ${p95} AS p95,
    ${p99} AS p99,
    completeness, watermark, sketch
FROM
(
    SELECT
        r.granularity AS granularity,
        r.window_start AS window_start,
        r.tenant AS tenant,
        r.metric_name AS metric_name,
        any(r.metric_type) AS metric_type,
        r.service_name AS service_name,
        r.region AS region,
        r.affiliate_id AS affiliate_id,
        r.unit AS unit,
        r.frequency AS frequency,
        any(r.dimensions) AS dimensions,
        sum(r.count) AS count,
        sum(r.sum) AS sum,
        min(r.min) AS min,
        max(r.max) AS max,
        argMin(r.first, (r.first_at, r.shard)) AS first,
        argMax(r.last, (r.last_at, r.shard)) AS last,
        sumMap(r.sketch) AS sketch,
        min(r.completeness) AS completeness,
        min(r.watermark) AS watermark
    FROM metric_rollups AS r FINAL
    GROUP BY
        r.tenant, r.metric_name, r.granularity, r.service_name, r.series_id, r.region, r.affiliate_id, r.unit,
        r.frequency, r.window_start
    SETTINGS do_not_merge_across_partitions_select_final = 1
);

CREATE OR REPLACE VIEW metrics_1m AS
SELECT
    window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency, dimensions,
    count, sum, min, max, avg, first, last, p50, p95, p99, completeness, watermark
FROM metric_windows
WHERE granularity = 'minute';

CREATE OR REPLACE VIEW metrics_1h AS
SELECT
    window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency, dimensions,
    count, sum, min, max, avg, first, last, p50, p95, p99, completeness, watermark
FROM metric_windows
WHERE granularity = 'hour';

CREATE OR REPLACE VIEW metrics_1d AS
SELECT
    window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency, dimensions,
    count, sum, min, max, avg, first, last, p50, p95, p99, completeness, watermark
FROM metric_windows
WHERE granularity = 'day';

CREATE OR REPLACE VIEW metrics_1mo AS
SELECT
    window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency, dimensions,
    count, sum, min, max, avg, first, last, p50, p95, p99, completeness, watermark
FROM metric_windows
WHERE granularity = 'month';

-- One row a transition: redeliveries have the same alert_id, and the first to arrive is shown.
CREATE OR REPLACE VIEW alerts AS
SELECT timestamp, rule_name, fingerprint, episode_id, status, severity, labels, value, threshold, window_start
FROM
(
    SELECT *
    FROM alert_events
    ORDER BY arrived_at, _partition, _offset
    LIMIT 1 BY alert_id
);

-- The latest word of every service.
CREATE OR REPLACE VIEW services AS
SELECT
    tenant, service_name, status, response_time_ms, error_rate, cpu_usage, memory_usage, version, uptime_seconds,
    timestamp
FROM service_health
ORDER BY timestamp DESC, arrived_at DESC
LIMIT 1 BY tenant, service_name;
