-- maintain(): partitions, retention, roll-ups. The expected figures were computed by hand.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'Asia/Kolkata';            -- days end in UTC in each session
DELETE FROM job_runs;

CREATE FUNCTION pg_temp.day(n int) RETURNS text LANGUAGE sql AS $$
	SELECT to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD') $$;
CREATE FUNCTION pg_temp.noon(n int) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT ((now() AT TIME ZONE 'UTC')::date + n + time '12:00') AT TIME ZONE 'UTC' $$;
CREATE FUNCTION pg_temp.log(p_at timestamptz, p_app text, p_level text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO log_entries ("timestamp", vps_name, app_name, level, message, context)
	VALUES (p_at, 'v', p_app, p_level, 'some words', '{"k": "deep"}') $$;
-- What is left, as "days ago/application/level".
CREATE FUNCTION pg_temp.left_over() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s/%s/%s', (now() AT TIME ZONE 'UTC')::date - ("timestamp" AT TIME ZONE 'UTC')::date,
	app_name, level) FROM log_entries $$;

-- ---- partitions, and rows that arrived before their partition was made -------------------------------
SELECT is(maintain(),
	'0 buckets of metrics_5m, 0 buckets of metrics_1h, 0 rows deleted, '
	'0 partitions made, 0 partitions dropped',
	'nothing to do on a fresh database');
DELETE FROM log_entries;
SELECT pg_temp.log(t, 'a', 'INFO') FROM unnest(ARRAY[pg_temp.noon(-10),
	pg_temp.noon(-10) + interval '11:59:59.999999',
	pg_temp.noon(-9) - interval '12:00', pg_temp.noon(-5), pg_temp.noon(3),
	pg_temp.noon(20)]) t \g /dev/null
CREATE TEMP TABLE before AS SELECT * FROM log_entries;
SELECT is((SELECT count(*) FROM log_entries_default), 5::bigint,
	'rows of days without partition are in the default one');
SELECT matches(maintain(), ', 3 partitions made', 'their partitions are made');
SELECT results_eq('SELECT tableoid::regclass::text, count(*) FROM log_entries GROUP BY 1 ORDER BY 1',
	format('VALUES (%L, 2::bigint), (%L, 1), (%L, 1), '
	'(%L, 1), (%L, 1)', 'log_entries_' || pg_temp.day(-10), 'log_entries_' || pg_temp.day(-9),
	'log_entries_' || pg_temp.day(-5),
	'log_entries_' || pg_temp.day(3), 'log_entries_default'),
	'and the rows moved; rows of future days stay');
SELECT set_eq('SELECT * FROM log_entries', 'SELECT * FROM before', 'as they were');
SELECT is((SELECT count(*) FROM log_entries WHERE search @@ 'deep'), 6::bigint, 'and the search finds them');
SELECT is((SELECT count(*) FROM pg_index WHERE indrelid = ('log_entries_' || pg_temp.day(-10))::regclass),
	4::bigint, 'with their indexes');
SELECT pg_temp.log(pg_temp.noon(-10), 'a', 'INFO') \g /dev/null
SELECT is((SELECT count(*) FROM log_entries_default), 1::bigint, 'later rows of that day go there directly');
SELECT matches(maintain(), ', 0 partitions made', 'a second run makes none');
SELECT is(make_partition('log_entries', (now() AT TIME ZONE 'UTC')::date), false, 'nor does make_partition');

-- ---- retention of logs ------------------------------------------------------------------------------
DELETE FROM log_entries;
INSERT INTO retention_policy (kind, app_name, level, keep) VALUES ('logs', 'billing', NULL, '60 days'),
	('logs', NULL, 'DEBUG', '3 days'), ('logs', 'billing', 'ERROR', '80 days'),
	('logs', 'web', NULL, '2 days');
SELECT make_partition('log_entries', (now() AT TIME ZONE 'UTC')::date - n)
	FROM unnest(ARRAY[1, 2, 3, 4, 20, 40, 70, 90]) n \g /dev/null
