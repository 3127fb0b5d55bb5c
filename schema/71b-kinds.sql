-- ==== 71b-kinds: the values that are no metrics: checks, agents, log lines, jobs, own queries ===
-- A function of each kind gives its query: columns server, app, more, value and problem; $1 is the time. With
-- p_all false it may leave out subjects whose value is beyond no level of the rule and that have no open
-- alert.

-- What rules ask outside of this database: PromQL, and the SELECT of an administrator. fleet_watch asks,
-- since an answer may take seconds, and writes each answer with external_values().
CREATE TABLE IF NOT EXISTS external_answers (
	rule_id uuid NOT NULL,
	at timestamptz NOT NULL,
	rows jsonb NOT NULL,                    -- [{"subject": {label: text}, "value": number}]
	problem text,                           -- why there is no answer
	PRIMARY KEY (rule_id, at)
);
GRANT SELECT ON external_answers TO observ_hub, observ_watch;

-- The subjects of one answer, and how long each with its value may be; more is an error.
CREATE OR REPLACE FUNCTION max_external_rows() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;
CREATE OR REPLACE FUNCTION max_external_bytes() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 4000;

-- Whether subjects whose value is 0 matter to the rule only while they have an alert.
CREATE OR REPLACE FUNCTION zero_is_healthy(r alert_rules) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN r.op = '>' AND least(r.warning, r.critical) >= 0 OR r.op = '>=' AND least(r.warning, r.critical) > 0;

