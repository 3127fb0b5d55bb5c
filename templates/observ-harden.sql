-- Takes away what PostgreSQL lets every login do and no server needs. Run it once, as superuser, after
-- schema.sql. A second run changes nothing:
--
--   psql -U postgres observ_metrics < observ-harden.sql
--
-- Without it a stolen login can still read and change nothing of Observ, but it can store large objects, fill
-- the lock table that all sessions share by one statement (with many statements it still can:
-- docs/security.md), write to the WAL, and spill to disk without limit. It is for this database only.
\set ON_ERROR_STOP on
BEGIN;
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
			AND proname ~ ('^(lo_.*|loread|lowrite|pg_(try_)?advisory_.*|pg_notify|'
				'pg_logical_emit_message)$') LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO observ_owner, observ_hub, observ_watch', f);
	END LOOP;
END
$$;
-- With this right enroll() sets the limit.
GRANT SET ON PARAMETER temp_file_limit TO observ_roles;
COMMIT;
