-- The newest messages and their state, dead letters first.
SELECT json_build_object('messages', coalesce(json_agg(message_json(n) ORDER BY (n).dead_at IS NULL,
	(n).made_at DESC), '[]'))
FROM ((SELECT n FROM notifications n WHERE dead_at IS NOT NULL ORDER BY made_at DESC LIMIT 50)
	UNION ALL (SELECT n FROM notifications n WHERE dead_at IS NULL ORDER BY made_at DESC LIMIT 50)) x
