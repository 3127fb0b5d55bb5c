-- Everything that an agent sends becomes a row or gets an error of class 22, 23 or 54, so that the agent can
-- find the bad row.
SELECT password AS pw FROM enroll('noise') \gset
\setenv PGPASSWORD :pw
\set call `tests/sql/shell long_words`

BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;
SELECT count(*) FROM enroll('web-1') \g /dev/null
SET LOCAL work_mem = '64MB';

-- ---- log lines ---------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.distinct_words(p_n int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, p_n) i $$;
CREATE TEMP TABLE t (name text, message text, context text);
INSERT INTO t VALUES
	('a million bytes of distinct words', pg_temp.distinct_words(40000), NULL),
	('ten million bytes of distinct words', pg_temp.distinct_words(300000), NULL),
	('distinct words in the context', 'x', jsonb_build_object('a', pg_temp.distinct_words(60000))::text),
	('many keys in the context', 'x', (SELECT jsonb_object_agg(md5(i::text), md5((-i)::text))
	FROM generate_series(1, 100000) i)::text),
	('short distinct words', (SELECT string_agg(chr(19968 + i), ' ') FROM generate_series(1, 20000) i),
	NULL),
	('one word of 5,000 letters', repeat('x', 5000), NULL),
	('one word of 5,000 letters in the context', 'x', jsonb_build_object('a', repeat('y', 5000))::text),
	('one word of 2,046 bytes', repeat('z', 2046), NULL),
	('four-byte letters', repeat('😀', 300000), NULL),
	('a megabyte of spaces', repeat(' ', 1000000), NULL),
	('control characters', E'a\x01\x1b[31m\u0085\u202e', '{"\u0001": "\u001b"}'),
	('a context that is nested 1,000 deep', 'x', repeat('[', 1000) || repeat(']', 1000)),
	('a context that is no object', 'x', '"text"'), ('a number of 300 digits', 'x', '{"n": 1e300}'),
	('a number of 100,000 digits', 'x', '{"n": 1e100000}'),
	('SQL', '''); DROP TABLE log_entries; --', '{"a''": "\\"}');
SELECT is(run_as('obs_web_1', log_call('a', 'now()', message, coalesce(quote_literal(context), 'NULL'))),
	'ok', name) FROM t;
SELECT is((SELECT count(*) FROM log_entries l JOIN t ON t.message = l.message
	AND t.context::jsonb IS NOT DISTINCT FROM l.context),
	(SELECT count(*) FROM t), 'every line is stored whole');
SELECT cmp_ok((SELECT max(pg_column_size(search)) FROM log_entries), '<', 400000,
	'no search column is large');
SELECT is((SELECT count(*) FROM log_entries WHERE search @@ to_tsquery('simple', md5('1'))), 3::bigint,
	'the first words are found');
SELECT is((SELECT count(*) FROM log_entries WHERE search @@ to_tsquery('simple', md5('39999'))), 0::bigint,
	'the last are not: a known limit');

SELECT is(try_as('obs_web_1', log_call('a', quote_literal(ts))), '22008', 'time ' || ts)
	FROM unnest(ARRAY['infinity', '-infinity', '294276-12-31Z', '4713-01-01Z BC', '1999-12-31 23:59:59Z',
	'2200-01-01Z']) ts;
SELECT is(try_as('obs_web_1', log_call('a', quote_literal(ts))), '22008', 'time ' || ts)
	FROM unnest(ARRAY['294277-01-01Z', '2026-13-45Z']) ts;
SELECT is(try_as('obs_web_1', log_call('a', 'NULL')), '23502', 'no time');
SELECT is(try_as('obs_web_1', log_call('a', 'now()', NULL)), '23502', 'no message');
SELECT is(try_as('obs_web_1', log_call('a', 'now()', 'x', 'NULL', l)), s,
	'level ' || coalesce(l::text, 'NULL'))
	FROM (VALUES (-1, '22003'), (6, '22003'), (32767, '22003'), (NULL, '23502')) v(l, s);
SELECT is(try_as('obs_web_1', log_call('a', 'now()', 'x', $$'{"a": "\u0000"}'$$)), '22P05',
	'NUL in the context');
SELECT is(try_as('obs_web_1', log_call('a', 'now()', 'x', $$'{"a": "\ud800"}'$$)), '22P02',
	'a lone surrogate');
SELECT is(try_as('obs_web_1', log_call('a', 'now()', 'x', $$'{"a": NaN}'$$)), '22P02', 'NaN');
SELECT is(try_as('obs_web_1', format($$SELECT observ.push_logs('web-1', 'a', %s)$$, a)), s, 'arrays ' || a)
	FROM (VALUES
	($$'{7}', '{1}', '{0,1}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '2202E'),
	($$'{7}', '{1,1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '2202E'),
	($$'{7}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m,n}', '{NULL}'$$, '2202E'),
	($$'{7}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{}'$$, '2202E'),
	($$'{7}', '{1}', '{0}', ARRAY[now()], '{2}', '{}', '{m}', '{NULL}'$$, '2202E'),
	($$'{7}', '{1}', '{0}', '{}', '{2}', '{l}', '{m}', '{NULL}'$$, '2202E'),
	($$'{7}', NULL, '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '2202E'),
	($$'{7}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', NULL, '{NULL}'$$, '2202E'),
	($$'{7}', '{2}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22003'),
	($$'{7}', '{0}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22003'),
	($$'{}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22003'),
	($$NULL, '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22003'),
	($$'{7}', '{NULL}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22004'),
	($$'{NULL}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22004'),
	($$'{7}', '{1}', '{NULL}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22004'),
	($$'{7}', '{1}', '{-1}', ARRAY[now()], '{2}', '{l}', '{m}', '{NULL}'$$, '22003')) v(a, s);

-- ---- rows of JSON ----------------------------------------------------------------------------------
SELECT is(try_as('obs_web_1', format('SELECT observ.%s(''web-1'', ''a'', %L)', f, j)), s,
	format('%s %s', f, left(j, 60))) FROM (VALUES
	('push_metrics', '[[null, false, null, 1]]', '23502'), ('push_metrics', '[[]]', '23502'),
	('push_metrics', '[7]', '23502'),
	('push_metrics', '{}', '22023'), ('push_metrics', '7', '22023'), ('push_metrics', 'null', '22023'),
	('push_metrics', '["x"]', '22P02'), ('push_metrics', '[["x", false, null, 1]]', '22P02'),
	('push_metrics', '[[1.5, false, null, 1]]', '22P02'),
	('push_metrics', '[[9223372036854775807, false, null, 1]]', '23514'),
	('push_metrics', '[[-9223372036854775808, false, null, 1]]', '22008'),
	('push_metrics', '[[1e30, false, null, 1]]', '22003'),
	('push_metrics', '[[0, false, null, 1]]', '23514'),
	('push_metrics', '[[1795255200000000, null, null, 1]]', '23502'),
	('push_metrics', '[[1795255200000000, false, null, "NaN"]]', '22023'),
	('push_metrics', '[[1795255200000000, false, null, "1"]]', '22023'),
	('push_metrics', '[[1795255200000000, false, null, true]]', '22023'),
	('push_metrics', '[[1795255200000000, false, null, [1]]]', '22P02'),
	('push_metrics', '[[1795255200000000, false, null, {"a": 1}]]', '22023'),
	('push_metrics', '[[1795255200000000, false, null, 1e300]]', '22023'),
	('push_metrics', '[[1795255200000000, false, null, -1e16]]', '22023'),
	('push_metrics', '[[1795255200000000, false, 7, 1]]', '23514'),
	('push_metrics', '[[1795255200000000, false, {}, 1e15]]', 'ok'),
	('push_checks', '[[1795255200000000, false, null, 1, 1, 1]]', '23502'),
	('push_checks', '[[1795255200000000, false, "", 1, 1, 1]]', '23514'),
	('push_checks', '[[1795255200000000, null, "u", 1, 1, 1]]', '23502'),
	('push_checks', '[[1795255200000000, false, "u", 1e9, 1, 1]]', 'ok'),
	('push_checks', '[[1795255200000000, false, "u", 1e10, 1, 1]]', '22003'),
	('push_checks', '[[1795255200000000, false, "u", 1.5, 1, 1]]', '22P02'),
	('push_checks', '[[1795255200000000, false, "u", 1, "NaN", 1]]', '22023'),
	('push_checks', '[[1795255200000000, false, "u", 1, 1, 1, 60, 1, 1, 1, 1,
		99999999999999999999]]', '22023'),
	('push_gaps', '[[1795255200000000, 1, null, 1, 1, null]]', '23502'),
	('push_gaps', '[[1795255200000000, "x", "k", 1, 1, null]]', '22P02'),
	('push_gaps', '[[99999999999999999, 1, "k", 1, 1, null]]', 'ok'),
	('push_rejects', '[[-5, 1, 1, "22P02", "r", null]]', 'ok'),
	('push_rejects', '[[1795255200000000, 1, 1, "22P02", "r", "*"]]', '22023'),
	('push_rejects', '[[1795255200000000, 1, 1, "22P02", "r", null]]', 'ok'),
	('push_rejects', '[[null, 1, 1, "22P02", "r", null]]', '23502')) v(f, j, s);
SELECT is(try_as('obs_web_1', format('SELECT observ.push_checks(''web-1'', ''a'', %L)',
	jsonb_build_array(jsonb_build_array(
	1795255200000000, false, repeat('u', 8193), 1, 1, 1)))), '23514', 'a URL of 8,193 bytes');
SELECT is(run_as('obs_web_1', format('SELECT observ.push_checks(''web-1'', ''a'', %L)',
	jsonb_build_array(jsonb_build_array(
	1795255200000000, false, repeat('u', 8192), 1, 1, 1, 60, 1, 1, 1, 1, NULL, repeat('c', 999),
	repeat('m', 100000))))),
	'ok', 'long texts');
SELECT results_eq('SELECT length(url), length(error_class), length(error_message) FROM health_checks',
	'VALUES (8192, 200, 8192)', 'are cut');
SELECT is(run_as('obs_web_1',
	format('SELECT observ.push_gaps(%L, %L, ''[[1795255200000000, 1, "k", 1, 1, "d"]]'')', 'web-1',
	repeat('😀', 32))),
	'ok', 'a name of 128 bytes fits every key');
SELECT is(run_as('obs_web_1',
	format('SELECT observ.push_metrics(''web-1'', %L, ''[[1795255200000000, false, null, 1]]'')',
	repeat('😀', 32))),
	'ok', 'everywhere');

-- The server sends no NOTICE for each long word.
SELECT is(:'call', ''::text, 'long words cause no NOTICE to the agent');
SELECT is((SELECT count(*) FROM log_entries WHERE vps_name = 'noise'), 50::bigint, 'and the lines are there');
SELECT * FROM finish();
ROLLBACK;
DELETE FROM log_entries WHERE vps_name = 'noise';
SELECT count(*) FROM revoke_server('noise') \g /dev/null
