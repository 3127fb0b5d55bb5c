-- ==== 80-views: for people and Grafana. Names stay, and columns are only added at the end ======
CREATE OR REPLACE VIEW v_metrics AS SELECT "timestamp" AS "time", m.* FROM vps_metrics m;
CREATE OR REPLACE VIEW v_metrics_5m AS SELECT "timestamp" AS "time", m.* FROM metrics_5m m;
CREATE OR REPLACE VIEW v_metrics_1h AS SELECT "timestamp" AS "time", m.* FROM metrics_1h m;
CREATE OR REPLACE VIEW v_checks AS SELECT "timestamp" AS "time", c.* FROM health_checks c;
CREATE OR REPLACE VIEW v_logs AS
	SELECT "timestamp" AS "time", id, "timestamp", vps_name, app_name, level, logger, message, context,
		stream_id, stream_offset, received_at, search
	FROM log_entries;
CREATE OR REPLACE VIEW v_gaps AS SELECT "timestamp" AS "time", g.* FROM gaps g;
CREATE OR REPLACE VIEW v_agents AS
	SELECT last_seen_at AS "time", vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms,
		state, first_seen_at, last_seen_at,
		agent_state(last_seen_at, interval_s, retired_at, now()) = 'online' AS online,
		host, address, conflict_at, conflict, retired_at,
		agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		pending, lost, rejected, rss_kb, last_error, last_commit_at, buffering_since, outage_since,
		outage_until, outage_samples, outage_lost, outbox_bytes, outbox_in_memory, outbox_trouble,
		lag_bytes, lag_s, files, files_parked, files_held, files_unreadable, lines_suppressed
	FROM agents;
GRANT SELECT ON v_metrics, v_metrics_5m, v_metrics_1h, v_checks, v_logs, v_gaps, v_agents
	TO observ_hub, observ_watch, observ_reader;

-- The metrics that are rolled up, one in each row: single samples (step_s 0), of 5 minutes, of an hour.
DO $$
BEGIN
	EXECUTE (SELECT 'CREATE OR REPLACE VIEW v_series AS ' || string_agg(format(
			'SELECT t."timestamp" AS "time", %s AS step_s, t.vps_name, t.app_name, m.metric, '
			'%s AS samples, m.avg, m.min, m.max FROM %I t '
			'CROSS JOIN LATERAL (VALUES %s) m (metric, avg, min, max)',
			step_s, samples, source,
			(SELECT string_agg(format('(%L, t.%I, t.%I, t.%I)', c, c || a, c || b, c || d), ', '
				ORDER BY n) FROM unnest(rollup_columns()) WITH ORDINALITY r(c, n))),
			' UNION ALL ' ORDER BY step_s)
		FROM (VALUES (0, 'vps_metrics', '1', '', '', ''),
			(300, 'metrics_5m', 't.samples', '_avg', '_min', '_max'),
			(3600, 'metrics_1h', 't.samples', '_avg', '_min', '_max'))
			v(step_s, source, samples, a, b, d));
END
$$;
GRANT SELECT ON v_series TO observ_hub, observ_watch, observ_reader;

-- Which servers may write. unbound: the server writes with a login that is valid for every server.
CREATE OR REPLACE VIEW v_servers AS
	SELECT vps_name, CASE WHEN logins = 1 THEN 'enrolled' WHEN logins > 1 THEN 'rotating'
			WHEN retired_at IS NOT NULL THEN 'retired'
			WHEN last_seen_at > now() - interval '1 hour' THEN 'unbound'
			ELSE 'not enrolled' END AS state,
		login, enrolled_at, enrolled_by, old_login, old_valid_until, applications, last_seen_at,
		retired_at, conflict_at, conflict
	FROM (SELECT vps_name, count(*) AS logins, max(enrolled_at) AS enrolled_at,
			(array_agg(role ORDER BY enrolled_at DESC))[1] AS login,
			(array_agg(enrolled_by ORDER BY enrolled_at DESC))[1] AS enrolled_by,
			(array_agg(role ORDER BY enrolled_at DESC))[2] AS old_login,
			(array_agg(valid_until ORDER BY enrolled_at DESC))[2] AS old_valid_until
		FROM agent_roles GROUP BY 1) r
	FULL JOIN (SELECT vps_name, count(*) AS applications, max(last_seen_at) AS last_seen_at,
			max(retired_at) AS retired_at, max(conflict_at) AS conflict_at,
			(array_agg(conflict ORDER BY conflict_at DESC NULLS LAST))[1] AS conflict
		FROM agents GROUP BY 1) a USING (vps_name);
GRANT SELECT ON v_servers TO observ_hub, observ_watch, observ_enroll;

