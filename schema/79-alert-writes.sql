-- ==== 79-alert-writes: what people change about rules, silences, channels and their like =========
-- Each function asks who acts, reads the body by body_values() and writes one row.

-- ---- rules ----------------------------------------------------------------------------------------
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
		v_server := CASE WHEN b->>'server_id' <> '' THEN known_server(b->>'server_id') END;
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
		PERFORM refuse(422, 'The body has values that do not fit.', jsonb_build_object('errors',
			jsonb_build_array(jsonb_build_object('field', 'channel', 'message',
				'names no channel'))));
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
	r alert_rules;
	v_body jsonb := body_values('rule', rule_body(p_body), p_id IS NULL);
BEGIN
	IF p_id IS NULL THEN
		r := jsonb_populate_record(NULL::alert_rules, v_body);
		r.rule_id := gen_random_uuid();
		r.version := 1;
		r.created_at := clock_timestamp();
		r.created_by := p_email;
	ELSE
		SELECT * INTO r FROM alert_rules WHERE rule_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('rule', p_id, FOUND), check_version(p_match, r.version);
		r := jsonb_populate_record(r, v_body);
		r.version := r.version + 1;
	END IF;
	r.updated_at := clock_timestamp();
	PERFORM refuse_errors(rule_errors(r) || param_errors(r.kind, r.metric, r.params)
		|| field_error(EXISTS (SELECT FROM alert_rules
		WHERE name = r.name AND rule_id <> r.rule_id), 'name', 'is taken by another rule'));
	PERFORM refuse_unless(p_role, (SELECT role FROM alert_kinds WHERE kind = r.kind)),
		refuse_errors(query_errors(r));
	DELETE FROM alert_rules WHERE rule_id = r.rule_id;
	INSERT INTO alert_rules SELECT r.*;
	PERFORM audit(p_email, p_how, CASE WHEN p_id IS NULL THEN 'rule created' ELSE 'rule changed' END,
		r.name,
		p_body);
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
	r alert_rules;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	SELECT * INTO r FROM alert_rules WHERE rule_id = as_uuid(p_id) FOR UPDATE;
	PERFORM known_id('rule', p_id, FOUND), check_version(p_match, r.version);
	PERFORM refuse_errors(field_error(r.builtin IS NOT NULL, 'is_active',
		'can be set to false: a default rule is switched off, and not deleted'));
	DELETE FROM rule_patches WHERE rule_id = r.rule_id;
	DELETE FROM alert_rules WHERE rule_id = r.rule_id;
	PERFORM audit(c.email, c.how, 'rule deleted', r.name);
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
	p rule_patches;
	v_body jsonb := body_values('patch', p_body, p_id IS NULL);
BEGIN
	IF p_id IS NULL THEN
		SELECT * INTO r FROM alert_rules WHERE rule_id = as_uuid(p_rule);
		PERFORM known_id('rule', p_rule, FOUND);
		p := jsonb_populate_record(NULL::rule_patches, v_body);
		p.patch_id := gen_random_uuid();
		p.rule_id := r.rule_id;
		p.created_at := clock_timestamp();
		p.created_by := p_email;
	ELSE
		SELECT * INTO p FROM rule_patches WHERE patch_id = as_uuid(p_id);
		PERFORM known_id('override', p_id, FOUND);
		SELECT * INTO r FROM alert_rules WHERE rule_id = p.rule_id;
		p := jsonb_populate_record(p, v_body);
	END IF;
	PERFORM refuse_errors(patch_errors(r, p.changes));
	p.changes := body_values('rule', p.changes, false);
	DELETE FROM rule_patches WHERE patch_id = p.patch_id;
	INSERT INTO rule_patches SELECT p.*;
	PERFORM audit(p_email, p_how, 'override saved', r.name, p_body);
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
	v_rule uuid;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	DELETE FROM rule_patches WHERE patch_id = as_uuid(p_id) RETURNING rule_id INTO v_rule;
	PERFORM known_id('override', p_id, FOUND),
		audit(c.email, c.how, 'override deleted', (SELECT name FROM alert_rules
			WHERE rule_id = v_rule));
	RETURN '{"ok": true}';
