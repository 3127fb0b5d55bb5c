-- The rules that are there from the start: what they judge, and that an upgrade respects what people did.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SELECT is((SELECT count(*) FROM alert_rules WHERE builtin IS NOT NULL), (SELECT count(*) FROM
	wanted_defaults()),
	'they are installed');
SELECT is_empty('SELECT r.builtin, e FROM alert_rules r, jsonb_array_elements(param_errors(r.kind, r.metric,
	r.params)
	|| rule_errors(r)) e', 'they are valid rules');
SELECT is_empty('SELECT r.builtin, k.op, r.op FROM alert_rules r JOIN alert_kinds k USING (kind)
	WHERE left(k.op, 1) <> left(r.op, 1)', 'and look the way of their kind');
SELECT results_eq($$SELECT builtin, warning, warning_clear, critical, critical_clear FROM alert_rules
	WHERE builtin IN ('cpu', 'iowait', 'steal', 'memory', 'swap', 'disk', 'inodes', 'load',
		'certificate', 'skew')
	ORDER BY 1$$, $$VALUES ('certificate', 14::float8, NULL::float8, 7::float8, NULL::float8),
	('cpu', 85, 75, 95, 85), ('disk', 90, 80, 98, 90), ('inodes', 90, 80, NULL, NULL), ('iowait', 20, 10,
		NULL, NULL),
	('load', 2, 1.75, NULL, NULL), ('memory', 90, 80, 98, 90), ('skew', 5, NULL, 60, NULL), ('steal', 10,
		5, NULL, NULL),
	('swap', 80, 60, NULL, NULL)$$, 'with the thresholds of the manual');
SELECT is(make_default_rules(), 0::bigint, 'a second run changes nothing');

-- An older schema.sql had other thresholds for three rules, and a rule fewer.
UPDATE alert_rules SET warning = 50 WHERE builtin IN ('cpu', 'memory', 'swap');
UPDATE default_rules d SET made = rule_made(r) FROM alert_rules r WHERE r.builtin = d.builtin;
DELETE FROM default_rules WHERE builtin = 'lag';
DELETE FROM alert_rules WHERE builtin IN ('lag', 'reboot');
-- Meanwhile people changed one of them, switched one off, and deleted one.
UPDATE alert_rules SET warning = 60 WHERE builtin = 'memory';
UPDATE alert_rules SET is_active = false WHERE builtin = 'swap';
SELECT is(make_default_rules(), 4::bigint, 'an upgrade deals with those');
SELECT is((SELECT warning FROM alert_rules WHERE builtin = 'cpu'), 85::float8, 'what nobody changed is new');
SELECT is((SELECT warning FROM alert_rules WHERE builtin = 'memory'), 60::float8,
	'what somebody changed is kept');
SELECT is((SELECT (warning, is_active)::text FROM alert_rules WHERE builtin = 'swap'), '(50,f)',
	'or switched off');
SELECT is((SELECT count(*) FROM alert_rules WHERE builtin = 'reboot'), 0::bigint,
	'what was deleted stays away');
SELECT is((SELECT count(*) FROM alert_rules WHERE builtin = 'lag'), 1::bigint, 'what is new is made');
SELECT is(make_default_rules(), 0::bigint, 'and nothing is left to do');
DELETE FROM default_rules WHERE builtin = 'lag';
UPDATE alert_rules SET builtin = NULL, critical = 7 WHERE builtin = 'lag';
SELECT make_default_rules() \g /dev/null
SELECT is((SELECT critical FROM alert_rules WHERE name = 'Delivery late'), 7::float8,
	'a rule of the same name that somebody made is left alone');

-- ---- one server that has all these troubles, and one that has none ------------------------------------
DELETE FROM alert_rules;
DELETE FROM default_rules;
SELECT make_default_rules() \g /dev/null
CREATE FUNCTION pg_temp.at(s float8) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT '2026-01-05T12:00:00Z'::timestamptz + make_interval(secs => s) $$;
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s, skew_ms, state)
	SELECT v, 'shop', 1, pg_temp.at(-864000), pg_temp.at(0), 60, CASE v WHEN 'ill' THEN -61000 ELSE 10
		END,
		jsonb_build_object('tail', jsonb_build_object('lag_s', CASE v WHEN 'ill' THEN 4000 ELSE 0
			END))
	FROM unnest('{ill,well}'::text[]) v;
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s) VALUES
	('gone', 'shop', 1, pg_temp.at(-864000), pg_temp.at(-400), 60);
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent, cpu_iowait_percent,
		cpu_steal_percent, memory_percent, swap_percent, load_avg_5m, cpu_count, uptime_s, details)
	SELECT pg_temp.at(-60 * n), pg_temp.at(-60 * n), v, 'shop', x * 0.96, x * 0.3, x * 0.2, x * 0.99, x *
		0.9, x / 10, 4,
		CASE WHEN v = 'ill' AND n < 5 THEN 600 - 60 * n ELSE 1e6 - 60 * n END,
		jsonb_build_object('mounts', jsonb_build_array(jsonb_build_object('mount', '/srv', 'percent',
			x * 0.99, 'inode_percent', x * 0.95), jsonb_build_object('mount', '/', 'percent', 50,
			'inode_percent', 50, 'read_only', false), jsonb_build_object('mount', '/usr',
			'percent', 100, 'inode_percent', 100, 'read_only', true)))
	FROM (VALUES ('ill', 100.0::float8), ('well', 10)) v(v, x), generate_series(0, 15) n;
