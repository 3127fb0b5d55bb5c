-- Who may do what: rights.txt beside this file has a row for each object and a column for each role, and both
-- the catalog and an attempt must agree. An object or right that is not listed fails.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;

-- ---- the table, as it is written -------------------------------------------------------------
\set text `cat tests/sql/rights.txt`
CREATE TEMP TABLE lines AS SELECT n, regexp_split_to_array(trim(l), '\s+') AS f
	FROM regexp_split_to_table(:'text', '\n') WITH ORDINALITY v(l, n) WHERE l !~ '^\s*(#|$)';
CREATE TEMP TABLE listed AS SELECT f[1] AS kind, f[2] AS object, role, replace(f[k + 2], '-', '') AS rights
	FROM lines, unnest((SELECT f[3:] FROM lines ORDER BY n LIMIT 1)) WITH ORDINALITY r(role, k)
	WHERE n > (SELECT min(n) FROM lines);
SELECT is((SELECT count(*) FROM lines WHERE cardinality(f) <> (SELECT cardinality(f) FROM lines
	ORDER BY n LIMIT 1)), 0::bigint,
	'each line has a field for each role');
SELECT is((SELECT count(*) FROM (SELECT kind, object, role FROM listed
	GROUP BY 1, 2, 3 HAVING count(*) > 1) x), 0::bigint,
	'no object is listed twice');

-- ---- a login of each kind ----------------------------------------------------------------------
CREATE TEMP TABLE logins (role text, login name);
SELECT count(*) FROM enroll('web-1') \g /dev/null
\i tests/sql/logins.psql
CREATE ROLE t_enroll LOGIN IN ROLE observ_enroll;
CREATE ROLE t_roles LOGIN IN ROLE observ_roles;
INSERT INTO logins VALUES ('agent', 'obs_web_1'), ('any', 't_any'), ('hub', 't_hub'), ('watch', 't_watch'),
	('reader', 't_reader'),
	('nobody', 't_nobody'), ('enroll', 't_enroll'), ('token', (SELECT role_name FROM make_token())),
	('roles', 't_roles');
SELECT set_eq('SELECT DISTINCT role FROM listed', 'SELECT role FROM logins', 'the columns are the roles');
SELECT is((SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^observ_'
	AND rolname NOT IN
	('observ_admin', 'observ_owner') AND NOT EXISTS (SELECT FROM logins
	WHERE pg_has_role(login, rolname, 'MEMBER'))), NULL,
	'every role that schema.sql makes has a column');

-- ---- what there is ---------------------------------------------------------------------------------
-- Partitions of days are one object; functions are told apart by the number of their parameters.
CREATE TEMP TABLE objects AS
	SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view'
			ELSE 'table' END AS kind,
		regexp_replace(relname, '_\d{8}$', '_DAY') AS object, oid FROM pg_class
		WHERE relnamespace = 'observ'::regnamespace AND relkind NOT IN ('i', 'I', 'c')
	UNION ALL SELECT 'function', proname || '/' || pronargs, oid FROM pg_proc
	WHERE pronamespace = 'observ'::regnamespace
	UNION ALL SELECT 'schema', nspname, oid FROM pg_namespace WHERE nspname IN ('observ', 'public')
	UNION ALL SELECT 'database', 'this', oid FROM pg_database WHERE datname = current_database();
SELECT set_eq('SELECT DISTINCT kind, object FROM listed', 'SELECT kind, object FROM objects',
	'each object is listed, and each that is listed is there');
SELECT is((SELECT string_agg(nspname, ', ') FROM pg_namespace WHERE nspname !~ '^pg_'
	AND nspname NOT IN ('information_schema',
	'observ', 'public', 'tap')), NULL, 'there is no other schema');

-- ---- what the catalog says, in its own letters --------------------------------------------------------
CREATE TEMP TABLE letters (kind text, letter text, privilege text);
INSERT INTO letters SELECT k, l, p FROM unnest(ARRAY['table', 'view']) k,
	(VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'),
	('d', 'DELETE'), ('D', 'TRUNCATE'), ('x', 'REFERENCES'), ('t', 'TRIGGER')) v(l, p);
INSERT INTO letters VALUES ('sequence', 'r', 'SELECT'), ('sequence', 'w', 'UPDATE'),
	('sequence', 'U', 'USAGE'), ('function', 'X', 'EXECUTE'),
	('schema', 'U', 'USAGE'), ('schema', 'C', 'CREATE'), ('database', 'c', 'CONNECT'),
	('database', 'C', 'CREATE'), ('database', 'T', 'TEMPORARY');
