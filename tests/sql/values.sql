-- rule_values(): what the kinds of rules make of facts. Expected figures were computed by hand.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'America/New_York';

CREATE FUNCTION pg_temp.at(s float8) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT '2026-01-05T12:00:00Z'::timestamptz + make_interval(secs => s) $$;
CREATE FUNCTION pg_temp.agent(p_vps text, p_app text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at)
	VALUES (p_vps, p_app, 1, pg_temp.at(-864000), pg_temp.at(0)) $$;
-- Samples every minute until p_end, the last of p_values there; in time unless p_late seconds are given.
CREATE FUNCTION pg_temp.samples(p_vps text, p_app text, p_end float8, p_values float8[], p_late float8
	DEFAULT 0)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent, app_memory_mb)
	SELECT pg_temp.at(t), pg_temp.at(t + p_late), p_vps, p_app, v, v
	FROM unnest(p_values) WITH ORDINALITY u(v, n), LATERAL (SELECT p_end - 60 * (cardinality(p_values) -
		n)) x(t) $$;
CREATE FUNCTION pg_temp.rule(p_kind text, p_metric text, p_params jsonb DEFAULT '{}', p_match jsonb DEFAULT
	'[]')
RETURNS alert_rules LANGUAGE sql AS $$
	SELECT jsonb_populate_record(r, jsonb_build_object('kind', p_kind, 'metric', p_metric, 'params',
		p_params,
		'match', p_match, 'rule_id', gen_random_uuid(), 'lookback_s', 300)) FROM (SELECT
			NULL::alert_rules r) x $$;
-- The values at a time, as text: "server/app=value" in order.
CREATE FUNCTION pg_temp.val(r alert_rules, p_at float8 DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws('/', subject->>'server', subject->>'app', subject->>'mount') || '='
		|| coalesce(round(value::numeric, 4)::float8::text, problem), ' ' ORDER BY subject::text
			COLLATE "C")
	FROM rule_values(r, pg_temp.at(p_at)) $$;

-- ---- metrics -------------------------------------------------------------------------------------
SELECT pg_temp.agent('a', 'web'), pg_temp.agent('b', 'web'), pg_temp.agent('b', 'db'), pg_temp.agent('c',
	'web')
	\g /dev/null
SELECT pg_temp.samples('a', 'web', 0, '{10,20,30,20,40}'), pg_temp.samples('b', 'web', -30, '{90,90}'),
	pg_temp.samples('b', 'db', 0, '{50,70}') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent')), 'a=40 b=70 c=no data',
	'last: the newest sample of a server, whichever agent measured it');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'app_memory_mb')), 'b/db=70 a/web=40 b/web=90 c/web=no data',
	'a metric of an application has a subject for each');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent', jsonb_build_object('agg', agg, 'window_s',
	180))),
	expect, agg)
	FROM (VALUES ('avg', 'a=27.5 b=75 c=no data'), ('min', 'a=20 b=50 c=no data'), ('max',
		'a=40 b=90 c=no data'),
		('changes', 'a=3 b=1 c=no data'), ('resets', 'a=1 b=0 c=no data'),
		('increase', 'a=50 b=30 c=no data'), ('irate', 'a=0.3333 b=0.3333 c=no data'),
		('deriv', 'a=0.0833 b=-0.0667 c=no data')) v(agg, expect);
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent',
	'{"agg": "predict", "window_s": 180, "ahead_s": 600}',
	'[{"label": "server", "op": "=", "value": "a"}]')), 'a=85',
		'predict: the line, so many seconds ahead');
SELECT is(pg_temp.val(pg_temp.rule('absent', 'cpu_percent')), 'a=0 b=0 c=1', 'absent is a value');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), 300), 'a=40 b=70 c=no data',
	'a sample that is exactly as old as the look-back time counts');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), 300.001), 'a=no data b=no data c=no data',
	'an older one does not');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), -45), 'a=20 b=50 c=no data',
	'nor one that is not there yet');
SELECT pg_temp.samples('a', 'web', 120, '{99}', 60), pg_temp.samples('b', 'web', 119, '{NULL}') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), t), expect, message)
	FROM (VALUES (120, 'a=40 b=70 c=no data', 'a row counts when it has arrived'),
		(180, 'a=99 b=70 c=no data', 'and then by its own time')) v(t, expect, message);
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'app_memory_mb'), 120),
	'b/db=70 a/web=40 b/web=no data c/web=no data', 'a series that says that it has no value has ended');
UPDATE vps_metrics SET backfill = true WHERE "timestamp" = pg_temp.at(120);
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), 180), 'a=40 b=70 c=no data',
	'backfilled rows never count');

-- ---- which subjects ------------------------------------------------------------------------------
INSERT INTO servers (vps_name, labels, created_by) VALUES ('a',
	'{"environment": "prod", "tags": ["x", "y"]}', 't'),
	('b', '{"environment": "test"}', 't');
SELECT is(pg_temp.val(pg_temp.rule('threshold', metric, '{}',
	jsonb_build_array(jsonb_build_object('label', label, 'op', op, 'value', value)))), expect,
	concat_ws(' ', metric, label, op, value))
	FROM (VALUES ('cpu_percent', 'server', '=', 'b', 'b=70'),
		('cpu_percent', 'server', '=~', 'a|b', 'a=40 b=70'),
		('cpu_percent', 'server', '=~', 'a|', 'a=40'),
		('cpu_percent', 'app', '=', 'db', 'b=70'),
		('cpu_percent', 'app', '!=', 'db', 'a=40 c=no data'),
		('app_memory_mb', 'app', '=', 'db', 'b/db=70'),
		('app_memory_mb', 'app', '!~', 'd.*', 'a/web=40 b/web=90 c/web=no data'),
		('cpu_percent', 'environment', '=', 'prod', 'a=40'),
		('cpu_percent', 'environment', '=', '', 'c=no data'),
		('cpu_percent', 'environment', '!=', 'prod', 'b=70 c=no data'))
		v(metric, label, op, value, expect);
