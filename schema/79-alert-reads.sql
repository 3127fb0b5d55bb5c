-- ==== 79-alert-reads: alerts, rules and messages as pages and programs see them ===================
CREATE OR REPLACE FUNCTION labels_text(p_labels jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg(key || '=' || CASE WHEN value ~ '^[^\s,"]+$' THEN value
		ELSE to_json(value)::text END, ' ' ORDER BY key), '') FROM jsonb_each_text(p_labels)
$$;

-- web-1 shop: a subject by its values, the server first.
CREATE OR REPLACE FUNCTION subject_text(p_subject jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(string_agg(value, ' ' ORDER BY array_position('{server,app}', key), key), '')
	FROM jsonb_each_text(p_subject)
$$;

-- "avg of cpu_percent > 85 % (ends at 75 %), critical 95 %, for 10 min".
CREATE OR REPLACE FUNCTION rule_condition(r alert_rules) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT concat_ws(', ', concat_ws(' ',
			CASE WHEN r.params ? 'agg' AND r.params->>'agg' <> 'last' THEN (r.params->>'agg')
				|| ' of' END,
			coalesce(r.metric, (SELECT lower(title) FROM alert_kinds k WHERE k.kind = r.kind),
				r.kind),
			r.op, value_text(coalesce(r.warning, r.critical), u)
			|| coalesce(' (ends at ' || value_text(CASE WHEN r.warning IS NULL
				THEN r.critical_clear
				ELSE r.warning_clear END, u) || ')', '')),
		CASE WHEN r.warning IS NOT NULL THEN 'critical ' || value_text(r.critical, u)
			|| coalesce(' (' || value_text(r.critical_clear, u) || ')', '') END,
		CASE WHEN r.for_s > 0 THEN 'for ' || span_text(r.for_s) END)
	FROM (SELECT rule_unit(r.kind, r.metric, r.params)) x(u)
$$;

-- Why a rule can't be evaluated: its last evaluation failed, or the last answer to its question is none.
-- NULL: it can.
CREATE OR REPLACE FUNCTION rule_problem(p_rule uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT problem FROM rule_problems WHERE rule_id = p_rule),
		(SELECT problem FROM external_answers WHERE rule_id = p_rule ORDER BY at DESC LIMIT 1))
$$;

