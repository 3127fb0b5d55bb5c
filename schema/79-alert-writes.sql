-- ==== 79-alert-writes: what people write about alerts: rules, overrides, files of them, notes ==
-- Here and in 79-message-writes.sql, a function asks who acts, reads the body by changed_row() and writes one
-- row by put_row().

-- The names that earlier clients use for fields of a rule, as the fields of now.
CREATE OR REPLACE FUNCTION rule_body(p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	b jsonb := coalesce(nested_body(p_body, 'params'), '{}');
	v_server text;
	v_severity text := coalesce(b->>'severity', 'warning');
BEGIN
	IF b ? 'metric_name' THEN
		b := b - 'metric_name' || jsonb_build_object('metric', b->'metric_name');
	END IF;
	IF b ? 'promql' THEN
		b := b - 'promql' || jsonb_build_object('kind', 'promql', 'params',
			coalesce(b->'params', '{}') || jsonb_build_object('promql', b->'promql'));
	ELSIF b ? 'metric' AND NOT b ? 'kind' THEN
		b := b || '{"kind": "threshold"}';
	END IF;
	IF b ? 'comparison' THEN
		b := b - 'comparison' || jsonb_build_object('op',
			coalesce('{"gt": ">", "gte": ">=", "lt": "<",
			"lte": "<=", "eq": "==", "ne": "!=", "=": "=="}'::jsonb ->> (b->>'comparison'),
			b->>'comparison'));
	END IF;
	IF b ? 'threshold' THEN
		b := b - '{threshold,severity}'::text[]
			|| jsonb_build_object(CASE v_severity WHEN 'critical' THEN 'critical'
				ELSE 'warning' END,
				b->'threshold');
	END IF;
	IF b ? 'repeat_interval_sec' THEN
		b := b - 'repeat_interval_sec' || jsonb_build_object('repeat_s', b->'repeat_interval_sec');
	END IF;
	IF b ? 'server_id' THEN
		v_server := CASE WHEN b->>'server_id' <> '' THEN find_server(b->>'server_id') END;
		PERFORM refuse_errors(field_error(b->>'server_id' <> '' AND v_server IS NULL, 'server_id',
			'names no server'));
		b := b - 'server_id' || CASE WHEN v_server IS NULL THEN '{}' ELSE jsonb_build_object('match',
			jsonb_build_array(jsonb_build_object('label', 'server', 'op', '=', 'value',
				v_server))) END;
	END IF;
	IF b ? 'channel' THEN
		b := b - 'channel' || jsonb_build_object('channel_id', CASE WHEN b->>'channel' <> ''
			THEN known_channel(b->>'channel') END);
	END IF;
	IF jsonb_typeof(b->'params') = 'object' THEN
		b := b || jsonb_build_object('params', typed_params(b->>'kind', b->'params'));
	END IF;
	RETURN b;
END
$$;

