-- ==== 50-servers: enrolment, rotation, retirement, tokens =======================================
-- Tokens: logins that may enroll new servers.
CREATE TABLE IF NOT EXISTS bootstrap_tokens (
	role text PRIMARY KEY,
	made_at timestamptz NOT NULL DEFAULT now(),
	made_by text NOT NULL DEFAULT session_user,
	expires_at timestamptz NOT NULL,
	uses int NOT NULL CHECK (uses BETWEEN 1 AND 10000),
	used int NOT NULL DEFAULT 0
);
-- Of the password, as 60-people keeps those of the hub: a program may show the token to the hub instead.
SELECT want_column('bootstrap_tokens', 'token_hash', 'bytea') \g /dev/null
REVOKE SELECT ON bootstrap_tokens FROM observ_hub, observ_watch, observ_enroll;
GRANT SELECT (role, made_at, made_by, expires_at, uses, used) ON bootstrap_tokens
	TO observ_hub, observ_watch, observ_enroll;

-- A step of maintain(). Ends transactions of servers and tokens that are open for a minute, because they hold
-- back vacuum; and for ten seconds with a lock on a table of this schema, because making and dropping
-- partitions waits for them. An agent's transaction takes milliseconds, and the agent sends it again. Only
-- sessions of logins that this schema made are ended.
CREATE OR REPLACE FUNCTION maintain_sessions(p_deadline timestamptz) RETURNS text
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT nullif(count(*) FILTER (WHERE pg_terminate_backend(pid, 1000)), 0)
		|| ' transactions ended that were open for too long'
	FROM pg_stat_activity a
	JOIN (SELECT role FROM agent_roles UNION SELECT role FROM bootstrap_tokens) r ON role = usename
	WHERE pg_has_role(usesysid, 'USAGE') AND (xact_start < clock_timestamp() - interval '1 minute' OR
		(xact_start < clock_timestamp() - interval '10 seconds' AND EXISTS (
			SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
			WHERE l.pid = a.pid AND l.locktype = 'relation'
				AND c.relnamespace = 'observ'::regnamespace)))
$$;

