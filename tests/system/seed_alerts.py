"""Rules, alerts, channels and their like for tests of the pages: as the engine and people write them."""

RULES = """
INSERT INTO alert_rules (name, kind, metric, params, op, warning, warning_clear, critical, critical_clear,
	for_s, match)
VALUES
	('Test: CPU busy', 'threshold', 'cpu_percent', '{"agg": "avg", "window_s": 600}', '>', 85, 75, 95, 85,
		600, '[]'),
	('Test: disk full', 'threshold', 'disk_percent', '{}', '>', 90, 80, 98, 90, 0,
		'[{"label": "environment", "op": "=", "value": "production"}]')
ON CONFLICT (name) DO NOTHING"""

ALERTS = """
INSERT INTO alerts (alert_id, rule_id, subject_key, subject, labels, state, severity, active_since, fired_at,
	resolved_at, resolve_reason, value, threshold, evaluated_at, acked_at, acked_by, ack_note, muted_by)
SELECT md5(rule || server || state)::uuid, r.rule_id, md5(s::text)::uuid, s, s || jsonb_build_object('rule',
	rule,
		'severity', severity), state, severity, now() - since, CASE WHEN state <> 'pending'
			THEN now() - since END,
	CASE WHEN state = 'resolved' THEN now() - since / 2 END, CASE WHEN state = 'resolved'
		THEN 'clear' END, value,
	threshold, now(), CASE WHEN note IS NOT NULL THEN now() END, CASE WHEN note IS NOT NULL
		THEN 'ann@example.com' END,
	note, muted
FROM (VALUES
	('Test: CPU busy', 'fra-1', 'firing', 'critical', interval '40 minutes', 97.4, 95, NULL, NULL),
	('Test: CPU busy', 'ams-1', 'firing', 'warning', interval '3 hours', 88.1, 85, 'a backup runs', NULL),
	('Test: disk full', 'nyc-2', 'firing', 'warning', interval '26 hours', 93.7, 90, NULL, 'offline'),
	('Test: disk full', 'fra-1', 'pending', 'warning', interval '2 minutes', 91, 90, NULL, NULL),
	('Test: CPU busy', 'nyc-2', 'resolved', 'critical', interval '2 days', 12.5, 95, NULL, NULL)
) v(rule, server, state, severity, since, value, threshold, note, muted)
JOIN alert_rules r ON r.name = rule, jsonb_build_object('server', server) s
ON CONFLICT DO NOTHING"""

CHANGES = """
INSERT INTO alert_changes (at, rule_id, alert_id, subject_key, from_state, to_state, severity, value, reason)
SELECT active_since, rule_id, alert_id, subject_key, 'inactive', 'pending', 'warning', value - 5, 'value'
	FROM alerts
UNION ALL SELECT fired_at, rule_id, alert_id, subject_key, 'pending', 'firing', severity, value, 'value'
FROM alerts WHERE fired_at IS NOT NULL"""

CHANNELS = """
INSERT INTO channels (channel_id, name, kind, settings, secrets, disabled_at, disabled_reason)
SELECT md5(name)::uuid, name, kind, settings::jsonb, '{"secret": "x"}', CASE WHEN reason IS NOT NULL
	THEN now() END, reason
FROM (VALUES ('ops hook', 'webhook', '{"url": "https://hooks.example.com/ops"}', NULL),
	('night mail', 'mail', '{"to": ["night@example.com"]}', '550 no such user')) v(name, kind, settings,
		reason)
ON CONFLICT DO NOTHING"""

MESSAGES = """
INSERT INTO notifications (channel_id, kind, content, made_at, not_before, attempts, sent_at, dead_at,
	last_error)
SELECT md5(channel)::uuid, 'firing', jsonb_build_object('alerts',
	jsonb_build_array(jsonb_build_object('alert_id',
		(SELECT alert_id FROM alerts WHERE state = 'firing' ORDER BY alert_id LIMIT 1)))),
	now() - interval '30 minutes', now(), tries, CASE WHEN tries = 1 THEN now() END, CASE WHEN tries = 9
		THEN now() END, why
FROM (VALUES ('ops hook', 1, NULL), ('ops hook', 3, '503 Service Unavailable'), ('night mail', 9,
	'550 no such user'))
	v(channel, tries, why)"""

REST = """
INSERT INTO silences (match, starts_at, ends_at, comment, created_by) VALUES
	('[{"label": "server", "op": "=", "value": "nyc-2"}]', now() - interval '1 hour',
		now() + interval '7 hours',
		'the disk is being replaced', 'ann@example.com'),
	('[{"label": "team", "op": "=~", "value": "shop|pay"}]', now() - interval '2 days',
		now() - interval '1 day',
		'a release', 'bob@example.com');
INSERT INTO alert_routes DEFAULT VALUES ON CONFLICT DO NOTHING;
INSERT INTO quiet_windows (name, time_zone, days, start, duration_s)
	VALUES ('nights', 'Europe/Berlin', '{sat,sun}', '22:00', 28800) ON CONFLICT DO NOTHING;
INSERT INTO alert_routes (parent_id, match, channels, group_by, repeat_s)
	SELECT route_id, '[{"label": "team", "op": "=", "value": "shop"}]', ARRAY[md5('ops hook')::uuid],
		'{server,rule}',
		3600 FROM alert_routes WHERE parent_id IS NULL LIMIT 1;
INSERT INTO inhibitions (name, source, target, equal) VALUES ('the worse one',
	'[{"label": "severity", "op": "=", "value": "critical"}]',
		'[{"label": "severity", "op": "=", "value": "warning"}]',
	'{server}');
INSERT INTO heartbeats (name, schedule, time_zone) VALUES ('nightly backup', '30 2 * * *', 'Europe/Berlin')
	ON CONFLICT DO NOTHING;
INSERT INTO heartbeat_pings (heartbeat_id, at) SELECT heartbeat_id, now() - interval '9 hours'
	FROM heartbeats;
INSERT INTO rule_patches (rule_id, match, changes, created_by)
	SELECT rule_id, '[{"label": "server", "op": "=", "value": "ams-1"}]', '{"warning": 92}',
		'ann@example.com'
	FROM alert_rules WHERE name = 'Test: CPU busy';
UPDATE alert_clock SET evaluated_until = now()"""


def seed(database):
    for sql in (RULES, ALERTS, CHANGES, CHANNELS, MESSAGES, REST):
        database.query(sql)
