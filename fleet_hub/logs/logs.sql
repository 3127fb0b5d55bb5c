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
WITH span AS MATERIALIZED (
	SELECT * FROM search_span($2::timestamptz, $3::timestamptz, $4::int)
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
	'lines', (SELECT coalesce(json_agg(listed_line(id, timestamp, vps_name, app_name, level, logger,
		message, context, stream_id, stream_offset) ORDER BY timestamp DESC, vps_name DESC, id DESC),
		'[]') FROM shown))
