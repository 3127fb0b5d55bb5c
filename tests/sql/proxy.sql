-- The proxy that signs users in: without its secret, the hub's login opens nobody's session.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql
CREATE ROLE t_enroll LOGIN IN ROLE observ_enroll;
CREATE FUNCTION pg_temp.hash(p_token text) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to(p_token, 'UTF8')) $$;
INSERT INTO users (email, role, created_by) VALUES ('ann@x', 'admin', 't'), ('off@x', 'admin', 't');
UPDATE users SET disabled_at = now() WHERE email = 'off@x';
CREATE FUNCTION pg_temp.open(p_secret bytea, p_email text, p_session text) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('t_hub', format('SELECT observ.sign_in_by_proxy(%L, %L, %L)', p_secret, p_email,
		pg_temp.hash(p_session))) $$;
CREATE FUNCTION pg_temp.may(p_session text) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('t_hub', format('SELECT observ.authorize(%L, ''admin'')', pg_temp.hash(p_session))) $$;

SELECT is(run_as(r, $$SELECT observ.make_proxy_secret('front')$$), '42501', r || ' makes no secret')
	FROM unnest('{t_hub,t_watch,t_reader,t_nobody}'::text[]) r;
SELECT is(pg_temp.open(s, 'ann@x', 'mine'), 'OB401', 'without any proxy ' || coalesce(s::text, 'null')
	|| ' opens nothing') FROM unnest(ARRAY[NULL, '\x', sha256('x')]) s;
CREATE TEMP TABLE made AS SELECT value_as('t_enroll', $$SELECT observ.make_proxy_secret('front')$$) AS secret;
SELECT matches((SELECT secret FROM made), '^obs_proxy_[\w-]{43}$', 'the shell makes one, of 256 bits');
SELECT is(pg_temp.open(s, 'ann@x', 'mine'), 'OB401', 'what the table has is no secret')
	FROM (SELECT secret_hash AS s FROM proxy_secrets
		UNION ALL SELECT convert_to(secret, 'UTF8') FROM made) x;
SELECT is((SELECT count(*) FROM sessions), 0::bigint, 'no session is open');
SELECT is(pg_temp.open(pg_temp.hash(secret), 'off@x', 'theirs'), 'ok', 'a disabled user') FROM made;
SELECT is(pg_temp.may('theirs'), 'OB401', 'gets no session');
SELECT is(pg_temp.open(pg_temp.hash(secret), ' Ann@X ', 'hers'), 'ok', 'with the secret') FROM made;
SELECT is(pg_temp.may('hers'), 'ok', 'a user is in');
SELECT is(pg_temp.open(pg_temp.hash(secret), 'ann@x', 'hers'), 'ok') FROM made;
SELECT is((SELECT count(*) FROM sessions), 1::bigint, 'once');
UPDATE sessions SET expires_at = now() - interval '1 s';
SELECT is(pg_temp.may('hers'), 'OB401', 'the session ends as any other');
SELECT is(pg_temp.open(pg_temp.hash(secret), 'ann@x', 'hers'), 'ok') FROM made;
SELECT is(pg_temp.may('hers'), 'ok', 'and the proxy opens it anew');
SELECT is((SELECT count(*) FROM audit_log WHERE how = 'proxy' AND action = 'sign-in'), 2::bigint,
	'each opening is in the audit log');
SELECT is(run_as('t_enroll', $$SELECT observ.make_proxy_secret('front')$$), 'ok',
	'a new secret of the same name');
SELECT is(pg_temp.open(pg_temp.hash(secret), 'ann@x', 'hers'), 'OB401', 'ends the former one') FROM made;
SELECT is(value_as('t_enroll', format('SELECT observ.end_proxy_secret(%L)', n)), e, n || ' ends: ' || e)
	FROM (VALUES ('front', 'true'), ('front', 'false'), ('other', 'false')) v(n, e);
SELECT is((SELECT count(*) FROM proxy_secrets), 0::bigint, 'none is left');

SELECT * FROM finish();
ROLLBACK;
