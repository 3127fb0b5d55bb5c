-- The database stores what the agent sent: values, times, text, and words to search for.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SELECT count(*) FROM enroll('web-1') \g /dev/null

-- ---- metrics by position -------------------------------------------------------------------
CREATE FUNCTION pg_temp.metrics(p_rows jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push_metrics(''web-1'', ''a'', %L)', p_rows)) $$;
SELECT is(pg_temp.metrics((SELECT jsonb_build_array(jsonb_build_array(us('2026-11-21 10:00:00.123456Z'),
	true, '{"boot": "x"}'::jsonb)
	|| (SELECT jsonb_agg(i) FROM generate_series(1,
	array_length(string_to_array(:'metrics', ','), 1)) i)))), 'ok', 'a full row');
SELECT is((SELECT string_agg(k, ',' ORDER BY v::numeric)
	FROM vps_metrics m, jsonb_each_text(to_jsonb(m)) j(k, v)
	WHERE k = ANY (string_to_array(:'metrics', ','))), :'metrics',
	'each value lands in the column of its position');
SELECT results_eq('SELECT "timestamp", vps_name, app_name, details, backfill FROM vps_metrics',
	$$VALUES ('2026-11-21 10:00:00.123456Z'::timestamptz, 'web-1', 'a', '{"boot": "x"}'::jsonb, true)$$,
	'with time, names and details');
SELECT ok((SELECT received_at BETWEEN now() AND clock_timestamp() FROM vps_metrics),
	'and the time of arrival');
DELETE FROM vps_metrics;
SELECT is(pg_temp.metrics('[[1795255200000000, 0, 0, 1.5, null, 3]]'), 'ok',
	'a row of an older agent: few values');
SELECT results_eq('SELECT cpu_percent, memory_percent, memory_mb, disk_percent, app_processes, details
	FROM vps_metrics',
	$$VALUES (1.5::float8, NULL::float8, 3::float8, NULL::float8, NULL::float8, NULL::jsonb)$$,
	'leaves the others NULL');
DELETE FROM vps_metrics;
SELECT is(pg_temp.metrics((SELECT jsonb_build_array('[1795255200000000, false, null]' || jsonb_agg(i))
	FROM generate_series(1, 60) i)),
	'ok', 'a row of a newer agent: more values than columns');
SELECT is((SELECT app_processes FROM vps_metrics), 32::float8, 'fills the columns that exist');
SELECT is(pg_temp.metrics('[]'), 'ok', 'no rows');
SELECT is(pg_temp.metrics((SELECT jsonb_agg(jsonb_build_array(1795255200000000 + i, false, NULL, i))
	FROM generate_series(1, 300) i)),
	'ok', '300 rows');
SELECT is((SELECT count(DISTINCT id) FROM vps_metrics), 301::bigint, 'have an id each');
SELECT is((SELECT count(*) FROM (SELECT (random() * 4e15)::bigint AS us FROM generate_series(1, 20000)) r
	WHERE us(from_us(us)) <> us), 0::bigint, 'times are exact to the microsecond');

-- ---- checks, gaps, rejects -----------------------------------------------------------------
SELECT is(run_as('obs_web_1', $$SELECT observ.push_checks('web-1', 'a', '[
	[1795255200000000, 0, "https://x/health", 200, 12.25, 1, 3600, 4, 2, 1, 3, 1800000000000000, null,
		null, 1799000000000000],
	[1795255201000000, 1, "https://x/health", null, null, 3, null, null, null, null, null, null,
		"timeout", "no answer in 5 s"]]')$$),
	'ok', 'two checks');
SELECT results_eq($$SELECT "timestamp", backfill, url, status_code, response_time_ms, success, error_class,
	error_message, dns_ms,
	connect_ms, tls_ms, first_byte_ms, cert_starts_at, cert_expires_at, attempts, interval_s
	FROM health_checks ORDER BY 1$$, $$VALUES
	('2026-11-21 10:00:00Z'::timestamptz, false, 'https://x/health', 200, 12.25::float8, true, NULL,
	NULL, 1::float8, 2::float8,
		3::float8, 4::float8, '2027-01-03 18:13:20Z'::timestamptz,
		'2027-01-15 08:00:00Z'::timestamptz, 1, 3600),
	('2026-11-21 10:00:01Z', true, 'https://x/health', NULL, NULL, false, 'timeout', 'no answer in 5 s',
	NULL, NULL, NULL, NULL, NULL, NULL, 3, NULL)$$,
	'as they were sent');
SELECT is(run_as('obs_web_1', $$SELECT observ.push_checks('web-1', 'a', '[
	[1795255202000000, false, "https://old/1", 200, 12.25, true, null, null, 1, 2, 3, 4,
		1800000000000000, 1, 3600],
	[1795255203000000, 0, "https://x/health", 503, 1, 2, 60, null, null, null, null, null, "status",
		"503"],
	[1795255204000000, true, "https://old/2", null, null, false, "timeout", "no answer in 5 s",
		null, null, null, null, null, 3]]')$$), 'ok',
	'checks that waited while the agent was upgraded');
SELECT results_eq($$SELECT backfill, url, status_code, response_time_ms, success, error_class,
	error_message, dns_ms, connect_ms, tls_ms, first_byte_ms, cert_expires_at, attempts, interval_s
	FROM health_checks WHERE "timestamp" > '2026-11-21 10:00:01Z' ORDER BY "timestamp"$$, $$VALUES
	(false, 'https://old/1', 200, 12.25::float8, true, NULL, NULL, 1::float8, 2::float8, 3::float8,
		4::float8, '2027-01-15 08:00:00Z'::timestamptz, 1, 3600),
	(false, 'https://x/health', 503, 1, false, 'status', '503', NULL, NULL, NULL, NULL, NULL, 2, 60),
	(true, 'https://old/2', NULL, NULL, false, 'timeout', 'no answer in 5 s', NULL, NULL, NULL, NULL,
		NULL, 3, NULL)$$, 'are stored as they were meant');
SELECT matches(run_as('obs_web_1', format($$SELECT observ.push_checks('web-1', 'a',
	'[[1795255200000000, false, "u", 200, 1, 1, %s]]')$$, i)),
	'^2[23]', 'no interval: ' || i)
	FROM unnest(ARRAY['0', '-1', '86401', '1e18', '"5"', '[]']) i;
SELECT is(run_as('obs_web_1', $$SELECT observ.push_gaps('web-1', 'a',
	'[[1795255200000000, 7, "truncated", null, 512, "lost"],
	[1795255200000000, null, "buffer_full", 3, null, null]]')$$), 'ok', 'two gaps');
SELECT results_eq('SELECT stream_id, kind, lines, bytes, detail FROM gaps ORDER BY kind', $$VALUES
	(NULL::bigint, 'buffer_full', 3::bigint, NULL::bigint, NULL), (7, 'truncated', NULL, 512, 'lost')$$,
	'as they were sent');
SELECT is(run_as('obs_web_1', $$SELECT observ.push_rejects('web-1', 'a',
	'[[1795255200000000, 7, 99, "22P05", "why", "AP+A"]]')$$), 'ok',
	'a reject');
SELECT results_eq('SELECT stream_id, stream_offset, sqlstate, reason, raw FROM rejects',
	$$VALUES (7::bigint, 99::bigint, '22P05', 'why', '\x00ff80'::bytea)$$,
	'keeps the bytes as they were');

-- ---- logs -----------------------------------------------------------------------------------
SELECT is(run_as('obs_web_1', $$SELECT observ.push_logs('web-1', 'a', '{70,80}', '{1,2,1,1,1,1}',
	'{0,0,10,20,30,40}',
	array_fill('2026-11-21 10:00:00.000001Z'::timestamptz, ARRAY[6]), '{0,1,2,3,4,5}',
	'{a.b,NULL,a,a,a,a}',
	'{first failed,second,Über größe,"db-1.example.com timeout",x,""}',
	ARRAY['{"user": {"name": "Joe", "id": 5}, "tags": ["red"]}', NULL, NULL, NULL, NULL,
	'{}']::jsonb[])$$), 'ok', 'six lines');
SELECT results_eq('SELECT stream_id, stream_offset, level, logger, message FROM log_entries ORDER BY id',
	$$VALUES
	(70::bigint, 0::bigint, 'TRACE', 'a.b', 'first failed'), (80, 0, 'DEBUG', NULL, 'second'),
	(70, 10, 'INFO', 'a', 'Über größe'),
	(70, 20, 'WARNING', 'a', 'db-1.example.com timeout'), (70, 30, 'ERROR', 'a', 'x'),
	(70, 40, 'CRITICAL', 'a', '')$$,
	'levels, streams, offsets, text');
SELECT results_eq('SELECT DISTINCT "timestamp", vps_name, app_name FROM log_entries',
	$$VALUES ('2026-11-21 10:00:00.000001Z'::timestamptz, 'web-1', 'a')$$, 'time and names');
SELECT is((SELECT string_agg(message, ',' ORDER BY id) FROM log_entries
	WHERE search @@ to_tsquery('simple', q)), r, 'search ' || q)
	FROM (VALUES ('fail:*', 'first failed'), ('first & failed', 'first failed'),
	('joe', 'first failed'), ('red', 'first failed'),
	('GRÖSSE | größe', 'Über größe'), ('timeout', 'db-1.example.com timeout'),
	('name', 'first failed'),
	('example', 'db-1.example.com timeout'), ('5', 'first failed'),
	('second & first', NULL)) v(q, r);
SELECT ok((SELECT EXISTS (SELECT FROM log_entries WHERE search @@ 'a & b')),
	'the logger is searched as well');
SELECT is(run_as('obs_web_1', $$SELECT observ.push_logs('web-1', 'a', '{}', '{}', '{}', '{}', '{}', '{}',
	'{}', '{}')$$), 'ok', 'no lines');
SELECT is(run_as('obs_web_1', log_call('a', '''2026-11-21 10:00Z''', 'bulk', '''{"k": "v"}''', 2, 5000)),
	'ok', '5,000 lines');
SELECT is((SELECT count(*) FROM log_entries WHERE message = 'bulk'), 5000::bigint, 'are there');

-- ---- where rows go ------------------------------------------------------------------------------
DELETE FROM log_entries;
SELECT is(run_as('obs_web_1', log_call('a', format('%L', d))), 'ok', 'a line of ' || d) FROM (VALUES
	((now() AT TIME ZONE 'UTC')::date || ' 00:00:00Z'),
	((now() AT TIME ZONE 'UTC')::date || ' 23:59:59.999999Z'),
	('2001-02-03 04:05:06Z'), ('2199-12-31 23:59:59Z')) v(d);
SELECT results_eq('SELECT tableoid::regclass::text, count(*) FROM log_entries GROUP BY 1 ORDER BY 1 DESC',
	format('VALUES (%L, 2::bigint), (%L, 2)',
	'log_entries_default', 'log_entries_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')),
	'today''s partition, or the default one');
SELECT is((SELECT count(*) FROM log_entries WHERE "timestamp" < now() - interval '30 days'), 1::bigint,
	'one is old');
DELETE FROM log_entries WHERE "timestamp" < now() - interval '30 days';
SELECT is((SELECT count(*) FROM log_entries), 3::bigint, 'the plain DELETE works');
SELECT * FROM finish();
ROLLBACK;
