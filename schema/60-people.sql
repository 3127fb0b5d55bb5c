-- ==== 60-people: who may use the hub: users, sessions, sign-in ====================
-- The hub's login can read facts, and change nothing by itself. Each function that writes takes the hash of
-- the session or token that a request has shown, finds its user and checks the role. No role but the owner
-- reads these tables, so a stolen hub login can do only what it has seen the secrets for.
--
-- A session's token goes through SHA-256 in the hub, and through SHA-256 again here: neither a statement in
-- the server's log nor a copy of a table is good for a session. A password goes through argon2id in the hub,
-- which sends the key; here is only the SHA-256 of the key.
CREATE TABLE IF NOT EXISTS users (
	user_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	email text NOT NULL UNIQUE CHECK (email = lower(email)),
	role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
	salt bytea,                             -- of argon2id, with the next two; NULL: no password
	passes int,
	memory_mib int,
	verifier bytea,                         -- SHA-256 of the key that argon2id makes of the password
	password_at timestamptz,
	password_until timestamptz,             -- of a generated password, which its user has to replace
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL,
	last_sign_in_at timestamptz,
	disabled_at timestamptz
);

CREATE TABLE IF NOT EXISTS sessions (
	session_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	token_hash bytea NOT NULL UNIQUE,
	user_id uuid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	last_seen_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	address text NOT NULL,
	browser text NOT NULL                   -- what it says of itself
) WITH (fillfactor = 70);
SELECT want_index('sessions_user_id_idx', 'sessions (user_id)') \g /dev/null

CREATE TABLE IF NOT EXISTS api_tokens (
	token_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	token_hash bytea NOT NULL UNIQUE,
	user_id uuid NOT NULL,
	name text NOT NULL,
	role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	last_used_at timestamptz,
	last_used_from text
) WITH (fillfactor = 70);
SELECT want_index('api_tokens_user_id_idx', 'api_tokens (user_id)') \g /dev/null

-- Rows are added and, after a year, deleted by maintain(). No function changes one.
CREATE TABLE IF NOT EXISTS audit_log (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	actor text NOT NULL,                    -- the user's email; "shell: LOGIN"; "" for nobody
	how text NOT NULL,                      -- session, token, shell, or ""
	address text NOT NULL,
	action text NOT NULL,
	object text NOT NULL,                   -- what was acted on: an email, the name of a server
	detail jsonb NOT NULL DEFAULT '{}'
);

-- From where a user has signed in within 90 days: tries of strangers do not count there.
CREATE TABLE IF NOT EXISTS known_addresses (
	user_id uuid,
	address text,
	at timestamptz NOT NULL,
	PRIMARY KEY (user_id, address)
);

CREATE TABLE IF NOT EXISTS session_policy (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	idle interval NOT NULL DEFAULT '12 hours' CHECK (idle BETWEEN '1 minute' AND '30 days'),
	absolute interval NOT NULL DEFAULT '7 days' CHECK (absolute BETWEEN '1 minute' AND '90 days'),
	-- For the salts that unknown names get, which must not change.
	secret bytea NOT NULL DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);
INSERT INTO session_policy DEFAULT VALUES ON CONFLICT DO NOTHING;

-- ---- who asks --------------------------------------------------------------------------------
-- This and those below up to caller() have no SET: they become a part of the question that asks them, so that
-- a new connection plans one question and not several.
CREATE OR REPLACE FUNCTION role_rank(p_role text) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
	SELECT array_position('{viewer,operator,admin}'::text[], p_role)
$$;

-- The user of a session. No row: it is none, or not any more. not_noted: its last use was not noted in the
-- last minute.
CREATE OR REPLACE FUNCTION session_caller(p_hash bytea)
RETURNS TABLE (user_id uuid, email text, role text, how text, id uuid, not_noted boolean)
LANGUAGE sql STABLE AS $$
	SELECT u.user_id, u.email, u.role, 'session', s.session_id,
		s.last_seen_at < now() - interval '1 minute'
	FROM sessions s JOIN users u ON u.user_id = s.user_id
	WHERE s.token_hash = sha256(p_hash) AND s.expires_at > now()
		AND s.last_seen_at > now() - (SELECT idle FROM session_policy) AND u.disabled_at IS NULL
