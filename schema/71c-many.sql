-- ==== 71c-many: the values of many rules at once, as far as they matter =========================
-- Of 200 rules over 10,000 agents nearly all values are healthy, and nobody wants to know them. What
-- relevant_values() leaves out changes no alert: values that are not beyond a level, of subjects without an
-- open alert. It may give more than that. Rules that read the same window share a pass over its rows. A
-- first look at single rows finds the servers that matter, because an average is beyond a level only if one
-- of its samples is.

-- SQL for: the value is beyond a level of the rule, or there is none and the rule wants to know.
CREATE OR REPLACE FUNCTION matters(r alert_rules, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT format('CASE WHEN %s IS NULL THEN %L ELSE %s END', p_value,
		'alert' IN (r.no_data, r.on_error) OR 'own' IN (r.no_data, r.on_error),
		(SELECT coalesce(string_agg(format('%s %s %L::float8', p_value,
			CASE r.op WHEN '==' THEN '=' WHEN '!=' THEN '<>' ELSE r.op END, t), ' OR '), 'false')
			FROM unnest(ARRAY[r.warning, r.critical]) t WHERE t IS NOT NULL))
$$;

-- What must be seen in a row before a rule can matter: look (a metric, or for file systems a path in JSON) is
-- at least `low`, or at most `high`. No row: the rule may matter for each server.
-- * An average, least or greatest value is beyond a level only if a sample is.
-- * Where all samples are 0, nothing grew and nothing changed.
-- * A machine that booted in the window runs no longer than the window.
CREATE OR REPLACE FUNCTION first_look(r alert_rules, p_agg text, p_source text, p_expr text,
	p_window_s float8) RETURNS TABLE (look text, low float8, high float8)
LANGUAGE sql IMMUTABLE ROWS 1 AS $$
	SELECT CASE WHEN p_agg IN ('last', 'avg', 'min', 'max')
			THEN CASE p_source WHEN 'mounts' THEN replace(p_expr, 'd.', '@.') ELSE p_expr END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN p_expr
			ELSE format('(%s <> 0)::int', p_expr) END,
		CASE WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN CASE left(r.op, 1)
				WHEN '>' THEN least(r.warning, r.critical)
					- abs(least(r.warning, r.critical)) * 1e-9 END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN NULL ELSE 1 END,
		CASE WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN CASE left(r.op, 1)
				WHEN '<' THEN greatest(r.warning, r.critical)
					+ abs(greatest(r.warning, r.critical)) * 1e-9 END
			WHEN p_agg = 'resets' AND p_expr = 'm.uptime_s' THEN p_window_s END
	WHERE r.no_data IN ('keep', 'ok') AND r.on_error IN ('keep', 'ok') AND CASE
		WHEN p_agg IN ('last', 'avg', 'min', 'max') THEN p_source IN ('samples', 'mounts', 'agents')
			AND r.op IN ('>', '>=', '<', '<=')
		ELSE p_source = 'samples' AND p_agg NOT IN ('absent', 'predict')
			AND (r.op = '>' AND least(r.warning, r.critical) >= 0
				OR r.op = '>=' AND least(r.warning, r.critical) > 0) END
$$;

CREATE OR REPLACE FUNCTION unnest_rules(p_rules alert_rules[]) RETURNS TABLE (place bigint, r alert_rules)
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT n, p_rules[n] FROM generate_subscripts(p_rules, 1) n
$$;

-- What each metric rule of the list needs.
CREATE OR REPLACE FUNCTION metric_needs(p_rules alert_rules[])
RETURNS TABLE (place bigint, rule alert_rules, agg text, pass text, source text, subject text[], expr text,
	window_s float8, ahead_s float8, look text, low float8, high float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH default_of AS MATERIALIZED (SELECT kind, rule_params(kind, '{}') AS params FROM alert_kinds
		WHERE kind IN ('threshold', 'absent')),
	source_of AS MATERIALIZED (SELECT * FROM metric_sources())
	SELECT n.place, n.r, a.agg, pass_of(a.agg), s.source, s.subject, s.expr, w.s,
		(p->>'ahead_s')::float8, l.*
	FROM unnest_rules(p_rules) n
	JOIN default_of d ON d.kind = (n.r).kind
	CROSS JOIN LATERAL (SELECT d.params || jsonb_strip_nulls((n.r).params)) x(p)
	CROSS JOIN LATERAL (SELECT CASE d.kind WHEN 'absent' THEN 'absent' ELSE p->>'agg' END) a(agg)
	JOIN source_of s ON s.metric = (n.r).metric AND s.rows = coalesce(p->>'rows', 'all')
	CROSS JOIN LATERAL (SELECT CASE pass_of(a.agg) WHEN 'newest' THEN (n.r).lookback_s
		ELSE (p->>'window_s')::float8 END) w(s)
	LEFT JOIN LATERAL first_look(n.r, a.agg, s.source, s.expr, w.s) l ON true
$$;

-- The query of a pass for all its rules: columns place, server, app, mount, value and tells, which is whether
-- the value matters without an open alert. $1 is the time, $2 the servers to look at (NULL: all), $3 those
-- with open alerts of the rules.
CREATE OR REPLACE FUNCTION shared_query(p_pass text, p_source text, p_subject text[], p_window_s float8,
	p_exprs text[], p_places bigint[], p_values text[], p_conditions text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT u.place, q.vps_name, q.app_name, q.more, u.value, u.tells
		FROM (%s) q CROSS JOIN LATERAL unnest(%L::bigint[], ARRAY[%s], ARRAY[%s]) u(place, value,
			tells)
		WHERE (q.vps_name = ANY ($3) OR %s) AND (u.tells OR q.vps_name = ANY ($3))%s',
		pass_query(p_pass, p_source, p_subject, p_window_s, p_exprs, p_values, w.a, w.m), p_places,
		(SELECT string_agg('q.v' || n, ', ' ORDER BY n) FROM generate_subscripts(p_values, 1) n),
		array_to_string(p_conditions, ', '),
		(SELECT string_agg(DISTINCT c, ' OR ') FROM unnest(p_conditions) c),
		CASE WHEN subject_by_value(p_pass, p_source) THEN ' AND u.value IS NOT NULL' END)
	FROM (SELECT format(' AND ($2 IS NULL OR %s.vps_name = ANY ($2))', 'a'),
		format(' AND ($2 IS NULL OR %s.vps_name = ANY ($2))', 'm')) w(a, m)
$$;

-- SQL for: a row of the source has what the looks ask for.
CREATE OR REPLACE FUNCTION look_condition(p_source text, p_looks text[], p_lows float8[], p_highs float8[])
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE p_source WHEN 'mounts' THEN 'm.details @? '
			|| quote_literal('$.mounts[*] ? (' || string_agg(c, ' || ') || ')')
		ELSE string_agg(c, ' OR ') END
	FROM (SELECT look || ' >= ' || min(low) FROM unnest(p_looks, p_lows) u(look, low)
			WHERE low IS NOT NULL GROUP BY look
		UNION ALL SELECT look || ' <= ' || max(high) FROM unnest(p_looks, p_highs) u(look, high)
			WHERE high IS NOT NULL GROUP BY look) x(c)
$$;

-- The passes that a list of rules needs. Windows of several lengths are one pass over the longest, except for
-- series. `look`: only servers with a row that has this need the pass, of a window of look_s; NULL: all.
CREATE OR REPLACE FUNCTION passes(p_rules alert_rules[])
RETURNS TABLE (pass bigint, query text, places bigint[], source text, look text, look_s float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH n AS MATERIALIZED (
		SELECT *, max(window_s) OVER w AS longest_s, dense_rank() OVER (w ORDER BY expr) AS nth,
			row_number() OVER (w ORDER BY place) AS v
		FROM metric_needs(p_rules), LATERAL (SELECT
			CASE pass WHEN 'window' THEN 0 ELSE window_s END) s(own_s)
		WINDOW w AS (PARTITION BY pass, source, subject, own_s, look IS NULL))
	SELECT row_number() OVER (), shared_query(pass, source, subject, max(longest_s),
			(SELECT array_agg(DISTINCT e ORDER BY e) FROM unnest(array_agg(expr)) e),
			array_agg(place ORDER BY place),
			array_agg(window_value(agg, nth, ahead_s, CASE WHEN pass = 'window' AND window_s <
				longest_s
				THEN window_s END) ORDER BY place),
			array_agg(matters(rule, 'q.v' || v) ORDER BY place)),
		array_agg(place), source, look_condition(source, array_agg(look), array_agg(low),
			array_agg(high)),
		max(greatest(window_s, CASE source WHEN 'mounts' THEN 1800 END))
	FROM n GROUP BY pass, source, subject, own_s, look IS NULL
$$;

-- The servers that need each pass: a first look at the rows of its source.
CREATE OR REPLACE FUNCTION seen_servers(p_passes jsonb, p_now timestamptz)
RETURNS TABLE (pass bigint, servers text[])
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_query text;
BEGIN
	FOR v_query IN SELECT format('SELECT (%L::bigint[])[n], array_agg(DISTINCT vps_name) FROM %s
			CROSS JOIN LATERAL unnest(ARRAY[%s]) WITH ORDINALITY u(hit, n)
			WHERE %s AND (%s) AND hit GROUP BY n', array_agg(p.pass ORDER BY p.pass),
			CASE source WHEN 'agents' THEN 'agents a' ELSE 'vps_metrics m' END,
			string_agg(look, ', ' ORDER BY p.pass),
			CASE source WHEN 'agents' THEN judged('a') ELSE counting_samples(max(look_s)) END,
			string_agg(look, ' OR '))
			FROM jsonb_to_recordset(p_passes) p(pass bigint, source text, look text, look_s
				float8)
			WHERE look IS NOT NULL GROUP BY source LOOP
		RETURN QUERY EXECUTE v_query USING p_now;
	END LOOP;
END
$$;

-- The values of a rule that is no metric rule. An error is a value that is missing, of each open alert of the
-- rule, and of the rule as a whole.
CREATE OR REPLACE FUNCTION relevant_values_of(p_place bigint, r alert_rules, p_now timestamptz)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_rows jsonb;
BEGIN
	EXECUTE format('SELECT jsonb_agg(jsonb_build_array(v.subject, v.value, v.problem))
		FROM rule_values($1, $2, false) v WHERE %s OR ($3, v.subject) IN (
			SELECT rule_id, subject FROM alerts WHERE state <> ''resolved'')',
		matters(r, 'v.value')) INTO v_rows USING r, p_now, r.rule_id;
	RETURN QUERY SELECT p_place, e->0, (e->>1)::float8, e->>2
		FROM jsonb_array_elements(v_rows) e;
EXCEPTION WHEN OTHERS THEN
	RETURN QUERY SELECT p_place, a.subject, NULL::float8, sqlerrm FROM alerts a
		WHERE a.rule_id = r.rule_id AND a.state <> 'resolved'
		UNION SELECT p_place, '{}', NULL, sqlerrm;
END
$$;

-- The values of a list of rules that may change an alert. place: of the rule in the list, from 1.
CREATE OR REPLACE FUNCTION relevant_values(p_rules alert_rules[], p_now timestamptz)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	v_ids CONSTANT uuid[] := ARRAY(SELECT (r).rule_id FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_matches CONSTANT jsonb[] := ARRAY(SELECT (r).match FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_passes CONSTANT jsonb := (SELECT jsonb_agg(to_jsonb(p)) FROM passes(p_rules) p);
	q record;
	rows record;
BEGIN
	FOR q IN SELECT p.query, p.places, p.look, s.servers, ARRAY(SELECT DISTINCT a.subject->>'server'
				FROM alerts a, unnest(p.places) n
				WHERE a.state <> 'resolved' AND a.rule_id = v_ids[n] AND a.subject ?
					'server') AS open
			FROM jsonb_to_recordset(v_passes) p(pass bigint, query text, places bigint[], look
				text)
			LEFT JOIN seen_servers(v_passes, p_now) s USING (pass)
			WHERE p.look IS NULL OR s.servers IS NOT NULL OR EXISTS (SELECT FROM alerts a
				WHERE a.state <> 'resolved') LOOP
		BEGIN
			EXECUTE format('SELECT array_agg(place) AS place, array_agg(server) AS server,
				array_agg(app) AS app, array_agg(mount) AS mount, array_agg(value) AS value,
				array_agg(tells) AS tells FROM (%s) v(place, server, app, mount, value,
					tells)',
				q.query) INTO rows USING p_now,
				CASE WHEN q.look IS NOT NULL THEN q.servers || q.open END, q.open;
			RETURN QUERY SELECT u.place, s, u.value, CASE WHEN u.value IS NULL THEN 'no data' END
				FROM unnest(rows.place, rows.server, rows.app, rows.mount, rows.value,
					rows.tells) u(place, server, app, mount, value, tells)
				CROSS JOIN LATERAL (SELECT jsonb_strip_nulls(jsonb_build_object(
					'server', server, 'app', app, 'mount', mount))) x(s)
				WHERE (tells OR (v_ids[u.place], s) IN (SELECT a.rule_id, a.subject
						FROM alerts a WHERE a.state <> 'resolved'))
					AND CASE WHEN v_matches[u.place] = '[]' THEN true
						ELSE labels_match(v_matches[u.place], scope_labels(s)) END;
		EXCEPTION WHEN OTHERS THEN              -- one rule's error must not stop the others
			RETURN QUERY SELECT v.* FROM unnest(q.places) n,
				relevant_values_of(n, p_rules[n], p_now) v;
		END;
	END LOOP;
	RETURN QUERY SELECT v.* FROM unnest_rules(p_rules) u,
		relevant_values_of(u.place, u.r, p_now) v WHERE (u.r).kind NOT IN ('threshold', 'absent');
END
$$;

SELECT drop_former_functions() \g /dev/null

