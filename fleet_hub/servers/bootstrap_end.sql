-- $1 hash of who asks, $2 the token's id
SELECT end_bootstrap_token($1::bytea, $2)
