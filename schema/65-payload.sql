
-- ==== 65-payload: what a post of a server may hold, and the rows that it becomes ===============
-- A payload becomes
-- * one row of vps_metrics. Names that are no column, and all else that is not named below, are kept in
--   details.payload: the state of containers and the score belong to the moment of the sample, as the mounts
--   of an agent's sample do, and need no table before a page or a rule asks for them by column.
-- * rows of log_entries: the log lines; Docker's events under the logger "docker"; the client's own alerts
--   under "local_alert". These are things that happened at a time and that people search for by words, so the
--   log search, its retention and its export serve them at once. Their context is the object as it came.
--
-- Functions that only ingest() (66-ingest.sql) calls have no SET: they run with its search_path. To set it
-- anew costs about 4 us, and a post calls 25 of them.

-- ---- what a payload may hold -----------------------------------------------------------------------
-- The metrics, as clients may call them.
CREATE OR REPLACE FUNCTION metric_columns() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[
	-- made: strings
	'cpu_percent', 'memory_percent', 'memory_mb', 'disk_percent', 'disk_gb', 'load_avg_1m', 'load_avg_5m',
	'load_avg_15m', 'cpu_user_percent', 'cpu_system_percent', 'cpu_iowait_percent', 'cpu_steal_percent',
	'memory_total_mb', 'swap_percent', 'swap_mb', 'disk_total_gb', 'inode_percent', 'net_rx_bytes_per_s',
	'net_tx_bytes_per_s', 'disk_read_bytes_per_s', 'disk_write_bytes_per_s', 'tcp_connections',
	'psi_cpu_percent', 'psi_memory_percent', 'psi_io_percent', 'uptime_s', 'processes', 'cpu_count',
	'app_cpu_percent', 'app_memory_mb', 'app_restarts', 'app_processes'
	-- end of made
	];

-- Other names of metrics.
CREATE OR REPLACE FUNCTION metric_aliases() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{
	"ram_percent": "memory_percent",
	"cpu_usage": "cpu_percent",
	"memory_usage": "memory_percent",
	"disk_usage": "disk_percent",
	"network_rx_bytes_per_sec": "net_rx_bytes_per_s",
	"network_tx_bytes_per_sec": "net_tx_bytes_per_s"}'::jsonb;

-- Counters since boot, and the rate that two of them give.
CREATE OR REPLACE FUNCTION metric_counters() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{"net_bytes_sent": "net_tx_bytes_per_s", "net_bytes_recv": "net_rx_bytes_per_s"}'::jsonb;

-- A time: RFC 3339, UTC if it names no zone; or a number of seconds, milliseconds, microseconds or
-- nanoseconds since 1970, told apart by size. NULL: it is none, or not of this century or the next.
CREATE OR REPLACE FUNCTION ingest_time(p_value jsonb) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v text := p_value #>> '{}';
	n numeric;
	t timestamptz;
BEGIN
	IF jsonb_typeof(p_value) = 'number' AND abs((p_value)::numeric) < 1e19 THEN
		n := (p_value)::numeric;
		t := to_timestamp((n / CASE WHEN n < 1e11 THEN 1 WHEN n < 1e14 THEN 1000 WHEN n < 1e17
			THEN 1000000 ELSE 1000000000 END)::double precision);
	ELSIF jsonb_typeof(p_value) <> 'string' THEN
		RETURN NULL;
	ELSIF v ~ ('^20\d\d-(0[1-9]|1[0-2])-([01][1-9]|10|2[0-8])'
			'T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$') THEN
		RETURN v::timestamptz;
	ELSIF v ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?$' THEN
		v := translate(v, ',tz', '.TZ') || CASE WHEN v ~ '[Zz]$|[+-]\d\d:?\d\d$' THEN '' ELSE 'Z' END;
		BEGIN                                   -- it may be no date; this way of asking costs more
			t := v::timestamptz;
		EXCEPTION WHEN data_exception THEN
			RETURN NULL;
		END;
	END IF;
	RETURN CASE WHEN t >= '2000-01-01Z' AND t < '2200-01-01Z' THEN t END;
END
$$;

