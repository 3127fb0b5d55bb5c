-- $1 hash of who asks, $2 the server, $3 the hub's address
SELECT create_server($1::bytea, $2::jsonb, $3)
