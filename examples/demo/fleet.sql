-- A fleet that does not exist, for `make demo`: the functions that write its rows. story.sql has its
-- servers and what happens on them.
--
--   SELECT simulated.make_days();           makes the partitions of the last week
--   SELECT simulated.advance(BEGAN);        writes what has happened since the last call, at most a week
--   SELECT simulated.judge_story(BEGAN);    makes the alerts of that week
--   SELECT simulated.remove();              deletes all of it
--
-- BEGAN is the start of the demo. The rows are those that agents would have written, in the same tables;
-- the name of each server ends in ".simulated". Values come from noise(), which depends on names and times
-- alone: the same BEGAN gives the same rows, in one call or in many. Run this as a superuser; the hub sees
-- only the rows.
BEGIN;
SET LOCAL client_min_messages = warning;
DROP SCHEMA IF EXISTS simulated CASCADE;
CREATE SCHEMA simulated;
SET LOCAL search_path = simulated, observ, pg_catalog;
\ir story.sql

-- ---- chance and time -------------------------------------------------------------------------------
-- A number from 0 to 1 that looks like chance, and is the same for the same name and number.
CREATE FUNCTION noise(p_what text, p_n bigint) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
RETURN (hashtextextended(p_what, p_n) & 1048575)::float8 / 1048576;

-- How busy something is, from 0 to 1, by the local time: most in the evening (day), in hours of work
-- (office), when the invoices are written (night), in the first quarter of each hour (hour).
CREATE FUNCTION busy(p_cycle text, p_at timestamptz) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
DECLARE
	hour float8 := extract(epoch FROM p_at::time) / 3600;
	weekend boolean := extract(isodow FROM p_at) >= 6;
BEGIN
	RETURN CASE p_cycle
		WHEN 'day' THEN (0.5 - 0.33 * cos(pi() * (hour - 3.5) / 12)
			+ 0.17 * exp(-((hour - 20) ^ 2) / 5)) * CASE WHEN weekend THEN 0.8 ELSE 1 END
		WHEN 'office' THEN CASE WHEN hour BETWEEN 8.5 AND 18 AND NOT weekend THEN 0.8 ELSE 0.08 END
		WHEN 'night' THEN CASE WHEN hour BETWEEN 1.5 AND 3.4 THEN 0.95 ELSE 0.05 END
		WHEN 'hour' THEN CASE WHEN extract(minute FROM p_at) < 14 THEN 0.95 ELSE 0.22 END
		ELSE 1 END;
END
$$;

-- Two slow waves, from -1 to 1, so that lines are not straight.
CREATE FUNCTION wave(p_seed float8, p_at timestamptz) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
DECLARE
	s float8 := extract(epoch FROM p_at);
BEGIN
	RETURN 0.6 * sin(s / 1130 + p_seed * 1.7) + 0.4 * sin(s / 310 + p_seed * 5.3);
END
$$;

-- When something happens that happens each p_every_s seconds; n counts from 1970.
CREATE FUNCTION ticks(p_what text, p_every_s int, p_since timestamptz, p_until timestamptz)
RETURNS TABLE (n bigint, at timestamptz) LANGUAGE sql STABLE AS $$
	SELECT n, to_timestamp(n * p_every_s + phase)
	FROM (SELECT noise(p_what, 0) * p_every_s AS phase) p CROSS JOIN LATERAL generate_series(
		floor((extract(epoch FROM p_since)::float8 - phase) / p_every_s)::bigint + 1,
		floor((extract(epoch FROM p_until)::float8 - phase) / p_every_s)::bigint) n
	OFFSET 0        -- the time is computed once, not at each use
$$;

