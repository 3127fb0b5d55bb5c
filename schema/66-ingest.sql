-- ==== 66-ingest: servers that post over HTTP: their posts, once each, and their releases =======
-- A server that posts is a server like any other. Its row in `agents` has the application "host", or the name
-- that the server was given as job_name.
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