-- p_rule: its name, NULL if it is gone. badge and word are the sign of the state on pages.
CREATE OR REPLACE FUNCTION alert_json(a alerts, p_rule text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(a)
		- '{subject_key,last_levels,missing,warning_clear_since,critical_clear_since}'::text[]
		|| jsonb_build_object('rule', coalesce(p_rule, a.labels->>'rule', '(deleted rule)'),
			'subject_text', subject_text(a.subject), 'unit', u,
			'value_text', value_text(a.value, u), 'threshold_text', value_text(a.threshold, u),
			'resolved', a.state = 'resolved', 'ended', ended_text(a.resolve_reason),
			'age_s', floor(extract(epoch FROM now() - a.active_since)),
			'badge', CASE WHEN a.state = 'resolved' THEN 'up' WHEN a.state IN ('pending', 'error')
				THEN 'unknown' WHEN a.severity = 'critical' THEN 'down' ELSE 'degraded' END,
			'word', CASE a.state WHEN 'firing' THEN a.severity WHEN 'resolved' THEN 'ended'
				ELSE a.state END)
	FROM (SELECT (SELECT rule_unit(kind, metric, params) FROM alert_rules r
		WHERE r.rule_id = a.rule_id)) x(u)
$$;

-- The summary of an alert's rule with the values that it names, as messages have it. Of sections only those
-- that format are known.
CREATE OR REPLACE FUNCTION summary_text(p_summary text, a alerts) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_name text;
	v_value text;
BEGIN
	p_summary := regexp_replace(p_summary, '\{\{[#/]f\.\w+\}\}', '', 'g');
	FOR v_name, v_value IN SELECT * FROM jsonb_each_text(a.labels || a.subject || jsonb_strip_nulls(
			jsonb_build_object('value', number_text(a.value), 'threshold',
			number_text(a.threshold), 'severity', a.severity))) LOOP
		p_summary := replace(replace(p_summary, '{{' || v_name || '}}', v_value),
			'{{labels.' || v_name || '}}', v_value);
	END LOOP;
	RETURN p_summary;
END
$$;

-- A change of an alert as people read it.
CREATE OR REPLACE FUNCTION change_json(c alert_changes, p_unit text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(c) || jsonb_build_object('value_text', value_text(c.value, p_unit),
		'word', CASE WHEN c.to_state = 'resolved' OR c.to_state = 'inactive' THEN 'ended'
			WHEN c.to_state = 'firing' THEN c.severity ELSE c.to_state END,
		'why', CASE c.reason WHEN 'value' THEN NULL WHEN 'severity' THEN NULL
			WHEN 'clear' THEN 'the value is well again'
			WHEN 'for' THEN 'the rule waits longer now'
			ELSE coalesce(ended_text(c.reason), c.reason) END)
$$;

-- How many alerts fire that nobody has in hand, and that no silence or inhibition keeps quiet.
CREATE OR REPLACE FUNCTION open_alerts() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('alerts', count(*)) FROM alerts
	WHERE state <> 'resolved' AND state <> 'pending' AND acked_at IS NULL AND muted_by IS NULL
$$;

-- What a message is about: "Disk full db-1 / and 2 more".
CREATE OR REPLACE FUNCTION message_about(p_content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_content ? 'alerts' THEN concat_ws(' ', p_content #>> '{alerts,0,rule}',
			nullif(subject_text(CASE jsonb_typeof(subject) WHEN 'object' THEN subject
				ELSE '{}' END), ''),
			CASE WHEN jsonb_array_length(p_content->'alerts') > 1
				THEN format('and %s more', jsonb_array_length(p_content->'alerts') - 1) END)
		WHEN p_content ? 'channel' THEN format('channel %s is disabled', p_content->>'channel')
		ELSE 'a test' END
	FROM (SELECT p_content #> '{alerts,0,subject}' AS subject) x
$$;

-- How it stands with a message.
CREATE OR REPLACE FUNCTION message_json(n notifications) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(n) - '{content,progress,taken_until}'::text[] || jsonb_build_object(
		'channel', (SELECT name FROM channels c WHERE c.channel_id = n.channel_id), 'dead',
			n.dead_at IS NOT NULL, 'about', message_about(n.content),
		'state', CASE WHEN n.sent_at IS NOT NULL THEN 'sent'
			WHEN n.dead_at IS NOT NULL THEN 'given up'
			WHEN n.attempts > 0 THEN 'waits for its next try at '
				|| to_char(n.not_before AT TIME ZONE 'UTC', 'HH24:MI:SS')
			ELSE 'waiting' END)
$$;

-- The value of an alert's subject at about 60 times of a span, to be drawn. It takes the alert's id, because
-- a rule that the caller makes up could ask anything.
CREATE OR REPLACE FUNCTION alert_series(p_alert uuid, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (at timestamptz, value float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	v_subject jsonb := (SELECT subject FROM alerts WHERE alert_id = p_alert);
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = (SELECT rule_id FROM alerts
		WHERE alert_id = p_alert);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	r.match := r.match || (SELECT coalesce(jsonb_agg(jsonb_build_object('label', key, 'op', '=', 'value',
		s.value)), '[]') FROM jsonb_each_text(v_subject) s WHERE key IN ('server', 'app'));
	RETURN QUERY SELECT t, (SELECT v.value FROM rule_values(r, t) v WHERE v.subject = v_subject)
		FROM generate_series(p_from, p_to, greatest((p_to - p_from) / 60, interval '1 second')) t;
END
$$;

-- One time of a preview: the next states of p_states, {subject_key: alert}, of those that fire or wait.
CREATE OR REPLACE FUNCTION preview_step(r alert_rules, p_states jsonb, p_at timestamptz) RETURNS SETOF alerts
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH value AS MATERIALIZED (
		SELECT v.subject, md5(v.subject::text)::uuid AS key, v.value, v.problem FROM rule_values(r,
			p_at) v
	), hit AS MATERIALIZED (
		SELECT x.rule, v.* FROM value v JOIN rule_variants(r) x
			ON x.patch_id IS NOT DISTINCT FROM patch_of(r.rule_id, v.subject)
		WHERE p_states ? v.key::text OR beyond(v.value, (x.rule).op, (x.rule).warning)
			OR beyond(v.value, (x.rule).op, (x.rule).critical) OR v.value IS NULL
		UNION ALL
		SELECT r, s.value->'subject', s.key::uuid, NULL, 'missing' FROM jsonb_each(p_states) s
		WHERE NOT EXISTS (SELECT FROM value v WHERE v.key = s.key::uuid)
	)
	SELECT (n.a).* FROM hit h, LATERAL (SELECT alert_step(coalesce(
		jsonb_populate_record(NULL::alerts, p_states -> h.key::text),
		new_alert(r.rule_id, h.key, h.subject, p_at)), h.value, h.problem, h.rule, p_at) AS a) n
	WHERE (n.a).state IS NOT NULL
$$;

-- When a rule would have fired in the last p_days, for how long, and how high its value was then. It looks as
-- often as the rule is evaluated, or as often as it can in a few seconds.
CREATE OR REPLACE FUNCTION preview_rule(p_id text, p_days int) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c_budget_s CONSTANT float8 := 4;        -- of a page's time
	v_now CONSTANT timestamptz := now();
	v_from CONSTANT timestamptz := v_now - make_interval(days => p_days);
	v_began timestamptz := clock_timestamp();
	v_step int;
	r alert_rules;
	a alerts;
	v_at timestamptz;
	v_states jsonb := '{}';
	v_next jsonb;
	v_fired jsonb := '[]';
	v_late boolean := false;
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = as_uuid(p_id);
	PERFORM known_id('rule', p_id, FOUND);
	PERFORM refuse_errors(field_error(p_days NOT BETWEEN 1 AND 90, 'days',
		'must be a number from 1 to 90'));
	PERFORM preview_step(r, '{}', v_now - interval '1 hour');
	v_step := r.interval_s * greatest(1, ceil(extract(epoch
		FROM clock_timestamp() - v_began) * p_days * 86400
		/ r.interval_s / c_budget_s));
	v_began := clock_timestamp();
	v_at := grid_before(v_from, v_step) + make_interval(secs => v_step);
	WHILE v_at <= v_now AND NOT v_late LOOP
		v_next := '{}';
		FOR a IN SELECT * FROM preview_step(r, v_states, v_at) LOOP
			IF a.state = 'resolved' THEN
				v_fired := v_fired || preview_alert(a, v_states -> a.subject_key::text, v_at);
			ELSE
				v_next := v_next || jsonb_build_object(a.subject_key, to_jsonb(a)
					|| jsonb_build_object(
					'worst', worst(r.op, a.value, (v_states #>> ARRAY[a.subject_key::text,
						'worst'])::float8)));
			END IF;
		END LOOP;
		v_states := v_next;
		v_late := clock_timestamp() - v_began > make_interval(secs => 1.5 * c_budget_s);
		v_at := v_at + make_interval(secs => v_step);
	END LOOP;
	SELECT v_fired || coalesce(jsonb_agg(preview_alert(jsonb_populate_record(NULL::alerts, value), value,
		NULL)),
		'[]') INTO v_fired FROM jsonb_each(v_states) WHERE value->>'fired_at' IS NOT NULL;
	RETURN jsonb_build_object('fired', jsonb_array_length(v_fired), 'any', v_fired <> '[]',
		'days', p_days, 'step_s', v_step,
		'left_out', concat_ws('; ', CASE WHEN v_step > r.interval_s
			THEN format('it looked only every %s, and may have missed short ones',
				span_text(v_step)) END,
			CASE WHEN v_late THEN 'and only up to ' || to_char(v_at AT TIME ZONE 'UTC',
				'MM-DD HH24:MI') END),
		'alerts', (SELECT coalesce(jsonb_agg(f ORDER BY f->>'fired_at' DESC), '[]')
			FROM (SELECT f FROM jsonb_array_elements(v_fired) f
				ORDER BY f->>'fired_at' DESC LIMIT 100) x));
END
$$;

-- The value that is further beyond.
CREATE OR REPLACE FUNCTION worst(p_op text, p_a float8, p_b float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_op LIKE '<%' THEN least(p_a, p_b) ELSE greatest(p_a, p_b) END;

-- p_state: the state before its end. p_end: NULL if it still fires.
CREATE OR REPLACE FUNCTION preview_alert(a alerts, p_state jsonb, p_end timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('subject', a.subject, 'subject_text', subject_text(a.subject), 'severity',
		a.severity,
		'fired_at', a.fired_at, 'resolved_at', p_end, 'still', p_end IS NULL,
		'lasted_s', floor(extract(epoch FROM coalesce(p_end, now()) - a.fired_at)),
		'value', (p_state->>'worst')::float8, 'value_text', value_text((p_state->>'worst')::float8,
			(SELECT rule_unit(r.kind, r.metric, r.params) FROM alert_rules r
			WHERE r.rule_id = a.rule_id)))
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION metric_unit, rule_unit, value_text, number_text, span_text, labels_text,
	subject_text,
	rule_condition, rule_problem, alert_json, summary_text, change_json, alert_detail, ended_text,
	alert_series, message_about, message_json, open_alerts,
	alert_metrics, preview_rule TO observ_hub;
GRANT EXECUTE ON FUNCTION rule_problem TO observ_watch;
