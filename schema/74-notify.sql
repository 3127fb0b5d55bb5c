-- ==== 74-notify: which alerts go into which messages ============================================
-- Each firing alert is a member of one or more groups: the routes choose them, and flush_groups()
-- (74b-flush) makes a message of what is new in a group. The semantics are Alertmanager's; docs/alerts.md
-- lists where they differ. A group knows its members by key, so an alert that is back is the same member.

CREATE OR REPLACE FUNCTION alert_key(p_rule uuid, p_subject_key uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN md5(p_rule::text || p_subject_key::text)::uuid;

-- Does an alert concern anybody? One whose rule began to wait longer is pending again.
CREATE OR REPLACE FUNCTION is_firing(a alerts) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN coalesce((a).state IN ('firing', 'error'), false);

-- A group that is empty for so long is a new one when an alert comes.
CREATE OR REPLACE FUNCTION group_keep() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '30 seconds';

-- ---- routes --------------------------------------------------------------------------------------
-- Each route with what it has of its parents. No channels: every enabled one.
CREATE OR REPLACE FUNCTION route_settings() RETURNS TABLE (route_id uuid, depth int, channels uuid[],
	group_by text[], group_wait interval, group_interval interval, repeat_s float8, repeat_max_s float8,
	windows uuid[])
LANGUAGE sql STABLE ROWS 10 SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH RECURSIVE t AS (
		SELECT r.route_id, 0 AS depth, r.channels, coalesce(r.group_by, '{rule}') AS group_by,
			coalesce(r.group_wait_s, 30) AS wait_s,
			coalesce(r.group_interval_s, 300) AS interval_s,
			coalesce(r.repeat_s, 14400) AS repeat_s, r.repeat_max_s,
			coalesce(r.windows, '{}') AS windows
		FROM alert_routes r WHERE r.parent_id IS NULL
		UNION ALL
		SELECT r.route_id, t.depth + 1, coalesce(r.channels, t.channels),
			coalesce(r.group_by, t.group_by), coalesce(r.group_wait_s, t.wait_s),
			coalesce(r.group_interval_s, t.interval_s), coalesce(r.repeat_s, t.repeat_s),
			coalesce(r.repeat_max_s, t.repeat_max_s), coalesce(r.windows, t.windows)
		FROM t JOIN alert_routes r ON r.parent_id = t.route_id WHERE t.depth < 32)
	SELECT t.route_id, t.depth, t.channels, t.group_by, make_interval(secs => wait_s),
		make_interval(secs => interval_s), t.repeat_s, t.repeat_max_s, t.windows FROM t
$$;

-- The routes of an alert at or below p_route: those of its first child that matches, and of the next ones if
-- that one goes on; without such a child p_route itself.
CREATE OR REPLACE FUNCTION matching_routes(p_route uuid, p_labels jsonb, p_depth int DEFAULT 0) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r record;
	ret uuid[] := '{}';
BEGIN
	FOR r IN SELECT route_id, go_on FROM alert_routes WHERE parent_id = p_route AND p_depth < 32
			AND labels_match(match, p_labels) ORDER BY position, route_id LOOP
		ret := ret || matching_routes(r.route_id, p_labels, p_depth + 1);
		EXIT WHEN NOT r.go_on;
	END LOOP;
	RETURN CASE ret WHEN '{}' THEN ARRAY[p_route] ELSE ret END;
END
$$;

-- The labels by which an alert is grouped, as far as it has them.
CREATE OR REPLACE FUNCTION group_labels(p_labels jsonb, p_by text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN '...' = ANY (p_by) THEN p_labels
	ELSE (SELECT coalesce(jsonb_object_agg(name, p_labels -> name), '{}') FROM unnest(p_by) name
		WHERE p_labels ? name) END;

-- The enabled channels of a group.
CREATE OR REPLACE FUNCTION group_channels(g alert_groups) RETURNS SETOF uuid
LANGUAGE sql STABLE ROWS 3 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT c.channel_id FROM channels c LEFT JOIN route_settings() s ON s.route_id = g.route_id
	WHERE c.disabled_at IS NULL AND CASE WHEN g.channel_id IS NOT NULL THEN c.channel_id = g.channel_id
		ELSE s.route_id IS NOT NULL AND (s.channels IS NULL OR c.channel_id = ANY (s.channels)) END
$$;

-- A rule as it holds for the subject of an alert.
CREATE OR REPLACE FUNCTION rule_for(a alerts) RETURNS alert_rules
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT jsonb_populate_record(r, p.changes) FROM rule_patches p
		WHERE p.patch_id = patch_of(r.rule_id, a.subject)), r)
	FROM alert_rules r WHERE r.rule_id = a.rule_id
