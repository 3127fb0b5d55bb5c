-- The lines of around.sql as rows, whole.
-- $1 server, $2 application, $3 stream, $4 offset of the line, $5 its timestamp
WITH near AS MATERIALIZED (
	SELECT timestamp, stream_offset, id
	FROM log_entries
	WHERE vps_name = $1 AND app_name = $2 AND stream_id = $3::bigint
		AND timestamp BETWEEN $5::timestamptz - interval '30 min'
			AND $5::timestamptz + interval '30 min'
), chosen AS (
	(SELECT * FROM near WHERE stream_offset <= $4::bigint ORDER BY stream_offset DESC LIMIT 31)
	UNION ALL
	(SELECT * FROM near WHERE stream_offset > $4::bigint ORDER BY stream_offset LIMIT 30)
)
SELECT to_json(timestamp) #>> '{}' AS timestamp, vps_name AS vps, app_name AS app, level, logger, message,
	context, id, stream_id,
	stream_offset
FROM chosen JOIN log_entries USING (timestamp, stream_offset, id)
WHERE vps_name = $1 AND app_name = $2 AND stream_id = $3::bigint
ORDER BY stream_offset
