
-- ==== 65-ingest: servers that post over HTTP: their tokens, and the rows of what they post =======
-- A server that posts is a server like any other. Its row in `agents` has the application "host", or the name
-- that the server was given as job_name. A payload becomes
-- * one row of vps_metrics. Names that are no column, and all else that is not named below, are kept in
--   details.payload: the state of containers and the score belong to the moment of the sample, as the mounts
--   of an agent's sample do, and need no table before a page or a rule asks for them by column.
-- * rows of log_entries: the log lines; Docker's events under the logger "docker"; the client's own alerts
--   under "local_alert". These are things that happened at a time and that people search for by words, so the
--   log search, its retention and its export serve them at once. Their context is the object as it came.
--
-- Functions that only ingest() calls have no SET: they run with its search_path. To set it anew costs about
-- 4 us, and a post calls 25 of them.
--
-- A post arrives once: the id of its metrics row is made of its content, so the table's own key refuses the
-- second one. An Idempotency-Key gives the same answer for a day.

-- The answers of a day. maintain() deletes older ones.
CREATE TABLE IF NOT EXISTS ingest_keys (
	vps_name text NOT NULL,
	key text NOT NULL,
	content bigint NOT NULL,                        -- hash of the payload
	answer jsonb NOT NULL,
	made_at timestamptz NOT NULL,
	PRIMARY KEY (vps_name, key)
);
CREATE OR REPLACE FUNCTION max_post_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1048576;
CREATE OR REPLACE FUNCTION max_key_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 255;
-- A post that is older than this on arrival was held back: an outage, not the network.
CREATE OR REPLACE FUNCTION late_after(p_interval_s int) RETURNS interval LANGUAGE sql IMMUTABLE
RETURN make_interval(secs => greatest(300, 3.0 * coalesce(p_interval_s, 60)));

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

-- ---- the post ----------------------------------------------------------------------------------------
INSERT INTO limit_policy VALUES ('ingest', 600, '1 minute') ON CONFLICT DO NOTHING;

-- The server that a token belongs to.
CREATE OR REPLACE FUNCTION server_of_token(p_token bytea, p_now timestamptz) RETURNS servers
LANGUAGE plpgsql STABLE AS $$
DECLARE
	s servers;
BEGIN
	SELECT v.* INTO s FROM server_tokens t JOIN servers v USING (vps_name)
		WHERE token_hash = sha256(p_token) AND valid_until > p_now;
	IF NOT FOUND THEN
		PERFORM refuse(401, 'This is no token of a server, or it was revoked or replaced.');
	ELSIF NOT s.is_active THEN
		PERFORM refuse(403, format('Server "%s" is not active: its posts are refused.', s.vps_name));
	END IF;
	RETURN s;
END
$$;

-- For the hub, before it reads a large post: refuses what ingest() would refuse for its token.
CREATE OR REPLACE FUNCTION admit_server(p_token bytea) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM server_of_token(p_token, clock_timestamp());
	RETURN json_build_object('ok', true);
END
$$;

-- A refusal undoes all that its transaction did, its count as well, so the hub counts it behind the refusal:
-- for the user or the server whose session or token was shown, or for the address that wants to enroll.
-- Nobody else can be charged, so nobody can use up another's limit. Being over the limit is an answer here.
CREATE OR REPLACE FUNCTION charge_refusal(p_hash bytea, p_kind text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_key text;
BEGIN
	PERFORM set_config('synchronous_commit', 'off', true);
	v_key := CASE p_kind WHEN 'write' THEN (SELECT user_id::text FROM asking(p_hash, 'viewer'))
		WHEN 'ingest' THEN (server_of_token(p_hash, clock_timestamp())).vps_name
		WHEN 'enroll' THEN address_key(request_address()) END;
	PERFORM take(p_kind, v_key) WHERE v_key IS NOT NULL;
	RETURN true;
EXCEPTION WHEN SQLSTATE 'OB429' THEN
	RETURN false;
END
$$;

-- The row of the application as which a server posts, locked.
CREATE OR REPLACE FUNCTION lock_poster(p_vps text, p_app text, p_now timestamptz) RETURNS agents
LANGUAGE plpgsql AS $$
DECLARE
	a agents;
BEGIN
	LOOP
		SELECT * INTO a FROM agents WHERE vps_name = p_vps AND app_name = p_app FOR UPDATE;
		IF FOUND THEN
			RETURN a;
		END IF;
		INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at)
			VALUES (p_vps, p_app, 0, p_now, p_now) ON CONFLICT (vps_name, app_name) DO NOTHING;
	END LOOP;
