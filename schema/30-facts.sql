-- ==== 30-facts: metrics, checks, log lines, and what was lost or refused ========================
-- Sequences hand out ids in blocks, so the order of ids is not the order of rows.
CREATE SEQUENCE IF NOT EXISTS vps_metrics_id_seq CACHE 20;
CREATE SEQUENCE IF NOT EXISTS health_checks_id_seq CACHE 20;
CREATE SEQUENCE IF NOT EXISTS log_entries_id_seq CACHE 1000;

-- scripts/schema makes the lists of metrics from METRICS in wire/sample.h. Their order is the wire format of
-- push_metrics().
CREATE TABLE IF NOT EXISTS vps_metrics (
	id bigint NOT NULL DEFAULT nextval('vps_metrics_id_seq'),
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	-- made: columns
	cpu_percent             double precision,        -- %: busy time of all cores since the last sample
	memory_percent          double precision,        -- %: memory that is not available to new programs
	memory_mb               double precision,        -- MB: memory that is not available to new programs
	disk_percent            double precision,        -- %: space used on the root file system (as df)
	disk_gb                 double precision,        -- GB: space used on the root file system
	load_avg_1m             double precision,        -- load average over 1 minute
	load_avg_5m             double precision,        -- load average over 5 minutes
	load_avg_15m            double precision,        -- load average over 15 minutes
	cpu_user_percent        double precision,        -- %: time in user code (nice included)
	cpu_system_percent      double precision,        -- %: time in the kernel (interrupts included)
	cpu_iowait_percent      double precision,        -- %: time idle while waiting for disks
	cpu_steal_percent       double precision,        -- %: time the hypervisor gave to other machines
	memory_total_mb         double precision,        -- MB: memory of the machine
	swap_percent            double precision,        -- %: swap used
	swap_mb                 double precision,        -- MB: swap used
	disk_total_gb           double precision,        -- GB: size of the root file system
	inode_percent           double precision,        -- %: inodes used on the root file system
	net_rx_bytes_per_s      double precision,        -- B/s: received on all real interfaces
	net_tx_bytes_per_s      double precision,        -- B/s: sent on all real interfaces
	disk_read_bytes_per_s   double precision,        -- B/s: read from all disks
	disk_write_bytes_per_s  double precision,        -- B/s: written to all disks
	tcp_connections         double precision,        -- TCP sockets in use, IPv4 and IPv6
	psi_cpu_percent         double precision,        -- %: time some task waited for a CPU, last 60 s
	psi_memory_percent      double precision,        -- %: time some task waited for memory, last 60 s
	psi_io_percent          double precision,        -- %: time some task waited for a disk, last 60 s
	uptime_s                double precision,        -- s: time since boot
	processes               double precision,        -- processes and threads known to the scheduler
	cpu_count               double precision,        -- cores that are online
	app_cpu_percent         double precision,        -- % of 1 core: CPU time of the application's unit
	app_memory_mb           double precision,        -- MB: memory of the unit without its page cache
	app_restarts            double precision,        -- restarts of the unit since it was loaded
	app_processes           double precision,        -- processes and threads in the application's unit
	-- end of made
	-- Mounts, interfaces. NULL: unchanged since the last row that has them.
	details jsonb CHECK (jsonb_typeof(details) = 'object'),
	backfill boolean NOT NULL DEFAULT false,        -- measured while the database was away
	received_at timestamptz NOT NULL DEFAULT now(), -- by the database's clock
	PRIMARY KEY (vps_name, app_name, "timestamp", id)
) PARTITION BY RANGE ("timestamp");
SELECT want_index('vps_metrics_timestamp_idx', 'vps_metrics ("timestamp" DESC)'),
	want_index('vps_metrics_received_at_idx', 'vps_metrics (received_at)') \g /dev/null

