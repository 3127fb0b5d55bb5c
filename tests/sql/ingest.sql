-- A payload becomes the rows of an agent, once, or is refused with the names of its fields.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql
SET LOCAL observ.address = '192.0.2.7';

-- What the hub sends for a secret.
CREATE FUNCTION pg_temp.h(p_secret text) RETURNS bytea LANGUAGE sql RETURN sha256(convert_to(p_secret,
	'UTF8'));
CREATE FUNCTION pg_temp.new_server(p_name text) RETURNS text LANGUAGE sql AS $$
	INSERT INTO servers (vps_name, created_by) VALUES (p_name, 'test') ON CONFLICT DO NOTHING;
	SELECT new_server_token(p_name, 'test', '0') $$;
SELECT pg_temp.new_server('web-1') AS web1, pg_temp.new_server('web-2') AS web2 \gset

-- As the hub does: the answer, or the status and the fields that do not fit.
CREATE FUNCTION pg_temp.post(p_token text, p_body jsonb, p_key text DEFAULT NULL, p_lines jsonb DEFAULT '[]')
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	v jsonb;
	v_detail text;
BEGIN
	PERFORM set_config('session_authorization', 't_hub', true);
	v := observ.ingest(sha256(convert_to(p_token, 'UTF8')), p_body, p_key, p_lines);
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN v;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN jsonb_build_object('refused', sqlstate, 'says', sqlerrm, 'fields', (SELECT string_agg(
		e->>'field', ' ') FROM jsonb_array_elements(CASE WHEN v_detail LIKE '{%'
		THEN v_detail::jsonb->'errors' END) e));
