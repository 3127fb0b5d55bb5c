-- ==== 75-heartbeats: jobs that say that they ran ===============================================
-- A job says so with one statement, SELECT beat('backup'), as a member of observ_reader, or with one GET or
-- POST of its URL. A job that fails may say that too, and it may say when it starts.
INSERT INTO limit_policy VALUES ('heartbeat', 60, '1 minute') ON CONFLICT DO NOTHING;

-- When the job has to have reported again, after it did at p_last. NULL: never.
CREATE OR REPLACE FUNCTION heartbeat_due(h heartbeats, p_last timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN h.schedule IS NULL THEN p_last + make_interval(secs => h.every_s)
		ELSE next_cron(h.schedule, h.time_zone, p_last) END + make_interval(secs => h.grace_s)
$$;

-- The seconds since it was due, 0 in time. A job that failed is late since then. A line of cron that is wrong
-- is an error.
CREATE OR REPLACE FUNCTION heartbeat_query() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'SELECT h.labels->>''server'' AS server, h.labels->>''app'' AS app,
			(h.labels - ''server'' - ''app'') || jsonb_build_object(''heartbeat'',
				h.name) AS more,
			greatest(0, extract(epoch FROM $1 - CASE l.kind WHEN ''failed''
				THEN l.at - interval ''1 s''
				ELSE heartbeat_due(h, coalesce(l.at, h.created_at)) END)) AS value,
					NULL::text AS problem
		FROM heartbeats h LEFT JOIN LATERAL (SELECT p.at, p.kind FROM heartbeat_pings p
			WHERE p.heartbeat_id = h.heartbeat_id AND p.at <= $1 AND p.kind <> ''start''
			ORDER BY p.at DESC, p.id DESC LIMIT 1) l ON true
		WHERE NOT h.paused AND h.created_at <= $1'
$$;

CREATE OR REPLACE FUNCTION note_beat(h heartbeats, p_kind text, p_note text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	IF p_kind IS NULL OR p_kind NOT IN ('start', 'done', 'failed') THEN
		RAISE EXCEPTION 'a heartbeat is start, done or failed, not "%"', left(p_kind, 100)
			USING ERRCODE = '22023';
	END IF;
	INSERT INTO heartbeat_pings (heartbeat_id, at, kind, note)
		VALUES (h.heartbeat_id, v_now, p_kind, left(p_note, 1000));
	RETURN jsonb_build_object('status', 'ok', 'heartbeat', h.name, 'kind', p_kind, 'due_at', CASE
		WHEN p_kind <> 'start' AND NOT h.paused THEN heartbeat_due(h, v_now) END);
END
$$;

-- For psql: by the name of the heartbeat.
CREATE OR REPLACE FUNCTION beat(p_name text, p_kind text DEFAULT 'done', p_note text DEFAULT NULL) RETURNS
	jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	h heartbeats;
BEGIN
	SELECT * INTO h FROM heartbeats WHERE name = p_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no heartbeat "%"', left(p_name, 200) USING ERRCODE = '22023',
			HINT = 'SELECT name FROM observ.heartbeats';
	END IF;
	RETURN note_beat(h, p_kind, p_note);
END
$$;

-- For the hub: by the hash of the token in its URL. A job that calls it all the time is limited.
CREATE OR REPLACE FUNCTION beat_by_token(p_hash bytea, p_kind text, p_note text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	h heartbeats;
BEGIN
	SELECT * INTO h FROM heartbeats WHERE token_hash = sha256(p_hash);
	IF NOT FOUND THEN
		PERFORM refuse(404, 'There is no heartbeat with this token.');
	ELSIF coalesce(p_kind, 'done') NOT IN ('start', 'done', 'failed') THEN
		PERFORM refuse_errors(field_error(true, 'kind', 'must be start, done or failed'));
	END IF;
	PERFORM take('heartbeat', h.heartbeat_id::text);
	RETURN note_beat(h, coalesce(p_kind, 'done'), p_note);
END
$$;

-- ---- what people write ------------------------------------------------------------
CREATE OR REPLACE FUNCTION cron_valid(p_schedule text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM next_cron(p_schedule, 'UTC', '2026-01-01Z');
	RETURN true;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END
$$;

CREATE OR REPLACE FUNCTION heartbeat_errors(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error((h.schedule IS NULL) = (h.every_s IS NULL), 'schedule',
			'or every_s must be there, and not both')
		|| field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = h.time_zone),
			'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(h.schedule IS NOT NULL AND NOT cron_valid(h.schedule), 'schedule',
			'must be a line of cron such as "30 2 * * *"')
		|| field_error(EXISTS (SELECT FROM heartbeats WHERE name = h.name
			AND heartbeat_id <> h.heartbeat_id), 'name', 'is taken by another heartbeat')
$$;

CREATE OR REPLACE FUNCTION heartbeat_json(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(h) - 'token_hash' || jsonb_build_object('last_at', (SELECT max(at)
		FROM heartbeat_pings p
		WHERE p.heartbeat_id = h.heartbeat_id))
$$;

-- A new one has a token, which is told once: its URL is what the job calls. p_site: the hub's own address.
CREATE OR REPLACE FUNCTION save_heartbeat(p_hash bytea, p_id text, p_body jsonb, p_site text,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h heartbeats;
	v_token CONSTANT text := CASE WHEN p_id IS NULL THEN new_secret('obs_beat') END;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	h := jsonb_populate_record(NULL::heartbeats, changed_row('heartbeat', p_id, p_body, c.email,
		p_match));
	h.token_hash := coalesce(sha256(sha256(convert_to(v_token, 'UTF8'))), h.token_hash);
	PERFORM refuse_errors(heartbeat_errors(h));
	PERFORM put_row('heartbeat', to_jsonb(h)),
		audit(c.email, c.how, saved_how('heartbeat', p_id), h.name, p_body);
	RETURN heartbeat_json(h) || CASE WHEN v_token IS NULL THEN '{}' ELSE jsonb_build_object('url',
		p_site || '/api/v1/heartbeats/' || v_token) END;
END
$$;

CREATE OR REPLACE FUNCTION delete_heartbeat(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	PERFORM audit(c.email, c.how, 'heartbeat deleted', removed_row('heartbeat', p_id)->>'name');
	DELETE FROM heartbeat_pings WHERE heartbeat_id = as_uuid(p_id);
	RETURN '{"ok": true}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION beat TO observ_reader;
GRANT EXECUTE ON FUNCTION beat_by_token TO observ_hub;
GRANT EXECUTE ON FUNCTION save_heartbeat, delete_heartbeat TO observ_hub, observ_enroll;
