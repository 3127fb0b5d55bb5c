-- Servers come and go: tokens, two logins at once, retirement, and two machines with one identity.
\set two_tokens `psql -XAtqc "SELECT role_name || ' ' || password FROM make_token(3)" -U observ_admin`
SELECT split_part(:'two_tokens', ' ', 1) AS token, split_part(:'two_tokens', ' ', 2) AS pw \gset
\setenv PGPASSWORD :pw
\setenv TOKEN :token
-- Five with a token for three.
\set five `tests/sql/shell enroll_five`

BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
CREATE ROLE t_enroll LOGIN IN ROLE observ_enroll;

-- ---- a token, over its own connections -----------------------------------------------------------
SELECT is((SELECT count(*) FROM regexp_matches(:'five', 'made obs_fleet_\d', 'g')), 3::bigint,
	'three servers are enrolled at once, no more');
SELECT is((SELECT count(*) FROM regexp_matches(:'five', 'this token is used up|is known already', 'g')),
	2::bigint, 'the others are told why not');
SELECT is((SELECT array_agg(DISTINCT count) FROM (SELECT count(*) FROM agent_roles
	WHERE vps_name LIKE 'fleet-%' GROUP BY vps_name) c), '{1}',
	'none of them twice');
SELECT is((SELECT used FROM bootstrap_tokens WHERE role = :'token'), 3, 'the uses are counted');
SELECT is((SELECT count(*) FROM agent_roles WHERE enrolled_by = :'token'), 3::bigint,
	'and it is known who was enrolled with it');

-- ---- what a token is ---------------------------------------------------------------------------------
CREATE TEMP TABLE k (role_name text, password text);
GRANT ALL ON k TO PUBLIC;
SELECT is(run_as('t_enroll', 'INSERT INTO k SELECT * FROM make_token()'), 'ok',
	'observ_enroll makes tokens');
SELECT role_name AS k FROM k \gset
SELECT is((SELECT rolcanlogin AND rolvaliduntil < now() + interval '2 days 1 minute'
	AND NOT (rolsuper OR rolcreaterole OR rolcreatedb)
	AND rolconnlimit = 5 FROM pg_roles WHERE rolname = :'k'), true, 'a token is a login that ends');
CREATE FUNCTION pg_temp.said(p_role text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('session_authorization', p_role, true);
	EXECUTE p_sql;
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at)
	VALUES ('old', 'a', 1, now(), now());
SELECT min(vps_name) AS known FROM agent_roles WHERE enrolled_by = :'token' \gset
SELECT matches(pg_temp.said(:'k', format('SELECT observ.bootstrap_enroll(%L)', :'known')),
	'^42501 a server "fleet-." is known already, and a token is for new ones',
	'it cannot enroll a known server');
SELECT is(pg_temp.said(:'k', $$SELECT observ.bootstrap_enroll('old')$$),
	'42501 a server "old" is known already, and a token is for new ones',
	'nor a server that only has rows');
SELECT is(pg_temp.said(:'k', $$SELECT observ.bootstrap_enroll(E'a\nb')$$),
	'22023 vps_name must have 1 to 128 bytes, no control characters, and no space at its ends',
	'names are checked');
