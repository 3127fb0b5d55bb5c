-- ==== 78-bodies: what the bodies of requests about alerts may hold =================================
-- A body is held against body_fields(), which says what each field may be, and becomes a row by
-- jsonb_populate_record(). So a field that is added there and to its table can be written by form and by
-- JSON.

-- type: text, name (one line), url, number, int, flag, time, clock, id, ids, labels, matchers, names, object.
-- needed: a new row must have it. smallest and largest: of a number, or of the bytes of a text. empty: what
-- it is if a new row does not say, and what null makes of it.
CREATE OR REPLACE FUNCTION body_fields() RETURNS TABLE (object text, field text, type text, needed boolean,
	smallest float8, largest float8, empty jsonb, allowed text[])
LANGUAGE sql IMMUTABLE ROWS 80 SET search_path = observ, pg_catalog, pg_temp AS $$
VALUES
	('rule', 'name', 'name', true, 1::float8, 200::float8, NULL::jsonb, NULL::text[]),
	('rule', 'kind', 'name', true, 1, 50, NULL, NULL),
	('rule', 'metric', 'name', false, 1, 100, NULL, NULL),
	('rule', 'params', 'object', false, NULL, 20000, '{}', NULL),
	('rule', 'match', 'matchers', false, NULL, NULL, '[]', NULL),
	('rule', 'op', 'name', false, NULL, NULL, '">"', '{>,>=,<,<=,==,!=}'),
	('rule', 'warning', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'warning_clear', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'critical', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'critical_clear', 'number', false, -1e15, 1e15, NULL, NULL),
	('rule', 'for_s', 'int', false, 0, 2592000, '0', NULL),
	('rule', 'keep_firing_s', 'int', false, 0, 2592000, '0', NULL),
	('rule', 'no_data', 'name', false, NULL, NULL, '"keep"', '{keep,ok,alert,own}'),
	('rule', 'on_error', 'name', false, NULL, NULL, '"keep"', '{keep,ok,alert,own}'),
	('rule', 'interval_s', 'int', false, 1, 86400, '60', NULL),
	('rule', 'lookback_s', 'int', false, 1, 2592000, '300', NULL),
	('rule', 'labels', 'labels', false, NULL, NULL, '{}', NULL),
	('rule', 'summary', 'text', false, 0, 2000, '""', NULL),
	('rule', 'runbook', 'url', false, 0, 2000, '""', NULL),
	('rule', 'channel_id', 'id', false, NULL, NULL, NULL, NULL),
	('rule', 'repeat_s', 'int', false, 60, 2592000, NULL, NULL),
	('rule', 'is_active', 'flag', false, NULL, NULL, 'true', NULL),
	('patch', 'position', 'int', false, 0, 1000000, '0', NULL),
	('patch', 'match', 'matchers', true, NULL, NULL, '[]', NULL),
	('patch', 'changes', 'object', true, NULL, 20000, NULL, NULL),
	('silence', 'match', 'matchers', true, NULL, NULL, NULL, NULL),
	('silence', 'starts_at', 'time', false, NULL, NULL, NULL, NULL),
	('silence', 'ends_at', 'time', true, NULL, NULL, NULL, NULL),
	('silence', 'comment', 'text', true, 1, 2000, NULL, NULL),
	('channel', 'name', 'name', true, 1, 100, NULL, NULL),
	('channel', 'kind', 'name', true, 1, 50, NULL, NULL),
	('channel', 'settings', 'object', false, NULL, 20000, '{}', NULL),
	('channel', 'secrets', 'object', false, NULL, 20000, '{}', NULL),
	('channel', 'send_resolved', 'flag', false, NULL, NULL, 'true', NULL),
	('channel', 'fallback_id', 'id', false, NULL, NULL, NULL, NULL),
	('channel', 'is_active', 'flag', false, NULL, NULL, 'true', NULL),
	('route', 'parent_id', 'id', false, NULL, NULL, NULL, NULL),
	('route', 'position', 'int', false, 0, 1000000, '0', NULL),
	('route', 'match', 'matchers', false, NULL, NULL, '[]', NULL),
	('route', 'channels', 'ids', false, NULL, NULL, NULL, NULL),
	('route', 'group_by', 'names', false, NULL, NULL, NULL, NULL),
	('route', 'group_wait_s', 'number', false, 0, 86400, NULL, NULL),
	('route', 'group_interval_s', 'number', false, 1, 86400, NULL, NULL),
	('route', 'repeat_s', 'number', false, 60, 2592000, NULL, NULL),
	('route', 'repeat_max_s', 'number', false, 60, 2592000, NULL, NULL),
	('route', 'go_on', 'flag', false, NULL, NULL, 'false', NULL),
	('route', 'windows', 'ids', false, NULL, NULL, NULL, NULL),
	('inhibition', 'name', 'name', true, 1, 200, NULL, NULL),
	('inhibition', 'source', 'matchers', true, NULL, NULL, NULL, NULL),
	('inhibition', 'target', 'matchers', true, NULL, NULL, NULL, NULL),
	('inhibition', 'equal', 'names', false, NULL, NULL, '[]', NULL),
	('window', 'name', 'name', true, 1, 200, NULL, NULL),
	('window', 'enabled', 'flag', false, NULL, NULL, 'true', NULL),
	('window', 'time_zone', 'name', true, 1, 100, NULL, NULL),
	('window', 'days', 'names', false, NULL, NULL, '[]', NULL),
	('window', 'start', 'clock', true, NULL, NULL, NULL, NULL),
	('window', 'duration_s', 'int', true, 60, 604800, NULL, NULL),
	('heartbeat', 'name', 'name', true, 1, 200, NULL, NULL),
	('heartbeat', 'schedule', 'name', false, 1, 200, NULL, NULL),
	('heartbeat', 'every_s', 'int', false, 1, 31536000, NULL, NULL),
	('heartbeat', 'time_zone', 'name', false, 1, 100, '"UTC"', NULL),
	('heartbeat', 'grace_s', 'int', false, 0, 2592000, '300', NULL),
	('heartbeat', 'labels', 'labels', false, NULL, NULL, '{}', NULL),
	('heartbeat', 'paused', 'flag', false, NULL, NULL, 'false', NULL),
	('ack', 'note', 'text', false, 0, 2000, '""', NULL)
