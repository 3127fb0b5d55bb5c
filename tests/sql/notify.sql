-- Messages of alerts: what is installed, which matchers are refused, what a message holds. The rest is cases
-- of tests/alerts.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;

-- ---- without configuration -----------------------------------------------------------------------
SELECT results_eq($$SELECT group_by, group_wait_s, group_interval_s, repeat_s, repeat_max_s, channels
	FROM alert_routes$$,
	$$VALUES ('{rule}'::text[], 30::float8, 300::float8, 14400::float8, 86400::float8, NULL::uuid[])$$,
	'one route for everything');
SELECT throws_ok('INSERT INTO alert_routes DEFAULT VALUES', '23505', NULL, 'there is one root');
SELECT is((SELECT count(*) FROM alert_rules r, inhibitions i WHERE r.builtin IS NOT NULL
	AND labels_match(i.source, r.labels || '{"severity": "critical"}')), 1::bigint,
	'one default rule has the labels that the installed inhibition asks for');
SELECT results_eq('SELECT name, equal FROM inhibitions', $$VALUES ('agent offline', '{server,app}'::text[])$$,
	'an offline agent mutes the rest of its application');

-- ---- matchers ------------------------------------------------------------------------------------
SELECT is(regex_problem(r) IS NULL, fits, left(r, 60)) FROM (VALUES
	('', true), ('a|b', true), ('(?i)web-[0-9]+', true), ('\bweb\b', true),
	('[0-9a-f]{8}(-[0-9a-f]{4}){3}', true),
	('(a', false), ('(a)\1', false), ('a(?=b)', false), ('a(?!b)', false), ('(?P<n>a)', false),
	('((a{1,13}){1,13}){1,13}', false), ('a{300}', false), (repeat('a', 257), false),
	('*', false)) v(r, fits);
SELECT is(labels_match(jsonb_build_array(jsonb_build_object('label', 'a', 'op', op, 'value', w)), l), fits,
	format('%s %s in %s', op, w, l)) FROM (VALUES
	('=', 'x', '{"a": "x"}'::jsonb, true), ('=', 'x', '{"a": "xx"}', false), ('=', '', '{}', true),
	('!=', '', '{}', false), ('!=', 'x', '{}', true), ('=~', 'x.*', '{"a": "xyz"}', true),
	('=~', 'x', '{"a": "xyz"}', false), ('!~', 'x', '{"a": "xyz"}', true),
	('=~', '(?i)X', '{"a": "x"}', true),
	('=~', 'a|b', '{"a": "ab"}', false), ('=~', '\bx\b', '{"a": "x"}', true)) v(op, w, l, fits);
SELECT throws_ok($$INSERT INTO silences (match, starts_at, ends_at, comment)
	VALUES ('[{"label": "a", "op": "=~", "value": "("}]', now(), now() + interval '1 hour', '')$$,
	'23514', NULL, 'a table refuses an expression that is none');

-- ---- what a message holds ------------------------------------------------------------------------
INSERT INTO channels (name, kind) VALUES ('c', 'webhook');
UPDATE alert_clock SET evaluated_until = NULL;
INSERT INTO alert_rules (rule_id, name, kind, metric, warning, summary, runbook)
	VALUES ('00000000-0000-0000-0000-000000000001', 'CPU', 'threshold', 'cpu_percent', 80,
	'CPU of {{server}}', 'http://x/y');
SELECT make_partition('log_entries', date '2026-11-30') \g /dev/null
INSERT INTO log_entries ("timestamp", vps_name, app_name, level, message)
	SELECT timestamptz '2026-11-30 12:00Z' - n * interval '1 minute', 's', 'shop',
		CASE WHEN n = 2 THEN 'INFO' ELSE 'ERROR' END, 'line ' || n FROM generate_series(0, 9) n;
INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, fired_at, value,
	threshold, evaluated_at)
	VALUES ('00000000-0000-0000-0000-000000000001', gen_random_uuid(), '{"server": "s"}',
	'{"server": "s", "rule": "CPU", "severity": "warning"}', 'firing', 'warning', '2026-11-30 11:55Z',
	'2026-11-30 12:00Z', 91, 80, '2026-11-30 12:00Z');
