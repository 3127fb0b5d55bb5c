-- The latest of each metric of a server, with its age and the last hour's least, mean and greatest.
-- $1 name or server_id
WITH me AS MATERIALIZED (SELECT find_server($1) AS name),
hour AS MATERIALIZED (
	SELECT key AS metric, min(v) AS lo, round(avg(v)::numeric, 3)::float8 AS mean, max(v) AS hi,
		count(*) AS n
	FROM (SELECT m.* FROM me JOIN vps_metrics m ON vps_name = name
			WHERE m.timestamp > now() - interval '1 h'
				AND m.timestamp < now() + interval '1 h') m,
		jsonb_each(to_jsonb(m)),
		LATERAL (SELECT CASE WHEN key = ANY (metric_columns())
			THEN (value #>> '{}')::float8 END AS v) n
	WHERE v IS NOT NULL GROUP BY 1
), latest AS MATERIALIZED (
	SELECT m.* FROM me JOIN agents a ON a.vps_name = name CROSS JOIN LATERAL (
		SELECT * FROM vps_metrics v WHERE v.vps_name = a.vps_name AND v.app_name = a.app_name
			AND v.timestamp > a.last_seen_at - interval '1 day'
				AND v.timestamp < a.last_seen_at + interval '1 day'
		ORDER BY v.timestamp DESC LIMIT 1) m
), named AS (
	SELECT DISTINCT ON (key) key AS metric, (value #>> '{}')::float8 AS last, "timestamp" AS time,
		app_name
	FROM latest l, jsonb_each(to_jsonb(l))
	WHERE key = ANY (metric_columns()) AND value <> 'null' ORDER BY key, "timestamp" DESC
)
SELECT json_build_object('name', name, 'server_id', server_id(name), 'time', now(),
	'metrics', (SELECT coalesce(json_object_agg(metric, json_build_object('last', last, 'at', time,
		'age_s', round(extract(epoch FROM now() - time))::int, 'app', app_name,
		'min', h.lo, 'avg', h.mean, 'max', h.hi, 'samples', coalesce(h.n, 0)) ORDER BY metric), '{}')
		FROM named LEFT JOIN hour h USING (metric)))
FROM me
