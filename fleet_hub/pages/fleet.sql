-- The fleet: servers with their applications, what is broken first.
-- $1 words in the name of a server or an application, $2 state, $3 sort, $4 servers of a page (NULL: all, 0:
-- as many as are best), $5 number of the page, $6 view: 'wall' has names and states alone,
-- $7 to $9 environment, team and tag of a server, $10 the hub's version, $11 the label by which servers are
-- grouped, $12 and $13 a label and its value, which is '' for servers without it
--
-- States are those of schema/15-states.sql, by the database's clock. All agents are judged, by one row of
-- each in agents, latest_samples and latest_checks; all else is read of the servers of the page. A sample
-- counts if it was taken around the time its agent was last seen, by the agent's clock.
--
-- Errors a minute are of the newest 20,000 lines, or of five minutes if there are fewer.
WITH a AS MATERIALIZED (
	SELECT vps_name, app_name, extract(epoch FROM now() - last_seen_at) AS seen_s,
		last_seen_at + greatest(least(coalesce(skew_ms, 0), 1e12), -1e12) * interval '1 ms'
			AS own_clock,
		greatest(3 * coalesce(interval_s, 60)::bigint, 600) * interval '1 s' AS fresh,
		agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		coalesce(agent_conflict(conflict, conflict_at, now()) IS NOT NULL OR files_unreadable > 0,
			false) AS troubled
	FROM agents
), checks AS MATERIALIZED (
	SELECT vps_name, app_name, count(*) AS total, count(*) FILTER (WHERE state = 'down') AS failing
	FROM a JOIN latest_checks c USING (vps_name, app_name)
	CROSS JOIN LATERAL (SELECT check_state(success, timestamp, interval_s, own_clock) AS state) s
	WHERE state <> 'unknown' AND agent_state <> 'retired' AND timestamp < own_clock + interval '1 h'
	GROUP BY 1, 2
), recent AS MATERIALIZED (
	SELECT timestamp, vps_name, app_name, level FROM log_entries
	WHERE timestamp > now() - interval '5 min' AND timestamp < now() + interval '5 min'
	ORDER BY timestamp DESC LIMIT 20000
), counted AS MATERIALIZED (
	SELECT count(*) = 20000 AS estimated, CASE WHEN count(*) < 20000 THEN 5
		ELSE greatest(extract(epoch FROM now() - min(timestamp)) / 60, 0.01) END AS minutes
			FROM recent
), errors AS MATERIALIZED (
	SELECT vps_name, app_name, round(count(*) / min(minutes), 1) AS per_min
	FROM recent, counted WHERE level IN ('ERROR', 'CRITICAL') GROUP BY 1, 2
), judged AS MATERIALIZED (
	SELECT a.vps_name, a.app_name, seen_s, own_clock, agent_state, cpu_percent, memory_percent,
		disk_percent, inode_percent, load_avg_1m, cpu_count, memory_total_mb, disk_total_gb,
		app_cpu_percent, app_memory_mb, agent_state IN ('offline', 'retired') AS gone,
		coalesce(c.total, 0) AS checks, coalesce(c.failing, 0) AS failing,
		coalesce(e.per_min, 0) AS errors_per_min,
		app_state(agent_state, troubled, c.total, c.failing) AS state,
		strpos(lower(a.vps_name || ' ' || a.app_name), lower($1)) > 0 AS fits
	FROM a LEFT JOIN checks c USING (vps_name, app_name) LEFT JOIN errors e USING (vps_name, app_name)
		LEFT JOIN latest_samples l ON l.vps_name = a.vps_name AND l.app_name = a.app_name
			AND l.timestamp > own_clock - fresh AND l.timestamp < own_clock + interval '1 h'
), alarms AS MATERIALIZED (                     -- the worst one names all
	SELECT subject->>'server' AS vps_name, count(*) AS alerts,
		(array_agg(labels->>'rule' ORDER BY severity, active_since))[1] AS alert
	FROM alerts WHERE state IN ('firing', 'error') GROUP BY 1
), hosts AS MATERIALIZED (                      -- the figures of a host come from its newest report
	SELECT DISTINCT ON (vps_name) vps_name, app_name AS teller, alerts, alert, cpu_percent,
		memory_percent, disk_percent,
		inode_percent, load_avg_1m, cpu_count, memory_total_mb, disk_total_gb,
		agent_state <> 'online' AS stale, gone,
		NOT gone AND (alerts > 0 OR coalesce(greatest(memory_percent, disk_percent,
			inode_percent) >= full_percent(), false)) IS TRUE AS ill
	FROM judged LEFT JOIN alarms USING (vps_name) ORDER BY vps_name, (cpu_percent IS NULL), seen_s
), labelled AS MATERIALIZED (
	SELECT vps_name, labels FROM observ.servers WHERE $7 || $8 || $9 || $11 || $12 <> ''
), servers AS MATERIALIZED (
	SELECT vps_name, min(state_rank(state)) AS worst, bool_or(state = $2) AS has_state,
		sum(errors_per_min) AS errors_per_min, sum(checks) AS checks, sum(failing) AS failing,
		min(seen_s) AS seen_s, count(*) AS n_apps
	FROM judged WHERE fits GROUP BY vps_name
), ranked AS MATERIALIZED (
	SELECT h.*, rank, n_apps, checks, failing, errors_per_min, seen_s,
		CASE WHEN $11 <> '' THEN coalesce(labels->>$11, '') END AS label
	FROM servers s JOIN hosts h USING (vps_name) LEFT JOIN labelled l USING (vps_name)
	CROSS JOIN LATERAL (SELECT CASE WHEN ill THEN least(worst, state_rank('degraded'))
		ELSE worst END AS rank) r
	WHERE ($2 = '' OR has_state OR ($2 = 'degraded' AND ill))
		AND ($7 = '' OR labels->>'environment' = $7) AND ($8 = '' OR labels->>'team' = $8)
		AND ($9 = '' OR labels->'tags' ? $9) AND ($12 = '' OR coalesce(labels->>$12, '') = $13)
), groups AS MATERIALIZED (                     -- the worst first, servers without the label at the end
	SELECT label, row_number() OVER (ORDER BY min(rank), label = '', label) AS turn,
		json_build_object('label', label, 'n', sum(n), 'state', (array_agg(state ORDER BY rank))[1],
			'states', json_agg(json_build_object('state', state, 'n', n) ORDER BY rank)) AS told
	FROM (SELECT label, rank, count(*) AS n, ('{down,offline,degraded,up,retired}'::text[])[rank] AS state
		FROM ranked WHERE label IS NOT NULL GROUP BY 1, 2) x
	GROUP BY label
), placed AS MATERIALIZED (
	SELECT r.*, row_number() OVER (ORDER BY turn,
			CASE $3 WHEN 'cpu' THEN -cpu_percent WHEN 'memory' THEN -memory_percent
				WHEN 'disk' THEN -disk_percent WHEN 'load' THEN -load_avg_1m
				WHEN 'errors' THEN -errors_per_min WHEN 'seen' THEN -seen_s WHEN 'name'
					THEN NULL
				ELSE rank END NULLS LAST, vps_name) AS place
	FROM ranked r LEFT JOIN groups USING (label)
), paged AS MATERIALIZED (                      -- many servers: a row of the page has all applications
	SELECT found, size, pages, least($5::int, pages) AS page, found > few AND $4::int IS NOT NULL AS many
	FROM (SELECT count(*) AS found, 80 AS few FROM placed) n
	CROSS JOIN LATERAL (SELECT CASE WHEN $4::int IS NULL THEN 2147483647 WHEN $4::int > 0 THEN $4::int
		WHEN $6 = 'wall' THEN 1000 ELSE few END AS size) s
	CROSS JOIN LATERAL (SELECT greatest(ceil(found / size::numeric), 1)::int AS pages) p
), chosen AS MATERIALIZED (
	SELECT c.*, many, ('{down,offline,degraded,up,retired}'::text[])[rank] AS state,
		label IS DISTINCT FROM lag(label) OVER (ORDER BY place) AS starts
	FROM paged, placed c
	WHERE place > (page - 1) * size::bigint AND place <= page * size::bigint
), shown AS MATERIALIZED (
	SELECT j.*, many AND n_apps > 1 AS named, row_number() OVER (PARTITION BY j.vps_name
		ORDER BY state_rank(j.state), j.app_name) AS place
	FROM chosen c JOIN judged j USING (vps_name) WHERE fits AND $6 <> 'wall'
), told AS MATERIALIZED (
	SELECT vps_name, app_name, version, last_seen_at, retired_at, conflict_at, host, files_unreadable,
		concat_ws(': ', g.state #>> '{tail,troubles,0,path}',
			g.state #>> '{tail,troubles,0,why}') AS report,
		left(agent_conflict(conflict, conflict_at, now()), 300) AS twin,
		CASE WHEN skew_ms IS NOT NULL THEN greatest(least(skew_ms, 1e12), -1e12) END AS skew
	FROM shown JOIN agents g USING (vps_name, app_name) WHERE place <= 20 OR $4::int IS NULL
), failed AS MATERIALIZED (
	SELECT j.vps_name, j.app_name, example FROM shown j CROSS JOIN LATERAL (
		SELECT min(left(coalesce(error_class, 'failed'), 100) || ' at ' ||
			CASE WHEN length(url) > 300 THEN left(url, 300) || '…' ELSE url END) AS example
		FROM latest_checks l WHERE l.vps_name = j.vps_name AND l.app_name = j.app_name
			AND check_state(success, timestamp, l.interval_s, own_clock) = 'down'
		GROUP BY l.vps_name) x
	WHERE failing > 0 AND (place <= 20 OR $4::int IS NULL)
), apps AS MATERIALIZED (
	SELECT vps_name, json_agg(json_build_object('app', app_name, 'state', state, 'why', why,
		'cpu', round(app_cpu_percent::numeric, 1)::float8, 'memory_mb', round(app_memory_mb::numeric),
		'errors_per_min', errors_per_min::float8, 'checks', nullif(checks, 0), 'failing', failing,
		'passing', checks - failing, 'bad', failing > 0, 'seen_s', floor(seen_s),
		'last_seen', to_char(last_seen_at, 'YYYY-MM-DD HH24:MI:SS'), 'stale', agent_state <> 'online',
		'version', version) ORDER BY state_rank(state), app_name) AS list
	FROM shown JOIN told USING (vps_name, app_name) LEFT JOIN failed USING (vps_name, app_name)
	CROSS JOIN LATERAL (SELECT concat_ws('; ', CASE WHEN twin IS NOT NULL THEN concat(
			'two agents write as this server: ', twin, ' was sent away at ',
			to_char(conflict_at, 'HH24:MI'), ', ' || host || ' goes on') END,
		'retired since ' || to_char(retired_at, 'YYYY-MM-DD'),
		CASE WHEN agent_state <> 'online' AND retired_at IS NULL THEN 'silent for ' ||
			CASE WHEN seen_s < 120 THEN floor(seen_s) || ' s'
			WHEN seen_s < 7200 THEN floor(seen_s / 60) || ' min'
			WHEN seen_s < 172800 THEN floor(seen_s / 3600) || ' h'
			ELSE floor(seen_s / 86400) || ' days' END END,
		CASE WHEN failing > 0 AND NOT gone THEN CASE WHEN checks = 1 THEN ''
			ELSE failing || ' of ' || checks || ' checks: ' END || example END,
		CASE WHEN files_unreadable > 0 AND NOT gone THEN files_unreadable ||
			CASE files_unreadable WHEN 1 THEN ' log' ELSE ' logs' END || ' cannot be read: ' ||
			left(report, 300) END,
		CASE WHEN abs(skew) > 5000
			THEN 'clock off by ' || round(skew / 1000.0) || ' s' END)) w (reason)
	CROSS JOIN LATERAL (SELECT CASE WHEN named AND reason <> '' THEN app_name || ': ' ELSE '' END ||
		reason AS why) r
	GROUP BY vps_name
), hour AS MATERIALIZED (                       -- of the agent that tells the host's figures
	SELECT c.vps_name, slot, cpu FROM chosen c CROSS JOIN LATERAL (
		SELECT floor(extract(epoch FROM v.timestamp - (now() - interval '1 h')) / 180)::int AS slot,
			avg(v.cpu_percent) AS cpu
		FROM vps_metrics v WHERE v.vps_name = c.vps_name AND v.app_name = c.teller
			AND v.timestamp > now() - interval '1 h' AND v.timestamp < now()
		GROUP BY v.vps_name, slot) h
	WHERE $6 <> 'wall'
), sparks AS MATERIALIZED (
	SELECT vps_name, json_agg(round(cpu::numeric) ORDER BY slot) AS cpu_hour
	FROM chosen CROSS JOIN generate_series(0, 19) slot LEFT JOIN hour USING (vps_name, slot)
	GROUP BY vps_name HAVING count(cpu) > 0
)
SELECT json_build_object(
	'time', now(), 'service', json_build_object('name', 'observ', 'version', $10::text, 'api', '/api/v1'),
	'servers_known', (SELECT count(*) FROM hosts),
	'apps_known', (SELECT nullif(count(*), 0) FROM a),
	'servers_found', (SELECT nullif(found, 0) FROM paged),
	'pages', (SELECT pages FROM paged), 'first', (SELECT min(place) FROM chosen),
	'last', (SELECT max(place) FROM chosen), 'previous', (SELECT nullif(page - 1, 0) FROM paged),
	'next', (SELECT page + 1 FROM paged WHERE page < pages),
	'counts', (SELECT json_build_object('down', count(*) FILTER (WHERE state = 'down'),
		'offline', count(*) FILTER (WHERE state = 'offline'),
		'degraded', count(*) FILTER (WHERE state = 'degraded') + (SELECT count(*) FROM hosts h
			WHERE ill AND NOT EXISTS (SELECT FROM judged j WHERE j.vps_name = h.vps_name
				AND j.state NOT IN ('up', 'retired'))),
		'up', count(*) FILTER (WHERE state = 'up'), 'ill_servers', (SELECT count(*) FROM hosts
			WHERE ill),
		'errors_estimated', (SELECT estimated FROM counted),
		'errors_per_min', coalesce(round(sum(errors_per_min),
			CASE WHEN sum(errors_per_min) < 10 THEN 1 ELSE 0 END), 0)::float8,
		'failing', coalesce(sum(failing), 0), 'checks', coalesce(sum(checks), 0)) FROM judged),
	'groups', (SELECT json_agg(json_build_object('label', label, 'value', value, 'n', n)
		ORDER BY label, value) FROM (
		SELECT label, value, count(*) AS n FROM observ.servers, LATERAL (
			VALUES ('environment', labels->>'environment'), ('team', labels->>'team')) v(label,
				value)
		WHERE retired_at IS NULL AND value IS NOT NULL GROUP BY 1, 2 ORDER BY n DESC LIMIT 30) g),
	'labels', (SELECT json_agg(json_build_object('key', key, 'current', key = $11) ORDER BY n DESC, key)
		FROM (SELECT key, count(*) AS n FROM observ.servers, jsonb_object_keys(labels) key
			WHERE retired_at IS NULL AND key <> 'tags'
			GROUP BY key ORDER BY n DESC, key LIMIT 20) k),
	'by', (SELECT json_agg(told ORDER BY turn) FROM groups WHERE turn <= 200),
	'by_more', (SELECT nullif(greatest(count(*) - 200, 0), 0) FROM groups),
	'wall', (SELECT json_agg(json_build_object('state', state, 'n', n, 'names', names) ORDER BY rank)
		FROM (SELECT state, rank, count(*) AS n,
			json_agg(json_build_object('vps', vps_name) ORDER BY place) AS names
			FROM chosen WHERE $6 = 'wall' GROUP BY state, rank) w),
	'servers', (SELECT coalesce(json_agg(json_build_object('vps', vps_name, 'state', state, 'why', why,
		'cpu', round(cpu_percent::numeric), 'memory', round(memory_percent::numeric),
		'disk', round(disk_percent::numeric), 'load', round(load_avg_1m::numeric, 2)::float8,
		'cores', cpu_count, 'memory_total_mb', memory_total_mb, 'disk_total_gb', disk_total_gb,
		'stale', stale, 'seen_s', floor(seen_s), 'errors_per_min', errors_per_min::float8,
		'checks', nullif(checks, 0), 'failing', failing, 'passing', checks - failing,
		'bad', failing > 0, 'alerts', coalesce(alerts, 0), 'several', n_apps > 1 AND NOT many,
			'cpu_hour', cpu_hour, 'group', label,
		'group_starts', (SELECT coalesce(json_agg(told), '[]') FROM groups g
			WHERE starts AND g.label = chosen.label),
		'apps', list)
		ORDER BY place), '[]')
		FROM chosen JOIN apps USING (vps_name) LEFT JOIN sparks USING (vps_name)
		CROSS JOIN LATERAL (SELECT concat_ws('; ',
			CASE WHEN alerts = 1 THEN 'alert: ' || alert WHEN alerts > 1
				THEN alerts || ' alerts: ' || alert || ' and more' END,
			CASE WHEN disk_percent >= full_percent() AND NOT gone
				THEN 'disk ' || round(disk_percent) || ' % full' END,
			CASE WHEN inode_percent >= full_percent() AND NOT gone
				THEN 'inodes ' || round(inode_percent) || ' % used' END,
			CASE WHEN memory_percent >= full_percent() AND NOT gone
				THEN 'memory ' || round(memory_percent) || ' % used' END,
			CASE WHEN n_apps > 20 AND $4::int IS NOT NULL
				THEN n_apps - 20 || ' more applications' END) AS why) w))
