-- ==== 20-agents: the agents, their read positions, and the functions that register and fence them =
-- Which login role writes as which server. Two while a server changes from one to the other.
CREATE TABLE IF NOT EXISTS agent_roles (
	role text PRIMARY KEY,
	vps_name text NOT NULL,
	enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	enrolled_by text NOT NULL DEFAULT session_user,
	valid_until timestamptz NOT NULL DEFAULT 'infinity'
);
SELECT want_index('agent_roles_vps_name_idx', 'agent_roles (vps_name)') \g /dev/null

-- Updated at every flush and kept small, with no index on what changes, so that updates stay
-- on their page (HOT).
CREATE TABLE IF NOT EXISTS agents (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	epoch bigint NOT NULL,                          -- one more at each hello: only the newest connection may push
	last_seq bigint NOT NULL DEFAULT 0,             -- the last batch committed
	version text,
	interval_s int,
	skew_ms bigint,                                 -- the agent's clock minus the database's
	state jsonb,
	first_seen_at timestamptz NOT NULL,
	last_seen_at timestamptz NOT NULL,              -- by the database's clock
	process bigint,                                 -- who has the epoch: a random number, made when an agent starts
	host text,                                      -- what its machine calls itself,
	address inet,                                   -- and from where it connects
	conflict_at timestamptz,                        -- when an agent came back after another had taken over: two are alive
	conflict text,                                  -- the one that was sent away, in words
	retired_at timestamptz,                         -- taken out of service; what it wrote stays
	PRIMARY KEY (vps_name, app_name)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What the agent says of itself, as columns. `state` is JSON from outside: a member that is missing, of
-- another type or out of range gives NULL, for a report on the agent may not stop what it delivers.
CREATE OR REPLACE FUNCTION report_time(p_value jsonb) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v text := p_value #>> '{}';
BEGIN
	IF v !~ '^20\d\d-\d\d-\d\dT[\d:]{8}([.]\d+)?Z$' THEN
		RETURN NULL;
	END IF;
	-- A date that does not exist, like 31 February, gives NULL too.
	RETURN (jsonb_path_query_first(to_jsonb(left(v, 19)), '$.datetime("YYYY-MM-DD\"T\"HH24:MI:SS")', '{}', true)
		#>> '{}')::timestamp AT TIME ZONE 'UTC';
END
$$;

SELECT want_column('agents', c, format(CASE kind
		WHEN 'count' THEN 'bigint GENERATED ALWAYS AS (jsonb_path_query_first(state, ''%s ? (@.type() == "number" '
			'&& @ >= 0 && @ < 1000000000000000).floor()'')::bigint) STORED'
		WHEN 'text' THEN 'text GENERATED ALWAYS AS (left(jsonb_path_query_first(state, ''%s ? (@.type() == "string" '
			'&& @ != "")'') #>> ''{}'', 500)) STORED'
		WHEN 'flag' THEN 'boolean GENERATED ALWAYS AS (jsonb_path_exists(state, ''%s ? (@ == true)'')) STORED'
		WHEN 'size' THEN 'bigint GENERATED ALWAYS AS (jsonb_path_query_first(state, ''strict %s.size()'', ''{}'', true)'
			'::bigint) STORED'
		WHEN 'time' THEN 'timestamptz GENERATED ALWAYS AS (report_time(jsonb_path_query_first(state, ''%s ? '
			'(@.type() == "string")''))) STORED' END, path))
	FROM (VALUES
		(1, 'pending', '$.pending', 'count'),                    -- samples that wait in the outbox
		(2, 'lost', '$.lost', 'count'),                          -- samples that found no room there
		(3, 'rejected', '$.rejects', 'count'),                   -- rows that the database refused
		(4, 'rss_kb', '$.rss_kb', 'count'),                      -- memory of the agent
		(5, 'last_error', '$.last_error', 'text'),
		(6, 'last_commit_at', '$.last_commit', 'time'),          -- times are by the clock of the agent
		(7, 'buffering_since', '$.buffering_since', 'time'),     -- without a database
		(8, 'outage_since', '$.last_outage.since', 'time'),      -- the last time that it was without
		(9, 'outage_until', '$.last_outage.until', 'time'),
		(10, 'outage_samples', '$.last_outage.samples', 'count'),
		(11, 'outage_lost', '$.last_outage.lost', 'count'),
		(12, 'outbox_bytes', '$.outbox.bytes', 'count'),
		(13, 'outbox_in_memory', '$.outbox.in_memory', 'flag'),  -- no file can be written
		(14, 'outbox_trouble', '$.outbox.trouble', 'text'),
		(15, 'lag_bytes', '$.tail.lag_bytes', 'count'),          -- of log files, not read or not committed
		(16, 'lag_s', '$.tail.lag_s', 'count'),                  -- the age of the oldest of these bytes
		(17, 'files', '$.tail.files', 'count'),                  -- log files that are followed
		(18, 'files_parked', '$.tail.parked', 'count'),          -- of them closed for want of descriptors
		(19, 'files_held', '$.tail.held', 'count'),              -- of them deleted, held open to read the rest
		(20, 'files_unreadable', '$.tail.troubles', 'size'),     -- configured, and cannot be followed
		(21, 'lines_suppressed', '$.tail.suppressed', 'count')   -- over the rate limit
	) v(n, c, path, kind) ORDER BY n \g /dev/null

-- How far each log file is read; the position moves in the transaction that brings the rows.
CREATE TABLE IF NOT EXISTS log_streams (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint NOT NULL,
	path text NOT NULL,
	file_id text NOT NULL,
	head_hash text NOT NULL,
	tail_hash text NOT NULL,
	"position" bigint NOT NULL CHECK ("position" >= 0),
	finished boolean NOT NULL,                      -- rotated away and read to its end
	updated_at timestamptz NOT NULL,
	PRIMARY KEY (vps_name, app_name, stream_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
GRANT SELECT ON agent_roles, agents, log_streams TO observ_hub, observ_watch;
-- ---- who is calling ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION check_name(p_what text, p_name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF p_name IS NULL OR p_name = '' OR length(p_name) > 200 OR p_name ~ '[\u0001-\u001f\u007f-\u009f]' THEN
		RAISE EXCEPTION '% must have 1 to 200 characters and no control characters', p_what USING ERRCODE = '22023';
	END IF;
END
$$;

-- What one server may make of us; far above what agents do.
CREATE OR REPLACE FUNCTION max_apps() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 1000;        -- of a server
CREATE OR REPLACE FUNCTION max_streams() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 500000;   -- of an application; finished ones are kept a year


-- Every agent function begins with this. p_bytes: of what it was given, which it has not looked at yet.
CREATE OR REPLACE FUNCTION check_writer(p_vps text, p_app text, p_bytes bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	bound text;
	until timestamptz;
BEGIN
	SELECT vps_name, valid_until INTO bound, until FROM agent_roles WHERE role = session_user;
	IF until <= statement_timestamp() THEN
		RAISE EXCEPTION 'login % of server "%" was replaced by another and valid until %', session_user, bound, until
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
	IF p_vps IS NULL OR p_vps = '' OR length(p_vps) > 200 OR p_vps ~ '[\u0001-\u001f\u007f-\u009f]' OR
	   p_app IS NULL OR p_app = '' OR length(p_app) > 200 OR p_app ~ '[\u0001-\u001f\u007f-\u009f]' THEN
		PERFORM check_name('vps_name', p_vps), check_name('app_name', p_app);
	END IF;
	IF p_bytes > max_call_bytes() THEN
		RAISE EXCEPTION '% bytes in one call, at most % are taken', p_bytes, max_call_bytes() USING ERRCODE = '54000',
			HINT = 'Send fewer rows at a time.';
	END IF;
END
$$;

-- ---- agent functions: registration ---------------------------------------------------------
-- The session whose open transaction has an agent's row; NULL: none.
CREATE OR REPLACE FUNCTION stale_session_pid(p_vps text, p_app text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_locker xid;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT xmax INTO v_locker FROM agents WHERE vps_name = p_vps AND app_name = p_app;
	IF v_locker IS NULL OR v_locker = '0'::xid THEN
		RETURN NULL;                    -- as a rule: pg_locks stops all who lock for a moment
	END IF;
	RETURN (SELECT pid FROM pg_locks WHERE locktype = 'transactionid' AND granted AND transactionid = v_locker);
END
$$;

-- Said before hello. A session that was cut off in the middle of a batch, and has not been told, keeps the row: until the
-- keepalives above notice, and behind a connection pooler, which may have none, for hours. It waits for a client that has
-- come again, so it is ended; one at work is not, for it ends soon. With the caller's rights, who may end his own sessions.
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

-- The row lock makes a newcomer wait until a transaction of its predecessor has ended. Each hello
-- gives a new epoch, so nothing that an earlier connection still has under way can commit after it.
-- p_epoch: of the process's last hello, NULL when it has had no answer yet. p_host: its machine's name for itself; who
-- gives it understands epoch 0 as OB001, which unlike an error leaves a note that two agents are alive.
CREATE OR REPLACE FUNCTION agent_hello(p_vps text, p_app text, p_process bigint, p_epoch bigint, p_version text,
	p_interval_s int, p_clock timestamptz, p_host text DEFAULT NULL)
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
	IF NOT isfinite(p_clock) OR p_interval_s NOT BETWEEN 1 AND 86400 OR p_epoch NOT BETWEEN 1 AND 1::bigint << 62 OR
	   p_process IS NULL THEN
		RAISE EXCEPTION 'clock, interval, process or epoch out of range' USING ERRCODE = '22023';
	END IF;
	LOOP
		SELECT a.epoch, a.process, a.last_seq INTO v_epoch, v_process, v_seq FROM agents a
			WHERE a.vps_name = p_vps AND a.app_name = p_app FOR UPDATE;
		EXIT WHEN FOUND;
		IF (SELECT count(*) FROM agents a WHERE a.vps_name = p_vps) >= max_apps() THEN
			RAISE EXCEPTION 'server "%" has % applications, and no more are taken', p_vps, max_apps() USING ERRCODE = '54000',
				HINT = format('Those that are gone: DELETE FROM agents WHERE vps_name = %L AND app_name = ...', p_vps);
		END IF;
		INSERT INTO agents (vps_name, app_name, epoch, process, first_seen_at, last_seen_at)
			VALUES (p_vps, p_app, 0, p_process, v_arrived, v_arrived)
			ON CONFLICT (vps_name, app_name) DO NOTHING;
	END LOOP;
	-- An epoch newer than the stored one: a failover or a restore has forgotten the hello that gave it.
	p_host := left(regexp_replace(p_host, '[\u0001-\u001f\u007f-\u009f]', '?', 'g'), 200);
	SELECT max(s.version) INTO v_schema FROM schema_version s;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch AND p_host IS NOT NULL THEN
		UPDATE agents a SET conflict_at = v_arrived, conflict = concat_ws(' at ', p_host, host(inet_client_addr()))
			WHERE a.vps_name = p_vps AND a.app_name = p_app;
		RETURN QUERY SELECT 0::bigint, v_seq, v_arrived, v_schema;
		RETURN;
	END IF;
	IF v_process IS DISTINCT FROM p_process AND p_epoch <= v_epoch THEN
		RAISE EXCEPTION 'another agent took over "%" on "%": epoch is %, not %', p_app, p_vps, v_epoch, p_epoch
			USING ERRCODE = 'OB001';
	END IF;
	v_epoch := greatest(v_epoch, p_epoch) + 1;
	v_now := clock_timestamp();             -- later than v_arrived by the wait for the lock
	UPDATE agents a SET epoch = v_epoch, process = p_process, version = left(p_version, 200), interval_s = p_interval_s,
		host = p_host, address = inet_client_addr(), retired_at = NULL,
		skew_ms = round(extract(epoch FROM p_clock - v_arrived) * 1000)::bigint, last_seen_at = v_now
		WHERE a.vps_name = p_vps AND a.app_name = p_app;
	RETURN QUERY SELECT v_epoch, v_seq, v_now, v_schema;
END
$$;

-- The finished ones too: their files may still be there, and are not to be read again. age_s: how long ago
-- the position was committed; whoever asks can tell whether his machine has started since.
CREATE OR REPLACE FUNCTION agent_streams(p_vps text, p_app text, p_epoch bigint)
RETURNS TABLE (stream_id bigint, path text, file_id text, head_hash text, tail_hash text, "position" bigint, finished boolean,
	age_s bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_now timestamptz := clock_timestamp();
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	IF NOT EXISTS (SELECT FROM agents a WHERE a.vps_name = p_vps AND a.app_name = p_app AND a.epoch = p_epoch) THEN
		RAISE EXCEPTION 'epoch % of "%" on "%" is not current', p_epoch, p_app, p_vps USING ERRCODE = 'OB002';
	END IF;
	RETURN QUERY SELECT s.stream_id, s.path, s.file_id, s.head_hash, s.tail_hash, s."position", s.finished,
		extract(epoch FROM v_now - s.updated_at)::bigint FROM log_streams s
		WHERE s.vps_name = p_vps AND s.app_name = p_app AND NOT s.finished
		ORDER BY s.stream_id;
	RETURN QUERY SELECT s.stream_id, s.path, s.file_id, s.head_hash, s.tail_hash, s."position", s.finished,
		extract(epoch FROM v_now - s.updated_at)::bigint FROM log_streams s
		WHERE s.vps_name = p_vps AND s.app_name = p_app AND s.finished AND s.path <> 'outbox'
		ORDER BY s.updated_at DESC LIMIT 4096;
	RETURN QUERY SELECT s.stream_id, s.path, s.file_id, s.head_hash, s.tail_hash, s."position", s.finished,
		extract(epoch FROM v_now - s.updated_at)::bigint FROM log_streams s
		WHERE s.vps_name = p_vps AND s.app_name = p_app AND s.finished AND s.path = 'outbox'
		ORDER BY s.updated_at DESC LIMIT 1024;
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

-- Begins every batch: takes the row lock, fences off older connections and batches already committed.
CREATE OR REPLACE FUNCTION push_open(p_vps text, p_app text, p_epoch bigint, p_seq bigint, p_state jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz;
	v_epoch bigint;
	v_seq bigint;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT epoch, last_seq INTO v_epoch, v_seq FROM agents
		WHERE vps_name = p_vps AND app_name = p_app FOR UPDATE;
	-- Whose epoch is current is what hello says.
	IF v_epoch IS DISTINCT FROM p_epoch THEN
		RAISE EXCEPTION 'the epoch of "%" on "%" is %, not %', p_app, p_vps, v_epoch, p_epoch USING ERRCODE = 'OB002';
	END IF;
	IF p_seq IS DISTINCT FROM v_seq + 1 THEN
		RAISE EXCEPTION 'batch % does not follow batch %', p_seq, v_seq USING ERRCODE = 'OB002';
	END IF;
	v_now := clock_timestamp();
	IF pg_column_size(p_state) <= 65536 THEN        -- a report on the agent may not stop what it delivers
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now, state = p_state
			WHERE vps_name = p_vps AND app_name = p_app;
	ELSE
		UPDATE agents SET last_seq = p_seq, last_seen_at = v_now WHERE vps_name = p_vps AND app_name = p_app;
	END IF;
END
$$;
-- Compare and set: whoever read from another position than the stored one gets nothing committed.
CREATE OR REPLACE FUNCTION push_positions(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	r record;
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	FOR r IN SELECT (e->>0)::bigint AS id, (e->>1)::bigint AS was, (e->>2)::bigint AS pos, (e->>3)::boolean AS fin,
			left(e->>4, 4096) AS path, left(e->>5, 200) AS file, left(e->>6, 200) AS head, left(e->>7, 200) AS tail
			FROM jsonb_array_elements(p_rows) e LOOP
		UPDATE log_streams s SET "position" = r.pos, finished = r.fin, path = r.path, file_id = r.file,
			head_hash = r.head, tail_hash = r.tail, updated_at = v_now
			WHERE s.vps_name = p_vps AND s.app_name = p_app AND s.stream_id = r.id AND s."position" = r.was;
		CONTINUE WHEN FOUND;
		IF (SELECT count(*) FROM log_streams s WHERE s.vps_name = p_vps AND s.app_name = p_app) >= max_streams() THEN
			RAISE EXCEPTION '"%" on "%" has % log files, and no more are taken', p_app, p_vps, max_streams()
				USING ERRCODE = '54000';
		END IF;
		INSERT INTO log_streams (vps_name, app_name, stream_id, path, file_id, head_hash, tail_hash, "position",
			finished, updated_at)
			SELECT p_vps, p_app, r.id, r.path, r.file, r.head, r.tail, r.pos, r.fin, v_now WHERE r.was = 0
			ON CONFLICT (vps_name, app_name, stream_id) DO NOTHING;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'stream % of "%" on "%" is not at position %', r.id, p_app, p_vps, r.was
				USING ERRCODE = 'OB003';
		END IF;
	END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION agent_hello, agent_streams, agent_last_seen, stale_session_pid, end_stale_session, push_open,
	push_positions TO observ_agent;

