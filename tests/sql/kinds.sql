-- The kinds of rules that are no metrics: checks, agents, log lines, jobs, answers from outside.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;

CREATE FUNCTION pg_temp.at(s float8) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT '2026-01-05T12:00:00Z'::timestamptz + make_interval(secs => s) $$;
CREATE FUNCTION pg_temp.agent(p_vps text, p_app text, p_seen float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
	INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s)
	VALUES (p_vps, p_app, 1, pg_temp.at(-864000), pg_temp.at(p_seen), 60) $$;
CREATE FUNCTION pg_temp.rule(p_kind text, p_params jsonb DEFAULT '{}', p_match jsonb DEFAULT '[]',
	p_metric text DEFAULT NULL) RETURNS alert_rules LANGUAGE sql AS $$
	SELECT jsonb_populate_record(r, jsonb_build_object('kind', p_kind, 'metric', p_metric, 'params',
		p_params,
		'match', p_match, 'rule_id', '00000000-0000-0000-0000-000000000001', 'lookback_s', 300, 'op',
			'>',
		'warning', 1, 'no_data', 'keep', 'on_error', 'keep'))
	FROM (SELECT NULL::alert_rules r) x $$;
-- The values at a time: "label/label=value" in order.
CREATE FUNCTION pg_temp.val(r alert_rules, p_at float8 DEFAULT 0, p_all boolean DEFAULT true) RETURNS text
LANGUAGE sql AS $$
	SELECT string_agg(t, ' ' ORDER BY t COLLATE "C") FROM (SELECT concat((SELECT string_agg(value, '/'
		ORDER BY array_position('{server,app}'::text[], key), key) FROM jsonb_each_text(subject)),
			'=',
		coalesce(round(value::numeric, 3)::float8::text, problem)) AS t
	FROM rule_values(r, pg_temp.at(p_at), p_all)) x $$;

-- ---- checks ------------------------------------------------------------------------------------------
-- Results of a check, the last one at p_end, a minute apart: S or F.
CREATE FUNCTION pg_temp.results(p_vps text, p_url text, p_results text, p_ms float8 DEFAULT 20, p_end float8
	DEFAULT 0)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO health_checks ("timestamp", received_at, vps_name, app_name, url, success,
		response_time_ms,
		interval_s, cert_expires_at, cert_starts_at)
	SELECT pg_temp.at(t), pg_temp.at(t), p_vps, 'web', p_url, c = 'S', p_ms * n, 60,
		CASE WHEN p_url LIKE 'https:%' THEN pg_temp.at(864000) END,
		CASE WHEN p_url LIKE 'https:%' THEN pg_temp.at(864000 - 86400 * CASE p_vps WHEN 'a' THEN 90
			ELSE 20 END) END
	FROM string_to_table(p_results, NULL) WITH ORDINALITY u(c, n),
		LATERAL (SELECT p_end - 60 * (length(p_results) - n)) x(t);
	INSERT INTO latest_checks VALUES (p_vps, 'web', md5(p_url)::uuid, p_url, pg_temp.at(p_end), true,
		NULL, 60)
	ON CONFLICT DO NOTHING $$;
SELECT is(failures_in(results, of, recover)::text, expect, format('%s, %s of, recovered %s', results, of,
	recover))
	FROM (VALUES ('FFF', 3, 2, '3'), ('SFFF', 3, 2, '2'), ('SSFFF', 3, 2, '-1'), ('FSFSF', 3, 2, '2'),
		('FSFSF', 5, 2, '3'), ('FSSFFF', 5, 2, '1'), ('SSSFFF', 5, 4, '2'), ('', 3, 2, '0'), ('S', 1,
			1, '-1'),
		('F', 3, 2, '1'), ('SFS', 1, 2, '0')) v(results, of, recover, expect);
SELECT pg_temp.agent('a', 'web'), pg_temp.agent('b', 'web'), pg_temp.agent('c', 'web') \g /dev/null
SELECT pg_temp.results('a', 'http://x', 'SSSSSFFF'), pg_temp.results('a', 'http://y', 'FFFFSS'),
	pg_temp.results('b', 'http://x', 'SSSSSS'), pg_temp.results('c', 'http://x', 'FFF', 20, -1201)
	\g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('check')), 'a/web/http://x=3 a/web/http://y=-1 b/web/http://x=-1 '
	'c/web/http://x=no data', 'failures in a row, recovered, healthy, too old');