$$;

-- ---- matchers and labels, as people type them -----------------------------------------------------
-- server=web-1 team=~"shop|pay": separated by blanks or commas, a value with either of them in quotes.
CREATE OR REPLACE FUNCTION matcher_words() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '^\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)(?:[\s,]+|$)';

-- NULL: it can't be read.
CREATE OR REPLACE FUNCTION matchers_read(p_text text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	rest text := btrim(p_text, E' \t\r\n,{}');
	found text[];
	list jsonb := '[]';
BEGIN
	WHILE rest <> '' LOOP
		found := regexp_match(rest, matcher_words());
		IF found IS NULL THEN
			RETURN NULL;
		END IF;
		rest := regexp_replace(rest, matcher_words(), '');
		list := list || jsonb_build_object('label', found[1], 'op', found[2], 'value', CASE
			WHEN found[3] LIKE '"%' THEN regexp_replace(substr(found[3], 2, length(found[3]) - 2),
				'\\(.)', '\1', 'g')
			ELSE found[3] END);
	END LOOP;
	RETURN list;
END
$$;

CREATE OR REPLACE FUNCTION matchers_text(p_match jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg((m->>'label') || (m->>'op') || CASE
		WHEN m->>'value' ~ '^[^\s,"]+$' THEN m->>'value'
		ELSE '"' || regexp_replace(m->>'value', '(["\\])', '\\\1', 'g') || '"' END, ' ' ORDER BY n),
			'')
	FROM jsonb_array_elements(p_match) WITH ORDINALITY x(m, n)
$$;

-- As 69-matchers has it, and as a form can write it.
CREATE OR REPLACE FUNCTION matchers_valid(p_match jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT matchers_problem(p_match) IS NULL AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_match) m
		WHERE m->>'label' !~ '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$' OR octet_length(m->>'value') > 1000)
$$;

