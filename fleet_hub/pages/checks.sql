-- The health checks of one server, those that fail first. checks_rows.sql has them all, whole.
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
	SELECT url, (array_agg(h ORDER BY timestamp DESC))[1] AS last, count(*) AS runs,
		count(*) FILTER (WHERE NOT success) AS failed,
		json_agg(round(response_time_ms::numeric, 1)::float8 ORDER BY timestamp) AS times,
		max(response_time_ms) AS slowest,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) AS p95,
		max(timestamp) FILTER (WHERE NOT success) AS last_failure
	FROM results CROSS JOIN LATERAL (SELECT (h).*) r
	GROUP BY app_name, url
), listed AS MATERIALIZED (
	SELECT *, count(*) OVER () AS n FROM checks ORDER BY (last).success, (last).app_name, url LIMIT 200
)
SELECT json_build_object(
	'checks_more', (SELECT nullif(max(n) - count(*), 0) FROM listed),
	'checks', (SELECT coalesce(json_agg(json_build_object('app', (last).app_name,
		'url', CASE WHEN length(url) > 500 THEN left(url, 500) || '…' ELSE url END,
			'success', (last).success,
		'state', check_state((last).success, (last).timestamp, (last).interval_s, until),
			'status_code', (last).status_code,
		'response_ms', round((last).response_time_ms::numeric,
			((last).response_time_ms < 10)::int)::float8,
		'p95_ms', round(p95::numeric, (p95 < 10)::int)::float8, 'runs', runs, 'failed', failed,
		'error_class', left((last).error_class, 100),
			'error_message', CASE WHEN length((last).error_message) > 500
			THEN left((last).error_message, 500) || '…' ELSE (last).error_message END,
		'age_s', floor(extract(epoch FROM now() - (last).timestamp)), 'last_failure', last_failure,
		'cert_days', floor(extract(epoch FROM (last).cert_expires_at - now()) / 86400),
		'cert_soon', certificate_soon((last).cert_starts_at, (last).cert_expires_at, now()),
			'slowest_ms', ceil(greatest(slowest, 1)),
		'times', times) ORDER BY (last).success, (last).app_name, url), '[]') FROM listed, span))
