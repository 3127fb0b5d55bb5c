-- ==== 79-heartbeat-writes: what people write about heartbeats: the jobs that must call in time ===
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
CREATE OR REPLACE FUNCTION save_heartbeat(p_hash bytea, p_id text, p_body jsonb, p_site text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h heartbeats;
	v_token CONSTANT text := CASE WHEN p_id IS NULL THEN new_secret('obs_beat') END;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	h := jsonb_populate_record(NULL::heartbeats, changed_row('heartbeat', p_id, p_body, c.email));
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
GRANT EXECUTE ON FUNCTION save_heartbeat, delete_heartbeat TO observ_hub, observ_enroll;
