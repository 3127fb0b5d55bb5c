-- ==== 61-proxy: users whom a proxy in front of the hub has signed in =================================
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
GRANT EXECUTE ON FUNCTION sign_in_by_proxy TO observ_hub;
GRANT EXECUTE ON FUNCTION make_proxy_secret, end_proxy_secret TO observ_enroll;
