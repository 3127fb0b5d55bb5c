-- ==== 70-alerts: rules, the alerts they raise, and the messages about them: the tables ==========
-- A rule gives a value for each of its subjects (71-values.sql). alert_step() makes the next state of an
-- alert of its state, a value and a time, and evaluate_alerts() does that for all rules in one transaction
-- (72-engine.sql). What is firing goes to groups and from there to the outbox `notifications`
-- (74-notify.sql), which fleet_watch delivers. Time is a parameter of each function, never now().
--
-- Rules and alerts are few beside the facts: on Citus they stay on the coordinator.

-- A matcher is {"label", "op", "value"}; op is one of = != =~ !~. A list of them must match all. The labels
-- of a subject are its own (server, app, check, mount ...), those of its server, those of the rule, and rule
-- and severity.
CREATE TABLE IF NOT EXISTS alert_rules (
	rule_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	builtin text UNIQUE,                    -- the name of the default rule that it is
	kind text NOT NULL,                     -- a row of alert_kinds
	metric text,                            -- of the kinds that have one
	params jsonb NOT NULL DEFAULT '{}',     -- what only this kind knows: agg, window_s, ahead_s, sql ...
	match jsonb NOT NULL DEFAULT '[]',      -- matchers of the subjects that it judges
	op text NOT NULL DEFAULT '>' CHECK (op IN ('>', '>=', '<', '<=', '==', '!=')),
	warning float8,                         -- fires at this value; NULL: there is no such level
	warning_clear float8,                   -- ends beyond this one; NULL: beyond the same
	critical float8,
	critical_clear float8,
	for_s int NOT NULL DEFAULT 0 CHECK (for_s BETWEEN 0 AND 2592000),
	keep_firing_s int NOT NULL DEFAULT 0 CHECK (keep_firing_s BETWEEN 0 AND 2592000),
	no_data text NOT NULL DEFAULT 'keep' CHECK (no_data IN ('keep', 'ok', 'alert', 'own')),
	on_error text NOT NULL DEFAULT 'keep' CHECK (on_error IN ('keep', 'ok', 'alert', 'own')),
	interval_s int NOT NULL DEFAULT 60 CHECK (interval_s BETWEEN 1 AND 86400),
	lookback_s int NOT NULL DEFAULT 300 CHECK (lookback_s BETWEEN 1 AND 2592000),
	labels jsonb NOT NULL DEFAULT '{}',     -- added to the alert's
	summary text NOT NULL DEFAULT '',       -- a Mustache template
	runbook text NOT NULL DEFAULT '',       -- a URL
	channel_id uuid,                        -- goes there whatever the routes say
	repeat_s int CHECK (repeat_s BETWEEN 60 AND 2592000), -- NULL: as the route says
	is_active boolean NOT NULL DEFAULT true,
	version bigint NOT NULL DEFAULT 1,      -- the ETag
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT '',
	updated_at timestamptz NOT NULL DEFAULT now()
);

-- An override: for subjects that match, these fields of the rule have other values. The first by position
-- counts. {"is_active": false} leaves the subjects out.
CREATE TABLE IF NOT EXISTS rule_patches (
	patch_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	rule_id uuid NOT NULL,
	position int NOT NULL DEFAULT 0,
	match jsonb NOT NULL,
	changes jsonb NOT NULL,                 -- {column: value}
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT ''
);
SELECT want_index('rule_patches_rule_id_idx', 'rule_patches (rule_id)') \g /dev/null

