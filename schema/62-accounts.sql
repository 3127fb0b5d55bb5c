-- ==== 62-accounts: what users and admins do with accounts: sessions, API tokens, users, the audit log,
-- and sign-in by a proxy

-- ---- sessions and tokens -----------------------------------------------------------------------
-- NULL if it is none.
CREATE OR REPLACE FUNCTION as_uuid(p_text text) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_text ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN p_text::uuid END
$$;

CREATE OR REPLACE FUNCTION sessions_of(p_user uuid, p_current uuid) RETURNS json
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(json_agg(json_build_object('session_id', session_id, 'created_at', created_at,
		'last_seen_at', last_seen_at,
		'expires_at', CASE WHEN last_seen_at + idle < expires_at
			THEN last_seen_at + idle ELSE expires_at END,
		'address', address, 'browser', browser, 'current', session_id IS NOT DISTINCT FROM p_current)
		ORDER BY last_seen_at DESC), '[]')
	FROM sessions, session_policy
	WHERE user_id = p_user AND expires_at > now() AND last_seen_at > now() - idle
$$;

CREATE OR REPLACE FUNCTION token_json(t api_tokens, p_email text) RETURNS json
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT json_build_object('token_id', t.token_id, 'email', p_email, 'name', t.name, 'role', t.role,
		'created_at', t.created_at, 'expires_at', t.expires_at, 'expired', t.expires_at <= now(),
		'last_used_at', t.last_used_at, 'last_used_from', t.last_used_from)
$$;

CREATE OR REPLACE FUNCTION tokens_of(p_user uuid) RETURNS json
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(json_agg(token_json(t, email) ORDER BY t.created_at DESC), '[]')
	FROM api_tokens t JOIN users USING (user_id) WHERE t.user_id = p_user
$$;

-- The user's own account: who, sessions, tokens.
CREATE OR REPLACE FUNCTION account(p_hash bytea) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN (SELECT json_build_object('user_id', user_id, 'email', email, 'role', c.role,
		'is_superuser', c.role = 'admin', 'password_until', password_until,
		'sessions', sessions_of(user_id, c.id), 'tokens', tokens_of(user_id),
		'roles', (SELECT json_agg(json_build_object('role', r, 'own', r = c.role) ORDER BY n)
			FROM unnest('{viewer,operator,admin}'::text[]) WITH ORDINALITY v(r, n)
			WHERE n <= role_rank(c.role)))
		FROM users WHERE user_id = c.user_id);
END
$$;

