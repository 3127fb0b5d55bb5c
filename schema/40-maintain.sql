-- ==== 40-maintain: roll-ups, retention, partitions, maintain() ==================================
CREATE TABLE IF NOT EXISTS metrics_5m (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	"timestamp" timestamptz NOT NULL,               -- start of the bucket
	samples int NOT NULL,
	PRIMARY KEY (vps_name, app_name, "timestamp")
);
CREATE TABLE IF NOT EXISTS metrics_1h (LIKE metrics_5m INCLUDING ALL);

-- The metrics that are rolled up, each as <name>_avg, <name>_min and <name>_max.
CREATE OR REPLACE FUNCTION rollup_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY[
		-- made: rolled up
		'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m',
		'cpu_iowait_percent', 'cpu_steal_percent', 'swap_percent', 'inode_percent',
		'net_rx_bytes_per_s', 'net_tx_bytes_per_s', 'disk_read_bytes_per_s', 'disk_write_bytes_per_s',
		'tcp_connections', 'psi_cpu_percent', 'psi_memory_percent', 'psi_io_percent',
		'app_cpu_percent', 'app_memory_mb'
		-- end of made
	]
$$;
SELECT want_column(t, c || '_' || f, 'double precision')
	FROM unnest(ARRAY['metrics_5m', 'metrics_1h']) t, unnest(rollup_columns()) WITH ORDINALITY m(c, n),
		unnest(ARRAY['avg', 'min', 'max']) f ORDER BY t, n, f \g /dev/null

-- The file systems, by mount point: the average percentage of the bucket. NULL: none was told of.
SELECT want_column(t, 'mounts', 'jsonb') FROM unnest(ARRAY['metrics_5m', 'metrics_1h']) t \g /dev/null

-- How long rows are kept. The most exact policy decides: application and level, then application, then level,
-- then the one with neither. keep is NULL: for ever. Days end in UTC.
CREATE TABLE IF NOT EXISTS retention_policy (
	kind text NOT NULL CONSTRAINT retention_kinds CHECK (kind IN ('metrics', 'checks', 'logs', 'gaps',
		'rejects', 'metrics_5m', 'metrics_1h', 'alerts', 'notifications', 'pings', 'patterns')),
	app_name text,
	level text CHECK (level IS NULL OR kind = 'logs'),
	keep interval CHECK (keep > '0'),
	done_until timestamptz,                         -- maintain() has dealt with the rows before this
	UNIQUE NULLS NOT DISTINCT (kind, app_name, level)
);

CREATE TABLE IF NOT EXISTS rollup_state (
	rollup text PRIMARY KEY,
	received_until timestamptz NOT NULL             -- rows received before this are rolled up
);

CREATE TABLE IF NOT EXISTS job_runs (
	job text NOT NULL,
	started_at timestamptz NOT NULL,
	finished_at timestamptz NOT NULL,
	ok boolean NOT NULL,
	result text NOT NULL
);

-- An older schema.sql knew fewer kinds.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'retention_policy_kind_check'
			AND conrelid = 'retention_policy'::regclass) THEN
		ALTER TABLE retention_policy DROP CONSTRAINT retention_policy_kind_check, ADD CONSTRAINT
			retention_kinds CHECK (kind IN ('metrics', 'checks', 'logs', 'gaps', 'rejects',
				'metrics_5m',
			'metrics_1h', 'alerts', 'notifications', 'pings', 'patterns'));
		INSERT INTO retention_policy (kind, keep) VALUES ('alerts', '1 year'), ('notifications',
			'90 days'),
			('pings', '90 days'), ('patterns', '1 year');
	END IF;