SELECT want_column('vps_metrics', m, 'double precision') FROM unnest(ARRAY[
		-- made: strings
		'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m',
		'load_avg_5m', 'load_avg_15m', 'cpu_user_percent', 'cpu_system_percent', 'cpu_iowait_percent',
		'cpu_steal_percent', 'memory_total_mb', 'swap_percent', 'swap_mb', 'disk_total_gb',
		'inode_percent', 'net_rx_bytes_per_s', 'net_tx_bytes_per_s', 'disk_read_bytes_per_s',
		'disk_write_bytes_per_s', 'tcp_connections', 'psi_cpu_percent', 'psi_memory_percent',
		'psi_io_percent', 'uptime_s', 'processes', 'cpu_count', 'app_cpu_percent', 'app_memory_mb',
		'app_restarts', 'app_processes'
		-- end of made
	]) m \g /dev/null

CREATE TABLE IF NOT EXISTS health_checks (
	id bigint NOT NULL DEFAULT nextval('health_checks_id_seq'),
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	url text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 8192),
	status_code int,                                -- NULL: no answer
	response_time_ms double precision,
	success boolean NOT NULL,
	error_message text,
	error_class text,                               -- dns, refused, timeout, tls, protocol, status, body
	dns_ms double precision,
	connect_ms double precision,
	tls_ms double precision,
	first_byte_ms double precision,
	cert_expires_at timestamptz,
	attempts int,
	backfill boolean NOT NULL DEFAULT false,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, app_name, "timestamp", id)
) PARTITION BY RANGE ("timestamp");
-- How often the check runs, and since when the certificate is valid. NULL: an older agent did not tell.
SELECT want_column('health_checks', 'interval_s', 'int', 'interval_s BETWEEN 1 AND 86400'),
	want_column('health_checks', 'cert_starts_at', 'timestamptz') \g /dev/null
SELECT want_index('health_checks_timestamp_idx', 'health_checks ("timestamp" DESC)'),
	want_index('health_checks_failed_idx', 'health_checks ("timestamp") WHERE NOT success'),
	want_index('health_checks_rare_idx', 'health_checks (vps_name, app_name, "timestamp") '
		'WHERE interval_s > 400')       -- rare_check_s()
	\g /dev/null

-- There is no primary key: stream and offset identify a line, and positions make it arrive once. Another
-- index would cost more than it could catch.
CREATE TABLE IF NOT EXISTS log_entries (
	id bigint NOT NULL DEFAULT nextval('log_entries_id_seq'),
	"timestamp" timestamptz NOT NULL,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	level text NOT NULL,                            -- TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL
	logger text,
	message text NOT NULL,
	context jsonb,
	stream_id bigint,                               -- with the offset of the line's first byte this
	stream_offset bigint,                           -- gives the order of the file
	received_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE ("timestamp");

-- The words of the lines. An older schema.sql may have made other words, which words_version() tells. To make
-- them anew rewrites the table, so its indexes go first.
DO $$
DECLARE
	v_words CONSTANT text := 'words(), version ' || words_version();
BEGIN
	IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'log_entries'::regclass AND attname = 'search'
			AND col_description(attrelid, attnum) = v_words) THEN
		RETURN;
	END IF;
	-- The workers of Citus need the functions first: those of this run. drop_former_functions() drops the
	-- others.
	PERFORM on_all_nodes(pg_get_functiondef(oid)) FROM (SELECT oid FROM pg_proc
		WHERE pronamespace = 'observ'::regnamespace AND provolatile = 'i'
			AND xmin = pg_current_xact_id()::xid ORDER BY oid) f;
	PERFORM on_all_nodes('DROP VIEW IF EXISTS v_logs');
	PERFORM on_all_nodes(format('DROP INDEX IF EXISTS log_entries_%stimestamp_idx', i))
		FROM unnest('{"",vps_name_,app_name_}'::text[]) i;
	PERFORM on_all_nodes('ALTER TABLE log_entries DROP COLUMN IF EXISTS search, ADD COLUMN search '
		'tsvector GENERATED ALWAYS AS (words(level, logger, message, context)) STORED');
	EXECUTE format('COMMENT ON COLUMN log_entries.search IS %L', v_words);
	DROP FUNCTION IF EXISTS long_context_text(jsonb);
END
$$;

