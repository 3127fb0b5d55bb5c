-- $1 words in the name, kind or metric, $2 how many, $3 behind this one
WITH found AS (
	SELECT r, row_number() OVER (ORDER BY lower(name), name) AS n FROM alert_rules r
	WHERE strpos(lower(concat_ws(' ', name, kind, metric)), lower($1)) > 0
		AND ($3::text IS NULL OR (lower(name), name) > (SELECT lower(name), name
			FROM alert_rules WHERE rule_id = as_uuid($3)))
	ORDER BY lower(name), name LIMIT $2::int + 1
)
SELECT json_build_object('time', now(), 'items', coalesce(json_agg(rule_json(r) || jsonb_build_object(
		'condition', rule_condition(r), 'problem', rule_problem((r).rule_id),
		'open', (SELECT count(*) FROM alerts a
			WHERE a.rule_id = (r).rule_id AND a.state IN ('firing', 'error')),
		'overrides', (SELECT count(*) FROM rule_patches p WHERE p.rule_id = (r).rule_id)) ORDER BY n)
		FILTER (WHERE n <= $2::int), '[]'),
	'next', CASE WHEN count(*) > $2::int THEN max((r).rule_id::text) FILTER (WHERE n = $2::int) END)
FROM found
