-- The shape that agents, the hub, people's queries and Citus rely on.
BEGIN;
SELECT no_plan();

SELECT is((SELECT max(version) FROM schema_version), 1, 'the schema knows its version');
SELECT is(obj_description('observ'::regnamespace, 'pg_namespace'), '1',
	'and tells it to those who read no tables');
SELECT is((SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
	WHERE setrole = 0 AND datname = current_database()),
	ARRAY['search_path=observ, public', 'tcp_keepalives_idle=120',
	'tcp_keepalives_interval=10', 'tcp_keepalives_count=3', 'client_connection_check_interval=5000'],
	'tables are found without naming the schema, dead clients are noticed');
SELECT is((SELECT rolsuper OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = 'observ_admin'),
	false,
	'it was installed without superuser');

SELECT has_table('observ', t, t || ' is there') FROM unnest(ARRAY['agents', 'log_streams', 'gaps', 'rejects',
	'retention_policy', 'schema_version', 'metrics_5m', 'metrics_1h', 'job_runs', 'agent_roles']) t;
SELECT is_partitioned('observ', t, t || ' is partitioned')
	FROM unnest(ARRAY['vps_metrics', 'health_checks', 'log_entries']) t;

SELECT columns_are('observ', 'log_entries', ARRAY['id', 'timestamp', 'vps_name', 'app_name', 'level',
	'logger', 'message',
	'context', 'stream_id', 'stream_offset', 'received_at', 'search']);
SELECT columns_are('observ', 'health_checks',
	ARRAY['id', 'timestamp', 'vps_name', 'app_name', 'url', 'status_code',
	'response_time_ms', 'success', 'error_message', 'error_class', 'dns_ms', 'connect_ms', 'tls_ms',
	'first_byte_ms',
	'cert_expires_at', 'attempts', 'backfill', 'received_at', 'interval_s',
	'cert_starts_at']);
SELECT columns_are('observ', 'agents', ARRAY['vps_name', 'app_name', 'epoch', 'last_seq', 'version',
	'interval_s', 'skew_ms',
	'state', 'first_seen_at', 'last_seen_at', 'process', 'host', 'address', 'conflict_at', 'conflict',
	'retired_at', 'pending', 'lost',
	'rejected', 'rss_kb', 'last_error', 'last_commit_at', 'buffering_since', 'outage_since',
	'outage_until', 'outage_samples', 'outage_lost',
	'outbox_bytes', 'outbox_in_memory', 'outbox_trouble', 'lag_bytes', 'lag_s', 'files', 'files_parked',
	'files_held', 'files_unreadable',
	'lines_suppressed']);
SELECT columns_are('observ', 'log_streams', ARRAY['vps_name', 'app_name', 'stream_id', 'path', 'file_id',
	'head_hash',
	'tail_hash', 'position', 'finished', 'updated_at', 'source', 'cursor']);
SELECT columns_are('observ', 'gaps', ARRAY['id', 'timestamp', 'vps_name', 'app_name', 'stream_id', 'kind',
	'lines', 'bytes',
	'detail', 'received_at']);
SELECT columns_are('observ', 'rejects', ARRAY['id', 'timestamp', 'vps_name', 'app_name', 'stream_id',
	'stream_offset',
	'sqlstate', 'reason', 'raw', 'received_at']);

-- The agent's table of metrics, taken out of wire/sample.h by tests/sql/run.
SELECT is((SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'vps_metrics'::regclass AND attnum > 4 AND atttypid = 'float8'::regtype
	AND NOT attisdropped),
	:'metrics', 'the columns of vps_metrics are the METRICS of sample.h, in its order');
SELECT is(array_length(string_to_array(:'metrics', ','), 1) >= 32, true, 'sample.h was read');
SELECT ok(rollup_columns() <@ string_to_array(:'metrics', ','), 'what is rolled up is a metric');
SELECT has_column('observ', t, m || f, format('%s has %s%s', t, m, f))
	FROM unnest(ARRAY['metrics_5m', 'metrics_1h']) t, unnest(ARRAY['cpu_percent', 'app_memory_mb']) m,
	unnest(ARRAY['_avg', '_min', '_max']) f;

SELECT ok(pg_get_indexdef(i::regclass) LIKE d, i) FROM (VALUES
	('log_entries_search_idx', '%USING gin (search)'),
	('log_entries_timestamp_idx', '%USING btree ("timestamp")'),
	('log_entries_vps_name_timestamp_idx', '%USING btree (vps_name, "timestamp")'),
	('log_entries_app_name_timestamp_idx', '%USING btree (app_name, "timestamp")')) v(i, d);
SELECT is((SELECT count(*) FROM partitions('log_entries') p, pg_index i WHERE i.indrelid = p.partition),
	(SELECT 4 * count(*) FROM partitions('log_entries')),
	'each partition of log_entries has the four indexes');
