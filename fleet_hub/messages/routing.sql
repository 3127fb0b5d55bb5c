-- Where messages go: the tree of routes from its root on, inhibitions, quiet windows.
WITH RECURSIVE tree AS (
	SELECT r, 0 AS depth, ARRAY[position] AS path, ARRAY[route_id] AS ids FROM alert_routes r
	WHERE parent_id IS NULL
	UNION ALL
	SELECT c, depth + 1, path || c.position, ids || c.route_id
	FROM tree t JOIN alert_routes c ON c.parent_id = (t.r).route_id WHERE depth < 32
)
SELECT json_build_object(
	'routes', (SELECT coalesce(json_agg(to_jsonb(r) || jsonb_build_object('depth', depth, 'root',
		depth = 0,
		'match_text', matchers_text((r).match), 'group_text', array_to_string((r).group_by, ', '),
		'channel_names', (SELECT string_agg(name, ', ' ORDER BY name) FROM channels
			WHERE channel_id = ANY ((r).channels)),
		'window_names', (SELECT string_agg(name, ', ' ORDER BY name) FROM quiet_windows
			WHERE window_id = ANY ((r).windows))) ORDER BY path, ids), '[]') FROM tree),
	'inhibitions', (SELECT coalesce(json_agg(to_jsonb(i) || jsonb_build_object('source_text',
		matchers_text(source), 'target_text', matchers_text(target), 'equal_text',
			array_to_string(equal, ', ')) ORDER BY name), '[]')
		FROM inhibitions i),
	'windows', (SELECT coalesce(json_agg(to_jsonb(w) || jsonb_build_object('start', to_char(start,
		'HH24:MI'),
		'days_text', array_to_string(days, ', '),
		'now', enabled AND in_window(w, now())) ORDER BY name), '[]') FROM quiet_windows w),
	'channels', (SELECT coalesce(json_agg(json_build_object('channel_id', channel_id, 'name', name)
		ORDER BY name), '[]') FROM channels))