-- An alert from its first true condition on. A pending one that ends is deleted; one that fired stays as
-- history. At most one of a rule and subject is not resolved, whoever evaluates.
CREATE TABLE IF NOT EXISTS alerts (
	alert_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	rule_id uuid NOT NULL,
	subject_key uuid NOT NULL,              -- md5(subject)
	subject jsonb NOT NULL,                 -- {"server", "app", ...}: what the value is of
	labels jsonb NOT NULL,                  -- all, as matchers see them
	state text NOT NULL CHECK (state IN ('pending', 'firing', 'error', 'resolved')),
	severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
	active_since timestamptz NOT NULL,      -- the first evaluation with a true condition
	warning_since timestamptz,              -- the same of each level ...
	warning_fires boolean NOT NULL DEFAULT false,
	warning_clear_since timestamptz,        -- ... the first false one while it is kept firing
	critical_since timestamptz,
	critical_fires boolean NOT NULL DEFAULT false,
	critical_clear_since timestamptz,
	fired_at timestamptz,
	resolved_at timestamptz,
	resolve_reason text,                    -- clear, missing, rule, retired ...; NULL while it is not
	value float8,
	threshold float8,                       -- that the value is compared with
	problem text,                           -- why there is no value
	last_levels int NOT NULL DEFAULT 0,     -- of the last value: 1 warning + 2 critical
	missing int NOT NULL DEFAULT 0,         -- evaluations in a row without this subject
	evaluated_at timestamptz NOT NULL,      -- the last evaluation that changed this row
	acked_at timestamptz,
	acked_by text,
	ack_note text,
	muted_by text                           -- why it is quiet: flapping, offline, silence ID ...
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_open_idx ON alerts (rule_id, subject_key) WHERE state <> 'resolved';
SELECT want_index('alerts_resolved_at_idx', 'alerts (resolved_at)'),
	want_index('alerts_fired_at_idx', 'alerts (rule_id, subject_key, fired_at)') \g /dev/null

-- Each change of an alert: the history that must be the same whoever evaluates, and when.
CREATE TABLE IF NOT EXISTS alert_changes (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL,                -- the time that was evaluated, not the clock
	rule_id uuid NOT NULL,
	alert_id uuid NOT NULL,
	subject_key uuid NOT NULL,
	from_state text NOT NULL,
	to_state text NOT NULL,
	severity text NOT NULL,
	value float8,
	reason text NOT NULL
);
SELECT want_index('alert_changes_alert_id_idx', 'alert_changes (alert_id)'),
	want_index('alert_changes_at_idx', 'alert_changes (at)') \g /dev/null

-- Where evaluation stands. evaluate_alerts() locks this row, so that two watchers take turns.
CREATE TABLE IF NOT EXISTS alert_clock (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	evaluated_until timestamptz,            -- each rule was evaluated at its times up to this one
	away_since timestamptz,                 -- an absence: until away_until nobody is judged
	away_until timestamptz,
	watcher text,                           -- who did it last
	took_ms float8
);
INSERT INTO alert_clock DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Rules whose last evaluation failed, and why. The rule of kind rule_error tells of them.
CREATE TABLE IF NOT EXISTS rule_problems (
	rule_id uuid PRIMARY KEY,
	problem text NOT NULL,
	since timestamptz NOT NULL              -- the first evaluation that failed
);

-- Rules that took too long. Each is judged by itself, after the others, until expires_at.
CREATE TABLE IF NOT EXISTS slow_rules (
	rule_id uuid PRIMARY KEY,
	rule_hash bigint NOT NULL,              -- of the rule: a change of it gives it a new chance
	due_at timestamptz,                     -- the time that it is still to be judged at
	tries int NOT NULL DEFAULT 0,           -- how often in a row it took too long by itself
	retry_at timestamptz NOT NULL DEFAULT '-infinity', -- until then it is not evaluated, and counts as
	problem text,                           -- failed: why
	expires_at timestamptz NOT NULL
);

CREATE TABLE IF NOT EXISTS alert_policy (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	catch_up_s int NOT NULL DEFAULT 300     -- evaluations of so long are made up for; more is an absence
		CHECK (catch_up_s BETWEEN 1 AND 2592000),
	settle_s int NOT NULL DEFAULT 120       -- so long after an absence nobody is judged: two intervals
		CHECK (settle_s BETWEEN 0 AND 86400),
	grace_s int NOT NULL DEFAULT 600        -- a pending alert waits so long at least after an absence
		CHECK (grace_s BETWEEN 0 AND 86400),
	tolerance_s int NOT NULL DEFAULT 3600   -- after a longer absence alerts start anew
		CHECK (tolerance_s BETWEEN 0 AND 2592000),
	flap_count int NOT NULL DEFAULT 4       -- an alert that fires so often within flap_window_s flaps ...
		CHECK (flap_count BETWEEN 2 AND 100),
	flap_window_s int NOT NULL DEFAULT 3600 CHECK (flap_window_s BETWEEN 60 AND 86400),
	flap_quiet_s int NOT NULL DEFAULT 1800  -- ... until it has not changed for so long
		CHECK (flap_quiet_s BETWEEN 60 AND 86400)
);
INSERT INTO alert_policy DEFAULT VALUES ON CONFLICT DO NOTHING;

-- ---- messages ----------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS channels (
	channel_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	kind text NOT NULL,                     -- a row of channel_kinds
	settings jsonb NOT NULL DEFAULT '{}',   -- what may be shown: addresses, names
	secrets jsonb NOT NULL DEFAULT '{}',    -- only observ_watch reads them
	send_resolved boolean NOT NULL DEFAULT true,
	fallback_id uuid,                       -- the channel that is told when this one is disabled
	disabled_at timestamptz,
	disabled_reason text,                   -- the peer's permanent refusal, or who switched it off
	version bigint NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT ''
);

-- A tree: an alert enters at the root (parent_id is NULL) and goes down to the first child that matches, and
-- on to the next ones if that child says so. NULL: as the parent has it.
CREATE TABLE IF NOT EXISTS alert_routes (
	route_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	parent_id uuid,
	position int NOT NULL DEFAULT 0,
	match jsonb NOT NULL DEFAULT '[]' CHECK (matchers_problem(match) IS NULL),
	channels uuid[],
	group_by text[],                        -- {...}: by all labels
	group_wait_s float8 CHECK (group_wait_s >= 0),
	group_interval_s float8 CHECK (group_interval_s > 0),
	repeat_s float8 CHECK (repeat_s > 0),
	repeat_max_s float8,                    -- the delay doubles with each repeat, up to this one
	go_on boolean NOT NULL DEFAULT false,
	windows uuid[]                          -- quiet_windows in which it sends nothing
);
CREATE UNIQUE INDEX IF NOT EXISTS alert_routes_root_idx ON alert_routes ((true)) WHERE parent_id IS NULL;

CREATE TABLE IF NOT EXISTS inhibitions (
	inhibition_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL DEFAULT '',
	-- While an alert that matches the source fires ...
	source jsonb NOT NULL CHECK (matchers_problem(source) IS NULL),
	target jsonb NOT NULL CHECK (matchers_problem(target) IS NULL), -- ... these are quiet ...
	equal text[] NOT NULL DEFAULT '{}'      -- ... if these labels are the same
);

CREATE TABLE IF NOT EXISTS silences (
	silence_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	match jsonb NOT NULL CHECK (matchers_problem(match) IS NULL),
	starts_at timestamptz NOT NULL,
	ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
	comment text NOT NULL,
	created_by text NOT NULL DEFAULT '',
	created_at timestamptz NOT NULL DEFAULT now(),
	version bigint NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS quiet_windows (
	window_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	enabled boolean NOT NULL DEFAULT true,
	time_zone text NOT NULL,
	-- {}: every day
	days text[] NOT NULL DEFAULT '{}' CHECK (days <@ '{mon,tue,wed,thu,fri,sat,sun}'),
	start time NOT NULL,
	duration_s int NOT NULL CHECK (duration_s BETWEEN 1 AND 604800)
);

-- The alerts that go into one message: of a route, with the same values of its group_by labels. Alerts of a
-- rule with a channel of its own are apart, by channel_id.
CREATE TABLE IF NOT EXISTS alert_groups (
	group_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	route_id uuid NOT NULL,
	channel_id uuid,
	labels jsonb NOT NULL,
	flush_at timestamptz NOT NULL,
	flushed boolean NOT NULL DEFAULT false, -- it was once
	emptied_at timestamptz,                 -- its last alert is over
	UNIQUE NULLS NOT DISTINCT (route_id, channel_id, labels)
);
SELECT want_index('alert_groups_flush_at_idx', 'alert_groups (flush_at)') \g /dev/null

-- The members of a group. An alert that comes back within a group is the same member, so its key is made of
-- rule and subject. labels and channel_id are those that it was routed by.
CREATE TABLE IF NOT EXISTS group_alerts (
	group_id uuid,
	alert_key uuid,
	alert_id uuid NOT NULL,                 -- its last one
	labels jsonb NOT NULL,
	channel_id uuid,
	routed boolean NOT NULL DEFAULT true,   -- false: the routes lead elsewhere by now
	PRIMARY KEY (group_id, alert_key)
);
SELECT want_index('group_alerts_alert_id_idx', 'group_alerts (alert_id)') \g /dev/null

-- The last message about a group to a channel.
CREATE TABLE IF NOT EXISTS group_sent (
	group_id uuid,
	channel_id uuid,
	notification_id uuid,                   -- NULL: only "resolved" was due, which it does not want
	at timestamptz NOT NULL,
	repeats int NOT NULL DEFAULT 0,         -- how many in a row have said nothing new
	PRIMARY KEY (group_id, channel_id)
);

-- What a channel believes to be firing: it has got "firing", so "resolved" is owed.
CREATE TABLE IF NOT EXISTS group_told (
	group_id uuid,
	channel_id uuid,
	alert_key uuid,
	listed boolean NOT NULL,                -- in the last message
	critical boolean NOT NULL,
	flapping boolean NOT NULL,
	PRIMARY KEY (group_id, channel_id, alert_key)
);

-- Alerts that come and go too often. Only a long quiet ends that.
CREATE TABLE IF NOT EXISTS flapping (
	alert_key uuid PRIMARY KEY,
	since timestamptz NOT NULL
);

-- Where flush_groups() stands. It locks alert_clock.
CREATE TABLE IF NOT EXISTS notify_state (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	flushed_until timestamptz NOT NULL DEFAULT '-infinity',
	routes text                             -- the routes that the groups were made by
);

-- The outbox. Written in the transaction that changes the group; delivered by fleet_watch.
CREATE TABLE IF NOT EXISTS notifications (
	notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- the idempotency key that the peer sees
	channel_id uuid NOT NULL,
	group_id uuid,                          -- NULL: a test, or about a channel
	kind text NOT NULL CHECK (kind IN ('firing', 'resolved', 'test', 'channel')),
	content jsonb NOT NULL,                 -- all that a template needs: docs/alerts.md
	made_at timestamptz NOT NULL,
	not_before timestamptz NOT NULL,        -- of the next try
	attempts int NOT NULL DEFAULT 0,
	taken_until timestamptz,                -- a watcher is delivering it
	taken_by text,
	sent_at timestamptz,
	dead_at timestamptz,                    -- given up: a dead letter, ...
	replaced_by uuid,                       -- ... but if a later message says it again
	last_error text,
	progress jsonb NOT NULL DEFAULT '{}'    -- parts that the peer has accepted; its message id
);
SELECT want_index('notifications_open_idx',
		'notifications (not_before) WHERE sent_at IS NULL AND dead_at IS NULL'),
	want_index('notifications_made_at_idx', 'notifications (made_at)') \g /dev/null

-- ---- sources of their own ------------------------------------------------------------------------
-- A job that says each time that it ran. `schedule` is a line of cron, or NULL and every_s.
CREATE TABLE IF NOT EXISTS heartbeats (
	heartbeat_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	name text NOT NULL UNIQUE,
	token_hash bytea UNIQUE,                -- of the URL that the job gets
	schedule text,
	every_s int CHECK (every_s BETWEEN 1 AND 31536000),
	time_zone text NOT NULL DEFAULT 'UTC',
	grace_s int NOT NULL DEFAULT 300 CHECK (grace_s BETWEEN 0 AND 2592000),
	labels jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	paused boolean NOT NULL DEFAULT false,
	CHECK ((schedule IS NULL) <> (every_s IS NULL))
);
CREATE TABLE IF NOT EXISTS heartbeat_pings (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	heartbeat_id uuid NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	kind text NOT NULL DEFAULT 'done' CHECK (kind IN ('start', 'done', 'failed')),
	note text
);
SELECT want_index('heartbeat_pings_at_idx', 'heartbeat_pings (heartbeat_id, at)') \g /dev/null

-- Messages without what differs from line to line. Written in the push transaction or by the watcher.
CREATE TABLE IF NOT EXISTS log_patterns (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	pattern_key uuid NOT NULL,              -- md5 of level and pattern
	level text NOT NULL,
	pattern text NOT NULL,
	first_at timestamptz NOT NULL,          -- by the lines' own times
	last_at timestamptz NOT NULL,
	first_received_at timestamptz NOT NULL, -- by the database's clock
	lines bigint NOT NULL,
	PRIMARY KEY (vps_name, app_name, pattern_key)
) WITH (fillfactor = 70);

-- ---- labels and matchers ---------------------------------------------------------------------------
-- Whether a label is what the matcher names, whether it asks for that or excludes it.
CREATE OR REPLACE FUNCTION label_is(p_op text, p_wanted text, p_have text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_op IN ('=', '!=') THEN p_have = p_wanted ELSE p_have ~ anchored(p_wanted) END;

-- A label that is missing counts as empty. A regular expression must match the whole value. A list is a set:
-- = and =~ ask whether one of it fits, != and !~ whether none is what they exclude.
CREATE OR REPLACE FUNCTION labels_match(p_match jsonb, p_labels jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_match = '[]' OR (SELECT bool_and(m->>'op' IN ('=', '!=', '=~', '!~')
		AND (m->>'op' IN ('=', '=~')) = CASE jsonb_typeof(v)
		WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements_text(v) e
			WHERE label_is(m->>'op', m->>'value', e))
		ELSE label_is(m->>'op', m->>'value', coalesce(v #>> '{}', '')) END)
	FROM jsonb_array_elements(p_match) m, LATERAL (SELECT p_labels -> (m->>'label')) l(v));

-- Labels as texts: the elements of a list are joined by commas.
CREATE OR REPLACE FUNCTION flat_labels(p_labels jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_labels IS NULL OR p_labels = '{}' THEN '{}' ELSE (
	SELECT coalesce(jsonb_object_agg(key, CASE jsonb_typeof(value) WHEN 'array'
		THEN (SELECT string_agg(e, ',') FROM jsonb_array_elements_text(value) e)
		ELSE value #>> '{}' END), '{}')
	FROM jsonb_each(p_labels) WHERE value <> 'null') END;

CREATE OR REPLACE FUNCTION server_labels(p_vps text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT flat_labels((SELECT labels FROM servers WHERE vps_name = p_vps))
$$;

-- What matchers of rules see of a subject: its own labels and those of its server.
CREATE OR REPLACE FUNCTION subject_labels(p_subject jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN server_labels(p_subject->>'server') || p_subject;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION labels_match, label_is, flat_labels, server_labels, subject_labels
	TO observ_hub, observ_watch;
GRANT SELECT ON alert_rules, rule_patches, rule_problems, slow_rules, alerts, alert_changes, alert_clock,
	alert_policy, alert_routes,
	inhibitions, silences, quiet_windows, alert_groups, group_alerts, group_sent, group_told,
	flapping, notify_state, notifications, heartbeat_pings,
	log_patterns
	TO observ_hub, observ_watch;
GRANT SELECT (channel_id, name, kind, settings, send_resolved, fallback_id, disabled_at, disabled_reason,
	version, created_at, created_by) ON channels TO observ_hub;
GRANT SELECT (heartbeat_id, name, schedule, every_s, time_zone, grace_s, labels, created_at, paused)
	ON heartbeats TO observ_hub, observ_watch;
GRANT SELECT ON channels TO observ_watch;

