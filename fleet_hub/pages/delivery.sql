-- How the agents of one server deliver, as they tell it themselves.
-- $1 server
--
-- What an agent says is columns of agents; of its JSON only the files that are behind or cannot be read are
-- read here.
WITH me AS MATERIALIZED (
	SELECT vps_name, app_name, epoch, version, coalesce(interval_s, 60) AS interval_s, skew_ms, state,
		first_seen_at, last_seen_at, retired_at, host, conflict_at,
		agent_conflict(conflict, conflict_at, now()) AS conflict, pending, lost, rejected, rss_kb,
			last_error,
		last_commit_at, buffering_since, outage_since, outage_until, outage_samples, outage_lost,
		outbox_bytes, outbox_in_memory, outbox_trouble, lag_bytes, lag_s, files, files_held,
			files_parked,
		files_unreadable, lines_suppressed, extract(epoch FROM now() - last_seen_at) AS seen_s,
		agent_state(last_seen_at, interval_s, retired_at, now()) AS agent_state,
		greatest(least(coalesce(skew_ms, 0), 1e12),
			-1e12) AS skew  -- so that it can be added to a time
	FROM agents WHERE vps_name = $1
), delivery AS (
	SELECT me.*, app_state(agent_state, conflict IS NOT NULL OR files_unreadable > 0, 0, 0) AS state_word,
		least(greatest(last_commit_at - skew * interval '1 ms', moved_at),
			last_seen_at) AS committed_at,
		CASE WHEN away_at <> '' THEN concat_ws(', ', 'buffering since ' || away_at, waiting, losses)
			WHEN agent_state = 'offline'
			THEN concat_ws(', ', 'buffering or stopped since ' || seen_at, waiting,
				losses) END AS buffering,
		CASE WHEN since_at <> '' AND until_at <> '' THEN
			concat_ws(', ', 'buffered ' || since_at || ' to ' || until_at,
				outage_samples || CASE outage_samples WHEN 1 THEN ' sample'
					ELSE ' samples' END,
				CASE WHEN outage_lost IS NOT NULL THEN outage_lost || ' lost'
					WHEN lost = 0 THEN '0 lost'
					ELSE lost || ' lost since the agent started' END) END AS outage,
		CASE WHEN outbox_in_memory OR outbox_trouble <> '' THEN
			concat_ws(': ', CASE WHEN outbox_in_memory THEN 'in memory only' END,
				left(outbox_trouble, 300))
			END AS outbox
	FROM me
	CROSS JOIN LATERAL (SELECT lost || ' lost' AS losses,
		pending || CASE pending WHEN 1 THEN ' sample' ELSE ' samples' END AS waiting) w
	CROSS JOIN LATERAL (SELECT
			max(at) FILTER (WHERE name = 'away') AS away_at,
				max(at) FILTER (WHERE name = 'since') AS since_at,
			max(at) FILTER (WHERE name = 'until') AS until_at,
				max(at) FILTER (WHERE name = 'seen') AS seen_at
		FROM (SELECT name, to_char(t, CASE WHEN t::date = beside::date THEN 'HH24:MI'
				ELSE 'Mon DD HH24:MI' END) AS at
			FROM (VALUES ('away', buffering_since, now()), ('since', outage_since, now()),
				('until', outage_until, outage_since), ('seen', last_seen_at, now())
			) t (name, t, beside)) x) at
	LEFT JOIN LATERAL (SELECT max(updated_at) AS moved_at FROM log_streams s
		WHERE s.vps_name = $1 AND s.app_name = me.app_name) p ON true
), streams AS (
	SELECT app_name, json_agg(json_build_object('path', left(path, 300), 'lag_bytes', bytes, 'lag_s',
		late_s,
		'behind', bytes >= 1000000 OR coalesce(late_s >= 10, false), 'rotated', rotated)
			ORDER BY bytes DESC, path) AS list
	FROM (SELECT app_name, s ->> 'path' AS path, floor((s ->> 'lag_bytes')::numeric) AS bytes,
			jsonb_path_query_first(s, '$.lag_s ? (@.type() == "number" && @ >= 0 &&
				@ < 1000000000000000).floor()')::numeric AS late_s,
			s @> '{"rotated": true}' AS rotated,
			row_number() OVER (PARTITION BY app_name ORDER BY s -> 'lag_bytes' DESC) AS place
		FROM me CROSS JOIN LATERAL jsonb_path_query(state, 'strict $.tail.streams[*] ? (
			@.type() == "object" && @.path.type() == "string" && @.lag_bytes.type() == "number" &&
			@.lag_bytes > 0 && @.lag_bytes < 1000000000000000)', '{}', true) s) x
	WHERE place <= 5 GROUP BY 1
), unreadable AS (
	SELECT app_name, json_agg(json_build_object('path', left(path, 300), 'why', left(why, 300))
		ORDER BY place) AS unreadable
	FROM (SELECT app_name, s ->> 'path' AS path, s ->> 'why' AS why, place
		FROM me CROSS JOIN LATERAL jsonb_path_query(state,
			'lax $.tail.troubles[0 to 4] ? (@.type() == "object" &&
			@.path.type() == "string" && @.why.type() == "string")', '{}', true)
			WITH ORDINALITY x (s, place)) t
	WHERE place <= 5 GROUP BY 1
)
SELECT json_build_object(
	'silent', EXISTS (SELECT FROM delivery WHERE agent_state = 'offline'),
	'agents', (SELECT coalesce(json_agg(json_build_object('app', d.app_name, 'version', version,
		'interval_s', interval_s,
		'state', state_word, 'seen_s', floor(seen_s), 'last_seen_at', last_seen_at,
		'committed_s', floor(extract(epoch FROM now() - committed_at)), 'last_commit_at',
			committed_at,
		'pending', pending, 'lost', lost, 'any_lost', lost > 0, 'rejects', rejected,
		'retired', to_char(retired_at, 'YYYY-MM-DD'), 'retired_at', retired_at, 'conflict',
			CASE WHEN conflict IS NOT NULL THEN
			concat('two agents write as this: ', conflict, ' was sent away at ',
				to_char(conflict_at, 'HH24:MI'), ', ' || host || ' goes on') END,
		'buffering', CASE WHEN retired_at IS NULL THEN buffering END, 'buffering_since',
			buffering_since, 'outage', outage,
		'outage_since', outage_since, 'outage_until', outage_until, 'outage_samples', outage_samples,
			'outage_lost', outage_lost,
		'outbox', outbox, 'outbox_bytes', outbox_bytes,
		'outbox_trouble', outbox_trouble <> '', 'skew_ms', skew_ms, 'clock',
			CASE WHEN abs(skew) > 1000 THEN CASE WHEN abs(skew) < 120000
			THEN round(abs(skew) / 1000, 1) || ' s' WHEN abs(skew) < 7200000
				THEN round(abs(skew) / 60000) || ' min'
			ELSE round(abs(skew) / 3600000) || ' h' END || CASE WHEN skew > 0 THEN ' ahead'
				ELSE ' behind' END END,
		'lag_bytes', lag_bytes, 'lag_s', lag_s, 'late', lag_s >= 10,
		'streams', list, 'unreadable', unreadable, 'unreadable_more',
			nullif(greatest(files_unreadable - 5, 0), 0), 'files', files, 'held', files_held,
			'parked', files_parked,
		'suppressed', lines_suppressed, 'rss_kb', rss_kb, 'last_error', last_error,
		'epoch', epoch, 'first_seen_at', first_seen_at) ORDER BY d.app_name), '[]') FROM delivery d
			LEFT JOIN streams USING (app_name)
		LEFT JOIN unreadable USING (app_name)))
