-- What a term of the log search may go on with: fields, and values from the data.
-- $1 the field whose value is being written (level, app, vps, logger, ctx.KEY), '' for the beginning of a
-- term; $2 what is written of it
--
-- Servers and applications come from agents; loggers, keys and values of contexts from the newest 1,000 lines
-- of a day, so that the answer takes as long in a large database as in a small one. "text" is the whole term
-- as the search box reads it: what could be read otherwise is quoted. What begins with $2 comes before what
-- contains it.
WITH asked AS MATERIALIZED (
	SELECT CASE WHEN lower($1) IN ('server', 'host') THEN 'vps' WHEN starts_with(lower($1), 'ctx.')
			THEN 'ctx.' || substr($1, 5) ELSE lower($1) END AS wanted,
		lower(left($2, 200)) AS typed
), recent AS MATERIALIZED (
	SELECT logger, CASE WHEN jsonb_typeof(context) = 'object' AND octet_length(context::text) <= 16384
		THEN context END AS context
	FROM log_entries
	WHERE timestamp > now() - interval '1 day' AND timestamp < now() + interval '1 hour'
	ORDER BY timestamp DESC LIMIT 1000
), members AS MATERIALIZED (
	SELECT key, value FROM recent, jsonb_each(context) WHERE NOT starts_with(key, '_')
), leaves AS MATERIALIZED (
	SELECT 'ctx.' || key AS field, value FROM members WHERE key <> ''
	UNION ALL
	SELECT 'ctx.' || m.key || '.' || f.key, f.value FROM members m, jsonb_each(m.value) f
	WHERE jsonb_typeof(m.value) = 'object'
		AND cardinality(string_to_array(m.key || f.key, '.')) <= max_key_dots()
), found (kind, field, value, n) AS (
	SELECT 1, name, NULL, NULL::bigint
	FROM asked, (VALUES ('level'), ('app'), ('vps'), ('logger')) f (name) WHERE wanted = ''
	UNION ALL
	SELECT 2, 'level', name, NULL FROM asked,
		(VALUES ('CRITICAL'), ('ERROR'), ('WARNING'), ('INFO'), ('DEBUG'), ('TRACE')) l (name)
	WHERE wanted IN ('', 'level')
	UNION ALL
	SELECT 3, 'app', app_name, count(*) FROM asked, agents WHERE wanted IN ('', 'app') GROUP BY app_name
	UNION ALL
	SELECT 4, 'vps', vps_name, count(*) FROM asked, agents WHERE wanted IN ('', 'vps') GROUP BY vps_name
	UNION ALL
	SELECT 5, 'logger', logger, count(*) FROM asked, recent
	WHERE wanted IN ('', 'logger') AND logger <> '' GROUP BY logger
	UNION ALL
	SELECT 6, field, NULL, count(*) FROM asked, leaves WHERE wanted = '' GROUP BY field
	UNION ALL
	SELECT 7, field, value #>> '{}', count(*) FROM asked, leaves
	WHERE field = wanted AND jsonb_typeof(value) NOT IN ('object', 'array') GROUP BY 2, 3
), named AS (
	SELECT kind, value, n, lower(coalesce(value, field)) AS word, CASE WHEN kind < 6 THEN field || ':'
		WHEN substr(field, 5) ~ '[ \t\r\n":=<>!\\()]'
		THEN 'ctx."' || regexp_replace(substr(field, 5), '(["\\])', '\\\1', 'g') || '"='
		ELSE field || '=' END AS name
	FROM found WHERE octet_length(field) <= 204 AND coalesce(octet_length(value), 0) <= 200
)
SELECT json_build_object('items', coalesce(json_agg(json_build_object('text', name || CASE
	WHEN value IS NULL THEN ''
	WHEN value ~ '[\x01-\x20"\\()]' OR value = '' OR value ~ '^=' OR value ~ '\*$'
	THEN '"' || regexp_replace(value, '(["\\])', '\\\1', 'g') || '"' ELSE value END,
	'whole', value IS NOT NULL, 'n', n) ORDER BY place), '[]'))
FROM (SELECT *, row_number() OVER (ORDER BY NOT starts_with(word, typed), kind, n DESC NULLS LAST,
		word) AS place
	FROM named, asked WHERE strpos(word, typed) > 0 OR starts_with(lower(name), typed)) x
WHERE place <= 12
