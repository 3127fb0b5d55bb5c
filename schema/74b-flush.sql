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
CREATE OR REPLACE FUNCTION alert_brief(a alerts, p_flapping boolean) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('alert_id', a.alert_id, 'key', alert_key(a.rule_id, a.subject_key),
		'status', CASE WHEN is_firing(a) OR p_flapping THEN 'firing' ELSE 'resolved' END,
		'rule', a.labels ->> 'rule', 'severity', a.severity, 'subject', a.subject,
		'since', a.active_since, 'fired_at', a.fired_at, 'flapping', p_flapping,
		'resolved_at', CASE WHEN NOT is_firing(a) THEN coalesce(a.resolved_at, a.evaluated_at) END,
		'path', '/alerts/' || a.alert_id)
$$;

-- The same with all that a reader needs. p_lines: and the last error lines.
CREATE OR REPLACE FUNCTION alert_content(a alerts, p_flapping boolean, p_lines boolean, p_now timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT alert_brief(a, p_flapping) || jsonb_build_object('labels', a.labels, 'kind', r.kind,
		'metric', r.metric, 'value', a.value, 'op', r.op, 'threshold', a.threshold,
		'value_text', value_text(a.value, u), 'threshold_text', CASE WHEN u IS DISTINCT FROM 'state'
			THEN value_text(a.threshold, u) END, 'problem', a.problem,
		'detail', CASE WHEN p_lines AND is_firing(a) THEN alert_detail(r.kind, a.subject, p_now) END,
		'resolve_reason', a.resolve_reason, 'ended', ended_text(a.resolve_reason),
		'acked_by', a.acked_by, 'ack_note', a.ack_note, 'summary', coalesce(r.summary, ''),
		'runbook', coalesce(r.runbook, ''),
		'lines', CASE WHEN p_lines AND a.subject ? 'server' THEN error_lines(a.subject ->> 'server',
			a.subject ->> 'app', p_now, 3) ELSE '[]' END)
	FROM rule_for(a) r, LATERAL (SELECT rule_unit(r.kind, r.metric, r.params)) x(u)
$$;

-- Alerts of a message, the worst first. Those behind the first p_full have only what tells them apart.
CREATE OR REPLACE FUNCTION alerts_content(p_ids uuid[], p_flapping uuid[], p_now timestamptz, p_full int)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(CASE WHEN n <= p_full THEN alert_content(a, flaps, n <= 10, p_now)
			ELSE alert_brief(a, flaps) END ORDER BY n), '[]')
	FROM (SELECT a, flaps, row_number() OVER (ORDER BY is_firing(a) OR flaps DESC, a.severity,
			a.active_since, a.alert_id) AS n
		FROM alerts a, LATERAL (SELECT coalesce(
			alert_key(a.rule_id, a.subject_key) = ANY (p_flapping), false) AS flaps) f
		WHERE a.alert_id = ANY (p_ids)) x
$$;

-- ---- one group -----------------------------------------------------------------------------------
-- The members of a group at a time. What flaps counts as firing until it has been quiet for long.
CREATE OR REPLACE FUNCTION group_members(p_group uuid, p_now timestamptz) RETURNS TABLE (alert_key uuid,
	alert_id uuid, routed boolean, firing boolean, flapping boolean, muted boolean, critical boolean,
	acked boolean, repeat_s int)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH quiet AS MATERIALIZED (SELECT x.alert_id FROM muted_alerts(ARRAY(SELECT g.alert_id
		FROM group_alerts g WHERE g.group_id = p_group), p_now) x)
	SELECT m.alert_key, m.alert_id, m.routed, is_firing(a) OR f.since IS NOT NULL, f.since IS NOT NULL,
		q.alert_id IS NOT NULL, coalesce(a.severity = 'critical', false),
		coalesce(a.acked_at >= CASE WHEN a.severity = 'critical' THEN a.critical_since
			ELSE a.acked_at END, a.acked_at IS NOT NULL),
		CASE WHEN p.rule_id IS NULL THEN r.repeat_s ELSE (rule_for(a)).repeat_s END
	FROM group_alerts m LEFT JOIN alerts a ON a.alert_id = m.alert_id
		LEFT JOIN alert_rules r ON r.rule_id = a.rule_id
		LEFT JOIN (SELECT DISTINCT rule_id FROM rule_patches WHERE changes ? 'repeat_s') p
			ON p.rule_id = a.rule_id
		LEFT JOIN flapping f ON f.alert_key = m.alert_key
		LEFT JOIN quiet q ON q.alert_id = m.alert_id
	WHERE m.group_id = p_group
$$;

