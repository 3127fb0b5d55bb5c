-- Stolen tokens: what still can be done with one that was replaced, whose server was revoked, or that makes
-- others; and names that are chosen to be taken for those of another.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql
CREATE FUNCTION pg_temp.hash(p_token text) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to(p_token, 'UTF8')) $$;
WITH u AS (INSERT INTO users (email, role, created_by) VALUES ('operator@x', 'operator', 't')
		RETURNING user_id)
	INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
	SELECT sha256(pg_temp.hash(v.token)), user_id, 't', 'operator', v.until FROM u,
		(VALUES ('t_operator', timestamptz 'infinity'), ('t_short', now() + interval '1 day'))
			v(token, until);

-- As fleet_hub calls them; the text is JSON, or the status of the refusal.
CREATE FUNCTION pg_temp.call(p_call text, VARIADIC p_arguments text[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	ret text;
BEGIN
	ret := value_as('t_hub', 'SELECT observ.' || format(p_call, VARIADIC p_arguments));
	RETURN ret::jsonb;
EXCEPTION WHEN OTHERS THEN
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN to_jsonb(sqlstate::text);
END $$;
CREATE FUNCTION pg_temp.create(p_name text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.call('create_server(%L, %L, %L)', pg_temp.hash('t_operator')::text,
		jsonb_build_object('name', p_name)::text, 'https://hub')->>'agent_token' $$;
CREATE FUNCTION pg_temp.renew(p_name text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.call('renew_server_token(%L, %L, %L)', pg_temp.hash('t_operator')::text, p_name,
		'https://hub')->>'agent_token' $$;
-- The token of the enrolled server, or the status.
CREATE FUNCTION pg_temp.enroll(p_token text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(r->>'agent_token', r #>> '{}') FROM pg_temp.call('enroll_agent(%L, %L, %L, NULL)',
		pg_temp.hash(p_token)::text, '{}', 'https://hub') r $$;
CREATE FUNCTION pg_temp.post(p_token text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(r->>'status', r #>> '{}') FROM pg_temp.call('ingest(%L, %L)',
		pg_temp.hash(p_token)::text, jsonb_build_object('ts', clock_timestamp(), 'metrics',
		'{"cpu_percent": 1}'::jsonb)::text) r $$;

-- ---- a server's token that was replaced ------------------------------------------------------------
SELECT pg_temp.create('st-1') AS stolen \gset
SELECT pg_temp.renew('st-1') AS good \gset
SELECT is(pg_temp.post(:'stolen'), 'ok', 'a token that was replaced posts for a while');
SELECT is(pg_temp.enroll(:'stolen'), 'OB403', 'but makes no token and no login that would outlive it');
SELECT is((SELECT count(*) FROM server_tokens WHERE vps_name = 'st-1' AND valid_until = 'infinity'),
	1::bigint, 'so the new one is not ended by a thief');
SELECT pg_temp.enroll(:'good') AS of_install \gset
SELECT matches(:'of_install'::text, '^obs_server_', 'the new one enrolls');
SELECT matches(pg_temp.enroll(:'good'), '^obs_server_',
	'and once more, when install.sh broke off: an enrolment replaces it, too');
SELECT pg_temp.renew('st-1') AS newest \gset
SELECT is(pg_temp.enroll(t), 'OB403', 'none of the older ones does after a person made another')
	FROM unnest(ARRAY[:'stolen', :'good', :'of_install']) t;

-- ---- a server that is not active, revoked or retired -------------------------------------------------
SELECT pg_temp.create('st-2') AS token \gset
UPDATE servers SET is_active = false WHERE vps_name = 'st-2';
SELECT is(pg_temp.enroll(:'token'), 'OB403',
	'a server that is not active gets no login in place of its posts');
SELECT pg_temp.create('st-3') AS token \gset
SELECT is(pg_temp.post(:'token'), 'ok');
SELECT lives_ok($$SELECT observ.revoke_server('st-3')$$);
SELECT is(pg_temp.post(:'token'), 'OB401', 'revoke_server() ends the tokens as it ends the logins');
SELECT is(pg_temp.enroll(:'token'), 'OB401', 'else a stolen one would make a login again');
SELECT pg_temp.create('st-4') AS token \gset
SELECT is(pg_temp.post(:'token'), 'ok');
SELECT lives_ok($$SELECT observ.retire_server('st-4')$$);
SELECT is(pg_temp.enroll(:'token'), 'OB401', 'so does retire_server()');

-- ---- an API token that makes others -------------------------------------------------------------------
SELECT is((pg_temp.call('create_api_token(%L, %L, %L)', pg_temp.hash(t)::text,
		'{"name": "more", "expires_in_days": 3650}', pg_temp.hash('made by ' || t)::text)
	->>'expires_at')::timestamptz < now() + interval '2 days', short, 'made with ' || t)
	FROM (VALUES ('t_short', true), ('t_operator', false)) v(t, short);

-- ---- names ---------------------------------------------------------------------------------------------
SELECT pg_temp.create('st-5') AS token \gset
SELECT pg_temp.create(server_id('st-5')::text) AS other \gset
SELECT is(find_server(server_id('st-5')::text), 'st-5',
	'a server_id is not the name that another has chosen');
SELECT is(find_server(server_id(server_id('st-5')::text)::text), server_id('st-5')::text,
	'whose own server_id leads to it');
SELECT is(find_server('a3e4a1a4-0000-4000-8000-000000000000'), NULL, 'one that is nobody''s leads nowhere');

-- ---- roles and addresses ------------------------------------------------------------------------------
SELECT throws_ok($$SELECT refuse_unless('admin', 'root')$$, 'OB403', NULL,
	'a role that is none is for nobody');
SELECT throws_ok($$SELECT refuse_unless('admin', NULL)$$, 'OB403', NULL, 'nor is none at all');
SELECT is(address_key(a), k, a || ' counts as ' || k) FROM (VALUES ('::ffff:192.0.2.1', '192.0.2.1'),
	('::ffff:c000:202', '192.0.2.2'), ('::1', '::/64')) v(a, k);
SELECT * FROM finish();
ROLLBACK;