SELECT pg_temp.log(pg_temp.noon(-n), a, l) FROM unnest(ARRAY[1, 4, 20, 40, 70, 90]) n,
	unnest(ARRAY['shop', 'billing', 'web']) a,
	unnest(ARRAY['DEBUG', 'INFO', 'ERROR']) l \g /dev/null
CREATE TEMP TABLE note AS SELECT maintain() AS n;
SELECT set_eq('SELECT pg_temp.left_over()', ARRAY[
	'1/shop/DEBUG', '1/shop/INFO', '1/shop/ERROR', '1/billing/DEBUG', '1/billing/INFO',
	'1/billing/ERROR', '1/web/DEBUG', '1/web/INFO', '1/web/ERROR',
	'4/shop/INFO', '4/shop/ERROR', '4/billing/DEBUG', '4/billing/INFO', '4/billing/ERROR',
	'20/shop/INFO', '20/shop/ERROR', '20/billing/DEBUG', '20/billing/INFO', '20/billing/ERROR',
	'40/billing/DEBUG', '40/billing/INFO', '40/billing/ERROR',
	'70/billing/ERROR'], 'each row lives as long as the most exact policy says');
SELECT is((SELECT n FROM note),
	'0 buckets of metrics_5m, 0 buckets of metrics_1h, 22 rows deleted, '
	'0 partitions made, 1 partitions dropped',
	'22 of them deleted, the 9 of day 90 dropped with their partition');
SELECT ok(to_regclass('log_entries_' || pg_temp.day(-40)) IS NOT NULL,
	'a day that one policy still wants stays');
SELECT matches(maintain(), ' 0 rows deleted, 0 partitions made, 0 partitions dropped',
	'a second run finds nothing');
SELECT pg_temp.log(now() - interval '3 days 1 hour', 'shop', 'DEBUG') \g /dev/null
SELECT matches(maintain(), ' 1 rows deleted', 'a row that arrives late is deleted later');
UPDATE retention_policy SET keep = '10 days' WHERE app_name = 'billing';
SELECT matches(maintain(), ' 2 partitions dropped', 'a shorter policy drops the days that it alone kept');
UPDATE retention_policy SET keep = NULL WHERE kind = 'logs' AND app_name IS NULL AND level IS NULL;
SELECT pg_temp.log(now() - interval '300 days', 'shop', 'INFO'),
	pg_temp.log(now() - interval '300 days', 'web', 'INFO') \g /dev/null
SELECT matches(maintain(), ' 1 rows deleted, 1 partitions made, 0 partitions dropped',
	'with a policy without end nothing is dropped; others still delete rows');
SELECT is((SELECT count(*) FROM log_entries WHERE "timestamp" < now() - interval '299 days'), 1::bigint,
	'shop keeps its rows for ever');
DELETE FROM retention_policy WHERE kind = 'logs' AND app_name IS NULL AND level IS NULL;
SELECT matches(maintain(), ' 0 rows deleted, 0 partitions made, 0 partitions dropped',
	'without a policy rows are kept too');
INSERT INTO retention_policy (kind, keep) VALUES ('logs', '30 days');
SELECT matches(maintain('0 s'), 'unfinished', 'a run without time reports that it is not finished');
SELECT is((SELECT ok FROM job_runs ORDER BY started_at DESC LIMIT 1), true, 'which is no failure');
DELETE FROM retention_policy WHERE kind = 'logs' AND (app_name, level) IS DISTINCT FROM (NULL, NULL);
SELECT throws_ok($$INSERT INTO retention_policy VALUES ('logs', NULL, NULL, '1 day')$$, '23505', NULL,
	'one policy each');
SELECT throws_ok($$INSERT INTO retention_policy VALUES ('metrics', NULL, 'ERROR', '1 day')$$, '23514', NULL,
	'metrics have no level');
SELECT throws_ok($$INSERT INTO retention_policy VALUES ('logs', 'x', NULL, '-1 day')$$, '23514', NULL,
	'a negative time is refused');

