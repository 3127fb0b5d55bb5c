-- Log search: how many lines match, over the time and by what they have in common.
-- $1 the query's tree (search.h), $2 from, $3 to, $4 seconds when there is no $2
--
-- lines_sample() in schema/35-search.sql gives lines with the number of lines for which each stands.
-- "estimated" says that some stand for more than themselves. "counted_since": the time was up, and lines
-- before it are not counted.
WITH span AS MATERIALIZED (
	SELECT until,
		least(coalesce($2::timestamptz,
			coalesce($3::timestamptz, now()) - $4::int * interval '1 s'),
		until - interval '1 s') AS since
	FROM (SELECT coalesce($3::timestamptz, now() + interval '1 min') AS until) x
), sample AS MATERIALIZED (
	SELECT s.*, level IN ('ERROR', 'CRITICAL') AS error
	FROM span, lines_sample($1::text::jsonb, since, until) s
), hits AS MATERIALIZED (
	SELECT * FROM sample WHERE weight IS NOT NULL
), bars AS (
	SELECT slot, round(sum(weight)) AS n, round(coalesce(sum(weight) FILTER (WHERE error), 0)) AS e,
		round(coalesce(sum(weight) FILTER (WHERE level = 'WARNING'), 0)) AS w,
		min(since) + (min(until) - min(since)) * slot / 60 AS t0,
		min(since) + (min(until) - min(since)) * (slot + 1) / 60 AS t1
	FROM hits, span, LATERAL (SELECT floor(extract(epoch FROM timestamp - since) * 60 /
		extract(epoch FROM until - since))::int AS slot) p
	GROUP BY slot
), values AS (
	SELECT field, value, round(sum(weight)) AS n,
		row_number() OVER (PARTITION BY field ORDER BY sum(weight) DESC, value) AS place
	FROM hits, LATERAL (VALUES ('level', level), ('app', app_name), ('vps', vps_name),
		('logger', CASE WHEN octet_length(logger) <= 200 THEN logger END)) v (field, value)
	WHERE value IS NOT NULL GROUP BY field, value
), facets AS (
	SELECT f.place, json_build_object('name', title, 'field', field,
		'values', json_agg(json_build_object('value', value, 'n', n) ORDER BY v.place)) AS js
	FROM (VALUES (1, 'Level', 'level'), (2, 'Application', 'app'), (3, 'Server', 'vps'),
		(4, 'Logger', 'logger')) f (place, title, field) JOIN values v USING (field)
	WHERE v.place <= 10 GROUP BY f.place, title, field
)
SELECT json_build_object(
	'counted', true,
	'count', (SELECT round(coalesce(sum(weight), 0)) FROM hits),
	'errors', (SELECT round(coalesce(sum(weight) FILTER (WHERE error), 0)) FROM hits),
	'estimated', (SELECT coalesce(bool_or(weight > 1), false) FROM hits),
	'counted_since', (SELECT timestamp FROM sample WHERE weight IS NULL),
	'histogram_slots', 60, 'histogram_top', (SELECT max(n) FROM bars),
	'histogram', (SELECT json_agg(json_build_object('slot', slot, 'from', t0, 'to', t1, 'n', n,
		'errors', e, 'warnings', w, 'others', greatest(n - e - w, 0)) ORDER BY slot) FROM bars
			WHERE n > 0),
	'facets', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM facets))
