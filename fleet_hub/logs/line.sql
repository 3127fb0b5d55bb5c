-- One line of a log, whole.
-- $1 id, $2 its timestamp
SELECT json_build_object('time', now(), 'dated', true,
	'line', (SELECT json_build_object('timestamp', timestamp, 'received_at', received_at, 'vps', vps_name,
		'app', app_name,
			'level', level, 'logger', logger, 'message', message, 'context', context, 'id', id,
				'stream_id', stream_id,
			'stream_offset', stream_offset, 'path', (SELECT path FROM log_streams s
				WHERE s.vps_name = l.vps_name AND s.app_name = l.app_name
					AND s.stream_id = l.stream_id))
		FROM log_entries l WHERE id = $1::bigint AND timestamp = $2::timestamptz ORDER BY vps_name,
			app_name LIMIT 1))
