-- Log search: the commonest values of the keys that the matches have in their contexts.
-- $1 the query's tree (search.h), $2 from, $3 to, $4 seconds when there is no $2
--
-- A sample: the newest 1,000 matches, or those that half of count_budget() finds. "context_estimated" says
-- that there may be more. A key within an object is named by both, with a dot between them; lists, what lies
-- deeper, and what the agent says of a line (_KEY) have no facet. The keys that divide the lines best come
-- first: those of which few values have many lines.
WITH span AS MATERIALIZED (
	SELECT until,
		least(coalesce($2::timestamptz,
			coalesce($3::timestamptz, now()) - $4::int * interval '1 s'),
		until - interval '1 s') AS since
	FROM (SELECT coalesce($3::timestamptz, now() + interval '1 min') AS until) x
), newest AS MATERIALIZED (
	SELECT f.id, f.context FROM span, found_lines($1::text::jsonb, since, until, 1001,
		p_budget => count_budget() / 2, p_brief => true) f
), lines AS MATERIALIZED (
	SELECT id, context FROM newest WHERE id IS NOT NULL LIMIT 1000
), members AS MATERIALIZED (
	SELECT key, value FROM lines, jsonb_each(context)
	WHERE jsonb_typeof(context) = 'object' AND octet_length(context::text) <= 16384
		AND NOT starts_with(key, '_')
), leaves AS MATERIALIZED (
	SELECT key, value #>> '{}' AS value FROM (
		SELECT key, value FROM members
		UNION ALL
		SELECT m.key || '.' || f.key, f.value FROM members m, jsonb_each(m.value) f
		WHERE jsonb_typeof(m.value) = 'object' AND strpos(m.key, '.') = 0
			AND strpos(f.key, '.') = 0) x
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
	'context_lines', (SELECT count(*) FROM lines),
	'context_estimated', (SELECT count(*) > 1000 OR count(*) > count(id) FROM newest),
	'context_facets', (SELECT coalesce(json_agg(json_build_object('key', key, 'field', 'ctx', 'n', k.n,
		'distinct', distinct_values, 'more', nullif(greatest(distinct_values - 6, 0), 0),
		'first', place <= 3 AND shared * 10 > k.n,
		'values', (SELECT json_agg(json_build_object('value', value, 'n', c.n) ORDER BY c.place)
			FROM counted c WHERE c.key = k.key AND c.place <= 6)) ORDER BY place), '[]')
		FROM keys k WHERE place <= 20))
