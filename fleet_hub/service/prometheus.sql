-- What Prometheus scrapes: families of samples, [name, type, help, [[labels, value], ...]].
-- $1 hash of who asks, $2 true for a request of this machine, which needs no token; a wrong one is refused
WITH asked AS MATERIALIZED (
	SELECT CASE WHEN NOT $2::boolean OR $1::bytea IS NOT NULL THEN authorize($1::bytea, 'viewer') END
), agent AS MATERIALIZED (
	SELECT vps_name, app_name, last_seen_at, skew_ms, pending, lost,
		agent_state(last_seen_at, interval_s, retired_at, now()) AS state,
		format('server="%s",app="%s"', replace(replace(vps_name, '\', '\\'), '"', '\"'),
			replace(replace(app_name, '\', '\\'), '"', '\"')) AS labels
	FROM agents, asked WHERE retired_at IS NULL
), family (place, name, help, metric, factor) AS (VALUES
	(1, 'cpu_percent', 'Busy time of all cores.', 'cpu_percent', 1),
	(2, 'cpu_iowait_percent', 'Time idle while waiting for disks.', 'cpu_iowait_percent', 1),
	(3, 'cpu_steal_percent', 'Time the hypervisor gave to other machines.', 'cpu_steal_percent', 1),
	(4, 'cpu_cores', 'Cores that are online.', 'cpu_count', 1),
	(5, 'load1', 'Load average over 1 minute.', 'load_avg_1m', 1),
	(6, 'load5', 'Load average over 5 minutes.', 'load_avg_5m', 1),
	(7, 'load15', 'Load average over 15 minutes.', 'load_avg_15m', 1),
	(8, 'memory_percent', 'Memory that is not available to new programs.', 'memory_percent', 1),
	(9, 'memory_used_bytes', 'Memory that is not available to new programs.', 'memory_mb', 1000000),
	(10, 'memory_size_bytes', 'Memory of the machine.', 'memory_total_mb', 1000000),
	(11, 'swap_percent', 'Swap used.', 'swap_percent', 1),
	(12, 'disk_percent', 'Space used on the root file system.', 'disk_percent', 1),
	(13, 'disk_used_bytes', 'Space used on the root file system.', 'disk_gb', 1000000000),
	(14, 'disk_size_bytes', 'Size of the root file system.', 'disk_total_gb', 1000000000),
	(15, 'inode_percent', 'Inodes used on the root file system.', 'inode_percent', 1),
	(16, 'network_receive_bytes_per_second', 'Received on all real interfaces.', 'net_rx_bytes_per_s', 1),
	(17, 'network_transmit_bytes_per_second', 'Sent on all real interfaces.', 'net_tx_bytes_per_s', 1),
	(18, 'disk_read_bytes_per_second', 'Read from all disks.', 'disk_read_bytes_per_s', 1),
	(19, 'disk_write_bytes_per_second', 'Written to all disks.', 'disk_write_bytes_per_s', 1),
	(20, 'tcp_connections', 'TCP sockets in use.', 'tcp_connections', 1),
	(21, 'uptime_seconds', 'Time since boot.', 'uptime_s', 1),
	(22, 'app_cpu_percent', 'CPU time of the unit of the application, in percent of a core.',
		'app_cpu_percent', 1),
	(23, 'app_memory_bytes', 'Memory of the unit of the application.', 'app_memory_mb', 1000000)
), sample AS MATERIALIZED (
	SELECT labels, v FROM agent JOIN (SELECT a.vps_name, a.app_name, to_jsonb(v) AS v
		FROM agents a CROSS JOIN LATERAL (
			SELECT * FROM vps_metrics v WHERE v.vps_name = a.vps_name AND v.app_name = a.app_name
				AND v.timestamp > a.last_seen_at - interval '1 hour'
				AND v.timestamp < a.last_seen_at + interval '1 hour'
			ORDER BY v.timestamp DESC LIMIT 1) v
		WHERE agent_state(a.last_seen_at, a.interval_s, a.retired_at, now()) IN ('online', 'stale')) v
		USING (vps_name, app_name)
), measured AS (
	SELECT place, name, help, json_agg(json_build_array(labels, (v->>metric)::float8 * factor)
		ORDER BY labels) AS samples
	FROM family, sample WHERE v->>metric IS NOT NULL GROUP BY 1, 2, 3
), known AS (
	SELECT 30 AS place, 'agent_up' AS name, '1 while the agent reports, 0 when it is silent.' AS help,
		json_agg(json_build_array(labels, (state = 'online')::int) ORDER BY labels) AS samples
			FROM agent
	UNION ALL SELECT 31, 'agent_last_seen_timestamp_seconds', 'When the agent was last seen.',
		json_agg(json_build_array(labels, extract(epoch FROM last_seen_at)) ORDER BY labels)
			FROM agent
	UNION ALL SELECT 32, 'agent_clock_skew_seconds', 'The clock of the agent minus that of the database.',
		json_agg(json_build_array(labels, skew_ms / 1000.0) ORDER BY labels)
		FROM agent WHERE skew_ms IS NOT NULL
	UNION ALL SELECT 33, 'agent_pending_samples', 'Samples that wait for the database.',
		json_agg(json_build_array(labels, pending) ORDER BY labels) FROM agent
			WHERE pending IS NOT NULL
	UNION ALL SELECT 34, 'agent_lost_samples', 'Samples that the full outbox dropped.',
		json_agg(json_build_array(labels, lost) ORDER BY labels) FROM agent WHERE lost IS NOT NULL
	UNION ALL SELECT 35, 'check_up', '1 when the last result of the check was good, else 0.',
		json_agg(json_build_array(labels || format(',url="%s"',
			replace(replace(replace(left(url, 500), '\', '\\'), '"', '\"'), E'\n', '\n')),
				success::int)
			ORDER BY labels, url) FROM agent JOIN latest_checks c USING (vps_name, app_name)
		WHERE check_state(success, c."timestamp", interval_s, now()) <> 'unknown'
	UNION ALL SELECT 36, 'agents', 'Agents by state.', json_agg(json_build_array(
		format('state="%s"', state), n) ORDER BY state) FROM (SELECT state, count(*) AS n FROM agent
		GROUP BY 1) s
)
-- "asked" is here once more, because without agents nobody would read it above.
SELECT json_build_object('families', coalesce(json_agg(json_build_array(name, help, samples) ORDER BY place)
	FILTER (WHERE samples IS NOT NULL), '[]'))
FROM asked LEFT JOIN (SELECT * FROM measured UNION ALL SELECT * FROM known) f ON true