-- Rows of a server whose clock is ten years ahead are not kept for ten years.
DELETE FROM log_entries;
INSERT INTO log_entries ("timestamp", vps_name, app_name, level, message, received_at) VALUES
	(now() + interval '10 years', 'v', 'a', 'INFO', 'm', now() - interval '31 days'),
	(now() + interval '10 years', 'v', 'a', 'INFO', 'm', now());
SELECT matches(maintain(), ' 1 rows deleted', 'received_at decides about such a row');

-- ---- retention of the rest --------------------------------------------------------------------------
SELECT make_partition('vps_metrics', (now() AT TIME ZONE 'UTC')::date - n),
	make_partition('health_checks', (now() AT TIME ZONE 'UTC')::date - n)
	FROM unnest(ARRAY[80, 92]) n \g /dev/null
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, received_at) SELECT pg_temp.noon(-n), 'v', 'a',
	pg_temp.noon(-n) FROM unnest(ARRAY[80, 92]) n;
INSERT INTO health_checks ("timestamp", vps_name, app_name, url, success) SELECT pg_temp.noon(-n), 'v', 'a',
	'u', true FROM unnest(ARRAY[80, 92]) n;
INSERT INTO gaps ("timestamp", vps_name, app_name, kind) SELECT pg_temp.noon(-n), 'v', 'a', 'k'
	FROM unnest(ARRAY[80, 92]) n;
INSERT INTO rejects ("timestamp", vps_name, app_name) SELECT pg_temp.noon(-n), 'v', 'a'
	FROM unnest(ARRAY[80, 92]) n;
INSERT INTO metrics_5m ("timestamp", vps_name, app_name, samples) SELECT pg_temp.noon(-n), 'v', 'x', 1
	FROM unnest(ARRAY[80, 92]) n;
INSERT INTO metrics_1h ("timestamp", vps_name, app_name, samples) SELECT pg_temp.noon(-n), 'v', 'x', 1
	FROM unnest(ARRAY[92, 800]) n;
INSERT INTO log_streams SELECT 'v', 'a', n, 'p', 'f', 'h', 't', 1, n > 1, now() - interval '400 days'
	FROM generate_series(1, 2) n;
INSERT INTO job_runs VALUES ('old', now() - interval '91 days', now(), true, '');
SELECT matches(maintain(),
	'1 buckets of metrics_5m, 1 buckets of metrics_1h, 4 rows deleted, '
	'0 partitions made, 2 partitions dropped', 'all kinds expire');
SELECT is((SELECT count(*) FROM vps_metrics) + (SELECT count(*) FROM health_checks) + (SELECT count(*)
	FROM gaps) + (SELECT count(*) FROM rejects)
	+ (SELECT count(*) FROM metrics_5m WHERE app_name = 'x') + (SELECT count(*) FROM metrics_1h
	WHERE app_name = 'x'), 6::bigint, 'and one of each stays');
SELECT is((SELECT stream_id FROM log_streams WHERE vps_name = 'v'), 1::bigint,
	'a stream that finished a year ago is deleted, an unfinished one is not');
SELECT is((SELECT count(*) FROM job_runs WHERE job = 'old'), 0::bigint, 'an old job is deleted');

-- ---- roll-ups -------------------------------------------------------------------------------------------
DELETE FROM vps_metrics; DELETE FROM metrics_5m; DELETE FROM metrics_1h; DELETE FROM rollup_state;
CREATE TEMP TABLE b AS SELECT date_bin('1 hour', now() - interval '5 hours', '2000-01-01Z') AS t;
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent, memory_mb, received_at)
	SELECT b.t + x.o, 'v', x.a, x.cpu, x.mem, b.t + x.o
	FROM b, (VALUES ('0:00'::interval, 'a', 10, 1), ('0:04:59.999999', 'a', 20, NULL),
	('0:05', 'a', 60, 3), ('0:59', 'a', NULL, NULL), ('1:00', 'a', 7, 7), ('0:01', 'z', 99, 99)) x(o, a,
	cpu, mem);
SELECT matches(maintain(), '^5 buckets of metrics_5m, 3 buckets of metrics_1h', 'buckets are made');
PREPARE m5 AS SELECT "timestamp" - b.t, samples, cpu_percent_avg, cpu_percent_min, cpu_percent_max,
	memory_mb_avg
	FROM metrics_5m, b WHERE app_name = 'a' AND "timestamp" >= b.t ORDER BY 1;