$$;

-- The channel to which a rule sends whatever the routes say.
CREATE OR REPLACE FUNCTION alert_channel(a alerts, r alert_rules) RETURNS uuid
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN EXISTS (SELECT FROM rule_patches p WHERE p.rule_id = a.rule_id
		AND p.changes ? 'channel_id') THEN (rule_for(a)).channel_id ELSE r.channel_id END
$$;

-- The firing alerts that are not yet where their labels, their rules and the routes lead.
CREATE OR REPLACE FUNCTION unrouted_alerts() RETURNS TABLE (alert_id uuid, key uuid, labels jsonb,
	fired_at timestamptz, channel_id uuid)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT a.alert_id, alert_key(a.rule_id, a.subject_key), a.labels, a.fired_at, c.channel_id
	FROM alerts a LEFT JOIN alert_rules r USING (rule_id),
		LATERAL (SELECT CASE WHEN EXISTS (SELECT FROM rule_patches) THEN alert_channel(a, r)
			ELSE r.channel_id END) c(channel_id)
	WHERE a.state <> 'resolved' AND is_firing(a) AND NOT EXISTS (SELECT FROM group_alerts m
		WHERE m.alert_id = a.alert_id AND m.routed AND m.labels = a.labels
			AND m.channel_id IS NOT DISTINCT FROM c.channel_id);
END;

-- Makes alerts members of their groups. One that fired since p_from is new as of that time, any other as of
-- p_now. A new group waits for group_wait, but not for an alert that has fired for as long. Returns the keys.
CREATE OR REPLACE FUNCTION join_groups(p_from timestamptz, p_now timestamptz) RETURNS uuid[]
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH root AS (SELECT s.route_id FROM route_settings() s WHERE depth = 0),
	new AS MATERIALIZED (
		SELECT u.*, CASE WHEN fired_at >= p_from THEN least(fired_at, p_now) ELSE p_now END AS seen
		FROM unrouted_alerts() u),
	target AS MATERIALIZED (
		SELECT n.*, s.route_id, group_labels(n.labels, s.group_by) AS by,
			n.seen + CASE WHEN n.fired_at + s.group_wait >= n.seen THEN s.group_wait
				ELSE interval '0' END AS flush_at
		FROM new n CROSS JOIN root,
			unnest(CASE WHEN n.channel_id IS NULL THEN matching_routes(root.route_id, n.labels)
				ELSE ARRAY[root.route_id] END) m(route_id)
		JOIN route_settings() s USING (route_id)),
	grouped AS (
		INSERT INTO alert_groups AS g (route_id, channel_id, labels, flush_at)
		SELECT t.route_id, t.channel_id, by, min(t.flush_at) FROM target t GROUP BY 1, 2, 3
		ON CONFLICT (route_id, channel_id, labels) DO UPDATE SET emptied_at = NULL,
			flushed = g.flushed AND NOT coalesce(g.emptied_at + group_keep() <= p_now, false),
			flush_at = CASE WHEN g.emptied_at + group_keep() <= p_now THEN excluded.flush_at
				WHEN g.flushed THEN g.flush_at ELSE least(g.flush_at, excluded.flush_at) END
		RETURNING g.group_id, g.route_id, g.channel_id, g.labels),
	joined AS (
		INSERT INTO group_alerts AS m (group_id, alert_key, alert_id, labels, channel_id)
		SELECT g.group_id, t.key, t.alert_id, t.labels, t.channel_id
		FROM target t JOIN grouped g ON g.route_id = t.route_id AND g.labels = t.by
			AND g.channel_id IS NOT DISTINCT FROM t.channel_id
		ON CONFLICT (group_id, alert_key) DO UPDATE SET alert_id = excluded.alert_id,
			labels = excluded.labels, channel_id = excluded.channel_id, routed = true
		RETURNING m.group_id, m.alert_key),
	parted AS (
		UPDATE group_alerts m SET routed = false
		WHERE m.routed AND m.alert_key IN (SELECT key FROM target)
			AND (m.group_id, m.alert_key) NOT IN (SELECT group_id, alert_key FROM joined))
	SELECT array_agg(DISTINCT alert_key) FROM joined
