-- Each role can do its work, and nothing else.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;

\i tests/sql/logins.psql
CREATE ROLE t_loose LOGIN IN ROLE observ_agent;

-- ---- enroll ---------------------------------------------------------------------------
CREATE TEMP TABLE e AS SELECT * FROM enroll('web-1') WHERE false;
GRANT ALL ON e TO PUBLIC;
SELECT is(run_as('observ_admin', $$INSERT INTO e SELECT * FROM enroll('web-1')$$), 'ok',
	'an admin without superuser enrolls');
SELECT is((SELECT role_name FROM e), 'obs_web_1', 'the role is named after the server');
SELECT cmp_ok((SELECT length(password) FROM e), '>=', 32, 'the password is long');
SELECT is((SELECT rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
	OR rolbypassrls)
	AND rolconnlimit BETWEEN 10 AND 20 FROM pg_roles WHERE rolname = 'obs_web_1'), true,
	'the role can log in, no more');
SELECT ok((SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'obs_web_1'),
	'only a SCRAM verifier is kept');
SELECT is((SELECT array_agg(roleid::regrole::text) FROM pg_auth_members WHERE member = 'obs_web_1'::regrole),
	'{observ_agent}',
	'it is an agent');
SELECT is((SELECT vps_name FROM agent_roles WHERE role = 'obs_web_1'), 'web-1', 'it is bound to its server');

CREATE TEMP TABLE verifier AS SELECT rolpassword AS v FROM pg_authid WHERE rolname = 'obs_web_1';
SELECT is((SELECT role_name FROM enroll('web-1')), 'obs_web_1', 'enrolling again keeps the role');
SELECT isnt((SELECT rolpassword FROM pg_authid WHERE rolname = 'obs_web_1'), (SELECT v FROM verifier),
	'and changes the password');
SELECT is((SELECT count(*) FROM agent_roles WHERE vps_name = 'web-1'), 1::bigint, 'one binding remains');
SELECT matches((SELECT role_name FROM enroll('Web.1')), '^obs_web_1_[0-9a-f]{8}$',
	'names that look alike get roles of their own');
SELECT matches((SELECT role_name FROM enroll(repeat('ü"; DROP TABLE agents; --', 4))),
	'^obs_[a-z0-9_]{1,60}$',
	'a role name is safe whatever the server is called');
CREATE ROLE obs_db_9 LOGIN;
SELECT isnt((SELECT role_name FROM enroll('db-9')), 'obs_db_9',
	'a role that somebody else made is not taken over');
SELECT is(try_as(r, $$SELECT observ.enroll('web-3')$$), '42501', r || ' can not enroll')
	FROM unnest(ARRAY['obs_web_1', 't_any', 't_hub',
	't_watch', 't_reader', 't_nobody']) r;
SELECT is(try_as('observ_admin', format('SELECT enroll(%L)', n)), '22023', 'a bad name is refused')
	FROM unnest(ARRAY['', repeat('x', 129), E'a\nb', E'a\x1bb', E'a\u0085b', NULL]) n;

-- ---- what an agent reaches: everything in the catalog is tried -----------------------------
CREATE TEMP TABLE agent_roles_t AS SELECT unnest(ARRAY['obs_web_1', 't_any', 't_loose']) AS r;
SELECT is((SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc
	WHERE pronamespace = 'observ'::regnamespace AND has_function_privilege(r, oid, 'EXECUTE')),
	'agent_hello,agent_last_seen,agent_streams,end_stale_session,push,push_checks,push_gaps,push_logs,'
	'push_metrics,push_open,push_positions,push_rejects,stale_session_pid',
	r || ' can execute the agent functions only') FROM agent_roles_t;
SELECT is((SELECT string_agg(oid::regclass::text, ',') FROM pg_class
	WHERE relnamespace = 'observ'::regnamespace
	AND relkind IN ('r', 'p', 'v', 'm', 'f') AND (has_table_privilege(r, oid,
		'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		OR has_any_column_privilege(r, oid,
		'SELECT, INSERT, UPDATE, REFERENCES'))), NULL, r || ' has no right on any table or view')
		FROM agent_roles_t;