SELECT is(pg_temp.val(pg_temp.rule('check'), -60), 'a/web/http://x=2 a/web/http://y=2 b/web/http://x=-1 '
	'c/web/http://x=3', 'the same a minute before');
SELECT is(pg_temp.val(pg_temp.rule('check', '{"of": 4, "recover": 1}',
	'[{"label": "check", "op": "=~", "value": ".*x"},
	{"label": "server", "op": "!=", "value": "c"}]')), 'a/web/http://x=3 b/web/http://x=-1',
		'matchers see the check');
SELECT is(pg_temp.val(pg_temp.rule('check'), 0, false),
	'a/web/http://x=3 a/web/http://y=-1 c/web/http://x=no data',
	'servers without a failure may be left out');
SELECT is(pg_temp.val(pg_temp.rule('check_slow', '{"window_s": 300}')),
	'a/web/http://x=155 a/web/http://y=115 '
	'b/web/http://x=115', 'the 95th percentile of the response times');
SELECT is(pg_temp.val(pg_temp.rule('check_slow', '{"window_s": 120, "percent": 50, "min_results": 3}')),
	'a/web/http://x=140 a/web/http://y=100 b/web/http://x=100', 'or another percentile');
SELECT is(pg_temp.val(pg_temp.rule('check_slow', '{"window_s": 120}')), 'a/web/http://x=no data '
	'a/web/http://y=no data b/web/http://x=no data', 'of too few results there is none');
SELECT pg_temp.results('a', 'https://s', 'S'), pg_temp.results('b', 'https://s', 'S') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('certificate')), 'a/web/https://s=10',
	'days of a certificate that lives long');
SELECT is(pg_temp.val(pg_temp.rule('certificate', '{"measure": "life"}')), 'b/web/https://s=50',
	'share of the life of one that lives short');

-- ---- agents -------------------------------------------------------------------------------------------
UPDATE agents SET last_seen_at = pg_temp.at(CASE vps_name WHEN 'a' THEN 0 WHEN 'b' THEN -181 ELSE -301 END);
SELECT is(pg_temp.val(pg_temp.rule('agent_state'), t), expect, message)
	FROM (VALUES (0, 'a/web=0 b/web=1 c/web=2', 'online, stale, offline'),
		(119, 'a/web=0 b/web=1 c/web=2', 'the whole fleet is silent: nobody gets worse'),
		(86400, 'a/web=0 b/web=1 c/web=2', 'for however long')) v(t, expect, message);
SELECT is(pg_temp.val(pg_temp.rule('agent_silent'), 86400), 'a/web=60 b/web=241 c/web=361',
	'silence is measured until an interval after the last word of all');
SELECT is(pg_temp.val(pg_temp.rule('fleet_silent'), 600), '=600', 'the silence of all is one value');
UPDATE agents SET retired_at = pg_temp.at(-10) WHERE vps_name = 'c';
SELECT is(pg_temp.val(pg_temp.rule('agent_state'), 0), 'a/web=0 b/web=1', 'a retired server is silent');
UPDATE agents SET retired_at = pg_temp.at(-10) WHERE vps_name = 'b';
SELECT is(pg_temp.val(pg_temp.rule('agent_state'), 600), 'a/web=2',
	'a single server is no fleet: it is offline');
SELECT is(pg_temp.val(pg_temp.rule('fleet_silent'), 600), '=0', 'and no fleet is silent');
UPDATE agents SET retired_at = NULL, last_seen_at = pg_temp.at(1000);
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name) SELECT pg_temp.at(t), pg_temp.at(t +
	d), v, 'web'
	FROM (VALUES ('a', 0, 0), ('b', -300, 100), ('b', 0, 500), ('c', -400, 0)) v(v, t, d);
SELECT is(pg_temp.val(pg_temp.rule('agent_silent')), 'a/web=0 b/web=200 c/web=400',
	'of a time in the past the samples tell, by the database''s clock');
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name)
	SELECT pg_temp.at(t + ahead), pg_temp.at(t), v, 'web'
	FROM (VALUES ('b', -900, 940), ('b', -100, 0), ('c', -30, 3600)) v(v, t, ahead);
UPDATE agents SET skew_ms = 3600000 WHERE vps_name = 'c';
SELECT is(pg_temp.val(pg_temp.rule('agent_silent')), 'a/web=0 b/web=100 c/web=30',
	'also of agents whose clock was set back (b), or is far ahead (c)');
