-- ==== 71-values: the kinds of rules, and the values that they give ==============================
-- rule_values() gives the value of each subject of a rule at a time. It is the half of the engine that reads
-- facts; alert_step() (72-engine.sql) is the half that decides. A rule reads rows by their own times and by
-- what had arrived: "timestamp" <= p_now and received_at <= p_now, never backfilled rows. So the same rows
-- give the same values at any later time. A row exactly on the left end of a window is inside.
--
-- Each kind is a query in text with the columns server, app, more (other labels), value and problem; $1 is
-- the time. alert_kinds says what a kind means, and docs/alerts.md is made from it.

-- A parameter is {"type", "default", "help"} with "min" and "max" of a number or "values" of a choice. Types:
-- integer, number, choice, flag, text, tree (of the log search), rule, list.
CREATE TABLE IF NOT EXISTS alert_kinds (
	kind text PRIMARY KEY,
	place int NOT NULL,                     -- in lists
	title text NOT NULL,
	meaning text NOT NULL,                  -- of the value
	unit text NOT NULL,                     -- of the value; metric: that of the metric
	subject text[] NOT NULL,                -- the labels of its subjects
	has_metric boolean NOT NULL,
	params jsonb NOT NULL,
	op text NOT NULL,                       -- the defaults of a rule of this kind
	no_data text NOT NULL,
	role text NOT NULL DEFAULT 'operator'   -- who may write such a rule
);
GRANT SELECT ON alert_kinds TO observ_hub, observ_watch;

INSERT INTO alert_kinds (place, kind, title, meaning, unit, subject, has_metric, op, no_data, params)
VALUES
(1, 'threshold', 'Metric beyond a threshold',
	'What agg makes of the samples of the metric in the window.', 'metric', '{server}', true,
	'>', 'keep', '{
	"agg": {"type": "choice", "default": "last", "values": ["last", "avg", "min", "max", "rate", "irate",
			"increase", "deriv", "changes", "resets", "predict"],
		"help": "What is made of the samples of the window."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 2592000,
		"help": "Length of the window; last has none."},
	"rows": {"type": "choice", "default": "all", "values": ["all", "5m", "1h"],
		"help": "Which rows: all samples, or the averages of 5 minutes or an hour, which cost less."},
	"ahead_s": {"type": "integer", "default": 86400, "min": 1, "max": 31536000,
		"help": "How far predict looks ahead."}}'),
(2, 'absent', 'Metric without samples',
	'1 if the newest sample of the metric is older than the look-back time, else 0.', '', '{server}',
	true, '>=', 'keep', '{}'),
(3, 'count_firing', 'Number of firing alerts', 'How many alerts of another rule are firing.', '', '{}',
	false, '>=', 'keep', '{
	"of_rule": {"type": "rule", "help": "That rule, by its id."}}'),
(4, 'anomaly', 'Metric unlike its past weeks',
	'How many standard deviations the average of the window is off the same hour of past weeks.', '',
	'{server}', true, '>', 'keep', '{
	"window_s": {"type": "integer", "default": 3600, "min": 60, "max": 86400,
		"help": "What is averaged."},
	"weeks": {"type": "integer", "default": 4, "min": 1, "max": 52,
		"help": "Weeks that it is held against."},
	"min_weeks": {"type": "integer", "default": 2, "min": 1, "max": 52,
		"help": "With fewer there is no value."},
	"floor_percent": {"type": "number", "default": 5, "min": 0, "max": 100,
		"help": "The deviation counts as this share of the mean at least."},
	"direction": {"type": "choice", "default": "above", "values": ["above", "below", "both"],
		"help": "Which way it must be off."}}'),
(5, 'check', 'Check fails',
	'Failures among the last results since the check recovered; -1 after recover successes in a row.',
	'failures', '{server,app,check}', false, '>=', 'keep', '{
	"of": {"type": "integer", "default": 3, "min": 1, "max": 100,
		"help": "So many results are looked at."},
	"recover": {"type": "integer", "default": 2, "min": 1, "max": 100,
		"help": "It recovers with so many successes in a row, if the rule clears at 0."}}'),
(6, 'check_slow', 'Check is slow', 'The percentile of the response times in the window.', 'ms',
	'{server,app,check}', false, '>', 'keep', '{
	"percent": {"type": "number", "default": 95, "min": 0, "max": 100, "help": "Which percentile."},
	"window_s": {"type": "integer", "default": 900, "min": 1, "max": 604800,
		"help": "Length of the window."},
	"min_results": {"type": "integer", "default": 5, "min": 1, "max": 10000,
		"help": "With fewer results there is no value."}}'),
