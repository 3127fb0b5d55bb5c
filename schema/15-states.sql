-- ==== 15-states: the rules that say which state an agent, a check and an application are in =====
-- Pages, views and doctor call these functions instead of repeating a limit. They depend on nothing but their
-- parameters, so PostgreSQL replaces each call by its body. docs/schema.md has a table of the states.

-- The state of an agent: retired, offline, stale or online. Its interval is 60 s if it has not told one.
CREATE OR REPLACE FUNCTION agent_state(p_last_seen_at timestamptz, p_interval_s int, p_retired_at timestamptz,
	p_now timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_retired_at IS NOT NULL THEN 'retired'
	WHEN p_now - p_last_seen_at > make_interval(secs => greatest(300, 5.0 * coalesce(p_interval_s, 60)))
		THEN 'offline'
	WHEN p_now - p_last_seen_at > make_interval(secs => 3.0 * greatest(coalesce(p_interval_s, 60), 1))
		THEN 'stale'
	ELSE 'online' END;

-- The second agent of the same name that was sent away, for a day; then NULL.
CREATE OR REPLACE FUNCTION agent_conflict(p_conflict text, p_conflict_at timestamptz, p_now timestamptz)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_now - p_conflict_at < interval '1 day' THEN p_conflict END;

-- The last result of a check counts for three of its intervals, and for 20 minutes at least.
CREATE OR REPLACE FUNCTION check_expiry(p_interval_s int) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(interval '20 minutes', make_interval(secs => 3.0 * p_interval_s));

-- A check with a longer interval is rare: its result counts for more than 20 minutes. health_checks has an
-- index of such results. The longest interval is a day.
CREATE OR REPLACE FUNCTION rare_check_s() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 400;
CREATE OR REPLACE FUNCTION max_check_s() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 86400;

-- The state of a check, from its last result: up, down, or unknown if there is none or it is too old.
CREATE OR REPLACE FUNCTION check_state(p_success boolean, p_at timestamptz, p_interval_s int,
	p_now timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_success IS NULL OR p_at IS NULL OR p_now - p_at >= check_expiry(p_interval_s) THEN 'unknown'
	WHEN p_success THEN 'up'
	ELSE 'down' END;

-- Whether a certificate expires soon: within 14 days, or in the last third of a life that is shorter than 42.
CREATE OR REPLACE FUNCTION certificate_soon(p_starts_at timestamptz, p_expires_at timestamptz,
	p_now timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_expires_at - p_now < least(interval '14 days', (p_expires_at - p_starts_at) / 3);

-- The state of an application, from its agent and its checks: retired, offline, down, degraded or up.
CREATE OR REPLACE FUNCTION app_state(p_agent_state text, p_conflict boolean, p_checks bigint, p_down bigint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN p_agent_state IN ('retired', 'offline') THEN p_agent_state
	WHEN p_down > 0 AND p_down >= p_checks THEN 'down'
	WHEN p_down > 0 OR p_agent_state = 'stale' OR p_conflict THEN 'degraded'
	ELSE 'up' END;

-- The order of these states, worst first. A server has the worst state of its applications.
CREATE OR REPLACE FUNCTION state_rank(p_state text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_position('{down,offline,degraded,up,retired}'::text[], p_state);

-- A server is degraded if its memory, disk or inodes are used to this percentage.
CREATE OR REPLACE FUNCTION full_percent() RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 95;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_state, agent_conflict, check_expiry, rare_check_s, max_check_s, check_state,
	certificate_soon, app_state, state_rank, full_percent TO observ_hub, observ_watch, observ_reader;

