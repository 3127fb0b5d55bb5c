-- Each application on each server, and what its agent says of itself.
-- $1 server (name or server_id; '': all), $2 how many, $3 behind this one: server, tab, application
WITH part AS (
	SELECT *, row_number() OVER (ORDER BY vps_name, app_name) AS n FROM agents
	WHERE ($1 = '' OR vps_name = find_server($1))
		AND ($3::text IS NULL OR (vps_name, app_name) > (split_part($3, E'\t', 1), split_part($3,
			E'\t', 2)))
	ORDER BY vps_name, app_name LIMIT $2::int + 1
)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('server', vps_name,
		'server_id', server_id(vps_name), 'app', app_name,
		'status', agent_state(last_seen_at, interval_s, retired_at, now()), 'last_seen_at',
			last_seen_at,
		'first_seen_at', first_seen_at, 'version', version, 'interval_s', interval_s, 'skew_ms',
			skew_ms,
		'host', host, 'address', address, 'retired_at', retired_at, 'state', state) ORDER BY n)
		FILTER (WHERE n <= $2::int), '[]'),
	'next', CASE WHEN count(*) > $2::int THEN max(vps_name || E'\t' || app_name) FILTER
		(WHERE n = $2::int) END)
FROM part