-- ---- one field ------------------------------------------------------------------------------------
-- A form has only texts: here they become what the field is. NULL: it does not fit.
CREATE OR REPLACE FUNCTION field_value(p_type text, p_value jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t text := CASE jsonb_typeof(p_value) WHEN 'string' THEN btrim(p_value #>> '{}') END;
BEGIN
	IF p_value = 'null' OR (t = '' AND p_type <> 'text') THEN
		RETURN 'null';
	END IF;
	CASE p_type
	WHEN 'text' THEN RETURN to_jsonb(t);
	WHEN 'name' THEN RETURN CASE WHEN t !~ '[[:cntrl:]]' THEN to_jsonb(t) END;
	-- A link on pages and in messages: no javascript:, no data:.
	WHEN 'url' THEN RETURN CASE WHEN t ~* '^https?://[^[:space:][:cntrl:]"<>]+$' THEN to_jsonb(t) END;
	WHEN 'number', 'int' THEN
		IF jsonb_typeof(p_value) = 'number' THEN
			t := trim_scale(p_value::numeric);
		END IF;
		RETURN CASE WHEN t ~ (CASE p_type WHEN 'int' THEN '^-?[0-9]{1,15}$'
			ELSE '^-?[0-9]{1,16}([.][0-9]{1,16})?([eE][-+]?[0-9]{1,2})?$' END)
			THEN to_jsonb(t::numeric) END;
	WHEN 'flag' THEN
		RETURN CASE WHEN jsonb_typeof(p_value) = 'boolean' THEN p_value
			WHEN t IN ('true', 'on', 'yes') THEN 'true' WHEN t IN ('false', 'off', 'no')
				THEN 'false' END;
	WHEN 'time' THEN RETURN to_jsonb(ingest_time(p_value));
	WHEN 'clock' THEN RETURN CASE WHEN t ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' THEN to_jsonb(t) END;
	WHEN 'id' THEN RETURN to_jsonb(as_uuid(t));
	WHEN 'matchers' THEN
		p_value := CASE WHEN t IS NULL THEN p_value ELSE matchers_read(t) END;
		RETURN CASE WHEN matchers_valid(p_value) THEN p_value END;
	WHEN 'labels' THEN
		IF t IS NOT NULL THEN
			SELECT jsonb_object_agg(m->>'label', m->>'value') INTO p_value
				FROM jsonb_array_elements(matchers_read(t)) m WHERE m->>'op' = '=';
		END IF;
		RETURN CASE WHEN label_errors(p_value) = '[]' THEN p_value END;
	WHEN 'object' THEN
		IF t IS NOT NULL THEN
			p_value := as_object(t);
		END IF;
		RETURN CASE jsonb_typeof(p_value) WHEN 'object' THEN p_value END;
	WHEN 'names', 'ids' THEN
		IF t IS NOT NULL THEN
			p_value := to_jsonb(regexp_split_to_array(t, '[\s,]+'));
		END IF;
		RETURN CASE WHEN jsonb_typeof(p_value) = 'array' AND jsonb_array_length(p_value) <= 100
			AND NOT EXISTS (SELECT FROM jsonb_array_elements(p_value) e
				WHERE jsonb_typeof(e) <> 'string' OR octet_length(e #>> '{}') > 200
					OR (p_type = 'ids' AND as_uuid(e #>> '{}') IS NULL)) THEN p_value END;
	END CASE;
END
$$;

-- A text with a JSON object. NULL: it is none.
CREATE OR REPLACE FUNCTION as_object(p_text text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE jsonb_typeof(p_text::jsonb) WHEN 'object' THEN p_text::jsonb END;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;

-- What is wrong with a value that field_value() has read, and how to write it. NULL: nothing.
CREATE OR REPLACE FUNCTION field_fault(p_type text, p_least float8, p_most float8, p_allowed text[],
	p_value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN p_value = 'null' THEN NULL
		WHEN p_allowed IS NOT NULL THEN CASE WHEN p_value #>> '{}' = ANY (p_allowed) THEN NULL
			ELSE 'must be one of ' || array_to_string(p_allowed, ', ') END
		WHEN p_type IN ('number', 'int') THEN CASE
			WHEN (p_value #>> '{}')::float8 BETWEEN p_least AND p_most THEN NULL
			ELSE format('must be a %snumber from %s to %s', CASE p_type WHEN 'int'
				THEN 'whole ' END,
				p_least, p_most) END
		WHEN p_type IN ('text', 'name') OR p_type = 'url' AND p_value IS NOT NULL THEN CASE
			WHEN octet_length(p_value #>> '{}') BETWEEN p_least AND p_most THEN NULL
			ELSE format('must be %s of %s to %s bytes', CASE p_type WHEN 'text' THEN 'a text'
				ELSE 'one line' END, p_least, p_most) END
		WHEN p_type = 'object' AND p_value IS NOT NULL THEN CASE
			WHEN octet_length(p_value::text) <= p_most THEN NULL
			ELSE format('must have %s bytes at most', p_most) END
		WHEN p_value IS NOT NULL THEN NULL
		ELSE 'must be ' || CASE p_type
			WHEN 'url' THEN 'an address that begins with https:// or http://'
			WHEN 'flag' THEN 'true or false'
			WHEN 'time' THEN 'a time such as 2026-01-31T12:00:00Z'
			WHEN 'clock' THEN 'a time of day such as 22:30'
			WHEN 'id' THEN 'an id (UUID)'
			WHEN 'ids' THEN 'a list of ids (UUIDs)'
			WHEN 'names' THEN 'a list of at most 100 names'
			WHEN 'matchers' THEN 'matchers such as server=web-1 team=~"shop|pay"'
			WHEN 'labels' THEN 'labels such as team=shop'
			WHEN 'object' THEN 'a JSON object' END END
$$;

-- The fields of a body, each as its column takes it; or a refusal that names all that are wrong. p_new: with
-- those that are not there, and what is needed must be.
CREATE OR REPLACE FUNCTION body_values(p_object text, p_body jsonb, p_new boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_values jsonb;
	v_errors jsonb;
BEGIN
	IF jsonb_typeof(p_body) IS DISTINCT FROM 'object' THEN
		PERFORM refuse(422, 'The body must be a JSON object.');
	END IF;
	SELECT jsonb_object_agg(field, CASE WHEN value = 'null' THEN coalesce(empty, 'null') ELSE value END)
			FILTER (WHERE fault IS NULL),
		jsonb_agg(jsonb_build_object('field', field, 'message', fault) ORDER BY field)
			FILTER (WHERE fault IS NOT NULL)
		INTO v_values, v_errors
	FROM (SELECT field, empty, value, CASE WHEN needed AND value = 'null' THEN 'is missing'
			ELSE field_fault(type, smallest, largest, allowed, value) END AS fault
		FROM (SELECT *, CASE WHEN p_body ? field THEN field_value(type, p_body->field)
				ELSE 'null' END AS value
			FROM body_fields() WHERE object = p_object AND (p_new OR p_body ? field)) x) y;
	PERFORM refuse_errors(unknown_fields(p_body, (SELECT array_agg(field)
		FROM body_fields() WHERE object = p_object)) || coalesce(v_errors, '[]'));
	RETURN coalesce(v_values, '{}');
END
$$;

-- A form has no objects: its fields "settings.url" and "settings.to" become the members of "settings". An
-- empty one is left out.
CREATE OR REPLACE FUNCTION nested_body(p_body jsonb, p_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN count(*) = 0 THEN p_body ELSE (p_body - array_agg(key)) || jsonb_build_object(p_name,
		CASE jsonb_typeof(p_body->p_name) WHEN 'object' THEN p_body->p_name ELSE '{}' END
		|| coalesce(jsonb_object_agg(substr(key, length(p_name) + 2),
			value) FILTER (WHERE value <> '""'), '{}')) END
	FROM jsonb_each(CASE jsonb_typeof(p_body) WHEN 'object' THEN p_body END)
	WHERE starts_with(key, p_name || '.') AND length(key) > length(p_name) + 1
$$;

-- A form's ticks "channels.ID" become the list "channels".
CREATE OR REPLACE FUNCTION listed_body(p_body jsonb, p_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN jsonb_typeof(b->p_name) = 'object' AND b->p_name IS DISTINCT FROM p_body->p_name
		THEN b || jsonb_build_object(p_name, (SELECT jsonb_agg(k)
			FROM jsonb_object_keys(b->p_name) k)) ELSE b END
	FROM (SELECT nested_body(p_body, p_name)) x(b)
$$;

-- A time as forms take it.
CREATE OR REPLACE FUNCTION utc_text(p_time timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- The id that a request names, of a row that must be there.
CREATE OR REPLACE FUNCTION known_id(p_what text, p_id text, p_there boolean) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_there IS NOT true THEN
		PERFORM refuse(404, format('There is no %s "%s".', p_what, left(p_id, 100)));
	END IF;
	RETURN as_uuid(p_id);
END
$$;

-- p_match: the request's If-Match, NULL if it has none.
CREATE OR REPLACE FUNCTION check_version(p_match text, p_version bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF p_match <> '*' AND NOT format('"%s"', p_version) = ANY (regexp_split_to_array(p_match,
		'\s*,\s*')) THEN
		PERFORM refuse(412, 'Somebody else has changed this since you read it: read it again.');
	END IF;
END
$$;

-- ---- rows that people write ---------------------------------------------------------------------------
-- The table of each object of a body, its key, and what messages call it.
CREATE OR REPLACE FUNCTION body_table(p_object text, OUT name text, OUT rows text, OUT key text)
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT v.name, v.rows, v.key FROM (VALUES
		('rule', 'rule', 'alert_rules', 'rule_id'),
		('patch', 'override', 'rule_patches', 'patch_id'),
		('silence', 'silence', 'silences', 'silence_id'),
		('channel', 'channel', 'channels', 'channel_id'),
		('route', 'route', 'alert_routes', 'route_id'),
		('inhibition', 'inhibition', 'inhibitions', 'inhibition_id'),
		('window', 'quiet window', 'quiet_windows', 'window_id'),
		('heartbeat', 'heartbeat', 'heartbeats', 'heartbeat_id')) v(object, name, rows, key)
	WHERE v.object = p_object
$$;

-- Changes with each change of the row, for those that count no versions.
CREATE OR REPLACE FUNCTION row_version(p_row jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce((p_row->>'version')::bigint, hashtextextended((p_row - 'token_hash')::text, 0));

-- The row of that id, locked until the transaction ends. Refuses an id that is not there, and a version that
-- p_match does not name.
CREATE OR REPLACE FUNCTION locked_row(p_object text, p_id text, p_match text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row jsonb;
BEGIN
	EXECUTE format('SELECT to_jsonb(r) FROM %I r WHERE %I = $1 FOR UPDATE', t.rows, t.key)
		INTO v_row USING as_uuid(p_id);
	PERFORM known_id(t.name, p_id, v_row IS NOT NULL),
		check_version(p_match, row_version(v_row));
	RETURN v_row;
END
$$;

-- A new row of the body (p_id is NULL), or the row of that id with what the body changes. Nothing is written
-- yet.
CREATE OR REPLACE FUNCTION changed_row(p_object text, p_id text, p_body jsonb, p_email text,
	p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_row jsonb;
BEGIN
	IF p_id IS NULL THEN
		RETURN body_values(p_object, p_body, true) || jsonb_build_object(
			(body_table(p_object)).key, gen_random_uuid(), 'version', 1,
			'created_at', clock_timestamp(), 'created_by', p_email);
	END IF;
	v_row := locked_row(p_object, p_id, p_match);
	RETURN v_row || body_values(p_object, p_body, false)
		|| jsonb_build_object('version', (v_row->>'version')::bigint + 1);
END
$$;

-- Write the row, new or changed; as it is then. A changed row stays the same row, so that whoever waits for
-- its lock finds it. Its name may have been taken since that was checked.
CREATE OR REPLACE FUNCTION put_row(p_object text, p_row jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row jsonb;
BEGIN
	EXECUTE (SELECT format('INSERT INTO %1$I AS r SELECT * FROM jsonb_populate_record(NULL::%1$I, $1)
			ON CONFLICT (%2$I) DO UPDATE SET (%3$s) = ROW (%4$s) RETURNING to_jsonb(r)',
			t.rows, t.key, string_agg(quote_ident(attname), ', ' ORDER BY attnum),
			string_agg(format('excluded.%I', attname), ', ' ORDER BY attnum))
		FROM pg_attribute WHERE attrelid = t.rows::regclass AND attnum > 0 AND NOT attisdropped)
		INTO v_row USING p_row;
	RETURN v_row;
EXCEPTION WHEN unique_violation THEN
	PERFORM refuse_errors(field_error(true, 'name', 'is taken by another ' || t.name));
END
$$;

-- Delete the row; as it was.
CREATE OR REPLACE FUNCTION removed_row(p_object text, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	t CONSTANT record := body_table(p_object);
	v_row CONSTANT jsonb := locked_row(p_object, p_id, p_match);
BEGIN
	EXECUTE format('DELETE FROM %I WHERE %I = $1', t.rows, t.key) USING as_uuid(p_id);
	RETURN v_row;
END
$$;

-- What the audit log calls the writing of a row.
CREATE OR REPLACE FUNCTION saved_how(p_object text, p_id text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp
RETURN (body_table(p_object)).name || CASE WHEN p_id IS NULL THEN ' created' ELSE ' changed' END;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION matchers_text, row_version, utc_text TO observ_hub;

