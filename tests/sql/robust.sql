-- What must not stop the evaluation of rules: rules, overrides and answers that make no sense, rules that
-- change
-- while alerts are open, times that jump, imports of old alerts.
BEGIN;
SELECT no_plan();
SET LOCAL timezone = 'UTC';
SET LOCAL client_min_messages = warning;
DELETE FROM alert_rules;
UPDATE alert_policy SET catch_up_s = 300, settle_s = 0, grace_s = 0, tolerance_s = 3600;
INSERT INTO agents (vps_name, app_name, epoch, interval_s, first_seen_at, last_seen_at)
	SELECT v, 'shop', 1, 60, '2030-01-01Z', '2030-01-02Z' FROM unnest('{web-1,web-2}'::text[]) v;
-- From a time on each server has a value, a sample a minute.
CREATE FUNCTION pg_temp.load(p_value float8, p_from text DEFAULT '00:00', p_to text DEFAULT '01:00')
RETURNS void LANGUAGE sql AS $$
	DELETE FROM vps_metrics;
	INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent)
		SELECT t, t, vps_name, 'shop', p_value FROM agents, generate_series(('2030-01-02 ' ||
			p_from || 'Z')::timestamptz,
			('2030-01-02 ' || p_to || 'Z')::timestamptz, '1 min') t $$;
CREATE FUNCTION pg_temp.begin_at(p_at text DEFAULT '00:00') RETURNS void LANGUAGE sql AS $$
	DELETE FROM alerts; DELETE FROM alert_changes; DELETE FROM rule_patches; DELETE FROM alert_rules;
	DELETE FROM rule_problems; DELETE FROM external_answers;
	UPDATE alert_clock SET evaluated_until = ('2030-01-02 ' || p_at || 'Z')::timestamptz, away_since =
		NULL,
		away_until = NULL $$;
CREATE FUNCTION pg_temp.go(p_at text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT evaluate_alerts(('2030-01-02 ' || p_at || 'Z')::timestamptz) $$;
CREATE FUNCTION pg_temp.history(p_rule text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', to_char(c.at, 'HH24:MI'), coalesce(a.subject->>'server',
		a.subject->>'of_rule',
		a.subject->>'x', '-'), to_state, c.reason), '; ' ORDER BY c.at, a.subject, c.id)
	FROM alert_changes c LEFT JOIN alerts a USING (alert_id)
	WHERE c.rule_id = md5(p_rule)::uuid AND c.subject_key <> md5('{"server": "web-2"}')::uuid $$;
