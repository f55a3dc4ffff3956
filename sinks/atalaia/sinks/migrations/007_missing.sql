-- Events that were sent and never came: what the sequences of their producers say.
ALTER TABLE metric_rollups ADD COLUMN IF NOT EXISTS
    missing Int64 CODEC(T64, ZSTD(1)) COMMENT 'events sent that never came; shards add up' AFTER sketch;

-- As before, but that completeness is now the share of the window that the watermark has passed, times the share of
-- the events sent that came.
CREATE OR REPLACE VIEW metric_windows AS
SELECT
    granularity, window_start, tenant, metric_name, metric_type, service_name, region, affiliate_id, unit, frequency,
    dimensions, count, sum, min, max, sum / count AS avg, first, last,
    ${p50} AS p50,
    ${p95} AS p95,
    ${p99} AS p99,
    passed * (count / (count + missing)) AS completeness,
    watermark, sketch, missing
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
        greatest(sum(r.missing), 0) AS missing,
        min(r.completeness) AS passed,
        min(r.watermark) AS watermark
    FROM metric_rollups AS r FINAL
    GROUP BY
        r.tenant, r.metric_name, r.granularity, r.service_name, r.series_id, r.region, r.affiliate_id, r.unit,
        r.frequency, r.window_start
    SETTINGS do_not_merge_across_partitions_select_final = 1
);
