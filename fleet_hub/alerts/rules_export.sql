-- The rules with their overrides, without the fields that have the value of a new rule.
SELECT json_build_object('rules', coalesce(json_agg(fields ORDER BY name), '[]'))
FROM alert_rules r, LATERAL (
	SELECT json_object_agg(field, value ORDER BY field <> 'name', field <> 'kind', field) FROM (
		SELECT field, CASE WHEN field = 'params' AND value ? 'query' THEN value - 'tree'::text
			ELSE value END AS value
		FROM jsonb_each(to_jsonb(r)) v(field, value) JOIN body_fields() f USING (field)
		WHERE object = 'rule' AND field <> 'channel_id' AND value IS DISTINCT FROM coalesce(f.empty,
			'null')
		UNION ALL SELECT 'channel', to_jsonb(name) FROM channels c WHERE c.channel_id = r.channel_id
		UNION ALL SELECT 'overrides', jsonb_agg(jsonb_build_object('match', match, 'changes', changes)
			ORDER BY position, created_at) FROM rule_patches p WHERE p.rule_id = r.rule_id
			HAVING count(*) > 0) x) y(fields)