$$;

-- The same of a session or an API token, which may have less rights than its user.
CREATE OR REPLACE FUNCTION caller(p_hash bytea)
RETURNS TABLE (user_id uuid, email text, role text, how text, id uuid, not_noted boolean)
LANGUAGE sql STABLE AS $$
	SELECT * FROM session_caller(p_hash)
	UNION ALL
	SELECT u.user_id, u.email,
		CASE WHEN role_rank(t.role) < role_rank(u.role) THEN t.role ELSE u.role END, 'token',
		t.token_id, coalesce(t.last_used_at < now() - interval '1 minute', true)
	FROM api_tokens t JOIN users u ON u.user_id = t.user_id
	WHERE t.token_hash = sha256(p_hash) AND t.expires_at > now() AND u.disabled_at IS NULL
$$;

-- What the hub has to know of who asks.
CREATE OR REPLACE FUNCTION caller_json(p_user uuid, p_email text, p_role text, p_how text,
	p_not_noted boolean) RETURNS json LANGUAGE sql STABLE AS $$
	SELECT json_build_object('user_id', p_user, 'email', p_email, 'role', p_role, 'how', p_how,
		'not_noted', p_not_noted, 'operator', p_role <> 'viewer', 'admin', p_role = 'admin')
$$;

CREATE OR REPLACE FUNCTION refuse_unless(p_role text, p_needed text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_role IS NULL THEN
		PERFORM refuse(401, 'This needs a sign-in: the session or token is unknown, or has ended.');
	ELSIF role_rank(p_role) < role_rank(p_needed) IS NOT false THEN -- a role that is none is for nobody
		PERFORM refuse(403, format('This needs the role %s, and yours is %s.', p_needed, p_role));
	END IF;
END
$$;

-- For reading: who asks, if the role is enough. fleet_hub_admin passes the word 'shell' in place of a hash;
-- this needs a login of observ_enroll, which the hub's is not.
CREATE OR REPLACE FUNCTION asking(p_hash bytea, p_needed text)
RETURNS TABLE (user_id uuid, email text, role text, how text, id uuid, not_noted boolean)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	IF p_hash = 'shell'::bytea AND pg_has_role(session_user, 'observ_enroll', 'MEMBER') THEN
		RETURN QUERY SELECT NULL::uuid, 'shell: ' || session_user, 'admin', 'shell', NULL::uuid,
			false;
		RETURN;
	END IF;
	SELECT * INTO c FROM caller(p_hash);
	PERFORM refuse_unless(c.role, p_needed);
	RETURN QUERY SELECT c.user_id, c.email, c.role, c.how, c.id, c.not_noted;
END
$$;

-- The same for the hub, for each page: it writes nothing, so it fits into the transaction of the page.
-- Each page of a CGI asks this on a new connection, which reads the catalog for all that the question names.
-- So it is plain SQL (loading PL/pgSQL would take longer), and authorize() finds a session whose user may do
-- it by itself: it says what session_caller() and caller_json() say, because to look these functions up takes
-- a tenth of a millisecond, as does a join in place of the subquery. All else is for authorize_else().
CREATE OR REPLACE FUNCTION authorize_else(p_hash bytea, p_needed text) RETURNS json
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN role_rank(c.role) >= role_rank(p_needed)
		THEN caller_json(c.user_id, c.email, c.role, c.how, c.not_noted)
		ELSE (SELECT json_build_object() FROM refuse_unless(c.role, p_needed)) END
	FROM (SELECT) AS one LEFT JOIN caller(p_hash) c ON true
$$;

CREATE OR REPLACE FUNCTION authorize(p_hash bytea, p_needed text) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT (SELECT json_build_object('user_id', u.user_id, 'email', u.email,
				'role', u.role, 'how', 'session',
				'not_noted', s.last_seen_at < now() - interval '1 minute',
				'operator', u.role <> 'viewer', 'admin', u.role = 'admin')
			FROM users u WHERE u.user_id = s.user_id AND u.disabled_at IS NULL
				AND CASE p_needed WHEN 'viewer' THEN true
					WHEN 'operator' THEN u.role <> 'viewer'
					WHEN 'admin' THEN u.role = 'admin' END)
		FROM sessions s WHERE s.token_hash = sha256(p_hash) AND s.expires_at > now()
			AND s.last_seen_at > now() - (SELECT idle FROM session_policy)),
		authorize_else(p_hash, p_needed))
