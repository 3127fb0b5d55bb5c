-- ==== 77-delivery: the outbox, from which fleet_watch sends ======================================
-- A watcher asks exchange_notifications(): it says what became of messages, by notification_sent() or
-- notification_failed(), and gets the next ones from take_notifications(), which leases them. A lease that
-- runs out (the watcher died) gives the message to the next one, with the same notification_id: the peer may
-- get twice only what it had accepted when its answer was lost, and knows it by that id.
--
-- What a peer refuses for ever becomes a dead letter, which stays visible, and its channel tells another one.
-- Time is a parameter.

-- A row a kind of channel. settings and secrets: {"name": {"required", "help"}}. `fleet_watch --print-kinds`
-- prints these rows, and a test compares.
CREATE TABLE IF NOT EXISTS channel_kinds (
	kind text PRIMARY KEY,
	title text NOT NULL,
	settings jsonb NOT NULL,
	secrets jsonb NOT NULL,
	gap_s float8 NOT NULL,                  -- from one message to the next, as the peer's limits want it
	at_once int NOT NULL                    -- messages to a channel whose peer answers well
);
INSERT INTO channel_kinds VALUES
	('mail', 'E-mail',
		'{"url": {"required": true, "help": "smtp://HOST:587 (STARTTLS) or smtps://HOST"},
		"from": {"required": true, "help": "the sender''s address"},
		"to": {"required": true, "help": "addresses, with commas between them"},
		"user": {"required": false, "help": "login at the mail server"},
		"tls": {"required": false, "help": "required (default), or none, for this machine''s own"}}',
		'{"password": {"required": false, "help": "of the login"}}', 0, 4),
	('slack', 'Slack',
		'{"channel": {"required": false, "help": "where a bot writes; a webhook has its own"},
		"api_url": {"required": false, "help": "instead of https://slack.com/api"}}',
		'{"url": {"required": false, "help": "an incoming webhook, https://hooks.slack.com/..."},
		"token": {"required": false, "help": "of a bot: xoxb-..."}}', 1, 1),
	('telegram', 'Telegram',
		'{"chat_id": {"required": true, "help": "a chat''s number, or @name of a channel"},
		"thread_id": {"required": false, "help": "a topic of the chat"},
		"api_url": {"required": false, "help": "instead of https://api.telegram.org"}}',
		'{"token": {"required": true, "help": "of the bot: 123456:ABC..."}}', 1, 1),
	('ntfy', 'ntfy',
		'{"url": {"required": true, "help": "https://ntfy.sh, or your own server"},
		"user": {"required": false, "help": "login, without a token"}}',
		'{"topic": {"required": true, "help": "the topic: who knows it may read along"},
		"token": {"required": false, "help": "an access token: tk_..."},
		"password": {"required": false, "help": "of the login"}}', 1, 1),
	('pagerduty', 'PagerDuty',
		'{"url": {"required": false, "help": "instead of https://events.pagerduty.com/v2/enqueue"}}',
		'{"routing_key": {"required": true, "help": "the integration key of a service"}}', 0, 4),
	('webhook', 'Webhook', '{}',
		'{"url": {"required": true, "help": "gets a POST of JSON, as standardwebhooks.com says"},
		"secret": {"required": false, "help": "whsec_ and Base64: signs each message"},
		"authorization": {"required": false, "help": "the value of the header Authorization"}}', 0, 8)
	ON CONFLICT (kind) DO UPDATE SET title = EXCLUDED.title, settings = EXCLUDED.settings,
		secrets = EXCLUDED.secrets, gap_s = EXCLUDED.gap_s, at_once = EXCLUDED.at_once;

-- What a kind keeps as a secret is one, also where somebody has written it among the settings.
CREATE OR REPLACE FUNCTION secrets_apart(p_kind text, INOUT settings jsonb, INOUT secrets jsonb)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE (k.secrets ? key) IS NOT TRUE), '{}'),
		$3 || coalesce(jsonb_object_agg(key, value) FILTER (WHERE k.secrets ? key), '{}')
	FROM jsonb_each($2) LEFT JOIN channel_kinds k ON kind = $1
