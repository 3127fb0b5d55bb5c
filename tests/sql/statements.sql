-- Every statement of the programs fits the schema, and the role that sends it may execute it.
\set texts `tests/sql/shell statements`
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql
CREATE ROLE t_enroll LOGIN IN ROLE observ_enroll;
SELECT count(*) FROM enroll('web-1') \g /dev/null
SELECT role_name AS token FROM make_token() \gset

-- Who sends what: by folder, and a file that differs.
CREATE TEMP TABLE senders (path text, role text);
INSERT INTO senders VALUES ('obs_agent/sql/', 'obs_web_1'), ('obs_agent/sql/enroll.sql', :'token'),
	('fleet_hub/', 't_hub'),
	('fleet_hub/admin/', 't_enroll'), ('fleet_hub/admin/teardown.sql', 'observ_admin');
CREATE TEMP TABLE statements AS SELECT split_part(t, E'\x02', 1) AS path, split_part(t, E'\x02', 2) AS sql
	FROM regexp_split_to_table(substr(:'texts', 2), E'\x01') t;
SELECT cmp_ok((SELECT count(*) FROM statements), '>=', 22::bigint, 'the statements were read');

-- EXPLAIN asks for the rights, as the execution would, and executes nothing.
CREATE FUNCTION pg_temp.explained(p_role text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	l text;
	nulls text;
BEGIN
	DEALLOCATE ALL;         -- a failed one stays
	PERFORM set_config('session_authorization', p_role, true);
	EXECUTE 'PREPARE statement AS ' || p_sql;
	SELECT '(' || string_agg('NULL', ', ') || ')' INTO nulls
	FROM pg_prepared_statements, unnest(parameter_types) WHERE name = 'statement';
	EXECUTE 'EXPLAIN EXECUTE statement' || coalesce(nulls, '');
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT is(pg_temp.explained((SELECT role FROM senders s WHERE starts_with(t.path, s.path)
	ORDER BY length(s.path) DESC LIMIT 1), sql), NULL,
	path || ' fits the schema and the rights') FROM statements t ORDER BY path;
SELECT matches(pg_temp.explained(role, sql), '^42501', format('%s is refused to %s', path, role))
	FROM statements JOIN (VALUES
	('obs_agent/sql/push.sql', 't_hub'), ('fleet_hub/pages/fleet.sql', 'obs_web_1'),
	('fleet_hub/admin/token.sql', 't_hub'),
	('obs_agent/sql/enroll.sql', 'obs_web_1')) v(path, role) USING (path);
SELECT matches(pg_temp.explained('postgres', 'SELECT no_such_column FROM agents'), '^42703',
	'an error is found');
SELECT * FROM finish();
ROLLBACK;