-- Whether a value is of a kind; one that is absent, or null, is of each. This and the functions that give
-- rows have no SET, so that PostgreSQL puts them in the place of their call: a plan of theirs would be made
-- anew for each post.
CREATE OR REPLACE FUNCTION ingest_fits(p_kind text,
	v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(v)
	WHEN 'null' THEN true
	WHEN 'number' THEN CASE p_kind WHEN 'percent' THEN v::numeric BETWEEN 0 AND 100
		WHEN 'amount' THEN v::numeric BETWEEN 0 AND 1e15 WHEN 'number' THEN abs(v::numeric) <= 1e15
		WHEN 'time' THEN ingest_time(v) IS NOT NULL ELSE false END
	WHEN 'string' THEN CASE p_kind WHEN 'text' THEN length(v #>> '{}') <= 1000
		WHEN 'time' THEN ingest_time(v) IS NOT NULL
		ELSE p_kind IN ('string', 'host', 'object, string') END
	WHEN 'array' THEN CASE p_kind WHEN 'load' THEN jsonb_array_length(v) = 3 AND NOT jsonb_path_exists(v,
			'$[*] ? (@.type() != "number" || @ < 0 || @ > 1e15)')
		ELSE p_kind IN ('array', 'logs') END
	WHEN 'object' THEN p_kind IN ('object', 'host', 'logs', 'object, string')
	ELSE v IS NULL END;

-- What is wrong with a value that is not of its kind, in words.
CREATE OR REPLACE FUNCTION ingest_fault(p_kind text, v jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_is text := CASE jsonb_typeof(v) WHEN 'number' THEN left(v::text, 40) WHEN 'object' THEN 'an object'
		WHEN 'array' THEN 'a list' WHEN 'string' THEN left(v::text, 40) ELSE v::text END;
BEGIN
	RETURN CASE p_kind
		WHEN 'percent' THEN format('is %s; write a number from 0 to 100', v_is)
		WHEN 'amount' THEN format('is %s; write a number from 0 to 1e15', v_is)
		WHEN 'number' THEN format('is %s; write a number', v_is)
		WHEN 'text' THEN format('is %s; write a string of at most 1000 characters', v_is)
		WHEN 'string' THEN format('is %s; write a string', coalesce(v_is, 'missing'))
		WHEN 'time' THEN format('is %s; write a time as 2026-11-30T06:00:00Z, or seconds since 1970',
			v_is)
		WHEN 'load' THEN 'must be the three load averages: [1.5, 1.2, 0.9]'
		WHEN 'host' THEN format('is %s; write the name of the host, or an object with hostname', v_is)
		WHEN 'logs' THEN format('is %s; write a list, or an object with systemd', v_is)
		WHEN 'array' THEN format('is %s; write a list', v_is)
		ELSE format('is %s; write an object', v_is) END;
END
$$;

-- The fields that are known, and of which kind they are.
CREATE OR REPLACE FUNCTION ingest_fields() RETURNS TABLE (field text, path text[], kind text)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	VALUES ('ts', '{ts}'::text[], 'time'), ('timestamp', '{timestamp}', 'time'), ('host', '{host}',
		'host'),
		('host.hostname', '{host,hostname}', 'text'), ('host.os', '{host,os}', 'text'),
		('host.os_release', '{host,os_release}', 'text'), ('host.machine', '{host,machine}', 'text'),
		('metrics', '{metrics}', 'object'), ('metrics.loadavg', '{metrics,loadavg}', 'load'),
		('docker', '{docker}', 'object'), ('docker.containers', '{docker,containers}', 'array'),
		('docker.events', '{docker,events}', 'array'), ('docker_events', '{docker_events}', 'array'),
		('logs', '{logs}', 'logs'), ('logs.systemd', '{logs,systemd}', 'object'),
		('local_alerts', '{local_alerts}', 'array'), ('score', '{score}', 'number'),
		('server_id', '{server_id}', 'text'), ('env', '{env}', 'text'), ('owner_team', '{owner_team}',
			'text');
END;

-- The kind of a metric, by the name of its column.
CREATE OR REPLACE FUNCTION metric_kind(p_column text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_column LIKE '%\_percent' AND p_column <> 'app_cpu_percent' THEN 'percent'
	ELSE 'amount' END;

-- The elements of a list. What is no list has none.
CREATE OR REPLACE FUNCTION elements(p_list jsonb) RETURNS TABLE (item jsonb, place bigint)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT e, i - 1 FROM jsonb_array_elements(CASE jsonb_typeof(p_list) WHEN 'array' THEN p_list END)
		WITH ORDINALITY v(e, i);
END;

CREATE OR REPLACE FUNCTION members(p_object jsonb) RETURNS TABLE (name text, item jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT k, v FROM jsonb_each(CASE jsonb_typeof(p_object) WHEN 'object' THEN p_object END) e(k, v);
END;

-- What is wrong with the items of lists: each field of which kind, and its value.
CREATE OR REPLACE FUNCTION ingest_items(p jsonb) RETURNS TABLE (field text, kind text, value jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT format('%s[%s]%s', l.name, i.place, '.' || f.name), f.kind,
		CASE WHEN f.name IS NULL THEN i.item ELSE i.item->f.name END
	FROM (VALUES ('docker_events', p->'docker_events', 'things'),
			('docker.events', p #> '{docker,events}', 'things'),
			('docker.containers', p #> '{docker,containers}', 'things'),
			('local_alerts', p->'local_alerts', 'things'), ('logs', p->'logs', 'lines')) l(name,
				list, of)
		CROSS JOIN LATERAL elements(l.list) i
		JOIN (VALUES ('things', NULL, 'object, string'), ('things', 'timestamp', 'time'),
			('lines', NULL, 'object'), ('lines', 'message', 'string'), ('lines', 'timestamp',
				'time'),
			('lines', 'container', 'text')) f(of, name, kind) ON f.of = l.of
	WHERE f.name IS NULL OR jsonb_typeof(i.item) = 'object' AND (i.item ? f.name OR f.kind = 'string')
	UNION ALL SELECT format('logs.systemd.%s', u.name), 'array', u.item
		FROM members(p #> '{logs,systemd}') u
	UNION ALL SELECT format('logs.systemd.%s[%s]', u.name, i.place), 'string', i.item
	FROM members(p #> '{logs,systemd}') u CROSS JOIN LATERAL elements(u.item) i;
END;

-- All that is wrong with a payload: [{"field": ..., "message": ...}], at most 20.
CREATE OR REPLACE FUNCTION ingest_faults(p jsonb, p_vps text, p_at timestamptz,
	p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v jsonb;
BEGIN
	IF jsonb_typeof(p) IS DISTINCT FROM 'object' THEN
		RETURN field_error(true, '', 'must be an object');
	END IF;
	SELECT jsonb_agg(jsonb_build_object('field', left(f.field, 200), 'message', coalesce(f.message,
		ingest_fault(f.kind, f.value)))) INTO v FROM (
		SELECT field, kind, p #> path AS value, NULL AS message FROM ingest_fields()
			WHERE NOT ingest_fits(kind, p #> path)
		UNION ALL SELECT 'metrics.' || name, metric_kind(c), item, NULL
			FROM members(p->'metrics'), LATERAL (SELECT coalesce(metric_aliases()->>name,
				name)) a(c)
			WHERE (c = ANY (metric_columns()) OR metric_counters() ? name)
				AND NOT ingest_fits(metric_kind(c), item)
		UNION ALL SELECT *, NULL FROM ingest_items(p) i
			WHERE NOT ingest_fits(i.kind, i.value) OR i.kind <> 'time' AND i.kind <> 'text'
				AND coalesce(i.value, 'null') = 'null'
		UNION ALL SELECT 'timestamp', NULL, NULL, 'is missing; write ts or timestamp'
			WHERE coalesce(p->'ts', 'null') = 'null' AND coalesce(p->'timestamp', 'null') = 'null'
		UNION ALL SELECT 'metrics', NULL, NULL,
			'is missing; write an object, {} if nothing was measured'
			WHERE coalesce(p->'metrics', 'null') = 'null'
		UNION ALL SELECT 'timestamp', NULL, NULL,
			'lies more than a day ahead: the clock of the client is wrong'
			WHERE p_at > p_now + interval '1 day'
		UNION ALL SELECT 'server_id', NULL, NULL, 'is the server_id of another server'
			WHERE CASE WHEN p->>'server_id' <> server_id(p_vps)::text THEN EXISTS (SELECT
				FROM servers
				WHERE server_id(vps_name) = as_uuid(p->>'server_id')) END
		LIMIT 20) f;
	RETURN coalesce(v, '[]');
END
$$;

-- ---- the rows of a payload ---------------------------------------------------------------------------
-- Its metrics: {column: value}. A name of the database goes before an alias of it.
CREATE OR REPLACE FUNCTION ingest_metrics(p jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v jsonb;
BEGIN
	SELECT jsonb_object_agg(c, value ORDER BY c = key) INTO v
		FROM jsonb_each(p->'metrics') m, LATERAL (SELECT coalesce(metric_aliases()->>key, key)) a(c)
		WHERE value <> 'null' AND c = ANY (metric_columns());
	IF jsonb_typeof(p #> '{metrics,loadavg}') = 'array' THEN
		v := jsonb_build_object('load_avg_1m', p #> '{metrics,loadavg,0}',
			'load_avg_5m', p #> '{metrics,loadavg,1}',
			'load_avg_15m', p #> '{metrics,loadavg,2}') || coalesce(v, '{}');
	END IF;
	RETURN coalesce(v, '{}');
END
$$;

-- What of it becomes neither a column nor a row nor a part of the agent's state, under its own names.
CREATE OR REPLACE FUNCTION ingest_kept(p jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_kept jsonb := jsonb_strip_nulls(
		p - '{ts,timestamp,metrics,host,docker,docker_events,logs,local_alerts}'::text[]);
	v jsonb;
BEGIN
	v := (p->'metrics') - (metric_columns() || '{loadavg,ram_percent,cpu_usage,memory_usage,disk_usage,'
		'network_rx_bytes_per_sec,network_tx_bytes_per_sec,net_bytes_sent,net_bytes_recv}'::text[]);
	IF v <> '{}' THEN
		v_kept := v_kept || jsonb_build_object('metrics', v);
	END IF;
	FOR i IN 1..3 LOOP
		v := p->(('{docker,host,logs}'::text[])[i]);
		IF jsonb_typeof(v) = 'object' THEN
			v := v - CASE i WHEN 1 THEN '{events}'::text[]
				WHEN 2 THEN '{hostname,os,os_release,machine}'::text[]
					ELSE '{systemd}'::text[] END;
			IF v <> '{}' THEN
				v_kept := v_kept || jsonb_build_object(('{docker,host,logs}'::text[])[i], v);
			END IF;
		END IF;
	END LOOP;
	RETURN v_kept;
END
$$;

-- The level of a client's word for it. NULL: not known.
CREATE OR REPLACE FUNCTION ingest_level(p_word text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_word ~* '^(crit|fatal|emerg|alert|panic|page|disaster)' THEN 'CRITICAL'
	WHEN p_word ~* '^(err|high|severe|major|fail)' THEN 'ERROR'
	WHEN p_word ~* '^(warn|medium|minor)' THEN 'WARNING'
	WHEN p_word ~* '^(info|notice|low|ok|resolved)' THEN 'INFO'
	WHEN p_word ~* '^debug' THEN 'DEBUG' END;

-- Docker's events as lines, in the words of `docker events`, of the engine's API or of a client.
CREATE OR REPLACE FUNCTION ingest_events(p_list jsonb, p_at timestamptz)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT coalesce(ingest_time(item->'timestamp'), ingest_time(item->'timeNano'),
			ingest_time(item->'time'), p_at),
		CASE WHEN action ~ '^oom' THEN 'ERROR'
			WHEN action ~ '^(kill|health_status: unhealthy)'
				OR action ~ '^die' AND coalesce(code, '') <> '0' THEN 'WARNING'
			ELSE 'INFO' END,
		'docker', coalesce(nullif(concat_ws(' ', type, action, name, '(' || image || ')'), ''),
			item #>> '{}'),
		CASE jsonb_typeof(item) WHEN 'object' THEN item END
	FROM elements(p_list), LATERAL (SELECT
		coalesce(item->>'type', item->>'Type') AS type,
		coalesce(item->>'action', item->>'Action', item->>'status') AS action,
		coalesce(item->>'container', item #>> '{Actor,Attributes,name}', item->>'name',
			item->>'id') AS name,
		coalesce(item->>'image', item #>> '{Actor,Attributes,image}', item->>'from') AS image,
		coalesce(item->>'exitCode', item #>> '{Actor,Attributes,exitCode}') AS code) e;
END;

-- The alerts that the client raised itself.
CREATE OR REPLACE FUNCTION ingest_alerts(p_list jsonb, p_at timestamptz)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT coalesce(ingest_time(item->'timestamp'), p_at),
		coalesce(ingest_level(coalesce(item->>'severity', item->>'level')), 'WARNING'), 'local_alert',
		coalesce(nullif(coalesce(item->>'message', item->>'msg', item->>'title', item->>'name',
			item->>'rule', item->>'type', item #>> '{}'), ''), 'alert'),
		CASE jsonb_typeof(item) WHEN 'object' THEN item END
	FROM elements(p_list);
END;

-- Its log lines, as the hub has read them: [place in the list or null, logger, microseconds since 1970,
-- level, message, context or null]. What the item says besides joins the context of its line.
CREATE OR REPLACE FUNCTION ingest_lines(p_list jsonb, p_lines jsonb)
RETURNS TABLE (at timestamptz, level text, logger text, message text, context jsonb)
LANGUAGE sql IMMUTABLE BEGIN ATOMIC
	SELECT from_us(greatest(946684800000000, least(7258118399000000, (l->>2)::bigint))),
		('{TRACE,DEBUG,INFO,WARNING,ERROR,CRITICAL}'::text[])[(l->>3)::int + 1],
		left(l->>1, 1000), l->>4,
		CASE WHEN beside IS NULL OR beside = '{}' THEN nullif(own, '{}')
			WHEN own ?| ARRAY(SELECT jsonb_object_keys(beside))
				THEN own || jsonb_build_object('item', beside)
			ELSE own || beside END
	FROM jsonb_array_elements(p_lines) l,
		LATERAL (SELECT coalesce(nullif(l->5, 'null'), '{}') AS own,
			CASE WHEN l->>0 IS NOT NULL THEN jsonb_strip_nulls(p_list->(l->>0)::int)
				- '{message,timestamp}'::text[] END AS beside) c;
END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION metric_columns, rollup_columns TO observ_hub;
