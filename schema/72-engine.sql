-- ==== 72-engine: from values to alerts ==========================================================
-- Two halves that can be proven apart. rule_values() (71-values) gives the value of each subject of a
-- rule. alert_step() makes the next state of an alert of its state, a value, the rule and a time: it
-- reads nothing else. evaluate_alerts() joins them at each time of each rule. docs/alerts.md has the
-- semantics.
--
-- A rule is evaluated at the multiples of interval_s since the epoch, whenever evaluate_alerts() is called.
-- So the same data give the same alerts and alert_changes, with the same ids, whoever evaluates and when.

-- ---- one alert: pure -------------------------------------------------------------------------------
-- These functions run for each alert at each evaluation: they name the schema, because a search path of their
-- own costs more than what they do.

-- As IEEE 754 compares: NaN is neither above nor below anything.
CREATE OR REPLACE FUNCTION beyond(p_value float8, p_op text, p_threshold float8) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(CASE p_op
	WHEN '>' THEN p_value > p_threshold AND p_value <> 'NaN'
	WHEN '>=' THEN p_value >= p_threshold AND p_value <> 'NaN'
	WHEN '<' THEN p_value < p_threshold
	WHEN '<=' THEN p_value <= p_threshold
	WHEN '==' THEN p_value = p_threshold
	WHEN '!=' THEN p_value <> p_threshold END, false);

-- One level of an alert: since the first true condition, whether it fires, and since the first false one
-- while keep_firing_s lets it fire. A longer for_s makes a firing one wait again.
CREATE OR REPLACE FUNCTION level_step(INOUT since timestamptz, INOUT fires boolean,
	INOUT clear_since timestamptz, p_condition boolean, r alert_rules, p_now timestamptz)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF p_condition THEN
		since := coalesce(since, p_now);
		clear_since := NULL;
		fires := p_now - since >= make_interval(secs => r.for_s);
		RETURN;
	END IF;
	IF fires THEN
		clear_since := coalesce(clear_since, p_now);
		fires := p_now - clear_since < make_interval(secs => r.keep_firing_s);
	END IF;
	IF NOT fires THEN
		since := NULL;
		clear_since := NULL;
	END IF;
END
$$;