$$;

CREATE OR REPLACE FUNCTION channel_secrets_apart() RETURNS trigger
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	SELECT * FROM secrets_apart(NEW.kind, NEW.settings, NEW.secrets) INTO NEW.settings, NEW.secrets;
	RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER secrets_apart BEFORE INSERT OR UPDATE ON channels
	FOR EACH ROW EXECUTE FUNCTION channel_secrets_apart();
UPDATE channels c SET version = version + 1 FROM channel_kinds k
	WHERE k.kind = c.kind AND c.settings ?| ARRAY(SELECT jsonb_object_keys(k.secrets));

-- Secrets as people may see them: "***", but where a URL leads.
CREATE OR REPLACE FUNCTION secrets_shown(p_secrets jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(key, CASE WHEN value IS NOT NULL THEN coalesce(array_to_string(
		regexp_match(value, '^(https?://)(?:[^/?#\\]*@)?'
			'(\[[0-9a-f:.]+\]|[^][/?#@:\\[:cntrl:][:space:]]+)(:[0-9]{1,5})?(?=[/?#]|$)', 'i'),
		'') || '/', '') || '***' END), '{}')
	FROM jsonb_each_text(p_secrets)
$$;

-- How it goes with a channel. While its peer is away, one message at a time tries.
CREATE TABLE IF NOT EXISTS channel_state (
	channel_id uuid PRIMARY KEY,
	failures int NOT NULL DEFAULT 0,        -- in a row
	retry_at timestamptz,                   -- nothing is sent before
	sent_at timestamptz,                    -- the last success
	failed_at timestamptz,
	last_error text
);

