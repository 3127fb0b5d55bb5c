-- relevant_values() gives what rule_values() gives, of many rules at once, and leaves out only what changes
-- no alert. Random samples, rules of all sorts, and alerts that are open on some subjects.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
DELETE FROM alert_rules;
SELECT setseed(0.42) \g /dev/null

CREATE FUNCTION pg_temp.at(s float8) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT '2026-01-05T12:00:00Z'::timestamptz + make_interval(secs => s) $$;
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, skew_ms, retired_at)
	SELECT 's' || n / 2, 'app' || n % 3, 1, pg_temp.at(-864000), pg_temp.at(-n * 20), n * 1000,
		CASE WHEN n % 11 = 7 THEN pg_temp.at(-100) END
	FROM generate_series(1, 40) n;
INSERT INTO servers (vps_name, labels, created_by)
	SELECT DISTINCT vps_name, jsonb_build_object('environment', CASE WHEN vps_name < 's2' THEN 'prod'
		ELSE 'test' END),
		't' FROM agents;
-- Steps of 0 to 3, so that equal values and thresholds meet; some are missing, some ended.
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, backfill, cpu_percent, app_restarts,
	uptime_s,
		load_avg_5m, cpu_count, details)
	SELECT t, t + n % 4 * interval '10 s', vps_name, app_name, random() < 0.05,
		CASE WHEN random() < 0.9 THEN floor(random() * 4) END,
		CASE WHEN n % 5 = 0 THEN floor(random() * 3) ELSE 0 END,
		CASE WHEN n % 7 = 0 THEN (m % 5) * 60 ELSE 86400 - m * 60 END, floor(random() * 3), n % 3,
		CASE WHEN random() < 0.2 THEN jsonb_build_object('mounts', jsonb_build_array(
			jsonb_build_object('mount', '/', 'percent', floor(random() * 4)),
			jsonb_build_object('mount', '/v', 'percent', floor(random() * 4), 'total_gb', 3,
				'used_gb', 2))) END
	FROM (SELECT a.*, row_number() OVER () AS n FROM agents a) a, generate_series(0, 30) m,
		LATERAL (SELECT pg_temp.at(-m * 60 - n % 60)) x(t)
	WHERE n % 9 > 0 OR m > 6;
INSERT INTO alert_rules (rule_id, name, kind, metric, params, op, warning, critical, match, no_data,
		lookback_s)
	SELECT md5(row_number() OVER ()::text)::uuid, 'r' || row_number() OVER (),
		CASE agg WHEN 'absent' THEN agg ELSE 'threshold' END, m,
		CASE agg WHEN 'absent' THEN '{}' ELSE jsonb_build_object('agg', agg, 'window_s', w,
			'ahead_s', 600) END, op,
		CASE WHEN random() < 0.8 THEN floor(random() * 4) - 0.0 END, CASE WHEN random() < 0.6 THEN 3
			END,
		(ARRAY['[]', '[{"label": "environment", "op": "=", "value": "prod"}]',
			'[{"label": "app", "op": "!=", "value": "app1"}]',
			'[{"label": "server", "op": "=~", "value": "s1.*"}]'])[1 + floor(random() *
				4)]::jsonb,
		(ARRAY['keep', 'ok', 'alert', 'own', 'keep', 'ok'])[1 + floor(random() * 6)], l
	FROM (VALUES ('cpu_percent'), ('app_restarts'), ('uptime_s'), ('load_per_core'), ('mount_percent'),
			('mount_free_gb'), ('agent_skew_s')) m(m),
		(VALUES ('last', 1, 90), ('last', 1, 600), ('avg', 300, 300), ('min', 300, 300), ('max', 600,
			300),
			('rate', 300, 300), ('irate', 300, 300), ('increase', 600, 300), ('deriv', 600, 300),
			('changes', 300, 300), ('resets', 300, 300), ('predict', 900, 300), ('absent', 1,
				200)) a(agg, w, l),
		unnest('{>,>=,<,<=,==,!=}'::text[]) op
	WHERE agg = 'last' OR m <> 'agent_skew_s';
INSERT INTO alert_rules (name, kind, params, op, warning) SELECT 'count', 'count_firing',
	jsonb_build_object('of_rule', rule_id), '>=', 1 FROM alert_rules WHERE name = 'r1';
CREATE TEMP TABLE expected AS SELECT rule_id, name, subject, round(value::numeric, 6) AS value, problem,
	r.name = 'r1' OR random() < 0.1 AS open FROM alert_rules r, rule_values(r, pg_temp.at(0)) v;
INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, evaluated_at)
	SELECT rule_id, md5(subject::text)::uuid, subject, '{}', 'firing', 'warning', pg_temp.at(0),
		pg_temp.at(0)
	FROM expected WHERE open;
CREATE FUNCTION pg_temp.beyond(v numeric, op text, t float8) RETURNS boolean LANGUAGE sql AS $$
	SELECT coalesce(CASE op WHEN '>' THEN v > t WHEN '>=' THEN v >= t WHEN '<' THEN v < t WHEN '<=' THEN
		v <= t
		WHEN '==' THEN v = t ELSE v <> t END, false) $$;
CREATE TEMP TABLE found AS SELECT r.rule_id, r.name, subject, round(value::numeric, 6) AS value, problem FROM
	(SELECT array_agg(r ORDER BY rule_id) AS l
	FROM alert_rules r) x, relevant_values(l, pg_temp.at(0)) v, LATERAL (SELECT (l[place]).*) r;
