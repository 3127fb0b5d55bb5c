-- The roles of Observ, quoted for DROP ROLE: the logins of servers, tokens, hub and timer, then the groups.
WITH groups (name) AS (
	VALUES ('observ_agent'), ('observ_agent_any'), ('observ_hub'), ('observ_watch'), ('observ_reader'),
	       ('observ_enroll'), ('observ_bootstrap'), ('observ_roles'), ('observ_owner')
), logins (name) AS (
	SELECT role FROM agent_roles UNION SELECT role FROM bootstrap_tokens
	UNION SELECT rolname FROM pg_roles WHERE rolname IN ('fleet-hub', 'fleet-watch', 'observ-maintain')
)
SELECT json_build_object('database', quote_ident(current_database()),
	'roles', (SELECT json_agg(quote_ident(name) ORDER BY rank, name) FROM (
		SELECT 1 AS rank, name FROM logins UNION ALL SELECT 2, name FROM groups) r))
