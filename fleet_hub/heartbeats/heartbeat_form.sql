-- The heartbeat that the form changes. $1 is for heartbeats.sql, $2 its id
SELECT json_build_object('form', coalesce((SELECT to_jsonb(h) || jsonb_build_object(
		'version', row_version(to_jsonb(h)), 'labels_text', labels_text(labels))
	FROM (SELECT heartbeat_id, name, schedule, every_s, time_zone, grace_s, labels, created_at, paused
		FROM heartbeats) h WHERE heartbeat_id = as_uuid($2)),
	'{"new": true, "time_zone": "UTC", "grace_s": 300}'))
FROM (SELECT $1::text) list