SELECT is((SELECT string_agg(oid::regclass::text, ',') FROM pg_class
	WHERE relnamespace = 'observ'::regnamespace
	AND relkind = 'S' AND has_sequence_privilege(r, oid, 'USAGE, SELECT, UPDATE')), NULL,
	r || ' has no right on any sequence')
	FROM agent_roles_t;
SELECT is((SELECT count(*) FROM pg_class c WHERE relnamespace = 'observ'::regnamespace
	AND relkind IN ('r', 'p', 'v')
	AND try_as(r, format('SELECT FROM %s', c.oid::regclass)) <> '42501'), 0::bigint,
	r || ' reads no table or view, tried')
	FROM agent_roles_t;
SELECT is((SELECT string_agg(nspname, ',') FROM pg_namespace WHERE has_schema_privilege(r, oid, 'CREATE')),
	NULL,
	r || ' can create nothing') FROM agent_roles_t;
SELECT is(has_database_privilege(r, current_database(), 'CREATE, TEMPORARY'), false,
	r || ' can not even make temporary tables')
	FROM agent_roles_t;
SELECT is(try_as(r, 'SET ROLE ' || o), '42501', format('%s can not become %s', r, o))
	FROM agent_roles_t, unnest(ARRAY['observ_owner', 'observ_hub', 'observ_watch', 'observ_reader',
	'observ_admin']) o;
SELECT is(try_as(r, 'DROP TABLE observ.agents'), '42501', r || ' can not drop') FROM agent_roles_t;

-- ---- an agent writes as itself -----------------------------------------------------------
CREATE TEMP TABLE calls AS SELECT * FROM (VALUES
	('agent_hello', $$SELECT observ.agent_hello(%L, 'a', 1, NULL, '1', 60, now())$$),
	('agent_streams', $$SELECT observ.agent_streams(%L, 'a', 1)$$),
	('agent_last_seen', $$SELECT observ.agent_last_seen(%L, 'a')$$),
	('stale_session_pid', $$SELECT observ.stale_session_pid(%L, 'a')$$),
	('end_stale_session', $$SELECT observ.end_stale_session(%L, 'a')$$),
	('push_open', $$SELECT observ.push_open(%L, 'a', 1, 1, NULL)$$),
	('push_metrics', $$SELECT observ.push_metrics(%L, 'a', '[]')$$),
	('push_checks', $$SELECT observ.push_checks(%L, 'a', '[]')$$),
	('push_gaps', $$SELECT observ.push_gaps(%L, 'a', '[]')$$),
	('push_rejects', $$SELECT observ.push_rejects(%L, 'a', '[]')$$),
	('push', $$SELECT observ.push(jsonb_build_array(%L, 'a', 1, 2, 0, 0))$$),
	('push_positions', $$SELECT observ.push_positions(%L, 'a', '[]')$$),
	('push_logs', $$SELECT observ.push_logs(%L, 'a', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
	'{}')$$)) v(f, sql);
SELECT is((SELECT count(*) FROM calls), (SELECT count(*) FROM pg_proc
	WHERE pronamespace = 'observ'::regnamespace
	AND has_function_privilege('observ_agent', oid, 'EXECUTE')),
	'every function that an agent may execute is tried here');
SELECT is(run_as('obs_web_1', format(sql, 'web-1')), 'ok', f || ' as itself') FROM calls ORDER BY ctid;
SELECT is(try_as('obs_web_1', format(sql, 'web-2')), '42501', f || ' as another server is refused')
	FROM calls;
SELECT is(try_as('obs_web_1', format(sql, NULL)), '42501', f || ' as nobody is refused') FROM calls;
SELECT is(try_as('t_loose', format(sql, 'web-1')), '42501',
	f || ' by a role that is not enrolled is refused') FROM calls;
