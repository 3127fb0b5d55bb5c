-- Registration, fencing, sequence numbers, whole batches: what exactly-once delivery stands on.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
CREATE TEMP TABLE e AS SELECT * FROM enroll('web-1');

-- ---- hello ----------------------------------------------------------------------------------
CREATE TEMP TABLE h (n serial, epoch bigint, last_seq bigint, server_time timestamptz, schema_version int);
GRANT ALL ON h, h_n_seq TO PUBLIC;
CREATE FUNCTION pg_temp.hello(p_epoch text, p_process int DEFAULT 7) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1',
	format('INSERT INTO h (epoch, last_seq, server_time, schema_version) SELECT * FROM '
		'observ.agent_hello(''web-1'', ''a'', %s, %s, ''0.1.0'', 30, '
		'clock_timestamp() - interval ''5 s'')', p_process, p_epoch)) $$;
CREATE FUNCTION pg_temp.epoch(p_app text DEFAULT 'a') RETURNS bigint LANGUAGE sql AS $$
	SELECT epoch FROM agents WHERE app_name = p_app $$;
CREATE FUNCTION pg_temp.open(p_epoch int, p_seq int,
	p_state text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push_open(''web-1'', ''a'', %s, %s, %L)', p_epoch,
	p_seq, p_state)) $$;
SELECT is(pg_temp.hello('NULL'), 'ok', 'a new agent says hello');
SELECT results_eq('SELECT epoch, last_seq, schema_version FROM h', 'VALUES (1::bigint, 0::bigint, 1)',
	'it is epoch 1, nothing sent');
SELECT ok((SELECT abs(extract(epoch FROM server_time - clock_timestamp())) < 5 FROM h),
	'the answer has the server''s clock');
SELECT results_eq('SELECT process, version, interval_s, round(skew_ms, -3)::int FROM agents',
	$$VALUES (7::bigint, '0.1.0', 30, -5000)$$,
	'process, version, interval and clock skew are stored');
SELECT is(pg_temp.hello('1'), 'ok', 'the same process connects again');
SELECT is(pg_temp.epoch(), 2::bigint, 'and gets the next epoch');
SELECT is(pg_temp.open(1, 1), 'OB002', 'a batch of its first connection, still on its way, is refused');
SELECT is(pg_temp.hello('NULL'), 'ok', 'its first hello arrives late, over a connection that it gave up');
SELECT is(pg_temp.open(2, 1), 'OB002', 'its batches are refused');
SELECT is(pg_temp.hello('2'), 'ok', 'until it says hello again: it is not fenced');
SELECT is(pg_temp.epoch(), 4::bigint, 'and has the next epoch');
SELECT is(pg_temp.hello('NULL', 8), 'ok', 'another process says its first hello');
SELECT is(pg_temp.epoch(), 5::bigint, 'and takes over');
SELECT is(pg_temp.open(4, 1), 'OB002', 'a batch of the older process is refused');
SELECT is(pg_temp.hello('4'), 'OB001', 'and its hello says that another took over');
SELECT is(pg_temp.hello('5'), 'OB001', 'also under the epoch of the other');
SELECT is(pg_temp.epoch(), 5::bigint, 'which goes on undisturbed');

-- ---- hello to a database that has lost history ------------------------------------------------
CREATE FUNCTION pg_temp.failed_over(p_process int, p_epoch text) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1',
	format('SELECT observ.agent_hello(''web-1'', ''failed-over'', %s, %s, ''1'', 60, now())', p_process,
	p_epoch)) $$;
SELECT is(pg_temp.failed_over(1, '4'), 'ok', 'a new database accepts a running agent');
SELECT is(pg_temp.epoch('failed-over'), 5::bigint, 'and gives an epoch newer than the agent''s');
SELECT is(pg_temp.failed_over(1, '9'), 'ok', 'a database that lost hellos of a process');
SELECT is(pg_temp.epoch('failed-over'), 10::bigint, 'accepts it with a newer epoch too');
SELECT is(pg_temp.failed_over(2, '12'), 'ok',
	'a database that lost the takeover by a process accepts that process');
SELECT is(pg_temp.epoch('failed-over'), 13::bigint, 'by its newer epoch');
SELECT is(pg_temp.failed_over(1, '10'), 'OB001', 'and refuses the older');
SELECT is(pg_temp.hello(e, 8), '22023', 'epoch ' || e) FROM unnest(ARRAY['0', '-1', '9223372036854775807']) e;
SELECT is(try_as('obs_web_1', format('SELECT observ.agent_hello(''web-1'', ''a'', %s, 5, ''1'', %s, %L)', p,
	i, c)), '22023',
	format('process %s, interval %s, clock %s', p, i, c))
	FROM (VALUES ('8', 0, now()::text), ('8', 86401, now()::text),
	('8', 60, 'infinity'), ('8', 60, '-infinity'), ('NULL', 60, now()::text)) v(p, i, c);
