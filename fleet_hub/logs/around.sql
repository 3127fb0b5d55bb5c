-- The lines around one line, in the order of their file.
-- $1 server, $2 application, $3 stream, $4 offset of the line, $5 its timestamp
WITH near AS MATERIALIZED (
	SELECT id, timestamp, vps_name, app_name, level, logger, message, context, stream_id, stream_offset
	FROM log_entries
	WHERE vps_name = $1 AND app_name = $2 AND stream_id = $3::bigint
		AND timestamp BETWEEN $5::timestamptz - interval '30 min'
			AND $5::timestamptz + interval '30 min'
), chosen AS (
	(SELECT * FROM near WHERE stream_offset <= $4::bigint ORDER BY stream_offset DESC LIMIT 31)
	UNION ALL
	(SELECT * FROM near WHERE stream_offset > $4::bigint ORDER BY stream_offset LIMIT 30)
)
SELECT json_build_object('time', now(), 'dated', true,
	'found', (SELECT true FROM near WHERE stream_offset = $4::bigint LIMIT 1),
	'vps', $1::text, 'app', $2::text,
	'path', (SELECT left(path, 1000) FROM log_streams WHERE vps_name = $1 AND app_name = $2
		AND stream_id = $3::bigint),
	'lines', (SELECT coalesce(json_agg(listed_line(id, timestamp, vps_name, app_name, level, logger,
		message, context, stream_id, stream_offset, stream_offset = $4::bigint)
		ORDER BY stream_offset), '[]') FROM chosen))
