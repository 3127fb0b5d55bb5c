-- $1 hash of a bootstrap token or a server's, $2 {"hostname", "token"?}, $3 the hub's address,
-- $4 where agents reach the database
SELECT enroll_agent($1::bytea, $2::jsonb, $3, $4)
