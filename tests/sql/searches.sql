-- Saved searches: whose they are, who sees them, who changes them.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = warning;
\i tests/sql/logins.psql

CREATE FUNCTION pg_temp.hash(p_token text) RETURNS bytea LANGUAGE sql AS $$
	SELECT sha256(convert_to(p_token, 'UTF8')) $$;
INSERT INTO users (email, role, created_by) VALUES ('ann@x', 'viewer', 't'), ('bob@x', 'operator', 't'),
	('eve@x', 'admin', 't');
INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
	SELECT sha256(pg_temp.hash(split_part(email, '@', 1))), user_id, 't', role, 'infinity' FROM users;

-- The JSON of a function, or the refusal: SQLSTATE, sentence, fields.
CREATE FUNCTION pg_temp.ask(p_who text, p_function text, p_more text DEFAULT '') RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	ret jsonb;
	v_detail text;
BEGIN
	PERFORM set_config('session_authorization', 't_hub', true);
	EXECUTE format('SELECT observ.%I(%L%s)', p_function, sha256(convert_to(p_who, 'UTF8')), p_more)
		INTO ret;
	PERFORM set_config('session_authorization', 'postgres', true);
	RETURN ret;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
	RETURN jsonb_build_object('refused', sqlstate) || coalesce((SELECT jsonb_build_object('fields',
		jsonb_agg(e->>'field')) FROM jsonb_array_elements(v_detail::jsonb->'errors') e
		HAVING count(*) > 0), '{}');
