-- Drops the logins of a server; its rows stay.
SELECT json_build_object('server', $1::text, 'nothing', count(r) = 0, 'roles', coalesce(json_agg(r), '[]'))
FROM revoke_server($1) r
