-- What the form of a rule offers. $1 the rule's id, '' for a new one, $2 days of the preview, $3 the kind of
-- a new one
WITH one AS (
	SELECT coalesce(max(r.kind), max(k.kind), 'threshold') AS kind, coalesce(max(r.op), max(k.op),
		'>') AS op,
		coalesce(max(r.no_data), max(k.no_data), 'keep') AS no_data, coalesce(max(r.params::text),
			'{}')::jsonb AS given
	FROM (SELECT $2::int AS days) p LEFT JOIN alert_rules r ON rule_id = as_uuid($1)
	LEFT JOIN alert_kinds k ON k.kind = $3
)
SELECT json_build_object(
	'kinds', (SELECT json_agg(json_build_object('kind', k.kind, 'what', title, 'own', k.kind = one.kind)
		ORDER BY place) FROM alert_kinds k),
	'kind_meaning', k.meaning, 'has_metric', k.has_metric,
	'ops', (SELECT json_agg(json_build_object('op', o, 'own', o = one.op) ORDER BY n)
		FROM unnest('{>,>=,<,<=,==,!=}'::text[]) WITH ORDINALITY x(o, n)),
	'no_datas', (SELECT json_agg(json_build_object('policy', o, 'own', o = one.no_data) ORDER BY n)
		FROM unnest('{keep,ok,alert,own}'::text[]) WITH ORDINALITY x(o, n)),
	'fields', (SELECT json_agg(json_build_object('name', name, 'label', CASE name
		WHEN 'agg' THEN 'Aggregate' ELSE initcap(left(name, 1)) || replace(substr(regexp_replace(name,
			'_s$', ', seconds'), 2), '_', ' ') END, 'help', spec->>'help',
		'value', given->>name, 'otherwise', spec->>'default',
		'needed', NOT spec ? 'default' AND NOT spec ? 'optional',
		'choice', spec->>'type' = 'choice',
		'choices', (SELECT json_agg(json_build_object('choice', v, 'own', v = coalesce(given->>name,
			spec->>'default'))) FROM jsonb_array_elements_text(spec->'values') v)) ORDER BY name)
		FROM jsonb_each(k.params) p(name, spec) WHERE spec->>'type' <> 'tree'),
	'metrics', (SELECT json_agg(metric ORDER BY metric) FROM alert_metrics()))
FROM one JOIN alert_kinds k USING (kind)