-- Until when the agent of an application reports.
CREATE FUNCTION reports_until(p_silent interval, p_began timestamptz, p_until timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE RETURN least(p_until, p_began - p_silent);

-- ---- metrics ---------------------------------------------------------------------------------------
-- What the incidents add to the metrics of a server.
CREATE FUNCTION incidents(p_vps text, p_at timestamptz, p_began timestamptz)
RETURNS TABLE (cpu float8, io float8, memory float8) LANGUAGE sql STABLE AS $$
	SELECT coalesce(sum(v) FILTER (WHERE metric = 'cpu'), 0),
		coalesce(sum(v) FILTER (WHERE metric = 'io'), 0),
		coalesce(sum(v) FILTER (WHERE metric = 'memory'), 0)
	FROM (SELECT metric, amount * CASE WHEN ramp THEN extract(epoch FROM p_at - p_began + from_ago)
			/ extract(epoch FROM from_ago - to_ago) ELSE 1 END AS v
		FROM incident
		WHERE vps_name = p_vps AND p_at >= p_began - from_ago AND p_at < p_began - to_ago) x
$$;

CREATE FUNCTION load_at(p_vps text, p_n bigint, p_at timestamptz, p_began timestamptz)
RETURNS TABLE (cpu float8, io float8, memory float8, disk float8, busy float8, leak_mb float8)
LANGUAGE sql STABLE AS $$
	SELECT least(97, greatest(1, h.cpu + h.cpu_busy * b * (0.8 + 0.4 * noise(h.vps_name, p_n))
			+ 0.06 * h.cpu_busy * wave(h.place, p_at) + i.cpu)),
		least(80, 0.3 + h.io_kb / 12000 * b * noise(h.vps_name, -p_n) + i.io
			+ h.backup * night * (0.7 + 0.3 * noise(h.vps_name, p_n))),
		least(97.5, h.memory + h.memory_busy * b + 1.5 * wave(h.place + 3, p_at) + i.memory),
		least(98.7, h.disk + h.disk_day * (days - 0.2 * abs(wave(h.place + 7, p_at)))), b,
		h.memory_mb / 100.0 * i.memory
	FROM host h CROSS JOIN LATERAL (SELECT busy(h.cycle, p_at) AS b, round(busy('night', p_at)) AS night,
		extract(epoch FROM p_at - p_began)::float8 / 86400 AS days OFFSET 0) t
	CROSS JOIN LATERAL incidents(h.vps_name, p_at, p_began) i
	WHERE h.vps_name = p_vps
	OFFSET 0        -- each value is computed once
$$;

CREATE FUNCTION mounts(p_gb int, p_percent float8) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN jsonb_build_object('mounts', jsonb_build_array(
	jsonb_build_object('mount', '/', 'fs', 'ext4', 'percent', round(p_percent::numeric, 1),
		'total_gb', p_gb, 'used_gb', round((p_gb * p_percent / 100)::numeric, 1)),
	jsonb_build_object('mount', '/boot', 'fs', 'ext2', 'percent', 31, 'total_gb', 0.5, 'used_gb', 0.2)));

CREATE FUNCTION add_metrics(p_began timestamptz, p_since timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = simulated, observ, pg_catalog AS $$
	INSERT INTO vps_metrics (vps_name, app_name, "timestamp", received_at, cpu_percent, cpu_user_percent,
		cpu_system_percent, cpu_iowait_percent, cpu_steal_percent, load_avg_1m, load_avg_5m,
		load_avg_15m, memory_percent, memory_mb, memory_total_mb, swap_percent, swap_mb, disk_percent,
		disk_gb, disk_total_gb, inode_percent, net_rx_bytes_per_s, net_tx_bytes_per_s,
		disk_read_bytes_per_s, disk_write_bytes_per_s, tcp_connections, psi_cpu_percent,
		psi_memory_percent, psi_io_percent, uptime_s, processes, cpu_count, app_cpu_percent,
		app_memory_mb, app_restarts, app_processes, details)
	SELECT a.vps_name, a.app_name, at, at + interval '40 ms', l.cpu, l.cpu * 0.7, l.cpu * 0.3, io,
		dice * 0.4, run, run * 0.96, run * 0.93, l.memory, l.memory * h.memory_mb / 100, h.memory_mb,
		swap, swap * h.memory_mb / 400, l.disk, l.disk * h.disk_gb / 100, h.disk_gb,
		4 + h.place + l.disk / 20, h.net_kb * 1024 * l.busy * (0.7 + 0.6 * dice),
		h.net_kb * 2300 * l.busy * (1.3 - 0.6 * dice), h.io_kb * 900 * (l.busy + io / 20) * dice ^ 3,
		h.io_kb * 700 * (0.2 + l.busy) * (0.4 + dice), 30 + round(h.net_kb / 8 * l.busy),
		greatest(0, (l.cpu - 55) / 3 + 2 * dice), swap / 2, io * 0.8,
		86400 * h.up_days + extract(epoch FROM at - p_began), 160 + h.cores * 9 + h.place, h.cores,
		a.cpu * app_busy * (0.75 + 0.5 * dice),
		leak_mb + a.memory_mb * (0.82 + 0.16 * app_busy + 0.02 * dice), 0, 4 + h.cores,
		CASE WHEN n % greatest(900 / a.every_s, 1) = 0 THEN mounts(h.disk_gb, l.disk) END
	FROM app a JOIN host h USING (vps_name)
	CROSS JOIN LATERAL ticks(a.vps_name || a.app_name, a.every_s, p_since,
		reports_until(a.silent, p_began, p_until)) t
	CROSS JOIN LATERAL load_at(a.vps_name, n, at, p_began) l
	CROSS JOIN LATERAL (SELECT busy(a.cycle, at) AS app_busy, noise(a.app_name, n) AS dice,
		(l.cpu / 100 * 1.05 + io / 60) * h.cores AS run,
		greatest(0, l.memory - 84) * 2.5 AS swap OFFSET 0) x
$$;

-- ---- checks ----------------------------------------------------------------------------------------
CREATE FUNCTION add_checks(p_began timestamptz, p_since timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = simulated, observ, pg_catalog AS $$
	INSERT INTO health_checks (vps_name, app_name, url, "timestamp", received_at, interval_s, attempts,
		success, status_code, error_class, error_message, response_time_ms, dns_ms, connect_ms,
		tls_ms, first_byte_ms, cert_expires_at)
	SELECT p.vps_name, p.app_name, p.url, at, at + interval '40 ms', p.every_s,
		CASE WHEN f.url IS NULL THEN 1 ELSE 3 END, f.url IS NULL,
		CASE WHEN f.url IS NULL THEN 200 ELSE f.status END, f.class, f.message, took,
		0.4 + dice, 1 + 2 * dice, CASE WHEN p.cert_days IS NOT NULL THEN 9 + 6 * dice END, took * 0.9,
		date_trunc('day', p_began) + p.cert_days * interval '1 day' + interval '23:59'
	FROM probe p JOIN app a USING (vps_name, app_name)
	CROSS JOIN LATERAL ticks(p.url, p.every_s, p_since, reports_until(a.silent, p_began, p_until)) t
	CROSS JOIN LATERAL (SELECT noise(p.url, n) AS dice) d
	LEFT JOIN failure f ON f.url = p.url AND at >= p_began - f.from_ago AND at < p_began - f.to_ago
		AND noise(f.url || '?', n) < f.chance
	CROSS JOIN LATERAL (SELECT coalesce(f.ms,
		p.ms * (0.8 + 0.5 * busy(a.cycle, at) + 0.6 * dice ^ 4)) AS took) r
$$;

-- ---- log lines ---------------------------------------------------------------------------------------
CREATE FUNCTION fill(p_text text, p_dice bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
	users text[] := '{anna,ben,chloé,dmitri,elif,fatima,george,hannah,ivan,jürgen,kofi,lucía,mei,'
		'nadia,olivia,pablo,quentin,rosa,sven,tomasz,ursula,vikram,wei,ximena,yuki,zoë}';
	paths text[] := '{/,/products/shoes,/products/tea,/products/lamps,/cart,/search?q=blue+lamp,/account,'
		'/sale,/products/books,/help/returns}';
	jobs text[] := '{resize_images,reindex_products,send_newsletter,sync_stock,drop_old_carts}';
	nets text[] := '{192.0.2,198.51.100,203.0.113}';
	d bigint := p_dice & 9007199254740991;
	chance float8 := (d / 256 % 1000) / 1000.0;
BEGIN
	RETURN replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(p_text,
		'{trace}', left(md5(d::text), 16)),
		'{user}', users[1 + d % cardinality(users)]),
		'{path}', paths[1 + d / 32 % cardinality(paths)]),
		'{job}', jobs[1 + d / 64 % cardinality(jobs)]),
		'{ip}', format('%s.%s', nets[1 + d % cardinality(nets)], 1 + d / 128 % 250)),
		'{order}', (410000 + d / 16 % 90000)::text),
		'{amount}', round((900 + d / 8 % 24000) / 100.0, 2)::text),
		'{bytes}', (700 + d / 4 % 42000)::text),
		'{few}', (1 + d % 8)::text),
		'{ms}', round(9 + 640 * chance ^ 5)::text),
		'{slow}', round(310 + 3900 * chance ^ 3)::text);