SELECT is(try_as('obs_web_1', $$SELECT observ.agent_hello('web-1', 'a', 8, 5, NULL, NULL, NULL)$$), 'ok',
	'all else may be unknown');
SELECT is((SELECT length(version) FROM agents WHERE app_name = 'a' AND run_as('obs_web_1',
	$$SELECT observ.agent_hello('web-1', 'a', 8, 5, repeat('v', 999), 60, now())$$) = 'ok') <= 200, true,
	'a version is cut');

-- ---- push_open: fencing and sequence -------------------------------------------------------
SELECT is(pg_temp.open(6, 1, '{"pending": 3}'), 'ok', 'batch 1');
SELECT results_eq($$SELECT last_seq, state FROM agents WHERE app_name = 'a'$$,
	$$VALUES (1::bigint, '{"pending": 3}'::jsonb)$$,
	'number and state are stored');
SELECT is(pg_temp.open(6, 1), 'OB002', 'batch 1 again: it is committed');
SELECT is(pg_temp.open(6, 3), 'OB002', 'batch 3: there was no 2');
SELECT is(pg_temp.open(5, 2), 'OB002', 'batch 2 of an older connection');
SELECT is(pg_temp.open(7, 2), 'OB002', 'batch 2 of a process that never said hello');
SELECT is(pg_temp.open(6, 2), 'ok', 'batch 2');
SELECT is((SELECT state FROM agents WHERE app_name = 'a'), '{"pending": 3}', 'no state leaves the last one');
SELECT is(pg_temp.open(6, 3, (SELECT jsonb_build_object('x', string_agg(md5(i::text), ''))
	FROM generate_series(1, 9000) i)::text), 'ok',
	'a state that is too large does not stop the batch');
SELECT is((SELECT state FROM agents WHERE app_name = 'a'), '{"pending": 3}', 'and is not stored');
SELECT is(try_as('obs_web_1', $$SELECT observ.push_open('web-1', 'unknown', 1, 1, NULL)$$), 'OB002',
	'an agent that never said hello cannot push');
SELECT is(try_as('obs_web_1', $$SELECT observ.push_open('web-1', 'a', NULL, NULL, NULL)$$), 'OB002',
	'NULL is no epoch');
SELECT is(pg_temp.hello('6', 8), 'ok', 'hello after three batches');
SELECT is((SELECT last_seq FROM h ORDER BY n DESC LIMIT 1), 3::bigint, 'tells the number of the last batch');

-- ---- for doctor ------------------------------------------------------------------------------
UPDATE agents SET last_seen_at = now() - interval '1 hour' WHERE vps_name = 'web-1' AND app_name = 'a';
SELECT is(value_as('obs_web_1', $$SELECT age_s / 60 || ' ' || state
	FROM observ.agent_last_seen('web-1', 'a')$$), '60 offline',
	'agent_last_seen tells how long the agent has been silent, and what that means');
SELECT is(value_as('obs_web_1', $$SELECT count(*) FROM observ.agent_last_seen('web-1', 'never')$$), '0',
	'it has no row for an agent that was never heard');
SELECT is(try_as('obs_web_1', $$SELECT observ.agent_last_seen('web-2', 'a')$$), '42501',
	'a server may ask about itself only');

-- ---- a batch: all or nothing, and once -----------------------------------------------------------
CREATE FUNCTION pg_temp.batch(p_seq int, p_from int) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format($f$DO $d$ BEGIN
		PERFORM observ.push_open('web-1', 'a', 7, %1$s, NULL);
		PERFORM observ.push_metrics('web-1', 'a',
		jsonb_build_array(jsonb_build_array(%2$s, false, NULL, 1.5)));
		PERFORM observ.push_logs('web-1', 'a', '{4}', '{1,1}', ARRAY[%3$s, %3$s + 1]::bigint[],
		ARRAY[now(), now()],
			'{2,2}', '{x,x}', '{m,n}', '{NULL,NULL}');
		PERFORM observ.push_positions('web-1', 'a',
		'[[4, %3$s, %4$s, "", false, "/l/d.log", "f4", "h", "t"]]');
	END $d$ $f$, p_seq, us(now()), p_from, p_from + 2)) $$;
