-- One metric of a server in steps. A step without a sample has nulls.
-- $1 name or server_id, $2 metric, $3 from, $4 to (NULL: now), $5 seconds of the span when there is no $3,
-- $6 seconds of a step (NULL: the shortest round one that gives 360 points at most), $7 application ('': all)
WITH span AS MATERIALIZED (
	SELECT *, to_timestamp(floor(extract(epoch FROM since) / step) * step) AS first,
		CASE WHEN $2 <> ALL (rollup_columns()) THEN 0 WHEN step % 3600 = 0
			THEN 3600 WHEN step % 300 = 0 THEN 300 ELSE 0 END AS rollup_s
	FROM (SELECT find_server($1) AS name, since, until, least(greatest(coalesce($6::int, (SELECT min(s)
				FROM unnest(ARRAY[10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400,
					21600,
				43200, 86400, 604800]) s WHERE extract(epoch FROM until - since) / s <= 360),
			ceil(extract(epoch FROM until - since) / 10000)::int), 1), 31536000) AS step
		FROM (SELECT coalesce($3::timestamptz, u - $5::int * interval '1 s') AS since, u AS until
			FROM (SELECT coalesce($4::timestamptz, now()) AS u) u) t) x
), rolled AS MATERIALIZED (
	SELECT s.time, samples, avg, min, max FROM span JOIN v_series s ON vps_name = name
		AND step_s = rollup_s
	WHERE rollup_s > 0 AND metric = $2 AND s.time >= first AND s.time < until
		AND ($7 = '' OR app_name = $7)
), raw AS (
	SELECT s.time, samples, avg, min, max FROM span JOIN v_series s ON vps_name = name AND step_s = 0
	WHERE metric = $2 AND s.time < until AND ($7 = '' OR app_name = $7)
		AND s.time >= coalesce((SELECT max(time) FROM rolled), first)
	UNION ALL SELECT v.timestamp, 1, m, m, m FROM span JOIN vps_metrics v ON vps_name = name,
		LATERAL (SELECT (to_jsonb(v)->>$2)::float8) m(m)
	WHERE $2 <> ALL (rollup_columns()) AND v.timestamp >= first AND v.timestamp < until
		AND ($7 = '' OR app_name = $7)
), points AS (
	SELECT floor(extract(epoch FROM time - first) / step)::int AS slot,
		sum(avg * samples) / nullif(sum(samples) FILTER (WHERE avg IS NOT NULL), 0) AS av,
			min(min) AS lo,
		max(max) AS hi
	FROM span, (SELECT * FROM rolled WHERE time < (SELECT max(time) FROM rolled) UNION ALL SELECT *
		FROM raw) s
	GROUP BY 1
), slots AS MATERIALIZED (
	SELECT generate_series(0, ceil(extract(epoch FROM until - first) / step)::int - 1) AS slot FROM span
)
SELECT json_build_object('name', name, 'server_id', server_id(name), 'metric', $2::text, 'from', first,
	'to', until, 'step_s', step, 'points', (SELECT coalesce(json_agg(json_build_object(
		'time', first + slot * step * interval '1 s', 'avg', round(av::numeric, 3)::float8, 'min', lo,
		'max', hi) ORDER BY slot), '[]')
		FROM slots LEFT JOIN points USING (slot)))
FROM span