END
$$;

-- The longest scene, at the slowest pace.
CREATE FUNCTION scene_length() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '1 min';

-- The scenes that begin in a time, or shortly before it. The dice decide what the lines of a scene say.
CREATE FUNCTION scenes(p_began timestamptz, p_since timestamptz, p_until timestamptz)
RETURNS TABLE (scene text, begins timestamptz, dice bigint) LANGUAGE sql STABLE AS $$
	SELECT s.scene, at, hashtextextended(s.scene, n)
	FROM scene s CROSS JOIN LATERAL (SELECT extract(epoch FROM every)::float8 AS span,
		extract(epoch FROM greatest(p_since - scene_length(), p_began - from_ago))::float8 AS lo,
		extract(epoch FROM least(p_until, p_began - to_ago))::float8 AS hi) e
	CROSS JOIN LATERAL generate_series(floor(lo / span)::bigint, floor(hi / span)::bigint) n
	CROSS JOIN LATERAL (SELECT to_timestamp((n + noise(s.scene, n)) * span) AS at) t
	WHERE at BETWEEN p_began - from_ago AND p_began - to_ago
		AND noise(s.scene || '?', n) < busy(cycle, at)
	UNION ALL
	SELECT s.scene, p_began - from_ago, hashtextextended(s.scene, 0) FROM scene s WHERE every IS NULL
