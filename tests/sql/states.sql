-- The rules of 15-states.sql, each at its edge, and that queries get their text rather than a call.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;

CREATE FUNCTION pg_temp.plan(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	l text;
	ret text := '';
BEGIN
	FOR l IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || p_sql LOOP
		ret := ret || l || E'\n';
	END LOOP;
	RETURN ret;
END $$;

-- ---- agents ------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.agent(p_silent_s numeric, p_interval_s int,
	p_retired boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
	SELECT agent_state(t - p_silent_s * interval '1 s', p_interval_s, CASE WHEN p_retired THEN t END, t)
	FROM (VALUES ('2026-11-30T12:00:00Z'::timestamptz)) v(t) $$;
SELECT is(pg_temp.agent(s, i), state, format('silent for %s s at an interval of %s s', s, i)) FROM (VALUES
	(0, 60, 'online'), (180, 60, 'online'), (180.001, 60, 'stale'), (300, 60, 'stale'),
	(300.001, 60, 'offline'),
	(30, 10, 'online'), (30.001, 10, 'stale'), (300, 10, 'stale'), (301, 10, 'offline'),
	(10800, 3600, 'online'), (10801, 3600, 'stale'), (18000, 3600, 'stale'), (18001, 3600, 'offline'),
	(432000, 86400, 'stale'), (432001, 86400, 'offline'), (180, NULL, 'online'), (181, NULL, 'stale'),
	(301, NULL, 'offline'),
	(3, 0, 'online'), (4, 0, 'stale'), (1000000000, 2147483647, 'online'), (-3600, 60, 'online')) v(s, i,
	state);
SELECT is(pg_temp.agent(0, 60, true), 'retired', 'retired, although it was heard from just now');
SELECT is(pg_temp.agent(1000000, 60, true), 'retired', 'retired rather than offline');
SELECT is(agent_conflict('db-1 at 10.0.0.1', now() - age, now()), told, format('a conflict of %s ago', age))
	FROM (VALUES
	('0'::interval, 'db-1 at 10.0.0.1'), ('23:59:59', 'db-1 at 10.0.0.1'), ('24:00', NULL),
	(NULL, NULL)) v(age, told);

-- ---- checks ------------------------------------------------------------------------------------
SELECT is(check_state(ok, now() - m / 60, i, now()), state,
	format('success is %s, %s ago, at an interval of %s s', ok, m / 60, i)) FROM (VALUES
	(true, '0'::interval, NULL::int, 'up'), (false, '0', NULL, 'down'), (true, '19:59', NULL, 'up'),
	(false, '19:59', NULL, 'down'), (true, '-5:00', NULL, 'up'),
	(true, '20:00', NULL, 'unknown'), (false, '20:00', NULL, 'unknown'), (NULL, '0', NULL, 'unknown'),
	(true, NULL, NULL, 'unknown'), (false, '19:59', 1, 'down'), (false, '20:00', 60, 'unknown'),
	(false, '20:00', 400, 'unknown'), (false, '20:02', 401, 'down'), (false, '20:03', 401, 'unknown'),
	(false, '179:59', 3600, 'down'), (true, '179:59', 3600, 'up'), (false, '180:00', 3600, 'unknown'),
	(false, '4319:59', 86400, 'down'), (false, '4320:00', 86400, 'unknown')) v(ok, m, i, state);
SELECT is((SELECT string_agg(i::text, ',') FROM generate_series(1, max_check_s()) i
	WHERE (i > rare_check_s()) IS DISTINCT FROM (check_expiry(i) > check_expiry(NULL))), NULL,
	'a check is rare if its result counts for longer than others');
SELECT ok(bool_and(strpos(pg_get_expr(indpred, indrelid), 'interval_s > ' || rare_check_s()) > 0),
	'the index of rare checks has them') FROM pg_index
	WHERE indexrelid = 'health_checks_rare_idx'::regclass;
SELECT matches(pg_temp.plan('SELECT FROM health_checks WHERE vps_name = ''s'' AND app_name = ''a''
	AND interval_s > rare_check_s() AND timestamp > now() - check_expiry(max_check_s())'),
	'vps_name_app_name_timestamp_idx', 'and they are found by it');

-- ---- applications and servers --------------------------------------------------------------------
SELECT is(app_state(agent, conflict, checks, down), state,
	format('agent %s, conflict %s, %s of %s checks down', agent, conflict, down, checks))
	FROM (VALUES
	('online', false, 0, 0, 'up'), ('online', false, 3, 0, 'up'), ('online', false, 3, 1, 'degraded'),
	('online', false, 3, 3, 'down'),
	('online', false, 1, 1, 'down'), ('online', true, 0, 0, 'degraded'), ('online', true, 2, 2, 'down'),
	('stale', false, 0, 0, 'degraded'),
	('stale', false, 2, 2, 'down'), ('offline', false, 2, 2, 'offline'),
	('offline', true, 0, 0, 'offline'),
	('retired', true, 2, 2, 'retired'), ('online', NULL, NULL, NULL, 'up')) v(agent, conflict, checks,
	down, state);
SELECT is((SELECT string_agg(s, ' ' ORDER BY state_rank(s))
	FROM unnest(ARRAY['up', 'retired', 'degraded', 'offline', 'down']) s),
	'down offline degraded up retired', 'the worst state is first');
SELECT is((SELECT count(DISTINCT state_rank(app_state(a, c, 2, d)))
	FROM unnest(ARRAY['online', 'stale', 'offline', 'retired']) a,
	unnest(ARRAY[true, false]) c, generate_series(0, 2) d), 5::bigint,
	'each state of an application has a rank');

-- ---- in queries ------------------------------------------------------------------------------------
SELECT is(pg_temp.plan(q) ~
	'_state\(|agent_conflict\(|check_expiry\(|check_s\(|certificate_soon\(|state_rank\(|'
		'full_percent\(', false,
	'no call is left: ' || q)
	FROM unnest(ARRAY['SELECT agent_state(last_seen_at, interval_s, retired_at, now()) FROM agents',
	'SELECT agent_conflict(conflict, conflict_at, now()) FROM agents',
	'SELECT * FROM v_agents WHERE agent_state <> ''online''',
	'SELECT check_state(success, timestamp, interval_s, now()) FROM health_checks
		WHERE timestamp > now() - check_expiry(NULL) AND interval_s > rare_check_s() - max_check_s()',
	'SELECT certificate_soon(cert_starts_at, cert_expires_at, now()) FROM health_checks',
	'SELECT app_state(version, outbox_in_memory, files, lag_s) FROM agents',
	'SELECT state_rank(level) FROM log_entries',
	'SELECT disk_percent >= full_percent() FROM vps_metrics']) q;
SELECT is(provolatile, 'i', proname || ' can be used in a query that is distributed') FROM pg_proc
	WHERE pronamespace = 'observ'::regnamespace
	AND proname IN ('agent_state', 'agent_conflict', 'check_state', 'check_expiry', 'rare_check_s',
		'max_check_s', 'certificate_soon', 'app_state', 'state_rank', 'full_percent');

-- ---- what the agent says of itself, as columns -------------------------------------------------------
CREATE TABLE pg_temp.said AS SELECT * FROM v_agents WITH NO DATA;
CREATE FUNCTION pg_temp.says(p_state text) RETURNS v_agents LANGUAGE plpgsql AS $$
DECLARE
	r v_agents;
BEGIN
	INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, state)
	VALUES ('s', 'a', 1, now(), now(), p_state::jsonb)
		ON CONFLICT (vps_name, app_name) DO UPDATE SET state = excluded.state;
	SELECT * INTO r FROM v_agents WHERE vps_name = 's';
	RETURN r;
END $$;
SELECT results_eq($$SELECT pending, lost, rejected, rss_kb, last_error, last_commit_at, buffering_since,
	outage_since, outage_until, outage_samples,
	outage_lost, outbox_bytes, outbox_in_memory, outbox_trouble, lag_bytes, lag_s, files, files_parked,
	files_held, files_unreadable, lines_suppressed
	FROM pg_temp.says('{"pending": 1, "lost": 2, "rejects": 3, "rss_kb": 4, "last_error": "no route",
	"last_commit": "2026-11-30T12:00:01.5Z", "buffering_since": "2026-11-30T12:00:02Z",
	"last_outage": {"since": "2026-11-30T12:00:03Z", "until": "2026-11-30T12:00:04Z",
		"samples": 5, "lost": 6},
	"outbox": {"bytes": 7, "in_memory": true, "trouble": "disk full"},
	"tail": {"lag_bytes": 8, "lag_s": 9.9, "files": 10, "parked": 11, "held": 12,
	"troubles": [{"path": "/l", "why": "no"}], "suppressed": 14}}')$$,
	$$VALUES (1::bigint, 2::bigint, 3::bigint, 4::bigint, 'no route'::text,
	'2026-11-30T12:00:01Z'::timestamptz, '2026-11-30T12:00:02Z'::timestamptz,
	'2026-11-30T12:00:03Z'::timestamptz, '2026-11-30T12:00:04Z'::timestamptz,
	5::bigint, 6::bigint, 7::bigint, true, 'disk full'::text, 8::bigint, 9::bigint, 10::bigint,
	11::bigint, 12::bigint, 1::bigint, 14::bigint)$$,
	'each thing has its column');
SELECT is((SELECT count(*) FROM jsonb_each(to_jsonb(pg_temp.says(s)) - ARRAY['time', 'vps_name', 'app_name',
	'epoch', 'last_seq', 'state',
	'first_seen_at', 'last_seen_at', 'online', 'agent_state']) WHERE value NOT IN ('null', 'false')),
	0::bigint, 'nothing is believed of ' || left(s, 60))
	FROM unnest(ARRAY['{}', '[]', 'null', '7',
	'{"pending": -1, "lost": "2", "rejects": 1e15, "rss_kb": [7], "last_error": 5,
		"tail": 7, "outbox": []}',
	'{"pending": 1e100000, "lag_s": 5, "tail": {"lag_s": null, "troubles": {}, "files": true},
		"outbox": {"in_memory": "true", "trouble": ""}}',
	'{"last_commit": "2026-02-31T12:00:00Z", "buffering_since": "now",
		"last_outage": {"since": "2026-11-30T25:00:00Z", "until": 5}}',
	'{"last_commit": "2026-11-30T12:00:00", "buffering_since": "1999-01-01T00:00:00Z",
		"last_outage": [[]]}']) s;
SELECT is((SELECT length(last_error) FROM pg_temp.says(jsonb_build_object('last_error',
	repeat('x', 9999))::text)), 500, 'a long text is cut');
SELECT is((pg_temp.says(NULL)).pending, NULL, 'an agent that has said nothing');
SELECT * FROM finish();
ROLLBACK;