END
$$;
INSERT INTO retention_policy (kind, keep)
	SELECT kind, keep::interval FROM (VALUES ('metrics', '90 days'), ('checks', '90 days'),
		('logs', '30 days'), ('gaps', '90 days'), ('rejects', '90 days'), ('metrics_5m', '90 days'),
		('metrics_1h', '2 years'), ('alerts', '1 year'), ('notifications', '90 days'),
		('pings', '90 days'), ('patterns', '1 year')) v(kind, keep)
	WHERE NOT EXISTS (SELECT FROM schema_version)   -- only in a new database: people change these
	ON CONFLICT DO NOTHING;

SELECT want_index('metrics_5m_timestamp_idx', 'metrics_5m ("timestamp")'),
	want_index('metrics_1h_timestamp_idx', 'metrics_1h ("timestamp")'),
	want_index('job_runs_started_at_idx', 'job_runs (started_at)') \g /dev/null
GRANT SELECT ON metrics_5m, metrics_1h, retention_policy, job_runs TO observ_hub, observ_watch;

-- ---- partitions ---------------------------------------------------------------------------
-- The partitions of a table with their bounds. The default partition has none.
CREATE OR REPLACE FUNCTION partitions(p_table text)
RETURNS TABLE (partition regclass, lower_bound timestamptz, upper_bound timestamptz)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
	SELECT c.oid::regclass, b[1]::timestamptz, b[2]::timestamptz
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	LEFT JOIN regexp_match(pg_get_expr(c.relpartbound, c.oid),
		$r$FROM \('(.*)'\) TO \('(.*)'\)$r$) b ON true
	WHERE i.inhparent = p_table::regclass
	ORDER BY 2
$$;

-- Makes the partition of a day (in UTC) if it is missing, and moves into it the rows of that day that the
-- default partition holds. The table is made first and attached then: unlike CREATE TABLE ... PARTITION OF,
-- this does not lock the parent against writers.
CREATE OR REPLACE FUNCTION make_partition(p_table text, p_day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_name text := format('%s_%s', p_table, to_char(p_day, 'YYYYMMDD'));
	v_default text := p_table || '_default';
	v_from timestamptz := p_day::timestamp AT TIME ZONE 'UTC';
	v_to timestamptz := (p_day + 1)::timestamp AT TIME ZONE 'UTC';
	v_columns text;
BEGIN
	IF to_regclass(v_name) IS NOT NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('LOCK TABLE ONLY %I IN SHARE UPDATE EXCLUSIVE MODE', p_table);
	EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', v_default);
	EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING GENERATED '
		'INCLUDING CONSTRAINTS INCLUDING STORAGE)', v_name, p_table);
	SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO v_columns
		FROM pg_attribute
		WHERE attrelid = p_table::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
	EXECUTE format('WITH moved AS (DELETE FROM %I WHERE "timestamp" >= $1 AND "timestamp" < $2 '
		'RETURNING %s) INSERT INTO %I (%2$s) SELECT %2$s FROM moved', v_default, v_columns, v_name)
		USING v_from, v_to;
	EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
		p_table, v_name, v_from, v_to);
	RETURN true;
END
$$;

