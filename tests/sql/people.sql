-- Users, sessions, tokens and limits: what the hub's login can do with what it has seen, and nothing without.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql
CREATE ROLE t_enroll LOGIN IN ROLE observ_enroll;

-- As fleet_hub does: the key of a password is 32 bytes, a token goes in as its hash.
CREATE FUNCTION pg_temp.key(p_password text) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to('key of ' || p_password, 'UTF8')) $$;
CREATE FUNCTION pg_temp.secret(p_password text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('salt', repeat('ab', 16), 'passes', 2, 'memory_mib', 19,
		'verifier', encode(sha256(pg_temp.key(p_password)), 'hex')) $$;
CREATE FUNCTION pg_temp.hash(p_token text) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to(p_token, 'UTF8')) $$;
CREATE FUNCTION pg_temp.sign_in(p_email text, p_password text, p_token text,
	p_address text DEFAULT '192.0.2.1') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ret json;
BEGIN
	PERFORM set_config('session_authorization', 't_hub', true),
		set_config('observ.address', p_address, true);
	ret := sign_in(p_email, pg_temp.key(p_password), pg_temp.hash(p_token), 'browser', NULL);
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN ret ->> 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;

-- ---- the shell makes users -----------------------------------------------------------------------
SELECT is(any_user(), false, 'nobody is there at first');
SELECT is(run_as('t_enroll', format('SELECT create_user(%L, %L, %L)', 'shell'::bytea,
	jsonb_build_object('email', role || '@x', 'role', role), pg_temp.secret('pw ' || role))), 'ok',
	'a member of observ_enroll makes a user who is ' || role)
	FROM unnest('{viewer,operator,admin}'::text[]) role;
SELECT is(run_as(r, format('SELECT observ.create_user(%L, %L, NULL)', 'shell'::bytea,
	'{"email": "y@x", "role": "admin"}')), e, format('%s is told %s', r, e))
	FROM (VALUES ('t_hub', 'OB401'), ('t_watch', '42501'), ('t_reader', '42501'), ('t_nobody', '42501'))
	v(r, e);
SELECT is((SELECT count(*) FROM users), 3::bigint, 'the shell''s word is worth nothing from the hub');

-- ---- a stolen login of the hub ---------------------------------------------------------------------
SELECT is(pg_temp.sign_in('viewer@x', 'pw viewer', 'token of viewer'), 'true',
	'the hub opens a session with the key of the password');
SELECT is(pg_temp.sign_in('admin@x', 'wrong', 'mine'), 'false', 'and none without');
SELECT is(run_as('t_hub', format('SELECT authorize(%L, %L)', pg_temp.hash('token of viewer'), 'viewer')),
	'ok', 'what it has seen the token of, it can use');
SELECT is(run_as('t_hub', format('SELECT authorize(%L, %L)', pg_temp.hash('token of viewer'), 'operator')),
	'OB403', 'within the role of its user');
SELECT is(run_as('t_hub', format('SELECT authorize(%L, %L)', h, 'viewer')), 'OB401',
	'a row of the table is no token')
	FROM (SELECT token_hash AS h FROM sessions UNION ALL SELECT NULL UNION ALL SELECT '\x') s;

-- Each function that the hub may execute and that may write, with everything that is no token: none lets
-- it in. Those that open a session have their own tests.
CREATE TEMP TABLE writing AS SELECT p.oid, proname, (SELECT string_agg(CASE WHEN name = 'p_hash'
		THEN '%1$L::bytea' ELSE format('NULL::%s', t::regtype) END, ', ' ORDER BY n)
		FROM unnest(proargtypes::oid[], proargnames) WITH ORDINALITY a(t, name, n)) AS args
	FROM pg_proc p WHERE pronamespace = 'observ'::regnamespace AND prosecdef
		AND has_function_privilege('t_hub', oid, 'EXECUTE')
		AND proname NOT IN ('sign_in', 'sign_in_salt', 'any_user', 'take_hash_slot', 'give_hash_slot',
		'charge_refusal',
		'beat_by_token',                        -- its token has a test of its own
		'alert_series', 'preview_rule');        -- only read, of rules that are there
