-- Read positions: compare and set, and what an agent is told of them.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SELECT count(*) FROM enroll('web-1') \g /dev/null
SELECT run_as('obs_web_1', format('SELECT observ.agent_hello(''web-1'', %L, 1, NULL, ''1'', 60, now())', app))
	FROM unnest(ARRAY['a', 'b']) app \g /dev/null
CREATE FUNCTION pg_temp.pos(p_rows text) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push_positions(''web-1'', ''a'', %L)', p_rows)) $$;
CREATE FUNCTION pg_temp.at(p_stream int) RETURNS bigint LANGUAGE sql AS $$
	SELECT "position" FROM log_streams
	WHERE vps_name = 'web-1' AND app_name = 'a' AND stream_id = p_stream $$;

-- ---- compare and set ------------------------------------------------------------------------------
SELECT is(pg_temp.pos('[[1, 0, 100, "", false, "/l/a.log", "f1", "4:aa", "4:bb"],
	[2, 0, 5, "", false, "/l/b.log", "f2", "h", "t"]]'), 'ok', 'a new stream begins at 0');
SELECT is(pg_temp.pos('[[1, 100, 250, "", false, "/l/a.log", "f1", "4:aa", "4:cc"]]'), 'ok',
	'a batch that was read from the stored position is accepted');
SELECT is(pg_temp.at(1), 250::bigint, 'its end is the new position');
SELECT is(pg_temp.pos('[[1, 100, 300, "", false, "/l/a.log", "f1", "h", "t"]]'), 'OB003',
	'a batch that was read from an older position is refused');
SELECT is(pg_temp.pos('[[1, 0, 300, "", false, "/l/a.log", "f1", "h", "t"]]'), 'OB003',
	'a stored stream does not begin at 0 again');
SELECT is(pg_temp.pos('[[3, 10, 20, "", false, "/l/c.log", "f3", "h", "t"]]'), 'OB003',
	'an unknown stream begins nowhere but at 0');
SELECT is(pg_temp.pos('[[2, 5, 9, "", false, "/l/b.log", "f2", "h", "t"],
	[1, 7, 8, "", false, "/l/a.log", "f1", "h", "t"]]'), 'OB003', 'one wrong position refuses the call');
SELECT is(pg_temp.at(2), 5::bigint, 'and undoes the right ones');
SELECT is(pg_temp.pos(p), s, 'positions ' || p) FROM (VALUES
	('[[9, 0, -1, "", false, "p", "f", "h", "t"]]', '23514'),
	('[[9, 0, null, "", false, "p", "f", "h", "t"]]', '23502'),
	('[[null, 0, 1, "", false, "p", "f", "h", "t"]]', '23502'), ('[[9, 0]]', '23502'),
	('[[9, 0, 1, "", "x", "p", "f", "h", "t"]]', '22P02'),
	('[[9, 0, 99999999999999999999, "", false, "p", "f", "h", "t"]]', '22003'),
	('{}', '22023'), ('7', '22023'), ('[]', 'ok'), ('[7]', 'OB003')) v(p, s);

-- ---- many ----------------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.new(p_from int, p_to int) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.pos(jsonb_agg(jsonb_build_array(i, 0, 1, '', false, 'p', 'f', 'h', 't'))::text)
	FROM generate_series(p_from, p_to) i $$;
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT sum(pg_stat_get_xact_tuples_returned(oid))::bigint FROM pg_class
	WHERE oid IN ('log_streams'::regclass, 'log_streams_pkey'::regclass) $$;
SELECT pg_temp.rows_read() AS before \gset
SELECT is(pg_temp.new(1001, 1400), 'ok', 'a batch with 400 new streams');
SELECT cmp_ok(pg_temp.rows_read() - :before, '<', 4000::bigint, 'counts those that are known once');
SAVEPOINT few;
CREATE OR REPLACE FUNCTION max_streams() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 405;
SELECT is(pg_temp.new(2001, 2004), '54000', 'more streams than an application may have are refused');
SELECT is(pg_temp.new(2001, 2003), 'ok', 'as many as it may have are taken');
ROLLBACK TO few;
DELETE FROM log_streams WHERE stream_id > 1000;

-- ---- what an agent is told ----------------------------------------------------------------------------
SELECT is(pg_temp.pos('[[2, 5, 5, "", true, "/l/b.log.1", "f2", "h", "t"]]'), 'ok', 'a stream is finished');
UPDATE log_streams SET updated_at = now() - interval '48 hours' WHERE vps_name = 'web-1' AND stream_id = 2;
SELECT is(value_as('obs_web_1', $$SELECT string_agg(concat_ws(' ', stream_id, path, file_id, head_hash,
	tail_hash,
	"position", finished, age_s / 3600), ';') FROM observ.agent_streams('web-1', 'a', 1)$$),
	'1 /l/a.log f1 4:aa 4:cc 250 f 0;2 /l/b.log.1 f2 h t 5 t 48',
	'agent_streams has unfinished and finished streams, and their age');
SELECT is(try_as('obs_web_1', $$SELECT observ.agent_streams('web-1', 'a', 2)$$), 'OB002',
	'it answers the current connection only');
SELECT is(value_as('obs_web_1', $$SELECT count(*) FROM observ.agent_streams('web-1', 'b', 1)$$), '0',
	'with the streams of that application only');

-- ---- streams that are no files ------------------------------------------------------------------------
SELECT is(pg_temp.pos('[[7, 0, 3, "journal", false, "", "", "", "", "s=1;i=3"]]'), 'ok',
	'a stream has a source and a cursor');
SELECT is(pg_temp.pos('[[7, 3, 4, "", false, "/l/a.log", "f", "h", "t"]]'), 'OB003',
	'no other source moves it');
SELECT is(pg_temp.pos('[[7, 3, 4, "journal", 0, "", "", "", "", "s=1;i=4"]]'), 'ok', 'its own does');
SELECT is(value_as('obs_web_1', $$SELECT
	string_agg(concat_ws(' ', source, stream_id, cursor, "position"), ';')
	FROM observ.agent_streams('web-1', 'a', 1)$$), 'journal 7 s=1;i=4 4;tail 1  250;tail 2  5',
	'agent_streams tells both, those of a source together');

-- A long list is cut, the oldest first: 4,096 finished files and 1,024 finished parts of the outbox.
INSERT INTO log_streams
	SELECT 'web-1', 'b', n, CASE WHEN n % 2 = 0 THEN 'outbox' ELSE '/l/x.log' END, 'f', 'h', 't', 1, true,
		now() - n * interval '1 s', CASE WHEN n % 2 = 0 THEN 'outbox' ELSE 'tail' END
	FROM generate_series(1, 10000) n;
SELECT is(value_as('obs_web_1', $$SELECT string_agg(concat_ws(' ', path, count, oldest), ';' ORDER BY path)
	FROM (SELECT path, count(*), max(stream_id) AS oldest FROM observ.agent_streams('web-1', 'b', 1)
	GROUP BY 1) x$$),
	'/l/x.log 4096 8191;outbox 1024 2048', 'the newest finished streams are told');
SELECT * FROM finish();
ROLLBACK;