-- The parameters of a kind that came as texts of a form, as what they are. 300.0 is the whole number 300.
CREATE OR REPLACE FUNCTION typed_params(p_kind text, p_params jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE
		WHEN jsonb_typeof(value) = 'number' THEN to_jsonb(trim_scale(value::numeric))
		WHEN jsonb_typeof(value) <> 'string' THEN value
		WHEN spec->>'type' IN ('integer', 'number')
			AND value #>> '{}' ~ '^-?[0-9]{1,15}([.][0-9]{1,9})?$'
			THEN to_jsonb(trim_scale((value #>> '{}')::numeric))
		WHEN spec->>'type' = 'flag' AND value IN ('"true"', '"false"') THEN (value #>> '{}')::jsonb
		WHEN spec->>'type' = 'list' THEN to_jsonb(regexp_split_to_array(btrim(value #>> '{}'),
			'[\s,]+'))
		ELSE value END), '{}')
	FROM jsonb_each(p_params) LEFT JOIN LATERAL (SELECT params->key FROM alert_kinds
		WHERE kind = p_kind) k(spec)
		ON true
$$;

CREATE OR REPLACE FUNCTION known_channel(p_id text) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_id uuid := (SELECT channel_id FROM channels WHERE channel_id = as_uuid(p_id) OR name = p_id
		ORDER BY name = p_id LIMIT 1);
BEGIN
	IF v_id IS NULL THEN
		PERFORM refuse_errors(field_error(true, 'channel', 'names no channel'));
	END IF;
	RETURN v_id;
END
$$;

-- A rule as programs see it: with the old names beside the new ones.
CREATE OR REPLACE FUNCTION rule_json(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(r) || jsonb_build_object('match_text', matchers_text(r.match),
		'metric_name', r.metric, 'threshold', coalesce(r.warning, r.critical), 'comparison', r.op,
		'repeat_interval_sec', r.repeat_s,
		'server_id', (SELECT server_id(m->>'value') FROM jsonb_array_elements(r.match) m
			WHERE m->>'label' = 'server' AND m->>'op' = '=' LIMIT 1),
		'channel', (SELECT name FROM channels c WHERE c.channel_id = r.channel_id))
$$;

-- Why the query of a rule fails, whatever facts there are: it runs at a time that has none.
CREATE OR REPLACE FUNCTION query_errors(r alert_rules) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF r.kind = 'sql' THEN
		PERFORM explain_select(r.params->>'sql');
	ELSE
		PERFORM FROM rule_values(r, '2000-01-01Z');
	END IF;
	RETURN '[]';
EXCEPTION WHEN OTHERS THEN
	RETURN field_error(true, CASE r.kind WHEN 'sql' THEN 'params.sql' ELSE 'params' END,
		'can''t be evaluated: ' || sqlerrm);
END
$$;

-- p_id: NULL for a new one.
CREATE OR REPLACE FUNCTION save_rule_as(p_email text, p_role text, p_how text, p_id text, p_body jsonb,
	p_match text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules := jsonb_populate_record(NULL::alert_rules,
		changed_row('rule', p_id, rule_body(p_body), p_email, p_match));
BEGIN
	r.updated_at := clock_timestamp();
	PERFORM refuse_errors(rule_errors(r) || evaluation_errors(r)
		|| field_error(EXISTS (SELECT FROM alert_rules
		WHERE name = r.name AND rule_id <> r.rule_id), 'name', 'is taken by another rule')
		|| field_error(r.channel_id IS NOT NULL AND NOT EXISTS (SELECT FROM channels k
			WHERE k.channel_id = r.channel_id), 'channel_id', 'names no channel'));
	PERFORM refuse_unless(p_role, (SELECT role FROM alert_kinds WHERE kind = r.kind)),
		refuse_errors(query_errors(r));
	PERFORM put_row('rule', to_jsonb(r)),
		audit(p_email, p_how, saved_how('rule', p_id), r.name, p_body);
	RETURN rule_json(r);
END
$$;

CREATE OR REPLACE FUNCTION save_rule(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	RETURN save_rule_as(c.email, c.role, c.how, p_id, p_body, p_match);
END
$$;

-- Its open alerts end at the next evaluation. A default rule can only be switched off: an upgrade would bring
-- it back.
CREATE OR REPLACE FUNCTION delete_rule(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	r := removed_row('rule', p_id, p_match);
	PERFORM refuse_errors(field_error(r->>'builtin' IS NOT NULL, 'is_active',
		'can be set to false: a default rule is switched off, and not deleted'));
	DELETE FROM rule_patches WHERE rule_id = (r->>'rule_id')::uuid;
	PERFORM audit(c.email, c.how, 'rule deleted', r->>'name');
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION override_json(p rule_patches) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(p) || jsonb_build_object('match_text', matchers_text(p.match), 'changes_text',
		p.changes::text)
$$;

-- An override: the fields that are other for the subjects that match. p_id: NULL for a new one of p_rule.
CREATE OR REPLACE FUNCTION save_patch_as(p_email text, p_how text, p_rule text, p_id text, p_body jsonb)
RETURNS jsonb LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	p rule_patches := jsonb_populate_record(NULL::rule_patches,
		changed_row('patch', p_id, p_body, p_email));
BEGIN
	p.rule_id := coalesce(p.rule_id, as_uuid(p_rule));
	SELECT * INTO r FROM alert_rules WHERE rule_id = p.rule_id;
	PERFORM known_id('rule', p_rule, FOUND);
	PERFORM refuse_errors(patch_errors(r, p.changes));
	p.changes := body_values('rule', p.changes, false);
	PERFORM refuse_errors(rule_errors(jsonb_populate_record(r, p.changes)));
	PERFORM put_row('patch', to_jsonb(p)), audit(p_email, p_how, 'override saved', r.name, p_body);
	RETURN override_json(p);
END
$$;

CREATE OR REPLACE FUNCTION save_patch(p_hash bytea, p_rule text, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	RETURN save_patch_as(c.email, c.how, p_rule, p_id, p_body);
END
$$;

-- Only what does not change which subjects a rule has, or when it is evaluated.
CREATE OR REPLACE FUNCTION patch_errors(r alert_rules, p_changes jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT unknown_fields(p_changes,
		'{warning,warning_clear,critical,critical_clear,for_s,keep_firing_s,no_data,
		on_error,labels,summary,runbook,channel_id,repeat_s,is_active}')
$$;

CREATE OR REPLACE FUNCTION delete_patch(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	p jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	p := removed_row('patch', p_id);
	PERFORM audit(c.email, c.how, 'override deleted', (SELECT name FROM alert_rules
		WHERE rule_id = (p->>'rule_id')::uuid));
	RETURN '{"ok": true}';
END
$$;

-- ---- rule files ---------------------------------------------------------------------------------
-- "5m" or "1h30m" of Prometheus, and plain seconds, as seconds.
CREATE OR REPLACE FUNCTION duration_s(p_text text) RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_text ~ '^[0-9]{1,9}$' THEN p_text::int
		WHEN p_text ~ '^([0-9]{1,6}(ms|[smhdwy]))+$' THEN (SELECT sum(m[1]::numeric * CASE m[2]
			WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 WHEN 'd'
				THEN 86400
			WHEN 'w' THEN 604800 ELSE 31536000 END)::int
			FROM regexp_matches(p_text, '([0-9]+)(ms|[smhdwy])', 'g') m) END
$$;

-- {{ $value }} and {{ $labels.instance }} as the templates here name them.
CREATE OR REPLACE FUNCTION prometheus_template(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT regexp_replace(regexp_replace(p_text, '\{\{-?\s*\$value[^}]*\}\}', '{{value}}', 'g'),
		'\{\{-?\s*\$labels\.([a-zA-Z0-9_]+)[^}]*\}\}', '{{labels.\1}}', 'g')
$$;

-- An alert of a rule file of Prometheus as the body of a rule. What has the form
-- FUNCTION_over_time(METRIC{LABEL="VALUE"}[5m]) > NUMBER over a metric that Observ has is judged here; any
-- other
-- expression is asked of Prometheus.
CREATE OR REPLACE FUNCTION prometheus_rule(p_rule jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_expr CONSTANT text := btrim(p_rule->>'expr', E' \n\t');
	v_side CONSTANT text[] := regexp_match(v_expr,
		'^(.*[^<>=!])\s*(>=|<=|==|!=|>|<)\s*(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)$');
	v_metric CONSTANT text[] := regexp_match(coalesce(v_side[1], v_expr),
		'^(?:(avg|min|max|last|rate|irate|increase|deriv|changes|resets)(?:_over_time)?\()?\s*'
		'([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^{}]*\})?\s*(?:\[([0-9a-z]+)\]\s*\)|)\s*$');
	v_level CONSTANT text := CASE p_rule #>> '{labels,severity}' WHEN 'critical' THEN 'critical'
		WHEN 'page' THEN 'critical' ELSE 'warning' END;
	v_match jsonb := matchers_read(coalesce(v_metric[3], ''));
	b jsonb;
BEGIN
	IF v_side IS NOT NULL AND v_match IS NOT NULL AND (v_metric[1] IS NULL) = (v_metric[4] IS NULL)
		AND EXISTS (
			SELECT FROM alert_metrics() m WHERE m.metric = v_metric[2]) THEN
		b := jsonb_build_object('kind', 'threshold', 'metric', v_metric[2], 'match', v_match,
			'params',
			jsonb_strip_nulls(jsonb_build_object('agg', coalesce(v_metric[1], 'last'),
				'window_s', duration_s(v_metric[4]))));
	ELSE
		b := jsonb_build_object('kind', 'promql', 'params', jsonb_build_object('promql',
			coalesce(v_side[1], v_expr)));
	END IF;
	RETURN b || jsonb_strip_nulls(jsonb_build_object('name', p_rule->'alert',
		'op', coalesce(v_side[2], '>='), v_level, coalesce(v_side[3]::float8, -1e15),
		'for_s', coalesce(to_jsonb(duration_s(p_rule->>'for')), p_rule->'for'),
		'keep_firing_s', coalesce(to_jsonb(duration_s(p_rule->>'keep_firing_for')),
			p_rule->'keep_firing_for'),
		'labels', (p_rule->'labels') - 'severity'::text, 'no_data', 'ok',
		'summary', prometheus_template(coalesce(p_rule #>> '{annotations,summary}',
			p_rule #>> '{annotations,description}')),
		'runbook', p_rule #> '{annotations,runbook_url}'));
END
$$;

-- Takes {"rules": [...]} as it is exported, or {"groups": [{"rules": [...]}]} of Prometheus; recording rules
-- are
-- left out. A rule of a name that is there is changed. All or nothing.
CREATE OR REPLACE FUNCTION import_rules(p_hash bytea, p_file jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_rule jsonb;
	v_body jsonb;
	v_saved jsonb;
	v_patch jsonb;
	v_nth bigint;                           -- the override that is read; NULL: none
	v_id uuid;
	v_created int := 0;
	v_changed int := 0;
	v_left_out int := 0;
	v_why text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	FOR v_rule IN SELECT jsonb_path_query(p_file, 'lax $.rules[*]')
			UNION ALL SELECT jsonb_path_query(p_file, 'lax $.groups[*].rules[*]') LOOP
		IF jsonb_typeof(v_rule) <> 'object' THEN
			PERFORM refuse(422, 'Each rule of the file must have keys: name or alert ...');
		END IF;
		IF v_rule ? 'record' THEN
			v_left_out := v_left_out + 1;
			CONTINUE;
		END IF;
		v_body := CASE WHEN v_rule ? 'alert' THEN prometheus_rule(v_rule)
			ELSE v_rule - 'overrides'::text END;
		v_id := (SELECT rule_id FROM alert_rules WHERE name = v_body->>'name');
		v_saved := save_rule_as(c.email, c.role, c.how, v_id::text, v_body, NULL);
		v_created := v_created + (v_id IS NULL)::int;
		v_changed := v_changed + (v_id IS NOT NULL)::int;
		CONTINUE WHEN coalesce(v_rule->'overrides', 'null') = 'null';
		IF jsonb_typeof(v_rule->'overrides') <> 'array' THEN
			PERFORM refuse(422, 'overrides must be a list.');
		END IF;
		DELETE FROM rule_patches WHERE rule_id = (v_saved->>'rule_id')::uuid;
		FOR v_patch, v_nth IN SELECT *
				FROM jsonb_array_elements(v_rule->'overrides') WITH ORDINALITY LOOP
			IF jsonb_typeof(v_patch) <> 'object' THEN
				PERFORM refuse(422, 'It must have keys: match and changes.');
			END IF;
			PERFORM save_patch_as(c.email, c.how, v_saved->>'rule_id', NULL,
				v_patch || jsonb_build_object('position', v_nth));
		END LOOP;
		v_nth := NULL;
	END LOOP;
	IF v_created + v_changed = 0 THEN
		PERFORM refuse(422, 'The file has no alert rule.');
	END IF;
	RETURN jsonb_build_object('created', v_created, 'changed', v_changed, 'left_out', v_left_out);
EXCEPTION WHEN SQLSTATE 'OB422' THEN
	GET STACKED DIAGNOSTICS v_why = PG_EXCEPTION_DETAIL;
	RAISE EXCEPTION USING ERRCODE = 'OB422', DETAIL = v_why, MESSAGE = CASE WHEN v_body IS NULL
		THEN SQLERRM
		ELSE format('%s "%s" of the file: %s', CASE WHEN v_nth IS NULL THEN 'Rule'
			ELSE format('Override %s of rule', v_nth) END, left(v_body->>'name', 200),
			SQLERRM) END;
END
$$;

-- ---- acknowledgements ---------------------------------------------------------------------------
-- Somebody has it in hand: no more reminders.
CREATE OR REPLACE FUNCTION ack_alert(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_now timestamptz := clock_timestamp();
	v_body jsonb;
	a alerts;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_body := body_values('ack', p_body, true);
	UPDATE alerts SET acked_at = v_now, acked_by = c.email, ack_note = v_body->>'note'
		WHERE alert_id = as_uuid(p_id) AND state IN ('firing', 'error') RETURNING * INTO a;
	PERFORM known_id('firing alert', p_id, FOUND),
		audit(c.email, c.how, 'alert acknowledged', a.labels->>'rule', a.subject || v_body);
	RETURN alert_json(a, a.labels->>'rule');
END
$$;

CREATE OR REPLACE FUNCTION unack_alert(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	a alerts;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	UPDATE alerts SET acked_at = NULL, acked_by = NULL, ack_note = NULL
		WHERE alert_id = as_uuid(p_id) AND acked_at IS NOT NULL RETURNING * INTO a;
	PERFORM known_id('acknowledged alert', p_id, FOUND),
		audit(c.email, c.how, 'acknowledgement taken back', a.labels->>'rule', a.subject);
	RETURN alert_json(a, a.labels->>'rule');
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION rule_json, override_json, body_fields TO observ_hub;
GRANT EXECUTE ON FUNCTION ack_alert, unack_alert, save_rule, import_rules, delete_rule, save_patch,
	delete_patch TO observ_hub, observ_enroll;