UPDATE agents SET skew_ms = -7000, last_seen_at = pg_temp.at(0) WHERE vps_name = 'a';
SELECT is(pg_temp.val(pg_temp.rule('threshold', '{}', '[{"label": "server", "op": "=", "value": "a"}]',
	'agent_skew_s')), 'a/web=7', 'the clock of a server is off');
INSERT INTO gaps ("timestamp", vps_name, app_name, kind, lines, received_at) VALUES
	(pg_temp.at(-99999), 'a', 'web', 'x', 7, pg_temp.at(-10)), (pg_temp.at(0), 'a', 'web', 'x', NULL,
		pg_temp.at(-20)),
	(pg_temp.at(0), 'a', 'web', 'x', 100, pg_temp.at(-901)), (pg_temp.at(0), 'b', 'web', 'x', 100,
		pg_temp.at(1));
INSERT INTO rejects ("timestamp", vps_name, app_name, received_at) VALUES (pg_temp.at(0), 'b', 'web',
	pg_temp.at(0));
SELECT is(pg_temp.val(pg_temp.rule('loss')), 'a/web=8 b/web=0 c/web=0',
	'lost lines, by the time of the news');
SELECT is(pg_temp.val(pg_temp.rule('loss', '{"what": "rejects"}')), 'a/web=0 b/web=1 c/web=0',
	'refused rows');

-- ---- log lines -------------------------------------------------------------------------------------------
INSERT INTO log_entries ("timestamp", received_at, vps_name, app_name, level, message)
	SELECT pg_temp.at(-n * 10), pg_temp.at(-n * 10 + d), v, 'web', CASE WHEN n % 4 = 0 THEN 'ERROR' ELSE
		'INFO' END,
		'payment ' || CASE WHEN n % 2 = 0 THEN 'failed' ELSE 'done' END
	FROM (VALUES ('a', 40, 0), ('b', 19, 0), ('c', 40, 1000)) v(v, lines, d), generate_series(1, lines) n;
SELECT is(pg_temp.val(pg_temp.rule('log_count', p)), expect, message) FROM (VALUES
	('{}'::jsonb, 'a/web=30 b/web=19 c/web=0', 'lines of each agent'),
	('{"tree": {"text": "fail", "quoted": false}, "by": "server"}', 'a=15 b=9 c=0',
		'that the search finds, by server'),
	('{"tree": {"levels": ["ERROR"]}, "by": "application"}', 'web=11', 'by application'),
	('{"tree": {"levels": ["ERROR"]}, "by": "fleet"}', '=11', 'of all'),
	('{"window_s": 60}', 'a/web=6 b/web=6 c/web=0', 'in another window')) v(p, expect, message);
SELECT is(pg_temp.val(pg_temp.rule('log_share', '{"tree": {"levels": ["ERROR"]}}')),
	'a/web=23.333 b/web=0 c/web=0',
	'the share of errors, where there are enough lines');
SELECT is(pg_temp.val(pg_temp.rule('log_share', '{"tree": {"levels": ["ERROR"]}, "min_lines": 19}')),
	'a/web=23.333 b/web=21.053 c/web=0', 'or fewer are enough');

-- ---- patterns ---------------------------------------------------------------------------------------------
SELECT is(pattern_of(m), expect, m) FROM (VALUES
	('user 42 not found in /srv/a', 'user * not found in *'),
	('order 3f2504e0-4f89-11d3-9a0c-0305e82c3301 failed: timeout=30s', 'order * failed: timeout=*'),
	('Connection to 10.0.0.12:5432 refused (ECONNREFUSED)', 'Connection to * refused (ECONNREFUSED)'),
	('can''t open "My File.txt" or ''x y'': No such file', 'can''t open * or *: No such file'),
	('worker-12 died', 'worker-* died'), (E'  panic: x\nstack', 'panic: x'),
	('Http2Handler failed at 2026-01-05T12:00:00.123Z', 'Http*Handler failed at *'),
	('sha 9fceb02d0ae598e95dc970b74767f19372d61af8 bad', 'sha * bad'), ('didn''t find it',
		'didn''t find it'),
	('key 0xdeadbeef leaked by joe@example.org', 'key * leaked by *'), ('fe80::1ff:fe23:4567:890a lost',
		'* lost'),
	('disk 93% full, 1,024 MB left', 'disk * full, * MB left'), ('the face of bead', 'the face of bead'),
	('std::vector::at failed', 'std::vector::at failed'), ('错误 42', '错误 *'), ('', '')) v(m, expect);