END $$;
CREATE FUNCTION pg_temp.field(p_body jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(p->>'fields', p->>'refused', 'taken') FROM pg_temp.post(current_setting('t.token'),
		p_body) p $$;
SELECT set_config('t.token', :'web2', true) \g /dev/null

-- ---- the first form --------------------------------------------------------------------------------
SELECT (to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS now \gset
SELECT format('{"ts": %s, "host": {"hostname": "web-1.example", "os": "Debian GNU/Linux", "os_release": "12",
	"machine": "x86_64", "rack": 4}, "metrics": {"cpu_percent": 12.5, "ram_percent": 40,
		"disk_percent": 61.5,
	"loadavg": [0.5, 0.25, 0.125], "net_bytes_sent": 1000, "net_bytes_recv": 5000, "fans": 3},
	"docker": {"containers": [{"name": "shop", "status": "running", "cpu_percent": 3}],
		"events": [{"Type": "container", "Action": "die", "Actor": {"Attributes": {"name": "shop",
			"image": "shop:7", "exitCode": "137"}}, "time": 1795255200}]},
	"logs": {"systemd": {"nginx.service": ["a", "b"]}},
		"deploy": "r7"}', to_json(:'now'::text)) AS one \gset
SELECT pg_temp.post(:'web1', :'one', NULL, format('[[null, "nginx.service", %s, 4, "a", {"pid": 7}],
	[null, "nginx.service", %1$s, 2, "b", null]]', us(:'now'))::jsonb) AS answer \gset
SELECT is(:'answer'::jsonb - '{received_at,server_id}'::text[], jsonb_build_object('status', 'ok', 'server',
	'web-1',
	'app', 'host', 'timestamp', :'now'::timestamptz, 'backfill', false, 'metrics', 6, 'logs', 3,
	'duplicate', false), 'it is taken, and the answer says what became of it');
SELECT is(:'answer'::jsonb->>'server_id', server_id('web-1')::text, 'and whose it was');
SELECT results_eq($$SELECT "timestamp", vps_name, app_name, cpu_percent, memory_percent, disk_percent,
	load_avg_1m, load_avg_5m, load_avg_15m, net_tx_bytes_per_s, backfill FROM vps_metrics$$,
	format($$VALUES (%L::timestamptz, 'web-1', 'host', 12.5::float8, 40::float8, 61.5::float8,
		0.5::float8,
	0.25::float8, 0.125::float8, NULL::float8, false)$$, :'now'),
	'its metrics are a row; a counter alone gives no rate');
SELECT is((SELECT details->'payload' FROM vps_metrics), '{"deploy": "r7", "host": {"rack": 4},
	"metrics": {"fans": 3}, "docker": {"containers": [{"name": "shop", "status": "running",
	"cpu_percent": 3}]}}', 'what is no column is kept under its own name');
SELECT results_eq($$SELECT level, logger, message, context FROM log_entries ORDER BY stream_id = (SELECT
	stream_id FROM log_entries WHERE logger = 'docker'), stream_offset$$, $$VALUES
	('ERROR', 'nginx.service', 'a', '{"pid": 7}'::jsonb), ('INFO', 'nginx.service', 'b', NULL),
	('WARNING', 'docker', 'container die shop (shop:7)', '{"Type": "container", "Action": "die",
		"Actor": {"Attributes": {"name": "shop", "image": "shop:7", "exitCode": "137"}},
		"time": 1795255200}')$$, 'lines of units and events are log lines');
SELECT is((SELECT "timestamp" FROM log_entries WHERE logger = 'docker'), '2026-11-21 10:00:00Z'::timestamptz,
	'an event has its own time');
SELECT is((SELECT count(DISTINCT stream_offset) FROM log_entries), 3::bigint, 'and each its place');
SELECT results_eq($$SELECT vps_name, app_name, epoch, host, host(address), agent_state(last_seen_at,
	interval_s,
	retired_at, clock_timestamp()), state - 'counters'::text FROM agents$$,
		$$VALUES ('web-1', 'host', 0::bigint,
	'web-1.example', '192.0.2.7', 'online',
		'{"source": "http", "os": "Debian GNU/Linux", "os_release": "12",
	"machine": "x86_64"}'::jsonb)$$,
	'it is a server like any other');
SELECT results_eq('SELECT "timestamp", cpu_percent, memory_percent, disk_percent, load_avg_1m
	FROM latest_samples',
	format('VALUES (%L::timestamptz, 12.5::float8, 40::float8, 61.5::float8, 0.5::float8)', :'now'),
	'and its newest sample is known');
SELECT is(pg_temp.post(:'web1', :'one') - '{received_at,server_id,timestamp,server,app,backfill}'::text[],
	'{"status": "ok", "duplicate": true, "metrics": 0, "logs": 0}', 'the same once more is known');
SELECT is((SELECT count(*) FROM vps_metrics), 1::bigint, 'and adds no row');
SELECT is((SELECT count(*) FROM log_entries), 3::bigint, 'nor a line');
SELECT is(pg_temp.post(:'web1', :'one'::jsonb || jsonb_build_object('ts',
	:'now'::timestamptz + interval '20 s',
	'metrics', '{"net_bytes_sent": 3000, "net_bytes_recv": 400}'::jsonb))->>'metrics', '1',
	'two counters give a rate; one that went back gives none');
SELECT results_eq('SELECT net_tx_bytes_per_s, net_rx_bytes_per_s FROM vps_metrics
	ORDER BY "timestamp" DESC LIMIT 1', 'VALUES (100::float8, NULL::float8)', 'in bytes per second');
SELECT is((SELECT interval_s FROM agents), 20, 'the time between two posts is its interval');

-- ---- the second form ---------------------------------------------------------------------------------
SELECT format('{"host": "db-9", "server_id": "srv-77", "env": "production", "owner_team": "data",
	"timestamp": %s, "metrics": {"cpu_usage": 71, "memory_usage": 62.5, "disk_usage": 90,
	"network_rx_bytes_per_sec": 1200, "network_tx_bytes_per_sec": 800, "tcp_connections": 42,
		"gpu": null},
	"docker_events": [{"type": "container", "action": "start", "container": "pg", "image": "postgres:15",
		"timestamp": "2026-11-30T06:00:00+01:00"}],
	"logs": [{"container": "pg", "message": "ready", "timestamp": "2026-11-30T06:00:01Z", "node": "n1"},
		{"container": "pg", "message": "{}", "timestamp": null}],
	"local_alerts": [{"name": "disk", "severity": "critical", "message": "disk 90 %%"}, "cpu high"],
	"score": 87.5, "zone": {"name": "a"}}', to_json(:'now'::text)) AS two \gset
SELECT is(pg_temp.post(:'web2', :'two', 'k1', '[[0, "pg", 1796018401000000, 2, "ready", {"pid": 1}],
	[1, "pg", 1796018401000000, 2, "{}", {"container": "inner"}]]')
	- '{received_at,server_id,timestamp}'::text[],
	'{"status": "ok", "server": "web-2", "app": "host", "backfill": false, "metrics": 6, "logs": 5,
	"duplicate": false}', 'the second form is taken');
SELECT results_eq($$SELECT cpu_percent, memory_percent, disk_percent, net_rx_bytes_per_s, net_tx_bytes_per_s,
	tcp_connections FROM vps_metrics WHERE vps_name = 'web-2'$$, $$VALUES (71::float8, 62.5::float8,
		90::float8,
	1200::float8, 800::float8, 42::float8)$$, 'its names are mapped');
SELECT is((SELECT details->'payload' FROM vps_metrics WHERE vps_name = 'web-2'), '{"server_id": "srv-77",
	"env": "production", "owner_team": "data", "score": 87.5, "zone": {"name": "a"},
		"metrics": {"gpu": null}}',
	'the score and what is not known are kept');
SELECT results_eq($$SELECT "timestamp", level, logger, message, context FROM log_entries
	WHERE vps_name = 'web-2'
	ORDER BY logger, stream_offset$$, format($$VALUES
	('2026-11-30 05:00:00Z'::timestamptz, 'INFO', 'docker', 'container start pg (postgres:15)',
		'{"type": "container", "action": "start", "container": "pg", "image": "postgres:15",
		"timestamp": "2026-11-30T06:00:00+01:00"}'::jsonb),
	(%1$L, 'CRITICAL', 'local_alert', 'disk 90 %%', '{"name": "disk", "severity": "critical",
		"message": "disk 90 %%"}'),
	(%1$L, 'WARNING', 'local_alert', 'cpu high', NULL),
	('2026-11-30 06:00:01Z', 'INFO', 'pg', 'ready', '{"pid": 1, "container": "pg", "node": "n1"}'),
	('2026-11-30 06:00:01Z', 'INFO', 'pg', '{}', '{"container": "inner", "item": {"container": "pg"}}')$$,
	:'now'), 'events, lines and alerts are log lines; nothing of an item is lost');
SELECT results_eq($$SELECT labels, state FROM v_fleet WHERE vps_name = 'web-2'$$,
	$$VALUES ('{"environment": "production", "team": "data"}'::jsonb, 'online')$$,
	'its environment and team are its labels until somebody sets others');

-- ---- once ----------------------------------------------------------------------------------------------
SELECT is(pg_temp.post(:'web2', :'two', 'k1')->>'logs', '5', 'the same key gives the same answer');
SELECT is(pg_temp.post(:'web2', :'two'::jsonb || '{"score": 1}', 'k1')->>'refused', 'OB422',
	'and does not fit another payload');
SELECT is((SELECT count(*) FROM vps_metrics WHERE vps_name = 'web-2'), 1::bigint, 'there is one row');
SELECT is(pg_temp.post(:'web1', :'two', 'k1')->>'server', 'web-1', 'keys are those of a server');
UPDATE ingest_keys SET made_at = now() - interval '25 hours' WHERE vps_name = 'web-2';
SELECT is(pg_temp.post(:'web2', :'two'::jsonb || '{"score": 1}', 'k1')->>'duplicate', 'false',
	'a day later the key is free');
SELECT is(pg_temp.post(:'web2', :'one', repeat('k', 256))->>'refused', 'OB400',
	'a key has at most 255 bytes');
SELECT is(array_agg(pg_temp.post(:'web2', format('{"timestamp": %s, "metrics": {}, "local_alerts": ["x"]}',
	to_json(:'now'::text))::jsonb)->>'logs'), '{1,1}', 'a payload without a sample comes once as well')
	FROM generate_series(1, 2);
SELECT is((SELECT count(*) FROM log_entries WHERE message = 'x'), 1::bigint, 'there is one line');

-- ---- late, early, slow ------------------------------------------------------------------------------------
SELECT is(pg_temp.post(:'web2', jsonb_build_object('ts', now() - age, 'metrics', '{"cpu_percent": 1}'::jsonb))
	->>'backfill', late, format('%s old: backfill %s', age, late))
	FROM (VALUES ('1 hour'::interval, 'true'), ('4 minutes', 'false'), ('40 days', 'true')) v(age, late);
SELECT is((SELECT count(*) FROM vps_metrics WHERE vps_name = 'web-2' AND backfill), 2::bigint, 'rows say so');
SELECT is((SELECT state->>'score' FROM agents WHERE vps_name = 'web-2'), '1',
	'an older post does not replace what the newest one said');
SELECT is(pg_temp.post(:'web2', jsonb_build_object('ts', now() + interval '1 hour', 'metrics', '{}'::jsonb,
	'score', 3))->>'status', 'ok', 'a clock that is ahead');
SELECT ok((SELECT skew_ms BETWEEN 3500000 AND 3600000 FROM agents WHERE vps_name = 'web-2'), 'is noticed');
SELECT is(pg_temp.post(:'web1', jsonb_build_object('ts', now() + interval '10 minutes',
	'metrics', '{}'::jsonb, 'score', 3))->>'status', 'ok', 'a post after an outage');
SELECT is((SELECT interval_s FROM agents WHERE vps_name = 'web-1'), 60,
	'makes the interval three times as long at most');

-- ---- who ----------------------------------------------------------------------------------------------
SELECT is(pg_temp.post('obs_server_x', :'one')->>'refused', 'OB401', 'a token that is none');
SELECT is(pg_temp.post(NULL, :'one')->>'refused', 'OB401', 'no token');
SELECT is(pg_temp.post(encode((SELECT token_hash FROM server_tokens LIMIT 1), 'escape'), :'one')->>'refused',
	'OB401', 'what the table holds is no token');
UPDATE servers SET is_active = false WHERE vps_name = 'web-1';
SELECT is(pg_temp.post(:'web1', :'one')->>'refused', 'OB403', 'a server that is not active');
UPDATE servers SET is_active = true WHERE vps_name = 'web-1';
SELECT is(pg_temp.field(jsonb_build_object('ts', now(), 'metrics', '{}'::jsonb, 'server_id',
	server_id('web-1'))),
	'server_id', 'the server_id of another server');
SELECT is(pg_temp.field(jsonb_build_object('ts', now(), 'metrics', '{}'::jsonb, 'server_id',
	server_id('web-2'))),
	'taken', 'its own is right');
UPDATE limit_policy SET burst = 1 WHERE kind = 'ingest';
SELECT is(pg_temp.post(:'web2', :'one')->>'refused', 'OB429', 'too many');
UPDATE limit_policy SET burst = 1000 WHERE kind = 'ingest';

-- ---- fields that do not fit -------------------------------------------------------------------------------
SELECT is(pg_temp.field(jsonb_build_object('ts', now(), 'metrics', '{}'::jsonb) || body::jsonb), field,
	body || ': ' || field) FROM (VALUES
	('{"ts": null}', 'timestamp'), ('{"ts": "yesterday"}', 'ts'), ('{"ts": "now"}', 'ts'),
	('{"ts": "2026-02-31T00:00:00Z"}', 'ts'), ('{"ts": true}', 'ts'), ('{"ts": -5}', 'ts'),
		('{"ts": 1e400}', 'ts'),
	('{"ts": "infinity"}', 'ts'), ('{"ts": "2150-01-01T00:00:00Z"}', 'timestamp'),
	('{"metrics": null}', 'metrics'), ('{"metrics": [1]}', 'metrics'), ('{"metrics": "x"}', 'metrics'),
	('{"metrics": {"cpu_percent": "12"}}', 'metrics.cpu_percent'),
	('{"metrics": {"cpu_percent": 101}}', 'metrics.cpu_percent'),
	('{"metrics": {"cpu_usage": -1, "disk_usage": {}}}', 'metrics.cpu_usage metrics.disk_usage'),
	('{"metrics": {"ram_percent": true}}', 'metrics.ram_percent'),
	('{"metrics": {"memory_mb": -5}}', 'metrics.memory_mb'), ('{"metrics": {"uptime_s": 1e300}}',
		'metrics.uptime_s'),
	('{"metrics": {"app_cpu_percent": 250}}', 'taken'), ('{"metrics": {"cpu_percent": null}}', 'taken'),
	('{"metrics": {"net_bytes_sent": "x"}}', 'metrics.net_bytes_sent'),
	('{"metrics": {"loadavg": [1, 2]}}', 'metrics.loadavg'), ('{"metrics": {"loadavg": [1, 2, "3"]}}',
		'metrics.loadavg'),
	('{"metrics": {"loadavg": 1}}', 'metrics.loadavg'), ('{"metrics": {"mine": "text"}}', 'taken'),
	('{"host": 5}', 'host'), ('{"host": {"hostname": 5}}', 'host.hostname'), ('{"host": {"os": []}}',
		'host.os'),
	('{"docker": []}', 'docker'), ('{"docker": {"containers": {}}}', 'docker.containers'),
	('{"docker": {"containers": [{}, 5]}}', 'docker.containers[1]'),
	('{"docker": {"events": [null]}}', 'docker.events[0]'), ('{"docker_events": {}}', 'docker_events'),
	('{"docker_events": [{"timestamp": "soon"}]}', 'docker_events[0].timestamp'),
	('{"logs": "x"}', 'logs'), ('{"logs": {"systemd": []}}', 'logs.systemd'),
	('{"logs": {"systemd": {"nginx": "x"}}}', 'logs.systemd.nginx'),
	('{"logs": {"systemd": {"nginx": ["a", 1]}}}', 'logs.systemd.nginx[1]'),
	('{"logs": {"other": 5}}', 'taken'),
	('{"logs": ["x"]}', 'logs[0]'), ('{"logs": [{"container": "a"}]}', 'logs[0].message'),
	('{"logs": [{"message": "a"}, {"message": 5}]}', 'logs[1].message'),
	('{"logs": [{"message": "a", "container": 5}]}', 'logs[0].container'),
	('{"logs": [{"message": "a", "timestamp": "x"}]}', 'logs[0].timestamp'),
	('{"local_alerts": {}}', 'local_alerts'), ('{"local_alerts": [[]]}', 'local_alerts[0]'),
	('{"score": "good"}', 'score'), ('{"env": 5}', 'env'), ('{"owner_team": []}', 'owner_team'),
	('{"server_id": 5}', 'server_id')) v(body, field);
SELECT is(pg_temp.field(b), '', b::text || ' is no object') FROM unnest('{5,null,[],"\"x\""}'::jsonb[]) b;
SELECT is((SELECT count(*) FROM regexp_matches(pg_temp.field(jsonb_build_object('ts', now(), 'metrics',
	'{}'::jsonb,
	'docker_events', (SELECT jsonb_agg(5) FROM generate_series(1, 900)))), 'docker_events', 'g')),
		20::bigint,
	'twenty are named');
SELECT matches(pg_temp.post(:'web2', '{"ts": "x", "metrics": {}}')->>'says', '^The body has values',
	'with a sentence');
SELECT is(ingest_time(v::jsonb), t::timestamptz, v) FROM (VALUES
	('"2026-11-30T06:00:00Z"', '2026-11-30 06:00:00Z'), ('"2026-11-30 06:00"', '2026-11-30 06:00:00Z'),
	('"2026-11-30T06:00:00.123456789+0530"', '2026-11-30 00:30:00.123457Z'),
	('1796018400', '2026-11-30 06:00:00Z'), ('1796018400.25', '2026-11-30 06:00:00.25Z'),
	('1796018400000', '2026-11-30 06:00:00Z'), ('1796018400000000', '2026-11-30 06:00:00Z'),
	('1796018400000000000', '2026-11-30 06:00:00Z')) v(v, t);
SELECT * FROM finish();
ROLLBACK;
