-- Drops the logins of a server except the newest.
SELECT json_build_object('server', $1::text, 'nothing', count(r) = 0, 'roles', coalesce(json_agg(r), '[]'))
FROM rotate_finish($1) r
