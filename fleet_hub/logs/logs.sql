-- Log search: the lines of a page. logs_counts.sql beside it counts all that match.
-- $1 the query's tree (search.h), $2 from, $3 to, $4 seconds when there is no $2,
-- only lines older than $5 timestamp, $6 server, $7 id; only newer than $8 timestamp, $9 server, $10 id;
-- $11 the keys of chosen columns (columns_view.h), or NULL
--
-- A page has 100 lines; one more is read, to know whether there are more. found_lines() in
-- schema/35-search.sql has the filter and the plan.
--
-- A search that took too long is not finished: a row without id says how far it went. "looked_back_to" and
-- "looked_on_to" say it when the page has not all of its lines, and "older" goes on from there.
--
-- Lists are short of breath: of a message 4,000 characters are shown, of a context that has more than
-- 2,000 bytes 16 values of 200 characters; then message_length and context_length say how much there
-- is, and "whole" where.
WITH span AS MATERIALIZED (
	SELECT until,
		least(coalesce($2::timestamptz,
			coalesce($3::timestamptz, now()) - $4::int * interval '1 s'),
		until - interval '1 s') AS since
	FROM (SELECT coalesce($3::timestamptz, now() + interval '1 min') AS until) x
), found AS MATERIALIZED (
	SELECT f.* FROM span, found_lines($1::text::jsonb, since, until, 101, $8::timestamptz IS NOT NULL,
		coalesce($8::timestamptz, $5::timestamptz), coalesce($9, $6),
		coalesce($10::bigint, $7::bigint)) f
), page AS MATERIALIZED (
	SELECT * FROM found WHERE id IS NOT NULL
), looked AS MATERIALIZED (                     -- where the search for the page stopped, if it did
	SELECT CASE WHEN $8::timestamptz IS NULL THEN least(stop, oldest) END AS back_to,
		CASE WHEN $8::timestamptz IS NOT NULL THEN greatest(stop, newest) END AS on_to
	FROM (SELECT timestamp AS stop FROM found WHERE id IS NULL) s,
		(SELECT count(*) AS n, min(timestamp) AS oldest, max(timestamp) AS newest FROM page) p
	WHERE n <= 100
), shown AS (                                   -- the page's lines, newest first, without the one too many
	SELECT * FROM (SELECT *, row_number() OVER (ORDER BY
			CASE WHEN $8::timestamptz IS NOT NULL THEN timestamp END,
				CASE WHEN $8::timestamptz IS NOT NULL THEN vps_name END,
			CASE WHEN $8::timestamptz IS NOT NULL THEN id END, timestamp DESC, vps_name DESC,
				id DESC) AS place FROM page) p
	WHERE place <= 100
)
SELECT json_build_object(
	'time', now(),
	'from', (SELECT since FROM span), 'to', (SELECT until FROM span),
	'dated', (SELECT until - since > interval '20 h' FROM span),
	'looked_back_to', (SELECT back_to FROM looked), 'looked_on_to', (SELECT on_to FROM looked),
	'older', (SELECT concat_ws(',', to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), id, vps_name)
		FROM (SELECT timestamp, id, vps_name FROM shown
			WHERE (SELECT count(*) > 100 FROM page) OR $8::timestamptz IS NOT NULL
				OR timestamp <= (SELECT back_to FROM looked)
			UNION ALL SELECT back_to, 0, '' FROM looked WHERE back_to IS NOT NULL) x
		ORDER BY timestamp, id = 0, vps_name, id LIMIT 1),
	'newer', (SELECT concat_ws(',', to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), id, vps_name)
		FROM (SELECT timestamp, id, vps_name FROM shown
			WHERE $5::timestamptz IS NOT NULL OR ($8::timestamptz IS NOT NULL
				AND (SELECT count(*) > 100 FROM page))
			UNION ALL SELECT on_to, 0, '' FROM looked WHERE on_to IS NOT NULL) x
		ORDER BY timestamp DESC, vps_name DESC, id DESC LIMIT 1),
	'context_cells', CASE WHEN $11::jsonb IS NOT NULL THEN
		(SELECT json_agg(context_cells(context, $11::jsonb, 200)
			ORDER BY timestamp DESC, vps_name DESC, id DESC) FROM shown) END,
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
