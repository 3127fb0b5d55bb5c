-- What the form of a new channel asks for. $1 who, $2 its kind
SELECT json_build_object('kinds', (SELECT json_agg(json_build_object('kind', kind, 'title', title, 'own',
	kind = $2)
		ORDER BY title) FROM channel_kinds),
	'form', (SELECT json_build_object('kind', kind, 'title', title, 'fields', (
		SELECT json_agg(json_build_object('name', part || '.' || name, 'label', name, 'help',
			spec->>'help',
			'needed', spec->'required', 'secret', part = 'secrets') ORDER BY part DESC,
			NOT (spec->'required')::boolean, name)
		FROM (SELECT 'settings', * FROM jsonb_each(settings) UNION ALL SELECT 'secrets', *
			FROM jsonb_each(secrets))
			f(part, name, spec))) FROM channel_kinds WHERE kind = $2))
FROM (SELECT $1::bytea) who
