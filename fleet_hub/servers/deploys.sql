-- The releases, the newest first.
-- $1 server (name or server_id; '': all), $2 application ('': all), $3 how many,
-- only releases older than $4 timestamp, $5 server, $6 id
WITH part AS (
	SELECT *, row_number() OVER (ORDER BY "timestamp" DESC, vps_name DESC, id DESC) AS n FROM deploys
	WHERE ($1 = '' OR vps_name = find_server($1)) AND ($2 = '' OR app_name = $2)
		AND ($4::timestamptz IS NULL
			OR ("timestamp", vps_name, id) < ($4::timestamptz, $5, $6::bigint))
	ORDER BY "timestamp" DESC, vps_name DESC, id DESC LIMIT $3::int + 1
)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('timestamp', "timestamp",
		'server', vps_name, 'server_id', server_id(vps_name), 'app', app_name, 'release', release,
		'note', note) ORDER BY n) FILTER (WHERE n <= $3::int), '[]'),
	'next', CASE WHEN count(*) > $3::int THEN max(concat_ws(',',
		to_char("timestamp", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), id, vps_name))
		FILTER (WHERE n = $3::int) END)
FROM part
