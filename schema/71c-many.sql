-- ==== 71c-many: the values of many rules at once, as far as they matter =========================
-- Of 200 rules over 10,000 agents nearly all values are healthy, and nobody wants to know them. What
-- relevant_values() (71d) leaves out changes no alert: values that are not beyond a level, of subjects
-- without an open alert. It may give more than that. Rules that read the same window share a pass over its
-- rows. A first look at single rows finds the servers that matter, because an average is beyond a level only
-- if one of its samples is.

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

-- What each metric rule at these places of the list needs.
CREATE OR REPLACE FUNCTION metric_needs(p_rules alert_rules[], p_places int[])
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
	WHERE n.place = ANY (p_places)
$$;

-- SQL for the subject of a row.
CREATE OR REPLACE FUNCTION subject_of(p_server text, p_app text, p_mount text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN format('jsonb_strip_nulls(jsonb_build_object(''server'', %s, ''app'', %s, ''mount'', %s))', p_server,
	p_app, p_mount);

-- The query of a pass for all its rules: columns place, subject, value, problem and tells, which is whether
-- the value matters without an open alert. $1 is the time, $2 the servers to look at (NULL: all), $3 those
-- with open alerts of the rules.
CREATE OR REPLACE FUNCTION shared_query(p_pass text, p_source text, p_subject text[], p_window_s float8,
	p_exprs text[], p_places bigint[], p_values text[], p_conditions text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT u.place, %s, u.value, CASE WHEN u.value IS NULL THEN ''no data'' END, u.tells
		FROM (%s) q CROSS JOIN LATERAL unnest(%L::bigint[], ARRAY[%s], ARRAY[%s]) u(place, value,
			tells)
		WHERE (q.vps_name = ANY ($3) OR %s) AND (u.tells OR q.vps_name = ANY ($3))%s',
		subject_of('q.vps_name', 'q.app_name', 'q.more'),
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

-- The passes that the rules at these places need. Windows of several lengths are one pass over the longest,
-- except for series. `look`: only servers with a row that has this need the pass, of a window of look_s;
-- such a pass is of one metric, since few metrics are beyond their levels at a time. NULL: all servers do.
CREATE OR REPLACE FUNCTION passes(p_rules alert_rules[], p_places int[])
RETURNS TABLE (query text, places bigint[], source text, look text, look_s float8)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH n AS MATERIALIZED (
		SELECT *, max(window_s) OVER w AS longest_s, dense_rank() OVER (w ORDER BY expr) AS nth,
			row_number() OVER (w ORDER BY place) AS v
		FROM metric_needs(p_rules, p_places), LATERAL (SELECT
			CASE pass WHEN 'window' THEN 0 ELSE window_s END,
			CASE WHEN look IS NOT NULL THEN expr END) s(own_s, own)
		WINDOW w AS (PARTITION BY pass, source, subject, own_s, own))
	SELECT shared_query(pass, source, subject, max(longest_s),
			(SELECT array_agg(DISTINCT e ORDER BY e) FROM unnest(array_agg(expr)) e),
			array_agg(place ORDER BY place),
			array_agg(window_value(agg, nth, ahead_s, CASE WHEN pass = 'window' AND window_s <
				longest_s
				THEN window_s END) ORDER BY place),
			array_agg(matters(rule, 'q.v' || v) ORDER BY place)),
		array_agg(place), source, look_condition(source, array_agg(look), array_agg(low),
			array_agg(high)),
		max(greatest(window_s, CASE source WHEN 'mounts' THEN 1800 END))
	FROM n GROUP BY pass, source, subject, own_s, own
$$;

SELECT drop_former_functions() \g /dev/null
