-- The lines around one line, in the order of their file.
-- Long values are cut as in logs.sql.
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
				to_char(timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END,
		'here', stream_offset = $4::bigint) ORDER BY stream_offset), '[]') FROM chosen CROSS JOIN
	LATERAL (SELECT CASE WHEN length(message) > 4000 THEN length(message) END AS message_length,
		CASE WHEN octet_length(context::text) > 2000
			THEN octet_length(context::text) END AS context_length) size))
