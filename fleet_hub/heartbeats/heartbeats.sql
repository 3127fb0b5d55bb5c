-- $1 words in the name
SELECT json_build_object('items', coalesce(json_agg(json_build_object('heartbeat_id', heartbeat_id, 'name',
	name,
	'schedule', schedule, 'every_s', every_s, 'time_zone', time_zone, 'grace_s', grace_s, 'labels',
		labels,
	'paused', paused, 'created_at', created_at, 'last_at', p.at, 'last_kind', p.kind) ORDER BY name),
		'[]'),
	'next', NULL)
FROM heartbeats h LEFT JOIN LATERAL (SELECT at, kind FROM heartbeat_pings p
	WHERE p.heartbeat_id = h.heartbeat_id ORDER BY at DESC LIMIT 1) p ON true
WHERE strpos(lower(name), lower($1)) > 0