-- SQL for: the server of the table p_alias has an open alert of the rule.
CREATE OR REPLACE FUNCTION open_of(r alert_rules, p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('%s.vps_name IN (SELECT subject->>''server'' FROM alerts
		WHERE state <> ''resolved'' AND rule_id = %L)', p_alias, r.rule_id)
$$;

-- ---- checks ------------------------------------------------------------------------------------------
-- Of the last results of a check, newest first, a letter each (S success, F failure): -1 after p_recover
-- successes in a row, else the number of failures among the last p_of, without those before such a row.
CREATE OR REPLACE FUNCTION failures_in(p_results text, p_of int, p_recover int) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_results LIKE repeat('S', p_recover) || '%' THEN -1
	ELSE length(replace(left(split_part(p_results, repeat('S', p_recover), 1), p_of), 'S', '')) END;

CREATE OR REPLACE FUNCTION check_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT c.vps_name AS server, c.app_name AS app, jsonb_build_object(''check'',
			c.url) AS more,
			CASE WHEN h.at > $1 - check_expiry(c.interval_s) THEN failures_in(h.results, %s, %s)
				END AS value,
			CASE WHEN h.at > $1 - check_expiry(c.interval_s) THEN NULL ELSE ''no data'' END AS
				problem
		FROM latest_checks c JOIN agents a USING (vps_name, app_name)
		CROSS JOIN LATERAL (SELECT max(at) AS at, string_agg(CASE WHEN success THEN ''S'' ELSE ''F''
			END, ''''
				ORDER BY at DESC, id DESC) AS results
			FROM (SELECT h."timestamp" AS at, h.id, h.success FROM health_checks h
				WHERE h.vps_name = c.vps_name AND h.app_name = c.app_name AND h.url = c.url
					AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT h.backfill
					AND h."timestamp" > $1 - check_expiry(c.interval_s) * %s
				ORDER BY h."timestamp" DESC, h.id DESC LIMIT %s) x) h
		WHERE
			%s%s%s', p->>'of', p->>'recover', ceil(n / 3.0) + 1, n, judged('a'), narrowed(r, 'a',
				true),
		CASE WHEN NOT p_all THEN format(' AND (c.interval_s > 400 OR %s OR c.vps_name IN (
			SELECT h.vps_name FROM health_checks h WHERE h."timestamp" > $1 - %s
				AND h."timestamp" <= $1 AND NOT h.success))', open_of(r, 'c'),
			seconds(400.0 * (n + 3))) END)
	FROM (SELECT (p->>'of')::int + (p->>'recover')::int) x(n)
$$;

CREATE OR REPLACE FUNCTION check_slow_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT h.vps_name AS server, h.app_name AS app, jsonb_build_object(''check'',
			h.url) AS more,
			CASE WHEN count(*) >= %1$s THEN percentile_cont(%2$s) WITHIN GROUP (ORDER BY
				h.response_time_ms)
				END AS value,
			CASE WHEN count(*) < %1$s THEN ''no data'' END AS problem
		FROM health_checks h JOIN agents a USING (vps_name, app_name)
		WHERE h."timestamp" >= $1 - %3$s AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT
			h.backfill
			AND h.response_time_ms IS NOT NULL AND %4$s%5$s%6$s GROUP BY 1, 2, h.url',
		p->>'min_results', (p->>'percent')::float8 / 100, seconds((p->>'window_s')::int), judged('a'),
		narrowed(r, 'a', true),
		CASE WHEN NOT p_all AND r.op IN ('>', '>=') THEN format(' AND (%s OR h.vps_name IN (
			SELECT vps_name FROM health_checks WHERE "timestamp" >= $1 - %s AND "timestamp" <= $1
				AND response_time_ms >= %L::float8))', open_of(r, 'h'),
			seconds((p->>'window_s')::int), least(r.warning, r.critical) * (1 - 1e-9)) END)
$$;

-- Days until the certificate expires, or the share of its life that is left, in percent. life_days divides
-- the certificates between two rules: those that live shorter, and all others.
CREATE OR REPLACE FUNCTION certificate_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT c.vps_name AS server, c.app_name AS app, jsonb_build_object(''check'',
			c.url) AS more,
			%s AS value, NULL::text AS problem
		FROM latest_checks c JOIN agents a USING (vps_name, app_name)
		CROSS JOIN LATERAL (SELECT h.cert_expires_at, extract(epoch FROM h.cert_expires_at - $1) AS
			left_s,
				CASE WHEN h.cert_starts_at < h.cert_expires_at
					THEN extract(epoch FROM h.cert_expires_at - h.cert_starts_at)
				END AS life_s
			FROM health_checks h WHERE h.vps_name = c.vps_name AND h.app_name = c.app_name
				AND h.url = c.url AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT
					h.backfill
				AND h."timestamp" > $1 - greatest(%s, 3 * check_expiry(c.interval_s))
				AND h.cert_expires_at IS NOT NULL
			ORDER BY h."timestamp" DESC, h.id DESC LIMIT 1) h
		WHERE %s%s AND %s%s',
		CASE p->>'measure' WHEN 'life' THEN '100 * left_s / life_s' ELSE 'left_s / 86400'
			END,
		seconds(r.lookback_s), judged('a'), narrowed(r, 'a', true),
		CASE p->>'measure' WHEN 'life' THEN format('life_s < 86400 * %s', p->>'life_days')
			ELSE format('(life_s < 86400 * %s) IS NOT TRUE', p->>'life_days') END,
		CASE WHEN NOT p_all AND r.op IN ('<', '<=') THEN format(' AND (c.cert_until <= $1 + %s
			OR c.cert_until IS NULL AND NOT starts_with(c.url, ''http://'')
			OR c."timestamp" > $1 OR %s)',
			seconds(86400.0 * greatest(r.warning, r.critical) * CASE p->>'measure' WHEN 'life'
				THEN (p->>'life_days')::float8 / 100 ELSE 1 END), open_of(r, 'c')) END)
$$;

-- ---- agents ------------------------------------------------------------------------------------------
-- SQL for: a value of the samples of an agent (a) that had arrived, of after a time by their own.
CREATE OR REPLACE FUNCTION of_samples(p_value text, p_after text, p_more text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('(SELECT %s FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
		AND m.received_at <= $1 AND m."timestamp" > %s%s)', p_value, p_after, p_more)
$$;

-- When the database last heard from each agent that is judged, by its own clock alone. The row of the agent
-- knows only the last time, so a time in the past is found among the samples: those of the last intervals and
-- later ones, by the clock of the database or by that of the agent as it is now, whichever is behind; then
-- the newest of a day. While nobody in the fleet is heard, the fault is ours: silence is measured only until
-- an interval after the last word of all.
CREATE OR REPLACE FUNCTION agents_heard() RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name, a.app_name, a.interval_s, a.at, a.fleet_at, a.servers, CASE
			WHEN a.servers
			THEN least($1, a.fleet_at + make_interval(secs => coalesce(a.interval_s, 60)))
			ELSE $1 END AS until
		FROM (SELECT s.*, max(at) OVER () AS fleet_at,
				min(vps_name) OVER () < max(vps_name) OVER () AS servers
			FROM (SELECT a.vps_name, a.app_name, a.interval_s, CASE WHEN a.last_seen_at <= $1
					THEN a.last_seen_at ELSE coalesce(%s, %s, a.first_seen_at) END AS at
				FROM agents a WHERE %s) s) a',
		-- A FILTER: else PostgreSQL goes through all samples of the fleet, the last that came first.
		of_samples('max(m.received_at) FILTER (WHERE true)', '$1 - make_interval(secs => 60
			+ 3 * coalesce(a.interval_s, 60) - least(coalesce(a.skew_ms, 0), 0) / 1000.0)'),
		of_samples('m.received_at', '$1 - interval ''1 day''',
			' ORDER BY m."timestamp" DESC LIMIT 1'),
		judged('a'))
$$;

-- The agent's state as agent_state() has it (0 online, 1 stale, 2 offline), or the seconds of its silence.
CREATE OR REPLACE FUNCTION agent_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name AS server, a.app_name AS app, NULL::jsonb AS more, %s AS value,
			NULL::text AS problem FROM (%s) a WHERE true%s',
		CASE r.kind WHEN 'agent_state' THEN 'array_position(''{online,stale,offline}''::text[],
			agent_state(a.at, a.interval_s, NULL, a.until)) - 1'
		ELSE 'greatest(0, extract(epoch FROM a.until - a.at))' END, agents_heard(), narrowed(r, 'a',
			true))