SELECT is(length(pattern_of(repeat('x ', 10000))), 300, 'a pattern has an end');
DELETE FROM agents;
SELECT queue_patterns(v, 'shop', pg_temp.at(s), '{2,4,4,5}', ARRAY[pg_temp.at(s - 9), pg_temp.at(s - 8),
	pg_temp.at(s - 7), pg_temp.at(s - 6)], ARRAY['fine 1', 'bad 1', 'bad 2', 'bad 3'])
	FROM (VALUES ('a', 0), ('a', 60), ('b', 30)) v(v, s) \g /dev/null
SELECT is(learn_patterns(), 9::bigint, 'lines of level WARNING and worse are counted');
SELECT is(learn_patterns(), 0::bigint, 'once');
SELECT results_eq('SELECT concat_ws('' '', vps_name, level, pattern, lines, extract(epoch
	FROM first_at - pg_temp.at(0)),
	extract(epoch FROM last_at - pg_temp.at(0)), extract(epoch FROM first_received_at - pg_temp.at(0)))
	FROM log_patterns ORDER BY 1',
	$$VALUES ('a CRITICAL bad * 2 -6.000000 54.000000 0.000000'),
		('a ERROR bad * 4 -8.000000 53.000000 0.000000'),
	('b CRITICAL bad * 1 24.000000 24.000000 30.000000'),
		('b ERROR bad * 2 22.000000 23.000000 30.000000')$$,
	'counts and times are exact, by server and application');
INSERT INTO log_patterns SELECT 'c', 'shop', gen_random_uuid(), 'ERROR', 'p' || n, now(), now(), now(), 1
	FROM generate_series(1, max_patterns() - 3) n;
SELECT queue_patterns('a', 'shop', pg_temp.at(90), '{4,4,4,4}', array_fill(pg_temp.at(90), ARRAY[4]),
	'{one,two,three,bad 9}') \g /dev/null
SELECT learn_patterns() \g /dev/null
SELECT is((SELECT string_agg(pattern || '=' || lines, ' ' ORDER BY lines) FROM log_patterns
	WHERE vps_name = 'a' AND level = 'ERROR' AND pattern NOT IN ('one', 'two', 'three')),
		'(other)=2 bad *=5',
	'beyond the limit lines are counted as other');
DELETE FROM log_patterns WHERE vps_name = 'c' OR pattern IN ('one', 'two', 'three', '(other)');
SELECT pg_temp.agent('a', 'shop') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('new_pattern'), t), expect, message) FROM (VALUES
	(-1, NULL, 'not before it came'), (0, 'a/shop/CRITICAL/bad *=2 a/shop/ERROR/bad *=5',
		'a new pattern, once for all '
	'servers'), (3599, 'a/shop/CRITICAL/bad *=3 a/shop/ERROR/bad *=7', 'for its window'), (3600, NULL,
		'and no longer'))
	v(t, expect, message);
SELECT is(pg_temp.val(pg_temp.rule('new_pattern', '{"levels": ["CRITICAL"]}')), 'a/shop/CRITICAL/bad *=2',
	'of levels');
SELECT is(pg_temp.val(pg_temp.rule('new_pattern', '{"learn_s": 900000}')), NULL, 'not while all is new');
UPDATE log_patterns SET first_at = first_at - interval '1 day';
SELECT is(pg_temp.val(pg_temp.rule('new_pattern')), NULL, 'lines that came late are old news');

-- ---- jobs
-- --------------------------------------------------------------------------------------------------
DELETE FROM job_runs;
INSERT INTO job_runs VALUES ('maintain', pg_temp.at(-7300), pg_temp.at(-7200), true, ''),
	('maintain', pg_temp.at(-60), pg_temp.at(-59), false, '');
SELECT is(pg_temp.val(pg_temp.rule('job')), 'maintain=2', 'hours since maintain() ended well');
INSERT INTO heartbeats (name, schedule, every_s, grace_s, labels, created_at, paused, token_hash) VALUES
	('nightly', '30 3 * * *', NULL, 600, '{"server": "a"}', pg_temp.at(-86400 * 2), false, sha256('h')),
	('often', NULL, 60, 30, '{}', pg_temp.at(-1000), false, NULL), ('new', NULL, 3600, 0, '{}',
		pg_temp.at(-10), false, NULL),
	('off', NULL, 60, 0, '{}', pg_temp.at(-9999), true, NULL), ('failing', NULL, 3600, 0, '{}',
		pg_temp.at(-9999), false,
	NULL);
