-- citus.sql - distributes the database of Observ over the workers of a Citus cluster.
--
--   psql -U postgres observ_metrics < schema.sql
--   psql -U postgres observ_metrics < citus.sql
--
-- Run both on the coordinator, as superuser; to upgrade run both again. A second run changes nothing. Before
-- it, each node needs a database of the same name with CREATE EXTENSION citus, and the coordinator needs
-- citus_set_coordinator_host() and citus_add_node() for each worker. docs/schema.md says what Citus gains and
-- costs.
--
-- Never distribute push() or another agent function with a distribution argument: a worker commits such a
-- call at once. If push_logs() were refused after it, its lines would be lost.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET search_path = observ, pg_catalog;
SET citus.enable_ddl_propagation = on;
SET citus.multi_shard_modify_mode = sequential;

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
		RAISE EXCEPTION 'database % has no extension citus', current_database()
			USING HINT = 'CREATE EXTENSION citus, in the database of this name on each node';
	END IF;
	IF to_regclass('observ.agents') IS NULL THEN
		RAISE EXCEPTION 'database % is not Observ''s', current_database()
			USING HINT = 'Run schema.sql first.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_dist_node WHERE isactive AND shouldhaveshards) THEN
		RAISE EXCEPTION 'the cluster has no worker' 
			USING HINT = 'SELECT citus_set_coordinator_host(HOST, PORT), '
				'then citus_add_node(HOST, PORT) for each worker';
	END IF;
END
$$;

-- ---- roles ---------------------------------------------------------------------------------------
-- Functions run as these, and Citus logs in on the workers as the role that runs. They have no password.
ALTER ROLE observ_owner LOGIN;
ALTER ROLE observ_roles LOGIN;
ALTER ROLE observ_reader LOGIN;                 -- select_values()

-- A role gets to the workers with a right on something there.
SELECT format('GRANT USAGE ON SCHEMA observ TO %s', grantee::regrole)
FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'observ' AND grantee <> nspowner
UNION SELECT 'GRANT USAGE ON SCHEMA observ TO observ_agent_any' \gexec

-- Else no login can be made in a transaction that has read the agents.
SELECT format('ALTER DATABASE %I SET citus.multi_shard_modify_mode = sequential', current_database()) \gexec

-- ---- tables --------------------------------------------------------------------------------------
-- Those with rows of a server's applications. The others are small and stay on the coordinator. So do the
-- patterns of messages, which learn_patterns() counts over all servers in one command.
SELECT create_distributed_table(oid, 'vps_name',
	colocate_with => CASE oid WHEN 'agents'::regclass THEN 'none' ELSE 'observ.agents' END)
FROM pg_class c
WHERE relnamespace = 'observ'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
	AND relname NOT IN ('log_patterns', 'pattern_queue')
	AND (SELECT count(*) FROM pg_attribute
		WHERE attrelid = c.oid AND attname IN ('vps_name', 'app_name')) = 2
	AND NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = c.oid)
ORDER BY oid <> 'agents'::regclass, oid \g /dev/null

-- Citus reads a view with the rights of its reader, not of its owner.
GRANT SELECT ON agents, vps_metrics, health_checks, log_entries, gaps, metrics_5m, metrics_1h
	TO observ_reader;
GRANT SELECT ON agents TO observ_enroll;
GRANT SELECT (vps_name, valid_until) ON server_tokens TO observ_hub, observ_watch;

-- Grants that a newer schema.sql has made.
SELECT format('GRANT %s ON %s TO %s', string_agg(privilege_type, ', '), c.oid::regclass, grantee::regrole)
FROM pg_class c JOIN pg_dist_partition ON logicalrelid = c.oid, aclexplode(relacl)
WHERE relnamespace = 'observ'::regnamespace AND NOT relispartition AND grantee NOT IN (0, relowner)
GROUP BY c.oid, grantee \gexec

-- ---- functions -----------------------------------------------------------------------------------
-- Those that depend on nothing but their parameters: generated columns and queries call them on the workers.
-- None of these takes or gives the row of a table.
SELECT create_distributed_function(oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'observ'::regnamespace AND NOT prosecdef AND (provolatile = 'i' OR proparallel = 's')
	AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
		WHERE t.oid = ANY (coalesce(proallargtypes, proargtypes) || prorettype)
			AND 'c' IN (t.typtype, e.typtype))
ORDER BY oid \g /dev/null

SET citus.enable_ddl_propagation = off;

-- Citus inserts rows of a SELECT by COPY, whose errors have no SQLSTATE: the agent would take a refused row
-- for a fault of the server and send it forever. With ON CONFLICT they have one, but that costs more, so it
-- comes second.
DO $$
DECLARE
	f record;
	tried text;
BEGIN
	FOR f IN SELECT proname, pg_get_functiondef(oid) AS text FROM pg_proc
			WHERE pronamespace = 'observ'::regnamespace AND proname IN ('push_metrics',
				'push_checks', 'push_gaps', 'push_rejects', 'push_logs') LOOP
		CONTINUE WHEN strpos(f.text, 'internal_error') > 0;
		tried := regexp_replace(f.text,
			'(INSERT INTO (vps_metrics|health_checks|gaps|rejects|log_entries) [^;]*);', 'BEGIN
		\1;
	EXCEPTION WHEN internal_error THEN
		\1 ON CONFLICT DO NOTHING;
	END;');
		IF tried = f.text THEN
			RAISE EXCEPTION 'the function %() is not the one that citus.sql knows', f.proname
				USING HINT = 'Use the citus.sql of the same release as schema.sql.';
		END IF;
		EXECUTE tried;
	END LOOP;
END
$$;

-- A generic plan spares PostgreSQL time with each post; Citus wants the server's name to find its shard.
ALTER FUNCTION ingest(bytea, jsonb, text, jsonb) RESET plan_cache_mode;

-- OFFSET 0 makes PostgreSQL take the index on time. Citus would read the whole subquery, or refuse it.
SELECT replace(pg_get_functiondef(f), ' OFFSET 0', '')
FROM unnest('{found_lines,windows_of}'::regproc[]) f \gexec

-- The lock on an agent's row is held by a transaction of its worker: here is the session that began it.
CREATE OR REPLACE FUNCTION stale_session_pid(p_vps text, p_app text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_locker xid;
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	SELECT xmax INTO v_locker FROM agents WHERE vps_name = p_vps AND app_name = p_app;
	IF v_locker IS NULL OR v_locker = '0'::xid THEN
		RETURN NULL;
	END IF;
	RETURN (SELECT citus_pid_for_gpid(l.global_pid)
		FROM citus_locks l, pg_dist_node n, pg_dist_node c, pg_dist_shard_placement p
		WHERE p.shardid = get_shard_id_for_distribution_column('agents', p_vps)
			AND (n.nodename, n.nodeport) = (p.nodename, p.nodeport) AND l.nodeid = n.nodeid
			AND c.groupid = 0 AND citus_nodeid_for_gpid(l.global_pid) = c.nodeid
			AND l.locktype = 'transactionid' AND l.granted AND l.transactionid = v_locker
		LIMIT 1);
END
$$;
