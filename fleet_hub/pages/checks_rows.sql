-- The health checks of one server, as rows: all of them, whole.
-- $1 server, $2 from, $3 to (timestamps; NULL: now), $4 seconds of the span when there is no $2
WITH span AS MATERIALIZED (
	SELECT until, greatest(least(coalesce($2::timestamptz, until - $4::int * interval '1 s'),
		until - interval '1 min'), until - interval '1 h') - interval '10 min' AS since
	FROM (SELECT coalesce($3::timestamptz, now()) AS until) x
), results AS (                                -- a rare check may have run last before the span.
	SELECT h FROM health_checks h, span
	WHERE vps_name = $1 AND timestamp > since AND timestamp <= until
	UNION ALL SELECT h FROM health_checks h, span
	WHERE vps_name = $1 AND interval_s > rare_check_s() AND timestamp <= since
		AND timestamp > until - check_expiry(max_check_s())
		AND timestamp > until - check_expiry(interval_s)
), checks AS (
	SELECT app_name, url, (array_agg(h ORDER BY timestamp DESC))[1] AS last, count(*) AS runs,
		count(*) FILTER (WHERE NOT success) AS failed,
		max(response_time_ms) AS slowest,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) AS p95,
		max(timestamp) FILTER (WHERE NOT success) AS last_failure
	FROM results CROSS JOIN LATERAL (SELECT (h).*) r
	GROUP BY app_name, url
)
SELECT app_name AS app, url, (last).success,
	check_state((last).success, (last).timestamp, (last).interval_s, until) AS state,
	(last).status_code,
	round((last).response_time_ms::numeric, 1)::float8 AS response_ms,
		round(p95::numeric, 1)::float8 AS p95_ms, runs, failed,
	(last).error_class, (last).error_message, floor(extract(epoch
		FROM now() - (last).timestamp))::bigint AS age_s,
	to_json(last_failure) #>> '{}' AS last_failure, floor(extract(epoch
		FROM (last).cert_expires_at - now()) / 86400)::bigint AS cert_days,
	round(slowest::numeric, 1)::float8 AS slowest_ms
FROM checks, span ORDER BY (last).success, app_name, url