INSERT INTO heartbeat_pings (heartbeat_id, at, kind) SELECT heartbeat_id, pg_temp.at(t), k FROM (VALUES
	('nightly', -86400 - 30600, 'done'), ('often', -91, 'done'), ('often', 50, 'done'), ('often', -5,
		'start'),
	('failing', -9000, 'done'), ('failing', -100, 'failed')) v(n, t, k) JOIN heartbeats ON name = n;
SELECT is(pg_temp.val(pg_temp.rule('heartbeat')), 'a/nightly=30000 failing=101 new=0 often=1',
	'seconds since a job was due; a start does not count, a failure does at once');
SELECT is(pg_temp.val(pg_temp.rule('heartbeat'), 50), 'a/nightly=30050 failing=151 new=0 often=0',
	'until it reports');
SELECT is(beat('often')->>'kind', 'done', 'psql reports with one statement');
SELECT throws_ok('SELECT beat(''x'')', '22023', 'there is no heartbeat "x"', 'of a heartbeat that is there');
SELECT throws_ok('SELECT beat(''often'', ''y'')', '22023', NULL, 'in a known way');
SELECT is(beat_by_token('h', 'failed', 'exit status 1')->>'heartbeat', 'nightly', 'the hub by the token');
SELECT throws_ok('SELECT beat_by_token(''z'', NULL)', 'OB404', NULL, 'that is known');
SELECT throws_ok('SELECT beat_by_token(''h'', ''z'')', 'OB422', NULL, 'in a known way');
SELECT throws_ok('SELECT beat_by_token(''h'', NULL) FROM generate_series(1, 100)', 'OB429', NULL,
	'and not all the time');

-- ---- anomalies
-- -----------------------------------------------------------------------------------------------
INSERT INTO metrics_1h (vps_name, app_name, "timestamp", samples, cpu_percent_avg)
	SELECT 'a', 'shop', pg_temp.at(-604800 * w + 3600 * h), 60, 50 + 10 * h FROM generate_series(1, 3) w,
		generate_series(-1, 1) h;
DELETE FROM vps_metrics;
INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent)
	SELECT pg_temp.at(-n), pg_temp.at(-n), 'a', 'shop', 80 FROM generate_series(0, 600, 60) n;
SELECT is(pg_temp.val(pg_temp.rule('anomaly', p, '[]', 'cpu_percent')), expect, p::text) FROM (VALUES
	('{}'::jsonb, 'a=3.464'), ('{"direction": "below"}', 'a=-3.464'), ('{"floor_percent": 100}', 'a=0.6'),
	('{"min_weeks": 4}', 'a=no data')) v(p, expect);

-- ---- answers from outside
-- -------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.answer(p_at float8, p_rows jsonb, p_problem text DEFAULT NULL) RETURNS void LANGUAGE
	sql AS $$
	SELECT external_values('00000000-0000-0000-0000-000000000001', pg_temp.at(p_at), p_rows, p_problem)
		$$;
SELECT is(pg_temp.val(pg_temp.rule('promql')), '=no data', 'no answer is an answer');
SELECT pg_temp.answer(-60, '[{"subject": {"server": "a", "job": "x"}, "value": "1.5"}, {"value": 7}]')
	\g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('promql')), '=7 a/x=1.5', 'each row of an answer is a subject');
SELECT is(pg_temp.val(pg_temp.rule('promql'), 241), '=no data', 'until it is too old');
SELECT pg_temp.answer(0, '[]') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('promql')), NULL, 'an empty answer has no subjects');
SELECT pg_temp.answer(0, NULL, 'connection refused') \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('promql')), '=connection refused', 'an error is an answer');
SELECT pg_temp.answer(1, '[{"value": "many"}]') \g /dev/null
SELECT matches(pg_temp.val(pg_temp.rule('promql'), 1), 'not understood: invalid input syntax',
	'so is nonsense');
SELECT pg_temp.answer(2, (SELECT jsonb_agg(jsonb_build_object('value', n)) FROM generate_series(1, 1001) n))
	\g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('promql'), 2), '=the answer has 1001 rows, more than 1000',
	'and too much');
SELECT pg_temp.answer(3, jsonb_build_array(jsonb_build_object('value', 1, 'subject', jsonb_build_object('a',
	repeat('x', 4000))))) \g /dev/null
SELECT is(pg_temp.val(pg_temp.rule('promql'), 3), '=a row of the answer is longer than 4000 bytes',
	'and a label that no message can show');
