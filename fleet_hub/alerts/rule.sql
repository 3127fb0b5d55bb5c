-- One rule with its overrides and open alerts. $1 its id, '' for the form of a new one, $2 for how many days
-- to tell when it would have fired, or NULL, $3 the kind of a new one
SELECT CASE WHEN $1 = '' THEN json_build_object('name', '', 'new', true, 'is_active', true,
	'kind', $3::text) ELSE coalesce((
	SELECT (rule_json(r) || jsonb_build_object('condition', rule_condition(r),
		'problem', rule_problem(r.rule_id),
		'labels_text', labels_text(r.labels), 'params_text', nullif(r.params::text, '{}'),
		'overrides', (SELECT coalesce(jsonb_agg(override_json(p) ORDER BY position, created_at), '[]')
			FROM rule_patches p WHERE p.rule_id = r.rule_id),
		'open', (SELECT coalesce(jsonb_agg(alert_json(a, r.name) ORDER BY a.active_since), '[]')
			FROM alerts a WHERE a.rule_id = r.rule_id AND a.state <> 'resolved'))
		|| CASE WHEN $2::int IS NULL THEN '{}' ELSE jsonb_build_object('preview', preview_rule($1,
			$2::int)) END)::json
	FROM alert_rules r WHERE rule_id = as_uuid($1)), '{}') END
