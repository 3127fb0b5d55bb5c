-- What people say about one server.
-- $1 its name or server_id
SELECT coalesce((SELECT server_json(f) || jsonb_build_object(
		'tag_list', (SELECT string_agg(t, ', ') FROM jsonb_array_elements_text(f.labels->'tags') t),
		'badge', CASE WHEN f.state <> 'waiting' THEN json_build_object('state',
			server_badge(f.state)) END)
	FROM v_fleet f WHERE vps_name = find_server($1)), '{}')
