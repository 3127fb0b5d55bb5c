-- One server: charts of a span, checks, mounts, agents, gaps, last lines.
-- $1 server, $2 from, $3 to (timestamps; NULL: now), $4 seconds of the span when there is no $2
--
-- At most 360 points: the step is the shortest round one that gives no more, and no shorter than
-- the agents' interval. From 5 minutes on the roll-ups are read, up to their newest bucket, and
-- raw rows behind it: charts are right also where maintain() has not run.
WITH span AS MATERIALIZED (
	SELECT *, greatest(ceil(extract(epoch FROM until - since) / step)::int, 1) AS n
	FROM (SELECT t.until, e.every, s.step,
			to_timestamp(floor(extract(epoch FROM t.since) / s.step) * s.step) AS since
		FROM (SELECT u AS until, least(coalesce($2::timestamptz, u - $4::int * interval '1 s'), u - interval '1 min') AS since
			FROM (SELECT coalesce($3::timestamptz, now()) AS u) x) t
		CROSS JOIN (SELECT coalesce(min(interval_s), 60) AS every FROM agents WHERE vps_name = $1) e
		CROSS JOIN LATERAL (SELECT coalesce(min(step), 604800) AS step
			FROM unnest('{10,20,30,60,120,300,600,900,1800,3600,7200,14400,21600,43200,86400,172800}'::int[]) step
			WHERE step >= e.every AND extract(epoch FROM t.until - t.since) / step <= 360) s) x
), rolled AS MATERIALIZED (
	SELECT timestamp, app_name, samples, m.*
	FROM span, metrics_1h r CROSS JOIN LATERAL (VALUES
		('cpu', cpu_percent_avg, cpu_percent_min, cpu_percent_max),
		('iowait', cpu_iowait_percent_avg, cpu_iowait_percent_min, cpu_iowait_percent_max),
		('steal', cpu_steal_percent_avg, cpu_steal_percent_min, cpu_steal_percent_max),
		('memory', memory_percent_avg, memory_percent_min, memory_percent_max),
		('swap', swap_percent_avg, swap_percent_min, swap_percent_max),
		('disk', disk_percent_avg, disk_percent_min, disk_percent_max),
		('load', load_avg_1m_avg, load_avg_1m_min, load_avg_1m_max),
		('rx', net_rx_bytes_per_s_avg, net_rx_bytes_per_s_min, net_rx_bytes_per_s_max),
		('tx', net_tx_bytes_per_s_avg, net_tx_bytes_per_s_min, net_tx_bytes_per_s_max),
		('read', disk_read_bytes_per_s_avg, disk_read_bytes_per_s_min, disk_read_bytes_per_s_max),
		('written', disk_write_bytes_per_s_avg, disk_write_bytes_per_s_min, disk_write_bytes_per_s_max),
		('for cpu', psi_cpu_percent_avg, psi_cpu_percent_min, psi_cpu_percent_max),
		('for memory', psi_memory_percent_avg, psi_memory_percent_min, psi_memory_percent_max),
		('for disk', psi_io_percent_avg, psi_io_percent_min, psi_io_percent_max),
		('app_cpu', app_cpu_percent_avg, app_cpu_percent_min, app_cpu_percent_max),
		('app_memory', app_memory_mb_avg, app_memory_mb_min, app_memory_mb_max)) m (metric, av, lo, hi)
	WHERE step >= 3600 AND vps_name = $1 AND timestamp >= since AND timestamp < until
	UNION ALL
	SELECT timestamp, app_name, samples, m.*
	FROM span, metrics_5m r CROSS JOIN LATERAL (VALUES
		('cpu', cpu_percent_avg, cpu_percent_min, cpu_percent_max),
		('iowait', cpu_iowait_percent_avg, cpu_iowait_percent_min, cpu_iowait_percent_max),
		('steal', cpu_steal_percent_avg, cpu_steal_percent_min, cpu_steal_percent_max),
		('memory', memory_percent_avg, memory_percent_min, memory_percent_max),
		('swap', swap_percent_avg, swap_percent_min, swap_percent_max),
		('disk', disk_percent_avg, disk_percent_min, disk_percent_max),
		('load', load_avg_1m_avg, load_avg_1m_min, load_avg_1m_max),
		('rx', net_rx_bytes_per_s_avg, net_rx_bytes_per_s_min, net_rx_bytes_per_s_max),
		('tx', net_tx_bytes_per_s_avg, net_tx_bytes_per_s_min, net_tx_bytes_per_s_max),
		('read', disk_read_bytes_per_s_avg, disk_read_bytes_per_s_min, disk_read_bytes_per_s_max),
		('written', disk_write_bytes_per_s_avg, disk_write_bytes_per_s_min, disk_write_bytes_per_s_max),
		('for cpu', psi_cpu_percent_avg, psi_cpu_percent_min, psi_cpu_percent_max),
		('for memory', psi_memory_percent_avg, psi_memory_percent_min, psi_memory_percent_max),
		('for disk', psi_io_percent_avg, psi_io_percent_min, psi_io_percent_max),
		('app_cpu', app_cpu_percent_avg, app_cpu_percent_min, app_cpu_percent_max),
		('app_memory', app_memory_mb_avg, app_memory_mb_min, app_memory_mb_max)) m (metric, av, lo, hi)
	WHERE step >= 300 AND step < 3600 AND vps_name = $1 AND timestamp >= since AND timestamp < until
), edge AS MATERIALIZED (
	SELECT coalesce((SELECT max(timestamp) FROM rolled), since) AS raw_since FROM span
), samples AS (
	SELECT timestamp, app_name, samples, metric, av, lo, hi FROM rolled WHERE timestamp < (SELECT raw_since FROM edge)
	UNION ALL
	SELECT timestamp, app_name, 1, m.metric, m.v, m.v, m.v
	FROM span, edge, vps_metrics CROSS JOIN LATERAL (VALUES
		('cpu', cpu_percent), ('iowait', cpu_iowait_percent), ('steal', cpu_steal_percent), ('memory', memory_percent),
		('swap', swap_percent), ('disk', disk_percent), ('load', load_avg_1m), ('rx', net_rx_bytes_per_s),
		('tx', net_tx_bytes_per_s), ('read', disk_read_bytes_per_s), ('written', disk_write_bytes_per_s),
		('for cpu', psi_cpu_percent), ('for memory', psi_memory_percent), ('for disk', psi_io_percent), ('app_cpu', app_cpu_percent), ('app_memory', app_memory_mb)) m (metric, v)
	WHERE vps_name = $1 AND timestamp >= raw_since AND timestamp < until AND m.v IS NOT NULL
), points AS MATERIALIZED (
	SELECT metric, CASE WHEN metric IN ('app_cpu', 'app_memory') THEN app_name ELSE '' END AS app,
		floor(extract(epoch FROM timestamp - since) / step)::int AS slot,
		sum(av * samples) / sum(samples) FILTER (WHERE av IS NOT NULL) AS av, min(lo) AS lo, max(hi) AS hi
	FROM samples, span GROUP BY 1, 2, 3
), grid AS (                                    -- one empty slot may be no more than a late sample: not a gap
	SELECT metric, app, slot, coalesce(av, late_av) AS av, coalesce(lo, late_lo) AS lo, coalesce(hi, late_hi) AS hi
	FROM (SELECT metric, app, slot, p.av, p.lo, p.hi,
			CASE WHEN step < 2 * every THEN lag(p.av) OVER w END AS late_av,
			CASE WHEN step < 2 * every THEN lag(p.lo) OVER w END AS late_lo,
			CASE WHEN step < 2 * every THEN lag(p.hi) OVER w END AS late_hi
		FROM span CROSS JOIN (SELECT DISTINCT metric, app FROM points) k CROSS JOIN LATERAL generate_series(0, n - 1) slot
		LEFT JOIN points p USING (metric, app, slot)
		WINDOW w AS (PARTITION BY metric, app ORDER BY slot)) x
), series AS MATERIALIZED (
	SELECT metric, app, max(hi) AS top,
		json_build_object('name', CASE WHEN app <> '' THEN app WHEN metric = 'rx' THEN 'received' WHEN metric = 'tx' THEN 'sent' ELSE metric END, 'last', round((array_agg(av ORDER BY slot DESC)
			FILTER (WHERE av IS NOT NULL))[1]::numeric, 2),
			'avg', json_agg(round(av::numeric, 2) ORDER BY slot), 'min', json_agg(round(lo::numeric, 2) ORDER BY slot),
			'max', json_agg(round(hi::numeric, 2) ORDER BY slot)) AS js
	FROM grid GROUP BY 1, 2
), charts AS (
	SELECT c.place, json_build_object('id', c.id, 'title', c.title, 'unit', c.unit, 'percent', c.unit = '%',
		'bytes', c.unit = 'B/s', 'mb', c.unit = 'MB', 'warn', c.warn, 'low', 0,
		'high', CASE WHEN c.unit = '%' AND c.id <> 'app_cpu' THEN 100 ELSE round_up.high END, 'series', s.list) AS js
	FROM (VALUES (1, 'cpu', 'CPU', '%', '{cpu,iowait,steal}'::text[], NULL), (2, 'memory', 'Memory', '%', '{memory,swap}', 95),
		(3, 'disk', 'Disk', '%', '{disk}', 95), (4, 'load', 'Load', '', '{load}', NULL),
		(5, 'pressure', 'Waiting', '% of time', '{for cpu,for memory,for disk}', NULL),
		(6, 'io', 'Disk traffic', 'B/s', '{read,written}', NULL), (7, 'network', 'Network', 'B/s', '{rx,tx}', NULL),
		(8, 'app_cpu', 'App CPU', '% of a core', '{app_cpu}', NULL), (9, 'app_memory', 'App memory', 'MB', '{app_memory}', NULL)) c (place, id, title, unit, metrics, warn)
	CROSS JOIN LATERAL (SELECT json_agg(js ORDER BY array_position(c.metrics, metric), app) AS list, max(top) AS top
		FROM series WHERE metric = ANY (c.metrics)) s
	CROSS JOIN LATERAL (SELECT power(10, floor(log(greatest(s.top, 0.01)::numeric))) AS unit) u
	CROSS JOIN LATERAL (SELECT CASE WHEN s.top <= u.unit THEN u.unit WHEN s.top <= 2 * u.unit THEN 2 * u.unit
		WHEN s.top <= 5 * u.unit THEN 5 * u.unit ELSE 10 * u.unit END AS high) round_up
	WHERE s.list IS NOT NULL
), checks AS (
	SELECT url, (array_agg(h ORDER BY timestamp DESC))[1] AS last, count(*) AS runs, count(*) FILTER (WHERE NOT success) AS failed,
		json_agg(round(response_time_ms::numeric, 1) ORDER BY timestamp) AS times, max(response_time_ms) AS slowest,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) AS p95,
		max(timestamp) FILTER (WHERE NOT success) AS last_failure
	FROM health_checks h, span
	WHERE vps_name = $1 AND timestamp > greatest(since, until - interval '1 h') - interval '10 min' AND timestamp <= until
	GROUP BY app_name, url
), me AS (
	SELECT *, extract(epoch FROM now() - last_seen_at) AS seen_s FROM agents WHERE vps_name = $1
), newest AS (
	SELECT v.* FROM me CROSS JOIN LATERAL (SELECT * FROM vps_metrics v
		WHERE v.vps_name = $1 AND v.app_name = me.app_name AND v.timestamp > me.last_seen_at - interval '1 day'
			AND v.timestamp < me.last_seen_at + interval '1 day' ORDER BY v.timestamp DESC LIMIT 1) v
	ORDER BY v.timestamp DESC LIMIT 1
), details AS (
	SELECT v.details FROM me CROSS JOIN LATERAL (SELECT timestamp, details FROM vps_metrics v
		WHERE v.vps_name = $1 AND v.app_name = me.app_name AND v.details IS NOT NULL AND v.timestamp > me.last_seen_at - interval '1 day'
			AND v.timestamp < me.last_seen_at + interval '1 day' ORDER BY v.timestamp DESC LIMIT 1) v
	ORDER BY v.timestamp DESC LIMIT 1
)
SELECT json_build_object(
	'name', (SELECT max(vps_name) FROM me),
	'time', now(),
	'from', (SELECT since FROM span), 'to', (SELECT until FROM span), 'step_s', (SELECT step FROM span),
	'points', (SELECT n FROM span),
	'from_text', (SELECT to_char(since, CASE WHEN until - since > interval '2 days' THEN 'Mon DD' ELSE 'HH24:MI' END) FROM span),
	'to_text', (SELECT to_char(until, CASE WHEN until - since > interval '2 days' THEN 'Mon DD' ELSE 'HH24:MI' END) FROM span),
	'charts', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM charts),
	'host', (SELECT json_build_object('cores', cpu_count, 'memory_mb', round(memory_total_mb), 'disk_gb', round(disk_total_gb),
		'uptime_s', round(uptime_s), 'processes', round(processes), 'connections', round(tcp_connections)) FROM newest),
	'agents', (SELECT coalesce(json_agg(json_build_object('app', app_name, 'version', version, 'interval_s', interval_s,
		'seen_s', floor(seen_s), 'skew_ms', skew_ms, 'skewed', abs(skew_ms) > 5000,
		'state', CASE WHEN seen_s > greatest(300, 5 * coalesce(interval_s, 60)) THEN 'offline'
			WHEN seen_s > 3 * coalesce(interval_s, 60) THEN 'degraded' ELSE 'up' END,
		'lag_bytes', CASE WHEN jsonb_typeof(me.state #> '{tail,lag_bytes}') = 'number' THEN me.state #> '{tail,lag_bytes}' END,
		'rss_kb', me.state -> 'rss_kb', 'pending', me.state -> 'pending', 'last_error', me.state ->> 'last_error',
		'epoch', epoch, 'first_seen_at', first_seen_at) ORDER BY app_name), '[]') FROM me),
	'checks', (SELECT coalesce(json_agg(json_build_object('app', (last).app_name, 'url', url, 'success', (last).success,
		'state', CASE WHEN (last).success THEN 'up' ELSE 'down' END, 'status_code', (last).status_code,
		'response_ms', round((last).response_time_ms::numeric, ((last).response_time_ms < 10)::int),
		'p95_ms', round(p95::numeric, (p95 < 10)::int), 'runs', runs, 'failed', failed,
		'error_class', (last).error_class, 'error_message', (last).error_message,
		'age_s', floor(extract(epoch FROM now() - (last).timestamp)), 'last_failure', to_char(last_failure, 'HH24:MI:SS'),
		'cert_days', floor(extract(epoch FROM (last).cert_expires_at - now()) / 86400),
		'cert_soon', (last).cert_expires_at < now() + interval '14 days', 'slowest_ms', ceil(greatest(slowest, 1)), 'times', times)
		ORDER BY (last).success, (last).app_name, url), '[]') FROM checks),
	'mounts', (SELECT coalesce(json_agg(m), '[]') FROM details CROSS JOIN LATERAL
		jsonb_path_query(details, 'lax $.mounts[*] ? (@.type() == "object")') m),
	'gaps', (SELECT coalesce(json_agg(json_build_object('at', to_char(timestamp, 'MM-DD HH24:MI:SS'), 'app', app_name, 'kind', kind,
		'lines', lines, 'bytes', bytes, 'detail', detail) ORDER BY timestamp DESC), '[]') FROM (SELECT * FROM gaps
		WHERE vps_name = $1 AND timestamp > now() - interval '7 days' ORDER BY timestamp DESC LIMIT 20) g),
	'lines', (SELECT coalesce(json_agg(json_build_object('at', to_char(timestamp, 'HH24:MI:SS.MS'), 'app', app_name,
		'level', level, 'message', left(message, 400)) ORDER BY timestamp DESC, id DESC), '[]') FROM (SELECT * FROM log_entries, span
		WHERE vps_name = $1 AND timestamp > greatest(since, until - interval '6 h') AND timestamp <= until
		ORDER BY timestamp DESC LIMIT 20) l))