-- ---- maintain() ---------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION fact_tables() RETURNS TABLE (kind text, tab text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	VALUES ('metrics', 'vps_metrics'), ('checks', 'health_checks'), ('logs', 'log_entries')
$$;

-- No policy keeps rows of this kind that are older. -infinity: some are kept for ever.
CREATE OR REPLACE FUNCTION oldest_kept(p_kind text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN bool_or(app_name IS NULL AND level IS NULL) AND count(keep) = count(*)
		THEN now() - max(keep) ELSE '-infinity' END
	FROM retention_policy WHERE kind = p_kind
$$;

-- Makes the partitions of two days back, three days ahead, and every day that is kept and has rows in the
-- default partition.
CREATE OR REPLACE FUNCTION maintain_partitions(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	f record;
	d date;
	made int := 0;
BEGIN
	FOR f IN SELECT * FROM fact_tables() LOOP
		FOR d IN EXECUTE format('SELECT current_date + n FROM generate_series(-2, 3) n UNION '
				'SELECT "timestamp"::date FROM %I '
				'WHERE "timestamp" >= $1 AND "timestamp" < current_date + 4 ORDER BY 1',
				f.tab || '_default')
				USING greatest(oldest_kept(f.kind), now() - interval '400 days') LOOP
			made := made + make_partition(f.tab, d)::int;
		END LOOP;
	END LOOP;
	RETURN format('%s partitions made', made);
END
$$;

-- What is in details->'mounts'. A member that is no number, or one that no file system has, is none: the
-- nonsense of one server must not stop the rules of all. What nobody can write to does not fill, so read-only
-- file systems are left out.
CREATE OR REPLACE FUNCTION mounts_of(p_details jsonb)
RETURNS TABLE (mount text, percent float8, inode_percent float8, used_gb float8, total_gb float8)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
	SELECT left(u->>'mount', 300), v[1], v[2], v[3], v[4]
	FROM jsonb_path_query(p_details, '$.mounts[*] ? (@.mount.type() == "string"
		&& !(@.read_only == true))') u,
		LATERAL (SELECT array_agg(CASE WHEN u->k BETWEEN '0' AND '1e15'
			THEN round((u->>k)::numeric, 6)::float8 END
			ORDER BY n) FROM unnest('{percent,inode_percent,used_gb,total_gb}'::text[])
				WITH ORDINALITY k(k, n)) v(v)
$$;

-- The average percentage of each file system in the details of several samples.
CREATE OR REPLACE FUNCTION mounts_average(p_details jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_object_agg(mount, round(percent::numeric, 2)) FROM (SELECT mount, avg(percent) AS percent
		FROM unnest(p_details) d, mounts_of(d) WHERE percent IS NOT NULL GROUP BY 1) m
$$;

-- Computes each bucket anew that got a row since the last run. received_at decides, so rows that an outage
-- held back are not missed. Each run covers the last hour again, for transactions that were still open then.
CREATE OR REPLACE FUNCTION maintain_rollup(p_rollup text, p_width interval, p_deadline timestamptz)
RETURNS text LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_from timestamptz;
	v_to timestamptz;
	v_sql text;
	v_count bigint;
	buckets bigint := 0;
BEGIN
	SELECT format('INSERT INTO %I (vps_name, app_name, "timestamp", samples, mounts, %s) '
		'SELECT b.vps_name, b.app_name, b.start, a.* FROM (SELECT DISTINCT vps_name, app_name, '
			'date_bin($1, "timestamp", ''2000-01-01Z'') AS start FROM vps_metrics '
			'WHERE received_at >= $2 AND received_at < $3 AND "timestamp" >= $4) b, '
		'LATERAL (SELECT count(*), mounts_average(array_agg(m.details) '
			'FILTER (WHERE m.details IS NOT NULL)), %s FROM vps_metrics m '
			'WHERE m.vps_name = b.vps_name AND m.app_name = b.app_name '
			'AND m."timestamp" >= b.start AND m."timestamp" < b.start + $1) a '
		'ON CONFLICT (vps_name, app_name, "timestamp") '
			'DO UPDATE SET samples = excluded.samples, mounts = excluded.mounts, %s',
		p_rollup, string_agg(format('%I', c || '_' || f), ', ' ORDER BY n, f),
		string_agg(format('%s(m.%I)', f, c), ', ' ORDER BY n, f),
		string_agg(format('%1$I = excluded.%1$I', c || '_' || f), ', ' ORDER BY n, f))
		INTO v_sql
		FROM unnest(rollup_columns()) WITH ORDINALITY u(c, n), unnest(ARRAY['avg', 'min', 'max']) f;
	SELECT received_until - interval '1 hour' INTO v_from FROM rollup_state WHERE rollup = p_rollup;
	IF v_from IS NULL THEN
		SELECT min(received_at) INTO v_from FROM vps_metrics;
	END IF;
	WHILE v_from < v_now AND clock_timestamp() < p_deadline LOOP
		v_to := least(v_from + interval '6 hours', v_now);
		EXECUTE v_sql USING p_width, v_from, v_to, greatest(oldest_kept(p_rollup),
			(SELECT now() - min(keep) FROM retention_policy WHERE kind = 'metrics'));
		GET DIAGNOSTICS v_count = ROW_COUNT;
		buckets := buckets + v_count;
		INSERT INTO rollup_state VALUES (p_rollup, v_to)
			ON CONFLICT (rollup) DO UPDATE SET received_until = excluded.received_until;
		v_from := v_to;
	END LOOP;
	RETURN format('%s buckets of %s', buckets, p_rollup)
		|| CASE WHEN v_from < v_now THEN ' (unfinished)' ELSE '' END;
END
$$;

CREATE OR REPLACE FUNCTION maintain_rollups(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN concat_ws(', ', maintain_rollup('metrics_5m', '5 minutes', p_deadline),
		maintain_rollup('metrics_1h', '1 hour', p_deadline));
END
$$;

-- The rows that a policy decides, as a condition: those it names, without those that a more exact one names.
CREATE OR REPLACE FUNCTION policy_condition(p retention_policy) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT concat_ws(' AND ', 'true', 'app_name = ' || quote_literal(p.app_name),
		'level = ' || quote_literal(p.level),
		string_agg(format('NOT (%s)', concat_ws(' AND ', 'app_name = ' || quote_literal(q.app_name),
			'level = ' || quote_literal(q.level))), ' AND '))
	FROM retention_policy q
	WHERE q.kind = p.kind
		AND (q.app_name IS NOT NULL, q.level IS NOT NULL)
			> (p.app_name IS NOT NULL, p.level IS NOT NULL)
$$;

-- Deletes the rows that one policy no longer keeps from partitions that others keep, an hour at a time.
-- done_until remembers how far, and the next run begins a day before it. Rows that arrive even later go when
-- their partition is dropped.
CREATE OR REPLACE FUNCTION expire_rows(p retention_policy, p_table text, p_deadline timestamptz)
RETURNS bigint LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_until timestamptz := now() - p.keep;
	v_where text := policy_condition(p);
	v_from timestamptz;
	v_count bigint;
	deleted bigint := 0;
	part record;
BEGIN
	<<parts>>
	FOR part IN SELECT partition, greatest(lower_bound, p.done_until - interval '1 day') AS lo,
			least(upper_bound, v_until) AS hi FROM partitions(p_table)
			WHERE lower_bound < v_until AND upper_bound > oldest_kept(p.kind)
			ORDER BY lower_bound LOOP
		v_from := part.lo;
		WHILE v_from < part.hi LOOP
			IF clock_timestamp() > p_deadline THEN
				v_until := v_from;
				EXIT parts;
			END IF;
			EXECUTE format('DELETE FROM %s WHERE "timestamp" >= $1 AND "timestamp" < $2 AND %s',
				part.partition, v_where)
				USING v_from, least(v_from + interval '1 hour', part.hi);
			GET DIAGNOSTICS v_count = ROW_COUNT;
			deleted := deleted + v_count;
			v_from := v_from + interval '1 hour';
		END LOOP;
	END LOOP;
	UPDATE retention_policy r SET done_until = v_until
		WHERE (r.kind, r.app_name, r.level) IS NOT DISTINCT FROM (p.kind, p.app_name, p.level);
	RETURN deleted;
END
$$;

CREATE OR REPLACE FUNCTION maintain_rows(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	p retention_policy;
	v_table text;
	v_count bigint;
	deleted bigint := 0;
BEGIN
	FOR p IN SELECT * FROM retention_policy WHERE keep IS NOT NULL
			AND kind NOT IN ('alerts', 'notifications', 'pings', 'patterns') -- maintain_alerts()
			ORDER BY kind, app_name, level LOOP
		SELECT tab INTO v_table FROM fact_tables() f WHERE f.kind = p.kind;
		IF v_table IS NOT NULL AND now() - p.keep > oldest_kept(p.kind) THEN
			deleted := deleted + expire_rows(p, v_table, p_deadline);
		END IF;
		-- Either clock counts: rows of a server whose clock is years ahead are deleted too.
		EXECUTE format('DELETE FROM %I WHERE ("timestamp" < $1%s) AND %s',
			coalesce(v_table || '_default', p.kind),
			CASE WHEN p.kind NOT LIKE 'metrics\_%' THEN ' OR received_at < $1' END,
			policy_condition(p))
			USING now() - p.keep;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		deleted := deleted + v_count;
	END LOOP;
	DELETE FROM ingest_keys WHERE made_at < now() - interval '1 day';
	DELETE FROM server_tokens WHERE valid_until < now();
	DELETE FROM deploys WHERE "timestamp" < now() - interval '2 years';
	DELETE FROM log_streams WHERE finished AND updated_at < now() - interval '1 year';
	DELETE FROM job_runs WHERE started_at < now() - interval '90 days';
	PERFORM expire_latest();
	RETURN format('%s rows deleted', deleted)
		|| CASE WHEN clock_timestamp() > p_deadline THEN ' (unfinished)' ELSE '' END;
END
$$;
-- This is the last step, because it locks out writers until the transaction ends.
CREATE OR REPLACE FUNCTION maintain_drops(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
	f record;
	part regclass;
	dropped int := 0;
BEGIN
	FOR f IN SELECT * FROM fact_tables() LOOP
		FOR part IN SELECT partition FROM partitions(f.tab)
				WHERE upper_bound <= oldest_kept(f.kind) LOOP
			EXECUTE format('DROP TABLE %s', part);
			dropped := dropped + 1;
		END LOOP;
	END LOOP;
	RETURN format('%s partitions dropped', dropped);
END
$$;

-- Run this every few minutes (templates/observ-maintain.*). It may run in several places: one at a time
-- works. A step that fails, say because a table stays locked, is reported, and the next run tries it again.
CREATE OR REPLACE FUNCTION maintain(p_budget interval DEFAULT '2 minutes') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET lock_timeout = '3s' SET jit = off AS $$
DECLARE
	v_start timestamptz := clock_timestamp();
	v_step text;
	v_note text;
	notes text[] := '{}';
	failed boolean := false;
BEGIN
	-- A row and no advisory lock, because any agent could take that and keep it.
	PERFORM FROM schema_version WHERE version = (SELECT min(version) FROM schema_version)
		FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 'another maintain() is at work, nothing done';
	END IF;
	FOREACH v_step IN ARRAY ARRAY['maintain_sessions', 'maintain_people', 'maintain_alerts',
		'maintain_rollups',
			'maintain_rows', 'maintain_partitions', 'maintain_drops'] LOOP
		BEGIN
			EXECUTE format('SELECT %I($1)', v_step) INTO v_note USING v_start + p_budget;
		EXCEPTION WHEN OTHERS THEN
			v_note := format('%s failed: %s', v_step, sqlerrm);
			failed := true;
			RAISE WARNING '%', v_note;
		END;
		notes := notes || v_note;
	END LOOP;
	v_note := array_to_string(notes, ', ');
	INSERT INTO job_runs VALUES ('maintain', v_start, clock_timestamp(), NOT failed, v_note);
	RETURN v_note;
END
$$;
SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION maintain TO observ_watch;

-- The first partitions.
DO $$
DECLARE
	t text;
BEGIN
	FOR t IN SELECT tab FROM fact_tables() LOOP
		IF to_regclass(t || '_default') IS NULL THEN
			EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', t || '_default', t);
		END IF;
	END LOOP;
END
$$;
SELECT maintain_partitions('infinity') \g /dev/null

