-- The engine of the alerts: alert_step(), levels, policies, absence, patches, retired servers. tests/alerts
-- replays many more cases.
BEGIN;
SELECT no_plan();
SET LOCAL timezone = 'UTC';
DELETE FROM alert_rules;
UPDATE alert_policy SET catch_up_s = 300, settle_s = 120, grace_s = 600, tolerance_s = 3600;

-- Runs alert_step() over values, one a minute; NULL is a value that is missing. A letter for each state, in
-- capitals if it is critical: p pending, f firing, e error, r resolved, - nothing.
CREATE FUNCTION pg_temp.walk(p_rule jsonb, p_values float8[], p_problem text DEFAULT 'no data')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r alert_rules := jsonb_populate_record(NULL::alert_rules, '{"op": ">", "for_s": 0, "keep_firing_s": 0,
		"no_data": "keep", "on_error": "keep"}' || p_rule);
	a alerts;
	ret text := '';
	v_at timestamptz := '2030-01-01Z';
BEGIN
	FOR i IN 1 .. cardinality(p_values) LOOP
		IF a.state IS NULL OR a.state = 'resolved' THEN
			a := new_alert(gen_random_uuid(), gen_random_uuid(), '{}', v_at);
		END IF;
		a := alert_step(a, p_values[i], CASE WHEN p_values[i] IS NULL THEN p_problem END, r, v_at);
		ret := ret || coalesce(CASE a.severity WHEN 'critical' THEN upper(left(a.state, 1))
			ELSE left(a.state, 1) END, '-');
		v_at := v_at + interval '1 minute';
	END LOOP;
	RETURN ret;
END $$;

-- ---- levels ------------------------------------------------------------------------------------
\set both '{"warning": 80, "warning_clear": 70, "critical": 95, "critical_clear": 85}'
SELECT is(pg_temp.walk(:'both', '{10,81,96,90,84,75,69,10}'), '-fFFffr-',
	'an alert escalates, and both levels clear at their own values');
SELECT is(pg_temp.walk(:'both', '{99,60}'), 'FR', 'it may begin as critical');
SELECT is(pg_temp.walk(:'both' || '{"for_s": 120}'::jsonb, '{81,81,96,96,96,90,84}'), 'ppffFFf',
	'each level waits on its own');
SELECT is(pg_temp.walk('{"critical": 5, "for_s": 60}', '{6,6,1}'), 'PFR', 'a rule may have no warning');
SELECT is(pg_temp.walk('{"warning": 20, "critical": 10, "op": "<"}', '{30,15,5,15,30}'), '-fFfr',
	'less may be worse');
SELECT is(pg_temp.walk('{"warning": 5, "keep_firing_s": 120}', '{6,1,1,6,1,1,1}'), 'ffffffr',
	'keep_firing_s bridges short recoveries');
SELECT is(pg_temp.walk('{"warning": 5, "for_s": 60, "keep_firing_s": 600}', '{6,1,6}'), 'p-p',
	'but keeps nothing that only waits');
SELECT is(pg_temp.walk('{"warning": 5}', '{NaN,6,NaN}'), '-fr', 'NaN is beyond nothing');
SELECT is(pg_temp.walk('{"warning": 5}', '{Infinity}'), 'f', 'infinity is');

-- ---- values that are missing -----------------------------------------------------------------------
SELECT is(pg_temp.walk('{"warning": 5}', '{NULL,6,NULL,NULL,1,NULL}'), '-fffr-', 'keep: as before');
SELECT is(pg_temp.walk('{"warning": 5, "no_data": "ok"}', '{6,NULL}'), 'fr', 'ok: as healthy');
SELECT is(pg_temp.walk('{"warning": 5, "no_data": "alert", "for_s": 60}', '{NULL,NULL,1}'), 'pfr',
	'alert: as unhealthy');
SELECT is(pg_temp.walk('{"warning": 5, "on_error": "own", "for_s": 60}', '{6,NULL,6,6}', 'bad query'), 'pepf',
	'own: a state of its own, and what waited starts anew');
SELECT is(pg_temp.walk('{"warning": 5}', '{6,NULL,6,NULL,NULL}', 'missing'), 'ffffr',
	'a subject that is gone twice in a row ends its alert');
SELECT is(pg_temp.walk('{"warning": 80, "critical": 95, "no_data": "keep"}', '{96,NULL,81}'), 'FFf',
	'what is kept has its level');

