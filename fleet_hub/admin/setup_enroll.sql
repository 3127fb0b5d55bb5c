-- The login of server :server: "known ROLE" where it has one, else "new ROLE PASSWORD".
\set ON_ERROR_STOP on
SET search_path = observ, pg_catalog;
SELECT coalesce((SELECT 'known ' || role FROM agent_roles
		WHERE vps_name = :'server' ORDER BY enrolled_at DESC LIMIT 1), 'new') AS state,
	EXISTS (SELECT FROM agent_roles WHERE vps_name = :'server') AS known \gset
\if :known
\echo :state
\else
SELECT 'new ' || role_name || ' ' || password FROM enroll(:'server');
\endif