END
$$;

-- ---- rule files ------------------------------------------------------------------------------------
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
		IF jsonb_typeof(v_rule->'overrides') = 'array' THEN
			DELETE FROM rule_patches WHERE rule_id = (v_saved->>'rule_id')::uuid;
			PERFORM save_patch_as(c.email, c.how, v_saved->>'rule_id', NULL,
				o || jsonb_build_object('position', n))
					FROM jsonb_array_elements(v_rule->'overrides')
				WITH ORDINALITY x(o, n);
		END IF;
	END LOOP;
	IF v_created + v_changed = 0 THEN
		PERFORM refuse(422, 'The file has no alert rule.');
	END IF;
	RETURN jsonb_build_object('created', v_created, 'changed', v_changed, 'left_out', v_left_out);
EXCEPTION WHEN SQLSTATE 'OB422' THEN
	GET STACKED DIAGNOSTICS v_why = PG_EXCEPTION_DETAIL;
	RAISE EXCEPTION USING ERRCODE = 'OB422', DETAIL = v_why, MESSAGE = CASE WHEN v_body IS NULL
		THEN SQLERRM
		ELSE format('Rule "%s" of the file: %s', left(v_body->>'name', 200), SQLERRM) END;
END
$$;

-- ---- alerts ----------------------------------------------------------------------------------------
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
		WHERE alert_id = as_uuid(p_id) AND state = 'firing' RETURNING * INTO a;
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

-- ---- silences ---------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION silence_json(s silences) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(s) || jsonb_build_object('match_text', matchers_text(s.match), 'state', CASE
		WHEN s.ends_at <= now() THEN 'ended' WHEN s.starts_at > now() THEN 'pending'
			ELSE 'active' END)
$$;

