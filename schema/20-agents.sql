-- ==== 20-agents: the agents, and the functions that register them and open their batches =========
-- The server as which a login writes. A server that rotates its login has two.
CREATE TABLE IF NOT EXISTS agent_roles (
	role text PRIMARY KEY,
	vps_name text NOT NULL,
	enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	enrolled_by text NOT NULL DEFAULT session_user,
	valid_until timestamptz NOT NULL DEFAULT 'infinity'
);
SELECT want_index('agent_roles_vps_name_idx', 'agent_roles (vps_name)') \g /dev/null

-- Every batch updates its agent's row. Rows are small and no index covers what changes, so that the new
-- version of a row fits on the same page (HOT).
CREATE TABLE IF NOT EXISTS agents (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	epoch bigint NOT NULL,                          -- counts hellos: only the newest connection may push
	last_seq bigint NOT NULL DEFAULT 0,             -- number of the last committed batch; post_seq()
	version text,
	interval_s int,
	skew_ms bigint,                                 -- the agent's clock minus the database's
	state jsonb,                                    -- the agent's report on itself
	first_seen_at timestamptz NOT NULL,
	last_seen_at timestamptz NOT NULL,              -- by the database's clock
	process bigint,                                 -- random number of the process that has the epoch
	host text,                                      -- the name of its machine
	address inet,                                   -- the address from which it connects
	conflict_at timestamptz,                        -- when a second live agent of this name was sent away
	conflict text,                                  -- that agent: its host and address
	retired_at timestamptz,                         -- retire_server() took it out of service
	PRIMARY KEY (vps_name, app_name)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The agent's report on itself, as columns. `state` is JSON from outside: a member that is missing, has
-- another type or is out of range gives NULL. A bad report must not stop the rows that come with it.
-- PostgreSQL reads these expressions at every UPDATE of the table, so they are short: one call each.
CREATE OR REPLACE FUNCTION report_count(p_state jsonb, p_path text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	IF jsonb_typeof(v) = 'number' AND v::numeric >= 0 AND v::numeric < 1000000000000000 THEN
		RETURN floor(v::numeric);
	END IF;
	RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION report_size(p_state jsonb, p_path text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	RETURN CASE jsonb_typeof(v) WHEN 'array' THEN jsonb_array_length(v) END;
END
$$;

CREATE OR REPLACE FUNCTION report_text(p_state jsonb, p_path text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v jsonb := p_state #> string_to_array(p_path, '.');
BEGIN
	RETURN CASE jsonb_typeof(v) WHEN 'string' THEN nullif(left(v #>> '{}', 500), '') END;
END
$$;

CREATE OR REPLACE FUNCTION report_time(p_state jsonb, p_path text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v text := p_state #>> string_to_array(p_path, '.');
BEGIN
	IF v !~ '^20\d\d-\d\d-\d\dT[\d:]{8}([.]\d+)?Z$' THEN
		RETURN NULL;
	END IF;
	-- A date that does not exist, such as 31 February, gives NULL too.
	RETURN (jsonb_path_query_first(to_jsonb(left(v, 19)), '$.datetime("YYYY-MM-DD\"T\"HH24:MI:SS")', '{}',
		true) #>> '{}')::timestamp AT TIME ZONE 'UTC';
END
$$;

SELECT want_column('agents', c, format(CASE kind
		WHEN 'count' THEN 'bigint GENERATED ALWAYS AS (report_count(state, %L)) STORED'
		WHEN 'size' THEN 'bigint GENERATED ALWAYS AS (report_size(state, %L)) STORED'
		WHEN 'text' THEN 'text GENERATED ALWAYS AS (report_text(state, %L)) STORED'
		WHEN 'time' THEN 'timestamptz GENERATED ALWAYS AS (report_time(state, %L)) STORED'
		WHEN 'flag' THEN 'boolean GENERATED ALWAYS AS (state #> %L = ''true'') STORED' END, path))
	FROM (VALUES
		(1, 'pending', 'pending', 'count'),                 -- samples that wait in the outbox
		(2, 'lost', 'lost', 'count'),                       -- samples that the full outbox dropped
		(3, 'rejected', 'rejects', 'count'),                -- rows that the database refused
		(4, 'rss_kb', 'rss_kb', 'count'),                   -- memory of the agent
		(5, 'last_error', 'last_error', 'text'),
		(6, 'last_commit_at', 'last_commit', 'time'),       -- times are by the clock of the agent
		(7, 'buffering_since', 'buffering_since', 'time'),  -- since when it has no database
		(8, 'outage_since', 'last_outage.since', 'time'),   -- the last outage of the database
		(9, 'outage_until', 'last_outage.until', 'time'),
		(10, 'outage_samples', 'last_outage.samples', 'count'),
		(11, 'outage_lost', 'last_outage.lost', 'count'),
		(12, 'outbox_bytes', 'outbox.bytes', 'count'),
		(13, 'outbox_in_memory', '{outbox,in_memory}', 'flag'), -- the outbox has no file
		(14, 'outbox_trouble', 'outbox.trouble', 'text'),
		(15, 'lag_bytes', 'tail.lag_bytes', 'count'),       -- log bytes that are not committed yet
		(16, 'lag_s', 'tail.lag_s', 'count'),               -- age of the oldest of them
		(17, 'files', 'tail.files', 'count'),               -- log files that the agent follows
		(18, 'files_parked', 'tail.parked', 'count'),       -- closed to save descriptors
		(19, 'files_held', 'tail.held', 'count'),           -- rotated away, still open
		(20, 'files_unreadable', 'tail.troubles', 'size'),  -- files that it cannot follow
		(21, 'lines_suppressed', 'tail.suppressed', 'count') -- log lines over the rate limit
	) v(n, c, path, kind) ORDER BY n \g /dev/null

GRANT SELECT ON agent_roles, agents TO observ_hub, observ_watch;

-- ---- the caller --------------------------------------------------------------------------
-- The rule of server_name.h in common/settings/. The rule for applications, app_name.h there, is narrower.
CREATE OR REPLACE FUNCTION check_name(p_what text, p_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF p_name IS NULL OR p_name = '' OR octet_length(p_name) > 128 OR
	   p_name ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' THEN
		RAISE EXCEPTION '% must have 1 to 128 bytes, no control characters, and no space at its ends',
			p_what
			USING ERRCODE = '22023';
	END IF;
END
$$;

-- Limits on what one server can store, far above what an agent needs.
CREATE OR REPLACE FUNCTION max_call_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 32 * 1048576;
CREATE OR REPLACE FUNCTION max_state_bytes() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 65536;
CREATE OR REPLACE FUNCTION max_apps() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1000;        -- of a server

-- Every agent function begins with this check. p_bytes is the size of its arguments.
CREATE OR REPLACE FUNCTION check_writer(p_vps text, p_app text, p_bytes bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	bound text;
	until timestamptz;
BEGIN
	SELECT vps_name, valid_until INTO bound, until FROM agent_roles WHERE role = session_user;
	IF until <= statement_timestamp() THEN
		RAISE EXCEPTION 'login % of server "%" was replaced by another and valid until %',
			session_user, bound, until
			USING ERRCODE = '42501', HINT = 'Use the login that rotate_server() gave.';
	END IF;
	IF bound IS NULL AND NOT pg_has_role(session_user, 'observ_agent_any', 'MEMBER') THEN
		RAISE EXCEPTION 'role % is not enrolled', session_user USING ERRCODE = '42501',
			HINT = 'SELECT * FROM observ.enroll(vps_name), or GRANT observ_agent_any.';
	END IF;
	IF bound IS NOT NULL AND bound IS DISTINCT FROM p_vps THEN
		RAISE EXCEPTION 'role % may write as server "%" only, not as "%"', session_user, bound, p_vps
			USING ERRCODE = '42501';
	END IF;
	IF p_vps IS NULL OR p_vps = '' OR octet_length(p_vps) > 128 OR
	   p_vps ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' OR
	   p_app IS NULL OR p_app = '' OR octet_length(p_app) > 128 OR
	   p_app ~ '^ |[\u0001-\u001f\u007f-\u009f]| $' THEN
		PERFORM check_name('vps_name', p_vps), check_name('app_name', p_app);
	END IF;
	IF p_bytes > max_call_bytes() THEN
		RAISE EXCEPTION '% bytes in one call, at most % are taken', p_bytes, max_call_bytes()
			USING ERRCODE = '54000', HINT = 'Send fewer rows at a time.';
	END IF;
END
$$;

-- ---- registration -----------------------------------------------------------------------------
-- The session whose open transaction holds the lock on an agent's row; NULL if there is none.
CREATE OR REPLACE FUNCTION stale_session_pid(p_vps text, p_app text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_locker xid;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT xmax INTO v_locker FROM agents WHERE vps_name = p_vps AND app_name = p_app;
	IF v_locker IS NULL OR v_locker = '0'::xid THEN
		RETURN NULL;                    -- nearly always: spare pg_locks, it blocks all lockers
	END IF;
	RETURN (SELECT pid FROM pg_locks
		WHERE locktype = 'transactionid' AND granted AND transactionid = v_locker);
END
$$;

-- An agent calls this before agent_hello(). If its last connection broke in the middle of a batch, the server
-- may not have noticed: that session keeps the row lock until its keepalives fail, or for hours behind a
-- connection pooler that sends none. A session that waits for its client is stale and is ended. A session
-- that works is left alone, because it ends soon. This runs with the caller's rights: a login may end its own
-- sessions.
CREATE OR REPLACE FUNCTION end_stale_session(p_vps text, p_app text) RETURNS void
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_pid int := stale_session_pid(p_vps, p_app);
BEGIN
	IF v_pid IS NOT NULL THEN
		PERFORM pg_terminate_backend(pid, 1000) FROM pg_stat_activity
			WHERE pid = v_pid AND usename = session_user AND wait_event_type = 'Client';
	END IF;
END
$$;

-- A new connection waits for the row lock until the transaction of the previous one has ended. Each hello
-- gives a new epoch, so nothing that an earlier connection still sends can commit after it.
-- p_epoch: the answer to the process's last hello, NULL before the first. p_host: the name of its machine.
-- Another process that took over is told by OB001; to an agent that gives p_host by epoch 0, because an
-- error would undo the note that two agents are alive.
CREATE OR REPLACE FUNCTION agent_hello(p_vps text, p_app text, p_process bigint, p_epoch bigint,
	p_version text, p_interval_s int, p_clock timestamptz, p_host text DEFAULT NULL)
RETURNS TABLE (epoch bigint, last_seq bigint, server_time timestamptz, schema_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_arrived timestamptz := clock_timestamp();
	v_now timestamptz;
	v_epoch bigint;
	v_process bigint;
	v_seq bigint;
	v_schema int;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	IF NOT isfinite(p_clock) OR p_interval_s NOT BETWEEN 1 AND 86400 OR
	   p_epoch NOT BETWEEN 1 AND 1::bigint << 62 OR p_process IS NULL THEN
		RAISE EXCEPTION 'clock, interval, process or epoch out of range' USING ERRCODE = '22023';
	END IF;
	LOOP
		SELECT a.epoch, a.process, a.last_seq INTO v_epoch, v_process, v_seq FROM agents a
			WHERE a.vps_name = p_vps AND a.app_name = p_app FOR UPDATE;
		EXIT WHEN FOUND;
		IF (SELECT count(*) FROM agents a WHERE a.vps_name = p_vps) >= max_apps() THEN
			RAISE EXCEPTION 'server "%" has % applications, and no more are taken',
				p_vps, max_apps() USING ERRCODE = '54000', HINT = format('Remove old ones: '
					'DELETE FROM agents WHERE vps_name = %L AND app_name = ...', p_vps);
		END IF;
		INSERT INTO agents (vps_name, app_name, epoch, process, first_seen_at, last_seen_at)
			VALUES (p_vps, p_app, 0, p_process, v_arrived, v_arrived)
			ON CONFLICT (vps_name, app_name) DO NOTHING;
	END LOOP;
	-- An epoch newer than the stored one comes from a hello that a failover or a restore has lost.
	p_host := left(regexp_replace(p_host, '[\u0001-\u001f\u007f-\u009f]', '?', 'g'), 200);
	SELECT max(s.version) INTO v_schema FROM schema_version s;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch AND p_host IS NOT NULL THEN
		UPDATE agents a SET conflict_at = v_arrived,
			conflict = concat_ws(' at ', p_host, host(inet_client_addr()))
			WHERE a.vps_name = p_vps AND a.app_name = p_app;
		RETURN QUERY SELECT 0::bigint, v_seq, v_arrived, v_schema;
		RETURN;
	END IF;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch THEN
		RAISE EXCEPTION 'another agent took over "%" on "%": epoch is %, not %',
			p_app, p_vps, v_epoch, p_epoch USING ERRCODE = 'OB001';
	END IF;
	v_epoch := greatest(v_epoch, p_epoch) + 1;
	v_now := clock_timestamp();             -- later than v_arrived by the wait for the lock
	UPDATE agents a SET epoch = v_epoch, process = p_process, version = left(p_version, 200),
		interval_s = p_interval_s, host = p_host, address = inet_client_addr(), retired_at = NULL,
		skew_ms = round(extract(epoch FROM p_clock - v_arrived) * 1000)::bigint, last_seen_at = v_now
		WHERE a.vps_name = p_vps AND a.app_name = p_app;
	RETURN QUERY SELECT v_epoch, v_seq, v_now, v_schema;
END
$$;

-- For `obs_agent doctor`: how long ago the database heard from the agent, and its state. No row: never.
CREATE OR REPLACE FUNCTION agent_last_seen(p_vps text, p_app text) RETURNS TABLE (age_s bigint, state text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	RETURN QUERY SELECT extract(epoch FROM v_now - a.last_seen_at)::bigint,
			agent_state(a.last_seen_at, a.interval_s, a.retired_at, v_now)
		FROM agents a WHERE a.vps_name = p_vps AND a.app_name = p_app;
END
$$;

-- Begins every batch: takes the row lock; refuses older connections and batches that are already committed.
CREATE OR REPLACE FUNCTION push_open(p_vps text, p_app text, p_epoch bigint, p_seq bigint, p_state jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz;
	v_epoch bigint;
	v_seq bigint;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT epoch, last_seq INTO v_epoch, v_seq FROM agents
		WHERE vps_name = p_vps AND app_name = p_app FOR UPDATE;
	-- agent_hello() tells whether another process took over; here any other epoch is just not current.
	IF v_epoch IS DISTINCT FROM p_epoch THEN
		RAISE EXCEPTION 'the epoch of "%" on "%" is %, not %', p_app, p_vps, v_epoch, p_epoch
			USING ERRCODE = 'OB002';
	END IF;
	IF p_seq IS DISTINCT FROM v_seq + 1 THEN
		RAISE EXCEPTION 'batch % does not follow batch %', p_seq, v_seq USING ERRCODE = 'OB002';
	END IF;
	v_now := clock_timestamp();
	IF pg_column_size(p_state) <= max_state_bytes() THEN    -- a larger report is dropped, not the batch
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now, state = p_state
			WHERE vps_name = p_vps AND app_name = p_app;
	ELSE
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now
			WHERE vps_name = p_vps AND app_name = p_app;
	END IF;
END
$$;
SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_hello, agent_last_seen, stale_session_pid, end_stale_session, push_open
	TO observ_agent;

