-- The lines that logs.sql searches, as rows: all of them, whole, the newest first.
-- Parameters as in logs.sql. Without a limit of its own a question that finds much would be sorted whole:
-- one more
-- than a file holds (export.h).
SELECT to_json(timestamp) #>> '{}' AS timestamp, vps_name AS vps, app_name AS app, level, logger, message,
	context, id, stream_id,
	stream_offset
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
	AND ($14::timestamptz IS NULL OR (timestamp <= $14::timestamptz
		AND (timestamp, vps_name, id) < ($14::timestamptz, $15::text, $16::bigint)))
	AND ($17::timestamptz IS NULL OR (timestamp >= $17::timestamptz
		AND (timestamp, vps_name, id) > ($17::timestamptz, $18::text, $19::bigint)))
ORDER BY timestamp DESC, vps_name DESC, id DESC
LIMIT 100001
