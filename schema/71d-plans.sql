-- ==== 71d-plans: the queries of a list of rules, kept ready =====================================
-- An evaluation asks the same questions each minute. So their text is kept, and what a first look at rows has
-- found is kept as long as these rows are in a window: the next look reads only what arrived since. Both are
-- caches: relevant_values() gives the same without them. There is one plan for all active rules, whichever of
-- them are due, so that rows are looked at once.

-- The plan of a list of rules: {"parts": [...], "looks": [...]}. A part is a query with the places of its
-- rules in the list, or the problem of a rule that no query can be made of. A look finds the servers that
-- need parts, by their numbers.
CREATE TABLE IF NOT EXISTS rule_plans (
	key uuid PRIMARY KEY,                   -- rules_key()
	made_at timestamptz NOT NULL,           -- the evaluation
	plan jsonb NOT NULL
);
DELETE FROM rule_plans;                 -- an upgrade makes other queries

-- The servers that a look found among the rows that arrived until then; no part: that it was done.
CREATE TABLE IF NOT EXISTS alert_looks (
	look uuid NOT NULL,
	until timestamptz NOT NULL,
	part int,
	servers text[],
	expires_at timestamptz NOT NULL         -- when the rows have left the window
);
SELECT want_index('alert_looks_look_idx', 'alert_looks (look, until)') \g /dev/null
GRANT SELECT ON rule_plans, alert_looks TO observ_hub, observ_watch;

-- Plans that are kept. Rules that change need another one.
CREATE OR REPLACE FUNCTION max_rule_plans() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 3;
-- A row may commit so long after its time of arrival, and a look still finds it.
CREATE OR REPLACE FUNCTION look_overlap() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '1 minute';

CREATE OR REPLACE FUNCTION rules_key(p_rules alert_rules[]) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT md5(string_agg(hash_record_extended(r, 0)::text, ' ' ORDER BY place))::uuid
	FROM unnest_rules(p_rules)
$$;

-- ---- making a plan ---------------------------------------------------------------------------------
-- The query of a rule that is no metric rule, as a part: columns as shared_query() has them. An error always
-- tells.
CREATE OR REPLACE FUNCTION own_query(r alert_rules, p_place bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT format('SELECT %s::bigint, %s || coalesce(q.more, ''{}''), q.value::float8, q.problem,
		%s OR coalesce(q.problem <> ''no data'', false) FROM (%s) q',
		p_place, subject_of('q.server', 'q.app', 'NULL'), matters(r, 'q.value'), query)
	FROM kind_query(r, false) query WHERE query IS NOT NULL
$$;

-- The parts of the rules at these places. Rules that no query can be made of are found by halving the list.
CREATE OR REPLACE FUNCTION plan_parts(p_rules alert_rules[], p_places int[], p_metrics boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_half CONSTANT int := cardinality(p_places) / 2;
BEGIN
	IF p_metrics THEN
		RETURN (SELECT coalesce(jsonb_agg(to_jsonb(p)), '[]') FROM passes(p_rules, p_places) p);
	END IF;
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('places', ARRAY[n]) || CASE
			WHEN q IS NULL THEN '{"problem": "there is no kind of this name"}'
			ELSE jsonb_build_object('query', q) END), '[]')
		FROM unnest(p_places) n, LATERAL (SELECT own_query(p_rules[n], n)) x(q));
EXCEPTION WHEN OTHERS THEN
	IF v_half = 0 THEN
		RETURN jsonb_build_array(jsonb_build_object('places', p_places, 'problem', sqlerrm));
	END IF;
	RETURN plan_parts(p_rules, p_places[:v_half], p_metrics)
		|| plan_parts(p_rules, p_places[v_half + 1:], p_metrics);
END
$$;