$$;

-- The silence of the whole fleet: one subject without labels. A single server is no fleet.
CREATE OR REPLACE FUNCTION fleet_silent_query() RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, NULL::jsonb AS more,
		CASE WHEN bool_or(servers) THEN greatest(0, extract(epoch FROM $1 - max(fleet_at))) ELSE 0
			END AS value,
		NULL::text AS problem FROM (%s) a', agents_heard())
$$;

-- What was lost (gaps) or refused (rejects): lines and rows, by the time at which the database was told.
CREATE OR REPLACE FUNCTION loss_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name AS server, a.app_name AS app, NULL::jsonb AS more,
			coalesce(n, 0) AS value, NULL::text AS problem
		FROM agents a LEFT JOIN (SELECT vps_name, app_name, %s AS n FROM %I
			WHERE received_at >= $1 - %s AND received_at <= $1 GROUP BY 1, 2) g
			USING (vps_name, app_name)
		WHERE %s%s%s',
		CASE p->>'what' WHEN 'rejects' THEN 'count(*)' ELSE 'sum(coalesce(lines, 1))' END,
		CASE p->>'what' WHEN 'rejects' THEN 'rejects' ELSE 'gaps' END, seconds((p->>'window_s')::int),
		judged('a'), narrowed(r, 'a', true),
		CASE WHEN NOT p_all AND zero_is_healthy(r) THEN format(' AND (n > 0 OR %s)', open_of(r, 'a'))
			END)
$$;

