-- Is the database ours, or empty? In front of schema.sql.
\set ON_ERROR_STOP on
DO $$
DECLARE
	other text;
BEGIN
	IF to_regnamespace('observ') IS NOT NULL THEN
		RETURN;
	END IF;
	SELECT format('%I.%I', nspname, relname) INTO other
	  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	 WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
	   AND NOT EXISTS (SELECT FROM pg_depend d
		WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	 ORDER BY 1 LIMIT 1;
	IF other IS NOT NULL THEN
		RAISE EXCEPTION USING MESSAGE = format('database %s holds something else already (%s), '
			'and Observ wants one of its own: give another name', current_database(), other);
	END IF;
END
$$;