-- Times ascend, because lines arrive about in their order: so new entries fill the last page of an index, and
-- PostgreSQL finds it at once. The newest lines are read backwards.
SELECT want_index('log_entries_search_idx', 'log_entries USING gin (search)'),
	want_index('log_entries_timestamp_idx', 'log_entries ("timestamp")'),
	want_index('log_entries_vps_name_timestamp_idx', 'log_entries (vps_name, "timestamp")'),
	want_index('log_entries_app_name_timestamp_idx', 'log_entries (app_name, "timestamp")')
	\g /dev/null

-- What was lost.
CREATE TABLE IF NOT EXISTS gaps (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint,
	kind text NOT NULL,
	lines bigint,
	bytes bigint,
	detail text,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);

-- The rows that the database refused.
CREATE TABLE IF NOT EXISTS rejects (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL CHECK ("timestamp" >= '2000-01-01Z' AND "timestamp" < '2200-01-01Z'),
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint,
	stream_offset bigint,
	sqlstate text,
	reason text,
	raw bytea,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);
GRANT SELECT ON vps_metrics, health_checks, log_entries, gaps, rejects TO observ_hub, observ_watch;

-- ---- agent functions ---------------------------------------------------------------------------
-- Of a sample. p_rows of the functions below is an array of rows, a row an array of values in a fixed order.
CREATE OR REPLACE FUNCTION max_details_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1048576;