CREATE FUNCTION pg_temp.rule(p_name text, p jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	INSERT INTO alert_rules SELECT (jsonb_populate_record(NULL::alert_rules, to_jsonb(whole_rule(NULL,
		'{"warning": 80,
		"kind": "threshold", "metric": "cpu_percent", "no_data": "ok", "version": 1,
		"created_at": "2030-01-01Z", "updated_at": "2030-01-01Z", "created_by": ""}'::jsonb || p))
		|| jsonb_build_object('rule_id', md5(p_name), 'name', p_name))).* $$;

-- ---- rows that psql can't write ---------------------------------------------------------------------
SELECT pg_temp.begin_at(), pg_temp.rule('cpu') \g /dev/null
SELECT throws_matching(format('SELECT pg_temp.rule(''bad'', %L)', p), message, p) FROM (VALUES
	('{"kind": "thresold"}', 'The rule "bad" can''t be evaluated: kind must be one of threshold, '
		'absent'),
	('{"metric": "cpu"}', 'metric must be one of cpu_percent'),
	('{"params": {"window_s": "an hour"}}', 'params.window_s must be a whole number from 1 to 2592000'),
	('{"params": []}', 'params must be an object'),
	('{"match": {}}', 'match is wrong: Matchers are a list of'),
	('{"match": [{"label": "app", "op": "=~", "value": "("}]}',
		'match is wrong: The expression "\(" of label app is'),
	('{"labels": ["a"]}', 'labels must be an object of short texts'),
	('{"kind": "count_firing", "metric": null, "params": {"of_rule": '
		'"00000000-0000-0000-0000-000000000000"}}',
		'params.of_rule names no rule'))
	v(p, message);
SELECT lives_ok('SELECT pg_temp.rule(''bad'', ''{"metric": "cpu", "is_active": false}'')',
	'a rule that is off may be incomplete');
SELECT throws_matching('UPDATE alert_rules SET is_active = true WHERE name = ''bad''',
	'metric must be one of',
	'until it is switched on');
DELETE FROM alert_rules WHERE name = 'bad';
SELECT throws_matching(format('INSERT INTO rule_patches (rule_id, match, changes) VALUES '
	'(md5(''cpu'')::uuid,
	''[{"label": "server", "op": "=", "value": "web-1"}]'', %L)', p), message, p) FROM (VALUES
	('{"warning": "high"}', 'override of the rule "cpu" can''t be applied: changes are wrong: warning '
		'must be a number'),
	('5', 'changes are wrong: they must be an object of the fields that differ'),
	('{"rule_id": "00000000-0000-0000-0000-000000000000"}', 'rule_id is not known; known are warning,'),
	('{"for_s": -5}', 'for_s must be a whole number from 0 to 2592000'),
	('{"no_data": "maybe"}', 'no_data must be one of keep, ok, alert, own'),
	('{"params": {}}', 'params is not known')) v(p, message);
SELECT throws_matching('INSERT INTO rule_patches (rule_id, match, changes) VALUES (md5(''cpu'')::uuid, '
	'''5'', ''{}'')',
	'match is wrong: Matchers are a list', 'matchers of an override');
SELECT throws_matching('INSERT INTO rule_patches (rule_id, match, changes) VALUES (md5(''x'')::uuid, '
	'''[]'', ''{}'')',
	'rule_id names no rule', 'of a rule that is not there');
INSERT INTO rule_patches (patch_id, rule_id, match, changes) VALUES (md5('patch')::uuid, md5('cpu')::uuid,
	'[]',
	'{"warning": 70}');
SELECT throws_matching('INSERT INTO rule_patches (rule_id, match, changes) VALUES (md5(''patch'')::uuid, '
	'''[]'', ''{}'')',
	'an override is of a rule, not of another override', 'overrides go one level');

-- ---- chains of rules ------------------------------------------------------------------------------------
DELETE FROM rule_patches;
SELECT pg_temp.rule('how many', jsonb_build_object('kind', 'count_firing', 'metric', NULL, 'op', '>=',
	'warning', 2,
	'params', jsonb_build_object('of_rule', md5('cpu')::uuid))) \g /dev/null
SELECT throws_matching(format('SELECT pg_temp.rule(''deeper'', %L)', jsonb_build_object('kind',
	'count_firing',
	'metric', NULL, 'params', jsonb_build_object('of_rule', md5('how many')::uuid))),
	'params.of_rule must not be a rule that counts alerts or errors itself: chains have one link only',
	'a rule may count the alerts of another, but not of one that counts');
SELECT throws_matching(format('UPDATE alert_rules SET params = %L WHERE name = ''how many''',
	jsonb_build_object('of_rule',
	md5('how many')::uuid)), 'must be another rule', 'nor its own');
