-- The servers: how they may write, and when they did.
SELECT json_build_object('servers', coalesce(json_agg(json_build_object(
	'name', rpad(vps_name, 24), 'state', rpad(state, 12), 'login', rpad(coalesce(login, '-'), 24),
	'seen', coalesce(to_char(last_seen_at, 'YYYY-MM-DD HH24:MI'), 'never'), 'conflict', conflict)
	ORDER BY vps_name), '[]'))
FROM v_servers
