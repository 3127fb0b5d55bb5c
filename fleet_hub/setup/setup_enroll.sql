-- The login of server :server: "known ROLE" where it has one, else "new ROLE PASSWORD". Where \set renew 1
-- stands in front, "new" as well where it has one that no agent uses now: the old password is void then.
\set ON_ERROR_STOP on
SET search_path = observ, pg_catalog;
SELECT coalesce((SELECT 'known ' || role FROM agent_roles
		WHERE vps_name = :'server' ORDER BY enrolled_at DESC LIMIT 1), 'new') AS state,
	EXISTS (SELECT FROM agent_roles WHERE vps_name = :'server')
	AND NOT (:{?renew} AND NOT EXISTS (
		SELECT FROM agent_roles r JOIN pg_stat_activity a ON a.usename = r.role
		WHERE r.vps_name = :'server' AND a.application_name = 'obs_agent')) AS known \gset
\if :known
\echo :state
\else
SELECT 'new ' || role_name || ' ' || password FROM enroll(:'server');
\endif
