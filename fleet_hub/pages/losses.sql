-- What one server lost, and what the database refused of it, by kind.
-- $1 server, $2 from, $3 to (timestamps; NULL: now), $4 seconds of the span when there is no $2
WITH span AS MATERIALIZED (
	SELECT until, least(coalesce($2::timestamptz, until - $4::int * interval '1 s'),
		until - interval '1 min') AS since
	FROM (SELECT coalesce($3::timestamptz, now()) AS until) x
), lost AS MATERIALIZED (
	SELECT g.*, detail FROM (SELECT app_name, kind, count(*) AS times, max(timestamp) AS last_at,
			sum(lines) FILTER (WHERE lines >= 0) AS lines,
				count(*) FILTER (WHERE lines >= 0) < count(*) AS lines_more,
			sum(bytes) FILTER (WHERE bytes >= 0) AS bytes,
				count(*) FILTER (WHERE bytes >= 0) < count(*) AS bytes_more,
			count(*) OVER () AS n
		FROM gaps, span WHERE vps_name = $1 AND timestamp >= since AND timestamp <= until
		GROUP BY 1, 2 ORDER BY last_at DESC, app_name, kind LIMIT 50) g
	CROSS JOIN LATERAL (SELECT nullif(left(detail, 500), '') AS detail FROM gaps x WHERE x.vps_name = $1
		AND x.timestamp = last_at
		AND x.app_name = g.app_name AND x.kind = g.kind ORDER BY id DESC LIMIT 1) newest
), refused AS MATERIALIZED (
	SELECT r.*, reason, sqlstate FROM (SELECT app_name, count(*) AS rows, max(timestamp) AS last_at
		FROM rejects, span WHERE vps_name = $1 AND timestamp >= since
			AND timestamp <= until GROUP BY 1) r
	CROSS JOIN LATERAL (SELECT nullif(left(reason, 500), '') AS reason,
		nullif(sqlstate, '') AS sqlstate FROM rejects x
		WHERE x.vps_name = $1 AND x.timestamp = last_at AND x.app_name = r.app_name
			ORDER BY id DESC LIMIT 1) newest
)
SELECT json_build_object(
	'losses', EXISTS (SELECT FROM lost) OR EXISTS (SELECT FROM refused),
	'gaps_more', (SELECT nullif(max(n) - count(*), 0) FROM lost),
	'gaps', (SELECT coalesce(json_agg(json_build_object('app', app_name, 'kind', left(kind, 100),
		'what', left(replace(kind, '_', ' '), 100), 'times', times,
		'lines', lines, 'lines_more', lines_more, 'bytes', bytes, 'bytes_more', bytes_more,
		'unit', CASE WHEN kind LIKE 'outbox%' THEN 'samples' WHEN kind LIKE 'check%' THEN 'checks'
			ELSE 'lines' END,
		'last_at', last_at, 'detail', detail) ORDER BY last_at DESC, app_name, kind), '[]')
			FROM lost),
	'rejects', (SELECT coalesce(json_agg(json_build_object('app', app_name, 'rows', rows,
		'last_at', last_at, 'sqlstate', sqlstate, 'reason', reason) ORDER BY last_at DESC, app_name),
		'[]') FROM refused))