CREATE OR REPLACE FUNCTION save_silence(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := now();
	v_body jsonb := CASE WHEN p_body->>'for' ~ '^[0-9]{1,4}[mhd]$' THEN p_body - 'for'
		|| jsonb_build_object('ends_at', v_now + (p_body->>'for')::interval) ELSE p_body END;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_body := body_values('silence', v_body, p_id IS NULL);
	IF p_id IS NULL THEN
		s := jsonb_populate_record(NULL::silences, v_body);
		s.silence_id := gen_random_uuid();
		s.version := 1;
		s.created_at := v_now;
		s.created_by := c.email;
	ELSE
		SELECT * INTO s FROM silences WHERE silence_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('silence', p_id, FOUND), check_version(p_match, s.version);
		s := jsonb_populate_record(s, v_body);
		s.version := s.version + 1;
	END IF;
	s.starts_at := coalesce(s.starts_at, v_now);
	PERFORM refuse_errors(field_error(s.ends_at <= s.starts_at OR s.ends_at <= v_now, 'ends_at',
			'must be later than now and than starts_at')
		|| field_error(s.match = '[]', 'match', 'must have a matcher: a silence of everything needs '
			'one such as server=~".*"'));
	DELETE FROM silences WHERE silence_id = s.silence_id;
	INSERT INTO silences SELECT s.*;
	PERFORM audit(c.email, c.how, CASE WHEN p_id IS NULL THEN 'silence created'
		ELSE 'silence changed' END,
		matchers_text(s.match), jsonb_build_object('ends_at', s.ends_at, 'comment', s.comment));
	RETURN silence_json(s);
END
$$;

-- Ends it now. It stays in the list.
CREATE OR REPLACE FUNCTION end_silence(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	SELECT * INTO s FROM silences WHERE silence_id = as_uuid(p_id) AND ends_at > v_now FOR UPDATE;
	PERFORM known_id('silence', p_id, FOUND), check_version(p_match, s.version);
	UPDATE silences SET ends_at = v_now, version = version + 1,
		starts_at = least(starts_at, v_now - interval '1 microsecond')
			WHERE silence_id = s.silence_id;
	PERFORM audit(c.email, c.how, 'silence ended', matchers_text(s.match));
	RETURN '{"ok": true}';
END
$$;

-- ---- channels ----------------------------------------------------------------------------------------
-- A channel without its secrets: only their names.
CREATE OR REPLACE FUNCTION channel_json(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(c) - 'secrets' || jsonb_build_object('is_active', c.disabled_at IS NULL,
		'settings_text', nullif(labels_text(c.settings), ''), 'secrets_set',
		(SELECT coalesce(jsonb_agg(k ORDER BY k), '[]') FROM jsonb_object_keys(c.secrets) k))
$$;

-- What is wrong with the settings of a channel, by the table channel_kinds.
CREATE OR REPLACE FUNCTION channel_errors(c channels) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM channel_kinds WHERE kind = c.kind), 'kind',
		'must be one of '
			|| (SELECT string_agg(kind, ', ' ORDER BY kind) FROM channel_kinds))
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', part || '.' || left(name, 100),
			'message', CASE
				WHEN spec IS NULL THEN 'is not known; known are ' || array_to_string(names,
					', ')
				WHEN value IS NULL THEN 'is missing: ' || (spec->>'help')
				ELSE 'must be one line of 1 to 4000 bytes' END) ORDER BY part, name), '[]')
			FROM (SELECT kind, channel_kinds.settings, channel_kinds.secrets FROM channel_kinds
				WHERE kind = c.kind) k
			CROSS JOIN LATERAL (VALUES ('settings', k.settings, c.settings), ('secrets',
				k.secrets, c.secrets))
				p(part, specs, given)
			CROSS JOIN LATERAL (SELECT array_agg(n ORDER BY n)
				FROM jsonb_object_keys(specs) n) a(names)
			CROSS JOIN LATERAL (SELECT name, specs->name AS spec, given->name AS value
				FROM (SELECT jsonb_object_keys(specs) UNION
					SELECT jsonb_object_keys(given)) u(name)) f
			WHERE spec IS NULL OR (value IS NULL AND (spec->'required')::boolean)
				OR (value IS NOT NULL AND (jsonb_typeof(value) <> 'string'
					OR value #>> '{}' ~ '[[:cntrl:]]'
					OR octet_length(value #>> '{}') NOT BETWEEN 1 AND 4000)))
$$;

-- Lets the watcher send a message that only says that the channel works.
CREATE OR REPLACE FUNCTION test_channel_for(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_id uuid;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	v_id := test_channel(p_id, c.email, clock_timestamp());
	PERFORM audit(c.email, c.how, 'channel tested', p_id);
	RETURN jsonb_build_object('notification_id', v_id);
END
$$;

CREATE OR REPLACE FUNCTION list_channels(p_hash bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM asking(p_hash, 'operator');
	RETURN (SELECT jsonb_build_object('items', coalesce(jsonb_agg(channel_json(c) ORDER BY name), '[]'),
		'next', NULL) FROM channels c);
END
$$;

-- The secrets that a change does not name stay; null removes one.
CREATE OR REPLACE FUNCTION save_channel(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h channels;
	v_secrets jsonb := '{}';
	v_body jsonb;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	v_body := body_values('channel', nested_body(nested_body(p_body, 'settings'), 'secrets'),
		p_id IS NULL);
	IF p_id IS NULL THEN
		h := jsonb_populate_record(NULL::channels, v_body);
		h.channel_id := gen_random_uuid();
		h.version := 1;
		h.created_at := clock_timestamp();
		h.created_by := c.email;
	ELSE
		SELECT * INTO h FROM channels WHERE channel_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('channel', p_id, FOUND), check_version(p_match, h.version);
		v_secrets := h.secrets;
		h := jsonb_populate_record(h, v_body);
		h.version := h.version + 1;
	END IF;
	h.secrets := merged(v_secrets, v_body->'secrets');
	IF v_body ? 'is_active' THEN
		h.disabled_at := CASE WHEN (v_body->'is_active')::boolean THEN NULL
			ELSE coalesce(h.disabled_at, clock_timestamp()) END;
		h.disabled_reason := CASE WHEN h.disabled_at IS NOT NULL THEN coalesce(h.disabled_reason,
			'switched off by ' || c.email) END;
	END IF;
	PERFORM refuse_errors(channel_errors(h) || field_error(EXISTS (SELECT FROM channels
			WHERE name = h.name AND channel_id <> h.channel_id), 'name',
				'is taken by another channel')
		|| field_error(h.fallback_id = h.channel_id OR NOT EXISTS (SELECT FROM channels
			WHERE channel_id = coalesce(h.fallback_id, channel_id)) AND h.fallback_id IS NOT NULL,
			'fallback_id', 'must be another channel'));
	DELETE FROM channels WHERE channel_id = h.channel_id;
	INSERT INTO channels SELECT h.*;
	PERFORM audit(c.email, c.how, CASE WHEN p_id IS NULL THEN 'channel created'
		ELSE 'channel changed' END,
		h.name, v_body - 'secrets'::text || jsonb_build_object('secrets',
			(SELECT coalesce(jsonb_agg(k), '[]')
			FROM jsonb_object_keys(coalesce(v_body->'secrets', '{}')) k)));
	RETURN channel_json(h);
END
$$;

CREATE OR REPLACE FUNCTION delete_channel(p_hash bytea, p_id text, p_match text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h channels;
	v_now timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	SELECT * INTO h FROM channels WHERE channel_id = as_uuid(p_id) FOR UPDATE;
	PERFORM known_id('channel', p_id, FOUND), check_version(p_match, h.version);
	UPDATE alert_rules SET channel_id = NULL, version = version + 1 WHERE channel_id = h.channel_id;
	UPDATE alert_routes SET channels = array_remove(channels, h.channel_id)
		WHERE h.channel_id = ANY (channels);
	UPDATE channels SET fallback_id = NULL WHERE fallback_id = h.channel_id;
	UPDATE notifications SET dead_at = v_now, last_error = 'its channel was deleted'
		WHERE channel_id = h.channel_id AND sent_at IS NULL AND dead_at IS NULL;
	DELETE FROM channels WHERE channel_id = h.channel_id;
	PERFORM audit(c.email, c.how, 'channel deleted', h.name);
	RETURN '{"ok": true}';
END
$$;

-- ---- where messages go: routes, inhibitions, quiet windows ------------------------------------------
CREATE OR REPLACE FUNCTION route_errors(r alert_routes) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH RECURSIVE above (id, depth) AS (
		SELECT r.parent_id, 1 WHERE r.parent_id IS NOT NULL
		UNION ALL SELECT p.parent_id, depth + 1 FROM above JOIN alert_routes p
			ON p.route_id = above.id
		WHERE p.parent_id IS NOT NULL AND depth < 32)
	SELECT field_error(r.parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM alert_routes
			WHERE route_id = r.parent_id), 'parent_id', 'names no route')
		|| field_error(r.parent_id IS NULL AND EXISTS (SELECT FROM alert_routes
			WHERE parent_id IS NULL AND route_id <> r.route_id), 'parent_id',
			'is missing: there is one root, and every other route hangs below a route')
		|| field_error(EXISTS (SELECT FROM above WHERE id = r.route_id OR depth >= 32), 'parent_id',
			'would make a circle, or a tree deeper than 32')
		|| field_error(EXISTS (SELECT FROM unnest(r.channels) i WHERE NOT EXISTS (SELECT FROM channels
			WHERE channel_id = i)), 'channels', 'name a channel that is not there')
		|| field_error(EXISTS (SELECT FROM unnest(r.windows) i WHERE NOT EXISTS (SELECT
			FROM quiet_windows
			WHERE window_id = i)), 'windows', 'name a quiet window that is not there')
$$;

CREATE OR REPLACE FUNCTION save_route(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	IF p_id IS NULL THEN
		r := jsonb_populate_record(NULL::alert_routes, body_values('route', p_body, true));
		r.route_id := gen_random_uuid();
	ELSE
		SELECT * INTO r FROM alert_routes WHERE route_id = as_uuid(p_id);
		PERFORM known_id('route', p_id, FOUND);
		r := jsonb_populate_record(r, body_values('route', p_body, false));
	END IF;
	PERFORM refuse_errors(route_errors(r));
	DELETE FROM alert_routes WHERE route_id = r.route_id;
	INSERT INTO alert_routes SELECT r.*;
	PERFORM audit(c.email, c.how, 'route saved', matchers_text(r.match), p_body);
	RETURN to_jsonb(r) || jsonb_build_object('match_text', matchers_text(r.match));
END
$$;

-- What hangs below it hangs below its parent then.
CREATE OR REPLACE FUNCTION delete_route(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	r alert_routes;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	LOCK TABLE alert_routes IN SHARE ROW EXCLUSIVE MODE;
	SELECT * INTO r FROM alert_routes WHERE route_id = as_uuid(p_id);
	PERFORM known_id('route', p_id, FOUND);
	PERFORM refuse_errors(field_error(r.parent_id IS NULL, 'parent_id',
		'is null: this is the root, where every alert enters. Change it instead'));
	UPDATE alert_routes SET parent_id = r.parent_id WHERE parent_id = r.route_id;
	DELETE FROM alert_routes WHERE route_id = r.route_id;
	PERFORM audit(c.email, c.how, 'route deleted', matchers_text(r.match));
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION save_inhibition(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	i inhibitions;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	IF p_id IS NULL THEN
		i := jsonb_populate_record(NULL::inhibitions, body_values('inhibition', p_body, true));
		i.inhibition_id := gen_random_uuid();
	ELSE
		SELECT * INTO i FROM inhibitions WHERE inhibition_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('inhibition', p_id, FOUND);
		i := jsonb_populate_record(i, body_values('inhibition', p_body, false));
	END IF;
	DELETE FROM inhibitions WHERE inhibition_id = i.inhibition_id;
	INSERT INTO inhibitions SELECT i.*;
	PERFORM audit(c.email, c.how, 'inhibition saved', i.name, p_body);
	RETURN to_jsonb(i);
END
$$;

CREATE OR REPLACE FUNCTION delete_inhibition(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	DELETE FROM inhibitions WHERE inhibition_id = as_uuid(p_id) RETURNING name INTO v_name;
	PERFORM known_id('inhibition', p_id, FOUND), audit(c.email, c.how, 'inhibition deleted', v_name);
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION window_errors(w quiet_windows) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = w.time_zone), 'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(NOT w.days <@ '{mon,tue,wed,thu,fri,sat,sun}', 'days',
			'must be of mon, tue, wed, thu, fri, sat, sun')
		|| field_error(EXISTS (SELECT FROM quiet_windows WHERE name = w.name
			AND window_id <> w.window_id), 'name', 'is taken by another quiet window')
$$;

CREATE OR REPLACE FUNCTION save_window(p_hash bytea, p_id text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	w quiet_windows;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	IF p_id IS NULL THEN
		w := jsonb_populate_record(NULL::quiet_windows, body_values('window', p_body, true));
		w.window_id := gen_random_uuid();
	ELSE
		SELECT * INTO w FROM quiet_windows WHERE window_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('quiet window', p_id, FOUND);
		w := jsonb_populate_record(w, body_values('window', p_body, false));
	END IF;
	PERFORM refuse_errors(window_errors(w));
	DELETE FROM quiet_windows WHERE window_id = w.window_id;
	INSERT INTO quiet_windows SELECT w.*;
	PERFORM audit(c.email, c.how, 'quiet window saved', w.name, p_body);
	RETURN to_jsonb(w);
END
$$;

CREATE OR REPLACE FUNCTION delete_window(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'admin');
	UPDATE alert_routes SET windows = array_remove(windows, as_uuid(p_id))
		WHERE as_uuid(p_id) = ANY (windows);
	DELETE FROM quiet_windows WHERE window_id = as_uuid(p_id) RETURNING name INTO v_name;
	PERFORM known_id('quiet window', p_id, FOUND), audit(c.email, c.how, 'quiet window deleted', v_name);
	RETURN '{"ok": true}';
END
$$;

CREATE OR REPLACE FUNCTION cron_valid(p_schedule text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM next_cron(p_schedule, 'UTC', '2026-01-01Z');
	RETURN true;
EXCEPTION WHEN data_exception THEN
	RETURN false;
END
$$;

-- ---- heartbeats ---------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION heartbeat_errors(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error((h.schedule IS NULL) = (h.every_s IS NULL), 'schedule',
			'or every_s must be there, and not both')
		|| field_error(NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = h.time_zone),
			'time_zone',
			'must be the name of a time zone such as Europe/Berlin')
		|| field_error(h.schedule IS NOT NULL AND NOT cron_valid(h.schedule), 'schedule',
			'must be a line of cron such as "30 2 * * *"')
		|| field_error(EXISTS (SELECT FROM heartbeats WHERE name = h.name
			AND heartbeat_id <> h.heartbeat_id), 'name', 'is taken by another heartbeat')
$$;

CREATE OR REPLACE FUNCTION heartbeat_json(h heartbeats) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(h) - 'token_hash' || jsonb_build_object('last_at', (SELECT max(at)
		FROM heartbeat_pings p
		WHERE p.heartbeat_id = h.heartbeat_id))
$$;

-- A new one has a token, which is told once: its URL is what the job calls. p_site: the hub's own address.
CREATE OR REPLACE FUNCTION save_heartbeat(p_hash bytea, p_id text, p_body jsonb, p_site text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	h heartbeats;
	v_token text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	IF p_id IS NULL THEN
		h := jsonb_populate_record(NULL::heartbeats, body_values('heartbeat', p_body, true));
		h.heartbeat_id := gen_random_uuid();
		h.created_at := clock_timestamp();
		v_token := new_secret('obs_beat');
		h.token_hash := sha256(sha256(convert_to(v_token, 'UTF8')));
	ELSE
		SELECT * INTO h FROM heartbeats WHERE heartbeat_id = as_uuid(p_id) FOR UPDATE;
		PERFORM known_id('heartbeat', p_id, FOUND);
		h := jsonb_populate_record(h, body_values('heartbeat', p_body, false));
	END IF;
	PERFORM refuse_errors(heartbeat_errors(h));
	DELETE FROM heartbeats WHERE heartbeat_id = h.heartbeat_id;
	INSERT INTO heartbeats SELECT h.*;
	PERFORM audit(c.email, c.how, CASE WHEN p_id IS NULL THEN 'heartbeat created'
		ELSE 'heartbeat changed' END,
		h.name, p_body);
	RETURN heartbeat_json(h) || CASE WHEN v_token IS NULL THEN '{}' ELSE jsonb_build_object('url',
		p_site || '/api/v1/heartbeats/' || v_token) END;
END
$$;

CREATE OR REPLACE FUNCTION delete_heartbeat(p_hash bytea, p_id text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	v_name text;
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	DELETE FROM heartbeats WHERE heartbeat_id = as_uuid(p_id) RETURNING name INTO v_name;
	PERFORM known_id('heartbeat', p_id, FOUND), audit(c.email, c.how, 'heartbeat deleted', v_name);
	DELETE FROM heartbeat_pings WHERE heartbeat_id = as_uuid(p_id);
	RETURN '{"ok": true}';
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION rule_json, override_json, silence_json, body_fields TO observ_hub;
GRANT EXECUTE ON FUNCTION list_channels, save_rule, import_rules, delete_rule, save_patch,
	delete_patch, ack_alert, unack_alert, save_silence, end_silence, save_channel, delete_channel,
		test_channel_for, save_route,
	delete_route, save_inhibition, delete_inhibition, save_window, delete_window, save_heartbeat,
	delete_heartbeat TO observ_hub, observ_enroll;