SELECT throws_matching(format('UPDATE alert_rules SET kind = ''count_firing'', metric = NULL, params = %L
	WHERE name = ''cpu''', jsonb_build_object('of_rule', md5('how many')::uuid)),
	'kind must be another one: a rule counts the alerts of this one',
		'nor may that become such a rule');
SELECT pg_temp.load(90) \g /dev/null
SELECT is(pg_temp.go('00:01')->>'changes', '3', 'it counts what fires in the same evaluation');
DELETE FROM alert_rules WHERE name = 'cpu';
SELECT pg_temp.go('00:02') \g /dev/null
SELECT is((SELECT problem FROM rule_problems WHERE rule_id = md5('how many')::uuid),
	'the rule whose alerts it counts is not there', 'without that rule its evaluation fails');

-- ---- rules that fail all the same, for example of an old backup
-- --------------------------------------------
SELECT pg_temp.begin_at(), pg_temp.rule('cpu'), pg_temp.rule('own', '{"on_error": "own"}'),
	pg_temp.rule('tells', '{"kind": "rule_error", "metric": null, "op": ">=", "warning": 1}')
	\g /dev/null
SELECT pg_temp.rule('r' || n) FROM generate_series(1, 9) n \g /dev/null
SELECT pg_temp.go('00:01') \g /dev/null
ALTER TABLE alert_rules DISABLE TRIGGER check_rule;
ALTER TABLE rule_patches DISABLE TRIGGER check_patch;
UPDATE alert_rules SET params = '{"agg": "avg", "window_s": "x"}' WHERE name IN ('r1', 'own');
UPDATE alert_rules SET match = '{"a": 1}' WHERE name = 'r2';
UPDATE alert_rules SET match = '[{"label": "server", "op": "=~", "value": "("}]' WHERE name = 'r3';
UPDATE alert_rules SET labels = '"x"' WHERE name = 'r4';
UPDATE alert_rules SET kind = 'nonsense' WHERE name = 'r5';
INSERT INTO rule_patches (rule_id, match, changes) VALUES (md5('r6')::uuid, '[]', '{"warning": "x"}'),
	(md5('r7')::uuid, '"x"', '{"warning": 99}'), (md5('r8')::uuid, '[]', '[1]');
SELECT lives_ok('SELECT pg_temp.go(''00:02'')', 'rules that make no sense stop no evaluation');
SELECT pg_temp.load(10) \g /dev/null
SELECT pg_temp.go('00:03') \g /dev/null
SELECT is(pg_temp.history(r), '00:01 web-1 firing value; 00:03 web-1 resolved clear', r || ' goes on')
	FROM unnest('{cpu,r4,r6,r8,r9}'::text[]) r;
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM rule_problems JOIN alert_rules USING (rule_id)),
	'own r1 r2 r3 r5 r7', 'it is noted which fail');
SELECT is((SELECT string_agg(problem, '; ') FROM rule_problems
	WHERE problem !~ '^(invalid|cannot|there is no kind)'), NULL, 'and why');
SELECT is(pg_temp.history('own'), '00:01 web-1 firing value; 00:02 - error invalid input syntax for type '
	'double precision: '
	'"x"; 00:02 web-1 error invalid input syntax for type double precision: "x"',
		'on_error says what becomes of its alerts');
SELECT is(pg_temp.history('r1'), '00:01 web-1 firing value', 'or keeps them');
SELECT matches(rule_problem(md5('r1')::uuid), '^invalid input syntax',
	'which the page of the rule tells all the same');
SELECT matches(pg_temp.history('tells'), '^00:02 own firing value; 00:02 r1 firing value; 00:02 r2 firing '
	'value; .* r7 '
	'firing value$', 'one rule of the engine tells of them');
UPDATE alert_rules SET params = '{}' WHERE name = 'r1';
SELECT pg_temp.go('00:04') \g /dev/null
SELECT is(pg_temp.history('r1'), '00:01 web-1 firing value; 00:04 web-1 resolved clear',
	'a rule that is repaired goes on');
SELECT matches(pg_temp.history('tells'), '00:04 r1 resolved clear$', 'and that is told');
ALTER TABLE alert_rules ENABLE TRIGGER check_rule;
ALTER TABLE rule_patches ENABLE TRIGGER check_patch;

-- ---- rules that take too long ----------------------------------------------------------------------------
-- A metric that takes half a second for each row, and a statement that may take 0.7 s.
SELECT pg_temp.begin_at(), pg_temp.load(90), pg_temp.rule('cpu', '{"no_data": "alert"}'),
	pg_temp.rule('quick'),
	pg_temp.rule('slow', '{"metric": "load_per_core", "no_data": "alert", "on_error": "own"}'),
	pg_temp.rule('look', '{"metric": "load_per_core", "params": {"agg": "avg", "window_s": 86400}}'),
	pg_temp.rule('tells', '{"kind": "rule_error", "metric": null, "op": ">=", "warning": 1}') \g /dev/null
SAVEPOINT quick;
DO $$ BEGIN
	EXECUTE replace(pg_get_functiondef('alert_metrics()'::regprocedure), 'm.load_avg_5m /',
		'CASE WHEN pg_sleep(0.5) IS NOT NULL THEN m.load_avg_5m END /');
END $$;
SET LOCAL statement_timeout = '700ms';
SELECT is(pg_temp.go('00:01'), '{"again": true, "cut_off": true}',
	'a first look that takes too long is cut off');
SELECT is((SELECT string_agg(name, ' ') FROM slow_rules JOIN alert_rules USING (rule_id)), 'look',
	'and the rule that looks back furthest is to blame');
SELECT is(pg_temp.go('00:01'), '{"again": true, "cut_off": true}',
	'a query that several rules share is cut off');
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM slow_rules JOIN alert_rules USING (rule_id)),
	'cpu look slow', 'and they all are to blame, for now');
SELECT is(pg_temp.go('00:01') - 'away_until', '{"again": false, "alone": 3, "changes": 2, "rules": 5}',
	'the others are evaluated without them');
SELECT is(pg_temp.history('quick'), '00:01 web-1 firing value', 'on time');
SELECT evaluate_alone('2030-01-02 00:01:01Z') \g /dev/null
SELECT evaluate_alone('2030-01-02 00:01:01Z') \g /dev/null
SELECT is(evaluate_alone('2030-01-02 00:01:01Z'), 0::bigint, 'three calls, one for each of them');
SELECT is((SELECT string_agg(name, ' ') FROM slow_rules JOIN alert_rules USING (rule_id)
	WHERE due_at IS NOT NULL), NULL, 'each of them is evaluated by itself');
SELECT is(pg_temp.history('cpu'), '00:01 web-1 firing value', 'what shared a query was not slow');
SELECT is((SELECT string_agg(concat_ws(': ', name, p.problem), '; ' ORDER BY name)
	FROM rule_problems p JOIN alert_rules USING (rule_id)),
	'look: it took longer than 0.7 s and was stopped; it is tried again at 00:02 UTC; '
	'slow: it took longer than 0.7 s and was stopped; it is tried again at 00:02 UTC',
	'what takes too long by itself fails');
SELECT is(pg_temp.history('slow'), '00:01 - error it took longer than 0.7 s and was stopped; it is '
	'tried again at 00:02 UTC', 'as on_error says');
SELECT is(pg_temp.go('00:02')->>'alone', '1', 'before the next try they are not evaluated');
SELECT is(pg_temp.history('tells'), '00:02 look firing value; 00:02 slow firing value',
	'and count as failed');
SELECT is(pg_temp.go('00:03')->>'alone', '3', 'then they are tried again');
UPDATE alert_rules SET metric = 'cpu_percent' WHERE name = 'slow';
SELECT is(pg_temp.go('00:04')->>'alone', '2', 'a rule that was changed is evaluated with the others again');
SELECT is(pg_temp.history('slow'), '00:01 - error it took longer than 0.7 s and was stopped; it is '
	'tried again at 00:02 UTC; 00:04 web-1 firing value', 'and is well');
DELETE FROM slow_rules;
SELECT pg_temp.begin_at(), pg_temp.rule('slow', '{"metric": "load_per_core", "no_data": "alert"}')
	\g /dev/null
SET LOCAL statement_timeout = '3s';
SELECT is(pg_temp.go('00:03') - 'away_until', '{"again": true, "alone": 0, "changes": 2, "rules": 1}',
	'several times that take long are several calls');
SELECT is((SELECT evaluated_until FROM alert_clock), '2030-01-02 00:01Z', 'and none of them is left out');
SET LOCAL statement_timeout = 0;
ROLLBACK TO quick;

-- ---- answers of an operator's SELECT
-- -------------------------------------------------------------------------
CREATE FUNCTION pg_temp.answer(p_rows jsonb, p_problem text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS
	$$
BEGIN
	PERFORM pg_temp.begin_at(), pg_temp.rule('sql',
		'{"kind": "sql", "metric": null, "params": {"sql": "SELECT 1"}}'),
		pg_temp.rule('other'), external_values(md5('sql')::uuid, '2030-01-02 00:01Z', p_rows,
			p_problem);
	PERFORM pg_temp.go('00:01');
	RETURN concat_ws(' / ', coalesce(pg_temp.history('sql'), 'nothing'), (SELECT problem FROM
		rule_problems));
END $$;
SELECT pg_temp.load(90) \g /dev/null
SELECT is(pg_temp.answer(rows, problem), expect, message) FROM (VALUES
	('[{"subject": {"x": "a"}, "value": 90}, {"subject": {"x": "b"}, "value": 9}]'::jsonb, NULL,
		'00:01 a firing value', 'a value of each row'),
	('[{"subject": {"x": "a"}, "value": "NaN"}]', NULL, 'nothing', 'NaN is beyond nothing'),
	('[{"subject": {"x": "a"}, "value": "Infinity"}, {"subject": {"x": "b"}, "value": "-Infinity"}]',
		NULL,
		'00:01 a firing value', 'infinity is beyond all'),
	('[{"subject": {"x": "a"}, "value": null}]', NULL, 'nothing', 'NULL is no data'),
	('[{"subject": {"x": "a"}}]', NULL, 'nothing', 'so is none'),
	('[]', NULL, 'nothing', 'no rows are no subjects'),
	('[{"subject": {"x": "a"}, "value": 90}, {"subject": {"x": "a"}, "value": 91}]', NULL,
		'nothing / two rows of the answer have the same labels: {"x": "a"}', 'a subject twice'),
	('[{"subject": {"x": "a"}, "value": "much"}]', NULL,
		'nothing / the answer is not understood: invalid input syntax for type double precision: '
			'"much"', 'no number'),
	('{"x": 1}', NULL, 'nothing / the answer is no list of rows', 'no list'),
	(NULL, 'canceling statement due to statement timeout',
		'nothing / canceling statement due to statement timeout',
		'a query that took too long'),
	((SELECT jsonb_agg(jsonb_build_object('subject', jsonb_build_object('x', n), 'value', 90))
		FROM generate_series(1, 100000) n), NULL,
			'nothing / the answer has 100000 rows, more than 1000', 'too many rows'))
	v(rows, problem, expect, message);
SELECT is((SELECT count(*) FROM alerts WHERE rule_id = md5('other')::uuid), 2::bigint,
	'other rules go on beside it');

-- ---- rules that change while they have alerts
-- -----------------------------------------------------------------
CREATE FUNCTION pg_temp.changed(p_for_s int, p_change text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.load(90), pg_temp.begin_at(), pg_temp.rule('cpu', jsonb_build_object('for_s',
		p_for_s));
	PERFORM pg_temp.go('00:01');
	EXECUTE p_change;
	PERFORM pg_temp.go('00:02'), pg_temp.go('00:03');
	RETURN pg_temp.history('cpu');
END $$;
SELECT is(pg_temp.changed(for_s, change), CASE for_s WHEN 0 THEN '00:01 web-1 firing value' || firing
	ELSE '00:01 ' || coalesce(pending, 'web-1 pending value') END, change || ' with for_s ' || for_s)
FROM unnest('{0,600}'::int[]) for_s, (VALUES
	('UPDATE alert_rules SET is_active = false', '; 00:02 web-1 resolved rule',
		'- pending value; 00:02 - inactive rule'),
	('DELETE FROM alert_rules', '; 00:02 web-1 resolved rule',
		'- pending value; 00:02 - inactive rule'),
	('UPDATE alert_rules SET name = ''renamed''', '', NULL),
	('UPDATE alert_rules SET warning = 95', '; 00:02 web-1 resolved clear',
		'- pending value; 00:02 - inactive clear'),
	('UPDATE alert_rules SET critical = 85', '; 00:02 web-1 firing severity',
		'web-1 pending value; 00:02 web-1 pending severity'),
	('UPDATE alert_rules SET metric = ''memory_percent''', '; 00:02 web-1 resolved no data',
		'- pending value; 00:02 - inactive no data'),
	('UPDATE alert_rules SET match = ''[{"label": "server", "op": "=", "value": "web-2"}]''',
		'; 00:03 web-1 resolved missing', '- pending value; 00:03 - inactive missing'),
	('UPDATE alert_rules SET kind = ''heartbeat'', metric = NULL', '; 00:03 web-1 resolved missing',
		'- pending value; 00:03 - inactive missing'),
	('UPDATE alert_rules SET interval_s = 30', '', NULL),
	('INSERT INTO rule_patches (rule_id, match, changes) VALUES (md5(''cpu'')::uuid, ''[]'', '
		'''{"is_active": false}'')',
		'; 00:02 web-1 resolved rule', '- pending value; 00:02 - inactive rule')) v(change,
			firing, pending);
SELECT pg_temp.changed(0, 'UPDATE alert_rules SET name = ''renamed''') \g /dev/null
SELECT is((SELECT DISTINCT labels->>'rule' FROM alerts), 'renamed',
	'the labels of an alert have the new name');

-- ---- times that jump
-- ---------------------------------------------------------------------------------------------
-- How many rules are evaluated, and how many messages are made, after a jump. All is bounded.
SELECT pg_temp.begin_at(), pg_temp.rule('cpu', '{"interval_s": 1}') \g /dev/null
SELECT pg_temp.go('00:01') \g /dev/null
SELECT cmp_ok((evaluate_alerts(p_now)->>'rules')::int, '<=', 1, 'a jump to ' || p_now)
	FROM unnest('{2035-01-01Z,2001-01-01Z,2099-12-31Z,2030-01-02 00:01Z}'::timestamptz[]) p_now;
UPDATE alert_clock SET evaluated_until = '-infinity', away_since = NULL, away_until = NULL;
SELECT cmp_ok((pg_temp.go('00:02')->>'rules')::int, '<=', 1, 'a clock that never ran');
UPDATE alert_clock SET evaluated_until = 'infinity', away_since = NULL, away_until = NULL;
SELECT cmp_ok((pg_temp.go('00:03')->>'rules')::int, '<=', 1, 'one that is at the end of time');

-- Alerts and groups of years ago: of an import, or of a backup that is restored.
CREATE FUNCTION pg_temp.old_alert() RETURNS void LANGUAGE sql AS $$
	DELETE FROM alert_groups; DELETE FROM group_alerts; DELETE FROM group_told; DELETE FROM
		notifications;
	INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since,
		fired_at, warning_since,
		warning_fires, last_levels, value, evaluated_at)
	SELECT md5('cpu')::uuid, md5(s::text)::uuid, s, s || '{"rule": "cpu"}', 'firing', 'warning', t, t,
		t, true, 1, 90, t
	FROM (SELECT '{"server": "web-1"}'::jsonb AS s, '2020-01-01Z'::timestamptz AS t) x $$;
SELECT pg_temp.begin_at(), pg_temp.rule('cpu'), pg_temp.old_alert() \g /dev/null
INSERT INTO channels (name, kind) VALUES ('old', 'webhook');
UPDATE notify_state SET flushed_until = '-infinity';
SELECT pg_temp.go('00:01'), pg_temp.go('00:02') \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM notifications), '<=', 2::bigint,
	'an import of old alerts makes no flood');
SELECT cmp_ok((SELECT min(flush_at) FROM alert_groups), '>', '2030-01-02 00:01Z', 'nor steps of years');
UPDATE alert_groups SET flush_at = '2020-01-01Z';
UPDATE notify_state SET flushed_until = '2020-01-01Z';
SELECT pg_temp.go('00:03') \g /dev/null
SELECT cmp_ok((SELECT min(flush_at) FROM alert_groups), '>', '2030-01-02 00:03Z', 'nor does an old backup');
SELECT is((SELECT flushed_until FROM notify_state), '2030-01-02 00:03Z', 'all is up to date');
SELECT * FROM finish();
ROLLBACK;