SELECT is((SELECT count(*) FROM pg_class WHERE relnamespace = 'observ'::regnamespace
	AND reloptions::text LIKE '%fastupdate%'),
	0::bigint, 'GIN keeps its default, fastupdate');
SELECT ok((SELECT 'fillfactor=20' = ANY (reloptions) FROM pg_class WHERE oid = 'agents'::regclass),
	'agents leaves room for updates on the page');

-- What Citus and cheap inserts need.
SELECT is((SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
	WHERE relnamespace = 'observ'::regnamespace), 'check_patch check_rule secrets_apart',
	'no triggers, but those that refuse rules that make no sense, and one that hides secrets');
SELECT is((SELECT count(*) FROM pg_constraint WHERE connamespace = 'observ'::regnamespace AND contype = 'f'),
	0::bigint,
	'no foreign keys');
SELECT is((SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indrelid, unnest(ARRAY['vps_name'] ||
		CASE WHEN relkind = 'p' THEN 'timestamp' END) k
	WHERE relnamespace = 'observ'::regnamespace AND indisunique
		AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'vps_name')
		AND relname NOT IN ('agent_roles', 'server_tokens') AND k IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = c.oid AND a.attname = k AND a.attnum = ANY (indkey))),
	0::bigint, 'keys contain vps_name, and timestamp where partitioned');
SELECT is((SELECT string_agg(proname, ',') FROM pg_proc, regexp_matches(prosrc, 'UPDATE\s[^;]*', 'g') u
	WHERE pronamespace = 'observ'::regnamespace
	AND u[1] ~ '(clock_timestamp|random|gen_random_uuid|nextval)\s*\('), NULL,
	'no volatile function inside an UPDATE');
-- citus.sql puts these functions on the workers, where the small tables are not.
CREATE TEMPORARY TABLE of_workers AS
	SELECT oid, proname, regexp_replace(coalesce(pg_get_function_sqlbody(oid), prosrc),
		'--[^\n]*|''([^'']|'''')*''', '', 'g') AS source
	FROM pg_proc WHERE pronamespace = 'observ'::regnamespace AND NOT prosecdef
		AND (provolatile = 'i' OR proparallel = 's');
SELECT ok(count(*) > 50, 'functions that depend on nothing but their parameters are there') FROM of_workers;
SELECT is((SELECT string_agg(DISTINCT proname || ' reads ' || relname, ', ') FROM of_workers, pg_class
	WHERE relnamespace = 'observ'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
		AND source ~* ('\m(FROM|JOIN|INTO|UPDATE)\s+\(*(ONLY\s+)?(observ\.)?"?' || relname || '\M'
			|| '|,\s*(observ\.)?' || relname || '\s+(AS\s+)?\w+\s*(,|WHERE|JOIN|$)')), NULL,
	'a function for workers reads no table');
SELECT is((SELECT string_agg(DISTINCT f.proname || ' calls ' || p.proname, ', ') FROM of_workers f, pg_proc p
	WHERE p.pronamespace = 'observ'::regnamespace AND p.oid NOT IN (SELECT oid FROM of_workers)
		AND f.proname <> p.proname AND f.source ~ ('\m' || p.proname || '\(')), NULL,
	'and calls none that is not there');
SELECT is((SELECT string_agg(DISTINCT proname || ' reads ' || relname, ', ') FROM pg_class c, pg_proc p
	JOIN pg_language l ON l.oid = prolang
	WHERE pronamespace = 'observ'::regnamespace AND lanname = 'sql' AND pronargs > 0
		AND relnamespace = 'observ'::regnamespace AND (relkind = 'v' OR relkind IN ('r', 'p')
			AND relname NOT IN ('log_patterns', 'pattern_queue')
			AND (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid
				AND attname IN ('vps_name', 'app_name')) = 2)
		AND regexp_replace(coalesce(pg_get_function_sqlbody(p.oid), prosrc),
			'--[^\n]*|''([^'']|'''')*''', '', 'g') ~ ('\m' || relname || '\M')), NULL,
	'rows that may be distributed are read by functions in PL/pgSQL: Citus takes no parameters of SQL');
SELECT is((SELECT count(*) FROM pg_class WHERE relnamespace = 'observ'::regnamespace
	AND pg_get_userbyid(relowner) <> 'observ_owner'), 0::bigint, 'observ_owner owns every table');
SELECT is((SELECT rolcanlogin FROM pg_roles WHERE rolname = 'observ_owner'), false,
	'observ_owner cannot log in');