-- ---- log lines -----------------------------------------------------------------------------------------
-- What lines are counted by: the columns of log_entries, and the agents that have a value where they have
-- none.
CREATE OR REPLACE FUNCTION line_columns(p_by text, p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT concat_ws(', ', CASE WHEN p_by IN ('agent', 'server') THEN p_alias || '.vps_name'
		ELSE 'NULL::text' END || ' AS server', CASE WHEN p_by IN ('agent', 'application')
		THEN p_alias || '.app_name' ELSE 'NULL::text' END || ' AS app')
$$;

-- The number of lines that a query of the log search finds, or their share of all lines in percent. Where
-- fewer than min_lines lines are, no share is worth an alert: it is 0.
CREATE OR REPLACE FUNCTION log_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT s.server, s.app, NULL::jsonb AS more, coalesce(%1$s, 0) AS value,
			NULL::text AS problem
		FROM (SELECT DISTINCT %2$s FROM agents a WHERE %3$s%4$s%5$s) s
		LEFT JOIN (SELECT %6$s, count(*) AS lines, count(*) FILTER (WHERE %7$s) AS found
			FROM log_entries l WHERE %8$s%9$s GROUP BY 1, 2) n
			ON coalesce(n.server, '''') = coalesce(s.server, '''')
				AND coalesce(n.app, '''') = coalesce(s.app, '''')',
		CASE r.kind WHEN 'log_share' THEN format('CASE WHEN lines >= %s
			THEN 100.0 * found / lines END', p->>'min_lines') ELSE 'lines' END,
		line_columns(p->>'by', 'a'), judged('a'), narrowed(r, 'a', by_app), seen,
		line_columns(p->>'by', 'l'), condition,
		lines_in || CASE r.kind WHEN 'log_share' THEN '' ELSE ' AND ' || condition END,
		replace(seen, 'a.vps_name', 'l.vps_name'))
	FROM (SELECT coalesce(line_condition(p->'tree'), 'true') AS condition,
			p->>'by' IN ('agent', 'application') AS by_app) x
	CROSS JOIN LATERAL (SELECT format('l."timestamp" >= $1 - %s AND l."timestamp" <= $1
		AND l.received_at <= $1%s', seconds((p->>'window_s')::int), narrowed(r, 'l', by_app)))
			t(lines_in)
	CROSS JOIN LATERAL (SELECT CASE WHEN NOT p_all AND zero_is_healthy(r)
			AND p->>'by' IN ('agent', 'server')
		THEN format(' AND (a.vps_name IN (SELECT l.vps_name FROM log_entries l WHERE %s
			AND %s) OR %s)',
			lines_in, condition, open_of(r, 'a')) ELSE '' END) z(seen)
$$;

-- The first line of its pattern, on whichever server of its application. It counts for window_s, if neither
-- it came late nor the application is new, all of whose lines are.
CREATE OR REPLACE FUNCTION pattern_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT n.server, n.app_name AS app, jsonb_build_object(''level'', n.level, ''pattern'',
			left(n.pattern, 300)) AS more, n.lines::float8 AS value, NULL::text AS problem
		FROM (SELECT l.app_name, l.level, l.pattern, sum(l.lines) AS lines, min(l.first_received_at)
			AS at,
				(array_agg(l.vps_name ORDER BY l.first_received_at, l.vps_name))[1] AS server,
				(array_agg(l.first_at ORDER BY l.first_received_at, l.vps_name))[1] AS
					first_at
			FROM log_patterns l WHERE l.first_received_at <= $1 AND l.level = ANY (%L)
				AND (l.app_name, l.pattern_key) IN (SELECT app_name, pattern_key FROM
					log_patterns
					WHERE first_received_at > $1 - %2$s AND first_received_at <= $1)
			GROUP BY 1, l.pattern_key, 2, 3) n
			JOIN (SELECT app_name, min(first_seen_at) AS since FROM agents GROUP BY 1) a
				USING (app_name)
		WHERE n.at > $1 - %2$s AND n.first_at > n.at - %3$s AND n.at > a.since + %4$s',
		ARRAY(SELECT jsonb_array_elements_text(p->'levels')), seconds((p->>'window_s')::int),
		seconds((p->>'late_s')::int), seconds((p->>'learn_s')::int))
$$;

-- ---- jobs ------------------------------------------------------------------------------------------------
-- Hours since a job of the database ended well: maintain().
CREATE OR REPLACE FUNCTION job_query(p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT NULL::text AS server, NULL::text AS app, jsonb_build_object(''job'',
			%1$L::text) AS more,
		extract(epoch FROM $1 - coalesce((SELECT max(finished_at) FROM job_runs
			WHERE job = %1$L AND ok AND finished_at <= $1), (SELECT min(applied_at) FROM
				schema_version)))
			/ 3600 AS value, NULL::text AS problem', p->>'job')
$$;

-- ---- anomalies ----------------------------------------------------------------------------------------
-- How many standard deviations the average of the window is off what the same hour of the week, and the hours
-- beside it, had in past weeks. The deviation counts as floor_percent of the mean at least.
CREATE OR REPLACE FUNCTION anomaly_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT s.vps_name AS server, s.app_name AS app, NULL::jsonb AS more,
			CASE WHEN p.weeks >= %1$s THEN %2$s END AS value,
			CASE WHEN (p.weeks >= %1$s AND s.v1 IS NOT NULL) IS NOT TRUE THEN ''no data'' END AS
				problem
		FROM (%3$s) s LEFT JOIN (SELECT h.vps_name, %4$s AS app_name, count(DISTINCT w) AS weeks,
				avg(h.%5$I) AS mean, stddev_samp(h.%5$I) AS spread
			FROM generate_series(1, %6$s) w JOIN metrics_1h h ON h."timestamp" BETWEEN
				date_trunc(''hour'', $1, ''UTC'') - make_interval(hours => 168 * w + 1)
				AND date_trunc(''hour'', $1, ''UTC'') - make_interval(hours => 168 * w - 1)
			WHERE h.%5$I IS NOT NULL GROUP BY 1, 2) p
			ON p.vps_name = s.vps_name AND p.app_name IS NOT DISTINCT FROM s.app_name',
		p->>'min_weeks', format(CASE p->>'direction' WHEN 'below' THEN '-(%s)' WHEN 'both' THEN
			'abs(%s)'
			ELSE '%s' END,
				format('(s.v1 - p.mean) / nullif(greatest(p.spread, abs(p.mean) * %s), 0)',
			(p->>'floor_percent')::float8 / 100)),
		pass_query('window', m.source, m.subject, (p->>'window_s')::int, ARRAY[m.expr], '{avg(x1)}',
			narrowed(r, 'a', by_app), narrowed(r, 'm', by_app)),
		CASE WHEN by_app THEN 'h.app_name' ELSE 'NULL::text' END, r.metric || '_avg', p->>'weeks')
	FROM (SELECT *, 'app' = ANY (subject) AS by_app FROM metric_source(r.metric, 'all')) m
$$;

-- ---- answers from outside -------------------------------------------------------------------------------
-- Keeps an answer to the rule's question at p_at: rows of {"subject": {label: text}, "value"}, or why there
-- is none. A value may be a text, as Prometheus writes numbers. What is none of these is an error of the
-- answer.
CREATE OR REPLACE FUNCTION external_values(p_rule uuid, p_at timestamptz, p_rows jsonb, p_problem text
	DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_problem text := left(p_problem, 1000);
	v_rows jsonb := coalesce(p_rows, '[]');
BEGIN
	IF v_problem IS NULL AND jsonb_typeof(v_rows) <> 'array' THEN
		v_problem := 'the answer is no list of rows';
	ELSIF v_problem IS NULL AND jsonb_array_length(v_rows) > max_external_rows() THEN
		v_problem := format('the answer has %s rows, more than %s', jsonb_array_length(v_rows),
			max_external_rows());
	ELSIF v_problem IS NULL AND EXISTS (SELECT FROM jsonb_array_elements(v_rows) e
			WHERE octet_length(e::text) > max_external_bytes()) THEN
		v_problem := format('a row of the answer is longer than %s bytes', max_external_bytes());
	ELSIF v_problem IS NULL THEN
		BEGIN
			SELECT coalesce(jsonb_agg(jsonb_build_object('subject', subject, 'value', value)),
				'[]')
				INTO v_rows
				FROM (SELECT coalesce(jsonb_object_agg(l.key, l.value #>> '{}')
						FILTER (WHERE l.key IS NOT NULL), '{}') AS subject,
						(e->>'value')::float8::text AS value
					FROM jsonb_array_elements(v_rows) WITH ORDINALITY u(e, n)
					LEFT JOIN LATERAL jsonb_each(e->'subject') l ON l.value <> 'null'
					GROUP BY n, e) x;
			v_problem := (SELECT 'two rows of the answer have the same labels: ' || subject::text
				FROM jsonb_to_recordset(v_rows) x(subject jsonb)
				GROUP BY subject HAVING count(*) > 1 LIMIT 1);
		EXCEPTION WHEN data_exception THEN
			v_problem := 'the answer is not understood: ' || sqlerrm;
		END;
	END IF;
	INSERT INTO external_answers AS a (rule_id, at, rows, problem)
		VALUES (p_rule, p_at, CASE WHEN v_problem IS NULL THEN v_rows ELSE '[]' END, v_problem)
		ON CONFLICT (rule_id, at) DO UPDATE SET rows = excluded.rows, problem = excluded.problem;
END
$$;

-- The newest answer that is not older than the look-back time, or the time before this one: it may come too
-- late for its own evaluation. A look-back time that is shorter than both the default and the interval is
-- meant as it is. An error, or that there is none, is the answer for each open alert and for the
-- rule as a whole.
CREATE OR REPLACE FUNCTION external_query(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, s.subject AS more, s.value, s.problem
		FROM (SELECT) one LEFT JOIN (SELECT rows, problem FROM external_answers WHERE rule_id = %1$L
			AND at <= $1 AND at >= $1 - %2$s ORDER BY at DESC LIMIT 1) x ON true
		CROSS JOIN LATERAL (
			SELECT e->''subject'' AS subject, (e->>''value'')::float8 AS value, NULL AS problem
				FROM jsonb_array_elements(x.rows) e WHERE x.problem IS NULL
			UNION ALL
			SELECT a.subject, NULL, coalesce(x.problem, ''no data'')
				FROM (SELECT subject FROM alerts
					WHERE rule_id = %1$L AND state <> ''resolved''
					UNION SELECT ''{}''::jsonb) a
				WHERE x.problem IS NOT NULL OR x.rows IS NULL) s',
		r.rule_id, seconds(CASE WHEN r.lookback_s < least(r.interval_s, 300) THEN r.lookback_s
			ELSE greatest(r.lookback_s, 2 * r.interval_s) END))
$$;

-- The questions that fleet_watch has to ask now, for the evaluation at `at`.
CREATE OR REPLACE FUNCTION external_questions(p_now timestamptz)
RETURNS TABLE (rule_id uuid, kind text, question text, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT r.rule_id, r.kind, coalesce(r.params->>'promql', r.params->>'sql'), t.at FROM alert_rules r,
		LATERAL (SELECT date_bin(make_interval(secs => r.interval_s), p_now, '1970-01-01Z') AS at) t
	WHERE r.is_active AND r.kind IN ('promql', 'sql')
		AND NOT EXISTS (SELECT FROM external_answers x WHERE x.rule_id = r.rule_id AND x.at >= t.at)
	ORDER BY 1
$$;

-- ---- values as people read them -----------------------------------------------------------------------
-- The unit of a metric: of METRICS, and of those that only rules know (alert_metrics()).
CREATE OR REPLACE FUNCTION metric_unit(p_metric text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT unit FROM (VALUES
		-- made: units
		('cpu_percent', '%'), ('memory_percent', '%'), ('memory_mb', 'MB'), ('disk_percent', '%'),
		('disk_gb', 'GB'), ('load_avg_1m', ''), ('load_avg_5m', ''), ('load_avg_15m', ''),
		('cpu_user_percent', '%'), ('cpu_system_percent', '%'), ('cpu_iowait_percent', '%'),
		('cpu_steal_percent', '%'), ('memory_total_mb', 'MB'), ('swap_percent', '%'),
		('swap_mb', 'MB'), ('disk_total_gb', 'GB'), ('inode_percent', '%'),
		('net_rx_bytes_per_s', 'B/s'), ('net_tx_bytes_per_s', 'B/s'),
		('disk_read_bytes_per_s', 'B/s'), ('disk_write_bytes_per_s', 'B/s'), ('tcp_connections', ''),
		('psi_cpu_percent', '%'), ('psi_memory_percent', '%'), ('psi_io_percent', '%'),
		('uptime_s', 's'), ('processes', ''), ('cpu_count', ''), ('app_cpu_percent', '% of 1 core'),
		('app_memory_mb', 'MB'), ('app_restarts', ''), ('app_processes', ''),
		-- end of made
		('load_per_core', ''), ('mount_percent', '%'), ('mount_inode_percent', '%'),
		('mount_used_gb', 'GB'), ('mount_free_gb', 'GB'), ('agent_skew_s', 's'),
		('agent_lag_s', 's'), ('agent_lag_bytes', 'B'), ('agent_pending', ''),
		('agent_outbox_bytes', 'B'), ('agent_rss_kb', 'kB'), ('agent_files_unreadable', '')
		) m(metric, unit)
	WHERE metric = p_metric
$$;

-- Of the values of a rule, which what it makes of its metric may change.
CREATE OR REPLACE FUNCTION rule_unit(p_kind text, p_metric text, p_params jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_params->>'measure' = 'life' THEN '%'
		WHEN unit <> 'metric' THEN unit
		WHEN p_params->>'agg' IN ('changes', 'resets') THEN ''
		WHEN p_params->>'agg' IN ('rate', 'irate', 'deriv') THEN metric_unit(p_metric) || '/s'
		ELSE metric_unit(p_metric) END
	FROM alert_kinds WHERE kind = p_kind
$$;

-- Three digits that count, and no more than the number has.
CREATE OR REPLACE FUNCTION number_text(p_value float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_value IN ('NaN', 'Infinity', '-Infinity') OR abs(p_value) >= 1e15 THEN p_value::text
	ELSE trim_scale(round(p_value::numeric, greatest(0, least(15,
		2 - floor(log(greatest(abs(p_value), 1e-12)))::int))))::text END;

-- A number as people read it, with its unit; times as a number of the largest unit that fits. A check that
-- has recovered counts -1 failures.
CREATE OR REPLACE FUNCTION value_text(p_value float8, p_unit text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_value IS NULL THEN NULL
	WHEN p_unit = 'failures' AND p_value < 0 THEN '0 failures'
	WHEN p_value = 1 AND p_unit IN ('failures', 'lines', 'days') THEN '1 ' || rtrim(p_unit, 's')
	WHEN p_unit = 'state' AND p_value IN (0, 1, 2)
		THEN ('{online,stale,offline}'::text[])[p_value::int + 1]
	WHEN p_unit = 's' AND abs(p_value) >= 172800 THEN number_text(p_value / 86400) || ' d'
	WHEN p_unit = 's' AND abs(p_value) >= 7200 THEN number_text(p_value / 3600) || ' h'
	WHEN p_unit = 's' AND abs(p_value) >= 120 THEN number_text(p_value / 60) || ' min'
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e9 THEN number_text(p_value / 1e9) || ' G'
		|| p_unit
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e6 THEN number_text(p_value / 1e6) || ' M'
		|| p_unit
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e3 THEN number_text(p_value / 1e3) || ' k'
		|| p_unit
	ELSE btrim(number_text(p_value) || ' ' || coalesce(p_unit, '')) END;

CREATE OR REPLACE FUNCTION span_text(p_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value_text(p_s, 's');

-- Why an alert ended, where that is not the value.
CREATE OR REPLACE FUNCTION ended_text(p_reason text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_reason WHEN 'clear' THEN NULL
	WHEN 'missing' THEN 'what the rule judged is gone'
	WHEN 'no data' THEN 'there is no data'
	WHEN 'retired' THEN 'the server was retired'
	WHEN 'rule' THEN 'the rule was switched off or deleted'
	ELSE p_reason END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION external_values, external_questions TO observ_watch;

-- ---- an administrator's own SELECT ---------------------------------------------------------------------
-- Runs with the rights of observ_reader, who sees the views and may write nothing. fleet_watch calls this in
-- a read-only transaction with a statement_timeout, since a function can't limit its own time. The query has
-- a column value; its other columns are the labels. It is one query: a cursor refuses two.
GRANT CREATE ON SCHEMA observ TO observ_reader;
GRANT EXECUTE ON FUNCTION max_external_rows, max_external_bytes TO observ_reader;
SET LOCAL ROLE observ_reader;
CREATE OR REPLACE FUNCTION select_values(p_query text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_row record;
	v_json jsonb;
	v_rows jsonb[] := '{}';
BEGIN
	FOR v_row IN EXECUTE p_query LOOP
		IF cardinality(v_rows) >= max_external_rows() THEN
			RAISE EXCEPTION 'the query gives more than % rows', max_external_rows()
				USING ERRCODE = '54000', HINT = 'Aggregate, or add LIMIT.';
		END IF;
		v_json := to_jsonb(v_row);
		IF octet_length(v_json::text) > max_external_bytes() THEN
			RAISE EXCEPTION 'a row of the query is longer than % bytes', max_external_bytes()
				USING ERRCODE = '54000', HINT = 'Its columns are labels: name only few.';
		ELSIF NOT v_json ? 'value' THEN
			RAISE EXCEPTION 'the query has no column "value"' USING ERRCODE = '42703';
		END IF;
		v_rows := v_rows || jsonb_build_object('subject', v_json - 'value', 'value', v_json->'value');
	END LOOP;
	RETURN to_jsonb(v_rows);
END
$$;

-- Fails as select_values() would, for what is wrong with the query as it stands. Runs nothing of it: EXPLAIN
-- is all that the cursor takes.
CREATE OR REPLACE FUNCTION explain_select(p_query text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_plan record;
BEGIN
	FOR v_plan IN EXECUTE format(E'EXPLAIN SELECT value FROM (%s\n) q',
			regexp_replace(p_query, '[;\s]+$', '')) LOOP
		NULL;
	END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION select_values, explain_select FROM PUBLIC;
GRANT EXECUTE ON FUNCTION select_values TO observ_watch, observ_owner;
GRANT EXECUTE ON FUNCTION explain_select TO observ_owner;
SET LOCAL ROLE observ_owner;
REVOKE CREATE ON SCHEMA observ FROM observ_reader;

