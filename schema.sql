-- schema.sql - the database of Observ. Made from the parts in schema/ by `make schema.sql`: edit those.
--
--   createdb observ_metrics && psql observ_metrics < schema.sql
--
-- This file installs the database, and upgrades one that an older release installed; a second run
-- changes nothing. It is one transaction: all or nothing. It needs PostgreSQL 15 or newer, a database
-- in UTF-8 that holds nothing but Observ, and a role that owns the database and may create roles
-- (CREATEROLE; superuser is not needed).
--
-- Every change keeps these rules:
-- * Each key contains vps_name, and timestamp if the table is partitioned. There are no triggers, no
--   foreign keys between facts and no volatile functions inside an UPDATE. This lets templates/citus.sql
--   distribute the tables by vps_name over the workers of a Citus cluster. A command that changes a table
--   or its views goes through on_all_nodes(), want_column() or want_index(), and so reaches the workers. A
--   function that is called for rows is IMMUTABLE or PARALLEL SAFE: citus.sql puts these on the workers. One
--   that reads a table is neither, but PARALLEL RESTRICTED at most, and no query of rows calls it. A function
--   with parameters that reads distributed tables is in PL/pgSQL.
-- * An agent may execute the functions that are granted to observ_agent, and nothing else. They run as
--   observ_owner and take the caller's identity from session_user.
-- * A value that the database refuses raises an SQLSTATE of class 22, 23, 54 or P0: the agent bisects
--   its batch to find the bad row. Any other class means "try again" or "a person must act".
-- * Locks are taken in the order in which agents take them: agents, vps_metrics, latest_samples,
--   health_checks, latest_checks, gaps, rejects, log_streams, log_entries.
-- * A part owns its tables, indexes, functions and grants. Functions are not open to PUBLIC.

\set ON_ERROR_STOP on
\set version 1
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog;
SET LOCAL timezone = 'UTC';
-- On Citus only on_all_nodes() reaches the workers from here; templates/citus.sql does the rest.
SET LOCAL citus.enable_ddl_propagation = off;
SELECT set_config('observ.version', :'version', true) \g /dev/null

DO $$
BEGIN
	IF current_setting('server_version_num')::int < 150000 THEN
		RAISE EXCEPTION 'Observ needs PostgreSQL 15 or newer, this is %',
			current_setting('server_version');
	END IF;
	IF current_database() IN ('postgres', 'template1') THEN
		RAISE EXCEPTION 'this is database %, Observ needs a database that holds nothing else',
			current_database()
			USING HINT = 'createdb observ_metrics && psql observ_metrics < schema.sql';
	END IF;
	IF getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'database % has encoding %, Observ needs UTF8',
			current_database(), getdatabaseencoding()
			USING HINT = 'createdb -T template0 -E UTF8 ...';
	END IF;
END
$$;

-- ==== 10-roles: roles, settings of the database, the schema and its version ====================
-- observ_owner      owns everything; nobody logs in as it
-- observ_agent      may execute the agent functions
-- observ_agent_any  as observ_agent, for every vps_name unless the login is enrolled for one
-- observ_hub        reads the tables
-- observ_watch      reads the tables, runs maintain()
-- observ_reader     reads the views (Grafana, people)
-- observ_enroll     may enroll, rotate, revoke and retire servers, and make tokens
-- observ_bootstrap  may enroll one new server: the role of a token
-- observ_roles      makes the servers' logins: it owns the functions that do; nobody logs in as it
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['observ_owner', 'observ_agent', 'observ_agent_any', 'observ_hub',
			'observ_watch', 'observ_reader', 'observ_enroll', 'observ_bootstrap',
			'observ_roles'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN %s', r,
				CASE r WHEN 'observ_roles' THEN 'CREATEROLE' END);
		END IF;
	END LOOP;
	FOREACH r IN ARRAY ARRAY['observ_owner', 'observ_roles', 'observ_enroll', 'observ_reader'] LOOP
		IF NOT pg_has_role(r, 'MEMBER') THEN
			EXECUTE format('GRANT %I TO CURRENT_USER', r);
		END IF;
	END LOOP;
	FOREACH r IN ARRAY ARRAY['observ_agent', 'observ_bootstrap'] LOOP
		-- PostgreSQL 16 and newer ask for this.
		IF NOT pg_has_role('observ_roles', r, 'MEMBER WITH ADMIN OPTION') THEN
			EXECUTE format('GRANT %I TO observ_roles WITH ADMIN OPTION', r);
		END IF;
	END LOOP;
	IF NOT pg_has_role('observ_agent_any', 'observ_agent', 'MEMBER') THEN
		GRANT observ_agent TO observ_agent_any;
	END IF;
END
$$;

-- Only the owner of the database may do this, so a second run leaves out what is done already.
DO $$
DECLARE
	db text := current_database();
	settings text;
BEGIN
	IF to_regnamespace('observ') IS NULL THEN
		CREATE SCHEMA observ AUTHORIZATION observ_owner;
	END IF;
	SELECT s.setconfig::text INTO settings
		FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
		WHERE d.datname = db AND s.setrole = 0;
	IF settings IS NULL OR strpos(settings, 'search_path=observ, public') = 0 THEN
		EXECUTE format('ALTER DATABASE %I SET search_path = observ, public', db);
	END IF;
	IF settings IS NULL OR strpos(settings, 'tcp_keepalives_idle=') = 0 THEN
		-- A client that died leaves its session open. An agent that comes back ends its own at once
		-- (end_stale_session()), so the server may take minutes to notice. Probes at shorter
		-- intervals would be half of the bytes of an idle agent, which sends each minute.
		EXECUTE format('ALTER DATABASE %I SET tcp_keepalives_idle = 120', db);
		EXECUTE format('ALTER DATABASE %I SET tcp_keepalives_interval = 10', db);
		EXECUTE format('ALTER DATABASE %I SET tcp_keepalives_count = 3', db);
		-- A session that waits for a lock ends when its client is gone.
		EXECUTE format('ALTER DATABASE %I SET client_connection_check_interval = 5000', db);
	END IF;
	IF has_database_privilege('observ_agent', db, 'TEMPORARY') THEN
		EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', db);
	END IF;
	IF has_schema_privilege('observ_agent', 'public', 'CREATE') THEN
		-- The cluster was made before PostgreSQL 15.
		REVOKE CREATE ON SCHEMA public FROM PUBLIC;
	END IF;
END
$$;

SET LOCAL ROLE observ_owner;
SET LOCAL search_path = observ, pg_catalog;
ALTER DEFAULT PRIVILEGES FOR ROLE observ_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA observ
	TO observ_agent, observ_hub, observ_watch, observ_reader, observ_enroll, observ_bootstrap;

CREATE TABLE IF NOT EXISTS schema_version (
	version int PRIMARY KEY,
	applied_at timestamptz NOT NULL DEFAULT now(),
	applied_by text NOT NULL DEFAULT session_user
);
GRANT SELECT ON schema_version TO observ_hub, observ_watch;

DO $$
DECLARE
	ours int := current_setting('observ.version');
	installed int;
BEGIN
	PERFORM FROM schema_version FOR UPDATE;         -- waits until a running maintain() has ended
	SELECT max(version) INTO installed FROM schema_version;
	IF installed > ours THEN
		RAISE EXCEPTION 'the database has schema version %, this file is version %', installed, ours
			USING HINT = 'Use the schema.sql of the newer release.';
	END IF;
END
$$;

-- The parts use these four, and 99-end drops them.

-- Runs a command that changes a table or its views; on the workers too if Citus has distributed the tables.
CREATE OR REPLACE FUNCTION on_all_nodes(p_command text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_distributed boolean := false;
BEGIN
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
		EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition)' INTO v_distributed;
	END IF;
	PERFORM set_config('citus.enable_ddl_propagation', v_distributed::text, true);
	EXECUTE p_command;
	PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
END
$$;

-- These two look before they lock: CREATE INDEX IF NOT EXISTS and ADD COLUMN IF NOT EXISTS make writers wait
-- even when there is nothing to do.
CREATE OR REPLACE FUNCTION want_index(p_name text, p_on text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF to_regclass(p_name) IS NULL THEN
		PERFORM on_all_nodes(format('CREATE INDEX %I ON %s', p_name, p_on));
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION want_column(p_table text, p_name text, p_type text, p_check text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = p_table::regclass AND attname = p_name) THEN
		PERFORM on_all_nodes(format('ALTER TABLE %I ADD COLUMN %I %s', p_table, p_name, p_type));
		IF p_check IS NOT NULL THEN
			PERFORM on_all_nodes(format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%s)', p_table,
				p_table || '_' || p_name || '_check', p_check));
		END IF;
	END IF;
END
$$;

-- Drops functions that an older schema.sql made with other parameters: they have the name of a function that
-- this run has written, but not been written themselves. A part calls this before it grants, because GRANT
-- takes a name without parameters only if one function has it. The newest go first, since they call older
-- ones.
CREATE OR REPLACE FUNCTION drop_former_functions() RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now xid := pg_current_xact_id()::xid;
	f record;
BEGIN
	FOR f IN SELECT oid FROM pg_proc p WHERE pronamespace = 'observ'::regnamespace AND xmin <> v_now
			AND EXISTS (SELECT FROM pg_proc n WHERE n.pronamespace = p.pronamespace
				AND n.proname = p.proname AND n.xmin = v_now) ORDER BY oid DESC LOOP
		EXECUTE 'DROP FUNCTION ' || f.oid::regprocedure;
	END LOOP;
END
$$;

-- ==== 15-states: the rules that say which state an agent, a check and an application are in =====
-- Pages, views and doctor call these functions instead of repeating a limit. They depend on nothing but their
-- parameters, so PostgreSQL replaces each call by its body. docs/schema.md has a table of the states.

-- The state of an agent: retired, offline, stale or online. Its interval is 60 s if it has not told one.
CREATE OR REPLACE FUNCTION agent_state(p_last_seen_at timestamptz, p_interval_s int, p_retired_at timestamptz,
	p_now timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_retired_at IS NOT NULL THEN 'retired'
	WHEN p_now - p_last_seen_at > make_interval(secs => greatest(300, 5.0 * coalesce(p_interval_s, 60)))
		THEN 'offline'
	WHEN p_now - p_last_seen_at > make_interval(secs => 3.0 * greatest(coalesce(p_interval_s, 60), 1))
		THEN 'stale'
	ELSE 'online' END;

-- The second agent of the same name that was sent away, for a day; then NULL.
CREATE OR REPLACE FUNCTION agent_conflict(p_conflict text, p_conflict_at timestamptz, p_now timestamptz)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_now - p_conflict_at < interval '1 day' THEN p_conflict END;

-- The last result of a check counts for three of its intervals, and for 20 minutes at least.
CREATE OR REPLACE FUNCTION check_expiry(p_interval_s int) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(interval '20 minutes', make_interval(secs => 3.0 * p_interval_s));

-- A check with a longer interval is rare: its result counts for more than 20 minutes. health_checks has an
-- index of such results. The longest interval is a day.
CREATE OR REPLACE FUNCTION rare_check_s() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 400;
CREATE OR REPLACE FUNCTION max_check_s() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 86400;

-- The state of a check, from its last result: up, down, or unknown if there is none or it is too old.
CREATE OR REPLACE FUNCTION check_state(p_success boolean, p_at timestamptz, p_interval_s int,
	p_now timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_success IS NULL OR p_at IS NULL OR p_now - p_at >= check_expiry(p_interval_s) THEN 'unknown'
	WHEN p_success THEN 'up'
	ELSE 'down' END;

-- Whether a certificate expires soon: within 14 days, or in the last third of a life that is shorter than 42.
CREATE OR REPLACE FUNCTION certificate_soon(p_starts_at timestamptz, p_expires_at timestamptz,
	p_now timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_expires_at - p_now < least(interval '14 days', (p_expires_at - p_starts_at) / 3);

-- The state of an application, from its agent and its checks: retired, offline, down, degraded or up.
CREATE OR REPLACE FUNCTION app_state(p_agent_state text, p_conflict boolean, p_checks bigint, p_down bigint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_agent_state IN ('retired', 'offline') THEN p_agent_state
	WHEN p_down > 0 AND p_down >= p_checks THEN 'down'
	WHEN p_down > 0 OR p_agent_state = 'stale' OR p_conflict THEN 'degraded'
	ELSE 'up' END;

-- The order of these states, worst first. A server has the worst state of its applications.
CREATE OR REPLACE FUNCTION state_rank(p_state text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position('{down,offline,degraded,up,retired}'::text[], p_state);

-- A server is degraded if its memory, disk or inodes are used to this percentage.
CREATE OR REPLACE FUNCTION full_percent() RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 95;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_state, agent_conflict, check_expiry, rare_check_s, max_check_s, check_state,
	certificate_soon, app_state, state_rank, full_percent TO observ_hub, observ_watch, observ_reader;

-- ==== 20-agents: the agents, and the functions that register them and open their batches =========
-- The server as which a login writes. A server that rotates its login has two.
CREATE TABLE IF NOT EXISTS agent_roles (
	role text PRIMARY KEY,
	vps_name text NOT NULL,
	enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	enrolled_by text NOT NULL DEFAULT session_user,
	valid_until timestamptz NOT NULL DEFAULT 'infinity'
);
SELECT want_index('agent_roles_vps_name_idx', 'agent_roles (vps_name)') \g /dev/null

-- Every batch updates its agent's row. Rows are small and no index covers what changes, so that the new
-- version of a row fits on the same page (HOT).
CREATE TABLE IF NOT EXISTS agents (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	epoch bigint NOT NULL,                          -- counts hellos: only the newest connection may push
	last_seq bigint NOT NULL DEFAULT 0,             -- number of the last committed batch; post_seq()
	version text,
	interval_s int,
	skew_ms bigint,                                 -- the agent's clock minus the database's
	state jsonb,                                    -- the agent's report on itself
	first_seen_at timestamptz NOT NULL,
	last_seen_at timestamptz NOT NULL,              -- by the database's clock
	process bigint,                                 -- random number of the process that has the epoch
	host text,                                      -- the name of its machine
	address inet,                                   -- the address from which it connects
	conflict_at timestamptz,                        -- when a second live agent of this name was sent away
	conflict text,                                  -- that agent: its host and address
	retired_at timestamptz,                         -- retire_server() took it out of service
	PRIMARY KEY (vps_name, app_name)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The agent's report on itself, as columns. `state` is JSON from outside: a member that is missing, has
-- another type or is out of range gives NULL. A bad report must not stop the rows that come with it.
-- PostgreSQL reads these expressions at every UPDATE of the table, so they are short: one call each.
CREATE OR REPLACE FUNCTION report_count(p_state jsonb, p_path text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	IF jsonb_typeof(v) = 'number' AND v::numeric >= 0 AND v::numeric < 1000000000000000 THEN
		RETURN floor(v::numeric);
	END IF;
	RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION report_size(p_state jsonb, p_path text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	RETURN CASE jsonb_typeof(v) WHEN 'array' THEN jsonb_array_length(v) END;
END
$$;

CREATE OR REPLACE FUNCTION report_text(p_state jsonb, p_path text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	RETURN CASE jsonb_typeof(v) WHEN 'string' THEN nullif(left(v #>> '{}', 500), '') END;
END
$$;

CREATE OR REPLACE FUNCTION report_time(p_state jsonb, p_path text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v text := p_state #>> string_to_array(p_path, '.');
BEGIN
	IF v !~ '^20\d\d-\d\d-\d\dT[\d:]{8}([.]\d+)?Z$' THEN
		RETURN NULL;
	END IF;
	-- A date that does not exist, such as 31 February, gives NULL too.
	RETURN (jsonb_path_query_first(to_jsonb(left(v, 19)), '$.datetime("YYYY-MM-DD\"T\"HH24:MI:SS")', '{}',
		true) #>> '{}')::timestamp AT TIME ZONE 'UTC';
END
$$;

SELECT want_column('agents', c, format(CASE kind
		WHEN 'count' THEN 'bigint GENERATED ALWAYS AS (report_count(state, %L)) STORED'
		WHEN 'size' THEN 'bigint GENERATED ALWAYS AS (report_size(state, %L)) STORED'
		WHEN 'text' THEN 'text GENERATED ALWAYS AS (report_text(state, %L)) STORED'
		WHEN 'time' THEN 'timestamptz GENERATED ALWAYS AS (report_time(state, %L)) STORED'
		WHEN 'flag' THEN 'boolean GENERATED ALWAYS AS (state #> %L = ''true'') STORED' END, path))
	FROM (VALUES
		(1, 'pending', 'pending', 'count'),                 -- samples that wait in the outbox
		(2, 'lost', 'lost', 'count'),                       -- samples that the full outbox dropped
		(3, 'rejected', 'rejects', 'count'),                -- rows that the database refused
		(4, 'rss_kb', 'rss_kb', 'count'),                   -- memory of the agent
		(5, 'last_error', 'last_error', 'text'),
		(6, 'last_commit_at', 'last_commit', 'time'),       -- times are by the clock of the agent
		(7, 'buffering_since', 'buffering_since', 'time'),  -- since when it has no database
		(8, 'outage_since', 'last_outage.since', 'time'),   -- the last outage of the database
		(9, 'outage_until', 'last_outage.until', 'time'),
		(10, 'outage_samples', 'last_outage.samples', 'count'),
		(11, 'outage_lost', 'last_outage.lost', 'count'),
		(12, 'outbox_bytes', 'outbox.bytes', 'count'),
		(13, 'outbox_in_memory', '{outbox,in_memory}', 'flag'), -- the outbox has no file
		(14, 'outbox_trouble', 'outbox.trouble', 'text'),
		(15, 'lag_bytes', 'tail.lag_bytes', 'count'),       -- log bytes that are not committed yet
		(16, 'lag_s', 'tail.lag_s', 'count'),               -- age of the oldest of them
		(17, 'files', 'tail.files', 'count'),               -- log files that the agent follows
		(18, 'files_parked', 'tail.parked', 'count'),       -- closed to save descriptors
		(19, 'files_held', 'tail.held', 'count'),           -- rotated away, still open
		(20, 'files_unreadable', 'tail.troubles', 'size'),  -- files that it cannot follow
		(21, 'lines_suppressed', 'tail.suppressed', 'count') -- log lines over the rate limit
	) v(n, c, path, kind) ORDER BY n \g /dev/null

GRANT SELECT ON agent_roles, agents TO observ_hub, observ_watch;

-- ---- the caller --------------------------------------------------------------------------
-- The rule of server_name.h in common/settings/. The rule for applications, app_name.h there, is narrower.
CREATE OR REPLACE FUNCTION check_name(p_what text, p_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF p_name IS NULL OR p_name = '' OR octet_length(p_name) > 128 OR
	   p_name ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' THEN
		RAISE EXCEPTION '% must have 1 to 128 bytes, no control characters, and no space at its ends',
			p_what
			USING ERRCODE = '22023';
	END IF;
END
$$;

-- Limits on what one server can store, far above what an agent needs.
CREATE OR REPLACE FUNCTION max_call_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 32 * 1048576;
CREATE OR REPLACE FUNCTION max_state_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 65536;
CREATE OR REPLACE FUNCTION max_apps() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1000;        -- of a server

-- Every agent function begins with this check. p_bytes is the size of its arguments.
CREATE OR REPLACE FUNCTION check_writer(p_vps text, p_app text, p_bytes bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	bound text;
	until timestamptz;
BEGIN
	SELECT vps_name, valid_until INTO bound, until FROM agent_roles WHERE role = session_user;
	IF until <= statement_timestamp() THEN
		RAISE EXCEPTION 'login % of server "%" was replaced by another and valid until %',
			session_user, bound, until
			USING ERRCODE = '42501', HINT = 'Use the login that rotate_server() gave.';
	END IF;
	IF bound IS NULL AND NOT pg_has_role(session_user, 'observ_agent_any', 'MEMBER') THEN
		RAISE EXCEPTION 'role % is not enrolled', session_user USING ERRCODE = '42501',
			HINT = 'SELECT * FROM observ.enroll(vps_name), or GRANT observ_agent_any.';
	END IF;
	IF bound IS NOT NULL AND bound IS DISTINCT FROM p_vps THEN
		RAISE EXCEPTION 'role % may write as server "%" only, not as "%"', session_user, bound, p_vps
			USING ERRCODE = '42501';
	END IF;
	IF p_vps IS NULL OR p_vps = '' OR octet_length(p_vps) > 128 OR
	   p_vps ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' OR
	   p_app IS NULL OR p_app = '' OR octet_length(p_app) > 128 OR
	   p_app ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' THEN
		PERFORM check_name('vps_name', p_vps), check_name('app_name', p_app);
	END IF;
	IF p_bytes > max_call_bytes() THEN
		RAISE EXCEPTION '% bytes in one call, at most % are taken', p_bytes, max_call_bytes()
			USING ERRCODE = '54000', HINT = 'Send fewer rows at a time.';
	END IF;
END
$$;

-- ---- registration -----------------------------------------------------------------------------
-- The session whose open transaction holds the lock on an agent's row; NULL if there is none.
CREATE OR REPLACE FUNCTION stale_session_pid(p_vps text, p_app text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_locker xid;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT xmax INTO v_locker FROM agents WHERE vps_name = p_vps AND app_name = p_app;
	IF v_locker IS NULL OR v_locker = '0'::xid THEN
		RETURN NULL;                    -- nearly always: spare pg_locks, it blocks all lockers
	END IF;
	RETURN (SELECT pid FROM pg_locks
		WHERE locktype = 'transactionid' AND granted AND transactionid = v_locker);
END
$$;

-- An agent calls this before agent_hello(). If its last connection broke in the middle of a batch, the server
-- may not have noticed: that session keeps the row lock until its keepalives fail, or for hours behind a
-- connection pooler that sends none. A session that waits for its client is stale and is ended. A session
-- that works is left alone, because it ends soon. This runs with the caller's rights: a login may end its own
-- sessions.
CREATE OR REPLACE FUNCTION end_stale_session(p_vps text, p_app text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_pid int := stale_session_pid(p_vps, p_app);
BEGIN
	IF v_pid IS NOT NULL THEN
		PERFORM pg_terminate_backend(pid, 1000) FROM pg_stat_activity
			WHERE pid = v_pid AND usename = session_user AND wait_event_type = 'Client';
	END IF;
END
$$;

-- A new connection waits for the row lock until the transaction of the previous one has ended. Each hello
-- gives a new epoch, so nothing that an earlier connection still sends can commit after it.
-- p_epoch: the answer to the process's last hello, NULL before the first. p_host: the name of its machine.
-- Another process that took over is told by OB001; to an agent that gives p_host by epoch 0, because an
-- error would undo the note that two agents are alive.
CREATE OR REPLACE FUNCTION agent_hello(p_vps text, p_app text, p_process bigint, p_epoch bigint,
	p_version text, p_interval_s int, p_clock timestamptz, p_host text DEFAULT NULL)
RETURNS TABLE (epoch bigint, last_seq bigint, server_time timestamptz, schema_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_arrived timestamptz := clock_timestamp();
	v_now timestamptz;
	v_epoch bigint;
	v_process bigint;
	v_seq bigint;
	v_schema int;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	IF NOT isfinite(p_clock) OR p_interval_s NOT BETWEEN 1 AND 86400 OR
	   p_epoch NOT BETWEEN 1 AND 1::bigint << 62 OR p_process IS NULL THEN
		RAISE EXCEPTION 'clock, interval, process or epoch out of range' USING ERRCODE = '22023';
	END IF;
	LOOP
		SELECT a.epoch, a.process, a.last_seq INTO v_epoch, v_process, v_seq FROM agents a
			WHERE a.vps_name = p_vps AND a.app_name = p_app FOR UPDATE;
		EXIT WHEN FOUND;
		IF (SELECT count(*) FROM agents a WHERE a.vps_name = p_vps) >= max_apps() THEN
			RAISE EXCEPTION 'server "%" has % applications, and no more are taken',
				p_vps, max_apps() USING ERRCODE = '54000', HINT = format('Remove old ones: '
					'DELETE FROM agents WHERE vps_name = %L AND app_name = ...', p_vps);
		END IF;
		INSERT INTO agents (vps_name, app_name, epoch, process, first_seen_at, last_seen_at)
			VALUES (p_vps, p_app, 0, p_process, v_arrived, v_arrived)
			ON CONFLICT (vps_name, app_name) DO NOTHING;
	END LOOP;
	-- An epoch newer than the stored one comes from a hello that a failover or a restore has lost.
	p_host := left(regexp_replace(p_host, '[\u0001-\u001f\u007f-\u009f]', '?', 'g'), 200);
	SELECT max(s.version) INTO v_schema FROM schema_version s;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch AND p_host IS NOT NULL THEN
		UPDATE agents a SET conflict_at = v_arrived,
			conflict = concat_ws(' at ', p_host, host(inet_client_addr()))
			WHERE a.vps_name = p_vps AND a.app_name = p_app;
		RETURN QUERY SELECT 0::bigint, v_seq, v_arrived, v_schema;
		RETURN;
	END IF;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch THEN
		RAISE EXCEPTION 'another agent took over "%" on "%": epoch is %, not %',
			p_app, p_vps, v_epoch, p_epoch USING ERRCODE = 'OB001';
	END IF;
	v_epoch := greatest(v_epoch, p_epoch) + 1;
	v_now := clock_timestamp();             -- later than v_arrived by the wait for the lock
	UPDATE agents a SET epoch = v_epoch, process = p_process, version = left(p_version, 200),
		interval_s = p_interval_s, host = p_host, address = inet_client_addr(), retired_at = NULL,
		skew_ms = round(extract(epoch FROM p_clock - v_arrived) * 1000)::bigint, last_seen_at = v_now
		WHERE a.vps_name = p_vps AND a.app_name = p_app;
	RETURN QUERY SELECT v_epoch, v_seq, v_now, v_schema;
END
$$;

-- For `obs_agent doctor`: how long ago the database heard from the agent, and its state. No row: never.
CREATE OR REPLACE FUNCTION agent_last_seen(p_vps text, p_app text) RETURNS TABLE (age_s bigint, state text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	RETURN QUERY SELECT extract(epoch FROM v_now - a.last_seen_at)::bigint,
			agent_state(a.last_seen_at, a.interval_s, a.retired_at, v_now)
		FROM agents a WHERE a.vps_name = p_vps AND a.app_name = p_app;
END
$$;

-- Begins every batch: takes the row lock; refuses older connections and batches that are already committed.
CREATE OR REPLACE FUNCTION push_open(p_vps text, p_app text, p_epoch bigint, p_seq bigint, p_state jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz;
	v_epoch bigint;
	v_seq bigint;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT epoch, last_seq INTO v_epoch, v_seq FROM agents
		WHERE vps_name = p_vps AND app_name = p_app FOR UPDATE;
	-- agent_hello() tells whether another process took over; here any other epoch is just not current.
	IF v_epoch IS DISTINCT FROM p_epoch THEN
		RAISE EXCEPTION 'the epoch of "%" on "%" is %, not %', p_app, p_vps, v_epoch, p_epoch
			USING ERRCODE = 'OB002';
	END IF;
	IF p_seq IS DISTINCT FROM v_seq + 1 THEN
		RAISE EXCEPTION 'batch % does not follow batch %', p_seq, v_seq USING ERRCODE = 'OB002';
	END IF;
	v_now := clock_timestamp();
	IF pg_column_size(p_state) <= max_state_bytes() THEN    -- a larger report is dropped, not the batch
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now, state = p_state
			WHERE vps_name = p_vps AND app_name = p_app;
	ELSE
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now
			WHERE vps_name = p_vps AND app_name = p_app;
	END IF;
END
$$;
SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_hello, agent_last_seen, stale_session_pid, end_stale_session, push_open
	TO observ_agent;

-- ==== 25-streams: how far the agents have read ==================================================
-- How far each stream is read: a log file, an agent's outbox, a journal, a container's log. The position
-- moves in the transaction that brings the rows. A stream belongs to its source; `cursor` says where that
-- goes on, in the source's own words, where the position alone does not.
CREATE TABLE IF NOT EXISTS log_streams (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint NOT NULL,
	path text NOT NULL,
	file_id text NOT NULL,
	head_hash text NOT NULL,
	tail_hash text NOT NULL,
	"position" bigint NOT NULL CHECK ("position" >= 0),
	finished boolean NOT NULL,                      -- rotated away and read to its end
	updated_at timestamptz NOT NULL,
	source text NOT NULL DEFAULT 'tail',            -- tail, outbox, journal, container
	cursor text NOT NULL DEFAULT '',
	PRIMARY KEY (vps_name, app_name, stream_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
GRANT SELECT ON log_streams TO observ_hub, observ_watch;

-- Of an application. maintain() keeps finished streams for a year.
CREATE OR REPLACE FUNCTION max_streams() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 500000;

-- The streams that an agent has: all unfinished ones, and the newest finished ones, whose files may still be
-- there and must not be read again. age_s: how long ago the position was committed; with it the agent can
-- tell whether its machine has booted since.
CREATE OR REPLACE FUNCTION agent_streams(p_vps text, p_app text, p_epoch bigint)
RETURNS TABLE (stream_id bigint, path text, file_id text, head_hash text, tail_hash text, "position" bigint,
	finished boolean, age_s bigint, source text, cursor text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	IF NOT EXISTS (SELECT FROM agents a
			WHERE a.vps_name = p_vps AND a.app_name = p_app AND a.epoch = p_epoch) THEN
		RAISE EXCEPTION 'epoch % of "%" on "%" is not current', p_epoch, p_app, p_vps
			USING ERRCODE = 'OB002';
	END IF;
	RETURN QUERY SELECT s.stream_id, s.path, s.file_id, s.head_hash, s.tail_hash, s."position",
			s.finished, extract(epoch FROM clock_timestamp() - s.updated_at)::bigint,
			s.source, s.cursor
		FROM (SELECT l.*, row_number() OVER (PARTITION BY l.source, l.finished
				ORDER BY l.updated_at DESC) AS nth
			FROM log_streams l WHERE l.vps_name = p_vps AND l.app_name = p_app) s
		WHERE NOT s.finished OR s.nth <= CASE s.source WHEN 'outbox' THEN 1024 ELSE 4096 END
		ORDER BY s.source, s.finished, CASE WHEN s.finished THEN s.nth ELSE s.stream_id END;
END
$$;

-- Compare and set: a batch that was read from another position than the stored one, or whose stream has
-- another source, is refused as a whole. A row: stream, position before, position, source ('': tail), and if
-- they say anything: finished, path (else the source's name), file, head, tail, cursor.
CREATE OR REPLACE FUNCTION push_positions(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_streams bigint;                       -- counted once, at the first new stream
	r record;
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	FOR r IN SELECT (e->>0)::bigint AS id, (e->>1)::bigint AS was, (e->>2)::bigint AS pos,
			left(coalesce(nullif(e->>3, ''), 'tail'), 100) AS source,
			coalesce((e->>4)::boolean, false) AS fin, left(coalesce(e->>5, e->>3), 4096) AS path,
			left(coalesce(e->>6, ''), 200) AS file, left(coalesce(e->>7, ''), 200) AS head,
			left(coalesce(e->>8, ''), 200) AS tail,
			left(coalesce(e->>9, ''), 4096) AS cursor
			FROM jsonb_array_elements(p_rows) e LOOP
		UPDATE log_streams s SET "position" = r.pos, finished = r.fin, path = r.path,
			file_id = r.file, head_hash = r.head, tail_hash = r.tail, cursor = r.cursor,
			updated_at = v_now
			WHERE s.vps_name = p_vps AND s.app_name = p_app AND s.stream_id = r.id
				AND s."position" = r.was AND s.source = r.source;
		CONTINUE WHEN FOUND;
		IF v_streams IS NULL THEN
			SELECT count(*) INTO v_streams FROM log_streams s
				WHERE s.vps_name = p_vps AND s.app_name = p_app;
		END IF;
		IF v_streams >= max_streams() THEN
			RAISE EXCEPTION '"%" on "%" has % log files, and no more are taken',
				p_app, p_vps, max_streams() USING ERRCODE = '54000';
		END IF;
		INSERT INTO log_streams (vps_name, app_name, stream_id, path, file_id, head_hash, tail_hash,
				"position", finished, updated_at, source, cursor)
			SELECT p_vps, p_app, r.id, r.path, r.file, r.head, r.tail, r.pos, r.fin, v_now,
				r.source, r.cursor
			WHERE r.was = 0
			ON CONFLICT (vps_name, app_name, stream_id) DO NOTHING;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'stream % of "%" on "%" is not at position %',
				r.id, p_app, p_vps, r.was USING ERRCODE = 'OB003';
		END IF;
		v_streams := v_streams + 1;
	END LOOP;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_streams, push_positions TO observ_agent;

-- ==== 28-words: the words of a log line, and of what is looked for in it ========================
-- A word is a run of letters and digits, and everything else separates words: PostgreSQL's own ideas of URLs,
-- paths, tags, class names and negative numbers play no part. Letters are folded to lower case after NFC
-- normalisation; accents stay. A script without spaces between words becomes pairs of characters, so each
-- part of two characters or more is found. The parts of camelCase words are words too.
--
-- log_entries.search has the words without their places. The index finds the lines that have all words of a
-- phrase, and the text decides: this costs least for each line, and has no limit of places. Lines and queries
-- go through the same functions. These use tables of code points and ICU instead of the database's locale.
-- docs/schema.md has the figures.

-- Raise this when words() makes other words of a line: then schema.sql makes those of all lines anew.
CREATE OR REPLACE FUNCTION words_version() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2;

-- A text of a line that is indexed is cut, because a tsvector holds at most 1 MiB and no line may be refused
-- for its words.
CREATE OR REPLACE FUNCTION max_search_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 16384;

-- Beginnings of longer words are indexed. A query has no longer ones.
CREATE OR REPLACE FUNCTION max_word_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 255;

-- Punctuation, symbols and blanks beyond ASCII: classes P, S, Z, Cc and Co of Unicode 14, as ranges for a
-- regular expression. A test holds them against Unicode.
CREATE OR REPLACE FUNCTION separators() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u0080-\u00A9\u00AB-\u00AC\u00AE-\u00B1\u00B4\u00B6-\u00B8\u00BB\u00BF\u00D7\u00F7'
	'\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u02FF\u0375\u037E\u0384-\u0385\u0387'
	'\u03F6\u0482\u055A-\u055F\u0589-\u058F\u05BE\u05C0\u05C3\u05C6\u05F3-\u05F4\u0606-\u060F'
	'\u061B\u061D-\u061F\u066A-\u066D\u06D4\u06DE\u06E9\u06FD-\u06FE\u0700-\u070D\u07F6-\u07F9'
	'\u07FE-\u07FF\u0830-\u083E\u085E\u0888\u0964-\u0965\u0970\u09F2-\u09F3\u09FA-\u09FB\u09FD'
	'\u0A76\u0AF0-\u0AF1\u0B70\u0BF3-\u0BFA\u0C77\u0C7F\u0C84\u0D4F\u0D79\u0DF4\u0E3F\u0E4F'
	'\u0E5A-\u0E5B\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38\u0F3A-\u0F3D\u0F85\u0FBE-\u0FC5'
	'\u0FC7-\u0FDA\u104A-\u104F\u109E-\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400\u166D-\u166E'
	'\u1680\u169B-\u169C\u16EB-\u16ED\u1735-\u1736\u17D4-\u17D6\u17D8-\u17DB\u1800-\u180A'
	'\u1940-\u1945\u19DE-\u19FF\u1A1E-\u1A1F\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B5A-\u1B6A\u1B74-\u1B7E'
	'\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E-\u1C7F\u1CC0-\u1CC7\u1CD3\u1FBD\u1FBF-\u1FC1\u1FCD-\u1FCF'
	'\u1FDD-\u1FDF\u1FED-\u1FEF\u1FFD-\u200A\u2010-\u2029\u202F-\u205F\u207A-\u207E\u208A-\u208E'
	'\u20A0-\u20C0\u2100-\u2101\u2103-\u2106\u2108-\u2109\u2114\u2116-\u2118\u211E-\u2123\u2125'
	'\u2127\u2129\u212E\u213A-\u213B\u2140-\u2144\u214A-\u214D\u214F\u218A-\u244A\u249C-\u24E9'
	'\u2500-\u2775\u2794-\u2BFF\u2CE5-\u2CEA\u2CF9-\u2CFC\u2CFE-\u2CFF\u2D70\u2E00-\u2E2E'
	'\u2E30-\u3004\u3008-\u3020\u3030\u3036-\u3037\u303D-\u303F\u309B-\u309C\u30A0\u30FB'
	'\u3190-\u3191\u3196-\u319F\u31C0-\u31E3\u3200-\u321E\u322A-\u3247\u3250\u3260-\u327F'
	'\u328A-\u32B0\u32C0-\u33FF\u4DC0-\u4DFF\uA490-\uA4C6\uA4FE-\uA4FF\uA60D-\uA60F\uA673\uA67E'
	'\uA6F2-\uA716\uA720-\uA721\uA789-\uA78A\uA828-\uA82B\uA836-\uA839\uA874-\uA877\uA8CE-\uA8CF'
	'\uA8F8-\uA8FA\uA8FC\uA92E-\uA92F\uA95F\uA9C1-\uA9CD\uA9DE-\uA9DF\uAA5C-\uAA5F\uAA77-\uAA79'
	'\uAADE-\uAADF\uAAF0-\uAAF1\uAB5B\uAB6A-\uAB6B\uABEB\uE000-\uF8FF\uFB29\uFBB2-\uFBC2'
	'\uFD3E-\uFD4F\uFDCF\uFDFC-\uFDFF\uFE10-\uFE19\uFE30-\uFE6B\uFF01-\uFF0F\uFF1A-\uFF20'
	'\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFEE\uFFFC-\uFFFD\U00010100-\U00010102'
	'\U00010137-\U0001013F\U00010179-\U00010189\U0001018C-\U000101FC\U0001039F\U000103D0\U0001056F'
	'\U00010857\U00010877-\U00010878\U0001091F\U0001093F\U00010A50-\U00010A58\U00010A7F\U00010AC8'
	'\U00010AF0-\U00010AF6\U00010B39-\U00010B3F\U00010B99-\U00010B9C\U00010EAD'
	'\U00010F55-\U00010F59\U00010F86-\U00010F89\U00011047-\U0001104D\U000110BB-\U000110BC'
	'\U000110BE-\U000110C1\U00011140-\U00011143\U00011174-\U00011175\U000111C5-\U000111C8'
	'\U000111CD\U000111DB\U000111DD-\U000111DF\U00011238-\U0001123D\U000112A9\U0001144B-\U0001144F'
	'\U0001145A-\U0001145D\U000114C6\U000115C1-\U000115D7\U00011641-\U00011643'
	'\U00011660-\U0001166C\U000116B9\U0001173C-\U0001173F\U0001183B\U00011944-\U00011946\U000119E2'
	'\U00011A3F-\U00011A46\U00011A9A-\U00011A9C\U00011A9E-\U00011AA2\U00011C41-\U00011C45'
	'\U00011C70-\U00011C71\U00011EF7-\U00011EF8\U00011FD5-\U00011FFF\U00012470-\U00012474'
	'\U00012FF1-\U00012FF2\U00016A6E-\U00016A6F\U00016AF5\U00016B37-\U00016B3F'
	'\U00016B44-\U00016B45\U00016E97-\U00016E9A\U00016FE2\U0001BC9C\U0001BC9F\U0001CF50-\U0001D164'
	'\U0001D16A-\U0001D16C\U0001D183-\U0001D184\U0001D18C-\U0001D1A9\U0001D1AE-\U0001D241'
	'\U0001D245\U0001D300-\U0001D356\U0001D6C1\U0001D6DB\U0001D6FB\U0001D715\U0001D735\U0001D74F'
	'\U0001D76F\U0001D789\U0001D7A9\U0001D7C3\U0001D800-\U0001D9FF\U0001DA37-\U0001DA3A'
	'\U0001DA6D-\U0001DA74\U0001DA76-\U0001DA83\U0001DA85-\U0001DA8B\U0001E14F\U0001E2FF'
	'\U0001E95E-\U0001E95F\U0001ECAC\U0001ECB0\U0001ED2E\U0001EEF0-\U0001F0F5\U0001F10D-\U0001FBCA'
	'\U000F0000-\U0010FFFF';

-- Characters that nobody sees: classes Cf and Me, and variation selectors. They leave before words are made.
CREATE OR REPLACE FUNCTION invisibles() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u00AD\u0488-\u0489\u0600-\u0605\u061C\u06DD\u070F\u0890-\u0891\u08E2\u180E\u1ABE'
	'\u200B-\u200F\u202A-\u202E\u2060-\u206F\u20DD-\u20E0\u20E2-\u20E4\uA670-\uA672\uFE00-\uFE0F'
	'\uFEFF\uFFF9-\uFFFB\U000110BD\U000110CD\U00013430-\U00013438\U0001BCA0-\U0001BCA3'
	'\U0001D173-\U0001D17A\U000E0001-\U000E01EF';

-- Scripts without spaces between words: Thai, Lao, Tibetan, Myanmar, Hangul, Khmer, those of Yunnan and Java,
-- kana, bopomofo, Han, Yi.
CREATE OR REPLACE FUNCTION unspaced() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u0E00-\u109F\u1100-\u11FF\u1780-\u17FF\u1950-\u19DF\u1A20-\u1AAD\u1B00-\u1B7F\u3005-\u3007'
	'\u3021-\u302F\u3031-\u3035\u303B-\u303C\u3041-\u3096\u3099-\u309F\u30A1-\u4DBF\u4E00-\uA4CF'
	'\uA960-\uAADF\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFFDC\U00016FE0-\U00018D7F'
	'\U0001AFF0-\U0001B2FF\U00020000-\U0003FFFF';

-- The best lower() that this server has, and one sigma for the two that Greek has.
DO $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION lower_case(p text) RETURNS text
		LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN replace(lower(p %s), ''ς'', ''σ'')',
		(SELECT 'COLLATE pg_catalog.' || quote_ident(collname) FROM pg_collation
		WHERE collname IN ('und-x-icu', 'pg_c_utf8') AND collnamespace = 'pg_catalog'::regnamespace
		ORDER BY collname DESC LIMIT 1));
END
$$;

-- The text in which the words of a line stand, logger and message cut at p_max. Blanks stand for what
-- separates keys and values in the context's JSON, and for its escapes.
CREATE OR REPLACE FUNCTION line_text(p_logger text, p_message text, p_context text, p_max int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(p_message) + coalesce(octet_length(p_logger), 0) < p_max
	THEN coalesce(p_logger || ' ', '') || p_message
	ELSE left(coalesce(p_logger || ' ', '') || p_message, p_max) END || coalesce(' ' ||
	CASE WHEN strpos(p_context, '\') = 0
	THEN replace(replace(replace(replace(p_context, '": "', ' '), '", "', ' '), '": ', ' '), ', "', ' ')
	ELSE regexp_replace(p_context, '\\(["\\/bfnrt]|u[0-9a-f]{4})', ' ', 'g') END, '');

-- Blanks in place of the symbols that most lines have. replace() takes a third of the time of a regular
-- expression, an eighth of that of translate().
CREATE OR REPLACE FUNCTION symbols_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(p,
	'"', ' '), ':', ' '), ',', ' '), '{', ' '), '}', ' '), '/', ' '), '.', ' '), '-', ' '), '_', ' '),
	'=', ' '), '(', ' '), ')', ' ');

-- Blanks between the parts of camelCase words: orderService, HTTPServer, OAuth2Client.
CREATE OR REPLACE FUNCTION camel_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(p COLLATE "C", '(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])', ' ', 'g');

-- NFC, without invisible characters.
CREATE OR REPLACE FUNCTION composed(p text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	p := regexp_replace(p COLLATE "C", '[' || observ.invisibles() || ']+', '', 'g');
	RETURN CASE WHEN p IS NORMALIZED THEN p ELSE normalize(p) END;
END
$$;

-- Blanks in place of all that separates words.
CREATE OR REPLACE FUNCTION separators_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(p COLLATE "C", E'[\\u0001-\\u001F!-/:-@[-`{-\\u007F' || separators() || ']+', ' ', 'g');

-- Lower case, NFC, without invisible characters.
CREATE OR REPLACE FUNCTION folded(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(p) = length(p) THEN lower(p COLLATE "C") ELSE lower_case(composed(p)) END;

-- The words of a text in their order. A run of an unspaced script becomes its pairs and its last character.
-- In a query that character is left out if a longer run ends the text: the run may go on in the line.
CREATE OR REPLACE FUNCTION word_list(p text, p_query boolean DEFAULT false) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := btrim(regexp_replace(observ.folded(p) COLLATE "C", E'[\\u0001-/:-@[-`{-\\u007F' ||
		observ.separators() || ']+', ' ', 'g'));
	run text := '[' || observ.unspaced() || ']';
	ret text[];
BEGIN
	IF t !~ run THEN
		ret := string_to_array(t, ' ');
	ELSE
		-- Blanks around each run; within it \x01 before a character that follows another.
		t := regexp_replace(t, '(' || run || '+)', E' \\1 ', 'g');
		t := regexp_replace(t, '(' || run || ')(?=' || run || ')', E'\\1 \x01', 'g');
		SELECT array_agg(ltrim(word, E'\x01') || CASE WHEN starts_with(next, E'\x01')
				THEN substr(next, 2) ELSE '' END ORDER BY place)
			FILTER (WHERE next IS NOT NULL OR NOT p_query OR NOT starts_with(word, E'\x01'))
		INTO ret
		FROM (SELECT word, place, lead(word) OVER (ORDER BY place) AS next
			FROM unnest(string_to_array(btrim(t), ' ')) WITH ORDINALITY u(word, place)
			WHERE word <> '') x;
	END IF;
	IF octet_length(t) > observ.max_word_chars() THEN
		SELECT array_agg(left(w, observ.max_word_chars()) ORDER BY place) INTO ret
		FROM unnest(ret) WITH ORDINALITY u(w, place);
	END IF;
	RETURN ret;
END
$$;

-- Each pair of characters in the runs of unspaced scripts, and the last character of each run.
CREATE OR REPLACE FUNCTION pairs(p text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	c CONSTANT text[] := string_to_array(regexp_replace(p COLLATE "C", '[^' || observ.unspaced() || ']+',
		' ', 'g') || ' ', NULL);
BEGIN
	RETURN ARRAY(SELECT rtrim(one || next) FROM unnest(c, c[2:]) u(one, next) WHERE one <> ' ');
END
$$;

-- The words of any line, some twice. p is p_line without its usual symbols. U+FFFD stands for a byte that is
-- no text.
CREATE OR REPLACE FUNCTION odd_words(p_line text, p text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	whole text := replace(p, E'\uFFFD', ' ');
	ascii CONSTANT boolean := octet_length(whole) = length(whole);
	composed CONSTANT text := CASE WHEN NOT ascii THEN observ.composed(p_line) END;
	parts text := '';
	list text[];
BEGIN
	IF composed <> p_line THEN                      -- symbols may be part of a composed character
		whole := composed;
	END IF;
	whole := observ.separators_apart(whole);
	IF whole ~ '[a-z][A-Z]|[A-Z0-9][A-Z][a-z]' THEN
		parts := ' ' || observ.camel_apart(whole);
	END IF;
	IF ascii THEN
		whole := lower((whole || parts) COLLATE "C");
	ELSIF whole ~ ('[' || observ.unspaced() || ']') THEN
		whole := observ.lower_case(whole);
		list := observ.pairs(whole);
		whole := regexp_replace((whole || observ.lower_case(parts)) COLLATE "C",
			'[' || observ.unspaced() || ']+', ' ', 'g');
	ELSE
		whole := observ.lower_case(whole || parts);
	END IF;
	list := list || string_to_array(whole, ' ');
	IF octet_length(whole) >= 2047 THEN             -- a longer word is none in a tsvector
		list := ARRAY(SELECT left(w, observ.max_word_chars()) FROM unnest(list) w);
	END IF;
	RETURN list;
END
$$;

-- The text of a line, for lines that are short and have ASCII letters, digits and the usual symbols alone: as
-- line_text() in fewer steps.
CREATE OR REPLACE FUNCTION usual_text(p_logger text, p_message text, p_context text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN symbols_apart(coalesce(p_logger || ' ', '') || p_message ||
	coalesce(' ' || replace(replace(p_context, '": ', ' '), ', "', ' '), ''));

-- The words of a log line; level=LEVEL if that is not INFO; cut= if the context is longer than what is
-- indexed. Most lines are usual ones. Nothing depends on the search_path, nor, with E before each backslash,
-- on standard_conforming_strings.
CREATE OR REPLACE FUNCTION words(p_level text, p_logger text, p_message text, p_context jsonb)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := observ.usual_text(p_logger, p_message, p_context::text);
	low text := lower(t COLLATE "C");
	c text;
	line text;
	marks text;
BEGIN
	IF octet_length(t) < 2047 AND (CASE WHEN low = t THEN t !~ '[^a-z0-9 ]'
			ELSE t !~ '[^a-zA-Z0-9 ]|[a-z][A-Z]|[A-Z0-9][A-Z][a-z]' END) THEN
		RETURN array_to_tsvector(array_remove(string_to_array(
			CASE WHEN p_level = 'INFO' THEN low ELSE low || ' level=' || p_level END, ' '), ''));
	END IF;
	c := p_context::text;
	marks := CASE WHEN p_level = 'INFO' THEN '' ELSE ' level=' || p_level END;
	IF octet_length(c) > observ.max_search_chars() AND length(c) > observ.max_search_chars() THEN
		c := left(c, observ.max_search_chars());
		marks := marks || ' cut=';
	END IF;
	line := observ.line_text(p_logger, p_message, c, observ.max_search_chars());
	RETURN array_to_tsvector(array_remove(observ.odd_words(line, observ.symbols_apart(line)) ||
		string_to_array(marks, ' '), ''));
END
$$;
-- ==== 30-facts: metrics, checks, log lines, and what was lost or refused ========================
-- Sequences hand out ids in blocks, so the order of ids is not the order of rows.
CREATE SEQUENCE IF NOT EXISTS vps_metrics_id_seq CACHE 20;
CREATE SEQUENCE IF NOT EXISTS health_checks_id_seq CACHE 20;
CREATE SEQUENCE IF NOT EXISTS log_entries_id_seq CACHE 1000;

-- scripts/schema makes the lists of metrics from METRICS in wire/sample.h. Their order is the wire format of
-- push_metrics().
CREATE TABLE IF NOT EXISTS vps_metrics (
	id bigint NOT NULL DEFAULT nextval('vps_metrics_id_seq'),
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	-- made: columns
	cpu_percent             double precision,        -- %: busy time of all cores since the last sample
	memory_percent          double precision,        -- %: memory that is not available to new programs
	memory_mb               double precision,        -- MB: memory that is not available to new programs
	disk_percent            double precision,        -- %: space used on the root file system (as df)
	disk_gb                 double precision,        -- GB: space used on the root file system
	load_avg_1m             double precision,        -- load average over 1 minute
	load_avg_5m             double precision,        -- load average over 5 minutes
	load_avg_15m            double precision,        -- load average over 15 minutes
	cpu_user_percent        double precision,        -- %: time in user code (nice included)
	cpu_system_percent      double precision,        -- %: time in the kernel (interrupts included)
	cpu_iowait_percent      double precision,        -- %: time idle while waiting for disks
	cpu_steal_percent       double precision,        -- %: time the hypervisor gave to other machines
	memory_total_mb         double precision,        -- MB: memory of the machine
	swap_percent            double precision,        -- %: swap used
	swap_mb                 double precision,        -- MB: swap used
	disk_total_gb           double precision,        -- GB: size of the root file system
	inode_percent           double precision,        -- %: inodes used on the root file system
	net_rx_bytes_per_s      double precision,        -- B/s: received on all real interfaces
	net_tx_bytes_per_s      double precision,        -- B/s: sent on all real interfaces
	disk_read_bytes_per_s   double precision,        -- B/s: read from all disks
	disk_write_bytes_per_s  double precision,        -- B/s: written to all disks
	tcp_connections         double precision,        -- TCP sockets in use, IPv4 and IPv6
	psi_cpu_percent         double precision,        -- %: time some task waited for a CPU, last 60 s
	psi_memory_percent      double precision,        -- %: time some task waited for memory, last 60 s
	psi_io_percent          double precision,        -- %: time some task waited for a disk, last 60 s
	uptime_s                double precision,        -- s: time since boot
	processes               double precision,        -- processes and threads known to the scheduler
	cpu_count               double precision,        -- cores that are online
	app_cpu_percent         double precision,        -- % of 1 core: CPU time of the application's unit
	app_memory_mb           double precision,        -- MB: memory of the unit without its page cache
	app_restarts            double precision,        -- restarts of the unit since it was loaded
	app_processes           double precision,        -- processes and threads in the application's unit
	-- end of made
	-- Mounts, interfaces. NULL: unchanged since the last row that has them.
	details jsonb CHECK (jsonb_typeof(details) = 'object'),
	backfill boolean NOT NULL DEFAULT false,        -- measured while the database was away
	received_at timestamptz NOT NULL DEFAULT now(), -- by the database's clock
	PRIMARY KEY (vps_name, app_name, "timestamp", id)
) PARTITION BY RANGE ("timestamp");
SELECT want_index('vps_metrics_timestamp_idx', 'vps_metrics ("timestamp" DESC)'),
	want_index('vps_metrics_received_at_idx', 'vps_metrics (received_at)') \g /dev/null

SELECT want_column('vps_metrics', m, 'double precision') FROM unnest(ARRAY[
		-- made: strings
		'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m',
		'load_avg_5m', 'load_avg_15m', 'cpu_user_percent', 'cpu_system_percent', 'cpu_iowait_percent',
		'cpu_steal_percent', 'memory_total_mb', 'swap_percent', 'swap_mb', 'disk_total_gb',
		'inode_percent', 'net_rx_bytes_per_s', 'net_tx_bytes_per_s', 'disk_read_bytes_per_s',
		'disk_write_bytes_per_s', 'tcp_connections', 'psi_cpu_percent', 'psi_memory_percent',
		'psi_io_percent', 'uptime_s', 'processes', 'cpu_count', 'app_cpu_percent', 'app_memory_mb',
		'app_restarts', 'app_processes'
		-- end of made
	]) m \g /dev/null

CREATE TABLE IF NOT EXISTS health_checks (
	id bigint NOT NULL DEFAULT nextval('health_checks_id_seq'),
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	url text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 8192),
	status_code int,                                -- NULL: no answer
	response_time_ms double precision,
	success boolean NOT NULL,
	error_message text,
	error_class text,                               -- dns, refused, timeout, tls, protocol, status, body
	dns_ms double precision,
	connect_ms double precision,
	tls_ms double precision,
	first_byte_ms double precision,
	cert_expires_at timestamptz,
	attempts int,
	backfill boolean NOT NULL DEFAULT false,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, app_name, "timestamp", id)
) PARTITION BY RANGE ("timestamp");
-- How often the check runs, and since when the certificate is valid. NULL: an older agent did not tell.
SELECT want_column('health_checks', 'interval_s', 'int', 'interval_s BETWEEN 1 AND 86400'),
	want_column('health_checks', 'cert_starts_at', 'timestamptz') \g /dev/null
SELECT want_index('health_checks_timestamp_idx', 'health_checks ("timestamp" DESC)'),
	want_index('health_checks_failed_idx', 'health_checks ("timestamp") WHERE NOT success'),
	want_index('health_checks_rare_idx', 'health_checks (vps_name, app_name, "timestamp") '
		'WHERE interval_s > 400')       -- rare_check_s()
	\g /dev/null

-- There is no primary key: stream and offset identify a line, and positions make it arrive once. Another
-- index would cost more than it could catch.
CREATE TABLE IF NOT EXISTS log_entries (
	id bigint NOT NULL DEFAULT nextval('log_entries_id_seq'),
	"timestamp" timestamptz NOT NULL,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	level text NOT NULL,                            -- TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL
	logger text,
	message text NOT NULL,
	context jsonb,
	stream_id bigint,                               -- with the offset of the line's first byte this
	stream_offset bigint,                           -- gives the order of the file
	received_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE ("timestamp");

-- The words of the lines. An older schema.sql may have made other words, which words_version() tells. To make
-- them anew rewrites the table, so its indexes go first.
DO $$
DECLARE
	v_words CONSTANT text := 'words(), version ' || words_version();
BEGIN
	IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'log_entries'::regclass AND attname = 'search'
			AND col_description(attrelid, attnum) = v_words) THEN
		RETURN;
	END IF;
	-- The workers of Citus need the functions first: those of this run. drop_former_functions() drops the
	-- others.
	PERFORM on_all_nodes(pg_get_functiondef(oid)) FROM (SELECT oid FROM pg_proc
		WHERE pronamespace = 'observ'::regnamespace AND provolatile = 'i'
			AND xmin = pg_current_xact_id()::xid ORDER BY oid) f;
	PERFORM on_all_nodes('DROP VIEW IF EXISTS v_logs');
	PERFORM on_all_nodes(format('DROP INDEX IF EXISTS log_entries_%stimestamp_idx', i))
		FROM unnest('{"",vps_name_,app_name_}'::text[]) i;
	PERFORM on_all_nodes('ALTER TABLE log_entries DROP COLUMN IF EXISTS search, ADD COLUMN search '
		'tsvector GENERATED ALWAYS AS (words(level, logger, message, context)) STORED');
	EXECUTE format('COMMENT ON COLUMN log_entries.search IS %L', v_words);
	DROP FUNCTION IF EXISTS long_context_text(jsonb);
END
$$;

-- Times ascend, because lines arrive about in their order: so new entries fill the last page of an index, and
-- PostgreSQL finds it at once. The newest lines are read backwards.
SELECT want_index('log_entries_search_idx', 'log_entries USING gin (search)'),
	want_index('log_entries_timestamp_idx', 'log_entries ("timestamp")'),
	want_index('log_entries_vps_name_timestamp_idx', 'log_entries (vps_name, "timestamp")'),
	want_index('log_entries_app_name_timestamp_idx', 'log_entries (app_name, "timestamp")')
	\g /dev/null

-- What was lost.
CREATE TABLE IF NOT EXISTS gaps (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint,
	kind text NOT NULL,
	lines bigint,
	bytes bigint,
	detail text,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);

-- The rows that the database refused.
CREATE TABLE IF NOT EXISTS rejects (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint,
	stream_offset bigint,
	sqlstate text,
	reason text,
	raw bytea,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);
GRANT SELECT ON vps_metrics, health_checks, log_entries, gaps, rejects TO observ_hub, observ_watch;

-- ---- agent functions ---------------------------------------------------------------------------
-- Of a sample. p_rows of the functions below is an array of rows, a row an array of values in a fixed order.
CREATE OR REPLACE FUNCTION max_details_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1048576;

-- From microseconds since 1970. A double is exact to the microsecond until the year 2106.
CREATE OR REPLACE FUNCTION from_us(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE RETURN to_timestamp(p_us::double precision / 1000000);

-- The same for gaps and rejects, which must not be refused themselves: a time that is out of range becomes
-- the nearest one that is not.
CREATE OR REPLACE FUNCTION from_us_in_range(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT RETURN from_us(greatest(946684800000000, least(7258118399000000, p_us)));

-- Refuses strings where numbers belong, because 'NaN' would pass for one; and numbers so large that an
-- average overflows, because the nonsense of one server must not stop the roll-ups of all.
CREATE OR REPLACE FUNCTION check_numbers(p_rows jsonb, p_where jsonpath) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF jsonb_path_exists(p_rows, p_where) THEN
		RAISE EXCEPTION 'a value that is no number, or out of range: %',
			left((jsonb_path_query_first(p_rows, p_where))::text, 100) USING ERRCODE = '22023';
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION push_metrics(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	IF pg_column_size(p_rows) > max_details_bytes() AND EXISTS (SELECT FROM jsonb_array_elements(p_rows) r
			WHERE pg_column_size(r->2) > max_details_bytes()) THEN
		RAISE EXCEPTION 'details of a sample are larger than % bytes', max_details_bytes()
			USING ERRCODE = '54000';
	END IF;
	PERFORM check_numbers(p_rows,
		'$[*][3 to last] ? (@.type() != "number" && @.type() != "null" '
		'|| @ > 1e15 || @ < -1e15)');
	INSERT INTO vps_metrics ("timestamp", vps_name, app_name, backfill, details, received_at,
		-- made: names
		cpu_percent, memory_percent, memory_mb, disk_percent, disk_gb, load_avg_1m, load_avg_5m,
		load_avg_15m, cpu_user_percent, cpu_system_percent, cpu_iowait_percent, cpu_steal_percent,
		memory_total_mb, swap_percent, swap_mb, disk_total_gb, inode_percent, net_rx_bytes_per_s,
		net_tx_bytes_per_s, disk_read_bytes_per_s, disk_write_bytes_per_s, tcp_connections,
		psi_cpu_percent, psi_memory_percent, psi_io_percent, uptime_s, processes, cpu_count,
		app_cpu_percent, app_memory_mb, app_restarts, app_processes
		-- end of made
	)
	SELECT from_us((r->>0)::bigint), p_vps, p_app, (r->>1)::boolean, nullif(nullif(r->2, 'null'), '0'),
		v_now,
		-- made: values
		(r->>3)::float8, (r->>4)::float8, (r->>5)::float8, (r->>6)::float8, (r->>7)::float8,
		(r->>8)::float8, (r->>9)::float8, (r->>10)::float8, (r->>11)::float8, (r->>12)::float8,
		(r->>13)::float8, (r->>14)::float8, (r->>15)::float8, (r->>16)::float8, (r->>17)::float8,
		(r->>18)::float8, (r->>19)::float8, (r->>20)::float8, (r->>21)::float8, (r->>22)::float8,
		(r->>23)::float8, (r->>24)::float8, (r->>25)::float8, (r->>26)::float8, (r->>27)::float8,
		(r->>28)::float8, (r->>29)::float8, (r->>30)::float8, (r->>31)::float8, (r->>32)::float8,
		(r->>33)::float8, (r->>34)::float8
		-- end of made
	FROM jsonb_array_elements(p_rows) r;
	IF p_rows->-1 IS NOT NULL THEN
		PERFORM keep_sample(p_vps, p_app, p_rows->-1);
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION push_checks(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	-- Rows of the former order, which waited in an outbox while the agent was upgraded.
	IF jsonb_path_exists(p_rows, '$[*][5] ? (@.type() == "boolean")') THEN
		SELECT jsonb_agg(CASE jsonb_typeof(r->5) WHEN 'boolean' THEN
			jsonb_build_array(r->0, r->1, r->2, r->3, r->4, r->13, r->14, r->11, r->9, r->8,
				r->10, r->12, r->6, r->7) ELSE r END ORDER BY n)
			INTO p_rows FROM jsonb_array_elements(p_rows) WITH ORDINALITY e(r, n);
	END IF;
	PERFORM check_numbers(p_rows,
		'$[*][3 to 11, 14] ? (@.type() != "number" && @.type() != "null" '
		'|| @ > 1e18 || @ < -1e15)');
	INSERT INTO health_checks ("timestamp", vps_name, app_name, url, status_code, response_time_ms,
		success, error_class, error_message, dns_ms, connect_ms, tls_ms, first_byte_ms,
		cert_expires_at, cert_starts_at, attempts, interval_s, backfill, received_at)
	SELECT from_us((r->>0)::bigint), p_vps, p_app, r->>2, (r->>3)::int, (r->>4)::float8, (r->>12) IS NULL,
		left(r->>12, 200), left(r->>13, 8192), (r->>9)::float8, (r->>8)::float8, (r->>10)::float8,
		(r->>7)::float8, from_us((r->>11)::bigint), from_us((r->>14)::bigint), (r->>5)::int,
		(r->>6)::int, (r->>1)::boolean, v_now
	FROM jsonb_array_elements(p_rows) r;
	PERFORM keep_checks(p_vps, p_app, p_rows);
END
$$;

CREATE OR REPLACE FUNCTION push_gaps(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	INSERT INTO gaps ("timestamp", vps_name, app_name, stream_id, kind, lines, bytes, detail, received_at)
	SELECT from_us_in_range((r->>0)::bigint), p_vps, p_app, (r->>1)::bigint, left(r->>2, 200),
		(r->>3)::bigint, (r->>4)::bigint, left(r->>5, 8192), v_now
	FROM jsonb_array_elements(p_rows) r;
END
$$;

CREATE OR REPLACE FUNCTION push_rejects(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	INSERT INTO rejects ("timestamp", vps_name, app_name, stream_id, stream_offset, sqlstate, reason, raw,
		received_at)
	SELECT from_us_in_range((r->>0)::bigint), p_vps, p_app, (r->>1)::bigint, (r->>2)::bigint,
		left(r->>3, 5), left(r->>4, 8192), decode(r->>5, 'base64'), v_now
	FROM jsonb_array_elements(p_rows) r;
END
$$;

-- The hot path: arrays of columns. Checks look at a whole array at once, so a row costs little more than its
-- indexes. p_stream counts in p_streams, from 1.
CREATE OR REPLACE FUNCTION push_logs(p_vps text, p_app text, p_streams bigint[], p_stream smallint[],
	p_offset bigint[], p_timestamp timestamptz[], p_level smallint[], p_logger text[], p_message text[],
	p_context jsonb[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET client_min_messages = warning AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	n int := coalesce(cardinality(p_message), 0);
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_message)::bigint + pg_column_size(p_context) +
		coalesce(pg_column_size(p_logger), 0) + coalesce(pg_column_size(p_offset), 0) +
		coalesce(pg_column_size(p_streams), 0));
	IF (n, n, n, n, n, n) IS DISTINCT FROM (cardinality(p_stream), cardinality(p_offset),
			cardinality(p_timestamp), cardinality(p_level), cardinality(p_logger),
			cardinality(p_context)) THEN
		RAISE EXCEPTION 'arrays differ in length' USING ERRCODE = '2202E';
	END IF;
	IF 1 > ANY (p_stream) OR coalesce(cardinality(p_streams), 0) < ANY (p_stream) OR
	   0 > ANY (p_level) OR 5 < ANY (p_level) OR 0 > ANY (p_offset) THEN
		RAISE EXCEPTION 'stream, offset or level out of range' USING ERRCODE = '22003';
	END IF;
	IF coalesce(array_position(p_streams, NULL), array_position(p_stream, NULL),
			array_position(p_offset, NULL)) > 0 THEN
		RAISE EXCEPTION 'a line without stream or offset' USING ERRCODE = '22004';
	END IF;
	IF '2000-01-01Z' > ANY (p_timestamp) OR '2200-01-01Z' <= ANY (p_timestamp) THEN
		RAISE EXCEPTION 'timestamp out of range' USING ERRCODE = '22008';
	END IF;
	INSERT INTO log_entries ("timestamp", vps_name, app_name, level, logger, message, context, stream_id,
		stream_offset, received_at)
	SELECT t, p_vps, p_app, ('{TRACE,DEBUG,INFO,WARNING,ERROR,CRITICAL}'::text[])[l + 1], g, m, c,
		p_streams[s], o, v_now
	-- In FROM, unnest() would store its rows first.
	FROM (SELECT unnest(p_stream) AS s, unnest(p_offset) AS o, unnest(p_timestamp) AS t,
		unnest(p_level) AS l, unnest(p_logger) AS g, unnest(p_message) AS m,
		unnest(p_context) AS c) u;
	IF 3 <= ANY (p_level) THEN
		PERFORM queue_patterns(p_vps, p_app, v_now, p_level, p_timestamp, p_message);
	END IF;
END
$$;

-- A whole batch without log lines in one call, and in one value: an idle agent sends one statement a minute,
-- and each parameter and each column of an answer costs bytes. p_batch is an array: server, application,
-- epoch, sequence number, the agent's state, positions, then the rows of each kind, in the order of
-- SAMPLE_KINDS in wire/sample.h. A 0 stands for none, and none at the end are left out. It gives no row, the
-- shortest answer. (CALL has a shorter one, but pg_stat_statements before 17 keeps each call with its value.)
-- This runs with the caller's rights, which the functions that it calls check.
CREATE OR REPLACE FUNCTION push(p_batch jsonb) RETURNS SETOF void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_last int := jsonb_array_length(p_batch) - 1;
	v_vps text := p_batch->>0;
	v_app text := p_batch->>1;
	v_rows jsonb;
BEGIN
	PERFORM push_open(v_vps, v_app, (p_batch->>2)::bigint, (p_batch->>3)::bigint,
		nullif(p_batch->4, '0'));
	FOR i IN 6 .. v_last LOOP
		v_rows := p_batch->i;
		CONTINUE WHEN v_rows = '0';
		CASE i - 6
		WHEN 0 THEN PERFORM push_metrics(v_vps, v_app, v_rows);
		WHEN 1 THEN PERFORM push_checks(v_vps, v_app, v_rows);
		WHEN 2 THEN PERFORM push_gaps(v_vps, v_app, v_rows);
		WHEN 4 THEN PERFORM push_rejects(v_vps, v_app, v_rows);
		ELSE
			RAISE EXCEPTION 'no function for rows of kind %', i - 6 USING ERRCODE = '42883';
		END CASE;
	END LOOP;
	IF p_batch->5 <> '0' THEN
		PERFORM push_positions(v_vps, v_app, p_batch->5);
	END IF;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION push_metrics, push_checks, push_logs, push_gaps, push_rejects, push TO observ_agent;

-- ==== 32-latest: the newest sample of each agent, and the newest result of each check ==========
-- A page of the fleet reads a row of an agent here instead of looking for it among millions. The agent
-- functions write these rows in the transaction that brings the facts, under the lock of the agent's row. An
-- agent delivers in the order of its clock, so the last row of a batch is the newest. No index covers what
-- changes, and rows leave room on their page (HOT).
CREATE TABLE IF NOT EXISTS latest_samples (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	"timestamp" timestamptz NOT NULL,
	cpu_percent double precision,
	memory_percent double precision,
	disk_percent double precision,
	inode_percent double precision,
	load_avg_1m double precision,
	cpu_count double precision,
	memory_total_mb double precision,
	disk_total_gb double precision,
	app_cpu_percent double precision,
	app_memory_mb double precision,
	PRIMARY KEY (vps_name, app_name)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE IF NOT EXISTS latest_checks (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	url_key uuid NOT NULL,                          -- md5(url): a URL may be too long for an index
	url text NOT NULL,
	"timestamp" timestamptz NOT NULL,
	success boolean NOT NULL,
	error_class text,
	interval_s int,
	PRIMARY KEY (vps_name, app_name, url_key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- When the certificate expires that the result tells of. NULL: it tells of none.
SELECT want_column('latest_checks', 'cert_until', 'timestamptz') \g /dev/null
GRANT SELECT ON latest_samples, latest_checks TO observ_hub, observ_watch;

-- p_row: a row of push_metrics(). Its places are the order of METRICS in wire/sample.h, which never changes.
CREATE OR REPLACE FUNCTION keep_sample(p_vps text, p_app text, p_row jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO latest_samples AS l (vps_name, app_name, "timestamp", cpu_percent, memory_percent,
		disk_percent, inode_percent, load_avg_1m, cpu_count, memory_total_mb, disk_total_gb,
		app_cpu_percent, app_memory_mb)
	VALUES (p_vps, p_app, from_us((p_row->>0)::bigint), (p_row->>3)::float8, (p_row->>4)::float8,
		(p_row->>6)::float8, (p_row->>19)::float8, (p_row->>8)::float8, (p_row->>30)::float8,
		(p_row->>15)::float8, (p_row->>18)::float8, (p_row->>31)::float8, (p_row->>32)::float8)
	ON CONFLICT (vps_name, app_name) DO UPDATE SET "timestamp" = excluded."timestamp",
		cpu_percent = excluded.cpu_percent, memory_percent = excluded.memory_percent,
		disk_percent = excluded.disk_percent, inode_percent = excluded.inode_percent,
		load_avg_1m = excluded.load_avg_1m, cpu_count = excluded.cpu_count,
		memory_total_mb = excluded.memory_total_mb, disk_total_gb = excluded.disk_total_gb,
		app_cpu_percent = excluded.app_cpu_percent, app_memory_mb = excluded.app_memory_mb;
END
$$;

-- p_rows: the rows of push_checks(), of which the last of a URL counts. One UPDATE a row takes half the time
-- of an INSERT that has to find its conflict.
CREATE OR REPLACE FUNCTION keep_checks(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r jsonb;
BEGIN
	FOR i IN 0 .. jsonb_array_length(p_rows) - 1 LOOP
		r := p_rows->i;
		UPDATE latest_checks SET "timestamp" = from_us((r->>0)::bigint), success = (r->>12) IS NULL,
			error_class = left(r->>12, 200), interval_s = (r->>6)::int,
			cert_until = from_us((r->>11)::bigint)
			WHERE vps_name = p_vps AND app_name = p_app AND url_key = md5(r->>2)::uuid;
		IF NOT FOUND THEN
			INSERT INTO latest_checks VALUES (p_vps, p_app, md5(r->>2)::uuid, r->>2,
				from_us((r->>0)::bigint), (r->>12) IS NULL, left(r->>12, 200),
				(r->>6)::int, from_us((r->>11)::bigint));
		END IF;
	END LOOP;
END
$$;

-- Makes the rows that are missing or behind, of the facts: for rows that were not written by the agent
-- functions, and for a database of an older schema.sql.
CREATE OR REPLACE FUNCTION rebuild_latest() RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO latest_samples AS l
	SELECT a.vps_name, a.app_name, s.* FROM agents a CROSS JOIN LATERAL (
		SELECT v."timestamp", cpu_percent, memory_percent, disk_percent, inode_percent, load_avg_1m,
			cpu_count, memory_total_mb, disk_total_gb, app_cpu_percent, app_memory_mb
		FROM vps_metrics v
		WHERE v.vps_name = a.vps_name AND v.app_name = a.app_name
			AND v."timestamp" > a.last_seen_at - interval '1 day'
			AND v."timestamp" < a.last_seen_at + interval '1 day'
		ORDER BY v."timestamp" DESC LIMIT 1) s
	ON CONFLICT (vps_name, app_name) DO UPDATE SET "timestamp" = excluded."timestamp",
		cpu_percent = excluded.cpu_percent, memory_percent = excluded.memory_percent,
		disk_percent = excluded.disk_percent, inode_percent = excluded.inode_percent,
		load_avg_1m = excluded.load_avg_1m, cpu_count = excluded.cpu_count,
		memory_total_mb = excluded.memory_total_mb, disk_total_gb = excluded.disk_total_gb,
		app_cpu_percent = excluded.app_cpu_percent, app_memory_mb = excluded.app_memory_mb
		WHERE l."timestamp" < excluded."timestamp";
	INSERT INTO latest_checks AS l
	SELECT a.vps_name, a.app_name, md5(c.url)::uuid, c.url, c."timestamp", success, left(error_class,
		200),
		c.interval_s, c.cert_expires_at
	FROM agents a CROSS JOIN LATERAL (
		SELECT DISTINCT ON (url COLLATE "C") * FROM (
			SELECT url, h."timestamp", success, error_class, h.interval_s,
				h.cert_expires_at FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name
				AND h."timestamp" > a.last_seen_at - interval '1 hour'
				AND h."timestamp" < a.last_seen_at + interval '1 hour'
			UNION ALL
			SELECT url, h."timestamp", success, error_class, h.interval_s,
				h.cert_expires_at FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name
				AND h.interval_s > 400          -- rare_check_s()
				AND h."timestamp" > a.last_seen_at - check_expiry(max_check_s())
				AND h."timestamp" <= a.last_seen_at - interval '1 hour') r
		ORDER BY url COLLATE "C", "timestamp" DESC) c
	ON CONFLICT (vps_name, app_name, url_key) DO UPDATE SET "timestamp" = excluded."timestamp",
		success = excluded.success, error_class = excluded.error_class,
		interval_s = excluded.interval_s, cert_until = excluded.cert_until
		WHERE l."timestamp" < excluded."timestamp";
END
$$;

-- Deletes what no page shows any more: results that no longer count, and rows of agents that are not there.
CREATE OR REPLACE FUNCTION expire_latest() RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_count bigint;
	deleted bigint;
BEGIN
	DELETE FROM latest_samples l WHERE NOT EXISTS (SELECT FROM agents a
		WHERE a.vps_name = l.vps_name AND a.app_name = l.app_name);
	GET DIAGNOSTICS deleted = ROW_COUNT;
	DELETE FROM latest_checks l WHERE NOT EXISTS (SELECT FROM agents a
		WHERE a.vps_name = l.vps_name AND a.app_name = l.app_name
			AND l."timestamp" > a.last_seen_at - 2 * check_expiry(max_check_s()));
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN deleted + v_count;
END
$$;

SELECT drop_former_functions() \g /dev/null
SELECT rebuild_latest() WHERE NOT EXISTS (SELECT 1 FROM latest_samples) \g /dev/null
-- ==== 35-search: which lines a query of the log page finds =====================================
-- The hub sends a query as a tree in JSON (fleet_hub/logs/search.h). line_condition() turns it into the
-- condition of a WHERE clause with every value as a quoted constant. So the planner sees the values, and
-- picks indexes whatever AND, OR and NOT join. Everything here runs with the rights of the caller.

-- ---- texts -------------------------------------------------------------------------------------

-- JSON text with its escapes replaced by the characters that they stand for.
CREATE OR REPLACE FUNCTION unescaped(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN strpos(p, '\') = 0 THEN p ELSE
	replace(regexp_replace(replace(replace(replace(replace(replace(p, '\\', E'\x03'), '\"', '"'),
	'\n', E'\n'), '\t', E'\t'), '\r', E'\r'), '\\([bf]|u[0-9a-f]{4})', ' ', 'g'), E'\x03', '\') END;

-- A regular expression for a lower case ASCII text that holds p_words with any separators between them, or
-- p_literal, if there is one, as it stands. The last word may go on if p_open, with a time if p_date. NULL if
-- no such text can hold it. \x02 stands between the texts of a line.
CREATE OR REPLACE FUNCTION ascii_pattern(p_words text[], p_literal text, p_open boolean, p_date boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := coalesce(p_literal, array_to_string(p_words, ' ')) COLLATE "C";
BEGIN
	IF octet_length(t) <> length(t) THEN
		RETURN NULL;
	END IF;
	RETURN CASE WHEN t ~ '^[a-z0-9]' THEN '(^|[^a-z0-9])' ELSE '' END ||
		CASE WHEN p_literal IS NULL THEN replace(t, ' ', E'[^a-z0-9\\u0002]+')
		ELSE regexp_replace(t, '([!-/:-@[-`{-~])', E'\\\\\\1', 'g') END ||
		CASE WHEN p_open OR t !~ '[a-z0-9]$' THEN '' WHEN p_date THEN '($|[^a-z0-9]|t[0-9])'
		ELSE '($|[^a-z0-9])' END;
END
$$;

-- May a word begin or end between these two characters? '' is the edge of a text.
CREATE OR REPLACE FUNCTION is_edge(p_one text, p_other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_one = '' OR p_other = '' OR coalesce(cardinality(word_list(p_one)), 0) = 0
	OR coalesce(cardinality(word_list(p_other)), 0) = 0
	OR p_one || p_other COLLATE "C" ~ ('[' || unspaced() || ']');

-- Does p_literal stand in a folded text, with its words whole? The last one may go on if p_open.
CREATE OR REPLACE FUNCTION stands_in(p_text text, p_literal text, p_open boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	n int := length(p_literal);
	at int;
	before text := '';
BEGIN
	LOOP
		at := strpos(p_text, p_literal);
		IF at = 0 THEN
			RETURN false;
		END IF;
		IF at > 1 THEN
			before := substr(p_text, at - 1, 1);
		END IF;
		IF observ.is_edge(before, left(p_literal, 1)) AND
		   (p_open OR observ.is_edge(right(p_literal, 1), substr(p_text, at + n, 1))) THEN
			RETURN true;
		END IF;
		before := substr(p_text, at, 1);
		p_text := substr(p_text, at + 1);
	END LOOP;
END
$$;

-- Do the words of p_words, or p_literal if there is one, stand in one of the texts of a line? p_ascii decides
-- if the line is ASCII.
CREATE OR REPLACE FUNCTION line_fits(p_logger text, p_message text, p_context jsonb, p_ascii text,
	p_words text[], p_literal text, p_open boolean, p_date boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 500 AS $$
DECLARE
	c text := p_context;
	t text := coalesce(p_logger || E'\x02', '') || p_message ||
		coalesce(E'\x02' || observ.unescaped(c), '');
	words text := ' ' || array_to_string(p_words, ' ') || CASE WHEN p_open THEN ''
		WHEN p_date THEN '( |t[0-9])' ELSE ' ' END;
	part text;
	list text;
BEGIN
	IF octet_length(t) = length(t) THEN
		RETURN p_ascii IS NOT NULL AND lower(t COLLATE "C") ~ p_ascii;
	END IF;
	FOREACH part IN ARRAY string_to_array(observ.folded(t), E'\x02') LOOP
		IF p_literal IS NOT NULL THEN
			CONTINUE WHEN NOT observ.stands_in(part, p_literal, p_open);
			RETURN true;
		END IF;
		list := ' ' || array_to_string(observ.word_list(part), ' ') || ' ';
		IF (CASE WHEN p_date THEN list ~ words ELSE strpos(list, words) > 0 END) THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;

-- ---- conditions --------------------------------------------------------------------------------

-- All of these words. The last one may go on if p_open, and so may one that word_list() has cut.
CREATE OR REPLACE FUNCTION words_query(p_words text[], p_open boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg('''' || w || CASE WHEN place = cardinality(p_words) AND p_open
	OR length(w) >= max_word_chars() THEN ''':*'
	ELSE '''' END, ' & ') FROM unnest(p_words) WITH ORDINALITY u(w, place));

-- The words of a date, with or without a time.
CREATE OR REPLACE FUNCTION date_query(p_words text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN words_query(trim_array(p_words, 1), false) ||
	format(' & (''%1$s'' | ''%1$st'':*)', p_words[cardinality(p_words)]);

CREATE OR REPLACE FUNCTION has_words(p_query text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 'search @@ ' || quote_literal(p_query) || '::tsquery';

-- The functions *_conditions() give two conditions, which both hold of the lines that a term finds: one that
-- an index answers, and what only the line itself tells. NULL: there is none.

-- A word, or a text of several. Unquoted, the last word may go on: "fail" finds "failed". It may not where a
-- separator follows it, nor where it is the last number of many: "10.1.2.3"; but a date is found where a time
-- follows it: "2026-11-30T17:25". Quoted text with symbols is found as it stands, and so is what has no
-- letter or digit. p_cut: the text is the beginning of a longer one.
CREATE OR REPLACE FUNCTION text_conditions(p_text text, p_quoted boolean, p_cut boolean) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	list text[] := observ.word_list(p_text, true);
	n int := coalesce(cardinality(list), 0);
	t text := observ.folded(p_text) COLLATE "C";
	as_it_stands boolean := n = 0 OR p_quoted AND t ~ (E'(?! )[\\u0001-/:-@[-`{-\\u007F' ||
		observ.separators() || ']');
	open boolean := n > 0 AND (p_cut OR NOT p_quoted AND (right(t, 1) = '*' OR
		observ.word_list(right(t, 1)) <> '{}' AND (n = 1 OR list[n] !~ '^[0-9]+$')));
	date boolean := NOT open AND NOT p_quoted AND t ~ '(^|[^0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}$';
BEGIN
	-- Each character of an unspaced script begins a pair.
	open := open OR n > 0 AND length(list[n]) = 1 AND
		list[n] COLLATE "C" ~ ('[' || observ.unspaced() || ']');
	RETURN ARRAY[CASE WHEN date THEN observ.has_words(observ.date_query(list))
			WHEN n > 0 THEN observ.has_words(observ.words_query(list, open)) END,
		CASE WHEN n <> 1 OR as_it_stands THEN
			format('observ.line_fits(logger, message, context, %L, %L, %L, %L, %L)',
			observ.ascii_pattern(list, CASE WHEN as_it_stands THEN t END, open, date), list,
			CASE WHEN as_it_stands THEN t END, open, date) END];
END
$$;

-- A pattern for LIKE, of a value that ends with '*'.
CREATE OR REPLACE FUNCTION like_pattern(p_value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(rtrim(p_value, '*'), '([\\%_])', '\\\1', 'g') || '%';

-- NULL if it is none. Exponents beyond 308 are too many digits: they give infinity or 0.
CREATE OR REPLACE FUNCTION number_of(p text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	part text[];
BEGIN
	IF octet_length(p) > 512 THEN
		RETURN NULL;
	END IF;
	part := regexp_match(p, '^([-+]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+))(?:[eE]([-+]?[0-9]{1,9}))?$');
	IF part IS NULL OR abs(part[2]::int) <= 308 OR part[2] IS NULL THEN
		RETURN CASE WHEN part IS NOT NULL THEN p END::numeric;
	END IF;
	RETURN CASE WHEN part[2]::int < 0 OR part[1]::numeric = 0 THEN 0
		ELSE sign(part[1]::numeric) * 'Infinity' END;
END
$$;

-- A time as people and programs write it; one without a zone is in UTC. NULL if it is none.
CREATE OR REPLACE FUNCTION time_of(p text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF octet_length(p) > 40 OR
	   p !~ ('^[0-9]{4}(-[0-9]{2}){2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?' ||
		'[[:space:]]*(Z|UTC|[-+][0-9]{2}(:?[0-9]{2})?)?)?$') THEN
		RETURN NULL;
	END IF;
	RETURN (replace(p, ',', '.') || CASE WHEN p ~ '(Z|UTC|:[0-9]{2}.*[-+][0-9]{2}(:?[0-9]{2})?)$' THEN ''
		ELSE 'Z' END)::timestamptz;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;

-- Is a value of a context below (-1), equal to (0) or above (1) p_value? NULL if they can't be compared.
CREATE OR REPLACE FUNCTION compared(p_have jsonb, p_value text) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	have text := CASE WHEN jsonb_typeof(p_have) IN ('number', 'string') THEN p_have #>> '{}' END;
	number numeric;
	value numeric := observ.number_of(p_value);
BEGIN
	IF value IS NOT NULL THEN
		number := CASE WHEN jsonb_typeof(p_have) = 'number' THEN have::numeric
			ELSE observ.number_of(have) END;
		RETURN (number > value)::int - (number < value)::int;
	END IF;
	RETURN sign(extract(epoch FROM observ.time_of(have) - observ.time_of(p_value)));
END
$$;

-- With more dots not all ways to read a key are tried. fleet_hub/logs/log_tree.c makes no links then.
CREATE OR REPLACE FUNCTION max_key_dots() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 5;

-- The ways to read a key as a path: a dot may stand between two keys, or belong to one ("a.b.c" in
-- {"a": {"b.c": 1}}). As it is comes first; with more than max_key_dots() only this and all apart.
CREATE OR REPLACE FUNCTION key_paths(p_key text) RETURNS SETOF text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 2 AS $$
DECLARE
	part CONSTANT text[] := string_to_array(p_key, '.');
	dots CONSTANT int := cardinality(part) - 1;
	ret text[];
BEGIN
	IF dots > observ.max_key_dots() THEN
		RETURN NEXT ARRAY[p_key];
		RETURN NEXT part;
		RETURN;
	END IF;
	FOR apart IN 0 .. (1 << dots) - 1 LOOP                  -- a bit for each dot
		ret := part[1:1];
		FOR i IN 1 .. dots LOOP
			IF apart & (1 << (i - 1)) <> 0 THEN
				ret := ret || part[i + 1];
			ELSE
				ret[cardinality(ret)] := ret[cardinality(ret)] || '.' || part[i + 1];
			END IF;
		END LOOP;
		RETURN NEXT ret;
	END LOOP;
END
$$;

-- The JSON values that p_value may mean: the string, and the number, true, false or null that it looks like.
CREATE OR REPLACE FUNCTION json_values(p_value text) RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT to_jsonb(p_value)
	UNION ALL SELECT to_jsonb(n) FROM number_of(p_value) n WHERE abs(n) < 'Infinity'
	UNION ALL SELECT v FROM jsonb_array_elements('[true, false, null]') v WHERE v::text = p_value;
END;

-- The value at a path, as an expression in parentheses.
CREATE OR REPLACE FUNCTION value_at(p_path text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT '(context' || string_agg(format(' -> %L', key), '' ORDER BY place) || ')'
	FROM unnest(p_path) WITH ORDINALITY u(key, place));

-- The key and the value stand in the text of the context, so their words are in the index unless the text was
-- cut. A number may be written in other ways, but its whole part is the same.
CREATE OR REPLACE FUNCTION context_words(p_key text, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '(' || nullif(concat_ws(' & ', words_query(word_list(p_key), false), '(' || nullif(concat_ws(' | ',
	words_query(word_list(p_value), false), '''' || trunc(abs(number_of(p_value))) || ''''), '') || ')'),
	'') || ') | ''cut=''';

-- The condition that a value of the context is one of p_value's JSON values, or an array with one.
CREATE OR REPLACE FUNCTION value_equals(p_at text, p_value text) RETURNS text LANGUAGE sql STABLE
RETURN (SELECT format('%s @> ANY (%L::jsonb[])', p_at, array_agg(j)) FROM json_values(p_value) j);

-- The condition that it compares with p_value as p_op says. A number needs no function.
CREATE OR REPLACE FUNCTION value_compares(p_at text, p_op text, p_value text) RETURNS text LANGUAGE sql STABLE
RETURN CASE WHEN number_of(p_value) IS NULL
	THEN format('observ.compared(%s, %L) %s 0', p_at, p_value, p_op)
	ELSE format('CASE jsonb_typeof(%1$s) WHEN ''number'' THEN %1$s::numeric %3$s %4$L::numeric
		WHEN ''string'' THEN observ.compared(%1$s, %2$L) %3$s 0 END', p_at, p_value, p_op,
		number_of(p_value)) END;

CREATE OR REPLACE FUNCTION context_conditions(p_key text, p_op text, p_value text) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	test text;
BEGIN
	IF p_op IN ('=', '=*', '^', '<', '<=', '>', '>=') IS NOT TRUE THEN
		RAISE EXCEPTION 'a search has no operator %', p_op USING ERRCODE = '22023';
	END IF;
	SELECT string_agg(CASE p_op WHEN '=' THEN observ.value_equals(at, p_value)
		WHEN '=*' THEN at || ' IS NOT NULL'
		WHEN '^' THEN format('context #>> %L LIKE %L', path, observ.like_pattern(p_value))
		ELSE observ.value_compares(at, p_op, p_value) END, ' OR ') INTO test
	FROM observ.key_paths(p_key) path, observ.value_at(path) at;
	RETURN ARRAY[observ.has_words(observ.context_words(p_key,
		CASE WHEN p_op = '=' THEN p_value ELSE '' END)), '(' || test || ')'];
END
$$;

CREATE OR REPLACE FUNCTION column_conditions(p_column text, p_op text, p_value text) RETURNS text[]
LANGUAGE sql STABLE RETURN
	CASE WHEN p_op = '=*' THEN ARRAY[NULL, format('%I IS NOT NULL', p_column)]
	WHEN p_op = '^' THEN ARRAY[NULL, format('%I LIKE %L', p_column, like_pattern(p_value))]
	WHEN p_column = 'logger' THEN ARRAY[
		CASE WHEN cardinality(word_list(p_value)) > 0
		THEN has_words(words_query(word_list(p_value), false)) END, format('logger = %L', p_value)]
	ELSE ARRAY[format('%I = %L', p_column, p_value), NULL] END;

CREATE OR REPLACE FUNCTION level_conditions(p_levels jsonb) RETURNS text[]
LANGUAGE sql STABLE RETURN
	CASE WHEN jsonb_array_length(p_levels) = 0 THEN ARRAY['false', NULL]
	WHEN p_levels ? 'INFO' THEN ARRAY[NULL,
		format('level = ANY (%L)', ARRAY(SELECT jsonb_array_elements_text(p_levels)))]
	ELSE ARRAY[coalesce(has_words((SELECT string_agg(format('''level=%s''', l), ' | ')
		FROM jsonb_array_elements_text(p_levels) l WHERE l ~ '^[A-Z]+$')), 'false'), NULL] END;

CREATE OR REPLACE FUNCTION term_conditions(p jsonb) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE
		WHEN p ? 'text' THEN observ.text_conditions(p->>'text', (p->>'quoted')::boolean,
			coalesce((p->>'cut')::boolean, false))
		WHEN p ? 'levels' THEN observ.level_conditions(p->'levels')
		WHEN p ? 'context' THEN observ.context_conditions(p->>'context', p->>'op', p->>'value')
		WHEN p ? 'column' THEN observ.column_conditions(p->>'column', p->>'op', p->>'value') END;
END
$$;

-- The condition of a query's tree; of {}, which finds everything, true. It is never NULL.
CREATE OR REPLACE FUNCTION line_condition(p jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	parts text[] := ARRAY(SELECT observ.line_condition(part)
		FROM jsonb_array_elements(coalesce(p->'and', p->'or', '[]')) part);
BEGIN
	RETURN CASE
		WHEN p ? 'and' THEN '(' || array_to_string(parts, ' AND ') || ')'
		WHEN p ? 'or' THEN '(' || array_to_string(parts, ' OR ') || ')'
		WHEN p ? 'not' THEN format('(%s) IS NOT TRUE', observ.line_condition(p->'not'))
		ELSE '(' || coalesce(nullif(array_to_string(observ.term_conditions(p), ' AND '), ''),
			'true') || ')' END;
END
$$;

-- What an index answers of a tree: a condition that holds of all lines that the tree finds. NULL: nothing.
CREATE OR REPLACE FUNCTION indexed_condition(p jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	parts text[] := ARRAY(SELECT observ.indexed_condition(part)
		FROM jsonb_array_elements(coalesce(p->'and', p->'or', '[]')) part);
BEGIN
	RETURN CASE
		WHEN p ? 'and' THEN nullif(array_to_string(parts, ' AND '), '')
		WHEN p ? 'or' THEN CASE WHEN array_position(parts, NULL) IS NULL
			THEN '(' || array_to_string(parts, ' OR ') || ')' END
		WHEN p ? 'not' THEN NULL
		ELSE (observ.term_conditions(p))[1] END;
END
$$;

-- ---- lines -------------------------------------------------------------------------------------

-- The terms of a tree that ask for one server or one application: an index on column and time answers these.
CREATE OR REPLACE FUNCTION is_narrow(p jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(p->>'column' IN ('vps_name', 'app_name') AND p->>'op' = '=', false);

-- Their condition, which holds of all lines that the tree finds, and the tree without them.
CREATE OR REPLACE FUNCTION narrow_condition(p jsonb) RETURNS text LANGUAGE sql STABLE
RETURN coalesce((SELECT string_agg(format('%I = %L', k->>'column', k->>'value'), ' AND ')
	FROM jsonb_array_elements(coalesce(p->'and', jsonb_build_array(p))) k WHERE is_narrow(k)), 'true');
CREATE OR REPLACE FUNCTION without_narrow(p jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('and', coalesce((SELECT jsonb_agg(k)
	FROM jsonb_array_elements(coalesce(p->'and', jsonb_build_array(p))) k WHERE NOT is_narrow(k)), '[]'));

-- How long found_lines() looks: a page waits less than a file does.
CREATE OR REPLACE FUNCTION search_budget(p_max int) RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_max > 20000 THEN interval '8 s' ELSE interval '3 s' END;

-- True for each line that is looked at before p_deadline; OB003 after it. The planner puts what costs least
-- first.
CREATE OR REPLACE FUNCTION in_time(p_deadline timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL SAFE COST 0.1 AS $$
BEGIN
	IF clock_timestamp() > p_deadline THEN
		RAISE EXCEPTION 'the time for this search is up' USING ERRCODE = 'OB003';
	END IF;
	RETURN true;
END
$$;

-- Where the part of the time ends that has the next p_lines lines; the other end if there are no more.
CREATE OR REPLACE FUNCTION next_edge(p_narrow text, p_since timestamptz, p_until timestamptz, p_up boolean,
	p_lines int) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
	edge timestamptz;
BEGIN
	EXECUTE format('SELECT "timestamp" FROM observ.log_entries
		WHERE "timestamp" >= %L AND "timestamp" < %L AND %s
		ORDER BY "timestamp" %s OFFSET %s LIMIT 1', p_since, p_until, p_narrow,
		CASE WHEN p_up THEN 'ASC' ELSE 'DESC' END, p_lines) INTO edge;
	RETURN CASE WHEN p_up THEN coalesce(edge + interval '1 us', p_until) ELSE coalesce(edge, p_since) END;
END
$$;

-- How many times as long as the last part the next one is: at most p_most, or as much as is likely to have
-- the lines that are missing, or to be done in the time left.
CREATE OR REPLACE FUNCTION next_part(p_most float8, p_took interval, p_left interval, p_found int,
	p_missing int) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(p_most, CASE WHEN p_found > 0 THEN greatest(0.25, 1.3 * p_missing / p_found) END,
	greatest(0.05, 0.7 * extract(epoch FROM p_left)::float8 /
		greatest(extract(epoch FROM p_took)::float8, 0.001)));

-- So many matches are read and sorted.
CREATE OR REPLACE FUNCTION few_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2000;

-- So many lines are looked at first, whatever is searched: they tell how common it is.
CREATE OR REPLACE FUNCTION first_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;

-- So many lines are looked at one after the other, if they are likely to have p_missing matches. The index of
-- words would give all matches of a day first. A line of one server or application takes five times as long,
-- for it is on a page of its own.
CREATE OR REPLACE FUNCTION walked_lines(p_missing int, p_narrow boolean) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_narrow THEN 4000 ELSE 10000 END + 3 * p_missing;

-- The lines in windows that are p_part of the time between two times, 1 at most, as a FROM clause;
-- "hit" tells whether the condition fits. Each window is elsewhere in its piece of the time, or what repeats
-- itself would repeat in all of them. The condition is behind OFFSET 0, so that no window asks the index of
-- words.
CREATE OR REPLACE FUNCTION windows_of(p_since timestamptz, p_until timestamptz, p_part float8, p_windows int,
	p_narrow text, p_condition text) RETURNS text LANGUAGE sql STABLE
RETURN format('(SELECT %1$L::timestamptz + (place + (1 - %2$s) * (place * 0.618034 %% 1)) * step AS lo,
		step * %2$s AS width
	FROM generate_series(0, %3$s) place, (VALUES (%4$L::interval)) s (step)) w
	CROSS JOIN LATERAL (SELECT "timestamp", vps_name, app_name, level, logger, context, %6$s AS hit
		FROM log_entries WHERE "timestamp" >= lo AND "timestamp" < lo + width AND %5$s OFFSET 0) l',
	p_since, p_part, p_windows - 1, (p_until - p_since) / p_windows, p_narrow, p_condition);

-- About how many lines there are, and how many of them a condition fits. Windows grow until they have some
-- hundred.
CREATE OR REPLACE FUNCTION about_lines(p_narrow text, p_condition text, p_since timestamptz,
	p_until timestamptz, OUT lines float8, OUT hits float8)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	part float8 := 1.0 / 65536;
BEGIN
	LOOP
		EXECUTE 'SELECT count(*), count(*) FILTER (WHERE hit) FROM (SELECT hit FROM ' ||
			windows_of(p_since, p_until, part, 60, p_narrow, p_condition) || ' LIMIT 5000) x'
			INTO lines, hits;
		EXIT WHEN lines >= 300 OR part >= 1;
		part := least(part * CASE WHEN lines < 10 THEN 16 ELSE 500 / lines END, 1);
	END LOOP;
	lines := lines / part;
	hits := hits / part;
END
$$;

-- Is it better to look at each line of a server or application than to ask the index of words? It takes 4 us
-- a line, the index 0.6 us for each match that it has, of all servers. p_needed: more lines than these need
-- not be looked at; NULL: nobody knows.
CREATE OR REPLACE FUNCTION worth_walking(p_narrow text, p_indexed text, p_since timestamptz,
	p_until timestamptz, p_needed float8) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	limit_lines CONSTANT int := least(walked_lines(0, true) + 0.15 *
		(about_lines('true', p_indexed, p_since, p_until)).hits, 1e6);
	n int;
BEGIN
	IF p_needed < limit_lines THEN
		RETURN true;
	END IF;
	EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM log_entries WHERE "timestamp" >= %L
		AND "timestamp" < %L AND %s LIMIT %s) x', p_since, p_until, p_narrow, limit_lines) INTO n;
	RETURN n < limit_lines;
END
$$;

-- The p_max lines that p_tree finds between two times: the newest, or (p_up) the oldest after a place. A
-- place is the time, server and id of a line; NULL: none. p_brief: without message and place in the file.
--
-- The planner can't know how rare a word is whose end is open. A walk from the newest line is right for what
-- is common, and reads everything for what is rare. So the first_lines() are walked, and each part tells how
-- many lines the missing ones need: up to walked_lines() are walked. Else the index of words is asked for
-- few_lines() matches first; if there are no more, they are the answer. Among the lines of one server or
-- application the index of words is asked only if it has fewer matches than worth_walking() says.
--
-- What no index answers would take as long as the range is. When p_budget is used up (NULL: search_budget()),
-- a last row has no id: all lines up to its timestamp were looked at. Lines beyond it may stand before this
-- row; they are the next ones in the order.
CREATE OR REPLACE FUNCTION found_lines(p_tree jsonb, p_since timestamptz, p_until timestamptz, p_max int,
	p_up boolean DEFAULT false, p_at timestamptz DEFAULT NULL, p_vps text DEFAULT NULL,
	p_id bigint DEFAULT NULL, p_budget interval DEFAULT NULL, p_brief boolean DEFAULT false)
RETURNS TABLE (id bigint, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	message text, context jsonb, stream_id bigint, stream_offset bigint)
LANGUAGE plpgsql STABLE ROWS 100 SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	columns text := CASE WHEN p_brief
		THEN 'id, "timestamp", vps_name, app_name, level, logger, NULL::text, context, NULL::bigint,
			NULL::bigint'
		ELSE 'id, "timestamp", vps_name, app_name, level, logger, message, context, stream_id,
			stream_offset' END;
	-- The condition is a column behind OFFSET 0, so that no other index is asked for it.
	fenced CONSTANT text := 'SELECT %1$s FROM (SELECT *, %6$s AS hit FROM log_entries
		WHERE %7$s OFFSET 0) l WHERE hit ORDER BY %3$s LIMIT %4$s';
	index_first CONSTANT text := '
		WITH found AS MATERIALIZED (SELECT %1$s FROM log_entries WHERE %2$s LIMIT %5$s + 1),
		few AS MATERIALIZED (SELECT count(*) <= %5$s AS yes FROM found)
		(SELECT * FROM found WHERE (SELECT yes FROM few) ORDER BY %3$s LIMIT %4$s)
		UNION ALL
		(SELECT %1$s FROM log_entries WHERE NOT (SELECT yes FROM few) AND %2$s
		ORDER BY %3$s LIMIT %4$s)';
	place text := CASE WHEN p_at IS NULL THEN '' ELSE
		format(' AND ("timestamp", vps_name, id) %s (%L, %L, %s)',
		CASE WHEN p_up THEN '>' ELSE '<' END, p_at, p_vps, p_id) END;
	condition text := line_condition(p_tree);
	narrow text := narrow_condition(p_tree);
	indexed text := indexed_condition(without_narrow(p_tree));
	ordered text := replace('"timestamp" ~, vps_name ~, id ~', '~',
		CASE WHEN p_up THEN 'ASC' ELSE 'DESC' END);
	since timestamptz := CASE WHEN p_up THEN greatest(p_since, p_at) ELSE p_since END;
	until timestamptz := CASE WHEN p_up THEN p_until ELSE least(p_until, p_at + interval '1 us') END;
	edge timestamptz;
	width interval := '1 s';
	lines float8 := 16;                     -- of the next part, about
	looked float8 := 0;
	walking boolean := true;
	worth boolean;
	budget interval := coalesce(p_budget, search_budget(p_max));
	deadline timestamptz := clock_timestamp() + budget;
	began timestamptz;
	during text;
	needed float8;                          -- lines that are likely to have the missing ones
	factor float8;
	found int := 0;
	n int;
BEGIN
	BEGIN
		WHILE since < until AND found < p_max AND clock_timestamp() < deadline - budget / 20 LOOP
			began := clock_timestamp();
			edge := CASE WHEN walking AND lines <= 2 * walked_lines(0, false)
				THEN next_edge(narrow, since, until, p_up, lines::int)
				WHEN p_up THEN since + least(width, until - since)
				ELSE until - least(width, until - since) END;
			during := format('"timestamp" >= %L AND "timestamp" < %L%s AND in_time(%L)',
				CASE WHEN p_up THEN since ELSE edge END,
				CASE WHEN p_up THEN edge ELSE until END, place, deadline);
			RETURN QUERY EXECUTE format(CASE WHEN walking THEN fenced ELSE index_first END,
				columns, during || ' AND ' || condition, ordered, p_max - found,
				greatest(few_lines(), p_max), condition, during || ' AND ' || narrow);
			GET DIAGNOSTICS n = ROW_COUNT;
			found := found + n;
			looked := looked + lines;
			width := CASE WHEN p_up THEN edge - since ELSE until - edge END;
			IF p_up THEN
				since := edge;
			ELSE
				until := edge;
			END IF;
			EXIT WHEN found >= p_max OR since >= until;
			needed := CASE WHEN n > 0 THEN 1.3 * lines * (p_max - found) / n END;
			walking := indexed IS NULL OR worth OR looked < first_lines() OR
				coalesce(needed <= walked_lines(p_max - found, narrow <> 'true'), false);
			IF NOT walking AND narrow <> 'true' AND worth IS NULL THEN
				worth := worth_walking(narrow, indexed, since, until, needed);
				walking := worth;
			END IF;
			factor := next_part(CASE WHEN walking THEN 8 ELSE 64 END, clock_timestamp() - began,
				deadline - clock_timestamp(), n, p_max - found);
			lines := greatest(lines * factor, 1);
			width := greatest(width, interval '1 s') * factor;
		END LOOP;
	EXCEPTION WHEN SQLSTATE 'OB003' THEN
		NULL;
	END;
	IF since < until AND found < p_max THEN
		RETURN QUERY SELECT NULL::bigint, CASE WHEN p_up THEN since ELSE until END, NULL, NULL, NULL,
			NULL, NULL, NULL::jsonb, NULL::bigint, NULL::bigint;
	END IF;
END
$$;

-- ---- counts ------------------------------------------------------------------------------------

-- The lines of a query for histogram and facets: the newest ones, up to counted_lines(), each for itself
-- (weight 1), and a sample of the older ones, each of which stands for `weight` lines. The sum of the weights
-- is the number of lines; it is an estimate if a weight is above 1.
--
-- The sample is all lines within short windows, spread over the time. Their length is such that about
-- sampled_lines() are looked at, whatever the condition; if there are hardly more, the windows are the whole
-- time. Lines of one server or application take longer, so fewer are looked at. The weight is the same
-- everywhere, so a burst counts as what it is. Only the newest lines, at least faceted_lines(), have their
-- contexts. Of a sample there is a row of weight 0, so that nobody takes nothing found for an exact count.
--
-- When the time is up, a last row has no weight: lines before its timestamp are not counted.
CREATE OR REPLACE FUNCTION counted_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 3000;
CREATE OR REPLACE FUNCTION faceted_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;
CREATE OR REPLACE FUNCTION sampled_lines(p_narrow boolean) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN CASE WHEN p_narrow THEN 4000 ELSE 12000 END;
CREATE OR REPLACE FUNCTION count_budget() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '600 ms';

CREATE OR REPLACE FUNCTION sample_of(p_tree jsonb, p_since timestamptz, p_until timestamptz,
	p_deadline timestamptz, p_contexts boolean)
RETURNS TABLE (weight float8, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	context jsonb)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	narrow text := narrow_condition(p_tree);
	lines float8 := (about_lines(narrow, 'true', p_since, p_until)).lines;
	looked int := sampled_lines(narrow <> 'true');
	part float8 := CASE WHEN lines < 1.5 * looked THEN 1 ELSE looked / lines END;
BEGIN
	IF part < 1 THEN
		RETURN QUERY SELECT 0::float8, p_since, NULL, NULL, NULL, NULL, NULL::jsonb;
	END IF;
	RETURN QUERY EXECUTE format('SELECT %s::float8, "timestamp", vps_name, app_name, level, logger,
		%s::jsonb FROM ', 1 / part, CASE WHEN p_contexts THEN 'context' ELSE 'NULL' END) ||
		windows_of(p_since, p_until, part, 240, narrow,
		format('in_time(%L) AND ', p_deadline) || line_condition(p_tree)) || ' WHERE hit';
END
$$;

CREATE OR REPLACE FUNCTION lines_sample(p_tree jsonb, p_since timestamptz, p_until timestamptz)
RETURNS TABLE (weight float8, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	context jsonb)
LANGUAGE plpgsql STABLE ROWS 5000 SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + count_budget();
	edge timestamptz;
	newest_end timestamptz;
	n int := 0;
	l record;
BEGIN
	FOR l IN SELECT f.* FROM found_lines(p_tree, p_since, p_until, counted_lines(),
			p_budget => count_budget() / 3, p_brief => true) f ORDER BY f.id IS NULL DESC LOOP
		IF l.id IS NULL THEN
			edge := l."timestamp";
			CONTINUE;
		END IF;
		CONTINUE WHEN l."timestamp" < edge;     -- the sample has it
		n := n + 1;
		weight := 1;
		"timestamp" := l."timestamp";
		vps_name := l.vps_name;
		app_name := l.app_name;
		level := l.level;
		logger := l.logger;
		context := l.context;
		newest_end := least(newest_end, l."timestamp");
		RETURN NEXT;
	END LOOP;
	IF n = counted_lines() THEN
		edge := newest_end;
	END IF;
	IF edge > p_since THEN
		BEGIN
			RETURN QUERY SELECT s.* FROM sample_of(p_tree, p_since, edge, deadline,
				n < faceted_lines()) s;
		EXCEPTION WHEN SQLSTATE 'OB003' THEN
			RETURN QUERY SELECT NULL::float8, edge, NULL, NULL, NULL, NULL, NULL::jsonb;
		END;
	END IF;
END
$$;

-- ---- pages -------------------------------------------------------------------------------------

-- The time that a page shows: between two times, or p_seconds until p_to. Without p_to it reaches into the
-- next minute, for servers whose clocks are ahead.
CREATE OR REPLACE FUNCTION search_span(p_from timestamptz, p_to timestamptz, p_seconds int)
RETURNS TABLE (since timestamptz, until timestamptz) LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT least(coalesce(p_from, coalesce(p_to, now()) - p_seconds * interval '1 s'),
		u - interval '1 s'), u
	FROM (SELECT coalesce(p_to, now() + interval '1 min')) x (u);
END;

-- A line of a list, where long values are cut: of a message 4,000 characters are left, of a context of more
-- than 2,000 bytes 16 values of 200 characters. Then message_length and context_length say how much there
-- is, and "whole" where. p_here: the line around which a list is.
CREATE OR REPLACE FUNCTION listed_line(p_id bigint, p_timestamp timestamptz, p_vps text, p_app text,
	p_level text, p_logger text, p_message text, p_context jsonb, p_stream bigint, p_offset bigint,
	p_here boolean DEFAULT false) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT json_build_object('timestamp', p_timestamp, 'vps', p_vps, 'app', p_app, 'level', p_level,
	'logger', CASE WHEN length(p_logger) > 200 THEN left(p_logger, 200) || '…' ELSE p_logger END,
	'message', left(p_message, 4000), 'message_length', message_length,
	'context', CASE WHEN context_length IS NULL THEN p_context::json
		WHEN jsonb_typeof(p_context) <> 'object' THEN to_json(left(p_context #>> '{}', 200) || '…')
		ELSE (SELECT json_object_agg(left(key, 100), CASE WHEN length(value::text) > 200
			THEN to_jsonb(left(value #>> '{}', 200) || '…') ELSE value END)
			FROM (SELECT * FROM jsonb_each(p_context) LIMIT 16) f) END,
	'context_length', context_length, 'id', p_id, 'stream_id', p_stream, 'stream_offset', p_offset,
	'whole', CASE WHEN message_length IS NOT NULL OR context_length IS NOT NULL OR length(p_logger) > 200
		THEN '/logs/line?id=' || p_id || '&at=' ||
			to_char(p_timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END,
	'here', p_here)
	FROM (SELECT CASE WHEN length(p_message) > 4000 THEN length(p_message) END AS message_length,
		CASE WHEN octet_length(p_context::text) > 2000
			THEN octet_length(p_context::text) END AS context_length) size);

-- ---- columns -----------------------------------------------------------------------------------

-- The values of keys, a JSON array, in a context: [kind, text] each, or null. A key is read as key_paths()
-- says. Texts longer than p_max characters are cut, with a mark.
CREATE OR REPLACE FUNCTION context_cells(p_context jsonb, p_keys jsonb, p_max int) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT json_agg(CASE WHEN v IS NOT NULL THEN json_build_array(jsonb_typeof(v),
		CASE WHEN length(v #>> '{}') > p_max THEN left(v #>> '{}', p_max) || '…'
		ELSE coalesce(v #>> '{}', 'null') END) END ORDER BY place)
	FROM (SELECT place, coalesce(p_context -> key, CASE WHEN strpos(key, '.') > 0 THEN
			(SELECT p_context #> path FROM key_paths(key) path WHERE p_context #> path IS NOT NULL
			LIMIT 1) END) AS v
		FROM jsonb_array_elements_text(p_keys) WITH ORDINALITY k (key, place)) x);

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION context_cells, search_span, listed_line TO observ_hub;
GRANT EXECUTE ON FUNCTION found_lines, lines_sample, sample_of, about_lines, windows_of, counted_lines,
	faceted_lines, sampled_lines,
	count_budget, few_lines, first_lines, walked_lines, worth_walking, search_budget, in_time, next_edge,
	next_part, is_narrow, narrow_condition, without_narrow, indexed_condition,
	line_condition, term_conditions, level_conditions, column_conditions, context_conditions,
	context_words, value_at,
	value_equals, value_compares,
	json_values, key_paths, max_key_dots, compared, time_of, number_of, like_pattern, text_conditions,
	has_words,
	words_query, date_query, line_fits, stands_in, is_edge, ascii_pattern, unescaped, word_list, folded,
	composed,
	lower_case, separators, invisibles, unspaced, max_word_chars TO observ_hub;
-- ==== 40-maintain: roll-ups, retention, partitions, maintain() ==================================
CREATE TABLE IF NOT EXISTS metrics_5m (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	"timestamp" timestamptz NOT NULL,               -- start of the bucket
	samples int NOT NULL,
	PRIMARY KEY (vps_name, app_name, "timestamp")
);
CREATE TABLE IF NOT EXISTS metrics_1h (LIKE metrics_5m INCLUDING ALL);

-- The metrics that are rolled up, each as <name>_avg, <name>_min and <name>_max.
CREATE OR REPLACE FUNCTION rollup_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY[
		-- made: rolled up
		'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m',
		'cpu_iowait_percent', 'cpu_steal_percent', 'swap_percent', 'inode_percent',
		'net_rx_bytes_per_s', 'net_tx_bytes_per_s', 'disk_read_bytes_per_s', 'disk_write_bytes_per_s',
		'tcp_connections', 'psi_cpu_percent', 'psi_memory_percent', 'psi_io_percent',
		'app_cpu_percent', 'app_memory_mb'
		-- end of made
	]
$$;
SELECT want_column(t, c || '_' || f, 'double precision')
	FROM unnest(ARRAY['metrics_5m', 'metrics_1h']) t, unnest(rollup_columns()) WITH ORDINALITY m(c, n),
		unnest(ARRAY['avg', 'min', 'max']) f ORDER BY t, n, f \g /dev/null

-- The file systems, by mount point: the average percentage of the bucket. NULL: none was told of.
SELECT want_column(t, 'mounts', 'jsonb') FROM unnest(ARRAY['metrics_5m', 'metrics_1h']) t \g /dev/null

-- How long rows are kept. The most exact policy decides: application and level, then application, then level,
-- then the one with neither. keep is NULL: for ever. Days end in UTC.
CREATE TABLE IF NOT EXISTS retention_policy (
	kind text NOT NULL CONSTRAINT retention_kinds CHECK (kind IN ('metrics', 'checks', 'logs', 'gaps',
		'rejects', 'metrics_5m', 'metrics_1h', 'alerts', 'notifications', 'pings', 'patterns')),
	app_name text,
	level text CHECK (level IS NULL OR kind = 'logs'),
	keep interval CHECK (keep > '0'),
	done_until timestamptz,                         -- maintain() has dealt with the rows before this
	UNIQUE NULLS NOT DISTINCT (kind, app_name, level)
);

CREATE TABLE IF NOT EXISTS rollup_state (
	rollup text PRIMARY KEY,
	received_until timestamptz NOT NULL             -- rows received before this are rolled up
);

CREATE TABLE IF NOT EXISTS job_runs (
	job text NOT NULL,
	started_at timestamptz NOT NULL,
	finished_at timestamptz NOT NULL,
	ok boolean NOT NULL,
	result text NOT NULL
);

-- An older schema.sql knew fewer kinds.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'retention_policy_kind_check'
			AND conrelid = 'retention_policy'::regclass) THEN
		ALTER TABLE retention_policy DROP CONSTRAINT retention_policy_kind_check, ADD CONSTRAINT
			retention_kinds CHECK (kind IN ('metrics', 'checks', 'logs', 'gaps', 'rejects',
				'metrics_5m',
			'metrics_1h', 'alerts', 'notifications', 'pings', 'patterns'));
		INSERT INTO retention_policy (kind, keep) VALUES ('alerts', '1 year'), ('notifications',
			'90 days'),
			('pings', '90 days'), ('patterns', '1 year');
	END IF;
END
$$;
INSERT INTO retention_policy (kind, keep)
	SELECT kind, keep::interval FROM (VALUES ('metrics', '90 days'), ('checks', '90 days'),
		('logs', '30 days'), ('gaps', '90 days'), ('rejects', '90 days'), ('metrics_5m', '90 days'),
		('metrics_1h', '2 years'), ('alerts', '1 year'), ('notifications', '90 days'),
		('pings', '90 days'), ('patterns', '1 year')) v(kind, keep)
	WHERE NOT EXISTS (SELECT FROM schema_version)   -- only in a new database: people change these
	ON CONFLICT DO NOTHING;

SELECT want_index('metrics_5m_timestamp_idx', 'metrics_5m ("timestamp")'),
	want_index('metrics_1h_timestamp_idx', 'metrics_1h ("timestamp")'),
	want_index('job_runs_started_at_idx', 'job_runs (started_at)') \g /dev/null
GRANT SELECT ON metrics_5m, metrics_1h, retention_policy, job_runs TO observ_hub, observ_watch;

-- ---- partitions ---------------------------------------------------------------------------
-- The partitions of a table with their bounds. The default partition has none.
CREATE OR REPLACE FUNCTION partitions(p_table text)
RETURNS TABLE (partition regclass, lower_bound timestamptz, upper_bound timestamptz)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
	SELECT c.oid::regclass, b[1]::timestamptz, b[2]::timestamptz
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	LEFT JOIN regexp_match(pg_get_expr(c.relpartbound, c.oid),
		$r$FROM \('(.*)'\) TO \('(.*)'\)$r$) b ON true
	WHERE i.inhparent = p_table::regclass
	ORDER BY 2
$$;

-- Makes the partition of a day (in UTC) if it is missing, and moves into it the rows of that day that the
-- default partition holds. The table is made first and attached then: unlike CREATE TABLE ... PARTITION OF,
-- this does not lock the parent against writers.
CREATE OR REPLACE FUNCTION make_partition(p_table text, p_day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_name text := format('%s_%s', p_table, to_char(p_day, 'YYYYMMDD'));
	v_default text := p_table || '_default';
	v_from timestamptz := p_day::timestamp AT TIME ZONE 'UTC';
	v_to timestamptz := (p_day + 1)::timestamp AT TIME ZONE 'UTC';
	v_columns text;
BEGIN
	IF to_regclass(v_name) IS NOT NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('LOCK TABLE ONLY %I IN SHARE UPDATE EXCLUSIVE MODE', p_table);
	EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', v_default);
	EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING GENERATED '
		'INCLUDING CONSTRAINTS INCLUDING STORAGE)', v_name, p_table);
	SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO v_columns
		FROM pg_attribute
		WHERE attrelid = p_table::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
	EXECUTE format('WITH moved AS (DELETE FROM %I WHERE "timestamp" >= $1 AND "timestamp" < $2 '
		'RETURNING %s) INSERT INTO %I (%2$s) SELECT %2$s FROM moved', v_default, v_columns, v_name)
		USING v_from, v_to;
	EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
		p_table, v_name, v_from, v_to);
	RETURN true;
END
$$;

-- ---- maintain() ---------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION fact_tables() RETURNS TABLE (kind text, tab text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	VALUES ('metrics', 'vps_metrics'), ('checks', 'health_checks'), ('logs', 'log_entries')
$$;

-- No policy keeps rows of this kind that are older. -infinity: some are kept for ever.
CREATE OR REPLACE FUNCTION oldest_kept(p_kind text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN bool_or(app_name IS NULL AND level IS NULL) AND count(keep) = count(*)
		THEN now() - max(keep) ELSE '-infinity' END
	FROM retention_policy WHERE kind = p_kind
$$;

-- Makes the partitions of two days back, three days ahead, and every day that is kept and has rows in the
-- default partition.
CREATE OR REPLACE FUNCTION maintain_partitions(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	f record;
	d date;
	made int := 0;
BEGIN
	FOR f IN SELECT * FROM fact_tables() LOOP
		FOR d IN EXECUTE format('SELECT current_date + n FROM generate_series(-2, 3) n UNION '
				'SELECT "timestamp"::date FROM %I '
				'WHERE "timestamp" >= $1 AND "timestamp" < current_date + 4 ORDER BY 1',
				f.tab || '_default')
				USING greatest(oldest_kept(f.kind), now() - interval '400 days') LOOP
			made := made + make_partition(f.tab, d)::int;
		END LOOP;
	END LOOP;
	RETURN format('%s partitions made', made);
END
$$;

-- What is in details->'mounts'. A member that is no number, or one that no file system has, is none: the
-- nonsense of one server must not stop the rules of all. What nobody can write to does not fill, so read-only
-- file systems are left out.
CREATE OR REPLACE FUNCTION mounts_of(p_details jsonb)
RETURNS TABLE (mount text, percent float8, inode_percent float8, used_gb float8, total_gb float8)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
	SELECT left(u->>'mount', 300), v[1], v[2], v[3], v[4]
	FROM jsonb_path_query(p_details, '$.mounts[*] ? (@.mount.type() == "string"
		&& !(@.read_only == true))') u,
		LATERAL (SELECT array_agg(CASE WHEN u->k BETWEEN '0' AND '1e15'
			THEN round((u->>k)::numeric, 6)::float8 END
			ORDER BY n) FROM unnest('{percent,inode_percent,used_gb,total_gb}'::text[])
				WITH ORDINALITY k(k, n)) v(v)
$$;

-- The average percentage of each file system in the details of several samples.
CREATE OR REPLACE FUNCTION mounts_average(p_details jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_object_agg(mount, round(percent::numeric, 2)) FROM (SELECT mount, avg(percent) AS percent
		FROM unnest(p_details) d, mounts_of(d) WHERE percent IS NOT NULL GROUP BY 1) m
$$;

-- Computes each bucket anew that got a row since the last run. received_at decides, so rows that an outage
-- held back are not missed. Each run covers the last hour again, for transactions that were still open then.
CREATE OR REPLACE FUNCTION maintain_rollup(p_rollup text, p_width interval, p_deadline timestamptz)
RETURNS text LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_from timestamptz;
	v_to timestamptz;
	v_sql text;
	v_count bigint;
	buckets bigint := 0;
BEGIN
	SELECT format('INSERT INTO %I (vps_name, app_name, "timestamp", samples, mounts, %s) '
		'SELECT b.vps_name, b.app_name, b.start, a.* FROM (SELECT DISTINCT vps_name, app_name, '
			'date_bin($1, "timestamp", ''2000-01-01Z'') AS start FROM vps_metrics '
			'WHERE received_at >= $2 AND received_at < $3 AND "timestamp" >= $4) b, '
		'LATERAL (SELECT count(*), mounts_average(array_agg(m.details) '
			'FILTER (WHERE m.details IS NOT NULL)), %s FROM vps_metrics m '
			'WHERE m.vps_name = b.vps_name AND m.app_name = b.app_name '
			'AND m."timestamp" >= b.start AND m."timestamp" < b.start + $1) a '
		'ON CONFLICT (vps_name, app_name, "timestamp") '
			'DO UPDATE SET samples = excluded.samples, mounts = excluded.mounts, %s',
		p_rollup, string_agg(format('%I', c || '_' || f), ', ' ORDER BY n, f),
		string_agg(format('%s(m.%I)', f, c), ', ' ORDER BY n, f),
		string_agg(format('%1$I = excluded.%1$I', c || '_' || f), ', ' ORDER BY n, f))
		INTO v_sql
		FROM unnest(rollup_columns()) WITH ORDINALITY u(c, n), unnest(ARRAY['avg', 'min', 'max']) f;
	SELECT received_until - interval '1 hour' INTO v_from FROM rollup_state WHERE rollup = p_rollup;
	IF v_from IS NULL THEN
		SELECT min(received_at) INTO v_from FROM vps_metrics;
	END IF;
	WHILE v_from < v_now AND clock_timestamp() < p_deadline LOOP
		v_to := least(v_from + interval '6 hours', v_now);
		EXECUTE v_sql USING p_width, v_from, v_to, greatest(oldest_kept(p_rollup),
			(SELECT now() - min(keep) FROM retention_policy WHERE kind = 'metrics'));
		GET DIAGNOSTICS v_count = ROW_COUNT;
		buckets := buckets + v_count;
		INSERT INTO rollup_state VALUES (p_rollup, v_to)
			ON CONFLICT (rollup) DO UPDATE SET received_until = excluded.received_until;
		v_from := v_to;
	END LOOP;
	RETURN format('%s buckets of %s', buckets, p_rollup)
		|| CASE WHEN v_from < v_now THEN ' (unfinished)' ELSE '' END;
END
$$;

CREATE OR REPLACE FUNCTION maintain_rollups(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN concat_ws(', ', maintain_rollup('metrics_5m', '5 minutes', p_deadline),
		maintain_rollup('metrics_1h', '1 hour', p_deadline));
END
$$;

-- The rows that a policy decides, as a condition: those it names, without those that a more exact one names.
CREATE OR REPLACE FUNCTION policy_condition(p retention_policy) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT concat_ws(' AND ', 'true', 'app_name = ' || quote_literal(p.app_name),
		'level = ' || quote_literal(p.level),
		string_agg(format('NOT (%s)', concat_ws(' AND ', 'app_name = ' || quote_literal(q.app_name),
			'level = ' || quote_literal(q.level))), ' AND '))
	FROM retention_policy q
	WHERE q.kind = p.kind
		AND (q.app_name IS NOT NULL, q.level IS NOT NULL)
			> (p.app_name IS NOT NULL, p.level IS NOT NULL)
$$;

-- Deletes the rows that one policy no longer keeps from partitions that others keep, an hour at a time.
-- done_until remembers how far, and the next run begins a day before it. Rows that arrive even later go when
-- their partition is dropped.
CREATE OR REPLACE FUNCTION expire_rows(p retention_policy, p_table text, p_deadline timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_until timestamptz := now() - p.keep;
	v_where text := policy_condition(p);
	v_from timestamptz;
	v_count bigint;
	deleted bigint := 0;
	part record;
BEGIN
	<<parts>>
	FOR part IN SELECT partition, greatest(lower_bound, p.done_until - interval '1 day') AS lo,
			least(upper_bound, v_until) AS hi FROM partitions(p_table)
			WHERE lower_bound < v_until AND upper_bound > oldest_kept(p.kind)
			ORDER BY lower_bound LOOP
		v_from := part.lo;
		WHILE v_from < part.hi LOOP
			IF clock_timestamp() > p_deadline THEN
				v_until := v_from;
				EXIT parts;
			END IF;
			EXECUTE format('DELETE FROM %s WHERE "timestamp" >= $1 AND "timestamp" < $2 AND %s',
				part.partition, v_where)
				USING v_from, least(v_from + interval '1 hour', part.hi);
			GET DIAGNOSTICS v_count = ROW_COUNT;
			deleted := deleted + v_count;
			v_from := v_from + interval '1 hour';
		END LOOP;
	END LOOP;
	UPDATE retention_policy r SET done_until = v_until
		WHERE (r.kind, r.app_name, r.level) IS NOT DISTINCT FROM (p.kind, p.app_name, p.level);
	RETURN deleted;
END
$$;

CREATE OR REPLACE FUNCTION maintain_rows(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	p retention_policy;
	v_table text;
	v_count bigint;
	deleted bigint := 0;
BEGIN
	FOR p IN SELECT * FROM retention_policy WHERE keep IS NOT NULL
			AND kind NOT IN ('alerts', 'notifications', 'pings', 'patterns') -- maintain_alerts()
			ORDER BY kind, app_name, level LOOP
		SELECT tab INTO v_table FROM fact_tables() f WHERE f.kind = p.kind;
		IF v_table IS NOT NULL AND now() - p.keep > oldest_kept(p.kind) THEN
			deleted := deleted + expire_rows(p, v_table, p_deadline);
		END IF;
		-- Either clock counts: rows of a server whose clock is years ahead are deleted too.
		EXECUTE format('DELETE FROM %I WHERE ("timestamp" < $1%s) AND %s',
			coalesce(v_table || '_default', p.kind),
			CASE WHEN p.kind NOT LIKE 'metrics\_%' THEN ' OR received_at < $1' END,
			policy_condition(p))
			USING now() - p.keep;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		deleted := deleted + v_count;
	END LOOP;
	DELETE FROM ingest_keys WHERE made_at < now() - interval '1 day';
	DELETE FROM server_tokens WHERE valid_until < now();
	DELETE FROM deploys WHERE "timestamp" < now() - interval '2 years';
	DELETE FROM log_streams WHERE finished AND updated_at < now() - interval '1 year';
	DELETE FROM job_runs WHERE started_at < now() - interval '90 days';
	PERFORM expire_latest();
	RETURN format('%s rows deleted', deleted)
		|| CASE WHEN clock_timestamp() > p_deadline THEN ' (unfinished)' ELSE '' END;
END
$$;
-- This is the last step, because it locks out writers until the transaction ends.
CREATE OR REPLACE FUNCTION maintain_drops(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	f record;
	part regclass;
	dropped int := 0;
BEGIN
	FOR f IN SELECT * FROM fact_tables() LOOP
		FOR part IN SELECT partition FROM partitions(f.tab)
				WHERE upper_bound <= oldest_kept(f.kind) LOOP
			EXECUTE format('DROP TABLE %s', part);
			dropped := dropped + 1;
		END LOOP;
	END LOOP;
	RETURN format('%s partitions dropped', dropped);
END
$$;

-- Run this every few minutes (templates/observ-maintain.*). It may run in several places: one at a time
-- works. A step that fails, say because a table stays locked, is reported, and the next run tries it again.
CREATE OR REPLACE FUNCTION maintain(p_budget interval DEFAULT '2 minutes') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET lock_timeout = '3s' SET jit = off AS $$
DECLARE
	v_start timestamptz := clock_timestamp();
	v_step text;
	v_note text;
	notes text[] := '{}';
	failed boolean := false;
BEGIN
	-- A row and no advisory lock, because any agent could take that and keep it.
	PERFORM FROM schema_version WHERE version = (SELECT min(version) FROM schema_version)
		FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 'another maintain() is at work, nothing done';
	END IF;
	FOREACH v_step IN ARRAY ARRAY['maintain_sessions', 'maintain_people', 'maintain_alerts',
		'maintain_rollups',
			'maintain_rows', 'maintain_partitions', 'maintain_drops'] LOOP
		BEGIN
			EXECUTE format('SELECT %I($1)', v_step) INTO v_note USING v_start + p_budget;
		EXCEPTION WHEN OTHERS THEN
			v_note := format('%s failed: %s', v_step, sqlerrm);
			failed := true;
			RAISE WARNING '%', v_note;
		END;
		notes := notes || v_note;
	END LOOP;
	v_note := array_to_string(notes, ', ');
	INSERT INTO job_runs VALUES ('maintain', v_start, clock_timestamp(), NOT failed, v_note);
	RETURN v_note;
END
$$;
SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION maintain TO observ_watch;

-- The first partitions.
DO $$
DECLARE
	t text;
BEGIN
	FOR t IN SELECT tab FROM fact_tables() LOOP
		IF to_regclass(t || '_default') IS NULL THEN
			EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', t || '_default', t);
		END IF;
	END LOOP;
END
$$;
SELECT maintain_partitions('infinity') \g /dev/null

-- ==== 45-charts: the points of the charts of a server ===========================================
-- Of each application, metric and slot of p_step seconds from p_since on: the sum of the samples, their
-- number, the least and the greatest. Slots without a value are left out. Steps of an hour or more read the
-- roll-ups of an hour, those of five minutes or more the others, up to the newest bucket of an application,
-- and raw rows behind it: charts are right also where maintain() has not run.
--
-- Each application's rows are found by its name, since the planner can't know from a time alone how few they
-- are. Rows become slots before they become metrics: one row of a table has all of these.
CREATE OR REPLACE FUNCTION chart_points(p_vps text, p_since timestamptz, p_until timestamptz, p_step int,
	p_metrics text[])
RETURNS TABLE (app_name text, metric text, slot int, total float8, samples float8, low float8, high float8)
LANGUAGE plpgsql STABLE ROWS 5000 SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	rollup text := CASE WHEN p_step >= 3600 THEN 'metrics_1h' WHEN p_step >= 300 THEN 'metrics_5m' END;
	v_sql text;
BEGIN
	SELECT format('SELECT a.app_name, m.* FROM agents a
		CROSS JOIN LATERAL (SELECT coalesce((%s), $2) AS edge OFFSET 0) e
		CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM "timestamp" - $2) / $4)::int AS slot, %s
			FROM (%s SELECT "timestamp", 1::float8 AS n, %s FROM vps_metrics t
				WHERE t.vps_name = $1 AND t.app_name = a.app_name
				AND t."timestamp" >= edge AND t."timestamp" < $3) rows GROUP BY 1) s
		CROSS JOIN LATERAL (VALUES %s) m (metric, slot, total, samples, low, high)
		WHERE a.vps_name = $1 AND m.samples > 0',
		CASE WHEN rollup IS NULL THEN 'NULL' ELSE format('SELECT "timestamp" FROM %I t
			WHERE t.vps_name = $1 AND t.app_name = a.app_name AND t."timestamp" >= $2
			AND t."timestamp" < $3 ORDER BY "timestamp" DESC LIMIT 1', rollup) END,
		string_agg(format('sum(%1$I * n) AS t%2$s, sum(n) FILTER (WHERE %1$I IS NOT NULL) AS n%2$s, '
			'min(l%2$s) AS l%2$s, max(h%2$s) AS h%2$s', c, i), ', '),
		CASE WHEN rollup IS NOT NULL
			THEN format('SELECT "timestamp", samples::float8 AS n, %s FROM %I t
			WHERE t.vps_name = $1 AND t.app_name = a.app_name AND t."timestamp" >= $2
			AND t."timestamp" < edge UNION ALL',
			string_agg(format('%I AS %I, %I AS l%s, %I AS h%4$s',
			c || '_avg', c, c || '_min', i, c || '_max'), ', '), rollup) END,
		string_agg(format('%1$I, %1$I AS l%2$s, %1$I AS h%2$s', c, i), ', '),
		string_agg(format('(%L, s.slot, s.t%2$s, s.n%2$s, s.l%2$s, s.h%2$s)', c, i), ', '))
		INTO v_sql FROM unnest(p_metrics) WITH ORDINALITY u(c, i);
	RETURN QUERY EXECUTE v_sql USING p_vps, p_since, p_until, p_step;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION chart_points TO observ_hub;
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

-- ==== 55-limits: how functions for the hub refuse, and how often a thing may happen =============
-- A function that refuses raises OB and the status of HTTP: OB401, OB403, OB404, OB422, OB429. The message is
-- a sentence for the user, the detail is JSON: {"errors": [{"field", "message"}]} or {"limit", "reset",
-- "retry_after"}.

CREATE OR REPLACE FUNCTION refuse(p_status int, p_sentence text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'OB' || p_status, MESSAGE = p_sentence, DETAIL = p_detail::text;
END
$$;

-- Refuses if the list of errors, [{"field", "message"}], has one.
CREATE OR REPLACE FUNCTION refuse_errors(p_errors jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_array_length(p_errors) > 0 THEN
		PERFORM refuse(422, 'The body has values that do not fit.',
			jsonb_build_object('errors', p_errors));
	END IF;
END
$$;

-- An element of that list if p_wrong, else nothing.
CREATE OR REPLACE FUNCTION field_error(p_wrong boolean, p_field text, p_message text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_wrong THEN jsonb_build_array(jsonb_build_object('field', p_field,
		'message', p_message)) ELSE '[]' END
$$;

-- The same for each key of the body that is not among the known ones.
-- Those of the fields that are there and are neither a text nor null.
CREATE OR REPLACE FUNCTION text_errors(p_body jsonb, p_fields text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', f, 'message', 'is not a text') ORDER BY f),
		'[]')
	FROM unnest(p_fields) f WHERE jsonb_typeof(p_body -> f) NOT IN ('string', 'null')
$$;
CREATE OR REPLACE FUNCTION unknown_fields(p_body jsonb, p_known text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', left(k, 100), 'message',
		'is not known; known are '
		|| array_to_string(p_known, ', ')) ORDER BY k), '[]')
	FROM jsonb_object_keys(CASE WHEN jsonb_typeof(p_body) = 'object' THEN p_body ELSE '{}' END) k
	WHERE k <> ALL (p_known)
$$;

-- How often a thing may happen: `burst` times at once, and again as time passes: `burst` times in `per`.
CREATE TABLE IF NOT EXISTS limit_policy (
	kind text PRIMARY KEY,
	burst int NOT NULL CHECK (burst BETWEEN 1 AND 1000000),
	per interval NOT NULL CHECK (per BETWEEN '1 second' AND '30 days')
);
INSERT INTO limit_policy VALUES
	('sign-in by address', 10, '10 minutes'),       -- refused ones only
	('sign-in by account', 30, '30 minutes'),       -- from addresses where it has not signed in before
	('search', 600, '1 minute'),
	('write', 120, '1 minute')
ON CONFLICT DO NOTHING;

-- Empty after a crash of the server: nobody is limited then.
CREATE UNLOGGED TABLE IF NOT EXISTS limits (
	kind text,
	key text,
	free_at timestamptz NOT NULL,           -- when nothing counts any more
	PRIMARY KEY (kind, key)
) WITH (fillfactor = 50);

-- Counts one; refuses if there were too many. A kind without a policy has no limit. The setting observ.rate
-- tells the hub what is left: the limit, the rest, seconds until all is there again.
CREATE OR REPLACE FUNCTION take(p_kind text, p_key text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	p limit_policy;
	v_step interval;
	v_free_at timestamptz;
	v_wait int;
BEGIN
	SELECT * INTO p FROM limit_policy WHERE kind = p_kind;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	v_step := p.per / p.burst;
	INSERT INTO limits AS l (kind, key, free_at) VALUES (p_kind, left(p_key, 300), v_now + v_step)
	ON CONFLICT (kind, key) DO UPDATE SET free_at = greatest(l.free_at, v_now) + v_step
		WHERE l.free_at <= v_now + p.per - v_step
	RETURNING free_at INTO v_free_at;
	IF NOT FOUND THEN
		SELECT free_at INTO v_free_at FROM limits WHERE kind = p_kind AND key = left(p_key, 300);
		v_wait := ceil(extract(epoch FROM v_free_at - (v_now + p.per - v_step)));
		PERFORM refuse(429, format('Too many requests: %s are allowed in %s. Try again in %s s.',
			p.burst,
			p.per, greatest(v_wait, 1)), jsonb_build_object('kind', p_kind, 'limit', p.burst,
			'reset', ceil(extract(epoch FROM v_free_at - v_now)), 'retry_after', greatest(v_wait,
				1)));
	END IF;
	PERFORM set_config('observ.rate', format('%s,%s,%s', p.burst,
		floor(extract(epoch FROM v_now + p.per - v_free_at) / extract(epoch FROM v_step)),
		ceil(extract(epoch FROM v_free_at - v_now))), true);
END
$$;

-- What was counted did not matter after all.
CREATE OR REPLACE FUNCTION give_back(p_kind text, p_key text) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE limits l SET free_at = l.free_at - p.per / p.burst FROM limit_policy p
	WHERE l.kind = p_kind AND l.key = left(p_key, 300) AND p.kind = l.kind
$$;

-- The part of an address that one customer of a provider has: all of IPv4, 64 bits of IPv6. ::ffff:0:0/96 is
-- IPv4 as a socket for both shows it.
CREATE OR REPLACE FUNCTION address_key(p_address text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN p_address::inet << '::ffff:0:0/96' THEN substr(host(p_address::inet), 8)
		WHEN family(p_address::inet) = 4 THEN host(p_address::inet)
		ELSE network(set_masklen(p_address::inet, 64))::text END;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN left(p_address, 100);
END
$$;

SELECT drop_former_functions() \g /dev/null
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
-- ==== 64-searches: log searches that users keep under a name =========================================
-- A search belongs to the user who saved it. A shared one is seen by everybody who signs in; only its owner
-- and admins change it. As in 60-people, the hub's login reads and writes it by functions only.
CREATE TABLE IF NOT EXISTS saved_searches (
	search_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	user_id uuid NOT NULL,
	name text NOT NULL,
	shared boolean NOT NULL DEFAULT false,
	query jsonb NOT NULL,                   -- parameters of the page /logs, as texts
	created_at timestamptz NOT NULL DEFAULT now(),
	changed_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (user_id, name)
);
SELECT want_index('saved_searches_shared_idx', 'saved_searches (shared) WHERE shared') \g /dev/null

-- The parameters that a body names; null where one is to be removed.
CREATE OR REPLACE FUNCTION search_query(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE WHEN value <> '""' THEN value ELSE 'null' END), '{}')
	FROM jsonb_each(p_body) WHERE key IN ('q', 'range', 'from', 'to', 'columns', 'wrap')
$$;

-- What is wrong with a body, apart from the name that another search may have.
CREATE OR REPLACE FUNCTION search_errors(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT unknown_fields(p_body, '{name,shared,q,range,from,to,columns,wrap}')
		|| field_error(p_body ? 'name' AND (jsonb_typeof(p_body->'name') <> 'string'
			OR octet_length(btrim(p_body->>'name')) NOT BETWEEN 1 AND 100
			OR p_body->>'name' ~ '[[:cntrl:]]'), 'name',
			'must be a text of 1 to 100 bytes without control characters')
		|| field_error(p_body ? 'shared' AND p_body->>'shared' IS DISTINCT FROM 'true'
			AND p_body->>'shared' IS DISTINCT FROM 'false', 'shared', 'must be true or false')
		|| coalesce((SELECT jsonb_agg(e ORDER BY key) FROM (
			SELECT key, jsonb_array_elements(field_error(value <> 'null'
				AND (jsonb_typeof(value) <> 'string' OR NOT CASE key
				WHEN 'q' THEN octet_length(value #>> '{}') <= 4096
				WHEN 'range' THEN value <@ '["15m", "1h", "6h", "24h", "7d", "30d", "90d"]'
				WHEN 'columns' THEN octet_length(value #>> '{}') <= 1000
				WHEN 'wrap' THEN value = '"no"'
				ELSE value #>> '{}' ~ '^[0-9A-Za-z:. +-]{1,40}$' END), key, CASE key
				WHEN 'q' THEN 'must be a text of at most 4096 bytes'
				WHEN 'range' THEN 'must be 15m, 1h, 6h, 24h, 7d, 30d or 90d'
				WHEN 'columns' THEN 'must be a text of at most 1000 bytes'
				WHEN 'wrap' THEN 'must be no, or absent'
				ELSE 'must be a time: RFC 3339, or as in now-2h' END)) AS e
			FROM jsonb_each(search_query(p_body))) x), '[]')
$$;

-- A search as its reader sees it.
CREATE OR REPLACE FUNCTION search_json(s saved_searches, p_user uuid, p_role text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT '{"q": null, "range": null, "from": null, "to": null, "columns": null, "wrap": null}'
		|| s.query || jsonb_build_object('search_id', s.search_id, 'name', s.name, 'shared', s.shared,
		'own', s.user_id = p_user, 'may_change', s.user_id = p_user OR p_role = 'admin',
		'owner', (SELECT email FROM users WHERE user_id = s.user_id),
		'created_at', s.created_at, 'changed_at', s.changed_at)
$$;

-- One's own and the shared ones, by name. p_after: the former "next", which is a search_id with the name.
CREATE OR REPLACE FUNCTION list_searches(p_hash bytea, p_after text, p_limit int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN (SELECT json_build_object('items', coalesce(json_agg(search_json(s, c.user_id, c.role)
			ORDER BY n) FILTER (WHERE n <= p_limit), '[]'),
			'next', max((s).search_id::text || (s).name) FILTER (WHERE n = p_limit AND more))
		FROM (SELECT s, row_number() OVER (ORDER BY name, search_id) AS n,
				count(*) OVER () > p_limit AS more
			FROM saved_searches s WHERE (user_id = c.user_id OR shared) AND (p_after IS NULL
				OR (name, search_id) > (substr(p_after, 37), as_uuid(left(p_after, 36))))
			ORDER BY name, search_id LIMIT p_limit + 1) x);
END
$$;

-- A search that the user sees; p_change: and may change.
CREATE OR REPLACE FUNCTION find_search(p_id text, p_user uuid, p_role text, p_change boolean)
RETURNS saved_searches LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	s saved_searches;
BEGIN
	SELECT * INTO s FROM saved_searches WHERE search_id = as_uuid(p_id) AND (user_id = p_user OR shared);
	IF NOT FOUND THEN
		PERFORM refuse(404, 'There is no such search among yours and the shared ones.');
	ELSIF p_change AND s.user_id <> p_user AND p_role <> 'admin' THEN
		PERFORM refuse(403, 'This search is another user''s: save it under a name of your own.');
	END IF;
	RETURN s;
END
$$;

CREATE OR REPLACE FUNCTION one_search(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN search_json(find_search(p_id, c.user_id, c.role, false), c.user_id, c.role);
END
$$;

-- {"name", "shared"?, "q"?, "range"?, "from"?, "to"?, "columns"?, "wrap"?}
CREATE OR REPLACE FUNCTION save_search(p_hash bytea, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	PERFORM refuse_errors(search_errors(p_body) || field_error(NOT p_body ? 'name', 'name', 'is missing')
		|| field_error((SELECT count(*) FROM saved_searches WHERE user_id = c.user_id) >= 200, 'name',
			'is one too many: you have 200 saved searches; delete one first'));
	INSERT INTO saved_searches (user_id, name, shared, query)
		VALUES (c.user_id, btrim(p_body->>'name'), coalesce((p_body->>'shared')::boolean, false),
			jsonb_strip_nulls(search_query(p_body)))
		ON CONFLICT (user_id, name) DO NOTHING RETURNING * INTO s;
	PERFORM refuse_errors(field_error(s.search_id IS NULL, 'name',
			'is that of another of your searches')),
		audit(c.email, c.how, 'search saved', s.name, jsonb_build_object('shared', s.shared));
	RETURN search_json(s, c.user_id, c.role);
END
$$;

-- A merge patch: null, or an empty text, removes a parameter.
CREATE OR REPLACE FUNCTION change_search(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	s := find_search(p_id, c.user_id, c.role, true);
	PERFORM refuse_errors(search_errors(p_body));
	BEGIN
		UPDATE saved_searches SET name = coalesce(btrim(p_body->>'name'), name),
			shared = coalesce((p_body->>'shared')::boolean, shared),
			query = merged(query, search_query(p_body)), changed_at = now()
		WHERE search_id = s.search_id RETURNING * INTO s;
	EXCEPTION WHEN unique_violation THEN
		PERFORM refuse_errors(field_error(true, 'name',
			'is that of another search of the same user'));
	END;
	PERFORM audit(c.email, c.how, 'search changed', s.name, jsonb_build_object('shared', s.shared));
	RETURN search_json(s, c.user_id, c.role);
END
$$;

CREATE OR REPLACE FUNCTION delete_search(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	s := find_search(p_id, c.user_id, c.role, true);
	DELETE FROM saved_searches WHERE search_id = s.search_id;
	PERFORM audit(c.email, c.how, 'search deleted', s.name);
	RETURN '{}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION list_searches, one_search, save_search, change_search, delete_search TO observ_hub;

-- ==== 65-payload: what a post of a server may hold, and the rows that it becomes ===============
-- A payload becomes
-- * one row of vps_metrics. Names that are no column, and all else that is not named below, are kept in
--   details.payload: the state of containers and the score belong to the moment of the sample, as the mounts
--   of an agent's sample do, and need no table before a page or a rule asks for them by column.
-- * rows of log_entries: the log lines; Docker's events under the logger "docker"; the client's own alerts
--   under "local_alert". These are things that happened at a time and that people search for by words, so the
--   log search, its retention and its export serve them at once. Their context is the object as it came.
--
-- Functions that only ingest() (66-ingest.sql) calls have no SET: they run with its search_path. To set it
-- anew costs about 4 us, and a post calls 25 of them.

-- ---- what a payload may hold -----------------------------------------------------------------------
-- The metrics, as clients may call them.
CREATE OR REPLACE FUNCTION metric_columns() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[
	-- made: strings
	'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m', 'load_avg_5m',
	'load_avg_15m', 'cpu_user_percent', 'cpu_system_percent', 'cpu_iowait_percent', 'cpu_steal_percent',
	'memory_total_mb', 'swap_percent', 'swap_mb', 'disk_total_gb', 'inode_percent', 'net_rx_bytes_per_s',
	'net_tx_bytes_per_s', 'disk_read_bytes_per_s', 'disk_write_bytes_per_s', 'tcp_connections',
	'psi_cpu_percent', 'psi_memory_percent', 'psi_io_percent', 'uptime_s', 'processes', 'cpu_count',
	'app_cpu_percent', 'app_memory_mb', 'app_restarts', 'app_processes'
	-- end of made
	];

-- Other names of metrics.
CREATE OR REPLACE FUNCTION metric_aliases() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{
	"ram_percent": "memory_percent",
	"cpu_usage": "cpu_percent",
	"memory_usage": "memory_percent",
	"disk_usage": "disk_percent",
	"network_rx_bytes_per_sec": "net_rx_bytes_per_s",
	"network_tx_bytes_per_sec": "net_tx_bytes_per_s"}'::jsonb;

-- Counters since boot, and the rate that two of them give.
CREATE OR REPLACE FUNCTION metric_counters() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{"net_bytes_sent": "net_tx_bytes_per_s", "net_bytes_recv": "net_rx_bytes_per_s"}'::jsonb;

-- A time: RFC 3339, UTC if it names no zone; or a number of seconds, milliseconds, microseconds or
-- nanoseconds since 1970, told apart by size. NULL: it is none, or not of this century or the next.
CREATE OR REPLACE FUNCTION ingest_time(p_value jsonb) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v text := p_value #>> '{}';
	n numeric;
	t timestamptz;
BEGIN
	IF jsonb_typeof(p_value) = 'number' AND abs((p_value)::numeric) < 1e19 THEN
		n := (p_value)::numeric;
		t := to_timestamp((n / CASE WHEN n < 1e11 THEN 1 WHEN n < 1e14 THEN 1000 WHEN n < 1e17
			THEN 1000000 ELSE 1000000000 END)::double precision);
	ELSIF jsonb_typeof(p_value) <> 'string' THEN
		RETURN NULL;
	ELSIF v ~ ('^20\d\d-(0[1-9]|1[0-2])-([01][1-9]|10|2[0-8])'
			'T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$') THEN
		RETURN v::timestamptz;
	ELSIF v ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?$' THEN
		v := translate(v, ',tz', '.TZ') || CASE WHEN v ~ '[Zz]$|[+-]\d\d:?\d\d$' THEN '' ELSE 'Z' END;
		BEGIN                                   -- it may be no date; this way of asking costs more
			t := v::timestamptz;
		EXCEPTION WHEN data_exception THEN
			RETURN NULL;
		END;
	END IF;
	RETURN CASE WHEN t >= '2000-01-01Z' AND t < '2200-01-01Z' THEN t END;
END
$$;

-- Whether a value is of a kind; one that is absent, or null, is of each. This and the functions that give
-- rows have no SET, so that PostgreSQL puts them in the place of their call: a plan of theirs would be made
-- anew for each post.
CREATE OR REPLACE FUNCTION ingest_fits(p_kind text,
	v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(v)
	WHEN 'null' THEN true
	WHEN 'number' THEN CASE p_kind WHEN 'percent' THEN v::numeric BETWEEN 0 AND 100
		WHEN 'amount' THEN v::numeric BETWEEN 0 AND 1e15 WHEN 'number' THEN abs(v::numeric) <= 1e15
		WHEN 'time' THEN ingest_time(v) IS NOT NULL ELSE false END
	WHEN 'string' THEN CASE p_kind WHEN 'text' THEN length(v #>> '{}') <= 1000
		WHEN 'time' THEN ingest_time(v) IS NOT NULL
		ELSE p_kind IN ('string', 'host', 'object, string') END
	WHEN 'array' THEN CASE p_kind WHEN 'load' THEN jsonb_array_length(v) = 3 AND NOT jsonb_path_exists(v,
			'$[*] ? (@.type() != "number" || @ < 0 || @ > 1e15)')
		ELSE p_kind IN ('array', 'logs') END
	WHEN 'object' THEN p_kind IN ('object', 'host', 'logs', 'object, string')
	ELSE v IS NULL END;

-- What is wrong with a value that is not of its kind, in words.
CREATE OR REPLACE FUNCTION ingest_fault(p_kind text, v jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_is text := CASE jsonb_typeof(v) WHEN 'number' THEN left(v::text, 40) WHEN 'object' THEN 'an object'
		WHEN 'array' THEN 'a list' WHEN 'string' THEN left(v::text, 40) ELSE v::text END;
BEGIN
	RETURN CASE p_kind
		WHEN 'percent' THEN format('is %s; write a number from 0 to 100', v_is)
		WHEN 'amount' THEN format('is %s; write a number from 0 to 1e15', v_is)
		WHEN 'number' THEN format('is %s; write a number', v_is)
		WHEN 'text' THEN format('is %s; write a string of at most 1000 characters', v_is)
		WHEN 'string' THEN format('is %s; write a string', coalesce(v_is, 'missing'))
		WHEN 'time' THEN format('is %s; write a time as 2026-11-30T06:00:00Z, or seconds since 1970',
			v_is)
		WHEN 'load' THEN 'must be the three load averages: [1.5, 1.2, 0.9]'
		WHEN 'host' THEN format('is %s; write the name of the host, or an object with hostname', v_is)
		WHEN 'logs' THEN format('is %s; write a list, or an object with systemd', v_is)
		WHEN 'array' THEN format('is %s; write a list', v_is)
		ELSE format('is %s; write an object', v_is) END;
END
$$;

-- The fields that are known, and of which kind they are.
CREATE OR REPLACE FUNCTION ingest_fields() RETURNS TABLE (field text, path text[], kind text)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	VALUES ('ts', '{ts}'::text[], 'time'), ('timestamp', '{timestamp}', 'time'), ('host', '{host}',
		'host'),
		('host.hostname', '{host,hostname}', 'text'), ('host.os', '{host,os}', 'text'),
		('host.os_release', '{host,os_release}', 'text'), ('host.machine', '{host,machine}', 'text'),
		('metrics', '{metrics}', 'object'), ('metrics.loadavg', '{metrics,loadavg}', 'load'),
		('docker', '{docker}', 'object'), ('docker.containers', '{docker,containers}', 'array'),
		('docker.events', '{docker,events}', 'array'), ('docker_events', '{docker_events}', 'array'),
		('logs', '{logs}', 'logs'), ('logs.systemd', '{logs,systemd}', 'object'),
		('local_alerts', '{local_alerts}', 'array'), ('score', '{score}', 'number'),
		('server_id', '{server_id}', 'text'), ('env', '{env}', 'text'), ('owner_team', '{owner_team}',
			'text');
END;

-- The kind of a metric, by the name of its column.
CREATE OR REPLACE FUNCTION metric_kind(p_column text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_column LIKE '%\_percent' AND p_column <> 'app_cpu_percent' THEN 'percent'
	ELSE 'amount' END;

-- The elements of a list. What is no list has none.
CREATE OR REPLACE FUNCTION elements(p_list jsonb) RETURNS TABLE (item jsonb, place bigint)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT e, i - 1 FROM jsonb_array_elements(CASE jsonb_typeof(p_list) WHEN 'array' THEN p_list END)
		WITH ORDINALITY v(e, i);
END;

CREATE OR REPLACE FUNCTION members(p_object jsonb) RETURNS TABLE (name text, item jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT k, v FROM jsonb_each(CASE jsonb_typeof(p_object) WHEN 'object' THEN p_object END) e(k, v);
END;

-- What is wrong with the items of lists: each field of which kind, and its value.
CREATE OR REPLACE FUNCTION ingest_items(p jsonb) RETURNS TABLE (field text, kind text, value jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT format('%s[%s]%s', l.name, i.place, '.' || f.name), f.kind,
		CASE WHEN f.name IS NULL THEN i.item ELSE i.item->f.name END
	FROM (VALUES ('docker_events', p->'docker_events', 'things'),
			('docker.events', p #> '{docker,events}', 'things'),
			('docker.containers', p #> '{docker,containers}', 'things'),
			('local_alerts', p->'local_alerts', 'things'), ('logs', p->'logs', 'lines')) l(name,
				list, of)
		CROSS JOIN LATERAL elements(l.list) i
		JOIN (VALUES ('things', NULL, 'object, string'), ('things', 'timestamp', 'time'),
			('lines', NULL, 'object'), ('lines', 'message', 'string'), ('lines', 'timestamp',
				'time'),
			('lines', 'container', 'text')) f(of, name, kind) ON f.of = l.of
	WHERE f.name IS NULL OR jsonb_typeof(i.item) = 'object' AND (i.item ? f.name OR f.kind = 'string')
	UNION ALL SELECT format('logs.systemd.%s', u.name), 'array', u.item
		FROM members(p #> '{logs,systemd}') u
	UNION ALL SELECT format('logs.systemd.%s[%s]', u.name, i.place), 'string', i.item
	FROM members(p #> '{logs,systemd}') u CROSS JOIN LATERAL elements(u.item) i;
END;

-- All that is wrong with a payload: [{"field": ..., "message": ...}], at most 20.
CREATE OR REPLACE FUNCTION ingest_faults(p jsonb, p_vps text, p_at timestamptz,
	p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v jsonb;
BEGIN
	IF jsonb_typeof(p) IS DISTINCT FROM 'object' THEN
		RETURN field_error(true, '', 'must be an object');
	END IF;
	SELECT jsonb_agg(jsonb_build_object('field', left(f.field, 200), 'message', coalesce(f.message,
		ingest_fault(f.kind, f.value)))) INTO v FROM (
		SELECT field, kind, p #> path AS value, NULL AS message FROM ingest_fields()
			WHERE NOT ingest_fits(kind, p #> path)
		UNION ALL SELECT 'metrics.' || name, metric_kind(c), item, NULL
			FROM members(p->'metrics'), LATERAL (SELECT coalesce(metric_aliases()->>name,
				name)) a(c)
			WHERE (c = ANY (metric_columns()) OR metric_counters() ? name)
				AND NOT ingest_fits(metric_kind(c), item)
		UNION ALL SELECT *, NULL FROM ingest_items(p) i
			WHERE NOT ingest_fits(i.kind, i.value) OR i.kind <> 'time' AND i.kind <> 'text'
				AND coalesce(i.value, 'null') = 'null'
		UNION ALL SELECT 'timestamp', NULL, NULL, 'is missing; write ts or timestamp'
			WHERE coalesce(p->'ts', 'null') = 'null' AND coalesce(p->'timestamp', 'null') = 'null'
		UNION ALL SELECT 'metrics', NULL, NULL,
			'is missing; write an object, {} if nothing was measured'
			WHERE coalesce(p->'metrics', 'null') = 'null'
		UNION ALL SELECT 'timestamp', NULL, NULL,
			'lies more than a day ahead: the clock of the client is wrong'
			WHERE p_at > p_now + interval '1 day'
		UNION ALL SELECT 'server_id', NULL, NULL, 'is the server_id of another server'
			WHERE CASE WHEN p->>'server_id' <> server_id(p_vps)::text THEN EXISTS (SELECT
				FROM servers
				WHERE server_id(vps_name) = as_uuid(p->>'server_id')) END
		LIMIT 20) f;
	RETURN coalesce(v, '[]');
END
$$;

-- ---- the rows of a payload ---------------------------------------------------------------------------
-- Its metrics: {column: value}. A name of the database goes before an alias of it.
CREATE OR REPLACE FUNCTION ingest_metrics(p jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v jsonb;
BEGIN
	SELECT jsonb_object_agg(c, value ORDER BY c = key) INTO v
		FROM jsonb_each(p->'metrics') m, LATERAL (SELECT coalesce(metric_aliases()->>key, key)) a(c)
		WHERE value <> 'null' AND c = ANY (metric_columns());
	IF jsonb_typeof(p #> '{metrics,loadavg}') = 'array' THEN
		v := jsonb_build_object('load_avg_1m', p #> '{metrics,loadavg,0}',
			'load_avg_5m', p #> '{metrics,loadavg,1}',
			'load_avg_15m', p #> '{metrics,loadavg,2}') || coalesce(v, '{}');
	END IF;
	RETURN coalesce(v, '{}');
END
$$;

-- What of it becomes neither a column nor a row nor a part of the agent's state, under its own names.
CREATE OR REPLACE FUNCTION ingest_kept(p jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_kept jsonb := jsonb_strip_nulls(
		p - '{ts,timestamp,metrics,host,docker,docker_events,logs,local_alerts}'::text[]);
	v jsonb;
BEGIN
	v := (p->'metrics') - (metric_columns() || '{loadavg,ram_percent,cpu_usage,memory_usage,disk_usage,'
		'network_rx_bytes_per_sec,network_tx_bytes_per_sec,net_bytes_sent,net_bytes_recv}'::text[]);
	IF v <> '{}' THEN
		v_kept := v_kept || jsonb_build_object('metrics', v);
	END IF;
	FOR i IN 1..3 LOOP
		v := p->(('{docker,host,logs}'::text[])[i]);
		IF jsonb_typeof(v) = 'object' THEN
			v := v - CASE i WHEN 1 THEN '{events}'::text[]
				WHEN 2 THEN '{hostname,os,os_release,machine}'::text[]
					ELSE '{systemd}'::text[] END;
			IF v <> '{}' THEN
				v_kept := v_kept || jsonb_build_object(('{docker,host,logs}'::text[])[i], v);
			END IF;
		END IF;
	END LOOP;
	RETURN v_kept;
END
$$;

-- The level of a client's word for it. NULL: not known.
CREATE OR REPLACE FUNCTION ingest_level(p_word text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_word ~* '^(crit|fatal|emerg|alert|panic|page|disaster)' THEN 'CRITICAL'
	WHEN p_word ~* '^(err|high|severe|major|fail)' THEN 'ERROR'
	WHEN p_word ~* '^(warn|medium|minor)' THEN 'WARNING'
	WHEN p_word ~* '^(info|notice|low|ok|resolved)' THEN 'INFO'
	WHEN p_word ~* '^debug' THEN 'DEBUG' END;

-- Docker's events as lines, in the words of `docker events`, of the engine's API or of a client.
CREATE OR REPLACE FUNCTION ingest_events(p_list jsonb, p_at timestamptz)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT coalesce(ingest_time(item->'timestamp'), ingest_time(item->'timeNano'),
			ingest_time(item->'time'), p_at),
		CASE WHEN action ~ '^oom' THEN 'ERROR'
			WHEN action ~ '^(kill|health_status: unhealthy)'
				OR action ~ '^die' AND coalesce(code, '') <> '0' THEN 'WARNING'
			ELSE 'INFO' END,
		'docker', coalesce(nullif(concat_ws(' ', type, action, name, '(' || image || ')'), ''),
			item #>> '{}'),
		CASE jsonb_typeof(item) WHEN 'object' THEN item END
	FROM elements(p_list), LATERAL (SELECT
		coalesce(item->>'type', item->>'Type') AS type,
		coalesce(item->>'action', item->>'Action', item->>'status') AS action,
		coalesce(item->>'container', item #>> '{Actor,Attributes,name}', item->>'name',
			item->>'id') AS name,
		coalesce(item->>'image', item #>> '{Actor,Attributes,image}', item->>'from') AS image,
		coalesce(item->>'exitCode', item #>> '{Actor,Attributes,exitCode}') AS code) e;
END;

-- The alerts that the client raised itself.
CREATE OR REPLACE FUNCTION ingest_alerts(p_list jsonb, p_at timestamptz)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT coalesce(ingest_time(item->'timestamp'), p_at),
		coalesce(ingest_level(coalesce(item->>'severity', item->>'level')), 'WARNING'), 'local_alert',
		coalesce(nullif(coalesce(item->>'message', item->>'msg', item->>'title', item->>'name',
			item->>'rule', item->>'type', item #>> '{}'), ''), 'alert'),
		CASE jsonb_typeof(item) WHEN 'object' THEN item END
	FROM elements(p_list);
END;

-- Its log lines, as the hub has read them: [place in the list or null, logger, microseconds since 1970,
-- level, message, context or null]. What the item says besides joins the context of its line.
CREATE OR REPLACE FUNCTION ingest_lines(p_list jsonb, p_lines jsonb)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT from_us(greatest(946684800000000, least(7258118399000000, (l->>2)::bigint))),
		('{TRACE,DEBUG,INFO,WARNING,ERROR,CRITICAL}'::text[])[(l->>3)::int + 1],
		left(l->>1, 1000), l->>4,
		CASE WHEN beside IS NULL OR beside = '{}' THEN nullif(own, '{}')
			WHEN own ?| ARRAY(SELECT jsonb_object_keys(beside))
				THEN own || jsonb_build_object('item', beside)
			ELSE own || beside END
	FROM jsonb_array_elements(p_lines) l,
		LATERAL (SELECT coalesce(nullif(l->5, 'null'), '{}') AS own,
			CASE WHEN l->>0 IS NOT NULL THEN jsonb_strip_nulls(p_list->(l->>0)::int)
				- '{message,timestamp}'::text[] END AS beside) c;
END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION metric_columns, rollup_columns TO observ_hub;
-- ==== 66-ingest: servers that post over HTTP: their posts, once each, and their releases =======
-- A server that posts is a server like any other. Its row in `agents` has the application "host", or the name
-- that the server was given as job_name.
--
-- A post arrives once: the id of its metrics row is made of its content, so the table's own key refuses the
-- second one. An Idempotency-Key gives the same answer for a day.

-- The answers of a day. maintain() deletes older ones.
CREATE TABLE IF NOT EXISTS ingest_keys (
	vps_name text NOT NULL,
	key text NOT NULL,
	content bigint NOT NULL,                        -- hash of the payload
	answer jsonb NOT NULL,
	made_at timestamptz NOT NULL,
	PRIMARY KEY (vps_name, key)
);
CREATE OR REPLACE FUNCTION max_post_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1048576;
CREATE OR REPLACE FUNCTION max_key_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 255;
-- A post that is older than this on arrival was held back: an outage, not the network.
CREATE OR REPLACE FUNCTION late_after(p_interval_s int) RETURNS interval LANGUAGE sql IMMUTABLE
RETURN make_interval(secs => greatest(300, 3.0 * coalesce(p_interval_s, 60)));

-- ---- the post ----------------------------------------------------------------------------------------
INSERT INTO limit_policy VALUES ('ingest', 600, '1 minute') ON CONFLICT DO NOTHING;

-- The server that a token belongs to.
CREATE OR REPLACE FUNCTION server_of_token(p_token bytea, p_now timestamptz) RETURNS servers
LANGUAGE plpgsql STABLE AS $$
DECLARE
	s servers;
BEGIN
	SELECT v.* INTO s FROM server_tokens t JOIN servers v USING (vps_name)
		WHERE token_hash = sha256(p_token) AND valid_until > p_now;
	IF NOT FOUND THEN
		PERFORM refuse(401, 'This is no token of a server, or it was revoked or replaced.');
	ELSIF NOT s.is_active THEN
		PERFORM refuse(403, format('Server "%s" is not active: its posts are refused.', s.vps_name));
	END IF;
	RETURN s;
END
$$;

-- For the hub, before it reads a large post: refuses what ingest() would refuse for its token.
CREATE OR REPLACE FUNCTION admit_server(p_token bytea) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM server_of_token(p_token, clock_timestamp());
	RETURN json_build_object('ok', true);
END
$$;

-- A refusal undoes all that its transaction did, its count as well, so the hub counts it behind the refusal:
-- for the user or the server whose session or token was shown, or for the address that wants to enroll.
-- Nobody else can be charged, so nobody can use up another's limit. Being over the limit is an answer here.
CREATE OR REPLACE FUNCTION charge_refusal(p_hash bytea, p_kind text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_key text;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	v_key := CASE p_kind WHEN 'write' THEN (SELECT user_id::text FROM asking(p_hash, 'viewer'))
		WHEN 'ingest' THEN (server_of_token(p_hash, clock_timestamp())).vps_name
		WHEN 'enroll' THEN address_key(request_address()) END;
	PERFORM take(p_kind, v_key) WHERE v_key IS NOT NULL;
	RETURN true;
EXCEPTION WHEN SQLSTATE 'OB429' THEN
	RETURN false;
END
$$;

-- The row of the application as which a server posts, locked.
CREATE OR REPLACE FUNCTION lock_poster(p_vps text, p_app text, p_now timestamptz) RETURNS agents
LANGUAGE plpgsql AS $$
DECLARE
	a agents;
BEGIN
	LOOP
		SELECT * INTO a FROM agents WHERE vps_name = p_vps AND app_name = p_app FOR UPDATE;
		IF FOUND THEN
			RETURN a;
		END IF;
		INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at)
			VALUES (p_vps, p_app, 0, p_now, p_now) ON CONFLICT (vps_name, app_name) DO NOTHING;
	END LOOP;
END
$$;

-- The answer that a key got before, within a day. The same key with another payload is a mistake.
CREATE OR REPLACE FUNCTION answered(p_vps text, p_key text, p_content bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	k ingest_keys;
BEGIN
	IF octet_length(p_key) > max_key_bytes() THEN
		PERFORM refuse(400, format('The Idempotency-Key has %s bytes; at most %s are taken.',
			octet_length(p_key), max_key_bytes()));
	END IF;
	SELECT * INTO k FROM ingest_keys
		WHERE vps_name = p_vps AND key = p_key AND made_at > p_now - interval '1 day';
	IF k.content <> p_content THEN
		PERFORM refuse(422,
			'This Idempotency-Key came with another payload before; write a new key.');
	END IF;
	RETURN k.answer;
END
$$;

-- NULL: it is no address.
CREATE OR REPLACE FUNCTION address_of(p_text text) RETURNS inet
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN nullif(p_text, '')::inet;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN NULL;
END
$$;

-- The identity of a payload within its server and time. It is negative: sequences give positive ids.
CREATE OR REPLACE FUNCTION content_id(p jsonb) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
 AS $$
BEGIN
	RETURN ('x' || encode(substr(sha256(convert_to(p::text, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
		| (1::bigint << 63);
END
$$;

-- The counters of a payload, with their time; NULL: it has none.
CREATE OR REPLACE FUNCTION ingest_counters(p_metrics jsonb, p_at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE WHEN p_metrics ?| '{net_bytes_sent,net_bytes_recv}' THEN jsonb_build_object('at', p_at,
	'net_bytes_sent', p_metrics->'net_bytes_sent', 'net_bytes_recv', p_metrics->'net_bytes_recv') END;

-- The rates of counters that grew since an earlier post: {column: bytes per second}. One that went back gives
-- none.
CREATE OR REPLACE FUNCTION ingest_rates(p_now jsonb, p_before jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_gap_s double precision := extract(epoch
		FROM ingest_time(p_now->'at') - ingest_time(p_before->'at'));
	v_rates jsonb := '{}';
	c record;
BEGIN
	IF v_gap_s IS NULL OR v_gap_s <= 0 OR v_gap_s > 86400 THEN
		RETURN v_rates;
	END IF;
	FOR c IN SELECT value #>> '{}' AS rate, (nullif(p_now->key, 'null'))::double precision AS now,
			(nullif(p_before->key, 'null'))::double precision AS before
				FROM jsonb_each(metric_counters()) LOOP
		IF c.now >= c.before THEN
			v_rates := v_rates || jsonb_build_object(c.rate, (c.now - c.before) / v_gap_s);
		END IF;
	END LOOP;
	RETURN v_rates;
END
$$;

-- Of a server that posts, the number of its last batch is the time of its newest post, in microseconds.
CREATE OR REPLACE FUNCTION post_seq(p_at timestamptz) RETURNS bigint LANGUAGE sql STABLE
RETURN (extract(epoch FROM p_at) * 1000000)::bigint;

-- The agent's row after a post. Its interval is the time between two posts; an outage must not make it
-- long, so it grows threefold at most. What a post does not tell stays as it was. A post that is older than
-- the newest one only shows that the server is there.
CREATE OR REPLACE FUNCTION note_post(a agents, p jsonb, p_at timestamptz, p_gap_s double precision,
	p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_host jsonb := p->'host';
	v_state jsonb;
BEGIN
	IF p_gap_s < 0 THEN
		UPDATE agents SET last_seen_at = p_now, retired_at = NULL
			WHERE vps_name = a.vps_name AND app_name = a.app_name;
		RETURN;
	END IF;
	v_state := coalesce(a.state, '{}') || jsonb_strip_nulls(jsonb_build_object('source', 'http',
		'os', v_host->'os', 'os_release', v_host->'os_release', 'machine', v_host->'machine',
		'environment', p->'env', 'team', p->'owner_team', 'score', p->'score',
		'local_alerts', report_size(p, 'local_alerts'),
		'counters', ingest_counters(p->'metrics', p_at)));
	a.host := left(CASE jsonb_typeof(v_host) WHEN 'object' THEN v_host->>'hostname'
		ELSE v_host #>> '{}' END, 200);
	a.address := address_of(current_setting('observ.address', true));
	a.version := left(p->>'agent_version', 200);
	a.skew_ms := greatest(0, round(extract(epoch FROM p_at - p_now) * 1000));
	IF p_gap_s > 0 THEN
		a.interval_s := greatest(1, least(86400, round(least(p_gap_s, 3.0 * a.interval_s))));
	END IF;
	IF v_state = a.state THEN               -- else the columns that are made of it are computed again
		UPDATE agents SET last_seen_at = p_now, last_seq = post_seq(p_at), retired_at = NULL,
			interval_s = a.interval_s, skew_ms = a.skew_ms, host = a.host, address = a.address,
			version = a.version WHERE vps_name = a.vps_name AND app_name = a.app_name;
	ELSE
		UPDATE agents SET last_seen_at = p_now, last_seq = post_seq(p_at), retired_at = NULL,
			interval_s = a.interval_s, skew_ms = a.skew_ms, host = a.host, address = a.address,
			version = a.version, state = v_state
			WHERE vps_name = a.vps_name AND app_name = a.app_name;
	END IF;
END
$$;

-- The rows of its lists. Their offsets give the order in which they came. All are made before the first is
-- written: Citus is busy with a row on its way, and ingest_time() wants a savepoint.
CREATE OR REPLACE FUNCTION ingest_logs(a agents, p jsonb, p_lines jsonb, p_at timestamptz, p_now timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v_offset bigint := extract(epoch FROM p_at) * 1000000;
	l record;
BEGIN
	SELECT count(*) AS n, array_agg(at) AS at, array_agg(level) AS level, array_agg(logger) AS logger,
			array_agg(message) AS message, array_agg(context) AS context INTO l
		FROM (SELECT * FROM ingest_lines(p->'logs', p_lines)
			UNION ALL SELECT * FROM ingest_events(p->'docker_events', p_at)
			UNION ALL SELECT * FROM ingest_events(p #> '{docker,events}', p_at)
			UNION ALL SELECT * FROM ingest_alerts(p->'local_alerts', p_at)) x;
	IF l.n > 0 THEN
		INSERT INTO log_entries ("timestamp", vps_name, app_name, level, logger, message, context,
				stream_id, stream_offset, received_at)
			SELECT x.at, a.vps_name, a.app_name, x.level, x.logger, x.message, x.context,
				('x' || left(md5(coalesce(x.logger, '')), 15))::bit(60)::bigint,
				v_offset + x.n, p_now
			FROM unnest(l.at, l.level, l.logger, l.message, l.context) WITH ORDINALITY
				x(at, level, logger, message, context, n);
		INSERT INTO pattern_queue (vps_name, app_name, received_at, levels, times, messages)
			SELECT a.vps_name, a.app_name, p_now,
				array_agg(array_position('{WARNING,ERROR,CRITICAL}'::text[], x.level) + 2),
				array_agg(x.at), array_agg(left(x.message, 1000))
			FROM unnest(l.at, l.level, l.message) x(at, level, message)
			WHERE x.level IN ('WARNING', 'ERROR', 'CRITICAL') HAVING count(*) > 0;
	END IF;
	RETURN l.n;
END
$$;

-- Its row of vps_metrics; false: the row is there already. (In INSERT ... SELECT Citus would count such a
-- row.)
CREATE OR REPLACE FUNCTION ingest_sample(a agents, p_metrics jsonb, p_kept jsonb, p_content bigint,
	p_at timestamptz, p_late boolean, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	r vps_metrics := jsonb_populate_record(NULL::vps_metrics, p_metrics
		|| jsonb_build_object('id', p_content, 'timestamp', p_at, 'vps_name', a.vps_name,
			'app_name', a.app_name, 'backfill', p_late, 'received_at', p_now)
		|| CASE p_kept WHEN '{}' THEN '{}' ELSE jsonb_build_object('details',
			jsonb_build_object('payload', p_kept)) END);
BEGIN
	INSERT INTO vps_metrics VALUES (r.*) ON CONFLICT DO NOTHING;
	RETURN FOUND;
END
$$;

-- The labels that a server's posts name, until somebody sets others.
CREATE OR REPLACE FUNCTION label_poster(s servers, p jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_told jsonb := jsonb_strip_nulls(jsonb_build_object('environment', left(nullif(p->>'env', ''), 200),
		'team', left(nullif(p->>'owner_team', ''), 200)));
BEGIN
	IF NOT s.labels ?& ARRAY(SELECT jsonb_object_keys(v_told)) THEN
		UPDATE servers SET labels = v_told || labels WHERE vps_name = s.vps_name;
	END IF;
END
$$;

-- The newest sample of the poster: see 32-latest.
CREATE OR REPLACE FUNCTION keep_posted(a agents, p_metrics jsonb, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep_sample(a.vps_name, a.app_name, jsonb_build_array((extract(epoch
		FROM p_at) * 1000000)::bigint,
		NULL, NULL) || (SELECT jsonb_agg(p_metrics->c ORDER BY n)
		FROM unnest(metric_columns()) WITH ORDINALITY v(c, n)));
END
$$;

-- Takes a payload of either form, whose log lines the hub has read: see ingest_lines(). The answer tells what
-- became of it.
CREATE OR REPLACE FUNCTION ingest(p_token bytea, p_body jsonb, p_key text DEFAULT NULL,
	p_lines jsonb DEFAULT '[]') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	s servers := server_of_token(p_token, v_now);
	a agents;
	v_at timestamptz := ingest_time(coalesce(nullif(p_body->'ts', 'null'), p_body->'timestamp'));
	v_content bigint := content_id(p_body);
	v_key text := p_key;
	v_metrics jsonb;
	v_kept jsonb;
	v_gap_s double precision;
	v_answer jsonb;
	v_new boolean := true;
BEGIN
	PERFORM take('ingest', s.vps_name), refuse_errors(ingest_faults(p_body, s.vps_name, v_at, v_now));
	v_metrics := ingest_metrics(p_body);
	v_kept := ingest_kept(p_body);
	IF v_metrics = '{}' AND v_kept = '{}' THEN      -- it makes no sample, whose key would know it again
		v_key := coalesce(p_key, concat(E'\x01', v_at, v_content));
	END IF;
	a := lock_poster(s.vps_name, coalesce(s.job_name, 'host'), v_now);
	v_answer := answered(a.vps_name, v_key, v_content, v_now);
	IF v_answer IS NOT NULL THEN
		RETURN v_answer;
	END IF;
	v_gap_s := CASE WHEN a.last_seq > post_seq('2000-01-01Z')
		THEN (post_seq(v_at) - a.last_seq) / 1e6 END;
	IF a.state ? 'counters' THEN
		v_metrics := v_metrics || ingest_rates(ingest_counters(p_body->'metrics', v_at),
			a.state->'counters');
	END IF;
	v_answer := jsonb_build_object('status', 'ok', 'server', a.vps_name, 'server_id',
		server_id(a.vps_name),
		'app', a.app_name, 'timestamp', v_at, 'received_at', v_now,
		'backfill', v_at < v_now - late_after(a.interval_s),
		'metrics', (SELECT count(*) FROM jsonb_object_keys(v_metrics)), 'logs', 0, 'duplicate',
			false);
	IF v_metrics <> '{}' OR v_kept <> '{}' THEN
		v_new := ingest_sample(a, v_metrics, v_kept, v_content, v_at,
			(v_answer->'backfill')::boolean, v_now);
	END IF;
	IF v_new THEN
		v_answer := v_answer || jsonb_build_object('logs', ingest_logs(a, p_body, p_lines, v_at,
			v_now));
		PERFORM note_post(a, p_body, v_at, v_gap_s, v_now);
		IF p_body ?| '{env,owner_team}' THEN
			PERFORM label_poster(s, p_body);
		END IF;
		IF v_metrics <> '{}' AND coalesce(v_gap_s >= 0, true) THEN
			PERFORM keep_posted(a, v_metrics, v_at);
		END IF;
	ELSE
		v_answer := v_answer || '{"metrics": 0, "duplicate": true}';
	END IF;
	IF v_key IS NOT NULL THEN
		INSERT INTO ingest_keys VALUES (a.vps_name, v_key, v_content, v_answer, v_now)
			ON CONFLICT (vps_name, key) DO UPDATE SET content = excluded.content,
				answer = excluded.answer, made_at = excluded.made_at;
	END IF;
	RETURN v_answer;
END
$$;

-- ---- releases ----------------------------------------------------------------------------------------
-- A release of an application, as templates/deploy-hook.sh tells it.
CREATE TABLE IF NOT EXISTS deploys (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	release text NOT NULL,
	note text,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);
GRANT SELECT ON deploys TO observ_hub, observ_watch;

-- {"app", "release", "note"?, "timestamp"?} of the server whose token it is.
CREATE OR REPLACE FUNCTION record_deploy(p_token bytea, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	s servers := server_of_token(p_token, v_now);
	v_at timestamptz := coalesce(ingest_time(p_body->'timestamp'), v_now);
BEGIN
	PERFORM take('ingest', s.vps_name), refuse_errors(
		unknown_fields(p_body, '{app,release,note,timestamp}')
		|| field_error(jsonb_typeof(p_body->'app') IS DISTINCT FROM 'string'
			OR NOT fits_name(p_body->>'app'), 'app', 'must be the name of an application')
		|| field_error(jsonb_typeof(p_body->'release') IS DISTINCT FROM 'string'
			OR length(p_body->>'release') > 200, 'release',
				'must be a string of at most 200 characters')
		|| field_error(NOT ingest_fits('text', p_body->'note'), 'note',
			'must be a string of at most 1000 characters')
		|| field_error(NOT ingest_fits('time', p_body->'timestamp'), 'timestamp',
			'must be a time as 2026-11-30T06:00:00Z'));
	INSERT INTO deploys ("timestamp", vps_name, app_name, release, note)
		VALUES (v_at, s.vps_name, p_body->>'app', p_body->>'release', p_body->>'note');
	RETURN jsonb_build_object('status', 'ok', 'server', s.vps_name, 'app', p_body->>'app',
		'release', p_body->>'release', 'timestamp', v_at);
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION charge_refusal TO observ_hub;
GRANT EXECUTE ON FUNCTION admit_server, ingest, record_deploy TO observ_hub;
-- ==== 69-matchers: which matchers are accepted ====================================================
-- A matcher is {"label", "op", "value"}; op is one of = != =~ !~. labels_match() judges a list of them.
--
-- The syntax of expressions is what RE2 and PostgreSQL share. PostgreSQL matches in linear time what has no
-- back reference and no look-around; the limits below bound the time it takes to compile.
CREATE OR REPLACE FUNCTION max_matchers() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 50;
CREATE OR REPLACE FUNCTION max_regex_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 256;
CREATE OR REPLACE FUNCTION max_regex_repeats() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2000;

-- An anchored expression of PostgreSQL. Of the flags of RE2 only a leading (?i) or (?s) is known.
CREATE OR REPLACE FUNCTION anchored(p_regex text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '***:' || CASE WHEN p_regex ~ '^\(\?s?is?\)' THEN '(?i)' ELSE '' END || '^(?:' ||
	regexp_replace(regexp_replace(p_regex, '^\(\?[is]{1,2}\)', ''), '((?:^|[^\\])(?:\\\\)*)\\b', '\1\\y',
		'g') || ')$';

-- Why an expression is refused, as the end of a sentence; NULL if it is not.
CREATE OR REPLACE FUNCTION regex_problem(p_regex text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	v_plain CONSTANT text := replace(regexp_replace(p_regex, '^\(\?[is]{1,2}\)', ''), '\\', '');
	v_repeats numeric := 1;
	n text;
BEGIN
	IF length(p_regex) > observ.max_regex_chars() THEN
		RETURN format('is longer than %s characters', observ.max_regex_chars());
	ELSIF v_plain ~ '\(\?[^:]|\\[1-9]' THEN
		RETURN 'has a back reference, a look-around, a name or a flag inside; none is supported';
	END IF;
	FOR n IN SELECT (regexp_matches(v_plain, '\{(?:[0-9]*,)?([0-9]+),?\}', 'g'))[1] LOOP
		v_repeats := v_repeats * greatest(left(n, 9)::numeric, 1);
	END LOOP;
	IF v_repeats > observ.max_regex_repeats() THEN
		RETURN format('repeats its parts up to %s times; %s is the limit', v_repeats,
			observ.max_regex_repeats());
	END IF;
	PERFORM '' ~ observ.anchored(p_regex);
	RETURN NULL;
EXCEPTION WHEN invalid_regular_expression OR program_limit_exceeded THEN
	RETURN 'is not valid: ' || regexp_replace(sqlerrm, '^invalid regular expression: ', '');
END
$$;

-- Why a list of matchers is refused, as a sentence; NULL if it is not. Tables check with this, so that
-- labels_match() can judge each row.
CREATE OR REPLACE FUNCTION matchers_problem(p_match jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	m jsonb;
	v_problem text;
BEGIN
	IF p_match IS NULL OR jsonb_typeof(p_match) <> 'array' THEN
		RETURN 'Matchers are a list of {"label", "op", "value"}.';
	ELSIF jsonb_array_length(p_match) > observ.max_matchers() THEN
		RETURN format('There are more than %s matchers.', observ.max_matchers());
	END IF;
	FOR m IN SELECT jsonb_array_elements(p_match) LOOP
		IF jsonb_typeof(m) <> 'object' OR jsonb_typeof(m->'label') IS DISTINCT FROM 'string'
			OR jsonb_typeof(m->'value') IS DISTINCT FROM 'string' OR m->>'label' = '' THEN
			RETURN format('Matcher %s is not {"label", "op", "value"} with three texts.', m);
		ELSIF m->>'op' IN ('=', '!=', '=~', '!~') IS NOT true THEN
			RETURN format('Matcher of %s has the operator "%s"; it is one of = != =~ !~.',
				m->>'label', m->>'op');
		END IF;
		v_problem := CASE WHEN m->>'op' IN ('=~', '!~') THEN observ.regex_problem(m->>'value') END;
		IF v_problem IS NOT NULL THEN
			RETURN format('The expression "%s" of label %s %s.', m->>'value', m->>'label',
				v_problem);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION max_matchers, max_regex_chars, max_regex_repeats, anchored, regex_problem,
	matchers_problem TO observ_hub, observ_watch;

-- ==== 70-alerts: rules, the alerts they raise, and the messages about them: the tables ==========
-- A rule gives a value for each of its subjects (71-values.sql). alert_step() makes the next state of an
-- alert of its state, a value and a time, and evaluate_alerts() does that for all rules in one transaction
-- (72-engine.sql). What is firing goes to groups and from there to the outbox `notifications`
-- (74-notify.sql), which fleet_watch delivers. Time is a parameter of each function, never now().
--
-- Rules and alerts are few beside the facts: on Citus they stay on the coordinator.

-- A matcher is {"label", "op", "value"}; op is one of = != =~ !~. A list of them must match all. The labels
-- of a subject are its own (server, app, check, mount ...), those of its server, those of the rule, and rule
-- and severity.
CREATE TABLE IF NOT EXISTS alert_rules (
	rule_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	builtin text UNIQUE,                    -- the name of the default rule that it is
	kind text NOT NULL,                     -- a row of alert_kinds
	metric text,                            -- of the kinds that have one
	params jsonb NOT NULL DEFAULT '{}',     -- what only this kind knows: agg, window_s, ahead_s, sql ...
	match jsonb NOT NULL DEFAULT '[]',      -- matchers of the subjects that it judges
	op text NOT NULL DEFAULT '>' CHECK (op IN ('>', '>=', '<', '<=', '==', '!=')),
	warning float8,                         -- fires at this value; NULL: there is no such level
	warning_clear float8,                   -- ends beyond this one; NULL: beyond the same
	critical float8,
	critical_clear float8,
	for_s int NOT NULL DEFAULT 0 CHECK (for_s BETWEEN 0 AND 2592000),
	keep_firing_s int NOT NULL DEFAULT 0 CHECK (keep_firing_s BETWEEN 0 AND 2592000),
	no_data text NOT NULL DEFAULT 'keep' CHECK (no_data IN ('keep', 'ok', 'alert', 'own')),
	on_error text NOT NULL DEFAULT 'keep' CHECK (on_error IN ('keep', 'ok', 'alert', 'own')),
	interval_s int NOT NULL DEFAULT 60 CHECK (interval_s BETWEEN 1 AND 86400),
	lookback_s int NOT NULL DEFAULT 300 CHECK (lookback_s BETWEEN 1 AND 2592000),
	labels jsonb NOT NULL DEFAULT '{}',     -- added to the alert's
	summary text NOT NULL DEFAULT '',       -- a Mustache template
	runbook text NOT NULL DEFAULT '',       -- a URL
	channel_id uuid,                        -- goes there whatever the routes say
	repeat_s int CHECK (repeat_s BETWEEN 60 AND 2592000), -- NULL: as the route says
	is_active boolean NOT NULL DEFAULT true,
	version bigint NOT NULL DEFAULT 1,      -- the ETag
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT '',
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- An override: for subjects that match, these fields of the rule have other values. The first by position
-- counts. {"is_active": false} leaves the subjects out.
CREATE TABLE IF NOT EXISTS rule_patches (
	patch_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	rule_id uuid NOT NULL,
	position int NOT NULL DEFAULT 0,
	match jsonb NOT NULL,
	changes jsonb NOT NULL,                 -- {column: value}
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT ''
);
SELECT want_index('rule_patches_rule_id_idx', 'rule_patches (rule_id)') \g /dev/null

-- An alert from its first true condition on. A pending one that ends is deleted; one that fired stays as
-- history. At most one of a rule and subject is not resolved, whoever evaluates.
CREATE TABLE IF NOT EXISTS alerts (
	alert_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	rule_id uuid NOT NULL,
	subject_key uuid NOT NULL,              -- md5(subject)
	subject jsonb NOT NULL,                 -- {"server", "app", ...}: what the value is of
	labels jsonb NOT NULL,                  -- all, as matchers see them
	state text NOT NULL CHECK (state IN ('pending', 'firing', 'error', 'resolved')),
	severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
	active_since timestamptz NOT NULL,      -- the first evaluation with a true condition
	warning_since timestamptz,              -- the same of each level ...
	warning_fires boolean NOT NULL DEFAULT false,
	warning_clear_since timestamptz,        -- ... the first false one while it is kept firing
	critical_since timestamptz,
	critical_fires boolean NOT NULL DEFAULT false,
	critical_clear_since timestamptz,
	fired_at timestamptz,
	resolved_at timestamptz,
	resolve_reason text,                    -- clear, missing, rule, retired ...; NULL while it is not
	value float8,
	threshold float8,                       -- that the value is compared with
	problem text,                           -- why there is no value
	last_levels int NOT NULL DEFAULT 0,     -- of the last value: 1 warning + 2 critical
	missing int NOT NULL DEFAULT 0,         -- evaluations in a row without this subject
	evaluated_at timestamptz NOT NULL,      -- the last evaluation that changed this row
	acked_at timestamptz,
	acked_by text,
	ack_note text,
	muted_by text                           -- why it is quiet: flapping, offline, silence ID ...
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open_idx ON alerts (rule_id, subject_key) WHERE state <> 'resolved';
SELECT want_index('alerts_resolved_at_idx', 'alerts (resolved_at)'),
	want_index('alerts_fired_at_idx', 'alerts (rule_id, subject_key, fired_at)') \g /dev/null

-- Each change of an alert: the history that must be the same whoever evaluates, and when.
CREATE TABLE IF NOT EXISTS alert_changes (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL,                -- the time that was evaluated, not the clock
	rule_id uuid NOT NULL,
	alert_id uuid NOT NULL,
	subject_key uuid NOT NULL,
	from_state text NOT NULL,
	to_state text NOT NULL,
	severity text NOT NULL,
	value float8,
	reason text NOT NULL
);
SELECT want_index('alert_changes_alert_id_idx', 'alert_changes (alert_id)'),
	want_index('alert_changes_at_idx', 'alert_changes (at)') \g /dev/null

-- Where evaluation stands. evaluate_alerts() locks this row, so that two watchers take turns.
CREATE TABLE IF NOT EXISTS alert_clock (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	evaluated_until timestamptz,            -- each rule was evaluated at its times up to this one
	away_since timestamptz,                 -- an absence: until away_until nobody is judged
	away_until timestamptz,
	watcher text,                           -- who did it last
	took_ms float8
);
INSERT INTO alert_clock DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Rules whose last evaluation failed, and why. The rule of kind rule_error tells of them.
CREATE TABLE IF NOT EXISTS rule_problems (
	rule_id uuid PRIMARY KEY,
	problem text NOT NULL,
	since timestamptz NOT NULL              -- the first evaluation that failed
);

-- Rules that took too long. Each is judged by itself, after the others, until expires_at.
CREATE TABLE IF NOT EXISTS slow_rules (
	rule_id uuid PRIMARY KEY,
	rule_hash bigint NOT NULL,              -- of the rule: a change of it gives it a new chance
	due_at timestamptz,                     -- the time that it is still to be judged at
	tries int NOT NULL DEFAULT 0,           -- how often in a row it took too long by itself
	retry_at timestamptz NOT NULL DEFAULT '-infinity', -- until then it is not evaluated, and counts as
	problem text,                           -- failed: why
	expires_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS alert_policy (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	catch_up_s int NOT NULL DEFAULT 300     -- evaluations of so long are made up for; more is an absence
		CHECK (catch_up_s BETWEEN 1 AND 2592000),
	settle_s int NOT NULL DEFAULT 120       -- so long after an absence nobody is judged: two intervals
		CHECK (settle_s BETWEEN 0 AND 86400),
	grace_s int NOT NULL DEFAULT 600        -- a pending alert waits so long at least after an absence
		CHECK (grace_s BETWEEN 0 AND 86400),
	tolerance_s int NOT NULL DEFAULT 3600   -- after a longer absence alerts start anew
		CHECK (tolerance_s BETWEEN 0 AND 2592000),
	flap_count int NOT NULL DEFAULT 4       -- an alert that fires so often within flap_window_s flaps ...
		CHECK (flap_count BETWEEN 2 AND 100),
	flap_window_s int NOT NULL DEFAULT 3600 CHECK (flap_window_s BETWEEN 60 AND 86400),
	flap_quiet_s int NOT NULL DEFAULT 1800  -- ... until it has not changed for so long
		CHECK (flap_quiet_s BETWEEN 60 AND 86400)
);
INSERT INTO alert_policy DEFAULT VALUES ON CONFLICT DO NOTHING;

-- ---- messages ----------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS channels (
	channel_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	kind text NOT NULL,                     -- a row of channel_kinds
	settings jsonb NOT NULL DEFAULT '{}',   -- what may be shown: addresses, names
	secrets jsonb NOT NULL DEFAULT '{}',    -- only observ_watch reads them
	send_resolved boolean NOT NULL DEFAULT true,
	fallback_id uuid,                       -- the channel that is told when this one is disabled
	disabled_at timestamptz,
	disabled_reason text,                   -- the peer's permanent refusal, or who switched it off
	version bigint NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT ''
);

-- A tree: an alert enters at the root (parent_id is NULL) and goes down to the first child that matches, and
-- on to the next ones if that child says so. NULL: as the parent has it.
CREATE TABLE IF NOT EXISTS alert_routes (
	route_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	parent_id uuid,
	position int NOT NULL DEFAULT 0,
	match jsonb NOT NULL DEFAULT '[]' CHECK (matchers_problem(match) IS NULL),
	channels uuid[],
	group_by text[],                        -- {...}: by all labels
	group_wait_s float8 CHECK (group_wait_s >= 0),
	group_interval_s float8 CHECK (group_interval_s > 0),
	repeat_s float8 CHECK (repeat_s > 0),
	repeat_max_s float8,                    -- the delay doubles with each repeat, up to this one
	go_on boolean NOT NULL DEFAULT false,
	windows uuid[]                          -- quiet_windows in which it sends nothing
);
CREATE UNIQUE INDEX IF NOT EXISTS alert_routes_root_idx ON alert_routes ((true)) WHERE parent_id IS NULL;

CREATE TABLE IF NOT EXISTS inhibitions (
	inhibition_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL DEFAULT '',
	-- While an alert that matches the source fires ...
	source jsonb NOT NULL CHECK (matchers_problem(source) IS NULL),
	target jsonb NOT NULL CHECK (matchers_problem(target) IS NULL), -- ... these are quiet ...
	equal text[] NOT NULL DEFAULT '{}'      -- ... if these labels are the same
);

CREATE TABLE IF NOT EXISTS silences (
	silence_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	match jsonb NOT NULL CHECK (matchers_problem(match) IS NULL),
	starts_at timestamptz NOT NULL,
	ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
	comment text NOT NULL,
	created_by text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT now(),
	version bigint NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS quiet_windows (
	window_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	enabled boolean NOT NULL DEFAULT true,
	time_zone text NOT NULL,
	-- {}: every day
	days text[] NOT NULL DEFAULT '{}' CHECK (days <@ '{mon,tue,wed,thu,fri,sat,sun}'),
	start time NOT NULL,
	duration_s int NOT NULL CHECK (duration_s BETWEEN 1 AND 604800)
);

-- The alerts that go into one message: of a route, with the same values of its group_by labels. Alerts of a
-- rule with a channel of its own are apart, by channel_id.
CREATE TABLE IF NOT EXISTS alert_groups (
	group_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	route_id uuid NOT NULL,
	channel_id uuid,
	labels jsonb NOT NULL,
	flush_at timestamptz NOT NULL,
	flushed boolean NOT NULL DEFAULT false, -- it was once
	emptied_at timestamptz,                 -- its last alert is over
	UNIQUE NULLS NOT DISTINCT (route_id, channel_id, labels)
);
SELECT want_index('alert_groups_flush_at_idx', 'alert_groups (flush_at)') \g /dev/null

-- The members of a group. An alert that comes back within a group is the same member, so its key is made of
-- rule and subject. labels and channel_id are those that it was routed by.
CREATE TABLE IF NOT EXISTS group_alerts (
	group_id uuid,
	alert_key uuid,
	alert_id uuid NOT NULL,                 -- its last one
	labels jsonb NOT NULL,
	channel_id uuid,
	routed boolean NOT NULL DEFAULT true,   -- false: the routes lead elsewhere by now
	PRIMARY KEY (group_id, alert_key)
);
SELECT want_index('group_alerts_alert_id_idx', 'group_alerts (alert_id)') \g /dev/null

-- The last message about a group to a channel.
CREATE TABLE IF NOT EXISTS group_sent (
	group_id uuid,
	channel_id uuid,
	notification_id uuid,                   -- NULL: only "resolved" was due, which it does not want
	at timestamptz NOT NULL,
	repeats int NOT NULL DEFAULT 0,         -- how many in a row have said nothing new
	PRIMARY KEY (group_id, channel_id)
);

-- What a channel believes to be firing: it has got "firing", so "resolved" is owed.
CREATE TABLE IF NOT EXISTS group_told (
	group_id uuid,
	channel_id uuid,
	alert_key uuid,
	listed boolean NOT NULL,                -- in the last message
	critical boolean NOT NULL,
	flapping boolean NOT NULL,
	PRIMARY KEY (group_id, channel_id, alert_key)
);

-- Alerts that come and go too often. Only a long quiet ends that.
CREATE TABLE IF NOT EXISTS flapping (
	alert_key uuid PRIMARY KEY,
	since timestamptz NOT NULL
);

-- Where flush_groups() stands. It locks alert_clock.
CREATE TABLE IF NOT EXISTS notify_state (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	flushed_until timestamptz NOT NULL DEFAULT '-infinity',
	routes text                             -- the routes that the groups were made by
);

-- The outbox. Written in the transaction that changes the group; delivered by fleet_watch.
CREATE TABLE IF NOT EXISTS notifications (
	notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- the idempotency key that the peer sees
	channel_id uuid NOT NULL,
	group_id uuid,                          -- NULL: a test, or about a channel
	kind text NOT NULL CHECK (kind IN ('firing', 'resolved', 'test', 'channel')),
	content jsonb NOT NULL,                 -- all that a template needs: docs/alerts.md
	made_at timestamptz NOT NULL,
	not_before timestamptz NOT NULL,        -- of the next try
	attempts int NOT NULL DEFAULT 0,
	taken_until timestamptz,                -- a watcher is delivering it
	taken_by text,
	sent_at timestamptz,
	dead_at timestamptz,                    -- given up: a dead letter, ...
	replaced_by uuid,                       -- ... but if a later message says it again
	last_error text,
	progress jsonb NOT NULL DEFAULT '{}'    -- parts that the peer has accepted; its message id
);
SELECT want_index('notifications_open_idx',
		'notifications (not_before) WHERE sent_at IS NULL AND dead_at IS NULL'),
	want_index('notifications_made_at_idx', 'notifications (made_at)') \g /dev/null

-- ---- sources of their own ------------------------------------------------------------------------
-- A job that says each time that it ran. `schedule` is a line of cron, or NULL and every_s.
CREATE TABLE IF NOT EXISTS heartbeats (
	heartbeat_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	token_hash bytea UNIQUE,                -- of the URL that the job gets
	schedule text,
	every_s int CHECK (every_s BETWEEN 1 AND 31536000),
	time_zone text NOT NULL DEFAULT 'UTC',
	grace_s int NOT NULL DEFAULT 300 CHECK (grace_s BETWEEN 0 AND 2592000),
	labels jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	paused boolean NOT NULL DEFAULT false,
	CHECK ((schedule IS NULL) <> (every_s IS NULL))
);
CREATE TABLE IF NOT EXISTS heartbeat_pings (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	heartbeat_id uuid NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	kind text NOT NULL DEFAULT 'done' CHECK (kind IN ('start', 'done', 'failed')),
	note text
);
SELECT want_index('heartbeat_pings_at_idx', 'heartbeat_pings (heartbeat_id, at)') \g /dev/null

-- Messages without what differs from line to line. Written in the push transaction or by the watcher.
CREATE TABLE IF NOT EXISTS log_patterns (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	pattern_key uuid NOT NULL,              -- md5 of level and pattern
	level text NOT NULL,
	pattern text NOT NULL,
	first_at timestamptz NOT NULL,          -- by the lines' own times
	last_at timestamptz NOT NULL,
	first_received_at timestamptz NOT NULL, -- by the database's clock
	lines bigint NOT NULL,
	PRIMARY KEY (vps_name, app_name, pattern_key)
) WITH (fillfactor = 70);

-- ---- labels and matchers ---------------------------------------------------------------------------
-- Whether a label is what the matcher names, whether it asks for that or excludes it.
CREATE OR REPLACE FUNCTION label_is(p_op text, p_wanted text, p_have text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_op IN ('=', '!=') THEN p_have = p_wanted ELSE p_have ~ anchored(p_wanted) END;

-- A label that is missing counts as empty. A regular expression must match the whole value. A list is a set:
-- = and =~ ask whether one of it fits, != and !~ whether none is what they exclude.
CREATE OR REPLACE FUNCTION labels_match(p_match jsonb, p_labels jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_match = '[]' OR (SELECT bool_and(m->>'op' IN ('=', '!=', '=~', '!~')
		AND (m->>'op' IN ('=', '=~')) = CASE jsonb_typeof(v)
		WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements_text(v) e
			WHERE label_is(m->>'op', m->>'value', e))
		ELSE label_is(m->>'op', m->>'value', coalesce(v #>> '{}', '')) END)
	FROM jsonb_array_elements(p_match) m, LATERAL (SELECT p_labels -> (m->>'label')) l(v));

-- Labels as texts: the elements of a list are joined by commas.
CREATE OR REPLACE FUNCTION flat_labels(p_labels jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_labels IS NULL OR p_labels = '{}' THEN '{}' ELSE (
	SELECT coalesce(jsonb_object_agg(key, CASE jsonb_typeof(value) WHEN 'array'
		THEN (SELECT string_agg(e, ',') FROM jsonb_array_elements_text(value) e)
		ELSE value #>> '{}' END), '{}')
	FROM jsonb_each(p_labels) WHERE value <> 'null') END;

CREATE OR REPLACE FUNCTION server_labels(p_vps text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT flat_labels((SELECT labels FROM servers WHERE vps_name = p_vps))
$$;

-- What matchers of rules see of a subject: its own labels and those of its server.
CREATE OR REPLACE FUNCTION subject_labels(p_subject jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN server_labels(p_subject->>'server') || p_subject;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION labels_match, label_is, flat_labels, server_labels, subject_labels
	TO observ_hub, observ_watch;
GRANT SELECT ON alert_rules, rule_patches, rule_problems, slow_rules, alerts, alert_changes, alert_clock,
	alert_policy, alert_routes,
	inhibitions, silences, quiet_windows, alert_groups, group_alerts, group_sent, group_told,
	flapping, notify_state, notifications, heartbeat_pings,
	log_patterns
	TO observ_hub, observ_watch;
GRANT SELECT (channel_id, name, kind, settings, send_resolved, fallback_id, disabled_at, disabled_reason,
	version, created_at, created_by) ON channels TO observ_hub;
GRANT SELECT (heartbeat_id, name, schedule, every_s, time_zone, grace_s, labels, created_at, paused)
	ON heartbeats TO observ_hub, observ_watch;
GRANT SELECT ON channels TO observ_watch;

-- ==== 71-values: the kinds of rules, and the values that they give ==============================
-- rule_values() gives the value of each subject of a rule at a time. It is the half of the engine that reads
-- facts; alert_step() (72-engine.sql) is the half that decides. A rule reads rows by their own times and by
-- what had arrived: "timestamp" <= p_now and received_at <= p_now, never backfilled rows. So the same rows
-- give the same values at any later time. A row exactly on the left end of a window is inside.
--
-- Each kind is a query in text with the columns server, app, more (other labels), value and problem; $1 is
-- the time. alert_kinds says what a kind means, and docs/alerts.md is made from it.

-- A parameter is {"type", "default", "help"} with "min" and "max" of a number or "values" of a choice. Types:
-- integer, number, choice, flag, text, tree (of the log search), rule, list.
CREATE TABLE IF NOT EXISTS alert_kinds (
	kind text PRIMARY KEY,
	place int NOT NULL,                     -- in lists
	title text NOT NULL,
	meaning text NOT NULL,                  -- of the value
	unit text NOT NULL,                     -- of the value; metric: that of the metric
	subject text[] NOT NULL,                -- the labels of its subjects
	has_metric boolean NOT NULL,
	params jsonb NOT NULL,
	op text NOT NULL,                       -- the defaults of a rule of this kind
	no_data text NOT NULL,
	role text NOT NULL DEFAULT 'operator'   -- who may write such a rule
);
GRANT SELECT ON alert_kinds TO observ_hub, observ_watch;

INSERT INTO alert_kinds (place, kind, title, meaning, unit, subject, has_metric, op, no_data, params)
VALUES
(1, 'threshold', 'Metric beyond a threshold',
	'What agg makes of the samples of the metric in the window.', 'metric', '{server}', true,
	'>', 'keep', '{
	"agg": {"type": "choice", "default": "last", "values": ["last", "avg", "min", "max", "rate", "irate",
			"increase", "deriv", "changes", "resets", "predict"],
		"help": "What is made of the samples of the window."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 2592000,
		"help": "Length of the window; last has none."},
	"rows": {"type": "choice", "default": "all", "values": ["all", "5m", "1h"],
		"help": "Which rows: all samples, or the averages of 5 minutes or an hour, which cost less."},
	"ahead_s": {"type": "integer", "default": 86400, "min": 1, "max": 31536000,
		"help": "How far predict looks ahead."}}'),
(2, 'absent', 'Metric without samples',
	'1 if the newest sample of the metric is older than the look-back time, else 0.', '', '{server}',
	true, '>=', 'keep', '{}'),
(3, 'count_firing', 'Number of firing alerts', 'How many alerts of another rule are firing.', '', '{}',
	false, '>=', 'keep', '{
	"of_rule": {"type": "rule", "help": "That rule, by its id."}}'),
(4, 'anomaly', 'Metric unlike its past weeks',
	'How many standard deviations the average of the window is off the same hour of past weeks.', '',
	'{server}', true, '>', 'keep', '{
	"window_s": {"type": "integer", "default": 3600, "min": 60, "max": 86400,
		"help": "What is averaged."},
	"weeks": {"type": "integer", "default": 4, "min": 1, "max": 52,
		"help": "Weeks that it is held against."},
	"min_weeks": {"type": "integer", "default": 2, "min": 1, "max": 52,
		"help": "With fewer there is no value."},
	"floor_percent": {"type": "number", "default": 5, "min": 0, "max": 100,
		"help": "The deviation counts as this share of the mean at least."},
	"direction": {"type": "choice", "default": "above", "values": ["above", "below", "both"],
		"help": "Which way it must be off."}}'),
(5, 'check', 'Check fails',
	'Failures among the last results since the check recovered; -1 after recover successes in a row.',
	'failures', '{server,app,check}', false, '>=', 'keep', '{
	"of": {"type": "integer", "default": 3, "min": 1, "max": 100,
		"help": "So many results are looked at."},
	"recover": {"type": "integer", "default": 2, "min": 1, "max": 100,
		"help": "It recovers with so many successes in a row, if the rule clears at 0."}}'),
(6, 'check_slow', 'Check is slow', 'The percentile of the response times in the window.', 'ms',
	'{server,app,check}', false, '>', 'keep', '{
	"percent": {"type": "number", "default": 95, "min": 0, "max": 100, "help": "Which percentile."},
	"window_s": {"type": "integer", "default": 900, "min": 1, "max": 604800,
		"help": "Length of the window."},
	"min_results": {"type": "integer", "default": 5, "min": 1, "max": 10000,
		"help": "With fewer results there is no value."}}'),
(7, 'certificate', 'Certificate expires',
	'Days until the certificate of a check expires, or the share of its life that is left.', 'days',
	'{server,app,check}', false, '<', 'keep', '{
	"measure": {"type": "choice", "default": "days", "values": ["days", "life"],
		"help": "days, or life: percent of its life."},
	"life_days": {"type": "integer", "default": 42, "min": 0, "max": 36500,
		"help": "life judges the certificates that live shorter, days all others."}}'),
(8, 'agent_state', 'Agent is silent',
	'0 online, 1 stale (3 intervals), 2 offline (5 minutes, or 5 intervals).', 'state',
	'{server,app}', false, '>=', 'keep', '{}'),
(9, 'agent_silent', 'Silence of an agent', 'Seconds since the database last heard from the agent.', 's',
	'{server,app}', false, '>', 'keep', '{}'),
(10, 'fleet_silent', 'Silence of the whole fleet',
	'Seconds since the database last heard from any agent; 0 if there is one server only.', 's', '{}',
	false, '>', 'keep', '{}'),
(11, 'loss', 'Data was lost or refused', 'Lines and rows that were lost, or rows that the database refused.',
	'', '{server,app}', false, '>', 'keep', '{
	"what": {"type": "choice", "default": "gaps", "values": ["gaps", "rejects"],
		"help": "gaps: lost; rejects: refused."},
	"window_s": {"type": "integer", "default": 900, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(12, 'log_count', 'Number of log lines', 'How many lines of the window a query of the log search finds.',
	'lines', '{server,app}', false, '>', 'keep', '{
	"query": {"type": "text", "optional": true, "max": 1000,
		"help": "As in the log search; empty: all lines."},
	"tree": {"type": "tree", "optional": true, "help": "What the query means; the hub makes it."},
	"by": {"type": "choice", "default": "agent", "values": ["agent", "server", "application", "fleet"],
		"help": "What has a number of its own."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(13, 'log_share', 'Share of log lines', 'The share of the lines of the window that a query finds.', '%',
	'{server,app}', false, '>', 'keep', '{
	"query": {"type": "text", "max": 1000, "help": "As in the log search: level>=error."},
	"tree": {"type": "tree", "optional": true, "help": "What the query means; the hub makes it."},
	"by": {"type": "choice", "default": "agent", "values": ["agent", "server", "application", "fleet"],
		"help": "What has a share of its own."},
	"min_lines": {"type": "integer", "default": 20, "min": 1, "max": 1000000,
		"help": "Where there are fewer lines, the share is 0."},
	"window_s": {"type": "integer", "default": 300, "min": 1, "max": 604800,
		"help": "Length of the window."}}'),
(14, 'new_pattern', 'New error message',
	'Lines of a pattern that the application never logged before the window.', 'lines',
	'{server,app,level,pattern}', false, '>=', 'ok', '{
	"levels": {"type": "list", "default": ["ERROR", "CRITICAL"],
		"values": ["WARNING", "ERROR", "CRITICAL"],
		"help": "Levels of the lines."},
	"window_s": {"type": "integer", "default": 3600, "min": 60, "max": 604800,
		"help": "So long a pattern is new."},
	"late_s": {"type": "integer", "default": 3600, "min": 1, "max": 2592000,
		"help": "A line that came later than this is old news."},
	"learn_s": {"type": "integer", "default": 86400, "min": 0, "max": 2592000,
		"help": "In its first time all patterns of an application are new, and none is told."}}'),
(15, 'heartbeat', 'Job did not report', 'Seconds since a heartbeat was due, its grace included; 0 in time.',
	's', '{heartbeat}', false, '>', 'keep', '{}'),
(16, 'job', 'Job of the database did not run', 'Hours since it ended well.', 'h', '{job}', false,
	'>', 'keep', '{
	"job": {"type": "choice", "default": "maintain", "values": ["maintain"], "help": "Which job."}}'),
(17, 'sql', 'Own query', 'The column value of each row of a SELECT; its other columns are labels.', '', '{}',
	false, '>', 'keep', '{
	"sql": {"type": "text", "max": 8000, "help": "One SELECT over the views."}}'),
(18, 'promql', 'Prometheus query', 'The value of each series of a query to the configured Prometheus.', '',
	'{}',
	false, '>', 'keep', '{
	"promql": {"type": "text", "max": 8000, "help": "The query."}}'),
(19, 'rule_error', 'Rule can''t be evaluated', '1 while the evaluation of another rule fails, else 0.', '',
	'{of_rule}', false, '>=', 'keep', '{}')
ON CONFLICT (kind) DO UPDATE SET place = excluded.place, title = excluded.title, meaning = excluded.meaning,
	unit = excluded.unit, subject = excluded.subject, has_metric = excluded.has_metric, op = excluded.op,
	no_data = excluded.no_data, params = excluded.params, role = excluded.role;
UPDATE alert_kinds SET role = 'admin' WHERE kind = 'sql';

-- ---- metrics ---------------------------------------------------------------------------------------
-- What a rule may call a metric: the table that has it, the expression, and the labels of its subjects.
-- A metric of the machine has one subject for each server, whatever number of agents measures it.
CREATE OR REPLACE FUNCTION alert_metrics()
RETURNS TABLE (metric text, source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT c, 'samples', 'm.' || c,
		CASE WHEN c LIKE 'app\_%' THEN '{server,app}' ELSE '{server}' END::text[]
	FROM unnest(metric_columns()) c
	UNION ALL VALUES
		('load_per_core', 'samples', 'm.load_avg_5m / nullif(m.cpu_count, 0)', '{server}'::text[]),
		('mount_percent', 'mounts', 'd.percent', '{server,mount}'),
		('mount_inode_percent', 'mounts', 'd.inode_percent', '{server,mount}'),
		('mount_used_gb', 'mounts', 'd.used_gb', '{server,mount}'),
		('mount_free_gb', 'mounts', 'd.total_gb - d.used_gb', '{server,mount}'),
		('agent_skew_s', 'agents', 'abs(a.skew_ms) / 1000.0', '{server,app}'),
		('agent_lag_s', 'agents', 'a.lag_s', '{server,app}'),
		('agent_lag_bytes', 'agents', 'a.lag_bytes', '{server,app}'),
		('agent_pending', 'agents', 'a.pending', '{server,app}'),
		('agent_outbox_bytes', 'agents', 'a.outbox_bytes', '{server,app}'),
		('agent_rss_kb', 'agents', 'a.rss_kb', '{server,app}'),
		('agent_files_unreadable', 'agents', 'a.files_unreadable', '{server,app}')
$$;

-- Where a rule reads a metric: its samples (all), or the averages of the roll-ups (5m, 1h), for long windows
-- over many servers. These do not tell when a sample arrived.
CREATE OR REPLACE FUNCTION metric_sources()
RETURNS TABLE (metric text, rows text, source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT metric, 'all', source, expr, subject FROM alert_metrics()
	UNION ALL
	SELECT c, r, r, format('m.%I', c || '_avg'),
		CASE WHEN c LIKE 'app\_%' THEN '{server,app}' ELSE '{server}' END::text[]
	FROM unnest(rollup_columns()) c, unnest('{5m,1h}'::text[]) r
	UNION ALL
	SELECT 'mount_percent', r, 'mounts_' || r, 'd.percent', '{server,mount}'
	FROM unnest('{5m,1h}'::text[]) r
$$;

CREATE OR REPLACE FUNCTION metric_source(p_metric text, p_rows text)
RETURNS TABLE (source text, expr text, subject text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT source, expr, subject FROM metric_sources() WHERE metric = p_metric AND rows = p_rows
$$;

-- An agent tells of its mounts every 15 minutes, and when one has moved. What it told last counts this long.
CREATE OR REPLACE FUNCTION mounts_count_for() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '30 minutes';

-- What the matchers of a rule see. A subject of a whole server has all its applications as its `app`.
CREATE OR REPLACE FUNCTION scope_labels(p_subject jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_server CONSTANT text := p_subject->>'server';
	v_apps jsonb;
BEGIN
	IF v_server IS NULL OR p_subject ? 'app' THEN
		RETURN subject_labels(p_subject);
	END IF;
	SELECT coalesce(jsonb_agg(app_name ORDER BY app_name), '[]') INTO v_apps
		FROM agents WHERE vps_name = v_server AND retired_at IS NULL;
	RETURN jsonb_build_object('app', v_apps) || subject_labels(p_subject);
END
$$;

-- ---- parts of queries --------------------------------------------------------------------------------
-- The rule's matchers that name one server or one application, as a condition on the table p_alias: so that
-- the query reads only their rows. The application narrows only what has one as its label.
CREATE OR REPLACE FUNCTION narrowed(r alert_rules, p_alias text, p_app boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(string_agg(format(' AND %s.%s = %L', p_alias,
		CASE m->>'label' WHEN 'server' THEN 'vps_name' ELSE 'app_name' END, m->>'value'), ''), '')
	FROM jsonb_array_elements(r.match) m
	WHERE m->>'op' = '=' AND (m->>'label' = 'server' OR m->>'label' = 'app' AND p_app)
$$;

-- The agents that are judged at the time: known, and not retired then.
CREATE OR REPLACE FUNCTION judged(p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('%1$s.first_seen_at <= $1 AND (%1$s.retired_at IS NULL OR %1$s.retired_at > $1)',
		p_alias)
$$;

CREATE OR REPLACE FUNCTION seconds(p_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('make_interval(secs => %s)', p_s)
$$;

-- The rows of vps_metrics (m) that count at the time, of a window.
CREATE OR REPLACE FUNCTION counting_samples(p_window_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN format('m."timestamp" >= $1 - %s AND m."timestamp" <= $1 AND m.received_at <= $1
	AND NOT m.backfill', seconds(p_window_s));

-- ---- the values of metrics ---------------------------------------------------------------------------
-- A pass reads the rows of one window once, for all rules that need this window. There are three:
--   newest   last, absent: the newest row of each agent that is not older than the look-back time
--   window   avg, min, max, deriv, predict: aggregates of a window
--   series   rate, irate, increase, changes, resets: of neighbours in a window
CREATE OR REPLACE FUNCTION pass_of(p_agg text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN p_agg IN ('last', 'absent') THEN 'newest'
		WHEN p_agg IN ('rate', 'irate', 'increase', 'changes', 'resets') THEN 'series'
		ELSE 'window' END
$$;

-- Only the newest row tells which file systems a server has. In a window they are those that have values.
CREATE OR REPLACE FUNCTION subject_by_value(p_pass text, p_source text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT p_source IN ('mounts', 'mounts_5m', 'mounts_1h') AND p_pass <> 'newest'
$$;

-- SQL for a value of a row of a pass, of the expression at a place. p_last_s: only the end of the window
-- counts.
CREATE OR REPLACE FUNCTION window_value(p_agg text, p_place bigint, p_ahead_s float8, p_last_s float8)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format(CASE p_agg
		-- Of several agents the newest row counts, whose last word was not that there is no value.
		WHEN 'last' THEN '(max(ARRAY[t, %1$s]) FILTER (WHERE %1$s IS NOT NULL))[2]'
		WHEN 'absent' THEN '(count(%1$s) = 0)::int::float8'
		WHEN 'avg' THEN 'avg(%1$s)'
		WHEN 'min' THEN 'min(%1$s)'
		WHEN 'max' THEN 'max(%1$s)'
		WHEN 'deriv' THEN 'regr_slope(%1$s, t)'
		WHEN 'predict' THEN 'regr_intercept(%1$s, t) + %3$s * regr_slope(%1$s, t)'
		ELSE 'max(%4$I) FILTER (WHERE place = %2$s)' END,
		CASE WHEN p_last_s IS NULL THEN 'x' || p_place
			ELSE format('CASE WHEN t >= -%s THEN x%s END', p_last_s, p_place) END,
		p_place, p_ahead_s, p_agg)
$$;

-- The rows of a window, and of each the times (t, seconds from now) and values (x1, x2 ...). p_where is on m.
-- A roll-up counts with the middle of its bucket, as far as that has passed.
CREATE OR REPLACE FUNCTION window_rows(p_source text, p_window_s float8, p_exprs text[], p_where text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT m.vps_name, m.app_name, %s AS more,
		%s AS t, %s FROM %s WHERE %s%s OFFSET 0',     -- else t is computed for each value
		CASE WHEN by_mount THEN 'd.mount' ELSE 'NULL::text' END,
		format(CASE rollup WHEN '5m' THEN 'least(%1$s + 150, %1$s / 2)'
			WHEN '1h' THEN 'least(%1$s + 1800, %1$s / 2)' ELSE '%1$s' END,
			'extract(epoch FROM m."timestamp" - $1)::float8'),
		(SELECT string_agg(format('(%s)::float8 AS x%s', e, n), ', ' ORDER BY n)
			FROM unnest(p_exprs) WITH ORDINALITY u(e, n)),
		coalesce('metrics_' || rollup, 'vps_metrics') || ' m' || CASE WHEN NOT by_mount THEN ''
			WHEN rollup IS NULL THEN ' CROSS JOIN LATERAL mounts_of(m.details) d'
			ELSE ' CROSS JOIN LATERAL jsonb_each(m.mounts) d(mount, percent)' END,
		CASE WHEN rollup IS NULL THEN counting_samples(p_window_s)
			ELSE format('m."timestamp" >= $1 - %s AND m."timestamp" <= $1', seconds(p_window_s))
			END,
		CASE p_source WHEN 'mounts' THEN ' AND m.details IS NOT NULL' ELSE '' END || p_where)
	FROM (SELECT p_source LIKE 'mounts%' AS by_mount, substring(p_source FROM '(5m|1h)$') AS rollup) x
$$;

-- The newest row of each agent that is judged. An agent without one in time has a row without values, and so
-- has a file system, but for a day only.
CREATE OR REPLACE FUNCTION newest_rows(p_source text, p_window_s float8, p_exprs text[], p_where text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format(CASE p_source
		WHEN 'agents' THEN 'SELECT a.vps_name, a.app_name, NULL::text AS more, 0::float8 AS t, %1$s
			FROM agents a WHERE %2$s%3$s'
		WHEN 'mounts' THEN 'SELECT a.vps_name, a.app_name, d.mount AS more,
			extract(epoch FROM n.at - $1)::float8 AS t, %1$s
			FROM agents a CROSS JOIN LATERAL (SELECT m."timestamp" AS at, m.details
				FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
					AND m.details IS NOT NULL AND %5$s
				ORDER BY m."timestamp" DESC, m.id DESC LIMIT 1) n
			CROSS JOIN LATERAL mounts_of(n.details) d WHERE %2$s%3$s'
		ELSE 'SELECT a.vps_name, a.app_name, NULL::text AS more,
			extract(epoch FROM n.at - $1)::float8 AS t, %6$s
			FROM agents a LEFT JOIN LATERAL (SELECT m."timestamp" AS at, %1$s
				FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
					AND %4$s ORDER BY m."timestamp" DESC, m.id DESC LIMIT 1) n ON true
			WHERE %2$s%3$s' END,
		(SELECT string_agg(format(CASE p_source
				WHEN 'agents' THEN 'CASE WHEN a.last_seen_at >= $1 - %3$s
					THEN (%1$s)::float8 END AS x%2$s'
				WHEN 'mounts' THEN 'CASE WHEN n.at >= $1 - greatest(%3$s, mounts_count_for())
					THEN %1$s END AS x%2$s'
				ELSE '(%1$s)::float8 AS x%2$s' END, e, n, seconds(p_window_s)), ', '
				ORDER BY n) FROM unnest(p_exprs) WITH ORDINALITY u(e, n)),
		judged('a'), p_where, counting_samples(p_window_s), counting_samples(86400 + p_window_s),
		(SELECT string_agg('x' || n, ', ' ORDER BY n) FROM generate_subscripts(p_exprs, 1) n))
$$;

-- Of each series (agent, label, place) what its neighbours tell. rate and increase are stretched to the ends
-- of the window as Prometheus 2 does it: by half a distance, or to the end where that is nearer than 1.1
-- distances, and never beyond the time where the counter would have been 0.
CREATE OR REPLACE FUNCTION series_of(p_rows text, p_window_s float8, p_places bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT vps_name, app_name, more, place, changes, resets, irate,
		grown * stretch AS increase, grown * stretch / %2$s AS rate
		FROM (SELECT *, (t1 - t0 + CASE WHEN left_gap < 1.1 * gap THEN left_gap ELSE gap / 2 END
			+ CASE WHEN -t1 < 1.1 * gap THEN -t1 ELSE gap / 2 END) / nullif(t1 - t0, 0) AS stretch
		FROM (SELECT *, (t1 - t0) / nullif(n - 1, 0) AS gap, CASE WHEN grown > 0 AND x0 >= 0
			THEN least(t0 + %2$s, (t1 - t0) * (x0 / grown)) ELSE t0 + %2$s END AS left_gap
		FROM (SELECT vps_name, app_name, more, place, count(*) AS n, min(t) AS t0, max(t) AS t1,
			count(*) FILTER (WHERE x <> px)::float8 AS changes,
			count(*) FILTER (WHERE x < px)::float8 AS resets,
			(min(ARRAY[t, x]))[2] AS x0, (max(ARRAY[t, x]))[2] - (min(ARRAY[t, x]))[2]
				+ coalesce(sum(px) FILTER (WHERE x < px), 0) AS grown,
			max(CASE WHEN x < px THEN x ELSE x - px END / nullif(t - pt, 0))
				FILTER (WHERE newest) AS irate
		FROM (SELECT vps_name, app_name, more, place, t, x, lag(t) OVER w AS pt, lag(x) OVER w AS px,
			lead(t) OVER w IS NULL AS newest
		FROM (%1$s) r CROSS JOIN LATERAL (VALUES %3$s) u(place, x) WHERE x IS NOT NULL
		WINDOW w AS (PARTITION BY vps_name, app_name, more, place ORDER BY t)) a
		GROUP BY 1, 2, 3, 4) b) c) d',
		p_rows, p_window_s, string_agg(format('(%s, x%1$s)', n), ', ' ORDER BY n))
	FROM generate_series(1, p_places) n
$$;

-- The query of a pass: columns vps_name, app_name (NULL unless p_subject has app), more, and v1, v2 ... for
-- p_values, which are made by window_value(). p_agents and p_samples narrow agents (a) and rows (m).
CREATE OR REPLACE FUNCTION pass_query(p_pass text, p_source text, p_subject text[], p_window_s float8,
	p_exprs text[], p_values text[], p_agents text, p_samples text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_app CONSTANT text := CASE WHEN 'app' = ANY (p_subject) THEN 'app_name' ELSE 'NULL::text' END;
	v_names CONSTANT text := (SELECT string_agg('v' || n, ', ' ORDER BY n)
		FROM generate_subscripts(p_values, 1) n);
	v_rows text := CASE p_pass
		WHEN 'newest' THEN newest_rows(p_source, p_window_s, p_exprs, p_agents)
		ELSE window_rows(p_source, p_window_s, p_exprs, p_samples) END;
	v_query text;
BEGIN
	IF p_pass = 'series' THEN
		v_rows := series_of(v_rows, p_window_s, cardinality(p_exprs));
	END IF;
	v_query := format('SELECT vps_name, %s AS app_name, more, %s FROM (%s) r GROUP BY 1, 2, 3', v_app,
		(SELECT string_agg(format('%s AS v%s', v, n), ', ' ORDER BY n)
			FROM unnest(p_values) WITH ORDINALITY u(v, n)), v_rows);
	IF p_pass = 'newest' OR subject_by_value(p_pass, p_source) THEN
		RETURN v_query;
	END IF;
	RETURN format('SELECT s.vps_name, s.app_name, NULL::text AS more, %s
		FROM (SELECT DISTINCT a.vps_name, %s AS app_name FROM agents a WHERE %s%s) s
		LEFT JOIN (%s) v ON v.vps_name = s.vps_name%s', v_names,
		CASE WHEN 'app' = ANY (p_subject) THEN 'a.app_name' ELSE 'NULL::text' END, judged('a'),
		p_agents, v_query,
		CASE WHEN 'app' = ANY (p_subject) THEN ' AND v.app_name = s.app_name' END);
END
$$;

-- ---- the kinds --------------------------------------------------------------------------------------
-- The rule's parameters, with the defaults of its kind.
CREATE OR REPLACE FUNCTION rule_params(p_kind text, p_params jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, value->'default') FILTER (WHERE value ? 'default'), '{}')
		|| jsonb_strip_nulls(p_params)
	FROM alert_kinds k, jsonb_each(k.params) WHERE k.kind = p_kind
$$;

-- Does the value of a parameter fit its description?
CREATE OR REPLACE FUNCTION param_fits(p_spec jsonb, v jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE p_spec->>'type'
		WHEN 'integer' THEN jsonb_typeof(v) = 'number' AND CASE jsonb_typeof(v) WHEN 'number' THEN
			v::numeric = trunc(v::numeric)
			AND v::numeric BETWEEN (p_spec->>'min')::numeric AND (p_spec->>'max')::numeric END
		WHEN 'number' THEN jsonb_typeof(v) = 'number' AND CASE jsonb_typeof(v) WHEN 'number' THEN
			v::numeric BETWEEN (p_spec->>'min')::numeric AND (p_spec->>'max')::numeric END
		WHEN 'choice' THEN coalesce(p_spec->'values' @> v AND jsonb_typeof(v) = 'string', false)
		WHEN 'flag' THEN jsonb_typeof(v) = 'boolean'
		WHEN 'text' THEN jsonb_typeof(v) = 'string' AND length(v #>> '{}')
			BETWEEN 1 AND (p_spec->>'max')::int
		WHEN 'rule' THEN jsonb_typeof(v) = 'string'
			AND v #>> '{}' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		WHEN 'list' THEN jsonb_typeof(v) = 'array' AND CASE jsonb_typeof(v) WHEN 'array' THEN
			NOT EXISTS (SELECT FROM jsonb_array_elements(v) e WHERE NOT p_spec->'values' @> e) END
		WHEN 'tree' THEN jsonb_typeof(v) = 'object'
		ELSE false END
$$;

-- The same as a part of a sentence: "must be ...".
CREATE OR REPLACE FUNCTION param_demand(p_spec jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'must be ' || CASE p_spec->>'type'
		WHEN 'integer' THEN format('a whole number from %s to %s', p_spec->>'min', p_spec->>'max')
		WHEN 'number' THEN format('a number from %s to %s', p_spec->>'min', p_spec->>'max')
		WHEN 'choice' THEN 'one of ' || (SELECT string_agg(v, ', ' ORDER BY n)
			FROM jsonb_array_elements_text(p_spec->'values') WITH ORDINALITY u(v, n))
		WHEN 'flag' THEN 'true or false'
		WHEN 'text' THEN format('a text of 1 to %s characters', p_spec->>'max')
		WHEN 'rule' THEN 'the id of a rule'
		WHEN 'list' THEN 'a list of ' || (SELECT string_agg(v, ', ' ORDER BY n)
			FROM jsonb_array_elements_text(p_spec->'values') WITH ORDINALITY u(v, n))
		ELSE 'a query of the log search' END
$$;

-- What is wrong with kind, metric and parameters of a rule: as refuse_errors() takes it. A query without its
-- tree would find all lines.
CREATE OR REPLACE FUNCTION param_errors(p_kind text, p_metric text, p_params jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	k alert_kinds;
BEGIN
	SELECT * INTO k FROM alert_kinds WHERE kind = p_kind;
	IF NOT FOUND THEN
		RETURN field_error(true, 'kind', 'must be one of '
			|| (SELECT string_agg(a.kind, ', ' ORDER BY place) FROM alert_kinds a));
	ELSIF jsonb_typeof(p_params) IS DISTINCT FROM 'object' THEN
		RETURN field_error(true, 'params', 'must be an object');
	END IF;
	RETURN field_error(NOT k.has_metric AND p_metric IS NOT NULL, 'metric',
			'must be left out: rules of this kind have none')
		|| field_error(k.has_metric AND NOT EXISTS (SELECT FROM alert_metrics() m
			WHERE m.metric = p_metric), 'metric', 'must be one of '
			|| (SELECT string_agg(m.metric, ', ') FROM alert_metrics() m))
		|| field_error(k.has_metric AND p_params->>'agg' <> 'last' AND EXISTS (
			SELECT FROM alert_metrics() m WHERE m.metric = p_metric AND m.source = 'agents'),
			'params.agg', 'must be last: what an agent says of itself has no history')
		|| field_error(k.has_metric AND p_params->>'rows' IN ('5m', '1h')
			AND NOT (EXISTS (SELECT FROM metric_source(p_metric, p_params->>'rows'))
				AND coalesce(p_params->>'agg', 'last') IN ('avg', 'min', 'max', 'deriv',
					'predict')),
			'params.rows',
				'must be all: there are no averages of this metric, or agg can''t use them')
		|| field_error(k.params ? 'tree' AND jsonb_typeof(p_params->'query') = 'string'
			AND NOT p_params ? 'tree', 'params.tree',
			'is missing: save the rule by the hub, which makes it of the query')
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'params.' || left(key, 100),
				'message', CASE WHEN k.params ? key THEN param_demand(k.params->key)
				ELSE 'is not known; known are ' || coalesce((
					SELECT string_agg(n, ', ' ORDER BY n)
					FROM jsonb_object_keys(k.params) n), 'none') END) ORDER BY key), '[]')
			FROM jsonb_each(p_params)
			WHERE value <> 'null' AND NOT coalesce(param_fits(k.params->key, value), false))
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'params.' || key, 'message',
				param_demand(value)) ORDER BY key), '[]')
			FROM jsonb_each(k.params) WHERE NOT value ? 'default' AND NOT value ? 'optional'
				AND coalesce(p_params->key, 'null') = 'null');
END
$$;

-- A metric rule's own pass.
CREATE OR REPLACE FUNCTION metric_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT vps_name AS server, app_name AS app, CASE WHEN more IS NOT NULL
			THEN jsonb_build_object(''mount'', more) END AS more, v1 AS value,
			CASE WHEN v1 IS NULL THEN ''no data'' END AS problem FROM (%s) q%s',
		pass_query(pass_of(agg), m.source, m.subject,
			CASE pass_of(agg) WHEN 'newest' THEN r.lookback_s ELSE (p->>'window_s')::float8 END,
			ARRAY[m.expr], ARRAY[window_value(agg, 1, (p->>'ahead_s')::float8, NULL)],
			narrowed(r, 'a', 'app' = ANY (m.subject)), narrowed(r, 'm', 'app' = ANY (m.subject))),
		CASE WHEN subject_by_value(pass_of(agg), m.source) THEN ' WHERE v1 IS NOT NULL' END)
	FROM metric_source(r.metric, coalesce(p->>'rows', 'all')) m,
		LATERAL (SELECT CASE r.kind WHEN 'absent' THEN 'absent' ELSE p->>'agg' END) a(agg)
$$;

CREATE OR REPLACE FUNCTION count_firing_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, NULL::jsonb AS more,
		CASE WHEN there THEN n END AS value,
		CASE WHEN NOT there THEN ''the rule whose alerts it counts is not there'' END AS problem
		FROM (SELECT EXISTS (SELECT FROM alert_rules WHERE rule_id = %1$L) AS there,
			(SELECT count(*)::float8 FROM alerts
				WHERE rule_id = %1$L AND state = ''firing'') AS n) x',
		(p->>'of_rule')::uuid)
$$;

-- The rules whose evaluation fails, by name.
CREATE OR REPLACE FUNCTION rule_error_query(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app,
		jsonb_build_object(''of_rule'', o.name) AS more,
		(p.rule_id IS NOT NULL)::int AS value, NULL::text AS problem
		FROM alert_rules o LEFT JOIN rule_problems p USING (rule_id)
		WHERE o.is_active AND o.rule_id <> %L', r.rule_id)
$$;

-- The query of any rule. p_all false: subjects may be left out whose value is beyond no level.
CREATE OR REPLACE FUNCTION kind_query(r alert_rules, p_all boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	p CONSTANT jsonb := rule_params(r.kind, r.params);
BEGIN
	RETURN CASE r.kind
		WHEN 'threshold' THEN metric_query(r, p)
		WHEN 'absent' THEN metric_query(r, p)
		WHEN 'count_firing' THEN count_firing_query(r, p)
		WHEN 'anomaly' THEN anomaly_query(r, p)
		WHEN 'check' THEN check_query(r, p, p_all)
		WHEN 'check_slow' THEN check_slow_query(r, p, p_all)
		WHEN 'certificate' THEN certificate_query(r, p, p_all)
		WHEN 'agent_state' THEN agent_query(r, p)
		WHEN 'agent_silent' THEN agent_query(r, p)
		WHEN 'fleet_silent' THEN fleet_silent_query()
		WHEN 'loss' THEN loss_query(r, p, p_all)
		WHEN 'log_count' THEN log_query(r, p, p_all)
		WHEN 'log_share' THEN log_query(r, p, p_all)
		WHEN 'new_pattern' THEN pattern_query(r, p)
		WHEN 'heartbeat' THEN heartbeat_query()
		WHEN 'job' THEN job_query(p)
		WHEN 'sql' THEN external_query(r)
		WHEN 'promql' THEN external_query(r)
		WHEN 'rule_error' THEN rule_error_query(r)
	END;
END
$$;

-- The rows of a kind's query. A query of its own: on Citus it runs on the workers, which have no labels.
CREATE OR REPLACE FUNCTION kind_rows(p_query text, p_now timestamptz)
RETURNS TABLE (server text, app text, more jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT q.server, q.app, q.more, q.value::float8, q.problem FROM (%s) q',
		p_query) USING p_now;
END
$$;

-- One row for each subject: its value, or no value and why: 'no data', or a sentence about an error.
CREATE OR REPLACE FUNCTION rule_values(p_rule alert_rules, p_now timestamptz, p_all boolean DEFAULT true)
RETURNS TABLE (subject jsonb, value float8, problem text)
LANGUAGE sql STABLE ROWS 1000 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
	SELECT s, q.value, q.problem FROM kind_rows(kind_query(p_rule, p_all), p_now) q
	CROSS JOIN LATERAL (SELECT jsonb_strip_nulls(jsonb_build_object('server', server, 'app', app))
		|| coalesce(more, '{}')) x(s)
	WHERE CASE WHEN p_rule.match = '[]' THEN true ELSE labels_match(p_rule.match, scope_labels(s)) END
$$;

SELECT drop_former_functions() \g /dev/null
-- ==== 71b-kinds: the values that are no metrics: checks, agents, log lines, jobs, own queries ===
-- A function of each kind gives its query: columns server, app, more, value and problem; $1 is the time. With
-- p_all false it may leave out subjects whose value is beyond no level of the rule and that have no open
-- alert.

-- What rules ask outside of this database: PromQL, and the SELECT of an administrator. fleet_watch asks,
-- since an answer may take seconds, and writes each answer with external_values().
CREATE TABLE IF NOT EXISTS external_answers (
	rule_id uuid NOT NULL,
	at timestamptz NOT NULL,
	rows jsonb NOT NULL,                    -- [{"subject": {label: text}, "value": number}]
	problem text,                           -- why there is no answer
	PRIMARY KEY (rule_id, at)
);
GRANT SELECT ON external_answers TO observ_hub, observ_watch;

-- The subjects of one answer, and how long each with its value may be; more is an error.
CREATE OR REPLACE FUNCTION max_external_rows() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;
CREATE OR REPLACE FUNCTION max_external_bytes() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 4000;

-- Whether subjects whose value is 0 matter to the rule only while they have an alert.
CREATE OR REPLACE FUNCTION zero_is_healthy(r alert_rules) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN r.op = '>' AND least(r.warning, r.critical) >= 0 OR r.op = '>=' AND least(r.warning, r.critical) > 0;

-- SQL for: the server of the table p_alias has an open alert of the rule.
CREATE OR REPLACE FUNCTION open_of(r alert_rules, p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('%s.vps_name IN (SELECT subject->>''server'' FROM alerts
		WHERE state <> ''resolved'' AND rule_id = %L)', p_alias, r.rule_id)
$$;

-- ---- checks ------------------------------------------------------------------------------------------
-- Of the last results of a check, newest first, a letter each (S success, F failure): -1 after p_recover
-- successes in a row, else the number of failures among the last p_of, without those before such a row.
CREATE OR REPLACE FUNCTION failures_in(p_results text, p_of int, p_recover int) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_results LIKE repeat('S', p_recover) || '%' THEN -1
	ELSE length(replace(left(split_part(p_results, repeat('S', p_recover), 1), p_of), 'S', '')) END;

CREATE OR REPLACE FUNCTION check_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT c.vps_name AS server, c.app_name AS app, jsonb_build_object(''check'',
			c.url) AS more,
			CASE WHEN h.at > $1 - check_expiry(c.interval_s) THEN failures_in(h.results, %s, %s)
				END AS value,
			CASE WHEN h.at > $1 - check_expiry(c.interval_s) THEN NULL ELSE ''no data'' END AS
				problem
		FROM latest_checks c JOIN agents a USING (vps_name, app_name)
		CROSS JOIN LATERAL (SELECT max(at) AS at, string_agg(CASE WHEN success THEN ''S'' ELSE ''F''
			END, ''''
				ORDER BY at DESC, id DESC) AS results
			FROM (SELECT h."timestamp" AS at, h.id, h.success FROM health_checks h
				WHERE h.vps_name = c.vps_name AND h.app_name = c.app_name AND h.url = c.url
					AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT h.backfill
					AND h."timestamp" > $1 - check_expiry(c.interval_s) * %s
				ORDER BY h."timestamp" DESC, h.id DESC LIMIT %s) x) h
		WHERE
			%s%s%s', p->>'of', p->>'recover', ceil(n / 3.0) + 1, n, judged('a'), narrowed(r, 'a',
				true),
		CASE WHEN NOT p_all THEN format(' AND (c.interval_s > 400 OR %s OR c.vps_name IN (
			SELECT h.vps_name FROM health_checks h WHERE h."timestamp" > $1 - %s
				AND h."timestamp" <= $1 AND NOT h.success))', open_of(r, 'c'),
			seconds(400.0 * (n + 3))) END)
	FROM (SELECT (p->>'of')::int + (p->>'recover')::int) x(n)
$$;

CREATE OR REPLACE FUNCTION check_slow_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT h.vps_name AS server, h.app_name AS app, jsonb_build_object(''check'',
			h.url) AS more,
			CASE WHEN count(*) >= %1$s THEN percentile_cont(%2$s) WITHIN GROUP (ORDER BY
				h.response_time_ms)
				END AS value,
			CASE WHEN count(*) < %1$s THEN ''no data'' END AS problem
		FROM health_checks h JOIN agents a USING (vps_name, app_name)
		WHERE h."timestamp" >= $1 - %3$s AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT
			h.backfill
			AND h.response_time_ms IS NOT NULL AND %4$s%5$s%6$s GROUP BY 1, 2, h.url',
		p->>'min_results', (p->>'percent')::float8 / 100, seconds((p->>'window_s')::int), judged('a'),
		narrowed(r, 'a', true),
		CASE WHEN NOT p_all AND r.op IN ('>', '>=') THEN format(' AND (%s OR h.vps_name IN (
			SELECT vps_name FROM health_checks WHERE "timestamp" >= $1 - %s AND "timestamp" <= $1
				AND response_time_ms >= %L::float8))', open_of(r, 'h'),
			seconds((p->>'window_s')::int), least(r.warning, r.critical) * (1 - 1e-9)) END)
$$;

-- Days until the certificate expires, or the share of its life that is left, in percent. life_days divides
-- the certificates between two rules: those that live shorter, and all others.
CREATE OR REPLACE FUNCTION certificate_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT c.vps_name AS server, c.app_name AS app, jsonb_build_object(''check'',
			c.url) AS more,
			%s AS value, NULL::text AS problem
		FROM latest_checks c JOIN agents a USING (vps_name, app_name)
		CROSS JOIN LATERAL (SELECT h.cert_expires_at, extract(epoch FROM h.cert_expires_at - $1) AS
			left_s,
				CASE WHEN h.cert_starts_at < h.cert_expires_at
					THEN extract(epoch FROM h.cert_expires_at - h.cert_starts_at)
				END AS life_s
			FROM health_checks h WHERE h.vps_name = c.vps_name AND h.app_name = c.app_name
				AND h.url = c.url AND h."timestamp" <= $1 AND h.received_at <= $1 AND NOT
					h.backfill
				AND h."timestamp" > $1 - greatest(%s, 3 * check_expiry(c.interval_s))
				AND h.cert_expires_at IS NOT NULL
			ORDER BY h."timestamp" DESC, h.id DESC LIMIT 1) h
		WHERE %s%s AND %s%s',
		CASE p->>'measure' WHEN 'life' THEN '100 * left_s / life_s' ELSE 'left_s / 86400'
			END,
		seconds(r.lookback_s), judged('a'), narrowed(r, 'a', true),
		CASE p->>'measure' WHEN 'life' THEN format('life_s < 86400 * %s', p->>'life_days')
			ELSE format('(life_s < 86400 * %s) IS NOT TRUE', p->>'life_days') END,
		CASE WHEN NOT p_all AND r.op IN ('<', '<=') THEN format(' AND (c.cert_until <= $1 + %s
			OR c.cert_until IS NULL AND NOT starts_with(c.url, ''http://'')
			OR c."timestamp" > $1 OR %s)',
			seconds(86400.0 * greatest(r.warning, r.critical) * CASE p->>'measure' WHEN 'life'
				THEN (p->>'life_days')::float8 / 100 ELSE 1 END), open_of(r, 'c')) END)
$$;

-- ---- agents ------------------------------------------------------------------------------------------
-- SQL for: a value of the samples of an agent (a) that had arrived, of after a time by their own.
CREATE OR REPLACE FUNCTION of_samples(p_value text, p_after text, p_more text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('(SELECT %s FROM vps_metrics m WHERE m.vps_name = a.vps_name AND m.app_name = a.app_name
		AND m.received_at <= $1 AND m."timestamp" > %s%s)', p_value, p_after, p_more)
$$;

-- When the database last heard from each agent that is judged, by its own clock alone. The row of the agent
-- knows only the last time, so a time in the past is found among the samples: those of the last intervals and
-- later ones, by the clock of the database or by that of the agent as it is now, whichever is behind; then
-- the newest of a day. While nobody in the fleet is heard, the fault is ours: silence is measured only until
-- an interval after the last word of all.
CREATE OR REPLACE FUNCTION agents_heard() RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name, a.app_name, a.interval_s, a.at, a.fleet_at, a.servers, CASE
			WHEN a.servers
			THEN least($1, a.fleet_at + make_interval(secs => coalesce(a.interval_s, 60)))
			ELSE $1 END AS until
		FROM (SELECT s.*, max(at) OVER () AS fleet_at,
				min(vps_name) OVER () < max(vps_name) OVER () AS servers
			FROM (SELECT a.vps_name, a.app_name, a.interval_s, CASE WHEN a.last_seen_at <= $1
					THEN a.last_seen_at ELSE coalesce(%s, %s, a.first_seen_at) END AS at
				FROM agents a WHERE %s) s) a',
		-- A FILTER: else PostgreSQL goes through all samples of the fleet, the last that came first.
		of_samples('max(m.received_at) FILTER (WHERE true)', '$1 - make_interval(secs => 60
			+ 3 * coalesce(a.interval_s, 60) - least(coalesce(a.skew_ms, 0), 0) / 1000.0)'),
		of_samples('m.received_at', '$1 - interval ''1 day''',
			' ORDER BY m."timestamp" DESC LIMIT 1'),
		judged('a'))
$$;

-- The agent's state as agent_state() has it (0 online, 1 stale, 2 offline), or the seconds of its silence.
CREATE OR REPLACE FUNCTION agent_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name AS server, a.app_name AS app, NULL::jsonb AS more, %s AS value,
			NULL::text AS problem FROM (%s) a WHERE true%s',
		CASE r.kind WHEN 'agent_state' THEN 'array_position(''{online,stale,offline}''::text[],
			agent_state(a.at, a.interval_s, NULL, a.until)) - 1'
		ELSE 'greatest(0, extract(epoch FROM a.until - a.at))' END, agents_heard(), narrowed(r, 'a',
			true))
$$;

-- The silence of the whole fleet: one subject without labels. A single server is no fleet.
CREATE OR REPLACE FUNCTION fleet_silent_query() RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, NULL::jsonb AS more,
		CASE WHEN bool_or(servers) THEN greatest(0, extract(epoch FROM $1 - max(fleet_at))) ELSE 0
			END AS value,
		NULL::text AS problem FROM (%s) a', agents_heard())
$$;

-- What was lost (gaps) or refused (rejects): lines and rows, by the time at which the database was told.
CREATE OR REPLACE FUNCTION loss_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT a.vps_name AS server, a.app_name AS app, NULL::jsonb AS more,
			coalesce(n, 0) AS value, NULL::text AS problem
		FROM agents a LEFT JOIN (SELECT vps_name, app_name, %s AS n FROM %I
			WHERE received_at >= $1 - %s AND received_at <= $1 GROUP BY 1, 2) g
			USING (vps_name, app_name)
		WHERE %s%s%s',
		CASE p->>'what' WHEN 'rejects' THEN 'count(*)' ELSE 'sum(coalesce(lines, 1))' END,
		CASE p->>'what' WHEN 'rejects' THEN 'rejects' ELSE 'gaps' END, seconds((p->>'window_s')::int),
		judged('a'), narrowed(r, 'a', true),
		CASE WHEN NOT p_all AND zero_is_healthy(r) THEN format(' AND (n > 0 OR %s)', open_of(r, 'a'))
			END)
$$;

-- ---- log lines -----------------------------------------------------------------------------------------
-- What lines are counted by: the columns of log_entries, and the agents that have a value where they have
-- none.
CREATE OR REPLACE FUNCTION line_columns(p_by text, p_alias text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT concat_ws(', ', CASE WHEN p_by IN ('agent', 'server') THEN p_alias || '.vps_name'
		ELSE 'NULL::text' END || ' AS server', CASE WHEN p_by IN ('agent', 'application')
		THEN p_alias || '.app_name' ELSE 'NULL::text' END || ' AS app')
$$;

-- The number of lines that a query of the log search finds, or their share of all lines in percent. Where
-- fewer than min_lines lines are, no share is worth an alert: it is 0.
CREATE OR REPLACE FUNCTION log_query(r alert_rules, p jsonb, p_all boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT s.server, s.app, NULL::jsonb AS more, coalesce(%1$s, 0) AS value,
			NULL::text AS problem
		FROM (SELECT DISTINCT %2$s FROM agents a WHERE %3$s%4$s%5$s) s
		LEFT JOIN (SELECT %6$s, count(*) AS lines, count(*) FILTER (WHERE %7$s) AS found
			FROM log_entries l WHERE %8$s%9$s GROUP BY 1, 2) n
			ON coalesce(n.server, '''') = coalesce(s.server, '''')
				AND coalesce(n.app, '''') = coalesce(s.app, '''')',
		CASE r.kind WHEN 'log_share' THEN format('CASE WHEN lines >= %s
			THEN 100.0 * found / lines END', p->>'min_lines') ELSE 'lines' END,
		line_columns(p->>'by', 'a'), judged('a'), narrowed(r, 'a', by_app), seen,
		line_columns(p->>'by', 'l'), condition,
		lines_in || CASE r.kind WHEN 'log_share' THEN '' ELSE ' AND ' || condition END,
		replace(seen, 'a.vps_name', 'l.vps_name'))
	FROM (SELECT coalesce(line_condition(p->'tree'), 'true') AS condition,
			p->>'by' IN ('agent', 'application') AS by_app) x
	CROSS JOIN LATERAL (SELECT format('l."timestamp" >= $1 - %s AND l."timestamp" <= $1
		AND l.received_at <= $1%s', seconds((p->>'window_s')::int), narrowed(r, 'l', by_app)))
			t(lines_in)
	CROSS JOIN LATERAL (SELECT CASE WHEN NOT p_all AND zero_is_healthy(r)
			AND p->>'by' IN ('agent', 'server')
		THEN format(' AND (a.vps_name IN (SELECT l.vps_name FROM log_entries l WHERE %s
			AND %s) OR %s)',
			lines_in, condition, open_of(r, 'a')) ELSE '' END) z(seen)
$$;

-- The first line of its pattern, on whichever server of its application. It counts for window_s, if neither
-- it came late nor the application is new, all of whose lines are.
CREATE OR REPLACE FUNCTION pattern_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT n.server, n.app_name AS app, jsonb_build_object(''level'', n.level, ''pattern'',
			left(n.pattern, 300)) AS more, n.lines::float8 AS value, NULL::text AS problem
		FROM (SELECT l.app_name, l.level, l.pattern, sum(l.lines) AS lines, min(l.first_received_at)
			AS at,
				(array_agg(l.vps_name ORDER BY l.first_received_at, l.vps_name))[1] AS server,
				(array_agg(l.first_at ORDER BY l.first_received_at, l.vps_name))[1] AS
					first_at
			FROM log_patterns l WHERE l.first_received_at <= $1 AND l.level = ANY (%L)
				AND (l.app_name, l.pattern_key) IN (SELECT app_name, pattern_key FROM
					log_patterns
					WHERE first_received_at > $1 - %2$s AND first_received_at <= $1)
			GROUP BY 1, l.pattern_key, 2, 3) n
			JOIN (SELECT app_name, min(first_seen_at) AS since FROM agents GROUP BY 1) a
				USING (app_name)
		WHERE n.at > $1 - %2$s AND n.first_at > n.at - %3$s AND n.at > a.since + %4$s',
		ARRAY(SELECT jsonb_array_elements_text(p->'levels')), seconds((p->>'window_s')::int),
		seconds((p->>'late_s')::int), seconds((p->>'learn_s')::int))
$$;

-- ---- jobs ------------------------------------------------------------------------------------------------
-- Hours since a job of the database ended well: maintain().
CREATE OR REPLACE FUNCTION job_query(p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT
		format('SELECT NULL::text AS server, NULL::text AS app, jsonb_build_object(''job'',
			%1$L::text) AS more,
		extract(epoch FROM $1 - coalesce((SELECT max(finished_at) FROM job_runs
			WHERE job = %1$L AND ok AND finished_at <= $1), (SELECT min(applied_at) FROM
				schema_version)))
			/ 3600 AS value, NULL::text AS problem', p->>'job')
$$;

-- ---- anomalies ----------------------------------------------------------------------------------------
-- How many standard deviations the average of the window is off what the same hour of the week, and the hours
-- beside it, had in past weeks. The deviation counts as floor_percent of the mean at least.
CREATE OR REPLACE FUNCTION anomaly_query(r alert_rules, p jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT s.vps_name AS server, s.app_name AS app, NULL::jsonb AS more,
			CASE WHEN p.weeks >= %1$s THEN %2$s END AS value,
			CASE WHEN (p.weeks >= %1$s AND s.v1 IS NOT NULL) IS NOT TRUE THEN ''no data'' END AS
				problem
		FROM (%3$s) s LEFT JOIN (SELECT h.vps_name, %4$s AS app_name, count(DISTINCT w) AS weeks,
				avg(h.%5$I) AS mean, stddev_samp(h.%5$I) AS spread
			FROM generate_series(1, %6$s) w JOIN metrics_1h h ON h."timestamp" BETWEEN
				date_trunc(''hour'', $1, ''UTC'') - make_interval(hours => 168 * w + 1)
				AND date_trunc(''hour'', $1, ''UTC'') - make_interval(hours => 168 * w - 1)
			WHERE h.%5$I IS NOT NULL GROUP BY 1, 2) p
			ON p.vps_name = s.vps_name AND p.app_name IS NOT DISTINCT FROM s.app_name',
		p->>'min_weeks', format(CASE p->>'direction' WHEN 'below' THEN '-(%s)' WHEN 'both' THEN
			'abs(%s)'
			ELSE '%s' END,
				format('(s.v1 - p.mean) / nullif(greatest(p.spread, abs(p.mean) * %s), 0)',
			(p->>'floor_percent')::float8 / 100)),
		pass_query('window', m.source, m.subject, (p->>'window_s')::int, ARRAY[m.expr], '{avg(x1)}',
			narrowed(r, 'a', by_app), narrowed(r, 'm', by_app)),
		CASE WHEN by_app THEN 'h.app_name' ELSE 'NULL::text' END, r.metric || '_avg', p->>'weeks')
	FROM (SELECT *, 'app' = ANY (subject) AS by_app FROM metric_source(r.metric, 'all')) m
$$;

-- ---- answers from outside -------------------------------------------------------------------------------
-- Keeps an answer to the rule's question at p_at: rows of {"subject": {label: text}, "value"}, or why there
-- is none. A value may be a text, as Prometheus writes numbers. What is none of these is an error of the
-- answer.
CREATE OR REPLACE FUNCTION external_values(p_rule uuid, p_at timestamptz, p_rows jsonb, p_problem text
	DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_problem text := left(p_problem, 1000);
	v_rows jsonb := coalesce(p_rows, '[]');
BEGIN
	IF v_problem IS NULL AND jsonb_typeof(v_rows) <> 'array' THEN
		v_problem := 'the answer is no list of rows';
	ELSIF v_problem IS NULL AND jsonb_array_length(v_rows) > max_external_rows() THEN
		v_problem := format('the answer has %s rows, more than %s', jsonb_array_length(v_rows),
			max_external_rows());
	ELSIF v_problem IS NULL AND EXISTS (SELECT FROM jsonb_array_elements(v_rows) e
			WHERE octet_length(e::text) > max_external_bytes()) THEN
		v_problem := format('a row of the answer is longer than %s bytes', max_external_bytes());
	ELSIF v_problem IS NULL THEN
		BEGIN
			SELECT coalesce(jsonb_agg(jsonb_build_object('subject', subject, 'value', value)),
				'[]')
				INTO v_rows
				FROM (SELECT coalesce(jsonb_object_agg(l.key, l.value #>> '{}')
						FILTER (WHERE l.key IS NOT NULL), '{}') AS subject,
						(e->>'value')::float8::text AS value
					FROM jsonb_array_elements(v_rows) WITH ORDINALITY u(e, n)
					LEFT JOIN LATERAL jsonb_each(e->'subject') l ON l.value <> 'null'
					GROUP BY n, e) x;
			v_problem := (SELECT 'two rows of the answer have the same labels: ' || subject::text
				FROM jsonb_to_recordset(v_rows) x(subject jsonb)
				GROUP BY subject HAVING count(*) > 1 LIMIT 1);
		EXCEPTION WHEN data_exception THEN
			v_problem := 'the answer is not understood: ' || sqlerrm;
		END;
	END IF;
	INSERT INTO external_answers AS a (rule_id, at, rows, problem)
		VALUES (p_rule, p_at, CASE WHEN v_problem IS NULL THEN v_rows ELSE '[]' END, v_problem)
		ON CONFLICT (rule_id, at) DO UPDATE SET rows = excluded.rows, problem = excluded.problem;
END
$$;

-- The newest answer that is not older than the look-back time, or the time before this one: it may come too
-- late for its own evaluation. A look-back time that is shorter than both the default and the interval is
-- meant as it is. An error, or that there is none, is the answer for each open alert and for the
-- rule as a whole.
CREATE OR REPLACE FUNCTION external_query(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT NULL::text AS server, NULL::text AS app, s.subject AS more, s.value, s.problem
		FROM (SELECT) one LEFT JOIN (SELECT rows, problem FROM external_answers WHERE rule_id = %1$L
			AND at <= $1 AND at >= $1 - %2$s ORDER BY at DESC LIMIT 1) x ON true
		CROSS JOIN LATERAL (
			SELECT e->''subject'' AS subject, (e->>''value'')::float8 AS value, NULL AS problem
				FROM jsonb_array_elements(x.rows) e WHERE x.problem IS NULL
			UNION ALL
			SELECT a.subject, NULL, coalesce(x.problem, ''no data'')
				FROM (SELECT subject FROM alerts
					WHERE rule_id = %1$L AND state <> ''resolved''
					UNION SELECT ''{}''::jsonb) a
				WHERE x.problem IS NOT NULL OR x.rows IS NULL) s',
		r.rule_id, seconds(CASE WHEN r.lookback_s < least(r.interval_s, 300) THEN r.lookback_s
			ELSE greatest(r.lookback_s, 2 * r.interval_s) END))
$$;

-- The questions that fleet_watch has to ask now, for the evaluation at `at`.
CREATE OR REPLACE FUNCTION external_questions(p_now timestamptz)
RETURNS TABLE (rule_id uuid, kind text, question text, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT r.rule_id, r.kind, coalesce(r.params->>'promql', r.params->>'sql'), t.at FROM alert_rules r,
		LATERAL (SELECT date_bin(make_interval(secs => r.interval_s), p_now, '1970-01-01Z') AS at) t
	WHERE r.is_active AND r.kind IN ('promql', 'sql')
		AND NOT EXISTS (SELECT FROM external_answers x WHERE x.rule_id = r.rule_id AND x.at >= t.at)
	ORDER BY 1
$$;

-- ---- values as people read them -----------------------------------------------------------------------
-- The unit of a metric: of METRICS, and of those that only rules know (alert_metrics()).
CREATE OR REPLACE FUNCTION metric_unit(p_metric text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT unit FROM (VALUES
		-- made: units
		('cpu_percent', '%'), ('memory_percent', '%'), ('memory_mb', 'MB'), ('disk_percent', '%'),
		('disk_gb', 'GB'), ('load_avg_1m', ''), ('load_avg_5m', ''), ('load_avg_15m', ''),
		('cpu_user_percent', '%'), ('cpu_system_percent', '%'), ('cpu_iowait_percent', '%'),
		('cpu_steal_percent', '%'), ('memory_total_mb', 'MB'), ('swap_percent', '%'),
		('swap_mb', 'MB'), ('disk_total_gb', 'GB'), ('inode_percent', '%'),
		('net_rx_bytes_per_s', 'B/s'), ('net_tx_bytes_per_s', 'B/s'),
		('disk_read_bytes_per_s', 'B/s'), ('disk_write_bytes_per_s', 'B/s'), ('tcp_connections', ''),
		('psi_cpu_percent', '%'), ('psi_memory_percent', '%'), ('psi_io_percent', '%'),
		('uptime_s', 's'), ('processes', ''), ('cpu_count', ''), ('app_cpu_percent', '% of 1 core'),
		('app_memory_mb', 'MB'), ('app_restarts', ''), ('app_processes', ''),
		-- end of made
		('load_per_core', ''), ('mount_percent', '%'), ('mount_inode_percent', '%'),
		('mount_used_gb', 'GB'), ('mount_free_gb', 'GB'), ('agent_skew_s', 's'),
		('agent_lag_s', 's'), ('agent_lag_bytes', 'B'), ('agent_pending', ''),
		('agent_outbox_bytes', 'B'), ('agent_rss_kb', 'kB'), ('agent_files_unreadable', '')
		) m(metric, unit)
	WHERE metric = p_metric
$$;

-- Of the values of a rule, which what it makes of its metric may change.
CREATE OR REPLACE FUNCTION rule_unit(p_kind text, p_metric text, p_params jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_params->>'measure' = 'life' THEN '%'
		WHEN unit <> 'metric' THEN unit
		WHEN p_params->>'agg' IN ('changes', 'resets') THEN ''
		WHEN p_params->>'agg' IN ('rate', 'irate', 'deriv') THEN metric_unit(p_metric) || '/s'
		ELSE metric_unit(p_metric) END
	FROM alert_kinds WHERE kind = p_kind
$$;

-- Three digits that count, and no more than the number has.
CREATE OR REPLACE FUNCTION number_text(p_value float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_value IN ('NaN', 'Infinity', '-Infinity') OR abs(p_value) >= 1e15 THEN p_value::text
	ELSE trim_scale(round(p_value::numeric, greatest(0, least(15,
		2 - floor(log(greatest(abs(p_value), 1e-12)))::int))))::text END;

-- A number as people read it, with its unit; times as a number of the largest unit that fits. A check that
-- has recovered counts -1 failures.
CREATE OR REPLACE FUNCTION value_text(p_value float8, p_unit text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_value IS NULL THEN NULL
	WHEN p_unit = 'failures' AND p_value < 0 THEN '0 failures'
	WHEN p_value = 1 AND p_unit IN ('failures', 'lines', 'days') THEN '1 ' || rtrim(p_unit, 's')
	WHEN p_unit = 'state' AND p_value IN (0, 1, 2)
		THEN ('{online,stale,offline}'::text[])[p_value::int + 1]
	WHEN p_unit = 's' AND abs(p_value) >= 172800 THEN number_text(p_value / 86400) || ' d'
	WHEN p_unit = 's' AND abs(p_value) >= 7200 THEN number_text(p_value / 3600) || ' h'
	WHEN p_unit = 's' AND abs(p_value) >= 120 THEN number_text(p_value / 60) || ' min'
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e9 THEN number_text(p_value / 1e9) || ' G'
		|| p_unit
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e6 THEN number_text(p_value / 1e6) || ' M'
		|| p_unit
	WHEN p_unit IN ('B', 'B/s') AND abs(p_value) >= 1e3 THEN number_text(p_value / 1e3) || ' k'
		|| p_unit
	ELSE btrim(number_text(p_value) || ' ' || coalesce(p_unit, '')) END;

CREATE OR REPLACE FUNCTION span_text(p_s float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value_text(p_s, 's');

-- Why an alert ended, where that is not the value.
CREATE OR REPLACE FUNCTION ended_text(p_reason text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_reason WHEN 'clear' THEN NULL
	WHEN 'missing' THEN 'what the rule judged is gone'
	WHEN 'no data' THEN 'there is no data'
	WHEN 'retired' THEN 'the server was retired'
	WHEN 'rule' THEN 'the rule was switched off or deleted'
	ELSE p_reason END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION external_values, external_questions TO observ_watch;

-- ---- an administrator's own SELECT ---------------------------------------------------------------------
-- Runs with the rights of observ_reader, who sees the views and may write nothing. fleet_watch calls this in
-- a read-only transaction with a statement_timeout, since a function can't limit its own time. The query has
-- a column value; its other columns are the labels. It is one query: a cursor refuses two.
GRANT CREATE ON SCHEMA observ TO observ_reader;
GRANT EXECUTE ON FUNCTION max_external_rows, max_external_bytes TO observ_reader;
SET LOCAL ROLE observ_reader;
CREATE OR REPLACE FUNCTION select_values(p_query text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_row record;
	v_json jsonb;
	v_rows jsonb[] := '{}';
BEGIN
	FOR v_row IN EXECUTE p_query LOOP
		IF cardinality(v_rows) >= max_external_rows() THEN
			RAISE EXCEPTION 'the query gives more than % rows', max_external_rows()
				USING ERRCODE = '54000', HINT = 'Aggregate, or add LIMIT.';
		END IF;
		v_json := to_jsonb(v_row);
		IF octet_length(v_json::text) > max_external_bytes() THEN
			RAISE EXCEPTION 'a row of the query is longer than % bytes', max_external_bytes()
				USING ERRCODE = '54000', HINT = 'Its columns are labels: name only few.';
		ELSIF NOT v_json ? 'value' THEN
			RAISE EXCEPTION 'the query has no column "value"' USING ERRCODE = '42703';
		END IF;
		v_rows := v_rows || jsonb_build_object('subject', v_json - 'value', 'value', v_json->'value');
	END LOOP;
	RETURN to_jsonb(v_rows);
END
$$;

-- Fails as select_values() would, for what is wrong with the query as it stands. Runs nothing of it: EXPLAIN
-- is all that the cursor takes.
CREATE OR REPLACE FUNCTION explain_select(p_query text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_plan record;
BEGIN
	FOR v_plan IN EXECUTE format(E'EXPLAIN SELECT value FROM (%s\n) q',
			regexp_replace(p_query, '[;\s]+$', '')) LOOP
		NULL;
	END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION select_values, explain_select FROM PUBLIC;
GRANT EXECUTE ON FUNCTION select_values TO observ_watch, observ_owner;
GRANT EXECUTE ON FUNCTION explain_select TO observ_owner;
SET LOCAL ROLE observ_owner;
REVOKE CREATE ON SCHEMA observ FROM observ_reader;

-- ==== 71c-many: the values of many rules at once, as far as they matter =========================
-- Of 200 rules over 10,000 agents nearly all values are healthy, and nobody wants to know them. What
-- relevant_values() (71d) leaves out changes no alert: values that are not beyond a level, of subjects
-- without an open alert. It may give more than that. Rules that read the same window share a pass over its
-- rows. A first look at single rows finds the servers that matter, because an average is beyond a level only
-- if one of its samples is.

-- SQL for: the value is beyond a level of the rule, or there is none and the rule wants to know.
CREATE OR REPLACE FUNCTION matters(r alert_rules, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT format('CASE WHEN %s IS NULL THEN %L ELSE %s END', p_value,
		'alert' IN (r.no_data, r.on_error) OR 'own' IN (r.no_data, r.on_error),
		(SELECT coalesce(string_agg(format('%s %s %L::float8', p_value,
			CASE r.op WHEN '==' THEN '=' WHEN '!=' THEN '<>' ELSE r.op END, t), ' OR '), 'false')
			FROM unnest(ARRAY[r.warning, r.critical]) t WHERE t IS NOT NULL))
$$;

-- What must be seen in a row before a rule can matter: look (a metric, or for file systems a path in JSON) is
-- at least `low`, or at most `high`. No row: the rule may matter for each server.
-- * An average, least or greatest value is beyond a level only if a sample is.
-- * Where all samples are 0, nothing grew and nothing changed.
-- * A machine that booted in the window runs no longer than the window.
CREATE OR REPLACE FUNCTION first_look(r alert_rules, p_agg text, p_source text, p_expr text,
	p_window_s float8) RETURNS TABLE (look text, low float8, high float8)
LANGUAGE sql IMMUTABLE ROWS 1 AS $$
	SELECT CASE WHEN p_agg IN ('last', 'avg', 'min', 'max')
			THEN CASE p_source WHEN 'mounts' THEN replace(p_expr, 'd.', '@.') ELSE p_expr END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN p_expr
			ELSE format('(%s <> 0)::int', p_expr) END,
		CASE WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN CASE left(r.op, 1)
				WHEN '>' THEN least(r.warning, r.critical)
					- abs(least(r.warning, r.critical)) * 1e-9 END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN NULL ELSE 1 END,
		CASE WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN CASE left(r.op, 1)
				WHEN '<' THEN greatest(r.warning, r.critical)
					+ abs(greatest(r.warning, r.critical)) * 1e-9 END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN p_window_s END
	WHERE r.no_data IN ('keep', 'ok') AND r.on_error IN ('keep', 'ok') AND CASE
		WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN p_source IN ('samples', 'mounts', 'agents')
			AND r.op IN ('>', '>=', '<', '<=')
		ELSE p_source = 'samples' AND p_agg NOT IN ('absent', 'predict')
			AND (r.op = '>' AND least(r.warning, r.critical) >= 0
				OR r.op = '>=' AND least(r.warning, r.critical) > 0) END
$$;

CREATE OR REPLACE FUNCTION unnest_rules(p_rules alert_rules[]) RETURNS TABLE (place bigint, r alert_rules)
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT n, p_rules[n] FROM generate_subscripts(p_rules, 1) n
$$;

-- What each metric rule at these places of the list needs.
CREATE OR REPLACE FUNCTION metric_needs(p_rules alert_rules[], p_places int[])
RETURNS TABLE (place bigint, rule alert_rules, agg text, pass text, source text, subject text[], expr text,
	window_s float8, ahead_s float8, look text, low float8, high float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH default_of AS MATERIALIZED (SELECT kind, rule_params(kind, '{}') AS params FROM alert_kinds
		WHERE kind IN ('threshold', 'absent')),
	source_of AS MATERIALIZED (SELECT * FROM metric_sources())
	SELECT n.place, n.r, a.agg, pass_of(a.agg), s.source, s.subject, s.expr, w.s,
		(p->>'ahead_s')::float8, l.*
	FROM unnest_rules(p_rules) n
	JOIN default_of d ON d.kind = (n.r).kind
	CROSS JOIN LATERAL (SELECT d.params || jsonb_strip_nulls((n.r).params)) x(p)
	CROSS JOIN LATERAL (SELECT CASE d.kind WHEN 'absent' THEN 'absent' ELSE p->>'agg' END) a(agg)
	JOIN source_of s ON s.metric = (n.r).metric AND s.rows = coalesce(p->>'rows', 'all')
	CROSS JOIN LATERAL (SELECT CASE pass_of(a.agg) WHEN 'newest' THEN (n.r).lookback_s
		ELSE (p->>'window_s')::float8 END) w(s)
	LEFT JOIN LATERAL first_look(n.r, a.agg, s.source, s.expr, w.s) l ON true
	WHERE n.place = ANY (p_places)
$$;

-- SQL for the subject of a row.
CREATE OR REPLACE FUNCTION subject_of(p_server text, p_app text, p_mount text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN format('jsonb_strip_nulls(jsonb_build_object(''server'', %s, ''app'', %s, ''mount'', %s))', p_server,
	p_app, p_mount);

-- The query of a pass for all its rules: columns place, subject, value, problem and tells, which is whether
-- the value matters without an open alert. $1 is the time, $2 the servers to look at (NULL: all), $3 those
-- with open alerts of the rules.
CREATE OR REPLACE FUNCTION shared_query(p_pass text, p_source text, p_subject text[], p_window_s float8,
	p_exprs text[], p_places bigint[], p_values text[], p_conditions text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT u.place, %s, u.value, CASE WHEN u.value IS NULL THEN ''no data'' END, u.tells
		FROM (%s) q CROSS JOIN LATERAL unnest(%L::bigint[], ARRAY[%s], ARRAY[%s]) u(place, value,
			tells)
		WHERE (q.vps_name = ANY ($3) OR %s) AND (u.tells OR q.vps_name = ANY ($3))%s',
		subject_of('q.vps_name', 'q.app_name', 'q.more'),
		pass_query(p_pass, p_source, p_subject, p_window_s, p_exprs, p_values, w.a, w.m), p_places,
		(SELECT string_agg('q.v' || n, ', ' ORDER BY n) FROM generate_subscripts(p_values, 1) n),
		array_to_string(p_conditions, ', '),
		(SELECT string_agg(DISTINCT c, ' OR ') FROM unnest(p_conditions) c),
		CASE WHEN subject_by_value(p_pass, p_source) THEN ' AND u.value IS NOT NULL' END)
	FROM (SELECT format(' AND ($2 IS NULL OR %s.vps_name = ANY ($2))', 'a'),
		format(' AND ($2 IS NULL OR %s.vps_name = ANY ($2))', 'm')) w(a, m)
$$;

-- SQL for: a row of the source has what the looks ask for.
CREATE OR REPLACE FUNCTION look_condition(p_source text, p_looks text[], p_lows float8[], p_highs float8[])
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE p_source WHEN 'mounts' THEN 'm.details @? '
			|| quote_literal('$.mounts[*] ? (' || string_agg(c, ' || ') || ')')
		ELSE string_agg(c, ' OR ') END
	FROM (SELECT look || ' >= ' || min(low) FROM unnest(p_looks, p_lows) u(look, low)
			WHERE low IS NOT NULL GROUP BY look
		UNION ALL SELECT look || ' <= ' || max(high) FROM unnest(p_looks, p_highs) u(look, high)
			WHERE high IS NOT NULL GROUP BY look) x(c)
$$;

-- The passes that the rules at these places need. Windows of several lengths are one pass over the longest,
-- except for series. `look`: only servers with a row that has this need the pass, of a window of look_s;
-- such a pass is of one metric, since few metrics are beyond their levels at a time. NULL: all servers do.
CREATE OR REPLACE FUNCTION passes(p_rules alert_rules[], p_places int[])
RETURNS TABLE (query text, places bigint[], source text, look text, look_s float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH n AS MATERIALIZED (
		SELECT *, max(window_s) OVER w AS longest_s, dense_rank() OVER (w ORDER BY expr) AS nth,
			row_number() OVER (w ORDER BY place) AS v
		FROM metric_needs(p_rules, p_places), LATERAL (SELECT
			CASE pass WHEN 'window' THEN 0 ELSE window_s END,
			CASE WHEN look IS NOT NULL THEN expr END) s(own_s, own)
		WINDOW w AS (PARTITION BY pass, source, subject, own_s, own))
	SELECT shared_query(pass, source, subject, max(longest_s),
			(SELECT array_agg(DISTINCT e ORDER BY e) FROM unnest(array_agg(expr)) e),
			array_agg(place ORDER BY place),
			array_agg(window_value(agg, nth, ahead_s, CASE WHEN pass = 'window' AND window_s <
				longest_s
				THEN window_s END) ORDER BY place),
			array_agg(matters(rule, 'q.v' || v) ORDER BY place)),
		array_agg(place), source, look_condition(source, array_agg(look), array_agg(low),
			array_agg(high)),
		max(greatest(window_s, CASE source WHEN 'mounts' THEN 1800 END))
	FROM n GROUP BY pass, source, subject, own_s, own
$$;

SELECT drop_former_functions() \g /dev/null
-- ==== 71d-plans: the queries of a list of rules, kept ready =====================================
-- An evaluation asks the same questions each minute. So their text is kept, and what a first look at rows has
-- found is kept as long as these rows are in a window: the next look reads only what arrived since. Both are
-- caches: relevant_values() gives the same without them. There is one plan for all active rules, whichever of
-- them are due, so that rows are looked at once.

-- The plan of a list of rules: {"parts": [...], "looks": [...]}. A part is a query with the places of its
-- rules in the list, or the problem of a rule that no query can be made of. A look finds the servers that
-- need parts, by their numbers.
CREATE TABLE IF NOT EXISTS rule_plans (
	key uuid PRIMARY KEY,                   -- rules_key()
	made_at timestamptz NOT NULL,           -- the evaluation
	plan jsonb NOT NULL
);
DELETE FROM rule_plans;                 -- an upgrade makes other queries

-- The servers that a look found among the rows that arrived until then; no part: that it was done.
CREATE TABLE IF NOT EXISTS alert_looks (
	look uuid NOT NULL,
	until timestamptz NOT NULL,
	part int,
	servers text[],
	expires_at timestamptz NOT NULL         -- when the rows have left the window
);
SELECT want_index('alert_looks_look_idx', 'alert_looks (look, until)') \g /dev/null
GRANT SELECT ON rule_plans, alert_looks TO observ_hub, observ_watch;

-- Plans that are kept. Rules that change need another one.
CREATE OR REPLACE FUNCTION max_rule_plans() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 3;
-- A row may commit so long after its time of arrival, and a look still finds it.
CREATE OR REPLACE FUNCTION look_overlap() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '1 minute';

CREATE OR REPLACE FUNCTION rules_key(p_rules alert_rules[]) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT md5(string_agg(hash_record_extended(r, 0)::text, ' ' ORDER BY place))::uuid
	FROM unnest_rules(p_rules)
$$;

-- ---- making a plan ---------------------------------------------------------------------------------
-- The query of a rule that is no metric rule, as a part: columns as shared_query() has them. An error always
-- tells.
CREATE OR REPLACE FUNCTION own_query(r alert_rules, p_place bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT %s::bigint, %s || coalesce(q.more, ''{}''), q.value::float8, q.problem,
		%s OR coalesce(q.problem <> ''no data'', false) FROM (%s) q',
		p_place, subject_of('q.server', 'q.app', 'NULL'), matters(r, 'q.value'), query)
	FROM kind_query(r, false) query WHERE query IS NOT NULL
$$;

-- The parts of the rules at these places. Rules that no query can be made of are found by halving the list.
CREATE OR REPLACE FUNCTION plan_parts(p_rules alert_rules[], p_places int[], p_metrics boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_half CONSTANT int := cardinality(p_places) / 2;
BEGIN
	IF p_metrics THEN
		RETURN (SELECT coalesce(jsonb_agg(to_jsonb(p)), '[]') FROM passes(p_rules, p_places) p);
	END IF;
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('places', ARRAY[n]) || CASE
			WHEN q IS NULL THEN '{"problem": "there is no kind of this name"}'
			ELSE jsonb_build_object('query', q) END), '[]')
		FROM unnest(p_places) n, LATERAL (SELECT own_query(p_rules[n], n)) x(q));
EXCEPTION WHEN OTHERS THEN
	IF v_half = 0 THEN
		RETURN jsonb_build_array(jsonb_build_object('places', p_places, 'problem', sqlerrm));
	END IF;
	RETURN plan_parts(p_rules, p_places[:v_half], p_metrics)
		|| plan_parts(p_rules, p_places[v_half + 1:], p_metrics);
END
$$;

-- The look at the rows of each source: $1 is the time, $2 that after which rows arrived.
CREATE OR REPLACE FUNCTION plan_looks(p_parts jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('key', md5(query), 'query', query, 'source', source,
		'look_s', look_s)), '[]')
	FROM (SELECT source, max(look_s) AS look_s, format('SELECT (%L::int[])[n] AS part,
			array_agg(DISTINCT vps_name) AS servers, max(%s) AS newest
			FROM %s CROSS JOIN LATERAL unnest(ARRAY[%s]) WITH ORDINALITY u(hit, n)
			WHERE %s AND (%s) AND hit GROUP BY n', array_agg(n ORDER BY n),
			CASE source WHEN 'agents' THEN '$1' ELSE 'm."timestamp"' END,
			CASE source WHEN 'agents' THEN 'agents a' ELSE 'vps_metrics m' END,
			string_agg(look, ', ' ORDER BY n),
			CASE source WHEN 'agents' THEN judged('a') || ' AND $2 IS NOT NULL' ELSE format(
				'm."timestamp" >= $1 - %s AND m.received_at <= $1 AND m.received_at > $2
				AND NOT m.backfill', seconds(max(look_s))) END,
			string_agg(look, ' OR ')) AS query
		FROM jsonb_array_elements(p_parts) WITH ORDINALITY p(part, n),
			jsonb_to_record(part) x(source text, look text, look_s float8)
		WHERE look IS NOT NULL GROUP BY source) l
$$;

CREATE OR REPLACE FUNCTION made_plan(p_rules alert_rules[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('looks', plan_looks(parts), 'parts', (SELECT coalesce(jsonb_agg(CASE
			WHEN p->>'look' IS NULL THEN p ELSE p || '{"look": true}' END ORDER BY n), '[]')
		FROM jsonb_array_elements(parts) WITH ORDINALITY x(p, n)))
	FROM (SELECT plan_parts(p_rules, array_agg(n) FILTER (WHERE metric), true)
			|| plan_parts(p_rules, array_agg(n) FILTER (WHERE NOT metric), false) AS parts
		FROM (SELECT place::int AS n, (r).kind IN ('threshold', 'absent') AS metric
			FROM unnest_rules(p_rules)) u) x
$$;

CREATE OR REPLACE FUNCTION rule_plan(p_rules alert_rules[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT plan FROM rule_plans WHERE key = rules_key(p_rules)), made_plan(p_rules))
$$;

CREATE OR REPLACE FUNCTION keep_plan(p_rules alert_rules[], p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_key CONSTANT uuid := rules_key(p_rules);
	ret jsonb := (SELECT plan FROM rule_plans WHERE key = v_key);
BEGIN
	IF ret IS NULL THEN
		ret := made_plan(p_rules);
		INSERT INTO rule_plans VALUES (v_key, p_now, ret);
		DELETE FROM rule_plans WHERE key IN (SELECT key FROM rule_plans
			ORDER BY made_at DESC, key OFFSET max_rule_plans());
	END IF;
	RETURN ret;
END
$$;

-- A plan in which each rule fails.
CREATE OR REPLACE FUNCTION failed_plan(p_rules alert_rules[], p_problem text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('looks', '[]'::jsonb, 'parts', jsonb_agg(jsonb_build_object(
		'places', ARRAY[n], 'problem', p_problem))) FROM generate_subscripts(p_rules, 1) n
$$;

-- ---- rules that take long ----------------------------------------------------------------------------
-- The time that a statement may take ends it wherever it is. These say which rules are to blame: the error
-- goes on with their ids as its detail, and evaluate_alerts() takes it.

-- The rules of the parts that took at least half as long as the slowest, if these parts began at these times
-- and the last one has not ended.
CREATE OR REPLACE FUNCTION slowest_rules(p_plan jsonb, p_ids uuid[], p_parts bigint[],
	p_starts timestamptz[]) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT array_agg(DISTINCT p_ids[place::int])
	FROM (SELECT part, took, max(took) OVER () AS longest
		FROM (SELECT part, lead(at, 1, clock_timestamp()) OVER (ORDER BY i) - at AS took
			FROM unnest(p_parts, p_starts) WITH ORDINALITY u(part, at, i)) x) y,
		jsonb_array_elements_text(p_plan->'parts'->(part - 1)::int->'places') place
	WHERE took >= longest / 2
$$;

-- The rules whose first look goes back furthest.
CREATE OR REPLACE FUNCTION longest_looks(p_plan jsonb, p_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT array_agg(DISTINCT p_ids[place::int])
	FROM (SELECT part, rank() OVER (ORDER BY (part->>'look_s')::float8 DESC) AS nth
		FROM jsonb_array_elements(p_plan->'parts') part
		WHERE part ? 'look' AND part->>'source' <> 'agents') x,
		jsonb_array_elements_text(part->'places') place
	WHERE nth = 1
$$;

CREATE OR REPLACE FUNCTION blame(p_rules uuid[], p_message text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'query_canceled', MESSAGE = p_message,
		DETAIL = coalesce(p_rules::text, '');
END
$$;

-- ---- looks -------------------------------------------------------------------------------------------
-- The servers that need each part, and until when. What agents say of themselves is looked at anew each time.
CREATE OR REPLACE FUNCTION look_at(p_look jsonb, p_after timestamptz, p_now timestamptz)
RETURNS TABLE (part int, servers text[], expires_at timestamptz)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT part, servers, newest + %s FROM (%s) l',
		seconds((p_look->>'look_s')::float8), p_look->>'query')
		USING p_now, coalesce(p_after - look_overlap(), '-infinity');
END
$$;

-- Until when a look was done. NULL: never, or later than now, since the clock was set back.
CREATE OR REPLACE FUNCTION looked_until(p_look jsonb, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN max(until) <= p_now THEN max(until) END FROM alert_looks
	WHERE look = (p_look->>'key')::uuid AND p_look->>'source' <> 'agents'
$$;

CREATE OR REPLACE FUNCTION keep_looks(p_looks jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	l jsonb;
	v_after timestamptz;
BEGIN
	DELETE FROM alert_looks WHERE expires_at < p_now;
	FOR l IN SELECT e FROM jsonb_array_elements(p_looks) e WHERE e->>'source' <> 'agents' LOOP
		v_after := looked_until(l, p_now);
		CONTINUE WHEN v_after = p_now;
		INSERT INTO alert_looks (look, until, part, servers, expires_at)
			SELECT (l->>'key')::uuid, p_now, x.part, x.servers, x.expires_at
			FROM look_at(l, v_after, p_now) x
			UNION ALL SELECT (l->>'key')::uuid, p_now, NULL, NULL,
				p_now + make_interval(secs => (l->>'look_s')::float8);
	END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION looked_servers(p_looks jsonb, p_now timestamptz)
RETURNS TABLE (part int, servers text[])
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	l jsonb;
	v_after timestamptz;
BEGIN
	FOR l IN SELECT jsonb_array_elements(p_looks) LOOP
		v_after := looked_until(l, p_now);
		RETURN QUERY SELECT k.part, k.servers FROM alert_looks k
			WHERE k.look = (l->>'key')::uuid AND k.part IS NOT NULL AND v_after IS NOT NULL
				AND k.expires_at >= p_now;
		IF v_after IS DISTINCT FROM p_now THEN
			RETURN QUERY SELECT x.part, x.servers FROM look_at(l, v_after, p_now) x;
		END IF;
	END LOOP;
END
$$;

-- ---- the values --------------------------------------------------------------------------------------
-- The values of one rule, where those of several could not be had. An error is a value that is missing, of
-- each open alert of the rule, and of the rule as a whole.
CREATE OR REPLACE FUNCTION relevant_values_of(p_place bigint, r alert_rules, p_now timestamptz)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_rows jsonb;
BEGIN
	EXECUTE format('SELECT jsonb_agg(jsonb_build_array(v.subject, v.value::text, v.problem))
		FROM rule_values($1, $2, false) v WHERE %s OR v.problem <> ''no data'' OR ($3, v.subject) IN (
			SELECT rule_id, subject FROM alerts WHERE state <> ''resolved'')',
		matters(r, 'v.value')) INTO v_rows USING r, p_now, r.rule_id;
	RETURN QUERY SELECT p_place, e->0, (e->>1)::float8, e->>2
		FROM jsonb_array_elements(v_rows) e;
EXCEPTION WHEN OTHERS THEN
	RETURN QUERY SELECT * FROM rule_error(p_place, r, sqlerrm);
END
$$;

CREATE OR REPLACE FUNCTION rule_error(p_place bigint, r alert_rules, p_problem text)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE sql STABLE ROWS 1 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT p_place, a.subject, NULL::float8, p_problem FROM alerts a
	WHERE a.rule_id = r.rule_id AND a.state <> 'resolved'
	UNION SELECT p_place, '{}', NULL, p_problem
$$;

-- What the matchers of rules see of subjects. A subject of a whole server has all its applications as `app`.
CREATE OR REPLACE FUNCTION scopes_of(p_subjects jsonb[]) RETURNS TABLE (subject jsonb, labels jsonb)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_servers CONSTANT text[] := ARRAY(SELECT DISTINCT s->>'server' FROM unnest(p_subjects) s
		WHERE s ? 'server' AND NOT s ? 'app');
	v_apps CONSTANT jsonb := (SELECT jsonb_object_agg(vps_name, names) FROM (
		SELECT vps_name, jsonb_agg(app_name ORDER BY app_name) AS names FROM agents
		WHERE retired_at IS NULL AND vps_name = ANY (v_servers) GROUP BY 1) a);
BEGIN
	RETURN QUERY SELECT s, CASE WHEN s->>'server' IS NULL OR s ? 'app' THEN '{}'
			ELSE jsonb_build_object('app', coalesce(v_apps->(s->>'server'), '[]')) END
		|| CASE WHEN v.labels IS NULL THEN '{}' ELSE flat_labels(v.labels) END || s
	FROM (SELECT DISTINCT u FROM unnest(p_subjects) u) x(s)
	LEFT JOIN servers v ON v.vps_name = s->>'server';
END
$$;

-- The values of a list of rules that may change an alert. place: of the rule in the list, from 1. p_due: the
-- ids of those that are asked for; NULL: all. p_plan: rule_plan() of the list, if the caller has it.
CREATE OR REPLACE FUNCTION relevant_values(p_rules alert_rules[], p_now timestamptz,
	p_due uuid[] DEFAULT NULL, p_plan jsonb DEFAULT NULL)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	v_ids CONSTANT uuid[] := ARRAY(SELECT (r).rule_id FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_matches CONSTANT jsonb[] := ARRAY(SELECT (r).match FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_plan CONSTANT jsonb := coalesce(p_plan, rule_plan(p_rules));
	v_parts bigint[] := '{}';
	v_starts timestamptz[] := '{}';
	q record;
	rows record;
BEGIN
	FOR q IN WITH part AS MATERIALIZED (
			SELECT n, p.* FROM jsonb_array_elements(v_plan->'parts') WITH ORDINALITY e(part, n),
				jsonb_to_record(part) p(query text, places bigint[], look boolean,
					problem text)
			WHERE p_due IS NULL OR EXISTS (SELECT FROM unnest(places) i
				WHERE v_ids[i] = ANY (p_due))),
		seen AS (SELECT s.part, array_agg(DISTINCT name) AS servers
			FROM looked_servers(v_plan->'looks', p_now) s, unnest(s.servers) name
			WHERE EXISTS (SELECT FROM part WHERE part.look) GROUP BY 1),
		open AS (SELECT n, array_agg(DISTINCT a.subject->>'server')
				FILTER (WHERE a.subject ? 'server') AS servers
			FROM part CROSS JOIN unnest(places) i JOIN alerts a ON a.rule_id = v_ids[i]
			WHERE a.state <> 'resolved' GROUP BY 1)
		SELECT p.n, p.query, p.places, p.problem, p.look, s.servers, o.n IS NOT NULL AS has_open,
			coalesce(o.servers, '{}') AS open
		FROM part p LEFT JOIN seen s ON s.part = p.n LEFT JOIN open o USING (n)
		WHERE p.look IS NULL OR s.part IS NOT NULL OR o.n IS NOT NULL LOOP
		v_parts := v_parts || q.n;
		v_starts := v_starts || clock_timestamp();
		IF q.problem IS NOT NULL THEN
			RETURN QUERY SELECT * FROM rule_error(q.places[1], p_rules[q.places[1]], q.problem);
			CONTINUE;
		END IF;
		BEGIN
			EXECUTE format('SELECT array_agg(place) AS place, array_agg(subject) AS subject,
				array_agg(value) AS value, array_agg(problem) AS problem,
				array_agg(tells) AS tells
				FROM (%s) v(place, subject, value, problem, tells)%s', q.query,
				CASE WHEN NOT q.has_open THEN ' WHERE tells' END) INTO rows
				USING p_now, CASE WHEN q.look THEN q.servers || q.open END, q.open;
			CONTINUE WHEN rows.place IS NULL;
			SELECT array_agg(u.place) AS place, array_agg(u.subject) AS subject,
				array_agg(u.value) AS value, array_agg(u.problem) AS problem INTO rows
				FROM unnest(rows.place, rows.subject, rows.value, rows.problem, rows.tells)
					u(place, subject, value, problem, tells)
				LEFT JOIN scopes_of(CASE WHEN EXISTS (SELECT FROM unnest(q.places) n
					WHERE v_matches[n] <> '[]') THEN rows.subject END) s
					ON s.subject = u.subject
				WHERE (u.tells OR (v_ids[u.place], u.subject) IN (SELECT a.rule_id, a.subject
						FROM alerts a WHERE a.state <> 'resolved'))
					AND (p_due IS NULL OR v_ids[u.place] = ANY (p_due))
					AND CASE WHEN v_matches[u.place] = '[]' THEN true
						ELSE labels_match(v_matches[u.place], s.labels) END;
		EXCEPTION WHEN OTHERS THEN              -- one rule's error must not stop the others
			SELECT array_agg(v.place) AS place, array_agg(v.subject) AS subject,
				array_agg(v.value) AS value, array_agg(v.problem) AS problem INTO rows
				FROM unnest(q.places) n, relevant_values_of(n, p_rules[n], p_now) v
				WHERE p_due IS NULL OR v_ids[n] = ANY (p_due);
		END;
		RETURN QUERY SELECT * FROM unnest(rows.place, rows.subject, rows.value, rows.problem);
	END LOOP;
EXCEPTION WHEN query_canceled THEN
	PERFORM blame(slowest_rules(v_plan, v_ids, v_parts, v_starts), sqlerrm);
END
$$;

SELECT drop_former_functions() \g /dev/null
-- ==== 72-engine: from values to alerts ==========================================================
-- Two halves that can be proven apart. rule_values() (71-values) gives the value of each subject of a
-- rule. alert_step() makes the next state of an alert of its state, a value, the rule and a time: it
-- reads nothing else. evaluate_alerts() joins them at each time of each rule. docs/alerts.md has the
-- semantics.
--
-- A rule is evaluated at the multiples of interval_s since the epoch, whenever evaluate_alerts() is called.
-- So the same data give the same alerts and alert_changes, with the same ids, whoever evaluates and when.

-- ---- one alert: pure -------------------------------------------------------------------------------
-- These functions run for each alert at each evaluation: they name the schema, because a search path of their
-- own costs more than what they do.

-- As IEEE 754 compares: NaN is neither above nor below anything.
CREATE OR REPLACE FUNCTION beyond(p_value float8, p_op text, p_threshold float8) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(CASE p_op
	WHEN '>' THEN p_value > p_threshold AND p_value <> 'NaN'
	WHEN '>=' THEN p_value >= p_threshold AND p_value <> 'NaN'
	WHEN '<' THEN p_value < p_threshold
	WHEN '<=' THEN p_value <= p_threshold
	WHEN '==' THEN p_value = p_threshold
	WHEN '!=' THEN p_value <> p_threshold END, false);

-- One level of an alert: since the first true condition, whether it fires, and since the first false one
-- while keep_firing_s lets it fire. A longer for_s makes a firing one wait again.
CREATE OR REPLACE FUNCTION level_step(INOUT since timestamptz, INOUT fires boolean,
	INOUT clear_since timestamptz, p_condition boolean, r alert_rules, p_now timestamptz)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF p_condition THEN
		since := coalesce(since, p_now);
		clear_since := NULL;
		fires := p_now - since >= make_interval(secs => r.for_s);
		RETURN;
	END IF;
	IF fires THEN
		clear_since := coalesce(clear_since, p_now);
		fires := p_now - clear_since < make_interval(secs => r.keep_firing_s);
	END IF;
	IF NOT fires THEN
		since := NULL;
		clear_since := NULL;
	END IF;
END
$$;

-- What the rule says about a value that is missing for this reason.
CREATE OR REPLACE FUNCTION policy_of(r alert_rules, p_problem text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(p_problem, 'no data') = 'no data' THEN (r).no_data ELSE (r).on_error END;

-- The levels whose condition is true, 1 warning + 2 critical. NULL: the policy is a state of its own. An
-- alert that fires is held against the values at which it ends.
CREATE OR REPLACE FUNCTION levels_beyond(a alerts, p_value float8, p_problem text, r alert_rules) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_value IS NOT NULL THEN
		beyond(p_value, r.op, CASE WHEN (a).warning_fires
			THEN coalesce((r).warning_clear, (r).warning) ELSE (r).warning END)::int
		+ 2 * beyond(p_value, r.op, CASE WHEN (a).critical_fires
			THEN coalesce((r).critical_clear, (r).critical) ELSE (r).critical END)::int
	ELSE CASE policy_of(r, p_problem)
		WHEN 'keep' THEN coalesce((a).last_levels, 0)
		WHEN 'ok' THEN 0
		WHEN 'alert' THEN coalesce(nullif((a).last_levels, 0),
			CASE WHEN (r).warning IS NULL THEN 2 ELSE 1 END)
		END
	END;

-- The end of an alert. One that never fired leaves nothing behind, so its state is NULL.
CREATE OR REPLACE FUNCTION alert_ended(a alerts, p_reason text, p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	a.state := CASE WHEN a.fired_at IS NOT NULL THEN 'resolved' END;
	a.resolved_at := p_now;
	a.resolve_reason := p_reason;
	RETURN a;
END
$$;

-- The next state of an alert. Its state is NULL before its start and after the end of one that never
-- fired. p_value is NULL if there is a problem: 'no data', 'missing' (others answered, this subject did
-- not), 'retired' and 'rule' (the subject or the rule is out of service), or the sentence of an error.
CREATE OR REPLACE FUNCTION alert_step(a alerts, p_value float8, p_problem text, r alert_rules,
	p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	v_wait CONSTANT interval := make_interval(secs => r.for_s);
	v_levels int;
	l record;
BEGIN
	IF p_problem IN ('retired', 'rule') OR (p_problem = 'missing' AND a.missing >= 1) THEN
		RETURN observ.alert_ended(a, p_problem, p_now);
	END IF;
	IF p_problem = 'missing' THEN
		a.missing := a.missing + 1;
		RETURN a;
	END IF;
	a.missing := 0;
	a.problem := CASE WHEN p_value IS NULL THEN coalesce(p_problem, 'no data') END;
	a.value := coalesce(p_value, a.value);
	a.warning_fires := coalesce(a.warning_fires AND p_now - a.warning_since >= v_wait, false);
	a.critical_fires := coalesce(a.critical_fires AND p_now - a.critical_since >= v_wait, false);
	v_levels := observ.levels_beyond(a, p_value, a.problem, r);
	IF v_levels IS NULL THEN
		RETURN observ.alert_in_error(a, r, p_now);
	END IF;
	a.last_levels := v_levels;
	l := observ.level_step(a.warning_since, a.warning_fires, a.warning_clear_since, v_levels & 1 > 0, r,
		p_now);
	a.warning_since := l.since;
	a.warning_fires := l.fires;
	a.warning_clear_since := l.clear_since;
	l := observ.level_step(a.critical_since, a.critical_fires, a.critical_clear_since,
		v_levels & 2 > 0, r, p_now);
	a.critical_since := l.since;
	a.critical_fires := l.fires;
	a.critical_clear_since := l.clear_since;
	IF a.warning_since IS NULL AND a.critical_since IS NULL THEN
		RETURN observ.alert_ended(a, CASE WHEN a.problem IS NULL THEN 'clear' ELSE 'no data' END,
			p_now);
	END IF;
	a.active_since := least(a.warning_since, a.critical_since);
	a.state := CASE WHEN a.warning_fires OR a.critical_fires THEN 'firing' ELSE 'pending' END;
	a.severity := CASE WHEN a.critical_fires OR (a.critical_since IS NOT NULL AND NOT a.warning_fires)
		THEN 'critical' ELSE 'warning' END;
	a.threshold := CASE a.severity WHEN 'critical' THEN r.critical ELSE r.warning END;
	IF a.state = 'firing' THEN
		a.fired_at := coalesce(a.fired_at, p_now);
	END IF;
	RETURN a;
END
$$;

-- The state `error`: at once, and what waited starts anew afterwards.
CREATE OR REPLACE FUNCTION alert_in_error(a alerts, r alert_rules, p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF a.state IS DISTINCT FROM 'error' THEN
		a.active_since := p_now;
	END IF;
	a.state := 'error';
	a.severity := CASE WHEN r.warning IS NULL THEN 'critical' ELSE 'warning' END;
	a.warning_since := NULL;
	a.warning_fires := false;
	a.warning_clear_since := NULL;
	a.critical_since := NULL;
	a.critical_fires := false;
	a.critical_clear_since := NULL;
	a.fired_at := coalesce(a.fired_at, p_now);
	RETURN a;
END
$$;

-- The start of a level after an absence, as Prometheus restores it: the time away does not count as
-- waiting, and so much is left that a healthy value may arrive first. It never waits longer than a new
-- one.
CREATE OR REPLACE FUNCTION restored_since(p_since timestamptz, p_fires boolean, p_for interval,
	p_down timestamptz, p_now timestamptz, p_grace interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_fires OR p_down - p_since >= p_for THEN p_since
	WHEN p_for - (p_down - p_since) < p_grace THEN least(p_now + p_grace - p_for, p_now)
	ELSE p_since + (p_now - p_down) END;

-- ---- rules -----------------------------------------------------------------------------------------
-- A rule as it holds for the subjects of an override. One that can't be applied changes nothing.
CREATE OR REPLACE FUNCTION patched_rule(r alert_rules, p_changes jsonb) RETURNS alert_rules
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN jsonb_populate_record(r, p_changes - '{rule_id,name,kind,metric,params,match}'::text[]);
EXCEPTION WHEN OTHERS THEN
	RETURN r;
END
$$;

-- A rule as it holds for its subjects, and for those that each of its patches matches.
CREATE OR REPLACE FUNCTION rule_variants(r alert_rules) RETURNS TABLE (rule alert_rules, patch_id uuid)
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
	SELECT r, NULL::uuid
	UNION ALL
	SELECT patched_rule(r, p.changes), p.patch_id FROM rule_patches p WHERE p.rule_id = r.rule_id;
END;

-- The patch that counts for a subject. NULL: none.
CREATE OR REPLACE FUNCTION patch_of(p_rule uuid, p_subject jsonb) RETURNS uuid
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT patch_id FROM rule_patches
	WHERE rule_id = p_rule AND labels_match(match, subject_labels(p_subject))
	ORDER BY position, patch_id LIMIT 1
$$;

-- The order of rules in one evaluation: the silence of the fleet comes first, since it says whether the
-- others are judged; rules that count the alerts of another one come after it, and what tells of rules that
-- failed comes last.
CREATE OR REPLACE FUNCTION rule_rank(r alert_rules) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE (r).kind WHEN 'fleet_silent' THEN -1 WHEN 'count_firing' THEN 1 WHEN 'rule_error' THEN 2
	ELSE 0 END;

-- Whether nothing arrives from anywhere: then the fault is ours.
CREATE OR REPLACE FUNCTION fleet_is_silent() RETURNS boolean
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM alerts JOIN alert_rules r USING (rule_id)
		WHERE state = 'firing' AND r.kind = 'fleet_silent')
$$;

-- What matchers of routes and silences see of an alert.
CREATE OR REPLACE FUNCTION alert_labels(a alerts, r alert_rules, p_server_labels jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (r).rule_id IS NULL THEN (a).labels
	ELSE CASE WHEN p_server_labels IS NULL THEN '{}' ELSE flat_labels(p_server_labels) END || (a).subject
	|| (r).labels || jsonb_build_object('rule', (r).name, 'severity', (a).severity) END;

-- Why an alert changed.
CREATE OR REPLACE FUNCTION change_reason(p_old alerts, p_new alerts) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN coalesce((p_new).state, 'resolved') = 'resolved' THEN (p_new).resolve_reason
	WHEN (p_new).state = (p_old).state THEN 'severity'
	WHEN (p_new).state = 'pending' AND (p_old).state = 'firing' THEN 'for'
	ELSE coalesce((p_new).problem, 'value') END;

-- ---- one evaluation ----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION retired_servers(p_at timestamptz) RETURNS TABLE (server text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT vps_name FROM servers WHERE retired_at <= p_at
		UNION SELECT vps_name FROM agents
			GROUP BY 1 HAVING bool_and(coalesce(retired_at <= p_at, false));
END
$$;

CREATE OR REPLACE FUNCTION new_alert(p_rule uuid, p_key uuid, p_subject jsonb, p_at timestamptz)
RETURNS alerts LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	a observ.alerts;
BEGIN
	a.alert_id := md5(concat(p_rule, p_key, extract(epoch FROM p_at)))::uuid;
	a.rule_id := p_rule;
	a.subject_key := p_key;
	a.subject := p_subject;
	a.warning_fires := false;
	a.critical_fires := false;
	a.last_levels := 0;
	a.missing := 0;
	RETURN a;
END
$$;

-- The subjects for which something may change: those that have an open alert, and those whose value or
-- policy raises one. All others cost no more than their value. Alerts of rules that are gone are in each
-- answer. p_alone: nothing is read but for these rules; p_problem: not even for them, since they failed. A
-- full join: whatever the planner knows of the alerts, it takes no nested loop.
CREATE OR REPLACE FUNCTION rule_hits(p_due uuid[], p_at timestamptz, p_alone boolean, p_problem text)
RETURNS TABLE (rule alert_rules, subject jsonb, key uuid, value float8, problem text, old alerts)
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_patched CONSTANT uuid[] := ARRAY(SELECT DISTINCT rule_id FROM rule_patches);
	v_rules alert_rules[];
	v_ids uuid[];
	v_patches uuid[];
	v_plan jsonb;
BEGIN
	SELECT array_agg(v.rule), array_agg((v.rule).rule_id), array_agg(v.patch_id)
		INTO v_rules, v_ids, v_patches
		FROM (SELECT x.* FROM alert_rules r, rule_variants(r) x WHERE r.is_active AND CASE
				WHEN p_alone THEN r.rule_id = ANY (p_due)
				ELSE r.rule_id NOT IN (SELECT s.rule_id FROM slow_rules s) END
			ORDER BY r.rule_id, x.patch_id) v;
	v_plan := CASE WHEN v_rules IS NULL THEN NULL
		WHEN p_problem IS NOT NULL THEN failed_plan(v_rules, p_problem)
		WHEN p_alone THEN made_plan(v_rules)
		ELSE keep_plan(v_rules, p_at) END;
	BEGIN
		PERFORM keep_looks(v_plan->'looks', p_at)
			WHERE NOT p_alone AND EXISTS (SELECT FROM unnest(v_rules) r
				WHERE (r).rule_id = ANY (p_due) AND (r).kind = 'threshold');
	EXCEPTION WHEN query_canceled THEN
		PERFORM blame(longest_looks(v_plan, v_ids), sqlerrm);
	END;
	RETURN QUERY
	WITH open AS MATERIALIZED (
		SELECT a.rule_id, a.subject, a, r, r.is_active IS NOT true AS is_off
		FROM alerts a LEFT JOIN alert_rules r USING (rule_id)
		WHERE a.state <> 'resolved' AND (r.is_active IS NOT true OR a.rule_id = ANY (p_due))),
	value AS MATERIALIZED (
		SELECT v_ids[v.place] AS rule_id, v.subject, v.value, v.problem, v_rules[v.place] AS r
		FROM relevant_values(v_rules, p_at, p_due, v_plan) v
		WHERE NOT v_ids[v.place] = ANY (v_patched)
			OR v_patches[v.place] IS NOT DISTINCT FROM patch_of(v_ids[v.place], v.subject))
	SELECT coalesce(v.r, o.r), s, md5(s::text)::uuid, v.value, CASE
			WHEN v.rule_id IS NULL THEN CASE WHEN o.is_off THEN 'rule' ELSE 'missing' END
			WHEN (v.r).is_active THEN v.problem
			ELSE 'rule' END, o.a
	FROM value v FULL JOIN open o ON o.rule_id = v.rule_id AND o.subject = v.subject,
		LATERAL (SELECT coalesce(v.subject, o.subject)) x(s);
END
$$;

-- Evaluates rules at one time, and writes the alerts and their changes. Returns how many changed. What
-- people said of an alert meanwhile is not touched. The error of a rule as a whole is noted. p_alone and
-- p_problem are those of rule_hits().
CREATE OR REPLACE FUNCTION judge(p_due uuid[], p_at timestamptz, p_alone boolean DEFAULT false,
	p_problem text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_changes bigint;
BEGIN
	WITH stepped AS MATERIALIZED (
		SELECT h.rule, h.old, v.labels, CASE WHEN h.subject = '{}' AND h.value IS NULL
				AND h.problem NOT IN ('no data', 'missing', 'retired', 'rule')
				THEN h.problem END AS error,
			alert_step(
			coalesce(h.old, new_alert((h.rule).rule_id, h.key, h.subject, p_at)), h.value,
			CASE WHEN r.server IS NULL THEN h.problem ELSE 'retired' END, h.rule, p_at) AS new
		FROM rule_hits(p_due, p_at, p_alone, p_problem) h
		LEFT JOIN retired_servers(p_at) r ON r.server = h.subject->>'server'
		LEFT JOIN servers v ON v.vps_name = h.subject->>'server'),
	step AS MATERIALIZED (SELECT old, new, alert_labels(new, rule, labels) AS labels FROM stepped),
	noted AS (SELECT CASE WHEN count(*) > 0 OR EXISTS (SELECT FROM rule_problems)
			THEN note_problems(p_due, coalesce(jsonb_object_agg((rule).rule_id, error), '{}'),
				p_at) END
		FROM stepped WHERE error IS NOT NULL),
	ended AS (DELETE FROM alerts a USING step s
		WHERE a.alert_id = (s.old).alert_id AND (s.new).state IS NULL),
	written AS (
		INSERT INTO alerts AS a (alert_id, rule_id, subject_key, subject, labels, state, severity,
			active_since, warning_since, warning_fires, warning_clear_since, critical_since,
			critical_fires, critical_clear_since, fired_at, resolved_at, resolve_reason, value,
			threshold, problem, last_levels, missing, evaluated_at)
		SELECT (new).alert_id, (new).rule_id, (new).subject_key, (new).subject,
			labels, (new).state, (new).severity, (new).active_since,
			(new).warning_since, (new).warning_fires, (new).warning_clear_since,
			(new).critical_since, (new).critical_fires, (new).critical_clear_since,
			(new).fired_at, (new).resolved_at, (new).resolve_reason, (new).value,
			(new).threshold, (new).problem, (new).last_levels, (new).missing, p_at
		FROM step WHERE (new).state IS NOT NULL
			AND (old IS DISTINCT FROM new OR (old).labels IS DISTINCT FROM labels)
		ON CONFLICT (alert_id) DO UPDATE SET (labels, state, severity, active_since, warning_since,
			warning_fires, warning_clear_since, critical_since, critical_fires,
			critical_clear_since, fired_at, resolved_at, resolve_reason, value, threshold,
			problem, last_levels, missing, evaluated_at) = (excluded.labels, excluded.state,
			excluded.severity, excluded.active_since, excluded.warning_since,
			excluded.warning_fires, excluded.warning_clear_since, excluded.critical_since,
			excluded.critical_fires, excluded.critical_clear_since, excluded.fired_at,
			excluded.resolved_at, excluded.resolve_reason, excluded.value, excluded.threshold,
			excluded.problem, excluded.last_levels, excluded.missing, excluded.evaluated_at)),
	changed AS (
		INSERT INTO alert_changes (at, rule_id, alert_id, subject_key, from_state, to_state, severity,
			value, reason)
		SELECT p_at, (new).rule_id, (new).alert_id, (new).subject_key,
			coalesce((old).state, 'inactive'), coalesce((new).state, 'inactive'), (new).severity,
			(new).value, change_reason(old, new)
		FROM step WHERE (old).state IS DISTINCT FROM (new).state
			OR (old).severity IS DISTINCT FROM (new).severity AND (new).state IS NOT NULL
		ORDER BY (new).rule_id, (new).subject_key
		RETURNING 1)
	SELECT (SELECT count(*) FROM changed) INTO v_changes FROM noted;
	RETURN v_changes;
END
$$;

-- p_problems: {rule: problem} of those that were due.
CREATE OR REPLACE FUNCTION note_problems(p_due uuid[], p_problems jsonb, p_at timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	DELETE FROM rule_problems WHERE rule_id = ANY (p_due) AND NOT p_problems ? rule_id::text;
	INSERT INTO rule_problems AS p
	SELECT key::uuid, left(value, 1000), p_at FROM jsonb_each_text(p_problems)
	ON CONFLICT (rule_id) DO UPDATE SET problem = excluded.problem WHERE p.problem <> excluded.problem
$$;

-- The same for rules of which one may fail in a way that nobody foresaw: it is found by halving the list, and
-- the others are judged. What is no fault of a rule fails as a whole: a lost connection, no space, a
-- deadlock.
CREATE OR REPLACE FUNCTION judge_apart(p_due uuid[], p_at timestamptz, p_alone boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_half CONSTANT int := cardinality(p_due) / 2;
BEGIN
	RETURN judge(p_due, p_at, p_alone);
EXCEPTION WHEN OTHERS THEN
	IF left(sqlstate, 2) IN ('08', '40', '53', '55', '57', '58') OR p_due = '{}' THEN
		RAISE;
	ELSIF v_half = 0 THEN
		PERFORM note_problems(p_due, jsonb_build_object(p_due[1], sqlerrm), p_at);
		RETURN 0;
	END IF;
	RETURN judge_apart(p_due[:v_half], p_at, p_alone) + judge_apart(p_due[v_half + 1:], p_at, p_alone);
END
$$;

-- ---- rules that take too long ------------------------------------------------------------------------
-- A statement_timeout ends what runs wherever it is, and it ends it once: what follows in the same statement
-- has no limit. So all that is done then is to note who is to blame, and the caller calls again. A rule that
-- was to blame is judged by itself from then on, in a call of its own after the others. If it takes too long
-- there too it has failed, and is tried again later.

-- The limit of this statement; NULL: it has none.
CREATE OR REPLACE FUNCTION time_limit() RETURNS interval
LANGUAGE sql STABLE RETURN nullif(current_setting('statement_timeout')::interval, '0');

-- Whether so large a part of it has passed.
CREATE OR REPLACE FUNCTION time_passed(p_share float8) RETURNS boolean
LANGUAGE sql VOLATILE
RETURN coalesce(clock_timestamp() - statement_timestamp() > p_share * time_limit(), false);

-- Rules that were to blame, as the detail of the error. Whether there are any.
CREATE OR REPLACE FUNCTION note_slow(p_rules text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO slow_rules (rule_id, rule_hash, expires_at)
		SELECT rule_id, hash_record_extended(r, 0), p_now + interval '1 hour' FROM alert_rules r
		WHERE rule_id = ANY (nullif(p_rules, '')::uuid[])
			AND kind <> 'fleet_silent'      -- the others wait for it
		ON CONFLICT (rule_id) DO UPDATE SET expires_at = excluded.expires_at;
	RETURN FOUND;
END
$$;

-- The next try is later each time.
CREATE OR REPLACE FUNCTION note_failed(s slow_rules, p_now timestamptz) RETURNS text
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE slow_rules SET due_at = NULL, tries = s.tries + 1, retry_at = retry,
		expires_at = retry + interval '1 hour', problem = format(
			'it took longer than %s s and was stopped; it is tried again at %s UTC',
			extract(epoch FROM time_limit())::float8,
			to_char(retry AT TIME ZONE 'UTC', 'HH24:MI'))
	FROM (SELECT p_now + least(interval '1 minute' * 2 ^ least(s.tries, 6), '1 hour') AS retry) x
	WHERE rule_id = s.rule_id RETURNING problem
$$;

-- Judges the rules that are due, but for those that are judged by themselves: these have failed, or
-- evaluate_alone() judges them.
CREATE OR REPLACE FUNCTION judge_due(p_due uuid[], p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_due uuid[] := p_due;
	s slow_rules;
	ret bigint := 0;
BEGIN
	FOR s IN SELECT * FROM slow_rules WHERE rule_id = ANY (p_due) ORDER BY rule_id LOOP
		v_due := array_remove(v_due, s.rule_id);
		IF s.retry_at > p_at THEN
			ret := ret + judge(ARRAY[s.rule_id], p_at, true, s.problem);
		ELSE
			UPDATE slow_rules SET due_at = p_at WHERE rule_id = s.rule_id;
		END IF;
	END LOOP;
	RETURN ret + judge_apart(v_due, p_at);
END
$$;

-- Judges the rule that waits longest. Returns how many are left.
CREATE OR REPLACE FUNCTION evaluate_alone(p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	s slow_rules;
BEGIN
	PERFORM FROM alert_clock FOR UPDATE;
	SELECT * INTO s FROM slow_rules WHERE due_at IS NOT NULL ORDER BY due_at, rule_id LIMIT 1;
	BEGIN
		PERFORM judge_apart(ARRAY[s.rule_id], s.due_at, true) WHERE s.rule_id IS NOT NULL;
		UPDATE slow_rules SET due_at = NULL, tries = 0 WHERE rule_id = s.rule_id;
	EXCEPTION WHEN query_canceled THEN
		IF NOT time_passed(0.9) THEN
			RAISE;
		END IF;
		PERFORM judge(ARRAY[s.rule_id], s.due_at, true, note_failed(s, p_now));
	END;
	RETURN (SELECT count(*) FROM slow_rules WHERE due_at IS NOT NULL);
END
$$;

-- ---- the clock -----------------------------------------------------------------------------------------
-- The last multiple of the interval since the epoch, at p_at or before.
CREATE OR REPLACE FUNCTION grid_before(p_at timestamptz, p_interval_s int) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(make_interval(secs => p_interval_s), p_at, timestamptz '1970-01-01 00:00:00+00');

-- The rules to evaluate at each time after p_from, up to p_to, in order.
CREATE OR REPLACE FUNCTION rules_due(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (at timestamptz, rank int, rules uuid[])
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT at, rule_rank(r), array_agg(r.rule_id) FROM alert_rules r, LATERAL generate_series(
		grid_before(p_from, r.interval_s) + make_interval(secs => r.interval_s), p_to,
		make_interval(secs => r.interval_s)) at
	WHERE r.is_active GROUP BY 1, 2 ORDER BY 1, 2
$$;

-- After an absence from p_down on: what waits goes on, or starts anew if it lasted too long. The next
-- evaluation of each rule is its first after p_until. While the fleet is silent, that is judged all the time.
CREATE OR REPLACE FUNCTION restore_alerts(p_down timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE alerts a SET
		warning_since = CASE WHEN NOT anew THEN restored_since(a.warning_since,
			a.warning_fires, wait, down, up, grace) END,
		critical_since = CASE WHEN NOT anew THEN restored_since(a.critical_since,
			a.critical_fires, wait, down, up, grace) END,
		warning_fires = a.warning_fires AND NOT anew,
		critical_fires = a.critical_fires AND NOT anew,
		warning_clear_since = CASE WHEN NOT anew THEN a.warning_clear_since + (up - down) END,
		critical_clear_since = CASE WHEN NOT anew THEN a.critical_clear_since + (up - down) END
	FROM (SELECT *, up - down > make_interval(secs => tolerance_s) AS anew,
			make_interval(secs => for_s) AS wait, make_interval(secs => grace_s) AS grace
		FROM (SELECT alert_id, for_s, grace_s, tolerance_s, grid_before(p_down, interval_s) AS down,
				grid_before(p_until - interval '1 us', interval_s)
					+ make_interval(secs => interval_s) AS up
			FROM alerts JOIN alert_rules USING (rule_id) CROSS JOIN alert_policy
			WHERE state <> 'resolved' AND NOT (kind = 'fleet_silent' AND fleet_is_silent())) t) x
	WHERE a.alert_id = x.alert_id
$$;

-- Evaluates each active rule at each of its times after the last call, up to p_now, or to an earlier one if a
-- quarter of the statement's time is over. The lock of the clock's row lets two watchers take turns. A gap
-- longer than catch_up_s is an absence, and so is a clock that was set back as far: nobody is judged until
-- settle_s later. Returns what it did.
CREATE OR REPLACE FUNCTION evaluate_due(p_now timestamptz, p_watcher text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c alert_clock;
	p alert_policy;
	v_began CONSTANT timestamptz := clock_timestamp();
	v_from timestamptz;
	v_until timestamptz := p_now;           -- all times up to this one
	v_done timestamptz;                     -- the last of them
	v_took_ms float8;
	v_changes bigint := 0;
	v_rules int := 0;
	v_silent boolean := fleet_is_silent();
	v_patterns CONSTANT boolean := EXISTS (SELECT FROM alert_rules
		WHERE is_active AND kind = 'new_pattern');
	v record;
BEGIN
	SELECT * INTO p FROM alert_policy;
	SELECT * INTO c FROM alert_clock FOR UPDATE;
	v_from := CASE WHEN isfinite(c.evaluated_until) THEN c.evaluated_until
		ELSE p_now - interval '1 us' END;
	IF abs(extract(epoch FROM p_now - v_from)) > p.catch_up_s THEN
		c.away_since := coalesce(c.away_since, v_from);
		c.away_until := p_now + make_interval(secs => p.settle_s);
		v_from := p_now - interval '1 us';
	END IF;
	DELETE FROM alert_looks WHERE EXISTS (SELECT FROM alert_looks WHERE until > v_from);  -- set back
	DELETE FROM rule_problems WHERE rule_id NOT IN (SELECT rule_id FROM alert_rules WHERE is_active);
	DELETE FROM slow_rules s WHERE expires_at < p_now OR NOT EXISTS (SELECT FROM alert_rules r
		WHERE r.rule_id = s.rule_id AND is_active AND hash_record_extended(r, 0) = rule_hash);
	FOR v IN SELECT * FROM rules_due(v_from, p_now) LOOP
		IF v.at > v_done AND time_passed(0.25) THEN
			v_until := v_done;
			EXIT;
		END IF;
		PERFORM learn_patterns(p_until => v.at) WHERE v.at IS DISTINCT FROM v_done AND v_patterns;
		v_done := v.at;
		CONTINUE WHEN v.at < c.away_until AND NOT (v_silent AND v.rank < 0);
		IF v.at >= c.away_until THEN
			PERFORM restore_alerts(c.away_since, c.away_until);
			c.away_since := NULL;
			c.away_until := NULL;
		END IF;
		PERFORM flush_until(v.at);      -- messages up to then, before something changes
		v_changes := v_changes + judge_due(v.rules, v.at);
		v_rules := v_rules + cardinality(v.rules);
		CONTINUE WHEN v.rank >= 0;
		IF v_silent OR fleet_is_silent() THEN
			v_silent := fleet_is_silent();
			c.away_since := coalesce(c.away_since, v.at - interval '1 us');
			c.away_until := v.at + make_interval(secs => p.settle_s);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM alerts a LEFT JOIN alert_rules r USING (rule_id)
			WHERE a.state <> 'resolved' AND r.is_active IS NOT TRUE) THEN
		v_changes := v_changes + judge('{}', v_until);
	END IF;
	v_took_ms := extract(epoch FROM clock_timestamp() - v_began) * 1000;
	UPDATE alert_clock SET evaluated_until = greatest(v_from, v_until), away_since = c.away_since,
		away_until = c.away_until, watcher = p_watcher, took_ms = v_took_ms;
	PERFORM flush_groups(v_until);
	RETURN jsonb_build_object('rules', v_rules, 'changes', v_changes, 'away_until', c.away_until,
		'again', v_until < p_now,
		'alone', (SELECT count(*) FROM slow_rules WHERE due_at IS NOT NULL));
END
$$;

-- The same for a caller with a statement_timeout, who calls again as long as `again` says so, and then
-- evaluate_alone() for the rules that it counts.
CREATE OR REPLACE FUNCTION evaluate_alerts(p_now timestamptz, p_watcher text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	v_slow text;
BEGIN
	RETURN evaluate_due(p_now, p_watcher);
EXCEPTION WHEN query_canceled THEN
	GET STACKED DIAGNOSTICS v_slow = PG_EXCEPTION_DETAIL;
	IF NOT time_passed(0.9) OR NOT note_slow(v_slow, p_now) THEN
		RAISE;
	END IF;
	RETURN jsonb_build_object('cut_off', true, 'again', true);
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION evaluate_alerts, evaluate_alone TO observ_watch;
-- ==== 73-defaults: the rules that are there from the start ======================================
-- They judge all servers, also those that come later. People change, patch and delete them as any other rule.
-- An upgrade changes a rule only where it still is as an older schema.sql made it, and does not bring back
-- one that was deleted: default_rules remembers what was made.
CREATE TABLE IF NOT EXISTS default_rules (
	builtin text PRIMARY KEY,
	made jsonb NOT NULL                     -- the columns that it was made with
);
GRANT SELECT ON default_rules TO observ_hub, observ_watch;

-- A window holds any number of samples, so a rule with a window waits as well (for_s): the first samples of a
-- new server raise no alert. On a server with a history, window and wait together are the time that it takes.
CREATE OR REPLACE FUNCTION wanted_defaults() RETURNS TABLE (builtin text, rule jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT key, value FROM jsonb_each('{
	"cpu": {"name": "CPU busy", "kind": "threshold", "metric": "cpu_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 85, "warning_clear": 75, "critical": 95,
		"critical_clear": 85, "for_s": 300,
	"summary": "All cores are busy for minutes. top shows by what."},
	"iowait": {"name": "CPU waits for disks", "kind": "threshold", "metric": "cpu_iowait_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 20, "warning_clear": 10, "for_s": 300,
	"summary": "The CPU waits for disks for minutes. pidstat -d 5 shows who reads and writes."},
	"steal": {"name": "CPU taken by the hypervisor", "kind": "threshold", "metric": "cpu_steal_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 10, "warning_clear": 5, "for_s": 300,
	"summary": "The hypervisor gives the CPU to other machines for minutes. Ask who runs it."},
	"memory": {"name": "Memory full", "kind": "threshold", "metric": "memory_percent",
		"params": {"agg": "avg", "window_s": 180}, "warning": 90, "warning_clear": 80, "critical": 98,
		"critical_clear": 90, "for_s": 120,
	"summary": "New programs get little memory. top -o %MEM shows who has it."},
	"swap": {"name": "Swap full", "kind": "threshold", "metric": "swap_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 80, "warning_clear": 60, "for_s": 300,
	"summary": "Most of the swap is used: memory is short. top -o %MEM shows who has it."},
	"disk": {"name": "Disk full", "kind": "threshold", "metric": "mount_percent", "warning": 90,
		"warning_clear": 80, "critical": 98, "critical_clear": 90,
	"summary": "A file system has little space left. du -xh MOUNT | sort -h shows what is large."},
	"disk_24h": {"name": "Disk full in 24 hours", "kind": "threshold", "metric": "mount_percent",
		"params": {"agg": "predict", "rows": "1h", "window_s": 21600, "ahead_s": 86400}, "op": ">=",
		"warning": 100, "warning_clear": 95, "for_s": 1800, "interval_s": 300,
		"summary": "At this pace the file system is full within a day. Find what grows."},
	"disk_4h": {"name": "Disk full in 4 hours", "kind": "threshold", "metric": "mount_percent",
		"params": {"agg": "predict", "rows": "5m", "window_s": 3600, "ahead_s": 14400}, "op": ">=",
		"critical": 100, "critical_clear": 95, "for_s": 600, "interval_s": 300,
		"summary": "At this pace the file system is full within 4 hours. Find what grows."},
	"inodes": {"name": "Inodes used up", "kind": "threshold", "metric": "mount_inode_percent",
		"warning": 90,
		"warning_clear": 80,
	"summary": "A file system can hold few more files. Look for folders with very many small ones."},
	"load": {"name": "Load high", "kind": "threshold", "metric": "load_per_core",
		"params": {"agg": "avg", "window_s": 300}, "warning": 2, "warning_clear": 1.75, "for_s": 300,
	"summary": "More than two tasks wait or run for each core. vmstat 5 shows for what."},
	"check": {"name": "Check down", "kind": "check", "params": {"of": 3, "recover": 2}, "op": ">=",
		"critical": 3,
		"critical_clear": 0, "interval_s": 30, "summary": "The last three tries of a check failed."},
	"check_slow": {"name": "Check slow", "kind": "check_slow", "params": {"percent": 95, "window_s": 900},
		"warning": 2000, "warning_clear": 1500, "interval_s": 300,
		"summary": "One in twenty answers took longer than two seconds."},
	"certificate": {"name": "Certificate expires", "kind": "certificate", "params": {"measure": "days"},
		"op": "<",
		"warning": 14, "critical": 7, "interval_s": 3600, "lookback_s": 86400,
		"summary": "A certificate expires soon. Renew it, and reload the server that uses it."},
	"certificate_life": {"name": "Short-lived certificate expires", "kind": "certificate",
		"params": {"measure": "life"}, "op": "<", "warning": 33.3, "critical": 16.7,
			"interval_s": 600,
		"lookback_s": 86400,
	"summary": "A certificate that lives short was not renewed in time. Look at what renews it."},
	"agent": {"name": "Agent silent", "kind": "agent_state", "op": ">=", "warning": 1, "critical": 2,
		"labels": {"mutes": "app"},
	"summary": "The database does not hear from an agent. See systemctl status ''obs-agent@*'' there."},
	"fleet": {"name": "Nothing arrives", "kind": "fleet_silent", "critical": 180,
	"summary": "No agent of the fleet is heard: the fault is at the database or its network."},
	"skew": {"name": "Clock wrong", "kind": "threshold", "metric": "agent_skew_s", "warning": 5,
		"critical": 60,
	"summary": "The clock of a server differs from that of the database. timedatectl shows why."},
	"reboot": {"name": "Server rebooted", "kind": "threshold", "metric": "uptime_s",
		"params": {"agg": "resets", "window_s": 900}, "op": ">=", "warning": 1,
	"summary": "A server booted in the last 15 minutes. journalctl -b -1 -e shows its last words."},
	"errors": {"name": "Many errors in the log", "kind": "log_share", "params": {"query": "level>=error",
		"tree": {"levels": ["ERROR", "CRITICAL"]}, "window_s": 600, "min_lines": 50}, "warning": 10,
		"warning_clear": 5, "critical": 50, "critical_clear": 25,
	"summary": "A large part of the lines of an application are errors."},
	"pattern": {"name": "New error message", "kind": "new_pattern", "op": ">=", "warning": 1,
		"no_data": "ok",
		"summary": "An application logs an error that it never logged before."},
	"lost": {"name": "Data lost", "kind": "loss", "params": {"what": "gaps"}, "warning": 0,
	"summary": "Lines or samples of an agent were lost. Its server''s page says which."},
	"rejected": {"name": "Data refused", "kind": "loss", "params": {"what": "rejects"}, "warning": 0,
	"summary": "The database refused rows of an agent. The table rejects has them, with the reason."},
	"lag": {"name": "Delivery late", "kind": "threshold", "metric": "agent_lag_s", "warning": 300,
		"warning_clear": 60, "critical": 3600, "critical_clear": 300, "for_s": 300,
	"summary": "An agent is behind with its log files. Its server''s page shows which."},
	"maintain": {"name": "maintain() not run", "kind": "job", "params": {"job": "maintain"},
		"warning": 36,
		"interval_s": 600,
	"summary": "Old rows stay, new partitions are not made. See systemctl status observ-maintain."},
	"rule": {"name": "Alert rule fails", "kind": "rule_error", "op": ">=", "warning": 1,
		"summary": "A rule fails: its page says why. The others are evaluated."},
	"heartbeat": {"name": "Job not run", "kind": "heartbeat", "critical": 0,
		"summary": "A job did not report in time, or failed. Look at its own log."}}')
$$;

-- p as a whole rule: what it leaves out has the defaults of the table.
CREATE OR REPLACE FUNCTION whole_rule(p_builtin text, p jsonb) RETURNS alert_rules
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_populate_record(NULL::alert_rules, '{"params": {}, "match": [], "op": ">", "for_s": 0,
		"keep_firing_s": 0, "no_data": "keep", "on_error": "keep", "interval_s": 60,
			"lookback_s": 300,
		"labels": {}, "summary": "", "runbook": "", "is_active": true}'::jsonb || p
		|| jsonb_build_object('builtin', p_builtin))
$$;

-- What of a rule an upgrade may change: what schema.sql made, as jsonb.
CREATE OR REPLACE FUNCTION rule_made(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT to_jsonb(r) - '{rule_id,version,created_at,created_by,updated_at}'::text[]
$$;

-- Makes the rules that were never made, and renews those that nobody changed. Returns how many.
CREATE OR REPLACE FUNCTION make_default_rules() RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	d record;
	w alert_rules;
	ret bigint := 0;
BEGIN
	FOR d IN SELECT n.builtin, n.rule, o.made FROM wanted_defaults() n LEFT JOIN default_rules o USING
		(builtin)
			ORDER BY 1 LOOP
		w := whole_rule(d.builtin, d.rule);
		CONTINUE WHEN d.made = rule_made(w);
		IF d.made IS NULL THEN
			INSERT INTO alert_rules (name, builtin, kind, metric, params, match, op, warning,
				warning_clear, critical, critical_clear, for_s, keep_firing_s, no_data,
					on_error,
				interval_s, lookback_s, labels, summary, runbook, is_active, created_by)
			VALUES (w.name, w.builtin, w.kind, w.metric, w.params, w.match, w.op, w.warning,
				w.warning_clear, w.critical, w.critical_clear, w.for_s, w.keep_firing_s,
					w.no_data,
				w.on_error, w.interval_s, w.lookback_s, w.labels, w.summary, w.runbook,
					w.is_active,
				'schema.sql')
			ON CONFLICT DO NOTHING;         -- somebody has a rule of this name
		ELSE
			UPDATE alert_rules r SET (name, kind, metric, params, match, op, warning,
				warning_clear,
				critical, critical_clear, for_s, keep_firing_s, no_data, on_error, interval_s,
				lookback_s, summary) = (w.name, w.kind, w.metric, w.params, w.match, w.op,
					w.warning,
				w.warning_clear, w.critical, w.critical_clear, w.for_s, w.keep_firing_s,
					w.no_data,
				w.on_error, w.interval_s, w.lookback_s, w.summary), version = r.version + 1
				WHERE r.builtin = d.builtin AND rule_made(r) = d.made
					AND NOT EXISTS (SELECT FROM alert_rules o WHERE o.name = w.name
						AND o.builtin IS DISTINCT FROM d.builtin);
		END IF;
		INSERT INTO default_rules VALUES (d.builtin, rule_made(w))
			ON CONFLICT (builtin) DO UPDATE SET made = excluded.made;
		ret := ret + 1;
	END LOOP;
	RETURN ret;
END
$$;

SELECT drop_former_functions() \g /dev/null
SELECT make_default_rules() \g /dev/null

-- ==== 74-clock: lines of cron and recurring windows, in a time zone ===============================
-- A clock that is set forward skips times, and one that is set back repeats them. The first three functions
-- know how; the others ask them.

-- How far the clocks of a zone are ahead of UTC at an instant.
CREATE OR REPLACE FUNCTION zone_offset(p_at timestamptz, p_zone text) RETURNS interval
LANGUAGE sql STABLE RETURN p_at AT TIME ZONE p_zone - p_at AT TIME ZONE 'UTC';

-- The instants at which clocks of a zone show this time: none if it is skipped, two if it is repeated.
CREATE OR REPLACE FUNCTION instants_of(p_local timestamp, p_zone text) RETURNS timestamptz[]
LANGUAGE sql STABLE
RETURN (SELECT coalesce(array_agg(DISTINCT i ORDER BY i), '{}')
	FROM (VALUES (interval '-1 day'), ('1 day')) v(d),
		LATERAL (SELECT (p_local - zone_offset(p_local AT TIME ZONE 'UTC' + d, p_zone))
			AT TIME ZONE 'UTC' AS i) x
	WHERE i AT TIME ZONE p_zone = p_local);

-- The first of these instants; of a skipped time the end of the gap.
CREATE OR REPLACE FUNCTION instant_of(p_local timestamp, p_zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
	ret timestamptz[] := observ.instants_of(p_local, p_zone);
BEGIN
	WHILE ret = '{}' LOOP
		p_local := date_trunc('minute', p_local) + interval '1 minute';
		ret := observ.instants_of(p_local, p_zone);
	END LOOP;
	RETURN ret[1];
END
$$;

-- Is a time inside a window? It begins at `start` of each of its days, and lasts equally long on all of them.
CREATE OR REPLACE FUNCTION in_window(p_window quiet_windows, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN p_window.enabled AND EXISTS (SELECT
	FROM generate_series(0, p_window.duration_s / 86400 + 1) ago,
		LATERAL (SELECT (p_at AT TIME ZONE p_window.time_zone)::date - ago AS day) d,
		LATERAL (SELECT instant_of(day + p_window.start, p_window.time_zone) AS since) s
	WHERE (p_window.days = '{}' OR to_char(day, 'dy') = ANY (p_window.days))
		AND p_at >= since AND p_at < since + make_interval(secs => p_window.duration_s));

-- ---- cron ----------------------------------------------------------------------------------------
-- The fields of a line, seconds first. There is NULL in a line of five.
CREATE OR REPLACE FUNCTION cron_fields(p_schedule text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_line CONSTANT text := upper(btrim(p_schedule, E' \t'));
	ret CONSTANT text[] := regexp_split_to_array(coalesce((SELECT line FROM (VALUES
		('@HOURLY', '0 * * * *'), ('@DAILY', '0 0 * * *'), ('@MIDNIGHT', '0 0 * * *'),
		('@WEEKLY', '0 0 * * 0'), ('@MONTHLY', '0 0 1 * *'), ('@YEARLY', '0 0 1 1 *'),
		('@ANNUALLY', '0 0 1 1 *')) v(name, line) WHERE name = v_line), v_line), '[ \t]+');
BEGIN
	IF length(p_schedule) <= 256 AND cardinality(ret) IN (5, 6) THEN
		RETURN CASE cardinality(ret) WHEN 5 THEN NULL::text || ret ELSE ret END;
	END IF;
	RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is not a line of cron: minute, hour, '
		'day, month and day of the week, such as "30 4 * * 1-5".', left(p_schedule, 256));
END
$$;

CREATE OR REPLACE FUNCTION cron_number(p_text text, p_names text[], p_min int) RETURNS int
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN p_text ~ '^[0-9]+$' THEN p_text::int ELSE array_position(p_names, p_text) + p_min - 1 END;

-- The values of a field: a list of *, A or A-B, each of them with /STEP. A/STEP goes on to p_max. Items that
-- match p_but are left out.
CREATE OR REPLACE FUNCTION cron_values(p_what text, p_field text, p_min int, p_max int,
	p_names text[] DEFAULT '{}', p_but text DEFAULT NULL) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_word CONSTANT text := '([0-9]{1,2}|[A-Z]{3})';
	v_item text;
	m text[];
	v_from int;
	v_to int;
	ret int[] := '{}';
BEGIN
	FOREACH v_item IN ARRAY string_to_array(p_field, ',') LOOP
		CONTINUE WHEN v_item ~ p_but;
		m := regexp_match(v_item,
			'^(?:\*|' || v_word || '(?:-' || v_word || ')?)(?:/([0-9]{1,4}))?$');
		v_from := CASE WHEN m[1] IS NULL THEN p_min ELSE cron_number(m[1], p_names, p_min) END;
		v_to := CASE WHEN m[2] IS NOT NULL THEN cron_number(m[2], p_names, p_min)
			WHEN m[1] IS NULL OR m[3] IS NOT NULL THEN p_max ELSE v_from END;
		IF (m IS NOT NULL AND v_from >= p_min AND v_to BETWEEN v_from AND p_max
				AND coalesce(m[3]::int, 1) > 0) IS NOT true THEN
			RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is no %s of a line '
				'of cron: numbers are %s to %s, with "-", "," and "/" between.', p_field,
				p_what, p_min, p_max);
		END IF;
		ret := ret || ARRAY(SELECT generate_series(v_from, v_to, coalesce(m[3]::int, 1)));
	END LOOP;
	RETURN ret;
END
$$;

-- Does a line run on this day? p_days: of the month, 32 for its last one, 33 for its last weekday. p_week:
-- 0-7 for each Sunday to each Sunday, 33 for the third Tuesday, 69 for the last Friday. p_both: it needs both
-- of them, not one.
CREATE OR REPLACE FUNCTION cron_day(p_day date, p_days int[], p_week int[], p_both boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_day CONSTANT int := extract(day FROM p_day);
	v_dow CONSTANT int := extract(dow FROM p_day);
	v_last CONSTANT int := extract(day FROM date_trunc('month', p_day) + interval '1 month -1 day');
	v_by_day CONSTANT boolean := v_day = ANY (p_days) OR v_day = v_last AND 32 = ANY (p_days)
		OR 33 = ANY (p_days) AND v_dow BETWEEN 1 AND 5
			AND (v_day = v_last OR v_dow = 5 AND v_day > v_last - 3);
	v_by_week CONSTANT boolean := v_dow = ANY (p_week) OR v_dow = 0 AND 7 = ANY (p_week)
		OR v_dow * 10 + 10 + (v_day + 6) / 7 = ANY (p_week)
		OR v_day + 7 > v_last AND v_dow * 10 + 19 = ANY (p_week);
BEGIN
	RETURN CASE WHEN p_both THEN v_by_day AND v_by_week ELSE v_by_day OR v_by_week END;
END
$$;

-- The first of some seconds of an hour that is after p_from. p_once: a skipped time is the end of the gap, a
-- repeated one its first. Else a skipped time is left out, and a repeated one counts twice.
CREATE OR REPLACE FUNCTION cron_in_hour(p_hour timestamp, p_seconds int[], p_zone text, p_once boolean,
	p_from timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_before CONSTANT interval := zone_offset(p_hour AT TIME ZONE 'UTC' - interval '1 day', p_zone);
	v_after CONSTANT interval := zone_offset(p_hour AT TIME ZONE 'UTC' + interval '1 day', p_zone);
	v_hour CONSTANT timestamptz := (p_hour - v_before) AT TIME ZONE 'UTC';
BEGIN
	IF v_hour + interval '26 hours' <= p_from THEN
		RETURN NULL;
	ELSIF v_before = v_after THEN
		RETURN v_hour + make_interval(secs => (SELECT min(s) FROM unnest(p_seconds) s
			WHERE s > extract(epoch FROM p_from - v_hour)));
	ELSIF p_once THEN
		RETURN (SELECT min(i) FROM unnest(p_seconds) s,
				LATERAL (SELECT instant_of(p_hour + make_interval(secs => s), p_zone) AS i) x
			WHERE i > p_from);
	END IF;
	RETURN (SELECT min(i) FROM unnest(p_seconds) s, (VALUES (v_before), (v_after)) o(ahead),
			LATERAL (SELECT p_hour + make_interval(secs => s) AS t) l,
			LATERAL (SELECT (t - ahead) AT TIME ZONE 'UTC' AS i) x
		WHERE i > p_from AND i AT TIME ZONE p_zone = t);
END
$$;

-- The next time of a line of cron after p_from; NULL if there is none within 50 years. A line with seconds,
-- or whose minute or hour begins with *, follows the clock on the wall. Any other job runs once where the
-- clock shows its time twice, and at the end of the gap where the clock does not show it. The days of month
-- and week must both match if one of these fields begins with *, else one of them: as Debian's cron has it.
CREATE OR REPLACE FUNCTION next_cron(p_schedule text, p_zone text, p_from timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	f CONSTANT text[] := cron_fields(p_schedule);
	v_week CONSTANT text[] := '{SUN,MON,TUE,WED,THU,FRI,SAT}';
	v_nth CONSTANT text := '^([0-7]|' || array_to_string(v_week, '|') || ')(?:#([1-5])|(L))$';
	v_months CONSTANT int[] := cron_values('month', f[5], 1, 12,
		'{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}');
	v_days CONSTANT int[] := cron_values('day', f[4], 1, 31, '{}', '^LW?$')
		|| ARRAY(SELECT CASE i WHEN 'L' THEN 32 ELSE 33 END FROM string_to_table(f[4], ',') i
			WHERE i IN ('L', 'LW'));
	v_dows CONSTANT int[] := cron_values('day of the week', f[6], 0, 7, v_week, v_nth)
		|| ARRAY(SELECT cron_number(m[1], v_week, 0) % 7 * 10 + 10 + coalesce(m[2], '9')::int
			FROM string_to_table(f[6], ',') i, regexp_match(i, v_nth) m WHERE m IS NOT NULL);
	v_hours CONSTANT int[] := cron_values('hour', f[3], 0, 23);
	v_seconds CONSTANT int[] := ARRAY(SELECT 60 * m + s FROM unnest(cron_values('minute', f[2], 0, 59)) m,
		unnest(cron_values('second', coalesce(f[1], '0'), 0, 59)) s);
	v_both CONSTANT boolean := left(f[4], 1) = '*' OR left(f[6], 1) = '*';
	v_once CONSTANT boolean := f[1] IS NULL AND left(f[2], 1) <> '*' AND left(f[3], 1) <> '*';
	v_local CONSTANT timestamp := p_from AT TIME ZONE p_zone - interval '1 day';
	v_day date := v_local;
	v_end CONSTANT date := v_day + interval '50 years';
	v_hour int;
	ret timestamptz;
BEGIN
	WHILE v_day < v_end LOOP
		IF extract(month FROM v_day)::int <> ALL (v_months) THEN
			v_day := date_trunc('month', v_day + interval '1 month');
			CONTINUE;
		END IF;
		IF cron_day(v_day, v_days, v_dows, v_both) THEN
			FOR v_hour IN SELECT DISTINCT h FROM unnest(v_hours) h ORDER BY h LOOP
				ret := cron_in_hour(v_day + make_interval(hours => v_hour), v_seconds, p_zone,
					v_once, p_from);
				IF ret IS NOT NULL THEN
					RETURN ret;
				END IF;
			END LOOP;
		END IF;
		v_day := v_day + 1;
	END LOOP;
	RETURN NULL;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION zone_offset, instants_of, instant_of, in_window, cron_fields, cron_number,
	cron_values, cron_day, cron_in_hour, next_cron TO observ_hub, observ_watch;

-- ==== 74-notify: which alerts go into which messages ============================================
-- Each firing alert is a member of one or more groups: the routes choose them, and flush_groups()
-- (74b-flush) makes a message of what is new in a group. The semantics are Alertmanager's; docs/alerts.md
-- lists where they differ. A group knows its members by key, so an alert that is back is the same member.

CREATE OR REPLACE FUNCTION alert_key(p_rule uuid, p_subject_key uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN md5(p_rule::text || p_subject_key::text)::uuid;

-- Does an alert concern anybody? One whose rule began to wait longer is pending again.
CREATE OR REPLACE FUNCTION is_firing(a alerts) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN coalesce((a).state IN ('firing', 'error'), false);

-- A group that is empty for so long is a new one when an alert comes.
CREATE OR REPLACE FUNCTION group_keep() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '30 seconds';

-- ---- routes --------------------------------------------------------------------------------------
-- Each route with what it has of its parents. No channels: every enabled one.
CREATE OR REPLACE FUNCTION route_settings() RETURNS TABLE (route_id uuid, depth int, channels uuid[],
	group_by text[], group_wait interval, group_interval interval, repeat_s float8, repeat_max_s float8,
	windows uuid[])
LANGUAGE sql STABLE ROWS 10 SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH RECURSIVE t AS (
		SELECT r.route_id, 0 AS depth, r.channels, coalesce(r.group_by, '{rule}') AS group_by,
			coalesce(r.group_wait_s, 30) AS wait_s,
			coalesce(r.group_interval_s, 300) AS interval_s,
			coalesce(r.repeat_s, 14400) AS repeat_s, r.repeat_max_s,
			coalesce(r.windows, '{}') AS windows
		FROM alert_routes r WHERE r.parent_id IS NULL
		UNION ALL
		SELECT r.route_id, t.depth + 1, coalesce(r.channels, t.channels),
			coalesce(r.group_by, t.group_by), coalesce(r.group_wait_s, t.wait_s),
			coalesce(r.group_interval_s, t.interval_s), coalesce(r.repeat_s, t.repeat_s),
			coalesce(r.repeat_max_s, t.repeat_max_s), coalesce(r.windows, t.windows)
		FROM t JOIN alert_routes r ON r.parent_id = t.route_id WHERE t.depth < 32)
	SELECT t.route_id, t.depth, t.channels, t.group_by, make_interval(secs => wait_s),
		make_interval(secs => interval_s), t.repeat_s, t.repeat_max_s, t.windows FROM t
$$;

-- The routes of an alert at or below p_route: those of its first child that matches, and of the next ones if
-- that one goes on; without such a child p_route itself.
CREATE OR REPLACE FUNCTION matching_routes(p_route uuid, p_labels jsonb, p_depth int DEFAULT 0) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r record;
	ret uuid[] := '{}';
BEGIN
	FOR r IN SELECT route_id, go_on FROM alert_routes WHERE parent_id = p_route AND p_depth < 32
			AND labels_match(match, p_labels) ORDER BY position, route_id LOOP
		ret := ret || matching_routes(r.route_id, p_labels, p_depth + 1);
		EXIT WHEN NOT r.go_on;
	END LOOP;
	RETURN CASE ret WHEN '{}' THEN ARRAY[p_route] ELSE ret END;
END
$$;

-- The labels by which an alert is grouped, as far as it has them.
CREATE OR REPLACE FUNCTION group_labels(p_labels jsonb, p_by text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN '...' = ANY (p_by) THEN p_labels
	ELSE (SELECT coalesce(jsonb_object_agg(name, p_labels -> name), '{}') FROM unnest(p_by) name
		WHERE p_labels ? name) END;

-- The enabled channels of a group.
CREATE OR REPLACE FUNCTION group_channels(g alert_groups) RETURNS SETOF uuid
LANGUAGE sql STABLE ROWS 3 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT c.channel_id FROM channels c LEFT JOIN route_settings() s ON s.route_id = g.route_id
	WHERE c.disabled_at IS NULL AND CASE WHEN g.channel_id IS NOT NULL THEN c.channel_id = g.channel_id
		ELSE s.route_id IS NOT NULL AND (s.channels IS NULL OR c.channel_id = ANY (s.channels)) END
$$;

-- A rule as it holds for the subject of an alert.
CREATE OR REPLACE FUNCTION rule_for(a alerts) RETURNS alert_rules
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT jsonb_populate_record(r, p.changes) FROM rule_patches p
		WHERE p.patch_id = patch_of(r.rule_id, a.subject)), r)
	FROM alert_rules r WHERE r.rule_id = a.rule_id
$$;

-- The channel to which a rule sends whatever the routes say.
CREATE OR REPLACE FUNCTION alert_channel(a alerts, r alert_rules) RETURNS uuid
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN EXISTS (SELECT FROM rule_patches p WHERE p.rule_id = a.rule_id
		AND p.changes ? 'channel_id') THEN (rule_for(a)).channel_id ELSE r.channel_id END
$$;

-- The firing alerts that are not yet where their labels, their rules and the routes lead.
CREATE OR REPLACE FUNCTION unrouted_alerts() RETURNS TABLE (alert_id uuid, key uuid, labels jsonb,
	fired_at timestamptz, channel_id uuid)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT a.alert_id, alert_key(a.rule_id, a.subject_key), a.labels, a.fired_at, c.channel_id
	FROM alerts a LEFT JOIN alert_rules r USING (rule_id),
		LATERAL (SELECT CASE WHEN EXISTS (SELECT FROM rule_patches) THEN alert_channel(a, r)
			ELSE r.channel_id END) c(channel_id)
	WHERE a.state <> 'resolved' AND is_firing(a) AND NOT EXISTS (SELECT FROM group_alerts m
		WHERE m.alert_id = a.alert_id AND m.routed AND m.labels = a.labels
			AND m.channel_id IS NOT DISTINCT FROM c.channel_id);
END;

-- Makes alerts members of their groups. One that fired since p_from is new as of that time, any other as of
-- p_now. A new group waits for group_wait, but not for an alert that has fired for as long. Returns the keys.
CREATE OR REPLACE FUNCTION join_groups(p_from timestamptz, p_now timestamptz) RETURNS uuid[]
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH root AS (SELECT s.route_id FROM route_settings() s WHERE depth = 0),
	new AS MATERIALIZED (
		SELECT u.*, CASE WHEN fired_at >= p_from THEN least(fired_at, p_now) ELSE p_now END AS seen
		FROM unrouted_alerts() u),
	target AS MATERIALIZED (
		SELECT n.*, s.route_id, group_labels(n.labels, s.group_by) AS by,
			n.seen + CASE WHEN n.fired_at + s.group_wait >= n.seen THEN s.group_wait
				ELSE interval '0' END AS flush_at
		FROM new n CROSS JOIN root,
			unnest(CASE WHEN n.channel_id IS NULL THEN matching_routes(root.route_id, n.labels)
				ELSE ARRAY[root.route_id] END) m(route_id)
		JOIN route_settings() s USING (route_id)),
	grouped AS (
		INSERT INTO alert_groups AS g (route_id, channel_id, labels, flush_at)
		SELECT t.route_id, t.channel_id, by, min(t.flush_at) FROM target t GROUP BY 1, 2, 3
		ON CONFLICT (route_id, channel_id, labels) DO UPDATE SET emptied_at = NULL,
			flushed = g.flushed AND NOT coalesce(g.emptied_at + group_keep() <= p_now, false),
			flush_at = CASE WHEN g.emptied_at + group_keep() <= p_now THEN excluded.flush_at
				WHEN g.flushed THEN g.flush_at ELSE least(g.flush_at, excluded.flush_at) END
		RETURNING g.group_id, g.route_id, g.channel_id, g.labels),
	joined AS (
		INSERT INTO group_alerts AS m (group_id, alert_key, alert_id, labels, channel_id)
		SELECT g.group_id, t.key, t.alert_id, t.labels, t.channel_id
		FROM target t JOIN grouped g ON g.route_id = t.route_id AND g.labels = t.by
			AND g.channel_id IS NOT DISTINCT FROM t.channel_id
		ON CONFLICT (group_id, alert_key) DO UPDATE SET alert_id = excluded.alert_id,
			labels = excluded.labels, channel_id = excluded.channel_id, routed = true
		RETURNING m.group_id, m.alert_key),
	parted AS (
		UPDATE group_alerts m SET routed = false
		WHERE m.routed AND m.alert_key IN (SELECT key FROM target)
			AND (m.group_id, m.alert_key) NOT IN (SELECT group_id, alert_key FROM joined))
	SELECT array_agg(DISTINCT alert_key) FROM joined
$$;

-- What a channel was told in a group that an alert has left counts in another group of the channel that the
-- alert is in: it is not told again, and "resolved" comes once.
CREATE OR REPLACE FUNCTION carry_told(p_keys uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v record;
BEGIN
	FOR v IN SELECT DISTINCT ON (t.group_id, t.channel_id, t.alert_key) t.group_id AS was, g.group_id,
			t.channel_id, t.alert_key
			FROM group_told t JOIN group_alerts m USING (group_id, alert_key)
			JOIN group_alerts o ON o.alert_key = t.alert_key AND o.routed
			JOIN alert_groups g ON g.group_id = o.group_id
			WHERE t.alert_key = ANY (p_keys) AND NOT m.routed
				AND t.channel_id IN (SELECT * FROM group_channels(g))
			ORDER BY t.group_id, t.channel_id, t.alert_key, g.group_id LOOP
		INSERT INTO group_sent SELECT v.group_id, channel_id, notification_id, at, repeats
			FROM group_sent WHERE group_id = v.was AND channel_id = v.channel_id
			ON CONFLICT DO NOTHING;
		INSERT INTO group_told SELECT v.group_id, channel_id, alert_key, listed, critical, flapping
			FROM group_told WHERE group_id = v.was AND channel_id = v.channel_id
			AND alert_key = v.alert_key ON CONFLICT DO NOTHING;
		DELETE FROM group_told WHERE group_id = v.was AND channel_id = v.channel_id
			AND alert_key = v.alert_key;
	END LOOP;
END
$$;

-- Alerts that fired too often of late flap from now on.
CREATE OR REPLACE FUNCTION find_flapping(p_keys uuid[], p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	INSERT INTO flapping SELECT m.alert_key, p_now
	FROM (SELECT DISTINCT alert_key, alert_id FROM group_alerts
			WHERE alert_key = ANY (p_keys) AND routed) m
		JOIN alerts a USING (alert_id) CROSS JOIN alert_policy p
	WHERE a.fired_at > p_now - make_interval(secs => p.flap_quiet_s) AND p.flap_count <= (
		SELECT count(*) FROM alerts b WHERE b.rule_id = a.rule_id AND b.subject_key = a.subject_key
			AND b.fired_at > a.fired_at - make_interval(secs => p.flap_window_s))
	ON CONFLICT DO NOTHING
$$;

-- Routes what fires. After a change of the routes everything is routed anew, and each group that was flushed
-- before is flushed at once.
CREATE OR REPLACE FUNCTION route_alerts(p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_routes CONSTANT text := (SELECT md5(string_agg(route_id::text || xmin, ' ' ORDER BY route_id))
		FROM alert_routes);
	v_keys uuid[];
BEGIN
	IF EXISTS (SELECT FROM notify_state WHERE routes IS DISTINCT FROM v_routes) THEN
		UPDATE notify_state SET routes = v_routes;
		UPDATE group_alerts SET routed = false WHERE routed;
		UPDATE alert_groups SET flush_at = p_now WHERE flushed AND flush_at > p_now;
	END IF;
	IF EXISTS (SELECT FROM unrouted_alerts()) THEN
		v_keys := join_groups(p_from, p_now);
		PERFORM carry_told(v_keys), find_flapping(v_keys, p_now);
	END IF;
END
$$;

-- ---- what is quiet -------------------------------------------------------------------------------
-- The values of labels that must be the same in two alerts; a missing one counts as empty.
CREATE OR REPLACE FUNCTION label_values(p_labels jsonb, p_names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(jsonb_agg(coalesce(p_labels -> name, '""') ORDER BY n), '[]')
	FROM unnest(p_names) WITH ORDINALITY u(name, n));

-- Which of these alerts another one keeps quiet, and the name of the inhibition. An alert that matches source
-- and target is not kept quiet by one that does so, too: or they would silence each other. What is compared
-- is made once for each alert: hundreds of agents fall silent together, and nobody has analyzed the table
-- by then.
CREATE OR REPLACE FUNCTION inhibited_alerts(p_ids uuid[]) RETURNS TABLE (alert_id uuid, name text)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH source AS MATERIALIZED (
		SELECT DISTINCT i.inhibition_id, label_values(b.labels, i.equal) AS equal,
			labels_match(i.target, b.labels) AS two_sided
		FROM inhibitions i JOIN alerts b ON b.state <> 'resolved' AND is_firing(b)
			AND labels_match(i.source, b.labels)
	), target AS MATERIALIZED (
		SELECT a.alert_id, i.inhibition_id, i.name, label_values(a.labels, i.equal) AS equal,
			labels_match(i.source, a.labels) AS two_sided
		FROM alerts a JOIN inhibitions i ON labels_match(i.target, a.labels)
		WHERE a.alert_id = ANY (p_ids) AND EXISTS (SELECT FROM source)
	)
	SELECT DISTINCT ON (t.alert_id) t.alert_id, t.name
	FROM target t JOIN source s USING (inhibition_id, equal)
	WHERE NOT (s.two_sided AND t.two_sided) ORDER BY t.alert_id, t.name
$$;

-- Why alerts are quiet. A row for each of these that is.
CREATE OR REPLACE FUNCTION muted_alerts(p_ids uuid[], p_now timestamptz)
RETURNS TABLE (alert_id uuid, reason text)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH silence AS MATERIALIZED (SELECT * FROM silences WHERE starts_at <= p_now AND ends_at > p_now),
	silent AS MATERIALIZED (
		SELECT DISTINCT ON (a.alert_id) a.alert_id, 'silence: ' || s.comment AS reason
		FROM alerts a JOIN silence s ON labels_match(s.match, a.labels)
		WHERE a.alert_id = ANY (p_ids) AND EXISTS (SELECT FROM silence)
		ORDER BY a.alert_id, s.ends_at DESC, s.silence_id)
	SELECT * FROM silent
	UNION ALL
	SELECT i.alert_id, 'inhibited: ' || i.name FROM inhibited_alerts(p_ids) i
	WHERE NOT EXISTS (SELECT FROM silent s WHERE s.alert_id = i.alert_id)
$$;

-- For pages: alerts.muted_by of what fires.
CREATE OR REPLACE FUNCTION note_muted(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_ids CONSTANT uuid[] := ARRAY(SELECT alert_id FROM alerts a
		WHERE state <> 'resolved' AND is_firing(a));
BEGIN
	IF v_ids = '{}' OR NOT (EXISTS (SELECT FROM silences WHERE starts_at <= p_now AND ends_at > p_now)
		OR EXISTS (SELECT FROM flapping)
		OR EXISTS (SELECT FROM alerts a WHERE a.state <> 'resolved' AND is_firing(a)
			AND (a.muted_by IS NOT NULL OR EXISTS (SELECT FROM inhibitions i
				WHERE labels_match(i.source, a.labels))))) THEN
		RETURN;         -- nothing is quiet, and nothing was
	END IF;
	UPDATE alerts a SET muted_by = x.reason
	FROM (SELECT o.alert_id, CASE WHEN f.alert_key IS NULL THEN m.reason ELSE 'flapping' END AS reason
		FROM alerts o LEFT JOIN muted_alerts(v_ids, p_now) m USING (alert_id)
			LEFT JOIN flapping f ON f.alert_key = alert_key(o.rule_id, o.subject_key)
		WHERE o.alert_id = ANY (v_ids)) x
	WHERE a.alert_id = x.alert_id AND a.muted_by IS DISTINCT FROM x.reason;
END
$$;

SELECT drop_former_functions() \g /dev/null

-- ==== 74b-flush: from groups to messages ========================================================
-- flush_groups() goes through time in order: what fired joins its groups, and each group is flushed at its
-- times. So it does not matter who calls it, and how often. Who changes alerts calls it first, up to then.

-- As <@, in linear time.
CREATE OR REPLACE FUNCTION is_subset(p_part uuid[], p_whole uuid[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT EXISTS (SELECT unnest(p_part) EXCEPT SELECT unnest(p_whole));

-- Why a message is due; NULL: it is not. As Alertmanager has it: what the last message said is held against
-- what is so now. p_last_firing NULL: there was none. p_age NULL: nobody knows how old it is. p_repeat NULL:
-- nobody wants to be reminded.
CREATE OR REPLACE FUNCTION notify_due(p_last_firing uuid[], p_last_resolved uuid[], p_age interval,
	p_firing uuid[], p_resolved uuid[], p_repeat interval, p_send_resolved boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_last_firing IS NULL AND p_firing = '{}' THEN NULL
	WHEN coalesce(p_last_firing, '{}') = '{}' AND p_firing <> '{}' THEN 'first'
	WHEN NOT is_subset(p_firing, p_last_firing) THEN 'new_alerts'
	WHEN p_firing = '{}' THEN CASE WHEN p_last_firing <> '{}' THEN 'all_resolved' END
	WHEN p_send_resolved AND NOT is_subset(p_resolved, p_last_resolved) THEN 'new_resolved'
	WHEN p_age IS NULL OR p_age >= p_repeat THEN 'repeat' END;

-- The delay before the next message that says nothing new. It doubles, up to p_max.
CREATE OR REPLACE FUNCTION repeat_delay(p_repeat_s float8, p_max_s float8, p_repeats int) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN make_interval(secs => CASE WHEN p_max_s > p_repeat_s
	THEN least(p_max_s, p_repeat_s * 2 ^ least(p_repeats, 20)) ELSE p_repeat_s END);

-- ---- what a message says -------------------------------------------------------------------------
-- The last p_count lines of a server or an application with level ERROR or above, of the half hour before.
CREATE OR REPLACE FUNCTION error_lines(p_server text, p_app text, p_now timestamptz, p_count int)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT coalesce(jsonb_agg(left(format('%s %s %s: %s', to_char("timestamp" AT TIME ZONE 'UTC',
		'HH24:MI:SS'), app_name, level, message), 500) ORDER BY "timestamp", id), '[]')
	FROM (SELECT "timestamp", id, app_name, level, message FROM log_entries
		WHERE vps_name = p_server AND (p_app IS NULL OR app_name = p_app)
			AND level IN ('ERROR', 'CRITICAL')
			AND "timestamp" > p_now - interval '30 minutes' AND "timestamp" <= p_now
		ORDER BY "timestamp" DESC, id DESC LIMIT p_count) l);
END
$$;

-- What the facts say about a subject besides its value: the last failure of a check, the note of a job that
-- failed, the error of a rule. NULL: nothing.
CREATE OR REPLACE FUNCTION alert_detail(p_kind text, p_subject jsonb, p_now timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN left(CASE p_kind
		WHEN 'check' THEN (SELECT h.error_message FROM health_checks h
			WHERE h.vps_name = p_subject ->> 'server' AND h.app_name = p_subject ->> 'app'
				AND h.url = p_subject ->> 'check' AND NOT h.success
				AND h."timestamp" > p_now - interval '1 day' AND h."timestamp" <= p_now
			ORDER BY h."timestamp" DESC LIMIT 1)
		WHEN 'heartbeat' THEN (SELECT CASE WHEN p.kind = 'failed' THEN 'failed: ' || p.note END
			FROM heartbeats b JOIN heartbeat_pings p USING (heartbeat_id)
			WHERE b.name = p_subject ->> 'heartbeat' AND p.kind <> 'start' AND p.at <= p_now
			ORDER BY p.at DESC LIMIT 1)
		WHEN 'rule_error' THEN (SELECT p.problem
			FROM rule_problems p JOIN alert_rules r USING (rule_id)
			WHERE r.name = p_subject ->> 'of_rule')
		END, 300);
END
$$;

-- An alert as a message and its template know it: what tells it apart.
CREATE OR REPLACE FUNCTION alert_brief(a alerts, p_flapping boolean) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('alert_id', (a).alert_id, 'key', alert_key((a).rule_id, (a).subject_key),
	'status', CASE WHEN is_firing(a) OR p_flapping THEN 'firing' ELSE 'resolved' END,
	'rule', (a).labels ->> 'rule', 'severity', (a).severity, 'subject', (a).subject,
	'since', (a).active_since, 'fired_at', (a).fired_at, 'flapping', p_flapping,
	'resolved_at', CASE WHEN NOT is_firing(a) THEN coalesce((a).resolved_at, (a).evaluated_at) END,
	'path', '/alerts/' || (a).alert_id);

-- What else a reader needs; p_unit is that of the rule. p_lines: and the last error lines.
CREATE OR REPLACE FUNCTION alert_details(a alerts, r alert_rules, p_unit text, p_lines boolean,
	p_now timestamptz) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('labels', (a).labels, 'kind', (r).kind, 'metric', (r).metric, 'value', (a).value,
	'op', (r).op, 'threshold', (a).threshold, 'value_text', value_text((a).value, p_unit),
	'threshold_text', CASE WHEN p_unit IS DISTINCT FROM 'state'
		THEN value_text((a).threshold, p_unit) END, 'problem', (a).problem,
	'detail', CASE WHEN p_lines AND is_firing(a) THEN alert_detail((r).kind, (a).subject, p_now) END,
	'resolve_reason', (a).resolve_reason, 'ended', ended_text((a).resolve_reason),
	'acked_by', (a).acked_by, 'ack_note', (a).ack_note, 'summary', coalesce((r).summary, ''),
	'runbook', coalesce((r).runbook, ''),
	'lines', CASE WHEN p_lines AND (a).subject ? 'server' THEN error_lines((a).subject ->> 'server',
		(a).subject ->> 'app', p_now, 3) ELSE '[]' END);

-- Alerts of a message, the worst first. Those behind the first p_full have only what tells them apart.
CREATE OR REPLACE FUNCTION alerts_content(p_ids uuid[], p_flapping uuid[], p_now timestamptz, p_full int)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(CASE WHEN n <= p_full
			THEN alert_brief(a, flaps) || alert_details(a, r,
				rule_unit((r).kind, (r).metric, (r).params), n <= 10, p_now)
			ELSE alert_brief(a, flaps) END ORDER BY n), '[]')
	FROM (SELECT a, CASE WHEN EXISTS (SELECT FROM rule_patches p WHERE p.rule_id = a.rule_id)
				THEN rule_for(a) ELSE r END AS r, flaps, row_number() OVER (
			ORDER BY is_firing(a) OR flaps DESC, a.severity, a.active_since, a.subject,
				a.alert_id) AS n
		FROM alerts a LEFT JOIN alert_rules r USING (rule_id), LATERAL (SELECT coalesce(
			alert_key(a.rule_id, a.subject_key) = ANY (p_flapping), false) AS flaps) f
		WHERE a.alert_id = ANY (p_ids)) x
$$;

-- ---- the groups that are due -----------------------------------------------------------------------
-- Groups that are flushed at a time, each with what its route says, or the root if its route is gone. quiet:
-- a quiet window is open.
CREATE OR REPLACE FUNCTION due_groups(p_at timestamptz) RETURNS TABLE (group_id uuid, only_channel uuid,
	labels jsonb, channels uuid[], group_interval interval, repeat_s float8, repeat_max_s float8,
	has_route boolean, quiet boolean)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (
		SELECT r.*, EXISTS (SELECT FROM quiet_windows w WHERE w.window_id = ANY (r.windows)
			AND in_window(w, p_at)) AS quiet FROM route_settings() r)
	SELECT g.group_id, g.channel_id, g.labels, s.channels, s.group_interval, s.repeat_s, s.repeat_max_s,
		s.route_id = g.route_id, s.quiet
	FROM alert_groups g LEFT JOIN LATERAL (SELECT * FROM setting x
		ORDER BY x.route_id = g.route_id DESC, x.depth LIMIT 1) s ON true
	WHERE g.flush_at = p_at
$$;

-- Each of them with each channel that the routes lead to (wanted), or that was told something of it.
CREATE OR REPLACE FUNCTION due_channels(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	wanted boolean, send_resolved boolean, repeat_s float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT x.* FROM (
		SELECT g.group_id, c.channel_id, c.disabled_at IS NULL AND CASE
				WHEN g.only_channel IS NOT NULL THEN c.channel_id = g.only_channel
				ELSE g.has_route AND (g.channels IS NULL OR c.channel_id = ANY (g.channels))
				END AS wanted, c.send_resolved, g.repeat_s
		FROM due_groups(p_at) g CROSS JOIN channels c) x
	WHERE x.wanted OR EXISTS (SELECT FROM group_told t
		WHERE t.group_id = x.group_id AND t.channel_id = x.channel_id)
$$;

-- Their members. What flaps counts as firing until it has been quiet for long.
CREATE OR REPLACE FUNCTION due_members(p_at timestamptz) RETURNS TABLE (group_id uuid, alert_key uuid,
	alert_id uuid, routed boolean, firing boolean, flapping boolean, muted boolean, critical boolean,
	acked boolean, repeat_s int)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH member AS MATERIALIZED (
		SELECT m.* FROM alert_groups g JOIN group_alerts m USING (group_id) WHERE g.flush_at = p_at),
	quiet AS MATERIALIZED (
		SELECT x.alert_id FROM muted_alerts(ARRAY(SELECT DISTINCT m.alert_id FROM member m), p_at) x)
	SELECT m.group_id, m.alert_key, m.alert_id, m.routed, is_firing(a) OR f.since IS NOT NULL,
		f.since IS NOT NULL, q.alert_id IS NOT NULL, coalesce(a.severity = 'critical', false),
		coalesce(a.acked_at >= CASE WHEN a.severity = 'critical' THEN a.critical_since
			ELSE a.acked_at END, a.acked_at IS NOT NULL),
		CASE WHEN p.rule_id IS NULL THEN r.repeat_s ELSE (rule_for(a)).repeat_s END
	FROM member m LEFT JOIN alerts a ON a.alert_id = m.alert_id
		LEFT JOIN alert_rules r ON r.rule_id = a.rule_id
		LEFT JOIN (SELECT DISTINCT rule_id FROM rule_patches WHERE changes ? 'repeat_s') p
			ON p.rule_id = a.rule_id
		LEFT JOIN flapping f ON f.alert_key = m.alert_key
		LEFT JOIN quiet q ON q.alert_id = m.alert_id
$$;

-- What there is to say to each channel about each group, as keys. firing: what it should know of, and
-- which of these are critical and flap. owed: "resolved" of what it was told. listed: what the last message
-- said to fire; hidden: some of these that fire, but not for this channel any more. worse: why firing is news
-- although it is listed. shown, over and passed are ids: of firing, of owed if the channel wants it, and of
-- what was over before the channel was told.
CREATE OR REPLACE FUNCTION due_news(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	firing uuid[], critical boolean[], flapping boolean[], hidden uuid[], owed uuid[], listed uuid[],
	worse text, repeat_s float8, shown uuid[], over uuid[], passed uuid[])
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH m AS (
		SELECT x.*, c.channel_id, c.send_resolved, c.repeat_s AS route_repeat_s,
			t.alert_key IS NOT NULL AS told, t.listed AS was_listed,
			t.critical AS was_critical, t.flapping AS was_flapping,
			x.firing AND x.routed AND NOT x.muted AND c.wanted AS due
		FROM due_channels(p_at) c JOIN due_members(p_at) x USING (group_id)
			LEFT JOIN group_told t ON t.group_id = c.group_id AND t.channel_id = c.channel_id
				AND t.alert_key = x.alert_key)
	SELECT m.group_id, m.channel_id, array_agg(alert_key) FILTER (WHERE due),
		array_agg(m.critical) FILTER (WHERE due),
		array_agg(m.flapping) FILTER (WHERE due),
		array_agg(alert_key) FILTER (WHERE was_listed AND m.firing AND NOT due),
		array_agg(alert_key) FILTER (WHERE told AND NOT m.firing),
		array_agg(alert_key) FILTER (WHERE was_listed OR told AND (acked OR NOT m.firing)),
		CASE WHEN bool_or(due AND m.critical AND NOT was_critical) THEN 'worse'
			WHEN bool_or(due AND m.flapping AND NOT was_flapping) THEN 'flapping'
			WHEN bool_or(due AND was_flapping AND NOT m.flapping) THEN 'stable' END,
		min(coalesce(m.repeat_s, route_repeat_s)) FILTER (WHERE due AND NOT acked AND NOT m.flapping),
		array_agg(alert_id) FILTER (WHERE due),
		array_agg(alert_id) FILTER (WHERE told AND NOT m.firing AND send_resolved),
		array_agg(alert_id) FILTER (WHERE NOT told AND NOT m.firing AND routed AND NOT muted
			AND send_resolved)
	FROM m GROUP BY 1, 2
$$;

-- How long ago the last message about a group has reached a channel. One that was refused and waits is not
-- old: a peer that is away gets no reminders on top.
CREATE OR REPLACE FUNCTION message_age(p_sent group_sent, p_interval interval, p_now timestamptz)
RETURNS interval
LANGUAGE sql STABLE
RETURN p_now - coalesce((SELECT CASE
		WHEN dead_at IS NOT NULL OR attempts = 0 OR sent_at < made_at + p_interval THEN made_at
		ELSE coalesce(sent_at, p_now) END
	FROM notifications WHERE notification_id = (p_sent).notification_id), (p_sent).at);

-- The same with the reason to say it, NULL if there is none, and the id that its message gets. A disabled
-- channel without a fallback misses it, and gets none.
CREATE OR REPLACE FUNCTION due_messages(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	firing uuid[], critical boolean[], flapping boolean[], hidden uuid[], owed uuid[], shown uuid[],
	over uuid[], passed uuid[], labels jsonb, reason text, repeats int, id uuid)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT n.group_id, n.channel_id, n.firing, n.critical, n.flapping, n.hidden, n.owed,
		n.shown, n.over, n.passed, g.labels, r.reason,
		CASE WHEN r.reason = 'repeat' THEN s.repeats + 1 ELSE 0 END,
		CASE WHEN r.reason IS NOT NULL AND (n.shown || n.over) IS NOT NULL AND (c.disabled_at IS NULL
			OR fallback_channel(c.channel_id, '{}') IS NOT NULL) THEN gen_random_uuid() END
	FROM due_news(p_at) n JOIN due_groups(p_at) g USING (group_id) JOIN channels c USING (channel_id)
		LEFT JOIN group_sent s ON s.group_id = n.group_id AND s.channel_id = n.channel_id,
		LATERAL (SELECT CASE WHEN n.firing IS NOT NULL OR n.owed IS NOT NULL THEN coalesce(notify_due(
			CASE WHEN s.at IS NOT NULL THEN coalesce(n.listed, '{}') END, '{}',
			message_age(s, g.group_interval, p_at), coalesce(n.firing, '{}'), n.owed,
			repeat_delay(n.repeat_s, g.repeat_max_s, s.repeats), c.send_resolved),
			n.worse) END OFFSET 0) r(reason);
END
$$;

-- Writes the messages, and what the channels believe from now on.
CREATE OR REPLACE FUNCTION tell_channels(p_at timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH due AS MATERIALIZED (SELECT * FROM due_messages(p_at)),
	written AS (
		INSERT INTO notifications (notification_id, channel_id, group_id, kind, content, made_at,
			not_before)
		SELECT id, channel_id, group_id, CASE WHEN shown IS NULL THEN 'resolved' ELSE 'firing' END,
			jsonb_build_object('version', 1, 'group', labels, 'reason', reason, 'at', p_at,
				'firing', coalesce(cardinality(shown), 0),
				'resolved', coalesce(cardinality(over), 0),
				'alerts', alerts_content(shown || over, ARRAY(SELECT k FROM unnest(firing,
					flapping) u(k, flaps) WHERE flaps), p_at, 100),
				'passed', CASE WHEN passed IS NULL THEN '[]'
					ELSE alerts_content(passed, '{}', p_at, 10) END), p_at, p_at
		FROM due WHERE id IS NOT NULL),
	over AS (
		DELETE FROM group_told t USING due d, unnest(d.owed) k WHERE t.group_id = d.group_id
			AND t.channel_id = d.channel_id AND t.alert_key = k),
	unlisted AS (
		UPDATE group_told t SET listed = false FROM due d, unnest(d.hidden) k
		WHERE d.reason IS NOT NULL AND t.group_id = d.group_id AND t.channel_id = d.channel_id
			AND t.alert_key = k),
	listed AS (
		INSERT INTO group_told AS t
		SELECT d.group_id, d.channel_id, k, true, is_critical, flaps
		FROM due d, unnest(d.firing, d.critical, d.flapping) u(k, is_critical, flaps)
		WHERE d.reason IS NOT NULL
		ON CONFLICT (group_id, channel_id, alert_key) DO UPDATE SET listed = true,
			critical = excluded.critical, flapping = excluded.flapping
		WHERE (t.listed, t.critical, t.flapping) IS DISTINCT FROM (true, excluded.critical,
			excluded.flapping))
	INSERT INTO group_sent AS s SELECT group_id, channel_id, id, p_at, repeats FROM due
		WHERE reason IS NOT NULL
	ON CONFLICT (group_id, channel_id) DO UPDATE SET notification_id = excluded.notification_id,
		at = excluded.at, repeats = excluded.repeats
$$;

-- Members that are over, or are elsewhere now and nobody was told of here, leave. The group of none is kept
-- for a while. All are due again after their intervals.
CREATE OR REPLACE FUNCTION tidy_groups(p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM group_told t USING alert_groups g WHERE g.flush_at = p_at AND t.group_id = g.group_id
		AND NOT EXISTS (SELECT FROM channels c WHERE c.channel_id = t.channel_id);
	DELETE FROM group_alerts m USING alert_groups g WHERE g.flush_at = p_at AND m.group_id = g.group_id
		AND NOT (routed AND (
			EXISTS (SELECT FROM alerts a WHERE a.alert_id = m.alert_id AND is_firing(a))
			OR EXISTS (SELECT FROM flapping f WHERE f.alert_key = m.alert_key)))
		AND NOT EXISTS (SELECT FROM group_told t
			WHERE t.group_id = m.group_id AND t.alert_key = m.alert_key);
	WITH gone AS (DELETE FROM alert_groups g WHERE flush_at = p_at AND emptied_at + group_keep() <= p_at
		AND NOT EXISTS (SELECT FROM group_alerts m WHERE m.group_id = g.group_id) RETURNING group_id)
	DELETE FROM group_sent s USING gone WHERE s.group_id = gone.group_id;
	UPDATE alert_groups g SET flushed = true, flush_at = p_at + d.group_interval, emptied_at = CASE
			WHEN EXISTS (SELECT FROM group_alerts m WHERE m.group_id = g.group_id) THEN NULL
			ELSE coalesce(g.emptied_at, p_at) END
		FROM due_groups(p_at) d WHERE g.group_id = d.group_id;
END
$$;

-- Flushes all groups that are due at a time. In a quiet window a group keeps what it has to say. What has not
-- changed for long does not flap any more. Plans are made anew each time, because there may be few groups or
-- thousands.
CREATE OR REPLACE FUNCTION flush_due(p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
	UPDATE alert_groups g SET flushed = true, flush_at = p_at + d.group_interval
		FROM due_groups(p_at) d WHERE d.quiet AND g.group_id = d.group_id;
	DELETE FROM flapping f USING alert_groups g JOIN group_alerts m USING (group_id)
			LEFT JOIN alerts a USING (alert_id), alert_policy p
		WHERE g.flush_at = p_at AND f.alert_key = m.alert_key
			AND coalesce(greatest(a.fired_at, a.resolved_at)
				+ make_interval(secs => p.flap_quiet_s) <= p_at, true);
	PERFORM tell_channels(p_at);
	PERFORM tidy_groups(p_at);
END
$$;

-- ---- all of them -----------------------------------------------------------------------------------
-- Goes on to p_now, and returns when the next group is due. Alerts must have been evaluated until then. In an
-- absence of the watcher nothing is said, nor after it until the rules have been evaluated again.
CREATE OR REPLACE FUNCTION flush_until(p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c alert_clock;
	v_absent interval;
	v_from timestamptz;
	v_at timestamptz;
BEGIN
	SELECT * INTO c FROM alert_clock FOR UPDATE;
	SELECT make_interval(secs => catch_up_s), flushed_until INTO v_absent, v_from
		FROM alert_policy, notify_state;
	IF c.away_until > p_now OR v_from > p_now + v_absent THEN
		UPDATE alert_groups SET flush_at = greatest(c.away_until, p_now) WHERE flush_at < c.away_until
			OR v_from > p_now + v_absent;
		UPDATE notify_state SET flushed_until = p_now;
		RETURN c.away_until;
	ELSIF c.evaluated_until + v_absent < p_now OR v_from > p_now THEN
		RETURN (SELECT min(flush_at) FROM alert_groups);
	END IF;
	-- Longer ago than an absence: an import, or a backup. No message of that time is due.
	IF v_from < p_now - v_absent THEN
		v_from := p_now;
		UPDATE alert_groups SET flush_at = p_now WHERE flush_at < p_now;
	END IF;
	v_from := greatest(v_from, c.away_until);
	LOOP
		PERFORM route_alerts(v_from, coalesce((SELECT min(flush_at) FROM alert_groups
			WHERE flush_at <= p_now), p_now));
		SELECT min(flush_at) INTO v_at FROM alert_groups WHERE flush_at <= p_now;
		EXIT WHEN v_at IS NULL;
		PERFORM flush_due(v_at);
	END LOOP;
	UPDATE notify_state SET flushed_until = p_now;
	RETURN (SELECT min(flush_at) FROM alert_groups);
END
$$;

-- The same, and what is quiet is noted for the pages.
CREATE OR REPLACE FUNCTION flush_groups(p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	ret CONSTANT timestamptz := flush_until(p_now);
BEGIN
	PERFORM note_muted(p_now) WHERE EXISTS (SELECT FROM notify_state WHERE flushed_until = p_now);
	RETURN ret;
END
$$;

-- What there is without configuration: all goes to all channels, and while an agent is offline its other
-- alerts are quiet. Those of other applications on its server are not: their agents still tell the truth.
WITH first AS (INSERT INTO notify_state DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING true),
	root AS (INSERT INTO alert_routes (group_by, group_wait_s, group_interval_s, repeat_s, repeat_max_s)
		SELECT '{rule}', 30, 300, 14400, 86400 FROM first)
INSERT INTO inhibitions (name, source, target, equal) SELECT 'agent offline',
	'[{"label": "mutes", "op": "=", "value": "app"},
		{"label": "severity", "op": "=", "value": "critical"}]',
	'[{"label": "server", "op": "!=", "value": ""}]', '{server,app}' FROM first;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION flush_groups TO observ_watch;

-- ==== 75-heartbeats: jobs that say that they ran ===============================================
-- A job says so with one statement, SELECT beat('backup'), as a member of observ_reader, or with one GET or
-- POST of its URL. A job that fails may say that too, and it may say when it starts.
INSERT INTO limit_policy VALUES ('heartbeat', 60, '1 minute') ON CONFLICT DO NOTHING;

-- When the job has to have reported again, after it did at p_last. NULL: never.
CREATE OR REPLACE FUNCTION heartbeat_due(h heartbeats, p_last timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN h.schedule IS NULL THEN p_last + make_interval(secs => h.every_s)
		ELSE next_cron(h.schedule, h.time_zone, p_last) END + make_interval(secs => h.grace_s)
$$;

-- The seconds since it was due, 0 in time. A job that failed is late since then. A line of cron that is wrong
-- is an error.
CREATE OR REPLACE FUNCTION heartbeat_query() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'SELECT h.labels->>''server'' AS server, h.labels->>''app'' AS app,
			(h.labels - ''server'' - ''app'') || jsonb_build_object(''heartbeat'',
				h.name) AS more,
			greatest(0, extract(epoch FROM $1 - CASE l.kind WHEN ''failed''
				THEN l.at - interval ''1 s''
				ELSE heartbeat_due(h, coalesce(l.at, h.created_at)) END)) AS value,
					NULL::text AS problem
		FROM heartbeats h LEFT JOIN LATERAL (SELECT p.at, p.kind FROM heartbeat_pings p
			WHERE p.heartbeat_id = h.heartbeat_id AND p.at <= $1 AND p.kind <> ''start''
			ORDER BY p.at DESC, p.id DESC LIMIT 1) l ON true
		WHERE NOT h.paused AND h.created_at <= $1'
$$;

CREATE OR REPLACE FUNCTION note_beat(h heartbeats, p_kind text, p_note text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	IF p_kind IS NULL OR p_kind NOT IN ('start', 'done', 'failed') THEN
		RAISE EXCEPTION 'a heartbeat is start, done or failed, not "%"', left(p_kind, 100)
			USING ERRCODE = '22023';
	END IF;
	INSERT INTO heartbeat_pings (heartbeat_id, at, kind, note)
		VALUES (h.heartbeat_id, v_now, p_kind, left(p_note, 1000));
	RETURN jsonb_build_object('status', 'ok', 'heartbeat', h.name, 'kind', p_kind, 'due_at', CASE
		WHEN p_kind <> 'start' AND NOT h.paused THEN heartbeat_due(h, v_now) END);
END
$$;

-- For psql: by the name of the heartbeat.
CREATE OR REPLACE FUNCTION beat(p_name text, p_kind text DEFAULT 'done', p_note text DEFAULT NULL) RETURNS
	jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	h heartbeats;
BEGIN
	SELECT * INTO h FROM heartbeats WHERE name = p_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no heartbeat "%"', left(p_name, 200) USING ERRCODE = '22023',
			HINT = 'SELECT name FROM observ.heartbeats';
	END IF;
	RETURN note_beat(h, p_kind, p_note);
END
$$;

-- For the hub: by the hash of the token in its URL. A job that calls it all the time is limited.
CREATE OR REPLACE FUNCTION beat_by_token(p_hash bytea, p_kind text, p_note text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	h heartbeats;
BEGIN
	SELECT * INTO h FROM heartbeats WHERE token_hash = sha256(p_hash);
	IF NOT FOUND THEN
		PERFORM refuse(404, 'There is no heartbeat with this token.');
	ELSIF coalesce(p_kind, 'done') NOT IN ('start', 'done', 'failed') THEN
		PERFORM refuse_errors(field_error(true, 'kind', 'must be start, done or failed'));
	END IF;
	PERFORM take('heartbeat', h.heartbeat_id::text);
	RETURN note_beat(h, coalesce(p_kind, 'done'), p_note);
END
$$;

-- ---- what people write ------------------------------------------------------------
CREATE OR REPLACE FUNCTION cron_valid(p_schedule text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM next_cron(p_schedule, 'UTC', '2026-01-01Z');
	RETURN true;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END
$$;

CREATE OR REPLACE FUNCTION heartbeat_errors(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error((h.schedule IS NULL) = (h.every_s IS NULL), 'schedule',
			'or every_s must be there, and not both')
		|| field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = h.time_zone),
			'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(h.schedule IS NOT NULL AND NOT cron_valid(h.schedule), 'schedule',
			'must be a line of cron such as "30 2 * * *"')
		|| field_error(EXISTS (SELECT FROM heartbeats WHERE name = h.name
			AND heartbeat_id <> h.heartbeat_id), 'name', 'is taken by another heartbeat')
$$;

CREATE OR REPLACE FUNCTION heartbeat_json(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(h) - 'token_hash' || jsonb_build_object('last_at', (SELECT max(at)
		FROM heartbeat_pings p
		WHERE p.heartbeat_id = h.heartbeat_id))
$$;

-- A new one has a token, which is told once: its URL is what the job calls. p_site: the hub's own address.
CREATE OR REPLACE FUNCTION save_heartbeat(p_hash bytea, p_id text, p_body jsonb, p_site text,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h heartbeats;
	v_token CONSTANT text := CASE WHEN p_id IS NULL THEN new_secret('obs_beat') END;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	h := jsonb_populate_record(NULL::heartbeats, changed_row('heartbeat', p_id, p_body, c.email,
		p_match));
	h.token_hash := coalesce(sha256(sha256(convert_to(v_token, 'UTF8'))), h.token_hash);
	PERFORM refuse_errors(heartbeat_errors(h));
	PERFORM put_row('heartbeat', to_jsonb(h)),
		audit(c.email, c.how, saved_how('heartbeat', p_id), h.name, p_body);
	RETURN heartbeat_json(h) || CASE WHEN v_token IS NULL THEN '{}' ELSE jsonb_build_object('url',
		p_site || '/api/v1/heartbeats/' || v_token) END;
END
$$;

CREATE OR REPLACE FUNCTION delete_heartbeat(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	PERFORM audit(c.email, c.how, 'heartbeat deleted', removed_row('heartbeat', p_id)->>'name');
	DELETE FROM heartbeat_pings WHERE heartbeat_id = as_uuid(p_id);
	RETURN '{"ok": true}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION beat TO observ_reader;
GRANT EXECUTE ON FUNCTION beat_by_token TO observ_hub;
GRANT EXECUTE ON FUNCTION save_heartbeat, delete_heartbeat TO observ_hub, observ_enroll;
-- ==== 76-patterns: messages without what differs from line to line =============================
-- "user 42 not found in /srv/a" and "user 7 not found in /srv/b" are the pattern "user * not found in *".
-- Each has exact counts and times, by server and application, of lines that are WARNING or worse.
--
-- To make a pattern costs as much as to store a line. So the push transaction only puts the messages aside,
-- an array for each batch, and the watcher makes the patterns: learn_patterns() takes what is aside and
-- counts it in one transaction, so each line is counted once.
CREATE TABLE IF NOT EXISTS pattern_queue (
	id bigint GENERATED ALWAYS AS IDENTITY,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	received_at timestamptz NOT NULL,
	levels smallint[] NOT NULL,             -- 3 WARNING, 4 ERROR, 5 CRITICAL
	times timestamptz[] NOT NULL,
	messages text[] NOT NULL,
	PRIMARY KEY (vps_name, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE pattern_queue ALTER messages SET STORAGE EXTERNAL;  -- to compress costs more than to write

-- Of an application. Lines of further patterns are counted as one, "(other)".
CREATE OR REPLACE FUNCTION max_patterns() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 10000;
-- What of a message is looked at, and how long a pattern may be.
CREATE OR REPLACE FUNCTION max_pattern_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 300;

SELECT want_index('log_patterns_app_idx', 'log_patterns (app_name, pattern_key)'),
	want_index('log_patterns_first_idx', 'log_patterns (first_received_at)') \g /dev/null

-- The pattern of a message: its first line, with * for quoted text, paths, addresses, ids and numbers. A word
-- keeps its letters: worker-12 is worker-*. The last expression but one takes the longest that fits: 0x1f;
-- UUIDs, hashes and other long runs of letters and digits; IPv6 and times; numbers, versions and IPv4, with a
-- unit.
CREATE OR REPLACE FUNCTION pattern_of(p_message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT left(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
		left(split_part(ltrim(p_message, E' \t\r\n'), E'\n', 1), 1000) COLLATE "C",
		'"[^"]*"|`[^`]*`|«[^»]*»|“[^”]*”'
		'|(?<![[:alnum:]])''[^'']*''(?![[:alnum:]])', '*', 'g'),
		'[^][:space:]=,;()<>{}[]*[/@\\][^][:space:]=,;()<>{}[]*', '*', 'g'),
		'\m(0[xX][[:xdigit:]]+|[a-fA-F]*[0-9][0-9a-fA-F-]{6,}|[[:alpha:]]*[0-9][[:alnum:]]{12,})\M'
		'|\m[[:xdigit:]]{1,4}(:[[:xdigit:]]{0,4}){3,}|[0-9]+([.,:][0-9]+)*(%|[[:alpha:]]{1,3}\M)?',
		'*', 'g'),
		'([*][-.,:+TZ]*)+[*]', '*', 'g'), observ.max_pattern_chars())
$$;

CREATE OR REPLACE FUNCTION pattern_key(p_level text, p_pattern text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN md5(p_level || ' ' || p_pattern)::uuid;

-- Puts the messages of a batch aside that are WARNING or worse. push_logs() calls it if there are any.
CREATE OR REPLACE FUNCTION queue_patterns(p_vps text, p_app text, p_now timestamptz, p_level smallint[],
	p_timestamp timestamptz[], p_message text[]) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	INSERT INTO pattern_queue (vps_name, app_name, received_at, levels, times, messages)
	SELECT p_vps, p_app, p_now, array_agg(l), array_agg(t),
		array_agg(CASE WHEN octet_length(m) > 1000 THEN left(m, 1000) ELSE m END)
	FROM (SELECT unnest(p_level) AS l, unnest(p_timestamp) AS t, unnest(p_message) AS m) u WHERE l >= 3
$$;

-- The next time at which a rule of patterns is judged: it must not know of lines that arrived later.
CREATE OR REPLACE FUNCTION patterns_until() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(min(grid_before(evaluated_until, interval_s) + make_interval(secs => interval_s)),
		'infinity')
	FROM alert_clock, alert_rules WHERE is_active AND kind = 'new_pattern' AND isfinite(evaluated_until)
$$;

-- Counts what is aside and arrived until then, at most about p_lines lines, the oldest first. Returns how
-- many lines it counted. Two at once take turns by the row of alert_clock; evaluate_alerts() has it already.
CREATE OR REPLACE FUNCTION learn_patterns(p_lines int DEFAULT 20000, p_until timestamptz DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	v_arrived CONSTANT timestamptz := coalesce(p_until, patterns_until());
	v_until bigint;
	ret bigint;
BEGIN
	PERFORM FROM alert_clock FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	SELECT max(id) INTO v_until FROM (SELECT id, sum(cardinality(messages)) OVER (ORDER BY id)
		- cardinality(messages) AS before FROM (
			SELECT id, messages FROM pattern_queue WHERE received_at <= v_arrived
			ORDER BY id LIMIT 1000) q) x
				WHERE before < p_lines;
	WITH taken AS (DELETE FROM pattern_queue WHERE id <= v_until AND received_at <= v_arrived
		RETURNING *),
	line AS MATERIALIZED (
		SELECT *, pattern_key(level, pattern) AS key FROM (
			SELECT vps_name, app_name, pattern_of(m) AS pattern, min(t) AS first_at,
				max(t) AS last_at,
				('{WARNING,ERROR,CRITICAL}'::text[])[l - 2] AS level,
				min(received_at) AS received_at, count(*) AS lines
			FROM taken, unnest(levels, times, messages) u(l, t, m) GROUP BY 1, 2, 3, 6) x),
	fresh AS (
		SELECT app_name, key, row_number() OVER (PARTITION BY app_name ORDER BY min(received_at), key)
			+ (SELECT count(DISTINCT p.pattern_key) FROM log_patterns p
				WHERE p.app_name = l.app_name) AS nth
		FROM line l WHERE NOT EXISTS (SELECT FROM log_patterns p
			WHERE p.app_name = l.app_name AND p.pattern_key = l.key)
		GROUP BY 1, 2),
	kept AS (
		SELECT vps_name, app_name, level, first_at, last_at, received_at, lines,
			CASE WHEN nth > max_patterns() THEN '(other)' ELSE pattern END AS pattern
		FROM line LEFT JOIN fresh USING (app_name, key)),
	written AS (
		INSERT INTO log_patterns AS p (vps_name, app_name, pattern_key, level, pattern, first_at,
			last_at, first_received_at, lines)
		SELECT vps_name, app_name, pattern_key(level, pattern), level, pattern, min(first_at),
			max(last_at), min(received_at), sum(lines)
		FROM kept GROUP BY 1, 2, 3, 4, 5
		ON CONFLICT (vps_name, app_name, pattern_key) DO UPDATE SET
			first_at = least(p.first_at, excluded.first_at),
			last_at = greatest(p.last_at, excluded.last_at),
			first_received_at = least(p.first_received_at, excluded.first_received_at),
			lines = p.lines + excluded.lines)
	SELECT coalesce(sum(lines), 0) INTO ret FROM line;
	RETURN ret;
END
$$;

-- ---- how long all of this is kept -------------------------------------------------------------------------
-- A step of maintain(): what retention_policy says of alerts that are resolved, messages, pings and patterns.
-- It also learns the patterns, where no watcher runs.
CREATE OR REPLACE FUNCTION maintain_alerts(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_count bigint;
	v_lines bigint;
	deleted bigint := 0;
	d record;
BEGIN
	FOR d IN SELECT tab, condition, now() - keep AS before FROM (VALUES
			('alerts', 'alert_changes', 'at < $1 AND alert_id NOT IN (SELECT alert_id FROM alerts
				WHERE resolved_at >= $1 OR state <> ''resolved'')'),
			('alerts', 'group_alerts', 'alert_id IN (SELECT alert_id FROM alerts WHERE
				resolved_at < $1)'),
			('alerts', 'alerts', 'resolved_at < $1 AND state = ''resolved'''),
			('alerts', 'external_answers', 'at < $1'),
			('notifications', 'notifications', 'made_at < $1 AND (sent_at IS NOT NULL OR dead_at
				IS NOT NULL)'),
			('pings', 'heartbeat_pings', 'at < $1 AND id <> (SELECT max(id) FROM heartbeat_pings l
				WHERE l.heartbeat_id = t.heartbeat_id)'),
			('patterns', 'log_patterns', 'last_at < $1')) v(kind, tab, condition)
			JOIN retention_policy USING (kind) WHERE keep IS NOT NULL LOOP
		EXECUTE format('DELETE FROM %I t WHERE %s', d.tab, d.condition) USING d.before;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		deleted := deleted + v_count;
	END LOOP;
	LOOP
		v_lines := learn_patterns(p_until => greatest(patterns_until(), now() - interval '1 hour'));
		EXIT WHEN v_lines = 0 OR clock_timestamp() > p_deadline;
	END LOOP;
	RETURN nullif(deleted, 0) || ' rows of alerts deleted';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION learn_patterns TO observ_watch;

-- ==== 77-delivery: the outbox, from which fleet_watch sends ======================================
-- A watcher asks exchange_notifications(): it says what became of messages, by notification_sent() or
-- notification_failed(), and gets the next ones from take_notifications(), which leases them. A lease that
-- runs out (the watcher died) gives the message to the next one, with the same notification_id: the peer may
-- get twice only what it had accepted when its answer was lost, and knows it by that id.
--
-- What a peer refuses for ever becomes a dead letter, which stays visible, and its channel tells another one.
-- Time is a parameter.

-- A row a kind of channel. settings and secrets: {"name": {"required", "help"}}. `fleet_watch --print-kinds`
-- prints these rows, and a test compares.
CREATE TABLE IF NOT EXISTS channel_kinds (
	kind text PRIMARY KEY,
	title text NOT NULL,
	settings jsonb NOT NULL,
	secrets jsonb NOT NULL,
	gap_s float8 NOT NULL,                  -- from one message to the next, as the peer's limits want it
	at_once int NOT NULL                    -- messages to a channel whose peer answers well
);
INSERT INTO channel_kinds VALUES
	('mail', 'E-mail',
		'{"url": {"required": true, "help": "smtp://HOST:587 (STARTTLS) or smtps://HOST"},
		"from": {"required": true, "help": "the sender''s address"},
		"to": {"required": true, "help": "addresses, with commas between them"},
		"user": {"required": false, "help": "login at the mail server"},
		"tls": {"required": false, "help": "required (default), or none, for this machine''s own"}}',
		'{"password": {"required": false, "help": "of the login"}}', 0, 4),
	('slack', 'Slack',
		'{"channel": {"required": false, "help": "where a bot writes; a webhook has its own"},
		"api_url": {"required": false, "help": "instead of https://slack.com/api"}}',
		'{"url": {"required": false, "help": "an incoming webhook, https://hooks.slack.com/..."},
		"token": {"required": false, "help": "of a bot: xoxb-..."}}', 1, 1),
	('telegram', 'Telegram',
		'{"chat_id": {"required": true, "help": "a chat''s number, or @name of a channel"},
		"thread_id": {"required": false, "help": "a topic of the chat"},
		"api_url": {"required": false, "help": "instead of https://api.telegram.org"}}',
		'{"token": {"required": true, "help": "of the bot: 123456:ABC..."}}', 1, 1),
	('ntfy', 'ntfy',
		'{"url": {"required": true, "help": "https://ntfy.sh, or your own server"},
		"user": {"required": false, "help": "login, without a token"}}',
		'{"topic": {"required": true, "help": "the topic: who knows it may read along"},
		"token": {"required": false, "help": "an access token: tk_..."},
		"password": {"required": false, "help": "of the login"}}', 1, 1),
	('pagerduty', 'PagerDuty',
		'{"url": {"required": false, "help": "instead of https://events.pagerduty.com/v2/enqueue"}}',
		'{"routing_key": {"required": true, "help": "the integration key of a service"}}', 0, 4),
	('webhook', 'Webhook', '{}',
		'{"url": {"required": true, "help": "gets a POST of JSON, as standardwebhooks.com says"},
		"secret": {"required": false, "help": "whsec_ and Base64: signs each message"},
		"authorization": {"required": false, "help": "the value of the header Authorization"}}', 0, 8)
	ON CONFLICT (kind) DO UPDATE SET title = EXCLUDED.title, settings = EXCLUDED.settings,
		secrets = EXCLUDED.secrets, gap_s = EXCLUDED.gap_s, at_once = EXCLUDED.at_once;

-- What a kind keeps as a secret is one, also where somebody has written it among the settings.
CREATE OR REPLACE FUNCTION secrets_apart(p_kind text, INOUT settings jsonb, INOUT secrets jsonb)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE (k.secrets ? key) IS NOT TRUE), '{}'),
		$3 || coalesce(jsonb_object_agg(key, value) FILTER (WHERE k.secrets ? key), '{}')
	FROM jsonb_each($2) LEFT JOIN channel_kinds k ON kind = $1
$$;

CREATE OR REPLACE FUNCTION channel_secrets_apart() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	SELECT * FROM secrets_apart(NEW.kind, NEW.settings, NEW.secrets) INTO NEW.settings, NEW.secrets;
	RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER secrets_apart BEFORE INSERT OR UPDATE ON channels
	FOR EACH ROW EXECUTE FUNCTION channel_secrets_apart();
UPDATE channels c SET version = version + 1 FROM channel_kinds k
	WHERE k.kind = c.kind AND c.settings ?| ARRAY(SELECT jsonb_object_keys(k.secrets));

-- Secrets as people may see them: "***", but where a URL leads.
CREATE OR REPLACE FUNCTION secrets_shown(p_secrets jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE WHEN value IS NOT NULL THEN coalesce(array_to_string(
		regexp_match(value, '^(https?://)(?:[^/?#\\]*@)?'
			'(\[[0-9a-f:.]+\]|[^][/?#@:\\[:cntrl:][:space:]]+)(:[0-9]{1,5})?(?=[/?#]|$)', 'i'),
		'') || '/', '') || '***' END), '{}')
	FROM jsonb_each_text(p_secrets)
$$;

-- How it goes with a channel. While its peer is away, one message at a time tries.
CREATE TABLE IF NOT EXISTS channel_state (
	channel_id uuid PRIMARY KEY,
	failures int NOT NULL DEFAULT 0,        -- in a row
	retry_at timestamptz,                   -- nothing is sent before
	sent_at timestamptz,                    -- the last success
	failed_at timestamptz,
	last_error text
);

-- ---- who leads -----------------------------------------------------------------------------------
-- One of the watchers leads, for as long as its session lives and it asks each second. A row and no advisory
-- lock, because any login could take that and keep it.
CREATE TABLE IF NOT EXISTS watch_lead (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	watcher text,
	pid int,                                -- of its session
	until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO watch_lead DEFAULT VALUES ON CONFLICT DO NOTHING;

-- How long a leader that asks no more keeps the lead, and how much of that is left when it is told again that
-- it leads. The row is not written each second.
CREATE OR REPLACE FUNCTION lead_for() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '6 seconds';
CREATE OR REPLACE FUNCTION lead_left() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '4 seconds';

-- Does this watcher lead? If nobody does, it does so from now on. Of what it does another one may do the same
-- at any time without harm: so the lead needs not survive a crash of the database.
CREATE OR REPLACE FUNCTION lead_watch(p_watcher text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_pid CONSTANT int := pg_backend_pid();
BEGIN
	IF EXISTS (SELECT FROM watch_lead
			WHERE watcher = p_watcher AND pid = v_pid AND until > p_now + lead_left()) THEN
		RETURN true;
	END IF;
	PERFORM set_config('synchronous_commit', 'off', true);
	UPDATE watch_lead l SET watcher = p_watcher, pid = v_pid, until = p_now + lead_for()
		WHERE watcher = p_watcher OR until <= p_now OR NOT EXISTS (SELECT FROM pg_stat_activity a
			WHERE a.pid = l.pid AND a.datname = current_database());
	RETURN FOUND;
END
$$;

-- ---- messages --------------------------------------------------------------------------------------
-- Seconds to wait after that many tries failed: 5, 10, 20 ... 600. A random half of it is left out, so that
-- messages do not come together.
CREATE OR REPLACE FUNCTION delivery_backoff_s(p_failures int, p_random float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT least(5 * 2 ^ least(greatest(p_failures, 1) - 1, 20), 600) * (0.5 + p_random / 2);
$$;

-- The enabled channel that speaks for another one: along its fallbacks, else any other. Not one of p_via,
-- which had the message already. NULL: there is none.
CREATE OR REPLACE FUNCTION fallback_channel(p_channel uuid, p_via uuid[]) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_id uuid := p_channel;
	v_seen uuid[] := p_via || p_channel;
BEGIN
	FOR i IN 1 .. 16 LOOP
		SELECT f.channel_id INTO v_id FROM channels c JOIN channels f ON f.channel_id = c.fallback_id
			WHERE c.channel_id = v_id;
		EXIT WHEN v_id IS NULL;
		IF NOT v_id = ANY (v_seen) AND EXISTS (SELECT FROM channels WHERE channel_id = v_id
				AND disabled_at IS NULL) THEN
			RETURN v_id;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- Gives up on a message: a dead letter. A copy goes to the fallback of its channel.
CREATE OR REPLACE FUNCTION bury_notification(p_id uuid, p_error text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v notifications;
	v_via uuid[];
	v_to uuid;
BEGIN
	UPDATE notifications SET dead_at = p_now, last_error = p_error, taken_until = NULL, taken_by = NULL
		WHERE notification_id = p_id AND sent_at IS NULL AND dead_at IS NULL RETURNING * INTO v;
	IF NOT FOUND OR v.kind = 'test' THEN
		RETURN;
	END IF;
	v_via := ARRAY(SELECT jsonb_array_elements_text(coalesce(v.content -> 'via', '[]'))::uuid)
		|| v.channel_id;
	v_to := fallback_channel(v.channel_id, v_via);
	IF v_to IS NOT NULL THEN
		INSERT INTO notifications (channel_id, group_id, kind, content, made_at, not_before)
			VALUES (v_to, v.group_id, v.kind, v.content || jsonb_build_object('via', v_via,
				'instead_of', (SELECT name FROM channels WHERE channel_id = v.channel_id),
				'instead_why', p_error), v.made_at, p_now);
	END IF;
END
$$;

-- Buries messages of channels that somebody or a refusal has disabled. While a channel fails, also those that
-- a later one says again: of the same group, with each of its alerts still firing.
CREATE OR REPLACE FUNCTION tidy_notifications(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM bury_notification(notification_id, 'the channel is disabled: '
			|| coalesce(c.disabled_reason, 'no reason given'), p_now)
		FROM notifications n JOIN channels c USING (channel_id)
		WHERE sent_at IS NULL AND dead_at IS NULL AND c.disabled_at IS NOT NULL AND n.kind <> 'test';
	PERFORM bury_notification(notification_id, 'the channel was deleted', p_now)
		FROM notifications n
		WHERE sent_at IS NULL AND dead_at IS NULL
			AND NOT EXISTS (SELECT FROM channels c WHERE c.channel_id = n.channel_id);
	UPDATE notifications o SET dead_at = p_now, replaced_by = l.notification_id
		FROM notifications l, channel_state s
		WHERE s.channel_id = o.channel_id AND s.failures > 0
			AND o.sent_at IS NULL AND o.dead_at IS NULL AND o.kind = 'firing'
			AND coalesce(o.taken_until <= p_now, true)
			AND l.channel_id = o.channel_id AND l.group_id = o.group_id AND l.kind = 'firing'
			AND l.sent_at IS NULL AND l.dead_at IS NULL
			AND (l.made_at, l.notification_id) > (o.made_at, o.notification_id)
			AND ARRAY(SELECT a ->> 'alert_id' FROM jsonb_array_elements(o.content -> 'alerts') a)
				<@ ARRAY(SELECT a ->> 'alert_id'
					FROM jsonb_array_elements(l.content -> 'alerts') a
					WHERE a ->> 'status' IS DISTINCT FROM 'resolved');
END
$$;

-- Is some watcher sending it? Of the watcher that asks, only what it holds: an answer with others was lost.
CREATE OR REPLACE FUNCTION is_leased(n notifications, p_watcher text, p_held uuid[], p_now timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT coalesce(n.taken_until > p_now, false)
		AND NOT coalesce(n.taken_by = p_watcher AND n.notification_id <> ALL (p_held), false);
$$;

-- Open messages that may be sent now. Of a group only the first: "resolved" never overtakes "firing". place:
-- in the order of its channel, behind those under way: the least tried and oldest go first. That a watcher
-- died is not the message's fault, but for one that does it again and again.
CREATE OR REPLACE FUNCTION due_notifications(p_watcher text, p_held uuid[], p_now timestamptz)
RETURNS TABLE (id uuid, made_at timestamptz, place bigint, at_once int)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH open AS MATERIALIZED (
		SELECT n.notification_id, n.channel_id, n.kind, n.made_at, n.not_before,
			CASE WHEN n.last_error IS NULL AND n.attempts < 3 THEN 0 ELSE n.attempts END AS tries,
			is_leased(n, p_watcher, p_held, p_now) AS leased,
			n.group_id IS NULL OR row_number() OVER (PARTITION BY n.channel_id, n.group_id
				ORDER BY n.made_at, n.notification_id) = 1 AS is_first
		FROM notifications n WHERE n.sent_at IS NULL AND n.dead_at IS NULL),
	away AS (SELECT channel_id, count(*) AS n FROM open WHERE leased GROUP BY 1)
	SELECT o.notification_id, o.made_at, coalesce(a.n, 0) + row_number() OVER (PARTITION BY o.channel_id
			ORDER BY o.tries, o.made_at, o.notification_id),
		CASE WHEN s.failures > 0 THEN 1 ELSE coalesce(k.at_once, 1) END
	FROM open o JOIN channels c USING (channel_id) LEFT JOIN channel_state s USING (channel_id)
		LEFT JOIN channel_kinds k ON k.kind = c.kind LEFT JOIN away a USING (channel_id)
	WHERE NOT o.leased AND o.is_first AND o.not_before <= p_now
		AND (o.kind = 'test' OR c.disabled_at IS NULL AND coalesce(s.retry_at <= p_now, true))
$$;

-- Leases up to p_limit messages for p_lease_s, and tells all that sending needs. A channel whose peer answers
-- well gets several at once, but only while half of the watcher's places stay free for other channels; one
-- whose peer does not gets one. p_only: this one, whatever its channel's state. p_held: the messages that
-- this watcher is sending; NULL: all that it has taken.
CREATE OR REPLACE FUNCTION take_notifications(p_watcher text, p_limit int, p_lease_s float8,
	p_now timestamptz, p_only uuid DEFAULT NULL, p_held uuid[] DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_further CONSTANT int := p_limit - (p_limit + coalesce(cardinality(p_held), 0)) / 2;
BEGIN
	IF p_only IS NULL THEN
		PERFORM tidy_notifications(p_now);
	END IF;
	RETURN QUERY WITH due AS (
		SELECT d.*, row_number() OVER (ORDER BY d.place > 1, d.made_at) AS turn
			FROM due_notifications(p_watcher, p_held, p_now) d
			WHERE CASE WHEN p_only IS NULL THEN d.place <= d.at_once ELSE d.id = p_only END
	), mine AS (
		SELECT n.notification_id FROM notifications n JOIN due ON n.notification_id = due.id
			WHERE p_only IS NOT NULL
				OR due.turn <= CASE WHEN due.place = 1 THEN p_limit ELSE v_further END
			FOR UPDATE OF n SKIP LOCKED
	), taken AS (
		UPDATE notifications n SET taken_by = p_watcher, attempts = attempts + 1,
				taken_until = p_now + make_interval(secs => p_lease_s)
			FROM mine WHERE n.notification_id = mine.notification_id
				AND n.sent_at IS NULL AND n.dead_at IS NULL
				AND NOT is_leased(n, p_watcher, p_held, p_now)
			RETURNING n.*
	)
	SELECT jsonb_build_object('notification_id', t.notification_id, 'group_id', t.group_id,
			'kind', t.kind, 'made_at', t.made_at, 'attempts', t.attempts, 'content', t.content,
			'progress', t.progress, 'channel', jsonb_build_object('channel_id', c.channel_id,
				'name', c.name, 'kind', c.kind, 'settings', c.settings, 'secrets', c.secrets))
		FROM taken t JOIN channels c USING (channel_id) ORDER BY t.made_at;
END
$$;

-- Notes which of the message's parts were accepted, so that whoever sends it again goes on behind them, and
-- renews the lease. False: the message is not this watcher's any more, which must send nothing of it.
CREATE OR REPLACE FUNCTION notification_progress(p_id uuid, p_watcher text, p_progress jsonb,
	p_lease_s float8, p_now timestamptz) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH mine AS (UPDATE notifications SET progress = p_progress,
			taken_until = p_now + make_interval(secs => p_lease_s)
		WHERE notification_id = p_id AND taken_by = p_watcher AND sent_at IS NULL AND dead_at IS NULL
		RETURNING true)
	SELECT EXISTS (SELECT FROM mine);
$$;

-- The peer has accepted all of it, but for what p_note says, such as a recipient. Also from a watcher whose
-- lease has run out: accepted is accepted. After an outage its other messages need not wait for their own
-- next tries.
CREATE OR REPLACE FUNCTION notification_sent(p_id uuid, p_progress jsonb, p_note text, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_channel uuid;
	v_failures int;
BEGIN
	UPDATE notifications SET sent_at = p_now, progress = p_progress, taken_until = NULL, taken_by = NULL,
			last_error = p_note
		WHERE notification_id = p_id AND sent_at IS NULL AND dead_at IS NULL
		RETURNING channel_id INTO v_channel;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- A chat of Telegram may have moved on the way.
	UPDATE channels SET settings = settings || jsonb_build_object('chat_id', p_progress ->> 'chat_id'),
			version = version + 1
		WHERE channel_id = v_channel AND p_progress ? 'chat_id'
			AND settings ->> 'chat_id' <> p_progress ->> 'chat_id';
	SELECT failures INTO v_failures FROM channel_state WHERE channel_id = v_channel;
	INSERT INTO channel_state (channel_id, sent_at, last_error, retry_at)
		SELECT v_channel, p_now, p_note, p_now + make_interval(secs => k.gap_s)
			FROM channels c LEFT JOIN channel_kinds k USING (kind) WHERE c.channel_id = v_channel
		ON CONFLICT (channel_id) DO UPDATE SET failures = 0, sent_at = p_now,
			last_error = p_note, retry_at = EXCLUDED.retry_at;
	IF v_failures > 1 THEN
		UPDATE notifications SET not_before = p_now
			WHERE channel_id = v_channel AND not_before > p_now AND sent_at IS NULL
				AND dead_at IS NULL;
	END IF;
END
$$;

-- Not accepted. p_what: 'retry', later; 'message', the peer will never take this one; 'channel', nor any
-- other: the channel is disabled, and its fallback or another channel is told. p_retry_after_s: as the peer
-- asks, a day at most. After 75 hours a message is given up.
CREATE OR REPLACE FUNCTION notification_failed(p_id uuid, p_watcher text, p_what text, p_error text,
	p_retry_after_s float8, p_progress jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	-- least(NULL, 86400) is a day
	v_asked float8 := CASE WHEN p_retry_after_s > 0 THEN least(p_retry_after_s, 86400) END;
	v_random CONSTANT float8 := random();
	v notifications;
BEGIN
	UPDATE notifications SET last_error = p_error, progress = p_progress, taken_until = NULL,
			taken_by = NULL, not_before = p_now + make_interval(secs =>
				greatest(delivery_backoff_s(attempts, v_random), v_asked))
		WHERE notification_id = p_id AND taken_by = p_watcher AND sent_at IS NULL AND dead_at IS NULL
		RETURNING * INTO v;
	IF NOT FOUND THEN
		RETURN;                         -- another watcher has it
	END IF;
	IF p_what = 'message' THEN
		PERFORM bury_notification(p_id, p_error, p_now);
	ELSIF v.kind = 'test' THEN
		UPDATE notifications SET dead_at = p_now WHERE notification_id = p_id;
	ELSIF p_what = 'channel' THEN
		PERFORM disable_channel(v.channel_id, p_error, p_now);
	ELSE
		INSERT INTO channel_state (channel_id) VALUES (v.channel_id) ON CONFLICT DO NOTHING;
		-- Messages that were under way together and fail together count as one failure.
		UPDATE channel_state SET failed_at = p_now, last_error = p_error,
				failures = failures + CASE WHEN together THEN 0 ELSE 1 END,
				retry_at = greatest(CASE WHEN together THEN retry_at
						ELSE p_now + make_interval(secs =>
							delivery_backoff_s(failures + 1, v_random)) END,
					p_now + make_interval(secs => v_asked))
			FROM (SELECT failures > 0 AND retry_at > p_now AS together FROM channel_state
				WHERE channel_id = v.channel_id) x
			WHERE channel_id = v.channel_id;
		IF p_now - v.made_at > interval '75 hours' THEN
			PERFORM bury_notification(p_id, 'given up after 75 hours: ' || p_error, p_now);
		END IF;
	END IF;
END
$$;

-- What a watcher has to say and to ask, at once: what became of messages ({"id", "what", "why",
-- "retry_after_s", "progress"}; what is 'sent', or as notification_failed() has it), then up to p_limit more
-- to send. So the messages that came back meanwhile cost one transaction.
CREATE OR REPLACE FUNCTION exchange_notifications(p_watcher text, p_outcomes jsonb, p_limit int,
	p_lease_s float8, p_held uuid[], p_now timestamptz) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	o record;
BEGIN
	FOR o IN SELECT * FROM jsonb_to_recordset(p_outcomes) AS x(id uuid, what text, why text,
			retry_after_s float8, progress jsonb) LOOP
		IF o.what = 'sent' THEN
			PERFORM notification_sent(o.id, o.progress, o.why, p_now);
		ELSE
			PERFORM notification_failed(o.id, p_watcher, o.what, o.why, o.retry_after_s,
				o.progress, p_now);
		END IF;
	END LOOP;
	IF p_limit > 0 THEN
		RETURN QUERY SELECT take_notifications(p_watcher, p_limit, p_lease_s, p_now, NULL, p_held);
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION disable_channel(p_channel uuid, p_reason text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v channels;
	v_to uuid;
BEGIN
	UPDATE channels SET disabled_at = p_now, disabled_reason = p_reason, version = version + 1
		WHERE channel_id = p_channel AND disabled_at IS NULL RETURNING * INTO v;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	INSERT INTO channel_state (channel_id, failures, failed_at, last_error)
		VALUES (p_channel, 1, p_now, p_reason)
		ON CONFLICT (channel_id) DO UPDATE SET failures = channel_state.failures + 1,
			failed_at = p_now, last_error = p_reason;
	PERFORM tidy_notifications(p_now);
	v_to := coalesce(fallback_channel(p_channel, '{}'), (SELECT channel_id FROM channels
		WHERE disabled_at IS NULL ORDER BY created_at, channel_id LIMIT 1));
	IF v_to IS NOT NULL THEN
		INSERT INTO notifications (channel_id, kind, content, made_at, not_before)
			VALUES (v_to, 'channel', jsonb_build_object('channel', v.name, 'channel_kind', v.kind,
				'reason', p_reason), p_now, p_now);
	END IF;
END
$$;

-- A message that only says that the channel works. Returns its notification_id.
CREATE OR REPLACE FUNCTION test_channel(p_channel text, p_by text, p_now timestamptz) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_channel uuid;
	v_id uuid;
BEGIN
	SELECT channel_id INTO v_channel FROM channels WHERE channel_id::text = p_channel OR name = p_channel
		ORDER BY channel_id::text = p_channel DESC LIMIT 1;
	IF v_channel IS NULL THEN
		RAISE EXCEPTION 'there is no channel "%"', p_channel USING ERRCODE = 'OB404',
			HINT = 'SELECT name FROM observ.channels lists them';
	END IF;
	INSERT INTO notifications (channel_id, kind, content, made_at, not_before)
		VALUES (v_channel, 'test', jsonb_build_object('by', p_by), p_now, p_now)
		RETURNING notification_id INTO v_id;
	RETURN v_id;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT SELECT ON channel_kinds, channel_state TO observ_hub, observ_watch;
GRANT SELECT ON watch_lead TO observ_watch;
GRANT EXECUTE ON FUNCTION take_notifications, exchange_notifications, notification_progress,
	notification_sent, notification_failed, test_channel, lead_watch TO observ_watch;

-- ==== 78-bodies: what the bodies of requests about alerts may hold =================================
-- A body is held against body_fields(), which says what each field may be, and becomes a row by
-- jsonb_populate_record(). So a field that is added there and to its table can be written by form and by
-- JSON.

-- type: text, name (one line), url, number, int, flag, time, clock, id, ids, labels, matchers, names, object.
-- needed: a new row must have it. smallest and largest: of a number, or of the bytes of a text. empty: what
-- it is if a new row does not say, and what null makes of it.
CREATE OR REPLACE FUNCTION body_fields() RETURNS TABLE (object text, field text, type text, needed boolean,
	smallest float8, largest float8, empty jsonb, allowed text[])
LANGUAGE sql IMMUTABLE ROWS 80 SET search_path = observ, pg_catalog, pg_temp AS $$
VALUES
	('rule', 'name', 'name', true, 1::float8, 200::float8, NULL::jsonb, NULL::text[]),
	('rule', 'kind', 'name', true, 1, 50, NULL, NULL),
	('rule', 'metric', 'name', false, 1, 100, NULL, NULL),
	('rule', 'params', 'object', false, NULL, 20000, '{}', NULL),
	('rule', 'match', 'matchers', false, NULL, NULL, '[]', NULL),
	('rule', 'op', 'name', false, NULL, NULL, '">"', '{>,>=,<,<=,==,!=}'),
	('rule', 'warning', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'warning_clear', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'critical', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'critical_clear', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'for_s', 'int', false, 0, 2592000, '0', NULL),
	('rule', 'keep_firing_s', 'int', false, 0, 2592000, '0', NULL),
	('rule', 'no_data', 'name', false, NULL, NULL, '"keep"', '{keep,ok,alert,own}'),
	('rule', 'on_error', 'name', false, NULL, NULL, '"keep"', '{keep,ok,alert,own}'),
	('rule', 'interval_s', 'int', false, 1, 86400, '60', NULL),
	('rule', 'lookback_s', 'int', false, 1, 2592000, '300', NULL),
	('rule', 'labels', 'labels', false, NULL, NULL, '{}', NULL),
	('rule', 'summary', 'text', false, 0, 2000, '""', NULL),
	('rule', 'runbook', 'url', false, 0, 2000, '""', NULL),
	('rule', 'channel_id', 'id', false, NULL, NULL, NULL, NULL),
	('rule', 'repeat_s', 'int', false, 60, 2592000, NULL, NULL),
	('rule', 'is_active', 'flag', false, NULL, NULL, 'true', NULL),
	('patch', 'position', 'int', false, 0, 1000000, '0', NULL),
	('patch', 'match', 'matchers', true, NULL, NULL, '[]', NULL),
	('patch', 'changes', 'object', true, NULL, 20000, NULL, NULL),
	('silence', 'match', 'matchers', true, NULL, NULL, NULL, NULL),
	('silence', 'starts_at', 'time', false, NULL, NULL, NULL, NULL),
	('silence', 'ends_at', 'time', true, NULL, NULL, NULL, NULL),
	('silence', 'comment', 'text', true, 1, 2000, NULL, NULL),
	('channel', 'name', 'name', true, 1, 100, NULL, NULL),
	('channel', 'kind', 'name', true, 1, 50, NULL, NULL),
	('channel', 'settings', 'object', false, NULL, 20000, '{}', NULL),
	('channel', 'secrets', 'object', false, NULL, 20000, '{}', NULL),
	('channel', 'send_resolved', 'flag', false, NULL, NULL, 'true', NULL),
	('channel', 'fallback_id', 'id', false, NULL, NULL, NULL, NULL),
	('channel', 'is_active', 'flag', false, NULL, NULL, 'true', NULL),
	('route', 'parent_id', 'id', false, NULL, NULL, NULL, NULL),
	('route', 'position', 'int', false, 0, 1000000, '0', NULL),
	('route', 'match', 'matchers', false, NULL, NULL, '[]', NULL),
	('route', 'channels', 'ids', false, NULL, NULL, NULL, NULL),
	('route', 'group_by', 'names', false, NULL, NULL, NULL, NULL),
	('route', 'group_wait_s', 'number', false, 0, 86400, NULL, NULL),
	('route', 'group_interval_s', 'number', false, 1, 86400, NULL, NULL),
	('route', 'repeat_s', 'number', false, 60, 2592000, NULL, NULL),
	('route', 'repeat_max_s', 'number', false, 60, 2592000, NULL, NULL),
	('route', 'go_on', 'flag', false, NULL, NULL, 'false', NULL),
	('route', 'windows', 'ids', false, NULL, NULL, NULL, NULL),
	('inhibition', 'name', 'name', true, 1, 200, NULL, NULL),
	('inhibition', 'source', 'matchers', true, NULL, NULL, NULL, NULL),
	('inhibition', 'target', 'matchers', true, NULL, NULL, NULL, NULL),
	('inhibition', 'equal', 'names', false, NULL, NULL, '[]', NULL),
	('window', 'name', 'name', true, 1, 200, NULL, NULL),
	('window', 'enabled', 'flag', false, NULL, NULL, 'true', NULL),
	('window', 'time_zone', 'name', true, 1, 100, NULL, NULL),
	('window', 'days', 'names', false, NULL, NULL, '[]', NULL),
	('window', 'start', 'clock', true, NULL, NULL, NULL, NULL),
	('window', 'duration_s', 'int', true, 60, 604800, NULL, NULL),
	('heartbeat', 'name', 'name', true, 1, 200, NULL, NULL),
	('heartbeat', 'schedule', 'name', false, 1, 200, NULL, NULL),
	('heartbeat', 'every_s', 'int', false, 1, 31536000, NULL, NULL),
	('heartbeat', 'time_zone', 'name', false, 1, 100, '"UTC"', NULL),
	('heartbeat', 'grace_s', 'int', false, 0, 2592000, '300', NULL),
	('heartbeat', 'labels', 'labels', false, NULL, NULL, '{}', NULL),
	('heartbeat', 'paused', 'flag', false, NULL, NULL, 'false', NULL),
	('ack', 'note', 'text', false, 0, 2000, '""', NULL)
$$;

-- ---- matchers and labels, as people type them -----------------------------------------------------
-- server=web-1 team=~"shop|pay": separated by blanks or commas, a value with either of them in quotes.
CREATE OR REPLACE FUNCTION matcher_words() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '^\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)(?:[\s,]+|$)';

-- NULL: it can't be read.
CREATE OR REPLACE FUNCTION matchers_read(p_text text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	rest text := btrim(p_text, E' \t\r\n,{}');
	found text[];
	list jsonb := '[]';
BEGIN
	WHILE rest <> '' LOOP
		found := regexp_match(rest, matcher_words());
		IF found IS NULL THEN
			RETURN NULL;
		END IF;
		rest := regexp_replace(rest, matcher_words(), '');
		list := list || jsonb_build_object('label', found[1], 'op', found[2], 'value', CASE
			WHEN found[3] LIKE '"%' THEN regexp_replace(substr(found[3], 2, length(found[3]) - 2),
				'\\(.)', '\1', 'g')
			ELSE found[3] END);
	END LOOP;
	RETURN list;
END
$$;

CREATE OR REPLACE FUNCTION matchers_text(p_match jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg((m->>'label') || (m->>'op') || CASE
		WHEN m->>'value' ~ '^[^\s,"]+$' THEN m->>'value'
		ELSE '"' || regexp_replace(m->>'value', '(["\\])', '\\\1', 'g') || '"' END, ' ' ORDER BY n),
			'')
	FROM jsonb_array_elements(p_match) WITH ORDINALITY x(m, n)
$$;

-- As 69-matchers has it, and as a form can write it.
CREATE OR REPLACE FUNCTION matchers_valid(p_match jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT matchers_problem(p_match) IS NULL AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_match) m
		WHERE m->>'label' !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' OR octet_length(m->>'value') > 1000)
$$;

-- ---- one field ------------------------------------------------------------------------------------
-- A form has only texts: here they become what the field is. NULL: it does not fit.
CREATE OR REPLACE FUNCTION field_value(p_type text, p_value jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t text := CASE jsonb_typeof(p_value) WHEN 'string' THEN btrim(p_value #>> '{}') END;
BEGIN
	IF p_value = 'null' OR (t = '' AND p_type <> 'text') THEN
		RETURN 'null';
	END IF;
	CASE p_type
	WHEN 'text' THEN RETURN to_jsonb(t);
	WHEN 'name' THEN RETURN CASE WHEN t !~ '[[:cntrl:]]' THEN to_jsonb(t) END;
	-- A link on pages and in messages: no javascript:, no data:.
	WHEN 'url' THEN RETURN CASE WHEN t ~* '^https?://[^[:space:][:cntrl:]"<>]+$' THEN to_jsonb(t) END;
	WHEN 'number', 'int' THEN
		IF jsonb_typeof(p_value) = 'number' THEN
			t := trim_scale(p_value::numeric);
		END IF;
		RETURN CASE WHEN t ~ (CASE p_type WHEN 'int' THEN '^-?[0-9]{1,15}$'
			ELSE '^-?[0-9]{1,16}([.][0-9]{1,16})?([eE][-+]?[0-9]{1,2})?$' END)
			THEN to_jsonb(t::numeric) END;
	WHEN 'flag' THEN
		RETURN CASE WHEN jsonb_typeof(p_value) = 'boolean' THEN p_value
			WHEN t IN ('true', 'on', 'yes') THEN 'true' WHEN t IN ('false', 'off', 'no')
				THEN 'false' END;
	WHEN 'time' THEN RETURN to_jsonb(ingest_time(p_value));
	WHEN 'clock' THEN RETURN CASE WHEN t ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' THEN to_jsonb(t) END;
	WHEN 'id' THEN RETURN to_jsonb(as_uuid(t));
	WHEN 'matchers' THEN
		p_value := CASE WHEN t IS NULL THEN p_value ELSE matchers_read(t) END;
		RETURN CASE WHEN matchers_valid(p_value) THEN p_value END;
	WHEN 'labels' THEN
		IF t IS NOT NULL THEN
			SELECT jsonb_object_agg(m->>'label', m->>'value') INTO p_value
				FROM jsonb_array_elements(matchers_read(t)) m WHERE m->>'op' = '=';
		END IF;
		RETURN CASE WHEN label_errors(p_value) = '[]' THEN p_value END;
	WHEN 'object' THEN
		IF t IS NOT NULL THEN
			p_value := as_object(t);
		END IF;
		RETURN CASE jsonb_typeof(p_value) WHEN 'object' THEN p_value END;
	WHEN 'names', 'ids' THEN
		IF t IS NOT NULL THEN
			p_value := to_jsonb(regexp_split_to_array(t, '[\s,]+'));
		END IF;
		RETURN CASE WHEN jsonb_typeof(p_value) = 'array' AND jsonb_array_length(p_value) <= 100
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_value) e
				WHERE jsonb_typeof(e) <> 'string' OR octet_length(e #>> '{}') > 200
					OR (p_type = 'ids' AND as_uuid(e #>> '{}') IS NULL)) THEN p_value END;
	END CASE;
END
$$;

-- A text with a JSON object. NULL: it is none.
CREATE OR REPLACE FUNCTION as_object(p_text text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE jsonb_typeof(p_text::jsonb) WHEN 'object' THEN p_text::jsonb END;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;

-- What is wrong with a value that field_value() has read, and how to write it. NULL: nothing.
CREATE OR REPLACE FUNCTION field_fault(p_type text, p_least float8, p_most float8, p_allowed text[],
	p_value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN p_value = 'null' THEN NULL
		WHEN p_allowed IS NOT NULL THEN CASE WHEN p_value #>> '{}' = ANY (p_allowed) THEN NULL
			ELSE 'must be one of ' || array_to_string(p_allowed, ', ') END
		WHEN p_type IN ('number', 'int') THEN CASE
			WHEN (p_value #>> '{}')::float8 BETWEEN p_least AND p_most THEN NULL
			ELSE format('must be a %snumber from %s to %s', CASE p_type WHEN 'int'
				THEN 'whole ' END,
				p_least, p_most) END
		WHEN p_type IN ('text', 'name') OR p_type = 'url' AND p_value IS NOT NULL THEN CASE
			WHEN octet_length(p_value #>> '{}') BETWEEN p_least AND p_most THEN NULL
			ELSE format('must be %s of %s to %s bytes', CASE p_type WHEN 'text' THEN 'a text'
				ELSE 'one line' END, p_least, p_most) END
		WHEN p_type = 'object' AND p_value IS NOT NULL THEN CASE
			WHEN octet_length(p_value::text) <= p_most THEN NULL
			ELSE format('must have %s bytes at most', p_most) END
		WHEN p_value IS NOT NULL THEN NULL
		ELSE 'must be ' || CASE p_type
			WHEN 'url' THEN 'an address that begins with https:// or http://'
			WHEN 'flag' THEN 'true or false'
			WHEN 'time' THEN 'a time such as 2026-01-31T12:00:00Z'
			WHEN 'clock' THEN 'a time of day such as 22:30'
			WHEN 'id' THEN 'an id (UUID)'
			WHEN 'ids' THEN 'a list of ids (UUIDs)'
			WHEN 'names' THEN 'a list of at most 100 names'
			WHEN 'matchers' THEN 'matchers such as server=web-1 team=~"shop|pay"'
			WHEN 'labels' THEN 'labels such as team=shop'
			WHEN 'object' THEN 'a JSON object' END END
$$;

-- The fields of a body, each as its column takes it; or a refusal that names all that are wrong. p_new: with
-- those that are not there, and what is needed must be.
CREATE OR REPLACE FUNCTION body_values(p_object text, p_body jsonb, p_new boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_values jsonb;
	v_errors jsonb;
BEGIN
	IF jsonb_typeof(p_body) IS DISTINCT FROM 'object' THEN
		PERFORM refuse(422, 'The body must be a JSON object.');
	END IF;
	SELECT jsonb_object_agg(field, CASE WHEN value = 'null' THEN coalesce(empty, 'null') ELSE value END)
			FILTER (WHERE fault IS NULL),
		jsonb_agg(jsonb_build_object('field', field, 'message', fault) ORDER BY field)
			FILTER (WHERE fault IS NOT NULL)
		INTO v_values, v_errors
	FROM (SELECT field, empty, value, CASE WHEN needed AND value = 'null' THEN 'is missing'
			ELSE field_fault(type, smallest, largest, allowed, value) END AS fault
		FROM (SELECT *, CASE WHEN p_body ? field THEN field_value(type, p_body->field)
				ELSE 'null' END AS value
			FROM body_fields() WHERE object = p_object AND (p_new OR p_body ? field)) x) y;
	PERFORM refuse_errors(unknown_fields(p_body, (SELECT array_agg(field)
		FROM body_fields() WHERE object = p_object)) || coalesce(v_errors, '[]'));
	RETURN coalesce(v_values, '{}');
END
$$;

-- A form has no objects: its fields "settings.url" and "settings.to" become the members of "settings". An
-- empty one is left out.
CREATE OR REPLACE FUNCTION nested_body(p_body jsonb, p_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN p_body ELSE (p_body - array_agg(key)) || jsonb_build_object(p_name,
		CASE jsonb_typeof(p_body->p_name) WHEN 'object' THEN p_body->p_name ELSE '{}' END
		|| coalesce(jsonb_object_agg(substr(key, length(p_name) + 2),
			value) FILTER (WHERE value <> '""'), '{}')) END
	FROM jsonb_each(CASE jsonb_typeof(p_body) WHEN 'object' THEN p_body END)
	WHERE starts_with(key, p_name || '.') AND length(key) > length(p_name) + 1
$$;

-- A form's ticks "channels.ID" become the list "channels".
CREATE OR REPLACE FUNCTION listed_body(p_body jsonb, p_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN jsonb_typeof(b->p_name) = 'object' AND b->p_name IS DISTINCT FROM p_body->p_name
		THEN b || jsonb_build_object(p_name, (SELECT jsonb_agg(k)
			FROM jsonb_object_keys(b->p_name) k)) ELSE b END
	FROM (SELECT nested_body(p_body, p_name)) x(b)
$$;

-- A time as forms take it.
CREATE OR REPLACE FUNCTION utc_text(p_time timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- The id that a request names, of a row that must be there.
CREATE OR REPLACE FUNCTION known_id(p_what text, p_id text, p_there boolean) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_there IS NOT true THEN
		PERFORM refuse(404, format('There is no %s "%s".', p_what, left(p_id, 100)));
	END IF;
	RETURN as_uuid(p_id);
END
$$;

-- p_match: the request's If-Match, NULL if it has none.
CREATE OR REPLACE FUNCTION check_version(p_match text, p_version bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_match <> '*' AND NOT format('"%s"', p_version) = ANY (regexp_split_to_array(p_match,
		'\s*,\s*')) THEN
		PERFORM refuse(412, 'Somebody else has changed this since you read it: read it again.');
	END IF;
END
$$;

-- ---- rows that people write ---------------------------------------------------------------------------
-- The table of each object of a body, its key, and what messages call it.
CREATE OR REPLACE FUNCTION body_table(p_object text, OUT name text, OUT rows text, OUT key text)
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT v.name, v.rows, v.key FROM (VALUES
		('rule', 'rule', 'alert_rules', 'rule_id'),
		('patch', 'override', 'rule_patches', 'patch_id'),
		('silence', 'silence', 'silences', 'silence_id'),
		('channel', 'channel', 'channels', 'channel_id'),
		('route', 'route', 'alert_routes', 'route_id'),
		('inhibition', 'inhibition', 'inhibitions', 'inhibition_id'),
		('window', 'quiet window', 'quiet_windows', 'window_id'),
		('heartbeat', 'heartbeat', 'heartbeats', 'heartbeat_id')) v(object, name, rows, key)
	WHERE v.object = p_object
$$;

-- Changes with each change of the row, for those that count no versions.
CREATE OR REPLACE FUNCTION row_version(p_row jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((p_row->>'version')::bigint, hashtextextended((p_row - 'token_hash')::text, 0));

-- The row of that id, locked until the transaction ends. Refuses an id that is not there, and a version that
-- p_match does not name.
CREATE OR REPLACE FUNCTION locked_row(p_object text, p_id text, p_match text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row jsonb;
BEGIN
	EXECUTE format('SELECT to_jsonb(r) FROM %I r WHERE %I = $1 FOR UPDATE', t.rows, t.key)
		INTO v_row USING as_uuid(p_id);
	PERFORM known_id(t.name, p_id, v_row IS NOT NULL),
		check_version(p_match, row_version(v_row));
	RETURN v_row;
END
$$;

-- A new row of the body (p_id is NULL), or the row of that id with what the body changes. Nothing is written
-- yet.
CREATE OR REPLACE FUNCTION changed_row(p_object text, p_id text, p_body jsonb, p_email text,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_row jsonb;
BEGIN
	IF p_id IS NULL THEN
		RETURN body_values(p_object, p_body, true) || jsonb_build_object(
			(body_table(p_object)).key, gen_random_uuid(), 'version', 1,
			'created_at', clock_timestamp(), 'created_by', p_email);
	END IF;
	v_row := locked_row(p_object, p_id, p_match);
	RETURN v_row || body_values(p_object, p_body, false)
		|| jsonb_build_object('version', (v_row->>'version')::bigint + 1);
END
$$;

-- Write the row, new or changed; as it is then. A changed row stays the same row, so that whoever waits for
-- its lock finds it. Its name may have been taken since that was checked.
CREATE OR REPLACE FUNCTION put_row(p_object text, p_row jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row jsonb;
BEGIN
	EXECUTE (SELECT format('INSERT INTO %1$I AS r SELECT * FROM jsonb_populate_record(NULL::%1$I, $1)
			ON CONFLICT (%2$I) DO UPDATE SET (%3$s) = ROW (%4$s) RETURNING to_jsonb(r)',
			t.rows, t.key, string_agg(quote_ident(attname), ', ' ORDER BY attnum),
			string_agg(format('excluded.%I', attname), ', ' ORDER BY attnum))
		FROM pg_attribute WHERE attrelid = t.rows::regclass AND attnum > 0 AND NOT attisdropped)
		INTO v_row USING p_row;
	RETURN v_row;
EXCEPTION WHEN unique_violation THEN
	PERFORM refuse_errors(field_error(true, 'name', 'is taken by another ' || t.name));
END
$$;

-- Delete the row; as it was.
CREATE OR REPLACE FUNCTION removed_row(p_object text, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row CONSTANT jsonb := locked_row(p_object, p_id, p_match);
BEGIN
	EXECUTE format('DELETE FROM %I WHERE %I = $1', t.rows, t.key) USING as_uuid(p_id);
	RETURN v_row;
END
$$;

-- What the audit log calls the writing of a row.
CREATE OR REPLACE FUNCTION saved_how(p_object text, p_id text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp
RETURN (body_table(p_object)).name || CASE WHEN p_id IS NULL THEN ' created' ELSE ' changed' END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION matchers_text, row_version, utc_text TO observ_hub;

-- ==== 79-alert-reads: alerts, rules and messages as pages and programs see them ===================
CREATE OR REPLACE FUNCTION labels_text(p_labels jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg(key || '=' || CASE WHEN value ~ '^[^\s,"]+$' THEN value
		ELSE to_json(value)::text END, ' ' ORDER BY key), '') FROM jsonb_each_text(p_labels)
$$;

-- web-1 shop: a subject by its values, the server first.
CREATE OR REPLACE FUNCTION subject_text(p_subject jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg(value, ' ' ORDER BY array_position('{server,app}', key), key), '')
	FROM jsonb_each_text(p_subject)
$$;

-- "avg of cpu_percent > 85 % (ends at 75 %), critical 95 %, for 10 min".
CREATE OR REPLACE FUNCTION rule_condition(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT concat_ws(', ', concat_ws(' ',
			CASE WHEN r.params ? 'agg' AND r.params->>'agg' <> 'last' THEN (r.params->>'agg')
				|| ' of' END,
			coalesce(r.metric, (SELECT lower(title) FROM alert_kinds k WHERE k.kind = r.kind),
				r.kind),
			r.op, value_text(coalesce(r.warning, r.critical), u)
			|| coalesce(' (ends at ' || value_text(CASE WHEN r.warning IS NULL
				THEN r.critical_clear
				ELSE r.warning_clear END, u) || ')', '')),
		CASE WHEN r.warning IS NOT NULL THEN 'critical ' || value_text(r.critical, u)
			|| coalesce(' (' || value_text(r.critical_clear, u) || ')', '') END,
		CASE WHEN r.for_s > 0 THEN 'for ' || span_text(r.for_s) END)
	FROM (SELECT rule_unit(r.kind, r.metric, r.params)) x(u)
$$;

-- Why a rule can't be evaluated: its last evaluation failed, or the last answer to its question is none.
-- NULL: it can.
CREATE OR REPLACE FUNCTION rule_problem(p_rule uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT problem FROM rule_problems WHERE rule_id = p_rule),
		(SELECT problem FROM external_answers WHERE rule_id = p_rule ORDER BY at DESC LIMIT 1))
$$;

-- p_rule: its name, NULL if it is gone. badge and word are the sign of the state on pages.
CREATE OR REPLACE FUNCTION alert_json(a alerts, p_rule text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(a)
		- '{subject_key,last_levels,missing,warning_clear_since,critical_clear_since}'::text[]
		|| jsonb_build_object('rule', coalesce(p_rule, a.labels->>'rule', '(deleted rule)'),
			'subject_text', subject_text(a.subject), 'unit', u,
			'value_text', value_text(a.value, u), 'threshold_text', value_text(a.threshold, u),
			'resolved', a.state = 'resolved', 'ended', ended_text(a.resolve_reason),
			'age_s', floor(extract(epoch FROM now() - a.active_since)),
			'badge', CASE WHEN a.state = 'resolved' THEN 'up' WHEN a.state IN ('pending', 'error')
				THEN 'unknown' WHEN a.severity = 'critical' THEN 'down' ELSE 'degraded' END,
			'word', CASE a.state WHEN 'firing' THEN a.severity WHEN 'resolved' THEN 'ended'
				ELSE a.state END)
	FROM (SELECT (SELECT rule_unit(kind, metric, params) FROM alert_rules r
		WHERE r.rule_id = a.rule_id)) x(u)
$$;

-- The summary of an alert's rule with the values that it names, as messages have it. Of sections only those
-- that format are known.
CREATE OR REPLACE FUNCTION summary_text(p_summary text, a alerts) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_name text;
	v_value text;
BEGIN
	p_summary := regexp_replace(p_summary, '\{\{[#/]f\.\w+\}\}', '', 'g');
	FOR v_name, v_value IN SELECT * FROM jsonb_each_text(a.labels || a.subject || jsonb_strip_nulls(
			jsonb_build_object('value', number_text(a.value), 'threshold',
			number_text(a.threshold), 'severity', a.severity))) LOOP
		p_summary := replace(replace(p_summary, '{{' || v_name || '}}', v_value),
			'{{labels.' || v_name || '}}', v_value);
	END LOOP;
	RETURN p_summary;
END
$$;

-- A change of an alert as people read it.
CREATE OR REPLACE FUNCTION change_json(c alert_changes, p_unit text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(c) || jsonb_build_object('value_text', value_text(c.value, p_unit),
		'word', CASE WHEN c.to_state = 'resolved' OR c.to_state = 'inactive' THEN 'ended'
			WHEN c.to_state = 'firing' THEN c.severity ELSE c.to_state END,
		'why', CASE c.reason WHEN 'value' THEN NULL WHEN 'severity' THEN NULL
			WHEN 'clear' THEN 'the value is well again'
			WHEN 'for' THEN 'the rule waits longer now'
			ELSE coalesce(ended_text(c.reason), c.reason) END)
$$;

-- How many alerts fire that nobody has in hand, and that no silence or inhibition keeps quiet.
CREATE OR REPLACE FUNCTION open_alerts() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('alerts', count(*)) FROM alerts
	WHERE state <> 'resolved' AND state <> 'pending' AND acked_at IS NULL AND muted_by IS NULL
$$;

-- What a message is about: "Disk full db-1 / and 2 more".
CREATE OR REPLACE FUNCTION message_about(p_content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_content ? 'alerts' THEN concat_ws(' ', p_content #>> '{alerts,0,rule}',
			nullif(subject_text(CASE jsonb_typeof(subject) WHEN 'object' THEN subject
				ELSE '{}' END), ''),
			CASE WHEN jsonb_array_length(p_content->'alerts') > 1
				THEN format('and %s more', jsonb_array_length(p_content->'alerts') - 1) END)
		WHEN p_content ? 'channel' THEN format('channel %s is disabled', p_content->>'channel')
		ELSE 'a test' END
	FROM (SELECT p_content #> '{alerts,0,subject}' AS subject) x
$$;

-- How it stands with a message.
CREATE OR REPLACE FUNCTION message_json(n notifications) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(n) - '{content,progress,taken_until}'::text[] || jsonb_build_object(
		'channel', (SELECT name FROM channels c WHERE c.channel_id = n.channel_id), 'dead',
			n.dead_at IS NOT NULL, 'about', message_about(n.content),
		'state', CASE WHEN n.sent_at IS NOT NULL THEN 'sent'
			WHEN n.dead_at IS NOT NULL THEN 'given up'
			WHEN n.attempts > 0 THEN 'waits for its next try at '
				|| to_char(n.not_before AT TIME ZONE 'UTC', 'HH24:MI:SS')
			ELSE 'waiting' END)
$$;

-- The value of an alert's subject at about 60 times of a span, to be drawn. It takes the alert's id, because
-- a rule that the caller makes up could ask anything.
CREATE OR REPLACE FUNCTION alert_series(p_alert uuid, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (at timestamptz, value float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	v_subject jsonb := (SELECT subject FROM alerts WHERE alert_id = p_alert);
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = (SELECT rule_id FROM alerts
		WHERE alert_id = p_alert);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	r.match := r.match || (SELECT coalesce(jsonb_agg(jsonb_build_object('label', key, 'op', '=', 'value',
		s.value)), '[]') FROM jsonb_each_text(v_subject) s WHERE key IN ('server', 'app'));
	RETURN QUERY SELECT t, (SELECT v.value FROM rule_values(r, t) v WHERE v.subject = v_subject)
		FROM generate_series(p_from, p_to, greatest((p_to - p_from) / 60, interval '1 second')) t;
END
$$;

-- One time of a preview: the next states of p_states, {subject_key: alert}, of those that fire or wait.
CREATE OR REPLACE FUNCTION preview_step(r alert_rules, p_states jsonb, p_at timestamptz) RETURNS SETOF alerts
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH value AS MATERIALIZED (
		SELECT v.subject, md5(v.subject::text)::uuid AS key, v.value, v.problem FROM rule_values(r,
			p_at) v
	), hit AS MATERIALIZED (
		SELECT x.rule, v.* FROM value v JOIN rule_variants(r) x
			ON x.patch_id IS NOT DISTINCT FROM patch_of(r.rule_id, v.subject)
		WHERE p_states ? v.key::text OR beyond(v.value, (x.rule).op, (x.rule).warning)
			OR beyond(v.value, (x.rule).op, (x.rule).critical) OR v.value IS NULL
		UNION ALL
		SELECT r, s.value->'subject', s.key::uuid, NULL, 'missing' FROM jsonb_each(p_states) s
		WHERE NOT EXISTS (SELECT FROM value v WHERE v.key = s.key::uuid)
	)
	SELECT (n.a).* FROM hit h, LATERAL (SELECT alert_step(coalesce(
		jsonb_populate_record(NULL::alerts, p_states -> h.key::text),
		new_alert(r.rule_id, h.key, h.subject, p_at)), h.value, h.problem, h.rule, p_at) AS a) n
	WHERE (n.a).state IS NOT NULL
$$;

-- When a rule would have fired in the last p_days, for how long, and how high its value was then. It looks as
-- often as the rule is evaluated, or as often as it can in a few seconds.
CREATE OR REPLACE FUNCTION preview_rule(p_id text, p_days int) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c_budget_s CONSTANT float8 := 4;        -- of a page's time
	v_now CONSTANT timestamptz := now();
	v_from CONSTANT timestamptz := v_now - make_interval(days => p_days);
	v_began timestamptz := clock_timestamp();
	v_step int;
	r alert_rules;
	a alerts;
	v_at timestamptz;
	v_states jsonb := '{}';
	v_next jsonb;
	v_fired jsonb := '[]';
	v_late boolean := false;
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = as_uuid(p_id);
	PERFORM known_id('rule', p_id, FOUND);
	PERFORM refuse_errors(field_error(p_days NOT BETWEEN 1 AND 90, 'days',
		'must be a number from 1 to 90'));
	PERFORM preview_step(r, '{}', v_now - interval '1 hour');
	v_step := r.interval_s * greatest(1, ceil(extract(epoch
		FROM clock_timestamp() - v_began) * p_days * 86400
		/ r.interval_s / c_budget_s));
	v_began := clock_timestamp();
	v_at := grid_before(v_from, v_step) + make_interval(secs => v_step);
	WHILE v_at <= v_now AND NOT v_late LOOP
		v_next := '{}';
		FOR a IN SELECT * FROM preview_step(r, v_states, v_at) LOOP
			IF a.state = 'resolved' THEN
				v_fired := v_fired || preview_alert(a, v_states -> a.subject_key::text, v_at);
			ELSE
				v_next := v_next || jsonb_build_object(a.subject_key, to_jsonb(a)
					|| jsonb_build_object(
					'worst', worst(r.op, a.value, (v_states #>> ARRAY[a.subject_key::text,
						'worst'])::float8)));
			END IF;
		END LOOP;
		v_states := v_next;
		v_late := clock_timestamp() - v_began > make_interval(secs => 1.5 * c_budget_s);
		v_at := v_at + make_interval(secs => v_step);
	END LOOP;
	SELECT v_fired || coalesce(jsonb_agg(preview_alert(jsonb_populate_record(NULL::alerts, value), value,
		NULL)),
		'[]') INTO v_fired FROM jsonb_each(v_states) WHERE value->>'fired_at' IS NOT NULL;
	RETURN jsonb_build_object('fired', jsonb_array_length(v_fired), 'any', v_fired <> '[]',
		'days', p_days, 'step_s', v_step,
		'left_out', concat_ws('; ', CASE WHEN v_step > r.interval_s
			THEN format('it looked only every %s, and may have missed short ones',
				span_text(v_step)) END,
			CASE WHEN v_late THEN 'and only up to ' || to_char(v_at AT TIME ZONE 'UTC',
				'MM-DD HH24:MI') END),
		'alerts', (SELECT coalesce(jsonb_agg(f ORDER BY f->>'fired_at' DESC), '[]')
			FROM (SELECT f FROM jsonb_array_elements(v_fired) f
				ORDER BY f->>'fired_at' DESC LIMIT 100) x));
END
$$;

-- The value that is further beyond.
CREATE OR REPLACE FUNCTION worst(p_op text, p_a float8, p_b float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_op LIKE '<%' THEN least(p_a, p_b) ELSE greatest(p_a, p_b) END;

-- p_state: the state before its end. p_end: NULL if it still fires.
CREATE OR REPLACE FUNCTION preview_alert(a alerts, p_state jsonb, p_end timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('subject', a.subject, 'subject_text', subject_text(a.subject), 'severity',
		a.severity,
		'fired_at', a.fired_at, 'resolved_at', p_end, 'still', p_end IS NULL,
		'lasted_s', floor(extract(epoch FROM coalesce(p_end, now()) - a.fired_at)),
		'value', (p_state->>'worst')::float8, 'value_text', value_text((p_state->>'worst')::float8,
			(SELECT rule_unit(r.kind, r.metric, r.params) FROM alert_rules r
			WHERE r.rule_id = a.rule_id)))
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION metric_unit, rule_unit, value_text, number_text, span_text, labels_text,
	subject_text,
	rule_condition, rule_problem, alert_json, summary_text, change_json, alert_detail, ended_text,
	alert_series, message_about, message_json, open_alerts,
	alert_metrics, preview_rule TO observ_hub;
GRANT EXECUTE ON FUNCTION rule_problem TO observ_watch;
-- ==== 79-alert-writes: what people write about alerts: rules, overrides, files of them, notes ==
-- Here and in 79-message-writes.sql, a function asks who acts, reads the body by changed_row() and writes one
-- row by put_row().

-- The names that earlier clients use for fields of a rule, as the fields of now.
CREATE OR REPLACE FUNCTION rule_body(p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	b jsonb := coalesce(nested_body(p_body, 'params'), '{}');
	v_server text;
	v_severity text := coalesce(b->>'severity', 'warning');
BEGIN
	IF b ? 'metric_name' THEN
		b := b - 'metric_name' || jsonb_build_object('metric', b->'metric_name');
	END IF;
	IF b ? 'promql' THEN
		b := b - 'promql' || jsonb_build_object('kind', 'promql', 'params',
			coalesce(b->'params', '{}') || jsonb_build_object('promql', b->'promql'));
	ELSIF b ? 'metric' AND NOT b ? 'kind' THEN
		b := b || '{"kind": "threshold"}';
	END IF;
	IF b ? 'comparison' THEN
		b := b - 'comparison' || jsonb_build_object('op',
			coalesce('{"gt": ">", "gte": ">=", "lt": "<",
			"lte": "<=", "eq": "==", "ne": "!=", "=": "=="}'::jsonb ->> (b->>'comparison'),
			b->>'comparison'));
	END IF;
	IF b ? 'threshold' THEN
		b := b - '{threshold,severity}'::text[]
			|| jsonb_build_object(CASE v_severity WHEN 'critical' THEN 'critical'
				ELSE 'warning' END,
				b->'threshold');
	END IF;
	IF b ? 'repeat_interval_sec' THEN
		b := b - 'repeat_interval_sec' || jsonb_build_object('repeat_s', b->'repeat_interval_sec');
	END IF;
	IF b ? 'server_id' THEN
		v_server := CASE WHEN b->>'server_id' <> '' THEN find_server(b->>'server_id') END;
		PERFORM refuse_errors(field_error(b->>'server_id' <> '' AND v_server IS NULL, 'server_id',
			'names no server'));
		b := b - 'server_id' || CASE WHEN v_server IS NULL THEN '{}' ELSE jsonb_build_object('match',
			jsonb_build_array(jsonb_build_object('label', 'server', 'op', '=', 'value',
				v_server))) END;
	END IF;
	IF b ? 'channel' THEN
		b := b - 'channel' || jsonb_build_object('channel_id', CASE WHEN b->>'channel' <> ''
			THEN known_channel(b->>'channel') END);
	END IF;
	IF jsonb_typeof(b->'params') = 'object' THEN
		b := b || jsonb_build_object('params', typed_params(b->>'kind', b->'params'));
	END IF;
	RETURN b;
END
$$;

-- The parameters of a kind that came as texts of a form, as what they are. 300.0 is the whole number 300.
CREATE OR REPLACE FUNCTION typed_params(p_kind text, p_params jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE
		WHEN jsonb_typeof(value) = 'number' THEN to_jsonb(trim_scale(value::numeric))
		WHEN jsonb_typeof(value) <> 'string' THEN value
		WHEN spec->>'type' IN ('integer', 'number')
			AND value #>> '{}' ~ '^-?[0-9]{1,15}([.][0-9]{1,9})?$'
			THEN to_jsonb(trim_scale((value #>> '{}')::numeric))
		WHEN spec->>'type' = 'flag' AND value IN ('"true"', '"false"') THEN (value #>> '{}')::jsonb
		WHEN spec->>'type' = 'list' THEN to_jsonb(regexp_split_to_array(btrim(value #>> '{}'),
			'[\s,]+'))
		ELSE value END), '{}')
	FROM jsonb_each(p_params) LEFT JOIN LATERAL (SELECT params->key FROM alert_kinds
		WHERE kind = p_kind) k(spec)
		ON true
$$;

CREATE OR REPLACE FUNCTION known_channel(p_id text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_id uuid := (SELECT channel_id FROM channels WHERE channel_id = as_uuid(p_id) OR name = p_id
		ORDER BY name = p_id LIMIT 1);
BEGIN
	IF v_id IS NULL THEN
		PERFORM refuse_errors(field_error(true, 'channel', 'names no channel'));
	END IF;
	RETURN v_id;
END
$$;

-- A rule as programs see it: with the old names beside the new ones.
CREATE OR REPLACE FUNCTION rule_json(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(r) || jsonb_build_object('match_text', matchers_text(r.match),
		'metric_name', r.metric, 'threshold', coalesce(r.warning, r.critical), 'comparison', r.op,
		'repeat_interval_sec', r.repeat_s,
		'server_id', (SELECT server_id(m->>'value') FROM jsonb_array_elements(r.match) m
			WHERE m->>'label' = 'server' AND m->>'op' = '=' LIMIT 1),
		'channel', (SELECT name FROM channels c WHERE c.channel_id = r.channel_id))
$$;

-- Why the query of a rule fails, whatever facts there are: it runs at a time that has none.
CREATE OR REPLACE FUNCTION query_errors(r alert_rules) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF r.kind = 'sql' THEN
		PERFORM explain_select(r.params->>'sql');
	ELSE
		PERFORM FROM rule_values(r, '2000-01-01Z');
	END IF;
	RETURN '[]';
EXCEPTION WHEN OTHERS THEN
	RETURN field_error(true, CASE r.kind WHEN 'sql' THEN 'params.sql' ELSE 'params' END,
		'can''t be evaluated: ' || sqlerrm);
END
$$;

-- p_id: NULL for a new one.
CREATE OR REPLACE FUNCTION save_rule_as(p_email text, p_role text, p_how text, p_id text, p_body jsonb,
	p_match text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules := jsonb_populate_record(NULL::alert_rules,
		changed_row('rule', p_id, rule_body(p_body), p_email, p_match));
BEGIN
	r.updated_at := clock_timestamp();
	PERFORM refuse_errors(rule_errors(r) || evaluation_errors(r)
		|| field_error(EXISTS (SELECT FROM alert_rules
		WHERE name = r.name AND rule_id <> r.rule_id), 'name', 'is taken by another rule')
		|| field_error(r.channel_id IS NOT NULL AND NOT EXISTS (SELECT FROM channels k
			WHERE k.channel_id = r.channel_id), 'channel_id', 'names no channel'));
	PERFORM refuse_unless(p_role, (SELECT role FROM alert_kinds WHERE kind = r.kind)),
		refuse_errors(query_errors(r));
	PERFORM put_row('rule', to_jsonb(r)),
		audit(p_email, p_how, saved_how('rule', p_id), r.name, p_body);
	RETURN rule_json(r);
END
$$;

CREATE OR REPLACE FUNCTION save_rule(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	RETURN save_rule_as(c.email, c.role, c.how, p_id, p_body, p_match);
END
$$;

-- Its open alerts end at the next evaluation. A default rule can only be switched off: an upgrade would bring
-- it back.
CREATE OR REPLACE FUNCTION delete_rule(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	r := removed_row('rule', p_id, p_match);
	PERFORM refuse_errors(field_error(r->>'builtin' IS NOT NULL, 'is_active',
		'can be set to false: a default rule is switched off, and not deleted'));
	DELETE FROM rule_patches WHERE rule_id = (r->>'rule_id')::uuid;
	PERFORM audit(c.email, c.how, 'rule deleted', r->>'name');
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION override_json(p rule_patches) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(p) || jsonb_build_object('match_text', matchers_text(p.match), 'changes_text',
		p.changes::text)
$$;

-- An override: the fields that are other for the subjects that match. p_id: NULL for a new one of p_rule.
CREATE OR REPLACE FUNCTION save_patch_as(p_email text, p_how text, p_rule text, p_id text, p_body jsonb)
RETURNS jsonb LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	p rule_patches := jsonb_populate_record(NULL::rule_patches,
		changed_row('patch', p_id, p_body, p_email));
BEGIN
	p.rule_id := coalesce(p.rule_id, as_uuid(p_rule));
	SELECT * INTO r FROM alert_rules WHERE rule_id = p.rule_id;
	PERFORM known_id('rule', p_rule, FOUND);
	PERFORM refuse_errors(patch_errors(r, p.changes));
	p.changes := body_values('rule', p.changes, false);
	PERFORM refuse_errors(rule_errors(jsonb_populate_record(r, p.changes)));
	PERFORM put_row('patch', to_jsonb(p)), audit(p_email, p_how, 'override saved', r.name, p_body);
	RETURN override_json(p);
END
$$;

CREATE OR REPLACE FUNCTION save_patch(p_hash bytea, p_rule text, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	RETURN save_patch_as(c.email, c.how, p_rule, p_id, p_body);
END
$$;

-- Only what does not change which subjects a rule has, or when it is evaluated.
CREATE OR REPLACE FUNCTION patch_errors(r alert_rules, p_changes jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT unknown_fields(p_changes,
		'{warning,warning_clear,critical,critical_clear,for_s,keep_firing_s,no_data,
		on_error,labels,summary,runbook,channel_id,repeat_s,is_active}')
$$;

CREATE OR REPLACE FUNCTION delete_patch(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	p jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	p := removed_row('patch', p_id);
	PERFORM audit(c.email, c.how, 'override deleted', (SELECT name FROM alert_rules
		WHERE rule_id = (p->>'rule_id')::uuid));
	RETURN '{"ok": true}';
END
$$;

-- ---- rule files ---------------------------------------------------------------------------------
-- "5m" or "1h30m" of Prometheus, and plain seconds, as seconds.
CREATE OR REPLACE FUNCTION duration_s(p_text text) RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_text ~ '^[0-9]{1,9}$' THEN p_text::int
		WHEN p_text ~ '^([0-9]{1,6}(ms|[smhdwy]))+$' THEN (SELECT sum(m[1]::numeric * CASE m[2]
			WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd'
				THEN 86400
			WHEN 'w' THEN 604800 ELSE 31536000 END)::int
			FROM regexp_matches(p_text, '([0-9]+)(ms|[smhdwy])', 'g') m) END
$$;

-- {{ $value }} and {{ $labels.instance }} as the templates here name them.
CREATE OR REPLACE FUNCTION prometheus_template(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT regexp_replace(regexp_replace(p_text, '\{\{-?\s*\$value[^}]*\}\}', '{{value}}', 'g'),
		'\{\{-?\s*\$labels\.([a-zA-Z0-9_]+)[^}]*\}\}', '{{labels.\1}}', 'g')
$$;

-- An alert of a rule file of Prometheus as the body of a rule. What has the form
-- FUNCTION_over_time(METRIC{LABEL="VALUE"}[5m]) > NUMBER over a metric that Observ has is judged here; any
-- other
-- expression is asked of Prometheus.
CREATE OR REPLACE FUNCTION prometheus_rule(p_rule jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_expr CONSTANT text := btrim(p_rule->>'expr', E' \n\t');
	v_side CONSTANT text[] := regexp_match(v_expr,
		'^(.*[^<>=!])\s*(>=|<=|==|!=|>|<)\s*(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)$');
	v_metric CONSTANT text[] := regexp_match(coalesce(v_side[1], v_expr),
		'^(?:(avg|min|max|last|rate|irate|increase|deriv|changes|resets)(?:_over_time)?\()?\s*'
		'([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^{}]*\})?\s*(?:\[([0-9a-z]+)\]\s*\)|)\s*$');
	v_level CONSTANT text := CASE p_rule #>> '{labels,severity}' WHEN 'critical' THEN 'critical'
		WHEN 'page' THEN 'critical' ELSE 'warning' END;
	v_match jsonb := matchers_read(coalesce(v_metric[3], ''));
	b jsonb;
BEGIN
	IF v_side IS NOT NULL AND v_match IS NOT NULL AND (v_metric[1] IS NULL) = (v_metric[4] IS NULL)
		AND EXISTS (
			SELECT FROM alert_metrics() m WHERE m.metric = v_metric[2]) THEN
		b := jsonb_build_object('kind', 'threshold', 'metric', v_metric[2], 'match', v_match,
			'params',
			jsonb_strip_nulls(jsonb_build_object('agg', coalesce(v_metric[1], 'last'),
				'window_s', duration_s(v_metric[4]))));
	ELSE
		b := jsonb_build_object('kind', 'promql', 'params', jsonb_build_object('promql',
			coalesce(v_side[1], v_expr)));
	END IF;
	RETURN b || jsonb_strip_nulls(jsonb_build_object('name', p_rule->'alert',
		'op', coalesce(v_side[2], '>='), v_level, coalesce(v_side[3]::float8, -1e15),
		'for_s', coalesce(to_jsonb(duration_s(p_rule->>'for')), p_rule->'for'),
		'keep_firing_s', coalesce(to_jsonb(duration_s(p_rule->>'keep_firing_for')),
			p_rule->'keep_firing_for'),
		'labels', (p_rule->'labels') - 'severity'::text, 'no_data', 'ok',
		'summary', prometheus_template(coalesce(p_rule #>> '{annotations,summary}',
			p_rule #>> '{annotations,description}')),
		'runbook', p_rule #> '{annotations,runbook_url}'));
END
$$;

-- Takes {"rules": [...]} as it is exported, or {"groups": [{"rules": [...]}]} of Prometheus; recording rules
-- are
-- left out. A rule of a name that is there is changed. All or nothing.
CREATE OR REPLACE FUNCTION import_rules(p_hash bytea, p_file jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_rule jsonb;
	v_body jsonb;
	v_saved jsonb;
	v_patch jsonb;
	v_nth bigint;                           -- the override that is read; NULL: none
	v_id uuid;
	v_created int := 0;
	v_changed int := 0;
	v_left_out int := 0;
	v_why text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	FOR v_rule IN SELECT jsonb_path_query(p_file, 'lax $.rules[*]')
			UNION ALL SELECT jsonb_path_query(p_file, 'lax $.groups[*].rules[*]') LOOP
		IF jsonb_typeof(v_rule) <> 'object' THEN
			PERFORM refuse(422, 'Each rule of the file must have keys: name or alert ...');
		END IF;
		IF v_rule ? 'record' THEN
			v_left_out := v_left_out + 1;
			CONTINUE;
		END IF;
		v_body := CASE WHEN v_rule ? 'alert' THEN prometheus_rule(v_rule)
			ELSE v_rule - 'overrides'::text END;
		v_id := (SELECT rule_id FROM alert_rules WHERE name = v_body->>'name');
		v_saved := save_rule_as(c.email, c.role, c.how, v_id::text, v_body, NULL);
		v_created := v_created + (v_id IS NULL)::int;
		v_changed := v_changed + (v_id IS NOT NULL)::int;
		CONTINUE WHEN coalesce(v_rule->'overrides', 'null') = 'null';
		IF jsonb_typeof(v_rule->'overrides') <> 'array' THEN
			PERFORM refuse(422, 'overrides must be a list.');
		END IF;
		DELETE FROM rule_patches WHERE rule_id = (v_saved->>'rule_id')::uuid;
		FOR v_patch, v_nth IN SELECT *
				FROM jsonb_array_elements(v_rule->'overrides') WITH ORDINALITY LOOP
			IF jsonb_typeof(v_patch) <> 'object' THEN
				PERFORM refuse(422, 'It must have keys: match and changes.');
			END IF;
			PERFORM save_patch_as(c.email, c.how, v_saved->>'rule_id', NULL,
				v_patch || jsonb_build_object('position', v_nth));
		END LOOP;
		v_nth := NULL;
	END LOOP;
	IF v_created + v_changed = 0 THEN
		PERFORM refuse(422, 'The file has no alert rule.');
	END IF;
	RETURN jsonb_build_object('created', v_created, 'changed', v_changed, 'left_out', v_left_out);
EXCEPTION WHEN SQLSTATE 'OB422' THEN
	GET STACKED DIAGNOSTICS v_why = PG_EXCEPTION_DETAIL;
	RAISE EXCEPTION USING ERRCODE = 'OB422', DETAIL = v_why, MESSAGE = CASE WHEN v_body IS NULL
		THEN SQLERRM
		ELSE format('%s "%s" of the file: %s', CASE WHEN v_nth IS NULL THEN 'Rule'
			ELSE format('Override %s of rule', v_nth) END, left(v_body->>'name', 200),
			SQLERRM) END;
END
$$;

-- ---- acknowledgements ---------------------------------------------------------------------------
-- Somebody has it in hand: no more reminders.
CREATE OR REPLACE FUNCTION ack_alert(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_now timestamptz := clock_timestamp();
	v_body jsonb;
	a alerts;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_body := body_values('ack', p_body, true);
	UPDATE alerts SET acked_at = v_now, acked_by = c.email, ack_note = v_body->>'note'
		WHERE alert_id = as_uuid(p_id) AND state IN ('firing', 'error') RETURNING * INTO a;
	PERFORM known_id('firing alert', p_id, FOUND),
		audit(c.email, c.how, 'alert acknowledged', a.labels->>'rule', a.subject || v_body);
	RETURN alert_json(a, a.labels->>'rule');
END
$$;

CREATE OR REPLACE FUNCTION unack_alert(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	a alerts;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	UPDATE alerts SET acked_at = NULL, acked_by = NULL, ack_note = NULL
		WHERE alert_id = as_uuid(p_id) AND acked_at IS NOT NULL RETURNING * INTO a;
	PERFORM known_id('acknowledged alert', p_id, FOUND),
		audit(c.email, c.how, 'acknowledgement taken back', a.labels->>'rule', a.subject);
	RETURN alert_json(a, a.labels->>'rule');
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION rule_json, override_json, body_fields TO observ_hub;
GRANT EXECUTE ON FUNCTION ack_alert, unack_alert, save_rule, import_rules, delete_rule, save_patch,
	delete_patch TO observ_hub, observ_enroll;
-- ==== 79-message-writes: where messages go: channels, routes, inhibitions, windows, silences ===
-- ---- channels -----------------------------------------------------------------------------------
-- A channel without its secrets: only their names, and where URLs lead.
CREATE OR REPLACE FUNCTION channel_json(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(c) - 'secrets' || jsonb_build_object('is_active', c.disabled_at IS NULL,
		'settings_text', nullif(labels_text(c.settings || secrets_shown(c.secrets)), ''),
		'secrets_shown', secrets_shown(c.secrets), 'secrets_set',
		(SELECT coalesce(jsonb_agg(k ORDER BY k), '[]') FROM jsonb_object_keys(c.secrets) k))
		|| (SELECT jsonb_build_object('waiting', count(*), 'waiting_since', min(made_at))
			FROM notifications n WHERE n.channel_id = c.channel_id AND sent_at IS NULL
				AND dead_at IS NULL AND (c.disabled_at IS NULL OR attempts > 0))
		|| (SELECT jsonb_build_object('trouble', max(s.last_error), 'retry_at', max(s.retry_at))
			FROM channel_state s WHERE s.channel_id = c.channel_id AND s.failures > 0
				AND c.disabled_at IS NULL)
$$;

-- What is wrong with one of them, which the watcher would refuse at the first message. NULL: nothing.
CREATE OR REPLACE FUNCTION setting_problem(p_kind text, p_name text, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN p_name = 'url' AND p_kind = 'mail' AND p_value !~ '^smtps?://[^/[:space:]]'
			THEN 'must be smtp://HOST:PORT or smtps://HOST'
		WHEN p_name IN ('url', 'api_url') AND p_kind <> 'mail'
				AND p_value !~* '^https?://[^/[:space:]]'
			THEN 'must be an address such as https://HOST/PATH'
		WHEN p_kind = 'mail' AND p_name = 'tls' AND p_value NOT IN ('required', 'none')
			THEN 'must be required or none'
		WHEN p_kind = 'mail' AND p_name IN ('from', 'to') AND p_value !~ '[^[:space:]]@[^[:space:]]'
			THEN 'must be an address such as ann@example.com' END
$$;

-- What is wrong with the settings of a channel, by the table channel_kinds.
CREATE OR REPLACE FUNCTION channel_errors(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM channel_kinds WHERE kind = c.kind), 'kind',
		'must be one of '
			|| (SELECT string_agg(kind, ', ' ORDER BY kind) FROM channel_kinds))
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', part || '.' || left(name, 100),
			'message', CASE
				WHEN spec IS NULL THEN 'is not known; known are '
					|| coalesce(array_to_string(names, ', '), 'none')
				WHEN value IS NULL THEN 'is missing: ' || (spec->>'help')
				WHEN open_url THEN 'would show a login or a query: leave it out; '
					'a login has settings of its own'
				WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' ~ '[[:cntrl:]]'
					OR octet_length(value #>> '{}') NOT BETWEEN 1 AND 4000
					THEN 'must be one line of 1 to 4000 bytes'
				ELSE setting_problem(k.kind, name, value #>> '{}') END)
			ORDER BY part, name), '[]')
			FROM (SELECT kind, channel_kinds.settings, channel_kinds.secrets FROM channel_kinds
				WHERE kind = c.kind) k
			CROSS JOIN LATERAL (VALUES ('settings', k.settings, c.settings), ('secrets',
				k.secrets, c.secrets))
				p(part, specs, given)
			CROSS JOIN LATERAL (SELECT array_agg(n ORDER BY n)
				FROM jsonb_object_keys(specs) n) a(names)
			CROSS JOIN LATERAL (SELECT name, specs->name AS spec, given->name AS value,
				part = 'settings' AND given->>name ~* '^https?://([^/?#]*@|[^?#]*[?#])'
					AS open_url
				FROM (SELECT jsonb_object_keys(specs) UNION
					SELECT jsonb_object_keys(given)) u(name)) f
			WHERE spec IS NULL OR open_url OR (value IS NULL AND (spec->'required')::boolean)
				OR (value IS NOT NULL AND (jsonb_typeof(value) <> 'string'
					OR value #>> '{}' ~ '[[:cntrl:]]'
					OR octet_length(value #>> '{}') NOT BETWEEN 1 AND 4000
					OR setting_problem(k.kind, name, value #>> '{}') IS NOT NULL)))
$$;

-- A form has "settings.NAME", "secrets.NAME" and "remove.NAME", the latter of a secret.
CREATE OR REPLACE FUNCTION channel_body(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE jsonb_typeof(b->'remove') WHEN 'object' THEN b - 'remove' || jsonb_build_object('secrets',
		CASE jsonb_typeof(b->'secrets') WHEN 'object' THEN b->'secrets' ELSE '{}' END
			|| (SELECT coalesce(jsonb_object_agg(k, NULL::text), '{}')
				FROM jsonb_object_keys(b->'remove') k))
		ELSE b END
	FROM (SELECT nested_body(nested_body(nested_body(p_body, 'settings'), 'secrets'), 'remove')) x(b)
$$;

-- Lets the watcher send a message that only says that the channel works.
CREATE OR REPLACE FUNCTION test_channel_for(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_id uuid;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_id := test_channel(p_id, c.email, clock_timestamp());
	PERFORM audit(c.email, c.how, 'channel tested', p_id);
	RETURN jsonb_build_object('notification_id', v_id);
END
$$;

CREATE OR REPLACE FUNCTION list_channels(p_hash bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM asking(p_hash, 'operator');
	RETURN (SELECT jsonb_build_object('items', coalesce(jsonb_agg(channel_json(c) ORDER BY name), '[]'),
		'next', NULL) FROM channels c);
END
$$;

-- The secrets that a change does not name stay; null removes one, and so does a form's "remove".
CREATE OR REPLACE FUNCTION save_channel(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h channels;
	v_body jsonb := channel_body(p_body);
	v_given jsonb;
	v_secrets jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_given := body_values('channel', v_body, p_id IS NULL);
	h := jsonb_populate_record(NULL::channels, changed_row('channel', p_id, v_body, c.email, p_match));
	SELECT * FROM secrets_apart(h.kind, h.settings, coalesce(v_given->'secrets', '{}'))
		INTO h.settings, v_secrets;
	h.secrets := merged(coalesce((SELECT secrets FROM channels WHERE channel_id = as_uuid(p_id)), '{}'),
		v_secrets);
	IF v_given ? 'is_active' THEN
		h.disabled_at := CASE WHEN (v_given->'is_active')::boolean THEN NULL
			ELSE coalesce(h.disabled_at, clock_timestamp()) END;
		h.disabled_reason := CASE WHEN h.disabled_at IS NOT NULL THEN coalesce(h.disabled_reason,
			'switched off by ' || c.email) END;
	END IF;
	PERFORM refuse_errors(channel_errors(h) || field_error(EXISTS (SELECT FROM channels
			WHERE name = h.name AND channel_id <> h.channel_id), 'name',
				'is taken by another channel')
		|| field_error(h.fallback_id = h.channel_id OR NOT EXISTS (SELECT FROM channels
			WHERE channel_id = coalesce(h.fallback_id, channel_id)) AND h.fallback_id IS NOT NULL,
			'fallback_id', 'must be another channel'));
	PERFORM put_row('channel', to_jsonb(h)), audit(c.email, c.how, saved_how('channel', p_id), h.name,
		v_given || jsonb_build_object('settings', h.settings, 'secrets', secrets_shown(v_secrets)));
	RETURN channel_json(h);
END
$$;

CREATE OR REPLACE FUNCTION delete_channel(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_id CONSTANT uuid := as_uuid(p_id);
	v_now CONSTANT timestamptz := clock_timestamp();
	v_gone jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_gone := removed_row('channel', p_id, p_match);
	UPDATE alert_rules SET channel_id = NULL, version = version + 1 WHERE channel_id = v_id;
	UPDATE alert_routes SET channels = array_remove(channels, v_id) WHERE v_id = ANY (channels);
	UPDATE channels SET fallback_id = NULL WHERE fallback_id = v_id;
	UPDATE notifications SET dead_at = v_now, last_error = 'its channel was deleted'
		WHERE channel_id = v_id AND sent_at IS NULL AND dead_at IS NULL;
	PERFORM audit(c.email, c.how, 'channel deleted', v_gone->>'name');
	RETURN '{"ok": true}';
END
$$;

-- ---- routes, inhibitions, quiet windows ---------------------------------------------------------
CREATE OR REPLACE FUNCTION route_errors(r alert_routes) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH RECURSIVE above (id, depth) AS (
		SELECT r.parent_id, 1 WHERE r.parent_id IS NOT NULL
		UNION ALL SELECT p.parent_id, depth + 1 FROM above JOIN alert_routes p
			ON p.route_id = above.id
		WHERE p.parent_id IS NOT NULL AND depth < 32)
	SELECT field_error(r.parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM alert_routes
			WHERE route_id = r.parent_id), 'parent_id', 'names no route')
		|| field_error(r.parent_id IS NULL AND EXISTS (SELECT FROM alert_routes
			WHERE parent_id IS NULL AND route_id <> r.route_id), 'parent_id',
			'is missing: there is one root, and every other route hangs below a route')
		|| field_error(EXISTS (SELECT FROM above WHERE id = r.route_id OR depth >= 32), 'parent_id',
			'would make a circle, or a tree deeper than 32')
		|| field_error(EXISTS (SELECT FROM unnest(r.channels) i WHERE NOT EXISTS (SELECT FROM channels
			WHERE channel_id = i)), 'channels', 'name a channel that is not there')
		|| field_error(EXISTS (SELECT FROM unnest(r.windows) i WHERE NOT EXISTS (SELECT
			FROM quiet_windows
			WHERE window_id = i)), 'windows', 'name a quiet window that is not there')
$$;

CREATE OR REPLACE FUNCTION save_route(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	r := jsonb_populate_record(NULL::alert_routes, changed_row('route', p_id,
		listed_body(listed_body(p_body, 'channels'), 'windows'), c.email, p_match));
	PERFORM refuse_errors(route_errors(r));
	PERFORM put_row('route', to_jsonb(r)),
		audit(c.email, c.how, 'route saved', matchers_text(r.match), p_body);
	RETURN to_jsonb(r) || jsonb_build_object('match_text', matchers_text(r.match));
END
$$;

-- What hangs below it hangs below its parent then.
CREATE OR REPLACE FUNCTION delete_route(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	r := jsonb_populate_record(NULL::alert_routes, removed_row('route', p_id));
	PERFORM refuse_errors(field_error(r.parent_id IS NULL, 'parent_id',
		'is null: this is the root, where every alert enters. Change it instead'));
	UPDATE alert_routes SET parent_id = r.parent_id WHERE parent_id = r.route_id;
	PERFORM audit(c.email, c.how, 'route deleted', matchers_text(r.match));
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION save_inhibition(p_hash bytea, p_id text, p_body jsonb,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	i jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	i := put_row('inhibition', changed_row('inhibition', p_id, p_body, c.email, p_match));
	PERFORM audit(c.email, c.how, 'inhibition saved', i->>'name', p_body);
	RETURN i;
END
$$;

CREATE OR REPLACE FUNCTION delete_inhibition(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	PERFORM audit(c.email, c.how, 'inhibition deleted', removed_row('inhibition', p_id)->>'name');
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION window_errors(w quiet_windows) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = w.time_zone), 'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(NOT w.days <@ '{mon,tue,wed,thu,fri,sat,sun}', 'days',
			'must be of mon, tue, wed, thu, fri, sat, sun')
		|| field_error(EXISTS (SELECT FROM quiet_windows WHERE name = w.name
			AND window_id <> w.window_id), 'name', 'is taken by another quiet window')
$$;

CREATE OR REPLACE FUNCTION save_window(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	w quiet_windows;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	w := jsonb_populate_record(NULL::quiet_windows, changed_row('window', p_id, p_body, c.email,
		p_match));
	PERFORM refuse_errors(window_errors(w));
	PERFORM audit(c.email, c.how, 'quiet window saved', w.name, p_body);
	RETURN put_row('window', to_jsonb(w));
END
$$;

CREATE OR REPLACE FUNCTION delete_window(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	PERFORM audit(c.email, c.how, 'quiet window deleted', removed_row('window', p_id)->>'name');
	UPDATE alert_routes SET windows = array_remove(windows, as_uuid(p_id))
		WHERE as_uuid(p_id) = ANY (windows);
	RETURN '{"ok": true}';
END
$$;

-- ---- silences -----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION silence_json(s silences) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(s) || jsonb_build_object('match_text', matchers_text(s.match),
		'ended', s.ends_at <= now(),
		'state', CASE WHEN s.ends_at <= now() THEN 'ended' WHEN s.starts_at > now() THEN 'pending'
			ELSE 'active' END)
$$;

-- "for" is another way to say when it ends. A form always has both: a time goes before it.
CREATE OR REPLACE FUNCTION silence_body(p_body jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF jsonb_typeof(p_body) <> 'object' OR NOT p_body ? 'for' THEN
		RETURN p_body;
	ELSIF coalesce(p_body->>'ends_at', '') <> '' OR coalesce(p_body->>'for', '') = '' THEN
		RETURN p_body - 'for';
	END IF;
	PERFORM refuse_errors(field_error(p_body->>'for' !~ '^[0-9]{1,4}[mhd]$', 'for',
		'must be a time such as 30m, 2h or 7d'));
	RETURN p_body - 'for' || jsonb_build_object('ends_at', p_now + (p_body->>'for')::interval);
END
$$;

CREATE OR REPLACE FUNCTION save_silence(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := now();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	s := jsonb_populate_record(NULL::silences, changed_row('silence', p_id, silence_body(p_body, v_now),
		c.email, p_match));
	s.starts_at := coalesce(s.starts_at, v_now);
	PERFORM refuse_errors(field_error(s.ends_at <= s.starts_at OR s.ends_at <= v_now, 'ends_at',
			'must be later than now and than starts_at')
		|| field_error(s.match = '[]', 'match', 'must have a matcher: a silence of everything needs '
			'one such as server=~".*"'));
	PERFORM put_row('silence', to_jsonb(s)), audit(c.email, c.how, saved_how('silence', p_id),
		matchers_text(s.match), jsonb_build_object('ends_at', s.ends_at, 'comment', s.comment));
	RETURN silence_json(s);
END
$$;

-- Ends it now. It stays in the list.
CREATE OR REPLACE FUNCTION end_silence(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	SELECT * INTO s FROM silences WHERE silence_id = as_uuid(p_id) AND ends_at > v_now FOR UPDATE;
	PERFORM known_id('silence', p_id, FOUND), check_version(p_match, s.version);
	UPDATE silences SET ends_at = v_now, version = version + 1,
		starts_at = least(starts_at, v_now - interval '1 microsecond')
			WHERE silence_id = s.silence_id;
	PERFORM audit(c.email, c.how, 'silence ended', matchers_text(s.match));
	RETURN '{"ok": true}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION silence_json TO observ_hub;
GRANT EXECUTE ON FUNCTION list_channels, save_channel, delete_channel, test_channel_for, save_route,
	delete_route, save_inhibition, delete_inhibition, save_window, delete_window, save_silence,
	end_silence TO observ_hub, observ_enroll;
-- ==== 79-rule-checks: rules and overrides that can't be evaluated are refused ===================
-- Whoever writes them: the API says the same, but psql and imports reach the tables themselves. A rule that
-- is switched off may hold anything. What still goes wrong in an evaluation stops only its own rule
-- (72-engine.sql).

-- Whether p_milder is worse than p_worse. Values of == and != have no order.
CREATE OR REPLACE FUNCTION out_of_order(p_op text, p_worse float8, p_milder float8) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(CASE left(p_op, 1)
	WHEN '>' THEN p_milder > p_worse
	WHEN '<' THEN p_milder < p_worse END, false);

-- What is wrong with a rule, as refuse_errors() takes it: values that can't hold together. Ranges of single
-- fields are checked by the table.
CREATE OR REPLACE FUNCTION rule_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(r.warning IS NULL AND r.critical IS NULL, 'warning',
			'is missing, and critical too: a rule needs the value of one of them')
		|| field_error(out_of_order(r.op, r.warning, r.warning_clear), 'warning_clear',
			'must lie on the healthy side of warning')
		|| field_error(out_of_order(r.op, r.critical, r.critical_clear), 'critical_clear',
			'must lie on the healthy side of critical')
		|| field_error(r.warning IS NULL AND r.warning_clear IS NOT NULL, 'warning_clear',
			'needs a value of warning')
		|| field_error(r.critical IS NULL AND r.critical_clear IS NOT NULL, 'critical_clear',
			'needs a value of critical')
		|| field_error(out_of_order(r.op, r.critical, r.warning), 'critical',
			'must be worse than warning')
		|| field_error(NOT coalesce(out_of_order(r.op, r.critical, r.warning), false)
			AND out_of_order(r.op, coalesce(r.critical_clear, r.critical),
				coalesce(r.warning_clear, r.warning)), 'critical_clear',
			'must not be milder than warning_clear')
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'message',
				'must be a number')), '[]')
			FROM (VALUES ('warning', r.warning), ('warning_clear', r.warning_clear),
				('critical', r.critical), ('critical_clear', r.critical_clear)) v(name, level)
			WHERE level IN ('NaN', 'Infinity', '-Infinity'))
$$;

-- Alerts of a rule may be counted by another one, in the same evaluation after it. Not by a third one, since
-- these are evaluated at once.
CREATE OR REPLACE FUNCTION chain_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(r.kind = 'count_firing' AND r.params->>'of_rule' = r.rule_id::text,
			'params.of_rule', 'must be another rule')
		|| field_error(r.kind = 'count_firing' AND NOT EXISTS (SELECT FROM alert_rules
			WHERE rule_id::text = r.params->>'of_rule'), 'params.of_rule', 'names no rule')
		|| field_error(r.kind IN ('count_firing', 'rule_error') AND EXISTS (SELECT FROM alert_rules o
			WHERE o.kind = 'count_firing' AND o.params->>'of_rule' = r.rule_id::text
				AND o.rule_id <> r.rule_id), 'kind',
			'must be another one: a rule counts the alerts of this one, '
			'and chains have one link only')
		|| field_error(r.kind = 'count_firing' AND EXISTS (SELECT FROM alert_rules o
			WHERE o.rule_id::text = r.params->>'of_rule'
				AND o.kind IN ('count_firing', 'rule_error')),
			'params.of_rule', 'must not be a rule that counts alerts or errors itself: '
			'chains have one link only')
$$;

-- What keeps a rule from being evaluated.
CREATE OR REPLACE FUNCTION evaluation_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT param_errors(r.kind, r.metric, r.params) || chain_errors(r)
$$;

-- ---- whoever writes them ---------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION errors_text(p_errors jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(concat_ws(' ', e->>'field', e->>'message'), '; ')
	FROM jsonb_array_elements(p_errors) e
$$;

CREATE OR REPLACE FUNCTION check_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_errors CONSTANT text := errors_text(evaluation_errors(NEW)
		|| field_error(matchers_problem(NEW.match) IS NOT NULL, 'match', 'is wrong: '
			|| rtrim(matchers_problem(NEW.match), '.'))
		|| field_error(label_errors(NEW.labels) <> '[]', 'labels',
			'must be an object of short texts'));
BEGIN
	IF v_errors IS NOT NULL THEN
		RAISE EXCEPTION 'The rule "%" can''t be evaluated: %.', NEW.name, v_errors
			USING ERRCODE = '23514', HINT = 'A rule with is_active false may be incomplete.';
	END IF;
	RETURN NEW;
END
$$;

-- The fields of an override, as the API takes them; a sentence about what is wrong, or NULL.
CREATE OR REPLACE FUNCTION patch_problem(r alert_rules, p rule_patches) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_detail text;
BEGIN
	IF r.rule_id IS NULL THEN
		RETURN CASE WHEN EXISTS (SELECT FROM rule_patches WHERE patch_id = p.rule_id)
			THEN 'rule_id names an override: an override is of a rule, not of another override'
			ELSE 'rule_id names no rule' END;
	ELSIF matchers_problem(p.match) IS NOT NULL THEN
		RETURN 'match is wrong: ' || rtrim(matchers_problem(p.match), '.');
	END IF;
	PERFORM refuse_errors(patch_errors(r, p.changes)), body_values('rule', p.changes, false);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'OB422' THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN 'changes are wrong: ' || coalesce(errors_text(v_detail::jsonb->'errors'),
		'they must be an object of the fields that differ');
END
$$;

CREATE OR REPLACE FUNCTION check_patch() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	v_problem text;
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = NEW.rule_id;
	v_problem := patch_problem(r, NEW);
	IF v_problem IS NOT NULL THEN
		RAISE EXCEPTION 'This override of the rule "%" can''t be applied: %.', coalesce(r.name, '?'),
			v_problem USING ERRCODE = '23514';
	END IF;
	RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER check_rule BEFORE INSERT OR UPDATE ON alert_rules
	FOR EACH ROW WHEN (NEW.is_active) EXECUTE FUNCTION check_rule();
CREATE OR REPLACE TRIGGER check_patch BEFORE INSERT OR UPDATE ON rule_patches
	FOR EACH ROW EXECUTE FUNCTION check_patch();

SELECT drop_former_functions() \g /dev/null
-- ==== 80-views: for people and Grafana. Names stay, and columns are only added at the end ======
CREATE OR REPLACE VIEW v_metrics AS SELECT "timestamp" AS "time", m.* FROM vps_metrics m;
CREATE OR REPLACE VIEW v_metrics_5m AS SELECT "timestamp" AS "time", m.* FROM metrics_5m m;
CREATE OR REPLACE VIEW v_metrics_1h AS SELECT "timestamp" AS "time", m.* FROM metrics_1h m;
CREATE OR REPLACE VIEW v_checks AS SELECT "timestamp" AS "time", c.* FROM health_checks c;
CREATE OR REPLACE VIEW v_logs AS
	SELECT "timestamp" AS "time", id, "timestamp", vps_name, app_name, level, logger, message, context,
		stream_id, stream_offset, received_at, search
	FROM log_entries;
CREATE OR REPLACE VIEW v_gaps AS SELECT "timestamp" AS "time", g.* FROM gaps g;
CREATE OR REPLACE VIEW v_agents AS
	SELECT last_seen_at AS "time", vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms,
		state, first_seen_at, last_seen_at,
		agent_state(last_seen_at, interval_s, retired_at, now()) = 'online' AS online,
		host, address, conflict_at, conflict, retired_at,
		agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		pending, lost, rejected, rss_kb, last_error, last_commit_at, buffering_since, outage_since,
		outage_until, outage_samples, outage_lost, outbox_bytes, outbox_in_memory, outbox_trouble,
		lag_bytes, lag_s, files, files_parked, files_held, files_unreadable, lines_suppressed
	FROM agents;
GRANT SELECT ON v_metrics, v_metrics_5m, v_metrics_1h, v_checks, v_logs, v_gaps, v_agents
	TO observ_hub, observ_watch, observ_reader;

-- The metrics that are rolled up, one in each row: single samples (step_s 0), of 5 minutes, of an hour.
DO $$
BEGIN
	EXECUTE (SELECT 'CREATE OR REPLACE VIEW v_series AS ' || string_agg(format(
			'SELECT t."timestamp" AS "time", %s AS step_s, t.vps_name, t.app_name, m.metric, '
			'%s AS samples, m.avg, m.min, m.max FROM %I t '
			'CROSS JOIN LATERAL (VALUES %s) m (metric, avg, min, max)',
			step_s, samples, source,
			(SELECT string_agg(format('(%L, t.%I, t.%I, t.%I)', c, c || a, c || b, c || d), ', '
				ORDER BY n) FROM unnest(rollup_columns()) WITH ORDINALITY r(c, n))),
			' UNION ALL ' ORDER BY step_s)
		FROM (VALUES (0, 'vps_metrics', '1', '', '', ''),
			(300, 'metrics_5m', 't.samples', '_avg', '_min', '_max'),
			(3600, 'metrics_1h', 't.samples', '_avg', '_min', '_max'))
			v(step_s, source, samples, a, b, d));
END
$$;
GRANT SELECT ON v_series TO observ_hub, observ_watch, observ_reader;

-- Which servers may write. unbound: the server writes with a login that is valid for every server.
CREATE OR REPLACE VIEW v_servers AS
	SELECT vps_name, CASE WHEN logins = 1 THEN 'enrolled' WHEN logins > 1 THEN 'rotating'
			WHEN retired_at IS NOT NULL THEN 'retired'
			WHEN last_seen_at > now() - interval '1 hour' THEN 'unbound'
			ELSE 'not enrolled' END AS state,
		login, enrolled_at, enrolled_by, old_login, old_valid_until, applications, last_seen_at,
		retired_at, conflict_at, conflict
	FROM (SELECT vps_name, count(*) AS logins, max(enrolled_at) AS enrolled_at,
			(array_agg(role ORDER BY enrolled_at DESC))[1] AS login,
			(array_agg(enrolled_by ORDER BY enrolled_at DESC))[1] AS enrolled_by,
			(array_agg(role ORDER BY enrolled_at DESC))[2] AS old_login,
			(array_agg(valid_until ORDER BY enrolled_at DESC))[2] AS old_valid_until
		FROM agent_roles GROUP BY 1) r
	FULL JOIN (SELECT vps_name, count(*) AS applications, max(last_seen_at) AS last_seen_at,
			max(retired_at) AS retired_at, max(conflict_at) AS conflict_at,
			(array_agg(conflict ORDER BY conflict_at DESC NULLS LAST))[1] AS conflict
		FROM agents GROUP BY 1) a USING (vps_name);
GRANT SELECT ON v_servers TO observ_hub, observ_watch, observ_enroll;

-- ==== 99-end: the version is recorded =========================================================
DROP FUNCTION want_index(text, text), want_column(text, text, text, text), on_all_nodes(text),
	drop_former_functions();
INSERT INTO schema_version (version) VALUES (:version) ON CONFLICT DO NOTHING;
COMMENT ON SCHEMA observ IS :'version';        -- for logins that may not read tables: obs_agent doctor
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
		RAISE WARNING 'this database has Citus: run citus.sql now' USING HINT = 'templates/citus.sql';
	END IF;
END
$$;
COMMIT;
