-- What makes alerts quick and visible in `make demo`: two channels that lead to sinks.py, short intervals.
-- Run as a superuser, with the variables mail and webhook: the ports of the sinks.
--
-- The channels are made at each start, since the sinks have new ports. The rest is done once: who changes it
-- on the pages finds it so at the next start.
BEGIN;
SET LOCAL search_path = observ, pg_catalog;

SELECT NOT EXISTS (SELECT FROM channels WHERE created_by = 'make demo') AS first \gset

INSERT INTO channels AS c (name, kind, settings, secrets, created_by) VALUES
	('demo-mail', 'mail', jsonb_build_object('url', 'smtp://127.0.0.1:' || :'mail', 'tls', 'none',
		'from', 'observ@demo.example', 'to', 'you@demo.example'), '{}', 'make demo'),
	('demo-webhook', 'webhook', '{}', jsonb_build_object('url', 'http://127.0.0.1:' || :'webhook' || '/'),
		'make demo')
	ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, secrets = excluded.secrets,
		version = c.version + 1;

\if :first
	-- In production a rule waits longer, so that a short disturbance wakes nobody.
	UPDATE alert_rules SET interval_s = 5, version = version + 1 WHERE builtin IN ('check', 'agent');
	UPDATE alert_routes SET group_by = '{rule,server}', group_wait_s = 5, group_interval_s = 10
		WHERE parent_id IS NULL;
	UPDATE alert_policy SET settle_s = 10;
	INSERT INTO silences (match, starts_at, ends_at, comment, created_by) VALUES
		('[{"label": "check", "op": "=", "value": "http://127.0.0.1:9/health"}]', now(),
			now() + interval '90 days',
			'Fails on purpose, to show what a failure looks like.', 'make demo');
\endif
COMMIT;
