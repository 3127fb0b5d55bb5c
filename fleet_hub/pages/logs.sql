-- Log search. All filters are constants to the planner (unnamed statement), so that what is not
-- asked for costs nothing.
-- $1 tsquery text, $2 levels {..} or NULL, $3/$4 apps in/out, $5/$6 servers in/out, $7/$8 loggers in/out,
-- $9/$10 context pairs in/out (JSON), $11 from, $12 to, $13 seconds when there is no $11,
-- only lines older than $14 timestamp, $15 server, $16 id; only newer than $17 timestamp, $18 server, $19 id
--
-- A page has 100 lines; one more is read, to know whether there are more.
--
-- The planner can't know how rare a word is whose end is open. A walk from the newest row to 100 that
-- match is right for common words and reads everything for rare ones; so first the word index is
-- asked for 20,000 matches. Where there are fewer, they are the answer. The counts are of the
-- newest 100,000 matches: "capped" says that there are more.
--
-- Lists are short of breath: of a message 4,000 characters are shown, of a context that has more than
-- 2,000 bytes 16 values of 200 characters; then message_length and context_length say how much there
-- is, and "whole" where.
WITH span AS MATERIALIZED (
	SELECT until,
		least(coalesce($11::timestamptz,
			coalesce($12::timestamptz, now()) - $13::int * interval '1 s'),
		until - interval '1 s') AS since
	FROM (SELECT coalesce($12::timestamptz, now() + interval '1 min') AS until) x
), matching AS NOT MATERIALIZED (             -- written once, planned in each place where it is read
	SELECT id, timestamp, vps_name, app_name, level, logger, message, context, stream_id, stream_offset
	FROM log_entries
	WHERE timestamp >= coalesce($11::timestamptz,
			coalesce($12::timestamptz, now()) - $13::int * interval '1 s')
		AND timestamp < coalesce($12::timestamptz, now() + interval '1 min')
		AND ($1 = '' OR numnode(to_tsquery('pg_catalog.simple', $1)) = 0
			OR search @@ to_tsquery('pg_catalog.simple', $1))
		AND ($2::text[] IS NULL OR level = ANY ($2::text[]))
		AND ($3 = '{}' OR app_name = ANY ($3::text[])) AND ($4 = '{}' OR app_name <> ALL ($4::text[]))
		AND ($5 = '{}' OR vps_name = ANY ($5::text[])) AND ($6 = '{}' OR vps_name <> ALL ($6::text[]))
		AND ($7 = '{}' OR logger = ANY ($7::text[])) AND ($8 = '{}' OR logger IS NULL
			OR logger <> ALL ($8::text[]))
		AND ($9::text = '[]' OR NOT EXISTS (
			SELECT FROM json_to_recordset($9::text::json) f (key text, value text)
			WHERE coalesce(context ->> key, context #>> string_to_array(key, '.'))
				IS DISTINCT FROM value))
		AND ($10::text = '[]' OR NOT EXISTS (
			SELECT FROM json_to_recordset($10::text::json) f (key text, value text)
			WHERE coalesce(context ->> key, context #>> string_to_array(key, '.'))
				IS NOT DISTINCT FROM value))
), found AS MATERIALIZED (                      -- all of what is rare, by the word index
	SELECT * FROM matching LIMIT 20001
), rare AS MATERIALIZED (
	SELECT count(*) <= 20000 AS yes FROM found
), page AS MATERIALIZED (                       -- what is not rare comes soon on a walk from the newest
	(SELECT * FROM found
	WHERE (SELECT yes FROM rare)
		AND ($14::timestamptz IS NULL OR (timestamp, vps_name, id) < ($14::timestamptz, $15::text,
			$16::bigint))
		AND ($17::timestamptz IS NULL OR (timestamp, vps_name, id) > ($17::timestamptz, $18::text,
			$19::bigint))
	ORDER BY CASE WHEN $17::timestamptz IS NOT NULL THEN timestamp END,
		CASE WHEN $17::timestamptz IS NOT NULL THEN vps_name END,
		CASE WHEN $17::timestamptz IS NOT NULL THEN id END, timestamp DESC, vps_name DESC, id DESC
	LIMIT 101)
	UNION ALL
	(SELECT * FROM matching
	WHERE NOT (SELECT yes FROM rare)
		AND ($14::timestamptz IS NULL OR (timestamp <= $14::timestamptz
			AND (timestamp, vps_name, id) < ($14::timestamptz, $15::text, $16::bigint)))
		AND ($17::timestamptz IS NULL OR (timestamp >= $17::timestamptz
			AND (timestamp, vps_name, id) > ($17::timestamptz, $18::text, $19::bigint)))
	ORDER BY CASE WHEN $17::timestamptz IS NOT NULL THEN timestamp END,
		CASE WHEN $17::timestamptz IS NOT NULL THEN vps_name END,
		CASE WHEN $17::timestamptz IS NOT NULL THEN id END, timestamp DESC, vps_name DESC, id DESC
	LIMIT 101)
), hits AS MATERIALIZED (
	SELECT timestamp, vps_name, app_name, level, logger FROM found WHERE (SELECT yes FROM rare)
	UNION ALL
	(SELECT timestamp, vps_name, app_name, level, logger FROM matching WHERE NOT (SELECT yes FROM rare)
	ORDER BY timestamp DESC LIMIT 100000)
), counted AS MATERIALIZED (
	SELECT count(*) AS n, count(*) = 100000 AS capped, min(timestamp) AS oldest,
		count(*) FILTER (WHERE level IN ('ERROR', 'CRITICAL')) AS errors FROM hits
), slots AS (
	SELECT slot, count(level) AS n, count(*) FILTER (WHERE level IN ('ERROR', 'CRITICAL')) AS e,
		count(*) FILTER (WHERE level = 'WARNING') AS w
	FROM generate_series(0, 59) slot LEFT JOIN (SELECT level, floor(extract(epoch FROM timestamp - since)
		* 60 / extract(epoch FROM until - since))::int AS slot FROM hits, span) h USING (slot)
	GROUP BY slot
), bars AS (
	SELECT slot, n, e, w, since + (until - since) * slot / 60 AS t0,
		since + (until - since) * (slot + 1) / 60 AS t1 FROM slots, span
), facets AS (
	SELECT place, json_build_object('name', title, 'field', field,
		'values', json_agg(json_build_object('value', value, 'n', n)
		ORDER BY n DESC, value)) AS js
	FROM (
		SELECT 1 AS place, 'Level' AS title, 'level' AS field, level AS value,
			count(*) AS n FROM hits GROUP BY level
		UNION ALL (SELECT 2, 'Application', 'app', app_name,
			count(*) FROM hits GROUP BY app_name ORDER BY 5 DESC LIMIT 10)
		UNION ALL (SELECT 3, 'Server', 'vps', vps_name,
			count(*) FROM hits GROUP BY vps_name ORDER BY 5 DESC LIMIT 10)
		UNION ALL (SELECT 4, 'Logger', 'logger', logger,
			count(*) FROM hits WHERE octet_length(logger) <= 200 GROUP BY logger
			ORDER BY 5 DESC LIMIT 10)) f
	GROUP BY place, title, field
), shown AS (                                   -- the page's lines, newest first, without the one too many
	SELECT * FROM (SELECT *, row_number() OVER (ORDER BY
			CASE WHEN $17::timestamptz IS NOT NULL THEN timestamp END,
				CASE WHEN $17::timestamptz IS NOT NULL THEN vps_name END,
			CASE WHEN $17::timestamptz IS NOT NULL THEN id END, timestamp DESC, vps_name DESC,
				id DESC) AS place FROM page) p
	WHERE place <= 100
)
SELECT json_build_object(
	'time', now(),
	'from', (SELECT since FROM span), 'to', (SELECT until FROM span),
	'dated', (SELECT until - since > interval '20 h' FROM span),
	'count', (SELECT n FROM counted), 'errors', (SELECT errors FROM counted),
		'capped', (SELECT capped FROM counted),
	'counted_since', (SELECT oldest FROM counted WHERE capped),
	'histogram_slots', 60, 'histogram_top', (SELECT max(n) FROM bars),
	'histogram', (SELECT json_agg(json_build_object('slot', slot, 'from', t0, 'to', t1, 'n', n,
		'errors', e, 'warnings', w,
		'others', n - e - w) ORDER BY slot) FROM bars WHERE n > 0),
	'facets', (SELECT coalesce(json_agg(js ORDER BY place), '[]') FROM facets),
	'older', (SELECT concat_ws(',', to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), id, vps_name)
		FROM shown
		WHERE (SELECT count(*) > 100 FROM page) OR $17::timestamptz IS NOT NULL ORDER BY timestamp,
			vps_name, id LIMIT 1),
	'newer', (SELECT concat_ws(',', to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), id, vps_name)
		FROM shown
		WHERE $14::timestamptz IS NOT NULL OR ($17::timestamptz IS NOT NULL
			AND (SELECT count(*) > 100 FROM page))
		ORDER BY timestamp DESC, vps_name DESC, id DESC LIMIT 1),
	'lines', (SELECT coalesce(json_agg(json_build_object('timestamp', timestamp, 'vps', vps_name,
		'app', app_name, 'level', level,
		'logger', CASE WHEN length(logger) > 200 THEN left(logger, 200) || '…' ELSE logger END,
		'message', left(message, 4000), 'message_length', message_length,
		'context', CASE WHEN context_length IS NULL THEN context::json
			WHEN jsonb_typeof(context) <> 'object'
				THEN to_json(left(context #>> '{}', 200) || '…')
			ELSE (SELECT json_object_agg(left(key, 100), CASE WHEN length(value::text) > 200
				THEN to_jsonb(left(value #>> '{}', 200) || '…') ELSE value END)
				FROM (SELECT * FROM jsonb_each(context) LIMIT 16) f) END,
		'context_length', context_length, 'id', id, 'stream_id', stream_id,
			'stream_offset', stream_offset,
		'whole', CASE WHEN coalesce(message_length, context_length, CASE WHEN length(logger) > 200
			THEN 1 END) IS NOT NULL THEN
			'/logs/line?id=' || id || '&at=' ||
				to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END)
		ORDER BY timestamp DESC, vps_name DESC, id DESC), '[]') FROM shown CROSS JOIN
	LATERAL (SELECT CASE WHEN length(message) > 4000 THEN length(message) END AS message_length,
		CASE WHEN octet_length(context::text) > 2000
			THEN octet_length(context::text) END AS context_length) size))
