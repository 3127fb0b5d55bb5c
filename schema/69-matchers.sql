-- ==== 69-matchers: which matchers are accepted ====================================================
-- A matcher is {"label", "op", "value"}; op is one of = != =~ !~. labels_match() judges a list of them.
--
-- The syntax of expressions is what RE2 and PostgreSQL share. PostgreSQL matches in linear time what has no
-- back reference and no look-around; the limits below bound the time it takes to compile.
CREATE OR REPLACE FUNCTION max_matchers() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 50;
CREATE OR REPLACE FUNCTION max_regex_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 256;
CREATE OR REPLACE FUNCTION max_regex_repeats() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2000;

-- An anchored expression of PostgreSQL. Of the flags of RE2 only a leading (?i) or (?s) is known.
CREATE OR REPLACE FUNCTION anchored(p_regex text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '***:' || CASE WHEN p_regex ~ '^\(\?s?is?\)' THEN '(?i)' ELSE '' END || '^(?:' ||
	regexp_replace(regexp_replace(p_regex, '^\(\?[is]{1,2}\)', ''), '((?:^|[^\\])(?:\\\\)*)\\b', '\1\\y',
		'g') || ')$';

-- Why an expression is refused, as the end of a sentence; NULL if it is not.
CREATE OR REPLACE FUNCTION regex_problem(p_regex text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	v_plain CONSTANT text := replace(regexp_replace(p_regex, '^\(\?[is]{1,2}\)', ''), '\\', '');
	v_repeats numeric := 1;
	n text;
BEGIN
	IF length(p_regex) > observ.max_regex_chars() THEN
		RETURN format('is longer than %s characters', observ.max_regex_chars());
	ELSIF v_plain ~ '\(\?[^:]|\\[1-9]' THEN
		RETURN 'has a back reference, a look-around, a name or a flag inside; none is supported';
	END IF;
	FOR n IN SELECT (regexp_matches(v_plain, '\{(?:[0-9]*,)?([0-9]+),?\}', 'g'))[1] LOOP
		v_repeats := v_repeats * greatest(left(n, 9)::numeric, 1);
	END LOOP;
	IF v_repeats > observ.max_regex_repeats() THEN
		RETURN format('repeats its parts up to %s times; %s is the limit', v_repeats,
			observ.max_regex_repeats());
	END IF;
	PERFORM '' ~ observ.anchored(p_regex);
	RETURN NULL;
EXCEPTION WHEN invalid_regular_expression OR program_limit_exceeded THEN
	RETURN 'is not valid: ' || regexp_replace(sqlerrm, '^invalid regular expression: ', '');
END
$$;

-- Why a list of matchers is refused, as a sentence; NULL if it is not. Tables check with this, so that
-- labels_match() can judge each row.
CREATE OR REPLACE FUNCTION matchers_problem(p_match jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	m jsonb;
	v_problem text;
BEGIN
	IF p_match IS NULL OR jsonb_typeof(p_match) <> 'array' THEN
		RETURN 'Matchers are a list of {"label", "op", "value"}.';
	ELSIF jsonb_array_length(p_match) > observ.max_matchers() THEN
		RETURN format('There are more than %s matchers.', observ.max_matchers());
	END IF;
	FOR m IN SELECT jsonb_array_elements(p_match) LOOP
		IF jsonb_typeof(m) <> 'object' OR jsonb_typeof(m->'label') IS DISTINCT FROM 'string'
			OR jsonb_typeof(m->'value') IS DISTINCT FROM 'string' OR m->>'label' = '' THEN
			RETURN format('Matcher %s is not {"label", "op", "value"} with three texts.', m);
		ELSIF m->>'op' IN ('=', '!=', '=~', '!~') IS NOT true THEN
			RETURN format('Matcher of %s has the operator "%s"; it is one of = != =~ !~.',
				m->>'label', m->>'op');
		END IF;
		v_problem := CASE WHEN m->>'op' IN ('=~', '!~') THEN observ.regex_problem(m->>'value') END;
		IF v_problem IS NOT NULL THEN
			RETURN format('The expression "%s" of label %s %s.', m->>'value', m->>'label',
				v_problem);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION max_matchers, max_regex_chars, max_regex_repeats, anchored, regex_problem,
	matchers_problem TO observ_hub, observ_watch;

