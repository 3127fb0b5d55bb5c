-- ==== 79-rule-checks: rules and overrides that can't be evaluated are refused ===================
-- Whoever writes them: the API says the same, but psql and imports reach the tables themselves. A rule that
-- is switched off may hold anything. What still goes wrong in an evaluation stops only its own rule
-- (72-engine.sql).
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
