-- Why an alert fires: its value over time beside its threshold, its changes, the messages about it.
-- $1 its id, $2 for how many seconds before its end, or now
WITH one AS MATERIALIZED (
	SELECT a, r, coalesce(a.resolved_at + interval '10 minutes', now()) AS until FROM alerts a
	LEFT JOIN alert_rules r USING (rule_id) WHERE a.alert_id = as_uuid($1)
), span AS MATERIALIZED (
	SELECT one.*, least(until - make_interval(secs => $2::float8),
		(a).active_since - interval '10 minutes') AS since
	FROM one
), points AS MATERIALIZED (
	SELECT p.at, p.value FROM span, alert_series((a).alert_id, since, until) p
)
SELECT coalesce((SELECT alert_json((one.a), (one.r).name) || jsonb_build_object(
	'open', (one.a).state <> 'resolved', 'runbook', (one.r).runbook, 'condition', rule_condition(one.r),
	'match_text', matchers_text((SELECT jsonb_agg(jsonb_build_object('label', key, 'op', '=', 'value',
		value))
		FROM jsonb_each_text((one.a).subject || jsonb_build_object('rule', (one.r).name)))),
	'server', (one.a).subject->>'server', 'app', (one.a).subject->>'app',
	'series', (SELECT count(value) > 1 FROM points),
	'from', (SELECT min(at) FROM points), 'to', (SELECT max(at) FROM points),
	'low', (SELECT least(0, min(value)) FROM points),
	'high', (SELECT greatest(max(value), (one.a).threshold) FROM points),
	'points', (SELECT jsonb_agg(value ORDER BY at) FROM points),
	'limit', jsonb_build_array((one.a).threshold, (one.a).threshold),
	'high_text', (SELECT value_text(greatest(max(value), (one.a).threshold), u) FROM points),
	'summary', summary_text(coalesce((one.r).summary, ''), one.a),
	'detail', CASE WHEN (one.a).state <> 'resolved' THEN alert_detail((one.r).kind, (one.a).subject,
		now()) END,
	'changes', (SELECT coalesce(jsonb_agg(change_json(c, u) ORDER BY id), '[]') FROM alert_changes c
		WHERE c.alert_id = (one.a).alert_id),
	'messages', (SELECT coalesce(jsonb_agg(message_json(n) ORDER BY (n).made_at), '[]') FROM (
		SELECT n FROM notifications n WHERE n.made_at >= (one.a).active_since
			AND content @> jsonb_build_object('alerts',
				jsonb_build_array(jsonb_build_object('alert_id',
				(one.a).alert_id))) ORDER BY n.made_at LIMIT 100) m))
	FROM one, LATERAL (SELECT rule_unit((one.r).kind, (one.r).metric, (one.r).params)) x(u)), '{}')