$$;

-- What a channel was told in a group that an alert has left counts in another group of the channel that the
-- alert is in: it is not told again, and "resolved" comes once.
CREATE OR REPLACE FUNCTION carry_told(p_keys uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v record;
BEGIN
	FOR v IN SELECT DISTINCT ON (t.group_id, t.channel_id, t.alert_key) t.group_id AS was, g.group_id,
			t.channel_id, t.alert_key
			FROM group_told t JOIN group_alerts m USING (group_id, alert_key)
			JOIN group_alerts o ON o.alert_key = t.alert_key AND o.routed
			JOIN alert_groups g ON g.group_id = o.group_id
			WHERE t.alert_key = ANY (p_keys) AND NOT m.routed
				AND t.channel_id IN (SELECT * FROM group_channels(g))
			ORDER BY t.group_id, t.channel_id, t.alert_key, g.group_id LOOP
		INSERT INTO group_sent SELECT v.group_id, channel_id, notification_id, at, repeats
			FROM group_sent WHERE group_id = v.was AND channel_id = v.channel_id
			ON CONFLICT DO NOTHING;
		INSERT INTO group_told SELECT v.group_id, channel_id, alert_key, listed, critical, flapping
			FROM group_told WHERE group_id = v.was AND channel_id = v.channel_id
			AND alert_key = v.alert_key ON CONFLICT DO NOTHING;
		DELETE FROM group_told WHERE group_id = v.was AND channel_id = v.channel_id
			AND alert_key = v.alert_key;
	END LOOP;
END
$$;

-- Alerts that fired too often of late flap from now on.
CREATE OR REPLACE FUNCTION find_flapping(p_keys uuid[], p_now timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	INSERT INTO flapping SELECT m.alert_key, p_now
	FROM (SELECT DISTINCT alert_key, alert_id FROM group_alerts
			WHERE alert_key = ANY (p_keys) AND routed) m
		JOIN alerts a USING (alert_id) CROSS JOIN alert_policy p
	WHERE a.fired_at > p_now - make_interval(secs => p.flap_quiet_s) AND p.flap_count <= (
		SELECT count(*) FROM alerts b WHERE b.rule_id = a.rule_id AND b.subject_key = a.subject_key
			AND b.fired_at > a.fired_at - make_interval(secs => p.flap_window_s))
	ON CONFLICT DO NOTHING
$$;

-- Routes what fires. After a change of the routes everything is routed anew, and each group that was flushed
-- before is flushed at once.
CREATE OR REPLACE FUNCTION route_alerts(p_from timestamptz, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_routes CONSTANT text := (SELECT md5(string_agg(route_id::text || xmin, ' ' ORDER BY route_id))
		FROM alert_routes);
	v_keys uuid[];
BEGIN
	IF EXISTS (SELECT FROM notify_state WHERE routes IS DISTINCT FROM v_routes) THEN
		UPDATE notify_state SET routes = v_routes;
		UPDATE group_alerts SET routed = false WHERE routed;
		UPDATE alert_groups SET flush_at = p_now WHERE flushed AND flush_at > p_now;
	END IF;
	IF EXISTS (SELECT FROM unrouted_alerts()) THEN
		v_keys := join_groups(p_from, p_now);
		PERFORM carry_told(v_keys), find_flapping(v_keys, p_now);
	END IF;
END
$$;

-- ---- what is quiet -------------------------------------------------------------------------------
-- The values of labels that must be the same in two alerts; a missing one counts as empty.
CREATE OR REPLACE FUNCTION label_values(p_labels jsonb, p_names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(jsonb_agg(coalesce(p_labels -> name, '""') ORDER BY n), '[]')
	FROM unnest(p_names) WITH ORDINALITY u(name, n));

-- Which of these alerts another one keeps quiet, and the name of the inhibition. An alert that matches source
-- and target is not kept quiet by one that does so, too: or they would silence each other. What is compared
-- is made once for each alert: hundreds of agents fall silent together, and nobody has analyzed the table
-- by then.
CREATE OR REPLACE FUNCTION inhibited_alerts(p_ids uuid[]) RETURNS TABLE (alert_id uuid, name text)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH source AS MATERIALIZED (
		SELECT DISTINCT i.inhibition_id, label_values(b.labels, i.equal) AS equal,
			labels_match(i.target, b.labels) AS two_sided
		FROM inhibitions i JOIN alerts b ON b.state <> 'resolved' AND is_firing(b)
			AND labels_match(i.source, b.labels)
	), target AS MATERIALIZED (
		SELECT a.alert_id, i.inhibition_id, i.name, label_values(a.labels, i.equal) AS equal,
			labels_match(i.source, a.labels) AS two_sided
		FROM alerts a JOIN inhibitions i ON labels_match(i.target, a.labels)
		WHERE a.alert_id = ANY (p_ids) AND EXISTS (SELECT FROM source)
	)
	SELECT DISTINCT ON (t.alert_id) t.alert_id, t.name
	FROM target t JOIN source s USING (inhibition_id, equal)
	WHERE NOT (s.two_sided AND t.two_sided) ORDER BY t.alert_id, t.name
$$;

-- Why alerts are quiet. A row for each of these that is.
CREATE OR REPLACE FUNCTION muted_alerts(p_ids uuid[], p_now timestamptz)
RETURNS TABLE (alert_id uuid, reason text)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH silence AS MATERIALIZED (SELECT * FROM silences WHERE starts_at <= p_now AND ends_at > p_now),
	silent AS MATERIALIZED (
		SELECT DISTINCT ON (a.alert_id) a.alert_id, 'silence: ' || s.comment AS reason
		FROM alerts a JOIN silence s ON labels_match(s.match, a.labels)
		WHERE a.alert_id = ANY (p_ids) AND EXISTS (SELECT FROM silence)
		ORDER BY a.alert_id, s.ends_at DESC, s.silence_id)
	SELECT * FROM silent
	UNION ALL
	SELECT i.alert_id, 'inhibited: ' || i.name FROM inhibited_alerts(p_ids) i
	WHERE NOT EXISTS (SELECT FROM silent s WHERE s.alert_id = i.alert_id)
$$;

-- For pages: alerts.muted_by of what fires.
CREATE OR REPLACE FUNCTION note_muted(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_ids CONSTANT uuid[] := ARRAY(SELECT alert_id FROM alerts a
		WHERE state <> 'resolved' AND is_firing(a));
BEGIN
	IF v_ids = '{}' OR NOT (EXISTS (SELECT FROM silences WHERE starts_at <= p_now AND ends_at > p_now)
		OR EXISTS (SELECT FROM flapping)
		OR EXISTS (SELECT FROM alerts a WHERE a.state <> 'resolved' AND is_firing(a)
			AND (a.muted_by IS NOT NULL OR EXISTS (SELECT FROM inhibitions i
				WHERE labels_match(i.source, a.labels))))) THEN
		RETURN;         -- nothing is quiet, and nothing was
	END IF;
	UPDATE alerts a SET muted_by = x.reason
	FROM (SELECT o.alert_id, CASE WHEN f.alert_key IS NULL THEN m.reason ELSE 'flapping' END AS reason
		FROM alerts o LEFT JOIN muted_alerts(v_ids, p_now) m USING (alert_id)
			LEFT JOIN flapping f ON f.alert_key = alert_key(o.rule_id, o.subject_key)
		WHERE o.alert_id = ANY (v_ids)) x
	WHERE a.alert_id = x.alert_id AND a.muted_by IS DISTINCT FROM x.reason;
END
$$;

SELECT drop_former_functions() \g /dev/null