PREPARE m60 AS SELECT "timestamp" - b.t, samples, cpu_percent_avg, cpu_percent_min, cpu_percent_max,
	memory_mb_avg
	FROM metrics_1h, b WHERE app_name = 'a' AND "timestamp" >= b.t ORDER BY 1;
SELECT results_eq('m5', $$VALUES ('0:00'::interval, 2, 15::float8, 10::float8, 20::float8, 1::float8),
	('0:05', 1, 60, 60, 60, 3),
	('0:55', 1, NULL, NULL, NULL, NULL), ('1:00', 1, 7, 7, 7, 7)$$, 'five minutes');
SELECT results_eq('m60', $$VALUES ('0:00'::interval, 4, 30::float8, 10::float8, 60::float8, 2::float8),
	('1:00', 1, 7, 7, 7, 7)$$, 'an hour');
SELECT is((SELECT cpu_percent_avg FROM metrics_1h WHERE app_name = 'z'), 99::float8,
	'each application for itself');
CREATE TEMP TABLE was AS SELECT * FROM metrics_5m;
SELECT matches(maintain(), ' metrics_1h', 'a second run');
SELECT set_eq('SELECT * FROM metrics_5m', 'SELECT * FROM was', 'changes nothing');
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent, backfill) SELECT t + interval '0:03',
	'v', 'a', 90, true FROM b;
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent,
	backfill) SELECT t - interval '20 days', 'v', 'a', 5, true FROM b;
SELECT matches(maintain(), ' metrics_1h', 'rows that an outage held back arrive');
SELECT results_eq('m5', $$VALUES ('0:00'::interval, 3, 40::float8, 10::float8, 90::float8, 1::float8),
	('0:05', 1, 60, 60, 60, 3),
	('0:55', 1, NULL, NULL, NULL, NULL), ('1:00', 1, 7, 7, 7, 7)$$, 'and are in the five minutes');
SELECT results_eq('m60', $$VALUES ('0:00'::interval, 5, 45::float8, 10::float8, 90::float8, 2::float8),
	('1:00', 1, 7, 7, 7, 7)$$, 'and in the hour');
SELECT is((SELECT cpu_percent_max FROM metrics_1h, b WHERE "timestamp" = t - interval '20 days'), 5::float8,
	'also for a time 20 days ago');
UPDATE vps_metrics SET details = d FROM b, (VALUES
	('0:00'::interval, '{"mounts": [{"mount": "/", "percent": 10}, {"mount": "/srv", "percent": 40.3},
		{"mount": "/usr", "percent": 100, "read_only": true},
		{"mount": "/home", "percent": null}]}'::jsonb),
	('0:59', '{"mounts": [{"mount": "/", "percent": 15, "read_only": false}]}')) v(o, d)
	WHERE app_name = 'a' AND "timestamp" = b.t + o;
UPDATE rollup_state SET received_until = (SELECT t FROM b);
SELECT maintain() \g /dev/null
SELECT results_eq('SELECT "timestamp" - b.t, mounts FROM metrics_5m, b WHERE app_name = ''a''
	AND "timestamp" >= b.t ORDER BY 1', $$VALUES ('0:00'::interval, '{"/": 10, "/srv": 40.3}'::jsonb),
	('0:05', NULL), ('0:55', '{"/": 15}'), ('1:00', NULL)$$,
	'file systems that can fill, where one is told of');
SELECT results_eq('SELECT "timestamp" - b.t, mounts FROM metrics_1h, b WHERE app_name = ''a''
	AND "timestamp" >= b.t ORDER BY 1', $$VALUES ('0:00'::interval, '{"/": 12.5, "/srv": 40.3}'::jsonb),
	('1:00', NULL)$$, 'and their averages');
UPDATE vps_metrics SET cpu_percent = 1e15 WHERE app_name = 'z';
INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent) SELECT t + i * interval '1 s', 'v',
	'z', 1e15 * (-1) ^ i FROM b, generate_series(1, 250) i;
