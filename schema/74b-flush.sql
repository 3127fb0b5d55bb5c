-- ==== 74b-flush: from groups to messages ========================================================
-- flush_groups() goes through time in order: what fired joins its groups, and each group is flushed at its
-- times. So it does not matter who calls it, and how often. Who changes alerts calls it first, up to then.

-- As <@, in linear time.
CREATE OR REPLACE FUNCTION is_subset(p_part uuid[], p_whole uuid[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT EXISTS (SELECT unnest(p_part) EXCEPT SELECT unnest(p_whole));

-- Why a message is due; NULL: it is not. As Alertmanager has it: what the last message said is held against
-- what is so now. p_last_firing NULL: there was none. p_age NULL: nobody knows how old it is. p_repeat NULL:
-- nobody wants to be reminded.
CREATE OR REPLACE FUNCTION notify_due(p_last_firing uuid[], p_last_resolved uuid[], p_age interval,
	p_firing uuid[], p_resolved uuid[], p_repeat interval, p_send_resolved boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_last_firing IS NULL AND p_firing = '{}' THEN NULL
	WHEN coalesce(p_last_firing, '{}') = '{}' AND p_firing <> '{}' THEN 'first'
	WHEN NOT is_subset(p_firing, p_last_firing) THEN 'new_alerts'
	WHEN p_firing = '{}' THEN CASE WHEN p_last_firing <> '{}' THEN 'all_resolved' END
	WHEN p_send_resolved AND NOT is_subset(p_resolved, p_last_resolved) THEN 'new_resolved'
	WHEN p_age IS NULL OR p_age >= p_repeat THEN 'repeat' END;

-- The delay before the next message that says nothing new. It doubles, up to p_max.
CREATE OR REPLACE FUNCTION repeat_delay(p_repeat_s float8, p_max_s float8, p_repeats int) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN make_interval(secs => CASE WHEN p_max_s > p_repeat_s
	THEN least(p_max_s, p_repeat_s * 2 ^ least(p_repeats, 20)) ELSE p_repeat_s END);

-- ---- what a message says -------------------------------------------------------------------------
-- The last p_count lines of a server or an application with level ERROR or above, of the half hour before.
CREATE OR REPLACE FUNCTION error_lines(p_server text, p_app text, p_now timestamptz, p_count int)
RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT coalesce(jsonb_agg(left(format('%s %s %s: %s', to_char("timestamp" AT TIME ZONE 'UTC',
		'HH24:MI:SS'), app_name, level, message), 500) ORDER BY "timestamp", id), '[]')
	FROM (SELECT "timestamp", id, app_name, level, message FROM log_entries
		WHERE vps_name = p_server AND (p_app IS NULL OR app_name = p_app)
			AND level IN ('ERROR', 'CRITICAL')
			AND "timestamp" > p_now - interval '30 minutes' AND "timestamp" <= p_now
		ORDER BY "timestamp" DESC, id DESC LIMIT p_count) l);
END
$$;

-- What the facts say about a subject besides its value: the last failure of a check, the note of a job that
-- failed, the error of a rule. NULL: nothing.
CREATE OR REPLACE FUNCTION alert_detail(p_kind text, p_subject jsonb, p_now timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN left(CASE p_kind
		WHEN 'check' THEN (SELECT h.error_message FROM health_checks h
			WHERE h.vps_name = p_subject ->> 'server' AND h.app_name = p_subject ->> 'app'
				AND h.url = p_subject ->> 'check' AND NOT h.success
				AND h."timestamp" > p_now - interval '1 day' AND h."timestamp" <= p_now
			ORDER BY h."timestamp" DESC LIMIT 1)
		WHEN 'heartbeat' THEN (SELECT CASE WHEN p.kind = 'failed' THEN 'failed: ' || p.note END
			FROM heartbeats b JOIN heartbeat_pings p USING (heartbeat_id)
			WHERE b.name = p_subject ->> 'heartbeat' AND p.kind <> 'start' AND p.at <= p_now
			ORDER BY p.at DESC LIMIT 1)
		WHEN 'rule_error' THEN (SELECT p.problem
			FROM rule_problems p JOIN alert_rules r USING (rule_id)
			WHERE r.name = p_subject ->> 'of_rule')
		END, 300);
END
$$;

-- An alert as a message and its template know it: what tells it apart.
CREATE OR REPLACE FUNCTION alert_brief(a alerts, p_flapping boolean) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('alert_id', (a).alert_id, 'key', alert_key((a).rule_id, (a).subject_key),
	'status', CASE WHEN is_firing(a) OR p_flapping THEN 'firing' ELSE 'resolved' END,
	'rule', (a).labels ->> 'rule', 'severity', (a).severity, 'subject', (a).subject,
	'since', (a).active_since, 'fired_at', (a).fired_at, 'flapping', p_flapping,
	'resolved_at', CASE WHEN NOT is_firing(a) THEN coalesce((a).resolved_at, (a).evaluated_at) END,
	'path', '/alerts/' || (a).alert_id);

-- What else a reader needs; p_unit is that of the rule. p_lines: and the last error lines.
CREATE OR REPLACE FUNCTION alert_details(a alerts, r alert_rules, p_unit text, p_lines boolean,
	p_now timestamptz) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('labels', (a).labels, 'kind', (r).kind, 'metric', (r).metric, 'value', (a).value,
	'op', (r).op, 'threshold', (a).threshold, 'value_text', value_text((a).value, p_unit),
	'threshold_text', CASE WHEN p_unit IS DISTINCT FROM 'state'
		THEN value_text((a).threshold, p_unit) END, 'problem', (a).problem,
	'detail', CASE WHEN p_lines AND is_firing(a) THEN alert_detail((r).kind, (a).subject, p_now) END,
	'resolve_reason', (a).resolve_reason, 'ended', ended_text((a).resolve_reason),
	'acked_by', (a).acked_by, 'ack_note', (a).ack_note, 'summary', coalesce((r).summary, ''),
	'runbook', coalesce((r).runbook, ''),
	'lines', CASE WHEN p_lines AND (a).subject ? 'server' THEN error_lines((a).subject ->> 'server',
		(a).subject ->> 'app', p_now, 3) ELSE '[]' END);

-- Alerts of a message, the worst first. Those behind the first p_full have only what tells them apart.
CREATE OR REPLACE FUNCTION alerts_content(p_ids uuid[], p_flapping uuid[], p_now timestamptz, p_full int)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(CASE WHEN n <= p_full
			THEN alert_brief(a, flaps) || alert_details(a, r,
				rule_unit((r).kind, (r).metric, (r).params), n <= 10, p_now)
			ELSE alert_brief(a, flaps) END ORDER BY n), '[]')
	FROM (SELECT a, CASE WHEN EXISTS (SELECT FROM rule_patches p WHERE p.rule_id = a.rule_id)
				THEN rule_for(a) ELSE r END AS r, flaps, row_number() OVER (
			ORDER BY is_firing(a) OR flaps DESC, a.severity, a.active_since, a.subject,
				a.alert_id) AS n
		FROM alerts a LEFT JOIN alert_rules r USING (rule_id), LATERAL (SELECT coalesce(
			alert_key(a.rule_id, a.subject_key) = ANY (p_flapping), false) AS flaps) f
		WHERE a.alert_id = ANY (p_ids)) x
$$;

-- ---- the groups that are due -----------------------------------------------------------------------
-- Groups that are flushed at a time, each with what its route says, or the root if its route is gone. quiet:
-- a quiet window is open.
CREATE OR REPLACE FUNCTION due_groups(p_at timestamptz) RETURNS TABLE (group_id uuid, only_channel uuid,
	labels jsonb, channels uuid[], group_interval interval, repeat_s float8, repeat_max_s float8,
	has_route boolean, quiet boolean)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH setting AS MATERIALIZED (
		SELECT r.*, EXISTS (SELECT FROM quiet_windows w WHERE w.window_id = ANY (r.windows)
			AND in_window(w, p_at)) AS quiet FROM route_settings() r)
	SELECT g.group_id, g.channel_id, g.labels, s.channels, s.group_interval, s.repeat_s, s.repeat_max_s,
		s.route_id = g.route_id, s.quiet
	FROM alert_groups g LEFT JOIN LATERAL (SELECT * FROM setting x
		ORDER BY x.route_id = g.route_id DESC, x.depth LIMIT 1) s ON true
	WHERE g.flush_at = p_at
$$;

-- Each of them with each channel that the routes lead to (wanted), or that was told something of it.
CREATE OR REPLACE FUNCTION due_channels(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	wanted boolean, send_resolved boolean, repeat_s float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT x.* FROM (
		SELECT g.group_id, c.channel_id, c.disabled_at IS NULL AND CASE
				WHEN g.only_channel IS NOT NULL THEN c.channel_id = g.only_channel
				ELSE g.has_route AND (g.channels IS NULL OR c.channel_id = ANY (g.channels))
				END AS wanted, c.send_resolved, g.repeat_s
		FROM due_groups(p_at) g CROSS JOIN channels c) x
	WHERE x.wanted OR EXISTS (SELECT FROM group_told t
		WHERE t.group_id = x.group_id AND t.channel_id = x.channel_id)
$$;

-- Their members. What flaps counts as firing until it has been quiet for long.
CREATE OR REPLACE FUNCTION due_members(p_at timestamptz) RETURNS TABLE (group_id uuid, alert_key uuid,
	alert_id uuid, routed boolean, firing boolean, flapping boolean, muted boolean, critical boolean,
	acked boolean, repeat_s int)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH member AS MATERIALIZED (
		SELECT m.* FROM alert_groups g JOIN group_alerts m USING (group_id) WHERE g.flush_at = p_at),
	quiet AS MATERIALIZED (
		SELECT x.alert_id FROM muted_alerts(ARRAY(SELECT DISTINCT m.alert_id FROM member m), p_at) x)
	SELECT m.group_id, m.alert_key, m.alert_id, m.routed, is_firing(a) OR f.since IS NOT NULL,
		f.since IS NOT NULL, q.alert_id IS NOT NULL, coalesce(a.severity = 'critical', false),
		coalesce(a.acked_at >= CASE WHEN a.severity = 'critical' THEN a.critical_since
			ELSE a.acked_at END, a.acked_at IS NOT NULL),
		CASE WHEN p.rule_id IS NULL THEN r.repeat_s ELSE (rule_for(a)).repeat_s END
	FROM member m LEFT JOIN alerts a ON a.alert_id = m.alert_id
		LEFT JOIN alert_rules r ON r.rule_id = a.rule_id
		LEFT JOIN (SELECT DISTINCT rule_id FROM rule_patches WHERE changes ? 'repeat_s') p
			ON p.rule_id = a.rule_id
		LEFT JOIN flapping f ON f.alert_key = m.alert_key
		LEFT JOIN quiet q ON q.alert_id = m.alert_id
$$;

-- What there is to say to each channel about each group, as keys. firing: what it should know of, and
-- which of these are critical and flap. owed: "resolved" of what it was told. listed: what the last message
-- said to fire; hidden: some of these that fire, but not for this channel any more. worse: why firing is news
-- although it is listed. shown, over and passed are ids: of firing, of owed if the channel wants it, and of
-- what was over before the channel was told.
CREATE OR REPLACE FUNCTION due_news(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	firing uuid[], critical boolean[], flapping boolean[], hidden uuid[], owed uuid[], listed uuid[],
	worse text, repeat_s float8, shown uuid[], over uuid[], passed uuid[])
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH m AS (
		SELECT x.*, c.channel_id, c.send_resolved, c.repeat_s AS route_repeat_s,
			t.alert_key IS NOT NULL AS told, t.listed AS was_listed,
			t.critical AS was_critical, t.flapping AS was_flapping,
			x.firing AND x.routed AND NOT x.muted AND c.wanted AS due
		FROM due_channels(p_at) c JOIN due_members(p_at) x USING (group_id)
			LEFT JOIN group_told t ON t.group_id = c.group_id AND t.channel_id = c.channel_id
				AND t.alert_key = x.alert_key)
	SELECT m.group_id, m.channel_id, array_agg(alert_key) FILTER (WHERE due),
		array_agg(m.critical) FILTER (WHERE due),
		array_agg(m.flapping) FILTER (WHERE due),
		array_agg(alert_key) FILTER (WHERE was_listed AND m.firing AND NOT due),
		array_agg(alert_key) FILTER (WHERE told AND NOT m.firing),
		array_agg(alert_key) FILTER (WHERE was_listed OR told AND (acked OR NOT m.firing)),
		CASE WHEN bool_or(due AND m.critical AND NOT was_critical) THEN 'worse'
			WHEN bool_or(due AND m.flapping AND NOT was_flapping) THEN 'flapping'
			WHEN bool_or(due AND was_flapping AND NOT m.flapping) THEN 'stable' END,
		min(coalesce(m.repeat_s, route_repeat_s)) FILTER (WHERE due AND NOT acked AND NOT m.flapping),
		array_agg(alert_id) FILTER (WHERE due),
		array_agg(alert_id) FILTER (WHERE told AND NOT m.firing AND send_resolved),
		array_agg(alert_id) FILTER (WHERE NOT told AND NOT m.firing AND routed AND NOT muted
			AND send_resolved)
	FROM m GROUP BY 1, 2
$$;

-- How long ago the last message about a group has reached a channel. One that was refused and waits is not
-- old: a peer that is away gets no reminders on top.
CREATE OR REPLACE FUNCTION message_age(p_sent group_sent, p_interval interval, p_now timestamptz)
RETURNS interval
LANGUAGE sql STABLE
RETURN p_now - coalesce((SELECT CASE
		WHEN dead_at IS NOT NULL OR attempts = 0 OR sent_at < made_at + p_interval THEN made_at
		ELSE coalesce(sent_at, p_now) END
	FROM notifications WHERE notification_id = (p_sent).notification_id), (p_sent).at);

-- The same with the reason to say it, NULL if there is none, and the id that its message gets. A disabled
-- channel without a fallback misses it, and gets none.
CREATE OR REPLACE FUNCTION due_messages(p_at timestamptz) RETURNS TABLE (group_id uuid, channel_id uuid,
	firing uuid[], critical boolean[], flapping boolean[], hidden uuid[], owed uuid[], shown uuid[],
	over uuid[], passed uuid[], labels jsonb, reason text, repeats int, id uuid)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT n.group_id, n.channel_id, n.firing, n.critical, n.flapping, n.hidden, n.owed,
		n.shown, n.over, n.passed, g.labels, r.reason,
		CASE WHEN r.reason = 'repeat' THEN s.repeats + 1 ELSE 0 END,
		CASE WHEN r.reason IS NOT NULL AND (n.shown || n.over) IS NOT NULL AND (c.disabled_at IS NULL
			OR fallback_channel(c.channel_id, '{}') IS NOT NULL) THEN gen_random_uuid() END
	FROM due_news(p_at) n JOIN due_groups(p_at) g USING (group_id) JOIN channels c USING (channel_id)
		LEFT JOIN group_sent s ON s.group_id = n.group_id AND s.channel_id = n.channel_id,
		LATERAL (SELECT CASE WHEN n.firing IS NOT NULL OR n.owed IS NOT NULL THEN coalesce(notify_due(
			CASE WHEN s.at IS NOT NULL THEN coalesce(n.listed, '{}') END, '{}',
			message_age(s, g.group_interval, p_at), coalesce(n.firing, '{}'), n.owed,
			repeat_delay(n.repeat_s, g.repeat_max_s, s.repeats), c.send_resolved),
			n.worse) END OFFSET 0) r(reason);
END
$$;

-- Writes the messages, and what the channels believe from now on.
CREATE OR REPLACE FUNCTION tell_channels(p_at timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH due AS MATERIALIZED (SELECT * FROM due_messages(p_at)),
	written AS (
		INSERT INTO notifications (notification_id, channel_id, group_id, kind, content, made_at,
			not_before)
		SELECT id, channel_id, group_id, CASE WHEN shown IS NULL THEN 'resolved' ELSE 'firing' END,
			jsonb_build_object('version', 1, 'group', labels, 'reason', reason, 'at', p_at,
				'firing', coalesce(cardinality(shown), 0),
				'resolved', coalesce(cardinality(over), 0),
				'alerts', alerts_content(shown || over, ARRAY(SELECT k FROM unnest(firing,
					flapping) u(k, flaps) WHERE flaps), p_at, 100),
				'passed', CASE WHEN passed IS NULL THEN '[]'
					ELSE alerts_content(passed, '{}', p_at, 10) END), p_at, p_at
		FROM due WHERE id IS NOT NULL),
	over AS (
		DELETE FROM group_told t USING due d, unnest(d.owed) k WHERE t.group_id = d.group_id
			AND t.channel_id = d.channel_id AND t.alert_key = k),
	unlisted AS (
		UPDATE group_told t SET listed = false FROM due d, unnest(d.hidden) k
		WHERE d.reason IS NOT NULL AND t.group_id = d.group_id AND t.channel_id = d.channel_id
			AND t.alert_key = k),
	listed AS (
		INSERT INTO group_told AS t
		SELECT d.group_id, d.channel_id, k, true, is_critical, flaps
		FROM due d, unnest(d.firing, d.critical, d.flapping) u(k, is_critical, flaps)
		WHERE d.reason IS NOT NULL
		ON CONFLICT (group_id, channel_id, alert_key) DO UPDATE SET listed = true,
			critical = excluded.critical, flapping = excluded.flapping
		WHERE (t.listed, t.critical, t.flapping) IS DISTINCT FROM (true, excluded.critical,
			excluded.flapping))
	INSERT INTO group_sent AS s SELECT group_id, channel_id, id, p_at, repeats FROM due
		WHERE reason IS NOT NULL
	ON CONFLICT (group_id, channel_id) DO UPDATE SET notification_id = excluded.notification_id,
		at = excluded.at, repeats = excluded.repeats
$$;

-- Members that are over, or are elsewhere now and nobody was told of here, leave. The group of none is kept
-- for a while. All are due again after their intervals.
CREATE OR REPLACE FUNCTION tidy_groups(p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM group_told t USING alert_groups g WHERE g.flush_at = p_at AND t.group_id = g.group_id
		AND NOT EXISTS (SELECT FROM channels c WHERE c.channel_id = t.channel_id);
	DELETE FROM group_alerts m USING alert_groups g WHERE g.flush_at = p_at AND m.group_id = g.group_id
		AND NOT (routed AND (
			EXISTS (SELECT FROM alerts a WHERE a.alert_id = m.alert_id AND is_firing(a))
			OR EXISTS (SELECT FROM flapping f WHERE f.alert_key = m.alert_key)))
		AND NOT EXISTS (SELECT FROM group_told t
			WHERE t.group_id = m.group_id AND t.alert_key = m.alert_key);
	WITH gone AS (DELETE FROM alert_groups g WHERE flush_at = p_at AND emptied_at + group_keep() <= p_at
		AND NOT EXISTS (SELECT FROM group_alerts m WHERE m.group_id = g.group_id) RETURNING group_id)
	DELETE FROM group_sent s USING gone WHERE s.group_id = gone.group_id;
	UPDATE alert_groups g SET flushed = true, flush_at = p_at + d.group_interval, emptied_at = CASE
			WHEN EXISTS (SELECT FROM group_alerts m WHERE m.group_id = g.group_id) THEN NULL
			ELSE coalesce(g.emptied_at, p_at) END
		FROM due_groups(p_at) d WHERE g.group_id = d.group_id;
END
$$;

-- Flushes all groups that are due at a time. In a quiet window a group keeps what it has to say. What has not
-- changed for long does not flap any more. Plans are made anew each time, because there may be few groups or
-- thousands.
CREATE OR REPLACE FUNCTION flush_due(p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
	UPDATE alert_groups g SET flushed = true, flush_at = p_at + d.group_interval
		FROM due_groups(p_at) d WHERE d.quiet AND g.group_id = d.group_id;
	DELETE FROM flapping f USING alert_groups g JOIN group_alerts m USING (group_id)
			LEFT JOIN alerts a USING (alert_id), alert_policy p
		WHERE g.flush_at = p_at AND f.alert_key = m.alert_key
			AND coalesce(greatest(a.fired_at, a.resolved_at)
				+ make_interval(secs => p.flap_quiet_s) <= p_at, true);
	PERFORM tell_channels(p_at);
	PERFORM tidy_groups(p_at);
END
$$;

-- ---- all of them -----------------------------------------------------------------------------------
-- Goes on to p_now, and returns when the next group is due. Alerts must have been evaluated until then. In an
-- absence of the watcher nothing is said, nor after it until the rules have been evaluated again.
CREATE OR REPLACE FUNCTION flush_until(p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c alert_clock;
	v_absent interval;
	v_from timestamptz;
	v_at timestamptz;
BEGIN
	SELECT * INTO c FROM alert_clock FOR UPDATE;
	SELECT make_interval(secs => catch_up_s), flushed_until INTO v_absent, v_from
		FROM alert_policy, notify_state;
	IF c.away_until > p_now OR v_from > p_now + v_absent THEN
		UPDATE alert_groups SET flush_at = greatest(c.away_until, p_now) WHERE flush_at < c.away_until
			OR v_from > p_now + v_absent;
		UPDATE notify_state SET flushed_until = p_now;
		RETURN c.away_until;
	ELSIF c.evaluated_until + v_absent < p_now OR v_from > p_now THEN
		RETURN (SELECT min(flush_at) FROM alert_groups);
	END IF;
	-- Longer ago than an absence: an import, or a backup. No message of that time is due.
	IF v_from < p_now - v_absent THEN
		v_from := p_now;
		UPDATE alert_groups SET flush_at = p_now WHERE flush_at < p_now;
	END IF;
	v_from := greatest(v_from, c.away_until);
	LOOP
		PERFORM route_alerts(v_from, coalesce((SELECT min(flush_at) FROM alert_groups
			WHERE flush_at <= p_now), p_now));
		SELECT min(flush_at) INTO v_at FROM alert_groups WHERE flush_at <= p_now;
		EXIT WHEN v_at IS NULL;
		PERFORM flush_due(v_at);
	END LOOP;
	UPDATE notify_state SET flushed_until = p_now;
	RETURN (SELECT min(flush_at) FROM alert_groups);
END
$$;

-- The same, and what is quiet is noted for the pages.
CREATE OR REPLACE FUNCTION flush_groups(p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	ret CONSTANT timestamptz := flush_until(p_now);
BEGIN
	PERFORM note_muted(p_now) WHERE EXISTS (SELECT FROM notify_state WHERE flushed_until = p_now);
	RETURN ret;
END
$$;

-- What there is without configuration: all goes to all channels, and while an agent is offline its other
-- alerts are quiet. Those of other applications on its server are not: their agents still tell the truth.
WITH first AS (INSERT INTO notify_state DEFAULT VALUES ON CONFLICT DO NOTHING RETURNING true),
	root AS (INSERT INTO alert_routes (group_by, group_wait_s, group_interval_s, repeat_s, repeat_max_s)
		SELECT '{rule}', 30, 300, 14400, 86400 FROM first)
INSERT INTO inhibitions (name, source, target, equal) SELECT 'agent offline',
	'[{"label": "mutes", "op": "=", "value": "app"},
		{"label": "severity", "op": "=", "value": "critical"}]',
	'[{"label": "server", "op": "!=", "value": ""}]', '{server,app}' FROM first;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION flush_groups TO observ_watch;

