-- ==== 79-message-writes: where messages go: channels, routes, inhibitions, windows, silences ===
-- ---- channels -----------------------------------------------------------------------------------
-- A channel without its secrets: only their names, and where URLs lead.
CREATE OR REPLACE FUNCTION channel_json(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(c) - 'secrets' || jsonb_build_object('is_active', c.disabled_at IS NULL,
		'settings_text', nullif(labels_text(c.settings || secrets_shown(c.secrets)), ''),
		'secrets_shown', secrets_shown(c.secrets), 'secrets_set',
		(SELECT coalesce(jsonb_agg(k ORDER BY k), '[]') FROM jsonb_object_keys(c.secrets) k))
		|| (SELECT jsonb_build_object('waiting', count(*), 'waiting_since', min(made_at))
			FROM notifications n WHERE n.channel_id = c.channel_id AND sent_at IS NULL
				AND dead_at IS NULL AND (c.disabled_at IS NULL OR attempts > 0))
		|| (SELECT jsonb_build_object('trouble', max(s.last_error), 'retry_at', max(s.retry_at))
			FROM channel_state s WHERE s.channel_id = c.channel_id AND s.failures > 0
				AND c.disabled_at IS NULL)
$$;

-- What is wrong with one of them, which the watcher would refuse at the first message. NULL: nothing.
CREATE OR REPLACE FUNCTION setting_problem(p_kind text, p_name text, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN p_name = 'url' AND p_kind = 'mail' AND p_value !~ '^smtps?://[^/[:space:]]'
			THEN 'must be smtp://HOST:PORT or smtps://HOST'
		WHEN p_name IN ('url', 'api_url') AND p_kind <> 'mail'
				AND p_value !~* '^https?://[^/[:space:]]'
			THEN 'must be an address such as https://HOST/PATH'
		WHEN p_kind = 'mail' AND p_name = 'tls' AND p_value NOT IN ('required', 'none')
			THEN 'must be required or none'
		WHEN p_kind = 'mail' AND p_name IN ('from', 'to') AND p_value !~ '[^[:space:]]@[^[:space:]]'
			THEN 'must be an address such as ann@example.com' END
$$;

-- What is wrong with the settings of a channel, by the table channel_kinds.
CREATE OR REPLACE FUNCTION channel_errors(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM channel_kinds WHERE kind = c.kind), 'kind',
		'must be one of '
			|| (SELECT string_agg(kind, ', ' ORDER BY kind) FROM channel_kinds))
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', part || '.' || left(name, 100),
			'message', CASE
				WHEN spec IS NULL THEN 'is not known; known are '
					|| coalesce(array_to_string(names, ', '), 'none')
				WHEN value IS NULL THEN 'is missing: ' || (spec->>'help')
				WHEN open_url THEN 'would show a login or a query: leave it out; '
					'a login has settings of its own'
				WHEN jsonb_typeof(value) <> 'string' OR value #>> '{}' ~ '[[:cntrl:]]'
					OR octet_length(value #>> '{}') NOT BETWEEN 1 AND 4000
					THEN 'must be one line of 1 to 4000 bytes'
				ELSE setting_problem(k.kind, name, value #>> '{}') END)
			ORDER BY part, name), '[]')
			FROM (SELECT kind, channel_kinds.settings, channel_kinds.secrets FROM channel_kinds
				WHERE kind = c.kind) k
			CROSS JOIN LATERAL (VALUES ('settings', k.settings, c.settings), ('secrets',
				k.secrets, c.secrets))
				p(part, specs, given)
			CROSS JOIN LATERAL (SELECT array_agg(n ORDER BY n)
				FROM jsonb_object_keys(specs) n) a(names)
			CROSS JOIN LATERAL (SELECT name, specs->name AS spec, given->name AS value,
				part = 'settings' AND given->>name ~* '^https?://([^/?#]*@|[^?#]*[?#])'
					AS open_url
				FROM (SELECT jsonb_object_keys(specs) UNION
					SELECT jsonb_object_keys(given)) u(name)) f
			WHERE spec IS NULL OR open_url OR (value IS NULL AND (spec->'required')::boolean)
				OR (value IS NOT NULL AND (jsonb_typeof(value) <> 'string'
					OR value #>> '{}' ~ '[[:cntrl:]]'
					OR octet_length(value #>> '{}') NOT BETWEEN 1 AND 4000
					OR setting_problem(k.kind, name, value #>> '{}') IS NOT NULL)))
$$;

-- A form has "settings.NAME", "secrets.NAME" and "remove.NAME", the latter of a secret.
CREATE OR REPLACE FUNCTION channel_body(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE jsonb_typeof(b->'remove') WHEN 'object' THEN b - 'remove' || jsonb_build_object('secrets',
		CASE jsonb_typeof(b->'secrets') WHEN 'object' THEN b->'secrets' ELSE '{}' END
			|| (SELECT coalesce(jsonb_object_agg(k, NULL::text), '{}')
				FROM jsonb_object_keys(b->'remove') k))
		ELSE b END
	FROM (SELECT nested_body(nested_body(nested_body(p_body, 'settings'), 'secrets'), 'remove')) x(b)
$$;

-- Lets the watcher send a message that only says that the channel works.
CREATE OR REPLACE FUNCTION test_channel_for(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_id uuid;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_id := test_channel(p_id, c.email, clock_timestamp());
	PERFORM audit(c.email, c.how, 'channel tested', p_id);
	RETURN jsonb_build_object('notification_id', v_id);
END
$$;

CREATE OR REPLACE FUNCTION list_channels(p_hash bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM asking(p_hash, 'operator');
	RETURN (SELECT jsonb_build_object('items', coalesce(jsonb_agg(channel_json(c) ORDER BY name), '[]'),
		'next', NULL) FROM channels c);
END
$$;

-- The secrets that a change does not name stay; null removes one, and so does a form's "remove".
CREATE OR REPLACE FUNCTION save_channel(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h channels;
	v_body jsonb := channel_body(p_body);
	v_given jsonb;
	v_secrets jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_given := body_values('channel', v_body, p_id IS NULL);
	h := jsonb_populate_record(NULL::channels, changed_row('channel', p_id, v_body, c.email, p_match));
	SELECT * FROM secrets_apart(h.kind, h.settings, coalesce(v_given->'secrets', '{}'))
		INTO h.settings, v_secrets;
	h.secrets := merged(coalesce((SELECT secrets FROM channels WHERE channel_id = as_uuid(p_id)), '{}'),
		v_secrets);
	IF v_given ? 'is_active' THEN
		h.disabled_at := CASE WHEN (v_given->'is_active')::boolean THEN NULL
			ELSE coalesce(h.disabled_at, clock_timestamp()) END;
		h.disabled_reason := CASE WHEN h.disabled_at IS NOT NULL THEN coalesce(h.disabled_reason,
			'switched off by ' || c.email) END;
	END IF;
	PERFORM refuse_errors(channel_errors(h) || field_error(EXISTS (SELECT FROM channels
			WHERE name = h.name AND channel_id <> h.channel_id), 'name',
				'is taken by another channel')
		|| field_error(h.fallback_id = h.channel_id OR NOT EXISTS (SELECT FROM channels
			WHERE channel_id = coalesce(h.fallback_id, channel_id)) AND h.fallback_id IS NOT NULL,
			'fallback_id', 'must be another channel'));
	PERFORM put_row('channel', to_jsonb(h)), audit(c.email, c.how, saved_how('channel', p_id), h.name,
		v_given || jsonb_build_object('settings', h.settings, 'secrets', secrets_shown(v_secrets)));
	RETURN channel_json(h);
END
$$;

CREATE OR REPLACE FUNCTION delete_channel(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_id CONSTANT uuid := as_uuid(p_id);
	v_now CONSTANT timestamptz := clock_timestamp();
	v_gone jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_gone := removed_row('channel', p_id, p_match);
	UPDATE alert_rules SET channel_id = NULL, version = version + 1 WHERE channel_id = v_id;
	UPDATE alert_routes SET channels = array_remove(channels, v_id) WHERE v_id = ANY (channels);
	UPDATE channels SET fallback_id = NULL WHERE fallback_id = v_id;
	UPDATE notifications SET dead_at = v_now, last_error = 'its channel was deleted'
		WHERE channel_id = v_id AND sent_at IS NULL AND dead_at IS NULL;
	PERFORM audit(c.email, c.how, 'channel deleted', v_gone->>'name');
	RETURN '{"ok": true}';
END
$$;

-- ---- routes, inhibitions, quiet windows ---------------------------------------------------------
CREATE OR REPLACE FUNCTION route_errors(r alert_routes) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH RECURSIVE above (id, depth) AS (
		SELECT r.parent_id, 1 WHERE r.parent_id IS NOT NULL
		UNION ALL SELECT p.parent_id, depth + 1 FROM above JOIN alert_routes p
			ON p.route_id = above.id
		WHERE p.parent_id IS NOT NULL AND depth < 32)
	SELECT field_error(r.parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM alert_routes
			WHERE route_id = r.parent_id), 'parent_id', 'names no route')
		|| field_error(r.parent_id IS NULL AND EXISTS (SELECT FROM alert_routes
			WHERE parent_id IS NULL AND route_id <> r.route_id), 'parent_id',
			'is missing: there is one root, and every other route hangs below a route')
		|| field_error(EXISTS (SELECT FROM above WHERE id = r.route_id OR depth >= 32), 'parent_id',
			'would make a circle, or a tree deeper than 32')
		|| field_error(EXISTS (SELECT FROM unnest(r.channels) i WHERE NOT EXISTS (SELECT FROM channels
			WHERE channel_id = i)), 'channels', 'name a channel that is not there')
		|| field_error(EXISTS (SELECT FROM unnest(r.windows) i WHERE NOT EXISTS (SELECT
			FROM quiet_windows
			WHERE window_id = i)), 'windows', 'name a quiet window that is not there')
$$;

CREATE OR REPLACE FUNCTION save_route(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	r := jsonb_populate_record(NULL::alert_routes, changed_row('route', p_id,
		listed_body(listed_body(p_body, 'channels'), 'windows'), c.email, p_match));
	PERFORM refuse_errors(route_errors(r));
	PERFORM put_row('route', to_jsonb(r)),
		audit(c.email, c.how, 'route saved', matchers_text(r.match), p_body);
	RETURN to_jsonb(r) || jsonb_build_object('match_text', matchers_text(r.match));
END
$$;

-- What hangs below it hangs below its parent then.
CREATE OR REPLACE FUNCTION delete_route(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	r := jsonb_populate_record(NULL::alert_routes, removed_row('route', p_id));
	PERFORM refuse_errors(field_error(r.parent_id IS NULL, 'parent_id',
		'is null: this is the root, where every alert enters. Change it instead'));
	UPDATE alert_routes SET parent_id = r.parent_id WHERE parent_id = r.route_id;
	PERFORM audit(c.email, c.how, 'route deleted', matchers_text(r.match));
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION save_inhibition(p_hash bytea, p_id text, p_body jsonb,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	i jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	i := put_row('inhibition', changed_row('inhibition', p_id, p_body, c.email, p_match));
	PERFORM audit(c.email, c.how, 'inhibition saved', i->>'name', p_body);
	RETURN i;
END
$$;

CREATE OR REPLACE FUNCTION delete_inhibition(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	PERFORM audit(c.email, c.how, 'inhibition deleted', removed_row('inhibition', p_id)->>'name');
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION window_errors(w quiet_windows) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = w.time_zone), 'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(NOT w.days <@ '{mon,tue,wed,thu,fri,sat,sun}', 'days',
			'must be of mon, tue, wed, thu, fri, sat, sun')
		|| field_error(EXISTS (SELECT FROM quiet_windows WHERE name = w.name
			AND window_id <> w.window_id), 'name', 'is taken by another quiet window')
$$;

CREATE OR REPLACE FUNCTION save_window(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	w quiet_windows;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	w := jsonb_populate_record(NULL::quiet_windows, changed_row('window', p_id, p_body, c.email,
		p_match));
	PERFORM refuse_errors(window_errors(w));
	PERFORM audit(c.email, c.how, 'quiet window saved', w.name, p_body);
	RETURN put_row('window', to_jsonb(w));
END
$$;

CREATE OR REPLACE FUNCTION delete_window(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	PERFORM audit(c.email, c.how, 'quiet window deleted', removed_row('window', p_id)->>'name');
	UPDATE alert_routes SET windows = array_remove(windows, as_uuid(p_id))
		WHERE as_uuid(p_id) = ANY (windows);
	RETURN '{"ok": true}';
END
$$;

-- ---- silences -----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION silence_json(s silences) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(s) || jsonb_build_object('match_text', matchers_text(s.match),
		'ended', s.ends_at <= now(),
		'state', CASE WHEN s.ends_at <= now() THEN 'ended' WHEN s.starts_at > now() THEN 'pending'
			ELSE 'active' END)
$$;

-- "for" is another way to say when it ends. A form always has both: a time goes before it.
CREATE OR REPLACE FUNCTION silence_body(p_body jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF jsonb_typeof(p_body) <> 'object' OR NOT p_body ? 'for' THEN
		RETURN p_body;
	ELSIF coalesce(p_body->>'ends_at', '') <> '' OR coalesce(p_body->>'for', '') = '' THEN
		RETURN p_body - 'for';
	END IF;
	PERFORM refuse_errors(field_error(p_body->>'for' !~ '^[0-9]{1,4}[mhd]$', 'for',
		'must be a time such as 30m, 2h or 7d'));
	RETURN p_body - 'for' || jsonb_build_object('ends_at', p_now + (p_body->>'for')::interval);
END
$$;

CREATE OR REPLACE FUNCTION save_silence(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := now();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	s := jsonb_populate_record(NULL::silences, changed_row('silence', p_id, silence_body(p_body, v_now),
		c.email, p_match));
	s.starts_at := coalesce(s.starts_at, v_now);
	PERFORM refuse_errors(field_error(s.ends_at <= s.starts_at OR s.ends_at <= v_now, 'ends_at',
			'must be later than now and than starts_at')
		|| field_error(s.match = '[]', 'match', 'must have a matcher: a silence of everything needs '
			'one such as server=~".*"'));
	PERFORM put_row('silence', to_jsonb(s)), audit(c.email, c.how, saved_how('silence', p_id),
		matchers_text(s.match), jsonb_build_object('ends_at', s.ends_at, 'comment', s.comment));
	RETURN silence_json(s);
END
$$;

-- Ends it now. It stays in the list.
CREATE OR REPLACE FUNCTION end_silence(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	SELECT * INTO s FROM silences WHERE silence_id = as_uuid(p_id) AND ends_at > v_now FOR UPDATE;
	PERFORM known_id('silence', p_id, FOUND), check_version(p_match, s.version);
	UPDATE silences SET ends_at = v_now, version = version + 1,
		starts_at = least(starts_at, v_now - interval '1 microsecond')
			WHERE silence_id = s.silence_id;
	PERFORM audit(c.email, c.how, 'silence ended', matchers_text(s.match));
	RETURN '{"ok": true}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION silence_json TO observ_hub;
GRANT EXECUTE ON FUNCTION list_channels, save_channel, delete_channel, test_channel_for, save_route,
	delete_route, save_inhibition, delete_inhibition, save_window, delete_window, save_silence,
	end_silence TO observ_hub, observ_enroll;
