-- May this role write? Which version has the schema, and what time is it? Is the connection encrypted?
-- From which addresses do agents use this role, if it is that of one server and there are several?
-- Is it a superuser?
SELECT coalesce(bool_or(has_function_privilege(p.oid, 'EXECUTE')), false),
       (SELECT obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE n.nspname = 'observ'),
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
       (SELECT string_agg(DISTINCT host(a.client_addr), ', ') FROM pg_stat_activity a
         WHERE a.usename = session_user AND a.client_addr IS NOT NULL AND a.application_name LIKE 'obs_agent%'
           AND NOT coalesce(pg_has_role(session_user, to_regrole('observ_agent_any'), 'MEMBER'), false)
        HAVING count(DISTINCT a.client_addr) > 1),
       (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = session_user)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'observ' AND p.proname = 'push_open'
