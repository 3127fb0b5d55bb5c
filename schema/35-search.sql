-- ==== 35-search: which lines a query of the log page finds =====================================
-- The hub sends a query as a tree in JSON (fleet_hub/logs/search.h). line_condition() turns it into the
-- condition of a WHERE clause with every value as a quoted constant. So the planner sees the values, and
-- picks indexes whatever AND, OR and NOT join. Everything here runs with the rights of the caller.

-- ---- texts -------------------------------------------------------------------------------------

-- JSON text with its escapes replaced by the characters that they stand for.
CREATE OR REPLACE FUNCTION unescaped(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN strpos(p, '\') = 0 THEN p ELSE
	replace(regexp_replace(replace(replace(replace(replace(replace(p, '\\', E'\x03'), '\"', '"'),
	'\n', E'\n'), '\t', E'\t'), '\r', E'\r'), '\\([bf]|u[0-9a-f]{4})', ' ', 'g'), E'\x03', '\') END;

-- A regular expression for a lower case ASCII text that holds p_words with any separators between them, or
-- p_literal, if there is one, as it stands. The last word may go on if p_open, with a time if p_date. NULL if
-- no such text can hold it. \x02 stands between the texts of a line.
CREATE OR REPLACE FUNCTION ascii_pattern(p_words text[], p_literal text, p_open boolean, p_date boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := coalesce(p_literal, array_to_string(p_words, ' ')) COLLATE "C";
BEGIN
	IF octet_length(t) <> length(t) THEN
		RETURN NULL;
	END IF;
	RETURN CASE WHEN t ~ '^[a-z0-9]' THEN '(^|[^a-z0-9])' ELSE '' END ||
		CASE WHEN p_literal IS NULL THEN replace(t, ' ', E'[^a-z0-9\\u0002]+')
		ELSE regexp_replace(t, '([!-/:-@[-`{-~])', E'\\\\\\1', 'g') END ||
		CASE WHEN p_open OR t !~ '[a-z0-9]$' THEN '' WHEN p_date THEN '($|[^a-z0-9]|t[0-9])'
		ELSE '($|[^a-z0-9])' END;
END
$$;

-- May a word begin or end between these two characters? '' is the edge of a text.
CREATE OR REPLACE FUNCTION is_edge(p_one text, p_other text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_one = '' OR p_other = '' OR coalesce(cardinality(word_list(p_one)), 0) = 0
	OR coalesce(cardinality(word_list(p_other)), 0) = 0
	OR p_one || p_other COLLATE "C" ~ ('[' || unspaced() || ']');

-- Does p_literal stand in a folded text, with its words whole? The last one may go on if p_open.
CREATE OR REPLACE FUNCTION stands_in(p_text text, p_literal text, p_open boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	n int := length(p_literal);
	at int;
	before text := '';
BEGIN
	LOOP
		at := strpos(p_text, p_literal);
		IF at = 0 THEN
			RETURN false;
		END IF;
		IF at > 1 THEN
			before := substr(p_text, at - 1, 1);
		END IF;
		IF observ.is_edge(before, left(p_literal, 1)) AND
		   (p_open OR observ.is_edge(right(p_literal, 1), substr(p_text, at + n, 1))) THEN
			RETURN true;
		END IF;
		before := substr(p_text, at, 1);
		p_text := substr(p_text, at + 1);
	END LOOP;
END
$$;

-- Do the words of p_words, or p_literal if there is one, stand in one of the texts of a line? p_ascii decides
-- if the line is ASCII.
CREATE OR REPLACE FUNCTION line_fits(p_logger text, p_message text, p_context jsonb, p_ascii text,
	p_words text[], p_literal text, p_open boolean, p_date boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 500 AS $$
DECLARE
	c text := p_context;
	t text := coalesce(p_logger || E'\x02', '') || p_message ||
		coalesce(E'\x02' || observ.unescaped(c), '');
	words text := ' ' || array_to_string(p_words, ' ') || CASE WHEN p_open THEN ''
		WHEN p_date THEN '( |t[0-9])' ELSE ' ' END;
	part text;
	list text;
BEGIN
	IF octet_length(t) = length(t) THEN
		RETURN p_ascii IS NOT NULL AND lower(t COLLATE "C") ~ p_ascii;
	END IF;
	FOREACH part IN ARRAY string_to_array(observ.folded(t), E'\x02') LOOP
		IF p_literal IS NOT NULL THEN
			CONTINUE WHEN NOT observ.stands_in(part, p_literal, p_open);
			RETURN true;
		END IF;
		list := ' ' || array_to_string(observ.word_list(part), ' ') || ' ';
		IF (CASE WHEN p_date THEN list ~ words ELSE strpos(list, words) > 0 END) THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;

-- ---- conditions --------------------------------------------------------------------------------

-- All of these words. The last one may go on if p_open, and so may one that word_list() has cut.
CREATE OR REPLACE FUNCTION words_query(p_words text[], p_open boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg('''' || w || CASE WHEN place = cardinality(p_words) AND p_open
	OR length(w) >= max_word_chars() THEN ''':*'
	ELSE '''' END, ' & ') FROM unnest(p_words) WITH ORDINALITY u(w, place));

-- The words of a date, with or without a time.
CREATE OR REPLACE FUNCTION date_query(p_words text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN words_query(trim_array(p_words, 1), false) ||
	format(' & (''%1$s'' | ''%1$st'':*)', p_words[cardinality(p_words)]);

CREATE OR REPLACE FUNCTION has_words(p_query text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 'search @@ ' || quote_literal(p_query) || '::tsquery';

-- The functions *_conditions() give two conditions, which both hold of the lines that a term finds: one that
-- an index answers, and what only the line itself tells. NULL: there is none.

-- A word, or a text of several. Unquoted, the last word may go on: "fail" finds "failed". It may not where a
-- separator follows it, nor where it is the last number of many: "10.1.2.3"; but a date is found where a time
-- follows it: "2026-11-30T17:25". Quoted text with symbols is found as it stands, and so is what has no
-- letter or digit. p_cut: the text is the beginning of a longer one.
CREATE OR REPLACE FUNCTION text_conditions(p_text text, p_quoted boolean, p_cut boolean) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	list text[] := observ.word_list(p_text, true);
	n int := coalesce(cardinality(list), 0);
	t text := observ.folded(p_text) COLLATE "C";
	as_it_stands boolean := n = 0 OR p_quoted AND t ~ (E'(?! )[\\u0001-/:-@[-`{-\\u007F' ||
		observ.separators() || ']');
	open boolean := n > 0 AND (p_cut OR NOT p_quoted AND (right(t, 1) = '*' OR
		observ.word_list(right(t, 1)) <> '{}' AND (n = 1 OR list[n] !~ '^[0-9]+$')));
	date boolean := NOT open AND NOT p_quoted AND t ~ '(^|[^0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}$';
BEGIN
	-- Each character of an unspaced script begins a pair.
	open := open OR n > 0 AND length(list[n]) = 1 AND
		list[n] COLLATE "C" ~ ('[' || observ.unspaced() || ']');
	RETURN ARRAY[CASE WHEN date THEN observ.has_words(observ.date_query(list))
			WHEN n > 0 THEN observ.has_words(observ.words_query(list, open)) END,
		CASE WHEN n <> 1 OR as_it_stands THEN
			format('observ.line_fits(logger, message, context, %L, %L, %L, %L, %L)',
			observ.ascii_pattern(list, CASE WHEN as_it_stands THEN t END, open, date), list,
			CASE WHEN as_it_stands THEN t END, open, date) END];
END
$$;

-- A pattern for LIKE, of a value that ends with '*'.
CREATE OR REPLACE FUNCTION like_pattern(p_value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(rtrim(p_value, '*'), '([\\%_])', '\\\1', 'g') || '%';

-- NULL if it is none. Exponents beyond 308 are too many digits: they give infinity or 0.
CREATE OR REPLACE FUNCTION number_of(p text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	part text[];
BEGIN
	IF octet_length(p) > 512 THEN
		RETURN NULL;
	END IF;
	part := regexp_match(p, '^([-+]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+))(?:[eE]([-+]?[0-9]{1,9}))?$');
	IF part IS NULL OR abs(part[2]::int) <= 308 OR part[2] IS NULL THEN
		RETURN CASE WHEN part IS NOT NULL THEN p END::numeric;
	END IF;
	RETURN CASE WHEN part[2]::int < 0 OR part[1]::numeric = 0 THEN 0
		ELSE sign(part[1]::numeric) * 'Infinity' END;
END
$$;

-- A time as people and programs write it; one without a zone is in UTC. NULL if it is none.
CREATE OR REPLACE FUNCTION time_of(p text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF octet_length(p) > 40 OR
	   p !~ ('^[0-9]{4}(-[0-9]{2}){2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?' ||
		'[[:space:]]*(Z|UTC|[-+][0-9]{2}(:?[0-9]{2})?)?)?$') THEN
		RETURN NULL;
	END IF;
	RETURN (replace(p, ',', '.') || CASE WHEN p ~ '(Z|UTC|:[0-9]{2}.*[-+][0-9]{2}(:?[0-9]{2})?)$' THEN ''
		ELSE 'Z' END)::timestamptz;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;

-- Is a value of a context below (-1), equal to (0) or above (1) p_value? NULL if they can't be compared.
CREATE OR REPLACE FUNCTION compared(p_have jsonb, p_value text) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	have text := CASE WHEN jsonb_typeof(p_have) IN ('number', 'string') THEN p_have #>> '{}' END;
	number numeric;
	value numeric := observ.number_of(p_value);
BEGIN
	IF value IS NOT NULL THEN
		number := CASE WHEN jsonb_typeof(p_have) = 'number' THEN have::numeric
			ELSE observ.number_of(have) END;
		RETURN (number > value)::int - (number < value)::int;
	END IF;
	RETURN sign(extract(epoch FROM observ.time_of(have) - observ.time_of(p_value)));
END
$$;

-- With more dots not all ways to read a key are tried. fleet_hub/logs/log_tree.c makes no links then.
CREATE OR REPLACE FUNCTION max_key_dots() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 5;

-- The ways to read a key as a path: a dot may stand between two keys, or belong to one ("a.b.c" in
-- {"a": {"b.c": 1}}). As it is comes first; with more than max_key_dots() only this and all apart.
CREATE OR REPLACE FUNCTION key_paths(p_key text) RETURNS SETOF text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 2 AS $$
DECLARE
	part CONSTANT text[] := string_to_array(p_key, '.');
	dots CONSTANT int := cardinality(part) - 1;
	ret text[];
BEGIN
	IF dots > observ.max_key_dots() THEN
		RETURN NEXT ARRAY[p_key];
		RETURN NEXT part;
		RETURN;
	END IF;
	FOR apart IN 0 .. (1 << dots) - 1 LOOP                  -- a bit for each dot
		ret := part[1:1];
		FOR i IN 1 .. dots LOOP
			IF apart & (1 << (i - 1)) <> 0 THEN
				ret := ret || part[i + 1];
			ELSE
				ret[cardinality(ret)] := ret[cardinality(ret)] || '.' || part[i + 1];
			END IF;
		END LOOP;
		RETURN NEXT ret;
	END LOOP;
END
$$;

-- The JSON values that p_value may mean: the string, and the number, true, false or null that it looks like.
CREATE OR REPLACE FUNCTION json_values(p_value text) RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT to_jsonb(p_value)
	UNION ALL SELECT to_jsonb(n) FROM number_of(p_value) n WHERE abs(n) < 'Infinity'
	UNION ALL SELECT v FROM jsonb_array_elements('[true, false, null]') v WHERE v::text = p_value;
END;

-- The value at a path, as an expression in parentheses.
CREATE OR REPLACE FUNCTION value_at(p_path text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT '(context' || string_agg(format(' -> %L', key), '' ORDER BY place) || ')'
	FROM unnest(p_path) WITH ORDINALITY u(key, place));

-- The key and the value stand in the text of the context, so their words are in the index unless the text was
-- cut. A number may be written in other ways, but its whole part is the same.
CREATE OR REPLACE FUNCTION context_words(p_key text, p_value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '(' || nullif(concat_ws(' & ', words_query(word_list(p_key), false), '(' || nullif(concat_ws(' | ',
	words_query(word_list(p_value), false), '''' || trunc(abs(number_of(p_value))) || ''''), '') || ')'),
	'') || ') | ''cut=''';

-- The condition that a value of the context is one of p_value's JSON values, or an array with one.
CREATE OR REPLACE FUNCTION value_equals(p_at text, p_value text) RETURNS text LANGUAGE sql STABLE
RETURN (SELECT format('%s @> ANY (%L::jsonb[])', p_at, array_agg(j)) FROM json_values(p_value) j);

-- The condition that it compares with p_value as p_op says. A number needs no function.
CREATE OR REPLACE FUNCTION value_compares(p_at text, p_op text, p_value text) RETURNS text LANGUAGE sql STABLE
RETURN CASE WHEN number_of(p_value) IS NULL
	THEN format('observ.compared(%s, %L) %s 0', p_at, p_value, p_op)
	ELSE format('CASE jsonb_typeof(%1$s) WHEN ''number'' THEN %1$s::numeric %3$s %4$L::numeric
		WHEN ''string'' THEN observ.compared(%1$s, %2$L) %3$s 0 END', p_at, p_value, p_op,
		number_of(p_value)) END;

CREATE OR REPLACE FUNCTION context_conditions(p_key text, p_op text, p_value text) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
	test text;
BEGIN
	IF p_op IN ('=', '=*', '^', '<', '<=', '>', '>=') IS NOT TRUE THEN
		RAISE EXCEPTION 'a search has no operator %', p_op USING ERRCODE = '22023';
	END IF;
	SELECT string_agg(CASE p_op WHEN '=' THEN observ.value_equals(at, p_value)
		WHEN '=*' THEN at || ' IS NOT NULL'
		WHEN '^' THEN format('context #>> %L LIKE %L', path, observ.like_pattern(p_value))
		ELSE observ.value_compares(at, p_op, p_value) END, ' OR ') INTO test
	FROM observ.key_paths(p_key) path, observ.value_at(path) at;
	RETURN ARRAY[observ.has_words(observ.context_words(p_key,
		CASE WHEN p_op = '=' THEN p_value ELSE '' END)), '(' || test || ')'];
END
$$;

CREATE OR REPLACE FUNCTION column_conditions(p_column text, p_op text, p_value text) RETURNS text[]
LANGUAGE sql STABLE RETURN
	CASE WHEN p_op = '=*' THEN ARRAY[NULL, format('%I IS NOT NULL', p_column)]
	WHEN p_op = '^' THEN ARRAY[NULL, format('%I LIKE %L', p_column, like_pattern(p_value))]
	WHEN p_column = 'logger' THEN ARRAY[
		CASE WHEN cardinality(word_list(p_value)) > 0
		THEN has_words(words_query(word_list(p_value), false)) END, format('logger = %L', p_value)]
	ELSE ARRAY[format('%I = %L', p_column, p_value), NULL] END;

CREATE OR REPLACE FUNCTION level_conditions(p_levels jsonb) RETURNS text[]
LANGUAGE sql STABLE RETURN
	CASE WHEN jsonb_array_length(p_levels) = 0 THEN ARRAY['false', NULL]
	WHEN p_levels ? 'INFO' THEN ARRAY[NULL,
		format('level = ANY (%L)', ARRAY(SELECT jsonb_array_elements_text(p_levels)))]
	ELSE ARRAY[coalesce(has_words((SELECT string_agg(format('''level=%s''', l), ' | ')
		FROM jsonb_array_elements_text(p_levels) l WHERE l ~ '^[A-Z]+$')), 'false'), NULL] END;

CREATE OR REPLACE FUNCTION term_conditions(p jsonb) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE
		WHEN p ? 'text' THEN observ.text_conditions(p->>'text', (p->>'quoted')::boolean,
			coalesce((p->>'cut')::boolean, false))
		WHEN p ? 'levels' THEN observ.level_conditions(p->'levels')
		WHEN p ? 'context' THEN observ.context_conditions(p->>'context', p->>'op', p->>'value')
		WHEN p ? 'column' THEN observ.column_conditions(p->>'column', p->>'op', p->>'value') END;
END
$$;

-- The condition of a query's tree; of {}, which finds everything, true. It is never NULL.
CREATE OR REPLACE FUNCTION line_condition(p jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	parts text[] := ARRAY(SELECT observ.line_condition(part)
		FROM jsonb_array_elements(coalesce(p->'and', p->'or', '[]')) part);
BEGIN
	RETURN CASE
		WHEN p ? 'and' THEN '(' || array_to_string(parts, ' AND ') || ')'
		WHEN p ? 'or' THEN '(' || array_to_string(parts, ' OR ') || ')'
		WHEN p ? 'not' THEN format('(%s) IS NOT TRUE', observ.line_condition(p->'not'))
		ELSE '(' || coalesce(nullif(array_to_string(observ.term_conditions(p), ' AND '), ''),
			'true') || ')' END;
END
$$;

-- What an index answers of a tree: a condition that holds of all lines that the tree finds. NULL: nothing.
CREATE OR REPLACE FUNCTION indexed_condition(p jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
	parts text[] := ARRAY(SELECT observ.indexed_condition(part)
		FROM jsonb_array_elements(coalesce(p->'and', p->'or', '[]')) part);
BEGIN
	RETURN CASE
		WHEN p ? 'and' THEN nullif(array_to_string(parts, ' AND '), '')
		WHEN p ? 'or' THEN CASE WHEN array_position(parts, NULL) IS NULL
			THEN '(' || array_to_string(parts, ' OR ') || ')' END
		WHEN p ? 'not' THEN NULL
		ELSE (observ.term_conditions(p))[1] END;
END
$$;

-- ---- lines -------------------------------------------------------------------------------------

-- The terms of a tree that ask for one server or one application: an index on column and time answers these.
CREATE OR REPLACE FUNCTION is_narrow(p jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(p->>'column' IN ('vps_name', 'app_name') AND p->>'op' = '=', false);

-- Their condition, which holds of all lines that the tree finds, and the tree without them.
CREATE OR REPLACE FUNCTION narrow_condition(p jsonb) RETURNS text LANGUAGE sql STABLE
RETURN coalesce((SELECT string_agg(format('%I = %L', k->>'column', k->>'value'), ' AND ')
	FROM jsonb_array_elements(coalesce(p->'and', jsonb_build_array(p))) k WHERE is_narrow(k)), 'true');
CREATE OR REPLACE FUNCTION without_narrow(p jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('and', coalesce((SELECT jsonb_agg(k)
	FROM jsonb_array_elements(coalesce(p->'and', jsonb_build_array(p))) k WHERE NOT is_narrow(k)), '[]'));

-- How long found_lines() looks: a page waits less than a file does.
CREATE OR REPLACE FUNCTION search_budget(p_max int) RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_max > 20000 THEN interval '8 s' ELSE interval '3 s' END;

-- True for each line that is looked at before p_deadline; OB003 after it. The planner puts what costs least
-- first.
CREATE OR REPLACE FUNCTION in_time(p_deadline timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL SAFE COST 0.1 AS $$
BEGIN
	IF clock_timestamp() > p_deadline THEN
		RAISE EXCEPTION 'the time for this search is up' USING ERRCODE = 'OB003';
	END IF;
	RETURN true;
END
$$;

-- Where the part of the time ends that has the next p_lines lines; the other end if there are no more.
CREATE OR REPLACE FUNCTION next_edge(p_narrow text, p_since timestamptz, p_until timestamptz, p_up boolean,
	p_lines int) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
	edge timestamptz;
BEGIN
	EXECUTE format('SELECT "timestamp" FROM observ.log_entries
		WHERE "timestamp" >= %L AND "timestamp" < %L AND %s
		ORDER BY "timestamp" %s OFFSET %s LIMIT 1', p_since, p_until, p_narrow,
		CASE WHEN p_up THEN 'ASC' ELSE 'DESC' END, p_lines) INTO edge;
	RETURN CASE WHEN p_up THEN coalesce(edge + interval '1 us', p_until) ELSE coalesce(edge, p_since) END;
END
$$;

-- How many times as long as the last part the next one is: at most p_most, or as much as is likely to have
-- the lines that are missing, or to be done in the time left.
CREATE OR REPLACE FUNCTION next_part(p_most float8, p_took interval, p_left interval, p_found int,
	p_missing int) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(p_most, CASE WHEN p_found > 0 THEN greatest(0.25, 1.3 * p_missing / p_found) END,
	greatest(0.05, 0.7 * extract(epoch FROM p_left)::float8 /
		greatest(extract(epoch FROM p_took)::float8, 0.001)));

-- So many matches are read and sorted.
CREATE OR REPLACE FUNCTION few_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2000;

-- So many lines are looked at first, whatever is searched: they tell how common it is.
CREATE OR REPLACE FUNCTION first_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;

-- So many lines are looked at one after the other, if they are likely to have p_missing matches. The index of
-- words would give all matches of a day first. A line of one server or application takes five times as long,
-- for it is on a page of its own.
CREATE OR REPLACE FUNCTION walked_lines(p_missing int, p_narrow boolean) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_narrow THEN 4000 ELSE 10000 END + 3 * p_missing;

-- The lines in windows that are p_part of the time between two times, 1 at most, as a FROM clause;
-- "hit" tells whether the condition fits. Each window is elsewhere in its piece of the time, or what repeats
-- itself would repeat in all of them. The condition is behind OFFSET 0, so that no window asks the index of
-- words.
CREATE OR REPLACE FUNCTION windows_of(p_since timestamptz, p_until timestamptz, p_part float8, p_windows int,
	p_narrow text, p_condition text) RETURNS text LANGUAGE sql STABLE
RETURN format('(SELECT %1$L::timestamptz + (place + (1 - %2$s) * (place * 0.618034 %% 1)) * step AS lo,
		step * %2$s AS width
	FROM generate_series(0, %3$s) place, (VALUES (%4$L::interval)) s (step)) w
	CROSS JOIN LATERAL (SELECT "timestamp", vps_name, app_name, level, logger, context, %6$s AS hit
		FROM log_entries WHERE "timestamp" >= lo AND "timestamp" < lo + width AND %5$s OFFSET 0) l',
	p_since, p_part, p_windows - 1, (p_until - p_since) / p_windows, p_narrow, p_condition);

-- About how many lines there are, and how many of them a condition fits. Windows grow until they have some
-- hundred.
CREATE OR REPLACE FUNCTION about_lines(p_narrow text, p_condition text, p_since timestamptz,
	p_until timestamptz, OUT lines float8, OUT hits float8)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	part float8 := 1.0 / 65536;
BEGIN
	LOOP
		EXECUTE 'SELECT count(*), count(*) FILTER (WHERE hit) FROM (SELECT hit FROM ' ||
			windows_of(p_since, p_until, part, 60, p_narrow, p_condition) || ' LIMIT 5000) x'
			INTO lines, hits;
		EXIT WHEN lines >= 300 OR part >= 1;
		part := least(part * CASE WHEN lines < 10 THEN 16 ELSE 500 / lines END, 1);
	END LOOP;
	lines := lines / part;
	hits := hits / part;
END
$$;

-- Is it better to look at each line of a server or application than to ask the index of words? It takes 4 us
-- a line, the index 0.6 us for each match that it has, of all servers. p_needed: more lines than these need
-- not be looked at; NULL: nobody knows.
CREATE OR REPLACE FUNCTION worth_walking(p_narrow text, p_indexed text, p_since timestamptz,
	p_until timestamptz, p_needed float8) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	limit_lines CONSTANT int := least(walked_lines(0, true) + 0.15 *
		(about_lines('true', p_indexed, p_since, p_until)).hits, 1e6);
	n int;
BEGIN
	IF p_needed < limit_lines THEN
		RETURN true;
	END IF;
	EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM log_entries WHERE "timestamp" >= %L
		AND "timestamp" < %L AND %s LIMIT %s) x', p_since, p_until, p_narrow, limit_lines) INTO n;
	RETURN n < limit_lines;
END
$$;

-- The p_max lines that p_tree finds between two times: the newest, or (p_up) the oldest after a place. A
-- place is the time, server and id of a line; NULL: none. p_brief: without message and place in the file.
--
-- The planner can't know how rare a word is whose end is open. A walk from the newest line is right for what
-- is common, and reads everything for what is rare. So the first_lines() are walked, and each part tells how
-- many lines the missing ones need: up to walked_lines() are walked. Else the index of words is asked for
-- few_lines() matches first; if there are no more, they are the answer. Among the lines of one server or
-- application the index of words is asked only if it has fewer matches than worth_walking() says.
--
-- What no index answers would take as long as the range is. When p_budget is used up (NULL: search_budget()),
-- a last row has no id: all lines up to its timestamp were looked at. Lines beyond it may stand before this
-- row; they are the next ones in the order.
CREATE OR REPLACE FUNCTION found_lines(p_tree jsonb, p_since timestamptz, p_until timestamptz, p_max int,
	p_up boolean DEFAULT false, p_at timestamptz DEFAULT NULL, p_vps text DEFAULT NULL,
	p_id bigint DEFAULT NULL, p_budget interval DEFAULT NULL, p_brief boolean DEFAULT false)
RETURNS TABLE (id bigint, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	message text, context jsonb, stream_id bigint, stream_offset bigint)
LANGUAGE plpgsql STABLE ROWS 100 SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	columns text := CASE WHEN p_brief
		THEN 'id, "timestamp", vps_name, app_name, level, logger, NULL::text, context, NULL::bigint,
			NULL::bigint'
		ELSE 'id, "timestamp", vps_name, app_name, level, logger, message, context, stream_id,
			stream_offset' END;
	-- The condition is a column behind OFFSET 0, so that no other index is asked for it.
	fenced CONSTANT text := 'SELECT %1$s FROM (SELECT *, %6$s AS hit FROM log_entries
		WHERE %7$s OFFSET 0) l WHERE hit ORDER BY %3$s LIMIT %4$s';
	index_first CONSTANT text := '
		WITH found AS MATERIALIZED (SELECT %1$s FROM log_entries WHERE %2$s LIMIT %5$s + 1),
		few AS MATERIALIZED (SELECT count(*) <= %5$s AS yes FROM found)
		(SELECT * FROM found WHERE (SELECT yes FROM few) ORDER BY %3$s LIMIT %4$s)
		UNION ALL
		(SELECT %1$s FROM log_entries WHERE NOT (SELECT yes FROM few) AND %2$s
		ORDER BY %3$s LIMIT %4$s)';
	place text := CASE WHEN p_at IS NULL THEN '' ELSE
		format(' AND ("timestamp", vps_name, id) %s (%L, %L, %s)',
		CASE WHEN p_up THEN '>' ELSE '<' END, p_at, p_vps, p_id) END;
	condition text := line_condition(p_tree);
	narrow text := narrow_condition(p_tree);
	indexed text := indexed_condition(without_narrow(p_tree));
	ordered text := replace('"timestamp" ~, vps_name ~, id ~', '~',
		CASE WHEN p_up THEN 'ASC' ELSE 'DESC' END);
	since timestamptz := CASE WHEN p_up THEN greatest(p_since, p_at) ELSE p_since END;
	until timestamptz := CASE WHEN p_up THEN p_until ELSE least(p_until, p_at + interval '1 us') END;
	edge timestamptz;
	width interval := '1 s';
	lines float8 := 16;                     -- of the next part, about
	looked float8 := 0;
	walking boolean := true;
	worth boolean;
	budget interval := coalesce(p_budget, search_budget(p_max));
	deadline timestamptz := clock_timestamp() + budget;
	began timestamptz;
	during text;
	needed float8;                          -- lines that are likely to have the missing ones
	factor float8;
	found int := 0;
	n int;
BEGIN
	BEGIN
		WHILE since < until AND found < p_max AND clock_timestamp() < deadline - budget / 20 LOOP
			began := clock_timestamp();
			edge := CASE WHEN walking AND lines <= 2 * walked_lines(0, false)
				THEN next_edge(narrow, since, until, p_up, lines::int)
				WHEN p_up THEN since + least(width, until - since)
				ELSE until - least(width, until - since) END;
			during := format('"timestamp" >= %L AND "timestamp" < %L%s AND in_time(%L)',
				CASE WHEN p_up THEN since ELSE edge END,
				CASE WHEN p_up THEN edge ELSE until END, place, deadline);
			RETURN QUERY EXECUTE format(CASE WHEN walking THEN fenced ELSE index_first END,
				columns, during || ' AND ' || condition, ordered, p_max - found,
				greatest(few_lines(), p_max), condition, during || ' AND ' || narrow);
			GET DIAGNOSTICS n = ROW_COUNT;
			found := found + n;
			looked := looked + lines;
			width := CASE WHEN p_up THEN edge - since ELSE until - edge END;
			IF p_up THEN
				since := edge;
			ELSE
				until := edge;
			END IF;
			EXIT WHEN found >= p_max OR since >= until;
			needed := CASE WHEN n > 0 THEN 1.3 * lines * (p_max - found) / n END;
			walking := indexed IS NULL OR worth OR looked < first_lines() OR
				coalesce(needed <= walked_lines(p_max - found, narrow <> 'true'), false);
			IF NOT walking AND narrow <> 'true' AND worth IS NULL THEN
				worth := worth_walking(narrow, indexed, since, until, needed);
				walking := worth;
			END IF;
			factor := next_part(CASE WHEN walking THEN 8 ELSE 64 END, clock_timestamp() - began,
				deadline - clock_timestamp(), n, p_max - found);
			lines := greatest(lines * factor, 1);
			width := greatest(width, interval '1 s') * factor;
		END LOOP;
	EXCEPTION WHEN SQLSTATE 'OB003' THEN
		NULL;
	END;
	IF since < until AND found < p_max THEN
		RETURN QUERY SELECT NULL::bigint, CASE WHEN p_up THEN since ELSE until END, NULL, NULL, NULL,
			NULL, NULL, NULL::jsonb, NULL::bigint, NULL::bigint;
	END IF;
END
$$;

-- ---- counts ------------------------------------------------------------------------------------

-- The lines of a query for histogram and facets: the newest ones, up to counted_lines(), each for itself
-- (weight 1), and a sample of the older ones, each of which stands for `weight` lines. The sum of the weights
-- is the number of lines; it is an estimate if a weight is above 1.
--
-- The sample is all lines within short windows, spread over the time. Their length is such that about
-- sampled_lines() are looked at, whatever the condition; if there are hardly more, the windows are the whole
-- time. Lines of one server or application take longer, so fewer are looked at. The weight is the same
-- everywhere, so a burst counts as what it is. Only the newest lines, at least faceted_lines(), have their
-- contexts. Of a sample there is a row of weight 0, so that nobody takes nothing found for an exact count.
--
-- When the time is up, a last row has no weight: lines before its timestamp are not counted.
CREATE OR REPLACE FUNCTION counted_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 3000;
CREATE OR REPLACE FUNCTION faceted_lines() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000;
CREATE OR REPLACE FUNCTION sampled_lines(p_narrow boolean) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN CASE WHEN p_narrow THEN 4000 ELSE 12000 END;
CREATE OR REPLACE FUNCTION count_budget() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '600 ms';

CREATE OR REPLACE FUNCTION sample_of(p_tree jsonb, p_since timestamptz, p_until timestamptz,
	p_deadline timestamptz, p_contexts boolean)
RETURNS TABLE (weight float8, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	context jsonb)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	narrow text := narrow_condition(p_tree);
	lines float8 := (about_lines(narrow, 'true', p_since, p_until)).lines;
	looked int := sampled_lines(narrow <> 'true');
	part float8 := CASE WHEN lines < 1.5 * looked THEN 1 ELSE looked / lines END;
BEGIN
	IF part < 1 THEN
		RETURN QUERY SELECT 0::float8, p_since, NULL, NULL, NULL, NULL, NULL::jsonb;
	END IF;
	RETURN QUERY EXECUTE format('SELECT %s::float8, "timestamp", vps_name, app_name, level, logger,
		%s::jsonb FROM ', 1 / part, CASE WHEN p_contexts THEN 'context' ELSE 'NULL' END) ||
		windows_of(p_since, p_until, part, 240, narrow,
		format('in_time(%L) AND ', p_deadline) || line_condition(p_tree)) || ' WHERE hit';
END
$$;

CREATE OR REPLACE FUNCTION lines_sample(p_tree jsonb, p_since timestamptz, p_until timestamptz)
RETURNS TABLE (weight float8, "timestamp" timestamptz, vps_name text, app_name text, level text, logger text,
	context jsonb)
LANGUAGE plpgsql STABLE ROWS 5000 SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + count_budget();
	edge timestamptz;
	newest_end timestamptz;
	n int := 0;
	l record;
BEGIN
	FOR l IN SELECT f.* FROM found_lines(p_tree, p_since, p_until, counted_lines(),
			p_budget => count_budget() / 3, p_brief => true) f ORDER BY f.id IS NULL DESC LOOP
		IF l.id IS NULL THEN
			edge := l."timestamp";
			CONTINUE;
		END IF;
		CONTINUE WHEN l."timestamp" < edge;     -- the sample has it
		n := n + 1;
		weight := 1;
		"timestamp" := l."timestamp";
		vps_name := l.vps_name;
		app_name := l.app_name;
		level := l.level;
		logger := l.logger;
		context := l.context;
		newest_end := least(newest_end, l."timestamp");
		RETURN NEXT;
	END LOOP;
	IF n = counted_lines() THEN
		edge := newest_end;
	END IF;
	IF edge > p_since THEN
		BEGIN
			RETURN QUERY SELECT s.* FROM sample_of(p_tree, p_since, edge, deadline,
				n < faceted_lines()) s;
		EXCEPTION WHEN SQLSTATE 'OB003' THEN
			RETURN QUERY SELECT NULL::float8, edge, NULL, NULL, NULL, NULL, NULL::jsonb;
		END;
	END IF;
END
$$;

-- ---- pages -------------------------------------------------------------------------------------

-- The time that a page shows: between two times, or p_seconds until p_to. Without p_to it reaches into the
-- next minute, for servers whose clocks are ahead.
CREATE OR REPLACE FUNCTION search_span(p_from timestamptz, p_to timestamptz, p_seconds int)
RETURNS TABLE (since timestamptz, until timestamptz) LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT least(coalesce(p_from, coalesce(p_to, now()) - p_seconds * interval '1 s'),
		u - interval '1 s'), u
	FROM (SELECT coalesce(p_to, now() + interval '1 min')) x (u);
END;

-- A line of a list, where long values are cut: of a message 4,000 characters are left, of a context of more
-- than 2,000 bytes 16 values of 200 characters. Then message_length and context_length say how much there
-- is, and "whole" where. p_here: the line around which a list is.
CREATE OR REPLACE FUNCTION listed_line(p_id bigint, p_timestamp timestamptz, p_vps text, p_app text,
	p_level text, p_logger text, p_message text, p_context jsonb, p_stream bigint, p_offset bigint,
	p_here boolean DEFAULT false) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT json_build_object('timestamp', p_timestamp, 'vps', p_vps, 'app', p_app, 'level', p_level,
	'logger', CASE WHEN length(p_logger) > 200 THEN left(p_logger, 200) || '…' ELSE p_logger END,
	'message', left(p_message, 4000), 'message_length', message_length,
	'context', CASE WHEN context_length IS NULL THEN p_context::json
		WHEN jsonb_typeof(p_context) <> 'object' THEN to_json(left(p_context #>> '{}', 200) || '…')
		ELSE (SELECT json_object_agg(left(key, 100), CASE WHEN length(value::text) > 200
			THEN to_jsonb(left(value #>> '{}', 200) || '…') ELSE value END)
			FROM (SELECT * FROM jsonb_each(p_context) LIMIT 16) f) END,
	'context_length', context_length, 'id', p_id, 'stream_id', p_stream, 'stream_offset', p_offset,
	'whole', CASE WHEN message_length IS NOT NULL OR context_length IS NOT NULL OR length(p_logger) > 200
		THEN '/logs/line?id=' || p_id || '&at=' ||
			to_char(p_timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END,
	'here', p_here)
	FROM (SELECT CASE WHEN length(p_message) > 4000 THEN length(p_message) END AS message_length,
		CASE WHEN octet_length(p_context::text) > 2000
			THEN octet_length(p_context::text) END AS context_length) size);

-- ---- columns -----------------------------------------------------------------------------------

-- The values of keys, a JSON array, in a context: [kind, text] each, or null. A key is read as key_paths()
-- says. Texts longer than p_max characters are cut, with a mark.
CREATE OR REPLACE FUNCTION context_cells(p_context jsonb, p_keys jsonb, p_max int) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT json_agg(CASE WHEN v IS NOT NULL THEN json_build_array(jsonb_typeof(v),
		CASE WHEN length(v #>> '{}') > p_max THEN left(v #>> '{}', p_max) || '…'
		ELSE coalesce(v #>> '{}', 'null') END) END ORDER BY place)
	FROM (SELECT place, coalesce(p_context -> key, CASE WHEN strpos(key, '.') > 0 THEN
			(SELECT p_context #> path FROM key_paths(key) path WHERE p_context #> path IS NOT NULL
			LIMIT 1) END) AS v
		FROM jsonb_array_elements_text(p_keys) WITH ORDINALITY k (key, place)) x);

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION context_cells, search_span, listed_line TO observ_hub;
GRANT EXECUTE ON FUNCTION found_lines, lines_sample, sample_of, about_lines, windows_of, counted_lines,
	faceted_lines, sampled_lines,
	count_budget, few_lines, first_lines, walked_lines, worth_walking, search_budget, in_time, next_edge,
	next_part, is_narrow, narrow_condition, without_narrow, indexed_condition,
	line_condition, term_conditions, level_conditions, column_conditions, context_conditions,
	context_words, value_at,
	value_equals, value_compares,
	json_values, key_paths, max_key_dots, compared, time_of, number_of, like_pattern, text_conditions,
	has_words,
	words_query, date_query, line_fits, stands_in, is_edge, ascii_pattern, unescaped, word_list, folded,
	composed,
	lower_case, separators, invisibles, unspaced, max_word_chars TO observ_hub;
