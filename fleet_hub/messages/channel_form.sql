-- What the form of a channel asks for: of a new one, or of one that is changed. $1 who, $2 the kind of a new
-- one, $3 the id of one that is changed
WITH listed AS MATERIALIZED (SELECT c FROM jsonb_array_elements(list_channels($1)->'items') x(c)),
own AS (SELECT c FROM (SELECT 1) one LEFT JOIN listed ON c->>'channel_id' = $3),
chosen AS (SELECT k.*, c FROM own JOIN channel_kinds k ON k.kind = coalesce(c->>'kind', $2)),
asked (part, name, spec) AS (
	SELECT 'settings', s.* FROM chosen, jsonb_each(settings) s
	UNION ALL SELECT 'secrets', s.* FROM chosen, jsonb_each(secrets) s),
fields AS (
	SELECT json_agg(json_build_object('name', part || '.' || name, 'label', name, 'help', spec->>'help',
		'value', c->'settings'->name, 'secret', part = 'secrets', 'shown', c->'secrets_shown'->name,
		'needed', needed AND c->'secrets_shown'->name IS NULL,
		'remove', CASE WHEN part = 'secrets' AND NOT needed AND c->'secrets_shown' ? name
			THEN name END) ORDER BY NOT needed, part DESC, name) AS list
	FROM asked, own, LATERAL (SELECT (spec->'required')::boolean) n(needed)),
others AS (
	SELECT json_agg(json_build_object('channel_id', l.c->'channel_id', 'name', l.c->'name',
		'own', l.c->'channel_id' = own.c->'fallback_id') ORDER BY l.c->>'name') AS list
	FROM listed l, own WHERE l.c->'channel_id' IS DISTINCT FROM own.c->'channel_id')
SELECT json_build_object('changes', c IS NOT NULL,
	'kinds', (SELECT json_agg(json_build_object('kind', kind, 'title', title, 'own', kind = $2)
		ORDER BY title) FROM channel_kinds),
	'form', (SELECT json_build_object('new', c IS NULL, 'kind', kind, 'title', title,
			'channel_id', c->'channel_id', 'version', c->'version', 'name', c->'name',
			'send_resolved', coalesce((c->'send_resolved')::boolean, true),
			'fallbacks', (SELECT list FROM others), 'fields', (SELECT list FROM fields))
		FROM chosen))
FROM own