SELECT matches(maintain(), '^[0-9]+ buckets of metrics_5m, [0-9]+ buckets of metrics_1h, ',
	'the largest accepted values do not stop it');

-- ---- roll-ups equal their rows, whenever these arrive -----------------------------------------------------
DELETE FROM vps_metrics; DELETE FROM metrics_5m; DELETE FROM metrics_1h; DELETE FROM rollup_state;
SELECT setseed(0.3) \g /dev/null
-- n samples of the last 30 hours, a third of the values NULL.
CREATE FUNCTION pg_temp.samples(n int, p_received timestamptz) RETURNS void LANGUAGE sql AS $$
	INSERT INTO vps_metrics ("timestamp", vps_name, app_name, cpu_percent, app_memory_mb, received_at)
	SELECT now() - random() * interval '30 hours', 'v' || i % 3, 'a' || i % 2,
		CASE WHEN random() < 0.7 THEN random() * 100 END, CASE WHEN random() < 0.7 THEN i END,
			p_received
	FROM generate_series(1, n) i $$;
CREATE FUNCTION pg_temp.differences(p_table text, p_step interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	ret bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT vps_name, app_name,
		date_bin($1, "timestamp", ''2000-01-01Z'') AS at,
		count(*) AS n, avg(cpu_percent) AS c, min(cpu_percent) AS c_lo, max(cpu_percent) AS c_hi,
		avg(app_memory_mb) AS m, min(app_memory_mb) AS m_lo, max(app_memory_mb) AS m_hi
		FROM vps_metrics GROUP BY 1, 2, 3) raw
		FULL JOIN %I r ON r.vps_name = raw.vps_name AND r.app_name = raw.app_name
			AND r."timestamp" = at
		WHERE (n, round(c::numeric, 9), c_lo, c_hi, round(m::numeric, 9), m_lo, m_hi) IS DISTINCT FROM
		(samples, round(cpu_percent_avg::numeric, 9), cpu_percent_min, cpu_percent_max,
		round(app_memory_mb_avg::numeric, 9), app_memory_mb_min,
			app_memory_mb_max)', p_table) INTO ret USING p_step;
	RETURN ret;
END $$;
CREATE FUNCTION pg_temp.all_differences() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_temp.differences('metrics_5m', '5 min') + pg_temp.differences('metrics_1h', '1 hour') $$;
SELECT pg_temp.samples(3000, now() - interval '2 hours'), maintain() \g /dev/null
SELECT is(pg_temp.all_differences(), 0::bigint, 'average, least, greatest and number are those of the rows');
SELECT cmp_ok((SELECT count(*) FROM metrics_5m), '>', 1000::bigint, 'of many buckets');
SELECT pg_temp.samples(500, clock_timestamp()) \g /dev/null
SELECT cmp_ok(pg_temp.all_differences(), '>', 100::bigint, 'late rows arrive, for any time');
SELECT maintain() \g /dev/null
SELECT is(pg_temp.all_differences(), 0::bigint, 'and are in the roll-ups after the next run');
SELECT pg_temp.samples(200, clock_timestamp() - interval '50 min') \g /dev/null
SELECT maintain() \g /dev/null
SELECT is(pg_temp.all_differences(), 0::bigint, 'and those whose transaction was open for most of an hour');
SELECT maintain(), maintain() \g /dev/null
SELECT is(pg_temp.all_differences(), 0::bigint, 'and whoever runs it again');

-- ---- a step that fails is reported, the others work -----------------------------------------------------
ALTER TABLE metrics_5m RENAME COLUMN samples TO n;
SET LOCAL client_min_messages = error;
SELECT pg_temp.log(now() - interval '31 days', 'a', 'INFO') \g /dev/null
SELECT matches(maintain(), '^maintain_rollups failed: column "samples" .* does not exist, 1 rows deleted',
	'one step fails, the others work');
SELECT is((SELECT ok FROM job_runs ORDER BY started_at DESC LIMIT 1), false, 'the run is recorded as failed');
SELECT * FROM finish();
ROLLBACK;