SELECT is(select_values('SELECT vps_name AS server, count(*) AS value FROM v_agents GROUP BY 1')::text,
	'[{"value": 1, "subject": {"server": "a"}}]', 'an own SELECT sees the views');
SELECT throws_ok(format('SELECT select_values(%L)', q), state, NULL, q) FROM (VALUES
	('SELECT 1 AS value FROM observ.users', '42501'), ('SELECT 1 AS value FROM observ.agents', '42501'),
	('DELETE FROM observ.v_agents', '42P11'), ('SELECT 1 AS x', '42703'), ('SELECT 1; SELECT 2', '42P11'),
	('SELECT n AS value FROM generate_series(1, 1001) n', '54000'),
	('SELECT 1 AS value, repeat(''x'', 4000) AS label', '54000'), ('SELEC', '42601'),
	('SET ROLE observ_owner', '42P11'), ('CREATE TABLE observ.x (a int)', '42P11'),
	('SELECT observ.beat_by_token(''h'', NULL) AS value', '42501')) v(q, state);
SELECT throws_ok(format('SELECT explain_select(%L)', q), state, NULL, 'before it is saved: ' || q)
	FROM (VALUES ('SELEC', '42601'), ('SELECT 1 AS x', '42703'),
	('SELECT 1 AS value FROM observ.users', '42501'),
	('SELECT 1 AS value) q; DELETE FROM observ.v_agents --', '42601'),
	('SELECT 1 AS value; SELECT 2', '42601'),
	('DELETE FROM observ.v_agents RETURNING 1 AS value', '42601'),
	('SELECT ''a''::int AS value', '22P02'))
	v(q, state);
SELECT lives_ok(format('SELECT explain_select(%L)', q), 'but not ' || q)
	FROM (VALUES ('SELECT 1 AS value;'), ('SELECT 1 AS value -- one'),
	('SELECT pg_sleep(99), 1 AS value'),
	('WITH x AS (SELECT 1) SELECT count(*) AS value, ''a'' AS name FROM x'))
	v(q);
-- ---- how long all of this is kept --------------------------------------------------------------------
INSERT INTO alert_rules (rule_id, name, kind, warning) VALUES ('00000000-0000-0000-0000-000000000009', 'kept',
	'job', 1);
INSERT INTO alerts (alert_id, rule_id, subject_key, subject, labels, state, severity, active_since,
	resolved_at,
		evaluated_at)
	SELECT md5(n)::uuid, '00000000-0000-0000-0000-000000000009', gen_random_uuid(), '{}', '{}', state,
		'warning',
		now() - interval '2 years', at, now()
	FROM (VALUES ('old', 'resolved', now() - interval '366 days'), ('new', 'resolved', now() - interval
		'1 day'),
		('open', 'firing', NULL)) v(n, state, at);
INSERT INTO alert_changes (at, rule_id, alert_id, subject_key, from_state, to_state, severity, reason)
	SELECT now() - interval '2 years', rule_id, alert_id, subject_key, 'inactive', 'firing', 'warning',
		'value'
	FROM alerts WHERE rule_id = '00000000-0000-0000-0000-000000000009';
DELETE FROM heartbeat_pings;
INSERT INTO heartbeat_pings (heartbeat_id, at) SELECT heartbeat_id, now() - n * interval '100 days'
	FROM heartbeats, generate_series(2, 1, -1) n WHERE name = 'often';
DELETE FROM log_patterns;
INSERT INTO log_patterns SELECT 'a', 'shop', gen_random_uuid(), 'ERROR', n::text, now() - interval '3 years',
	now() - n * interval '1 day', now(), 1 FROM unnest('{364,366}'::int[]) n;
SELECT matches(maintain_alerts('infinity'), '^\d+ rows of alerts deleted',
	'maintain() deletes what is too old');
SELECT set_eq('SELECT alert_id FROM alerts WHERE rule_id = ''00000000-0000-0000-0000-000000000009''',
	ARRAY[md5('new')::uuid, md5('open')::uuid], 'alerts that ended a year ago, none that is open');
SELECT set_eq('SELECT alert_id FROM alert_changes WHERE rule_id = ''00000000-0000-0000-0000-000000000009''',
	ARRAY[md5('new')::uuid, md5('open')::uuid], 'with their history');
SELECT is((SELECT count(*) FROM heartbeat_pings), 1::bigint, 'old pings, but the last of each heartbeat');
SELECT is((SELECT string_agg(pattern, ',') FROM log_patterns), '364',
	'and patterns that were not seen for a year');
SELECT * FROM finish();
ROLLBACK;