$$;

CREATE FUNCTION lines(p_began timestamptz, p_since timestamptz, p_until timestamptz)
RETURNS TABLE (at timestamptz, vps_name text, app_name text, level text, logger text, message text,
	context jsonb) LANGUAGE sql STABLE AS $$
	WITH servers AS (
		SELECT app_name, array_agg(vps_name ORDER BY vps_name) AS names FROM app GROUP BY 1
	)
	SELECT l.at, vps, app_name, level, logger, fill(message, dice), fill(context, dice)::jsonb
	FROM (SELECT begins + after_ms * (0.7 + 0.6 * noise(scene, dice)) * interval '1 ms' AS at,
			coalesce(vps_name, names[1 + (dice & 1023) % cardinality(names)]) AS vps, line.*, dice
		FROM scenes(p_began, p_since, p_until) JOIN line USING (scene)
			JOIN servers USING (app_name)) l
	JOIN app a USING (app_name)
	WHERE a.vps_name = vps AND l.at > p_since AND l.at <= reports_until(silent, p_began, p_until)
$$;

-- Lines, and the positions behind them: a line begins where the one before it ends.
CREATE FUNCTION add_lines(p_began timestamptz, p_since timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = simulated, observ, pg_catalog AS $$
	WITH placed AS MATERIALIZED (
		SELECT l.*, stream_id, bytes, "position" + sum(bytes) OVER (PARTITION BY vps_name, app_name
			ORDER BY at, message ROWS UNBOUNDED PRECEDING) AS ends
		FROM lines(p_began, p_since, p_until) l JOIN log_streams s USING (vps_name, app_name)
		CROSS JOIN LATERAL (SELECT 90 + octet_length(message)
			+ coalesce(octet_length(context::text), 0) AS bytes) b
	), written AS (
		INSERT INTO log_entries ("timestamp", vps_name, app_name, level, logger, message, context,
			stream_id, stream_offset, received_at)
		SELECT at, vps_name, app_name, level, logger, message, context, stream_id, ends - bytes,
			at + interval '1 s'
		FROM placed ORDER BY at
	), released AS (                        -- as templates/deploy-hook.sh tells the hub
		INSERT INTO deploys ("timestamp", vps_name, app_name, release, note)
		SELECT at, vps_name, app_name, context->>'release', message
		FROM placed WHERE logger = 'deploy' ORDER BY at
	)
	UPDATE log_streams s SET "position" = greatest(s."position", p.ends),
		updated_at = greatest(s.updated_at, reports_until(a.silent, p_began, p_until))
	FROM app a LEFT JOIN (SELECT vps_name, app_name, max(ends) AS ends FROM placed GROUP BY 1, 2) p
		USING (vps_name, app_name)
	WHERE s.vps_name = a.vps_name AND s.app_name = a.app_name
$$;

-- ---- agents ------------------------------------------------------------------------------------------
-- Each has one log, and has read nothing of it yet. A server has labels, which people may change.
CREATE FUNCTION add_agents(p_began timestamptz, p_since timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = simulated, observ, pg_catalog AS $$
	INSERT INTO log_streams (vps_name, app_name, stream_id, path, file_id, head_hash, tail_hash,
		"position", finished, updated_at)
	SELECT vps_name, app_name, 1, log, 'simulated', '', '', 0, false, p_since FROM app
	ON CONFLICT DO NOTHING;

	INSERT INTO servers (vps_name, labels, created_by)
	SELECT vps_name, jsonb_build_object('environment', environment, 'team', team,
		'tags', '["simulated"]'::jsonb), 'make demo'
	FROM host ON CONFLICT DO NOTHING;

	INSERT INTO agents AS old (vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms, state,
		first_seen_at, last_seen_at, host, address)
	SELECT vps_name, app_name, 1, n, 'simulated', every_s, round(24 * noise(vps_name, 5) - 12),
		jsonb_build_object('rss_kb', 12900 + round(noise(app_name, 7) * 2000), 'pending', 0,
			'lost', 0, 'rejects', 0, 'tail', '{"files": 1, "lag_bytes": 0, "lag_s": 0}'::jsonb),
		p_began - up_days * interval '1 day', at, vps_name, '192.0.2.10'::inet + place
	FROM app JOIN host USING (vps_name) CROSS JOIN LATERAL (
		SELECT n, at FROM ticks(vps_name || app_name, every_s, p_since - interval '1 hour',
			reports_until(silent, p_began, p_until)) ORDER BY n DESC LIMIT 1) newest
	ON CONFLICT (vps_name, app_name) DO UPDATE
		SET last_seq = greatest(old.last_seq, excluded.last_seq),
			last_seen_at = greatest(old.last_seen_at, excluded.last_seen_at)
$$;

-- ---- what the demo calls -------------------------------------------------------------------------------
CREATE FUNCTION history() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '7 days';

CREATE FUNCTION make_days() RETURNS void LANGUAGE sql SET search_path = simulated, observ, pg_catalog AS $$
	SELECT make_partition(tab, day::date)
	FROM fact_tables(), generate_series(now() - history(), now(), interval '1 day') day
$$;

CREATE FUNCTION advance(p_began timestamptz, p_until timestamptz DEFAULT clock_timestamp()) RETURNS void
LANGUAGE plpgsql SET search_path = simulated, observ, pg_catalog SET jit = off AS $$
DECLARE
	v_since timestamptz := greatest(p_until - history(), (SELECT max(updated_at) FROM log_streams
		WHERE vps_name IN (SELECT vps_name FROM host)));
BEGIN
	PERFORM add_agents(p_began, v_since, p_until);
	PERFORM add_metrics(p_began, v_since, p_until);
	PERFORM add_checks(p_began, v_since, p_until);
	PERFORM add_lines(p_began, v_since, p_until);
	PERFORM rebuild_latest();
END
$$;

-- The alerts of the past: what the engine says of these rows at the times in `judged`, and what people did.
-- Nothing once a watcher has evaluated the rules: from then on the alerts are its own.
CREATE FUNCTION judge_story(p_began timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = simulated, observ, pg_catalog SET jit = off AS $$
DECLARE
	v_rules CONSTANT uuid[] := ARRAY(SELECT rule_id FROM alert_rules WHERE is_active ORDER BY 1);
	v_at timestamptz;
BEGIN
	IF EXISTS (SELECT FROM alert_clock WHERE evaluated_until IS NOT NULL) THEN
		RETURN;
	END IF;
	FOR v_at IN SELECT p_began - ago FROM judged, LATERAL (SELECT from_ago - n * every
			FROM generate_series(0, extract(epoch FROM from_ago - to_ago)::int
				/ extract(epoch FROM every)::int - 1) n) t(ago) ORDER BY 1 LOOP
		PERFORM judge(v_rules, v_at);
	END LOOP;
	UPDATE alerts a SET acked_at = p_began - k.ago, acked_by = k.by, ack_note = k.note
		FROM acknowledged k WHERE a.labels ->> 'rule' = k.rule AND a.subject ->> 'server' = k.vps_name
			AND a.state <> 'resolved';
	INSERT INTO silences (match, starts_at, ends_at, comment, created_by, created_at)
		SELECT match, p_began - from_ago, p_began - to_ago, note, by, p_began - from_ago
		FROM silenced;
	UPDATE alert_clock SET evaluated_until = p_began;
	UPDATE notify_state SET flushed_until = p_began;        -- no messages about the past
END
$$;

CREATE FUNCTION remove() RETURNS void
LANGUAGE plpgsql SET search_path = simulated, observ, pg_catalog AS $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY '{servers,agents,log_streams,vps_metrics,health_checks,log_entries,latest_samples,'
			'latest_checks,metrics_5m,metrics_1h,deploys}'::text[] LOOP
		EXECUTE format('DELETE FROM %I WHERE vps_name IN (SELECT vps_name FROM host)', t);
	END LOOP;
	FOREACH t IN ARRAY '{group_told,group_alerts,flapping}'::text[] LOOP
		EXECUTE format('DELETE FROM %I WHERE alert_key IN (SELECT alert_key(rule_id, subject_key)
			FROM alerts WHERE subject ->> ''server'' IN (SELECT vps_name FROM host))', t);
	END LOOP;
	DELETE FROM alert_changes c USING alerts a WHERE c.alert_id = a.alert_id
		AND a.subject ->> 'server' IN (SELECT vps_name FROM host);
	DELETE FROM alerts WHERE subject ->> 'server' IN (SELECT vps_name FROM host);
	DELETE FROM silences s USING silenced d WHERE s.match = d.match AND s.created_by = d.by;
END
$$;
COMMIT;
