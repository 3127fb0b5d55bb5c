-- The views for people and Grafana: the same rows as their tables, with a column "time".
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent)
	VALUES (now(), 'v', 'a', 1), (now(), 'v', 'b', 2);
INSERT INTO health_checks ("timestamp", vps_name, app_name, url, success)
	VALUES (now(), 'v', 'a', 'http://x/', true);
INSERT INTO log_entries ("timestamp", vps_name, app_name, level, message)
	SELECT now(), 'v', 'a', 'INFO', 'm' FROM generate_series(1, 3);
INSERT INTO gaps ("timestamp", vps_name, app_name, kind) VALUES (now(), 'v', 'a', 'flood');
INSERT INTO metrics_5m ("timestamp", vps_name, app_name, samples) VALUES (now(), 'v', 'a', 1);
INSERT INTO metrics_1h ("timestamp", vps_name, app_name, samples)
	VALUES (now(), 'v', 'a', 1), (now(), 'v', 'b', 1);
CREATE FUNCTION pg_temp.rows(p_view text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	ret bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM %I WHERE "time" = "timestamp" AND vps_name = ''v''',
	p_view) INTO ret;
	RETURN ret;
END $$;
SELECT is(pg_temp.rows(v), n, v || ' has the rows of its table')
	FROM (VALUES ('v_metrics', 2::bigint), ('v_checks', 1),
	('v_logs', 3), ('v_gaps', 1), ('v_metrics_5m', 1), ('v_metrics_1h', 2)) x(v, n);
SELECT is((SELECT sum(cpu_percent) FROM v_metrics WHERE vps_name = 'v'), 3::double precision,
	'v_metrics has the metrics');
UPDATE metrics_5m SET cpu_percent_avg = 4, cpu_percent_min = 3, cpu_percent_max = 5, samples = 9
	WHERE vps_name = 'v';
SELECT is((SELECT array_agg(DISTINCT metric ORDER BY metric) FROM v_series
		WHERE vps_name = 'v' AND step_s = s),
	(SELECT array_agg(c ORDER BY c) FROM unnest(rollup_columns()) c),
	format('v_series has each metric, step %s', s))
	FROM (VALUES (0), (300), (3600)) v(s);
SELECT results_eq('SELECT step_s, app_name, samples, avg, min, max FROM v_series
	WHERE vps_name = ''v'' AND metric = ''cpu_percent'' AND "time" = now() ORDER BY 1, 2', $$VALUES
	(0, 'a', 1, 1::double precision, 1::double precision, 1::double precision), (0, 'b', 1, 2, 2, 2),
	(300, 'a', 9, 4, 3, 5), (3600, 'a', 1, NULL, NULL, NULL), (3600, 'b', 1, NULL, NULL, NULL)$$,
	'v_series has samples and roll-ups, one metric a row');

-- ---- agents ---------------------------------------------------------------------------------------------
INSERT INTO agents (vps_name, app_name, epoch, interval_s, first_seen_at, last_seen_at, retired_at, state)
	VALUES
	('v', 'online', 1, 60, now(), now() - interval '170 s', NULL, '{"pending": 3, "tail": {"lag_s": 7}}'),
	('v', 'stale', 1, 60, now(), now() - interval '190 s', NULL, NULL),
	('v', 'offline', 1, 60, now(), now() - interval '310 s', NULL, NULL),
	('v', 'retired', 1, 60, now(), now(), now(), NULL),
	('v', 'new', 1, NULL, now(), now(), NULL, NULL);
SELECT results_eq('SELECT app_name, agent_state, online, pending, lag_s FROM v_agents
	WHERE vps_name = ''v'' ORDER BY 1', $$VALUES
	('new', 'online', true, NULL::bigint, NULL::bigint), ('offline', 'offline', false, NULL, NULL),
	('online', 'online', true, 3, 7), ('retired', 'retired', false, NULL, NULL),
	('stale', 'stale', false, NULL, NULL)$$,
	'v_agents tells the state of each agent and what it says of itself');
SELECT is((SELECT count(*) FROM v_agents WHERE vps_name = 'v' AND "time" = last_seen_at), 5::bigint,
	'its time is when the agent was heard');

-- ---- servers ----------------------------------------------------------------------------------------------
INSERT INTO agent_roles (role, vps_name, enrolled_at)
	VALUES ('r1', 'v-one', now()), ('r2', 'v-two', now() - interval '1 h'),
	('r3', 'v-two', now());
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, retired_at)
	VALUES ('v-gone', 'a', 1, now(), now(), now()),
	('v-open', 'a', 1, now(), now(), NULL), ('v-open', 'b', 1, now(), now(), NULL),
	('v-old', 'a', 1, now(), now() - interval '2 h', NULL);
SELECT results_eq($$SELECT vps_name, state, login, old_login, applications FROM v_servers
	WHERE vps_name LIKE 'v-%' ORDER BY 1$$, $$VALUES
	('v-gone', 'retired', NULL, NULL, 1::bigint), ('v-old', 'not enrolled', NULL, NULL, 1),
	('v-one', 'enrolled', 'r1', NULL, NULL),
	('v-open', 'unbound', NULL, NULL, 2), ('v-two', 'rotating', 'r3', 'r2', NULL)$$,
	'v_servers tells how each server may write');
SELECT * FROM finish();
ROLLBACK;
