-- The releases, the newest first.
-- $1 server (name or server_id; '': all), $2 application ('': all), $3 how many
SELECT json_build_object('items', coalesce(json_agg(json_build_object('timestamp', "timestamp",
	'server', vps_name, 'server_id', server_id(vps_name), 'app', app_name, 'release', release, 'note',
		note)
	ORDER BY "timestamp" DESC), '[]'), 'next', NULL)
FROM (SELECT * FROM deploys WHERE ($1 = '' OR vps_name = find_server($1)) AND ($2 = '' OR app_name = $2)
	ORDER BY "timestamp" DESC LIMIT $3::int) d