-- The root file system stays as it is, another one fills on one of the servers.
INSERT INTO metrics_1h (vps_name, app_name, "timestamp", samples, mounts) SELECT v, 'shop',
	pg_temp.at(-3600 * n), 60, jsonb_build_object('/', 50, '/srv', x - n * x / 20)
	FROM (VALUES ('ill', 90), ('well', 10)) v(v, x), generate_series(0, 6) n;
INSERT INTO metrics_5m (vps_name, app_name, "timestamp", samples, mounts) SELECT v, 'shop',
	pg_temp.at(-300 * n), 5, CASE WHEN n % 3 = 0
		THEN jsonb_build_object('/', 50, '/srv', x - n * x / 100) END
	FROM (VALUES ('ill', 90), ('well', 10)) v(v, x), generate_series(0, 12) n;
INSERT INTO health_checks ("timestamp", received_at, vps_name, app_name, url, success, response_time_ms,
	interval_s,
		cert_expires_at, cert_starts_at)
	SELECT pg_temp.at(-60 * n), pg_temp.at(-60 * n), v, 'shop', url, v = 'well', CASE v WHEN 'ill' THEN
		3000 ELSE 30 END, 60,
		pg_temp.at(86400 * CASE v WHEN 'ill' THEN 2 ELSE 40 END), pg_temp.at(-86400 * CASE url WHEN
			'https://short' THEN 20
		ELSE 80 END)
	FROM unnest('{ill,well}'::text[]) v, unnest('{https://short,https://long}'::text[]) url,
		generate_series(0, 10) n
	WHERE v = 'ill' OR url = 'https://long';
INSERT INTO latest_checks SELECT DISTINCT vps_name, app_name, md5(url)::uuid, url, pg_temp.at(0), success,
	NULL, 60
	FROM health_checks;
INSERT INTO log_entries ("timestamp", received_at, vps_name, app_name, level, message)
	SELECT pg_temp.at(-n), pg_temp.at(-n), v, 'shop', CASE WHEN v = 'ill' THEN 'ERROR' ELSE 'INFO' END,
		'm'
	FROM unnest('{ill,well}'::text[]) v, generate_series(0, 99) n;
INSERT INTO log_patterns VALUES ('ill', 'shop', gen_random_uuid(), 'ERROR', 'm', pg_temp.at(-9),
	pg_temp.at(0),
	pg_temp.at(-9), 1);
INSERT INTO gaps ("timestamp", vps_name, app_name, kind, lines, received_at)
	VALUES (pg_temp.at(0), 'ill', 'shop', 'x', 7, pg_temp.at(-10));
INSERT INTO rejects ("timestamp", vps_name, app_name, received_at) VALUES (pg_temp.at(0), 'ill', 'shop',
	pg_temp.at(0));
DELETE FROM job_runs;
INSERT INTO job_runs VALUES ('maintain', pg_temp.at(-140000), pg_temp.at(-140000), true, '');
INSERT INTO heartbeats (name, every_s, grace_s, created_at) VALUES ('job', 60, 0, pg_temp.at(-99));
CREATE TEMP TABLE hits AS SELECT r.builtin, v.subject, v.value FROM (SELECT array_agg(r ORDER BY builtin) AS l
	FROM alert_rules r) x, relevant_values(l, pg_temp.at(0)) v, LATERAL (SELECT (l[place]).*) r
	WHERE CASE left(r.op, 2) WHEN '>=' THEN v.value >= least(r.warning, r.critical)
		WHEN '<' THEN v.value < greatest(r.warning, r.critical) ELSE v.value > least(r.warning,
			r.critical) END;
