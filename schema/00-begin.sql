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

