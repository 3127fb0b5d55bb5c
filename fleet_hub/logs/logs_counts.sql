-- Log search: how many lines match, over the time and by what they have in common.
-- $1 the query's tree (search.h), $2 from, $3 to, $4 seconds when there is no $2
--
-- lines_sample() in schema/35-search.sql gives lines with the number of lines for which each stands.
-- "estimated" says that there is a sample, whose lines stand for more than themselves. "counted_since": the
-- time was up, and lines before it are not counted.
--
-- Keys of contexts are counted in the newest faceted_lines() of the lines that stand for themselves;
-- "context_estimated" says that there are more matches. A key within an object is named by both, with a dot
-- between them; lists, what lies deeper, and what the agent says of a line (_KEY) have no facet. The keys
-- that divide the lines best come first: those of which few values have many lines.
WITH span AS MATERIALIZED (
	SELECT * FROM search_span($2::timestamptz, $3::timestamptz, $4::int)
), sample AS MATERIALIZED (
	SELECT s.*, level IN ('ERROR', 'CRITICAL') AS error
	FROM span, lines_sample($1::text::jsonb, since, until) s
), hits AS NOT MATERIALIZED (
	SELECT * FROM sample WHERE weight > 0
), totals AS MATERIALIZED (
	SELECT round(coalesce(sum(weight), 0)) AS n,
		round(coalesce(sum(weight) FILTER (WHERE error), 0)) AS errors,
		coalesce(bool_or(weight <> 1), false) AS estimated,
		min(timestamp) FILTER (WHERE weight IS NULL) AS counted_since,
		count(*) > faceted_lines() OR count(*) FILTER (WHERE weight = 1) < count(*) AS more
	FROM sample
), bars AS (
	SELECT slot, round(sum(weight)) AS n, round(coalesce(sum(weight) FILTER (WHERE error), 0)) AS e,
		round(coalesce(sum(weight) FILTER (WHERE level = 'WARNING'), 0)) AS w,
		min(since) + (min(until) - min(since)) * slot / 60 AS t0,
		min(since) + (min(until) - min(since)) * (slot + 1) / 60 AS t1
	FROM hits, span, LATERAL (SELECT floor(extract(epoch FROM timestamp - since) * 60 /
		extract(epoch FROM until - since))::int AS slot) p
	GROUP BY slot
), sums AS (
	SELECT CASE 0 WHEN grouping(level) THEN 'level' WHEN grouping(app_name) THEN 'app'
			WHEN grouping(vps_name) THEN 'vps' ELSE 'logger' END AS field,
		coalesce(level, app_name, vps_name, logger) AS value, sum(weight) AS weight
	FROM (SELECT weight, level, app_name, vps_name, CASE WHEN octet_length(logger) <= 200 THEN logger
		END AS logger FROM hits) h
	GROUP BY GROUPING SETS ((level), (app_name), (vps_name), (logger))
), values AS (
	SELECT field, value, round(weight) AS n,
		row_number() OVER (PARTITION BY field ORDER BY weight DESC, value) AS place
	FROM sums WHERE value IS NOT NULL
), facets AS (
	SELECT f.place, json_build_object('name', title, 'field', field,
		'values', json_agg(json_build_object('value', value, 'n', n) ORDER BY v.place)) AS js
	FROM (VALUES (1, 'Level', 'level'), (2, 'Application', 'app'), (3, 'Server', 'vps'),
		(4, 'Logger', 'logger')) f (place, title, field) JOIN values v USING (field)
	WHERE v.place <= 10 GROUP BY f.place, title, field
), newest AS MATERIALIZED (
	SELECT context FROM hits WHERE weight = 1 ORDER BY timestamp DESC LIMIT faceted_lines()
), members AS MATERIALIZED (
	SELECT key, value FROM newest, jsonb_each(context)
	WHERE jsonb_typeof(context) = 'object' AND octet_length(context::text) <= 16384
		AND NOT starts_with(key, '_')
), leaves AS MATERIALIZED (
	SELECT key, value #>> '{}' AS value FROM (
		SELECT key, value FROM members
		UNION ALL
		SELECT m.key || '.' || f.key, f.value FROM members m, jsonb_each(m.value) f
		WHERE jsonb_typeof(m.value) = 'object'
			AND cardinality(string_to_array(m.key || f.key, '.')) <= max_key_dots()) x
	WHERE jsonb_typeof(value) NOT IN ('object', 'array', 'null')
		AND octet_length(key) BETWEEN 1 AND 100 AND octet_length(value #>> '{}') BETWEEN 1 AND 100
), counted AS MATERIALIZED (
	SELECT key, value, count(*) AS n,
		row_number() OVER (PARTITION BY key ORDER BY count(*) DESC, value COLLATE "C") AS place
	FROM leaves GROUP BY key, value
), keys AS MATERIALIZED (
	SELECT *, row_number() OVER (ORDER BY shared DESC, n DESC, key COLLATE "C") AS place
	FROM (SELECT key, sum(n) AS n, count(*) AS distinct_values,
			coalesce(sum(n) FILTER (WHERE n > 1 AND place <= 6), 0) AS shared
		FROM counted GROUP BY key) x
)
SELECT json_build_object(
	'counted', true,
	'count', n, 'errors', errors, 'estimated', estimated, 'counted_since', counted_since,
	'histogram_slots', 60, 'histogram_top', (SELECT max(n) FROM bars),
	'histogram', (SELECT json_agg(json_build_object('slot', slot, 'from', t0, 'to', t1, 'n', n,
		'errors', e, 'warnings', w, 'others', greatest(n - e - w, 0)) ORDER BY slot) FROM bars
			WHERE n > 0),
	'facets', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM facets),
	'context_lines', (SELECT count(*) FROM newest),
	'context_estimated', more,
	'context_facets', (SELECT coalesce(json_agg(json_build_object('key', key, 'field', 'ctx', 'n', k.n,
		'distinct', distinct_values, 'more', nullif(greatest(distinct_values - 6, 0), 0),
		'first', place <= 3 AND shared * 10 > k.n,
		'values', (SELECT json_agg(json_build_object('value', value, 'n', c.n) ORDER BY c.place)
			FROM counted c WHERE c.key = k.key AND c.place <= 6)) ORDER BY place), '[]')
		FROM keys k WHERE place <= 20))
FROM totals