-- From microseconds since 1970. A double is exact to the microsecond until the year 2106.
CREATE OR REPLACE FUNCTION from_us(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE RETURN to_timestamp(p_us::double precision / 1000000);

-- The same for gaps and rejects, which must not be refused themselves: a time that is out of range becomes
-- the nearest one that is not.
CREATE OR REPLACE FUNCTION from_us_in_range(p_us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT RETURN from_us(greatest(946684800000000, least(7258118399000000, p_us)));

-- Refuses strings where numbers belong, because 'NaN' would pass for one; and numbers so large that an
-- average overflows, because the nonsense of one server must not stop the roll-ups of all.
CREATE OR REPLACE FUNCTION check_numbers(p_rows jsonb, p_where jsonpath) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF jsonb_path_exists(p_rows, p_where) THEN
		RAISE EXCEPTION 'a value that is no number, or out of range: %',
			left((jsonb_path_query_first(p_rows, p_where))::text, 100) USING ERRCODE = '22023';
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION push_metrics(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	IF pg_column_size(p_rows) > max_details_bytes() AND EXISTS (SELECT FROM jsonb_array_elements(p_rows) r
			WHERE pg_column_size(r->2) > max_details_bytes()) THEN
		RAISE EXCEPTION 'details of a sample are larger than % bytes', max_details_bytes()
			USING ERRCODE = '54000';
	END IF;
	PERFORM check_numbers(p_rows,
		'$[*][3 to last] ? (@.type() != "number" && @.type() != "null" '
		'|| @ > 1e15 || @ < -1e15)');
	INSERT INTO vps_metrics ("timestamp", vps_name, app_name, backfill, details, received_at,
		-- made: names
		cpu_percent, memory_percent, memory_mb, disk_percent, disk_gb, load_avg_1m, load_avg_5m,
		load_avg_15m, cpu_user_percent, cpu_system_percent, cpu_iowait_percent, cpu_steal_percent,
		memory_total_mb, swap_percent, swap_mb, disk_total_gb, inode_percent, net_rx_bytes_per_s,
		net_tx_bytes_per_s, disk_read_bytes_per_s, disk_write_bytes_per_s, tcp_connections,
		psi_cpu_percent, psi_memory_percent, psi_io_percent, uptime_s, processes, cpu_count,
		app_cpu_percent, app_memory_mb, app_restarts, app_processes
		-- end of made
	)
	SELECT from_us((r->>0)::bigint), p_vps, p_app, (r->>1)::boolean, nullif(nullif(r->2, 'null'), '0'),
		v_now,
		-- made: values
		(r->>3)::float8, (r->>4)::float8, (r->>5)::float8, (r->>6)::float8, (r->>7)::float8,
		(r->>8)::float8, (r->>9)::float8, (r->>10)::float8, (r->>11)::float8, (r->>12)::float8,
		(r->>13)::float8, (r->>14)::float8, (r->>15)::float8, (r->>16)::float8, (r->>17)::float8,
		(r->>18)::float8, (r->>19)::float8, (r->>20)::float8, (r->>21)::float8, (r->>22)::float8,
		(r->>23)::float8, (r->>24)::float8, (r->>25)::float8, (r->>26)::float8, (r->>27)::float8,
		(r->>28)::float8, (r->>29)::float8, (r->>30)::float8, (r->>31)::float8, (r->>32)::float8,
		(r->>33)::float8, (r->>34)::float8
		-- end of made
	FROM jsonb_array_elements(p_rows) r;
	IF p_rows->-1 IS NOT NULL THEN
		PERFORM keep_sample(p_vps, p_app, p_rows->-1);
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION push_checks(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	-- Rows of the former order, which waited in an outbox while the agent was upgraded.
	IF jsonb_path_exists(p_rows, '$[*][5] ? (@.type() == "boolean")') THEN
		SELECT jsonb_agg(CASE jsonb_typeof(r->5) WHEN 'boolean' THEN
			jsonb_build_array(r->0, r->1, r->2, r->3, r->4, r->13, r->14, r->11, r->9, r->8,
				r->10, r->12, r->6, r->7) ELSE r END ORDER BY n)
			INTO p_rows FROM jsonb_array_elements(p_rows) WITH ORDINALITY e(r, n);
	END IF;
	PERFORM check_numbers(p_rows,
		'$[*][3 to 11, 14] ? (@.type() != "number" && @.type() != "null" '
		'|| @ > 1e18 || @ < -1e15)');
	INSERT INTO health_checks ("timestamp", vps_name, app_name, url, status_code, response_time_ms,
		success, error_class, error_message, dns_ms, connect_ms, tls_ms, first_byte_ms,
		cert_expires_at, cert_starts_at, attempts, interval_s, backfill, received_at)
	SELECT from_us((r->>0)::bigint), p_vps, p_app, r->>2, (r->>3)::int, (r->>4)::float8, (r->>12) IS NULL,
		left(r->>12, 200), left(r->>13, 8192), (r->>9)::float8, (r->>8)::float8, (r->>10)::float8,
		(r->>7)::float8, from_us((r->>11)::bigint), from_us((r->>14)::bigint), (r->>5)::int,
		(r->>6)::int, (r->>1)::boolean, v_now
	FROM jsonb_array_elements(p_rows) r;
	PERFORM keep_checks(p_vps, p_app, p_rows);
END
$$;

CREATE OR REPLACE FUNCTION push_gaps(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	INSERT INTO gaps ("timestamp", vps_name, app_name, stream_id, kind, lines, bytes, detail, received_at)
	SELECT from_us_in_range((r->>0)::bigint), p_vps, p_app, (r->>1)::bigint, left(r->>2, 200),
		(r->>3)::bigint, (r->>4)::bigint, left(r->>5, 8192), v_now
	FROM jsonb_array_elements(p_rows) r;
END
$$;

CREATE OR REPLACE FUNCTION push_rejects(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	INSERT INTO rejects ("timestamp", vps_name, app_name, stream_id, stream_offset, sqlstate, reason, raw,
		received_at)
	SELECT from_us_in_range((r->>0)::bigint), p_vps, p_app, (r->>1)::bigint, (r->>2)::bigint,
		left(r->>3, 5), left(r->>4, 8192), decode(r->>5, 'base64'), v_now
	FROM jsonb_array_elements(p_rows) r;
END
$$;

-- The hot path: arrays of columns. Checks look at a whole array at once, so a row costs little more than its
-- indexes. p_stream counts in p_streams, from 1.
CREATE OR REPLACE FUNCTION push_logs(p_vps text, p_app text, p_streams bigint[], p_stream smallint[],
	p_offset bigint[], p_timestamp timestamptz[], p_level smallint[], p_logger text[], p_message text[],
	p_context jsonb[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET client_min_messages = warning AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	n int := coalesce(cardinality(p_message), 0);
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_message)::bigint + pg_column_size(p_context) +
		coalesce(pg_column_size(p_logger), 0) + coalesce(pg_column_size(p_offset), 0) +
		coalesce(pg_column_size(p_streams), 0));
	IF (n, n, n, n, n, n) IS DISTINCT FROM (cardinality(p_stream), cardinality(p_offset),
			cardinality(p_timestamp), cardinality(p_level), cardinality(p_logger),
			cardinality(p_context)) THEN
		RAISE EXCEPTION 'arrays differ in length' USING ERRCODE = '2202E';
	END IF;
	IF 1 > ANY (p_stream) OR coalesce(cardinality(p_streams), 0) < ANY (p_stream) OR
	   0 > ANY (p_level) OR 5 < ANY (p_level) OR 0 > ANY (p_offset) THEN
		RAISE EXCEPTION 'stream, offset or level out of range' USING ERRCODE = '22003';
	END IF;
	IF coalesce(array_position(p_streams, NULL), array_position(p_stream, NULL),
			array_position(p_offset, NULL)) > 0 THEN
		RAISE EXCEPTION 'a line without stream or offset' USING ERRCODE = '22004';
	END IF;
	IF '2000-01-01Z' > ANY (p_timestamp) OR '2200-01-01Z' <= ANY (p_timestamp) THEN
		RAISE EXCEPTION 'timestamp out of range' USING ERRCODE = '22008';
	END IF;
	INSERT INTO log_entries ("timestamp", vps_name, app_name, level, logger, message, context, stream_id,
		stream_offset, received_at)
	SELECT t, p_vps, p_app, ('{TRACE,DEBUG,INFO,WARNING,ERROR,CRITICAL}'::text[])[l + 1], g, m, c,
		p_streams[s], o, v_now
	-- In FROM, unnest() would store its rows first.
	FROM (SELECT unnest(p_stream) AS s, unnest(p_offset) AS o, unnest(p_timestamp) AS t,
		unnest(p_level) AS l, unnest(p_logger) AS g, unnest(p_message) AS m,
		unnest(p_context) AS c) u;
	IF 3 <= ANY (p_level) THEN
		PERFORM queue_patterns(p_vps, p_app, v_now, p_level, p_timestamp, p_message);
	END IF;
END
$$;

-- A whole batch without log lines in one call, and in one value: an idle agent sends one statement a minute,
-- and each parameter and each column of an answer costs bytes. p_batch is an array: server, application,
-- epoch, sequence number, the agent's state, positions, then the rows of each kind, in the order of
-- SAMPLE_KINDS in wire/sample.h. A 0 stands for none, and none at the end are left out. It gives no row, the
-- shortest answer. (CALL has a shorter one, but pg_stat_statements before 17 keeps each call with its value.)
-- This runs with the caller's rights, which the functions that it calls check.
CREATE OR REPLACE FUNCTION push(p_batch jsonb) RETURNS SETOF void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_last int := jsonb_array_length(p_batch) - 1;
	v_vps text := p_batch->>0;
	v_app text := p_batch->>1;
	v_rows jsonb;
BEGIN
	PERFORM push_open(v_vps, v_app, (p_batch->>2)::bigint, (p_batch->>3)::bigint,
		nullif(p_batch->4, '0'));
	FOR i IN 6 .. v_last LOOP
		v_rows := p_batch->i;
		CONTINUE WHEN v_rows = '0';
		CASE i - 6
		WHEN 0 THEN PERFORM push_metrics(v_vps, v_app, v_rows);
		WHEN 1 THEN PERFORM push_checks(v_vps, v_app, v_rows);
		WHEN 2 THEN PERFORM push_gaps(v_vps, v_app, v_rows);
		WHEN 4 THEN PERFORM push_rejects(v_vps, v_app, v_rows);
		ELSE
			RAISE EXCEPTION 'no function for rows of kind %', i - 6 USING ERRCODE = '42883';
		END CASE;
	END LOOP;
	IF p_batch->5 <> '0' THEN
		PERFORM push_positions(v_vps, v_app, p_batch->5);
	END IF;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION push_metrics, push_checks, push_logs, push_gaps, push_rejects, push TO observ_agent;