-- ---- who leads -----------------------------------------------------------------------------------
-- One of the watchers leads, for as long as its session lives and it asks each second. A row and no advisory
-- lock, because any login could take that and keep it.
CREATE TABLE IF NOT EXISTS watch_lead (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	watcher text,
	pid int,                                -- of its session
	until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO watch_lead DEFAULT VALUES ON CONFLICT DO NOTHING;

-- How long a leader that asks no more keeps the lead, and how much of that is left when it is told again that
-- it leads. The row is not written each second.
CREATE OR REPLACE FUNCTION lead_for() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '6 seconds';
CREATE OR REPLACE FUNCTION lead_left() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN interval '4 seconds';

-- Does this watcher lead? If nobody does, it does so from now on. Of what it does another one may do the same
-- at any time without harm: so the lead needs not survive a crash of the database.
CREATE OR REPLACE FUNCTION lead_watch(p_watcher text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_pid CONSTANT int := pg_backend_pid();
BEGIN
	IF EXISTS (SELECT FROM watch_lead
			WHERE watcher = p_watcher AND pid = v_pid AND until > p_now + lead_left()) THEN
		RETURN true;
	END IF;
	PERFORM set_config('synchronous_commit', 'off', true);
	UPDATE watch_lead l SET watcher = p_watcher, pid = v_pid, until = p_now + lead_for()
		WHERE watcher = p_watcher OR until <= p_now OR NOT EXISTS (SELECT FROM pg_stat_activity a
			WHERE a.pid = l.pid AND a.datname = current_database());
	RETURN FOUND;
END
$$;

-- ---- messages --------------------------------------------------------------------------------------
-- Seconds to wait after that many tries failed: 5, 10, 20 ... 600. A random half of it is left out, so that
-- messages do not come together.
CREATE OR REPLACE FUNCTION delivery_backoff_s(p_failures int, p_random float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT least(5 * 2 ^ least(greatest(p_failures, 1) - 1, 20), 600) * (0.5 + p_random / 2);
$$;

-- The enabled channel that speaks for another one: along its fallbacks, else any other. Not one of p_via,
-- which had the message already. NULL: there is none.
CREATE OR REPLACE FUNCTION fallback_channel(p_channel uuid, p_via uuid[]) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_id uuid := p_channel;
	v_seen uuid[] := p_via || p_channel;
BEGIN
	FOR i IN 1 .. 16 LOOP
		SELECT f.channel_id INTO v_id FROM channels c JOIN channels f ON f.channel_id = c.fallback_id
			WHERE c.channel_id = v_id;
		EXIT WHEN v_id IS NULL;
		IF NOT v_id = ANY (v_seen) AND EXISTS (SELECT FROM channels WHERE channel_id = v_id
				AND disabled_at IS NULL) THEN
			RETURN v_id;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- Gives up on a message: a dead letter. A copy goes to the fallback of its channel.
CREATE OR REPLACE FUNCTION bury_notification(p_id uuid, p_error text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v notifications;
	v_via uuid[];
	v_to uuid;
BEGIN
	UPDATE notifications SET dead_at = p_now, last_error = p_error, taken_until = NULL, taken_by = NULL
		WHERE notification_id = p_id AND sent_at IS NULL AND dead_at IS NULL RETURNING * INTO v;
	IF NOT FOUND OR v.kind = 'test' THEN
		RETURN;
	END IF;
	v_via := ARRAY(SELECT jsonb_array_elements_text(coalesce(v.content -> 'via', '[]'))::uuid)
		|| v.channel_id;
	v_to := fallback_channel(v.channel_id, v_via);
	IF v_to IS NOT NULL THEN
		INSERT INTO notifications (channel_id, group_id, kind, content, made_at, not_before)
			VALUES (v_to, v.group_id, v.kind, v.content || jsonb_build_object('via', v_via,
				'instead_of', (SELECT name FROM channels WHERE channel_id = v.channel_id),
				'instead_why', p_error), v.made_at, p_now);
	END IF;
END
$$;

-- Buries messages of channels that somebody or a refusal has disabled. While a channel fails, also those that
-- a later one says again: of the same group, with each of its alerts still firing.
CREATE OR REPLACE FUNCTION tidy_notifications(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
BEGIN
	PERFORM bury_notification(notification_id, 'the channel is disabled: '
			|| coalesce(c.disabled_reason, 'no reason given'), p_now)
		FROM notifications n JOIN channels c USING (channel_id)
		WHERE sent_at IS NULL AND dead_at IS NULL AND c.disabled_at IS NOT NULL AND n.kind <> 'test';
	PERFORM bury_notification(notification_id, 'the channel was deleted', p_now)
		FROM notifications n
		WHERE sent_at IS NULL AND dead_at IS NULL
			AND NOT EXISTS (SELECT FROM channels c WHERE c.channel_id = n.channel_id);
	UPDATE notifications o SET dead_at = p_now, replaced_by = l.notification_id
		FROM notifications l, channel_state s
		WHERE s.channel_id = o.channel_id AND s.failures > 0
			AND o.sent_at IS NULL AND o.dead_at IS NULL AND o.kind = 'firing'
			AND coalesce(o.taken_until <= p_now, true)
			AND l.channel_id = o.channel_id AND l.group_id = o.group_id AND l.kind = 'firing'
			AND l.sent_at IS NULL AND l.dead_at IS NULL
			AND (l.made_at, l.notification_id) > (o.made_at, o.notification_id)
			AND ARRAY(SELECT a ->> 'alert_id' FROM jsonb_array_elements(o.content -> 'alerts') a)
				<@ ARRAY(SELECT a ->> 'alert_id'
					FROM jsonb_array_elements(l.content -> 'alerts') a
					WHERE a ->> 'status' IS DISTINCT FROM 'resolved');
END
$$;

-- Is some watcher sending it? Of the watcher that asks, only what it holds: an answer with others was lost.
CREATE OR REPLACE FUNCTION is_leased(n notifications, p_watcher text, p_held uuid[], p_now timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT coalesce(n.taken_until > p_now, false)
		AND NOT coalesce(n.taken_by = p_watcher AND n.notification_id <> ALL (p_held), false);
$$;

-- Open messages that may be sent now. Of a group only the first: "resolved" never overtakes "firing". place:
-- in the order of its channel, behind those under way: the least tried and oldest go first. That a watcher
-- died is not the message's fault, but for one that does it again and again.
CREATE OR REPLACE FUNCTION due_notifications(p_watcher text, p_held uuid[], p_now timestamptz)
RETURNS TABLE (id uuid, made_at timestamptz, place bigint, at_once int)
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH open AS MATERIALIZED (
		SELECT n.notification_id, n.channel_id, n.kind, n.made_at, n.not_before,
			CASE WHEN n.last_error IS NULL AND n.attempts < 3 THEN 0 ELSE n.attempts END AS tries,
			is_leased(n, p_watcher, p_held, p_now) AS leased,
			n.group_id IS NULL OR row_number() OVER (PARTITION BY n.channel_id, n.group_id
				ORDER BY n.made_at, n.notification_id) = 1 AS is_first
		FROM notifications n WHERE n.sent_at IS NULL AND n.dead_at IS NULL),
	away AS (SELECT channel_id, count(*) AS n FROM open WHERE leased GROUP BY 1)
	SELECT o.notification_id, o.made_at, coalesce(a.n, 0) + row_number() OVER (PARTITION BY o.channel_id
			ORDER BY o.tries, o.made_at, o.notification_id),
		CASE WHEN s.failures > 0 THEN 1 ELSE coalesce(k.at_once, 1) END
	FROM open o JOIN channels c USING (channel_id) LEFT JOIN channel_state s USING (channel_id)
		LEFT JOIN channel_kinds k ON k.kind = c.kind LEFT JOIN away a USING (channel_id)
	WHERE NOT o.leased AND o.is_first AND o.not_before <= p_now
		AND (o.kind = 'test' OR c.disabled_at IS NULL AND coalesce(s.retry_at <= p_now, true))
$$;

-- Leases up to p_limit messages for p_lease_s, and tells all that sending needs. A channel whose peer answers
-- well gets several at once, but only while half of the watcher's places stay free for other channels; one
-- whose peer does not gets one. p_only: this one, whatever its channel's state. p_held: the messages that
-- this watcher is sending; NULL: all that it has taken.
CREATE OR REPLACE FUNCTION take_notifications(p_watcher text, p_limit int, p_lease_s float8,
	p_now timestamptz, p_only uuid DEFAULT NULL, p_held uuid[] DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_further CONSTANT int := p_limit - (p_limit + coalesce(cardinality(p_held), 0)) / 2;
BEGIN
	IF p_only IS NULL THEN
		PERFORM tidy_notifications(p_now);
	END IF;
	RETURN QUERY WITH due AS (
		SELECT d.*, row_number() OVER (ORDER BY d.place > 1, d.made_at) AS turn
			FROM due_notifications(p_watcher, p_held, p_now) d
			WHERE CASE WHEN p_only IS NULL THEN d.place <= d.at_once ELSE d.id = p_only END
	), mine AS (
		SELECT n.notification_id FROM notifications n JOIN due ON n.notification_id = due.id
			WHERE p_only IS NOT NULL
				OR due.turn <= CASE WHEN due.place = 1 THEN p_limit ELSE v_further END
			FOR UPDATE OF n SKIP LOCKED
	), taken AS (
		UPDATE notifications n SET taken_by = p_watcher, attempts = attempts + 1,
				taken_until = p_now + make_interval(secs => p_lease_s)
			FROM mine WHERE n.notification_id = mine.notification_id
				AND n.sent_at IS NULL AND n.dead_at IS NULL
				AND NOT is_leased(n, p_watcher, p_held, p_now)
			RETURNING n.*
	)
	SELECT jsonb_build_object('notification_id', t.notification_id, 'group_id', t.group_id,
			'kind', t.kind, 'made_at', t.made_at, 'attempts', t.attempts, 'content', t.content,
			'progress', t.progress, 'channel', jsonb_build_object('channel_id', c.channel_id,
				'name', c.name, 'kind', c.kind, 'settings', c.settings, 'secrets', c.secrets))
		FROM taken t JOIN channels c USING (channel_id) ORDER BY t.made_at;
END
$$;

-- Notes which of the message's parts were accepted, so that whoever sends it again goes on behind them, and
-- renews the lease. False: the message is not this watcher's any more, which must send nothing of it.
CREATE OR REPLACE FUNCTION notification_progress(p_id uuid, p_watcher text, p_progress jsonb,
	p_lease_s float8, p_now timestamptz) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
	WITH mine AS (UPDATE notifications SET progress = p_progress,
			taken_until = p_now + make_interval(secs => p_lease_s)
		WHERE notification_id = p_id AND taken_by = p_watcher AND sent_at IS NULL AND dead_at IS NULL
		RETURNING true)
	SELECT EXISTS (SELECT FROM mine);
$$;

-- The peer has accepted all of it, but for what p_note says, such as a recipient. Also from a watcher whose
-- lease has run out: accepted is accepted. After an outage its other messages need not wait for their own
-- next tries.
CREATE OR REPLACE FUNCTION notification_sent(p_id uuid, p_progress jsonb, p_note text, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_channel uuid;
	v_failures int;
BEGIN
	UPDATE notifications SET sent_at = p_now, progress = p_progress, taken_until = NULL, taken_by = NULL,
			last_error = p_note
		WHERE notification_id = p_id AND sent_at IS NULL AND dead_at IS NULL
		RETURNING channel_id INTO v_channel;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- A chat of Telegram may have moved on the way.
	UPDATE channels SET settings = settings || jsonb_build_object('chat_id', p_progress ->> 'chat_id'),
			version = version + 1
		WHERE channel_id = v_channel AND p_progress ? 'chat_id'
			AND settings ->> 'chat_id' <> p_progress ->> 'chat_id';
	SELECT failures INTO v_failures FROM channel_state WHERE channel_id = v_channel;
	INSERT INTO channel_state (channel_id, sent_at, last_error, retry_at)
		SELECT v_channel, p_now, p_note, p_now + make_interval(secs => k.gap_s)
			FROM channels c LEFT JOIN channel_kinds k USING (kind) WHERE c.channel_id = v_channel
		ON CONFLICT (channel_id) DO UPDATE SET failures = 0, sent_at = p_now,
			last_error = p_note, retry_at = EXCLUDED.retry_at;
	IF v_failures > 1 THEN
		UPDATE notifications SET not_before = p_now
			WHERE channel_id = v_channel AND not_before > p_now AND sent_at IS NULL
				AND dead_at IS NULL;
	END IF;
END
$$;

-- Not accepted. p_what: 'retry', later; 'message', the peer will never take this one; 'channel', nor any
-- other: the channel is disabled, and its fallback or another channel is told. p_retry_after_s: as the peer
-- asks, a day at most. After 75 hours a message is given up.
CREATE OR REPLACE FUNCTION notification_failed(p_id uuid, p_watcher text, p_what text, p_error text,
	p_retry_after_s float8, p_progress jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	-- least(NULL, 86400) is a day
	v_asked float8 := CASE WHEN p_retry_after_s > 0 THEN least(p_retry_after_s, 86400) END;
	v_random CONSTANT float8 := random();
	v notifications;
BEGIN
	UPDATE notifications SET last_error = p_error, progress = p_progress, taken_until = NULL,
			taken_by = NULL, not_before = p_now + make_interval(secs =>
				greatest(delivery_backoff_s(attempts, v_random), v_asked))
		WHERE notification_id = p_id AND taken_by = p_watcher AND sent_at IS NULL AND dead_at IS NULL
		RETURNING * INTO v;
	IF NOT FOUND THEN
		RETURN;                         -- another watcher has it
	END IF;
	IF p_what = 'message' THEN
		PERFORM bury_notification(p_id, p_error, p_now);
	ELSIF v.kind = 'test' THEN
		UPDATE notifications SET dead_at = p_now WHERE notification_id = p_id;
	ELSIF p_what = 'channel' THEN
		PERFORM disable_channel(v.channel_id, p_error, p_now);
	ELSE
		INSERT INTO channel_state (channel_id) VALUES (v.channel_id) ON CONFLICT DO NOTHING;
		-- Messages that were under way together and fail together count as one failure.
		UPDATE channel_state SET failed_at = p_now, last_error = p_error,
				failures = failures + CASE WHEN together THEN 0 ELSE 1 END,
				retry_at = greatest(CASE WHEN together THEN retry_at
						ELSE p_now + make_interval(secs =>
							delivery_backoff_s(failures + 1, v_random)) END,
					p_now + make_interval(secs => v_asked))
			FROM (SELECT failures > 0 AND retry_at > p_now AS together FROM channel_state
				WHERE channel_id = v.channel_id) x
			WHERE channel_id = v.channel_id;
		IF p_now - v.made_at > interval '75 hours' THEN
			PERFORM bury_notification(p_id, 'given up after 75 hours: ' || p_error, p_now);
		END IF;
	END IF;
END
$$;

-- What a watcher has to say and to ask, at once: what became of messages ({"id", "what", "why",
-- "retry_after_s", "progress"}; what is 'sent', or as notification_failed() has it), then up to p_limit more
-- to send. So the messages that came back meanwhile cost one transaction.
CREATE OR REPLACE FUNCTION exchange_notifications(p_watcher text, p_outcomes jsonb, p_limit int,
	p_lease_s float8, p_held uuid[], p_now timestamptz) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	o record;
BEGIN
	FOR o IN SELECT * FROM jsonb_to_recordset(p_outcomes) AS x(id uuid, what text, why text,
			retry_after_s float8, progress jsonb) LOOP
		IF o.what = 'sent' THEN
			PERFORM notification_sent(o.id, o.progress, o.why, p_now);
		ELSE
			PERFORM notification_failed(o.id, p_watcher, o.what, o.why, o.retry_after_s,
				o.progress, p_now);
		END IF;
	END LOOP;
	IF p_limit > 0 THEN
		RETURN QUERY SELECT take_notifications(p_watcher, p_limit, p_lease_s, p_now, NULL, p_held);
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION disable_channel(p_channel uuid, p_reason text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v channels;
	v_to uuid;
BEGIN
	UPDATE channels SET disabled_at = p_now, disabled_reason = p_reason, version = version + 1
		WHERE channel_id = p_channel AND disabled_at IS NULL RETURNING * INTO v;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	INSERT INTO channel_state (channel_id, failures, failed_at, last_error)
		VALUES (p_channel, 1, p_now, p_reason)
		ON CONFLICT (channel_id) DO UPDATE SET failures = channel_state.failures + 1,
			failed_at = p_now, last_error = p_reason;
	PERFORM tidy_notifications(p_now);
	v_to := coalesce(fallback_channel(p_channel, '{}'), (SELECT channel_id FROM channels
		WHERE disabled_at IS NULL ORDER BY created_at, channel_id LIMIT 1));
	IF v_to IS NOT NULL THEN
		INSERT INTO notifications (channel_id, kind, content, made_at, not_before)
			VALUES (v_to, 'channel', jsonb_build_object('channel', v.name, 'channel_kind', v.kind,
				'reason', p_reason), p_now, p_now);
	END IF;
END
$$;

-- A message that only says that the channel works. Returns its notification_id.
CREATE OR REPLACE FUNCTION test_channel(p_channel text, p_by text, p_now timestamptz) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_channel uuid;
	v_id uuid;
BEGIN
	SELECT channel_id INTO v_channel FROM channels WHERE channel_id::text = p_channel OR name = p_channel
		ORDER BY channel_id::text = p_channel DESC LIMIT 1;
	IF v_channel IS NULL THEN
		RAISE EXCEPTION 'there is no channel "%"', p_channel USING ERRCODE = 'OB404',
			HINT = 'SELECT name FROM observ.channels lists them';
	END IF;
	INSERT INTO notifications (channel_id, kind, content, made_at, not_before)
		VALUES (v_channel, 'test', jsonb_build_object('by', p_by), p_now, p_now)
		RETURNING notification_id INTO v_id;
	RETURN v_id;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT SELECT ON channel_kinds, channel_state TO observ_hub, observ_watch;
GRANT SELECT ON watch_lead TO observ_watch;
GRANT EXECUTE ON FUNCTION take_notifications, exchange_notifications, notification_progress,
	notification_sent, notification_failed, test_channel, lead_watch TO observ_watch;

