-- Drops the logins of a server; it counts as retired from now on.
SELECT json_build_object('server', $1::text, 'retired', true, 'roles', coalesce(json_agg(r), '[]'))
FROM retire_server($1) r