-- When a server was retired; false: it was so already, or has no agent. Runs as the owner like all that reads
-- agents: in a transaction Citus lets nobody read a row that another role has changed.
CREATE OR REPLACE FUNCTION set_retired(p_vps text, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	UPDATE agents SET retired_at = p_at WHERE vps_name = p_vps AND retired_at IS DISTINCT FROM p_at;
	RETURN FOUND;
END
$$;

-- All that follows runs as observ_roles, which may make roles; members of observ_enroll may call it. A
-- password is shown once, and PostgreSQL keeps only its SCRAM verifier. lock_logins() lets one caller at a
-- time work; agents do not wait for it.
GRANT USAGE, CREATE ON SCHEMA observ TO observ_roles;
GRANT EXECUTE ON FUNCTION check_name, drop_former_functions, set_retired TO observ_roles;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_roles, bootstrap_tokens TO observ_roles;
GRANT SELECT ON agents TO observ_roles;
REVOKE UPDATE (retired_at) ON agents FROM observ_roles;
SET LOCAL ROLE observ_roles;
ALTER DEFAULT PRIVILEGES FOR ROLE observ_roles REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- ---- logins -------------------------------------------------------------------------------------
-- Ends the sessions of a login and waits for each, a second at most.
CREATE OR REPLACE FUNCTION end_sessions(p_role text) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp SET client_min_messages = error AS $$
	SELECT pg_stat_clear_snapshot();        -- else sessions that began in this transaction are not seen
	SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = p_role
$$;

-- Makes a login, or gives it a new password, and returns the password. Settings that the login made for
-- itself are reset.
CREATE OR REPLACE FUNCTION make_login(p_role text, p_group text, p_connections int, p_until timestamptz)
RETURNS text LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp
SET password_encryption = 'scram-sha-256' SET client_min_messages = warning AS $$
DECLARE
	v_password text := translate(encode(sha256(uuid_send(gen_random_uuid()) ||
		uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'), '+/=', '');
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = p_role) THEN
		EXECUTE format('CREATE ROLE %I', p_role);
	END IF;
	PERFORM end_sessions(p_role);           -- one may lock its row of pg_authid
	EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT %s PASSWORD %L VALID UNTIL %L',
		p_role, p_connections, v_password, p_until);
	EXECUTE format('ALTER ROLE %I RESET ALL', p_role);
	EXECUTE format('ALTER ROLE %I SET statement_timeout = ''60s''', p_role);
	EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''60s''', p_role);
	IF has_parameter_privilege('temp_file_limit', 'SET') THEN       -- see templates/observ-harden.sql
		EXECUTE format('ALTER ROLE %I SET temp_file_limit = ''256MB''', p_role);
	END IF;
	EXECUTE format('GRANT %I TO %I', p_group, p_role);
	-- Only members may end its sessions.
	EXECUTE format('GRANT %I TO observ_roles, observ_owner', p_role);
	RETURN v_password;
END
$$;

CREATE OR REPLACE FUNCTION drop_login(p_role text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET client_min_messages = warning AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = p_role) THEN
		EXECUTE format('GRANT %I TO observ_roles', p_role);
		PERFORM end_sessions(p_role);           -- one may lock its row of pg_authid
		EXECUTE format('ALTER ROLE %I NOLOGIN', p_role);
		PERFORM end_sessions(p_role);           -- one may have logged in meanwhile
		EXECUTE format('DROP OWNED BY %I', p_role);     -- default privileges, which any login may set
		EXECUTE format('DROP ROLE %I', p_role);
	END IF;
END
$$;

-- The newest login of a server. NULL: the server is not enrolled.
CREATE OR REPLACE FUNCTION current_login(p_vps text) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT role FROM agent_roles WHERE vps_name = p_vps ORDER BY enrolled_at DESC LIMIT 1
$$;

-- Binds a new login name to the server. It is made from the server's name, with a random end if it is taken.
CREATE OR REPLACE FUNCTION bind_login(p_vps text) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_plain text := 'obs_' ||
		left(trim(BOTH '_' FROM regexp_replace(lower(p_vps), '[^a-z0-9]+', '_', 'g')), 40);
	v_role text := v_plain;
BEGIN
	WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) OR
			EXISTS (SELECT FROM agent_roles WHERE role = v_role) LOOP
		v_role := v_plain || '_' || left(md5(gen_random_uuid()::text), 8);
	END LOOP;
	INSERT INTO agent_roles (role, vps_name) VALUES (v_role, p_vps);
	RETURN v_role;
END
$$;

-- Lets one session at a time change logins, until its transaction ends. The caller must see what the one
-- before it wrote, so an older snapshot is refused. A login can take this lock by PREPARE of a statement that
-- it may not execute. Agents and tokens have no use for it, so their session is ended if it holds the lock
-- for a second, or for ten while it is active.
CREATE OR REPLACE FUNCTION lock_logins() RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RAISE EXCEPTION 'this works in read committed transactions only, not in %',
			current_setting('transaction_isolation')
			USING ERRCODE = '25001', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
	END IF;
	FOR i IN 1..15 LOOP
		BEGIN
			LOCK TABLE agent_roles IN SHARE ROW EXCLUSIVE MODE;
			RETURN;
		EXCEPTION WHEN lock_not_available THEN
			-- Else pg_stat_activity stays as this transaction first read it.
			PERFORM pg_stat_clear_snapshot();
			PERFORM pg_terminate_backend(a.pid, 1000) FROM pg_stat_activity a
				JOIN (SELECT role FROM agent_roles UNION SELECT role FROM bootstrap_tokens) r
					ON role = usename
				WHERE xact_start < clock_timestamp() - CASE WHEN state = 'active'
						THEN interval '10 seconds' ELSE interval '1 second' END
					AND EXISTS (SELECT FROM pg_locks l
						WHERE l.pid = a.pid AND relation = 'agent_roles'::regclass
							AND granted AND mode <> 'AccessShareLock');
		END;
	END LOOP;
	RAISE EXCEPTION 'another session works on the logins and does not end' USING ERRCODE = '55P03',
		HINT = 'SELECT pid, usename, query FROM pg_stat_activity JOIN pg_locks USING (pid) '
			'WHERE relation = ''observ.agent_roles''::regclass';