END $$;
CREATE FUNCTION pg_temp.save(p_who text, p_body jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.ask(p_who, 'save_search', format(', %L', p_body)) $$;
CREATE FUNCTION pg_temp.id(p_name text) RETURNS text LANGUAGE sql AS $$
	SELECT format(', %L', (SELECT search_id FROM saved_searches WHERE name = p_name)) $$;
CREATE FUNCTION pg_temp.names(p_who text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(i->>'name', ',' ORDER BY n) FROM jsonb_array_elements(
		pg_temp.ask(p_who, 'list_searches', ', NULL, 100')->'items') WITH ORDINALITY v(i, n) $$;

-- ---- saving ------------------------------------------------------------------------------------------
SELECT is(pg_temp.save('ann', '{"name": " payments ", "q": "timeout", "range": "24h", "to": ""}')
	- '{search_id,created_at,changed_at}'::text[], '{"name": "payments", "shared": false, "own": true,
	"may_change": true, "owner": "ann@x", "q": "timeout", "range": "24h", "from": null, "to": null,
	"columns": null, "wrap": null}', 'a viewer saves a search; what is empty is not set');
SELECT is(pg_temp.save('ann', b::jsonb)->'fields', f::jsonb, left(b::text, 60) || ' is refused') FROM (VALUES
	('{}', '["name"]'), ('{"name": ""}', '["name"]'), ('{"name": null}', '["name"]'),
	('{"name": "payments"}', '["name"]'), (jsonb_build_object('name', repeat('x', 101)), '["name"]'),
	('{"name": "a\tb"}', '["name"]'), ('{"name": {"a": 1}, "colour": 1}', '["colour", "name"]'),
	('{"name": "n", "shared": null}', '["shared"]'), ('{"name": "n", "q": 5}', '["q"]'),
	(jsonb_build_object('name', 'n', 'q', repeat('x', 4097)), '["q"]'),
	('{"name": "n", "range": "2h", "from": "<script>", "wrap": "yes", "to": [1]}',
		'["from", "range", "to", "wrap"]'),
	(jsonb_build_object('name', 'n', 'columns', repeat('x', 1001)), '["columns"]')) v(b, f);
SELECT is(pg_temp.save('bob', '{"name": "payments", "shared": "true"}')->>'shared', 'true',
	'another user may use the same name');
SELECT is((SELECT count(*) FROM saved_searches), 2::bigint, 'what was refused left nothing');

-- ---- who sees and changes what -----------------------------------------------------------------------
UPDATE saved_searches SET name = 'bob''s' FROM users u WHERE u.user_id = saved_searches.user_id
	AND email = 'bob@x';
SELECT is(pg_temp.names('ann'), 'bob''s,payments', 'one sees one''s own and the shared ones, by name');
SELECT is(pg_temp.names('bob'), 'bob''s', 'and not what others keep for themselves');
SELECT is(pg_temp.names('eve'), 'bob''s', 'not even as an admin');
SELECT is(pg_temp.ask('stranger', 'list_searches', ', NULL, 100')->>'refused', 'OB401',
	'strangers see nothing');
SELECT is(pg_temp.ask(who, f, pg_temp.id(name)
	|| CASE f WHEN 'change_search' THEN ', ''{"q": "x"}''' ELSE '' END)->>'refused', e,
	format('%s: %s of %s: %s', who, f, name, coalesce(e, 'allowed')))
	FROM (VALUES ('ann', 'one_search', 'bob''s', NULL), ('ann', 'change_search', 'bob''s', 'OB403'),
	('ann', 'delete_search', 'bob''s', 'OB403'), ('bob', 'one_search', 'payments', 'OB404'),
	('bob', 'change_search', 'payments', 'OB404'), ('bob', 'delete_search', 'payments', 'OB404'),
	('eve', 'one_search', 'payments', 'OB404'), ('eve', 'delete_search', 'payments', 'OB404'),
	('eve', 'change_search', 'bob''s', NULL), ('bob', 'change_search', 'bob''s', NULL))
	v(who, f, name, e);
SELECT is(pg_temp.ask('ann', f, ', ''no uuid''' || CASE f WHEN 'change_search' THEN ', ''{}''' ELSE '' END)
	->>'refused', 'OB404', f || ' of what is not there')
	FROM unnest('{one_search,change_search,delete_search}'::text[]) f;

-- ---- changing ----------------------------------------------------------------------------------------
SELECT is(pg_temp.ask('ann', 'change_search', pg_temp.id('payments') || ', ''{"q": null, "range": "7d"}''')
	- '{search_id,created_at,changed_at,owner,own,may_change}'::text[],
	'{"name": "payments", "shared": false, "q": null, "range": "7d", "from": null, "to": null,
	"columns": null, "wrap": null}', 'a change keeps what it does not name');
SELECT is(pg_temp.save('ann', '{"name": "second"}')->>'name', 'second');
SELECT is(pg_temp.ask('ann', 'change_search', pg_temp.id('second') || ', ''{"name": "payments"}''')->'fields',
	'["name"]', 'no two searches of a user have one name');
SELECT is(pg_temp.ask('ann', 'change_search', pg_temp.id('second') || ', ''{"shared": true, "name": "2"}''')
	->>'name', '2', 'a search is renamed and shared');
SELECT is(pg_temp.names('bob'), '2,bob''s', 'then others see it');

-- ---- lists go on, and end ----------------------------------------------------------------------------
CREATE FUNCTION pg_temp.pages(p_size int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	page jsonb;
	v_after text;
BEGIN
	LOOP
		page := pg_temp.ask('ann', 'list_searches', format(', %L, %s', v_after, p_size));
		RETURN QUERY SELECT i->>'name' FROM jsonb_array_elements(page->'items') i;
		v_after := page->>'next';
		EXIT WHEN v_after IS NULL;
	END LOOP;
END $$;
SELECT is((SELECT string_agg(p, ',') FROM pg_temp.pages(n) p), '2,bob''s,payments', 'in pages of ' || n)
	FROM generate_series(1, 4) n;

-- ---- bounds, deletion, traces ------------------------------------------------------------------------
INSERT INTO saved_searches (user_id, name, query) SELECT user_id, 'n' || i, '{}' FROM users,
	generate_series(1, 198) i WHERE email = 'ann@x';
SELECT is(pg_temp.save('ann', '{"name": "one more"}')->'fields', '["name"]', 'a user has 200 at most');
SELECT is(pg_temp.ask('ann', 'delete_search', pg_temp.id('2')), '{}', 'one is deleted');
SELECT is(pg_temp.names('bob'), 'bob''s', 'for others, too');
SELECT is((SELECT string_agg(DISTINCT action || ' ' || object, ',') FROM audit_log WHERE actor = 'ann@x'),
	'search changed 2,search changed payments,search deleted 2,search saved payments,search saved second',
	'each write is in the audit log');
SELECT is(pg_temp.ask('eve', 'delete_user', ', ''bob@x''')->>'ok', 'true');
SELECT is(pg_temp.names('eve'), NULL, 'with a user the searches go');

SELECT * FROM finish();
ROLLBACK;