SELECT is((SELECT string_agg(DISTINCT builtin, ' ' ORDER BY builtin) FROM hits WHERE subject->>'server' =
	'ill'),
	(SELECT string_agg(builtin, ' ' ORDER BY builtin) FROM wanted_defaults()
		WHERE builtin NOT IN ('agent', 'fleet', 'maintain', 'heartbeat', 'rule')),
			'each rule finds its trouble');
SELECT is((SELECT string_agg(concat(builtin, subject), ' ' ORDER BY builtin) FROM hits
	WHERE subject->>'server' IS DISTINCT FROM 'ill'),
	'agent{"app": "shop", "server": "gone"} heartbeat{"heartbeat": "job"} maintain{"job": "maintain"}',
	'and nothing where there is none');
SELECT is((SELECT string_agg(builtin || subject, ' ' ORDER BY builtin) FROM hits
	WHERE builtin IN ('disk', 'disk_24h', 'disk_4h', 'inodes')),
	'disk{"mount": "/srv", "server": "ill"} disk_24h{"mount": "/srv", "server": "ill"} '
	'disk_4h{"mount": "/srv", "server": "ill"} inodes{"mount": "/srv", "server": "ill"}',
	'the file system that fills, whichever it is, and none that is read-only');
SELECT is_empty($$SELECT r.builtin, v.subject, v.value FROM alert_rules r, rule_values(r, pg_temp.at(0)) v
	WHERE CASE left(r.op, 2) WHEN '>=' THEN v.value >= least(r.warning, r.critical)
		WHEN '<' THEN v.value < greatest(r.warning, r.critical) ELSE v.value > least(r.warning,
			r.critical) END
	EXCEPT SELECT * FROM hits$$, 'to look at all subjects finds no more');
UPDATE agents SET last_seen_at = pg_temp.at(-300);
SELECT is((SELECT v.value FROM alert_rules r, rule_values(r, pg_temp.at(0)) v WHERE builtin = 'fleet'),
	300::float8,
	'the silence of all is one alert');

-- ---- a new server ---------------------------------------------------------------------------------------
SELECT is_empty($$SELECT builtin FROM alert_rules 
	WHERE params->>'agg' IN ('avg', 'predict') AND for_s < 120$$,
	'a rule over a window waits: a window has any number of samples');
DELETE FROM alerts; DELETE FROM alert_changes; DELETE FROM vps_metrics;
DELETE FROM alert_rules WHERE kind <> 'threshold';
UPDATE alert_clock SET evaluated_until = pg_temp.at(0), away_since = NULL, away_until = NULL;
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s) VALUES
	('new', 'shop', 1, pg_temp.at(0), pg_temp.at(1200), 60);
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent, cpu_iowait_percent,
		cpu_steal_percent, memory_percent, swap_percent, load_avg_5m, cpu_count)
	SELECT pg_temp.at(60 * n - 5), pg_temp.at(60 * n - 5), 'new', 'shop', 100, 50, 50, 92, 100, 8, 2
	FROM generate_series(1, 20) n;
-- When each rule began to fire, after so many minutes.
CREATE FUNCTION pg_temp.fires(p_until int) RETURNS text LANGUAGE sql AS $$
	SELECT evaluate_alerts(pg_temp.at(60 * n)) FROM generate_series(1, p_until) n;
	SELECT string_agg(format('%s %s', builtin, extract(epoch FROM at - pg_temp.at(0))::int / 60), ', '
		ORDER BY builtin)
	FROM (SELECT builtin, min(c.at) AS at FROM alert_changes c JOIN alerts a USING (alert_id)
		JOIN alert_rules r ON r.rule_id = a.rule_id
		WHERE c.to_state = 'firing' AND a.subject->>'server' = 'new'
		GROUP BY 1) f $$;
SELECT is(pg_temp.fires(2), NULL, 'the first samples of a server that is busy raise no alert');
SELECT is((SELECT string_agg(builtin, ' ' ORDER BY builtin) FROM alerts JOIN alert_rules USING (rule_id)
	WHERE state = 'pending' AND subject->>'server' = 'new'), 'cpu iowait load memory steal swap',
	'they wait');
SELECT is(pg_temp.fires(10), 'cpu 6, iowait 6, load 6, memory 3, steal 6, swap 6', 'and fire in time');
SELECT * FROM finish();
ROLLBACK;