SELECT cmp_ok((SELECT count(*) FROM writing), '>=', 17::bigint, 'there are some');
SELECT is(run_as('t_hub', format('SELECT observ.%I(%s)', proname, format(args, h))), 'OB401',
	format('%s refuses %s', proname, coalesce(h::text, 'null')))
	FROM writing, unnest(ARRAY[NULL, '\x', 'shell', sha256('x'),
		(SELECT token_hash FROM sessions LIMIT 1)]) h ORDER BY proname;
-- With the session of a viewer: nothing for admins.
SELECT is(run_as('t_hub', format('SELECT observ.%I(%s)', proname,
	format(args, pg_temp.hash('token of viewer')))), 'OB403', proname || ' refuses a viewer')
	FROM writing WHERE proname IN ('list_users', 'one_user', 'create_user', 'change_user', 'delete_user',
	'list_api_tokens', 'list_audit');
SELECT is((SELECT count(*) FROM users WHERE role = 'admin'), 1::bigint, 'there is one admin still');
-- What belongs to alerts: a viewer writes nothing, an operator nothing that only admins may. The hub asks for
-- the same role, so only a call past it shows that the database does.
SELECT is(pg_temp.sign_in('operator@x', 'pw operator', 'token of operator'), 'true', 'an operator signs in');
CREATE TEMP TABLE wanted AS SELECT needs, f FROM (VALUES
	('operator', '{save_rule,delete_rule,import_rules,save_patch,delete_patch,ack_alert,unack_alert,
		save_silence,end_silence,list_channels,test_channel_for,save_heartbeat,
		delete_heartbeat}'::text[]),
	('admin', '{save_channel,delete_channel,save_route,delete_route,save_inhibition,delete_inhibition,
		save_window,delete_window}')) v(needs, fs), unnest(fs) f;
SELECT is(run_as('t_hub', format('SELECT observ.%I(%s)', proname,
	format(args, pg_temp.hash('token of ' || role)))), 'OB403', format('%s refuses a %s', proname, role))
	FROM wanted JOIN writing ON proname = f, unnest('{viewer,operator}'::text[]) role
	WHERE role = 'viewer' OR needs = 'admin' ORDER BY proname, role;
SELECT set_eq('SELECT f FROM wanted', 'SELECT proname::text FROM writing JOIN wanted ON f = proname',
	'each of them is there');

-- It may claim any address, and yet try a password no more often than anybody.
SELECT is((SELECT string_agg(pg_temp.sign_in('admin@x', 'guess ' || i, 'mine', '198.51.100.' || i), ',')
	FROM generate_series(1, 40) i), repeat('false,', 29) || repeat('OB429,', 10) || 'OB429',
	'30 tries in half an hour, wherever they come from');
SELECT is(pg_temp.sign_in('viewer@x', 'pw viewer', 'second', '192.0.2.1'), 'true', 'others are not affected');
INSERT INTO known_addresses SELECT user_id, '203.0.113.7', now() FROM users WHERE email = 'admin@x';
SELECT is(pg_temp.sign_in('admin@x', 'pw admin', 'token of admin', '203.0.113.7'), 'true',
	'and the owner gets in, from where he has been before');
SELECT is(pg_temp.sign_in('nobody@x', 'guess', 'mine'), 'false', 'an unknown name is an answer like any');

-- ---- names that nobody has -------------------------------------------------------------------------
CREATE FUNCTION pg_temp.salt(p_email text) RETURNS json LANGUAGE sql AS $$
	SELECT value_as('t_hub', format('SELECT observ.sign_in_salt(%L)', p_email))::json $$;
TRUNCATE limits;
SELECT is(pg_temp.salt('nobody@x')::text, pg_temp.salt(' Nobody@X')::text, 'get the same salt each time');
SELECT isnt(pg_temp.salt('nobody@x') ->> 'salt', pg_temp.salt('else@x') ->> 'salt', 'and others another');
SELECT matches(pg_temp.salt('nobody@x')::text, '"salt" : "[0-9a-f]{32}", "passes" : 2, "memory_mib" : 19',
	'of the same form, at the cost of a user');

-- ---- limits ------------------------------------------------------------------------------------------
INSERT INTO limit_policy VALUES ('t', 3, '3 minutes');
CREATE FUNCTION pg_temp.take(p_key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_detail text;
BEGIN
	PERFORM take('t', p_key);
	RETURN current_setting('observ.rate');
EXCEPTION WHEN SQLSTATE 'OB429' THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN v_detail;
END $$;
SELECT is(pg_temp.take('k'), e, 'a burst: ' || e) FROM unnest('{3\,2\,60,3\,1\,120,3\,0\,180}'::text[]) e;
SELECT is(pg_temp.take('k')::jsonb - 'kind', '{"limit": 3, "reset": 180, "retry_after": 60}',
	'then a refusal, with the time to wait');
SELECT is(pg_temp.take('other'), '3,2,60', 'another key has its own');
UPDATE limits SET free_at = free_at - interval '60 s' WHERE key = 'k';
SELECT is(pg_temp.take('k'), '3,0,180', 'after a minute there is one again');
SELECT lives_ok($$SELECT give_back('t', 'k')$$);
SELECT is(pg_temp.take('k'), '3,0,180', 'and one that was given back');
UPDATE limits SET free_at = now() - interval '1 day' WHERE key = 'k';
SELECT is(pg_temp.take('k'), '3,2,60', 'time in which nothing happened gives no more than the burst');
SELECT lives_ok($$SELECT take('no such kind', 'k')$$, 'what has no policy has no limit');
SELECT is(address_key(a), k, a || ' counts as ' || k) FROM (VALUES ('192.0.2.1', '192.0.2.1'),
	('2001:db8:1:2:3::4', '2001:db8:1:2::/64'), ('', ''), ('unix', 'unix')) v(a, k);

-- ---- what was refused counts ---------------------------------------------------------------------------
TRUNCATE limits;
SELECT is(value_as('t_hub', format('SELECT observ.charge_refusal(%L, ''write'')',
	pg_temp.hash('token of admin'))), 'true', 'the hub charges who has shown a session');
SELECT is((SELECT key FROM limits), (SELECT user_id::text FROM users WHERE email = 'admin@x'),
	'and nobody else');
SELECT is(run_as('t_hub', format('SELECT observ.charge_refusal(%L, %L)', h, k)), 'OB401',
	format('without one it charges nobody: %s of %s', k, coalesce(h::text, 'null')))
	FROM unnest(ARRAY[NULL, '\x', sha256('x'), (SELECT token_hash FROM sessions LIMIT 1)]) h,
		unnest('{write,ingest}'::text[]) k;
SELECT is((SELECT count(*) FROM limits), 1::bigint, 'no other limit is touched');
UPDATE limits SET free_at = now() + interval '1 hour';
SELECT is(value_as('t_hub', format('SELECT observ.charge_refusal(%L, ''write'')',
	pg_temp.hash('token of admin'))), 'false', 'beyond the limit there is no more to charge');
TRUNCATE limits;

-- ---- slots for passwords -------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.slot() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v_detail text;
BEGIN
	RETURN value_as('t_hub', 'SELECT observ.take_hash_slot()');
EXCEPTION WHEN SQLSTATE 'OB429' THEN
	PERFORM set_config('session_authorization', 'postgres', true);
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN v_detail;
END $$;
CREATE TEMP TABLE leases AS SELECT n, pg_temp.slot()::jsonb AS lease FROM generate_series(1, 5) n;
SELECT is((SELECT string_agg(coalesce(lease->>'slot', 'none'), ',' ORDER BY n) FROM leases), '1,2,3,4,none',
	'four passwords at once, and no fifth');
SELECT is((SELECT lease FROM leases WHERE n = 5), '{"limit": 4, "reset": 2, "retry_after": 2}',
	'with the time to wait');
SELECT is(value_as('t_hub', format('SELECT observ.give_hash_slot(%L)', lease || '{"until": "2026-01-01Z"}')),
	'false', 'a lease of another time gives nothing back') FROM leases WHERE n = 2;
SELECT is(value_as('t_hub', format('SELECT observ.give_hash_slot(%L)', lease)), 'true', 'one is given back')
	FROM leases WHERE n = 3;
SELECT is(pg_temp.slot()::jsonb->>'slot', '3', 'and taken again');
UPDATE hash_slots SET busy_until = now() - interval '1 s' WHERE slot = 1;
SELECT is(pg_temp.slot()::jsonb->>'slot', '1',
	'as is that of a process that was killed, when its time is up');
UPDATE limit_policy SET burst = 2 WHERE kind = 'password hash';
UPDATE hash_slots SET busy_until = '-infinity';
SELECT is((SELECT string_agg(coalesce(pg_temp.slot()::jsonb->>'slot', 'none'), ',')
	FROM generate_series(1, 3)), '1,2,none', 'fewer at once');
DELETE FROM limit_policy WHERE kind = 'password hash';
SELECT is(pg_temp.slot()::jsonb->>'slot', '0', 'without a policy as many as come');

-- ---- sessions ----------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.may(p_token text, p_role text DEFAULT 'viewer') RETURNS text LANGUAGE sql AS $$
	SELECT run_as('t_hub', format('SELECT authorize(%L, %L)', pg_temp.hash(p_token), p_role)) $$;
SELECT is(pg_temp.may('token of admin', 'admin'), 'ok', 'an admin');
SELECT is(run_as('t_hub', format('SELECT change_user(%L, %L, %L, NULL)', pg_temp.hash('token of admin'),
	'viewer@x', '{"role": "operator"}')), 'ok', 'changes a role');
SELECT is(pg_temp.may('token of viewer'), 'OB401', 'and the sessions of that user have ended');
SELECT is(pg_temp.sign_in('viewer@x', 'pw viewer', 'third'), 'true', 'a new one');
SELECT is(pg_temp.may('third', 'operator'), 'ok', 'has the new rights');
SELECT is(pg_temp.may('third', 'admin'), 'OB403', 'and no more');
SELECT is(pg_temp.may('third', 'king'), 'OB403', 'a role that is none is for nobody');
SELECT is(pg_temp.may('token of admin', 'king'), 'OB403', 'not even for admins');
UPDATE sessions SET last_seen_at = now() - interval '2 minutes'
	WHERE token_hash = sha256(pg_temp.hash('third'));
SELECT is(value_as('t_hub', format('SELECT authorize(%L, %L)', pg_temp.hash('third'), 'viewer'))::jsonb
	- 'user_id', '{"email": "viewer@x", "role": "operator", "how": "session", "not_noted": true,
	"operator": true, "admin": false}', 'the hub is told who it is, and that the use is to be noted');
UPDATE session_policy SET idle = '1 minute';
SELECT is(pg_temp.may('third'), 'OB401', 'a session that was not used for longer than allowed has ended');
UPDATE session_policy SET idle = '12 hours';
SELECT is(pg_temp.may('third'), 'ok', 'and is there where that is allowed');
UPDATE sessions SET expires_at = now() WHERE token_hash = sha256(pg_temp.hash('third'));
SELECT is(pg_temp.may('third'), 'OB401', 'at its absolute end it is over');
UPDATE sessions SET expires_at = now() + interval '1 h' WHERE token_hash = sha256(pg_temp.hash('third'));
UPDATE users SET disabled_at = now() WHERE email = 'viewer@x';
SELECT is(pg_temp.may('third'), 'OB401', 'a user who is disabled is out');
SELECT is(pg_temp.sign_in('viewer@x', 'pw viewer', 'fourth'), 'false', 'and does not come in again');
SELECT is((SELECT count(*) FROM (SELECT pg_temp.sign_in('operator@x', 'pw operator', 'many ' || i)
	FROM generate_series(1, 120) i) x), 120::bigint, 'a user signs in 120 times');
SELECT is((SELECT count(*) FROM sessions JOIN users USING (user_id) WHERE email = 'operator@x'), 100::bigint,
	'and has the newest 100 sessions');
SELECT is((SELECT string_agg(DISTINCT action, ',') FROM audit_log WHERE actor = 'operator@x'), 'sign-in',
	'which are in the audit log');
SELECT throws_ok($$SELECT add_session(gen_random_uuid(), '\x00', '')$$, '22023');

-- ---- nothing of it is told ---------------------------------------------------------------------------
SELECT unalike(value_as('t_hub', format('SELECT %s', call))::text, '%' || secret || '%',
	call || ' tells no secret')
	FROM unnest(ARRAY[format('list_users(%L, NULL, 10)', pg_temp.hash('token of admin')),
		format('one_user(%L, %L)', pg_temp.hash('token of admin'), 'operator@x'),
		format('account(%L)', pg_temp.hash('token of admin'))]) call,
	(SELECT encode(verifier, 'hex') AS secret FROM users UNION ALL SELECT encode(token_hash, 'hex')
	FROM sessions) s;
SELECT * FROM finish();
ROLLBACK;