-- The agent has the same rule: the_name_of_a_server_... in tests/unit/common/test_common.c.
SELECT matches(pg_temp.said('postgres', format('SELECT observ.' || call, n)),
	CASE WHEN fits THEN '^ok$' ELSE '^22023 ...+ must have 1 to 128 bytes' END,
	split_part(call, '(', 1) || ' of ' || to_json(left(n, 20)))
	FROM unnest(ARRAY['check_name(''vps_name'', %L)', 'check_writer(%L, ''a'', 0)',
		'check_writer(''a'', %L, 0)']) call,
	(VALUES ('a', true), ('web 1', true), ('a/b', true), ('ä', true), ('${x}', true), ('''', true),
	('', false), (' ', false), (' a', false), ('a ', false), (E'a\n', false), (E'a\x7fb', false),
	(U&'a\0085b', false), (repeat('a', 128), true), (repeat('a', 129), false), (repeat('ä', 64), true),
	(repeat('ä', 65), false)) v(n, fits);
UPDATE bootstrap_tokens SET expires_at = '2026-01-01Z' WHERE role = :'k';
SELECT matches(pg_temp.said(:'k', $$SELECT observ.bootstrap_enroll('new-1')$$),
	'^42501 this token expired at ', 'it tells that it expired');
UPDATE bootstrap_tokens SET expires_at = 'infinity' WHERE role = :'k';
SELECT is(pg_temp.said(:'k', $$SELECT observ.bootstrap_enroll('new-1')$$), 'ok',
	'by default it works once');
SELECT is(pg_temp.said(:'k', $$SELECT observ.bootstrap_enroll('new-2')$$),
	'42501 this token is used up: it was for 1 server(s)', 'and not twice');
SELECT is(run_as('t_enroll', format('SELECT revoke_token(%L)', :'k')), 'ok', 'it can be revoked');
SELECT hasnt_role(:'k');
SELECT is(revoke_token('nobody'), false, 'once');
SELECT is(try_as('t_enroll', format('SELECT make_token(%s)', a)), '22023', 'no token of ' || a)
	FROM unnest(ARRAY['0', '10001', 'NULL', $$1, '0'$$,
	$$1, '91 days'$$, '1, NULL']) a;
UPDATE bootstrap_tokens SET expires_at = now() - interval '2 days' WHERE role = :'token';
SELECT count(*) FROM make_token() \g /dev/null
SELECT hasnt_role(:'token');

-- ---- two logins at once ---------------------------------------------------------------------------------
SELECT count(*) FROM enroll('rot') \g /dev/null
CREATE FUNCTION pg_temp.writes(p_role text) RETURNS text LANGUAGE sql AS $$ SELECT pg_temp.said(p_role,
	$q$SELECT observ.push_gaps('rot', 'a', '[]')$q$) $$;
TRUNCATE k;
SELECT is(run_as('t_enroll', $$INSERT INTO k SELECT * FROM rotate_server('rot')$$), 'ok',
	'a server gets a second login');
SELECT role_name AS second FROM k \gset
SELECT matches(:'second'::text, '^obs_rot_[0-9a-f]{8}$', 'under a new name');
SELECT is(try_as('t_enroll', $$SELECT rotate_server('rot')$$), '55000',
	'there is no third login while agents may use the first');
SELECT is(pg_temp.writes('obs_rot'), 'ok', 'the first still writes');
SELECT is(pg_temp.writes(:'second'), 'ok', 'and so does the second');
SELECT results_eq($$SELECT state, old_login, old_valid_until BETWEEN now() + interval '6 days'
	AND now() + interval '8 days' FROM v_servers WHERE vps_name = 'rot'$$,
	$$VALUES ('rotating', 'obs_rot', true)$$, 'v_servers shows it, and until when');
SELECT ok((SELECT rolvaliduntil < now() + interval '8 days' FROM pg_roles WHERE rolname = 'obs_rot'),
	'the old password expires');
UPDATE agent_roles SET valid_until = now() WHERE role = 'obs_rot';
SELECT matches(pg_temp.writes('obs_rot'), '^42501 login obs_rot of server "rot" was replaced',
	'open sessions and certificates end with it');
SELECT is((SELECT role_name FROM enroll('rot')), :'second'::text,
	'enroll() gives the new login another password');
TRUNCATE k;
INSERT INTO k SELECT * FROM rotate_server('rot', '1 hour');
SELECT role_name AS third FROM k \gset
SELECT is((SELECT string_agg(role, ' ' ORDER BY enrolled_at) FROM agent_roles WHERE vps_name = 'rot'),
	:'second' || ' ' || :'third', 'never more than two');
SELECT is((SELECT rotate_finish('rot')), :'second'::text, 'the old login can be ended early');
SELECT hasnt_role(:'second');
SELECT is(pg_temp.writes(:'third'), 'ok', 'the new one stays');
SELECT is((SELECT count(*) FROM rotate_finish('rot')), 0::bigint, 'only once');
SELECT is(try_as('t_enroll', s), '22023', s) FROM unnest(ARRAY[$$SELECT rotate_server('nobody')$$,
	$$SELECT rotate_server('rot', '91 days')$$,
	$$SELECT rotate_server('rot', NULL)$$, $$SELECT retire_server('nobody')$$]) s;

-- ---- two machines, one identity ------------------------------------------------------------------
CREATE TEMP TABLE h (epoch bigint);
GRANT ALL ON h TO PUBLIC;
CREATE FUNCTION pg_temp.hello(p_process int, p_epoch text, p_host text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	ret bigint;
BEGIN
	DELETE FROM h;
	PERFORM run_as((SELECT role FROM agent_roles WHERE vps_name = 'rot'),
	format('INSERT INTO h SELECT epoch FROM observ.agent_hello(''rot'', ''a'', %s, %s, ''1'', 60,
		now(), %L)', p_process, p_epoch, p_host));
	RETURN (SELECT epoch FROM h);
END $$;
SELECT is(pg_temp.hello(1, 'NULL', 'left'), 1::bigint, 'a machine');
SELECT is(pg_temp.hello(2, 'NULL', E'ri\nght'), 2::bigint, 'another takes over');
SELECT results_eq($$SELECT host, conflict_at IS NULL FROM v_agents WHERE vps_name = 'rot'$$,
	$$VALUES ('ri?ght', true)$$, 'this may be a new machine, or the same one after a crash');
SELECT is(pg_temp.hello(1, '1', 'left'), 0::bigint, 'the first reconnects and is sent away');
SELECT results_eq($$SELECT epoch, host, conflict, conflict_at IS NOT NULL FROM v_agents
	WHERE vps_name = 'rot'$$, $$VALUES (2::bigint, 'ri?ght', 'left', true)$$,
	'v_agents shows that there are two');
SELECT is(pg_temp.hello(1, '1', NULL), NULL, 'an older agent gets its error');

-- ---- retired -------------------------------------------------------------------------------------
SELECT is(run_as('t_enroll', $$SELECT retire_server('rot')$$), 'ok', 'a server retires');
SELECT hasnt_role(:'third');
SELECT results_eq($$SELECT s.state, a.online FROM v_servers s JOIN v_agents a USING (vps_name)
	WHERE vps_name = 'rot'$$, $$VALUES ('retired', false)$$, 'the views show it as retired');
SELECT is((SELECT count(*) FROM agents WHERE vps_name = 'rot'), 1::bigint, 'its history stays');
SELECT is((SELECT count(*) FROM enroll('rot')), 1::bigint, 'it can come back');
SELECT is((SELECT state FROM v_servers WHERE vps_name = 'rot'), 'enrolled', 'and is in service again');
SELECT * FROM finish();
ROLLBACK;
SELECT revoke_server('fleet-' || n) FROM generate_series(1, 4) n \g /dev/null
SELECT revoke_token(role) FROM bootstrap_tokens \g /dev/null
