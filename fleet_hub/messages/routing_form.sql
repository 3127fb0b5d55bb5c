-- The route, inhibition or quiet window that a form changes; the other forms are of new ones. $1 its id
WITH own AS (SELECT r, r.route_id AS id FROM (SELECT 1) one
	LEFT JOIN alert_routes r ON route_id = as_uuid($1)),
choices AS (SELECT
	(SELECT jsonb_agg(jsonb_build_object('route_id', route_id, 'match_text', matchers_text(match),
		'own', route_id = (own.r).parent_id) ORDER BY parent_id IS NOT NULL, position, route_id)
		FROM alert_routes, own WHERE route_id IS DISTINCT FROM own.id) AS parents,
	(SELECT jsonb_agg(jsonb_build_object('channel_id', channel_id, 'name', name,
		'own', channel_id = ANY ((own.r).channels)) ORDER BY name)
		FROM channels, own) AS all_channels,
	(SELECT jsonb_agg(jsonb_build_object('window_id', window_id, 'name', name,
		'own', window_id = ANY ((own.r).windows)) ORDER BY name)
		FROM quiet_windows, own) AS all_windows)
SELECT json_build_object(
	'route', to_jsonb(choices) || CASE WHEN id IS NULL THEN '{"new": true}'
		ELSE to_jsonb(r) || jsonb_build_object('version', row_version(to_jsonb(r)),
			'root', (r).parent_id IS NULL, 'match_text', matchers_text((r).match),
			'group_text', array_to_string((r).group_by, ' ')) END,
	'inhibition', coalesce((SELECT to_jsonb(i) || jsonb_build_object('version', row_version(to_jsonb(i)),
			'source_text', matchers_text(source), 'target_text', matchers_text(target),
			'equal_text', array_to_string(equal, ' '))
		FROM inhibitions i WHERE inhibition_id = as_uuid($1)), '{"new": true}'),
	'window', coalesce((SELECT to_jsonb(w) || jsonb_build_object('version', row_version(to_jsonb(w)),
			'start', to_char(start, 'HH24:MI'), 'days_text', array_to_string(days, ' '))
		FROM quiet_windows w WHERE window_id = as_uuid($1)), '{"new": true, "enabled": true}'))
FROM own, choices
