-- The kinds of rules as docs/alert-kinds.md has them: psql observ_metrics -XAtf scripts/alert_kinds.sql
SELECT string_agg(format(
	E'### %s: `%s`\n\n%s%s Subjects have the labels %s. Default: `%s`, no data: %s.%s\n%s',
	title, kind, meaning, CASE unit WHEN '' THEN '' WHEN 'metric' THEN ' Unit: that of the metric.'
		ELSE format(' Unit: %s.', unit) END,
	CASE WHEN has_metric THEN '`server`, `app` or `mount`, as the metric has them'
		WHEN subject = '{}' THEN 'that it gives itself, or none'
		ELSE (SELECT string_agg(format('`%s`', l), ', ') FROM unnest(subject) l) END,
	op, no_data, CASE role WHEN 'admin' THEN ' Only an admin may write such a rule.' ELSE '' END,
	coalesce(E'\n| parameter | value | default | meaning |\n|---|---|---|---|\n' || (
		SELECT string_agg(format('| `%s` | %s | %s | %s |', key,
			CASE value->>'type'
				WHEN 'integer' THEN format('%s to %s', value->>'min', value->>'max')
				WHEN 'number' THEN format('number, %s to %s', value->>'min', value->>'max')
				WHEN 'text' THEN 'text'
				WHEN 'tree' THEN 'JSON'
				WHEN 'rule' THEN 'id of a rule'
				ELSE (SELECT string_agg(v, ', ' ORDER BY n)
					FROM jsonb_array_elements_text(value->'values')
					WITH ORDINALITY u(v, n)) END,
			CASE WHEN value ? 'default' THEN format('`%s`', value->>'default')
				WHEN value ? 'optional' THEN '-' ELSE 'needed' END, value->>'help'), E'\n'
			ORDER BY key)
		FROM jsonb_each(params)) || E'\n', '')), E'\n' ORDER BY place) AS text
FROM observ.alert_kinds
