-- Out of service: no login is left, and nobody waits for rows.
SELECT json_build_object('server', $1::text, 'retired', true, 'roles', coalesce(json_agg(r), '[]')) FROM retire_server($1) r
