-- The database, where it does not exist; on any database of the server. :db is its name. Words match in other
-- languages only where the database knows letters, so its locale is one of UTF-8.
\set ON_ERROR_STOP on
DO $$
BEGIN
	IF current_setting('server_version_num')::int < 150000 THEN
		RAISE EXCEPTION 'this is PostgreSQL %, and Observ needs 15 or newer',
			current_setting('server_version');
	END IF;
END
$$;
SELECT CASE WHEN EXISTS (SELECT FROM pg_database WHERE datname = :'db') THEN 'there already' ELSE 'made' END;
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8'' %s', :'db',
	CASE WHEN datctype ~* 'utf-?8' THEN '' ELSE 'LOCALE ''C.UTF-8''' END)
  FROM pg_database
 WHERE datname = 'template0' AND NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') \gexec