-- Agent functions, exactly as the agent calls them.
SELECT function_returns('observ', f, a, r) FROM (VALUES
	('agent_hello', ARRAY['text', 'text', 'bigint', 'bigint', 'text', 'integer',
	'timestamp with time zone', 'text'], 'setof record'),
	('agent_streams', ARRAY['text', 'text', 'bigint'], 'setof record'),
	('agent_last_seen', ARRAY['text', 'text'], 'setof record'),
	('end_stale_session', ARRAY['text', 'text'], 'void'),
	('push_open', ARRAY['text', 'text', 'bigint', 'bigint', 'jsonb'], 'void'),
	('push_metrics', ARRAY['text', 'text', 'jsonb'], 'void'),
	('push_checks', ARRAY['text', 'text', 'jsonb'], 'void'),
	('push_gaps', ARRAY['text', 'text', 'jsonb'], 'void'),
	('push_rejects', ARRAY['text', 'text', 'jsonb'], 'void'),
	('push_positions', ARRAY['text', 'text', 'jsonb'], 'void'),
	('push', ARRAY['jsonb'], 'setof void'),
	('push_logs', ARRAY['text', 'text', 'bigint[]', 'smallint[]', 'bigint[]',
	'timestamp with time zone[]', 'smallint[]',
		'text[]', 'text[]', 'jsonb[]'], 'void')) v(f, a, r);
SELECT is((SELECT string_agg(proname, ',') FROM pg_proc WHERE pronamespace = 'observ'::regnamespace
	AND prosecdef AND NOT EXISTS
	(SELECT FROM unnest(proconfig) c WHERE c ~ '^search_path=observ, pg_catalog, pg_temp$')), NULL,
	'SECURITY DEFINER functions pin their search_path, temporary tables last');
SELECT is((SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc
	WHERE pronamespace = 'observ'::regnamespace AND prosecdef
	AND proowner = 'observ_roles'::regrole),
	'bootstrap_enroll,enroll,enroll_by,make_token,retire_server,revoke_server,revoke_token,'
	'rotate_finish,rotate_server',
	'the functions that make logins run as a role that does nothing else');
SELECT is((SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'observ%' AND rolcreaterole
	AND rolname <> 'observ_admin'), 'observ_roles',
	'no other role of this schema may make roles');
SELECT set_eq($$SELECT proname::text FROM pg_proc WHERE pronamespace = 'observ'::regnamespace AND prosecdef
	AND proowner = 'observ_owner'::regrole$$, regexp_split_to_array(btrim('
	agent_hello agent_last_seen push_open stale_session_pid
	agent_streams push_positions
	push_checks push_gaps push_logs push_metrics push_rejects
	maintain make_partition
	set_retired
	any_user authorize change_password count_search give_hash_slot note_use password_salt renew_password
	sign_in sign_in_salt sign_out take_hash_slot
	end_proxy_secret make_proxy_secret sign_in_by_proxy
	account change_user create_api_token create_user delete_user end_api_token end_session
	list_api_tokens list_audit list_users one_user
	change_server create_bootstrap_token create_server delete_server end_bootstrap_token
	end_server_tokens enroll_agent list_server_tokens renew_server_token
	change_search delete_search list_searches one_search save_search
	admit_server charge_refusal ingest record_deploy
	external_questions external_values
	evaluate_alerts
	evaluate_alone
	flush_groups
	beat beat_by_token
	learn_patterns
	exchange_notifications notification_failed notification_progress notification_sent
	take_notifications test_channel lead_watch
	alert_series preview_rule
	ack_alert delete_channel delete_heartbeat delete_inhibition delete_patch delete_route delete_rule
	delete_window end_silence import_rules list_channels save_channel save_heartbeat save_inhibition
	save_patch save_route save_rule save_silence save_window test_channel_for unack_alert
	', E' \t\n'), '\s+'),
	'SECURITY DEFINER functions are those that agents call, that make tables, and that check who asks');

-- Partitions: two days back, three ahead, in UTC whatever the server's time zone, and the rest.
SELECT set_eq(format('SELECT partition::text FROM partitions(%L)', t),
	(SELECT array_agg(t || '_' || to_char((now() AT TIME ZONE 'UTC')::date + n,
	'YYYYMMDD')) || (t || '_default')
	FROM generate_series(-2, 3) n), t || ' has its partitions')
	FROM unnest(ARRAY['vps_metrics', 'health_checks', 'log_entries']) t;
SELECT is((SELECT count(*) FROM partitions('log_entries')
	WHERE lower_bound AT TIME ZONE 'UTC' <> date_trunc('day',
	lower_bound AT TIME ZONE 'UTC') OR upper_bound - lower_bound <> '24:00'), 0::bigint,
	'a partition is a day of UTC');

SELECT set_eq('SELECT kind, keep FROM retention_policy',
	$$VALUES ('metrics', '90 days'::interval), ('checks', '90 days'),
	('logs', '30 days'), ('gaps', '90 days'), ('rejects', '90 days'), ('metrics_5m', '90 days'),
	('metrics_1h', '2 years'), ('alerts', '1 year'), ('notifications', '90 days'), ('pings', '90 days'),
	('patterns', '1 year')$$,
	'retention defaults');
SELECT * FROM finish();
ROLLBACK;