-- count_firing was 0 before there were alerts.
DELETE FROM expected WHERE name = 'count';
SELECT is((SELECT count(*) FROM found WHERE name = 'count'), 1::bigint,
	'kinds that are no metrics take part');
DELETE FROM found WHERE name = 'count';
SELECT cmp_ok((SELECT count(*) FROM expected), '>', 5000::bigint, 'there is much to compare');
SELECT cmp_ok((SELECT count(*) FROM found), '<', (SELECT count(*) FROM expected) * 2 / 3, 'much is left out');
SELECT is((SELECT count(*) FROM (SELECT FROM found GROUP BY rule_id, subject HAVING count(*) > 1) x),
	0::bigint,
	'no subject comes twice');
SELECT is_empty('SELECT name, subject, value, problem FROM found EXCEPT
	SELECT name, subject, value, problem FROM expected', 'nothing else comes');
SELECT is_empty($$SELECT r.name, r.kind, r.metric, r.params, r.op, r.warning, r.critical, e.subject, e.value
	FROM expected e JOIN alert_rules r USING (rule_id)
	WHERE (open OR pg_temp.beyond(value, op, warning) OR pg_temp.beyond(value, op, critical)
		OR value IS NULL AND r.no_data IN ('alert', 'own'))
		AND NOT EXISTS (SELECT FROM found f WHERE f.rule_id = e.rule_id AND f.subject = e.subject)$$,
	'and nothing that matters is left out');

-- ---- what is kept from one evaluation to the next ----------------------------------------------------
SELECT keep_looks(keep_plan(l, pg_temp.at(t))->'looks', pg_temp.at(t)) FROM (
	SELECT array_agg(r ORDER BY rule_id) AS l FROM alert_rules r) x, generate_series(-1800, 0, 600) t
	\g /dev/null
SELECT cmp_ok((SELECT count(*) FROM alert_looks WHERE part IS NOT NULL), '>', 20::bigint, 'looks are kept');
CREATE TEMP TABLE kept AS SELECT r.rule_id, r.name, subject, round(value::numeric, 6) AS value, problem FROM
	(SELECT array_agg(r ORDER BY rule_id) AS l
	FROM alert_rules r) x, relevant_values(l, pg_temp.at(0)) v, LATERAL (SELECT (l[place]).*) r;
SELECT is_empty('SELECT name, subject, value, problem FROM found EXCEPT SELECT name, subject, value, problem
	FROM kept', 'a look that goes on where the last one ended finds what a whole look finds');
SELECT is((SELECT count(DISTINCT until) FROM alert_looks WHERE expires_at < pg_temp.at(0)), 0::bigint,
	'and forgets what has left the window');
CREATE FUNCTION pg_temp.asked(p_due uuid[]) RETURNS TABLE (name text, subject jsonb, value float8)
LANGUAGE sql AS $$
	SELECT (l[place]).name, subject, value FROM (SELECT array_agg(r ORDER BY rule_id) AS l
	FROM alert_rules r) x, relevant_values(l, pg_temp.at(0), p_due) $$;
SELECT set_eq('SELECT * FROM pg_temp.asked(ARRAY(SELECT rule_id FROM alert_rules
	WHERE name IN (''r1'', ''r7'', ''r90'')))', 'SELECT * FROM pg_temp.asked(NULL)
	WHERE name IN (''r1'', ''r7'', ''r90'')', 'some rules are asked as all of them are');

-- ---- errors -----------------------------------------------------------------------------------------
ALTER TABLE alert_rules DISABLE TRIGGER check_rule;
UPDATE alert_rules SET match = '[{"label": "environment", "op": "=~", "value": "("}]', warning = 0, op = '>='
	WHERE name = 'r1';
CREATE TEMP TABLE broken AS SELECT r.name, subject, round(value::numeric, 6) AS value, problem FROM (SELECT
	array_agg(r ORDER BY rule_id) AS l FROM
	alert_rules r) x,
	relevant_values(l, pg_temp.at(0)) v, LATERAL (SELECT (l[place]).*) r;
SELECT matches((SELECT problem FROM broken WHERE name = 'r1' AND subject = '{}'),
	'^invalid regular expression',
	'an error of a rule is its answer');
SELECT is_empty('SELECT name, subject, value, problem FROM found WHERE name NOT IN (''r1'', ''count'') EXCEPT
	SELECT name, subject, value, problem FROM broken', 'and the others go on');
SELECT is((SELECT count(*) FROM (SELECT FROM broken GROUP BY name, subject HAVING count(*) > 1) x), 0::bigint,
	'each subject once');
UPDATE alert_rules SET params = '{"agg": "avg", "window_s": "an hour"}' WHERE name = 'r2';
CREATE TEMP TABLE unplanned AS SELECT r.name, subject, round(value::numeric, 6) AS value, problem FROM (SELECT
	array_agg(r ORDER BY rule_id) AS l FROM
	alert_rules r) x,
	relevant_values(l, pg_temp.at(0)) v, LATERAL (SELECT (l[place]).*) r;
SELECT matches((SELECT problem FROM unplanned WHERE name = 'r2' AND subject = '{}'), '^invalid input syntax',
	'so is the error of a rule that no query can be made of');
-- Other passes may round a slope of 0 in another way.
SELECT is_empty('SELECT name, subject, value, problem FROM found
	WHERE name NOT IN (''r1'', ''r2'', ''count'') AND value <> 0
	EXCEPT SELECT name, subject, value, problem FROM unplanned', 'and the others go on, too');
SELECT * FROM finish();
ROLLBACK;
