-- ==== 64-searches: log searches that users keep under a name =========================================
-- A search belongs to the user who saved it. A shared one is seen by everybody who signs in; only its owner
-- and admins change it. As in 60-people, the hub's login reads and writes it by functions only.
CREATE TABLE IF NOT EXISTS saved_searches (
	search_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	user_id uuid NOT NULL,
	name text NOT NULL,
	shared boolean NOT NULL DEFAULT false,
	query jsonb NOT NULL,                   -- parameters of the page /logs, as texts
	created_at timestamptz NOT NULL DEFAULT now(),
	changed_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (user_id, name)
);
SELECT want_index('saved_searches_shared_idx', 'saved_searches (shared) WHERE shared') \g /dev/null

-- The parameters that a body names; null where one is to be removed.
CREATE OR REPLACE FUNCTION search_query(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE WHEN value <> '""' THEN value ELSE 'null' END), '{}')
	FROM jsonb_each(p_body) WHERE key IN ('q', 'range', 'from', 'to', 'columns', 'wrap')
$$;

-- What is wrong with a body, apart from the name that another search may have.
CREATE OR REPLACE FUNCTION search_errors(p_body jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT unknown_fields(p_body, '{name,shared,q,range,from,to,columns,wrap}')
		|| field_error(p_body ? 'name' AND (jsonb_typeof(p_body->'name') <> 'string'
			OR octet_length(btrim(p_body->>'name')) NOT BETWEEN 1 AND 100
			OR p_body->>'name' ~ '[[:cntrl:]]'), 'name',
			'must be a text of 1 to 100 bytes without control characters')
		|| field_error(p_body ? 'shared' AND p_body->>'shared' IS DISTINCT FROM 'true'
			AND p_body->>'shared' IS DISTINCT FROM 'false', 'shared', 'must be true or false')
		|| coalesce((SELECT jsonb_agg(e ORDER BY key) FROM (
			SELECT key, jsonb_array_elements(field_error(value <> 'null'
				AND (jsonb_typeof(value) <> 'string' OR NOT CASE key
				WHEN 'q' THEN octet_length(value #>> '{}') <= 4096
				WHEN 'range' THEN value <@ '["15m", "1h", "6h", "24h", "7d", "30d", "90d"]'
				WHEN 'columns' THEN octet_length(value #>> '{}') <= 1000
				WHEN 'wrap' THEN value = '"no"'
				ELSE value #>> '{}' ~ '^[0-9A-Za-z:. +-]{1,40}$' END), key, CASE key
				WHEN 'q' THEN 'must be a text of at most 4096 bytes'
				WHEN 'range' THEN 'must be 15m, 1h, 6h, 24h, 7d, 30d or 90d'
				WHEN 'columns' THEN 'must be a text of at most 1000 bytes'
				WHEN 'wrap' THEN 'must be no, or absent'
				ELSE 'must be a time: RFC 3339, or as in now-2h' END)) AS e
			FROM jsonb_each(search_query(p_body))) x), '[]')
$$;

-- A search as its reader sees it.
CREATE OR REPLACE FUNCTION search_json(s saved_searches, p_user uuid, p_role text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT '{"q": null, "range": null, "from": null, "to": null, "columns": null, "wrap": null}'
		|| s.query || jsonb_build_object('search_id', s.search_id, 'name', s.name, 'shared', s.shared,
		'own', s.user_id = p_user, 'may_change', s.user_id = p_user OR p_role = 'admin',
		'owner', (SELECT email FROM users WHERE user_id = s.user_id),
		'created_at', s.created_at, 'changed_at', s.changed_at)
$$;

-- One's own and the shared ones, by name. p_after: the former "next", which is a search_id with the name.
CREATE OR REPLACE FUNCTION list_searches(p_hash bytea, p_after text, p_limit int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN (SELECT json_build_object('items', coalesce(json_agg(search_json(s, c.user_id, c.role)
			ORDER BY n) FILTER (WHERE n <= p_limit), '[]'),
			'next', max((s).search_id::text || (s).name) FILTER (WHERE n = p_limit AND more))
		FROM (SELECT s, row_number() OVER (ORDER BY name, search_id) AS n,
				count(*) OVER () > p_limit AS more
			FROM saved_searches s WHERE (user_id = c.user_id OR shared) AND (p_after IS NULL
				OR (name, search_id) > (substr(p_after, 37), as_uuid(left(p_after, 36))))
			ORDER BY name, search_id LIMIT p_limit + 1) x);
END
$$;

-- A search that the user sees; p_change: and may change.
CREATE OR REPLACE FUNCTION find_search(p_id text, p_user uuid, p_role text, p_change boolean)
RETURNS saved_searches LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	s saved_searches;
BEGIN
	SELECT * INTO s FROM saved_searches WHERE search_id = as_uuid(p_id) AND (user_id = p_user OR shared);
	IF NOT FOUND THEN
		PERFORM refuse(404, 'There is no such search among yours and the shared ones.');
	ELSIF p_change AND s.user_id <> p_user AND p_role <> 'admin' THEN
		PERFORM refuse(403, 'This search is another user''s: save it under a name of your own.');
	END IF;
	RETURN s;
END
$$;

CREATE OR REPLACE FUNCTION one_search(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM asking(p_hash, 'viewer');
	RETURN search_json(find_search(p_id, c.user_id, c.role, false), c.user_id, c.role);
END
$$;

-- {"name", "shared"?, "q"?, "range"?, "from"?, "to"?, "columns"?, "wrap"?}
CREATE OR REPLACE FUNCTION save_search(p_hash bytea, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	PERFORM refuse_errors(search_errors(p_body) || field_error(NOT p_body ? 'name', 'name', 'is missing')
		|| field_error((SELECT count(*) FROM saved_searches WHERE user_id = c.user_id) >= 200, 'name',
			'is one too many: you have 200 saved searches; delete one first'));
	INSERT INTO saved_searches (user_id, name, shared, query)
		VALUES (c.user_id, btrim(p_body->>'name'), coalesce((p_body->>'shared')::boolean, false),
			jsonb_strip_nulls(search_query(p_body)))
		ON CONFLICT (user_id, name) DO NOTHING RETURNING * INTO s;
	PERFORM refuse_errors(field_error(s.search_id IS NULL, 'name',
			'is that of another of your searches')),
		audit(c.email, c.how, 'search saved', s.name, jsonb_build_object('shared', s.shared));
	RETURN search_json(s, c.user_id, c.role);
END
$$;

-- A merge patch: null, or an empty text, removes a parameter.
CREATE OR REPLACE FUNCTION change_search(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	s := find_search(p_id, c.user_id, c.role, true);
	PERFORM refuse_errors(search_errors(p_body));
	BEGIN
		UPDATE saved_searches SET name = coalesce(btrim(p_body->>'name'), name),
			shared = coalesce((p_body->>'shared')::boolean, shared),
			query = merged(query, search_query(p_body)), changed_at = now()
		WHERE search_id = s.search_id RETURNING * INTO s;
	EXCEPTION WHEN unique_violation THEN
		PERFORM refuse_errors(field_error(true, 'name',
			'is that of another search of the same user'));
	END;
	PERFORM audit(c.email, c.how, 'search changed', s.name, jsonb_build_object('shared', s.shared));
	RETURN search_json(s, c.user_id, c.role);
END
$$;

CREATE OR REPLACE FUNCTION delete_search(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s saved_searches;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'viewer');
	s := find_search(p_id, c.user_id, c.role, true);
	DELETE FROM saved_searches WHERE search_id = s.search_id;
	PERFORM audit(c.email, c.how, 'search deleted', s.name);
	RETURN '{}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION list_searches, one_search, save_search, change_search, delete_search TO observ_hub;