-- ---- rules -----------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.wrong(p_rule jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(e->>'field', ',') FROM jsonb_array_elements(rule_errors(jsonb_populate_record(
		NULL::alert_rules, '{"op": ">"}' || p_rule))) e $$;
SELECT is(pg_temp.wrong(:'both'), NULL, 'a rule that holds together');
SELECT is(pg_temp.wrong('{}'), 'warning', 'one without a level');
SELECT is(pg_temp.wrong('{"warning": 80, "warning_clear": 90}'), 'warning_clear', 'one that clears beyond');
SELECT is(pg_temp.wrong('{"warning": 80, "critical": 70}'), 'critical', 'critical that is milder');
SELECT is(pg_temp.wrong('{"warning": 10, "critical": 5, "op": "<"}'), NULL, 'not if less is worse');
SELECT is(pg_temp.wrong('{"warning": "NaN"}'), 'warning', 'a level that is no number');

SELECT is((SELECT string_agg(metric, ', ') FROM alert_metrics() WHERE metric_unit(metric) IS NULL), NULL,
	'each metric of a rule has a unit');
SELECT is(metric_unit('app_cpu_percent'), '% of 1 core', 'which is the one that METRICS names');

-- ---- a fleet ----------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.sample(p_vps text, p_at timestamptz, p_value float8, p_app text DEFAULT 'shop',
	p_late interval DEFAULT '0', p_backfill boolean DEFAULT false) RETURNS void LANGUAGE sql AS $$
	INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent, backfill)
		VALUES (p_at, p_at + p_late, p_vps, p_app, p_value, p_backfill) $$;
CREATE FUNCTION pg_temp.history() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', to_char(at, 'HH24:MI'), a.subject->>'server', to_state, c.severity,
		c.reason), '; ' ORDER BY c.at, a.subject->>'server', c.id)
	FROM alert_changes c LEFT JOIN alerts a USING (alert_id) $$;
CREATE FUNCTION pg_temp.begin_at(p_at timestamptz) RETURNS void LANGUAGE sql AS $$
	DELETE FROM alerts; DELETE FROM alert_changes; DELETE FROM vps_metrics; DELETE FROM rule_patches;
	UPDATE alert_clock SET evaluated_until = p_at, away_since = NULL, away_until = NULL $$;
INSERT INTO agents (vps_name, app_name, epoch, interval_s, first_seen_at, last_seen_at)
	SELECT v, a, 1, 60, '2030-01-01Z', '2030-01-02Z' FROM unnest('{web-1,web-2}'::text[]) v,
		unnest('{shop,blog}'::text[]) a;
INSERT INTO alert_rules (name, kind, metric, warning, critical, for_s)
	VALUES ('cpu', 'threshold', 'cpu_percent', 80, 95, 60);

SELECT pg_temp.begin_at('2030-01-02 00:00Z');
SELECT pg_temp.sample('web-1', '2030-01-02 00:01Z', 90, a) FROM unnest('{shop,blog}'::text[]) a;
SELECT pg_temp.sample('web-1', '2030-01-02 00:02Z', 96, 'blog');
SELECT is(evaluate_alerts('2030-01-02 00:03:30Z') - '{away_until,again,alone}'::text[],
	'{"rules": 3, "changes": 3}', 'evaluate_alerts() makes up for what is due');
SELECT is(pg_temp.history(), '00:01 web-1 pending warning value; 00:02 web-1 firing warning value; '
	'00:03 web-1 firing critical severity', 'two applications on one server are one subject');