(7, 'certificate', 'Certificate expires',
	'Days until the certificate of a check expires, or the share of its life that is left.', 'days',
	'{server,app,check}', false, '<', 'keep', '{
	"measure": {"type": "choice", "default": "days", "values": ["days", "life"],
		"help": "days, or life: percent of its life."},
	"life_days": {"type": "integer", "default": 42, "min": 0, "max": 36500,
		"help": "life judges the certificates that live shorter, days all others."}}'),
(8, 'agent_state', 'Agent is silent',
	'0 online, 1 stale (3 intervals), 2 offline (5 minutes, or 5 intervals).', 'state',
	'{server,app}', false, '>=', 'keep', '{}'),
(9, 'agent_silent', 'Silence of an agent', 'Seconds since the database last heard from the agent.', 's',
	'{server,app}', false, '>', 'keep', '{}'),
(10, 'fleet_silent', 'Silence of the whole fleet',
	'Seconds since the database last heard from any agent; 0 if there is one server only.', 's', '{}',
	false, '>', 'keep', '{}'),
(11, 'loss', 'Data was lost or refused', 'Lines and rows that were lost, or rows that the database refused.',
	'', '{server,app}', false, '>', 'keep', '{
	"what": {"type": "choice", "default": "gaps", "values": ["gaps", "rejects"],
		"help": "gaps: lost; rejects: refused."},
	"window_s": {"type": "integer", "default": 900, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(12, 'log_count', 'Number of log lines', 'How many lines of the window a query of the log search finds.',
	'lines', '{server,app}', false, '>', 'keep', '{
	"query": {"type": "text", "optional": true, "max": 1000,
		"help": "As in the log search; empty: all lines."},
	"tree": {"type": "tree", "optional": true, "help": "What the query means; the hub makes it."},
	"by": {"type": "choice", "default": "agent", "values": ["agent", "server", "application", "fleet"],
		"help": "What has a number of its own."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(13, 'log_share', 'Share of log lines', 'The share of the lines of the window that a query finds.', '%',
	'{server,app}', false, '>', 'keep', '{
	"query": {"type": "text", "max": 1000, "help": "As in the log search: level>=error."},
	"tree": {"type": "tree", "optional": true, "help": "What the query means; the hub makes it."},
	"by": {"type": "choice", "default": "agent", "values": ["agent", "server", "application", "fleet"],
		"help": "What has a share of its own."},
	"min_lines": {"type": "integer", "default": 20, "min": 1, "max": 1000000,
		"help": "Where there are fewer lines, the share is 0."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(14, 'new_pattern', 'New error message',
	'Lines of a pattern that the application never logged before the window.', 'lines',
	'{server,app,level,pattern}', false, '>=', 'ok', '{
	"levels": {"type": "list", "default": ["ERROR", "CRITICAL"],
		"values": ["WARNING", "ERROR", "CRITICAL"],
		"help": "Levels of the lines."},
	"window_s": {"type": "integer", "default": 3600, "min": 60, "max": 604800,
		"help": "So long a pattern is new."},
	"late_s": {"type": "integer", "default": 3600, "min": 1, "max": 2592000,
		"help": "A line that came later than this is old news."},
	"learn_s": {"type": "integer", "default": 86400, "min": 0, "max": 2592000,
		"help": "In its first time all patterns of an application are new, and none is told."}}'),
(15, 'heartbeat', 'Job did not report', 'Seconds since a heartbeat was due, its grace included; 0 in time.',
	's', '{heartbeat}', false, '>', 'keep', '{}'),
(16, 'job', 'Job of the database did not run', 'Hours since it ended well.', 'h', '{job}', false,
	'>', 'keep', '{
	"job": {"type": "choice", "default": "maintain", "values": ["maintain"], "help": "Which job."}}'),
(17, 'sql', 'Own query', 'The column value of each row of a SELECT; its other columns are labels.', '', '{}',
	false, '>', 'keep', '{
	"sql": {"type": "text", "max": 8000, "help": "One SELECT over the views."}}'),
(18, 'promql', 'Prometheus query', 'The value of each series of a query to the configured Prometheus.', '',
	'{}',
	false, '>', 'keep', '{
	"promql": {"type": "text", "max": 8000, "help": "The query."}}'),
(19, 'rule_error', 'Rule can''t be evaluated', '1 while the evaluation of another rule fails, else 0.', '',
	'{of_rule}', false, '>=', 'keep', '{}')
ON CONFLICT (kind) DO UPDATE SET place = excluded.place, title = excluded.title, meaning = excluded.meaning,
	unit = excluded.unit, subject = excluded.subject, has_metric = excluded.has_metric, op = excluded.op,
	no_data = excluded.no_data, params = excluded.params, role = excluded.role;
UPDATE alert_kinds SET role = 'admin' WHERE kind = 'sql';

-- ---- metrics ---------------------------------------------------------------------------------------
-- What a rule may call a metric: the table that has it, the expression, and the labels of its subjects.
-- A metric of the machine has one subject for each server, whatever number of agents measures it.
CREATE OR REPLACE FUNCTION alert_metrics()
RETURNS TABLE (metric text, source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT c, 'samples', 'm.' || c,
		CASE WHEN c LIKE 'app\_%' THEN '{server,app}' ELSE '{server}' END::text[]
	FROM unnest(metric_columns()) c
	UNION ALL VALUES
		('load_per_core', 'samples', 'm.load_avg_5m / nullif(m.cpu_count, 0)', '{server}'::text[]),
		('mount_percent', 'mounts', 'd.percent', '{server,mount}'),
		('mount_inode_percent', 'mounts', 'd.inode_percent', '{server,mount}'),
		('mount_used_gb', 'mounts', 'd.used_gb', '{server,mount}'),
		('mount_free_gb', 'mounts', 'd.total_gb - d.used_gb', '{server,mount}'),
		('agent_skew_s', 'agents', 'abs(a.skew_ms) / 1000.0', '{server,app}'),
		('agent_lag_s', 'agents', 'a.lag_s', '{server,app}'),
		('agent_lag_bytes', 'agents', 'a.lag_bytes', '{server,app}'),
		('agent_pending', 'agents', 'a.pending', '{server,app}'),
		('agent_outbox_bytes', 'agents', 'a.outbox_bytes', '{server,app}'),
		('agent_rss_kb', 'agents', 'a.rss_kb', '{server,app}'),
		('agent_files_unreadable', 'agents', 'a.files_unreadable', '{server,app}')
$$;

-- Where a rule reads a metric: its samples (all), or the averages of the roll-ups (5m, 1h), for long windows
-- over many servers. These do not tell when a sample arrived.
CREATE OR REPLACE FUNCTION metric_sources()
RETURNS TABLE (metric text, rows text, source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT metric, 'all', source, expr, subject FROM alert_metrics()
	UNION ALL
	SELECT c, r, r, format('m.%I', c || '_avg'),
		CASE WHEN c LIKE 'app\_%' THEN '{server,app}' ELSE '{server}' END::text[]
	FROM unnest(rollup_columns()) c, unnest('{5m,1h}'::text[]) r
	UNION ALL
	SELECT 'mount_percent', r, 'mounts_' || r, 'd.percent', '{server,mount}'
	FROM unnest('{5m,1h}'::text[]) r
$$;

CREATE OR REPLACE FUNCTION metric_source(p_metric text, p_rows text)
RETURNS TABLE (source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT source, expr, subject FROM metric_sources() WHERE metric = p_metric AND rows = p_rows
$$;

-- An agent tells of its mounts every 15 minutes, and when one has moved. What it told last counts this long.
CREATE OR REPLACE FUNCTION mounts_count_for() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '30 minutes';

-- What the matchers of a rule see. A subject of a whole server has all its applications as its `app`.
CREATE OR REPLACE FUNCTION scope_labels(p_subject jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_server CONSTANT text := p_subject->>'server';
	v_apps jsonb;
BEGIN
	IF v_server IS NULL OR p_subject ? 'app' THEN
		RETURN subject_labels(p_subject);
	END IF;
	SELECT coalesce(jsonb_agg(app_name ORDER BY app_name), '[]') INTO v_apps
		FROM agents WHERE vps_name = v_server AND retired_at IS NULL;
	RETURN jsonb_build_object('app', v_apps) || subject_labels(p_subject);
END
$$;

-- ---- parts of queries --------------------------------------------------------------------------------
-- The rule's matchers that name one server or one application, as a condition on the table p_alias: so that
-- the query reads only their rows. The application narrows only what has one as its label.
CREATE OR REPLACE FUNCTION narrowed(r alert_rules, p_alias text, p_app boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(string_agg(format(' AND %s.%s = %L', p_alias,
		CASE m->>'label' WHEN 'server' THEN 'vps_name' ELSE 'app_name' END, m->>'value'), ''), '')
	FROM jsonb_array_elements(r.match) m
	WHERE m->>'op' = '=' AND (m->>'label' = 'server' OR m->>'label' = 'app' AND p_app)
$$;

-- The agents that are judged at the time: known, and not retired then.
CREATE OR REPLACE FUNCTION judged(p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('%1$s.first_seen_at <= $1 AND (%1$s.retired_at IS NULL OR %1$s.retired_at > $1)',
		p_alias)
$$;

CREATE OR REPLACE FUNCTION seconds(p_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('make_interval(secs => %s)', p_s)
$$;

-- The rows of vps_metrics (m) that count at the time, of a window.
CREATE OR REPLACE FUNCTION counting_samples(p_window_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN format('m."timestamp" >= $1 - %s AND m."timestamp" <= $1 AND m.received_at <= $1
	AND NOT m.backfill', seconds(p_window_s));

-- ---- the values of metrics ---------------------------------------------------------------------------
-- A pass reads the rows of one window once, for all rules that need this window. There are three:
--   newest   last, absent: the newest row of each agent that is not older than the look-back time
--   window   avg, min, max, deriv, predict: aggregates of a window
--   series   rate, irate, increase, changes, resets: of neighbours in a window
CREATE OR REPLACE FUNCTION pass_of(p_agg text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN p_agg IN ('last', 'absent') THEN 'newest'
		WHEN p_agg IN ('rate', 'irate', 'increase', 'changes', 'resets') THEN 'series'
		ELSE 'window' END
$$;

-- Only the newest row tells which file systems a server has. In a window they are those that have values.
CREATE OR REPLACE FUNCTION subject_by_value(p_pass text, p_source text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT p_source IN ('mounts', 'mounts_5m', 'mounts_1h') AND p_pass <> 'newest'
$$;

-- SQL for a value of a row of a pass, of the expression at a place. p_last_s: only the end of the window
-- counts.
CREATE OR REPLACE FUNCTION window_value(p_agg text, p_place bigint, p_ahead_s float8, p_last_s float8)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format(CASE p_agg
		-- Of several agents the newest row counts, whose last word was not that there is no value.
		WHEN 'last' THEN '(max(ARRAY[t, %1$s]) FILTER (WHERE %1$s IS NOT NULL))[2]'
		WHEN 'absent' THEN '(count(%1$s) = 0)::int::float8'
		WHEN 'avg' THEN 'avg(%1$s)'
		WHEN 'min' THEN 'min(%1$s)'
		WHEN 'max' THEN 'max(%1$s)'
		WHEN 'deriv' THEN 'regr_slope(%1$s, t)'
		WHEN 'predict' THEN 'regr_intercept(%1$s, t) + %3$s * regr_slope(%1$s, t)'
		ELSE 'max(%4$I) FILTER (WHERE place = %2$s)' END,
		CASE WHEN p_last_s IS NULL THEN 'x' || p_place
			ELSE format('CASE WHEN t >= -%s THEN x%s END', p_last_s, p_place) END,
		p_place, p_ahead_s, p_agg)
$$;

-- The rows of a window, and of each the times (t, seconds from now) and values (x1, x2 ...). p_where is on m.
-- A roll-up counts with the middle of its bucket, as far as that has passed.
CREATE OR REPLACE FUNCTION window_rows(p_source text, p_window_s float8, p_exprs text[], p_where text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT m.vps_name, m.app_name, %s AS more,
		%s AS t, %s FROM %s WHERE %s%s OFFSET 0',     -- else t is computed for each value
		CASE WHEN by_mount THEN 'd.mount' ELSE 'NULL::text' END,
		format(CASE rollup WHEN '5m' THEN 'least(%1$s + 150, %1$s / 2)'
			WHEN '1h' THEN 'least(%1$s + 1800, %1$s / 2)' ELSE '%1$s' END,
			'extract(epoch FROM m."timestamp" - $1)::float8'),
		(SELECT string_agg(format('(%s)::float8 AS x%s', e, n), ', ' ORDER BY n)
			FROM unnest(p_exprs) WITH ORDINALITY u(e, n)),
		coalesce('metrics_' || rollup, 'vps_metrics') || ' m' || CASE WHEN NOT by_mount THEN ''
			WHEN rollup IS NULL THEN ' CROSS JOIN LATERAL mounts_of(m.details) d'
			ELSE ' CROSS JOIN LATERAL jsonb_each(m.mounts) d(mount, percent)' END,
		CASE WHEN rollup IS NULL THEN counting_samples(p_window_s)
			ELSE format('m."timestamp" >= $1 - %s AND m."timestamp" <= $1', seconds(p_window_s))
			END,
		CASE p_source WHEN 'mounts' THEN ' AND m.details IS NOT NULL' ELSE '' END || p_where)
	FROM (SELECT p_source LIKE 'mounts%' AS by_mount, substring(p_source FROM '(5m|1h)$') AS rollup) x
$$;

-- The newest row of each agent that is judged. An agent without one in time has a row without values, and so
-- has a file system, but for a day only.
CREATE OR REPLACE FUNCTION newest_rows(p_source text, p_window_s float8, p_exprs text[], p_where text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format(CASE p_source
		WHEN 'agents' THEN 'SELECT a.vps_name, a.app_name, NULL::text AS more, 0::float8 AS t, %1$s
			FROM agents a WHERE %2$s%3$s'
		WHEN 'mounts' THEN 'SELECT a.vps_name, a.app_name, d.mount AS more,
			extract(epoch FROM n.at - $1)::float8 AS t, %1$s
			FROM agents a CROSS JOIN LATERAL (SELECT m."timestamp" AS at, m.details
				FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
					AND m.details IS NOT NULL AND %5$s
				ORDER BY m."timestamp" DESC, m.id DESC LIMIT 1) n
			CROSS JOIN LATERAL mounts_of(n.details) d WHERE %2$s%3$s'
		ELSE 'SELECT a.vps_name, a.app_name, NULL::text AS more,
			extract(epoch FROM n.at - $1)::float8 AS t, %6$s
			FROM agents a LEFT JOIN LATERAL (SELECT m."timestamp" AS at, %1$s
				FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
					AND %4$s ORDER BY m."timestamp" DESC, m.id DESC LIMIT 1) n ON true
			WHERE %2$s%3$s' END,
		(SELECT string_agg(format(CASE p_source
				WHEN 'agents' THEN 'CASE WHEN a.last_seen_at >= $1 - %3$s
					THEN (%1$s)::float8 END AS x%2$s'
				WHEN 'mounts' THEN 'CASE WHEN n.at >= $1 - greatest(%3$s, mounts_count_for())
					THEN %1$s END AS x%2$s'
				ELSE '(%1$s)::float8 AS x%2$s' END, e, n, seconds(p_window_s)), ', '
				ORDER BY n) FROM unnest(p_exprs) WITH ORDINALITY u(e, n)),
		judged('a'), p_where, counting_samples(p_window_s), counting_samples(86400 + p_window_s),
		(SELECT string_agg('x' || n, ', ' ORDER BY n) FROM generate_subscripts(p_exprs, 1) n))
$$;

-- Of each series (agent, label, place) what its neighbours tell. rate and increase are stretched to the ends
-- of the window as Prometheus 2 does it: by half a distance, or to the end where that is nearer than 1.1
-- distances, and never beyond the time where the counter would have been 0.
CREATE OR REPLACE FUNCTION series_of(p_rows text, p_window_s float8, p_places bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT vps_name, app_name, more, place, changes, resets, irate,
		grown * stretch AS increase, grown * stretch / %2$s AS rate
		FROM (SELECT *, (t1 - t0 + CASE WHEN left_gap < 1.1 * gap THEN left_gap ELSE gap / 2 END
			+ CASE WHEN -t1 < 1.1 * gap THEN -t1 ELSE gap / 2 END) / nullif(t1 - t0, 0) AS stretch
		FROM (SELECT *, (t1 - t0) / nullif(n - 1, 0) AS gap, CASE WHEN grown > 0 AND x0 >= 0
			THEN least(t0 + %2$s, (t1 - t0) * (x0 / grown)) ELSE t0 + %2$s END AS left_gap
		FROM (SELECT vps_name, app_name, more, place, count(*) AS n, min(t) AS t0, max(t) AS t1,
			count(*) FILTER (WHERE x <> px)::float8 AS changes,
			count(*) FILTER (WHERE x < px)::float8 AS resets,
			(min(ARRAY[t, x]))[2] AS x0, (max(ARRAY[t, x]))[2] - (min(ARRAY[t, x]))[2]
				+ coalesce(sum(px) FILTER (WHERE x < px), 0) AS grown,
			max(CASE WHEN x < px THEN x ELSE x - px END / nullif(t - pt, 0))
				FILTER (WHERE newest) AS irate
		FROM (SELECT vps_name, app_name, more, place, t, x, lag(t) OVER w AS pt, lag(x) OVER w AS px,
			lead(t) OVER w IS NULL AS newest
		FROM (%1$s) r CROSS JOIN LATERAL (VALUES %3$s) u(place, x) WHERE x IS NOT NULL
		WINDOW w AS (PARTITION BY vps_name, app_name, more, place ORDER BY t)) a
		GROUP BY 1, 2, 3, 4) b) c) d',
		p_rows, p_window_s, string_agg(format('(%s, x%1$s)', n), ', ' ORDER BY n))
	FROM generate_series(1, p_places) n
$$;

-- The query of a pass: columns vps_name, app_name (NULL unless p_subject has app), more, and v1, v2 ... for
-- p_values, which are made by window_value(). p_agents and p_samples narrow agents (a) and rows (m).
CREATE OR REPLACE FUNCTION pass_query(p_pass text, p_source text, p_subject text[], p_window_s float8,
	p_exprs text[], p_values text[], p_agents text, p_samples text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_app CONSTANT text := CASE WHEN 'app' = ANY (p_subject) THEN 'app_name' ELSE 'NULL::text' END;
	v_names CONSTANT text := (SELECT string_agg('v' || n, ', ' ORDER BY n)
		FROM generate_subscripts(p_values, 1) n);
	v_rows text := CASE p_pass
		WHEN 'newest' THEN newest_rows(p_source, p_window_s, p_exprs, p_agents)
		ELSE window_rows(p_source, p_window_s, p_exprs, p_samples) END;
	v_query text;
BEGIN
	IF p_pass = 'series' THEN
		v_rows := series_of(v_rows, p_window_s, cardinality(p_exprs));
	END IF;
	v_query := format('SELECT vps_name, %s AS app_name, more, %s FROM (%s) r GROUP BY 1, 2, 3', v_app,
		(SELECT string_agg(format('%s AS v%s', v, n), ', ' ORDER BY n)
			FROM unnest(p_values) WITH ORDINALITY u(v, n)), v_rows);
	IF p_pass = 'newest' OR subject_by_value(p_pass, p_source) THEN
		RETURN v_query;
	END IF;
	RETURN format('SELECT s.vps_name, s.app_name, NULL::text AS more, %s
		FROM (SELECT DISTINCT a.vps_name, %s AS app_name FROM agents a WHERE %s%s) s
		LEFT JOIN (%s) v ON v.vps_name = s.vps_name%s', v_names,
		CASE WHEN 'app' = ANY (p_subject) THEN 'a.app_name' ELSE 'NULL::text' END, judged('a'),
		p_agents, v_query,
		CASE WHEN 'app' = ANY (p_subject) THEN ' AND v.app_name = s.app_name' END);
END
$$;

-- ---- the kinds --------------------------------------------------------------------------------------
-- The rule's parameters, with the defaults of its kind.
CREATE OR REPLACE FUNCTION rule_params(p_kind text, p_params jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, value->'default') FILTER (WHERE value ? 'default'), '{}')
		|| jsonb_strip_nulls(p_params)
	FROM alert_kinds k, jsonb_each(k.params) WHERE k.kind = p_kind
$$;

-- Does the value of a parameter fit its description?
CREATE OR REPLACE FUNCTION param_fits(p_spec jsonb, v jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE p_spec->>'type'
		WHEN 'integer' THEN jsonb_typeof(v) = 'number' AND CASE jsonb_typeof(v) WHEN 'number' THEN
			v::numeric = trunc(v::numeric)
			AND v::numeric BETWEEN (p_spec->>'min')::numeric AND (p_spec->>'max')::numeric END
		WHEN 'number' THEN jsonb_typeof(v) = 'number' AND CASE jsonb_typeof(v) WHEN 'number' THEN
			v::numeric BETWEEN (p_spec->>'min')::numeric AND (p_spec->>'max')::numeric END
		WHEN 'choice' THEN coalesce(p_spec->'values' @> v AND jsonb_typeof(v) = 'string', false)
		WHEN 'flag' THEN jsonb_typeof(v) = 'boolean'
		WHEN 'text' THEN jsonb_typeof(v) = 'string' AND length(v #>> '{}')
			BETWEEN 1 AND (p_spec->>'max')::int
		WHEN 'rule' THEN jsonb_typeof(v) = 'string'
			AND v #>> '{}' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		WHEN 'list' THEN jsonb_typeof(v) = 'array' AND CASE jsonb_typeof(v) WHEN 'array' THEN
			NOT EXISTS (SELECT FROM jsonb_array_elements(v) e WHERE NOT p_spec->'values' @> e) END
		WHEN 'tree' THEN jsonb_typeof(v) = 'object'
		ELSE false END
$$;

-- The same as a part of a sentence: "must be ...".
CREATE OR REPLACE FUNCTION param_demand(p_spec jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'must be ' || CASE p_spec->>'type'
		WHEN 'integer' THEN format('a whole number from %s to %s', p_spec->>'min', p_spec->>'max')
		WHEN 'number' THEN format('a number from %s to %s', p_spec->>'min', p_spec->>'max')
		WHEN 'choice' THEN 'one of ' || (SELECT string_agg(v, ', ' ORDER BY n)
			FROM jsonb_array_elements_text(p_spec->'values') WITH ORDINALITY u(v, n))
		WHEN 'flag' THEN 'true or false'
		WHEN 'text' THEN format('a text of 1 to %s characters', p_spec->>'max')
		WHEN 'rule' THEN 'the id of a rule'
		WHEN 'list' THEN 'a list of ' || (SELECT string_agg(v, ', ' ORDER BY n)
			FROM jsonb_array_elements_text(p_spec->'values') WITH ORDINALITY u(v, n))
		ELSE 'a query of the log search' END
$$;

-- What is wrong with kind, metric and parameters of a rule: as refuse_errors() takes it. A query without its
-- tree would find all lines.
CREATE OR REPLACE FUNCTION param_errors(p_kind text, p_metric text, p_params jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	k alert_kinds;
BEGIN
	SELECT * INTO k FROM alert_kinds WHERE kind = p_kind;
	IF NOT FOUND THEN
		RETURN field_error(true, 'kind', 'must be one of '
			|| (SELECT string_agg(a.kind, ', ' ORDER BY place) FROM alert_kinds a));
	ELSIF jsonb_typeof(p_params) IS DISTINCT FROM 'object' THEN
		RETURN field_error(true, 'params', 'must be an object');
	END IF;
	RETURN field_error(NOT k.has_metric AND p_metric IS NOT NULL, 'metric',
			'must be left out: rules of this kind have none')
		|| field_error(k.has_metric AND NOT EXISTS (SELECT FROM alert_metrics() m
			WHERE m.metric = p_metric), 'metric', 'must be one of '
			|| (SELECT string_agg(m.metric, ', ') FROM alert_metrics() m))
		|| field_error(k.has_metric AND p_params->>'agg' <> 'last' AND EXISTS (
			SELECT FROM alert_metrics() m WHERE m.metric = p_metric AND m.source = 'agents'),
			'params.agg', 'must be last: what an agent says of itself has no history')
		|| field_error(k.has_metric AND p_params->>'rows' IN ('5m', '1h')
			AND NOT (EXISTS (SELECT FROM metric_source(p_metric, p_params->>'rows'))
				AND coalesce(p_params->>'agg', 'last') IN ('avg', 'min', 'max', 'deriv',
					'predict')),
			'params.rows',
				'must be all: there are no averages of this metric, or agg can''t use them')
		|| field_error(k.params ? 'tree' AND jsonb_typeof(p_params->'query') = 'string'
			AND NOT p_params ? 'tree', 'params.tree',
			'is missing: save the rule by the hub, which makes it of the query')
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'params.' || left(key, 100),
				'message', CASE WHEN k.params ? key THEN param_demand(k.params->key)
				ELSE 'is not known; known are ' || coalesce((
					SELECT string_agg(n, ', ' ORDER BY n)
					FROM jsonb_object_keys(k.params) n), 'none') END) ORDER BY key), '[]')
			FROM jsonb_each(p_params)
			WHERE value <> 'null' AND NOT coalesce(param_fits(k.params->key, value), false))
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'params.' || key, 'message',
				param_demand(value)) ORDER BY key), '[]')
			FROM jsonb_each(k.params) WHERE NOT value ? 'default' AND NOT value ? 'optional'
				AND coalesce(p_params->key, 'null') = 'null');
END
$$;

-- A metric rule's own pass.
CREATE OR REPLACE FUNCTION metric_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT vps_name AS server, app_name AS app, CASE WHEN more IS NOT NULL
			THEN jsonb_build_object(''mount'', more) END AS more, v1 AS value,
			CASE WHEN v1 IS NULL THEN ''no data'' END AS problem FROM (%s) q%s',
		pass_query(pass_of(agg), m.source, m.subject,
			CASE pass_of(agg) WHEN 'newest' THEN r.lookback_s ELSE (p->>'window_s')::float8 END,
			ARRAY[m.expr], ARRAY[window_value(agg, 1, (p->>'ahead_s')::float8, NULL)],
			narrowed(r, 'a', 'app' = ANY (m.subject)), narrowed(r, 'm', 'app' = ANY (m.subject))),
		CASE WHEN subject_by_value(pass_of(agg), m.source) THEN ' WHERE v1 IS NOT NULL' END)
	FROM metric_source(r.metric, coalesce(p->>'rows', 'all')) m,
		LATERAL (SELECT CASE r.kind WHEN 'absent' THEN 'absent' ELSE p->>'agg' END) a(agg)
$$;

CREATE OR REPLACE FUNCTION count_firing_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, NULL::jsonb AS more,
		CASE WHEN there THEN n END AS value,
		CASE WHEN NOT there THEN ''the rule whose alerts it counts is not there'' END AS problem
		FROM (SELECT EXISTS (SELECT FROM alert_rules WHERE rule_id = %1$L) AS there,
			(SELECT count(*)::float8 FROM alerts
				WHERE rule_id = %1$L AND state = ''firing'') AS n) x',
		(p->>'of_rule')::uuid)
$$;

-- The rules whose evaluation fails, by name.
CREATE OR REPLACE FUNCTION rule_error_query(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app,
		jsonb_build_object(''of_rule'', o.name) AS more,
		(p.rule_id IS NOT NULL)::int AS value, NULL::text AS problem
		FROM alert_rules o LEFT JOIN rule_problems p USING (rule_id)
		WHERE o.is_active AND o.rule_id <> %L', r.rule_id)
$$;

-- The query of any rule. p_all false: subjects may be left out whose value is beyond no level.
CREATE OR REPLACE FUNCTION kind_query(r alert_rules, p_all boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	p CONSTANT jsonb := rule_params(r.kind, r.params);
BEGIN
	RETURN CASE r.kind
		WHEN 'threshold' THEN metric_query(r, p)
		WHEN 'absent' THEN metric_query(r, p)
		WHEN 'count_firing' THEN count_firing_query(r, p)
		WHEN 'anomaly' THEN anomaly_query(r, p)
		WHEN 'check' THEN check_query(r, p, p_all)
		WHEN 'check_slow' THEN check_slow_query(r, p, p_all)
		WHEN 'certificate' THEN certificate_query(r, p, p_all)
		WHEN 'agent_state' THEN agent_query(r, p)
		WHEN 'agent_silent' THEN agent_query(r, p)
		WHEN 'fleet_silent' THEN fleet_silent_query()
		WHEN 'loss' THEN loss_query(r, p, p_all)
		WHEN 'log_count' THEN log_query(r, p, p_all)
		WHEN 'log_share' THEN log_query(r, p, p_all)
		WHEN 'new_pattern' THEN pattern_query(r, p)
		WHEN 'heartbeat' THEN heartbeat_query()
		WHEN 'job' THEN job_query(p)
		WHEN 'sql' THEN external_query(r)
		WHEN 'promql' THEN external_query(r)
		WHEN 'rule_error' THEN rule_error_query(r)
	END;
END
$$;

-- The rows of a kind's query. A query of its own: on Citus it runs on the workers, which have no labels.
CREATE OR REPLACE FUNCTION kind_rows(p_query text, p_now timestamptz)
RETURNS TABLE (server text, app text, more jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT q.server, q.app, q.more, q.value::float8, q.problem FROM (%s) q',
		p_query) USING p_now;
END
$$;

-- One row for each subject: its value, or no value and why: 'no data', or a sentence about an error.
CREATE OR REPLACE FUNCTION rule_values(p_rule alert_rules, p_now timestamptz, p_all boolean DEFAULT true)
RETURNS TABLE (subject jsonb, value float8, problem text)
LANGUAGE sql STABLE ROWS 1000 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
	SELECT s, q.value, q.problem FROM kind_rows(kind_query(p_rule, p_all), p_now) q
	CROSS JOIN LATERAL (SELECT jsonb_strip_nulls(jsonb_build_object('server', server, 'app', app))
		|| coalesce(more, '{}')) x(s)
	WHERE CASE WHEN p_rule.match = '[]' THEN true ELSE labels_match(p_rule.match, scope_labels(s)) END
$$;

SELECT drop_former_functions() \g /dev/null