-- One's own; admins end everybody's.
CREATE OR REPLACE FUNCTION end_session(p_hash bytea, p_id text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_user uuid;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	DELETE FROM sessions s WHERE session_id = as_uuid(p_id)
		AND (s.user_id = c.user_id OR c.role = 'admin')
		RETURNING s.user_id INTO v_user;
	IF v_user IS NULL THEN
		PERFORM refuse(404, 'There is no such session, or it has ended.');
	END IF;
	PERFORM audit(c.email, c.how, 'session ended', (SELECT email FROM users WHERE user_id = v_user));
	RETURN json_build_object('ok', true);
END
$$;

-- p_token: the hash of a token that the hub has made, and shows once. A token that is made with another one
-- ends with it at the latest: a stolen one can't make itself last.
CREATE OR REPLACE FUNCTION create_api_token(p_hash bytea, p_body jsonb, p_token bytea) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text := btrim(p_body ->> 'name');
	v_role text;
	v_days int := CASE WHEN p_body ->> 'expires_in_days' ~ '^[0-9]{1,4}$'
		THEN (p_body ->> 'expires_in_days')::int WHEN p_body ->> 'expires_in_days' IS NULL
			THEN 90 END;
	t api_tokens;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	v_role := coalesce(p_body ->> 'role', c.role);
	PERFORM refuse_errors(unknown_fields(p_body, '{name,role,expires_in_days}')
		|| text_errors(p_body, '{name,role}')
		|| field_error(coalesce(v_name,
			'') = '' OR octet_length(v_name) > 100 OR v_name ~ '[[:cntrl:]]',
			'name', 'is missing, or longer than 100 bytes: write what the token is for')
		|| field_error(coalesce(role_rank(v_role) > role_rank(c.role), true), 'role',
			'is not viewer, operator or admin, or is more than yours')
		|| field_error(coalesce(v_days NOT BETWEEN 1 AND 3650, true), 'expires_in_days',
			'is not a number from 1 to 3650'));
	IF length(p_token) IS DISTINCT FROM 32 OR c.user_id IS NULL THEN
		RAISE EXCEPTION 'the hash of a token has 32 bytes' USING ERRCODE = '22023';
	END IF;
	INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
	VALUES (sha256(p_token), c.user_id, v_name, v_role, least(now() + make_interval(days => v_days),
		(SELECT expires_at FROM api_tokens WHERE token_id = c.id)))
	RETURNING * INTO t;
	PERFORM audit(c.email, c.how, 'token created', v_name, jsonb_build_object('role', v_role,
		'expires_at', t.expires_at));
	RETURN json_build_object('token_id', t.token_id, 'email', c.email, 'name', t.name, 'role', t.role,
		'created_at', t.created_at, 'expires_at', t.expires_at);
END
$$;

-- By number, from behind p_after on.
CREATE OR REPLACE FUNCTION list_api_tokens(p_hash bytea, p_after text, p_limit int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'admin');
	RETURN (SELECT json_build_object('items', coalesce(json_agg(token_json(t, email) ORDER BY n)
			FILTER (WHERE n <= p_limit), '[]'), 'next', CASE WHEN count(*) > p_limit
				THEN max((t).token_id::text) FILTER (WHERE n = p_limit) END)
		FROM (SELECT t, email, row_number() OVER (ORDER BY token_id) AS n
			FROM api_tokens t JOIN users USING (user_id)
			WHERE p_after IS NULL OR token_id::text > p_after
			ORDER BY token_id LIMIT p_limit + 1) x);
END
$$;

CREATE OR REPLACE FUNCTION end_api_token(p_hash bytea, p_id text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	t api_tokens;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	DELETE FROM api_tokens a WHERE token_id = as_uuid(p_id)
		AND (a.user_id = c.user_id OR c.role = 'admin')
		RETURNING a.* INTO t;
	IF t.token_id IS NULL THEN
		PERFORM refuse(404, 'There is no such token.');
	END IF;
	PERFORM audit(c.email, c.how, 'token ended', t.name);
	RETURN json_build_object('ok', true);
END
$$;

-- ---- users -----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION user_json(u users) RETURNS json
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT json_build_object('user_id', u.user_id, 'email', u.email, 'role', u.role,
		'disabled', u.disabled_at IS NOT NULL, 'created_at', u.created_at, 'created_by', u.created_by,
		'last_sign_in_at', u.last_sign_in_at, 'password_at', u.password_at,
		'password_until', u.password_until,
		'sessions', (SELECT count(*) FROM sessions s, session_policy p WHERE s.user_id = u.user_id
			AND expires_at > now() AND last_seen_at > now() - idle),
		'tokens', (SELECT count(*) FROM api_tokens t WHERE t.user_id = u.user_id
			AND expires_at > now()))
$$;

-- By number or by email.
CREATE OR REPLACE FUNCTION find_user(p_id text) RETURNS users
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	u users;
BEGIN
	SELECT * INTO u FROM users WHERE user_id = as_uuid(p_id) OR email = lower(p_id);
	IF NOT FOUND THEN
		PERFORM refuse(404, 'There is no such user.');
	END IF;
	RETURN u;
END
$$;

-- By email, from behind p_after on.
CREATE OR REPLACE FUNCTION list_users(p_hash bytea, p_after text, p_limit int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'admin');
	RETURN (SELECT json_build_object('items', coalesce(json_agg(user_json(u) ORDER BY email)
			FILTER (WHERE n <= p_limit), '[]'),
			'next', CASE WHEN count(*) > p_limit THEN max(email) FILTER (WHERE n = p_limit) END)
		FROM (SELECT u, email, row_number() OVER (ORDER BY email) AS n FROM users u
			WHERE p_after IS NULL OR email > p_after ORDER BY email LIMIT p_limit + 1) x);
END
$$;

CREATE OR REPLACE FUNCTION one_user(p_hash bytea, p_id text) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	u users;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'admin');
	u := find_user(p_id);
	RETURN (user_json(u)::jsonb || jsonb_build_object('own', u.user_id = c.user_id,
		'sessions', sessions_of(u.user_id, c.id), 'tokens', tokens_of(u.user_id)))::json;
END
$$;

-- p_secret: of set_password(); NULL: a user who has no password can't sign in with one.
CREATE OR REPLACE FUNCTION create_user(p_hash bytea, p_body jsonb, p_secret jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	u users;
	v_email text := lower(btrim(p_body ->> 'email'));
	v_role text := coalesce(p_body ->> 'role', 'viewer');
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	PERFORM refuse_errors(unknown_fields(p_body, '{email,role}') || text_errors(p_body, '{email,role}')
		|| field_error(coalesce(v_email = '' OR octet_length(v_email) > 254
			OR v_email ~ '[[:cntrl:][:space:]]', true), 'email',
			'is missing, longer than 254 bytes, or has a blank in it')
		|| field_error(EXISTS (SELECT FROM users WHERE email = v_email), 'email', 'is a user already')
		|| field_error(role_rank(v_role) IS NULL, 'role', 'is not viewer, operator or admin'));
	INSERT INTO users (email, role, created_by) VALUES (v_email, v_role, c.email)
		ON CONFLICT (email) DO NOTHING RETURNING * INTO u;
	IF u.user_id IS NULL THEN
		PERFORM refuse_errors(field_error(true, 'email', 'is a user already'));
	END IF;
	IF p_secret IS NOT NULL THEN
		PERFORM set_password(u.user_id, p_secret);
	END IF;
	PERFORM audit(c.email, c.how, 'user created', v_email, jsonb_build_object('role', v_role));
	RETURN (SELECT user_json(n) FROM users n WHERE user_id = u.user_id);
END
$$;

-- There must be one who can undo a mistake. Not for the shell, which can make another one.
CREATE OR REPLACE FUNCTION refuse_without_admin(p_how text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_how <> 'shell' AND NOT EXISTS (SELECT FROM users WHERE role = 'admin'
		AND disabled_at IS NULL) THEN
		PERFORM refuse(422, 'This is the last admin: make another user an admin first.',
			'{"errors": [{"field": "role", "message": "is that of the last admin"}]}');
	END IF;
END
$$;

-- {"role", "disabled"}, and a password in p_secret. Sessions of the user end, since their rights have
-- changed.
CREATE OR REPLACE FUNCTION change_user(p_hash bytea, p_id text, p_body jsonb, p_secret jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	u users;
	v_disabled boolean;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;   -- two admins who demote each other
	u := find_user(p_id);
	PERFORM refuse_errors(unknown_fields(p_body, '{role,disabled}')
		|| field_error(p_body ? 'role' AND role_rank(p_body ->> 'role') IS NULL, 'role',
			'is not viewer, operator or admin')
		|| field_error(p_body ? 'disabled' AND p_body ->> 'disabled' NOT IN ('true', 'false'),
			'disabled',
			'is not true or false'));
	v_disabled := coalesce((p_body ->> 'disabled')::boolean, u.disabled_at IS NOT NULL);
	UPDATE users SET role = coalesce(p_body ->> 'role', u.role),
		disabled_at = CASE WHEN v_disabled THEN coalesce(u.disabled_at, v_now) END
	WHERE user_id = u.user_id;
	IF p_secret IS NOT NULL THEN
		PERFORM set_password(u.user_id, p_secret);
	END IF;
	PERFORM refuse_without_admin(c.how);
	DELETE FROM sessions WHERE user_id = u.user_id;
	PERFORM audit(c.email, c.how, 'user changed', u.email, jsonb_strip_nulls(jsonb_build_object(
		'role', p_body -> 'role', 'disabled', p_body -> 'disabled',
		'password', CASE WHEN p_secret IS NOT NULL THEN 'set' END)));
	RETURN (SELECT user_json(n) FROM users n WHERE user_id = u.user_id);
END
$$;

CREATE OR REPLACE FUNCTION delete_user(p_hash bytea, p_id text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	u users;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
	u := find_user(p_id);
	DELETE FROM users WHERE user_id = u.user_id;
	PERFORM refuse_without_admin(c.how);
	DELETE FROM sessions WHERE user_id = u.user_id;
	DELETE FROM api_tokens WHERE user_id = u.user_id;
	DELETE FROM known_addresses WHERE user_id = u.user_id;
	DELETE FROM saved_searches WHERE user_id = u.user_id;
	PERFORM audit(c.email, c.how, 'user deleted', u.email);
	RETURN json_build_object('ok', true);
END
$$;

-- ---- the audit log ---------------------------------------------------------------------------
-- The newest first, before the row p_before; p_text is part of the actor, the action, the object or the
-- address.
CREATE OR REPLACE FUNCTION list_audit(p_hash bytea, p_text text, p_before bigint, p_limit int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'admin');
	RETURN (SELECT json_build_object('items', coalesce(json_agg(json_build_object('id', id, 'at', at,
			'actor', actor, 'how', how, 'address', address, 'action', action, 'object', object,
			'detail', detail, 'detail_text', CASE WHEN detail <> '{}' THEN detail::text END)
			ORDER BY id DESC) FILTER (WHERE n <= p_limit), '[]'),
			'next', CASE WHEN count(*) > p_limit
				THEN (min(id) FILTER (WHERE n = p_limit))::text END)
		FROM (SELECT *, row_number() OVER (ORDER BY id DESC) AS n FROM audit_log
			WHERE (p_before IS NULL OR id < p_before) AND (coalesce(p_text, '') = ''
				OR strpos(lower(concat_ws(' ', actor, how, address, action, object)),
					lower(p_text)) > 0)
			ORDER BY id DESC LIMIT p_limit + 1) x);
END
$$;

-- ---- users whom a proxy in front of the hub has signed in --------------------------------------
-- The proxy adds a secret to each request, beside the name of the user. The hub sends the SHA-256 of the
-- secret; here is only the SHA-256 of that. So neither the hub's login nor a copy of this table opens a
-- session: it takes the secret, which only the proxy's configuration has. Several secrets can be valid at
-- once, so that one can replace another.
CREATE TABLE IF NOT EXISTS proxy_secrets (
	name text PRIMARY KEY,                  -- of the proxy, for people
	secret_hash bytea NOT NULL UNIQUE,
	made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	made_by text NOT NULL
);

-- The session of a user whom the proxy names, opened if there is none yet. Called with each such request, so
-- a secret that was ended is refused at once. p_session is the hash of a token that the hub makes of secret
-- and name. A user who is not known is an answer and no error, since the try goes into the audit log.
CREATE OR REPLACE FUNCTION sign_in_by_proxy(p_secret bytea, p_email text, p_session bytea) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_email text := left(lower(btrim(p_email)), 254);
	v_proxy text := (SELECT name FROM proxy_secrets WHERE secret_hash = sha256(p_secret));
	v_now timestamptz := clock_timestamp();
	u users;
BEGIN
	IF v_proxy IS NULL THEN
		PERFORM refuse(401, 'The proxy in front of this hub names a user, but shows no secret that '
			'this hub knows: see fleet_hub_admin proxy-secret.');
	END IF;
	SELECT * INTO u FROM users WHERE email = v_email AND disabled_at IS NULL;
	IF NOT FOUND THEN
		PERFORM take('sign-in by address', address_key(request_address()) || ' by proxy'),
			audit('', 'proxy', 'sign-in refused', v_email, jsonb_build_object('proxy', v_proxy));
		RETURN json_build_object('ok', false);
	END IF;
	IF NOT EXISTS (SELECT FROM caller(p_session) c WHERE c.user_id = u.user_id) THEN
		DELETE FROM sessions WHERE token_hash = sha256(p_session);
		PERFORM add_session(u.user_id, p_session, 'signed in by the proxy ' || v_proxy),
			audit(u.email, 'proxy', 'sign-in', u.email, jsonb_build_object('proxy', v_proxy));
		UPDATE users SET last_sign_in_at = v_now WHERE user_id = u.user_id;
	END IF;
	RETURN json_build_object('ok', true);
EXCEPTION WHEN unique_violation THEN    -- another request has just opened it
	RETURN json_build_object('ok', true);
END
$$;

-- For fleet_hub_admin: a secret, which is shown once; a former one of that name ends.
CREATE OR REPLACE FUNCTION make_proxy_secret(p_name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_secret text := new_secret('obs_proxy');
BEGIN
	SELECT * INTO c FROM asking('shell', 'admin');
	PERFORM check_name('name', p_name);
	INSERT INTO proxy_secrets (name, secret_hash, made_by)
		VALUES (p_name, sha256(sha256(convert_to(v_secret, 'UTF8'))), c.email)
		ON CONFLICT (name) DO UPDATE SET secret_hash = excluded.secret_hash, made_at = now(),
			made_by = excluded.made_by;
	PERFORM audit(c.email, c.how, 'proxy secret made', p_name);
	RETURN v_secret;
END
$$;

CREATE OR REPLACE FUNCTION end_proxy_secret(p_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking('shell', 'admin');
	DELETE FROM proxy_secrets WHERE name = p_name;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM audit(c.email, c.how, 'proxy secret ended', p_name);
	RETURN true;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION account, end_session, create_api_token, list_api_tokens, end_api_token, list_users,
	one_user, create_user, change_user, delete_user, list_audit TO observ_hub;
GRANT EXECUTE ON FUNCTION list_users, create_user, change_user, delete_user TO observ_enroll;
GRANT EXECUTE ON FUNCTION sign_in_by_proxy TO observ_hub;
GRANT EXECUTE ON FUNCTION make_proxy_secret, end_proxy_secret TO observ_enroll;
