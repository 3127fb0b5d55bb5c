-- ==== 55-limits: how functions for the hub refuse, and how often a thing may happen =============
-- A function that refuses raises OB and the status of HTTP: OB401, OB403, OB404, OB422, OB429. The message is
-- a sentence for the user, the detail is JSON: {"errors": [{"field", "message"}]} or {"limit", "reset",
-- "retry_after"}.

CREATE OR REPLACE FUNCTION refuse(p_status int, p_sentence text, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'OB' || p_status, MESSAGE = p_sentence, DETAIL = p_detail::text;
END
$$;

-- Refuses if the list of errors, [{"field", "message"}], has one.
CREATE OR REPLACE FUNCTION refuse_errors(p_errors jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_array_length(p_errors) > 0 THEN
		PERFORM refuse(422, 'The body has values that do not fit.',
			jsonb_build_object('errors', p_errors));
	END IF;
END
$$;

-- An element of that list if p_wrong, else nothing.
CREATE OR REPLACE FUNCTION field_error(p_wrong boolean, p_field text, p_message text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT CASE WHEN p_wrong THEN jsonb_build_array(jsonb_build_object('field', p_field,
		'message', p_message)) ELSE '[]' END
$$;

-- The same for each key of the body that is not among the known ones.
-- Those of the fields that are there and are neither a text nor null.
CREATE OR REPLACE FUNCTION text_errors(p_body jsonb, p_fields text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', f, 'message', 'is not a text') ORDER BY f),
		'[]')
	FROM unnest(p_fields) f WHERE jsonb_typeof(p_body -> f) NOT IN ('string', 'null')
$$;
CREATE OR REPLACE FUNCTION unknown_fields(p_body jsonb, p_known text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', left(k, 100), 'message',
		'is not known; known are '
		|| array_to_string(p_known, ', ')) ORDER BY k), '[]')
	FROM jsonb_object_keys(CASE WHEN jsonb_typeof(p_body) = 'object' THEN p_body ELSE '{}' END) k
	WHERE k <> ALL (p_known)
$$;

-- How often a thing may happen: `burst` times at once, and again as time passes: `burst` times in `per`.
CREATE TABLE IF NOT EXISTS limit_policy (
	kind text PRIMARY KEY,
	burst int NOT NULL CHECK (burst BETWEEN 1 AND 1000000),
	per interval NOT NULL CHECK (per BETWEEN '1 second' AND '30 days')
);
INSERT INTO limit_policy VALUES
	('sign-in by address', 10, '10 minutes'),       -- refused ones only
	('sign-in by account', 30, '30 minutes'),       -- from addresses where it has not signed in before
	('search', 600, '1 minute'),
	('write', 120, '1 minute')
ON CONFLICT DO NOTHING;

-- Empty after a crash of the server: nobody is limited then.
CREATE UNLOGGED TABLE IF NOT EXISTS limits (
	kind text,
	key text,
	free_at timestamptz NOT NULL,           -- when nothing counts any more
	PRIMARY KEY (kind, key)
) WITH (fillfactor = 50);

-- Counts one; refuses if there were too many. A kind without a policy has no limit. The setting observ.rate
-- tells the hub what is left: the limit, the rest, seconds until all is there again.
CREATE OR REPLACE FUNCTION take(p_kind text, p_key text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	p limit_policy;
	v_step interval;
	v_free_at timestamptz;
	v_wait int;
BEGIN
	SELECT * INTO p FROM limit_policy WHERE kind = p_kind;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	v_step := p.per / p.burst;
	INSERT INTO limits AS l (kind, key, free_at) VALUES (p_kind, left(p_key, 300), v_now + v_step)
	ON CONFLICT (kind, key) DO UPDATE SET free_at = greatest(l.free_at, v_now) + v_step
		WHERE l.free_at <= v_now + p.per - v_step
	RETURNING free_at INTO v_free_at;
	IF NOT FOUND THEN
		SELECT free_at INTO v_free_at FROM limits WHERE kind = p_kind AND key = left(p_key, 300);
		v_wait := ceil(extract(epoch FROM v_free_at - (v_now + p.per - v_step)));
		PERFORM refuse(429, format('Too many requests: %s are allowed in %s. Try again in %s s.',
			p.burst,
			p.per, greatest(v_wait, 1)), jsonb_build_object('kind', p_kind, 'limit', p.burst,
			'reset', ceil(extract(epoch FROM v_free_at - v_now)), 'retry_after', greatest(v_wait,
				1)));
	END IF;
	PERFORM set_config('observ.rate', format('%s,%s,%s', p.burst,
		floor(extract(epoch FROM v_now + p.per - v_free_at) / extract(epoch FROM v_step)),
		ceil(extract(epoch FROM v_free_at - v_now))), true);
END
$$;

-- What was counted did not matter after all.
CREATE OR REPLACE FUNCTION give_back(p_kind text, p_key text) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE limits l SET free_at = l.free_at - p.per / p.burst FROM limit_policy p
	WHERE l.kind = p_kind AND l.key = left(p_key, 300) AND p.kind = l.kind
$$;

-- The part of an address that one customer of a provider has: all of IPv4, 64 bits of IPv6. ::ffff:0:0/96 is
-- IPv4 as a socket for both shows it.
CREATE OR REPLACE FUNCTION address_key(p_address text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN CASE WHEN p_address::inet << '::ffff:0:0/96' THEN substr(host(p_address::inet), 8)
		WHEN family(p_address::inet) = 4 THEN host(p_address::inet)
		ELSE network(set_masklen(p_address::inet, 64))::text END;
EXCEPTION WHEN invalid_text_representation THEN
	RETURN left(p_address, 100);
END
$$;

SELECT drop_former_functions() \g /dev/null