$$;

-- For writing: who asks, if the role is enough and it is not one write too many.
CREATE OR REPLACE FUNCTION acting(p_hash bytea, p_needed text)
RETURNS TABLE (user_id uuid, email text, role text, how text, id uuid)
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, p_needed);
	IF c.how <> 'shell' THEN
		PERFORM take('write', c.user_id::text);
	END IF;
	RETURN QUERY SELECT c.user_id, c.email, c.role, c.how, c.id;
END
$$;

-- The address of the request is a setting of the hub's transaction.
CREATE OR REPLACE FUNCTION request_address() RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT left(coalesce(current_setting('observ.address', true), ''), 100)
$$;

CREATE OR REPLACE FUNCTION audit(p_actor text, p_how text, p_action text, p_object text,
	p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	INSERT INTO audit_log (actor, how, address, action, object, detail)
	VALUES (p_actor, p_how, request_address(), p_action, p_object, p_detail)
$$;

-- Notes the use of a session or token. The hub calls it once a minute for each, behind the page.
CREATE OR REPLACE FUNCTION note_use(p_hash bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_address text := request_address();
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	UPDATE sessions SET last_seen_at = v_now WHERE session_id = c.id;
	UPDATE api_tokens SET last_used_at = v_now, last_used_from = v_address WHERE token_id = c.id;
	RETURN true;
END
$$;

-- Counts a search for its user.
CREATE OR REPLACE FUNCTION count_search(p_hash bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	PERFORM take('search', c.user_id::text);
	RETURN true;
END
$$;

-- ---- what a password costs -----------------------------------------------------------------------
-- argon2id takes a core and tens of MiB, so only so many passwords are hashed at once, in all processes of
-- all hubs: `burst` of this row, and 256 at most. `per` is longer than any request lives: then a slot comes
-- back whose process was killed.
INSERT INTO limit_policy VALUES ('password hash', 4, '30 seconds') ON CONFLICT DO NOTHING;
CREATE UNLOGGED TABLE IF NOT EXISTS hash_slots (
	slot int PRIMARY KEY,
	busy_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A lease, {"slot", "until"}; refuses if all slots are taken.
CREATE OR REPLACE FUNCTION take_hash_slot() RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	p limit_policy;
	s hash_slots;
	v_most int;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	SELECT * INTO p FROM limit_policy WHERE kind = 'password hash';
	IF NOT FOUND THEN
		RETURN '{"slot": 0, "until": null}';
	END IF;
	v_most := least(p.burst, 256);
	IF (SELECT count(*) FROM hash_slots) < v_most THEN
		INSERT INTO hash_slots SELECT n, '-infinity' FROM generate_series(1, v_most) n
			ON CONFLICT DO NOTHING;
	END IF;
	UPDATE hash_slots SET busy_until = v_now + p.per
		WHERE slot = (SELECT slot FROM hash_slots WHERE slot <= v_most AND busy_until < v_now
			ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING * INTO s;
	IF s.slot IS NULL THEN
		PERFORM refuse(429, format('The hub checks %s passwords already, as many as it does at once. '
			'Try again in 2 s.', v_most),
			jsonb_build_object('limit', v_most, 'reset', 2, 'retry_after', 2));
	END IF;
	RETURN json_build_object('slot', s.slot, 'until', s.busy_until);
END
$$;

-- Nothing happens if the lease has ended.
CREATE OR REPLACE FUNCTION give_hash_slot(p_lease json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	UPDATE hash_slots SET busy_until = '-infinity' WHERE slot = (p_lease->>'slot')::int
		AND busy_until = (p_lease->>'until')::timestamptz;
	RETURN FOUND;
END
$$;

-- ---- sign-in ---------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION any_user() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM users)
$$;

-- First step: how the hub has to make the key of the password. A name that is not known gets a salt as well,
-- always the same one, and the cost of one of the users, so that nobody can tell.
CREATE OR REPLACE FUNCTION sign_in_salt(p_email text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_email text := lower(btrim(p_email));
	v_digest bytea := sha256((SELECT secret FROM session_policy) || convert_to(v_email, 'UTF8'));
	f record;
	u record;
BEGIN
	PERFORM take('sign-in by address', address_key(request_address()));
	-- Both for every name, so that it takes the same time.
	SELECT substr(v_digest, 1, 16) AS salt, passes, memory_mib INTO f
		FROM (SELECT 1) one LEFT JOIN (SELECT * FROM users WHERE salt IS NOT NULL
			ORDER BY sha256(v_digest || uuid_send(user_id)) LIMIT 1) x ON true;
	SELECT coalesce(x.salt, f.salt) AS salt, coalesce(x.passes, f.passes) AS passes,
		coalesce(x.memory_mib, f.memory_mib) AS memory_mib INTO u
		FROM (SELECT 1) one LEFT JOIN users x ON x.email = v_email;
	RETURN json_build_object('salt', encode(u.salt, 'hex'), 'passes', u.passes, 'memory_mib',
		u.memory_mib);
END
$$;

CREATE OR REPLACE FUNCTION add_session(p_user uuid, p_session bytea, p_browser text) RETURNS int
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_absolute interval := (SELECT absolute FROM session_policy);
BEGIN
	IF length(p_session) IS DISTINCT FROM 32 THEN
		RAISE EXCEPTION 'the hash of a session has 32 bytes' USING ERRCODE = '22023';
	END IF;
	DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions WHERE user_id = p_user
		ORDER BY last_seen_at DESC OFFSET 99);
	INSERT INTO sessions (token_hash, user_id, expires_at, address, browser)
	VALUES (sha256(p_session), p_user, now() + v_absolute, request_address(),
		left(coalesce(p_browser, ''), 300));
	RETURN extract(epoch FROM v_absolute);
END
$$;

-- Second step: p_key is what argon2id makes of the password. A try that fails is committed, since it counts.
-- p_former: the session that the browser had before, which ends.
CREATE OR REPLACE FUNCTION sign_in(p_email text, p_key bytea, p_session bytea, p_browser text, p_former bytea)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_email text := left(lower(btrim(p_email)), 254);
	v_address text := address_key(request_address());
	v_now timestamptz := clock_timestamp();
	v_account text := v_email;
	u users;
	v_expires_in int;
BEGIN
	SELECT * INTO u FROM users WHERE email = v_email;
	-- Strangers can use up the tries of an account, but not those from an address of its user.
	IF EXISTS (SELECT FROM known_addresses k WHERE k.user_id = u.user_id AND k.address = v_address) THEN
		v_account := v_email || ' ' || v_address;
	END IF;
	PERFORM take('sign-in by account', v_account);
	-- Under the lock of the row: a password that is being replaced opens nothing that would stay open.
	UPDATE users SET last_sign_in_at = v_now WHERE user_id = u.user_id AND verifier = sha256(p_key)
		AND disabled_at IS NULL AND coalesce(password_until > v_now, true);
	IF FOUND THEN
		DELETE FROM sessions WHERE token_hash = sha256(p_former) AND user_id = u.user_id;
		v_expires_in := add_session(u.user_id, p_session, p_browser);
		INSERT INTO known_addresses VALUES (u.user_id, v_address, v_now)
			ON CONFLICT (user_id, address) DO UPDATE SET at = v_now;
		PERFORM give_back('sign-in by account', v_account), give_back('sign-in by address',
			v_address),
			audit(u.email, 'session', 'sign-in', u.email);
	ELSE
		-- What is not a name may be a password that was typed into the wrong field.
		PERFORM audit('', '', 'sign-in refused', coalesce(u.email, '(unknown name)'));
	END IF;
	RETURN json_build_object('ok', v_expires_in IS NOT NULL, 'expires_in', v_expires_in,
		'password_until', CASE WHEN v_expires_in IS NOT NULL THEN u.password_until END);
END
$$;

CREATE OR REPLACE FUNCTION sign_out(p_hash bytea) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	DELETE FROM sessions WHERE session_id = c.id;
	DELETE FROM api_tokens WHERE token_id = c.id;
	PERFORM audit(c.email, c.how, 'sign-out', c.email);
	RETURN json_build_object('ok', true);
END
$$;

-- ---- passwords -------------------------------------------------------------------------------
-- How a password is kept: {"salt", "passes", "memory_mib", "verifier"}, and "generated" if the user has not
-- chosen it. Such a one ends after a week.
CREATE OR REPLACE FUNCTION set_password(p_user uuid, p_secret jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_verifier bytea := decode(p_secret ->> 'verifier', 'hex');
	v_salt bytea := decode(p_secret ->> 'salt', 'hex');
BEGIN
	IF length(v_verifier) IS DISTINCT FROM 32 OR length(v_salt) IS DISTINCT FROM 16 THEN
		RAISE EXCEPTION 'a password needs a verifier of 32 bytes and a salt of 16'
			USING ERRCODE = '22023';
	END IF;
	UPDATE users SET salt = v_salt, verifier = v_verifier, passes = (p_secret -> 'passes')::int,
		memory_mib = (p_secret -> 'memory_mib')::int, password_at = now(),
		password_until = CASE WHEN (p_secret -> 'generated')::boolean
			THEN now() + interval '7 days' END
	WHERE user_id = p_user;
END
$$;

-- As sign_in_salt(), for the user of a session.
CREATE OR REPLACE FUNCTION password_salt(p_hash bytea) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN (SELECT json_build_object('email', email, 'salt', encode(salt, 'hex'), 'passes', passes,
		'memory_mib', memory_mib) FROM users WHERE user_id = c.user_id);
END
$$;

-- Needs the key of the current password beside the session. All sessions of the user end; this one goes on
-- under a new token. A wrong key is an answer and no error, since it counts.
CREATE OR REPLACE FUNCTION change_password(p_hash bytea, p_key bytea, p_secret jsonb, p_session bytea,
	p_browser text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_ok boolean;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	IF c.how <> 'session' THEN
		PERFORM refuse(403,
			'A password is changed by its user, signed in with it, and not by a token.');
	END IF;
	PERFORM take('sign-in by account', c.email || ' changes');
	v_ok := (SELECT verifier = sha256(p_key) FROM users WHERE user_id = c.user_id);
	IF v_ok THEN
		PERFORM set_password(c.user_id, p_secret), give_back('sign-in by account', c.email
			|| ' changes');
		DELETE FROM sessions WHERE user_id = c.user_id;
		PERFORM add_session(c.user_id, p_session, p_browser);
	END IF;
	PERFORM audit(c.email, c.how, CASE WHEN v_ok THEN 'password changed' ELSE 'password refused' END,
		c.email);
	RETURN json_build_object('ok', coalesce(v_ok, false));
END
$$;

-- The same password at another cost. p_key proves that the hub has just seen it.
CREATE OR REPLACE FUNCTION renew_password(p_hash bytea, p_key bytea, p_secret jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_until timestamptz;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	SELECT password_until INTO v_until FROM users WHERE user_id = c.user_id AND verifier = sha256(p_key);
	IF FOUND THEN
		PERFORM set_password(c.user_id, p_secret);
		UPDATE users SET password_until = v_until WHERE user_id = c.user_id;
	END IF;
	RETURN json_build_object('ok', FOUND);
END
$$;

-- A step of maintain().
CREATE OR REPLACE FUNCTION maintain_people(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM sessions s USING session_policy p
		WHERE s.expires_at < now() OR s.last_seen_at < now() - p.idle;
	DELETE FROM api_tokens WHERE expires_at < now() - interval '30 days';
	DELETE FROM limits WHERE free_at < now() - interval '1 hour';
	DELETE FROM known_addresses WHERE at < now() - interval '90 days';
	DELETE FROM audit_log WHERE at < now() - interval '1 year';
	RETURN NULL;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION take_hash_slot, give_hash_slot TO observ_hub;
GRANT EXECUTE ON FUNCTION any_user, authorize, note_use, count_search, sign_in_salt, sign_in, sign_out,
	password_salt, change_password, renew_password TO observ_hub;
