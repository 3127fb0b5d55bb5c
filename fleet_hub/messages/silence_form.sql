-- The silence that the form changes. $1 and $2 are for silences.sql, $3 its id
SELECT json_build_object('form', coalesce((SELECT silence_json(s)
		|| jsonb_build_object('from', utc_text(starts_at), 'to', utc_text(ends_at))
	FROM silences s WHERE silence_id = as_uuid($3) AND ends_at > now()), '{"new": true}'))
FROM (SELECT $1::text, $2::text) list
