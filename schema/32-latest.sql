-- ==== 32-latest: the newest sample of each agent, and the newest result of each check ==========
-- A page of the fleet reads a row of an agent here instead of looking for it among millions. The agent
-- functions write these rows in the transaction that brings the facts, under the lock of the agent's row. An
-- agent delivers in the order of its clock, so the last row of a batch is the newest. No index covers what
-- changes, and rows leave room on their page (HOT).
CREATE TABLE IF NOT EXISTS latest_samples (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	"timestamp" timestamptz NOT NULL,
	cpu_percent double precision,
	memory_percent double precision,
	disk_percent double precision,
	inode_percent double precision,
	load_avg_1m double precision,
	cpu_count double precision,
	memory_total_mb double precision,
	disk_total_gb double precision,
	app_cpu_percent double precision,
	app_memory_mb double precision,
	PRIMARY KEY (vps_name, app_name)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE IF NOT EXISTS latest_checks (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	url_key uuid NOT NULL,                          -- md5(url): a URL may be too long for an index
	url text NOT NULL,
	"timestamp" timestamptz NOT NULL,
	success boolean NOT NULL,
	error_class text,
	interval_s int,
	PRIMARY KEY (vps_name, app_name, url_key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- When the certificate expires that the result tells of. NULL: it tells of none.
SELECT want_column('latest_checks', 'cert_until', 'timestamptz') \g /dev/null
GRANT SELECT ON latest_samples, latest_checks TO observ_hub, observ_watch;

-- p_row: a row of push_metrics(). Its places are the order of METRICS in wire/sample.h, which never changes.
CREATE OR REPLACE FUNCTION keep_sample(p_vps text, p_app text, p_row jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO latest_samples AS l (vps_name, app_name, "timestamp", cpu_percent, memory_percent,
		disk_percent, inode_percent, load_avg_1m, cpu_count, memory_total_mb, disk_total_gb,
		app_cpu_percent, app_memory_mb)
	VALUES (p_vps, p_app, from_us((p_row->>0)::bigint), (p_row->>3)::float8, (p_row->>4)::float8,
		(p_row->>6)::float8, (p_row->>19)::float8, (p_row->>8)::float8, (p_row->>30)::float8,
		(p_row->>15)::float8, (p_row->>18)::float8, (p_row->>31)::float8, (p_row->>32)::float8)
	ON CONFLICT (vps_name, app_name) DO UPDATE SET "timestamp" = excluded."timestamp",
		cpu_percent = excluded.cpu_percent, memory_percent = excluded.memory_percent,
		disk_percent = excluded.disk_percent, inode_percent = excluded.inode_percent,
		load_avg_1m = excluded.load_avg_1m, cpu_count = excluded.cpu_count,
		memory_total_mb = excluded.memory_total_mb, disk_total_gb = excluded.disk_total_gb,
		app_cpu_percent = excluded.app_cpu_percent, app_memory_mb = excluded.app_memory_mb;
END
$$;

-- p_rows: the rows of push_checks(), of which the last of a URL counts. One UPDATE a row takes half the time
-- of an INSERT that has to find its conflict.
CREATE OR REPLACE FUNCTION keep_checks(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r jsonb;
BEGIN
	FOR i IN 0 .. jsonb_array_length(p_rows) - 1 LOOP
		r := p_rows->i;
		UPDATE latest_checks SET "timestamp" = from_us((r->>0)::bigint), success = (r->>12) IS NULL,
			error_class = left(r->>12, 200), interval_s = (r->>6)::int,
			cert_until = from_us((r->>11)::bigint)
			WHERE vps_name = p_vps AND app_name = p_app AND url_key = md5(r->>2)::uuid;
		IF NOT FOUND THEN
			INSERT INTO latest_checks VALUES (p_vps, p_app, md5(r->>2)::uuid, r->>2,
				from_us((r->>0)::bigint), (r->>12) IS NULL, left(r->>12, 200),
				(r->>6)::int, from_us((r->>11)::bigint));
		END IF;
	END LOOP;
END
$$;

-- Makes the rows that are missing or behind, of the facts: for rows that were not written by the agent
-- functions, and for a database of an older schema.sql.
CREATE OR REPLACE FUNCTION rebuild_latest() RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO latest_samples AS l
	SELECT a.vps_name, a.app_name, s.* FROM agents a CROSS JOIN LATERAL (
		SELECT v."timestamp", cpu_percent, memory_percent, disk_percent, inode_percent, load_avg_1m,
			cpu_count, memory_total_mb, disk_total_gb, app_cpu_percent, app_memory_mb
		FROM vps_metrics v
		WHERE v.vps_name = a.vps_name AND v.app_name = a.app_name
			AND v."timestamp" > a.last_seen_at - interval '1 day'
			AND v."timestamp" < a.last_seen_at + interval '1 day'
		ORDER BY v."timestamp" DESC LIMIT 1) s
	ON CONFLICT (vps_name, app_name) DO UPDATE SET "timestamp" = excluded."timestamp",
		cpu_percent = excluded.cpu_percent, memory_percent = excluded.memory_percent,
		disk_percent = excluded.disk_percent, inode_percent = excluded.inode_percent,
		load_avg_1m = excluded.load_avg_1m, cpu_count = excluded.cpu_count,
		memory_total_mb = excluded.memory_total_mb, disk_total_gb = excluded.disk_total_gb,
		app_cpu_percent = excluded.app_cpu_percent, app_memory_mb = excluded.app_memory_mb
		WHERE l."timestamp" < excluded."timestamp";
	INSERT INTO latest_checks AS l
	SELECT a.vps_name, a.app_name, md5(c.url)::uuid, c.url, c."timestamp", success, left(error_class,
		200),
		c.interval_s, c.cert_expires_at
	FROM agents a CROSS JOIN LATERAL (
		SELECT DISTINCT ON (url COLLATE "C") * FROM (
			SELECT url, h."timestamp", success, error_class, h.interval_s,
				h.cert_expires_at FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name
				AND h."timestamp" > a.last_seen_at - interval '1 hour'
				AND h."timestamp" < a.last_seen_at + interval '1 hour'
			UNION ALL
			SELECT url, h."timestamp", success, error_class, h.interval_s,
				h.cert_expires_at FROM health_checks h
			WHERE h.vps_name = a.vps_name AND h.app_name = a.app_name
				AND h.interval_s > 400          -- rare_check_s()
				AND h."timestamp" > a.last_seen_at - check_expiry(max_check_s())
				AND h."timestamp" <= a.last_seen_at - interval '1 hour') r
		ORDER BY url COLLATE "C", "timestamp" DESC) c
	ON CONFLICT (vps_name, app_name, url_key) DO UPDATE SET "timestamp" = excluded."timestamp",
		success = excluded.success, error_class = excluded.error_class,
		interval_s = excluded.interval_s, cert_until = excluded.cert_until
		WHERE l."timestamp" < excluded."timestamp";
END
$$;

-- Deletes what no page shows any more: results that no longer count, and rows of agents that are not there.
CREATE OR REPLACE FUNCTION expire_latest() RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_count bigint;
	deleted bigint;
BEGIN
	DELETE FROM latest_samples l WHERE NOT EXISTS (SELECT FROM agents a
		WHERE a.vps_name = l.vps_name AND a.app_name = l.app_name);
	GET DIAGNOSTICS deleted = ROW_COUNT;
	DELETE FROM latest_checks l WHERE NOT EXISTS (SELECT FROM agents a
		WHERE a.vps_name = l.vps_name AND a.app_name = l.app_name
			AND l."timestamp" > a.last_seen_at - 2 * check_expiry(max_check_s()));
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN deleted + v_count;
END
$$;

SELECT drop_former_functions() \g /dev/null
SELECT rebuild_latest() WHERE NOT EXISTS (SELECT 1 FROM latest_samples) \g /dev/null
