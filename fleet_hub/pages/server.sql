-- One server: charts of a span, checks, mounts, delivery, what was lost, last lines.
-- $1 server, $2 from, $3 to (timestamps; NULL: now), $4 seconds of the span when there is no $2
--
-- At most 360 points: the step is the shortest round one that gives no more, and no shorter than
-- the agents' interval. From 5 minutes on the roll-ups are read, up to their newest bucket, and
-- raw rows behind it: charts are right also where maintain() has not run.
--
-- Lists end at a number, long texts are cut and end in "…"; the names that end in _more say how many are left out.
--
-- What an agent says of itself is columns of agents; of its JSON only the files that are behind or cannot be read are read here.
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
			FILTER (WHERE av IS NOT NULL))[1]::numeric, 2)::float8,
			'avg', json_agg(round(av::numeric, 2)::float8 ORDER BY slot), 'min', json_agg(round(lo::numeric, 2)::float8 ORDER BY slot),
			'max', json_agg(round(hi::numeric, 2)::float8 ORDER BY slot)) AS js
	FROM grid GROUP BY 1, 2
), charts AS (
	SELECT c.place, json_build_object('id', c.id, 'title', c.title, 'unit', c.unit, 'percent', c.unit = '%',
		'bytes', c.unit = 'B/s', 'mb', c.unit = 'MB', 'warn', c.warn, 'low', 0,
		'high', CASE WHEN c.unit = '%' AND c.id <> 'app_cpu' THEN 100 ELSE round_up.high END, 'series', s.list,
		'series_more', nullif(greatest(s.n - 20, 0), 0)) AS js
	FROM (VALUES (1, 'cpu', 'CPU', '%', '{cpu,iowait,steal}'::text[], NULL), (2, 'memory', 'Memory', '%', '{memory,swap}', full_percent()),
		(3, 'disk', 'Disk', '%', '{disk}', full_percent()), (4, 'load', 'Load', '', '{load}', NULL),
		(5, 'pressure', 'Waiting', '% of time', '{for cpu,for memory,for disk}', NULL),
		(6, 'io', 'Disk traffic', 'B/s', '{read,written}', NULL), (7, 'network', 'Network', 'B/s', '{rx,tx}', NULL),
		(8, 'app_cpu', 'App CPU', '% of a core', '{app_cpu}', NULL), (9, 'app_memory', 'App memory', 'MB', '{app_memory}', NULL)) c (place, id, title, unit, metrics, warn)
	CROSS JOIN LATERAL (SELECT json_agg(js ORDER BY array_position(c.metrics, metric), app) AS list, max(top) AS top, max(n) AS n
		FROM (SELECT *, count(*) OVER () AS n FROM series WHERE metric = ANY (c.metrics) ORDER BY top DESC, app LIMIT 20) x) s
	CROSS JOIN LATERAL (SELECT power(10, floor(log(greatest(s.top, 0.01)::numeric)))::float8 AS unit) u
	CROSS JOIN LATERAL (SELECT CASE WHEN s.top <= u.unit THEN u.unit WHEN s.top <= 2 * u.unit THEN 2 * u.unit
		WHEN s.top <= 5 * u.unit THEN 5 * u.unit ELSE 10 * u.unit END AS high) round_up
	WHERE s.list IS NOT NULL
), checks AS (
	SELECT url, (array_agg(h ORDER BY timestamp DESC))[1] AS last, count(*) AS runs, count(*) FILTER (WHERE NOT success) AS failed,
		json_agg(round(response_time_ms::numeric, 1)::float8 ORDER BY timestamp) AS times, max(response_time_ms) AS slowest,
		percentile_cont(0.95) WITHIN GROUP (ORDER BY response_time_ms) AS p95,
		max(timestamp) FILTER (WHERE NOT success) AS last_failure
	FROM health_checks h, span
	WHERE vps_name = $1 AND timestamp > greatest(since, until - interval '1 h') - interval '10 min' AND timestamp <= until
	GROUP BY app_name, url
), listed AS MATERIALIZED (
	SELECT *, count(*) OVER () AS n FROM checks ORDER BY (last).success, (last).app_name, url LIMIT 200
), me AS MATERIALIZED (
	SELECT vps_name, app_name, epoch, version, coalesce(interval_s, 60) AS interval_s, skew_ms, state, first_seen_at, last_seen_at,
		retired_at, host, conflict_at, agent_conflict(conflict, conflict_at, now()) AS conflict, pending, lost, rejected, rss_kb,
		last_error, last_commit_at, buffering_since, outage_since, outage_until, outage_samples, outage_lost, outbox_bytes,
		outbox_in_memory, outbox_trouble, lag_bytes, lag_s, files, files_held, files_parked, files_unreadable, lines_suppressed,
		extract(epoch FROM now() - last_seen_at) AS seen_s, agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		greatest(least(coalesce(skew_ms, 0), 1e12), -1e12) AS skew           -- so that it can be added to a time
	FROM agents WHERE vps_name = $1
), delivery AS (
	SELECT me.*, app_state(agent_state, conflict IS NOT NULL OR files_unreadable > 0, 0, 0) AS state_word,
		least(greatest(last_commit_at - skew * interval '1 ms', moved_at), last_seen_at) AS committed_at,
		CASE WHEN away_at <> '' THEN concat_ws(', ', 'buffering since ' || away_at, waiting, losses)
			WHEN agent_state = 'offline' THEN concat_ws(', ', 'buffering or stopped since ' || seen_at, waiting, losses) END AS buffering,
		CASE WHEN since_at <> '' AND until_at <> '' THEN concat_ws(', ', 'buffered ' || since_at || ' to ' || until_at,
			outage_samples || CASE outage_samples WHEN 1 THEN ' sample' ELSE ' samples' END,
			CASE WHEN outage_lost IS NOT NULL THEN outage_lost || ' lost'
				WHEN lost = 0 THEN '0 lost' ELSE lost || ' lost since the agent started' END) END AS outage,
		CASE WHEN outbox_in_memory OR outbox_trouble <> '' THEN
			concat_ws(': ', CASE WHEN outbox_in_memory THEN 'in memory only' END, left(outbox_trouble, 300)) END AS outbox
	FROM me
	CROSS JOIN LATERAL (SELECT pending || CASE pending WHEN 1 THEN ' sample' ELSE ' samples' END AS waiting,
		lost || ' lost' AS losses) w
	CROSS JOIN LATERAL (SELECT max(at) FILTER (WHERE name = 'away') AS away_at, max(at) FILTER (WHERE name = 'since') AS since_at,
			max(at) FILTER (WHERE name = 'until') AS until_at, max(at) FILTER (WHERE name = 'seen') AS seen_at
		FROM (SELECT name, to_char(t, CASE WHEN t::date = beside::date THEN 'HH24:MI' ELSE 'Mon DD HH24:MI' END) AS at
			FROM (VALUES ('away', buffering_since, now()), ('since', outage_since, now()),
				('until', outage_until, outage_since), ('seen', last_seen_at, now())) t (name, t, beside)) x) at
	LEFT JOIN LATERAL (SELECT max(updated_at) AS moved_at FROM log_streams s WHERE s.vps_name = $1 AND s.app_name = me.app_name) p ON true
), streams AS (
	SELECT app_name, json_agg(json_build_object('path', left(path, 300), 'lag_bytes', bytes, 'lag_s', late_s,
		'behind', bytes >= 1000000 OR coalesce(late_s >= 10, false), 'rotated', rotated) ORDER BY bytes DESC, path) AS list
	FROM (SELECT app_name, jsonb_path_query_first(s, '$.path ? (@.type() == "string")') #>> '{}' AS path,
			(jsonb_path_query_first(s, '$.lag_bytes.floor()'))::numeric AS bytes,
			(jsonb_path_query_first(s, '$.lag_s ? (@.type() == "number" && @ >= 0 && @ < 1000000000000000).floor()'))::numeric AS late_s,
			s @> '{"rotated": true}' AS rotated,
			row_number() OVER (PARTITION BY app_name ORDER BY s -> 'lag_bytes' DESC) AS place
		FROM me CROSS JOIN LATERAL jsonb_path_query(state, 'strict $.tail.streams[*] ? (@.type() == "object" &&
			@.path.type() == "string" && @.lag_bytes.type() == "number" && @.lag_bytes > 0 && @.lag_bytes < 1000000000000000)', '{}', true) s) x
	WHERE place <= 5 GROUP BY 1
), unreadable AS (
	SELECT app_name, json_agg(json_build_object('path', left(path, 300), 'why', left(why, 300)) ORDER BY place) AS unreadable
	FROM (SELECT app_name, s ->> 'path' AS path, s ->> 'why' AS why, place
		FROM me CROSS JOIN LATERAL jsonb_path_query(state, 'lax $.tail.troubles[0 to 4] ? (@.type() == "object" &&
			@.path.type() == "string" && @.why.type() == "string")', '{}', true) WITH ORDINALITY x (s, place)) t
	WHERE place <= 5 GROUP BY 1
), lost AS MATERIALIZED (
	SELECT g.*, detail FROM (SELECT app_name, kind, count(*) AS times, max(timestamp) AS last_at,
			sum(lines) FILTER (WHERE lines >= 0) AS lines, count(*) FILTER (WHERE lines >= 0) < count(*) AS lines_more,
			sum(bytes) FILTER (WHERE bytes >= 0) AS bytes, count(*) FILTER (WHERE bytes >= 0) < count(*) AS bytes_more,
			count(*) OVER () AS n
		FROM gaps, span WHERE vps_name = $1 AND timestamp >= since AND timestamp <= until
		GROUP BY 1, 2 ORDER BY last_at DESC, app_name, kind LIMIT 50) g
	CROSS JOIN LATERAL (SELECT nullif(left(detail, 500), '') AS detail FROM gaps x WHERE x.vps_name = $1 AND x.timestamp = last_at
		AND x.app_name = g.app_name AND x.kind = g.kind ORDER BY id DESC LIMIT 1) newest
), refused AS MATERIALIZED (
	SELECT r.*, reason, sqlstate FROM (SELECT app_name, count(*) AS rows, max(timestamp) AS last_at
		FROM rejects, span WHERE vps_name = $1 AND timestamp >= since AND timestamp <= until GROUP BY 1) r
	CROSS JOIN LATERAL (SELECT nullif(left(reason, 500), '') AS reason, nullif(sqlstate, '') AS sqlstate FROM rejects x
		WHERE x.vps_name = $1 AND x.timestamp = last_at AND x.app_name = r.app_name ORDER BY id DESC LIMIT 1) newest
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
	'charts', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM charts),
	'host', (SELECT json_build_object('cores', cpu_count, 'memory_mb', round(memory_total_mb), 'disk_gb', round(disk_total_gb),
		'uptime_s', round(uptime_s), 'processes', round(processes), 'connections', round(tcp_connections)) FROM newest),
	'agents', (SELECT coalesce(json_agg(json_build_object('app', d.app_name, 'version', version, 'interval_s', interval_s,
		'state', state_word, 'seen_s', floor(seen_s), 'last_seen_at', last_seen_at,
		'committed_s', floor(extract(epoch FROM now() - committed_at)), 'last_commit_at', committed_at,
		'pending', pending, 'lost', lost, 'any_lost', lost > 0, 'rejects', rejected,
		'retired', to_char(retired_at, 'YYYY-MM-DD'), 'retired_at', retired_at, 'conflict', CASE WHEN conflict IS NOT NULL THEN
			concat('two agents write as this: ', conflict, ' was sent away at ', to_char(conflict_at, 'HH24:MI'), ', ' || host || ' goes on') END,
		'buffering', CASE WHEN retired_at IS NULL THEN buffering END, 'buffering_since', buffering_since, 'outage', outage,
		'outage_since', outage_since, 'outage_until', outage_until, 'outage_samples', outage_samples, 'outage_lost', outage_lost,
		'outbox', outbox, 'outbox_bytes', outbox_bytes,
		'outbox_trouble', outbox_trouble <> '', 'skew_ms', skew_ms, 'clock', CASE WHEN abs(skew) > 1000 THEN CASE WHEN abs(skew) < 120000
			THEN round(abs(skew) / 1000, 1) || ' s' WHEN abs(skew) < 7200000 THEN round(abs(skew) / 60000) || ' min'
			ELSE round(abs(skew) / 3600000) || ' h' END || CASE WHEN skew > 0 THEN ' ahead' ELSE ' behind' END END,
		'lag_bytes', lag_bytes, 'lag_s', lag_s, 'late', lag_s >= 10,
		'streams', list, 'unreadable', unreadable, 'unreadable_more', nullif(greatest(files_unreadable - 5, 0), 0), 'files', files, 'held', files_held, 'parked', files_parked,
		'suppressed', lines_suppressed, 'rss_kb', rss_kb, 'last_error', last_error,
		'epoch', epoch, 'first_seen_at', first_seen_at) ORDER BY d.app_name), '[]') FROM delivery d LEFT JOIN streams USING (app_name)
		LEFT JOIN unreadable USING (app_name)),
	'checks_more', (SELECT nullif(max(n) - count(*), 0) FROM listed),
	'checks', (SELECT coalesce(json_agg(json_build_object('app', (last).app_name,
		'url', CASE WHEN length(url) > 500 THEN left(url, 500) || '…' ELSE url END, 'success', (last).success,
		'state', check_state((last).success, (last).timestamp, (last).timestamp), 'status_code', (last).status_code,
		'response_ms', round((last).response_time_ms::numeric, ((last).response_time_ms < 10)::int)::float8,
		'p95_ms', round(p95::numeric, (p95 < 10)::int)::float8, 'runs', runs, 'failed', failed,
		'error_class', left((last).error_class, 100), 'error_message', CASE WHEN length((last).error_message) > 500
			THEN left((last).error_message, 500) || '…' ELSE (last).error_message END,
		'age_s', floor(extract(epoch FROM now() - (last).timestamp)), 'last_failure', last_failure,
		'cert_days', floor(extract(epoch FROM (last).cert_expires_at - now()) / 86400),
		'cert_soon', (last).cert_expires_at < now() + interval '14 days', 'slowest_ms', ceil(greatest(slowest, 1)), 'times', times)
		ORDER BY (last).success, (last).app_name, url), '[]') FROM listed),
	'mounts', (SELECT coalesce(json_agg(json_build_object('mount', left(m ->> 'mount', 300), 'fs', left(m ->> 'fs', 100),
		'percent', trim_scale(least(jsonb_path_query_first(m, '$.percent ? (@.type() == "number" && @ >= 0)')::numeric, 100)),
		'used_gb', trim_scale(jsonb_path_query_first(m, '$.used_gb ? (@.type() == "number" && @ >= 0 && @ < 1000000000000000)')::numeric),
		'total_gb', trim_scale(jsonb_path_query_first(m, '$.total_gb ? (@.type() == "number" && @ >= 0 && @ < 1000000000000000)')::numeric))), '[]')
		FROM details CROSS JOIN LATERAL jsonb_path_query(details, 'lax $.mounts[*] ? (@.type() == "object")') m),
	'mounts_more', (SELECT jsonb_path_query_first(details,
		'lax $.mounts_left_out ? (@.type() == "number" && @ > 0 && @ < 1000000000)') FROM details),
	'silent', EXISTS (SELECT FROM delivery WHERE agent_state = 'offline'), 'losses', EXISTS (SELECT FROM lost) OR EXISTS (SELECT FROM refused),
	'gaps_more', (SELECT nullif(max(n) - count(*), 0) FROM lost),
	'gaps', (SELECT coalesce(json_agg(json_build_object('app', app_name, 'kind', left(kind, 100), 'what', left(replace(kind, '_', ' '), 100), 'times', times,
		'lines', lines, 'lines_more', lines_more, 'bytes', bytes, 'bytes_more', bytes_more,
		'unit', CASE WHEN kind LIKE 'outbox%' THEN 'samples' WHEN kind LIKE 'check%' THEN 'checks' ELSE 'lines' END,
		'last_at', last_at, 'detail', detail) ORDER BY last_at DESC, app_name, kind), '[]') FROM lost),
	'rejects', (SELECT coalesce(json_agg(json_build_object('app', app_name, 'rows', rows, 'last_at', last_at, 'sqlstate', sqlstate, 'reason', reason) ORDER BY last_at DESC, app_name), '[]') FROM refused),
	'lines', (SELECT coalesce(json_agg(json_build_object('at', to_char(timestamp, 'HH24:MI:SS.MS'), 'app', app_name,
		'level', level, 'message', left(message, 400), 'message_length', CASE WHEN length(message) > 400 THEN length(message) END,
		'id', id, 'timestamp', timestamp) ORDER BY timestamp DESC, id DESC), '[]') FROM (SELECT * FROM log_entries, span
		WHERE vps_name = $1 AND timestamp > greatest(since, until - interval '6 h') AND timestamp <= until
		ORDER BY timestamp DESC LIMIT 20) l))