-- The look at the rows of each source: $1 is the time, $2 that after which rows arrived.
CREATE OR REPLACE FUNCTION plan_looks(p_parts jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('key', md5(query), 'query', query, 'source', source,
		'look_s', look_s)), '[]')
	FROM (SELECT source, max(look_s) AS look_s, format('SELECT (%L::int[])[n] AS part,
			array_agg(DISTINCT vps_name) AS servers, max(%s) AS newest
			FROM %s CROSS JOIN LATERAL unnest(ARRAY[%s]) WITH ORDINALITY u(hit, n)
			WHERE %s AND (%s) AND hit GROUP BY n', array_agg(n ORDER BY n),
			CASE source WHEN 'agents' THEN '$1' ELSE 'm."timestamp"' END,
			CASE source WHEN 'agents' THEN 'agents a' ELSE 'vps_metrics m' END,
			string_agg(look, ', ' ORDER BY n),
			CASE source WHEN 'agents' THEN judged('a') || ' AND $2 IS NOT NULL' ELSE format(
				'm."timestamp" >= $1 - %s AND m.received_at <= $1 AND m.received_at > $2
				AND NOT m.backfill', seconds(max(look_s))) END,
			string_agg(look, ' OR ')) AS query
		FROM jsonb_array_elements(p_parts) WITH ORDINALITY p(part, n),
			jsonb_to_record(part) x(source text, look text, look_s float8)
		WHERE look IS NOT NULL GROUP BY source) l
$$;

CREATE OR REPLACE FUNCTION made_plan(p_rules alert_rules[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('looks', plan_looks(parts), 'parts', (SELECT coalesce(jsonb_agg(CASE
			WHEN p->>'look' IS NULL THEN p ELSE p || '{"look": true}' END ORDER BY n), '[]')
		FROM jsonb_array_elements(parts) WITH ORDINALITY x(p, n)))
	FROM (SELECT plan_parts(p_rules, array_agg(n) FILTER (WHERE metric), true)
			|| plan_parts(p_rules, array_agg(n) FILTER (WHERE NOT metric), false) AS parts
		FROM (SELECT place::int AS n, (r).kind IN ('threshold', 'absent') AS metric
			FROM unnest_rules(p_rules)) u) x
$$;

CREATE OR REPLACE FUNCTION rule_plan(p_rules alert_rules[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT plan FROM rule_plans WHERE key = rules_key(p_rules)), made_plan(p_rules))
$$;

CREATE OR REPLACE FUNCTION keep_plan(p_rules alert_rules[], p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_key CONSTANT uuid := rules_key(p_rules);
	ret jsonb := (SELECT plan FROM rule_plans WHERE key = v_key);
BEGIN
	IF ret IS NULL THEN
		ret := made_plan(p_rules);
		INSERT INTO rule_plans VALUES (v_key, p_now, ret);
		DELETE FROM rule_plans WHERE key IN (SELECT key FROM rule_plans
			ORDER BY made_at DESC, key OFFSET max_rule_plans());
	END IF;
	RETURN ret;
END
$$;

-- A plan in which each rule fails.
CREATE OR REPLACE FUNCTION failed_plan(p_rules alert_rules[], p_problem text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('looks', '[]'::jsonb, 'parts', jsonb_agg(jsonb_build_object(
		'places', ARRAY[n], 'problem', p_problem))) FROM generate_subscripts(p_rules, 1) n
$$;

-- ---- rules that take long ----------------------------------------------------------------------------
-- The time that a statement may take ends it wherever it is. These say which rules are to blame: the error
-- goes on with their ids as its detail, and evaluate_alerts() takes it.

-- The rules of the parts that took at least half as long as the slowest, if these parts began at these times
-- and the last one has not ended.
CREATE OR REPLACE FUNCTION slowest_rules(p_plan jsonb, p_ids uuid[], p_parts bigint[],
	p_starts timestamptz[]) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT array_agg(DISTINCT p_ids[place::int])
	FROM (SELECT part, took, max(took) OVER () AS longest
		FROM (SELECT part, lead(at, 1, clock_timestamp()) OVER (ORDER BY i) - at AS took
			FROM unnest(p_parts, p_starts) WITH ORDINALITY u(part, at, i)) x) y,
		jsonb_array_elements_text(p_plan->'parts'->(part - 1)::int->'places') place
	WHERE took >= longest / 2
$$;

-- The rules whose first look goes back furthest.
CREATE OR REPLACE FUNCTION longest_looks(p_plan jsonb, p_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT array_agg(DISTINCT p_ids[place::int])
	FROM (SELECT part, rank() OVER (ORDER BY (part->>'look_s')::float8 DESC) AS nth
		FROM jsonb_array_elements(p_plan->'parts') part
		WHERE part ? 'look' AND part->>'source' <> 'agents') x,
		jsonb_array_elements_text(part->'places') place
	WHERE nth = 1
$$;

CREATE OR REPLACE FUNCTION blame(p_rules uuid[], p_message text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'query_canceled', MESSAGE = p_message,
		DETAIL = coalesce(p_rules::text, '');
END
$$;

-- ---- looks -------------------------------------------------------------------------------------------
-- The servers that need each part, and until when. What agents say of themselves is looked at anew each time.
CREATE OR REPLACE FUNCTION look_at(p_look jsonb, p_after timestamptz, p_now timestamptz)
RETURNS TABLE (part int, servers text[], expires_at timestamptz)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT part, servers, newest + %s FROM (%s) l',
		seconds((p_look->>'look_s')::float8), p_look->>'query')
		USING p_now, coalesce(p_after - look_overlap(), '-infinity');
END
$$;

-- Until when a look was done. NULL: never, or later than now, since the clock was set back.
CREATE OR REPLACE FUNCTION looked_until(p_look jsonb, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN max(until) <= p_now THEN max(until) END FROM alert_looks
	WHERE look = (p_look->>'key')::uuid AND p_look->>'source' <> 'agents'
$$;

CREATE OR REPLACE FUNCTION keep_looks(p_looks jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	l jsonb;
	v_after timestamptz;
BEGIN
	DELETE FROM alert_looks WHERE expires_at < p_now;
	FOR l IN SELECT e FROM jsonb_array_elements(p_looks) e WHERE e->>'source' <> 'agents' LOOP
		v_after := looked_until(l, p_now);
		CONTINUE WHEN v_after = p_now;
		INSERT INTO alert_looks (look, until, part, servers, expires_at)
			SELECT (l->>'key')::uuid, p_now, x.part, x.servers, x.expires_at
			FROM look_at(l, v_after, p_now) x
			UNION ALL SELECT (l->>'key')::uuid, p_now, NULL, NULL,
				p_now + make_interval(secs => (l->>'look_s')::float8);
	END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION looked_servers(p_looks jsonb, p_now timestamptz)
RETURNS TABLE (part int, servers text[])
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	l jsonb;
	v_after timestamptz;
BEGIN
	FOR l IN SELECT jsonb_array_elements(p_looks) LOOP
		v_after := looked_until(l, p_now);
		RETURN QUERY SELECT k.part, k.servers FROM alert_looks k
			WHERE k.look = (l->>'key')::uuid AND k.part IS NOT NULL AND v_after IS NOT NULL
				AND k.expires_at >= p_now;
		IF v_after IS DISTINCT FROM p_now THEN
			RETURN QUERY SELECT x.part, x.servers FROM look_at(l, v_after, p_now) x;
		END IF;
	END LOOP;
END
$$;

-- ---- the values --------------------------------------------------------------------------------------
-- The values of one rule, where those of several could not be had. An error is a value that is missing, of
-- each open alert of the rule, and of the rule as a whole.
CREATE OR REPLACE FUNCTION relevant_values_of(p_place bigint, r alert_rules, p_now timestamptz)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_rows jsonb;
BEGIN
	EXECUTE format('SELECT jsonb_agg(jsonb_build_array(v.subject, v.value::text, v.problem))
		FROM rule_values($1, $2, false) v WHERE %s OR v.problem <> ''no data'' OR ($3, v.subject) IN (
			SELECT rule_id, subject FROM alerts WHERE state <> ''resolved'')',
		matters(r, 'v.value')) INTO v_rows USING r, p_now, r.rule_id;
	RETURN QUERY SELECT p_place, e->0, (e->>1)::float8, e->>2
		FROM jsonb_array_elements(v_rows) e;
EXCEPTION WHEN OTHERS THEN
	RETURN QUERY SELECT * FROM rule_error(p_place, r, sqlerrm);
END
$$;

CREATE OR REPLACE FUNCTION rule_error(p_place bigint, r alert_rules, p_problem text)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE sql STABLE ROWS 1 SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT p_place, a.subject, NULL::float8, p_problem FROM alerts a
	WHERE a.rule_id = r.rule_id AND a.state <> 'resolved'
	UNION SELECT p_place, '{}', NULL, p_problem
$$;

-- What the matchers of rules see of subjects. A subject of a whole server has all its applications as `app`.
CREATE OR REPLACE FUNCTION scopes_of(p_subjects jsonb[]) RETURNS TABLE (subject jsonb, labels jsonb)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_servers CONSTANT text[] := ARRAY(SELECT DISTINCT s->>'server' FROM unnest(p_subjects) s
		WHERE s ? 'server' AND NOT s ? 'app');
	v_apps CONSTANT jsonb := (SELECT jsonb_object_agg(vps_name, names) FROM (
		SELECT vps_name, jsonb_agg(app_name ORDER BY app_name) AS names FROM agents
		WHERE retired_at IS NULL AND vps_name = ANY (v_servers) GROUP BY 1) a);
BEGIN
	RETURN QUERY SELECT s, CASE WHEN s->>'server' IS NULL OR s ? 'app' THEN '{}'
			ELSE jsonb_build_object('app', coalesce(v_apps->(s->>'server'), '[]')) END
		|| CASE WHEN v.labels IS NULL THEN '{}' ELSE flat_labels(v.labels) END || s
	FROM (SELECT DISTINCT u FROM unnest(p_subjects) u) x(s)
	LEFT JOIN servers v ON v.vps_name = s->>'server';
END
$$;

-- The values of a list of rules that may change an alert. place: of the rule in the list, from 1. p_due: the
-- ids of those that are asked for; NULL: all. p_plan: rule_plan() of the list, if the caller has it.
CREATE OR REPLACE FUNCTION relevant_values(p_rules alert_rules[], p_now timestamptz,
	p_due uuid[] DEFAULT NULL, p_plan jsonb DEFAULT NULL)
RETURNS TABLE (place bigint, subject jsonb, value float8, problem text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	v_ids CONSTANT uuid[] := ARRAY(SELECT (r).rule_id FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_matches CONSTANT jsonb[] := ARRAY(SELECT (r).match FROM unnest_rules(p_rules) u ORDER BY u.place);
	v_plan CONSTANT jsonb := coalesce(p_plan, rule_plan(p_rules));
	v_parts bigint[] := '{}';
	v_starts timestamptz[] := '{}';
	q record;
	rows record;
BEGIN
	FOR q IN WITH part AS MATERIALIZED (
			SELECT n, p.* FROM jsonb_array_elements(v_plan->'parts') WITH ORDINALITY e(part, n),
				jsonb_to_record(part) p(query text, places bigint[], look boolean,
					problem text)
			WHERE p_due IS NULL OR EXISTS (SELECT FROM unnest(places) i
				WHERE v_ids[i] = ANY (p_due))),
		seen AS (SELECT s.part, array_agg(DISTINCT name) AS servers
			FROM looked_servers(v_plan->'looks', p_now) s, unnest(s.servers) name
			WHERE EXISTS (SELECT FROM part WHERE part.look) GROUP BY 1),
		open AS (SELECT n, array_agg(DISTINCT a.subject->>'server')
				FILTER (WHERE a.subject ? 'server') AS servers
			FROM part CROSS JOIN unnest(places) i JOIN alerts a ON a.rule_id = v_ids[i]
			WHERE a.state <> 'resolved' GROUP BY 1)
		SELECT p.n, p.query, p.places, p.problem, p.look, s.servers, o.n IS NOT NULL AS has_open,
			coalesce(o.servers, '{}') AS open
		FROM part p LEFT JOIN seen s ON s.part = p.n LEFT JOIN open o USING (n)
		WHERE p.look IS NULL OR s.part IS NOT NULL OR o.n IS NOT NULL LOOP
		v_parts := v_parts || q.n;
		v_starts := v_starts || clock_timestamp();
		IF q.problem IS NOT NULL THEN
			RETURN QUERY SELECT * FROM rule_error(q.places[1], p_rules[q.places[1]], q.problem);
			CONTINUE;
		END IF;
		BEGIN
			EXECUTE format('SELECT array_agg(place) AS place, array_agg(subject) AS subject,
				array_agg(value) AS value, array_agg(problem) AS problem,
				array_agg(tells) AS tells
				FROM (%s) v(place, subject, value, problem, tells)%s', q.query,
				CASE WHEN NOT q.has_open THEN ' WHERE tells' END) INTO rows
				USING p_now, CASE WHEN q.look THEN q.servers || q.open END, q.open;
			CONTINUE WHEN rows.place IS NULL;
			SELECT array_agg(u.place) AS place, array_agg(u.subject) AS subject,
				array_agg(u.value) AS value, array_agg(u.problem) AS problem INTO rows
				FROM unnest(rows.place, rows.subject, rows.value, rows.problem, rows.tells)
					u(place, subject, value, problem, tells)
				LEFT JOIN scopes_of(CASE WHEN EXISTS (SELECT FROM unnest(q.places) n
					WHERE v_matches[n] <> '[]') THEN rows.subject END) s
					ON s.subject = u.subject
				WHERE (u.tells OR (v_ids[u.place], u.subject) IN (SELECT a.rule_id, a.subject
						FROM alerts a WHERE a.state <> 'resolved'))
					AND (p_due IS NULL OR v_ids[u.place] = ANY (p_due))
					AND CASE WHEN v_matches[u.place] = '[]' THEN true
						ELSE labels_match(v_matches[u.place], s.labels) END;
		EXCEPTION WHEN OTHERS THEN              -- one rule's error must not stop the others
			SELECT array_agg(v.place) AS place, array_agg(v.subject) AS subject,
				array_agg(v.value) AS value, array_agg(v.problem) AS problem INTO rows
				FROM unnest(q.places) n, relevant_values_of(n, p_rules[n], p_now) v
				WHERE p_due IS NULL OR v_ids[n] = ANY (p_due);
		END;
		RETURN QUERY SELECT * FROM unnest(rows.place, rows.subject, rows.value, rows.problem);
	END LOOP;
EXCEPTION WHEN query_canceled THEN
	PERFORM blame(slowest_rules(v_plan, v_ids, v_parts, v_starts), sqlerrm);
END
$$;

SELECT drop_former_functions() \g /dev/null
