-- Active and pending silences, then those that have ended. $1 how many, $2 behind this one
WITH part AS (
	SELECT s, row_number() OVER (ORDER BY s.ends_at > now() DESC, s.ends_at DESC, s.silence_id) AS n
	FROM silences s
), here AS (
	SELECT * FROM part WHERE n > coalesce((SELECT n FROM part WHERE (s).silence_id = as_uuid($2)), 0)
	ORDER BY n LIMIT $1::int + 1
)
SELECT json_build_object('time', now(), 'items', coalesce((SELECT json_agg(silence_json(s)
		|| jsonb_build_object('alerts', (SELECT count(*) FROM alerts a
			WHERE a.state <> 'resolved' AND labels_match((s).match, a.labels))) ORDER BY n)
		FROM (SELECT * FROM here ORDER BY n LIMIT $1::int) x), '[]'),
	'next', CASE WHEN (SELECT count(*) FROM here) > $1::int THEN
		(SELECT (s).silence_id FROM here ORDER BY n OFFSET $1::int - 1 LIMIT 1) END)
