
-- ==== 63-fleet: servers as people and programs manage them: labels, tokens, enrolment over HTTP =====
-- What people say about a server. A row is made when somebody creates, labels or retires it; a server that
-- only has agents has none. Names are those of `agents`.
CREATE TABLE IF NOT EXISTS servers (
	vps_name text PRIMARY KEY,
	labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
	job_name text,                                  -- the application as which it posts; NULL: "host"
	instance text,                                  -- where it is reached, in the words of its makers
	is_active boolean NOT NULL DEFAULT true,        -- false: its posts are refused
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	created_by text NOT NULL,
	retired_at timestamptz
);
GRANT SELECT ON servers TO observ_hub, observ_watch, observ_roles;

-- Whoever reads this table has no token: see 60-people.
CREATE TABLE IF NOT EXISTS server_tokens (
	token_hash bytea PRIMARY KEY,
	vps_name text NOT NULL,
	made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	made_by text NOT NULL,
	valid_until timestamptz NOT NULL DEFAULT 'infinity'
);
SELECT want_index('server_tokens_vps_name_idx', 'server_tokens (vps_name)') \g /dev/null
GRANT SELECT (vps_name), DELETE ON server_tokens TO observ_roles;

-- The number under which programs know a server. It is made of the name (RFC 9562, version 8), so every
-- server has one, and a server that comes back has the same one and its history.
CREATE OR REPLACE FUNCTION server_id(p_vps text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN overlay(overlay(md5('observ server ' || p_vps) PLACING '8' FROM 13) PLACING '8' FROM 17)::uuid;

SELECT want_index('servers_server_id_idx', 'servers (server_id(vps_name))') \g /dev/null

-- A secret of 256 bits, in letters that need no escape anywhere. p_kind tells people what it is for.
CREATE OR REPLACE FUNCTION new_secret(p_kind text) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT p_kind || '_' || translate(encode(sha256(uuid_send(gen_random_uuid()) ||
		uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'), '+/=', '-_')
$$;

-- All servers: those that have a row here, that have a login, and that have ever reported.
CREATE OR REPLACE VIEW v_fleet AS
	SELECT server_id(vps_name) AS server_id, vps_name,
		coalesce(s.labels, '{}') AS labels,
		s.job_name, s.instance, coalesce(s.is_active, true) AS is_active,
		CASE WHEN s.retired_at IS NOT NULL THEN 'retired' WHEN a.state IS NULL THEN 'waiting'
			ELSE a.state END AS state,
		coalesce(a.apps, 0) AS apps, a.last_seen_at, coalesce(s.created_at, e.enrolled_at,
			a.first_seen_at)
			AS created_at, s.created_by,
		coalesce(s.retired_at, CASE a.state WHEN 'retired' THEN a.retired_at END) AS retired_at,
		e.vps_name IS NOT NULL AS has_login,
		EXISTS (SELECT FROM server_tokens t WHERE t.vps_name = n.vps_name AND t.valid_until > now())
			AS has_token
	FROM (SELECT vps_name FROM servers UNION SELECT vps_name FROM agent_roles
		UNION SELECT vps_name FROM agents) n
	LEFT JOIN servers s USING (vps_name)
	LEFT JOIN (SELECT vps_name, min(enrolled_at) AS enrolled_at FROM agent_roles GROUP BY 1) e
		USING (vps_name)
	LEFT JOIN (SELECT vps_name, count(*) AS apps, max(last_seen_at) AS last_seen_at,
			min(first_seen_at) AS first_seen_at, max(retired_at) AS retired_at,
			(array_agg(agent_state ORDER BY
				array_position('{online,stale,offline,retired}'::text[],
				agent_state)))[1] AS state
		FROM (SELECT *, agent_state(last_seen_at, interval_s, retired_at, now()) FROM agents) x
		GROUP BY 1) a USING (vps_name);
GRANT SELECT ON v_fleet TO observ_hub, observ_watch;

-- ---- what people may say -----------------------------------------------------------------------------
-- The body of a request with its short forms made labels: a form has fields, and tags in one line.
CREATE OR REPLACE FUNCTION labels_of(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_body ?| '{labels,environment,team,tags}' THEN
		coalesce(CASE WHEN jsonb_typeof(p_body->'labels') <> 'null' THEN p_body->'labels' END, '{}')
		|| (SELECT coalesce(jsonb_object_agg(key, CASE WHEN value IN ('""', '[]') THEN 'null'
			WHEN key = 'tags' AND jsonb_typeof(value) = 'string'
				THEN to_jsonb(regexp_split_to_array(btrim(value #>> '{}', ', '), '[, ]+'))
			ELSE value END), '{}')
			FROM jsonb_each(p_body) WHERE key IN ('environment', 'team', 'tags')) END
$$;

-- What is wrong with labels: as refuse_errors() takes it.
CREATE OR REPLACE FUNCTION label_errors(p_labels jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(jsonb_typeof(p_labels) <> 'object', 'labels',
			'must be an object: {"environment": "production", "tags": ["web"]}')
		|| (SELECT coalesce(jsonb_agg(e), '[]') FROM (
			SELECT jsonb_build_object('field', 'labels.' || left(key, 100), 'message', CASE
				WHEN key !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$'
					THEN 'must be a name of letters, digits, "_", "." and "-"'
				WHEN key = 'tags'
					THEN 'must be a list of at most 32 strings of 1 to 100 characters'
				ELSE 'must be a string of 1 to 200 characters, or null' END) AS e
			FROM jsonb_each(CASE jsonb_typeof(p_labels) WHEN 'object' THEN p_labels END)
			WHERE value <> 'null' AND (key !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' OR NOT CASE
				WHEN key = 'tags' THEN CASE jsonb_typeof(value) WHEN 'array'
					THEN jsonb_array_length(value) <= 32 AND NOT EXISTS (
						SELECT FROM jsonb_array_elements(value) t
						WHERE jsonb_typeof(t) <> 'string'
							OR length(t #>> '{}') NOT BETWEEN 1 AND 100)
					ELSE false END
				ELSE jsonb_typeof(value) = 'string'
					AND length(value #>> '{}') BETWEEN 1 AND 200 END)
			LIMIT 20) x)
		|| field_error((SELECT count(*) FROM jsonb_object_keys(CASE jsonb_typeof(p_labels)
			WHEN 'object' THEN p_labels END)) > 32, 'labels', 'are more than 32')
$$;

CREATE OR REPLACE FUNCTION fits_name(p_name text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM check_name('name', p_name);
	RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN false;
END
$$;

-- What is wrong with the other fields of a server.
CREATE OR REPLACE FUNCTION server_errors(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT unknown_fields(p_body,
			'{name,labels,job_name,instance,is_active,environment,team,tags}')
		|| coalesce((SELECT jsonb_agg(e) FROM (SELECT jsonb_array_elements(field_error(
				value <> 'null' AND (jsonb_typeof(value) <> 'string'
					OR NOT fits_name(value #>> '{}')),
				key, 'must be a string of 1 to 128 bytes without control characters')) AS e
			FROM jsonb_each(CASE jsonb_typeof(p_body) WHEN 'object' THEN p_body END)
			WHERE key IN ('job_name', 'instance') AND value <> '""') x), '[]')
		|| field_error(p_body ? 'is_active' AND jsonb_typeof(p_body->'is_active') <> 'boolean'
			AND p_body->>'is_active' NOT IN ('true', 'false'), 'is_active',
				'must be true or false')
		|| coalesce(label_errors(labels_of(p_body)), '[]')
$$;

-- A change as RFC 7386 has it: null removes.
CREATE OR REPLACE FUNCTION merged(p_old jsonb, p_change jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_strip_nulls(p_old || p_change), p_old)
$$;

-- ---- servers -----------------------------------------------------------------------------------------
-- The name of the server that a request names, by its server_id or its name. NULL: there is none. The
-- server_id goes first: a server can choose its name, and may take the server_id of another for it.
CREATE OR REPLACE FUNCTION find_server(p_id text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_id uuid := as_uuid(p_id);
	v_name text;
BEGIN
	IF v_id IS NOT NULL THEN
		SELECT vps_name INTO v_name FROM (SELECT vps_name FROM servers UNION
				SELECT vps_name FROM agents UNION SELECT vps_name FROM agent_roles) n
			WHERE server_id(vps_name) = v_id;
		IF FOUND THEN
			RETURN v_name;
		END IF;
	END IF;
	PERFORM FROM agents WHERE vps_name = p_id;      -- alone: Citus runs the rest on the coordinator
	IF FOUND OR EXISTS (SELECT FROM servers WHERE vps_name = p_id) OR
	   EXISTS (SELECT FROM agent_roles WHERE vps_name = p_id) THEN
		RETURN p_id;
	END IF;
	RETURN NULL;
END
$$;

-- The same for functions that need it.
CREATE OR REPLACE FUNCTION known_server(p_id text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_name text := find_server(p_id);
BEGIN
	IF v_name IS NULL THEN
		PERFORM refuse(404, format('There is no server "%s".', left(p_id, 200)));
	END IF;
	RETURN v_name;
END
$$;

-- A token of the server. Older ones end: at once, or p_overlap later.
CREATE OR REPLACE FUNCTION new_server_token(p_vps text, p_by text, p_overlap interval) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_token text := new_secret('obs_server');
	v_until timestamptz := clock_timestamp() + p_overlap;
BEGIN
	UPDATE server_tokens SET valid_until = v_until WHERE vps_name = p_vps AND valid_until > v_until;
	DELETE FROM server_tokens WHERE vps_name = p_vps AND valid_until <= now();
	INSERT INTO server_tokens (token_hash, vps_name, made_by)
		VALUES (sha256(sha256(convert_to(v_token, 'UTF8'))), p_vps, p_by);
	RETURN v_token;
END
$$;

-- A server as programs see it.
CREATE OR REPLACE FUNCTION server_json(f v_fleet) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(f) - 'vps_name' || jsonb_build_object('name', f.vps_name)
$$;

-- The sign of a state, as the pages of the fleet have it.
CREATE OR REPLACE FUNCTION server_badge(p_state text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE p_state WHEN 'online' THEN 'up' WHEN 'stale' THEN 'degraded' ELSE p_state END;

CREATE OR REPLACE FUNCTION install_command(p_site text, p_token text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN format('curl -fsSL %s/install.sh | sudo sh -s -- --token %s --url %1$s', p_site, p_token);

-- With its token, which is told once, and the command that sets the server up. p_site: the hub's own address.
CREATE OR REPLACE FUNCTION server_with_token(p_vps text, p_token text, p_site text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	f v_fleet;
BEGIN
	SELECT * INTO f FROM v_fleet WHERE vps_name = p_vps;
	RETURN server_json(f) || jsonb_build_object('agent_token', p_token,
		'ingest_url', p_site || '/api/v1/ingest',
		'install_command', install_command(p_site, p_token));
END
$$;

CREATE OR REPLACE FUNCTION create_server(p_hash bytea, p_body jsonb, p_site text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text := p_body->>'name';
	v_token text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	PERFORM refuse_errors(server_errors(p_body)
		|| field_error(jsonb_typeof(p_body->'name') IS DISTINCT FROM 'string'
			OR NOT fits_name(v_name),
			'name', 'must be a string of 1 to 128 bytes without control characters or blanks at '
			'its ends')
		|| field_error(EXISTS (SELECT FROM servers WHERE vps_name = v_name AND retired_at IS NULL),
			'name', 'is taken by another server'));
	INSERT INTO servers (vps_name, labels, job_name, instance, is_active, created_by)
		VALUES (v_name, merged('{}', labels_of(p_body)), nullif(p_body->>'job_name', ''),
			nullif(p_body->>'instance', ''), coalesce((p_body->>'is_active')::boolean, true),
				c.email)
		ON CONFLICT (vps_name) DO UPDATE SET labels = excluded.labels, job_name = excluded.job_name,
			instance = excluded.instance, is_active = excluded.is_active, retired_at = NULL;
	UPDATE agents SET retired_at = NULL WHERE vps_name = v_name AND retired_at IS NOT NULL;
	v_token := new_server_token(v_name, c.email, '0');
	PERFORM audit(c.email, c.how, 'server created', v_name, p_body - 'name'::text);
	RETURN server_with_token(v_name, v_token, p_site);
END
$$;

CREATE OR REPLACE FUNCTION change_server(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
	v_labels jsonb := labels_of(p_body);
	s servers;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_name := known_server(p_id);
	PERFORM refuse_errors(server_errors(p_body) || field_error(p_body->>'name' <> v_name, 'name',
		'cannot change: the history is kept under it'));
	SELECT * INTO s FROM servers WHERE vps_name = v_name FOR UPDATE;
	IF p_body ? 'labels' AND p_body->'labels' = 'null' THEN
		s.labels := '{}';
	END IF;
	s.labels := merged(coalesce(s.labels, '{}'), v_labels);
	s.job_name := CASE WHEN p_body ? 'job_name' THEN nullif(p_body->>'job_name', '') ELSE s.job_name END;
	s.instance := CASE WHEN p_body ? 'instance' THEN nullif(p_body->>'instance', '') ELSE s.instance END;
	s.is_active := coalesce((p_body->>'is_active')::boolean, s.is_active, true);
	INSERT INTO servers (vps_name, labels, job_name, instance, is_active, created_by)
		VALUES (v_name, s.labels, s.job_name, s.instance, s.is_active, c.email)
		ON CONFLICT (vps_name) DO UPDATE SET labels = excluded.labels, job_name = excluded.job_name,
			instance = excluded.instance, is_active = excluded.is_active;
	PERFORM audit(c.email, c.how, 'server changed', v_name, p_body);
	RETURN (SELECT server_json(f) FROM v_fleet f WHERE vps_name = v_name);
END
$$;

-- Takes a server out of service: its tokens and logins end, its history stays.
CREATE OR REPLACE FUNCTION delete_server(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_name := known_server(p_id);
	IF (SELECT state = 'retired' FROM v_fleet WHERE vps_name = v_name) THEN
		PERFORM refuse(404, format('Server "%s" is retired already.', v_name));
	END IF;
	IF EXISTS (SELECT FROM agent_roles WHERE vps_name = v_name) THEN
		PERFORM revoke_server(v_name);
	END IF;
	DELETE FROM server_tokens WHERE vps_name = v_name;
	UPDATE agents SET retired_at = v_now WHERE vps_name = v_name;
	INSERT INTO servers (vps_name, created_by, retired_at) VALUES (v_name, c.email, v_now)
		ON CONFLICT (vps_name) DO UPDATE SET retired_at = excluded.retired_at;
	PERFORM audit(c.email, c.how, 'server retired', v_name);
	RETURN jsonb_build_object('retired_at', v_now);
END
$$;

-- A new token. The former one stays valid for p_overlap, so that no post is refused meanwhile.
CREATE OR REPLACE FUNCTION renew_server_token(p_hash bytea, p_id text, p_site text,
	p_overlap interval DEFAULT '7 days') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_name := known_server(p_id);
	IF (SELECT state = 'retired' FROM v_fleet WHERE vps_name = v_name) THEN
		PERFORM refuse(404, format('Server "%s" is retired; create it again.', v_name));
	END IF;
	INSERT INTO servers (vps_name, created_by) VALUES (v_name, c.email) ON CONFLICT DO NOTHING;
	PERFORM audit(c.email, c.how, 'server token made', v_name);
	RETURN server_with_token(v_name, new_server_token(v_name, c.email, p_overlap), p_site);
END
$$;

-- For fleet_hub_admin: [{"server", "made_at", "made_by", "valid_until"}]; null: without an end.
CREATE OR REPLACE FUNCTION list_server_tokens(p_hash bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'operator');
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('server', vps_name, 'made_at', made_at,
		'made_by', made_by, 'valid_until', nullif(valid_until, 'infinity'))
		ORDER BY vps_name, made_at), '[]')
		FROM server_tokens WHERE valid_until > now());
END
$$;

-- All tokens of a server end at once; how many there were.
CREATE OR REPLACE FUNCTION end_server_tokens(p_hash bytea, p_id text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
	v_n int;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_name := known_server(p_id);
	DELETE FROM server_tokens WHERE vps_name = v_name;
	GET DIAGNOSTICS v_n = ROW_COUNT;
	PERFORM audit(c.email, c.how, 'server tokens ended', v_name, jsonb_build_object('tokens', v_n));
	RETURN v_n;
END
$$;

-- ---- bootstrap tokens, and enrolment -----------------------------------------------------------------
-- Makes a token that enrolls new servers: {"uses"?, "expires_in"? in seconds}.
CREATE OR REPLACE FUNCTION create_bootstrap_token(p_hash bytea, p_body jsonb, p_site text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	t record;
	v_uses text := coalesce(nullif(p_body->>'uses', ''), '1');
	v_expires text := coalesce(nullif(p_body->>'expires_in', ''), '86400');
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	PERFORM refuse_errors(unknown_fields(p_body, '{uses,expires_in}')
		|| field_error(v_uses !~ '^\d{1,5}$' OR v_uses::int NOT BETWEEN 1 AND 10000, 'uses',
			'must be a whole number from 1 to 10000')
		|| field_error(v_expires !~ '^\d{1,7}$' OR v_expires::int NOT BETWEEN 1 AND 7776000,
			'expires_in',
			'must be seconds, from 1 to 7776000 (90 days)'));
	SELECT * INTO t FROM make_token(v_uses::int, make_interval(secs => v_expires::int));
	PERFORM audit(c.email, c.how, 'bootstrap token made', t.role_name,
		jsonb_build_object('uses', v_uses::int, 'expires_in', v_expires::int));
	RETURN jsonb_build_object('id', t.role_name, 'token', t.password, 'uses', v_uses::int,
		'expires_at', now() + make_interval(secs => v_expires::int), 'install_command',
			install_command(p_site, t.password));
END
$$;

CREATE OR REPLACE FUNCTION end_bootstrap_token(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	IF NOT revoke_token(p_id) THEN
		PERFORM refuse(404, format('There is no bootstrap token "%s".', left(p_id, 200)));
	END IF;
	PERFORM audit(c.email, c.how, 'bootstrap token revoked', p_id);
	RETURN '{}';
END
$$;

-- Whether a server's token may still make logins and tokens. One that a person has replaced only posts until
-- its end: else who has stolen it would make himself one that stays. One that an enrolment has replaced may
-- come again, when install.sh did not get to its end.
CREATE OR REPLACE FUNCTION may_enroll(t server_tokens) RETURNS boolean
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT is_active FROM servers WHERE vps_name = t.vps_name), true)
		AND NOT EXISTS (SELECT FROM server_tokens n WHERE n.vps_name = t.vps_name
			AND n.made_at > t.made_at AND n.made_by <> 'token')
$$;

-- A login for the server that the token makes: of a bootstrap token a new one, of a server's token that
-- server.
CREATE OR REPLACE FUNCTION enroll_with(p_token bytea, p_name text) RETURNS TABLE (vps text, login text,
	password text)
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t server_tokens;
	v_role text;
	v_hint text;
BEGIN
	SELECT * INTO t FROM server_tokens
		WHERE token_hash = sha256(p_token) AND valid_until > clock_timestamp();
	IF FOUND THEN
		IF NOT may_enroll(t) THEN
			PERFORM refuse(403, format('This token of server "%s" was replaced, or the server is '
				'not active: it enrolls nothing. Use the newest token.', t.vps_name));
		END IF;
		RETURN QUERY SELECT t.vps_name, e.role_name, e.password FROM enroll(t.vps_name) e;
		RETURN;
	END IF;
	SELECT role INTO v_role FROM bootstrap_tokens WHERE token_hash = sha256(p_token);
	IF NOT FOUND THEN
		PERFORM refuse(401, 'This is no token that enrolls a server, or it was revoked.');
	END IF;
	PERFORM refuse_errors(field_error(p_name IS NULL OR NOT fits_name(p_name), 'hostname',
		'must be a string of 1 to 128 bytes without control characters or blanks at its ends'));
	RETURN QUERY SELECT p_name, e.role_name, e.password FROM enroll_by(v_role, p_name) e;
EXCEPTION WHEN insufficient_privilege THEN
	GET STACKED DIAGNOSTICS v_hint = PG_EXCEPTION_HINT;
	PERFORM refuse(403, concat(upper(left(sqlerrm, 1)), substr(sqlerrm, 2), '. ', v_hint));
END
$$;

-- {"hostname", "token"?}: the token comes in the header or in the body. p_database: where agents reach the
-- database, HOST[:PORT]/NAME?..., or NULL.
CREATE OR REPLACE FUNCTION enroll_agent(p_token bytea, p_body jsonb, p_site text, p_database text)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_token bytea := coalesce(p_token, sha256(convert_to(p_body->>'token', 'UTF8')));
	e record;
BEGIN
	PERFORM take('enroll', address_key(request_address())),
		refuse_errors(unknown_fields(p_body, '{hostname,token}')
		|| field_error(p_body ? 'hostname' AND jsonb_typeof(p_body->'hostname') <> 'string',
			'hostname',
			'must be a string'));
	SELECT * INTO e FROM enroll_with(v_token, p_body->>'hostname');
	INSERT INTO servers (vps_name, created_by) VALUES (e.vps, 'token') ON CONFLICT DO NOTHING;
	PERFORM audit('', 'token', 'server enrolled', e.vps);
	RETURN server_with_token(e.vps, new_server_token(e.vps, 'token', '7 days'), p_site)
		|| jsonb_build_object('database_user', e.login, 'database_password', e.password,
			'database_url', format('postgresql://%s:%s@', e.login, e.password) || p_database);
END
$$;
INSERT INTO limit_policy VALUES ('enroll', 60, '1 minute') ON CONFLICT DO NOTHING;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION server_id TO observ_hub, observ_watch, observ_reader;
GRANT EXECUTE ON FUNCTION as_uuid, find_server, server_json, server_badge TO observ_hub;
GRANT EXECUTE ON FUNCTION create_server, change_server, delete_server, renew_server_token,
	create_bootstrap_token,
	end_bootstrap_token, enroll_agent TO observ_hub, observ_enroll;
GRANT EXECUTE ON FUNCTION list_server_tokens, end_server_tokens TO observ_enroll;
