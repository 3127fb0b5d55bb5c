-- ==== 76-patterns: messages without what differs from line to line =============================
-- "user 42 not found in /srv/a" and "user 7 not found in /srv/b" are the pattern "user * not found in *".
-- Each has exact counts and times, by server and application, of lines that are WARNING or worse.
--
-- To make a pattern costs as much as to store a line. So the push transaction only puts the messages aside,
-- an array for each batch, and the watcher makes the patterns: learn_patterns() takes what is aside and
-- counts it in one transaction, so each line is counted once.
CREATE TABLE IF NOT EXISTS pattern_queue (
	id bigint GENERATED ALWAYS AS IDENTITY,
	vps_name text NOT NULL,
	app_name text NOT NULL,
	received_at timestamptz NOT NULL,
	levels smallint[] NOT NULL,             -- 3 WARNING, 4 ERROR, 5 CRITICAL
	times timestamptz[] NOT NULL,
	messages text[] NOT NULL,
	PRIMARY KEY (vps_name, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE pattern_queue ALTER messages SET STORAGE EXTERNAL;  -- to compress costs more than to write

-- Of an application. Lines of further patterns are counted as one, "(other)".
CREATE OR REPLACE FUNCTION max_patterns() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 10000;
-- What of a message is looked at, and how long a pattern may be.
CREATE OR REPLACE FUNCTION max_pattern_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 300;

SELECT want_index('log_patterns_app_idx', 'log_patterns (app_name, pattern_key)'),
	want_index('log_patterns_first_idx', 'log_patterns (first_received_at)') \g /dev/null

-- The pattern of a message: its first line, with * for quoted text, paths, addresses, ids and numbers. A word
-- keeps its letters: worker-12 is worker-*. The last expression but one takes the longest that fits: 0x1f;
-- UUIDs, hashes and other long runs of letters and digits; IPv6 and times; numbers, versions and IPv4, with a
-- unit.
CREATE OR REPLACE FUNCTION pattern_of(p_message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT left(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
		left(split_part(ltrim(p_message, E' \t\r\n'), E'\n', 1), 1000) COLLATE "C",
		'"[^"]*"|`[^`]*`|«[^»]*»|“[^”]*”'
		'|(?<![[:alnum:]])''[^'']*''(?![[:alnum:]])', '*', 'g'),
		'[^][:space:]=,;()<>{}[]*[/@\\][^][:space:]=,;()<>{}[]*', '*', 'g'),
		'\m(0[xX][[:xdigit:]]+|[a-fA-F]*[0-9][0-9a-fA-F-]{6,}|[[:alpha:]]*[0-9][[:alnum:]]{12,})\M'
		'|\m[[:xdigit:]]{1,4}(:[[:xdigit:]]{0,4}){3,}|[0-9]+([.,:][0-9]+)*(%|[[:alpha:]]{1,3}\M)?',
		'*', 'g'),
		'([*][-.,:+TZ]*)+[*]', '*', 'g'), observ.max_pattern_chars())
$$;

