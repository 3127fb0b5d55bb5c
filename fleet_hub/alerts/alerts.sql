-- The open alerts, the worst first and those behind that are acknowledged or quiet, or the history,
-- the newest first.
-- $1 state: open, pending, firing, resolved, all, or true and false for resolved ones or not; $2 words in the
-- rule's name and the subject, $3 a server by name or id, $4 how many, $5 behind this one
WITH wanted AS (
	SELECT CASE $1 WHEN 'true' THEN 'resolved' WHEN 'false' THEN 'open' WHEN '' THEN 'open'
		ELSE $1 END AS state,
		CASE WHEN $3 <> '' THEN coalesce(find_server($3), $3) END AS server,
		as_uuid($5) AS after
), found AS MATERIALIZED (
	SELECT a, r.name AS rule, coalesce(a.resolved_at, a.fired_at, a.active_since) AS at,
		CASE WHEN a.state = 'resolved' THEN 0 ELSE 1 + (a.severity = 'critical')::int
			+ (a.state <> 'pending')::int * 2
			+ (a.state <> 'pending' AND a.acked_at IS NULL AND a.muted_by IS NULL)::int * 2
			END AS rank
	FROM wanted w, alerts a LEFT JOIN alert_rules r USING (rule_id)
	WHERE CASE w.state WHEN 'open' THEN a.state <> 'resolved' WHEN 'all' THEN true
		ELSE a.state = w.state END
		AND (w.server IS NULL OR a.subject->>'server' = w.server)
		AND ($2 = '' OR strpos(lower(a.labels->>'rule' || ' ' || a.subject::text), lower($2)) > 0)
), part AS (
	SELECT *, row_number() OVER (ORDER BY rank DESC, at DESC, (a).alert_id) AS n FROM found f
	WHERE (SELECT after FROM wanted) IS NULL OR EXISTS (SELECT FROM found b
		WHERE (b.a).alert_id = (SELECT after FROM wanted)
			AND (-f.rank, -extract(epoch FROM f.at), (f.a).alert_id)
				> (-b.rank, -extract(epoch FROM b.at), (b.a).alert_id))
	ORDER BY rank DESC, at DESC, (a).alert_id LIMIT $4::int + 1
), counted AS (
	SELECT count(*) FILTER (WHERE state IN ('firing', 'error') AND severity = 'critical') AS critical,
		count(*) FILTER (WHERE state IN ('firing', 'error') AND severity = 'warning') AS warning,
		count(*) FILTER (WHERE state = 'pending') AS pending,
		count(*) FILTER (WHERE state IN ('firing', 'error') AND (acked_at IS NOT NULL
			OR muted_by IS NOT NULL))
			AS quiet
	FROM alerts WHERE state <> 'resolved'
)
SELECT json_build_object('time', now(), 'counts', (SELECT to_json(c) FROM counted c),
	'evaluated', (SELECT json_build_object('at', evaluated_until, 'late', coalesce(evaluated_until
		< now() - interval '5 minutes', true), 'watcher', watcher) FROM alert_clock),
	'waits', (SELECT coalesce(json_agg(w ORDER BY since), '[]') FROM (
		SELECT c.name, min(n.made_at) AS since FROM channels c
		JOIN channel_state s USING (channel_id) JOIN notifications n USING (channel_id)
		WHERE c.disabled_at IS NULL AND s.failures > 0 AND n.sent_at IS NULL AND n.dead_at IS NULL
		GROUP BY 1 HAVING min(n.made_at) < now() - interval '1 minute') w),
	'told', EXISTS (SELECT FROM channels WHERE disabled_at IS NULL),
	'items', coalesce((SELECT json_agg(alert_json(a, rule) ORDER BY n) FROM part WHERE n <= $4::int),
		'[]'),
	'next', (SELECT (a).alert_id FROM part WHERE n = $4::int AND (SELECT count(*) FROM part) > $4::int))
