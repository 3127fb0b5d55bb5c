-- The lines that logs.sql searches, as rows: all of them, whole, the newest first; one more than a file holds
-- (export.h). The last row of a search that took too long is a note. Parameters as in logs.sql.
SELECT to_json(timestamp) #>> '{}' AS timestamp, vps_name AS vps, app_name AS app, level, logger, message,
	context, id, stream_id,
	stream_offset, context_cells(context, $11::jsonb, NULL) AS context_cells,
	CASE WHEN id IS NULL THEN 'Not complete: looked ' ||
		CASE WHEN $8::timestamptz IS NULL
		THEN 'back to ' || (to_json(min(timestamp) OVER ()) #>> '{}') || '; older'
		ELSE 'up to ' || (to_json(max(timestamp) OVER ()) #>> '{}') || '; newer' END ||
		' lines were not searched. Narrow the search or the range.' END AS note
FROM search_span($2::timestamptz, $3::timestamptz, $4::int),
	found_lines($1::text::jsonb, since, until, 100001, $8::timestamptz IS NOT NULL,
	coalesce($8::timestamptz, $5::timestamptz), coalesce($9, $6), coalesce($10::bigint, $7::bigint)) f
ORDER BY id IS NULL, f.timestamp DESC, vps_name DESC, id DESC
