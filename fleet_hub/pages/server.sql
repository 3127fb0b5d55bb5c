-- One server: charts of a span, its host, file systems, last lines. Beside it checks.sql, delivery.sql and
-- losses.sql.
-- $1 server, $2 from, $3 to (timestamps; NULL: now), $4 seconds of the span when there is no $2
--
-- At most 360 points: the step is the shortest round one that gives no more, and no shorter than
-- the agents' interval. chart_points() in schema/45-charts.sql reads roll-ups or raw rows. On Citus it must
-- not run on a worker: schema_version, which only the coordinator has, keeps it there.
--
-- Lists end at a number and long texts are cut; names that end in _more say how many are left out.
WITH span AS MATERIALIZED (
	SELECT *, greatest(ceil(extract(epoch FROM until - since) / step)::int, 1) AS n
	FROM (SELECT t.until, e.every, s.step,
			to_timestamp(floor(extract(epoch FROM t.since) / s.step) * s.step) AS since
		FROM (SELECT u AS until,
				least(coalesce($2::timestamptz, u - $4::int * interval '1 s'),
					u - interval '1 min') AS since
			FROM (SELECT coalesce($3::timestamptz, now()) AS u) x) t
		CROSS JOIN (SELECT coalesce(min(interval_s), 60) AS every FROM agents WHERE vps_name = $1) e
		CROSS JOIN LATERAL (SELECT coalesce(min(step), 604800) AS step
			FROM unnest(ARRAY[10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400,
				21600, 43200, 86400, 172800]) step
			WHERE step >= e.every AND extract(epoch FROM t.until - t.since) / step <= 360) s) x
),
	wanted (place, chart, metric, name) AS MATERIALIZED (VALUES     -- an application names its series
	(1, 'cpu', 'cpu_percent', 'cpu'), (2, 'cpu', 'cpu_iowait_percent', 'iowait'),
	(3, 'cpu', 'cpu_steal_percent', 'steal'),
	(4, 'memory', 'memory_percent', 'memory'), (5, 'memory', 'swap_percent', 'swap'),
	(6, 'disk', 'disk_percent', 'disk'),
	(7, 'load', 'load_avg_1m', 'load'), (8, 'pressure', 'psi_cpu_percent', 'for cpu'),
	(9, 'pressure', 'psi_memory_percent', 'for memory'), (10, 'pressure', 'psi_io_percent', 'for disk'),
	(11, 'io', 'disk_read_bytes_per_s', 'read'), (12, 'io', 'disk_write_bytes_per_s', 'written'),
	(13, 'network', 'net_rx_bytes_per_s', 'received'), (14, 'network', 'net_tx_bytes_per_s', 'sent'),
	(15, 'app_cpu', 'app_cpu_percent', NULL), (16, 'app_memory', 'app_memory_mb', NULL)
), points AS MATERIALIZED (
	SELECT place, chart, coalesce(name, app_name) AS name, slot, sum(total) / sum(samples) AS av,
		min(low) AS lo, max(high) AS hi
	FROM span CROSS JOIN LATERAL chart_points($1, since, until, step,
		ARRAY(SELECT metric FROM wanted ORDER BY place)) JOIN wanted USING (metric)
	WHERE EXISTS (SELECT 1 FROM schema_version)
	GROUP BY 1, 2, 3, 4
), kept AS MATERIALIZED (                       -- of a chart the 20 highest series
	SELECT place, chart, name, top, n FROM (SELECT place, chart, name, max(hi) AS top,
			count(*) OVER (PARTITION BY chart) AS n,
			row_number() OVER (PARTITION BY chart ORDER BY max(hi) DESC, name) AS nth
		FROM points GROUP BY 1, 2, 3) k
	WHERE nth <= 20
), padded AS (                                  -- each slot
	SELECT place, chart, name, slot, max(av) AS av, max(lo) AS lo, max(hi) AS hi
	FROM (SELECT place, chart, name, slot, av, lo, hi FROM points
		WHERE (place, name) IN (SELECT place, name FROM kept)
		UNION ALL SELECT place, chart, name, generate_series(0, n - 1), NULL, NULL, NULL
		FROM span CROSS JOIN (SELECT place, chart, name FROM kept) k) x
	GROUP BY 1, 2, 3, 4
), grid AS (                                    -- one empty slot may be no more than a late sample: not a gap
	SELECT place, chart, name, slot, coalesce(av, late_av) AS av, coalesce(lo, late_lo) AS lo,
		coalesce(hi, late_hi) AS hi
	FROM (SELECT p.*, CASE WHEN step < 2 * every THEN lag(av) OVER w END AS late_av,
			CASE WHEN step < 2 * every THEN lag(lo) OVER w END AS late_lo,
			CASE WHEN step < 2 * every THEN lag(hi) OVER w END AS late_hi
		FROM padded p CROSS JOIN span WINDOW w AS (PARTITION BY place, name ORDER BY slot)) x
), series AS MATERIALIZED (                     -- its rows come in their order
	SELECT place, name, min(chart) AS chart, min(n) AS n, max(top) AS top, json_build_object('name', name,
		'last', round((array_agg(av) FILTER (WHERE av IS NOT NULL))[count(av)] * 100) / 100,
		'avg', json_agg(round(av * 100) / 100), 'min', json_agg(round(lo * 100) / 100),
		'max', json_agg(round(hi * 100) / 100)) AS js
	FROM (SELECT g.*, n, top FROM grid g JOIN kept USING (place, name) ORDER BY place, name, slot) g
	GROUP BY place, name
), charts AS (
	SELECT c.place, json_build_object('id', id, 'title', title, 'unit', unit, 'percent', unit = '%',
		'bytes', unit = 'B/s',
		'mb', unit = 'MB', 'warn', warn, 'low', 0, 'high',
			CASE WHEN unit = '%' THEN 100 ELSE high END, 'series', list,
		'series_more', nullif(greatest(s.n - 20, 0), 0)) AS js
	FROM (VALUES (1, 'cpu', 'CPU', '%', NULL), (2, 'memory', 'Memory', '%', full_percent()),
		(3, 'disk', 'Disk', '%', full_percent()), (4, 'load', 'Load', '', NULL),
		(5, 'pressure', 'Waiting', '% of time', NULL), (6, 'io', 'Disk traffic', 'B/s', NULL),
		(7, 'network', 'Network', 'B/s', NULL), (8, 'app_cpu', 'App CPU', '% of a core', NULL),
		(9, 'app_memory', 'App memory', 'MB', NULL)) c (place, id, title, unit, warn)
	CROSS JOIN LATERAL (SELECT json_agg(js ORDER BY place, name) AS list, max(top) AS top, max(n) AS n
		FROM series WHERE chart = id) s
	CROSS JOIN LATERAL (SELECT power(10, floor(log(greatest(s.top, 0.01)::numeric)))::float8 AS round) u
	CROSS JOIN LATERAL (SELECT CASE WHEN s.top <= round THEN round WHEN s.top <= 2 * round THEN 2 * round
		WHEN s.top <= 5 * round THEN 5 * round ELSE 10 * round END AS high) h
	WHERE list IS NOT NULL
), me AS MATERIALIZED (
	SELECT vps_name, app_name, last_seen_at FROM agents WHERE vps_name = $1
), newest AS (
	SELECT v.* FROM me CROSS JOIN LATERAL (SELECT * FROM vps_metrics v
		WHERE v.vps_name = $1 AND v.app_name = me.app_name
			AND v.timestamp > me.last_seen_at - interval '1 day'
			AND v.timestamp < me.last_seen_at + interval '1 day'
				ORDER BY v.timestamp DESC LIMIT 1) v
	ORDER BY v.timestamp DESC LIMIT 1
), details AS (
	SELECT v.details FROM me CROSS JOIN LATERAL (SELECT timestamp, details FROM vps_metrics v
		WHERE v.vps_name = $1 AND v.app_name = me.app_name AND v.details IS NOT NULL
			AND v.timestamp > me.last_seen_at - interval '1 day'
				AND v.timestamp < me.last_seen_at + interval '1 day'
		ORDER BY v.timestamp DESC LIMIT 1) v
	ORDER BY v.timestamp DESC LIMIT 1
), mounts AS (                       -- as the agent wrote it: each value only if it is what it should be
	SELECT left(m ->> 'mount', 300) AS mount, left(m ->> 'fs', 100) AS fs,
		trim_scale(least(jsonb_path_query_first(m,
			'$.percent ? (@.type() == "number" && @ >= 0)')::numeric, 100)) AS percent,
		trim_scale(jsonb_path_query_first(m, '$.used_gb ? (@.type() == "number" && @ >= 0 &&
			@ < 1000000000000000)')::numeric) AS used_gb,
		trim_scale(jsonb_path_query_first(m, '$.total_gb ? (@.type() == "number" && @ >= 0 &&
			@ < 1000000000000000)')::numeric) AS total_gb
	FROM details CROSS JOIN LATERAL jsonb_path_query(details,
		'lax $.mounts[*] ? (@.type() == "object")') m
), releases AS (                     -- x: where in a picture of 600 columns
	SELECT "timestamp", app_name AS app, release, left(note, 300) AS note, count(*) OVER () AS n,
		round((600 * extract(epoch FROM "timestamp" - since) / (span.n * step))::numeric, 1)::float8
			AS x
	FROM deploys, span WHERE vps_name = $1 AND "timestamp" >= since AND "timestamp" <= until
	ORDER BY "timestamp" DESC, id DESC LIMIT 50
), lines AS (
	SELECT id, timestamp, app_name AS app, level, left(message, 400) AS message,
		CASE WHEN length(message) > 400 THEN length(message) END AS message_length
	FROM log_entries, span
	WHERE vps_name = $1 AND timestamp > greatest(since, until - interval '6 h') AND timestamp <= until
	ORDER BY timestamp DESC LIMIT 20
), alarms AS MATERIALIZED (         -- the open alerts of the server, the worst first
	SELECT a, row_number() OVER (ORDER BY a.state = 'pending', a.acked_at IS NOT NULL
		OR a.muted_by IS NOT NULL, a.severity, a.active_since, a.alert_id) AS nth
	FROM alerts a WHERE a.state <> 'resolved' AND a.subject ->> 'server' = $1
)
SELECT json_build_object(
	'name', (SELECT max(vps_name) FROM me),
	'alerts', (SELECT coalesce(json_agg(alert_json(m.a, (m.a).labels ->> 'rule') ORDER BY nth), '[]')
		FROM alarms m WHERE nth <= 20),
	'alerts_more', (SELECT nullif(greatest(count(*) - 20, 0), 0) FROM alarms),
	'time', now(),
	'from', (SELECT since FROM span), 'to', (SELECT until FROM span), 'step_s', (SELECT step FROM span),
	'points', (SELECT n FROM span),
	'charts', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM charts),
	'deploys', (SELECT coalesce(json_agg(json_build_object('timestamp', "timestamp", 'app', app,
		'release', release, 'note', note, 'x', x) ORDER BY "timestamp" DESC), '[]') FROM releases),
	'deploys_more', (SELECT nullif(greatest(max(n) - 50, 0), 0) FROM releases),
	'host', (SELECT json_build_object('cores', cpu_count, 'memory_mb', round(memory_total_mb),
		'disk_gb', round(disk_total_gb), 'uptime_s', round(uptime_s), 'processes', round(processes),
		'connections', round(tcp_connections)) FROM newest),
	'mounts', (SELECT coalesce(json_agg(m), '[]') FROM mounts m),
	'mounts_more', (SELECT jsonb_path_query_first(details,
		'lax $.mounts_left_out ? (@.type() == "number" && @ > 0 && @ < 1000000000)') FROM details),
	'lines', (SELECT coalesce(json_agg(l ORDER BY timestamp DESC, id DESC), '[]') FROM lines l))