-- What the rule says about a value that is missing for this reason.
CREATE OR REPLACE FUNCTION policy_of(r alert_rules, p_problem text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(p_problem, 'no data') = 'no data' THEN (r).no_data ELSE (r).on_error END;

-- The levels whose condition is true, 1 warning + 2 critical. NULL: the policy is a state of its own. An
-- alert that fires is held against the values at which it ends.
CREATE OR REPLACE FUNCTION levels_beyond(a alerts, p_value float8, p_problem text, r alert_rules) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_value IS NOT NULL THEN
		beyond(p_value, r.op, CASE WHEN (a).warning_fires
			THEN coalesce((r).warning_clear, (r).warning) ELSE (r).warning END)::int
		+ 2 * beyond(p_value, r.op, CASE WHEN (a).critical_fires
			THEN coalesce((r).critical_clear, (r).critical) ELSE (r).critical END)::int
	ELSE CASE policy_of(r, p_problem)
		WHEN 'keep' THEN coalesce((a).last_levels, 0)
		WHEN 'ok' THEN 0
		WHEN 'alert' THEN coalesce(nullif((a).last_levels, 0),
			CASE WHEN (r).warning IS NULL THEN 2 ELSE 1 END)
		END
	END;

-- The end of an alert. One that never fired leaves nothing behind, so its state is NULL.
CREATE OR REPLACE FUNCTION alert_ended(a alerts, p_reason text, p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	a.state := CASE WHEN a.fired_at IS NOT NULL THEN 'resolved' END;
	a.resolved_at := p_now;
	a.resolve_reason := p_reason;
	RETURN a;
END
$$;

-- The next state of an alert. Its state is NULL before its start and after the end of one that never
-- fired. p_value is NULL if there is a problem: 'no data', 'missing' (others answered, this subject did
-- not), 'retired' and 'rule' (the subject or the rule is out of service), or the sentence of an error.
CREATE OR REPLACE FUNCTION alert_step(a alerts, p_value float8, p_problem text, r alert_rules,
	p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	v_wait CONSTANT interval := make_interval(secs => r.for_s);
	v_levels int;
	l record;
BEGIN
	IF p_problem IN ('retired', 'rule') OR (p_problem = 'missing' AND a.missing >= 1) THEN
		RETURN observ.alert_ended(a, p_problem, p_now);
	END IF;
	IF p_problem = 'missing' THEN
		a.missing := a.missing + 1;
		RETURN a;
	END IF;
	a.missing := 0;
	a.problem := CASE WHEN p_value IS NULL THEN coalesce(p_problem, 'no data') END;
	a.value := coalesce(p_value, a.value);
	a.warning_fires := coalesce(a.warning_fires AND p_now - a.warning_since >= v_wait, false);
	a.critical_fires := coalesce(a.critical_fires AND p_now - a.critical_since >= v_wait, false);
	v_levels := observ.levels_beyond(a, p_value, a.problem, r);
	IF v_levels IS NULL THEN
		RETURN observ.alert_in_error(a, r, p_now);
	END IF;
	a.last_levels := v_levels;
	l := observ.level_step(a.warning_since, a.warning_fires, a.warning_clear_since, v_levels & 1 > 0, r,
		p_now);
	a.warning_since := l.since;
	a.warning_fires := l.fires;
	a.warning_clear_since := l.clear_since;
	l := observ.level_step(a.critical_since, a.critical_fires, a.critical_clear_since,
		v_levels & 2 > 0, r, p_now);
	a.critical_since := l.since;
	a.critical_fires := l.fires;
	a.critical_clear_since := l.clear_since;
	IF a.warning_since IS NULL AND a.critical_since IS NULL THEN
		RETURN observ.alert_ended(a, CASE WHEN a.problem IS NULL THEN 'clear' ELSE 'no data' END,
			p_now);
	END IF;
	a.active_since := least(a.warning_since, a.critical_since);
	a.state := CASE WHEN a.warning_fires OR a.critical_fires THEN 'firing' ELSE 'pending' END;
	a.severity := CASE WHEN a.critical_fires OR (a.critical_since IS NOT NULL AND NOT a.warning_fires)
		THEN 'critical' ELSE 'warning' END;
	a.threshold := CASE a.severity WHEN 'critical' THEN r.critical ELSE r.warning END;
	IF a.state = 'firing' THEN
		a.fired_at := coalesce(a.fired_at, p_now);
	END IF;
	RETURN a;
END
$$;

-- The state `error`: at once, and what waited starts anew afterwards.
CREATE OR REPLACE FUNCTION alert_in_error(a alerts, r alert_rules, p_now timestamptz) RETURNS alerts
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF a.state IS DISTINCT FROM 'error' THEN
		a.active_since := p_now;
	END IF;
	a.state := 'error';
	a.severity := CASE WHEN r.warning IS NULL THEN 'critical' ELSE 'warning' END;
	a.warning_since := NULL;
	a.warning_fires := false;
	a.warning_clear_since := NULL;
	a.critical_since := NULL;
	a.critical_fires := false;
	a.critical_clear_since := NULL;
	a.fired_at := coalesce(a.fired_at, p_now);
	RETURN a;
END
$$;

-- The start of a level after an absence, as Prometheus restores it: the time away does not count as
-- waiting, and so much is left that a healthy value may arrive first. It never waits longer than a new
-- one.
CREATE OR REPLACE FUNCTION restored_since(p_since timestamptz, p_fires boolean, p_for interval,
	p_down timestamptz, p_now timestamptz, p_grace interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_fires OR p_down - p_since >= p_for THEN p_since
	WHEN p_for - (p_down - p_since) < p_grace THEN least(p_now + p_grace - p_for, p_now)
	ELSE p_since + (p_now - p_down) END;

-- ---- rules -----------------------------------------------------------------------------------------
-- A rule as it holds for the subjects of an override. One that can't be applied changes nothing.
CREATE OR REPLACE FUNCTION patched_rule(r alert_rules, p_changes jsonb) RETURNS alert_rules
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN jsonb_populate_record(r, p_changes - '{rule_id,name,kind,metric,params,match}'::text[]);
EXCEPTION WHEN OTHERS THEN
	RETURN r;
END
$$;

-- A rule as it holds for its subjects, and for those that each of its patches matches.
CREATE OR REPLACE FUNCTION rule_variants(r alert_rules) RETURNS TABLE (rule alert_rules, patch_id uuid)
LANGUAGE sql STABLE ROWS 1
BEGIN ATOMIC
	SELECT r, NULL::uuid
	UNION ALL
	SELECT patched_rule(r, p.changes), p.patch_id FROM rule_patches p WHERE p.rule_id = r.rule_id;
END;

-- The patch that counts for a subject. NULL: none.
CREATE OR REPLACE FUNCTION patch_of(p_rule uuid, p_subject jsonb) RETURNS uuid
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT patch_id FROM rule_patches
	WHERE rule_id = p_rule AND labels_match(match, subject_labels(p_subject))
	ORDER BY position, patch_id LIMIT 1
$$;

-- The order of rules in one evaluation: the silence of the fleet comes first, since it says whether the
-- others are judged; rules that count the alerts of another one come after it, and what tells of rules that
-- failed comes last.
CREATE OR REPLACE FUNCTION rule_rank(r alert_rules) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE (r).kind WHEN 'fleet_silent' THEN -1 WHEN 'count_firing' THEN 1 WHEN 'rule_error' THEN 2
	ELSE 0 END;

-- Whether nothing arrives from anywhere: then the fault is ours.
CREATE OR REPLACE FUNCTION fleet_is_silent() RETURNS boolean
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM alerts JOIN alert_rules r USING (rule_id)
		WHERE state = 'firing' AND r.kind = 'fleet_silent')
$$;

-- What matchers of routes and silences see of an alert.
CREATE OR REPLACE FUNCTION alert_labels(a alerts, r alert_rules, p_server_labels jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (r).rule_id IS NULL THEN (a).labels
	ELSE CASE WHEN p_server_labels IS NULL THEN '{}' ELSE flat_labels(p_server_labels) END || (a).subject
	|| (r).labels || jsonb_build_object('rule', (r).name, 'severity', (a).severity) END;

-- Why an alert changed.
CREATE OR REPLACE FUNCTION change_reason(p_old alerts, p_new alerts) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN coalesce((p_new).state, 'resolved') = 'resolved' THEN (p_new).resolve_reason
	WHEN (p_new).state = (p_old).state THEN 'severity'
	WHEN (p_new).state = 'pending' AND (p_old).state = 'firing' THEN 'for'
	ELSE coalesce((p_new).problem, 'value') END;

-- ---- one evaluation ----------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION retired_servers(p_at timestamptz) RETURNS TABLE (server text)
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT vps_name FROM servers WHERE retired_at <= p_at
		UNION SELECT vps_name FROM agents
			GROUP BY 1 HAVING bool_and(coalesce(retired_at <= p_at, false));
END
$$;

CREATE OR REPLACE FUNCTION new_alert(p_rule uuid, p_key uuid, p_subject jsonb, p_at timestamptz)
RETURNS alerts LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	a observ.alerts;
BEGIN
	a.alert_id := md5(concat(p_rule, p_key, extract(epoch FROM p_at)))::uuid;
	a.rule_id := p_rule;
	a.subject_key := p_key;
	a.subject := p_subject;
	a.warning_fires := false;
	a.critical_fires := false;
	a.last_levels := 0;
	a.missing := 0;
	RETURN a;
END
$$;

-- The subjects for which something may change: those that have an open alert, and those whose value or
-- policy raises one. All others cost no more than their value. Alerts of rules that are gone are in each
-- answer. p_alone: nothing is read but for these rules; p_problem: not even for them, since they failed. A
-- full join: whatever the planner knows of the alerts, it takes no nested loop.
CREATE OR REPLACE FUNCTION rule_hits(p_due uuid[], p_at timestamptz, p_alone boolean, p_problem text)
RETURNS TABLE (rule alert_rules, subject jsonb, key uuid, value float8, problem text, old alerts)
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_patched CONSTANT uuid[] := ARRAY(SELECT DISTINCT rule_id FROM rule_patches);
	v_rules alert_rules[];
	v_ids uuid[];
	v_patches uuid[];
	v_plan jsonb;
BEGIN
	SELECT array_agg(v.rule), array_agg((v.rule).rule_id), array_agg(v.patch_id)
		INTO v_rules, v_ids, v_patches
		FROM (SELECT x.* FROM alert_rules r, rule_variants(r) x WHERE r.is_active AND CASE
				WHEN p_alone THEN r.rule_id = ANY (p_due)
				ELSE r.rule_id NOT IN (SELECT s.rule_id FROM slow_rules s) END
			ORDER BY r.rule_id, x.patch_id) v;
	v_plan := CASE WHEN v_rules IS NULL THEN NULL
		WHEN p_problem IS NOT NULL THEN failed_plan(v_rules, p_problem)
		WHEN p_alone THEN made_plan(v_rules)
		ELSE keep_plan(v_rules, p_at) END;
	BEGIN
		PERFORM keep_looks(v_plan->'looks', p_at)
			WHERE NOT p_alone AND EXISTS (SELECT FROM unnest(v_rules) r
				WHERE (r).rule_id = ANY (p_due) AND (r).kind = 'threshold');
	EXCEPTION WHEN query_canceled THEN
		PERFORM blame(longest_looks(v_plan, v_ids), sqlerrm);
	END;
	RETURN QUERY
	WITH open AS MATERIALIZED (
		SELECT a.rule_id, a.subject, a, r, r.is_active IS NOT true AS is_off
		FROM alerts a LEFT JOIN alert_rules r USING (rule_id)
		WHERE a.state <> 'resolved' AND (r.is_active IS NOT true OR a.rule_id = ANY (p_due))),
	value AS MATERIALIZED (
		SELECT v_ids[v.place] AS rule_id, v.subject, v.value, v.problem, v_rules[v.place] AS r
		FROM relevant_values(v_rules, p_at, p_due, v_plan) v
		WHERE NOT v_ids[v.place] = ANY (v_patched)
			OR v_patches[v.place] IS NOT DISTINCT FROM patch_of(v_ids[v.place], v.subject))
	SELECT coalesce(v.r, o.r), s, md5(s::text)::uuid, v.value, CASE
			WHEN v.rule_id IS NULL THEN CASE WHEN o.is_off THEN 'rule' ELSE 'missing' END
			WHEN (v.r).is_active THEN v.problem
			ELSE 'rule' END, o.a
	FROM value v FULL JOIN open o ON o.rule_id = v.rule_id AND o.subject = v.subject,
		LATERAL (SELECT coalesce(v.subject, o.subject)) x(s);
END
$$;

-- Evaluates rules at one time, and writes the alerts and their changes. Returns how many changed. What
-- people said of an alert meanwhile is not touched. The error of a rule as a whole is noted. p_alone and
-- p_problem are those of rule_hits().
CREATE OR REPLACE FUNCTION judge(p_due uuid[], p_at timestamptz, p_alone boolean DEFAULT false,
	p_problem text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_changes bigint;
BEGIN
	WITH stepped AS MATERIALIZED (
		SELECT h.rule, h.old, v.labels, CASE WHEN h.subject = '{}' AND h.value IS NULL
				AND h.problem NOT IN ('no data', 'missing', 'retired', 'rule')
				THEN h.problem END AS error,
			alert_step(
			coalesce(h.old, new_alert((h.rule).rule_id, h.key, h.subject, p_at)), h.value,
			CASE WHEN r.server IS NULL THEN h.problem ELSE 'retired' END, h.rule, p_at) AS new
		FROM rule_hits(p_due, p_at, p_alone, p_problem) h
		LEFT JOIN retired_servers(p_at) r ON r.server = h.subject->>'server'
		LEFT JOIN servers v ON v.vps_name = h.subject->>'server'),
	step AS MATERIALIZED (SELECT old, new, alert_labels(new, rule, labels) AS labels FROM stepped),
	noted AS (SELECT CASE WHEN count(*) > 0 OR EXISTS (SELECT FROM rule_problems)
			THEN note_problems(p_due, coalesce(jsonb_object_agg((rule).rule_id, error), '{}'),
				p_at) END
		FROM stepped WHERE error IS NOT NULL),
	ended AS (DELETE FROM alerts a USING step s
		WHERE a.alert_id = (s.old).alert_id AND (s.new).state IS NULL),
	written AS (
		INSERT INTO alerts AS a (alert_id, rule_id, subject_key, subject, labels, state, severity,
			active_since, warning_since, warning_fires, warning_clear_since, critical_since,
			critical_fires, critical_clear_since, fired_at, resolved_at, resolve_reason, value,
			threshold, problem, last_levels, missing, evaluated_at)
		SELECT (new).alert_id, (new).rule_id, (new).subject_key, (new).subject,
			labels, (new).state, (new).severity, (new).active_since,
			(new).warning_since, (new).warning_fires, (new).warning_clear_since,
			(new).critical_since, (new).critical_fires, (new).critical_clear_since,
			(new).fired_at, (new).resolved_at, (new).resolve_reason, (new).value,
			(new).threshold, (new).problem, (new).last_levels, (new).missing, p_at
		FROM step WHERE (new).state IS NOT NULL
			AND (old IS DISTINCT FROM new OR (old).labels IS DISTINCT FROM labels)
		ON CONFLICT (alert_id) DO UPDATE SET (labels, state, severity, active_since, warning_since,
			warning_fires, warning_clear_since, critical_since, critical_fires,
			critical_clear_since, fired_at, resolved_at, resolve_reason, value, threshold,
			problem, last_levels, missing, evaluated_at) = (excluded.labels, excluded.state,
			excluded.severity, excluded.active_since, excluded.warning_since,
			excluded.warning_fires, excluded.warning_clear_since, excluded.critical_since,
			excluded.critical_fires, excluded.critical_clear_since, excluded.fired_at,
			excluded.resolved_at, excluded.resolve_reason, excluded.value, excluded.threshold,
			excluded.problem, excluded.last_levels, excluded.missing, excluded.evaluated_at)),
	changed AS (
		INSERT INTO alert_changes (at, rule_id, alert_id, subject_key, from_state, to_state, severity,
			value, reason)
		SELECT p_at, (new).rule_id, (new).alert_id, (new).subject_key,
			coalesce((old).state, 'inactive'), coalesce((new).state, 'inactive'), (new).severity,
			(new).value, change_reason(old, new)
		FROM step WHERE (old).state IS DISTINCT FROM (new).state
			OR (old).severity IS DISTINCT FROM (new).severity AND (new).state IS NOT NULL
		ORDER BY (new).rule_id, (new).subject_key
		RETURNING 1)
	SELECT (SELECT count(*) FROM changed) INTO v_changes FROM noted;
	RETURN v_changes;
END
$$;

-- p_problems: {rule: problem} of those that were due.
CREATE OR REPLACE FUNCTION note_problems(p_due uuid[], p_problems jsonb, p_at timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	DELETE FROM rule_problems WHERE rule_id = ANY (p_due) AND NOT p_problems ? rule_id::text;
	INSERT INTO rule_problems AS p
	SELECT key::uuid, left(value, 1000), p_at FROM jsonb_each_text(p_problems)
	ON CONFLICT (rule_id) DO UPDATE SET problem = excluded.problem WHERE p.problem <> excluded.problem
$$;

-- The same for rules of which one may fail in a way that nobody foresaw: it is found by halving the list, and
-- the others are judged. What is no fault of a rule fails as a whole: a lost connection, no space, a
-- deadlock.
CREATE OR REPLACE FUNCTION judge_apart(p_due uuid[], p_at timestamptz, p_alone boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_half CONSTANT int := cardinality(p_due) / 2;
BEGIN
	RETURN judge(p_due, p_at, p_alone);
EXCEPTION WHEN OTHERS THEN
	IF left(sqlstate, 2) IN ('08', '40', '53', '55', '57', '58') OR p_due = '{}' THEN
		RAISE;
	ELSIF v_half = 0 THEN
		PERFORM note_problems(p_due, jsonb_build_object(p_due[1], sqlerrm), p_at);
		RETURN 0;
	END IF;
	RETURN judge_apart(p_due[:v_half], p_at, p_alone) + judge_apart(p_due[v_half + 1:], p_at, p_alone);
END
$$;

-- ---- rules that take too long ------------------------------------------------------------------------
-- A statement_timeout ends what runs wherever it is, and it ends it once: what follows in the same statement
-- has no limit. So all that is done then is to note who is to blame, and the caller calls again. A rule that
-- was to blame is judged by itself from then on, in a call of its own after the others. If it takes too long
-- there too it has failed, and is tried again later.

-- The limit of this statement; NULL: it has none.
CREATE OR REPLACE FUNCTION time_limit() RETURNS interval
LANGUAGE sql STABLE RETURN nullif(current_setting('statement_timeout')::interval, '0');

-- Whether so large a part of it has passed.
CREATE OR REPLACE FUNCTION time_passed(p_share float8) RETURNS boolean
LANGUAGE sql VOLATILE
RETURN coalesce(clock_timestamp() - statement_timestamp() > p_share * time_limit(), false);

-- Rules that were to blame, as the detail of the error. Whether there are any.
CREATE OR REPLACE FUNCTION note_slow(p_rules text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO slow_rules (rule_id, rule_hash, expires_at)
		SELECT rule_id, hash_record_extended(r, 0), p_now + interval '1 hour' FROM alert_rules r
		WHERE rule_id = ANY (nullif(p_rules, '')::uuid[])
			AND kind <> 'fleet_silent'      -- the others wait for it
		ON CONFLICT (rule_id) DO UPDATE SET expires_at = excluded.expires_at;
	RETURN FOUND;
END
$$;

-- The next try is later each time.
CREATE OR REPLACE FUNCTION note_failed(s slow_rules, p_now timestamptz) RETURNS text
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE slow_rules SET due_at = NULL, tries = s.tries + 1, retry_at = retry,
		expires_at = retry + interval '1 hour', problem = format(
			'it took longer than %s s and was stopped; it is tried again at %s UTC',
			extract(epoch FROM time_limit())::float8,
			to_char(retry AT TIME ZONE 'UTC', 'HH24:MI'))
	FROM (SELECT p_now + least(interval '1 minute' * 2 ^ least(s.tries, 6), '1 hour') AS retry) x
	WHERE rule_id = s.rule_id RETURNING problem
$$;

-- Judges the rules that are due, but for those that are judged by themselves: these have failed, or
-- evaluate_alone() judges them.
CREATE OR REPLACE FUNCTION judge_due(p_due uuid[], p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_due uuid[] := p_due;
	s slow_rules;
	ret bigint := 0;
BEGIN
	FOR s IN SELECT * FROM slow_rules WHERE rule_id = ANY (p_due) ORDER BY rule_id LOOP
		v_due := array_remove(v_due, s.rule_id);
		IF s.retry_at > p_at THEN
			ret := ret + judge(ARRAY[s.rule_id], p_at, true, s.problem);
		ELSE
			UPDATE slow_rules SET due_at = p_at WHERE rule_id = s.rule_id;
		END IF;
	END LOOP;
	RETURN ret + judge_apart(v_due, p_at);
END
$$;

-- Judges the rule that waits longest. Returns how many are left.
CREATE OR REPLACE FUNCTION evaluate_alone(p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	s slow_rules;
BEGIN
	PERFORM FROM alert_clock FOR UPDATE;
	SELECT * INTO s FROM slow_rules WHERE due_at IS NOT NULL ORDER BY due_at, rule_id LIMIT 1;
	BEGIN
		PERFORM judge_apart(ARRAY[s.rule_id], s.due_at, true) WHERE s.rule_id IS NOT NULL;
		UPDATE slow_rules SET due_at = NULL, tries = 0 WHERE rule_id = s.rule_id;
	EXCEPTION WHEN query_canceled THEN
		IF NOT time_passed(0.9) THEN
			RAISE;
		END IF;
		PERFORM judge(ARRAY[s.rule_id], s.due_at, true, note_failed(s, p_now));
	END;
	RETURN (SELECT count(*) FROM slow_rules WHERE due_at IS NOT NULL);
END
$$;

-- ---- the clock -----------------------------------------------------------------------------------------
-- The last multiple of the interval since the epoch, at p_at or before.
CREATE OR REPLACE FUNCTION grid_before(p_at timestamptz, p_interval_s int) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(make_interval(secs => p_interval_s), p_at, timestamptz '1970-01-01 00:00:00+00');

-- The rules to evaluate at each time after p_from, up to p_to, in order.
CREATE OR REPLACE FUNCTION rules_due(p_from timestamptz, p_to timestamptz)
RETURNS TABLE (at timestamptz, rank int, rules uuid[])
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT at, rule_rank(r), array_agg(r.rule_id) FROM alert_rules r, LATERAL generate_series(
		grid_before(p_from, r.interval_s) + make_interval(secs => r.interval_s), p_to,
		make_interval(secs => r.interval_s)) at
	WHERE r.is_active GROUP BY 1, 2 ORDER BY 1, 2
$$;

-- After an absence from p_down on: what waits goes on, or starts anew if it lasted too long. The next
-- evaluation of each rule is its first after p_until. While the fleet is silent, that is judged all the time.
CREATE OR REPLACE FUNCTION restore_alerts(p_down timestamptz, p_until timestamptz) RETURNS void
LANGUAGE sql SET search_path = observ, pg_catalog, pg_temp AS $$
	UPDATE alerts a SET
		warning_since = CASE WHEN NOT anew THEN restored_since(a.warning_since,
			a.warning_fires, wait, down, up, grace) END,
		critical_since = CASE WHEN NOT anew THEN restored_since(a.critical_since,
			a.critical_fires, wait, down, up, grace) END,
		warning_fires = a.warning_fires AND NOT anew,
		critical_fires = a.critical_fires AND NOT anew,
		warning_clear_since = CASE WHEN NOT anew THEN a.warning_clear_since + (up - down) END,
		critical_clear_since = CASE WHEN NOT anew THEN a.critical_clear_since + (up - down) END
	FROM (SELECT *, up - down > make_interval(secs => tolerance_s) AS anew,
			make_interval(secs => for_s) AS wait, make_interval(secs => grace_s) AS grace
		FROM (SELECT alert_id, for_s, grace_s, tolerance_s, grid_before(p_down, interval_s) AS down,
				grid_before(p_until - interval '1 us', interval_s)
					+ make_interval(secs => interval_s) AS up
			FROM alerts JOIN alert_rules USING (rule_id) CROSS JOIN alert_policy
			WHERE state <> 'resolved' AND NOT (kind = 'fleet_silent' AND fleet_is_silent())) t) x
	WHERE a.alert_id = x.alert_id
$$;

-- Evaluates each active rule at each of its times after the last call, up to p_now, or to an earlier one if a
-- quarter of the statement's time is over. The lock of the clock's row lets two watchers take turns. A gap
-- longer than catch_up_s is an absence, and so is a clock that was set back as far: nobody is judged until
-- settle_s later. Returns what it did.
CREATE OR REPLACE FUNCTION evaluate_due(p_now timestamptz, p_watcher text) RETURNS jsonb
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	c alert_clock;
	p alert_policy;
	v_began CONSTANT timestamptz := clock_timestamp();
	v_from timestamptz;
	v_until timestamptz := p_now;           -- all times up to this one
	v_done timestamptz;                     -- the last of them
	v_took_ms float8;
	v_changes bigint := 0;
	v_rules int := 0;
	v_silent boolean := fleet_is_silent();
	v_patterns CONSTANT boolean := EXISTS (SELECT FROM alert_rules
		WHERE is_active AND kind = 'new_pattern');
	v record;
BEGIN
	SELECT * INTO p FROM alert_policy;
	SELECT * INTO c FROM alert_clock FOR UPDATE;
	v_from := CASE WHEN isfinite(c.evaluated_until) THEN c.evaluated_until
		ELSE p_now - interval '1 us' END;
	IF abs(extract(epoch FROM p_now - v_from)) > p.catch_up_s THEN
		c.away_since := coalesce(c.away_since, v_from);
		c.away_until := p_now + make_interval(secs => p.settle_s);
		v_from := p_now - interval '1 us';
	END IF;
	DELETE FROM alert_looks WHERE EXISTS (SELECT FROM alert_looks WHERE until > v_from);  -- set back
	DELETE FROM rule_problems WHERE rule_id NOT IN (SELECT rule_id FROM alert_rules WHERE is_active);
	DELETE FROM slow_rules s WHERE expires_at < p_now OR NOT EXISTS (SELECT FROM alert_rules r
		WHERE r.rule_id = s.rule_id AND is_active AND hash_record_extended(r, 0) = rule_hash);
	FOR v IN SELECT * FROM rules_due(v_from, p_now) LOOP
		IF v.at > v_done AND time_passed(0.25) THEN
			v_until := v_done;
			EXIT;
		END IF;
		PERFORM learn_patterns(p_until => v.at) WHERE v.at IS DISTINCT FROM v_done AND v_patterns;
		v_done := v.at;
		CONTINUE WHEN v.at < c.away_until AND NOT (v_silent AND v.rank < 0);
		IF v.at >= c.away_until THEN
			PERFORM restore_alerts(c.away_since, c.away_until);
			c.away_since := NULL;
			c.away_until := NULL;
		END IF;
		PERFORM flush_until(v.at);      -- messages up to then, before something changes
		v_changes := v_changes + judge_due(v.rules, v.at);
		v_rules := v_rules + cardinality(v.rules);
		CONTINUE WHEN v.rank >= 0;
		IF v_silent OR fleet_is_silent() THEN
			v_silent := fleet_is_silent();
			c.away_since := coalesce(c.away_since, v.at - interval '1 us');
			c.away_until := v.at + make_interval(secs => p.settle_s);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM alerts a LEFT JOIN alert_rules r USING (rule_id)
			WHERE a.state <> 'resolved' AND r.is_active IS NOT TRUE) THEN
		v_changes := v_changes + judge('{}', v_until);
	END IF;
	v_took_ms := extract(epoch FROM clock_timestamp() - v_began) * 1000;
	UPDATE alert_clock SET evaluated_until = greatest(v_from, v_until), away_since = c.away_since,
		away_until = c.away_until, watcher = p_watcher, took_ms = v_took_ms;
	PERFORM flush_groups(v_until);
	RETURN jsonb_build_object('rules', v_rules, 'changes', v_changes, 'away_until', c.away_until,
		'again', v_until < p_now,
		'alone', (SELECT count(*) FROM slow_rules WHERE due_at IS NOT NULL));
END
$$;

-- The same for a caller with a statement_timeout, who calls again as long as `again` says so, and then
-- evaluate_alone() for the rules that it counts.
CREATE OR REPLACE FUNCTION evaluate_alerts(p_now timestamptz, p_watcher text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp SET jit = off AS $$
DECLARE
	v_slow text;
BEGIN
	RETURN evaluate_due(p_now, p_watcher);
EXCEPTION WHEN query_canceled THEN
	GET STACKED DIAGNOSTICS v_slow = PG_EXCEPTION_DETAIL;
	IF NOT time_passed(0.9) OR NOT note_slow(v_slow, p_now) THEN
		RAISE;
	END IF;
	RETURN jsonb_build_object('cut_off', true, 'again', true);
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION evaluate_alerts, evaluate_alone TO observ_watch;
