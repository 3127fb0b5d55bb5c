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