-- What there is to say to a channel about a group, as keys. firing: what it should know of. owed: "resolved"
-- of what it was told. listed: what the last message said to fire. critical, flapping: some of firing. worse:
-- why firing is news although it is listed. shown, over and passed are ids: of firing, of owed, and of what
-- was over before the channel was told. p_wanted: the routes lead to the channel.
CREATE OR REPLACE FUNCTION group_news(p_group uuid, p_channel uuid, p_wanted boolean, p_repeat_s float8,
	p_now timestamptz, OUT firing uuid[], OUT owed uuid[], OUT listed uuid[], OUT critical uuid[],
	OUT flapping uuid[], OUT worse text, OUT repeat_s float8, OUT shown uuid[], OUT over uuid[],
	OUT passed uuid[])
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH m AS (
		SELECT x.*, t.alert_key IS NOT NULL AS told, t.listed AS was_listed,
			t.critical AS was_critical, t.flapping AS was_flapping,
			x.firing AND x.routed AND NOT x.muted AND p_wanted AS due
		FROM group_members(p_group, p_now) x LEFT JOIN group_told t
			ON t.group_id = p_group AND t.channel_id = p_channel AND t.alert_key = x.alert_key)
	SELECT array_agg(alert_key) FILTER (WHERE due),
		array_agg(alert_key) FILTER (WHERE told AND NOT m.firing),
		array_agg(alert_key) FILTER (WHERE was_listed OR told AND (acked OR NOT m.firing)),
		array_agg(alert_key) FILTER (WHERE due AND m.critical),
		array_agg(alert_key) FILTER (WHERE due AND m.flapping),
		CASE WHEN bool_or(due AND m.critical AND NOT was_critical) THEN 'worse'
			WHEN bool_or(due AND m.flapping AND NOT was_flapping) THEN 'flapping'
			WHEN bool_or(due AND was_flapping AND NOT m.flapping) THEN 'stable' END,
		min(coalesce(m.repeat_s, p_repeat_s)) FILTER (WHERE due AND NOT acked AND NOT m.flapping),
		array_agg(alert_id) FILTER (WHERE due),
		array_agg(alert_id) FILTER (WHERE told AND NOT m.firing),
		array_agg(alert_id) FILTER (WHERE NOT told AND NOT m.firing AND routed AND NOT muted)
	FROM m
$$;

-- How long ago the last message about a group has reached a channel. One that was refused and waits is not
-- old: a peer that is away gets no reminders on top.
CREATE OR REPLACE FUNCTION message_age(p_sent group_sent, p_interval interval, p_now timestamptz)
RETURNS interval
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT p_now - coalesce((SELECT CASE
			WHEN dead_at IS NOT NULL OR attempts = 0 OR sent_at < made_at + p_interval
				THEN made_at
			ELSE coalesce(sent_at, p_now) END
		FROM notifications WHERE notification_id = p_sent.notification_id), p_sent.at)
$$;

