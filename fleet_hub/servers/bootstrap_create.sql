-- $1 hash of who asks, $2 {"uses"?, "expires_in"?}, $3 the hub's address
SELECT create_bootstrap_token($1::bytea, $2::jsonb, $3)
