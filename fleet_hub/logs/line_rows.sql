-- The line of line.sql as a row.
-- $1 id, $2 its timestamp
SELECT to_json(timestamp) #>> '{}' AS timestamp, vps_name AS vps, app_name AS app, level, logger, message,
	context, id, stream_id,
	stream_offset
FROM log_entries WHERE id = $1::bigint AND timestamp = $2::timestamptz
ORDER BY vps_name, app_name LIMIT 1
