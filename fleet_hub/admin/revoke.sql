-- No login is left; rows stay.
SELECT json_build_object('server', $1::text, 'roles', coalesce(json_agg(r), '[]')) FROM revoke_server($1) r
