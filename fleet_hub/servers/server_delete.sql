-- $1 hash of who asks, $2 name or server_id
SELECT delete_server($1::bytea, $2)