SELECT is(try_as('t_nobody', format(sql, 'web-1')), '42501', f || ' by a stranger is refused') FROM calls;
SELECT is(run_as('t_any', format(sql, 'web-7')), 'ok', f || ' as any server') FROM calls ORDER BY ctid;
SELECT is(try_as('t_any', format(sql, repeat('x', 129))), '22023', f || ' refuses a name of 201 characters')
	FROM calls;
SELECT is(try_as('t_any', format(sql, E'a\tb')), '22023', f || ' refuses control characters in a name')
	FROM calls;
GRANT observ_agent_any TO obs_web_1;
SELECT is(try_as('obs_web_1', format(sql, 'web-2')), '42501',
	f || ': the binding holds against observ_agent_any') FROM calls;
REVOKE observ_agent_any FROM obs_web_1;
-- A temporary or public namesake can not stand in for a table of ours.
SELECT is(try_as('obs_web_1', $$SELECT set_config('search_path', 'pg_temp, public', false),
	observ.push_gaps('web-1', 'a', '[]')$$), 'ok', 'the search_path of the caller does not matter');

-- ---- the readers ----------------------------------------------------------------------------
SELECT set_eq($$SELECT relname FROM pg_class WHERE relnamespace = 'observ'::regnamespace
	AND relkind IN ('r', 'p', 'v')
	AND has_table_privilege('t_reader', oid, 'SELECT')$$,
	ARRAY['v_metrics', 'v_metrics_5m', 'v_metrics_1h', 'v_checks',
	'v_logs', 'v_gaps', 'v_agents', 'v_series'], 'observ_reader reads the views only');
SELECT is(run_as('t_reader', format('SELECT "time", vps_name FROM observ.%I LIMIT 1', v)), 'ok',
	'observ_reader reads ' || v)
	FROM unnest(ARRAY['v_metrics', 'v_metrics_5m', 'v_metrics_1h', 'v_checks', 'v_logs', 'v_gaps',
	'v_agents', 'v_series']) v;
SELECT is(try_as(r, format('SELECT FROM observ.%I', t)), 'ok', format('%s reads %s', r, t))
	FROM unnest(ARRAY['t_hub', 't_watch']) r,
	unnest(ARRAY['vps_metrics', 'health_checks', 'log_entries', 'agents', 'log_streams', 'gaps',
	'rejects', 'retention_policy',
	'schema_version', 'metrics_5m', 'metrics_1h', 'job_runs', 'agent_roles']) t;
SELECT is((SELECT string_agg(oid::regclass::text, ',') FROM pg_class
	WHERE relnamespace = 'observ'::regnamespace
	AND relkind IN ('r', 'p', 'v') AND has_table_privilege(r, oid,
	'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')), NULL,
	r || ' writes nothing') FROM unnest(ARRAY['t_hub', 't_watch', 't_reader', 't_nobody']) r;
-- Which functions each may execute: rights.txt.
SELECT is(try_as('t_nobody', 'SELECT FROM observ.v_logs'), '42501', 'a stranger reads nothing');
SELECT is(try_as('t_watch', 'SELECT observ.maintain()'), 'ok', 'observ_watch runs maintain()');
SELECT is(try_as('observ_admin', 'DELETE FROM observ.log_entries'), 'ok', 'the admin deletes');

-- ---- revoke ---------------------------------------------------------------------------------
SELECT is(run_as('observ_admin', $$SELECT revoke_server('web-1')$$), 'ok', 'the admin revokes');
SELECT hasnt_role('obs_web_1');
SELECT is((SELECT count(*) FROM agent_roles WHERE vps_name = 'web-1'), 0::bigint, 'the binding is gone');
SELECT is((SELECT count(*) FROM agents WHERE vps_name = 'web-1'), 1::bigint, 'its rows stay');
SELECT is((SELECT role_name FROM enroll('web-1')), 'obs_web_1', 'and it can be enrolled again');
SELECT * FROM finish();
ROLLBACK;
