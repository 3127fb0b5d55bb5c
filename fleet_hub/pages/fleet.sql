-- The fleet: servers with their applications, what is broken first.
-- $1 words in the name of a server or an application, $2 state, $3 sort, $4 'all': no limit on servers
--
-- States are those of schema/15-states.sql, by the database's clock. The newest figures of an agent are
-- looked for around the time it was last seen, by its own clock, so that only a partition or two are
-- touched.
WITH a AS MATERIALIZED (
	SELECT vps_name, app_name, version, last_seen_at, skew_ms, coalesce(interval_s, 60)::bigint AS every,
		extract(epoch FROM now() - last_seen_at) AS seen_s,
		last_seen_at + coalesce(skew_ms, 0) * interval '1 ms' AS own_clock,
		retired_at, agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		left(agent_conflict(conflict, conflict_at, now()), 300) AS conflict, conflict_at, host,
			files_unreadable, unreadable
	FROM (SELECT vps_name, app_name, version, last_seen_at, interval_s, retired_at, conflict_at,
			conflict, host, files_unreadable,       -- skew_ms has a bound: it is added to a time
			CASE WHEN skew_ms IS NOT NULL THEN greatest(least(skew_ms, 1e12), -1e12)
				END AS skew_ms,
			CASE WHEN files_unreadable > 0 THEN left(concat_ws(': ',
				state #>> '{tail,troubles,0,path}', state #>> '{tail,troubles,0,why}'), 300)
				END AS unreadable
		FROM agents) x
), latest AS MATERIALIZED (
	SELECT a.*, m.*, agent_state <> 'online' AS silent, agent_state IN ('offline', 'retired') AS gone
	FROM a LEFT JOIN LATERAL (
		SELECT cpu_percent, memory_percent, disk_percent, inode_percent, load_avg_1m, cpu_count,
			memory_total_mb,
			disk_total_gb, app_cpu_percent, app_memory_mb
		FROM vps_metrics v
		WHERE v.vps_name = a.vps_name AND v.app_name = a.app_name
			AND v.timestamp > a.own_clock - greatest(3 * a.every, 600) * interval '1 s'
			AND v.timestamp < a.own_clock + interval '1 h'
		ORDER BY v.timestamp DESC LIMIT 1) m ON true
), checks AS MATERIALIZED (
	SELECT vps_name, app_name, count(*) AS total, count(*) FILTER (WHERE state = 'down') AS failing,
		min(left(coalesce(error_class, 'failed'), 100) || ' at ' || CASE WHEN length(url) > 300
			THEN left(url, 300) || '…'
			ELSE url END) FILTER (WHERE state = 'down') AS example
	FROM a CROSS JOIN LATERAL (
		SELECT DISTINCT ON (url COLLATE "C") url, success, error_class, timestamp, interval_s FROM (
			SELECT url, success, error_class, timestamp, interval_s
			FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name AND a.retired_at IS NULL
				AND h.timestamp > a.own_clock - check_expiry(NULL)
				AND h.timestamp < a.own_clock + interval '1 h'
			UNION ALL SELECT url, success, error_class, timestamp, interval_s
			FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name AND a.retired_at IS NULL
				AND h.interval_s > rare_check_s()
				AND h.timestamp > a.own_clock - check_expiry(max_check_s())
				AND h.timestamp <= a.own_clock - check_expiry(NULL)) r
		ORDER BY url COLLATE "C", timestamp DESC) c
	CROSS JOIN LATERAL (SELECT check_state(success, timestamp, c.interval_s, own_clock) AS state) s
	WHERE state <> 'unknown'
	GROUP BY 1, 2
), recent AS MATERIALIZED (                     -- a bound, for fleets that log more than a page can count
	SELECT timestamp, vps_name, app_name, level FROM log_entries
	WHERE timestamp > now() - interval '5 min' AND timestamp < now() + interval '5 min'
	ORDER BY timestamp DESC LIMIT 300000
), errors AS MATERIALIZED (
	SELECT vps_name, app_name, round(count(*) / (SELECT CASE WHEN count(*) < 300000 THEN 5
		ELSE greatest(extract(epoch FROM now() - min(timestamp)) / 60, 0.01) END FROM recent),
			1) AS per_min
	FROM recent WHERE level IN ('ERROR', 'CRITICAL') GROUP BY 1, 2
), judged AS MATERIALIZED (
	SELECT l.*, coalesce(c.total, 0) AS checks, coalesce(c.failing, 0) AS failing,
		coalesce(e.per_min, 0) AS errors_per_min,
		app_state(agent_state, conflict IS NOT NULL OR files_unreadable > 0, c.total,
			c.failing) AS state,
		concat_ws('; ',
			CASE WHEN conflict IS NOT NULL THEN concat('two agents write as this server: ',
				conflict, ' was sent away at ',
				to_char(conflict_at, 'HH24:MI'), ', ' || host || ' goes on') END,
			'retired since ' || to_char(retired_at, 'YYYY-MM-DD'),
			CASE WHEN silent AND retired_at IS NULL THEN 'silent for ' || CASE WHEN seen_s < 120
				THEN floor(seen_s) || ' s'
				WHEN seen_s < 7200 THEN floor(seen_s / 60) || ' min'
				WHEN seen_s < 172800 THEN floor(seen_s / 3600) || ' h'
					ELSE floor(seen_s / 86400) || ' days' END END,
			CASE WHEN c.failing > 0 AND NOT gone THEN
				CASE WHEN c.total = 1 THEN ''
				ELSE c.failing || ' of ' || c.total || ' checks: ' END || c.example END,
			CASE WHEN files_unreadable > 0 AND NOT gone THEN
				files_unreadable || CASE files_unreadable WHEN 1 THEN ' log'
					ELSE ' logs' END || ' cannot be read: ' || unreadable END,
			CASE WHEN abs(skew_ms) > 5000
				THEN 'clock off by ' || round(skew_ms / 1000.0) || ' s' END) AS why
	FROM latest l LEFT JOIN checks c USING (vps_name, app_name)
		LEFT JOIN errors e USING (vps_name, app_name)
), hosts AS MATERIALIZED (                      -- the figures of a host come from its newest report
	SELECT DISTINCT ON (vps_name) vps_name, cpu_percent, memory_percent, disk_percent, load_avg_1m,
		cpu_count, memory_total_mb,
		disk_total_gb, silent AS stale, seen_s,
		NOT gone AND greatest(memory_percent, disk_percent, inode_percent) >= full_percent() AS ill,
		CASE WHEN NOT gone THEN concat_ws('; ',
			CASE WHEN disk_percent >= full_percent()
				THEN 'disk ' || round(disk_percent) || ' % full' END,
			CASE WHEN inode_percent >= full_percent()
				THEN 'inodes ' || round(inode_percent) || ' % used' END,
			CASE WHEN memory_percent >= full_percent()
				THEN 'memory ' || round(memory_percent) || ' % used' END) END AS why
	FROM judged ORDER BY vps_name, (cpu_percent IS NULL), seen_s
), hour AS MATERIALIZED (
	SELECT vps_name, floor(extract(epoch FROM timestamp - (now() - interval '1 h')) / 180)::int AS slot,
		avg(cpu_percent) AS cpu
	FROM vps_metrics
	WHERE timestamp > now() - interval '1 h' AND timestamp < now() GROUP BY 1, 2
), sparks AS MATERIALIZED (
	SELECT vps_name, json_agg(round(cpu::numeric) ORDER BY slot) AS cpu_hour
	FROM (SELECT DISTINCT vps_name FROM hour) v CROSS JOIN generate_series(0, 19) slot
		LEFT JOIN hour USING (vps_name, slot)
	GROUP BY 1
), servers AS MATERIALIZED (
	SELECT vps_name AS name,
		CASE WHEN bool_or(h.ill) AND min(state_rank(state)) > state_rank('degraded') THEN 'degraded'
			ELSE (array_agg(state ORDER BY state_rank(state)))[1] END AS state,
		coalesce(max(h.why), '') AS why, bool_or($2 = '' OR state = $2
			OR ($2 = 'degraded' AND h.ill)) AS fits_state,
		sum(errors_per_min) AS errors_per_min, sum(j.checks) AS checks, sum(failing) AS failing,
			min(j.seen_s) AS seen_s,
		count(*) AS n_apps,
		json_agg(json_build_object('app', app_name, 'state', state, 'why', j.why,
			'cpu', round(j.app_cpu_percent::numeric, 1)::float8,
			'memory_mb', round(j.app_memory_mb::numeric),
				'errors_per_min', errors_per_min::float8, 'checks', nullif(j.checks, 0),
			'failing', failing, 'passing', j.checks - failing, 'bad', failing > 0,
				'seen_s', floor(j.seen_s),
			'last_seen', to_char(last_seen_at, 'YYYY-MM-DD HH24:MI:SS'), 'stale', silent,
				'version', version)
			ORDER BY state_rank(state), app_name) AS apps
	FROM judged j JOIN hosts h USING (vps_name)
	WHERE strpos(lower(vps_name || ' ' || app_name), lower($1)) > 0
	GROUP BY vps_name
), chosen AS MATERIALIZED (
	SELECT s.*, h.cpu_percent, h.memory_percent, h.disk_percent, h.load_avg_1m, h.cpu_count,
		h.memory_total_mb, h.disk_total_gb,
		h.stale, row_number() OVER (ORDER BY
			CASE $3 WHEN 'cpu' THEN -h.cpu_percent WHEN 'memory' THEN -h.memory_percent
				WHEN 'disk' THEN -h.disk_percent
				WHEN 'load' THEN -h.load_avg_1m WHEN 'errors' THEN -s.errors_per_min
				WHEN 'seen' THEN -s.seen_s WHEN 'name' THEN NULL
				ELSE state_rank(s.state) END NULLS LAST,
			name) AS place
	FROM servers s JOIN hosts h ON h.vps_name = s.name WHERE fits_state
)
SELECT json_build_object(
	'time', now(),
	'servers_known', (SELECT count(DISTINCT vps_name) FROM a),
	'apps_known', (SELECT nullif(count(*), 0) FROM a),
	'servers_found', (SELECT nullif(count(*), 0) FROM chosen),
	'more', (SELECT nullif(greatest(count(*) - 300, 0), 0) FROM chosen WHERE $4 <> 'all'),
	'counts', (SELECT json_build_object('down', count(*) FILTER (WHERE state = 'down'),
		'offline', count(*) FILTER (WHERE state = 'offline'),
			'degraded', count(*) FILTER (WHERE state = 'degraded'),
		'up', count(*) FILTER (WHERE state = 'up'), 'ill_servers', (SELECT count(*) FROM hosts
			WHERE ill),
		'errors_per_min', coalesce(round(sum(errors_per_min),
			CASE WHEN sum(errors_per_min) < 10 THEN 1 ELSE 0 END), 0)::float8,
			'failing', coalesce(sum(failing), 0),
		'checks', coalesce(sum(checks), 0)) FROM judged),
	'servers', (SELECT coalesce(json_agg(json_build_object('vps', name, 'state', state, 'why', why,
		'cpu', round(cpu_percent::numeric), 'memory', round(memory_percent::numeric),
			'disk', round(disk_percent::numeric),
		'load', round(load_avg_1m::numeric, 2)::float8, 'cores', cpu_count,
			'memory_total_mb', memory_total_mb,
		'disk_total_gb', disk_total_gb, 'stale', stale, 'seen_s', floor(seen_s),
			'errors_per_min', errors_per_min::float8,
		'checks', nullif(checks, 0), 'failing', failing, 'passing', checks - failing,
			'bad', failing > 0, 'several', n_apps > 1, 'cpu_hour', cpu_hour, 'apps', apps)
		ORDER BY place), '[]')
		FROM chosen LEFT JOIN sparks ON vps_name = name WHERE $4 = 'all' OR place <= 300))
