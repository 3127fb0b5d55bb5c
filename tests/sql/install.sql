-- schema.sql itself: installed as non-superuser, twice, by another admin, upgraded, refused. Each time in
-- another database.
SET client_min_messages = warning;
CREATE ROLE t_second LOGIN CREATEROLE;
CREATE ROLE t_weak LOGIN;
CREATE DATABASE t_up OWNER observ_admin TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE t_super TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE t_weak OWNER t_weak TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE t_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';

\set first `psql -Xq -U observ_admin t_up < schema.sql 2>&1; echo $?`
\set fill `tests/sql/shell fill`
\set dump `pg_dump -s t_up | grep -v restrict | md5sum`
\set again `psql -Xq -U observ_admin t_up < schema.sql 2>&1; echo $?`
\set dump_again `pg_dump -s t_up | grep -v restrict | md5sum`
\set former `tests/sql/shell former`
\set dump_former `pg_dump -s t_up | grep -v restrict | md5sum`
\set second `psql -Xq -U t_second t_up < schema.sql 2>&1; echo $?`
\set dump_second `pg_dump -s t_up | grep -v restrict | md5sum`
\set kept `tests/sql/shell kept`

\set upgraded `tests/sql/shell upgrade`
\set versions `tests/sql/shell versions`
\set dump_2 `pg_dump -s t_up | grep -v restrict | md5sum`
\set older `psql -Xq -U observ_admin t_up < schema.sql 2>&1; echo $?`
\set dump_older `pg_dump -s t_up | grep -v restrict | md5sum`

\set super `psql -Xq t_super < schema.sql 2>&1; echo $?`
\set weak `psql -Xq -U t_weak t_weak < schema.sql 2>&1 | head -n 1`
\set weak_left `psql -XAtqc "SELECT count(*) FROM pg_namespace WHERE nspname = 'observ'" t_weak`
\set latin `psql -Xq t_latin < schema.sql 2>&1 | head -n 1`
\set loud `psql -X t_super < schema.sql 2>&1 | grep -iE 'notice|warning|error|permission'`

BEGIN;
SELECT plan(18);
SELECT is(:'first', '0'::text, 'a role that owns the database and may create roles installs it');
SELECT is(:'fill', '1'::text, 'it can be used');
SELECT is(:'again', '0'::text, 'a second run works');
SELECT is(:'dump_again', :'dump'::text, 'and changes nothing');
SELECT is(:'former', '0'::text, 'functions with the parameters of an older file do not stop it');
SELECT is(:'dump_former', :'dump'::text, 'and are dropped');
SELECT is(:'second', '0'::text, 'another admin with CREATEROLE can run it');
SELECT is(:'dump_second', :'dump'::text, 'which changes nothing either');
SELECT is(:'kept', 'kept,7 days,1,1'::text, 'rows, policies, bindings and version stay');
SELECT is(:'upgraded', '0'::text, 'a newer file upgrades');
SELECT is(:'versions', '1 2,1,0,0'::text,
	'the version is recorded, the rows stay, tables and views have the new metric');
SELECT matches(:'older'::text, 'the database has schema version 2, this file is version 1.*3$',
	'an older file is refused');
SELECT is(:'dump_older', :'dump_2'::text, 'and changes nothing');
SELECT is(:'super', '0'::text, 'a superuser installs it, too');
SELECT is(:'loud', ''::text, 'psql without -q prints no notice and no warning');
SELECT matches(:'weak'::text, 'permission denied|must have',
	'a role without CREATEROLE is refused with a reason');
SELECT is(:'weak_left', '0'::text, 'and leaves nothing behind');
SELECT matches(:'latin'::text, 'database t_latin has encoding LATIN1, Observ needs UTF8',
	'another encoding is refused');
SELECT * FROM finish();
ROLLBACK;

\c t_up
SELECT count(*) FROM revoke_server('inst') \g /dev/null
\c observ_test
DROP DATABASE t_up;
DROP DATABASE t_super;
DROP DATABASE t_weak;
DROP DATABASE t_latin;
DROP ROLE t_second;
DROP ROLE t_weak;