-- Writes what a channel now believes.
CREATE OR REPLACE FUNCTION note_told(p_group uuid, p_channel uuid, n record, p_reason text,
	p_notification uuid, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM group_told
		WHERE group_id = p_group AND channel_id = p_channel AND alert_key = ANY (n.owed);
	IF p_reason IS NULL THEN
		RETURN;
	END IF;
	UPDATE group_told SET listed = false WHERE group_id = p_group AND channel_id = p_channel AND listed
		AND alert_key <> ALL (coalesce(n.firing, '{}'));
	INSERT INTO group_told AS t SELECT p_group, p_channel, k, true, coalesce(k = ANY (n.critical), false),
		coalesce(k = ANY (n.flapping), false) FROM unnest(n.firing) k
		ON CONFLICT (group_id, channel_id, alert_key) DO UPDATE SET listed = true,
			critical = excluded.critical, flapping = excluded.flapping
		WHERE (t.listed, t.critical, t.flapping) IS DISTINCT FROM (true, excluded.critical,
			excluded.flapping);
	INSERT INTO group_sent AS s VALUES (p_group, p_channel, p_notification, p_now, 0)
		ON CONFLICT (group_id, channel_id) DO UPDATE SET notification_id = excluded.notification_id,
			at = excluded.at,
			repeats = CASE WHEN p_reason = 'repeat' THEN s.repeats + 1 ELSE 0 END;
END
$$;

-- The row of a message, for the outbox. Returns its id.
CREATE OR REPLACE FUNCTION add_message(g alert_groups, p_channel uuid, n record, p_over uuid[], p_reason text,
	p_now timestamptz) RETURNS uuid
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	ret uuid;
BEGIN
	INSERT INTO notifications (channel_id, group_id, kind, content, made_at, not_before)
	VALUES (p_channel, g.group_id, CASE WHEN n.shown IS NULL THEN 'resolved' ELSE 'firing' END,
		jsonb_build_object('version', 1, 'group', g.labels, 'reason', p_reason, 'at', p_now,
			'firing', coalesce(cardinality(n.shown), 0),
			'resolved', coalesce(cardinality(p_over), 0),
			'alerts', alerts_content(n.shown || p_over, n.flapping, p_now, 100),
			'passed', alerts_content(n.passed, '{}', p_now, 10)), p_now, p_now)
	RETURNING notification_id INTO ret;
	RETURN ret;
END
$$;

-- Tells a channel what is new in a group. A disabled one without a fallback misses it.
CREATE OR REPLACE FUNCTION flush_channel(g alert_groups, p_channel channels, p_wanted boolean,
	p_repeat_s float8, p_repeat_max_s float8, p_interval interval, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	n record;
	v_last group_sent;
	v_reason text;
	v_over uuid[];
	v_id uuid;
BEGIN
	SELECT * INTO n FROM group_news(g.group_id, p_channel.channel_id, p_wanted, p_repeat_s, p_now);
	SELECT * INTO v_last FROM group_sent
		WHERE group_id = g.group_id AND channel_id = p_channel.channel_id;
	IF n.firing IS NOT NULL OR n.owed IS NOT NULL THEN
		v_reason := coalesce(notify_due(
			CASE WHEN v_last.at IS NOT NULL THEN coalesce(n.listed, '{}') END, '{}',
			message_age(v_last, p_interval, p_now), coalesce(n.firing, '{}'), n.owed,
			repeat_delay(n.repeat_s, p_repeat_max_s, v_last.repeats), p_channel.send_resolved),
			n.worse);
	END IF;
	v_over := CASE WHEN p_channel.send_resolved THEN n.over END;
	n.passed := CASE WHEN p_channel.send_resolved THEN n.passed END;
	IF v_reason IS NOT NULL AND (n.shown || v_over) IS NOT NULL AND (p_channel.disabled_at IS NULL
			OR fallback_channel(p_channel.channel_id, '{}') IS NOT NULL) THEN
		v_id := add_message(g, p_channel.channel_id, n, v_over, v_reason, p_now);
	END IF;
	PERFORM note_told(g.group_id, p_channel.channel_id, n, v_reason, v_id, p_now);
END
$$;

-- What has not changed for long does not flap any more.
CREATE OR REPLACE FUNCTION end_flapping(p_group uuid, p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	DELETE FROM flapping f USING group_alerts m LEFT JOIN alerts a USING (alert_id), alert_policy p
	WHERE m.group_id = p_group AND f.alert_key = m.alert_key
		AND coalesce(greatest(a.fired_at, a.resolved_at)
			+ make_interval(secs => p.flap_quiet_s) <= p_now, true)
$$;

-- Members that are over, or are elsewhere now and nobody was told of here, leave. The group of none is kept
-- for a while.
CREATE OR REPLACE FUNCTION tidy_group(p_group uuid, p_next timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM group_told t WHERE group_id = p_group
		AND NOT EXISTS (SELECT FROM channels c WHERE c.channel_id = t.channel_id);
	DELETE FROM group_alerts m WHERE group_id = p_group AND NOT (routed AND (
			EXISTS (SELECT FROM alerts a WHERE a.alert_id = m.alert_id AND is_firing(a))
			OR EXISTS (SELECT FROM flapping f WHERE f.alert_key = m.alert_key)))
		AND NOT EXISTS (SELECT FROM group_told t
			WHERE t.group_id = p_group AND t.alert_key = m.alert_key);
	UPDATE alert_groups SET flushed = true, flush_at = p_next, emptied_at = CASE
			WHEN EXISTS (SELECT FROM group_alerts WHERE group_id = p_group) THEN NULL
			ELSE coalesce(emptied_at, p_now) END
		WHERE group_id = p_group;
	DELETE FROM alert_groups WHERE group_id = p_group AND emptied_at + group_keep() <= p_now;
	IF FOUND THEN
		DELETE FROM group_sent WHERE group_id = p_group;
	END IF;
END
$$;

-- In a quiet window a group keeps what it has to say.
CREATE OR REPLACE FUNCTION flush_group(g alert_groups, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	s record;
	v record;
BEGIN
	SELECT r.*, EXISTS (SELECT FROM quiet_windows w WHERE w.window_id = ANY (r.windows)
			AND in_window(w, p_now)) AS quiet INTO s
		FROM route_settings() r ORDER BY r.route_id = g.route_id DESC, depth LIMIT 1;
	IF s.quiet THEN
		UPDATE alert_groups SET flushed = true, flush_at = p_now + s.group_interval
			WHERE group_id = g.group_id;
		RETURN;
	END IF;
	PERFORM end_flapping(g.group_id, p_now);
	FOR v IN SELECT c, w.id IS NOT NULL AS wanted
			FROM channels c LEFT JOIN group_channels(g) w(id) ON w.id = c.channel_id
			WHERE w.id IS NOT NULL OR EXISTS (SELECT FROM group_told t
				WHERE t.group_id = g.group_id AND t.channel_id = c.channel_id)
			ORDER BY c.channel_id LOOP
		PERFORM flush_channel(g, v.c, v.wanted, s.repeat_s, s.repeat_max_s, s.group_interval, p_now);
	END LOOP;
	PERFORM tidy_group(g.group_id, p_now + s.group_interval, p_now);
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
	g alert_groups;
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
		FOR g IN SELECT * FROM alert_groups WHERE flush_at = v_at ORDER BY group_id LOOP
			PERFORM flush_group(g, v_at);
		END LOOP;
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

