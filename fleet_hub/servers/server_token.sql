-- $1 hash of who asks, $2 name or server_id, $3 the hub's address
SELECT renew_server_token($1::bytea, $2, $3)