CREATE FUNCTION pg_temp.has(p_login name, p_kind text, p_oid oid,
	p_privilege text) RETURNS boolean LANGUAGE sql AS $$
	SELECT CASE p_kind
		WHEN 'sequence' THEN has_sequence_privilege(p_login, p_oid, p_privilege)
		WHEN 'function' THEN has_function_privilege(p_login, p_oid, p_privilege)
		WHEN 'schema' THEN has_schema_privilege(p_login, p_oid, p_privilege)
		WHEN 'database' THEN has_database_privilege(p_login, p_oid, p_privilege)
		ELSE has_table_privilege(p_login, p_oid, p_privilege)
		OR p_privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
			AND has_any_column_privilege(p_login, p_oid, p_privilege) END $$;
CREATE TEMP TABLE found AS SELECT o.kind, object, role, login, o.oid,
	coalesce(string_agg(letter, '' ORDER BY letter) FILTER
		(WHERE pg_temp.has(login, o.kind, o.oid, privilege)), '') AS rights
	FROM objects o JOIN letters USING (kind), logins GROUP BY 1, 2, 3, 4, 5;
CREATE TEMP TABLE expected AS SELECT kind, object, role, coalesce(string_agg(l, '' ORDER BY l), '') AS rights
	FROM listed LEFT JOIN unnest(string_to_array(rights, NULL)) l ON true GROUP BY 1, 2, 3;
SELECT is(string_agg(DISTINCT f.rights, ' '), e.rights, format('%s on %s %s', role, kind, object))
	FROM expected e JOIN found f USING (kind, object, role) GROUP BY kind, object, role, e.rights
	ORDER BY kind, object, role;

-- ---- and what happens -------------------------------------------------------------------------------
-- NULL: not refused for want of a right; all that was done is undone.
CREATE FUNCTION pg_temp.refused(p_login text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('session_authorization', p_login, true);
	EXECUTE p_sql;
	RAISE EXCEPTION 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN sqlerrm LIKE 'permission denied for %'
	OR sqlerrm ~ '^cannot (insert into|update|delete from) view' THEN sqlerrm END;
END $$;
-- Names have their schema: without the right to use that, a bare name would not be found. The NULL is no
-- constant: else a STRICT function would not be called at all.
CREATE TEMP TABLE attempts AS SELECT kind, object, role, login, rights, letter, sql
	FROM (SELECT f.*, format('observ.%I', relname) AS name FROM found f LEFT
	JOIN pg_class c ON c.oid = f.oid) f, LATERAL (
	SELECT 'r' AS letter, format('SELECT FROM %s', name) AS sql
	WHERE kind IN ('table', 'view', 'sequence')
	UNION ALL SELECT 'a', format('INSERT INTO %s DEFAULT VALUES', name) WHERE kind IN ('table', 'view')
	UNION ALL SELECT 'w', format('UPDATE %s SET %I = DEFAULT', name, (SELECT attname FROM pg_attribute
		WHERE attrelid = f.oid AND attnum > 0 AND NOT attisdropped
		ORDER BY has_column_privilege(login, f.oid, attnum, 'UPDATE') DESC,
		attnum LIMIT 1)) WHERE kind IN ('table', 'view')
	UNION ALL SELECT 'd', format('DELETE FROM %s', name) WHERE kind IN ('table', 'view')
	UNION ALL SELECT 'D', format('TRUNCATE %s', name) WHERE kind = 'table'
	UNION ALL SELECT 'U', format('SELECT nextval(%L)', name) WHERE kind = 'sequence'
	UNION ALL SELECT 'X', (SELECT format('SELECT observ.%I(%s)', proname,
	(SELECT string_agg(format('(SELECT NULL::%I.%I)', nspname, typname),
		', ' ORDER BY n) FROM unnest(proargtypes::oid[]) WITH ORDINALITY a(t, n)
		JOIN pg_type y ON y.oid = t
		JOIN pg_namespace s ON s.oid = typnamespace)) FROM pg_proc p WHERE p.oid = f.oid)
		WHERE kind = 'function'
	UNION ALL SELECT 'C', format('CREATE TABLE %I.t_new ()', object) WHERE kind = 'schema'
	UNION ALL SELECT 'C', 'CREATE SCHEMA t_new' WHERE kind = 'database'
	UNION ALL SELECT 'T', 'CREATE TEMP TABLE t_new ()' WHERE kind = 'database') a;
SELECT cmp_ok((SELECT count(*) FROM attempts), '>', 1000::bigint, 'there is much to try');
SELECT is((SELECT string_agg(format('%s: %s', role, sql), E'\n') FROM attempts
	WHERE strpos(rights, letter) = 0
	AND pg_temp.refused(login, sql) IS NULL), NULL,
	'rights that are not listed are refused in an attempt');
SELECT is((SELECT string_agg(format('%s: %s: %s', role, sql, pg_temp.refused(login, sql)), E'\n')
	FROM attempts
	WHERE strpos(rights, letter) > 0 AND pg_temp.refused(login, sql) IS NOT NULL), NULL,
	'and listed ones are not');
SELECT * FROM finish();
ROLLBACK;
