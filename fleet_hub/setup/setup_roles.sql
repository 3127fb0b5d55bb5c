-- The logins of the hub, the watcher and the retention timer, after schema.sql. :local = 1: PostgreSQL knows
-- their users by name and they have no password. Otherwise each new login gets one. The server makes it, so
-- that no log of statements has it. One row for each login: name, password or nothing, whether it is new.
DO $$
DECLARE
	login text;
	grp text;
BEGIN
	FOR login, grp IN VALUES ('fleet-hub', 'observ_hub'), ('fleet-watch', 'observ_watch'),
			('observ-maintain', 'observ_watch') LOOP
		PERFORM set_config('observ.new_' || translate(login, '-', '_'),
			(NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login))::text, false);
		IF current_setting('observ.new_' || translate(login, '-', '_'))::boolean THEN
			EXECUTE format('CREATE ROLE %I LOGIN', login);
		END IF;
		IF NOT pg_has_role(login, grp, 'MEMBER') THEN
			EXECUTE format('GRANT %I TO %I', grp, login);
		END IF;
	END LOOP;
END
$$;
\if :local
\else
SET password_encryption = 'scram-sha-256';
DO $$
DECLARE
	login text;
	grp text;
	secret text;
BEGIN
	FOR login, grp IN VALUES ('fleet-hub', 'observ_hub'), ('fleet-watch', 'observ_watch'),
			('observ-maintain', 'observ_watch') LOOP
		CONTINUE WHEN NOT current_setting('observ.new_' || translate(login, '-', '_'))::boolean;
		secret := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
			'base64');
		secret := translate(secret, '+/=', '');
		EXECUTE format('ALTER ROLE %I PASSWORD %L', login, secret);
		PERFORM set_config('observ.password_' || translate(login, '-', '_'), secret, false);
	END LOOP;
END
$$;
\endif
SELECT login, current_setting('observ.password_' || translate(login, '-', '_'), true),
	current_setting('observ.new_' || translate(login, '-', '_'))
  FROM (VALUES ('fleet-hub'), ('fleet-watch'), ('observ-maintain')) l (login);