CREATE OR REPLACE FUNCTION pattern_key(p_level text, p_pattern text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN md5(p_level || ' ' || p_pattern)::uuid;

-- Puts the messages of a batch aside that are WARNING or worse. push_logs() calls it if there are any.
CREATE OR REPLACE FUNCTION queue_patterns(p_vps text, p_app text, p_now timestamptz, p_level smallint[],
	p_timestamp timestamptz[], p_message text[]) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	INSERT INTO pattern_queue (vps_name, app_name, received_at, levels, times, messages)
	SELECT p_vps, p_app, p_now, array_agg(l), array_agg(t),
		array_agg(CASE WHEN octet_length(m) > 1000 THEN left(m, 1000) ELSE m END)
	FROM (SELECT unnest(p_level) AS l, unnest(p_timestamp) AS t, unnest(p_message) AS m) u WHERE l >= 3
$$;

-- The next time at which a rule of patterns is judged: it must not know of lines that arrived later.
CREATE OR REPLACE FUNCTION patterns_until() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(min(grid_before(evaluated_until, interval_s) + make_interval(secs => interval_s)),
		'infinity')
	FROM alert_clock, alert_rules WHERE is_active AND kind = 'new_pattern' AND isfinite(evaluated_until)
$$;

-- Counts what is aside and arrived until then, at most about p_lines lines, the oldest first. Returns how
-- many lines it counted. Two at once take turns by the row of alert_clock; evaluate_alerts() has it already.
CREATE OR REPLACE FUNCTION learn_patterns(p_lines int DEFAULT 20000, p_until timestamptz DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	v_arrived CONSTANT timestamptz := coalesce(p_until, patterns_until());
	v_until bigint;
	ret bigint;
BEGIN
	PERFORM FROM alert_clock FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	SELECT max(id) INTO v_until FROM (SELECT id, sum(cardinality(messages)) OVER (ORDER BY id)
		- cardinality(messages) AS before FROM (
			SELECT id, messages FROM pattern_queue WHERE received_at <= v_arrived
			ORDER BY id LIMIT 1000) q) x
				WHERE before < p_lines;
	WITH taken AS (DELETE FROM pattern_queue WHERE id <= v_until AND received_at <= v_arrived
		RETURNING *),
	line AS MATERIALIZED (
		SELECT *, pattern_key(level, pattern) AS key FROM (
			SELECT vps_name, app_name, pattern_of(m) AS pattern, min(t) AS first_at,
				max(t) AS last_at,
				('{WARNING,ERROR,CRITICAL}'::text[])[l - 2] AS level,
				min(received_at) AS received_at, count(*) AS lines
			FROM taken, unnest(levels, times, messages) u(l, t, m) GROUP BY 1, 2, 3, 6) x),
	fresh AS (
		SELECT app_name, key, row_number() OVER (PARTITION BY app_name ORDER BY min(received_at), key)
			+ (SELECT count(DISTINCT p.pattern_key) FROM log_patterns p
				WHERE p.app_name = l.app_name) AS nth
		FROM line l WHERE NOT EXISTS (SELECT FROM log_patterns p
			WHERE p.app_name = l.app_name AND p.pattern_key = l.key)
		GROUP BY 1, 2),
	kept AS (
		SELECT vps_name, app_name, level, first_at, last_at, received_at, lines,
			CASE WHEN nth > max_patterns() THEN '(other)' ELSE pattern END AS pattern
		FROM line LEFT JOIN fresh USING (app_name, key)),
	written AS (
		INSERT INTO log_patterns AS p (vps_name, app_name, pattern_key, level, pattern, first_at,
			last_at, first_received_at, lines)
		SELECT vps_name, app_name, pattern_key(level, pattern), level, pattern, min(first_at),
			max(last_at), min(received_at), sum(lines)
		FROM kept GROUP BY 1, 2, 3, 4, 5
		ON CONFLICT (vps_name, app_name, pattern_key) DO UPDATE SET
			first_at = least(p.first_at, excluded.first_at),
			last_at = greatest(p.last_at, excluded.last_at),
			first_received_at = least(p.first_received_at, excluded.first_received_at),
			lines = p.lines + excluded.lines)
	SELECT coalesce(sum(lines), 0) INTO ret FROM line;
	RETURN ret;
END
$$;

-- ---- how long all of this is kept -------------------------------------------------------------------------
-- A step of maintain(): what retention_policy says of alerts that are resolved, messages, pings and patterns.
-- It also learns the patterns, where no watcher runs.
CREATE OR REPLACE FUNCTION maintain_alerts(p_deadline timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_count bigint;
	v_lines bigint;
	deleted bigint := 0;
	d record;
BEGIN
	FOR d IN SELECT tab, condition, now() - keep AS before FROM (VALUES
			('alerts', 'alert_changes', 'at < $1 AND alert_id NOT IN (SELECT alert_id FROM alerts
				WHERE resolved_at >= $1 OR state <> ''resolved'')'),
			('alerts', 'group_alerts', 'alert_id IN (SELECT alert_id FROM alerts WHERE
				resolved_at < $1)'),
			('alerts', 'alerts', 'resolved_at < $1 AND state = ''resolved'''),
			('alerts', 'external_answers', 'at < $1'),
			('notifications', 'notifications', 'made_at < $1 AND (sent_at IS NOT NULL OR dead_at
				IS NOT NULL)'),
			('pings', 'heartbeat_pings', 'at < $1 AND id <> (SELECT max(id) FROM heartbeat_pings l
				WHERE l.heartbeat_id = t.heartbeat_id)'),
			('patterns', 'log_patterns', 'last_at < $1')) v(kind, tab, condition)
			JOIN retention_policy USING (kind) WHERE keep IS NOT NULL LOOP
		EXECUTE format('DELETE FROM %I t WHERE %s', d.tab, d.condition) USING d.before;
		GET DIAGNOSTICS v_count = ROW_COUNT;
		deleted := deleted + v_count;
	END LOOP;
	LOOP
		v_lines := learn_patterns(p_until => greatest(patterns_until(), now() - interval '1 hour'));
		EXIT WHEN v_lines = 0 OR clock_timestamp() > p_deadline;
	END LOOP;
	RETURN nullif(deleted, 0) || ' rows of alerts deleted';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION learn_patterns TO observ_watch;