END
$$;

-- Drops the logins of a server except p_keep and returns their names. Their sessions end first, because one
-- of them may hold the lock that this waits for.
CREATE OR REPLACE FUNCTION drop_logins(p_vps text, p_keep text) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_role text;
BEGIN
	PERFORM end_sessions(role) FROM agent_roles WHERE vps_name = p_vps AND role IS DISTINCT FROM p_keep;
	PERFORM lock_logins();
	FOR v_role IN DELETE FROM agent_roles
			WHERE vps_name = p_vps AND role IS DISTINCT FROM p_keep RETURNING role LOOP
		PERFORM drop_login(v_role);
		RETURN NEXT v_role;
	END LOOP;
END
$$;

-- ---- servers ------------------------------------------------------------------------------------
-- Makes the login of a server, or gives it a new password.
CREATE OR REPLACE FUNCTION enroll(p_vps text) RETURNS TABLE (role_name text, password text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_role text;
BEGIN
	PERFORM check_name('vps_name', p_vps), lock_logins();
	v_role := coalesce(current_login(p_vps), bind_login(p_vps));
	PERFORM set_retired(p_vps, NULL);
	RETURN QUERY SELECT v_role, make_login(v_role, 'observ_agent', 20, 'infinity');
END
$$;

-- Makes a second login for a server. The first stays valid until rotate_finish(), or for p_overlap.
CREATE OR REPLACE FUNCTION rotate_server(p_vps text, p_overlap interval DEFAULT '7 days')
RETURNS TABLE (role_name text, password text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_old text;
	v_new text;
	v_until timestamptz := clock_timestamp() + p_overlap;
BEGIN
	PERFORM lock_logins();
	v_old := current_login(p_vps);
	IF v_old IS NULL THEN
		RAISE EXCEPTION 'server "%" is not enrolled', p_vps
			USING ERRCODE = '22023', HINT = 'SELECT * FROM observ.enroll(vps_name)';
	END IF;
	IF p_overlap IS NULL OR p_overlap NOT BETWEEN '0' AND '90 days' THEN
		RAISE EXCEPTION 'the old login stays valid for 0 to 90 days, not %', p_overlap
			USING ERRCODE = '22023';
	END IF;
	IF EXISTS (SELECT FROM agent_roles
			WHERE vps_name = p_vps AND role <> v_old AND valid_until > clock_timestamp()) THEN
		RAISE EXCEPTION 'server "%" is rotating already: agents may still use the older login', p_vps
			USING ERRCODE = '55000', HINT = 'rotate_finish() ends the older one; '
				'enroll() gives the newer one another password.';
	END IF;
	PERFORM drop_logins(p_vps, v_old);
	UPDATE agent_roles SET valid_until = v_until WHERE role = v_old;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_old) THEN
		PERFORM end_sessions(v_old);    -- agents reconnect at once; one may lock its row of pg_authid
		EXECUTE format('ALTER ROLE %I VALID UNTIL %L', v_old, v_until);
	END IF;
	v_new := bind_login(p_vps);
	RETURN QUERY SELECT v_new, make_login(v_new, 'observ_agent', 20, 'infinity');
END
$$;

-- Drops the older login and ends its sessions.
CREATE OR REPLACE FUNCTION rotate_finish(p_vps text) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT drop_logins(p_vps, current_login(p_vps))
$$;

-- Drops the logins of a server, ends its sessions, and drops its tokens of the hub, since one makes a login.
-- Its rows stay.
CREATE OR REPLACE FUNCTION revoke_server(p_vps text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM server_tokens WHERE vps_name = p_vps;
	RETURN QUERY SELECT drop_logins(p_vps, NULL);
END
$$;

-- As revoke_server(), and the server counts as out of service, not as offline.
CREATE OR REPLACE FUNCTION retire_server(p_vps text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT revoke_server(p_vps);
	IF NOT set_retired(p_vps, clock_timestamp()) THEN
		RAISE EXCEPTION 'no server "%" has ever reported', p_vps
			USING ERRCODE = '22023', HINT = 'To take its login away: revoke_server().';
	END IF;
END
$$;

-- ---- tokens -------------------------------------------------------------------------------------
-- Makes a login that can enroll new servers and nothing else. It ends after p_uses servers or p_expires. For
-- a day longer it may still log in, so that it can be told why it is refused.
CREATE OR REPLACE FUNCTION make_token(p_uses int DEFAULT 1, p_expires interval DEFAULT '1 day')
RETURNS TABLE (role_name text, password text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_role text := 'obs_token_' || left(md5(gen_random_uuid()::text), 12);
	v_until timestamptz := clock_timestamp() + p_expires;
	v_password text;
BEGIN
	IF p_uses IS NULL OR p_uses NOT BETWEEN 1 AND 10000 OR
	   p_expires IS NULL OR p_expires NOT BETWEEN '1 second' AND '90 days' THEN
		RAISE EXCEPTION 'a token has 1 to 10000 uses and expires within 90 days'
			USING ERRCODE = '22023';
	END IF;
	PERFORM revoke_token(role) FROM bootstrap_tokens WHERE expires_at < now() - interval '1 day';
	INSERT INTO bootstrap_tokens (role, expires_at, uses) VALUES (v_role, v_until, p_uses);
	v_password := make_login(v_role, 'observ_bootstrap', 5, v_until + interval '1 day');
	UPDATE bootstrap_tokens SET token_hash = sha256(sha256(convert_to(v_password, 'UTF8')))
		WHERE role = v_role;
	RETURN QUERY SELECT v_role, v_password;
END
$$;

CREATE OR REPLACE FUNCTION revoke_token(p_role text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM end_sessions(role) FROM bootstrap_tokens WHERE role = p_role;  -- one may lock the row
	DELETE FROM bootstrap_tokens WHERE role = p_role;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM drop_login(p_role);
	RETURN true;
END
$$;

-- Enrolls a server with a token. It gives no known server away, not even a revoked one.
CREATE OR REPLACE FUNCTION enroll_by(p_token text, p_vps text) RETURNS TABLE (role_name text, password text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t bootstrap_tokens;
	v_hint text := 'Ask for a new one: fleet_hub_admin token.';
BEGIN
	PERFORM lock_logins();
	SELECT * INTO t FROM bootstrap_tokens WHERE role = p_token FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION '% is no token, or it was revoked', p_token
			USING ERRCODE = '42501', HINT = v_hint;
	ELSIF t.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'this token expired at %', t.expires_at
			USING ERRCODE = '42501', HINT = v_hint;
	ELSIF t.used >= t.uses THEN
		RAISE EXCEPTION 'this token is used up: it was for % server(s)', t.uses
			USING ERRCODE = '42501', HINT = v_hint;
	END IF;
	PERFORM check_name('vps_name', p_vps);
	PERFORM FROM agents WHERE vps_name = p_vps;     -- alone: Citus runs the rest on the coordinator
	IF FOUND OR current_login(p_vps) IS NOT NULL OR
	   EXISTS (SELECT FROM servers WHERE vps_name = p_vps) THEN
		RAISE EXCEPTION 'a server "%" is known already, and a token is for new ones', p_vps
			USING ERRCODE = '42501', HINT = 'Give this one another name, '
				'or let an admin enroll it: fleet_hub_admin enroll.';
	END IF;
	UPDATE bootstrap_tokens SET used = t.used + 1 WHERE role = t.role;
	RETURN QUERY SELECT * FROM enroll(p_vps);
END
$$;

-- The same with the token that logged in.
CREATE OR REPLACE FUNCTION bootstrap_enroll(p_vps text) RETURNS TABLE (role_name text, password text)
LANGUAGE sql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT * FROM enroll_by(session_user, p_vps)
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION enroll, rotate_server, rotate_finish, revoke_server, retire_server, make_token,
	revoke_token TO observ_enroll;
GRANT EXECUTE ON FUNCTION bootstrap_enroll TO observ_bootstrap;
-- For 63-fleet.
GRANT EXECUTE ON FUNCTION enroll, enroll_by, revoke_server, make_token, revoke_token TO observ_owner;
SET LOCAL ROLE observ_owner;
REVOKE CREATE ON SCHEMA observ FROM observ_roles;

