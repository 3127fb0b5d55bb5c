-- What this role finds: may it write, which schema, what time is it, is the line encrypted?
SELECT coalesce(bool_or(has_function_privilege(p.oid, 'EXECUTE')), false),
       (SELECT obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE n.nspname = 'observ'),
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'observ' AND p.proname = 'push_open'
