-- Agents that meet in the database, each over its own connection with its password. Everything here is
-- committed, under a server name that no other test uses.
SELECT no_plan();
SET client_min_messages = warning;
SELECT set_config('t.password', password, false) FROM enroll('two') \g /dev/null
SELECT set_config('t.conn', format('host=%s port=%s dbname=%s user=obs_two password=%s',
	current_setting('unix_socket_directories'),
	current_setting('port'), current_database(), current_setting('t.password')), false) \g /dev/null

SELECT throws_ok(format('SELECT dblink_connect(''bad'', %L)', current_setting('t.conn') || 'x'), '08001',
	NULL,
	'a wrong password does not log in');
SELECT is(dblink_connect('old', current_setting('t.conn')), 'OK', 'the password does');
SELECT is(dblink_connect('new', current_setting('t.conn')), 'OK', 'twice');
SELECT is((SELECT s FROM dblink('old', 'SHOW search_path') t(s text)), 'observ, public',
	'an agent has the search_path');

CREATE FUNCTION pg_temp.ask(p_conn text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ret text;
BEGIN
	SELECT t.s INTO ret FROM dblink(p_conn, p_sql) t(s text);
	RETURN ret;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
-- True as soon as another session (that one) waits in this way, false after 10 s.
CREATE FUNCTION pg_temp.waits_for(p_event text,
	p_pid text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..1000 LOOP
		PERFORM pg_stat_clear_snapshot();       -- else each look is the first one
		IF EXISTS (SELECT FROM pg_stat_activity WHERE p_event IN (wait_event, wait_event_type)
		AND pid <> pg_backend_pid() AND
				datname = current_database() AND pid = coalesce(p_pid::int, pid)) THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN false;
END $$;
CREATE FUNCTION pg_temp.answer(p_conn text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ret text;
BEGIN
	SELECT t.s INTO ret FROM dblink_get_result(p_conn) t(s text);
	PERFORM t.s FROM dblink_get_result(p_conn) t(s text);
	RETURN ret;
EXCEPTION WHEN OTHERS THEN
	ret := sqlstate;
	PERFORM t.s FROM dblink_get_result(p_conn, false) t(s text);    -- until it says that there is no more
	RETURN ret;
END $$;

-- ---- an old process whose batch is on its way when its successor says hello -----------------------------
SELECT is(pg_temp.ask('old', $$SELECT epoch FROM agent_hello('two', 'a', 1, NULL, '1', 60, now())$$), '1',
	'the old process');
SELECT is(dblink_exec('old', 'BEGIN'), 'BEGIN', 'begins a batch');
SELECT is(pg_temp.ask('old', $$SELECT 'opened' || push_open('two', 'a', 1, 1, NULL)$$), 'opened', 'opens it');
SELECT is(pg_temp.ask('old', $$SELECT 'sent' || push_positions('two', 'a',
	'[[1, 0, 100, "", false, "p", "f", "h", "t"]]')$$), 'sent',
	'sends rows');
SELECT is(dblink_send_query('new', $$SELECT epoch || '/' || last_seq
	FROM agent_hello('two', 'a', 2, NULL, '1', 60, now())$$), 1,
	'the new process says hello');
SELECT ok(pg_temp.waits_for('Lock'), 'and waits for the batch to end');
SELECT is(dblink_exec('old', 'COMMIT'), 'COMMIT', 'the old process commits');
SELECT is(pg_temp.answer('new'), '2/1', 'the new one knows of that batch');
SELECT is(pg_temp.ask('new', $$SELECT "position" FROM agent_streams('two', 'a', 2)$$), '100',
	'and of what was read');
SELECT is(pg_temp.ask('old', $$SELECT push_open('two', 'a', 1, 2, NULL)$$), 'OB002',
	'the old process is fenced');
SELECT is(pg_temp.ask('old', $$SELECT epoch FROM agent_hello('two', 'a', 1, 1, '1', 60, now())$$), 'OB001',
	'for ever');
SELECT is(pg_temp.ask('new', $$SELECT 'opened' || push_open('two', 'a', 2, 2, NULL)$$), 'opened',
	'the new one goes on');

-- ---- the other way round: the successor holds the row lock when the old process pushes -------------------
SELECT is(dblink_exec('new', 'BEGIN'), 'BEGIN', 'a third process');
SELECT is(pg_temp.ask('new', $$SELECT epoch FROM agent_hello('two', 'a', 3, NULL, '1', 60, now())$$), '3',
	'says hello');
SELECT is(dblink_send_query('old', $$SELECT push_open('two', 'a', 2, 3, NULL)$$), 1,
	'the second pushes meanwhile');
SELECT ok(pg_temp.waits_for('Lock'), 'and waits');
SELECT is(dblink_exec('new', 'COMMIT'), 'COMMIT', 'the third is registered');
SELECT is(pg_temp.answer('old'), 'OB002', 'the second is fenced, with nothing written');

-- ---- a session whose client is gone in the middle of a batch --------------------
SELECT is(pg_temp.ask('new', $$SELECT 'nobody' || end_stale_session('two', 'a')$$), 'nobody',
	'without a lock in the way no session is ended');
SELECT pg_advisory_lock(1) \g /dev/null
SELECT is(dblink_send_query('old', $$SELECT 'done' || push_open('two', 'a', 3, 3,
	NULL) || pg_advisory_xact_lock(1)$$), 1, 'a batch that is at work');
SELECT ok(pg_temp.waits_for('advisory'), 'holds the row lock');
SELECT is(pg_temp.ask('new', $$SELECT 'ended' || end_stale_session('two', 'a')$$), 'ended',
	'another connection asks for the lock');
SELECT pg_advisory_unlock(1) \g /dev/null
SELECT is(pg_temp.answer('old'), 'done', 'the batch was left to finish');
SELECT is(dblink_exec('old', 'BEGIN'), 'BEGIN', 'a batch');
SELECT is(pg_temp.ask('old', $$SELECT 'opened' || push_open('two', 'a', 3, 4, NULL)$$), 'opened',
	'that is never finished');
SELECT ok(pg_temp.waits_for('ClientRead', pg_temp.ask('old', 'SELECT pg_backend_pid()')),
	'waits for its client');
SELECT is(pg_temp.ask('new', $$SELECT 'ended' || end_stale_session('two', 'a')$$), 'ended', 'and is ended');
SELECT is(pg_temp.ask('new', $$SELECT last_seq FROM agent_hello('two', 'a', 3, 3, '1', 60, now())$$), '3',
	'the lock is free, and nothing of that batch is stored');
SELECT matches(pg_temp.ask('old', 'SELECT 1'), '57P01|08006', 'that session is gone');
SELECT is(dblink_disconnect('old'), 'OK', 'its agent reconnects');
SELECT is(dblink_connect('old', current_setting('t.conn')), 'OK', 'with a new session');
BEGIN;
SELECT epoch FROM agents WHERE vps_name = 'two' AND app_name = 'a' FOR UPDATE \g /dev/null
SELECT is(pg_temp.ask('new', $$SELECT 'ended' || end_stale_session('two', 'a')$$), 'ended',
	'a session of another login that holds the row lock');
COMMIT;
SELECT is((SELECT count(*) FROM agents WHERE vps_name = 'two' AND app_name = 'a'), 1::bigint, 'is not ended');

-- ---- the first hello of two processes at once ------------------------------------------------------
SELECT is(dblink_exec('old', 'BEGIN'), 'BEGIN', 'two agents, no row yet');
SELECT is(pg_temp.ask('old', $$SELECT epoch FROM agent_hello('two', 'b', 1, NULL, '1', 60, now())$$), '1',
	'one is first');
SELECT is(dblink_send_query('new', $$SELECT epoch FROM agent_hello('two', 'b', 2, NULL, '1', 60, now())$$),
	1, 'the other comes');
SELECT ok(pg_temp.waits_for('Lock'), 'waits');
SELECT is(dblink_exec('old', 'COMMIT'), 'COMMIT', 'and when the first has committed');
SELECT is(pg_temp.answer('new'), '2', 'takes over');

-- ---- two maintain() at once, and one beside writers -------------------------------------------------
SELECT is(dblink_connect('m', format('host=%s port=%s dbname=%s user=observ_admin',
	current_setting('unix_socket_directories'),
	current_setting('port'), current_database())), 'OK', 'a second admin');
SELECT is(dblink_exec('m', 'BEGIN'), 'BEGIN', 'runs');
SELECT matches(pg_temp.ask('m', 'SELECT maintain()'), '0 partitions dropped$', 'maintain()');
SELECT is(maintain(), 'another maintain() is at work, nothing done', 'a second one leaves the work to it');
SELECT is((SELECT count(*) FROM job_runs), 0::bigint, 'and records nothing');
SELECT is(dblink_exec('m', 'COMMIT'), 'COMMIT', 'when the first has ended');
SELECT matches(maintain(), '0 partitions dropped$', 'it can run again');
SELECT results_eq('SELECT job, ok FROM job_runs', $$VALUES ('maintain', true), ('maintain', true)$$,
	'both are recorded');

-- A reader that never ends keeps maintain() from dropping partitions, and from nothing else.
SELECT is(make_partition('log_entries', current_date - 50), true, 'a partition that is due');
SELECT is(dblink_exec('m', 'BEGIN'), 'BEGIN', 'a long query');
SELECT is(pg_temp.ask('m', 'SELECT count(*) FROM log_entries'), '0', 'reads the logs');
SET client_min_messages = error;
SELECT matches(maintain(), 'maintain_drops failed: canceling statement due to lock timeout',
	'maintain() says so');
SET client_min_messages = warning;
SELECT is((SELECT ok FROM job_runs ORDER BY started_at DESC LIMIT 1), false, 'and records it');
SELECT is(dblink_exec('m', 'COMMIT'), 'COMMIT', 'when the query has ended');
SELECT matches(maintain(), ', 1 partitions dropped', 'it is dropped');

-- ---- maintain() killed half-way: FAULTS row 43 -------------------------------------------------------
-- It has deleted rows and made roll-ups, and waits to drop a partition. What was done is undone as a whole.
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', (SELECT count(*) FROM external_answers), (SELECT count(*) FROM metrics_1h),
		to_regclass('log_entries_' || to_char(current_date - 50, 'YYYYMMDD')) IS NOT NULL,
		(SELECT count(*) FROM job_runs)) $$;
DELETE FROM job_runs;
SELECT is(make_partition('log_entries', current_date - 50), true, 'a partition that is due');
INSERT INTO external_answers (rule_id, at, rows) VALUES (gen_random_uuid(), now() - interval '3 years', '[]');
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent)
	VALUES (now() - interval '3 hours', 'two', 'a', 1);
DELETE FROM rollup_state;
SELECT is(pg_temp.state(), '1 0 t 0', 'there is work for each step');
SELECT is(dblink_exec('m', 'BEGIN'), 'BEGIN', 'a long query');
SELECT is(pg_temp.ask('m', 'SELECT count(*) FROM log_entries'), '0', 'reads the logs');
SELECT is(dblink_connect('k', format('host=%s port=%s dbname=%s user=observ_admin',
	current_setting('unix_socket_directories'),
	current_setting('port'), current_database())), 'OK', 'a third admin');
SELECT pg_temp.ask('k', 'SELECT pg_backend_pid()::text') AS pid \gset
SELECT is(dblink_send_query('k', 'SELECT maintain()'), 1, 'runs maintain()');
SELECT ok(pg_temp.waits_for('Lock', :'pid'), 'which waits in its last step');
SELECT is(maintain(), 'another maintain() is at work, nothing done', 'a second one does nothing meanwhile');
SELECT ok(pg_terminate_backend(:'pid'::int, 10000), 'it is killed');
SELECT is(pg_temp.state(), '1 0 t 0', 'nothing of it is half done');
SELECT is(dblink_exec('m', 'COMMIT'), 'COMMIT', 'when the query has ended');
SELECT matches(maintain(), ', 1 partitions dropped', 'the next one does it all');
SELECT is(pg_temp.state(), '0 1 f 1', 'once');

-- ---- revoked while connected ------------------------------------------------------------------------
SELECT is(revoke_server('two'), 'obs_two', 'the server is revoked');
SELECT ok(pg_temp.ask('new', $$SELECT push_open('two', 'a', 3, 3, NULL)$$) IN ('57P01', '08006', '42501'),
	'its session has ended');
SELECT throws_ok(format('SELECT dblink_connect(''late'', %L)', current_setting('t.conn')), '08001', NULL,
	'it cannot log in again');
SELECT * FROM finish();