UPDATE agents SET retired_at = pg_temp.at(60) WHERE vps_name = 'a';
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'cpu_percent'), t), expect,
	'a retired server is silent from then on')
	FROM (VALUES (0, 'a=40 b=70 c=no data'), (60, 'b=70 c=no data')) v(t, expect);

-- ---- file systems ----------------------------------------------------------------------------------
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, details)
	SELECT pg_temp.at(t), pg_temp.at(t), 'c', 'web', d FROM (VALUES
		(-1200,
			'{"mounts": [{"mount": "/", "percent": 50},
				{"mount": "/old", "percent": 90}]}'::jsonb),
		(-600, '{"mounts": [{"mount": "/", "percent": 60, "total_gb": 10, "used_gb": 6},
			{"mount": "/home", "percent": null}, {"percent": 4},
				"hostile"]}'), (-60, NULL)) v(t, d);
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'mount_percent')), 'c//=60 c//home=no data',
	'what the agent told last of its file systems counts, one that is gone is no subject');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'mount_percent'), 1201), 'c//=no data c//home=no data',
	'for half an hour');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'mount_free_gb')), 'c//=4 c//home=no data', 'free space');
SELECT is((SELECT array_agg(m.percent) FROM mounts_of(jsonb_build_object('mounts', (SELECT jsonb_agg(
	jsonb_build_object('mount', '/', 'percent', v))
	FROM jsonb_array_elements('[1e400, -1e400, 1e16, -1, "7", [7], {"a": 7}, true, 1e-400, 50,
		1e15]') v))) m),
	'{NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,50,1e15}', 'nonsense of one server is no value');
SELECT is((SELECT length(mount) FROM mounts_of(jsonb_build_object('mounts', jsonb_build_array(
	jsonb_build_object('mount', repeat('/', 100000)))))), 300, 'a path is cut before it becomes a label');
SELECT is(pg_temp.val(pg_temp.rule('threshold', 'mount_percent',
	'{"agg": "predict", "window_s": 1800, "ahead_s": 3600}')), 'c//=130',
	'and where it will be in an hour');

-- ---- the alerts of another rule -------------------------------------------------------------------
INSERT INTO alert_rules (rule_id, name, kind, warning) VALUES ('00000000-0000-0000-0000-000000000001', 'r',
	'agent_state', 1);
INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, evaluated_at)
	SELECT '00000000-0000-0000-0000-000000000001', gen_random_uuid(), '{}', '{}', s, 'warning',
		pg_temp.at(0),
		pg_temp.at(0) FROM unnest('{firing,firing,pending,resolved}'::text[]) s;
SELECT is(pg_temp.val(pg_temp.rule('count_firing', NULL,
	'{"of_rule": "00000000-0000-0000-0000-000000000001"}')),
	'=2', 'how many alerts of a rule fire');

-- ---- what a rule may say ----------------------------------------------------------------------------
SELECT is((SELECT string_agg(concat_ws(' ', e->>'field', e->>'message'), '; ')
	FROM jsonb_array_elements(param_errors(kind, metric, params)) e), expect, concat_ws(' ', kind,
		metric, params))
	FROM (VALUES ('threshold', 'cpu_percent', '{"agg": "avg", "window_s": 600}'::jsonb, NULL),
		('threshold', 'cpu_percent', '{"agg": "sum", "window_s": 0, "x": 1}',
			'params.agg must be one of last, avg, min, max, rate, irate, increase, deriv, '
			'changes, resets, '
			'predict; params.window_s must be a whole number from 1 to 2592000; '
			'params.x is not known; known are agg, ahead_s, rows, window_s'),
		('threshold', 'agent_skew_s', '{"agg": "avg"}',
			'params.agg must be last: what an agent says of itself has no history'),
		('count_firing', 'cpu_percent', '{}',
			'metric must be left out: rules of this kind have none; '
			'params.of_rule must be the id of a rule'),
		('absent', 'cpu_percent', '[]', 'params must be an object'),
		('threshold', 'cpu_percent', '{"window_s": "60"}',
			'params.window_s must be a whole number from 1 to 2592000'))
		v(kind, metric, params, expect);
SELECT matches(param_errors('threshold', 'cpu', '{}')->0->>'message', '^must be one of cpu_percent, ',
	'an unknown metric is told which there are');
SELECT matches(param_errors('thresold', NULL, '{}')->0->>'message', '^must be one of threshold, ',
	'so is an unknown kind');
SELECT is((SELECT string_agg(k.kind || '.' || key, ', ') FROM alert_kinds k, jsonb_each(k.params)
	WHERE value ? 'default' AND NOT param_fits(value, value->'default')), NULL, 'all defaults fit');
SELECT is((SELECT string_agg(m.metric, ', ') FROM alert_metrics() m
	WHERE kind_query(pg_temp.rule('threshold', m.metric)) IS NULL), NULL, 'each metric has a query');
SELECT lives_ok(format('SELECT * FROM rule_values(pg_temp.rule(''threshold'', %L), now())', metric), metric)
	FROM alert_metrics();

SELECT * FROM finish();
ROLLBACK;