SELECT is(flush_groups('2026-11-30 12:00Z'), '2026-11-30 12:00:30Z', 'when the group is due');
SELECT is((SELECT count(*) FROM notifications), 0::bigint, 'nothing yet');
SELECT is(flush_groups('2026-11-30 12:01Z'), '2026-11-30 12:05:30Z', 'and its next time');
SELECT is(kind, 'firing', 'a message') FROM notifications;
SELECT is(content - 'alerts' - 'at', '{"version": 1, "group": {"rule": "CPU"}, "reason": "first", "firing": 1,
	"resolved": 0, "passed": []}', 'about the group') FROM notifications;
SELECT is((content #> '{alerts,0}') - '{alert_id,key,path,labels,since,fired_at}'::text[],
	'{"status": "firing", "rule": "CPU", "severity": "warning", "subject": {"server": "s"},
	"flapping": false,
	"resolved_at": null,
	"kind": "threshold", "metric": "cpu_percent", "value": 91, "op": ">", "threshold": 80,
	"value_text": "91 %", "threshold_text": "80 %", "detail": null, "problem": null, "ended": null,
	"resolve_reason": null, "acked_by": null, "ack_note": null, "summary": "CPU of {{server}}",
	"runbook": "http://x/y", "lines": ["11:57:00 shop ERROR: line 3", "11:59:00 shop ERROR: line 1",
	"12:00:00 shop ERROR: line 0"]}', 'about the alert') FROM notifications;
-- What stands beside the value: the last failure of a check, the note of a job, the error of a rule.
INSERT INTO health_checks ("timestamp", vps_name, app_name, url, success, error_message)
	SELECT timestamptz '2026-11-30 12:00Z' - n * interval '1 minute', 's', 'shop', u, n = 0, 'error ' || n
	FROM generate_series(0, 3) n, unnest('{http://a/,http://b/}'::text[]) u
	WHERE u = 'http://a/' OR n > 1;
INSERT INTO heartbeats (name, every_s) VALUES ('backup', 60), ('quick', 60);
INSERT INTO heartbeat_pings (heartbeat_id, at, kind, note)
	SELECT heartbeat_id, timestamptz '2026-11-30 12:00Z',
		CASE name WHEN 'backup' THEN 'failed' ELSE 'done' END, 'disk full' FROM heartbeats;
INSERT INTO rule_problems VALUES ('00000000-0000-0000-0000-000000000001', 'division by zero',
	'2026-11-30 12:00Z');
SELECT is(alert_detail(kind, subject, '2026-11-30 12:00Z'), told,
	kind || ' tells: ' || coalesce(told, 'nothing'))
FROM (VALUES
	('check', '{"server": "s", "app": "shop", "check": "http://a/"}'::jsonb, 'error 1'),
	('check', '{"server": "s", "app": "shop", "check": "http://b/"}', 'error 2'),
	('check', '{"server": "other", "app": "shop", "check": "http://b/"}', NULL),
	('heartbeat', '{"heartbeat": "backup"}', 'failed: disk full'),
	('heartbeat', '{"heartbeat": "quick"}', NULL),
	('rule_error', '{"of_rule": "CPU"}', 'division by zero'),
	('threshold', '{"server": "s"}', NULL)) v(kind, subject, told);
DELETE FROM rule_problems;
SELECT is(ended_text(r), t, 'why it ended: ' || r) FROM (VALUES ('clear', NULL),
	('retired', 'the server was retired'), ('unknown', 'unknown')) v(r, t);
SELECT is(value_text(v, u), t, 'a value: ' || t) FROM (VALUES (1, 'lines', '1 line'), (2, 'lines', '2 lines'),
	(1, 'failures', '1 failure'), (-1, 'failures', '0 failures'), (0, 'failures', '0 failures'),
	(1, 'days', '1 day'), (1, '%', '1 %')) x(v, u, t);
SELECT is(summary_text(
	'{{server}} {{labels.team}}: {{#f.number}}{{value}}{{/f.number}} of {{threshold}} {{x}}',
	jsonb_populate_record(NULL::alerts, '{"subject": {"server": "s"}, "labels": {"team": "t"},
	"value": 91.23456, "threshold": 80}')), 's t: 91.2 of 80 {{x}}', 'a summary with its values');
SELECT is(flush_groups('2026-11-30 12:01Z'), '2026-11-30 12:05:30Z', 'again: nothing');
SELECT is((SELECT count(*) FROM notifications), 1::bigint, 'no second message');

INSERT INTO silences (match, starts_at, ends_at, comment)
	VALUES ('[{"label": "server", "op": "=", "value": "s"}]', '2026-11-30 12:01Z',
	'2026-11-30 13:00Z', 'works');
SELECT flush_groups('2026-11-30 12:02Z') \g /dev/null
SELECT is(muted_by, 'silence: works', 'why it is quiet') FROM alerts;
SELECT flush_groups('2026-11-30 13:01Z') \g /dev/null
SELECT is(muted_by, NULL, 'no longer') FROM alerts;
SELECT is(repeat_delay(600, 1800, n), make_interval(secs => s), format('repeat %s', n))
	FROM (VALUES (0, 600), (1, 1200), (2, 1800), (1000, 1800)) v(n, s);
SELECT is(repeat_delay(600, NULL, 7), '10 minutes', 'without a maximum it does not double');

-- ---- many groups ---------------------------------------------------------------------------------
-- What is matched for one group is not matched again for each other group.
UPDATE alert_routes SET group_by = '{...}', group_wait_s = 0;
INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, fired_at, value,
	threshold, evaluated_at)
	SELECT '00000000-0000-0000-0000-000000000001', gen_random_uuid(), l, l, 'firing', 'warning',
		'2026-11-30 14:00Z', '2026-11-30 14:00Z', 91, 80, '2026-11-30 14:00Z'
	FROM generate_series(1, 300) n, jsonb_build_object('server', 'many-' || n) l;
SET LOCAL track_functions = 'all';
SELECT flush_groups('2026-11-30 14:00Z') \g /dev/null
SELECT is(count(*), 300::bigint, 'each group has its message')
	FROM notifications WHERE made_at = '2026-11-30 14:00Z' AND content ->> 'firing' = '1';
SELECT cmp_ok(pg_stat_get_xact_function_calls('labels_match'::regproc), '<', 5000::bigint,
	'labels are matched a few times for each alert, not for each pair of groups');

-- ---- hundreds of agents fall silent together -----------------------------------------------------
DELETE FROM alerts;
INSERT INTO alerts (rule_id, subject_key, subject, labels, state, severity, active_since, fired_at, value,
	threshold, evaluated_at)
	SELECT '00000000-0000-0000-0000-000000000001', gen_random_uuid(), s, s || l, 'firing', 'critical',
		'2026-11-30 11:55Z', '2026-11-30 12:00Z', 91, 80, '2026-11-30 12:00Z'
	FROM generate_series(1, 300) n, jsonb_build_object('server', 's' || n, 'app', 'shop') s,
		(VALUES ('{"rule": "a", "severity": "critical", "mutes": "app"}'::jsonb),
			('{"rule": "b", "severity": "critical"}')) v(l);
SET LOCAL track_functions = 'all';
SELECT is(count(*), 300::bigint, 'each silent agent mutes the other alert of its application')
	FROM inhibited_alerts(ARRAY(SELECT alert_id FROM alerts)) JOIN alerts USING (alert_id)
	WHERE labels ->> 'rule' = 'b';
SELECT cmp_ok(pg_stat_get_xact_function_calls('label_values(jsonb, text[])'::regprocedure), '<=',
	900::bigint, 'what they have in common is looked up once for each, not for each pair');

SELECT * FROM finish();
ROLLBACK;
