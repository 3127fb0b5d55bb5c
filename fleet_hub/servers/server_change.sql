-- $1 hash of who asks, $2 name or server_id, $3 what changes
SELECT change_server($1::bytea, $2, $3::jsonb)
