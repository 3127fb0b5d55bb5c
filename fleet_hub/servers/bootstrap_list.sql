-- The tokens that enroll new servers, for programs.
-- $1 how many, $2 behind this id
WITH part AS (
	SELECT role, made_at, expires_at, uses, used, row_number() OVER (ORDER BY role) AS n
	FROM bootstrap_tokens
	WHERE $2::text IS NULL OR role > $2 ORDER BY role LIMIT $1::int + 1
)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('id', role, 'made_at', made_at,
		'expires_at', expires_at, 'uses', uses, 'used', used, 'ended',
			used >= uses OR expires_at <= now()) ORDER BY n)
		FILTER (WHERE n <= $1::int), '[]'),
	'next', CASE WHEN count(*) > $1::int THEN max(role) FILTER (WHERE n = $1::int) END)
FROM part