SELECT is(pg_temp.batch(4, 0), 'ok', 'a batch');
SELECT is(pg_temp.batch(4, 0), 'OB002', 'the same batch again, as after a COMMIT whose answer was lost');
SELECT is(pg_temp.batch(5, 0), 'OB003', 'the same lines under a new number');
SELECT is((SELECT last_seq FROM agents WHERE app_name = 'a'), 4::bigint, 'leave the number');
SELECT results_eq('SELECT count(*) FROM log_entries UNION ALL SELECT count(*) FROM vps_metrics',
	'VALUES (2::bigint), (1::bigint)',
	'and the rows as they were');
SELECT is(pg_temp.batch(5, 2), 'ok', 'the next lines go on');
SELECT results_eq('SELECT stream_offset FROM log_entries ORDER BY 1',
	'VALUES (0::bigint), (1::bigint), (2::bigint), (3::bigint)',
	'each line once');

-- ---- push: the parts in one call ----------------------------------------------------------------
CREATE FUNCTION pg_temp.at(p_stream int) RETURNS bigint LANGUAGE sql AS $$
	SELECT "position" FROM log_streams
	WHERE vps_name = 'web-1' AND app_name = 'a' AND stream_id = p_stream $$;
CREATE FUNCTION pg_temp.push(p_seq int, p_was int) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push(%L)', jsonb_build_array(
		'web-1', 'a', 7, p_seq, '{"p": 1}'::jsonb,
		format('[[4, %s, %s, "", false, "/l/d.log", "f4", "h", "t"]]', p_was, p_was + 1)::jsonb,
		jsonb_build_array(jsonb_build_array(us(now()), 0, 0, 2.5)),
		jsonb_build_array(jsonb_build_array(us(now()), 0, 'http://x/', 200, 1, 1)),
		jsonb_build_array(jsonb_build_array(us(now()), NULL, 'k', 1, 1, 'd')), 0,
		jsonb_build_array(jsonb_build_array(us(now()), 4, 9, '22021', 'why', 'AP8='))))) $$;
SELECT is(pg_temp.push(6, 9), 'OB003', 'a wrong position undoes all of it');
SELECT is((SELECT count(*) FROM health_checks), 0::bigint, 'nothing stays');
SELECT is(pg_temp.push(6, 4), 'ok', 'a push with everything');
SELECT results_eq($$SELECT count(*) FROM vps_metrics UNION ALL SELECT count(*) FROM health_checks
	UNION ALL SELECT count(*) FROM gaps UNION ALL SELECT count(*) FROM rejects
	UNION ALL SELECT pg_temp.at(4) UNION ALL SELECT last_seq FROM agents WHERE app_name = 'a'$$,
	'VALUES (3::bigint), (1::bigint), (1::bigint), (1::bigint), (5::bigint), (6::bigint)',
	'stores everything');
SELECT is(pg_temp.push(6, 5), 'OB002', 'once');

-- The kinds that wire/sample.h names, taken out of it by tests/sql/run. Log lines have a call for themselves.
CREATE FUNCTION pg_temp.rows(p_rows jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push(%L)', jsonb_build_array('web-1', 'a', 7,
		(SELECT last_seq + 1 FROM agents WHERE app_name = 'a'), 0, 0) || p_rows)) $$;
SELECT is(pg_temp.rows((SELECT coalesce(jsonb_agg(0), '[]') FROM generate_series(2, n)) || '[[]]'),
	CASE kind WHEN 'logs' THEN '42883' ELSE 'ok' END, 'push: ' || kind)
	FROM string_to_table(:'kinds', ',') WITH ORDINALITY k(kind, n);
SELECT cmp_ok((SELECT count(*) FROM string_to_table(:'kinds', ',')), '>', 4::bigint, 'all of them');
SELECT is(pg_temp.rows('[]'), 'ok', 'a push without rows');
SELECT last_seq AS seq FROM agents WHERE app_name = 'a' \gset
SELECT is(pg_temp.rows(p::jsonb), code, 'push refuses ' || p) FROM (VALUES
	('[0, 0, 0, 0, 0, []]', '42883'), ('[{}]', '22023'), ('["x"]', '22023'), ('[1]', '22023'),
	('[0, 0, [[1, null, null, 1, 1, "d"]]]', '23502')) v(p, code);
SELECT is(run_as('obs_web_1', format('SELECT observ.push(%L)', p)), code, 'push refuses ' || p) FROM (VALUES
	('{"a": 1}', '22023'), ('"web-1"', '22023'), ('[]', '42501'), ('["web-1"]', '22023'),
	('["web-1", "a", "x", 9]', '22P02')) v(p, code);
SELECT is((SELECT last_seq FROM agents WHERE app_name = 'a'), :'seq'::bigint, 'and nothing of it stays');
SELECT * FROM finish();
ROLLBACK;