SELECT throws_ok($$INSERT INTO alerts SELECT (jsonb_populate_record(a, '{"alert_id":
	"00000000-0000-0000-0000-000000000001"}')).* FROM alerts a$$, '23505', NULL,
	'a rule and a subject have one open alert');

SELECT pg_temp.begin_at('2030-01-02 00:00Z');
SELECT pg_temp.sample('web-1', '2030-01-02 00:01Z', 90, p_late => '150 s');
SELECT pg_temp.sample('web-2', '2030-01-02 00:01Z', 90, p_backfill => true);
SELECT evaluate_alerts('2030-01-02 00:05Z') \g /dev/null
SELECT is(pg_temp.history(), '00:04 web-1 pending warning value; 00:05 web-1 firing warning value',
	'late data count from their arrival, backfilled ones never');

SELECT pg_temp.begin_at('2030-01-02 00:00Z');
INSERT INTO rule_patches (rule_id, position, match, changes) SELECT rule_id, 1,
	'[{"label": "server", "op": "=", "value": "web-1"}]', '{"warning": 99, "critical": null}'
	FROM alert_rules;
INSERT INTO rule_patches (rule_id, position, match, changes) SELECT rule_id, 2,
	'[{"label": "server", "op": "=~", "value": "web-.*"}]', '{"for_s": 0}' FROM alert_rules;
SELECT pg_temp.sample(v, '2030-01-02 00:01Z', 90) FROM unnest('{web-1,web-2}'::text[]) v;
SELECT evaluate_alerts('2030-01-02 00:01Z') \g /dev/null
SELECT is(pg_temp.history(), '00:01 web-2 firing warning value', 'the first patch that matches counts');
UPDATE rule_patches SET changes = '{"is_active": false}' WHERE position = 2;
SELECT evaluate_alerts('2030-01-02 00:02Z') \g /dev/null
SELECT is(pg_temp.history(), '00:01 web-2 firing warning value; 00:02 web-2 resolved warning rule',
	'a patch may switch the rule off for a server');

SELECT pg_temp.begin_at('2030-01-02 00:00Z');
SELECT pg_temp.sample(v, '2030-01-02 00:01Z', 90) FROM unnest('{web-1,web-2}'::text[]) v;
SELECT evaluate_alerts('2030-01-02 00:02Z') \g /dev/null
UPDATE agents SET retired_at = '2030-01-02 00:02:30Z' WHERE vps_name = 'web-1';
SELECT evaluate_alerts('2030-01-02 00:03Z') \g /dev/null
UPDATE alert_rules SET is_active = false;
SELECT evaluate_alerts('2030-01-02 00:04Z') \g /dev/null
SELECT matches(pg_temp.history(), '00:03 web-1 resolved warning retired; 00:04 web-2 resolved warning rule$',
	'a server that retires and a rule that is switched off end their alerts');
UPDATE alert_rules SET is_active = true;
UPDATE agents SET retired_at = NULL;

-- ---- absence ------------------------------------------------------------------------------------------
SELECT pg_temp.begin_at('2030-01-02 00:00Z');
SELECT pg_temp.sample('web-1', '2030-01-02 00:01Z', 90);
SELECT evaluate_alerts('2030-01-02 00:01Z') \g /dev/null
SELECT is(evaluate_alerts('2030-01-02 00:31Z')->>'away_until', '2030-01-02T00:33:00+00:00',
	'after an absence nobody is judged for a while');
SELECT pg_temp.sample('web-1', '2030-01-02 00:32Z', 90);
SELECT is(evaluate_alerts('2030-01-02 00:32:30Z')->>'rules', '0', 'really');
SELECT evaluate_alerts('2030-01-02 00:33Z') \g /dev/null
SELECT is((SELECT state || ' ' || to_char(active_since, 'HH24:MI') FROM alerts), 'pending 00:33',
	'then what waited goes on, without the time away');
SELECT is(evaluate_alerts('2030-01-01 23:00Z')->>'away_until', '2030-01-01T23:02:00+00:00',
	'a clock that is set back is an absence, too');

-- Nobody in the fleet is heard: one alert about ourselves, and none about the servers.
DELETE FROM alert_rules;
INSERT INTO alert_rules (name, kind, op, warning, interval_s)
	VALUES ('silent', 'agent_state', '>=', 1, 60), ('fleet', 'fleet_silent', '>', 180, 60);
SELECT pg_temp.begin_at('2030-01-02 00:00Z');
UPDATE agents SET last_seen_at = '2030-01-02 00:00Z';
SELECT evaluate_alerts('2030-01-02 00:05Z'), evaluate_alerts('2030-01-02 00:09Z') \g /dev/null
UPDATE agents SET last_seen_at = '2030-01-02 00:09:30Z' WHERE vps_name = 'web-1';
SELECT evaluate_alerts('2030-01-02 00:11Z') \g /dev/null
UPDATE agents SET last_seen_at = '2030-01-02 00:11:30Z' WHERE app_name = 'shop';
SELECT evaluate_alerts('2030-01-02 00:13Z') \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', to_char(at, 'HH24:MI'), r.name, subject->>'server',
	subject->>'app', to_state), '; ' ORDER BY c.at, subject)
	FROM alert_changes c JOIN alerts USING (alert_id)
	JOIN alert_rules r ON r.rule_id = c.rule_id),
	'00:04 fleet firing; 00:10 fleet resolved; 00:12 silent web-2 blog firing',
	'the silence of the fleet is one alert, and after it the servers get time');

SELECT * FROM finish();
ROLLBACK;
