-- ==== 79-rule-checks: rules and overrides that can't be evaluated are refused ===================
-- Whoever writes them: the API says the same, but psql and imports reach the tables themselves. A rule that
-- is switched off may hold anything. What still goes wrong in an evaluation stops only its own rule
-- (72-engine.sql).

-- Whether p_milder is worse than p_worse. Values of == and != have no order.
CREATE OR REPLACE FUNCTION out_of_order(p_op text, p_worse float8, p_milder float8) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(CASE left(p_op, 1)
	WHEN '>' THEN p_milder > p_worse
	WHEN '<' THEN p_milder < p_worse END, false);

-- What is wrong with a rule, as refuse_errors() takes it: values that can't hold together. Ranges of single
-- fields are checked by the table.
CREATE OR REPLACE FUNCTION rule_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(r.warning IS NULL AND r.critical IS NULL, 'warning',
			'is missing, and critical too: a rule needs the value of one of them')
		|| field_error(out_of_order(r.op, r.warning, r.warning_clear), 'warning_clear',
			'must lie on the healthy side of warning')
		|| field_error(out_of_order(r.op, r.critical, r.critical_clear), 'critical_clear',
			'must lie on the healthy side of critical')
		|| field_error(r.warning IS NULL AND r.warning_clear IS NOT NULL, 'warning_clear',
			'needs a value of warning')
		|| field_error(r.critical IS NULL AND r.critical_clear IS NOT NULL, 'critical_clear',
			'needs a value of critical')
		|| field_error(out_of_order(r.op, r.critical, r.warning), 'critical',
			'must be worse than warning')
		|| field_error(NOT coalesce(out_of_order(r.op, r.critical, r.warning), false)
			AND out_of_order(r.op, coalesce(r.critical_clear, r.critical),
				coalesce(r.warning_clear, r.warning)), 'critical_clear',
			'must not be milder than warning_clear')
		|| (SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'message',
				'must be a number')), '[]')
			FROM (VALUES ('warning', r.warning), ('warning_clear', r.warning_clear),
				('critical', r.critical), ('critical_clear', r.critical_clear)) v(name, level)
			WHERE level IN ('NaN', 'Infinity', '-Infinity'))
$$;

-- Alerts of a rule may be counted by another one, in the same evaluation after it. Not by a third one, since
-- these are evaluated at once.
CREATE OR REPLACE FUNCTION chain_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT field_error(r.kind = 'count_firing' AND r.params->>'of_rule' = r.rule_id::text,
			'params.of_rule', 'must be another rule')
		|| field_error(r.kind = 'count_firing' AND NOT EXISTS (SELECT FROM alert_rules
			WHERE rule_id::text = r.params->>'of_rule'), 'params.of_rule', 'names no rule')
		|| field_error(r.kind IN ('count_firing', 'rule_error') AND EXISTS (SELECT FROM alert_rules o
			WHERE o.kind = 'count_firing' AND o.params->>'of_rule' = r.rule_id::text
				AND o.rule_id <> r.rule_id), 'kind',
			'must be another one: a rule counts the alerts of this one, '
			'and chains have one link only')
		|| field_error(r.kind = 'count_firing' AND EXISTS (SELECT FROM alert_rules o
			WHERE o.rule_id::text = r.params->>'of_rule'
				AND o.kind IN ('count_firing', 'rule_error')),
			'params.of_rule', 'must not be a rule that counts alerts or errors itself: '
			'chains have one link only')
$$;

-- What keeps a rule from being evaluated.
CREATE OR REPLACE FUNCTION evaluation_errors(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT param_errors(r.kind, r.metric, r.params) || chain_errors(r)
$$;

-- ---- whoever writes them ---------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION errors_text(p_errors jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(concat_ws(' ', e->>'field', e->>'message'), '; ')
	FROM jsonb_array_elements(p_errors) e
$$;

CREATE OR REPLACE FUNCTION check_rule() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_errors CONSTANT text := errors_text(evaluation_errors(NEW)
		|| field_error(matchers_problem(NEW.match) IS NOT NULL, 'match', 'is wrong: '
			|| rtrim(matchers_problem(NEW.match), '.'))
		|| field_error(label_errors(NEW.labels) <> '[]', 'labels',
			'must be an object of short texts'));
BEGIN
	IF v_errors IS NOT NULL THEN
		RAISE EXCEPTION 'The rule "%" can''t be evaluated: %.', NEW.name, v_errors
			USING ERRCODE = '23514', HINT = 'A rule with is_active false may be incomplete.';
	END IF;
	RETURN NEW;
END
$$;

-- The fields of an override, as the API takes them; a sentence about what is wrong, or NULL.
CREATE OR REPLACE FUNCTION patch_problem(r alert_rules, p rule_patches) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_detail text;
BEGIN
	IF r.rule_id IS NULL THEN
		RETURN CASE WHEN EXISTS (SELECT FROM rule_patches WHERE patch_id = p.rule_id)
			THEN 'rule_id names an override: an override is of a rule, not of another override'
			ELSE 'rule_id names no rule' END;
	ELSIF matchers_problem(p.match) IS NOT NULL THEN
		RETURN 'match is wrong: ' || rtrim(matchers_problem(p.match), '.');
	END IF;
	PERFORM refuse_errors(patch_errors(r, p.changes)), body_values('rule', p.changes, false);
	RETURN NULL;
EXCEPTION WHEN SQLSTATE 'OB422' THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN 'changes are wrong: ' || coalesce(errors_text(v_detail::jsonb->'errors'),
		'they must be an object of the fields that differ');
END
$$;

CREATE OR REPLACE FUNCTION check_patch() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	r alert_rules;
	v_problem text;
BEGIN
	SELECT * INTO r FROM alert_rules WHERE rule_id = NEW.rule_id;
	v_problem := patch_problem(r, NEW);
	IF v_problem IS NOT NULL THEN
		RAISE EXCEPTION 'This override of the rule "%" can''t be applied: %.', coalesce(r.name, '?'),
			v_problem USING ERRCODE = '23514';
	END IF;
	RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER check_rule BEFORE INSERT OR UPDATE ON alert_rules
	FOR EACH ROW WHEN (NEW.is_active) EXECUTE FUNCTION check_rule();
CREATE OR REPLACE TRIGGER check_patch BEFORE INSERT OR UPDATE ON rule_patches
	FOR EACH ROW EXECUTE FUNCTION check_patch();

SELECT drop_former_functions() \g /dev/null
