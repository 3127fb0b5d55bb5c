-- The newest sample of each agent and the newest result of each check are what the facts say.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
SELECT count(*) FROM enroll('web-1') \g /dev/null
SELECT count(*) FROM unnest('{a,b}'::text[]) a, agent_hello('web-1', a, 1, NULL, '1', 60, now()) \g /dev/null
CREATE TEMP TABLE metrics AS SELECT * FROM unnest(string_to_array(:'metrics', ',')) WITH ORDINALITY m(name,
	place);
CREATE FUNCTION pg_temp.push(p_app text, p_rows jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT run_as('obs_web_1', format('SELECT observ.push(%L)', jsonb_build_array('web-1', p_app, epoch,
	last_seq + 1, 0, 0) || p_rows)) FROM agents WHERE app_name = p_app $$;
CREATE FUNCTION pg_temp.at(p_minute int) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT now() - interval '10 min' + p_minute * interval '1 min' $$;
CREATE FUNCTION pg_temp.sample(p_minute int, p_first int,
	p_values int DEFAULT 100) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(us(pg_temp.at(p_minute)), false, NULL) ||
	(SELECT jsonb_agg(p_first + place) FROM metrics WHERE place <= p_values) $$;
CREATE FUNCTION pg_temp.result(p_minute int, p_url text, p_success boolean) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(us(pg_temp.at(p_minute)), false, p_url, 200, 5, 1, 60, 4, 2, 1, 3, NULL,
		CASE WHEN NOT p_success THEN 'timeout' END) $$;

-- ---- samples -------------------------------------------------------------------------------------
-- The columns of latest_samples in the newest row of vps_metrics.
CREATE TEMP VIEW newest AS SELECT DISTINCT ON (vps_name, app_name) vps_name, app_name, "timestamp",
	cpu_percent,
	memory_percent, disk_percent, inode_percent, load_avg_1m, cpu_count, memory_total_mb, disk_total_gb,
	app_cpu_percent, app_memory_mb FROM vps_metrics ORDER BY vps_name, app_name, "timestamp" DESC;
SELECT is(pg_temp.push('a', jsonb_build_array(jsonb_build_array(pg_temp.sample(0, 100)))), 'ok',
	'a sample');
SELECT set_eq('SELECT * FROM latest_samples', 'SELECT * FROM newest',
	'each value lands in the column of its name');
SELECT is((SELECT count(*) FROM latest_samples WHERE cpu_percent = 101 AND app_memory_mb = 130), 1::bigint,
	'and is the one that was sent');
SELECT is(pg_temp.push(a, jsonb_build_array(jsonb_build_array(pg_temp.sample(1, 200),
	pg_temp.sample(2, 300), pg_temp.sample(3, 400)))), 'ok', 'a batch of three')
		FROM unnest('{a,b}'::text[]) a;
SELECT set_eq('SELECT * FROM latest_samples', 'SELECT * FROM newest', 'the last of a batch is the newest');
SELECT is(pg_temp.push('b', jsonb_build_array(jsonb_build_array(pg_temp.sample(4, 500, 5)))), 'ok',
	'a sample of an older agent: few values');
SELECT set_eq('SELECT * FROM latest_samples', 'SELECT * FROM newest', 'leaves the others NULL here, too');
SELECT is(pg_temp.push('b', '[[]]'), 'ok', 'no samples');
SELECT is(pg_temp.push('a', jsonb_build_array(jsonb_build_array(pg_temp.sample(5, 600)),
	'[7]'::jsonb)),
	'23502', 'a batch that is refused');
SELECT set_eq('SELECT * FROM latest_samples', 'SELECT * FROM newest', 'neither changes anything');

-- ---- checks ----------------------------------------------------------------------------------------
CREATE TEMP VIEW last_results AS SELECT DISTINCT ON (vps_name, app_name, url) vps_name, app_name, url,
	"timestamp",
	success, error_class, interval_s FROM health_checks ORDER BY vps_name, app_name, url,
		"timestamp" DESC;
CREATE TEMP VIEW kept AS SELECT vps_name, app_name, url, "timestamp", success, error_class, interval_s
	FROM latest_checks;
SELECT is(pg_temp.push('a', jsonb_build_array(0, jsonb_build_array(pg_temp.result(0, 'http://x/',
	true),
	pg_temp.result(0, 'http://y/', true), pg_temp.result(1, 'http://x/', false),
	pg_temp.result(1, repeat('http://long/', 600), true)))), 'ok',
		'results, two of them of one URL, one too long for an index');
SELECT is(pg_temp.push('b', jsonb_build_array(0, jsonb_build_array(pg_temp.result(0, 'http://x/',
	true)))), 'ok',
	'another agent checks the same URL');
SELECT set_eq('SELECT * FROM kept', 'SELECT * FROM last_results',
	'the last result of each URL and agent is kept');
SELECT is((SELECT count(*) FROM kept WHERE NOT success AND error_class = 'timeout'), 1::bigint,
	'a failure with its class');
SELECT is(pg_temp.push('a', jsonb_build_array(0, jsonb_build_array(pg_temp.result(2, 'http://x/',
	true)))), 'ok',
	'the check succeeds again');
SELECT set_eq('SELECT * FROM kept', 'SELECT * FROM last_results', 'and is up');
SELECT is((SELECT count(*) FROM latest_checks), 4::bigint, 'a row each');

-- ---- rebuilding, expiry ------------------------------------------------------------------------------
CREATE TEMP TABLE was AS SELECT * FROM latest_checks;
SELECT rebuild_latest() \g /dev/null
SELECT set_eq('SELECT * FROM latest_checks', 'SELECT * FROM was', 'to rebuild what is right changes nothing');
DELETE FROM latest_checks; DELETE FROM latest_samples;
SELECT rebuild_latest() \g /dev/null
SELECT set_eq('SELECT * FROM latest_checks', 'SELECT * FROM was', 'checks are rebuilt of the facts');
SELECT set_eq('SELECT * FROM latest_samples', 'SELECT * FROM newest', 'and samples');
UPDATE latest_checks SET "timestamp" = now() - interval '7 days' WHERE url = 'http://y/';
UPDATE agents SET last_seen_at = now() - interval '30 days' WHERE app_name = 'b';
UPDATE latest_checks SET "timestamp" = now() - interval '30 days' WHERE app_name = 'b';
SELECT is(expire_latest(), 1::bigint,
	'a result that counts no longer is deleted, not that of a silent agent');
DELETE FROM agents WHERE app_name = 'b';
SELECT maintain() \g /dev/null
SELECT is((SELECT count(*) FROM latest_samples) + (SELECT count(*) FROM latest_checks), 3::bigint,
	'maintain() deletes the rows of an agent that is not there');
SELECT * FROM finish();
ROLLBACK;
