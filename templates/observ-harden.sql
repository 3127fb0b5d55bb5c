-- What PostgreSQL lets every login do, and no server needs. Once, as superuser, after schema.sql:
--
--   psql -U postgres observ_metrics < observ-harden.sql
--
-- Without it a login that is stolen can still not read or change anything of Observ, but it can store large objects,
-- fill the table of locks that all sessions share by one statement (by many it can still, see docs/security.md), write to the WAL and spill to disk without limit.
-- For this database only; again it changes nothing.
\set ON_ERROR_STOP on
BEGIN;
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
			AND proname ~ '^(lo_.*|loread|lowrite|pg_(try_)?advisory_.*|pg_notify|pg_logical_emit_message)$' LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO observ_owner, observ_hub, observ_watch', f);
	END LOOP;
END
$$;
-- enroll() gives servers a limit then.
GRANT SET ON PARAMETER temp_file_limit TO observ_roles;
COMMIT;
