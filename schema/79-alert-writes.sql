-- ==== 79-alert-writes: what people do about alerts: acknowledge, and silence =====================
-- Each function that writes asks who acts, reads the body by changed_row() and writes one row by put_row().

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

-- ---- silences -----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION silence_json(s silences) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT to_jsonb(s) || jsonb_build_object('match_text', matchers_text(s.match), 'state', CASE
		WHEN s.ends_at <= now() THEN 'ended' WHEN s.starts_at > now() THEN 'pending'
			ELSE 'active' END)
$$;

-- "for" is another way to say when it ends. A form always has both: a time goes before it.
CREATE OR REPLACE FUNCTION silence_body(p_body jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	IF jsonb_typeof(p_body) <> 'object' OR NOT p_body ? 'for' THEN
		RETURN p_body;
	ELSIF coalesce(p_body->>'ends_at', '') <> '' OR coalesce(p_body->>'for', '') = '' THEN
		RETURN p_body - 'for';
	END IF;
	PERFORM refuse_errors(field_error(p_body->>'for' !~ '^[0-9]{1,4}[mhd]$', 'for',
		'must be a time such as 30m, 2h or 7d'));
	RETURN p_body - 'for' || jsonb_build_object('ends_at', p_now + (p_body->>'for')::interval);
END
$$;

CREATE OR REPLACE FUNCTION save_silence(p_hash bytea, p_id text, p_body jsonb, p_match text DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c record;
	s silences;
	v_now timestamptz := now();
BEGIN
	SELECT * INTO c FROM acting(p_hash, 'operator');
	s := jsonb_populate_record(NULL::silences, changed_row('silence', p_id, silence_body(p_body, v_now),
		c.email, p_match));
	s.starts_at := coalesce(s.starts_at, v_now);
	PERFORM refuse_errors(field_error(s.ends_at <= s.starts_at OR s.ends_at <= v_now, 'ends_at',
			'must be later than now and than starts_at')
		|| field_error(s.match = '[]', 'match', 'must have a matcher: a silence of everything needs '
			'one such as server=~".*"'));
	PERFORM put_row('silence', to_jsonb(s)), audit(c.email, c.how, saved_how('silence', p_id),
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

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION silence_json, body_fields TO observ_hub;
GRANT EXECUTE ON FUNCTION ack_alert, unack_alert, save_silence, end_silence TO observ_hub, observ_enroll;