END
$$;

-- The answer that a key got before, within a day. The same key with another payload is a mistake.
CREATE OR REPLACE FUNCTION answered(p_vps text, p_key text, p_content bigint, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	k ingest_keys;
BEGIN
	IF octet_length(p_key) > max_key_bytes() THEN
		PERFORM refuse(400, format('The Idempotency-Key has %s bytes; at most %s are taken.',
			octet_length(p_key), max_key_bytes()));
	END IF;
	SELECT * INTO k FROM ingest_keys
		WHERE vps_name = p_vps AND key = p_key AND made_at > p_now - interval '1 day';
	IF k.content <> p_content THEN
		PERFORM refuse(422,
			'This Idempotency-Key came with another payload before; write a new key.');
	END IF;
	RETURN k.answer;
END
$$;

-- NULL: it is no address.
CREATE OR REPLACE FUNCTION address_of(p_text text) RETURNS inet
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN nullif(p_text, '')::inet;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN NULL;
END
$$;

-- The identity of a payload within its server and time. It is negative: sequences give positive ids.
CREATE OR REPLACE FUNCTION content_id(p jsonb) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
 AS $$
BEGIN
	RETURN ('x' || encode(substr(sha256(convert_to(p::text, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint
		| (1::bigint << 63);
END
$$;

-- The counters of a payload, with their time; NULL: it has none.
CREATE OR REPLACE FUNCTION ingest_counters(p_metrics jsonb, p_at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
RETURN CASE WHEN p_metrics ?| '{net_bytes_sent,net_bytes_recv}' THEN jsonb_build_object('at', p_at,
	'net_bytes_sent', p_metrics->'net_bytes_sent', 'net_bytes_recv', p_metrics->'net_bytes_recv') END;

-- The rates of counters that grew since an earlier post: {column: bytes per second}. One that went back gives
-- none.
CREATE OR REPLACE FUNCTION ingest_rates(p_now jsonb, p_before jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_gap_s double precision := extract(epoch
		FROM ingest_time(p_now->'at') - ingest_time(p_before->'at'));
	v_rates jsonb := '{}';
	c record;
BEGIN
	IF v_gap_s IS NULL OR v_gap_s <= 0 OR v_gap_s > 86400 THEN
		RETURN v_rates;
	END IF;
	FOR c IN SELECT value #>> '{}' AS rate, (nullif(p_now->key, 'null'))::double precision AS now,
			(nullif(p_before->key, 'null'))::double precision AS before
				FROM jsonb_each(metric_counters()) LOOP
		IF c.now >= c.before THEN
			v_rates := v_rates || jsonb_build_object(c.rate, (c.now - c.before) / v_gap_s);
		END IF;
	END LOOP;
	RETURN v_rates;
END
$$;

-- Of a server that posts, the number of its last batch is the time of its newest post, in microseconds.
CREATE OR REPLACE FUNCTION post_seq(p_at timestamptz) RETURNS bigint LANGUAGE sql STABLE
RETURN (extract(epoch FROM p_at) * 1000000)::bigint;

-- The agent's row after a post. Its interval is the time between two posts; an outage must not make it
-- long, so it grows threefold at most. What a post does not tell stays as it was. A post that is older than
-- the newest one only shows that the server is there.
CREATE OR REPLACE FUNCTION note_post(a agents, p jsonb, p_at timestamptz, p_gap_s double precision,
	p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_host jsonb := p->'host';
	v_state jsonb;
BEGIN
	IF p_gap_s < 0 THEN
		UPDATE agents SET last_seen_at = p_now, retired_at = NULL
			WHERE vps_name = a.vps_name AND app_name = a.app_name;
		RETURN;
	END IF;
	v_state := coalesce(a.state, '{}') || jsonb_strip_nulls(jsonb_build_object('source', 'http',
		'os', v_host->'os', 'os_release', v_host->'os_release', 'machine', v_host->'machine',
		'environment', p->'env', 'team', p->'owner_team', 'score', p->'score',
		'local_alerts', report_size(p, 'local_alerts'),
		'counters', ingest_counters(p->'metrics', p_at)));
	a.host := left(CASE jsonb_typeof(v_host) WHEN 'object' THEN v_host->>'hostname'
		ELSE v_host #>> '{}' END, 200);
	a.address := address_of(current_setting('observ.address', true));
	a.version := left(p->>'agent_version', 200);
	a.skew_ms := greatest(0, round(extract(epoch FROM p_at - p_now) * 1000));
	IF p_gap_s > 0 THEN
		a.interval_s := greatest(1, least(86400, round(least(p_gap_s, 3.0 * a.interval_s))));
	END IF;
	IF v_state = a.state THEN               -- else the columns that are made of it are computed again
		UPDATE agents SET last_seen_at = p_now, last_seq = post_seq(p_at), retired_at = NULL,
			interval_s = a.interval_s, skew_ms = a.skew_ms, host = a.host, address = a.address,
			version = a.version WHERE vps_name = a.vps_name AND app_name = a.app_name;
	ELSE
		UPDATE agents SET last_seen_at = p_now, last_seq = post_seq(p_at), retired_at = NULL,
			interval_s = a.interval_s, skew_ms = a.skew_ms, host = a.host, address = a.address,
			version = a.version, state = v_state
			WHERE vps_name = a.vps_name AND app_name = a.app_name;
	END IF;
END
$$;

-- The rows of its lists. Their offsets give the order in which they came. All are made before the first is
-- written: Citus is busy with a row on its way, and ingest_time() wants a savepoint.
CREATE OR REPLACE FUNCTION ingest_logs(a agents, p jsonb, p_lines jsonb, p_at timestamptz, p_now timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v_offset bigint := extract(epoch FROM p_at) * 1000000;
	l record;
BEGIN
	SELECT count(*) AS n, array_agg(at) AS at, array_agg(level) AS level, array_agg(logger) AS logger,
			array_agg(message) AS message, array_agg(context) AS context INTO l
		FROM (SELECT * FROM ingest_lines(p->'logs', p_lines)
			UNION ALL SELECT * FROM ingest_events(p->'docker_events', p_at)
			UNION ALL SELECT * FROM ingest_events(p #> '{docker,events}', p_at)
			UNION ALL SELECT * FROM ingest_alerts(p->'local_alerts', p_at)) x;
	IF l.n > 0 THEN
		INSERT INTO log_entries ("timestamp", vps_name, app_name, level, logger, message, context,
				stream_id, stream_offset, received_at)
			SELECT x.at, a.vps_name, a.app_name, x.level, x.logger, x.message, x.context,
				('x' || left(md5(coalesce(x.logger, '')), 15))::bit(60)::bigint,
				v_offset + x.n, p_now
			FROM unnest(l.at, l.level, l.logger, l.message, l.context) WITH ORDINALITY
				x(at, level, logger, message, context, n);
		INSERT INTO pattern_queue (vps_name, app_name, received_at, levels, times, messages)
			SELECT a.vps_name, a.app_name, p_now,
				array_agg(array_position('{WARNING,ERROR,CRITICAL}'::text[], x.level) + 2),
				array_agg(x.at), array_agg(left(x.message, 1000))
			FROM unnest(l.at, l.level, l.message) x(at, level, message)
			WHERE x.level IN ('WARNING', 'ERROR', 'CRITICAL') HAVING count(*) > 0;
	END IF;
	RETURN l.n;
END
$$;

-- Its row of vps_metrics; false: the row is there already. (In INSERT ... SELECT Citus would count such a
-- row.)
CREATE OR REPLACE FUNCTION ingest_sample(a agents, p_metrics jsonb, p_kept jsonb, p_content bigint,
	p_at timestamptz, p_late boolean, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	r vps_metrics := jsonb_populate_record(NULL::vps_metrics, p_metrics
		|| jsonb_build_object('id', p_content, 'timestamp', p_at, 'vps_name', a.vps_name,
			'app_name', a.app_name, 'backfill', p_late, 'received_at', p_now)
		|| CASE p_kept WHEN '{}' THEN '{}' ELSE jsonb_build_object('details',
			jsonb_build_object('payload', p_kept)) END);
BEGIN
	INSERT INTO vps_metrics VALUES (r.*) ON CONFLICT DO NOTHING;
	RETURN FOUND;
END
$$;

-- The labels that a server's posts name, until somebody sets others.
CREATE OR REPLACE FUNCTION label_poster(s servers, p jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_told jsonb := jsonb_strip_nulls(jsonb_build_object('environment', left(nullif(p->>'env', ''), 200),
		'team', left(nullif(p->>'owner_team', ''), 200)));
BEGIN
	IF NOT s.labels ?& ARRAY(SELECT jsonb_object_keys(v_told)) THEN
		UPDATE servers SET labels = v_told || labels WHERE vps_name = s.vps_name;
	END IF;
END
$$;

-- The newest sample of the poster: see 32-latest.
CREATE OR REPLACE FUNCTION keep_posted(a agents, p_metrics jsonb, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep_sample(a.vps_name, a.app_name, jsonb_build_array((extract(epoch
		FROM p_at) * 1000000)::bigint,
		NULL, NULL) || (SELECT jsonb_agg(p_metrics->c ORDER BY n)
		FROM unnest(metric_columns()) WITH ORDINALITY v(c, n)));
END
$$;

-- Takes a payload of either form, whose log lines the hub has read: see ingest_lines(). The answer tells what
-- became of it.
CREATE OR REPLACE FUNCTION ingest(p_token bytea, p_body jsonb, p_key text DEFAULT NULL,
	p_lines jsonb DEFAULT '[]') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	s servers := server_of_token(p_token, v_now);
	a agents;
	v_at timestamptz := ingest_time(coalesce(nullif(p_body->'ts', 'null'), p_body->'timestamp'));
	v_content bigint := content_id(p_body);
	v_key text := p_key;
	v_metrics jsonb;
	v_kept jsonb;
	v_gap_s double precision;
	v_answer jsonb;
	v_new boolean := true;
BEGIN
	PERFORM take('ingest', s.vps_name), refuse_errors(ingest_faults(p_body, s.vps_name, v_at, v_now));
	v_metrics := ingest_metrics(p_body);
	v_kept := ingest_kept(p_body);
	IF v_metrics = '{}' AND v_kept = '{}' THEN      -- it makes no sample, whose key would know it again
		v_key := coalesce(p_key, concat(E'\x01', v_at, v_content));
	END IF;
	a := lock_poster(s.vps_name, coalesce(s.job_name, 'host'), v_now);
	v_answer := answered(a.vps_name, v_key, v_content, v_now);
	IF v_answer IS NOT NULL THEN
		RETURN v_answer;
	END IF;
	v_gap_s := CASE WHEN a.last_seq > post_seq('2000-01-01Z')
		THEN (post_seq(v_at) - a.last_seq) / 1e6 END;
	IF a.state ? 'counters' THEN
		v_metrics := v_metrics || ingest_rates(ingest_counters(p_body->'metrics', v_at),
			a.state->'counters');
	END IF;
	v_answer := jsonb_build_object('status', 'ok', 'server', a.vps_name, 'server_id',
		server_id(a.vps_name),
		'app', a.app_name, 'timestamp', v_at, 'received_at', v_now,
		'backfill', v_at < v_now - late_after(a.interval_s),
		'metrics', (SELECT count(*) FROM jsonb_object_keys(v_metrics)), 'logs', 0, 'duplicate',
			false);
	IF v_metrics <> '{}' OR v_kept <> '{}' THEN
		v_new := ingest_sample(a, v_metrics, v_kept, v_content, v_at,
			(v_answer->'backfill')::boolean, v_now);
	END IF;
	IF v_new THEN
		v_answer := v_answer || jsonb_build_object('logs', ingest_logs(a, p_body, p_lines, v_at,
			v_now));
		PERFORM note_post(a, p_body, v_at, v_gap_s, v_now);
		IF p_body ?| '{env,owner_team}' THEN
			PERFORM label_poster(s, p_body);
		END IF;
		IF v_metrics <> '{}' AND coalesce(v_gap_s >= 0, true) THEN
			PERFORM keep_posted(a, v_metrics, v_at);
		END IF;
	ELSE
		v_answer := v_answer || '{"metrics": 0, "duplicate": true}';
	END IF;
	IF v_key IS NOT NULL THEN
		INSERT INTO ingest_keys VALUES (a.vps_name, v_key, v_content, v_answer, v_now)
			ON CONFLICT (vps_name, key) DO UPDATE SET content = excluded.content,
				answer = excluded.answer, made_at = excluded.made_at;
	END IF;
	RETURN v_answer;
END
$$;

-- ---- releases ----------------------------------------------------------------------------------------
-- A release of an application, as templates/deploy-hook.sh tells it.
CREATE TABLE IF NOT EXISTS deploys (
	id bigint GENERATED BY DEFAULT AS IDENTITY,
	"timestamp" timestamptz NOT NULL,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	release text NOT NULL,
	note text,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (vps_name, "timestamp", id)
);
GRANT SELECT ON deploys TO observ_hub, observ_watch;

-- {"app", "release", "note"?, "timestamp"?} of the server whose token it is.
CREATE OR REPLACE FUNCTION record_deploy(p_token bytea, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	s servers := server_of_token(p_token, v_now);
	v_at timestamptz := coalesce(ingest_time(p_body->'timestamp'), v_now);
BEGIN
	PERFORM take('ingest', s.vps_name), refuse_errors(
		unknown_fields(p_body, '{app,release,note,timestamp}')
		|| field_error(jsonb_typeof(p_body->'app') IS DISTINCT FROM 'string'
			OR NOT fits_name(p_body->>'app'), 'app', 'must be the name of an application')
		|| field_error(jsonb_typeof(p_body->'release') IS DISTINCT FROM 'string'
			OR length(p_body->>'release') > 200, 'release',
				'must be a string of at most 200 characters')
		|| field_error(NOT ingest_fits('text', p_body->'note'), 'note',
			'must be a string of at most 1000 characters')
		|| field_error(NOT ingest_fits('time', p_body->'timestamp'), 'timestamp',
			'must be a time as 2026-11-30T06:00:00Z'));
	INSERT INTO deploys ("timestamp", vps_name, app_name, release, note)
		VALUES (v_at, s.vps_name, p_body->>'app', p_body->>'release', p_body->>'note');
	RETURN jsonb_build_object('status', 'ok', 'server', s.vps_name, 'app', p_body->>'app',
		'release', p_body->>'release', 'timestamp', v_at);
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION charge_refusal TO observ_hub;
GRANT EXECUTE ON FUNCTION admit_server, ingest, record_deploy TO observ_hub;
GRANT EXECUTE ON FUNCTION metric_columns, rollup_columns TO observ_hub;
