-- The servers: what people say about them, and whether they report.
-- $1 words in the name, $2 environment, $3 team, $4 tag, $5 state, $6 how many, $7 behind this name
WITH found AS MATERIALIZED (
	SELECT f, vps_name FROM v_fleet f
	WHERE strpos(lower(vps_name), lower($1)) > 0 AND ($2 = '' OR labels->>'environment' = $2)
		AND ($3 = '' OR labels->>'team' = $3) AND ($4 = '' OR labels->'tags' ? $4)
		AND ($5 = '' OR state = $5) AND ($7::text IS NULL OR vps_name > $7)
), part AS (
	SELECT f, vps_name, row_number() OVER (ORDER BY vps_name) AS n FROM found
	ORDER BY vps_name LIMIT $6::int + 1
)
SELECT json_build_object('time', now(),
	'items', coalesce(json_agg(server_json(f) || jsonb_build_object('waiting', (f).state = 'waiting',
		'badge', CASE WHEN (f).state <> 'waiting'
			THEN json_build_object('state', server_badge((f).state)) END) ORDER BY n)
		FILTER (WHERE n <= $6::int), '[]'),
	'next', CASE WHEN count(*) > $6::int THEN max(vps_name) FILTER (WHERE n = $6::int) END)
FROM part
